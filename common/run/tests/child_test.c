#include "tb/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "helper.h"

struct bed {
    uv_loop_t loop;
    struct tb_child *child;
    int ready, exited, status, news;
    char line[70000];
    bool kill_when_ready;
};

static void on_ready(struct tb_child *c, const char *line, void *user) {
    struct bed *b = user;

    assert_int_equal(b->exited, 0);
    b->ready++;
    snprintf(b->line, sizeof b->line, "%s", line);
    if (b->kill_when_ready)
        tb_child_kill(c, SIGKILL);
}

static void on_exit_(struct tb_child *c, int status, void *user) {
    struct bed *b = user;

    assert_ptr_equal(c, b->child);
    b->child = NULL;
    b->exited++;
    b->status = status;
}

static const struct tb_child_ops ops = {on_ready, on_exit_};

static int begin(void **state) {
    struct bed *b = calloc(1, sizeof *b);

    uv_loop_init(&b->loop);
    *state = b;
    return make_dir(state) < 0 ? -1 : (*state = b, 0);
}

static int end(void **state) {
    struct bed *b = *state;

    if (b->child)
        tb_child_kill(b->child, SIGKILL);
    end_loop(&b->loop);
    /* No zombie, no child: whatever we started is reaped. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    free(b);
    return remove_dir(state);
}

static struct tb_child_spec sh(const char *const *argv) {
    return (struct tb_child_spec){.name = "sh", .argv = argv, .ready_fd = -1, .stdin_fd = -1};
}

#define SH(script) ((const char *const[4]){"sh", "-c", script, NULL})

static void start(struct bed *b, const struct tb_child_spec *spec) {
    assert_int_equal(tb_child_start(&b->loop, spec, &ops, b, &b->child), 0);
}

static int run(struct bed *b, const struct tb_child_spec *spec) {
    b->exited = 0;
    start(b, spec);
    run_until(&b->loop, &b->exited);
    return b->status;
}

static void exit_codes_and_signals_are_told(void **state) {
    struct tb_child_spec spec = sh(SH("exit 7"));

    assert_int_equal(run(*state, &spec), 7);
    spec.argv = SH("kill -9 $$");
    assert_int_equal(run(*state, &spec), 128 + SIGKILL);
    spec.argv = (const char *const[]){"true", NULL};
    assert_int_equal(run(*state, &spec), 0);
}

static void missing_program_is_an_error_at_once(void **state) {
    const char *const nothing[] = {"no-such-program-anywhere", NULL};
    const char *const folder[] = {"/", NULL};
    struct tb_child_spec spec = sh(nothing);
    struct bed *b = *state;

    assert_int_equal(tb_child_start(&b->loop, &spec, &ops, b, &b->child), -ENOENT);
    spec.argv = folder;
    assert_int_equal(tb_child_start(&b->loop, &spec, &ops, b, &b->child), -EACCES);
    spec = sh(SH("true"));
    spec.cwd = in_dir("nowhere");
    assert_int_equal(tb_child_start(&b->loop, &spec, &ops, b, &b->child), -ENOENT);
    spec.cwd = NULL;
    spec.log_file = in_dir("no/folder");
    assert_int_equal(tb_child_start(&b->loop, &spec, &ops, b, &b->child), -ENOENT);
    spec.log_file = NULL;
    spec.ready_fd = 1;
    assert_int_equal(tb_child_start(&b->loop, &spec, &ops, b, &b->child), -EINVAL);
    assert_null(b->child);
    assert_int_equal(b->exited, 0);
}

static void output_is_appended_to_the_log(void **state) {
    struct tb_child_spec spec = sh(SH("echo out; echo err >&2; cat; pwd; echo $X $Y $HOME"));
    const char *const env[] = {"X=1 2", "Y=a=b", "HOME=", NULL};
    char wanted[256], *text;
    int fds[2];

    spec.log_file = in_dir("log");
    write_text(spec.log_file, "before\n");
    spec.cwd = "/";
    spec.env = env;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], "in\n", 3), 3);
    close(fds[1]);
    spec.stdin_fd = fds[0];
    assert_int_equal(run(*state, &spec), 0);
    close(fds[0]); /* still ours */
    text = read_file(spec.log_file);
    snprintf(wanted, sizeof wanted, "before\nout\nerr\nin\n/\n1 2 a=b\n");
    assert_string_equal(text, wanted);
    free(text);
}

