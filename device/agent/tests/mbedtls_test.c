/* Every handshake that Mbed TLS and a card make together, and what each asks of the card; what ends
 * one. The cards are simulated in this process, the servers are OpenSSL's. */
#include "tb/test.h"

#include <stdlib.h>
#include <string.h>

#include "simbed.h"
#include "task.h"

static struct sim_bed bed;
static struct sim_card card;

enum {
    ECDHE = DEV_OFFLOAD_ECDHE,
    VERIFY = DEV_OFFLOAD_VERIFY,
    RANDOM = DEV_OFFLOAD_RANDOM,
    DERIVE = DEV_OFFLOAD_DERIVE,
    ALL = ECDHE | VERIFY | RANDOM | DERIVE
};

static int set_up(void **state) {
    (void)state;
    sim_init(&bed);
    sim_card_init(&card, &bed, "device 7", 2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    sim_card_done(&card);
    sim_done(&bed);
    return 0;
}

struct run { /* some connections of one application */
    const struct dev_tls_config *cfg;
    const char *at;
    int times, result;
    struct dev_channel_info info;
    struct dev_card_use use; /* of the last one */
    struct dev_failure why;
    unsigned resumed;
};

static void connect_times(struct dev_task *t, void *arg) {
    struct run *run = arg;
    struct dev_tls *tls;

    (void)t;
    run->result = dev_tls_new(run->cfg, &tls, &run->why);
    if (run->result < 0)
        abort(); /* the server would wait for ever */
    for (int i = 0; run->result == 0 && i < run->times; i++) {
        run->result = sim_talk(tls, run->at, &run->info, &run->use, &run->why);
        run->resumed += run->info.resumed;
    }
    dev_tls_free(tls);
}

/* Client and server of one kind; the result is the client's. */
static struct run connect_all(struct dev_tls_config *cfg, struct sim_server *server, int times) {
    struct run run = {.cfg = cfg, .times = times};

    server->connections = times;
    sim_serve(server, &bed);
    run.at = server->at;
    sim_run(&bed, connect_times, &run);
    sim_join(server);
    return run;
}

static void assert_good(const struct run *run, const struct sim_server *server) {
    assert_string_equal(run->why.reason, "");
    assert_int_equal(run->result, 0);
    assert_int_equal(server->good, run->times);
}

static const char *version_name(unsigned version) {
    return version == DEV_TLS12 ? "TLSv1.2" : version == DEV_TLS13 ? "TLSv1.3" : "DTLSv1.2";
}

static const unsigned versions[] = {DEV_TLS12, DEV_TLS13, DEV_DTLS12};

/* ---- certificate ---- */

static void each_offload_is_done_by_the_card(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        for (unsigned offload = 0; offload <= ALL; offload++) {
            struct dev_tls_config cfg = sim_config(&card, versions[v], offload);
            struct sim_server server = {.versions = versions[v]};
            struct run run;

            if ((offload & DERIVE) && !(offload & ECDHE))
                continue;
            sim_card_arm(&card, SIM_NONE, 0);
            run = connect_all(&cfg, &server, 2);
            assert_good(&run, &server);
            assert_string_equal(server.peer, "device 7");
            assert_string_equal(run.info.identity, "CN=device 7");
            assert_string_equal(run.info.version, version_name(versions[v]));
            assert_string_equal(run.info.cipher, versions[v] == DEV_TLS13
                                                     ? "TLS_AES_128_GCM_SHA256"
                                                     : "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
            assert_string_equal(run.info.group, "P-256");
            assert_false(run.info.resumed);
            assert_int_equal(card.signed_, 2);
            assert_int_equal(card.generated, offload & ECDHE ? 2 : 0);
            assert_int_equal(card.agreed, card.generated);
            /* the server's certificate and its handshake signature */
            assert_int_equal(card.verified, offload & VERIFY ? 4 : 0);
            assert_int_equal(card.randoms, offload & RANDOM ? 2 : 0);
            assert_int_equal(card.derived, offload & DERIVE ? 2 : 0);
            assert_int_equal(run.use.slots, 0);
        }
    }
}

static void a_key_in_software_is_for_comparison(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        struct dev_tls_config cfg = sim_psk_config(&card, versions[v], true, true);
        struct sim_server server = {
            .versions = versions[v], .psk = true, .ciphers = "PSK+AES128:ECDHEPSK:@SECLEVEL=0"};
        struct run run;

        cfg.psk_ref = NULL;
        cfg.psk = tb_span(sim_psk, sizeof sim_psk);
        cfg.card = NULL;
        sim_card_arm(&card, SIM_NONE, 0);
        run = connect_all(&cfg, &server, 2);
        assert_good(&run, &server);
        assert_int_equal(card.commands, 0);
    }
}

/* ---- pre-shared key ---- */

