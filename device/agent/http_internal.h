#pragma once
/* Between http.c (the session) and http_request.c (what is asked in it). */
#include <curl/curl.h>
#include <jansson.h>
#include <uv.h>

#include "http.h"
#include "local.h"

struct dev_http_request {
    struct dev_http_request *next;
    struct dev_http_protocol *owner;
    unsigned id;
    CURL *easy;
    struct curl_slist *fields;
    char *save;
    uint8_t *body;
    size_t body_n, body_cap;
    char error[CURL_ERROR_SIZE];
};

struct dev_http_told { /* what is to be told when libcurl has returned */
    struct dev_http_told *next;
    unsigned id;
    int status;
    json_t *reply;
    char why[256];
};

struct dev_http_protocol {
    struct dev_protocol p;
    uv_loop_t *loop;
    struct dev_http_config cfg;
    char *host;
    uv_timer_t timer;
    void (*closed)(void *arg);
    void *closed_arg;
    unsigned last_id;
    struct dev_http_request *requests;
    struct dev_http_told *told, **last_told;
    /* of a session */
    CURLM *multi;
    struct dev_task *task;
    struct dev_local *local;  /* where libcurl connects to */
    uint16_t port, curl_port; /* its, and that of libcurl's socket; 0: there was none yet */
    bool there;               /* libcurl has come */
    bool up, sure, leaving;
    char why[200];
};

/* libcurl's socket, bound, so that it is known when it comes. One per session. */
curl_socket_t dev_http_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address);

/* ---- http_request.c ---- */

int dev_http_request(struct dev_protocol *p, const struct dev_request *rq, unsigned *ret_id,
                     struct tb_error *e) TB_CHECKED;
/* What libcurl has finished goes to the list of what is to be told. */
void dev_http_requests_collect(struct dev_http_protocol *h);
/* The session has ended: what is under way has failed. */
void dev_http_requests_ended(struct dev_http_protocol *h, const char *why);
