#pragma once
/* Identity and applet records, shared by the factory that writes them and the card that reads them.
 */
#include "os/os.h"

enum { CARD_IDENTITY_RECORD_MAX = 160, CARD_APPLET_RECORD_MAX = 1024 };

void card_identity_encode(const struct card_subscriber *sub, struct tb_buf *out);
int card_identity_decode(struct tb_span record, struct card_subscriber *ret) TB_CHECKED;

void card_applet_encode(struct tb_span aid, uint8_t instance, const struct card_profile *profile,
                        struct tb_buf *out);
/* Fills aid, aid_len and profile of *ret. */
int card_applet_decode(struct tb_span record, uint8_t *ret_instance,
                       struct card_app *ret) TB_CHECKED;
