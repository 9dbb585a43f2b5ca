#pragma once
/* HTTP/1.1 for devices and for whoever watches the hub: GNU libmicrohttpd behind the TLS front. A
 * device's plain bytes go through a socket pair to the library, a plain connection is handed to it
 * as it is. Framing that could be read in two ways is refused before a request is looked at
 * (gate.h), and every wait has a deadline of ours: the library's own only sees idleness.
 *
 * Devices reach the device API (api/api.h) and nothing else, plain connections /metrics and
 * /healthz. */
#include "api/api.h"
#include "tls/front.h"

struct hub_http;

struct hub_http_totals {            /* since the start */
    uint64_t requests, by_class[6]; /* [2]: 2xx; [0]: ended without an answer */
    uint64_t bytes_up, bytes_down;  /* HTTP, from and to devices */
    uint64_t kicked;
};

struct hub_http_config {
    uv_loop_t *loop;
    struct hub_api *api;  /* borrowed; outlives it */
    unsigned deadline_ms; /* for a request to arrive, and between its parts */
    /* A device's connection has ended: "device", "disconnect" (HTTP said so), "timeout",
     * "protocol", "shutdown", or what hub_http_kick() was given. */
    void (*on_closed)(const struct hub_peer *peer, const char *reason, void *user);
    /* The text of /metrics; heap, the caller frees it. */
    char *(*metrics)(void *user);
    /* 200 or 503 of /healthz. */
    bool (*is_healthy)(void *user);
    void *user;
};

int hub_http_new(const struct hub_http_config *cfg, struct hub_http **ret,
                 struct tb_error *e) TB_CHECKED;
/* Takes over an accepted connection; peer is copied, its texts are borrowed. False: it could not,
 * the caller closes t. */
bool hub_http_start(struct hub_http *h, struct hub_tls *t, const struct hub_peer *peer);
/* A connection without TLS: fd is given. */
void hub_http_start_plain(struct hub_http *h, int fd);

/* fn returns true to have the device's connection ended with reason. Returns how many. */
typedef bool hub_http_fn(const struct hub_peer *peer, const char **ret_reason, void *user);
unsigned hub_http_kick(struct hub_http *h, hub_http_fn *fn, void *user);
unsigned hub_http_count(const struct hub_http *h); /* devices' connections */
const struct hub_http_totals *hub_http_totals(const struct hub_http *h);
/* Who waits for an answer is cut off; frees itself after the last connection. NULL is a no-op. */
void hub_http_close(struct hub_http *h);
