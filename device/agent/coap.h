#pragma once
/* CoAP (RFC 7252, 7641, 7959, 8323) by libcoap's build without TLS, which knows only sockets: its
 * session is with a loopback port, and what goes through there goes through the secure channel,
 * datagram by datagram (coaps) or as bytes (coaps+tcp). Message layer, retransmission, blocks and
 * observations are libcoap's; it runs on the loop. */
#include <stdbool.h>
#include <uv.h>

#include "protocol.h"

struct dev_coap_config { /* copied */
    const char *host;    /* for Uri-Host, when it is a name */
    bool datagrams;      /* coaps, else coaps+tcp */
    unsigned ack_timeout_ms, max_retransmit;
    unsigned ping_s;     /* silence after which the hub is asked whether it is there; 0: never */
    unsigned timeout_ms; /* of a request */
};

struct dev_protocol *dev_protocol_coap(uv_loop_t *loop, const struct dev_coap_config *cfg);

/* Whether the request can be put as one of CoAP: method, path, media types. */
int dev_coap_check(const struct dev_request *rq, struct tb_error *e) TB_CHECKED;
