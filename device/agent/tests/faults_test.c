/* What can go wrong in a handshake, at each point of it: the session ends with one clear error, the
 * card's containers are free, nothing was tried again, and the next session is as good as any. */
#include "tb/test.h"

#include <stdio.h>
#include <string.h>

#include "simbed.h"
#include "task.h"

enum { FULL = DEV_OFFLOAD_ECDHE | DEV_OFFLOAD_VERIFY | DEV_OFFLOAD_RANDOM };

static const unsigned versions[] = {DEV_TLS12, DEV_TLS13, DEV_DTLS12};

/* ---- the card ---- */

struct trial { /* on one dev_tls: a good connection, then one fault after the other, each followed
                  by a good connection */
    struct sim_bed bed;
    struct sim_card card;
    struct sim_server server;
    struct dev_tls_config cfg;
    unsigned commands; /* of a good one */
};

static void good(struct trial *t, struct dev_tls *tls) {
    struct dev_failure why;
    struct dev_card_use use;

    sim_card_arm(&t->card, SIM_NONE, 0);
    if (sim_talk(tls, t->server.at, NULL, &use, &why) < 0)
        fail_msg("a good card: %s", why.reason);
    t->commands = t->card.commands;
}

static void check_failure(const struct trial *t, enum sim_fault fault, unsigned at, int r,
                          const struct dev_failure *why) {
    static const char *const texts[SIM_FAULTS] = {[SIM_REFUSES] = "SW 6F00",
                                                  [SIM_REMOVED] = "card: ",
                                                  [SIM_LATE] = "card: ",
                                                  [SIM_CANCEL] = "called off"};
    static const int results[SIM_FAULTS] = {[SIM_LATE] = TB_ETIMEOUT, [SIM_CANCEL] = UV_ECANCELED};

    if (r >= 0 || !strstr(why->reason, texts[fault]) || (results[fault] && r != results[fault]))
        fail_msg("fault %d at command %u: result %d, '%s'", fault, at, r, why->reason);
    assert_int_equal(why->sw, fault == SIM_REFUSES ? 0x6F00 : 0);
    /* A session of the card's is closed or opened once more, a link dialled: nothing is computed.
     */
    if (t->card.after > 4 || t->card.computed_after > 0)
        fail_msg("fault %d at command %u: %u commands after it, %u of them computed", fault, at,
                 t->card.after, t->card.computed_after);
}

static void each_fault(struct dev_task *task, void *arg) {
    struct trial *t = arg;
    struct dev_failure why;
    struct dev_card_use use;
    struct dev_tls *tls;

    assert_int_equal(dev_tls_new(&t->cfg, &tls, &why), 0);
    good(t, tls);
    good(t, tls); /* the channel is open, the containers are known */
    for (unsigned at = 1; at <= t->commands; at++) {
        for (int f = SIM_REFUSES; f < SIM_FAULTS; f++) {
            const enum sim_fault fault = (enum sim_fault)f;
            unsigned all = t->commands;
            int r;

            sim_card_arm(&t->card, fault, at);
            r = sim_talk(tls, t->server.at, NULL, &use, &why);
            task->cancelled = false;
            check_failure(t, fault, at, r, &why);
            assert_int_equal(use.slots, 0);
            sim_card_mend(&t->card);
            good(t, tls);
            t->commands = all;
        }
    }
    dev_tls_free(tls);
}

static void run_trial(struct trial *t, unsigned version) {
    t->server.versions = version;
    t->server.connections = 1000; /* ended by sim_stop() */
    sim_serve(&t->server, &t->bed);
    sim_run(&t->bed, each_fault, t);
    sim_stop(&t->server);
    sim_card_done(&t->card);
    sim_done(&t->bed);
}

static void any_command_may_fail(void **state) {
    (void)state;
    for (size_t v = 0; v < 3; v++) {
        struct trial t = {.commands = 0};

        sim_init(&t.bed);
        sim_card_init(&t.card, &t.bed, "device", 1);
        t.cfg = sim_config(&t.card, versions[v], FULL);
        run_trial(&t, versions[v]);
    }
}

