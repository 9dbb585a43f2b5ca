/* HTTP endpoints as listeners of the hub: for devices with TLS, for those who watch it without. */
#include <fcntl.h>

#include <stdlib.h>
#include <string.h>

#include "app/hub.h"

static bool on_open(struct hub_tls *t, const struct hub_peer *peer, void *user) {
    struct hub_listener *l = user;

    hub_tell_session(l, peer, "http");
    return hub_http_start(l->hub->http, t, peer, &l->site);
}

static void on_closed(const struct hub_peer *peer, const char *reason, void *user) {
    hub_tell_closed(user, peer->cred.device, reason);
}

/* What the hub tells of itself. */
static void *show_page(const struct hub_http_request *r, hub_http_done_fn *done, void *arg,
                       void *user) {
    const struct hub *h = user;
    struct hub_http_answer a = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    const bool metrics = strcmp(r->path, "/metrics") == 0;
    char *text = NULL;

    if (!metrics && strcmp(r->path, "/healthz") != 0) {
        a = hub_http_refusal(404, "/metrics and /healthz are here\n");
    } else if (!hub_http_is(r, "GET")) {
        a = (struct hub_http_answer){.status = 405, .fields = {{"Allow", "GET, HEAD"}}};
    } else if (metrics) {
        text = hub_metrics_text(h);
        a.content_type = "text/plain; version=0.0.4; charset=utf-8";
        a.body = tb_span_str(text);
    } else if (h->broker && hub_broker_is_up(h->broker)) {
        a.body = tb_span_str("ok\n");
    } else {
        a.status = 503;
        a.body = tb_span_str("the broker is down\n");
    }
    done(&a, arg);
    free(text);
    return NULL;
}

/* One for all listeners that speak HTTP, started for the first of them. */
static int need_http(struct hub *h, struct tb_error *e) {
    const struct hub_http_config cfg = {.loop = tb_loop_uv(h->loop),
                                        .deadline_ms = h->opt.deadline_ms,
                                        .on_closed = on_closed,
                                        .user = h};

    return h->http ? 0 : hub_http_new(&cfg, &h->http, e);
}

static size_t swallow(struct tb_conn *c, struct tb_span data, void *user) {
    (void)c, (void)user;
    return data.n;
}

static void forget(int why, void *user) {
    (void)why, (void)user;
}

/* The library reads and writes the socket itself. */
static void on_plain(struct tb_listener *plain, void *user) {
    static const struct tb_conn_ops ops = {.on_data = swallow, .on_closed = forget};
    struct hub_listener *l = user;
    struct tb_conn *c;
    int fd;

    if (tb_listener_accept(plain, &ops, NULL, &c) < 0)
        return;
    fd = fcntl(tb_conn_fd(c), F_DUPFD_CLOEXEC, 0);
    tb_conn_close(c, 0);
    if (fd >= 0)
        hub_http_start_plain(l->hub->http, fd, &l->site);
}

static int open_plain(struct hub_listener *l, struct tb_error *e) {
    char text[300];
    int err = tb_listener_open(tb_loop_uv(l->hub->loop), &l->at, on_plain, l, &l->plain);

    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "cannot listen at %s: %s",
                            tb_addr_str(&l->at, text, sizeof text), tb_strerror(err));
    l->real = *tb_listener_addr(l->plain);
    return 0;
}

int hub_listener_open_http(struct hub_listener *l, struct tb_error *e) {
    static const struct hub_http_site pages = {.ask = show_page};
    int err = need_http(l->hub, e);

    if (err < 0)
        return err;
    if (l->kind == HUB_HTTPS) {
        l->site = hub_http_api_site;
        l->site.user = l->hub->api;
        return hub_listener_open_front(l, on_open, e);
    }
    l->site = pages;
    l->site.user = l->hub;
    return open_plain(l, e);
}
