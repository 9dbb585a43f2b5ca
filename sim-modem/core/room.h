#pragma once
/* Storage that is as large as what came so far: a modem among ten thousand is small, and one that
 * is sent an extended APDU still takes it. Internal to the core. */
#include "tb/span.h"

/* Makes b hold at least cap bytes in all; what is in it stays, the old storage is wiped (PINs pass
 * here). b: zeroed to begin with. Aborts when there is no memory. */
void modem_room(struct tb_buf *b, size_t cap);
/* Wipes and frees. */
void modem_room_free(struct tb_buf *b);