static void any_command_of_a_pre_shared_key_may_fail(void **state) {
    (void)state;
    for (size_t v = 0; v < 3; v++) {
        struct trial t = {.server = {.psk = true, .ciphers = "kECDHEPSK:@SECLEVEL=0"}};

        sim_init(&t.bed);
        sim_card_init(&t.card, &t.bed, "device", 1);
        t.cfg = sim_psk_config(&t.card, versions[v], false, true);
        t.cfg.offload = DEV_OFFLOAD_ECDHE;
        run_trial(&t, versions[v]);
    }
}

/* ---- the peer ---- */

struct silence {
    struct sim_bed bed;
    struct sim_card card;
    struct sim_server server;
    struct dev_tls *tls;
    unsigned ms, cancel_ms; /* cancel_ms: called off then, 0: never */
    struct dev_task *task;
    uv_timer_t timer;
    int result;
    struct dev_failure why;
    struct dev_card_use use;
};

static void on_timer(uv_timer_t *timer) {
    struct silence *s = timer->data;

    dev_task_cancel(s->task);
}

static int shake(struct silence *s, uint64_t until) {
    const bool datagrams = strncmp(s->server.at, "udp:", 4) == 0;
    struct dev_task *t = dev_task_current();
    struct dev_stream *stream;
    struct dev_channel *ch;
    char byte;
    int r = datagrams ? dev_stream_connect_udp(t, s->server.at + 4, dev_after(20000), &stream)
                      : dev_stream_connect(t, s->server.at, dev_after(20000), &stream);

    assert_int_equal(r, 0);
    assert_int_equal(dev_channel_open(s->tls, stream, &ch, &s->why), 0);
    if (s->cancel_ms)
        uv_timer_start(&s->timer, on_timer, s->cancel_ms, 0);
    r = ch->ops->handshake(ch, until, &s->why);
    if (r == 0) { /* a TLS 1.3 client learns of a server that went only later */
        do {
            r = ch->ops->read(ch, &byte, 1, &s->why);
        } while (r == UV_EAGAIN && (r = dev_stream_wait(ch->stream, 0, until)) == 0);
        if (r == TB_ETIMEOUT || r == UV_ECANCELED || r == TB_ECLOSED)
            dev_fail(&s->why, "after the handshake");
    }
    s->use = ch->use;
    ch->ops->close(ch, false);
    return r;
}

static void hear_nothing_more(struct dev_task *t, void *arg) {
    struct silence *s = arg;
    const struct dev_tls_config cfg = sim_config(&s->card, s->server.versions, FULL);

    s->task = t;
    uv_timer_init(t->loop, &s->timer);
    s->timer.data = s;
    assert_int_equal(dev_tls_new(&cfg, &s->tls, &s->why), 0);
    s->result = shake(s, dev_after(s->ms));
    uv_close((uv_handle_t *)&s->timer, NULL);
    dev_tls_free(s->tls);
}

enum silent_end { TIME_PASSES, CALLED_OFF, SERVER_CLOSES };

/* The server's record behind the first `records` never comes. */
static void fall_silent(unsigned version, unsigned records, enum silent_end end) {
    struct silence s = {.ms = end == TIME_PASSES ? 15 : 20000,
                        .cancel_ms = end == CALLED_OFF ? 15 : 0};

    sim_init(&s.bed);
    sim_card_init(&s.card, &s.bed, "device", 1);
    s.server = (struct sim_server){.versions = version,
                                   .connections = 1,
                                   .mute = records == 0,
                                   .records = records,
                                   .close = end == SERVER_CLOSES};
    sim_serve(&s.server, &s.bed);
    sim_run(&s.bed, hear_nothing_more, &s);
    sim_stop(&s.server);
    sim_card_done(&s.card);
    sim_done(&s.bed);
    if (s.result >= 0 || !s.why.reason[0])
        fail_msg("%u records: result %d '%s'", records, s.result, s.why.reason);
    assert_int_equal(s.use.slots, 0);
    assert_int_equal(s.why.sw, 0);
    assert_null(strstr(s.why.reason, "card"));
    if (end != SERVER_CLOSES)
        assert_int_equal(s.result, end == TIME_PASSES ? TB_ETIMEOUT : UV_ECANCELED);
}

