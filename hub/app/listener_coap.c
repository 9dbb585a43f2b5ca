/* CoAP endpoints as listeners of the hub. */
#include "app/hub.h"
#include "coap/coap.h"

static void on_open(const struct hub_peer *peer, void *user) {
    hub_tell_session(user, peer, "coap");
}

static void on_refused(enum hub_verdict v, const struct hub_peer *peer, void *user) {
    hub_tell_refused(user, v, peer);
}

static void on_closed(const struct hub_peer *peer, const char *reason, void *user) {
    struct hub_listener *l = user;

    hub_tell_closed(l->hub, peer->cred.device, reason);
}

int hub_listener_open_coap(struct hub_listener *l, struct tb_error *e) {
    struct hub *h = l->hub;
    const struct hub_coap_config cfg = {.tls = {.name = l->name,
                                                .psk = hub_listener_is_psk(l),
                                                .min_version = l->min_version,
                                                .max_version = l->max_version,
                                                .groups = l->groups,
                                                .ciphers = l->ciphers,
                                                .cert_file = h->opt.cert,
                                                .key_file = h->opt.key,
                                                .keylog_file = h->opt.keylog,
                                                .resumption = l->resumption,
                                                .deadline_ms = h->opt.deadline_ms,
                                                .max_connections = h->opt.max_connections,
                                                .registry = h->registry},
                                        .tcp = l->tcp,
                                        .api = h->api,
                                        .on_open = on_open,
                                        .on_refused = on_refused,
                                        .on_closed = on_closed,
                                        .user = l};
    int err;

    if (l->min_version == TLS1_3_VERSION)
        return tb_error_set(e, TB_ERANGE, NULL, 0,
                            "%s: tls=1.3 is not possible: of DTLS there is 1.2 only", l->name);
    err = hub_coap_open(tb_loop_uv(h->loop), &l->at, &cfg, &l->coap, e);
    if (err < 0)
        return err;
    l->real = *hub_coap_addr(l->coap);
    if (hub_coap_tcp_addr(l->coap))
        l->real_tcp = *hub_coap_tcp_addr(l->coap);
    return 0;
}
