/* Handshakes with an ordinary server: what the card is asked for is counted, exactly, for every
 * combination of what is offloaded. */
#include "tb/test.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <string.h>

#include "bed.h"
#include "tls.h"

static struct tls_pki pki, pki384;

static int set_up_pki(void **state) {
    (void)state;
    tls_pki_init(&pki, "P-256");
    tls_pki_init(&pki384, "P-384");
    return 0;
}

static int tear_down_pki(void **state) {
    (void)state;
    tls_pki_done(&pki);
    tls_pki_done(&pki384);
    return 0;
}

/* ---- helpers ---- */

enum { INS_SIGN = 0x2B, INS_VERIFY = 0x2D, INS_DH = 0x46, INS_PRF = 0x48, INS_HKDF = 0x4A };
enum { INS_RANDOM = 0x84, INS_GENERATE = 0xB9, INS_PUT = 0xD8, INS_LIST = 0xCB };
enum { ECDHE = 1, VERIFY = 2, PSK = 4, RANDOM = 8, TOKENS = 16 };

static const char *tokens(unsigned bits) {
    static char text[64];

    snprintf(text, sizeof text, "%s%s%s%s", bits & ECDHE ? "ecdhe," : "",
             bits & VERIFY ? "verify," : "", bits & PSK ? "psk," : "",
             bits & RANDOM ? "random" : "");
    return text;
}

static struct isp_bed *new_bed(unsigned bits) {
    struct isp_bed *bed = isp_bed_new_offload(tokens(bits));

    if (bits & RANDOM)
        assert_int_equal(RAND_set_seed_source_type(bed->ctx, "IOTSAFE-SEED", NULL), 1);
    return bed;
}

/* How often the card got a command since the last look. */
static unsigned count(struct fake_card *card, uint8_t ins) {
    unsigned n = card->ins[ins];

    card->ins[ins] = 0;
    return n;
}

static void forget_counts(struct fake_card *card) {
    memset(card->ins, 0, sizeof card->ins);
    card->apdus = 0;
}

static void print_errors(void) {
    ERR_print_errors_fp(stderr);
}

#define assert_shakes(setup)                                                                       \
    do {                                                                                           \
        bool shaken = tls_shake(setup);                                                            \
        if (!shaken)                                                                               \
            print_errors();                                                                        \
        assert_true(shaken);                                                                       \
        assert_int_equal(ERR_peek_error(), 0);                                                     \
    } while (0)

/* True when an error in the queue has this reason and says this. */
static bool error_says(const char *reason, const char *part) {
    const char *data, *r;
    unsigned long e;
    int flags;
    bool found = false;

    while ((e = ERR_get_error_all(NULL, NULL, NULL, &data, &flags))) {
        r = ERR_reason_error_string(e);
        if (r && strcmp(r, reason) == 0 && (flags & ERR_TXT_STRING) && strstr(data, part))
            found = true;
    }
    return found;
}

static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION, DTLS1_2_VERSION};

static struct tls_setup with_certificate(struct isp_bed *bed, int version) {
    struct tls_setup s = {.ctx = bed->ctx, .pki = &pki, .version = version};

    s.key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    s.cert = tls_pki_issue(&pki, bed->card[0].key, "device");
    assert_non_null(s.key);
    return s;
}

static void done(struct tls_setup *s) {
    EVP_PKEY_free(s->key);
    X509_free(s->cert);
}

static struct tls_setup with_psk(struct isp_bed *bed, int version, const char *ciphers) {
    return (struct tls_setup){.ctx = bed->ctx,
                              .pki = &pki,
                              .version = version,
                              .ciphers = ciphers,
                              .psk = "IOTSAFE:psk:06",
                              .server_psk = bed->card[0].psk,
                              .server_psk_len = FAKE_PSK_LEN};
}

/* ---- certificates ---- */

