#pragma once
/* HTTP/1.1 for devices and for whoever watches the hub: GNU libmicrohttpd behind the TLS front. A
 * device's plain bytes go through a socket pair to the library, a plain connection is handed to it
 * as it is. Framing that could be read in two ways is refused before a request is looked at
 * (gate.h), and every wait has a deadline of ours: the library's own only sees idleness.
 *
 * What is behind a listener is its site: the device API (hub_http_api_site), or the hub's own
 * pages. */
#include "api/api.h"
#include "tls/front.h"

struct hub_http;
struct MHD_Connection;

struct hub_http_request {        /* has arrived whole; borrowed for the call */
    const struct hub_peer *peer; /* cred.id 0: nobody has been recognised, or there is no TLS */
    const char *method;          /* "GET" */
    const char *path;            /* "/state"; percent-decoded */
    const char *query;           /* "wait=5&after=3", decoded; "": none */
    struct tb_span body;
    struct MHD_Connection *mhd;
};
/* A header's value, borrowed; NULL: it is not there. */
const char *hub_http_header(const struct hub_http_request *r, const char *name);
/* The method is one of those, with HEAD for GET. */
bool hub_http_is(const struct hub_http_request *r, const char *method);

enum { HUB_HTTP_FIELDS_MAX = 6 };
struct hub_http_answer { /* borrowed until the function it is given to returns */
    unsigned status;
    const char *content_type; /* of body; NULL: there is none */
    struct tb_span body;
    struct hub_http_field {
        const char *name, *value;
    } fields[HUB_HTTP_FIELDS_MAX]; /* more headers; name NULL: no more */
};
/* What most refusals are: one line of text. */
struct hub_http_answer hub_http_refusal(unsigned status, const char *why);

/* What a listener serves. All of it is called in the loop. */
typedef void hub_http_done_fn(const struct hub_http_answer *a, void *arg);
struct hub_http_site {
    /* done is called once, from within or later. Returns what cancel() takes, or NULL when done has
     * been called. */
    void *(*ask)(const struct hub_http_request *r, hub_http_done_fn *done, void *arg, void *user);
    /* The one who asked is gone: done is not called any more. */
    void (*cancel)(void *call);
    size_t body_max; /* more is 413 */
    void *user;
};
/* The device API, for devices that have been recognised; others get 403. user: the api. */
extern const struct hub_http_site hub_http_api_site;

struct hub_http_totals {            /* since the start */
    uint64_t requests, by_class[6]; /* [2]: 2xx; [0]: ended without an answer */
    uint64_t bytes_up, bytes_down;  /* HTTP, from and to devices */
    uint64_t kicked;
};

struct hub_http_config {
    uv_loop_t *loop;
    unsigned deadline_ms; /* for a request to arrive, and between its parts */
    /* A device's connection has ended: "device", "disconnect" (HTTP said so), "timeout",
     * "protocol", "shutdown", or what hub_http_kick() was given. */
    void (*on_closed)(const struct hub_peer *peer, const char *reason, void *user);
    void *user;
};

int hub_http_new(const struct hub_http_config *cfg, struct hub_http **ret,
                 struct tb_error *e) TB_CHECKED;
/* Takes over an accepted connection; peer is copied, its texts are borrowed, and so is site. False:
 * it could not, the caller closes t. */
bool hub_http_start(struct hub_http *h, struct hub_tls *t, const struct hub_peer *peer,
                    const struct hub_http_site *site);
/* A connection without TLS: fd is given, site borrowed. */
void hub_http_start_plain(struct hub_http *h, int fd, const struct hub_http_site *site);

/* fn returns true to have the device's connection ended with reason. Returns how many. */
typedef bool hub_http_fn(const struct hub_peer *peer, const char **ret_reason, void *user);
unsigned hub_http_kick(struct hub_http *h, hub_http_fn *fn, void *user);
unsigned hub_http_count(const struct hub_http *h); /* devices' connections */
const struct hub_http_totals *hub_http_totals(const struct hub_http *h);
/* Who waits for an answer is cut off; frees itself after the last connection. NULL is a no-op. */
void hub_http_close(struct hub_http *h);