static void ready_line_arrives_once(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec =
        sh(SH("printf '{\"a\"' >&9; printf ':1}\\n{\"b\":2}\\n' >&9; sleep 1000"));

    spec.ready_fd = 9;
    start(b, &spec);
    run_until(&b->loop, &b->ready);
    assert_string_equal(b->line, "{\"a\":1}");
    tb_child_stop(b->child, 10000);
    run_until(&b->loop, &b->exited);
    assert_int_equal(b->ready, 1);
    assert_int_equal(b->status, 128 + SIGTERM);
}

static void ready_line_of_a_short_life_comes_before_its_end(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec = sh(SH("echo '{}' >&3"));

    spec.ready_fd = 3;
    assert_int_equal(run(b, &spec), 0);
    assert_int_equal(b->ready, 1);
    spec.argv = SH("printf unfinished >&3");
    b->ready = 0;
    assert_int_equal(run(b, &spec), 0);
    assert_int_equal(b->ready, 0);
}

static void endless_ready_line_is_ignored(void **state) {
    struct bed *b = *state;
    /* head may die of SIGPIPE when we hang up; exit says whether the shell lives on. */
    struct tb_child_spec spec = sh(SH("head -c 300000 /dev/zero >&3; exit 4"));

    spec.ready_fd = 3;
    assert_int_equal(run(b, &spec), 4);
    assert_int_equal(b->ready, 0);
}

static void kill_from_the_ready_callback(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec = sh(SH("echo '{}' >&3; exec sleep 1000"));

    spec.ready_fd = 3;
    b->kill_when_ready = true;
    assert_int_equal(run(b, &spec), 128 + SIGKILL);
}

static void deaf_child_is_killed_after_its_grace(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec = sh(SH("trap '' TERM; echo '{}' >&3; while :; do sleep 1000; done"));
    uint64_t start_ms;

    spec.ready_fd = 3;
    start(b, &spec);
    run_until(&b->loop, &b->ready);
    start_ms = tb_clock_mono_ms();
    tb_child_stop(b->child, 100);
    tb_child_stop(b->child, 100000);
    run_until(&b->loop, &b->exited);
    assert_int_equal(b->status, 128 + SIGKILL);
    assert_true(tb_clock_mono_ms() - start_ms >= tb_timeout_ms(100) - 10);
}

/* Waits for the end of a process that is not our child. */
static void gone(int pid) {
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

    if (p.fd < 0) {
        assert_int_equal(errno, ESRCH);
        return;
    }
    assert_int_equal(poll(&p, 1, 20000), 1);
    close(p.fd);
}

static void what_a_child_leaves_in_its_group_goes_with_it(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec = sh(SH("sleep 1000 & echo $! >&3; exit 0"));

    spec.ready_fd = 3;
    assert_int_equal(run(b, &spec), 0);
    assert_int_equal(b->ready, 1);
    gone(atoi(b->line));
}

static void child_dies_with_its_parent(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec = sh(SH("echo $$ >&3; exec sleep 1000"));
    int fds[2], pid = 0, status;
    pid_t middle;

    assert_int_equal(pipe(fds), 0);
    middle = fork();
    if (middle == 0) { /* a parent that starts a child and is killed */
        uv_loop_t loop;

        uv_loop_init(&loop);
        spec.ready_fd = 3;
        start(b, &spec);
        run_until(&b->loop, &b->ready);
        pid = atoi(b->line);
        if (write(fds[1], &pid, sizeof pid) < 0)
            _exit(1);
        raise(SIGKILL);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &pid, sizeof pid), sizeof pid);
    close(fds[0]);
    assert_int_equal(waitpid(middle, &status, 0), middle);
    gone(pid);
}