static void any_record_of_the_server_may_fail_to_come(void **state) {
    /* Nothing of the server's first flight, each part of it, everything but the last. */
    const unsigned records[] = {5, 5, 6};

    (void)state;
    for (size_t v = 0; v < 3; v++) {
        for (unsigned k = 0; k < records[v]; k++) {
            fall_silent(versions[v], k, TIME_PASSES);
            fall_silent(versions[v], k, CALLED_OFF);
            if (k > 0 && versions[v] != DEV_DTLS12)
                fall_silent(versions[v], k, SERVER_CLOSES);
        }
    }
}

static void nobody_there_is_said_at_once(void **state) {
    struct silence s = {.ms = 20000};

    (void)state;
    sim_init(&s.bed);
    sim_card_init(&s.card, &s.bed, "device", 1);
    s.server = (struct sim_server){.versions = DEV_DTLS12};
    sim_serve(&s.server, &s.bed);
    sim_join(&s.server); /* its port is free again */
    sim_run(&s.bed, hear_nothing_more, &s);
    sim_card_done(&s.card);
    sim_done(&s.bed);
    assert_true(s.result < 0);
    assert_non_null(strstr(s.why.reason, "refused"));
}

/* ---- datagrams ---- */

static void talk(struct dev_task *t, void *arg) {
    struct silence *s = arg;
    const struct dev_tls_config cfg = sim_config(&s->card, s->server.versions, FULL);

    (void)t;
    assert_int_equal(dev_tls_new(&cfg, &s->tls, &s->why), 0);
    s->result = sim_talk(s->tls, s->server.at, NULL, &s->use, &s->why);
    dev_tls_free(s->tls);
}

static void dtls(struct silence *s, unsigned delay_ms) {
    sim_init(&s->bed);
    sim_card_init(&s->card, &s->bed, "device", 1);
    s->card.delay_ms = delay_ms;
    s->server.versions = DEV_DTLS12;
    s->server.connections = 1;
    sim_serve(&s->server, &s->bed);
    sim_run(&s->bed, talk, s);
    sim_stop(&s->server);
    sim_card_done(&s->card);
    sim_done(&s->bed);
    assert_string_equal(s->why.reason, "");
    assert_int_equal(s->result, 0);
    /* whatever came twice, the card was asked once */
    assert_int_equal(s->card.generated, 1);
    assert_int_equal(s->card.signed_, 1);
}

static void a_lost_datagram_is_sent_again(void **state) {
    struct silence s = {.server = {.records = 1, .drop_one = true, .timer_ms = 100}};

    (void)state;
    dtls(&s, 0);
}

/* ClientHello goes twice, with one key pair where the key share is not in it. */
static void a_cookie_is_given_back(void **state) {
    struct silence s = {.server = {.cookie = true}};

    (void)state;
    dtls(&s, 0);
}

/* The card takes longer than the server's timer: its flight comes again, and does no harm. */
static void a_slow_card_makes_the_server_repeat_itself(void **state) {
    struct silence s = {.server = {.timer_ms = 60}};

    (void)state;
    dtls(&s, 15);
    assert_true(s.server.repeats > 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_command_may_fail),
        cmocka_unit_test(any_command_of_a_pre_shared_key_may_fail),
        cmocka_unit_test(any_record_of_the_server_may_fail_to_come),
        cmocka_unit_test(nobody_there_is_said_at_once),
        cmocka_unit_test(a_lost_datagram_is_sent_again),
        cmocka_unit_test(a_cookie_is_given_back),
        cmocka_unit_test(a_slow_card_makes_the_server_repeat_itself),
    };

    sim_choose_stack(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
