/* Byte streams: reading, writing, and the one way out. */
#include "tb/conn.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "conn_internal.h"
#include "mem.h"

enum { HIGH_MARK = 1 << 16, LOW_MARK = 1 << 14, LINGER_MS = 1000 };

static void on_handle_closed(uv_handle_t *h) {
    struct tb_conn *c = h->data;

    if (--c->open > 0)
        return;
    if (c->ops)
        c->ops->on_closed(c->why, c->user); /* last call ever */
    tb_inbuf_done(&c->in);
    tb_outbuf_done(&c->flying);
    tb_outbuf_done(&c->waiting);
    free(c);
}

void tb_conn_close(struct tb_conn *c, int why) {
    if (c->closing)
        return;
    c->closing = true;
    c->why = why;
    uv_close(&c->u.handle, on_handle_closed);
    if (c->finishing)
        tb_deadline_close(&c->linger, on_handle_closed);
}

static void on_linger_end(void *arg) {
    struct tb_conn *c = arg;

    tb_conn_close(c, c->why);
}

static void on_shutdown(uv_shutdown_t *req, int status) {
    struct tb_conn *c = req->data;

    /* Not a socket, or the peer is gone already: nothing to wait for. */
    if (status < 0)
        tb_conn_close(c, c->why);
}

/* All bytes are with the kernel. Says so to the peer and goes on reading until it closes its side:
 * closing with unread input would reset the connection and could destroy our last bytes on their
 * way. */
static void end_output(struct tb_conn *c) {
    c->shutdown.data = c;
    if (c->at_eof || (!c->ended && uv_shutdown(&c->shutdown, &c->u.stream, on_shutdown) < 0))
        tb_conn_close(c, c->why);
}

static void on_half_shutdown(uv_shutdown_t *req, int status) {
    (void)req;
    (void)status; /* a peer that is gone is found out by reading */
}

static void half_close(struct tb_conn *c) {
    if (c->at_eof) {
        tb_conn_close(c, 0);
        return;
    }
    c->shutdown.data = c;
    (void)uv_shutdown(&c->shutdown, &c->u.stream, on_half_shutdown);
}

void tb_conn_end(struct tb_conn *c) {
    if (c->closing || c->finishing || c->ended)
        return;
    c->ended = true;
    if (!c->writing)
        half_close(c);
}

static void start_reading(struct tb_conn *c);

static void finish(struct tb_conn *c, int why) {
    if (c->closing || c->finishing)
        return;
    c->finishing = true;
    c->why = why;
    tb_deadline_init(c->u.handle.loop, &c->linger, on_linger_end, c);
    c->linger.timer.data = c;
    c->open++;
    tb_deadline_start(&c->linger, LINGER_MS);
    if (!c->at_eof)
        start_reading(c); /* even when paused: the input is thrown away */
    if (!c->writing)
        end_output(c);
}

void tb_conn_finish(struct tb_conn *c) {
    finish(c, 0);
}

/* Offers the kept bytes. Whatever the callback does to c, c is still there when it returns. */
static void offer(struct tb_conn *c) {
    if (c->offering) {
        c->offer_again = true;
        return;
    }
    c->offering = true;
    do {
        struct tb_span data = tb_inbuf_kept(&c->in);

        c->offer_again = false;
        if (data.n > 0 && !c->paused && !c->closing && !c->finishing) {
            size_t used = c->ops->on_data(c, data, c->user);

            assert(used <= data.n);
            c->in.start += used;
        }
    } while (c->offer_again);
    c->offering = false;
    if (!c->paused && !c->finishing && tb_inbuf_kept(&c->in).n >= TB_CONN_IN_MAX)
        tb_conn_close(c, TB_ERANGE);
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct tb_conn *c = h->data;
    size_t n;
    uint8_t *p;

    (void)suggested;
    if (c->finishing)
        tb_inbuf_drop(&c->in);
    p = tb_inbuf_room(&c->in, &n);
    *buf = uv_buf_init((char *)p, (unsigned)n);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    struct tb_conn *c = s->data;

    (void)buf;
    if (n > 0) {
        tb_inbuf_filled(&c->in, (size_t)n);
        if (!c->finishing)
            offer(c);
    } else if (n < 0 && c->finishing) {
        c->at_eof = true;
        if (!c->writing || n != UV_EOF)
            tb_conn_close(c, c->why);
    } else if (n < 0 && c->deaf) {
        tb_conn_close(c, c->deaf);
    } else if (n == UV_EOF) {
        /* A peer that only closed its sending side still gets what is queued for it. */
        c->at_eof = true;
        uv_read_stop(s);
        if (c->ops->on_end && c->ops->on_end(c, c->user)) {
            if (c->ended && !c->writing)
                tb_conn_close(c, 0);
            return;
        }
        if (c->writing)
            finish(c, TB_ECLOSED);
        else
            tb_conn_close(c, TB_ECLOSED);
    } else if (n < 0) {
        tb_conn_close(c, (int)n);
    }
}

static void start_reading(struct tb_conn *c) {
    int r = uv_read_start(&c->u.stream, on_room, on_read);

    /* A descriptor open for writing only is a connection, too. */
    assert(r == 0 || r == UV_EALREADY || r == UV_ENOTCONN);
    (void)r;
}

void tb_conn_pause(struct tb_conn *c) {
    if (c->paused || c->closing || c->finishing)
        return;
    c->paused = true;
    uv_read_stop(&c->u.stream);
}

void tb_conn_resume(struct tb_conn *c) {
    if (c->closing || c->finishing)
        return;
    if (c->paused) {
        c->paused = false;
        start_reading(c);
    }
    offer(c);
}