static void certificate_costs(unsigned bits, int version) {
    struct isp_bed *bed = new_bed(bits);
    struct tls_setup s = with_certificate(bed, version);
    struct fake_card *card = &bed->card[0];
    unsigned ecdhe = bits & ECDHE ? 1 : 0, verify = bits & VERIFY ? 2 : 0;

    for (int round = 0; round < 2; round++) {
        assert_shakes(&s);
        assert_int_equal(count(card, INS_SIGN), 1);
        assert_int_equal(count(card, INS_GENERATE), ecdhe);
        assert_int_equal(count(card, INS_DH), ecdhe);
        assert_int_equal(count(card, INS_VERIFY), verify);
        assert_int_equal(count(card, INS_PUT), ecdhe + verify);
        assert_int_equal(count(card, INS_PRF) + count(card, INS_HKDF), 0);
        /* once for a process: the list of containers, the seed, the selection */
        assert_int_equal(count(card, INS_LIST), round == 0 && (ecdhe || verify) ? 1 : 0);
        assert_int_equal(count(card, INS_RANDOM), round == 0 && (bits & RANDOM) ? 1 : 0);
        if (round == 1)
            assert_int_equal(card->apdus, 2 + 4 * ecdhe + 4 * verify);
        forget_counts(card);
    }
    assert_int_equal(bed->seeds, bits & RANDOM ? 1 : 0);
    assert_int_equal(bed->slots.taken, 0);
    done(&s);
    isp_bed_free(bed);
}

static void every_combination_costs_what_it_says(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < TOKENS; bits++) {
        for (size_t v = 0; v < 3; v++)
            certificate_costs(bits, versions[v]);
    }
}

static void the_chain_that_libssl_looks_for_costs_one_verification(void **state) {
    struct isp_bed *bed = new_bed(VERIFY);
    struct tls_setup s = with_certificate(bed, TLS1_3_VERSION);

    (void)state;
    s.auto_chain = true;
    assert_shakes(&s);
    assert_int_equal(count(&bed->card[0], INS_VERIFY), 3);
    done(&s);
    isp_bed_free(bed);
}

static void keys_on_other_curves_are_verified_in_software(void **state) {
    static const unsigned combinations[] = {VERIFY, ECDHE | VERIFY};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct isp_bed *bed = new_bed(combinations[i]);

        for (size_t v = 0; v < 3; v++) {
            struct tls_setup s = with_certificate(bed, versions[v]);

            s.pki = &pki384;
            assert_shakes(&s);
            /* the server's own key is on P-256, its issuer's is not */
            assert_int_equal(count(&bed->card[0], INS_VERIFY), 1);
            done(&s);
        }
        isp_bed_free(bed);
    }
}

static void a_software_key_beside_full_offload_works(void **state) {
    struct isp_bed *bed = new_bed(ECDHE | VERIFY | PSK);

    (void)state;
    for (size_t v = 0; v < 3; v++) {
        struct tls_setup s = {.ctx = bed->ctx, .pki = &pki, .version = versions[v]};

        s.key = EVP_PKEY_Q_keygen(bed->ctx, "provider=default", "EC", "P-384");
        s.cert = tls_pki_issue(&pki, s.key, "software");
        s.groups = s.server_groups = "P-256:P-384"; /* where the client's key has to be, too */
        assert_shakes(&s);
        assert_int_equal(count(&bed->card[0], INS_SIGN), 0);
        done(&s);
        s.key = EVP_PKEY_Q_keygen(bed->ctx, NULL, "EC", "P-256"); /* held by our key management */
        assert_int_equal(count(&bed->card[0], INS_GENERATE), 1);  /* the handshake's */
        s.cert = tls_pki_issue(&pki, s.key, "software");
        assert_shakes(&s);
        assert_int_equal(count(&bed->card[0], INS_SIGN), 0);
        assert_int_equal(count(&bed->card[0], INS_GENERATE), 1);
        done(&s);
    }
    isp_bed_free(bed);
}

