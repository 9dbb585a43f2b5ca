/* One connection: TLS on one side, the library on the other, deadlines. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/internal.h"
#include "tb/log.h"

/* Between requests a device on a metered link rather comes again; an answer nobody reads has as
 * long. */
enum { IDLE_MS = 60000, PLAIN_MAX = 1000 };

static void release(struct http_conn *c) {
    struct hub_http *h = c->http;

    if (--c->handles > 0)
        return;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    h->plain -= c->is_plain;
    free(c);
    http_maybe_gone(h);
}

static void on_deadline_closed(uv_handle_t *t) {
    release(t->data);
}

static void stop_clock(struct http_conn *c) {
    if (c->no_timer)
        return;
    c->no_timer = true;
    c->deadline.timer.data = c;
    tb_deadline_close(&c->deadline, on_deadline_closed);
}

static void report_end(struct http_conn *c) {
    if (c->reported || c->is_plain)
        return;
    c->reported = true;
    c->http->count--;
    c->http->cfg.on_closed(&c->peer, c->reason, c->http->cfg.user);
}

/* The first reason stays. The library sees its descriptor end, after a request that waits has been
 * let go. */
void http_conn_end(struct http_conn *c, const char *reason) {
    if (!c->reason)
        c->reason = reason;
    if (c->exchange)
        http_exchange_cut(c->exchange);
    if (c->tls)
        hub_tls_close(c->tls);
    if (c->pipe)
        tb_conn_close(c->pipe, 0);
    if (c->is_plain && c->fd >= 0)
        shutdown(c->fd, SHUT_RDWR);
    stop_clock(c);
    report_end(c);
}

static void on_late(void *arg) {
    http_conn_end(arg, "timeout");
}

void http_conn_is_complete(struct http_conn *c) {
    if (!c->no_timer)
        tb_deadline_stop(&c->deadline);
}

void http_conn_progress(struct http_conn *c) {
    if (!c->no_timer)
        tb_deadline_start(&c->deadline, c->http->cfg.deadline_ms);
}

void http_conn_is_sending(struct http_conn *c) {
    if (!c->no_timer)
        tb_deadline_start(&c->deadline, IDLE_MS);
}

void http_conn_is_answered(struct http_conn *c) {
    c->is_idle = true;
    http_conn_is_sending(c);
}

/* Device to library. */
static void on_tls_data(struct hub_tls *t, struct tb_span plain, void *user) {
    struct http_conn *c = user;

    if (c->reason)
        return;
    if (c->is_idle) { /* a request that has begun has to arrive */
        c->is_idle = false;
        http_conn_progress(c);
    }
    c->http->totals.bytes_up += plain.n;
    if (tb_conn_write(c->pipe, &plain, 1) == 0)
        hub_tls_pause(t);
}

static void on_pipe_drain(struct tb_conn *p, void *user) {
    struct http_conn *c = user;

    (void)p;
    if (c->tls)
        hub_tls_resume(c->tls);
}

/* Library to device. */
static size_t on_pipe_data(struct tb_conn *p, struct tb_span data, void *user) {
    struct http_conn *c = user;

    if (!c->tls)
        return data.n;
    c->http->totals.bytes_down += data.n;
    if (hub_tls_write(c->tls, data) == 0)
        tb_conn_pause(p);
    return data.n;
}

static void on_tls_drain(struct hub_tls *t, void *user) {
    struct http_conn *c = user;

    (void)t;
    if (c->pipe)
        tb_conn_resume(c->pipe);
}

static void on_tls_closed(int why, void *user) {
    struct http_conn *c = user;

    c->tls = NULL;
    http_conn_end(c, why == TB_ETIMEOUT ? "timeout" : why == TB_EPROTO ? "protocol" : "device");
    release(c);
}

/* The library has closed: "Connection: close", or it did not like what it read. With unread input
 * of its own it looks like a reset from here. */
static void on_pipe_closed(int why, void *user) {
    struct http_conn *c = user;

    (void)why;
    c->pipe = NULL;
    http_conn_end(c, "disconnect");
    release(c);
}

static const struct hub_tls_ops tls_ops = {on_tls_data, on_tls_drain, on_tls_closed};
static const struct tb_conn_ops pipe_ops = {
    .on_data = on_pipe_data, .on_drain = on_pipe_drain, .on_closed = on_pipe_closed};

struct http_conn *http_conn_of(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info->socket_context;
}

/* Whose is it? The descriptor says so, and only here: it has just been given and is still open. */
static struct http_conn *find(struct hub_http *h, struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *c = h->first;

    while (c && (c->announced || c->fd != info->connect_fd))
        c = c->next;
    return c;
}

void http_conn_announce(void *user, struct MHD_Connection *mhd, void **socket_context,
                        enum MHD_ConnectionNotificationCode code) {
    struct http_conn *c = *socket_context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        c = find(user, mhd);
        *socket_context = c;
        if (c) {
            c->announced = true;
            c->handles++;
        }
    } else if (c) {
        c->fd = -1;
        if (c->is_plain)
            http_conn_end(c, "disconnect");
        release(c);
    }
}

static struct http_conn *new_conn(struct hub_http *h, int fd) {
    struct http_conn *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    c->http = h;
    c->fd = fd;
    c->next = h->first;
    c->link = &h->first;
    if (c->next)
        c->next->link = &c->next;
    h->first = c;
    tb_deadline_init(h->cfg.loop, &c->deadline, on_late, c);
    tb_deadline_start(&c->deadline, h->cfg.deadline_ms);
    c->handles = 1;
    return c;
}

/* The descriptor is the library's in either case. What it says of the peer's address nobody asks.
 */
static bool give_to_library(struct http_conn *c) {
    const struct sockaddr_un nowhere = {.sun_family = AF_UNIX};

    return MHD_add_connection(c->http->daemon, c->fd, (const struct sockaddr *)&nowhere,
                              sizeof nowhere) == MHD_YES;
}

bool hub_http_start(struct hub_http *h, struct hub_tls *t, const struct hub_peer *peer,
                    const struct hub_http_site *site) {
    struct http_conn *c;
    int pair[2], err;

    if (h->closing || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    c = new_conn(h, pair[1]);
    c->peer = *peer;
    c->site = site;
    err = tb_conn_open_fd(h->cfg.loop, pair[0], &pipe_ops, c, &c->pipe);
    if (err < 0) {
        close(pair[1]);
        c->reported = true;
        stop_clock(c);
        return false;
    }
    h->count++;
    c->tls = t;
    c->handles += 2;
    hub_tls_set_ops(t, &tls_ops, c);
    hub_tls_settled(t); /* deadlines are ours from here on */
    if (!give_to_library(c))
        http_conn_end(c, "error");
    return true;
}

void hub_http_start_plain(struct hub_http *h, int fd, const struct hub_http_site *site) {
    struct http_conn *c;

    if (h->closing || h->plain >= PLAIN_MAX) {
        close(fd);
        return;
    }
    c = new_conn(h, fd);
    c->is_plain = true;
    c->site = site;
    h->plain++;
    if (!give_to_library(c)) {
        c->fd = -1;
        http_conn_end(c, "error");
    }
}

unsigned hub_http_kick(struct hub_http *h, hub_http_fn *fn, void *user) {
    unsigned n = 0;

    /* Who ends stays in the list until later. */
    for (struct http_conn *c = h->first; c; c = c->next) {
        const char *reason = "kicked";

        if (c->is_plain || c->reason || !fn(&c->peer, &reason, user))
            continue;
        http_conn_end(c, reason);
        h->totals.kicked++;
        n++;
    }
    return n;
}
