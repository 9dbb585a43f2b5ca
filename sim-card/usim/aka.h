#pragma once
/* Authentication and key agreement of the USIM. spec: TS33102 6.3 and annex C, TS31102 7.1
 *
 * A sequence number is SEQ || IND, IND of 5 bits: the card remembers the highest SEQ accepted for
 * each IND, in NVM before it answers. */
#include "crypto/crypto.h"
#include "os/os.h"

enum {
    CARD_AKA_SLOTS = 32,
    CARD_AKA_RECORD_MAX = 320,
    CARD_AKA_DELTA = 1 << 28, /* spec: TS33102 C.3.1 how far SEQ may jump, by default */
};

struct card_aka {
    struct card_milenage_keys keys;
    uint64_t delta; /* 0: no limit */
    uint64_t seq[CARD_AKA_SLOTS];
};

void card_aka_encode(const struct card_aka *aka, struct tb_buf *out);
int card_aka_decode(struct tb_span record, struct card_aka *ret) TB_CHECKED;

/* True when sqn (48 bits) is fresh; then *ret holds the array as it has to be remembered. */
bool card_aka_is_fresh(const struct card_aka *aka, uint64_t sqn, struct card_aka *ret);
/* SQN_MS, which AUTS tells: the highest SEQ accepted, with its IND. */
uint64_t card_aka_highest(const struct card_aka *aka);

card_handler card_cmd_authenticate;
