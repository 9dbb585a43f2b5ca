/* Every handshake that Mbed TLS and a card make together, and what each asks of the card; what ends
 * one. The cards are simulated in this process, the servers are OpenSSL's. */
#include "tb/test.h"

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
        return;
    for (int i = 0; run->result == 0 && i < run->times; i++) {
        run->result = sim_talk(tls, run->at, &run->info, &run->use, &run->why);
        run->resumed += run->info.resumed;
    }
    dev_tls_free(tls);
}

/* Client and server of one kind; the result is the client's. */
static struct run connect_all(struct dev_tls_config *cfg, struct sim_server *server, int times) {
    struct run run = {.cfg = cfg, .times = times};

    cfg->stack = DEV_MBEDTLS;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_offload_is_done_by_the_card),
        cmocka_unit_test(a_key_in_software_is_for_comparison),
        cmocka_unit_test(the_secret_stays_in_the_card),
        cmocka_unit_test(resumption_asks_the_card_once),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