size_t tb_conn_queued(const struct tb_conn *c) {
    return uv_stream_get_write_queue_size(&c->u.stream) + c->waiting.n;
}

static void start_write(struct tb_conn *c);

/* The peer takes nothing more. Its last words, which may say why, can still wait in the kernel:
 * reading goes on, and finds the end behind them. Returns why. */
static int cannot_write(struct tb_conn *c, int why) {
    tb_outbuf_done(&c->waiting);
    if (c->finishing || c->paused || c->at_eof || !uv_is_active(&c->u.handle))
        tb_conn_close(c, why);
    else
        c->deaf = why;
    return why;
}

static void on_written(uv_write_t *req, int status) {
    struct tb_conn *c = req->data;

    c->writing = false;
    c->flying.n = 0;
    if (c->closing)
        return;
    if (status < 0) {
        (void)cannot_write(c, status);
        return;
    }
    if (c->waiting.n > 0) {
        start_write(c);
    } else {
        tb_outbuf_done(&c->flying); /* an idle connection keeps no output memory */
        tb_outbuf_done(&c->waiting);
        if (c->ended && !c->finishing)
            half_close(c);
        if (c->finishing)
            end_output(c);
    }
    if (c->full && !c->closing && !c->finishing && tb_conn_queued(c) < LOW_MARK) {
        c->full = false;
        if (c->ops->on_drain)
            c->ops->on_drain(c, c->user);
    }
}

static void start_write(struct tb_conn *c) {
    struct tb_outbuf next = c->waiting;
    uv_buf_t buf;
    int r;

    c->waiting = c->flying;
    c->flying = next;
    buf = uv_buf_init((char *)c->flying.p, (unsigned)c->flying.n);
    c->write.data = c;
    c->writing = true;
    r = uv_write(&c->write, &c->u.stream, &buf, 1, on_written);
    if (r < 0) {
        c->writing = false;
        (void)cannot_write(c, r);
    }
}

int tb_conn_write(struct tb_conn *c, const struct tb_span *pieces, unsigned n) {
    uv_buf_t bufs[TB_CONN_PIECES];
    size_t total = 0, done = 0;
    int r;

    assert(n <= TB_CONN_PIECES);
    if (c->closing || c->finishing || c->ended)
        return TB_ECLOSED;
    if (c->deaf)
        return c->deaf;
    for (unsigned i = 0; i < n; i++) {
        bufs[i].base = tb_unconst(pieces[i].p);
        bufs[i].len = pieces[i].n;
        total += pieces[i].n;
    }
    if (!c->writing && total > 0) {
        r = uv_try_write(&c->u.stream, bufs, n);
        if (r < 0 && r != UV_EAGAIN)
            return cannot_write(c, r);
        done = r > 0 ? (size_t)r : 0;
    }
    if (done == total)
        return !c->full;
    if (total - done > TB_CONN_OUT_MAX - tb_conn_queued(c)) {
        tb_conn_close(c, UV_ENOBUFS);
        return UV_ENOBUFS;
    }
    tb_outbuf_append(&c->waiting, pieces, n, done);
    if (!c->writing)
        start_write(c);
    if (c->closing)
        return c->why;
    if (c->deaf)
        return c->deaf;
    if (tb_conn_queued(c) > HIGH_MARK)
        c->full = true;
    return !c->full;
}

int tb_conn_fd(const struct tb_conn *c) {
    uv_os_fd_t fd = -1;

    uv_fileno(&c->u.handle, &fd);
    return fd;
}

void tb_conn_set_ops(struct tb_conn *c, const struct tb_conn_ops *ops, void *user) {
    c->ops = ops;
    c->user = user;
}

struct tb_conn *tb_conn_new_tcp(uv_loop_t *loop) {
    struct tb_conn *c = tb_xcalloc(1, sizeof *c);

    uv_tcp_init(loop, &c->u.tcp); /* cannot fail: no socket is made yet */
    c->u.handle.data = c;
    c->open = 1;
    return c;
}

struct tb_conn *tb_conn_new_pipe(uv_loop_t *loop) {
    struct tb_conn *c = tb_xcalloc(1, sizeof *c);

    uv_pipe_init(loop, &c->u.pipe, 0); /* always 0 */
    c->u.handle.data = c;
    c->open = 1;
    return c;
}

void tb_conn_begin(struct tb_conn *c, const struct tb_conn_ops *ops, void *user) {
    if (c->u.handle.type == UV_TCP)
        uv_tcp_nodelay(&c->u.tcp, 1); /* fails only when the peer is gone: reading will tell */
    c->ops = ops;
    c->user = user;
    start_reading(c);
}

int tb_conn_open_fd(uv_loop_t *loop, int fd, const struct tb_conn_ops *ops, void *user,
                    struct tb_conn **ret) {
    struct tb_conn *c;
    int r;

    switch (uv_guess_handle(fd)) {
    case UV_TCP:
        c = tb_conn_new_tcp(loop);
        r = uv_tcp_open(&c->u.tcp, fd);
        break;
    case UV_NAMED_PIPE:
    case UV_TTY: /* libuv's own type would touch the terminal's settings */
        c = tb_conn_new_pipe(loop);
        r = uv_pipe_open(&c->u.pipe, fd);
        break;
    default: /* regular files never become readable in the sense of epoll */
        if (fd >= 0)
            close(fd);
        return UV_EINVAL;
    }
    if (r < 0) {
        close(fd);
        tb_conn_close(c, r); /* the handle exists: closing is the only way out */
        return r;
    }
    tb_conn_begin(c, ops, user);
    *ret = c;
    return 0;
}
