#include "tb/loop.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "helper.h"

static char order[16];

static void hook(void *arg) {
    strcat(order, arg);
}

struct part {
    struct tb_loop *loop;
    struct tb_deadline deadline;
    int fired;
};

static void on_closed(uv_handle_t *h) {
    (void)h;
}

static void part_stop(void *arg) {
    struct part *p = arg;

    tb_deadline_close(&p->deadline, on_closed);
}

static void fire_and_stop(void *arg) {
    struct part *p = arg;

    p->fired++;
    tb_loop_stop(p->loop, 3);
    tb_loop_stop(p->loop, 4); /* the first code wins */
}

static void fire_and_raise(void *arg) {
    struct part *p = arg;

    p->fired++;
    raise(SIGTERM);
}

static void part_start(struct part *p, void (*fn)(void *)) {
    p->loop = tb_loop_new(false);
    tb_deadline_init(tb_loop_uv(p->loop), &p->deadline, fn, p);
    tb_loop_on_stop(p->loop, part_stop, p);
    tb_deadline_start(&p->deadline, 1);
}

static void stop_runs_hooks_in_reverse_order(void **state) {
    static char a[] = "a", b[] = "b", c[] = "c";
    struct tb_loop *l = tb_loop_new(false);

    (void)state;
    order[0] = '\0';
    tb_loop_on_stop(l, hook, a);
    tb_loop_on_stop(l, hook, b);
    tb_loop_stop(l, 5);
    tb_loop_on_stop(l, hook, c); /* before the hooks run */
    assert_string_equal(order, "");
    assert_int_equal(tb_loop_run(l), 5);
    assert_string_equal(order, "cba");
}

static void stop_from_a_callback_gives_the_exit_code(void **state) {
    struct part p = {0};

    (void)state;
    part_start(&p, fire_and_stop);
    assert_int_equal(tb_loop_run(p.loop), 3);
    assert_int_equal(p.fired, 1);
}

static int seen_signal;

static void note_signal(void *arg) {
    struct part *p = arg;

    seen_signal = tb_loop_signal(p->loop);
}

static void signal_ends_in_order(void **state) {
    struct part p = {0};

    (void)state;
    part_start(&p, fire_and_raise);
    assert_int_equal(tb_loop_signal(p.loop), 0);
    tb_loop_on_stop(p.loop, note_signal, &p);
    assert_int_equal(tb_loop_run(p.loop), 0);
    assert_int_equal(seen_signal, SIGTERM);
}

struct late {
    struct tb_loop *loop;
    bool ran;
};

static void late_hook(void *arg) {
    bool *ran = arg;

    *ran = true;
}

static void register_late(void *arg) {
    struct late *late = arg;

    tb_loop_on_stop(late->loop, late_hook, &late->ran);
    assert_true(late->ran); /* at once: the others are running already */
}

static void late_hooks_run_at_once(void **state) {
    struct late late = {tb_loop_new(false), false};

    (void)state;
    tb_loop_on_stop(late.loop, register_late, &late);
    tb_loop_stop(late.loop, 0);
    assert_int_equal(tb_loop_run(late.loop), 0);
    assert_true(late.ran);
}

static void raise_again(void *arg) {
    (void)arg;
    raise(SIGTERM); /* comes in the next turn */
}

static void second_signal_ends_at_once(void **state) {
    struct part p = {0};
    struct tb_deadline stuck;
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        part_start(&p, fire_and_raise);
        tb_deadline_init(tb_loop_uv(p.loop), &stuck, hook, NULL);
        tb_deadline_start(&stuck, 1000000); /* nobody closes it: the end does not come */
        tb_loop_on_stop(p.loop, raise_again, NULL);
        tb_loop_run(p.loop);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
}

static void forgotten_handle_is_named_and_aborts(void **state) {
    int status, fds[2];
    char text[512] = "";
    ssize_t n;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        struct part p = {.loop = tb_loop_new(false)};

        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        tb_deadline_init(tb_loop_uv(p.loop), &p.deadline, fire_and_stop, &p);
        tb_loop_stop(p.loop, 0);
        tb_loop_run(p.loop);
        _exit(0);
    }
    close(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    assert_true(n > 0);
    assert_non_null(strstr(text, "still open at the end of the loop: timer"));
    assert_true(WIFSIGNALED(status));
}

