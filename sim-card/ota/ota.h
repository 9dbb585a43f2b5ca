#pragma once
/* Remote management over the air: secured packets in short messages, checked, carried out by the
 * application that their TAR names, and answered. spec: TS102225, TS102226, 3GPP TS 31.115, 31.116
 */
#include "os/os.h"

struct card_ota; /* of one card: parts of messages. Without power there is none */
void card_ota_free(struct card_ota *o); /* NULL is a no-op */

card_handler card_cmd_envelope;

/* Runs a script of command APDUs, one behind the other without Le but for the last, as an
 * application that is allowed what the packet's security allows. Appends the compact answer: number
 * of commands carried out, last status word, last data. It ends with the first command that fails.
 * spec: TS102226 5.1. dek: the set whose third key new keys are
 * enciphered with, NULL: none. target: NULL for files (from the MF, or from ADF.USIM). */
uint16_t card_ota_script(struct card *card, struct card_app *target, bool from_usim,
                         const struct card_keyset *dek, struct tb_span script, struct tb_buf *out);
