/* Requests and observations of a CoAP session. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coap_format.h"
#include "coap_internal.h"

enum { SEGMENT_MAX = 255, QUERY_MAX = 1024 };

/* RFC 7641 3.4: notifications are in order within half the number space and this time. */
static const uint32_t HALF = 1U << 23;
enum { FRESH_MS = 128 * 1000 };

/* ---- exchanges ---- */

static char *copy(const char *text) {
    char *s = text ? strdup(text) : NULL;

    if (text && !s)
        abort();
    return s;
}

static void exchange_free(struct coap_exchange *x) {
    free(x->path);
    free(x->accept);
    free(x->save);
    free(x->body);
    free(x);
}

static void drop(struct coap_protocol *c, struct coap_exchange *x) {
    struct coap_exchange **at = &c->exchanges;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    exchange_free(x);
}

static void append(struct coap_protocol *c, struct coap_exchange *x) {
    struct coap_exchange **at = &c->exchanges;

    while (*at)
        at = &(*at)->next;
    *at = x;
}

static struct coap_exchange *by_token(struct coap_protocol *c, coap_bin_const_t token) {
    struct coap_exchange *x = c->exchanges;

    while (x && (x->token_n == 0 || x->token_n != token.length ||
                 memcmp(x->token, token.s, token.length) != 0))
        x = x->next;
    return x;
}

static struct coap_exchange *observation(struct coap_protocol *c, const char *path) {
    struct coap_exchange *x = c->exchanges;

    while (x && (!x->observe || strcmp(x->path, path) != 0))
        x = x->next;
    return x;
}

/* ---- what is told ---- */

static struct coap_told *tell(struct coap_protocol *c, unsigned id, const char *event,
                              json_t *members) {
    struct coap_told *t = calloc(1, sizeof *t);

    if (!t)
        abort();
    t->id = id;
    t->event = event;
    t->members = members;
    *c->last_told = t;
    c->last_told = &t->next;
    return t;
}

static void tell_failed(struct coap_protocol *c, unsigned id, int status, const char *why) {
    struct coap_told *t;

    if (id == 0)
        return;
    t = tell(c, id, NULL, NULL);
    t->status = status;
    snprintf(t->why, sizeof t->why, "%s", why);
}

/* Neither the request nor the end of the observation was answered. */
static void fail(struct coap_protocol *c, struct coap_exchange *x, int status, const char *why) {
    tell_failed(c, x->id, status, why);
    tell_failed(c, x->cancel_id, status, why);
    drop(c, x);
}

/* ---- putting a request ---- */

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
    if (strlen(rq->path) > QUERY_MAX || !add_path(NULL, rq->path) || !add_query(NULL, rq->path))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "path %.80s: segments of 1 to %d bytes, %%XX for others, %d in all",
                            rq->path, SEGMENT_MAX, QUERY_MAX);
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
static bool add_body(struct coap_protocol *c, coap_pdu_t *pdu, struct tb_span body) {
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
static bool fill(struct coap_protocol *c, coap_pdu_t *pdu, const struct coap_exchange *x,
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

static int send_request(struct coap_protocol *c, struct coap_exchange *x,
                        const struct dev_request *rq, struct tb_error *e) {
    int method = dev_coap_method(rq->method, e);
    coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, (coap_pdu_code_t)method, c->session);

    if (!pdu)
        abort();
    coap_session_new_token(c->session, &x->token_n, x->token);
    if (!fill(c, pdu, x, rq)) {
        coap_delete_pdu(pdu);
        return tb_error_set(e, TB_ERANGE, NULL, 0, "the request does not fit into a message");
    }
    if (coap_send(c->session, pdu) == COAP_INVALID_MID)
        return tb_error_set(e, TB_ECLOSED, NULL, 0, "cannot be sent");
    return 0;
}

int coap_request(struct dev_protocol *p, const struct dev_request *rq, unsigned *ret_id,
                 struct tb_error *e) {
    struct coap_protocol *c = (struct coap_protocol *)p;
    struct coap_exchange *x = rq->observe ? observation(c, rq->path) : NULL;
    int r = dev_coap_check(rq, e);

    if (r < 0)
        return r;
    if (!c->up || c->leaving)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "not connected");
    if (x && x->token_n)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "%s is observed already", rq->path);
    if (x) /* from an earlier session, asked for anew */
        drop(c, x);
    x = calloc(1, sizeof *x);
    if (!x)
        abort();
    x->path = copy(rq->path);
    x->accept = copy(rq->accept);
    x->save = copy(rq->save);
    x->observe = rq->observe;
    x->deadline = dev_now() + tb_timeout_ms(c->cfg.timeout_ms);
    r = send_request(c, x, rq, e);
    if (r < 0) {
        exchange_free(x);
        return r;
    }
    *ret_id = x->id = ++c->last_id;
    append(c, x);
    coap_soon(c);
    return 0;
}

