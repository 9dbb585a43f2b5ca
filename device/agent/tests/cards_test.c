/* Several sessions and cards in one thread: who waits for whom, and who does not. */
#include "tb/test.h"

#include <stdlib.h>
#include <string.h>

#include "simbed.h"
#include "task.h"

enum { MANY = 6 };

static enum dev_stack stack = DEV_OPENSSL;

struct visit { /* one application: a connection with a server of its own */
    struct sim_card *card;
    struct sim_server server;
    struct dev_task task;
    unsigned offload, ms;
    bool release;            /* gives the card's channel back at its end */
    bool deaf;               /* the server: takes the connection and that is all */
    struct visit *calls_off; /* at its end */
    int result;
    struct dev_failure why;
    struct dev_card_use use;
    unsigned *order, place; /* when it was through, counted from 1 */
};

static void visit(struct dev_task *t, void *arg) {
    struct visit *v = arg;
    struct dev_tls_config cfg = sim_config(v->card, v->server.versions, v->offload);
    struct dev_tls *tls;

    cfg.stack = stack;
    if (v->ms)
        t->limit = dev_after(v->ms);
    v->result = dev_tls_new(&cfg, &tls, &v->why);
    assert_int_equal(v->result, 0);
    v->result = sim_talk(tls, v->server.at, NULL, &v->use, &v->why);
    if (v->order)
        v->place = ++*v->order;
    t->limit = 0;
    dev_tls_free(tls);
    if (v->release)
        dev_card_release(v->card->dev);
    if (v->calls_off)
        dev_task_cancel(&v->calls_off->task);
}

static void give_back(struct dev_task *t, void *arg) {
    struct visit *v = arg;

    (void)t;
    dev_card_release(v->card->dev);
}

static void on_end(struct dev_task *t, void *arg) {
    (void)t;
    (void)arg;
}

static void begin(struct visit *v, struct sim_bed *bed) {
    v->server.versions = DEV_TLS13;
    v->server.connections = v->deaf ? 0 : 1;
    sim_serve(&v->server, bed);
    assert_int_equal(dev_task_start(&v->task, &bed->loop, visit, on_end, v), 0);
}

static void assert_good(const struct visit *v) {
    assert_string_equal(v->why.reason, "");
    assert_int_equal(v->result, 0);
    assert_int_equal(v->use.slots, 0);
}

/* One container, six sessions that want it: one after the other, nobody is turned away. Two other
 * cards go on meanwhile. */
static void sessions_of_a_card_wait_for_its_container(void **state) {
    static struct visit v[MANY + 2];
    struct sim_bed bed;
    struct sim_card one, other[2];
    unsigned order = 0;

    (void)state;
    memset(v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&one, &bed, "one", 1);
    one.delay_ms = 4;
    for (size_t i = 0; i < MANY + 2; i++) {
        v[i].card = &one;
        v[i].offload = DEV_OFFLOAD_ECDHE;
        v[i].order = &order;
        if (i >= MANY) {
            sim_card_init(&other[i - MANY], &bed, "other", 1);
            other[i - MANY].delay_ms = 4;
            v[i].card = &other[i - MANY];
        }
        begin(&v[i], &bed);
    }
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < MANY + 2; i++) {
        sim_stop(&v[i].server);
        assert_good(&v[i]);
    }
    assert_int_equal(one.generated, MANY);
    assert_int_equal(one.agreed, MANY);
    assert_true(bed.most_in_flight == 3); /* never two commands on one card */
    assert_true(v[MANY].place < MANY && v[MANY + 1].place < MANY);
    sim_card_done(&one);
    sim_card_done(&other[0]);
    sim_card_done(&other[1]);
    sim_done(&bed);
}

static void two_containers_serve_two_sessions_at_once(void **state) {
    static struct visit v[4];
    struct sim_bed bed;
    struct sim_card card;

    (void)state;
    memset(v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&card, &bed, "card", 2);
    card.delay_ms = 2;
    for (size_t i = 0; i < 4; i++) {
        v[i].card = &card;
        v[i].offload = DEV_OFFLOAD_ECDHE | DEV_OFFLOAD_VERIFY | DEV_OFFLOAD_RANDOM;
        begin(&v[i], &bed);
    }
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 4; i++) {
        sim_stop(&v[i].server);
        assert_good(&v[i]);
    }
    assert_int_equal(card.agreed, 4);
    sim_card_done(&card);
    sim_done(&bed);
}

/* The one who has the container waits for a server that says nothing; the other one's time passes.
 */
static void whoever_waits_too_long_is_told_for_what(void **state) {
    static struct visit v[3];
    struct sim_bed bed;
    struct sim_card card;

    (void)state;
    memset(v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&card, &bed, "card", 1);
    v[0].deaf = true;
    v[1].ms = 400;
    v[1].calls_off = &v[0];
    for (size_t i = 0; i < 3; i++) {
        v[i].card = &card;
        v[i].offload = DEV_OFFLOAD_ECDHE;
        begin(&v[i], &bed);
    }
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 3; i++)
        sim_stop(&v[i].server);
    assert_int_equal(v[1].result, TB_ETIMEOUT);
    assert_non_null(strstr(v[1].why.reason, "containers for ephemeral keys are in use"));
    assert_int_equal(v[0].result, UV_ECANCELED);
    assert_good(&v[2]); /* once the first one has given up */
    sim_card_done(&card);
    sim_done(&bed);
}

