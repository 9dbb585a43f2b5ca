#include "tb/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "mem.h"

struct hook {
    tb_stop_fn *fn;
    void *arg;
    struct hook *next;
};

struct tb_loop {
    uv_loop_t uv;
    uv_signal_t sigint, sigterm;
    uv_idle_t stopper;  /* runs the hooks in a turn of their own, never below a caller's feet */
    struct hook *hooks; /* last registered first */
    bool stopping;      /* tb_loop_stop() was called */
    int signum;         /* the first that came, or 0 */
    bool stopped;       /* the hooks have run */
    int exit_code;
};

static void run_hooks(uv_idle_t *idle) {
    struct tb_loop *l = idle->data;

    uv_idle_stop(idle);
    l->stopped = true;
    /* From here on the two signal handles only watch; they no longer keep the loop alive. */
    uv_unref((uv_handle_t *)&l->sigint);
    uv_unref((uv_handle_t *)&l->sigterm);
    while (l->hooks) {
        struct hook *h = l->hooks;

        l->hooks = h->next;
        h->fn(h->arg);
        free(h);
    }
}

static void on_signal(uv_signal_t *s, int signum) {
    struct tb_loop *l = s->data;

    if (l->signum) /* somebody is impatient */
        _exit(128 + signum);
    l->signum = signum;
    tb_loop_stop(l, 0);
}

static void watch_signal(struct tb_loop *l, uv_signal_t *s, int signum) {
    if (uv_signal_init(&l->uv, s) < 0 || uv_signal_start(s, on_signal, signum) < 0)
        abort();
    s->data = l;
}

struct tb_loop *tb_loop_new(bool die_with_parent) {
    struct tb_loop *l = tb_xcalloc(1, sizeof *l);
    int from_parent = 0;

    if (uv_loop_init(&l->uv) < 0)
        abort();
    signal(SIGPIPE, SIG_IGN);
    watch_signal(l, &l->sigint, SIGINT);
    watch_signal(l, &l->sigterm, SIGTERM);
    uv_idle_init(&l->uv, &l->stopper); /* always 0 */
    l->stopper.data = l;
    /* After the handlers stand: a parent that dies now still ends us in order. One that died before
     * is covered by tb_child_start(), whose children start with SIGKILL as the signal. A shell sets
     * none: what it starts in the background lives on when it ends. */
    if (die_with_parent && prctl(PR_GET_PDEATHSIG, &from_parent) == 0 && from_parent != 0)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    return l;
}

uv_loop_t *tb_loop_uv(struct tb_loop *l) {
    return &l->uv;
}

void tb_loop_on_stop(struct tb_loop *l, tb_stop_fn *fn, void *arg) {
    struct hook *h;

    if (l->stopped) {
        fn(arg);
        return;
    }
    h = tb_xcalloc(1, sizeof *h);
    *h = (struct hook){fn, arg, l->hooks};
    l->hooks = h;
}

void tb_loop_stop(struct tb_loop *l, int exit_code) {
    if (l->stopping)
        return;
    l->stopping = true;
    l->exit_code = exit_code;
    uv_idle_start(&l->stopper, run_hooks);
}

int tb_loop_signal(const struct tb_loop *l) {
    return l->signum;
}

/* Names what was left open before the assertion ends the program. */
static void report_open_handle(uv_handle_t *h, void *arg) {
    (void)arg;
    fprintf(stderr, "still open at the end of the loop: %s\n", uv_handle_type_name(h->type));
}

int tb_loop_run(struct tb_loop *l) {
    int exit_code, r;

    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&l->sigint, NULL);
    uv_close((uv_handle_t *)&l->sigterm, NULL);
    uv_close((uv_handle_t *)&l->stopper, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    r = uv_loop_close(&l->uv);
    if (r < 0)
        uv_walk(&l->uv, report_open_handle, NULL);
    assert(r == 0);
    exit_code = l->exit_code;
    free(l);
    return exit_code;
}
