/* Every handshake that OpenSSL and a card make together, and what each asks of the card. The cards
 * are simulated in this process, the servers are OpenSSL's. */
#include "tb/test.h"

#include <string.h>

#include "simbed.h"
#include "task.h"

static struct sim_bed bed;
static struct sim_card card;

static int set_up(void **state) {
    (void)state;
    sim_init(&bed);
    sim_card_init(&card, &bed, "device 7", 1);
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
        return;
    for (int i = 0; run->result == 0 && i < run->times; i++) {
        run->result = sim_talk(tls, run->at, &run->info, &run->use, &run->why);
        run->resumed += run->info.resumed;
    }
    dev_tls_free(tls);
}

/* Client and server of one kind; the result is the client's. */
static struct run connect_all(const struct dev_tls_config *cfg, struct sim_server *server,
                              int times) {
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

/* Whatever is moved to the card is done there and nothing else: software cannot take over. */
static void each_offload_is_done_by_the_card(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        for (unsigned offload = 0; offload < 8; offload++) {
            struct dev_tls_config cfg = sim_config(&card, versions[v], offload);
            struct sim_server server = {.versions = versions[v]};
            struct run run;

            sim_card_arm(&card, SIM_NONE, 0);
            run = connect_all(&cfg, &server, 2);
            assert_good(&run, &server);
            assert_string_equal(server.peer, "device 7");
            assert_string_equal(run.info.identity, "CN=device 7");
            assert_string_equal(run.info.version, version_name(versions[v]));
            assert_false(run.info.resumed);
            assert_int_equal(card.signed_, 2);
            assert_int_equal(card.generated, offload & DEV_OFFLOAD_ECDHE ? 2 : 0);
            assert_int_equal(card.agreed, card.generated);
            /* the server's certificate and its handshake signature */
            assert_int_equal(card.verified, offload & DEV_OFFLOAD_VERIFY ? 4 : 0);
            assert_int_equal(card.randoms, offload & DEV_OFFLOAD_RANDOM ? 2 : 0);
            if (offload & DEV_OFFLOAD_ECDHE)
                assert_string_equal(run.info.group, "P-256");
            assert_int_equal(run.use.slots, 0);
        }
    }
}

static void the_commands_of_full_offload_are_those_of_the_reference(void **state) {
    const struct {
        unsigned version, commands;
    } most[] = {{DEV_TLS12, 1 + 4 + 4 + 4 + 2}, {DEV_TLS13, 17}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dev_tls_config cfg = sim_config(
            &card, most[i].version, DEV_OFFLOAD_ECDHE | DEV_OFFLOAD_VERIFY | DEV_OFFLOAD_RANDOM);
        struct sim_server server = {.versions = most[i].version};
        struct run run = connect_all(&cfg, &server, 2);

        assert_good(&run, &server);
        print_message("%s: %u commands\n", version_name(most[i].version),
                      (unsigned)run.use.stats.apdus);
        assert_true(run.use.stats.apdus <= most[i].commands);
    }
}

/* The card says no, and the server is to blame, not the card. */
static void a_forged_certificate_does_not_pass_the_card(void **state) {
    X509 *real = bed.server_cert;

    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        struct dev_tls_config cfg = sim_config(&card, versions[v], DEV_OFFLOAD_VERIFY);
        struct sim_server server = {.versions = versions[v]};
        struct run run;

        bed.server_cert = X509_dup(real);
        assert_true(X509_sign(bed.server_cert, bed.server_key, EVP_sha256()) > 0);
        sim_card_arm(&card, SIM_NONE, 0);
        run = connect_all(&cfg, &server, 1);
        X509_free(bed.server_cert);
        assert_true(run.result < 0);
        assert_int_equal(card.verified, 1);
        assert_int_equal(card.signed_, 0);
        assert_int_equal(run.why.sw, 0);
        if (!strstr(run.why.reason, "server's certificate: certificate signature failure"))
            fail_msg("'%s'", run.why.reason);
    }
    bed.server_cert = real;
}

/* ---- pre-shared key ---- */

static void psk_run(unsigned version, bool plain, bool ecdhe, unsigned offload, bool software,
                    const char *group, unsigned derived, const char *groups_of_server) {
    struct dev_tls_config cfg = sim_psk_config(&card, version, plain, ecdhe);
    struct sim_server server = {.versions = version, .psk = true, .groups = groups_of_server};
    struct run run;

    server.ciphers = "kPSK:kECDHEPSK:@SECLEVEL=0";
    cfg.offload = offload;
    if (software) {
        cfg.psk_ref = NULL;
        cfg.psk = tb_span(sim_psk, sizeof sim_psk);
    }
    sim_card_arm(&card, SIM_NONE, 0);
    run = connect_all(&cfg, &server, 2);
    assert_good(&run, &server);
    assert_string_equal(run.info.identity, sim_identity);
    assert_string_equal(run.info.version, version_name(version));
    assert_string_equal(run.info.group, group);
    assert_false(run.info.resumed);
    assert_int_equal(card.derived, 2 * derived);
    assert_int_equal(card.generated, offload & DEV_OFFLOAD_ECDHE ? 2 : 0);
    assert_int_equal(card.signed_, 0);
}

static void a_secret_in_software_is_for_comparison(void **state) {
    (void)state;
    psk_run(DEV_TLS12, true, false, 0, true, "", 0, NULL);
    psk_run(DEV_TLS12, false, true, 0, true, "X25519", 0, NULL);
    psk_run(DEV_TLS13, true, true, 0, true, "X25519", 0, NULL);
    psk_run(DEV_TLS13, false, true, 0, true, "X25519", 0, NULL);
    psk_run(DEV_DTLS12, true, false, 0, true, "", 0, NULL);
    psk_run(DEV_DTLS12, false, true, 0, true, "X25519", 0, NULL);
}