/* The container becomes free, the first who waits for it is woken, and called off before it can
 * take it: the second one's turn. */
static void whoever_is_woken_and_called_off_passes_it_on(void **state) {
    static struct visit v[3];
    struct sim_bed bed;
    struct sim_card card;

    (void)state;
    memset(v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&card, &bed, "card", 1);
    v[0].deaf = true;
    v[0].ms = 300;
    v[0].calls_off = &v[1];
    v[2].ms = 10000;
    for (size_t i = 0; i < 3; i++) {
        v[i].card = &card;
        v[i].offload = DEV_OFFLOAD_ECDHE;
        begin(&v[i], &bed);
    }
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 3; i++)
        sim_stop(&v[i].server);
    assert_int_equal(v[0].result, TB_ETIMEOUT);
    assert_int_equal(v[1].result, UV_ECANCELED);
    assert_good(&v[2]);
    sim_card_done(&card);
    sim_done(&bed);
}

/* One application's session ends, and gives the channel back, while another one's has its ephemeral
 * key in the card. */
static void the_channel_stays_while_anybody_needs_it(void **state) {
    static struct visit v[2];
    struct sim_bed bed;
    struct sim_card card;

    (void)state;
    memset(v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&card, &bed, "card", 1);
    v[0].card = v[1].card = &card;
    v[0].deaf = true;
    v[0].offload = DEV_OFFLOAD_ECDHE;
    v[1].calls_off = &v[0];
    v[1].release = true;
    for (size_t i = 0; i < 2; i++)
        begin(&v[i], &bed);
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 2; i++)
        sim_stop(&v[i].server);
    assert_int_equal(v[0].result, UV_ECANCELED);
    assert_good(&v[1]);
    assert_int_equal(card.channels, 1);
    sim_run(&bed, give_back, &v[1]);
    assert_int_equal(card.channels, 2); /* now it is closed */
    sim_card_done(&card);
    sim_done(&bed);
}

static void a_card_without_containers_is_no_card_for_ecdhe(void **state) {
    static struct visit v;
    struct sim_bed bed;
    struct sim_card card;

    (void)state;
    memset(&v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&card, &bed, "card", 0);
    v.card = &card;
    v.offload = DEV_OFFLOAD_ECDHE;
    begin(&v, &bed);
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    sim_stop(&v.server);
    assert_true(v.result < 0);
    assert_non_null(strstr(v.why.reason, "card: the card has no container"));
    sim_card_done(&card);
    sim_done(&bed);
}

/* ---- files ---- */

static void read_it(struct dev_task *t, void *arg) {
    struct visit *v = arg;
    const struct iotsafe_ref cert = iotsafe_id1(2);
    uint8_t *der;
    size_t n;

    (void)t;
    v->result = dev_card_read_file(v->card->dev, &cert, &der, &n, &v->why);
    assert_int_equal(v->result, 0);
    assert_int_equal(n, v->card->cert_n);
    assert_memory_equal(der, v->card->cert, n);
    free(der);
}

static void a_file_is_read_once_for_all(void **state) {
    static struct visit v[3];
    struct sim_bed bed;
    struct sim_card card;
    unsigned commands;

    (void)state;
    memset(v, 0, sizeof v);
    sim_init(&bed);
    sim_card_init(&card, &bed, "card", 0);
    for (size_t i = 0; i < 3; i++)
        v[i].card = &card;
    sim_run(&bed, read_it, &v[0]);
    commands = card.commands;
    assert_true(commands > 0);
    sim_run(&bed, read_it, &v[0]);
    assert_int_equal(card.commands, commands);
    /* at the same time, the file being forgotten: the second waits for the first */
    dev_card_forget(card.dev);
    card.commands = 0;
    card.delay_ms = 2;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(dev_task_start(&v[i].task, &bed.loop, read_it, on_end, &v[i]), 0);
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    assert_true(card.commands > 0 && card.commands <= commands);
    sim_card_done(&card);
    sim_done(&bed);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_of_a_card_wait_for_its_container),
        cmocka_unit_test(two_containers_serve_two_sessions_at_once),
        cmocka_unit_test(whoever_waits_too_long_is_told_for_what),
        cmocka_unit_test(whoever_is_woken_and_called_off_passes_it_on),
        cmocka_unit_test(the_channel_stays_while_anybody_needs_it),
        cmocka_unit_test(a_card_without_containers_is_no_card_for_ecdhe),
        cmocka_unit_test(a_file_is_read_once_for_all),
    };

    if (argc > 1 && strcmp(argv[1], "mbedtls") == 0)
        stack = DEV_MBEDTLS;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