/* Programs that list several curves: what the server takes decides. */
static void larger_curves_are_computed_in_software(void **state) {
    static const char *const groups[] = {"P-384", "P-521", "X25519"};
    struct isp_bed *bed = new_bed(ECDHE | VERIFY);

    (void)state;
    for (size_t v = 0; v < 3; v++) {
        for (size_t i = 0; i < 3; i++) {
            struct tls_setup s = with_certificate(bed, versions[v]);

            s.server_groups = groups[i];
            s.groups = "P-256:P-384:P-521:X25519";
            s.pki = i == 0 ? &pki384 : &pki;
            /* TLS 1.2: the server's key has to be on one of its groups */
            if (versions[v] != TLS1_3_VERSION)
                s.server_groups = i == 0 ? "P-384:P-256" : i == 1 ? "P-521:P-256" : "X25519:P-256";
            s.server_prefers = true;
            assert_shakes(&s);
            assert_int_equal(count(&bed->card[0], INS_DH), 0);
            done(&s);
        }
    }
    assert_int_equal(bed->slots.taken, 0);
    isp_bed_free(bed);
}

static void a_bad_signature_is_found_by_the_card(void **state) {
    struct isp_bed *bed = new_bed(VERIFY);

    (void)state;
    for (size_t v = 0; v < 3; v++) {
        struct tls_setup s = with_certificate(bed, versions[v]);
        struct tls_pki other = pki;

        other.ca = tls_pki_issue(&pki, pki384.ca_key, "root"); /* same name, not the same key */
        other.server_key = pki.server_key;
        s.pki = &other;
        assert_false(tls_shake(&s));
        ERR_clear_error();
        X509_free(other.ca);
        /* the right key, another signature: the server has exchanged it */
        other = pki;
        other.server = tls_pki_issue(&pki384, pki.server_key, "server");
        assert_true(X509_set_issuer_name(other.server, X509_get_subject_name(pki.ca)));
        s.pki = &other;
        forget_counts(&bed->card[0]);
        assert_false(tls_shake(&s));
        assert_int_equal(count(&bed->card[0], INS_SIGN), 0);
        ERR_clear_error();
        X509_free(other.server);
        done(&s);
    }
    isp_bed_free(bed);
}

/* ---- containers ---- */

static void a_hello_retry_request_frees_the_container(void **state) {
    struct isp_bed *bed = new_bed(ECDHE);
    struct tls_setup s = with_certificate(bed, TLS1_3_VERSION);

    (void)state;
    s.groups = "P-256:X25519";
    s.server_groups = "X25519";
    assert_shakes(&s);
    assert_int_equal(count(&bed->card[0], INS_GENERATE), 1);
    assert_int_equal(count(&bed->card[0], INS_DH), 0);
    assert_int_equal(bed->slots.taken, 0);
    done(&s);
    isp_bed_free(bed);
}

static void an_aborted_handshake_frees_the_container(void **state) {
    struct isp_bed *bed = new_bed(ECDHE);
    struct tls_setup s = with_certificate(bed, TLS1_3_VERSION);
    struct tls_pair p;

    (void)state;
    tls_pair_init(&p, &s);
    assert_true(SSL_do_handshake(p.client) < 0); /* ClientHello is out */
    assert_int_equal(bed->slots.taken, 1);
    tls_pair_done(&p);
    assert_int_equal(bed->slots.taken, 0);
    ERR_clear_error();
    done(&s);
    isp_bed_free(bed);
}

static void the_container_is_free_before_the_connection_ends(void **state) {
    struct isp_bed *bed = new_bed(ECDHE);

    (void)state;
    for (size_t v = 0; v < 3; v++) {
        struct tls_setup s = with_certificate(bed, versions[v]);
        struct tls_pair p;

        tls_pair_init(&p, &s);
        assert_true(tls_pair_shake(&p));
        assert_int_equal(bed->slots.taken, 0);
        assert_shakes(&s); /* another one while the first lives */
        tls_pair_done(&p);
        done(&s);
    }
    isp_bed_free(bed);
}

