/* HTTP endpoints as listeners of the hub: for devices with TLS, for those who watch it without. */
#include <fcntl.h>

#include "app/hub.h"

static bool on_open(struct hub_tls *t, const struct hub_peer *peer, void *user) {
    struct hub_listener *l = user;

    hub_tell_session(l, peer, "http");
    return hub_http_start(l->hub->http, t, peer);
}

static void on_closed(const struct hub_peer *peer, const char *reason, void *user) {
    hub_tell_closed(user, peer->cred.device, reason);
}

static char *metrics(void *user) {
    return hub_metrics_text(user);
}

static bool is_healthy(void *user) {
    struct hub *h = user;

    return h->broker && hub_broker_is_up(h->broker);
}

/* One for all listeners that speak HTTP, started for the first of them. */
static int need_http(struct hub *h, struct tb_error *e) {
    const struct hub_http_config cfg = {.loop = tb_loop_uv(h->loop),
                                        .api = h->api,
                                        .deadline_ms = h->opt.deadline_ms,
                                        .on_closed = on_closed,
                                        .metrics = metrics,
                                        .is_healthy = is_healthy,
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
        hub_http_start_plain(l->hub->http, fd);
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
    int err = need_http(l->hub, e);

    if (err < 0)
        return err;
    return l->kind == HUB_HTTPS ? hub_listener_open_front(l, on_open, e) : open_plain(l, e);
}