int coap_cancel(struct dev_protocol *p, const char *path, unsigned *ret_id, struct tb_error *e) {
    struct coap_protocol *c = (struct coap_protocol *)p;
    struct coap_exchange *x = observation(c, path);
    coap_binary_t token;

    if (!x)
        return tb_error_set(e, TB_ENOTFOUND, NULL, 0, "%s is not observed", path);
    if (x->cancel_id || x->id)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "%s: the hub has not answered yet", path);
    *ret_id = ++c->last_id;
    if (x->token_n == 0) { /* no session now */
        tell(c, *ret_id, NULL, NULL);
        drop(c, x);
    } else {
        token = (coap_binary_t){x->token_n, x->token};
        if (!coap_cancel_observe(c->session, &token, COAP_MESSAGE_CON))
            return tb_error_set(e, TB_ESTATE, NULL, 0, "cannot be cancelled");
        x->cancel_id = *ret_id;
        x->deadline = dev_now() + tb_timeout_ms(c->cfg.timeout_ms);
    }
    coap_soon(c);
    return 0;
}

/* ---- answers ---- */

static bool take_uint(const coap_pdu_t *pdu, coap_option_num_t number, uint32_t *ret) {
    coap_opt_iterator_t i;
    coap_opt_t *o = coap_check_option(pdu, number, &i);

    if (o)
        *ret = coap_decode_var_bytes(coap_opt_value(o), coap_opt_length(o));
    return o != NULL;
}

/* Adds a block to the body. 1: more is to come, 0: it is whole, negative: it cannot be. */
static int take_block(struct coap_exchange *x, const coap_session_t *session,
                      const coap_pdu_t *pdu) {
    coap_block_b_t block = {0};
    size_t n = 0, offset = 0, total = 0;
    const uint8_t *data = NULL;
    const bool blocks = coap_get_block_b(session, pdu, COAP_OPTION_BLOCK2, &block) == 1;

    (void)coap_get_data_large(pdu, &n, &data, &offset, &total);
    if (offset == 0) { /* the first block has what the others need not have */
        x->body_n = 0;
        x->observing_now = take_uint(pdu, COAP_OPTION_OBSERVE, &x->sequence_now);
    }
    if (offset + n <= x->body_n && n)
        return 1; /* again */
    if (offset != x->body_n || n > (size_t)DEV_BODY_MAX - x->body_n)
        return TB_ERANGE;
    if (n) {
        x->body = realloc(x->body, x->body_n + n);
        if (!x->body)
            abort();
        memcpy(x->body + x->body_n, data, n);
        x->body_n += n;
    }
    return blocks && block.m;
}

/* RFC 7641 3.4. Over TCP everything is in order (RFC 8323 A.1). */
static bool is_fresh(const struct coap_protocol *c, const struct coap_exchange *x, uint32_t v2) {
    const uint32_t v1 = x->sequence;

    return !c->cfg.datagrams || !x->has_sequence || (v1 < v2 && v2 - v1 < HALF) ||
           (v1 > v2 && v1 - v2 > HALF) || dev_now() > x->sequence_at + FRESH_MS;
}

static json_t *answer(const struct coap_exchange *x, const coap_pdu_t *pdu, int *ret_status,
                      struct tb_error *e) {
    char code[16], number[16];
    const char *type = NULL;
    json_t *m = json_object();
    uint32_t format;

    json_object_set_new(m, "code",
                        json_string(dev_coap_code(coap_pdu_get_code(pdu), code, sizeof code)));
    if (take_uint(pdu, COAP_OPTION_CONTENT_FORMAT, &format))
        type = dev_coap_media_type(format, number, sizeof number);
    *ret_status = dev_answer_put(m, tb_span(x->body, x->body_n), type, x->save, e);
    return m;
}

static void tell_answer(struct coap_protocol *c, struct coap_exchange *x, const coap_pdu_t *pdu) {
    struct tb_error e = {0};
    struct coap_told *t;
    int status;
    json_t *m = answer(x, pdu, &status, &e);

    if (x->observe)
        json_object_set_new(m, "observing", json_boolean(x->has_sequence));
    t = tell(c, x->id, NULL, m);
    t->status = status;
    snprintf(t->why, sizeof t->why, "%.190s", e.message);
    x->id = 0;
}

static void tell_notification(struct coap_protocol *c, const struct coap_exchange *x,
                              const coap_pdu_t *pdu) {
    struct tb_error e = {0};
    int status;
    json_t *m = answer(x, pdu, &status, &e);

    json_object_set_new(m, "path", json_string(x->path));
    if (x->has_sequence)
        json_object_set_new(m, "sequence", json_integer(x->sequence));
    if (status < 0)
        json_object_set_new(m, "error", json_string(e.message));
    tell(c, 0, "notification", m);
}