static void sigpipe_is_ignored(void **state) {
    struct sigaction sa;
    struct tb_loop *l = tb_loop_new(true);

    (void)state;
    assert_int_equal(sigaction(SIGPIPE, NULL, &sa), 0);
    assert_ptr_equal(sa.sa_handler, SIG_IGN);
    tb_loop_stop(l, 0);
    assert_int_equal(tb_loop_run(l), 0);
}

/* The signal that the kernel sends when the parent dies, for a loop of a process that was started
 * with before. */
static int parent_death_signal(int before, bool die_with_parent) {
    struct tb_loop *l;
    int after = -1;

    prctl(PR_SET_PDEATHSIG, before);
    l = tb_loop_new(die_with_parent);
    prctl(PR_GET_PDEATHSIG, &after);
    prctl(PR_SET_PDEATHSIG, 0);
    tb_loop_stop(l, 0);
    assert_int_equal(tb_loop_run(l), 0);
    return after;
}

static void parents_death_ends_in_order_what_it_would_have_killed(void **state) {
    (void)state;
    assert_int_equal(parent_death_signal(SIGKILL, true), SIGTERM);
    assert_int_equal(parent_death_signal(SIGKILL, false), SIGKILL);
}

static void a_daemon_outlives_the_shell_that_started_it(void **state) {
    (void)state;
    assert_int_equal(parent_death_signal(0, true), 0);
}

static void count(void *arg) {
    int *n = arg;

    ++*n;
}

static void deadline_is_restartable_and_never_early(void **state) {
    uv_loop_t loop;
    struct tb_deadline d;
    uint64_t start;
    int n = 0;

    (void)state;
    uv_loop_init(&loop);
    tb_deadline_init(&loop, &d, count, &n);
    tb_deadline_start(&d, 100000);
    tb_deadline_start(&d, 5);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n, 1);
    tb_deadline_start(&d, 5);
    tb_deadline_stop(&d);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n, 1);
    /* Slow work before the start must not eat the wait: the loop's clock stands still meanwhile. */
    start = tb_clock_mono_ms();
    while (tb_clock_mono_ms() < start + 30)
        ;
    start = tb_clock_mono_ms();
    tb_deadline_start(&d, 20);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n, 2);
    assert_true(tb_clock_mono_ms() - start >= 15); /* its resolution is a few ms */
    tb_deadline_close(&d, NULL);
    end_loop(&loop);
}

static void clock_offset_moves_wall_time_only(void **state) {
    int64_t wall = tb_clock_wall_ms();
    uint64_t mono = tb_clock_mono_ms();

    (void)state;
    tb_clock_set_offset_ms(30LL * 24 * 3600 * 1000);
    assert_true(tb_clock_wall_ms() - wall >= 30LL * 24 * 3600 * 1000);
    assert_true(tb_clock_mono_ms() - mono < 20000);
    tb_clock_set_offset_ms(0);
    assert_true(tb_clock_wall_ms() - wall < 20000);
    assert_true(tb_clock_mono_ns() / 1000000 >= mono);
}

static void timeout_factor_scales(void **state) {
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(tb_timeout_ms(1000), 1000);
    pid = fork();
    if (pid == 0) {
        /* It was read above; a fresh image reads it again. */
        setenv("TB_TIMEOUT_FACTOR", "2.5", 1);
        execl("/proc/self/exe", "loop_test", "factor", (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_runs_hooks_in_reverse_order),
        cmocka_unit_test(stop_from_a_callback_gives_the_exit_code),
        cmocka_unit_test(signal_ends_in_order),
        cmocka_unit_test(late_hooks_run_at_once),
        cmocka_unit_test(second_signal_ends_at_once),
        cmocka_unit_test(forgotten_handle_is_named_and_aborts),
        cmocka_unit_test(sigpipe_is_ignored),
        cmocka_unit_test(parents_death_ends_in_order_what_it_would_have_killed),
        cmocka_unit_test(a_daemon_outlives_the_shell_that_started_it),
        cmocka_unit_test(deadline_is_restartable_and_never_early),
        cmocka_unit_test(clock_offset_moves_wall_time_only),
        cmocka_unit_test(timeout_factor_scales),
    };

    (void)argv;
    if (argc > 1)
        return tb_timeout_ms(1000) == 2500 ? 0 : 1;
    unsetenv("TB_TIMEOUT_FACTOR");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
