#pragma once
/* The device API: what a device that has been let in may ask of the hub, the same over CoAP and
 * HTTP. Statuses are HTTP's; CoAP's are those of RFC 8075, 7 (hub/coap does that). No protocol, no
 * TLS and no broker in here: requests come from the endpoints, publishing is a function given at
 * the start.
 *
 *   GET /whoami                          how the hub sees the device, JSON
 *   POST or PUT /telemetry               published to devices/ID/telemetry
 *   GET /command [?wait=S][&after=N]     the last command to the device; a long poll with wait
 *   GET, PUT, DELETE /state              a document that the hub keeps for the device, in memory
 *   GET /.well-known/core                these, RFC 6690
 *
 * Command and state have a number that grows with every change (ETag in HTTP and CoAP): wait=S
 * alone waits for the next command; with after=N only when there is none newer than N. */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "mqtt/broker.h"
#include "registry/registry.h"
#include "tb/error.h"
#include "tb/span.h"

enum {
    HUB_API_BODY_MAX = 64 << 10, /* bytes of a request's body, of a command and of a state */
    HUB_API_TYPE_MAX = 127,      /* characters of a content type */
    HUB_API_WAIT_MAX_S = 60,
    HUB_API_CALLS_MAX = 20000, /* requests under way, mostly long polls; more are 503 */
};

struct hub_api;
struct hub_api_call;

struct hub_api_config {
    uv_loop_t *loop;
    /* As hub_broker_publish(), with QoS 1. */
    int (*publish)(const char *topic, struct tb_span payload, bool retain, hub_published_fn *done,
                   void *arg, void *user);
    /* The broker has taken a device's telemetry. All of it borrowed. */
    void (*on_publish)(const char *device, const char *topic, struct tb_span payload, void *user);
    void *user;
    size_t commands_max; /* bytes of all commands; the oldest are forgotten. 0: 32 MiB */
    size_t states_max;   /* bytes of all states; more are refused, 507. 0: 64 MiB */
};

struct hub_api *hub_api_new(const struct hub_api_config *cfg);
/* Those who wait are answered 503, or as soon as the broker has answered. No more requests after
 * that; frees itself when nothing is under way and nobody watches any more. NULL is a no-op. */
void hub_api_close(struct hub_api *api);

/* Who asks, as TLS has found out; borrowed for the call. */
struct hub_api_peer {
    const char *device;   /* id */
    const char *identity; /* "x509:ID" or "psk:IDENTITY" */
    const char *kind;     /* "x509" or "psk" */
    const char *protocol; /* "coap" or "http" */
    const char *version;  /* "DTLSv1.2" */
    const char *cipher;
};

enum hub_api_method {
    HUB_API_GET,
    HUB_API_POST,
    HUB_API_PUT,
    HUB_API_DELETE,
    HUB_API_OTHER, /* 405 everywhere */
};

struct hub_api_request { /* borrowed for the call */
    enum hub_api_method method;
    const char *path;         /* "/state"; percent-decoded */
    const char *query;        /* "wait=5&after=3"; NULL or "": none */
    const char *content_type; /* NULL or "": not told, application/octet-stream is meant */
    struct tb_span body;      /* whole; above HUB_API_BODY_MAX it is 413 */
};

struct hub_api_answer {       /* borrowed until the function it is given to returns */
    unsigned status;          /* 200 201 204 400 404 405 413 503 507 */
    const char *content_type; /* of body; NULL: there is none */
    struct tb_span body;      /* also of refusals: one line of text */
    const char *allow;        /* 405: "GET, PUT"; else NULL */
    uint64_t sequence;        /* of command or state; 0: none. At most 2^53 */
};

/* done is called once, from within hub_api_request() (which then returns NULL) or later from the
 * loop. It may make another request or end a watch when it needs a no more. */
typedef void hub_api_done_fn(const struct hub_api_answer *a, void *arg);
struct hub_api_call *hub_api_request(struct hub_api *api, const struct hub_api_peer *peer,
                                     const struct hub_api_request *req, hub_api_done_fn *done,
                                     void *arg);
/* The one who asked is gone: done will not be called. What has been published stays published. */
void hub_api_cancel(struct hub_api_call *call);

/* Observers: fn gets what GET would answer, after each change. */
enum hub_api_resource { HUB_API_COMMAND, HUB_API_STATE };
struct hub_api_watch { /* in its owner; no member is the owner's to use */
    struct hub_api_device *device;
    struct hub_api_watch *next, **link;
    enum hub_api_resource what;
    hub_api_done_fn *fn;
    void *arg;
};
void hub_api_watch(struct hub_api *api, const char *device, enum hub_api_resource what,
                   hub_api_done_fn *fn, void *arg, struct hub_api_watch *w);
void hub_api_unwatch(struct hub_api *api, struct hub_api_watch *w); /* once per watch */

/* The device to whose commands a topic belongs: devices/ID/command, else false. */
bool hub_api_device_of(struct tb_span topic, char ret_device[HUB_DEVICE_MAX + 1]);
/* A message that the broker carries, or that the hub itself has published. What is not to
 * devices/ID/command is ignored. An empty payload is: no command any more. A retained one that is
 * known already (told again after a reconnection) is no change. Returns whether somebody was told.
 */
bool hub_api_message(struct hub_api *api, struct tb_span topic, struct tb_span payload,
                     bool retained);

/* The state from the other side: what the hub's operator reads and writes. False: there is none. */
bool hub_api_state(const struct hub_api *api, const char *device, struct hub_api_answer *ret);
int hub_api_set_state(struct hub_api *api, const char *device, const char *content_type,
                      struct tb_span body) TB_CHECKED; /* TB_ERANGE: too large, or no room */
