/* The OpenSSL channel with its key in a card that takes its time, against a TLS server in a thread.
 */
#include "tb/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"
#include "channel.h"
#include "task.h"
#include "tb/safe.h"

struct dialogue { /* one session of a test */
    struct bed *bed;
    struct bed_card *card;
    struct dev_card *dev;
    struct dev_tls *tls;
    struct dev_task task;
    const char *server_name;
    unsigned versions, timeout_ms, cancel_ms;
    uv_timer_t cancel;
    const char *say;
    char heard[64];
    int result;
    struct dev_failure why;
    struct dev_channel_info info;
    bool ended;
};

static void on_cancel(uv_timer_t *t) {
    struct dialogue *d = t->data;

    dev_task_cancel(&d->task);
}

static int talk(struct dialogue *d, struct dev_channel *ch) {
    uint64_t until = dev_after(20000);
    size_t heard = 0;
    int r = ch->ops->write(ch, d->say, strlen(d->say), &d->why);

    while (r == 0 && heard < strlen(d->say)) {
        r = ch->ops->read(ch, d->heard + heard, sizeof d->heard - 1 - heard, &d->why);
        if (r == UV_EAGAIN)
            r = dev_stream_wait(ch->stream, 0, until);
        else if (r > 0) {
            heard += (size_t)r;
            r = 0;
        }
    }
    return r;
}

static void body(struct dev_task *t, void *arg) {
    struct dialogue *d = arg;
    const struct iotsafe_ref cert = iotsafe_id1(2), key = iotsafe_id1(1);
    uint8_t *der;
    size_t der_n;
    struct dev_tls_config cfg = {
        .server_name = d->server_name ? d->server_name : "localhost",
        .versions = d->versions,
        .ca_file = d->bed->ca_file,
        .key = &key,
        .card = d->dev,
    };
    struct dev_stream *s;
    struct dev_channel *ch;

    d->result = dev_card_read_file(d->dev, &cert, &der, &der_n, &d->why);
    if (d->result < 0)
        return;
    cfg.cert = tb_span(der, der_n);
    d->result = dev_tls_new(&cfg, &d->tls, &d->why);
    free(der);
    if (d->result == 0)
        d->result = dev_stream_connect(t, d->bed->hub, dev_after(20000), &s);
    if (d->result < 0)
        return;
    d->result = dev_channel_open(d->tls, s, &ch, &d->why);
    if (d->result < 0) {
        dev_stream_reset(s);
        return;
    }
    d->result = ch->ops->handshake(ch, dev_after(d->timeout_ms), &d->why);
    if (d->result == 0) {
        ch->ops->info(ch, &d->info);
        if (d->say)
            d->result = talk(d, ch);
    }
    ch->ops->close(ch, d->result == 0);
    t->cancelled = false;
    dev_card_release(d->dev);
}

static void on_end(struct dev_task *t, void *arg) {
    struct dialogue *d = arg;

    (void)t;
    d->ended = true;
    dev_tls_free(d->tls);
    dev_card_free(d->dev);
    if (d->cancel_ms)
        uv_close((uv_handle_t *)&d->cancel, NULL);
    bed_card_close(d->card);
}

static void dialogue_start(struct dialogue *d, struct bed *bed, struct bed_card *card,
                           unsigned versions) {
    struct tb_error e;

    d->bed = bed;
    d->card = card;
    d->versions = versions;
    if (!d->timeout_ms)
        d->timeout_ms = 20000;
    assert_int_equal(dev_card_new(&bed->loop, card->link, NULL, &d->dev, &e), 0);
    if (d->cancel_ms) {
        uv_timer_init(&bed->loop, &d->cancel);
        d->cancel.data = d;
        uv_timer_start(&d->cancel, on_cancel, d->cancel_ms, 0);
    }
    assert_int_equal(dev_task_start(&d->task, &bed->loop, body, on_end, d), 0);
}

static void run(struct bed *bed) {
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    bed_join(bed);
}

/* One session with a card prepared by the caller. */
static void converse(struct dialogue *d, struct bed *bed, struct bed_card *card,
                     unsigned versions) {
    bed_serve(bed, 1, versions, card, 1);
    dialogue_start(d, bed, card, versions);
    run(bed);
    assert_true(d->ended);
    bed_card_done(card);
    bed_done(bed);
}

/* ---- tests ---- */

static void the_card_proves_who_we_are(void **state) {
    const unsigned versions[] = {DEV_TLS12, DEV_TLS13};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dialogue d = {.say = "hello hub"};
        struct bed_card card;
        struct bed bed;

        bed_init(&bed);
        bed_card_init(&card, &bed, "device 7");
        card.delay_ms = 5;
        converse(&d, &bed, &card, versions[i]);
        assert_string_equal(d.why.reason, "");
        assert_int_equal(d.result, 0);
        assert_string_equal(d.heard, "hello hub");
        assert_string_equal(d.info.identity, "CN=device 7");
        assert_string_equal(d.info.version, i == 0 ? "TLSv1.2" : "TLSv1.3");
        assert_string_equal(bed.peer, "device 7");
        assert_int_equal(bed.good, 1);
        assert_int_equal(card.card.signatures, 1);
    }
}