static void child_has_default_signals_and_no_foreign_descriptors(void **state) {
    struct bed *b = *state;
    struct tb_child_spec spec = sh(SH(
        "grep -E 'SigBlk|SigIgn' /proc/$$/status | tr -d '\\n\\t' >&5; "
        "for n in 3 4 5 6 7 8 9; do (: >&$n) 2>/dev/null && printf ' %d' $n >&5; done; echo >&5"));
    struct sigaction before;
    int leak = fcntl(STDERR_FILENO, F_DUPFD, 7); /* not close-on-exec, as careless libraries do */

    sigaction(SIGPIPE, NULL, &before);
    signal(SIGPIPE, SIG_IGN);
    spec.ready_fd = 5;
    assert_int_equal(run(b, &spec), 0);
    sigaction(SIGPIPE, &before, NULL);
    assert_string_equal(b->line, "SigBlk:0000000000000000SigIgn:0000000000000000 5");
    close(leak);
}

static void ready_number_may_be_one_of_ours(void **state) {
    /* dash knows descriptors of one digit only. */
    const char *const argv[] = {"bash", "-c", "echo '{}' >&$N", NULL};
    struct tb_child_spec spec = sh(argv);
    struct bed *b = *state;

    /* Whatever numbers our own pipes have got, one of these collides. */
    for (int n = 3; n < 20; n++) {
        char text[16];
        const char *const env[] = {text, NULL};

        snprintf(text, sizeof text, "N=%d", n);
        spec.env = env;
        spec.ready_fd = n;
        b->ready = 0;
        assert_int_equal(run(b, &spec), 0);
        assert_int_equal(b->ready, 1);
    }
}

static void many_children_at_once(void **state) {
    enum { N = 30 };
    struct bed *b = *state;
    struct bed *all = calloc(N, sizeof *all);
    struct tb_child_spec spec = sh(SH("echo '{}' >&3; exit 3"));

    spec.ready_fd = 3;
    for (int i = 0; i < N; i++)
        assert_int_equal(tb_child_start(&b->loop, &spec, &ops, &all[i], &all[i].child), 0);
    for (int i = 0; i < N; i++) {
        run_until(&b->loop, &all[i].exited);
        assert_int_equal(all[i].status, 3);
        assert_int_equal(all[i].ready, 1);
    }
    free(all);
}

static void ready_tell_writes_a_line_and_closes(void **state) {
    char got[32] = "";
    int fds[2];

    (void)state;
    assert_int_equal(tb_ready_tell(-1, "{}"), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(tb_ready_tell(fds[1], "{\"ctl\":\"x\"}"), 0);
    assert_int_equal(read(fds[0], got, sizeof got), 12);
    assert_string_equal(got, "{\"ctl\":\"x\"}\n");
    assert_int_equal(read(fds[0], got, sizeof got), 0);
    close(fds[0]);
    assert_int_equal(tb_ready_tell(fds[1], "{}"), -EBADF);
}

#define BED_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(exit_codes_and_signals_are_told),
        BED_TEST(missing_program_is_an_error_at_once),
        BED_TEST(output_is_appended_to_the_log),
        BED_TEST(ready_line_arrives_once),
        BED_TEST(ready_line_of_a_short_life_comes_before_its_end),
        BED_TEST(endless_ready_line_is_ignored),
        BED_TEST(kill_from_the_ready_callback),
        BED_TEST(deaf_child_is_killed_after_its_grace),
        BED_TEST(what_a_child_leaves_in_its_group_goes_with_it),
        BED_TEST(child_dies_with_its_parent),
        BED_TEST(child_has_default_signals_and_no_foreign_descriptors),
        BED_TEST(ready_number_may_be_one_of_ours),
        BED_TEST(many_children_at_once),
        cmocka_unit_test(ready_tell_writes_a_line_and_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
