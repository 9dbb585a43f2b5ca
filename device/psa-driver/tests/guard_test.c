/* Which operations the card does in each handshake, exactly: if the library ever went around the
 * binding, software would do them, and a number here would be too small. */
#include "bed.h"

#include <stdio.h>
#include <string.h>

#define TLS12  TLS1_2_VERSION
#define TLS13  TLS1_3_VERSION
#define NONE   0
#define ECDHE  IOTSAFE_PSA_ECDHE
#define DERIVE (IOTSAFE_PSA_ECDHE | IOTSAFE_PSA_DERIVE)
#define VERIFY IOTSAFE_PSA_VERIFY
#define RANDOM IOTSAFE_PSA_RANDOM
#define FULL   (DERIVE | VERIFY | RANDOM)

struct row {
    const char *name;
    struct bed_options o;
    struct iotsafe_psa_counters want; /* generate agree sign verify prf extract random, then what
                                         the library does: generate agree sign verify */
};

static const struct row rows[] = {
    /* TLS 1.2, certificate. The server's is trusted itself: one verification, of
     * ServerKeyExchange. */
    {"1.2", {.version = TLS12}, {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1}},
    {"1.2 software key", {.version = TLS12, .software = true}, {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}},
    {"1.2 without extended master secret",
     {.version = TLS12, .no_ems = true, .offload = DERIVE},
     {1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1}},
    {"1.2 ecdhe", {.version = TLS12, .offload = ECDHE}, {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1}},
    {"1.2 derive", {.version = TLS12, .offload = DERIVE}, {1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1}},
    {"1.2 verify", {.version = TLS12, .offload = VERIFY}, {0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0}},
    {"1.2 random", {.version = TLS12, .offload = RANDOM}, {0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1}},
    {"1.2 full", {.version = TLS12, .offload = FULL}, {1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0}},
    {"1.2 software key, full",
     {.version = TLS12, .software = true, .offload = FULL},
     {1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0}},
    /* TLS 1.3, certificate */
    {"1.3", {.version = TLS13}, {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1}},
    {"1.3 software key", {.version = TLS13, .software = true}, {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}},
    {"1.3 ecdhe", {.version = TLS13, .offload = ECDHE}, {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1}},
    {"1.3 derive", {.version = TLS13, .offload = DERIVE}, {1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1}},
    {"1.3 verify", {.version = TLS13, .offload = VERIFY}, {0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0}},
    {"1.3 random", {.version = TLS13, .offload = RANDOM}, {0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1}},
    {"1.3 full", {.version = TLS13, .offload = FULL}, {1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0}},
    {"1.3 P-384 server, verify in software",
     {.version = TLS13, .offload = VERIFY, .server_p384 = true},
     {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1}},
    {"1.3 RSA server",
     {.version = TLS13, .offload = FULL, .server_rsa = true},
     {1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1}},
    {"1.2 RSA server",
     {.version = TLS12, .offload = FULL, .server_rsa = true},
     {1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1}},
    /* DTLS 1.2, certificate */
    {"DTLS", {.dtls = true, .version = TLS12}, {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1}},
    {"DTLS ecdhe",
     {.dtls = true, .version = TLS12, .offload = ECDHE},
     {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1}},
    {"DTLS derive",
     {.dtls = true, .version = TLS12, .offload = DERIVE},
     {1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1}},
    {"DTLS full",
     {.dtls = true, .version = TLS12, .offload = FULL},
     {1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0}},
    /* TLS 1.2 and DTLS, PSK */
    {"1.2 PSK", {.version = TLS12, .psk = true, .plain = true}, {0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}},
    {"1.2 PSK software",
     {.version = TLS12, .psk = true, .plain = true, .software = true},
     {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"1.2 ECDHE-PSK", {.version = TLS12, .psk = true}, {0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0}},
    {"1.2 ECDHE-PSK ecdhe",
     {.version = TLS12, .psk = true, .offload = ECDHE},
     {1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}},
    {"1.2 ECDHE-PSK derive",
     {.version = TLS12, .psk = true, .offload = DERIVE},
     {1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}},
    {"1.2 ECDHE-PSK software, derive",
     {.version = TLS12, .psk = true, .software = true, .offload = DERIVE},
     {1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"DTLS PSK",
     {.dtls = true, .version = TLS12, .psk = true, .plain = true},
     {0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}},
    {"DTLS ECDHE-PSK full",
     {.dtls = true, .version = TLS12, .psk = true, .offload = FULL},
     {1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0}},
    /* TLS 1.3, PSK: one extract, though the library asks for it twice */
    {"1.3 psk_ke",
     {.version = TLS13, .psk = true, .plain = true},
     {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}},
    {"1.3 psk_ke software",
     {.version = TLS13, .psk = true, .plain = true, .software = true},
     {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"1.3 psk_dhe_ke", {.version = TLS13, .psk = true}, {0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0}},
    {"1.3 psk_dhe_ke ecdhe",
     {.version = TLS13, .psk = true, .offload = ECDHE},
     {1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0}},
    {"1.3 psk_dhe_ke derive",
     {.version = TLS13, .psk = true, .offload = DERIVE},
     {1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0}},
    {"1.3 psk_dhe_ke full",
     {.version = TLS13, .psk = true, .offload = FULL},
     {1, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0}},
};

static void counts(const struct row *row, struct bed_card *card) {
    const struct iotsafe_psa_counters *w = &row->want;
    struct card_counters before, after;
    struct bed bed;
    struct bed_result r;

    assert_int_equal(bed_init(&bed, card, &row->o), 0);
    card_counters(card->card, &before);
    r = bed_connect(&bed);
    card_counters(card->card, &after);
    bed_done(&bed);
    if (r.client != 0 || !r.server || !r.echoed)
        fail_msg("%s: client -0x%04X, server %s, card %s", row->name, (unsigned)-r.client,
                 r.server_says, r.trouble_text);
    if (memcmp(&r.counters, w, sizeof *w) != 0)
        fail_msg("%s: generate %u agree %u sign %u verify %u prf %u extract %u random %u, "
                 "software %u %u %u %u",
                 row->name, r.counters.generate, r.counters.agree, r.counters.sign,
                 r.counters.verify, r.counters.prf, r.counters.extract, r.counters.random,
                 r.counters.software_generate, r.counters.software_agree, r.counters.software_sign,
                 r.counters.software_verify);
    /* and the card says the same */
    assert_int_equal(after.keygen - before.keygen, w->generate);
    assert_int_equal(after.ecdh - before.ecdh, w->agree);
    assert_int_equal(after.sign - before.sign, w->sign);
    assert_int_equal(after.verify - before.verify, w->verify);
    assert_int_equal(after.prf - before.prf, w->prf);
    assert_int_equal(after.hkdf - before.hkdf, w->extract);
    assert_int_equal(after.random - before.random, w->random);
    assert_int_equal(r.slots_held, 0);
    assert_string_equal(r.version, row->o.version == TLS13 ? "TLSv1.3"
                                   : row->o.dtls           ? "DTLSv1.2"
                                                           : "TLSv1.2");
}

static void each_handshake_asks_the_card_for_exactly_its_part(void **state) {
    struct bed_card card;

    (void)state;
    bed_card_init(&card);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        counts(&rows[i], &card);
    bed_card_done(&card);
}

/* B9; 24, D8, 46; 4A; 24, D8, 2C, 2D; 2A, 2B; 84: no more than reference sequences of real clients
 * (17 and 14 for these). */
static void full_offload_costs_few_commands(void **state) {
    const struct bed_options tls13 = {.version = TLS13, .offload = FULL},
                             tls12 = {.version = TLS12, .offload = FULL};
    struct bed_card card;
    struct bed bed;

    (void)state;
    bed_card_init(&card);
    assert_int_equal(bed_init(&bed, &card, &tls13), 0);
    assert_int_equal(bed_connect(&bed).client, 0);
    assert_int_equal(card.apdus, 12);
    bed_done(&bed);
    assert_int_equal(bed_init(&bed, &card, &tls12), 0);
    assert_int_equal(bed_connect(&bed).client, 0);
    assert_int_equal(card.apdus, 12);
    bed_done(&bed);
    bed_card_done(&card);
}

static int setup(void **state) {
    (void)state;
    return psa_crypto_init() == PSA_SUCCESS ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_handshake_asks_the_card_for_exactly_its_part),
        cmocka_unit_test(full_offload_costs_few_commands),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