static void without_a_free_container_the_handshake_fails_and_says_so(void **state) {
    struct isp_bed *bed = new_bed(ECDHE);
    struct tls_setup s = with_certificate(bed, TLS1_3_VERSION);
    struct tls_pair p[3];

    (void)state;
    bed->card[0].n_own = 2;
    for (int i = 0; i < 3; i++) {
        tls_pair_init(&p[i], &s);
        assert_int_equal(SSL_do_handshake(p[i].client), -1);
        assert_int_equal(SSL_get_error(p[i].client, -1),
                         i < 2 ? SSL_ERROR_WANT_READ : SSL_ERROR_SSL);
    }
    assert_true(error_says("no free key container on the card", "containers: "));
    tls_pair_done(&p[2]);
    assert_true(tls_pair_shake(&p[0]));
    assert_true(tls_pair_shake(&p[1])); /* each with its own key */
    tls_pair_done(&p[0]);
    tls_pair_done(&p[1]);
    assert_int_equal(bed->slots.taken, 0);
    done(&s);
    isp_bed_free(bed);
}

static void a_card_without_containers_is_no_silent_fall_to_software(void **state) {
    struct isp_bed *bed = new_bed(ECDHE);
    struct tls_setup s = with_certificate(bed, TLS1_2_VERSION);

    (void)state;
    bed->card[0].n_own = 0;
    for (size_t v = 0; v < 3; v++) {
        s.version = versions[v];
        assert_false(tls_shake(&s));
        assert_true(error_says("no free key container on the card", ""));
    }
    assert_int_equal(count(&bed->card[0], INS_SIGN), 0);
    done(&s);
    isp_bed_free(bed);
}

static void a_refusal_of_the_card_ends_the_handshake_with_its_status_word(void **state) {
    static const struct {
        uint8_t ins;
        const char *operation;
    } table[] = {{INS_GENERATE, "GENERATE KEY PAIR iotsafe:id=10"},
                 {INS_PUT, "COMPUTE DH iotsafe:id=10"},
                 {INS_DH, "COMPUTE DH iotsafe:id=10"},
                 {INS_VERIFY, "VERIFY SIGNATURE iotsafe:id=05"},
                 {INS_SIGN, "COMPUTE SIGNATURE iotsafe:id=01"}};
    struct isp_bed *bed = new_bed(ECDHE | VERIFY);

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (size_t v = 0; v < 3; v++) {
            struct tls_setup s = with_certificate(bed, versions[v]);

            bed->card[0].fail_ins = table[i].ins;
            bed->card[0].fail_sw = 0x6F00;
            assert_false(tls_shake(&s));
            if (table[i].ins != INS_PUT)
                assert_true(error_says("card refused", table[i].operation));
            else
                assert_true(error_says("card refused", "SW 6F00"));
            assert_int_equal(bed->slots.taken, 0);
            bed->card[0].fail_sw = 0;
            bed->card[0].gone = IOTSAFE_E_ABSENT;
            assert_false(tls_shake(&s));
            assert_true(error_says("no card", ""));
            bed->card[0].gone = 0;
            assert_shakes(&s);
            done(&s);
        }
    }
    isp_bed_free(bed);
}

/* ---- pre-shared keys ---- */

struct psk_case {
    int version;
    const char *ciphers;
    const char *server_groups; /* X25519: no group in common with the client */
    unsigned dh, prf, hkdf;
    bool no_extended_master_secret;
};

static const struct psk_case psk_cases[] = {
    {TLS1_2_VERSION, "PSK-AES128-GCM-SHA256", NULL, 0, 1, 0, false},
    {TLS1_2_VERSION, "PSK-AES128-GCM-SHA256", NULL, 0, 1, 0, true},
    {TLS1_2_VERSION, "PSK-AES128-CCM8", NULL, 0, 1, 0, false},
    {TLS1_2_VERSION, "PSK-AES128-CBC-SHA", NULL, 0, 1, 0, false},
    {TLS1_2_VERSION, "ECDHE-PSK-AES128-CBC-SHA256", NULL, 1, 1, 0, false},
    {TLS1_2_VERSION, "ECDHE-PSK-AES128-CBC-SHA256", NULL, 1, 1, 0, true},
    {TLS1_2_VERSION, "ECDHE-PSK-CHACHA20-POLY1305", NULL, 1, 1, 0, false},
    {DTLS1_2_VERSION, "PSK-AES128-CCM8", NULL, 0, 1, 0, false},
    {DTLS1_2_VERSION, "PSK-AES128-GCM-SHA256", NULL, 0, 1, 0, true},
    {DTLS1_2_VERSION, "ECDHE-PSK-AES128-CBC-SHA256", NULL, 1, 1, 0, false},
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", NULL, 1, 0, 1, false}, /* psk_dhe_ke */
    {TLS1_3_VERSION, "TLS_AES_128_CCM_8_SHA256", NULL, 1, 0, 1, false},
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "X25519", 0, 0, 1, false}, /* psk_ke */
};

