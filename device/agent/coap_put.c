/* A request as a message of CoAP. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "coap_format.h"
#include "coap_internal.h"

enum { SEGMENT_MAX = 255, PATH_MAX_LEN = 1024 };

/* Splits text at each separator, decodes %XX (RFC 7252 6.4), adds options. pdu NULL: only looks. */
static bool add_segments(coap_pdu_t *pdu, uint16_t option, const char *text, size_t n, char sep) {
    uint8_t segment[SEGMENT_MAX];
    size_t len = 0;

    for (size_t i = 0; i <= n; i++) {
        if (i == n || text[i] == sep) {
            if (pdu && (len || i < n || sep == '/') && !coap_add_option(pdu, option, len, segment))
                return false;
            len = 0;
            continue;
        }
        if (len == sizeof segment)
            return false;
        if (text[i] == '%') {
            char hex[3] = {0}, *end;

            if (n - i < 3)
                return false;
            memcpy(hex, text + i + 1, 2);
            segment[len++] = (uint8_t)strtoul(hex, &end, 16);
            if (end != hex + 2)
                return false;
            i += 2;
        } else {
            segment[len++] = (uint8_t)text[i];
        }
    }
    return true;
}

static bool add_path(coap_pdu_t *pdu, const char *path) {
    size_t n;

    path += *path == '/';
    n = strcspn(path, "?");
    return n == 0 || add_segments(pdu, COAP_OPTION_URI_PATH, path, n, '/');
}

static bool add_query(coap_pdu_t *pdu, const char *path) {
    const char *query = strchr(path, '?');

    return !query || !query[1] ||
           add_segments(pdu, COAP_OPTION_URI_QUERY, query + 1, strlen(query + 1), '&');
}

int dev_coap_check(const struct dev_request *rq, struct tb_error *e) {
    int r = dev_coap_method(rq->method, e);

    if (r < 0)
        return r;
    if (strlen(rq->path) > PATH_MAX_LEN || !add_path(NULL, rq->path) || !add_query(NULL, rq->path))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "path %.80s: segments of 1 to %d bytes, %%XX for others, %d in all",
                            rq->path, SEGMENT_MAX, PATH_MAX_LEN);
    if (rq->observe && strcmp(rq->method, "GET") != 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "only GET observes");
    if (rq->payload.n && strcmp(rq->method, "GET") == 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "GET has no payload");
    if (rq->payload.n > DEV_BODY_MAX)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "a payload has 16 MiB at most");
    r = rq->content_type ? dev_coap_format(rq->content_type, e) : 0;
    if (r >= 0 && rq->accept)
        r = dev_coap_format(rq->accept, e);
    return r < 0 ? r : 0;
}

static bool is_name(const char *host) {
    struct in6_addr a;

    return *host && inet_pton(AF_INET, host, &a) != 1 && inet_pton(AF_INET6, host, &a) != 1;
}

static bool add_uint(coap_pdu_t *pdu, uint16_t option, unsigned value) {
    uint8_t bytes[4];

    return coap_add_option(pdu, option, coap_encode_var_safe(bytes, sizeof bytes, value), bytes) >
           0;
}

static void release_body(coap_session_t *session, void *body) {
    (void)session;
    free(body);
}

/* The body is copied: libcoap sends it block by block. */
static bool add_body(struct dev_coap_protocol *c, coap_pdu_t *pdu, struct tb_span body) {
    uint8_t *p;

    if (body.n == 0)
        return true;
    p = malloc(body.n);
    if (!p)
        abort();
    memcpy(p, body.p, body.n);
    return coap_add_data_large_request(c->session, pdu, body.n, p, release_body, p) == 1;
}

/* In the order of the options' numbers. */
bool dev_coap_fill(struct dev_coap_protocol *c, coap_pdu_t *pdu, const struct dev_coap_exchange *x,
                   const struct dev_request *rq) {
    struct tb_error e;

    return coap_add_token(pdu, x->token_n, x->token) &&
           (!is_name(c->host) || coap_add_option(pdu, COAP_OPTION_URI_HOST, strlen(c->host),
                                                 (const uint8_t *)c->host)) &&
           (!x->observe || add_uint(pdu, COAP_OPTION_OBSERVE, COAP_OBSERVE_ESTABLISH)) &&
           add_path(pdu, rq->path) &&
           (!rq->content_type || !rq->payload.n ||
            add_uint(pdu, COAP_OPTION_CONTENT_FORMAT,
                     (unsigned)dev_coap_format(rq->content_type, &e))) &&
           add_query(pdu, rq->path) &&
           (!rq->accept ||
            add_uint(pdu, COAP_OPTION_ACCEPT, (unsigned)dev_coap_format(rq->accept, &e))) &&
           add_body(c, pdu, rq->payload);
}
