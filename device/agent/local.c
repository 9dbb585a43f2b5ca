#include "local.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "stream.h"

enum { CANDIDATES = 4, DATAGRAM_MAX = 2048 };

struct dev_local {
    struct dev_task *task; /* NULL: closed */
    bool datagrams;
    /* UDP */
    int fd;
    uv_poll_t poll;
    size_t n; /* of in */
    uint8_t in[DATAGRAM_MAX];
    /* TCP */
    struct tb_listener *listener;
    struct dev_stream *candidate[CANDIDATES]; /* came, but may be anybody's */
    struct dev_stream *stream;
};

/* ---- UDP ---- */

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct dev_local *l = poll->data;

    (void)status;
    (void)events;
    if (l->task)
        dev_task_wake(l->task);
}

static void on_poll_closed(uv_handle_t *h) {
    free(h->data);
}

static int open_udp(struct dev_local *l, uint16_t *ret_port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int r;

    l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return -errno;
    if (bind(l->fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        getsockname(l->fd, (struct sockaddr *)&a, &n) < 0) {
        r = -errno;
        close(l->fd);
        return r;
    }
    r = uv_poll_init(l->task->loop, &l->poll, l->fd);
    if (r < 0) {
        close(l->fd);
        return r;
    }
    l->poll.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_poll);
    *ret_port = ntohs(a.sin_port);
    return 0;
}

/* What strangers sent before this is thrown away: the library has not sent anything yet. */
static int peer_udp(struct dev_local *l, uint16_t port) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};

    if (connect(l->fd, (struct sockaddr *)&a, sizeof a) < 0)
        return -errno;
    while (recv(l->fd, l->in, sizeof l->in, 0) >= 0)
        ;
    return 1;
}

/* ---- TCP ---- */

static void on_accept(struct tb_listener *listener, void *user) {
    struct dev_local *l = user;
    struct dev_stream *s;
    size_t i = 0;

    if (dev_stream_accept(listener, &s) < 0)
        return;
    while (i < CANDIDATES - 1 && l->candidate[i])
        i++;
    dev_stream_reset(l->candidate[i]);
    l->candidate[i] = s;
    dev_task_wake(l->task);
}

static int open_tcp(struct dev_local *l, uint16_t *ret_port) {
    const struct tb_addr at = {.host = "127.0.0.1"};
    int r = tb_listener_open(l->task->loop, &at, on_accept, l, &l->listener);

    if (r == 0)
        *ret_port = tb_listener_addr(l->listener)->port;
    return r;
}

static void stop_listening(struct dev_local *l) {
    if (l->listener)
        tb_listener_close(l->listener);
    l->listener = NULL;
    for (size_t i = 0; i < CANDIDATES; i++) {
        dev_stream_reset(l->candidate[i]);
        l->candidate[i] = NULL;
    }
}

static int peer_tcp(struct dev_local *l, uint16_t port) {
    for (size_t i = 0; i < CANDIDATES; i++) {
        if (!l->candidate[i] || dev_stream_peer_port(l->candidate[i]) != port)
            continue;
        l->stream = l->candidate[i];
        l->candidate[i] = NULL;
        dev_stream_owner(l->stream, l->task);
        stop_listening(l);
        return 1;
    }
    return 0;
}

/* ---- both ---- */

int dev_local_open(struct dev_task *t, bool datagrams, uint16_t *ret_port, struct dev_local **ret) {
    struct dev_local *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        abort();
    l->task = t;
    l->datagrams = datagrams;
    r = datagrams ? open_udp(l, ret_port) : open_tcp(l, ret_port);
    if (r < 0)
        free(l);
    else
        *ret = l;
    return r;
}

int dev_local_peer(struct dev_local *l, uint16_t port) {
    return l->datagrams ? peer_udp(l, port) : peer_tcp(l, port);
}

struct tb_span dev_local_data(struct dev_local *l) {
    ssize_t n;

    if (!l->datagrams)
        return l->stream ? dev_stream_data(l->stream) : TB_SPAN_NONE;
    if (l->n == 0) {
        n = recv(l->fd, l->in, sizeof l->in, 0);
        l->n = n > 0 ? (size_t)n : 0;
    }
    return tb_span_sub(tb_span(l->in, sizeof l->in), 0, l->n);
}

void dev_local_eat(struct dev_local *l) {
    if (l->datagrams)
        l->n = 0;
    else
        dev_stream_eat(l->stream, dev_stream_data(l->stream).n);
}

int dev_local_write(struct dev_local *l, const void *p, size_t n) {
    if (!l->datagrams)
        return l->stream ? dev_stream_write(l->stream, p, n) : TB_ECLOSED;
    (void)!send(l->fd, p, n, 0); /* no room: lost */
    return 0;
}

bool dev_local_full(const struct dev_local *l) {
    return l->stream && dev_stream_full(l->stream);
}

bool dev_local_ended(const struct dev_local *l) {
    return l->stream && dev_stream_status(l->stream) < 0 && dev_stream_data(l->stream).n == 0;
}

void dev_local_ack_now(struct dev_local *l) {
    if (l->stream)
        dev_stream_ack_now(l->stream);
}

void dev_local_finish(struct dev_local *l) {
    dev_stream_close(l->stream);
    l->stream = NULL;
}

void dev_local_close(struct dev_local *l) {
    if (!l)
        return;
    l->task = NULL;
    if (!l->datagrams) {
        stop_listening(l);
        dev_stream_reset(l->stream);
        free(l);
        return;
    }
    uv_poll_stop(&l->poll);
    uv_close((uv_handle_t *)&l->poll, on_poll_closed);
    close(l->fd);
}
