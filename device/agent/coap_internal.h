#pragma once
/* Between coap.c (the session) and coap_request.c (what is asked in it). */
#include <coap3/coap.h>
#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "coap.h"
#include "local.h"

enum { DEV_COAP_TOKEN_MAX = 8 };

struct dev_coap_exchange { /* a request under way, or an observation */
    struct dev_coap_exchange *next;
    unsigned id;        /* what on_done() tells; 0: told */
    unsigned cancel_id; /* of the end of the observation, 0: not asked for */
    uint8_t token[DEV_COAP_TOKEN_MAX];
    size_t token_n; /* 0: not of this session */
    char *path, *accept, *save;
    bool observe;
    uint64_t deadline; /* ms of dev_now(); 0: none, it is an observation */
    /* the answer as it comes, block by block */
    uint8_t *body;
    size_t body_n;
    bool observing_now; /* the answer that comes has the Observe option: */
    uint32_t sequence_now;
    bool has_sequence; /* the hub has us as an observer */
    uint32_t sequence; /* of the last notification */
    uint64_t sequence_at;
};

struct dev_coap_told { /* what is to be told outside of libcoap's callbacks */
    struct dev_coap_told *next;
    unsigned id; /* 0: an event */
    const char *event;
    int status;
    json_t *members;
    char why[200];
};

struct dev_coap_protocol {
    struct dev_protocol p;
    uv_loop_t *loop;
    struct dev_coap_config cfg;
    char *host;
    coap_context_t *ctx;
    uv_poll_t poll;   /* libcoap's descriptor */
    uv_timer_t timer; /* libcoap's next retransmission, or a request's deadline */
    unsigned handles;
    void (*closed)(void *arg);
    void *closed_arg;
    unsigned last_id;
    struct dev_coap_exchange *exchanges;
    struct dev_coap_told *told, **last_told;
    /* of a session */
    struct dev_task *task;
    coap_session_t *session;
    struct dev_local *local;
    bool connected; /* libcoap's socket */
    bool greeted;   /* TCP: the hub's CSM has come */
    bool up, leaving;
    char dead[200]; /* why it cannot go on */
};

/* Tells what is to be told, and looks when libcoap wants to be called next. Not inside of libcoap.
 */
void dev_coap_after(struct dev_coap_protocol *c);
/* That, from the loop, soon. */
void dev_coap_soon(struct dev_coap_protocol *c);
/* The session cannot go on. */
void dev_coap_dead(struct dev_coap_protocol *c, const char *why);

/* ---- coap_exchange.c ---- */

void dev_coap_append(struct dev_coap_protocol *c, struct dev_coap_exchange *x);
void dev_coap_drop(struct dev_coap_protocol *c, struct dev_coap_exchange *x); /* and frees it */
void dev_coap_exchange_free(struct dev_coap_exchange *x);                     /* not in the list */
struct dev_coap_exchange *dev_coap_by_token(struct dev_coap_protocol *c, coap_bin_const_t token);
struct dev_coap_exchange *dev_coap_observation(struct dev_coap_protocol *c, const char *path);
/* Puts it at the end of what is to be told; members: given. */
struct dev_coap_told *dev_coap_tell(struct dev_coap_protocol *c, unsigned id, const char *event,
                                    json_t *members);
void dev_coap_tell_failed(struct dev_coap_protocol *c, unsigned id, int status, const char *why);
/* Neither the request nor the end of the observation was answered: it is told and dropped. */
void dev_coap_fail(struct dev_coap_protocol *c, struct dev_coap_exchange *x, int status,
                   const char *why);

/* ---- coap_put.c ---- */

/* Token, options and body; false: it does not fit. */
bool dev_coap_fill(struct dev_coap_protocol *c, coap_pdu_t *pdu, const struct dev_coap_exchange *x,
                   const struct dev_request *rq);

/* ---- coap_answer.c ---- */

void dev_coap_requests_install(coap_context_t *ctx);

/* ---- coap_request.c ---- */

int dev_coap_request(struct dev_protocol *p, const struct dev_request *rq, unsigned *ret_id,
                     struct tb_error *e) TB_CHECKED;
int dev_coap_cancel(struct dev_protocol *p, const char *path, unsigned *ret_id,
                    struct tb_error *e) TB_CHECKED;
/* Those whose time is over have failed; the next deadline, 0: none. */
uint64_t dev_coap_requests_overdue(struct dev_coap_protocol *c);
/* A new session: what was observed is observed again. */
void dev_coap_requests_again(struct dev_coap_protocol *c);
/* The session has ended: requests have failed, observations wait for the next one. */
void dev_coap_requests_ended(struct dev_coap_protocol *c);
void dev_coap_requests_free(struct dev_coap_protocol *c);
