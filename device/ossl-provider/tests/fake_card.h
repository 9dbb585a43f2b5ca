#pragma once
/* The smallest card with which the provider can be tried in memory: one applet, one software key
 * under id 01 (label "tls key"), a certificate file 02, containers for ephemeral keys from id 10
 * on, one for the other side's key (05), a pre-shared key (06). It counts, and it fails on demand.
 */
#include <openssl/evp.h>
#include <stdint.h>

#include "iotsafe/iotsafe.h"

enum { FAKE_OWN = 2, FAKE_PSK_LEN = 32 };

struct fake_card {
    EVP_PKEY *key;
    uint8_t cert[2048];
    size_t cert_len;
    unsigned apdus, signatures, opens;
    unsigned ins[256]; /* commands, by INS */
    unsigned n_own;    /* containers for ephemeral keys */
    EVP_PKEY *own[FAKE_OWN], *peer;
    uint8_t psk[FAKE_PSK_LEN];
    uint8_t last_digest[64];
    size_t last_digest_len;
    uint16_t fail_sign; /* status word for COMPUTE SIGNATURE (update) instead of a signature */
    uint8_t fail_ins;   /* … for any command with this INS … */
    uint16_t fail_sw;   /* … when not 0 */
    int gone;           /* negative: transmit answers this */
};

/* A new P-256 key and a self-signed certificate for it. */
void fake_card_init(struct fake_card *card, const char *common_name);
void fake_card_done(struct fake_card *card);

/* Not 0 while a card computes: what it allocates is not the subject of a test of failures. */
extern unsigned fake_card_busy;

/* iotsafe_mem_fn; user is the card. */
int fake_card_transmit(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                       size_t rsp_cap);
