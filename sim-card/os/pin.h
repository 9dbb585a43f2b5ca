#pragma once
/* PINs, ETSI TS 102 221 9 and 11.1.9 - 11.1.13. Counters are in NVM before the answer goes out. */
#include "os/os.h"

card_handler card_cmd_verify_pin, card_cmd_change_pin, card_cmd_disable_pin, card_cmd_enable_pin,
    card_cmd_unblock_pin;

struct card_pin_state *card_pin_find(struct card *card, uint8_t ref);

enum { CARD_PIN_RECORD_MAX = 32 };

/* Record <-> state; the reference is part of the record's key. */
void card_pin_encode(const struct card_pin_state *pin, struct tb_buf *out);
int card_pin_decode(struct tb_span record, struct card_pin_state *pin) TB_CHECKED;