/* A whole answer, of which pdu is the last block. */
static void finish(struct coap_protocol *c, struct coap_exchange *x, const coap_pdu_t *pdu) {
    const bool good = COAP_RESPONSE_CLASS(coap_pdu_get_code(pdu)) == 2;

    if (x->cancel_id && !x->observing_now) {
        tell(c, x->cancel_id, NULL, NULL);
        drop(c, x);
        return;
    }
    if (x->observing_now && !is_fresh(c, x, x->sequence_now))
        return;
    x->has_sequence = x->observing_now;
    x->sequence = x->sequence_now;
    x->sequence_at = dev_now();
    if (x->id)
        tell_answer(c, x, pdu);
    else
        tell_notification(c, x, pdu);
    /* without its option, or with an error, the hub has no observer any more (RFC 7641 4.2) */
    if (!x->observe || !x->has_sequence || !good) {
        tell_failed(c, x->cancel_id, 0, "");
        drop(c, x);
    } else if (!x->cancel_id) {
        x->deadline = 0;
    }
}

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent,
                                   const coap_pdu_t *received, const coap_mid_t mid) {
    struct coap_protocol *c = coap_session_get_app_data(session);
    struct coap_exchange *x = c ? by_token(c, coap_pdu_get_token(received)) : NULL;
    int r;

    (void)sent;
    (void)mid;
    if (!x)
        return COAP_RESPONSE_FAIL; /* an observation that we have given up */
    r = take_block(x, session, received);
    if (r < 0) {
        coap_dead(c, "coap: an answer with gaps, or of more than 16 MiB");
        return COAP_RESPONSE_FAIL;
    }
    if (r == 0)
        finish(c, x, received);
    else if (x->deadline)
        x->deadline = dev_now() + tb_timeout_ms(c->cfg.timeout_ms); /* it goes on */
    return COAP_RESPONSE_OK;
}

static void on_nack(coap_session_t *session, const coap_pdu_t *sent,
                    const coap_nack_reason_t reason, const coap_mid_t mid) {
    struct coap_protocol *c = coap_session_get_app_data(session);
    struct coap_exchange *x = c && sent ? by_token(c, coap_pdu_get_token(sent)) : NULL;
    char text[120];

    (void)mid;
    if (!c)
        return;
    if (reason == COAP_NACK_TOO_MANY_RETRIES) {
        snprintf(text, sizeof text, "coap: no answer from the hub after %u retransmission(s)",
                 c->cfg.max_retransmit);
        coap_dead(c, text);
    } else if (reason == COAP_NACK_RST && x) {
        fail(c, x, TB_EPROTO, "the hub rejected the message (RST)");
    }
}

void coap_requests_install(coap_context_t *ctx) {
    coap_register_response_handler(ctx, on_response);
    coap_register_nack_handler(ctx, on_nack);
}

/* ---- time, and the next session ---- */

uint64_t coap_requests_overdue(struct coap_protocol *c) {
    struct coap_exchange *x, *next;
    uint64_t first = 0, now = dev_now();
    char text[80];

    for (x = c->exchanges; x; x = next) {
        next = x->next;
        if (x->deadline && x->deadline <= now) {
            snprintf(text, sizeof text, "not answered within %u ms", c->cfg.timeout_ms);
            if (!x->id && !x->cancel_id)
                tell(c, 0, "notification", json_pack("{s:s, s:s}", "path", x->path, "error", text));
            fail(c, x, TB_ETIMEOUT, text);
        } else if (x->deadline && (!first || x->deadline < first)) {
            first = x->deadline;
        }
    }
    return first;
}

void coap_requests_again(struct coap_protocol *c) {
    struct coap_exchange *x, *next;
    struct tb_error e;

    for (x = c->exchanges; x; x = next) {
        const struct dev_request rq = {
            .method = "GET", .path = x->path, .accept = x->accept, .observe = true};

        next = x->next;
        if (x->token_n)
            continue;
        x->deadline = dev_now() + tb_timeout_ms(c->cfg.timeout_ms);
        if (send_request(c, x, &rq, &e) < 0)
            drop(c, x);
    }
}

void coap_requests_ended(struct coap_protocol *c) {
    struct coap_exchange *x, *next;
    const char *why = c->dead[0] ? c->dead : "the session ended before the answer";

    for (x = c->exchanges; x; x = next) {
        next = x->next;
        if (!x->observe || x->id || x->cancel_id || c->leaving) {
            fail(c, x, TB_ECLOSED, why);
        } else {
            x->token_n = x->body_n = 0;
            x->has_sequence = false;
            x->deadline = 0;
        }
    }
}

void coap_requests_free(struct coap_protocol *c) {
    while (c->exchanges)
        drop(c, c->exchanges);
    while (c->told) {
        struct coap_told *t = c->told;

        c->told = t->next;
        json_decref(t->members);
        free(t);
    }
}
