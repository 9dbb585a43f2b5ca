#pragma once
/* Secure Channel Protocol 03: one session of one logical channel with one security domain. Bytes
 * only: what it is used for is in gp/cmd_*.c. spec: AMD-D (GlobalPlatform Amendment D), with i =
 * 70: pseudo-random card challenges, R-MAC and R-ENC. */
#include "gp/domain.h"
#include "tb/apdu.h"

enum {
    SCP03_I = 0x70,
    SCP03_CHALLENGE = 8,
    SCP03_MAC = 8,
    SCP03_LEVEL_MAC = 0x01, /* of commands */
    SCP03_LEVEL_ENC = 0x02,
    SCP03_LEVEL_RMAC = 0x10, /* of responses */
    SCP03_LEVEL_RENC = 0x20,
    SCP03_COUNTER_MAX = 0xFFFFFF,
};

struct card_store_data { /* blocks of STORE DATA whose last one has not come yet */
    uint8_t *p;          /* from malloc */
    size_t n, cap;
    unsigned next; /* block number */
};

struct safe_store; /* iotsafe/store.h */

struct card_scp03 {
    uint8_t version, key_len;                                   /* of the key set */
    uint8_t enc[GP_KEY_MAX], mac[GP_KEY_MAX], rmac[GP_KEY_MAX]; /* of the session */
    uint8_t dek[GP_KEY_MAX];                                    /* static: SCP03 has no other */
    bool dek_des;                                               /* of a packet over the air */
    uint8_t host[SCP03_CHALLENGE], card[SCP03_CHALLENGE];
    uint8_t mcv[16]; /* MAC chaining value */
    uint64_t n;      /* commands since EXTERNAL AUTHENTICATE, for the ICVs */
    uint8_t level;
    bool open;               /* authenticated */
    struct card_app *target; /* of STORE DATA: INSTALL [for personalization] */
    struct card_store_data store;
    struct safe_store *applet; /* the target's side of it */
    size_t status_next;        /* of GET STATUS: where the next answer begins, 0: nowhere */
};

/* A session that waits for the host's cryptogram. counter: used for no other challenge before or
 * after. ret_cryptogram: the card's. TB_ENOMEM, TB_ECRYPTO. */
int card_scp03_begin(struct tb_span domain_aid, const struct card_keyset *ks, uint32_t counter,
                     const uint8_t host[SCP03_CHALLENGE], struct card_scp03 **ret,
                     uint8_t ret_cryptogram[8]) TB_CHECKED;
void card_scp03_free(struct card_scp03 *s); /* wipes; NULL is a no-op */

/* STORE DATA goes to target from now on (NULL: to the domain), and begins anew. */
void card_scp03_aim(struct card_scp03 *s, struct card_app *target);

/* EXTERNAL AUTHENTICATE: opens the session when the cryptogram and the MAC of the command, which is
 * raw as it came, are right. False otherwise. */
bool card_scp03_authenticate(struct card_scp03 *s, const struct tb_apdu *a);

/* A command under secure messaging: checks and takes off its MAC, deciphers its data in place
 * (data: a->data's own memory, writable). 0, or 6988 or 6987: the session is over. An unprotected
 * command is 6987 when the level asks for a MAC. */
uint16_t card_scp03_unwrap(struct card_scp03 *s, struct tb_apdu *a, uint8_t *data);

/* The response to the last command: deciphered data in out become what the level asks for, MAC
 * included. Status words that are errors go bare. out needs room for 16 + 8 bytes more. TB_ECRYPTO.
 */
int card_scp03_wrap(struct card_scp03 *s, struct tb_buf *out, uint16_t sw) TB_CHECKED;