static void the_secret_stays_in_the_card(void **state) {
    (void)state;
    psk_run(DEV_TLS12, true, false, 0, false, "", 1, NULL);
    psk_run(DEV_TLS12, false, true, 0, false, "X25519", 1, NULL);
    psk_run(DEV_TLS12, false, true, DEV_OFFLOAD_ECDHE, false, "P-256", 1, NULL);
    psk_run(DEV_DTLS12, true, false, 0, false, "", 1, NULL);
    psk_run(DEV_DTLS12, false, true, DEV_OFFLOAD_ECDHE, false, "P-256", 1, NULL);
    psk_run(DEV_TLS13, false, true, 0, false, "X25519", 1, NULL);
    psk_run(DEV_TLS13, false, true, DEV_OFFLOAD_ECDHE, false, "P-256", 1, NULL);
    /* psk_ke: there is no group that both know */
    psk_run(DEV_TLS13, true, true, DEV_OFFLOAD_ECDHE, false, "", 1, "X448");
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

struct two { /* one application, one server after the other */
    const struct dev_tls_config *cfg;
    struct sim_server *server;
    struct dev_channel_info info;
    struct dev_failure why;
    int result;
};

static void talk_to_both(struct dev_task *t, void *arg) {
    struct two *two = arg;
    struct dev_tls *tls;

    (void)t;
    two->result = dev_tls_new(two->cfg, &tls, &two->why);
    assert_int_equal(two->result, 0);
    for (int i = 0; two->result == 0 && i < 2; i++)
        two->result = sim_talk(tls, two->server[i].at, &two->info, NULL, &two->why);
    dev_tls_free(tls);
}

static void a_session_that_the_server_forgot_is_no_obstacle(void **state) {
    (void)state;
    for (unsigned v = 0; v < 3; v++) {
        struct dev_tls_config cfg = sim_config(&card, versions[v], 0);
        struct sim_server server[2] = {
            {.versions = versions[v], .tickets = true, .connections = 1},
            {.versions = versions[v], .tickets = true, .connections = 1}};
        struct two two = {.cfg = &cfg, .server = server};

        cfg.resume = true;
        sim_card_arm(&card, SIM_NONE, 0);
        sim_serve(&server[0], &bed);
        sim_serve(&server[1], &bed);
        sim_run(&bed, talk_to_both, &two);
        sim_join(&server[0]);
        sim_join(&server[1]);
        assert_string_equal(two.why.reason, "");
        assert_int_equal(two.result, 0);
        assert_false(two.info.resumed);
        assert_int_equal(card.signed_, 2);
    }
}

/* ---- what cannot be ---- */

static void refuse(struct dev_task *t, void *arg) {
    struct run *run = arg;
    struct dev_tls *tls;

    (void)t;
    run->result = dev_tls_new(run->cfg, &tls, &run->why);
}

static void assert_refused(const struct dev_tls_config *cfg, const char *why) {
    struct run run = {.cfg = cfg};

    sim_run(&bed, refuse, &run);
    assert_int_equal(run.result, TB_EPARSE);
    if (!strstr(run.why.reason, why))
        fail_msg("'%s' is not in '%s'", why, run.why.reason);
}

static void what_cannot_be_is_refused_with_the_reason(void **state) {
    struct dev_tls_config cfg;

    (void)state;
    cfg = sim_config(&card, DEV_TLS12 | DEV_DTLS12, 0);
    assert_refused(&cfg, "do not mix");
    cfg = sim_config(&card, 0, 0);
    assert_refused(&cfg, "no version");
    cfg = sim_config(&card, DEV_TLS13, DEV_OFFLOAD_DERIVE);
    assert_refused(&cfg, "only with Mbed TLS");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.key = NULL;
    assert_refused(&cfg, "no credential");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.cert = TB_SPAN_NONE;
    assert_refused(&cfg, "needs its certificate");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.ca = TB_SPAN_NONE;
    assert_refused(&cfg, "no CA certificates");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.card = NULL;
    assert_refused(&cfg, "no card");
    cfg = sim_config(&card, DEV_TLS13, 0);
    cfg.psk_identity = "x";
    assert_refused(&cfg, "exclude each other");
    cfg = sim_psk_config(&card, DEV_TLS13, false, false);
    assert_refused(&cfg, "needs an exchange");
    cfg = sim_psk_config(&card, DEV_TLS13, true, false);
    assert_refused(&cfg, "psk_ke");
    cfg = sim_psk_config(&card, DEV_TLS12, true, false);
    cfg.offload = DEV_OFFLOAD_ECDHE;
    assert_refused(&cfg, "no key agreement");
    cfg.offload = DEV_OFFLOAD_VERIFY;
    assert_refused(&cfg, "no signatures");
    cfg.offload = 0;
    cfg.psk_ref = NULL;
    assert_refused(&cfg, "needs its secret");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_offload_is_done_by_the_card),
        cmocka_unit_test(the_commands_of_full_offload_are_those_of_the_reference),
        cmocka_unit_test(a_forged_certificate_does_not_pass_the_card),
        cmocka_unit_test(a_secret_in_software_is_for_comparison),
        cmocka_unit_test(the_secret_stays_in_the_card),
        cmocka_unit_test(resumption_asks_the_card_once),
        cmocka_unit_test(a_session_that_the_server_forgot_is_no_obstacle),
        cmocka_unit_test(what_cannot_be_is_refused_with_the_reason),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
