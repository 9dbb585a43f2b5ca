#pragma once
/* HTTP/1.1 by libcurl, which connects to a socket of ours; the other end goes through the secure
 * channel. One request after the other on one connection, which is kept. On the loop. */
#include <uv.h>

#include "protocol.h"

struct dev_http_config { /* copied */
    const char *host;    /* for the Host field */
    unsigned port;
    unsigned timeout_ms; /* of a request */
};

struct dev_protocol *dev_protocol_http(uv_loop_t *loop, const struct dev_http_config *cfg);

/* Whether the request can be put as one of HTTP: method, path, media types. */
int dev_http_check(const struct dev_request *rq, struct tb_error *e) TB_CHECKED;
