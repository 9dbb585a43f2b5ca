#include "tb/test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fiber.h"

struct log {
    char text[64];
    size_t n;
};

static void say(struct log *l, char c) {
    assert_true(l->n < sizeof l->text - 1);
    l->text[l->n++] = c;
}

static void three_letters(void *arg) {
    for (char c = 'a'; c <= 'c'; c++) {
        say(arg, c);
        dev_fiber_park();
    }
}

static void parks_and_goes_on_where_it_was(void **state) {
    struct log l = {0};
    struct dev_fiber *f;

    (void)state;
    assert_int_equal(dev_fiber_new(DEV_FIBER_STACK, three_letters, &l, &f), 0);
    assert_string_equal(l.text, "");
    while (!dev_fiber_ended(f)) {
        assert_null(dev_fiber_current());
        say(&l, '-');
        dev_fiber_resume(f);
    }
    dev_fiber_resume(f); /* after the end: nothing */
    assert_string_equal(l.text, "-a-b-c-");
    dev_fiber_free(f);
}

static void two_fibers_interleave(void **state) {
    struct log l = {0};
    struct dev_fiber *f[2];

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(dev_fiber_new(DEV_FIBER_STACK, three_letters, &l, &f[i]), 0);
    for (size_t i = 0; i < 8; i++)
        dev_fiber_resume(f[i % 2]);
    assert_string_equal(l.text, "aabbcc");
    for (size_t i = 0; i < 2; i++) {
        assert_true(dev_fiber_ended(f[i]));
        dev_fiber_free(f[i]);
    }
}

struct nest {
    struct dev_fiber *outer, *inner;
    struct log log;
};

static void inner_body(void *arg) {
    struct nest *n = arg;

    assert_ptr_equal(dev_fiber_current(), n->inner);
    say(&n->log, 'i');
    dev_fiber_resume(n->outer); /* it waits for us: must not be entered */
    dev_fiber_park();
    say(&n->log, 'I');
}

static void outer_body(void *arg) {
    struct nest *n = arg;

    say(&n->log, 'o');
    dev_fiber_resume(n->outer); /* itself */
    dev_fiber_resume(n->inner);
    assert_ptr_equal(dev_fiber_current(), n->outer);
    say(&n->log, 'O');
}

static void a_fiber_may_resume_another(void **state) {
    struct nest n = {0};

    (void)state;
    assert_int_equal(dev_fiber_new(DEV_FIBER_STACK, outer_body, &n, &n.outer), 0);
    assert_int_equal(dev_fiber_new(DEV_FIBER_STACK, inner_body, &n, &n.inner), 0);
    dev_fiber_resume(n.outer);
    assert_true(dev_fiber_ended(n.outer));
    dev_fiber_resume(n.inner);
    assert_true(dev_fiber_ended(n.inner));
    assert_string_equal(n.log.text, "oiOI");
    dev_fiber_free(n.outer);
    dev_fiber_free(n.inner);
}

static void never_begun_can_be_freed(void **state) {
    struct dev_fiber *f;

    (void)state;
    assert_int_equal(dev_fiber_new(1, three_letters, NULL, &f), 0);
    dev_fiber_free(f);
    dev_fiber_free(NULL);
}

/* Goes down far below the stack. */
static unsigned dig(volatile char *above, unsigned depth) {
    volatile char here[1024];

    memset((void *)(uintptr_t)here, *above, sizeof here);
    return depth ? dig(here, depth - 1) + (unsigned)here[1] : (unsigned)here[0];
}

static void overflow(void *arg) {
    volatile char seed = 1;

    *(unsigned *)arg = dig(&seed, 100000);
}

static void overflow_hits_the_guard_page(void **state) {
    struct dev_fiber *f;
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        unsigned sink;

        /* No handler of a sanitizer or of cmocka: the plain signal is what is looked for. */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        if (dev_fiber_new(DEV_FIBER_STACK, overflow, &sink, &f) == 0)
            dev_fiber_resume(f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parks_and_goes_on_where_it_was),
        cmocka_unit_test(two_fibers_interleave),
        cmocka_unit_test(a_fiber_may_resume_another),
        cmocka_unit_test(never_begun_can_be_freed),
        cmocka_unit_test(overflow_hits_the_guard_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
