#pragma once
/* Text into XML and HTML. */
#include <stdio.h>

/* Writes text with what markup gives a meaning to escaped, fit for attributes in double quotes,
 * too. Control characters that XML 1.0 does not have become question marks. */
void tb_put_markup(FILE *f, const char *text);