static void psk_costs(const struct psk_case *c, unsigned bits) {
    struct isp_bed *bed = new_bed(bits | PSK);
    struct tls_setup s = with_psk(bed, c->version, c->ciphers);
    struct fake_card *card = &bed->card[0];
    unsigned ecdhe = bits & ECDHE ? 1 : 0;
    /* a TLS 1.3 client makes a key share whether or not the server takes it */
    unsigned generated = c->version == TLS1_3_VERSION ? ecdhe : ecdhe * c->dh;

    s.server_groups = c->server_groups;
    s.no_extended_master_secret = c->no_extended_master_secret;
    for (int round = 0; round < 2; round++) {
        assert_shakes(&s);
        assert_int_equal(count(card, INS_PRF), c->prf);
        assert_int_equal(count(card, INS_HKDF), c->hkdf);
        assert_int_equal(count(card, INS_GENERATE), generated);
        assert_int_equal(count(card, INS_DH), ecdhe * c->dh);
        assert_int_equal(count(card, INS_SIGN) + count(card, INS_VERIFY), 0);
        if (round == 1)
            assert_int_equal(card->apdus, 1 + generated + 3 * ecdhe * c->dh);
        forget_counts(card);
    }
    assert_int_equal(bed->slots.taken, 0);
    isp_bed_free(bed);
}

static void a_pre_shared_key_is_one_command(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof psk_cases / sizeof *psk_cases; i++) {
        psk_costs(&psk_cases[i], 0);
        psk_costs(&psk_cases[i], ECDHE);
        psk_costs(&psk_cases[i], ECDHE | VERIFY | RANDOM);
    }
}

