/* A transport that waits in the kernel, in a thread of its own: nobody else waits with it. It is
 * libiotsafe's own for vpcd here, against a card on the loop. */
#include "tb/test.h"

#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "blocking.h"
#include "card.h"
#include "task.h"

struct asking {
    struct bed bed;
    struct bed_card card;
    struct dev_card *dev;
    struct iotsafe *client;
    struct dev_task task, other;
    int result[2];
    struct dev_failure why;
    unsigned ticks, ticks_at_end;
    bool over, free_early;
    uv_timer_t timer;
};

static int sign(struct asking *a) {
    const struct iotsafe_ref key = iotsafe_id1(1);
    const uint8_t digest[32] = {1};
    struct iotsafe *client;
    uint8_t signature[64];
    size_t n;
    int r = dev_card_take(a->dev, &client);

    if (r < 0)
        return r;
    a->client = client;
    r = iotsafe_sign(client, &key, IOTSAFE_SHA256, IOTSAFE_ECDSA, digest, sizeof digest, signature,
                     sizeof signature, &n);
    dev_card_put(a->dev, r);
    return r;
}

static void sign_twice(struct dev_task *t, void *arg) {
    struct asking *a = arg;

    a->result[0] = sign(a);
    t->cancelled = false;
    a->result[1] = a->free_early ? 0 : sign(a);
    a->over = true;
    a->ticks_at_end = a->ticks;
}

/* Another session, which has to be asked again and again meanwhile. */
static void tick(struct dev_task *t, void *arg) {
    struct asking *a = arg;

    while (!a->over && dev_task_wait(t, dev_now() + 2) != UV_ECANCELED)
        a->ticks++;
}

static void on_end(struct dev_task *t, void *arg) {
    struct asking *a = arg;

    if (t != &a->task)
        return;
    dev_card_free(a->dev);
    bed_card_close(&a->card);
    uv_close((uv_handle_t *)&a->timer, NULL);
}

static void on_timer(uv_timer_t *timer) {
    struct asking *a = timer->data;

    dev_task_cancel(&a->task);
}

static void run(struct asking *a, unsigned delay_ms, unsigned cancel_ms) {
    struct tb_error e;

    bed_init(&a->bed);
    bed_card_init(&a->card, &a->bed, "device");
    a->card.delay_ms = delay_ms;
    uv_timer_init(&a->bed.loop, &a->timer);
    a->timer.data = a;
    if (cancel_ms)
        uv_timer_start(&a->timer, on_timer, cancel_ms, 0);
    assert_int_equal(
        dev_card_new_on(dev_blocking_new(&a->bed.loop, a->card.link), NULL, &a->dev, &e), 0);
    assert_int_equal(dev_task_start(&a->task, &a->bed.loop, sign_twice, on_end, a), 0);
    assert_int_equal(dev_task_start(&a->other, &a->bed.loop, tick, on_end, a), 0);
    uv_run(&a->bed.loop, UV_RUN_DEFAULT);
    bed_card_done(&a->card);
    bed_done(&a->bed);
}

static void others_go_on_while_it_waits(void **state) {
    struct asking a = {.over = false};

    (void)state;
    run(&a, 10, 0);
    assert_int_equal(a.result[0], 0);
    assert_int_equal(a.result[1], 0);
    assert_int_equal(a.card.card.signatures, 2);
    assert_true(a.ticks_at_end >= 5);
}

static void a_command_that_nobody_waits_for_any_more_ends_by_itself(void **state) {
    struct asking a = {.over = false};

    (void)state;
    run(&a, 60, 30); /* in the middle of the first command */
    assert_int_equal(a.result[0], IOTSAFE_E_TIMEOUT);
    assert_int_equal(a.result[1], 0); /* waits for the old one's end, and gets its own answer */
}

static void it_may_be_closed_in_the_middle_of_a_command(void **state) {
    struct asking a = {.free_early = true};

    (void)state;
    run(&a, 60, 30);
    assert_int_equal(a.result[0], IOTSAFE_E_TIMEOUT);
}

static void sign_once(struct dev_task *t, void *arg) {
    struct asking *a = arg;

    (void)t;
    a->result[0] = sign(a);
    snprintf(a->why.reason, sizeof a->why.reason, "%s",
             dev_blocking_why(iotsafe_transport_of(a->client)));
}

static void on_once_end(struct dev_task *t, void *arg) {
    struct asking *a = arg;

    (void)t;
    dev_card_free(a->dev);
}

static void why_it_cannot_be_opened_is_told(void **state) {
    struct asking a = {.over = false};
    struct iotsafe_transport *t;
    struct tb_error e;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    t = dev_blocking_new(&loop, "vpcd:unix:/nowhere/at/all");
    assert_int_equal(dev_card_new_on(t, NULL, &a.dev, &e), 0);
    assert_int_equal(dev_task_start(&a.task, &loop, sign_once, on_once_end, &a), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(a.result[0] < 0);
    assert_non_null(strstr(a.why.reason, "/nowhere/at/all"));
    /* without a command there is no thread */
    iotsafe_transport_close(dev_blocking_new(&loop, "pcsc:"));
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_go_on_while_it_waits),
        cmocka_unit_test(a_command_that_nobody_waits_for_any_more_ends_by_itself),
        cmocka_unit_test(it_may_be_closed_in_the_middle_of_a_command),
        cmocka_unit_test(why_it_cannot_be_opened_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
