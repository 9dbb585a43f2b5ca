#pragma once
#include "cardfile.h"

/* Fills what was left out with the defaults of docs/card.md and refuses what cannot become a card:
 * missing or contradictory keys, references to sections that do not exist, two objects with one id.
 */
int cardfile_check(struct cardfile *f, struct tb_error *e) TB_CHECKED;
