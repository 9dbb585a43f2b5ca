#include "tb/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffer.h"
#include "mem.h"
#include "spawn_internal.h"
#include "tb/conn.h"
#include "tb/log.h"
#include "tb/loop.h"

enum { READY_MAX = 1 << 16, READY_DRAIN_MS = 1000 };

/* pidfd instead of SIGCHLD: no signal to share with others, and no number that could be somebody
 * else's. */
struct tb_child {
    uv_poll_t poll;          /* on pidfd */
    struct tb_deadline kill; /* grace of tb_child_stop(); after the end: wait for the ready pipe */
    struct tb_conn *ready;   /* NULL when told, closed, or not wanted */
    char *name;
    int pid, pidfd;
    unsigned open; /* handles and connections whose last callback is still to come */
    bool stopping, exited, closing;
    int status;
    const struct tb_child_ops *ops;
    void *user;
};

static void unref(struct tb_child *c) {
    if (--c->open > 0)
        return;
    close(c->pidfd);
    c->ops->on_exit(c, c->status, c->user);
    free(c->name);
    free(c);
}

static void on_handle_closed(uv_handle_t *h) {
    unref(h->data);
}

static void close_all(struct tb_child *c) {
    if (c->closing)
        return;
    c->closing = true;
    if (c->ready)
        tb_conn_close(c->ready, 0);
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    tb_deadline_close(&c->kill, on_handle_closed);
}

static size_t on_ready_data(struct tb_conn *conn, struct tb_span data, void *user) {
    struct tb_child *c = user;
    const uint8_t *end = memchr(data.p, '\n', data.n);
    size_t n = end ? (size_t)(end - data.p) : data.n;
    char *line;

    if (n > READY_MAX) {
        tb_warn("child", "%s: its ready line is longer than 64 KiB", c->name);
        tb_conn_close(conn, TB_ERANGE);
        return data.n;
    }
    if (!end)
        return 0;
    line = tb_xcalloc(1, n + 1);
    memcpy(line, data.p, n);
    tb_conn_close(conn, 0); /* one line is all that is wanted */
    c->ops->on_ready(c, line, c->user);
    free(line);
    return data.n;
}

static void on_ready_closed(int why, void *user) {
    struct tb_child *c = user;

    (void)why;
    c->ready = NULL;
    if (c->exited)
        close_all(c);
    unref(c);
}

static const struct tb_conn_ops ready_ops = {.on_data = on_ready_data,
                                             .on_closed = on_ready_closed};

static void on_grace_end(void *arg) {
    struct tb_child *c = arg;

    if (c->exited) {
        close_all(c); /* a foreign process holds the ready pipe */
        return;
    }
    tb_warn("child", "%s: still alive after SIGTERM, killed pid=%d", c->name, c->pid);
    kill(-c->pid, SIGKILL);
    kill(c->pid, SIGKILL); /* in case it left its group */
}

static void on_end(uv_poll_t *poll, int status, int events) {
    struct tb_child *c = poll->data;
    int w = 0;

    (void)status;
    (void)events;
    uv_poll_stop(poll);
    /* Until it is reaped its number is also safe as that of the group: what it left there goes with
     * it. */
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &w, 0) < 0 && errno == EINTR)
        ;
    c->exited = true;
    c->status = WIFSIGNALED(w) ? 128 + WTERMSIG(w) : WEXITSTATUS(w);
    /* A ready line that it wrote before its end is still on its way. */
    if (c->ready)
        tb_deadline_start(&c->kill, READY_DRAIN_MS);
    else
        close_all(c);
}

int tb_child_start(uv_loop_t *loop, const struct tb_child_spec *spec,
                   const struct tb_child_ops *ops, void *user, struct tb_child **ret) {
    struct tb_spawned s;
    struct tb_child *c;
    int r = tb_spawn(spec, &s);

    if (r < 0)
        return r;
    c = tb_xcalloc(1, sizeof *c);
    *c = (struct tb_child){.name = tb_xstrdup(spec->name),
                           .pid = s.pid,
                           .pidfd = s.pidfd,
                           .open = 2,
                           .ops = ops,
                           .user = user};
    /* Both can only fail when the descriptor cannot be polled: then this is no Linux that we run
     * on. */
    r = uv_poll_init(loop, &c->poll, c->pidfd);
    assert(r == 0);
    c->poll.data = c;
    r = uv_poll_start(&c->poll, UV_READABLE, on_end);
    assert(r == 0);
    tb_deadline_init(loop, &c->kill, on_grace_end, c);
    c->kill.timer.data = c;
    if (s.ready_fd >= 0 && !ops->on_ready)
        close(s.ready_fd);
    else if (s.ready_fd >= 0 && tb_conn_open_fd(loop, s.ready_fd, &ready_ops, c, &c->ready) == 0)
        c->open++;
    *ret = c;
    return 0;
}

int tb_child_pid(const struct tb_child *c) {
    return c->pid;
}

void tb_child_kill(struct tb_child *c, int signum) {
    if (!c->exited)
        kill(c->pid, signum);
}

void tb_child_stop(struct tb_child *c, unsigned grace_ms) {
    if (c->stopping || c->exited)
        return;
    c->stopping = true;
    kill(c->pid, SIGTERM);
    tb_deadline_start(&c->kill, grace_ms);
}

int tb_ready_tell(int fd, const char *json_line) {
    struct tb_outbuf line = {0};
    const struct tb_span pieces[] = {tb_span_str(json_line), tb_span_str("\n")};
    struct tb_span rest, sent;
    int r = 0;

    if (fd < 0)
        return 0;
    tb_outbuf_append(&line, pieces, 2, 0);
    rest = tb_span(line.p, line.n);
    while (r == 0 && rest.n > 0) {
        ssize_t w = write(fd, rest.p, rest.n);

        if (w >= 0)
            (void)tb_take(&rest, (size_t)w, &sent);
        else if (errno != EINTR)
            r = -errno;
    }
    tb_outbuf_done(&line);
    close(fd);
    return r;
}
