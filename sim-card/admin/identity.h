#pragma once
/* The identity record, shared by the factory that writes it and the card that reads it. */
#include "os/os.h"

enum { CARD_IDENTITY_RECORD_MAX = 160 };

void card_identity_encode(const struct card_subscriber *sub, struct tb_buf *out);
int card_identity_decode(struct tb_span record, struct card_subscriber *ret) TB_CHECKED;

/* Copies text of at most cap - 1 characters, with a NUL; digits only, unless free is set: then what
 * ASCII can print. False, and maybe part of it in to, when it is something else. */
bool card_take_text(struct tb_span v, bool free, char *to, size_t cap);
