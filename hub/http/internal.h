#pragma once
/* What the files of HTTP share. */
#include <microhttpd.h>

#include "http/http.h"
#include "tb/conn.h"
#include "tb/loop.h"

struct hub_http {
    struct hub_http_config cfg;
    struct MHD_Daemon *daemon; /* NULL when it has stopped */
    uv_poll_t poll;            /* on the library's epoll descriptor */
    uv_timer_t timer;          /* when the library wants to be called without an event */
    struct http_conn *first;   /* all, doubly linked */
    unsigned count, plain;     /* with TLS, without */
    unsigned handles;          /* poll and timer, while they are open */
    struct hub_http_totals totals;
    bool running, again, closing;
};

/* One connection. It lives until TLS, pipe, deadline and library have let go of it. */
struct http_conn {
    struct hub_http *http;
    struct http_conn *next, **link;
    struct hub_tls *tls;  /* NULL when closed, and of a plain one */
    struct tb_conn *pipe; /* our end of the pair; likewise */
    int fd; /* the library's end, to find it by before it has been announced, and to cut
               a plain one; -1 afterwards */
    struct hub_peer peer; /* zeroed of a plain one */
    const struct hub_http_site *site;
    struct http_exchange *exchange; /* under way; NULL between requests */
    const char *reason;             /* why it ends; NULL while it lives */
    struct tb_deadline deadline;
    unsigned handles; /* of tls, pipe, deadline, library: how many are still there */
    bool is_plain, is_idle, announced, reported, no_timer;
};

/* conn.c */
struct http_conn *http_conn_of(struct MHD_Connection *c);
void http_conn_announce(void *user, struct MHD_Connection *c, void **socket_context,
                        enum MHD_ConnectionNotificationCode code);
void http_conn_end(struct http_conn *c, const char *reason);
/* The request is there, as far as it matters; more of it came; its answer is on the way; it has
 * been sent. */
void http_conn_is_complete(struct http_conn *c);
void http_conn_progress(struct http_conn *c);
void http_conn_is_sending(struct http_conn *c);
void http_conn_is_answered(struct http_conn *c);

/* request.c: the library's callbacks. */
enum MHD_Result http_on_request(void *user, struct MHD_Connection *c, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_n, void **state);
void http_on_completed(void *user, struct MHD_Connection *c, void **state,
                       enum MHD_RequestTerminationCode why);
/* Whoever has asked is gone: the request is not answered any more. */
void http_exchange_cut(struct http_exchange *r);

/* server.c: has the library do what there is to do. Not while it is running. */
void http_kick(struct hub_http *h);
void http_maybe_gone(struct hub_http *h);
