#pragma once
/* CoAP over DTLS 1.2 (UDP) and over TLS (TCP): libcoap in our loop, with the identity, the alerts
 * and the verdicts of the TLS front. libcoap owns sockets, messages and retransmission. What it is
 * not trusted with: who a peer is, whole bodies (blockwise, bounded here), observers (per device
 * here, per resource there). */
#include "api/api.h"
#include "tls/front.h"

struct hub_coap;

struct hub_coap_config {
    struct hub_front_config tls; /* policy; coap is set, on_open is not called */
    bool tcp;                    /* also TLS over TCP, at the same port if that is free */
    struct hub_api *api;         /* borrowed; may end before this does */
    void (*on_open)(const struct hub_peer *peer, void *user);
    void (*on_refused)(enum hub_verdict v, const struct hub_peer *peer, void *user);
    /* A session has ended: "device", "idle", "timeout", "protocol", "replaced", "shutdown", or what
     * hub_coap_kick() was given. */
    void (*on_closed)(const struct hub_peer *peer, const char *reason, void *user);
    void *user;
};

int hub_coap_open(uv_loop_t *loop, const struct tb_addr *at, const struct hub_coap_config *cfg,
                  struct hub_coap **ret, struct tb_error *e) TB_CHECKED;
const struct tb_addr *hub_coap_addr(const struct hub_coap *c);     /* UDP */
const struct tb_addr *hub_coap_tcp_addr(const struct hub_coap *c); /* NULL: none */
unsigned hub_coap_sessions(const struct hub_coap *c);              /* accepted ones */
unsigned hub_coap_connections(const struct hub_coap *c);           /* with handshakes under way */
/* As hub_front_refresh(). */
int hub_coap_refresh(struct hub_coap *c, struct tb_error *e) TB_CHECKED;

/* Calls fn for each session; true: it is closed, with close_notify, for *ret_reason. Returns how
 * many. */
typedef bool hub_coap_fn(const struct hub_peer *peer, const char **ret_reason, void *user);
unsigned hub_coap_kick(struct hub_coap *c, hub_coap_fn *fn, void *user);
/* Ends all sessions at once, on_closed() is called for each; frees itself after its handles. */
void hub_coap_close(struct hub_coap *c);