static void a_server_with_another_name_is_refused(void **state) {
    struct dialogue d = {.server_name = "elsewhere"};
    struct bed_card card;
    struct bed bed;

    (void)state;
    bed_init(&bed);
    bed_card_init(&card, &bed, "device");
    converse(&d, &bed, &card, DEV_TLS13);
    assert_true(d.result < 0);
    assert_non_null(strstr(d.why.reason, "server's certificate"));
    assert_int_equal(card.card.signatures, 0);
    assert_int_equal(bed.good, 0);
}

static void a_refusal_by_the_card_is_the_reason(void **state) {
    struct dialogue d = {0};
    struct bed_card card;
    struct bed bed;

    (void)state;
    bed_init(&bed);
    bed_card_init(&card, &bed, "device");
    card.card.fail_sign = 0x6F00;
    converse(&d, &bed, &card, DEV_TLS13);
    assert_true(d.result < 0);
    assert_int_equal(d.why.sw, 0x6F00);
    assert_non_null(strstr(d.why.reason, "card"));
    assert_non_null(strstr(d.why.reason, "6F00"));
}

static void a_card_that_vanishes_ends_the_handshake(void **state) {
    struct dialogue d = {0};
    struct bed_card card;
    struct bed bed;

    (void)state;
    bed_init(&bed);
    bed_card_init(&card, &bed, "device");
    card.gone_at = TB_SAFE_COMPUTE_SIGNATURE_UPDATE;
    converse(&d, &bed, &card, DEV_TLS12);
    assert_true(d.result < 0);
    assert_non_null(strstr(d.why.reason, "card: "));
    assert_non_null(strstr(d.why.reason, bed.dir)); /* where it was */
    assert_int_equal(d.why.sw, 0);
    assert_int_equal(card.card.signatures, 0);
}

static void a_certificate_nobody_knows_brings_the_servers_alert(void **state) {
    struct dialogue d = {0};
    struct bed_card card;
    struct bed bed;

    (void)state;
    bed_init(&bed);
    bed_card_init(&card, &bed, "stranger");
    bed_serve(&bed, 1, DEV_TLS12, NULL, 0);
    dialogue_start(&d, &bed, &card, DEV_TLS12);
    run(&bed);
    bed_card_done(&card);
    bed_done(&bed);
    assert_true(d.result < 0);
    assert_non_null(strstr(d.why.reason, "alert"));
    assert_int_equal(d.why.sw, 0);
}

static void a_silent_card_costs_no_more_than_the_deadline(void **state) {
    struct dialogue d = {.cancel_ms = 50};
    struct bed_card card;
    struct bed bed;

    (void)state;
    bed_init(&bed);
    bed_card_init(&card, &bed, "device");
    card.silent = true;
    bed_serve(&bed, 0, DEV_TLS13, &card, 1);
    dialogue_start(&d, &bed, &card, DEV_TLS13);
    run(&bed);
    assert_int_equal(d.result, IOTSAFE_E_TIMEOUT);
    bed_card_done(&card);
    bed_done(&bed);
}

enum { MANY = 20 };

static void slow_cards_do_not_wait_for_each_other(void **state) {
    static struct dialogue d[MANY];
    static struct bed_card cards[MANY];
    struct bed bed;

    (void)state;
    memset(d, 0, sizeof d);
    bed_init(&bed);
    for (size_t i = 0; i < MANY; i++) {
        char name[16];

        snprintf(name, sizeof name, "device %zu", i);
        bed_card_init(&cards[i], &bed, name);
        cards[i].delay_ms = 20;
        d[i].say = name[0] ? "hi" : NULL;
    }
    bed_serve(&bed, MANY, DEV_TLS13, cards, MANY);
    for (size_t i = 0; i < MANY; i++)
        dialogue_start(&d[i], &bed, &cards[i], DEV_TLS13);
    run(&bed);
    for (size_t i = 0; i < MANY; i++) {
        assert_string_equal(d[i].why.reason, "");
        assert_string_equal(d[i].heard, "hi");
        assert_int_equal(cards[i].card.signatures, 1);
        bed_card_done(&cards[i]);
    }
    assert_int_equal(bed.good, MANY);
    /* One thread, and yet the cards worked side by side. */
    assert_true(bed.most_in_flight > MANY / 2);
    bed_done(&bed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_card_proves_who_we_are),
        cmocka_unit_test(a_server_with_another_name_is_refused),
        cmocka_unit_test(a_refusal_by_the_card_is_the_reason),
        cmocka_unit_test(a_card_that_vanishes_ends_the_handshake),
        cmocka_unit_test(a_certificate_nobody_knows_brings_the_servers_alert),
        cmocka_unit_test(a_silent_card_costs_no_more_than_the_deadline),
        cmocka_unit_test(slow_cards_do_not_wait_for_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
