#pragma once
/* What an application speaks over its secure channel: MQTT, CoAP or HTTP, behind one interface.
 *
 * A protocol is made once per application and serves one connection after the other. Its functions
 * are called on the loop's stack, but for begin and run, which are called on the session's task.
 * Whatever it tells (struct dev_protocol_host), it tells from a place where it may be called. */
#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "channel.h"
#include "task.h"
#include "tb/error.h"
#include "tb/span.h"

struct dev_protocol_host {
    /* The session exists. members (given, may be NULL) go into the event "session". sure: the peer
     * has shown that it accepted us; false when the protocol has no greeting: then on_sure() comes
     * with the first answer. */
    void (*on_up)(json_t *members, bool sure, void *user);
    void (*on_sure)(void *user);
    void (*on_event)(const char *name, json_t *members /* given */, void *user);
    /* The publication, subscription or request with that number is done: 0, or negative with why.
     * reply: given, what a control client is answered, may be NULL. */
    void (*on_done)(unsigned id, int status, json_t *reply, const char *why, void *user);
};

struct dev_publication { /* borrowed for the call */
    const char *topic;
    struct tb_span payload;
    int qos;
    bool retain;
};

struct dev_request {    /* borrowed for the call */
    const char *method; /* "GET", … */
    const char *path;   /* "/x/y?query", the leading slash may be missing */
    struct tb_span payload;
    const char *content_type, *accept; /* media types, NULL: none */
    const char *save;                  /* file for the answer's body, NULL: into the reply */
    bool observe;
};

struct dev_protocol;
struct dev_protocol_ops {
    const char *name; /* "mqtt", "coap", "http" */
    /* An attempt begins: what can be done while card and TLS are at work. NULL: nothing. */
    int (*begin)(struct dev_protocol *p, struct dev_task *t, struct dev_failure *why);
    /* From the end of the handshake to the end of the session: 0 when it ended by leave(), else
     * negative with *why filled. The channel is not closed. */
    int (*run)(struct dev_protocol *p, struct dev_task *t, struct dev_channel *ch,
               struct dev_failure *why);
    /* The attempt is over; once for each begin. What is not acknowledged has failed. */
    void (*end)(struct dev_protocol *p);
    /* Ends a session that is up, in order; run() returns soon. */
    void (*leave)(struct dev_protocol *p);
    /* No attempt is under way. Frees the protocol, then calls done, perhaps before it returns. */
    void (*close)(struct dev_protocol *p, void (*done)(void *arg), void *arg);
    /* NULL: this protocol has no such thing. *ret_id is what on_done() will tell, not before the
     * call has returned. Negative with *e filled. */
    int (*publish)(struct dev_protocol *p, const struct dev_publication *pub, unsigned *ret_id,
                   struct tb_error *e);
    int (*subscribe)(struct dev_protocol *p, const char *filter, int qos, unsigned *ret_id,
                     struct tb_error *e);
    int (*request)(struct dev_protocol *p, const struct dev_request *rq, unsigned *ret_id,
                   struct tb_error *e);
    int (*cancel)(struct dev_protocol *p, const char *path, unsigned *ret_id, struct tb_error *e);
};
struct dev_protocol { /* first member of every implementation */
    const struct dev_protocol_ops *ops;
    const struct dev_protocol_host *host; /* both set by whoever makes it use of it */
    void *user;
};

/* "payload" as text when it is UTF-8, else "payload_hex". */
void dev_payload_put(json_t *members, struct tb_span payload);
/* A whole answer as a control client gets it: "bytes", "content_type" (NULL: none) and the payload,
 * or, with save, the name of the file it was written to. Payloads above DEV_PAYLOAD_MAX must be
 * saved. Negative with *e filled: the file. */
enum { DEV_PAYLOAD_MAX = 128 * 1024, DEV_BODY_MAX = 16 << 20 };
int dev_answer_put(json_t *members, struct tb_span body, const char *content_type, const char *save,
                   struct tb_error *e) TB_CHECKED;
