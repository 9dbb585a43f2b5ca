#include "http.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http_internal.h"

enum { BLOCK = 16384, LAST_WORDS_MS = 500 };

/* ---- libcurl's connection ----
 * A socket pair would do, with CURL_SOCKOPT_ALREADY_CONNECTED, but libcurl 7.88 connects it all the
 * same; and it does not use a Unix socket again. */

curl_socket_t dev_http_open_socket(void *user, curlsocktype purpose,
                                   struct curl_sockaddr *address) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct dev_http_protocol *h = user;
    socklen_t n = sizeof a;
    int fd;

    (void)purpose;
    if (h->curl_port || address->family != AF_INET)
        return CURL_SOCKET_BAD;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    h->curl_port = ntohs(a.sin_port);
    return fd;
}

/* ---- libcurl on the loop ---- */

static void deliver(struct dev_http_protocol *h) {
    struct dev_http_told *t;

    while ((t = h->told)) {
        h->told = t->next;
        if (!h->told)
            h->last_told = &h->told;
        h->p.host->on_done(t->id, t->status, t->reply, t->why, h->p.user);
        free(t);
    }
}

static void act(struct dev_http_protocol *h, curl_socket_t fd, int events) {
    int running;

    if (!h->multi)
        return;
    curl_multi_socket_action(h->multi, fd, events, &running);
    dev_http_requests_collect(h);
    deliver(h);
    if (h->task)
        dev_task_wake(h->task);
}

static void on_timer(uv_timer_t *timer) {
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_wanted(CURLM *multi, long ms, void *user) {
    struct dev_http_protocol *h = user;

    (void)multi;
    if (ms < 0) {
        uv_timer_stop(&h->timer);
    } else {
        uv_update_time(h->loop);
        uv_timer_start(&h->timer, on_timer, (uint64_t)ms, 0);
    }
    return 0;
}

struct watch { /* of libcurl's end of the pair */
    uv_poll_t poll;
    curl_socket_t fd;
    struct dev_http_protocol *owner; /* NULL: closing */
};

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct watch *w = poll->data;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        what |= CURL_CSELECT_OUT;
    if (w->owner)
        act(w->owner, w->fd, what);
}

static void on_watch_closed(uv_handle_t *handle) {
    free(handle->data);
}

static struct watch *watch_new(struct dev_http_protocol *h, curl_socket_t fd) {
    struct watch *w = calloc(1, sizeof *w);

    if (!w || uv_poll_init(h->loop, &w->poll, fd) < 0)
        abort();
    w->poll.data = w;
    w->fd = fd;
    w->owner = h;
    return w;
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *user, void *assigned) {
    struct dev_http_protocol *h = user;
    struct watch *w = assigned;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            w->owner = NULL;
            uv_poll_stop(&w->poll);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
            curl_multi_assign(h->multi, fd, NULL);
        }
        return 0;
    }
    if (!w) {
        w = watch_new(h, fd);
        curl_multi_assign(h->multi, fd, w);
    }
    uv_poll_start(&w->poll,
                  (what & CURL_POLL_IN ? UV_READABLE : 0) |
                      (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  on_poll);
    return 0;
}

/* ---- a session ---- */

static void open_multi(struct dev_http_protocol *h) {
    h->multi = curl_multi_init();
    if (!h->multi)
        abort();
    curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 1L);
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
}

static int to_hub(struct dev_http_protocol *h, struct dev_channel *ch, struct dev_failure *why) {
    struct tb_span data;
    int r;

    if (!h->there && h->curl_port) {
        r = dev_local_peer(h->local, h->curl_port);
        if (r < 0)
            return r;
        h->there = r == 1;
    }
    data = dev_local_data(h->local);
    if (data.n == 0 || dev_stream_full(ch->stream))
        return 0;
    r = ch->ops->write(ch, data.p, data.n, why);
    if (r < 0)
        return dev_channel_last_words(ch, r, why);
    dev_local_eat(h->local);
    return 1;
}

static int from_hub(struct dev_http_protocol *h, struct dev_channel *ch, struct dev_failure *why) {
    uint8_t block[BLOCK];
    int r;

    if (dev_local_full(h->local))
        return 0;
    r = ch->ops->read(ch, block, sizeof block, why);
    if (r == UV_EAGAIN)
        return 0;
    if (r < 0)
        return r;
    if (!h->sure) {
        h->sure = true;
        h->p.host->on_sure(h->p.user);
    }
    if (!h->there) {
        dev_fail(why, "http: the hub sent something nobody asked for");
        return TB_EPROTO;
    }
    r = dev_local_write(h->local, block, (size_t)r);
    return r < 0 ? 0 : 1; /* libcurl has closed its end: that is noticed by the caller */
}

