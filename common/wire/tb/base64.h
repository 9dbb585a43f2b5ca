#pragma once
/* Base64 (RFC 4648, 4). */
#include "tb/error.h"
#include "tb/span.h"

/* Characters that n bytes become, with padding and without line breaks. */
#define TB_BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* Appends in without line breaks; out overflows when it is too small. */
void tb_put_base64(struct tb_buf *out, struct tb_span in);

/* Appends the bytes that text stands for. Blanks, tabs, CR and LF may be anywhere (RFC 8951 3.1 has
 * received them everywhere); padding has to be there and be right, bits that stand for nothing have
 * to be 0, and nothing may follow. TB_EPARSE, or TB_ERANGE when out is too small; out is then as it
 * was. */
int tb_base64_decode(struct tb_span text, struct tb_buf *out) TB_CHECKED;