/* The second ClientHello has another binder. */
static void a_hello_retry_request_asks_for_the_early_secret_again(void **state) {
    struct isp_bed *bed = new_bed(PSK | ECDHE);
    struct tls_setup s = with_psk(bed, TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256");

    (void)state;
    s.groups = "P-256:X25519";
    s.server_groups = "X25519";
    assert_shakes(&s);
    assert_in_range(count(&bed->card[0], INS_HKDF), 1, 2);
    assert_int_equal(bed->slots.taken, 0);
    isp_bed_free(bed);
}

static void handles_name_a_key_by_label_too_and_are_checked(void **state) {
    static const struct {
        const char *psk, *reason, *says;
    } bad[] = {
        {"IOTSAFE:psk:", "pre-shared key cannot be used", "hex"},
        {"IOTSAFE:psk:reader=b", "pre-shared key cannot be used", "names no key"},
        {"IOTSAFE:psk:zz", "pre-shared key cannot be used", "hex"},
        {"IOTSAFE:psk:06;type=key", "pre-shared key cannot be used", "type="},
        {"IOTSAFE:psk:slot=6", "pre-shared key cannot be used", "unknown attribute"},
        {"IOTSAFE:psk:07", "object not on the card", "iotsafe:id=07"},
        {"IOTSAFE:psk:label=nobody", "object not on the card", "label=nobody"},
        {"IOTSAFE:psk:06;reader=c", "transport cannot be opened", "no reader c"},
    };
    static const struct {
        int version;
        const char *ciphers;
    } ways[] = {{TLS1_2_VERSION, "PSK-AES128-GCM-SHA256"},
                {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"}};
    struct isp_bed *bed = new_bed(PSK);

    (void)state;
    for (size_t w = 0; w < 2; w++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            struct tls_setup s = with_psk(bed, ways[w].version, ways[w].ciphers);

            s.psk = bad[i].psk;
            assert_false(tls_shake(&s));
            if (!error_says(bad[i].reason, bad[i].says))
                fail_msg("%s: %s", bad[i].psk, bad[i].says);
        }
    }
    isp_bed_free(bed);
}

static void what_the_card_cannot_compute_is_refused(void **state) {
    struct isp_bed *bed = new_bed(PSK);
    struct tls_setup s;

    (void)state;
    s = with_psk(bed, TLS1_2_VERSION, "PSK-AES256-GCM-SHA384");
    assert_false(tls_shake(&s));
    assert_true(error_says("pre-shared key cannot be used", "SHA256 only"));
    s = with_psk(bed, TLS1_2_VERSION, "ECDHE-PSK-AES128-CBC-SHA256");
    s.groups = s.server_groups = "P-384";
    assert_false(tls_shake(&s));
    assert_true(error_says("pre-shared key cannot be used", "48 bytes"));
    s.groups = s.server_groups = "X25519";
    assert_shakes(&s);
    assert_int_equal(count(&bed->card[0], INS_PRF), 1);
    isp_bed_free(bed);
}

/* Without psk in offload a handle is what it looks like: 14 bytes that the server does not know. */
static void a_handle_is_nothing_without_offload(void **state) {
    struct isp_bed *bed = new_bed(ECDHE);
    struct tls_setup s = with_psk(bed, TLS1_2_VERSION, "PSK-AES128-GCM-SHA256");

    (void)state;
    assert_false(tls_shake(&s));
    ERR_clear_error();
    s.server_psk = (const unsigned char *)s.psk;
    s.server_psk_len = strlen(s.psk);
    assert_shakes(&s);
    assert_int_equal(bed->card[0].apdus, 0);
    isp_bed_free(bed);
}

static void ordinary_pre_shared_keys_stay_in_software(void **state) {
    struct isp_bed *bed = new_bed(PSK);

    (void)state;
    for (size_t i = 0; i < sizeof psk_cases / sizeof *psk_cases; i++) {
        struct tls_setup s = with_psk(bed, psk_cases[i].version, psk_cases[i].ciphers);

        s.psk = "an ordinary key";
        s.server_psk = (const unsigned char *)s.psk;
        s.server_psk_len = strlen(s.psk);
        assert_shakes(&s);
    }
    assert_int_equal(bed->card[0].apdus, 0);
    isp_bed_free(bed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_costs_what_it_says),
        cmocka_unit_test(the_chain_that_libssl_looks_for_costs_one_verification),
        cmocka_unit_test(keys_on_other_curves_are_verified_in_software),
        cmocka_unit_test(a_software_key_beside_full_offload_works),
        cmocka_unit_test(larger_curves_are_computed_in_software),
        cmocka_unit_test(a_bad_signature_is_found_by_the_card),
        cmocka_unit_test(a_hello_retry_request_frees_the_container),
        cmocka_unit_test(an_aborted_handshake_frees_the_container),
        cmocka_unit_test(the_container_is_free_before_the_connection_ends),
        cmocka_unit_test(without_a_free_container_the_handshake_fails_and_says_so),
        cmocka_unit_test(a_card_without_containers_is_no_silent_fall_to_software),
        cmocka_unit_test(a_refusal_of_the_card_ends_the_handshake_with_its_status_word),
        cmocka_unit_test(a_pre_shared_key_is_one_command),
        cmocka_unit_test(a_hello_retry_request_asks_for_the_early_secret_again),
        cmocka_unit_test(handles_name_a_key_by_label_too_and_are_checked),
        cmocka_unit_test(what_the_card_cannot_compute_is_refused),
        cmocka_unit_test(a_handle_is_nothing_without_offload),
        cmocka_unit_test(ordinary_pre_shared_keys_stay_in_software),
    };

    return cmocka_run_group_tests(tests, set_up_pki, tear_down_pki);
}