/* The channel is at its end; what came before it has been passed on, and libcurl reads it, with the
 * end of the connection behind it: an answer may be as long as the connection. */
static void let_curl_finish(struct dev_http_protocol *h) {
    uint64_t limit = h->task->limit;

    dev_local_finish(h->local);
    h->task->limit = 0;
    while (h->requests && !h->leaving && dev_task_wait(h->task, dev_after(LAST_WORDS_MS)) == 0)
        ;
    h->task->limit = limit;
}

/* libcurl closed its end after the hub's "Connection: close", or when an answer made no sense. */
static int ended_by_curl(struct dev_http_protocol *h, struct dev_failure *why) {
    dev_fail(why, "%s", h->why[0] ? h->why : "http: the hub ended the connection after its answer");
    return TB_EPROTO;
}

static int run(struct dev_protocol *p, struct dev_task *t, struct dev_channel *ch,
               struct dev_failure *why) {
    struct dev_http_protocol *h = (struct dev_http_protocol *)p;
    struct dev_channel_info info;
    int up, down, r;

    ch->ops->info(ch, &info);
    h->task = t;
    h->leaving = false;
    h->why[0] = '\0';
    h->there = false;
    h->curl_port = 0;
    r = dev_local_open(t, false, &h->port, &h->local);
    if (r < 0) {
        dev_fail(why, "http: %s", tb_strerror(r));
        return r;
    }
    open_multi(h);
    /* In TLS 1.3 the client is done before the hub has looked at its certificate. */
    h->sure = strcmp(info.version, "TLSv1.3") != 0;
    h->up = true;
    h->p.host->on_up(NULL, h->sure, h->p.user);
    for (;;) {
        if (h->leaving)
            return 0;
        up = to_hub(h, ch, why);
        down = up < 0 ? up : from_hub(h, ch, why);
        if (down < 0 && up >= 0)
            let_curl_finish(h);
        if (down == TB_ECLOSED && !why->reason[0])
            dev_fail(why, "hub closed the connection");
        if (down < 0)
            return down;
        if (!up && dev_local_ended(h->local))
            return ended_by_curl(h, why);
        if (up || down)
            continue;
        r = dev_task_wait(t, 0);
        if (r < 0)
            return r;
    }
}

static void end(struct dev_protocol *p) {
    struct dev_http_protocol *h = (struct dev_http_protocol *)p;

    h->task = NULL;
    h->up = false;
    if (!h->multi)
        return;
    dev_http_requests_ended(h, "the session ended before the answer");
    curl_multi_cleanup(h->multi);
    h->multi = NULL;
    uv_timer_stop(&h->timer);
    dev_local_close(h->local);
    h->local = NULL;
    deliver(h);
}

static void leave(struct dev_protocol *p) {
    struct dev_http_protocol *h = (struct dev_http_protocol *)p;

    h->leaving = true;
    if (h->task)
        dev_task_wake(h->task);
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *handle) {
    struct dev_http_protocol *h = handle->data;
    void (*closed)(void *) = h->closed;
    void *arg = h->closed_arg;

    free(h->host);
    free(h);
    closed(arg);
}

static void close_protocol(struct dev_protocol *p, void (*done)(void *arg), void *arg) {
    struct dev_http_protocol *h = (struct dev_http_protocol *)p;

    h->closed = done;
    h->closed_arg = arg;
    uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}

static const struct dev_protocol_ops ops = {
    .name = "http",
    .run = run,
    .end = end,
    .leave = leave,
    .close = close_protocol,
    .request = dev_http_request,
};

struct dev_protocol *dev_protocol_http(uv_loop_t *loop, const struct dev_http_config *cfg) {
    struct dev_http_protocol *h = calloc(1, sizeof *h);

    if (!h || curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
        abort();
    h->p.ops = &ops;
    h->loop = loop;
    h->cfg = *cfg;
    h->host = strdup(cfg->host);
    if (!h->host)
        abort();
    h->last_told = &h->told;
    uv_timer_init(loop, &h->timer);
    h->timer.data = h;
    return &h->p;
}