static void psk_run(unsigned version, bool plain, bool ecdhe, unsigned offload, unsigned derived) {
    struct dev_tls_config cfg = sim_psk_config(&card, version, plain, ecdhe);
    struct sim_server server = {
        .versions = version, .psk = true, .ciphers = "PSK+AES128:ECDHEPSK:@SECLEVEL=0"};
    struct run run;

    cfg.offload = offload;
    sim_card_arm(&card, SIM_NONE, 0);
    run = connect_all(&cfg, &server, 2);
    assert_good(&run, &server);
    assert_string_equal(run.info.identity, sim_identity);
    assert_string_equal(run.info.version, version_name(version));
    assert_string_equal(run.info.group, ecdhe ? "P-256" : "");
    assert_int_equal(card.derived, 2 * derived);
    assert_int_equal(card.generated, offload & ECDHE ? 2 : 0);
    assert_int_equal(card.signed_, 0);
    assert_false(run.info.resumed);
}

static void the_secret_stays_in_the_card(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        psk_run(versions[v], true, false, 0, 1);
        psk_run(versions[v], true, false, RANDOM, 1);
        psk_run(versions[v], false, true, 0, 1);
        psk_run(versions[v], false, true, ECDHE, 1);
        /* TLS 1.2: PSK and shared secret in one PRF; TLS 1.3: one HKDF-Extract each */
        psk_run(versions[v], false, true, ECDHE | DERIVE, versions[v] == DEV_TLS13 ? 2 : 1);
    }
}

/* ---- resumption ---- */

static void resumption_asks_the_card_once(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        struct dev_tls_config cfg = sim_config(&card, versions[v], 0);
        struct sim_server server = {.versions = versions[v], .tickets = true};
        struct run run;

        cfg.resume = true;
        sim_card_arm(&card, SIM_NONE, 0);
        run = connect_all(&cfg, &server, 4);
        assert_good(&run, &server);
        assert_int_equal(run.resumed, 3);
        assert_true(server.resumed);
        assert_int_equal(card.signed_, 1);

        cfg.resume = false;
        server.good = 0;
        sim_card_arm(&card, SIM_NONE, 0);
        run = connect_all(&cfg, &server, 3);
        assert_good(&run, &server);
        assert_int_equal(run.resumed, 0);
        assert_int_equal(card.signed_, 3);
    }
}

static void a_session_of_a_pre_shared_key_is_resumed_before_tls_13(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        struct dev_tls_config cfg = sim_psk_config(&card, versions[v], true, true);
        struct sim_server server = {.versions = versions[v],
                                    .psk = true,
                                    .tickets = true,
                                    .ciphers = "PSK+AES128:ECDHEPSK:@SECLEVEL=0"};
        struct run run;

        cfg.resume = true;
        sim_card_arm(&card, SIM_NONE, 0);
        run = connect_all(&cfg, &server, 3);
        assert_good(&run, &server);
        assert_int_equal(run.resumed, versions[v] == DEV_TLS13 ? 0 : 2);
        assert_int_equal(card.derived, versions[v] == DEV_TLS13 ? 3 : 1);
    }
}

/* ---- what ends a handshake: more in faults_test.c ---- */

static void assert_failure(unsigned version, struct sim_server server, const char *why) {
    struct dev_tls_config cfg = sim_config(&card, version, 0);
    struct run run;

    server.versions = version;
    run = connect_all(&cfg, &server, 1);
    assert_true(run.result < 0);
    if (!strstr(run.why.reason, why))
        fail_msg("'%s' is not in '%s'", why, run.why.reason);
    assert_int_equal(run.why.sw, 0);
}

static void the_peers_alert_is_told_by_name(void **state) {
    (void)state;
    assert_failure(DEV_TLS12, (struct sim_server){.groups = "X25519"},
                   "peer sent alert 40 (handshake failure)");
    assert_failure(DEV_TLS13, (struct sim_server){.groups = "X25519"},
                   "peer sent alert 40 (handshake failure)");
}

/* A TLS 1.3 client hears of it when it reads. */
static void a_stranger_is_told_why(void **state) {
    struct sim_bed elsewhere;
    struct sim_card stranger;

    (void)state;
    sim_init(&elsewhere);
    sim_card_init(&stranger, &elsewhere, "stranger", 1);
    for (unsigned v = 0; v < 3; v++) {
        struct dev_tls_config cfg = sim_config(&stranger, versions[v], 0);
        struct sim_server server = {.versions = versions[v]};
        struct run run;

        cfg.ca = tb_span(bed.ca_der, bed.ca_der_n);
        run = connect_all(&cfg, &server, 1);
        assert_true(run.result < 0);
        assert_string_equal(run.why.reason, versions[v] == DEV_TLS13
                                                ? "connection: peer sent alert 48 (unknown CA)"
                                                : "handshake: peer sent alert 48 (unknown CA)");
    }
    sim_card_done(&stranger);
    sim_done(&elsewhere);
}

