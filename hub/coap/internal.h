#pragma once
/* What the files of the CoAP endpoint share. */
#include <coap3/coap.h>
#include <stdio.h>

#include "coap/coap.h"
#include "tb/loop.h"
#include "tls/ident.h"

enum {
    HUB_COAP_OBSERVERS_MAX = 8, /* of a session */
    HUB_COAP_CALLS_MAX = 8,     /* requests of a session that are not answered yet */
    HUB_COAP_RECENT = 16,       /* requests of a session whose repetition is known */
    HUB_COAP_BLOCK = 1024,      /* largest block, SZX 6 */
};

struct hub_coap {
    uv_loop_t *loop;
    struct hub_coap_config cfg;
    coap_context_t *ctx;
    SSL_CTX *dtls, *tls; /* ctx's */
    uv_poll_t poll;      /* on libcoap's epoll descriptor, which has its timer in it */
    struct tb_deadline tick;
    unsigned handles;
    struct tb_addr at, at_tcp;
    bool has_tcp;
    int listener; /* ctx's, of TCP; -1: none, or not found */
    int spare;    /* given up for a moment to turn somebody away when there are no descriptors */
    FILE *keylog;
    EVP_MD *sha256;
    uint8_t trust_digest[32];
    struct hub_coap_peer *first, **last; /* in the order of their first message */
    unsigned connections, sessions, doomed, knocks;
    unsigned gone; /* peers, ever */
    bool driving;  /* inside libcoap */
    bool closing;
};

/* A body that arrives in blocks (RFC 7959 2.5). */
struct hub_coap_upload {
    uint8_t *p; /* NULL: none */
    size_t n;
    enum hub_api_method method;
    char path[64];
};

/* A request that was answered, or is under way (code 0). */
struct hub_coap_recent {
    coap_mid_t mid;
    coap_pdu_code_t code;
    bool used;
};

/* One DTLS or TLS session, from the first message of its handshake until its SSL goes. */
struct hub_coap_peer {
    struct hub_coap *coap;
    struct hub_coap_peer *next, **link;
    struct hub_ident id;
    SSL *ssl;
    coap_session_t *session;
    uint64_t began_ns;
    bool open, reported, doomed, said_goodbye;
    bool saw_encrypted; /* a record under the new keys, before they were known to be the same */
    /* Somebody at its address has begun a new handshake: the device after a restart, or another. */
    uint64_t knocked_ns; /* 0: nobody, or it has been heard of since */
    bool ask_if_alive;
    unsigned unheard;   /* notifications over TCP since something came from it */
    const char *reason; /* why it ends; NULL: not known yet */
    char identity[HUB_IDENTITY_TEXT];
    struct hub_coap_upload upload;
    struct hub_coap_call *calls;
    struct hub_coap_observer *observers;
    unsigned call_count, observer_count;
    struct hub_coap_recent recent[HUB_COAP_RECENT];
    unsigned recent_at;
};

/* session.c: TLS. */
void hub_coap_hook(struct hub_coap *c, SSL_CTX *ctx);
int hub_coap_on_event(coap_session_t *session, const coap_event_t event);
/* Closed as soon as libcoap does not stand on it any more. The first reason stays. */
void hub_coap_doom(struct hub_coap_peer *p, const char *reason);
/* Sends a ping as soon as that is possible. */
void hub_coap_ask_if_alive(struct hub_coap_peer *p);
void hub_coap_reap(struct hub_coap *c);
/* Something that only its keys can have made has arrived. */
static inline void hub_coap_heard(struct hub_coap_peer *p) {
    p->knocked_ns = 0;
    p->unheard = 0;
}
void hub_coap_end(struct hub_coap_peer *p, const char *reason); /* not from within libcoap */
/* Handshakes that take too long. */
void hub_coap_check_deadlines(struct hub_coap *c);

/* endpoint.c */
void hub_coap_arm(struct hub_coap *c); /* something was sent, or has a deadline */

/* request.c */
void hub_coap_serve(coap_context_t *ctx);
void hub_coap_drop_calls(struct hub_coap_peer *p);

/* respond.c: what an answer becomes. */
struct hub_coap_ask { /* what the request says about the form of its answer */
    uint8_t token[8];
    size_t token_n;
    enum hub_api_method method;
    bool confirmable;
    bool has_block2;
    uint32_t block2_num;
    unsigned szx;
    int64_t block1; /* of the last block of its body; -1: it came whole */
    int accept;     /* content format; -1: any */
};
/* Fills a PDU whose token is there. observe: -1, or the number of a notification. Returns the
 * code. */
coap_pdu_code_t hub_coap_fill(coap_session_t *session, coap_pdu_t *pdu,
                              const struct hub_coap_ask *ask, const struct hub_api_answer *a,
                              int64_t observe);
/* A message of its own: a separate response or a notification. When it cannot be sent the session
 * may end, and p with it. */
void hub_coap_send(struct hub_coap_peer *p, const struct hub_coap_ask *ask, bool confirmable,
                   const struct hub_api_answer *a, int64_t observe);
/* Content formats (RFC 7252 12.3): NULL or -1 when there is none. */
const char *hub_coap_type_of(unsigned format);
int hub_coap_format_of(const char *type);

/* observe.c (RFC 7641) */
/* Answers a registration or ends it; false: the answer is without Observe. */
bool hub_coap_observe(struct hub_coap_peer *p, const struct hub_coap_ask *ask,
                      enum hub_api_resource what, uint32_t *ret_number);
void hub_coap_forget(struct hub_coap_peer *p, const uint8_t *token, size_t n);
void hub_coap_forget_all(struct hub_coap_peer *p);
/* Notifications that were held back. True: there are more. */
bool hub_coap_catch_up(struct hub_coap *c);
