/* Datagrams with one peer. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "stream_internal.h"

enum { PREFIX_MAX = 300, HIGH_MARK = 64 };

struct dgram {
    struct dev_stream s;
    uv_udp_t udp;
    struct dev_stream *control;
    struct dev_task watch;  /* waits for control's end */
    bool let_go, finishing; /* finishing: closed with the last datagram that is queued */
    bool closed;
    unsigned handles, queued;
    size_t prefix_n;
    uint8_t prefix[PREFIX_MAX];
};

struct sending { /* a datagram that the kernel did not take at once */
    uv_udp_send_t req;
    uint8_t data[];
};

static struct dgram *dgram_of(struct dev_stream *s) {
    return (struct dgram *)s;
}

static void free_when_done(struct dgram *d) {
    if (d->handles > 0)
        return;
    free(d->s.in);
    free(d);
}

static void on_handle_closed(uv_handle_t *h) {
    struct dgram *d = h->data;

    d->handles--;
    free_when_done(d);
}

static void close_handle(struct dgram *d) {
    if (!d->closed)
        uv_close((uv_handle_t *)&d->udp, on_handle_closed);
    d->closed = true;
}

/* ---- in ---- */

/* One buffer for all: each datagram is copied out of it before the next one is read. */
static uint8_t in_room[64 * 1024];

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    (void)h;
    (void)suggested;
    *buf = uv_buf_init((char *)in_room, sizeof in_room);
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags) {
    struct dgram *d = udp->data;
    struct tb_span data = tb_span(buf->base, n > 0 ? (size_t)n : 0);
    uint8_t *room;

    (void)from; /* the socket is connected: nobody else's come in */
    if (n < 0) {
        dev_stream_ended(&d->s, (int)n);
        return;
    }
    if (flags & UV_UDP_PARTIAL)
        return;
    if (d->prefix_n > 0 && !dev_socks_strip(tb_span(d->prefix, d->prefix_n), &data))
        return;
    room = data.n > 0 && data.n <= DEV_DATAGRAM_MAX ? dev_stream_room(&d->s, 2 + data.n) : NULL;
    if (!room)
        return;
    room[0] = (uint8_t)(data.n >> 8);
    room[1] = (uint8_t)data.n;
    memcpy(room + 2, data.p, data.n);
    d->s.n += 2 + data.n;
    dev_stream_wake(&d->s);
}

/* ---- out ---- */

static void on_sent(uv_udp_send_t *req, int status) {
    struct dgram *d = req->handle->data;

    (void)status; /* lost, as datagrams are */
    free(req->data);
    d->queued--;
    if (d->finishing && d->queued == 0)
        close_handle(d);
    if (d->s.full && d->queued < HIGH_MARK / 2) {
        d->s.full = false;
        dev_stream_wake(&d->s);
    }
}

static int send_later(struct dgram *d, const void *p, size_t n) {
    struct sending *out = malloc(sizeof *out + d->prefix_n + n);
    uv_buf_t buf;
    int r;

    if (!out)
        abort();
    memcpy(out->data, d->prefix, d->prefix_n);
    memcpy(out->data + d->prefix_n, p, n);
    out->req.data = out;
    buf = uv_buf_init((char *)out->data, (unsigned)(d->prefix_n + n));
    r = uv_udp_send(&out->req, &d->udp, &buf, 1, NULL, on_sent);
    if (r < 0) {
        free(out);
        return r;
    }
    if (++d->queued < HIGH_MARK)
        return 1;
    d->s.full = true;
    return 0;
}

static int dgram_write(struct dev_stream *s, const void *p, size_t n) {
    struct dgram *d = dgram_of(s);
    uv_buf_t bufs[2] = {uv_buf_init((char *)d->prefix, (unsigned)d->prefix_n),
                        {(char *)(uintptr_t)p, n}};
    int r;

    if (n > DEV_DATAGRAM_MAX)
        return TB_ERANGE;
    if (d->queued >= 2 * HIGH_MARK)
        return 0; /* whoever does not listen to "full" loses datagrams */
    r = d->queued > 0
            ? UV_EAGAIN
            : uv_udp_try_send(&d->udp, bufs + (d->prefix_n == 0), 1 + (d->prefix_n > 0), NULL);
    if (r >= 0)
        return 1;
    if (r == UV_EAGAIN)
        return send_later(d, p, n);
    if (r == UV_EMSGSIZE)
        return TB_ERANGE;
    dev_stream_ended(s, r);
    return r;
}

static void dgram_taken(struct dev_stream *s) {
    (void)s;
}

static void dgram_let_go(struct dev_stream *s, bool finish) {
    struct dgram *d = dgram_of(s);

    d->let_go = true;
    uv_udp_recv_stop(&d->udp);
    if (d->control)
        dev_task_cancel(&d->watch); /* closes control */
    d->finishing = true;
    if (!finish || d->queued == 0)
        close_handle(d);
}

static const struct stream_kind dgram_kind = {dgram_write, dgram_taken, dgram_let_go};

/* ---- the proxy's connection stands for the association (RFC 1928, 7) ---- */

static void watch(struct dev_task *t, void *arg) {
    struct dgram *d = arg;
    int r;

    dev_stream_owner(d->control, t);
    do {
        r = dev_stream_wait(d->control, 0, 0);
        if (r == 0) /* nothing is to be said there any more */
            dev_stream_eat(d->control, dev_stream_data(d->control).n);
    } while (r == 0);
    dev_stream_close(d->control);
    d->control = NULL;
    if (!d->let_go)
        dev_stream_ended(&d->s, r);
}

static void on_watch_end(struct dev_task *t, void *arg) {
    struct dgram *d = arg;

    (void)t;
    d->handles--;
    free_when_done(d);
}

/* ---- opening ---- */

static int open_socket(struct dgram *d, uv_loop_t *loop, const struct tb_addr *a) {
    struct sockaddr_storage sa = {0};
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    int r = uv_ip4_addr(host, a->port, (struct sockaddr_in *)&sa);

    if (r < 0)
        r = uv_ip6_addr(host, a->port, (struct sockaddr_in6 *)&sa);
    if (r == 0)
        r = uv_udp_init(loop, &d->udp);
    if (r < 0) {
        free(d);
        return r;
    }
    d->udp.data = d;
    d->handles = 1;
    r = uv_udp_connect(&d->udp, (const struct sockaddr *)&sa);
    if (r == 0)
        r = uv_udp_recv_start(&d->udp, on_room, on_datagram);
    if (r < 0) {
        d->let_go = true;
        close_handle(d);
    }
    return r;
}

int dev_dgram_open(struct dev_task *t, const struct tb_addr *a, struct tb_span socks,
                   struct dev_stream *control, struct dev_stream **ret) {
    struct dgram *d = calloc(1, sizeof *d);
    int r;

    if (!d)
        abort();
    assert(socks.n <= sizeof d->prefix);
    d->s.kind = &dgram_kind;
    d->s.datagrams = true;
    d->s.owner = t;
    if (socks.n > 0)
        memcpy(d->prefix, socks.p, socks.n);
    d->prefix_n = socks.n;
    r = open_socket(d, t->loop, a);
    if (r < 0)
        return r; /* d frees itself */
    if (control) {
        d->control = control;
        d->handles++;
        if (dev_task_start(&d->watch, t->loop, watch, on_watch_end, d) < 0)
            abort(); /* out of memory */
    }
    *ret = &d->s;
    return 0;
}