static void a_peer_that_vanishes_is_told(void **state) {
    (void)state;
    assert_failure(DEV_TLS13, (struct sim_server){.records = 1, .close = true}, "closed");
}

/* ---- who the server is ---- */

static void expect_name(unsigned version, const char *name, bool good) {
    struct dev_tls_config cfg = sim_config(&card, version, 0);
    struct sim_server server = {.versions = version};
    struct run run;

    cfg.server_name = name;
    run = connect_all(&cfg, &server, 1);
    if (good)
        assert_good(&run, &server);
    else
        assert_non_null(strstr(run.why.reason, "server's certificate: "));
}

static void the_certificate_has_to_be_for_the_name_or_address(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        expect_name(versions[v], "localhost", true);
        expect_name(versions[v], "127.0.0.1", true);
        expect_name(versions[v], "elsewhere", false);
        expect_name(versions[v], "127.0.0.2", false);
        expect_name(versions[v], "::1", false);
    }
}

/* ---- what cannot be ---- */

static void refuse(struct dev_task *t, void *arg) {
    struct run *run = arg;
    struct dev_tls *tls;

    (void)t;
    run->result = dev_tls_new(run->cfg, &tls, &run->why);
}

static void assert_refused(struct dev_tls_config *cfg, const char *why) {
    struct run run = {.cfg = cfg};

    sim_run(&bed, refuse, &run);
    assert_true(run.result < 0);
    if (!strstr(run.why.reason, why))
        fail_msg("'%s' is not in '%s'", why, run.why.reason);
}

static void what_cannot_be_is_refused_with_the_reason(void **state) {
    struct dev_tls_config cfg;

    (void)state;
    cfg = sim_config(&card, DEV_TLS13, DERIVE);
    assert_refused(&cfg, "needs ecdhe");
    cfg = sim_psk_config(&card, DEV_TLS12, true, false);
    cfg.offload = ECDHE;
    assert_refused(&cfg, "no key agreement");
    cfg.offload = VERIFY;
    assert_refused(&cfg, "no signatures");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.ciphers = "TLS_AES_128_GCM_SHA256:NO_SUCH";
    assert_refused(&cfg, "no cipher suite NO_SUCH");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.ca_file = "/nowhere/ca.pem";
    assert_refused(&cfg, "CA certificate /nowhere/ca.pem: ");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.cert = tb_span("\x30\x82\x01", 3);
    assert_refused(&cfg, "own certificate: ");
}

/* ---- suites, key log ---- */

static unsigned logged;

static void on_keylog(const char *line, void *user) {
    assert_string_equal(user, "log");
    assert_true(strncmp(line, "CLIENT_RANDOM ", 14) == 0 || strncmp(line, "CLIENT_", 7) == 0 ||
                strncmp(line, "SERVER_", 7) == 0);
    logged++;
}

static void suites_have_the_names_of_iana(void **state) {
    static const struct {
        unsigned version;
        const char *name, *lines;
    } rows[] = {{DEV_TLS12, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", "1"},
                {DEV_TLS12, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", "1"},
                {DEV_TLS13, "TLS_AES_128_GCM_SHA256", "4"},
                {DEV_DTLS12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "1"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dev_tls_config cfg = sim_config(&card, rows[i].version, 0);
        struct sim_server server = {.versions = rows[i].version, .ciphers = "ALL:@SECLEVEL=0"};
        struct run run;
        char log[] = "log";

        cfg.ciphers = rows[i].name;
        cfg.keylog = on_keylog;
        cfg.keylog_user = log;
        logged = 0;
        run = connect_all(&cfg, &server, 1);
        assert_good(&run, &server);
        assert_string_equal(run.info.cipher, rows[i].name);
        assert_int_equal(logged, rows[i].lines[0] - '0');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_offload_is_done_by_the_card),
        cmocka_unit_test(a_key_in_software_is_for_comparison),
        cmocka_unit_test(the_secret_stays_in_the_card),
        cmocka_unit_test(resumption_asks_the_card_once),
        cmocka_unit_test(a_session_of_a_pre_shared_key_is_resumed_before_tls_13),
        cmocka_unit_test(the_peers_alert_is_told_by_name),
        cmocka_unit_test(a_stranger_is_told_why),
        cmocka_unit_test(a_peer_that_vanishes_is_told),
        cmocka_unit_test(the_certificate_has_to_be_for_the_name_or_address),
        cmocka_unit_test(what_cannot_be_is_refused_with_the_reason),
        cmocka_unit_test(suites_have_the_names_of_iana),
    };

    sim_stack = DEV_MBEDTLS;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
