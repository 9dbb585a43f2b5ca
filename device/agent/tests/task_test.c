#include "tb/test.h"

#include <stdlib.h>
#include <string.h>

#include "task.h"

struct trial {
    uv_loop_t loop;
    struct dev_task task[3];
    struct dev_lock lock;
    uv_timer_t timer;
    int result[3];
    uint64_t until;
    char text[32];
    size_t n;
    unsigned ended;
};

static void say(struct trial *t, char c) {
    assert_true(t->n < sizeof t->text - 1);
    t->text[t->n++] = c;
}

static size_t index_of(const struct trial *t, const struct dev_task *task) {
    return (size_t)(task - t->task);
}

static void on_end(struct dev_task *task, void *arg) {
    struct trial *t = arg;

    (void)task;
    t->ended++;
}

static void start(struct trial *t, size_t i, dev_task_fn *fn) {
    assert_int_equal(dev_task_start(&t->task[i], &t->loop, fn, on_end, t), 0);
}

static int set_up(void **state) {
    struct trial *t = calloc(1, sizeof *t);

    uv_loop_init(&t->loop);
    uv_timer_init(&t->loop, &t->timer);
    t->timer.data = t;
    *state = t;
    return 0;
}

static int tear_down(void **state) {
    struct trial *t = *state;

    uv_close((uv_handle_t *)&t->timer, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    free(t);
    return 0;
}

static void waits_once(struct dev_task *task, void *arg) {
    struct trial *t = arg;

    t->result[index_of(t, task)] = dev_task_wait(task, t->until);
}

static void a_wake_ends_a_wait(void **state) {
    struct trial *t = *state;

    t->result[0] = 99;
    start(t, 0, waits_once);
    assert_ptr_equal(dev_task_current(), NULL);
    assert_int_equal(t->result[0], 99);
    dev_task_wake(&t->task[0]);
    assert_int_equal(t->result[0], 0);
    dev_task_wake(&t->task[0]); /* after the end: nothing */
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(t->ended, 1);
}

static void waits_until(struct dev_task *task, void *arg) {
    struct trial *t = arg;
    int r;

    while ((r = dev_task_wait(task, t->until)) == 0)
        ;
    t->result[index_of(t, task)] = r;
}

static void a_deadline_ends_a_wait(void **state) {
    struct trial *t = *state;

    t->until = dev_now() + 20;
    start(t, 0, waits_until);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(t->result[0], TB_ETIMEOUT);
    assert_true(dev_now() >= t->until);
}

static void limited(struct dev_task *task, void *arg) {
    task->limit = dev_now() + 20;
    waits_until(task, arg);
}

static void the_tasks_limit_is_a_deadline_of_every_wait(void **state) {
    struct trial *t = *state;

    start(t, 0, limited); /* until is 0: never */
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(t->result[0], TB_ETIMEOUT);
}

static void a_cancelled_task_waits_no_more(void **state) {
    struct trial *t = *state;

    start(t, 0, waits_until);
    dev_task_cancel(&t->task[0]);
    assert_int_equal(t->result[0], UV_ECANCELED);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(t->ended, 1);
}

static void wakes_itself(struct dev_task *task, void *arg) {
    dev_task_wake(task); /* a callback may run below the task's own feet */
    waits_once(task, arg);
}

static void a_wake_while_running_is_not_lost(void **state) {
    struct trial *t = *state;

    t->result[0] = 99;
    start(t, 0, wakes_itself);
    assert_int_equal(t->result[0], 0);
    uv_run(&t->loop, UV_RUN_DEFAULT);
}

static void wakes_another(struct dev_task *task, void *arg) {
    struct trial *t = arg;

    (void)task;
    dev_task_wake(&t->task[0]);
    say(t, 'x');
}

static void says_y(struct dev_task *task, void *arg) {
    struct trial *t = arg;

    t->result[0] = dev_task_wait(task, t->until);
    say(t, 'y');
}

/* Libraries whose state is the thread's are under one task's feet: no other walks in. */
static void a_task_does_not_run_inside_the_one_that_wakes_it(void **state) {
    struct trial *t = *state;

    for (int deadline = 0; deadline < 2; deadline++) {
        t->n = 0;
        memset(t->text, 0, sizeof t->text);
        t->until = deadline ? dev_now() + 60000 : 0;
        start(t, 0, says_y);
        start(t, 1, wakes_another);
        assert_string_equal(t->text, "x");
        uv_run(&t->loop, UV_RUN_DEFAULT);
        assert_string_equal(t->text, "xy");
        assert_int_equal(t->result[0], 0);
    }
}

static void critical(struct dev_task *task, void *arg) {
    struct trial *t = arg;
    size_t i = index_of(t, task);

    t->result[i] = dev_lock(&t->lock, t->until);
    if (t->result[i] < 0)
        return;
    say(t, (char)('a' + i));
    assert_int_equal(dev_task_wait(task, 0), 0);
    say(t, (char)('A' + i));
    dev_unlock(&t->lock);
}

static void a_lock_serves_in_order_of_arrival(void **state) {
    struct trial *t = *state;

    for (size_t i = 0; i < 3; i++)
        start(t, i, critical);
    assert_string_equal(t->text, "a");
    dev_task_wake(&t->task[2]); /* for nothing: not its turn */
    assert_string_equal(t->text, "a");
    for (size_t i = 0; i < 3; i++) {
        dev_task_wake(&t->task[i]);
        uv_run(&t->loop, UV_RUN_NOWAIT); /* the next owner's turn */
    }
    assert_string_equal(t->text, "aAbBcC");
    assert_null(t->lock.owner);
    uv_run(&t->loop, UV_RUN_DEFAULT);
}

static void who_gives_up_waiting_for_a_lock_is_forgotten(void **state) {
    struct trial *t = *state;

    for (size_t i = 0; i < 3; i++)
        start(t, i, critical);
    dev_task_cancel(&t->task[1]);
    assert_int_equal(t->result[1], UV_ECANCELED);
    dev_task_wake(&t->task[0]);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    dev_task_wake(&t->task[2]);
    assert_string_equal(t->text, "aAcC");
    uv_run(&t->loop, UV_RUN_DEFAULT);
}

#define TRIAL(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TRIAL(a_wake_ends_a_wait),
        TRIAL(a_deadline_ends_a_wait),
        TRIAL(the_tasks_limit_is_a_deadline_of_every_wait),
        TRIAL(a_cancelled_task_waits_no_more),
        TRIAL(a_wake_while_running_is_not_lost),
        TRIAL(a_task_does_not_run_inside_the_one_that_wakes_it),
        TRIAL(a_lock_serves_in_order_of_arrival),
        TRIAL(who_gives_up_waiting_for_a_lock_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
