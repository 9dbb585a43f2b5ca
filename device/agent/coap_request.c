/* Requests and observations of a CoAP session. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coap_format.h"
#include "coap_internal.h"

static char *copy(const char *text) {
    char *s = text ? strdup(text) : NULL;

    if (text && !s)
        abort();
    return s;
}

static int send_request(struct dev_coap_protocol *c, struct dev_coap_exchange *x,
                        const struct dev_request *rq, struct tb_error *e) {
    int method = dev_coap_method(rq->method, e);
    coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, (coap_pdu_code_t)method, c->session);

    if (!pdu)
        abort();
    coap_session_new_token(c->session, &x->token_n, x->token);
    if (!dev_coap_fill(c, pdu, x, rq)) {
        coap_delete_pdu(pdu);
        return tb_error_set(e, TB_ERANGE, NULL, 0, "the request does not fit into a message");
    }
    if (coap_send(c->session, pdu) == COAP_INVALID_MID)
        return tb_error_set(e, TB_ECLOSED, NULL, 0, "cannot be sent");
    return 0;
}

int dev_coap_request(struct dev_protocol *p, const struct dev_request *rq, unsigned *ret_id,
                     struct tb_error *e) {
    struct dev_coap_protocol *c = (struct dev_coap_protocol *)p;
    struct dev_coap_exchange *x = rq->observe ? dev_coap_observation(c, rq->path) : NULL;
    int r = dev_coap_check(rq, e);

    if (r < 0)
        return r;
    if (!c->up || c->leaving)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "not connected");
    if (x && x->token_n)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "%s is observed already", rq->path);
    if (x) /* from an earlier session, asked for anew */
        dev_coap_drop(c, x);
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
        dev_coap_exchange_free(x);
        return r;
    }
    *ret_id = x->id = ++c->last_id;
    dev_coap_append(c, x);
    dev_coap_soon(c);
    return 0;
}

int dev_coap_cancel(struct dev_protocol *p, const char *path, unsigned *ret_id,
                    struct tb_error *e) {
    struct dev_coap_protocol *c = (struct dev_coap_protocol *)p;
    struct dev_coap_exchange *x = dev_coap_observation(c, path);
    coap_binary_t token;

    if (!x)
        return tb_error_set(e, TB_ENOTFOUND, NULL, 0, "%s is not observed", path);
    if (x->cancel_id || x->id)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "%s: the hub has not answered yet", path);
    *ret_id = ++c->last_id;
    if (x->token_n == 0) { /* no session now */
        dev_coap_tell(c, *ret_id, NULL, NULL);
        dev_coap_drop(c, x);
    } else {
        token = (coap_binary_t){x->token_n, x->token};
        if (!coap_cancel_observe(c->session, &token, COAP_MESSAGE_CON))
            return tb_error_set(e, TB_ESTATE, NULL, 0, "cannot be cancelled");
        x->cancel_id = *ret_id;
        x->deadline = dev_now() + tb_timeout_ms(c->cfg.timeout_ms);
    }
    dev_coap_soon(c);
    return 0;
}

/* ---- time, and the next session ---- */

uint64_t dev_coap_requests_overdue(struct dev_coap_protocol *c) {
    struct dev_coap_exchange *x, *next;
    uint64_t first = 0, now = dev_now();
    char text[80];

    for (x = c->exchanges; x; x = next) {
        next = x->next;
        if (x->deadline && x->deadline <= now) {
            snprintf(text, sizeof text, "not answered within %u ms", c->cfg.timeout_ms);
            if (!x->id && !x->cancel_id)
                dev_coap_tell(c, 0, "notification",
                              json_pack("{s:s, s:s}", "path", x->path, "error", text));
            dev_coap_fail(c, x, TB_ETIMEOUT, text);
        } else if (x->deadline && (!first || x->deadline < first)) {
            first = x->deadline;
        }
    }
    return first;
}

void dev_coap_requests_again(struct dev_coap_protocol *c) {
    struct dev_coap_exchange *x, *next;
    struct tb_error e;

    for (x = c->exchanges; x; x = next) {
        const struct dev_request rq = {
            .method = "GET", .path = x->path, .accept = x->accept, .observe = true};

        next = x->next;
        if (x->token_n)
            continue;
        x->deadline = dev_now() + tb_timeout_ms(c->cfg.timeout_ms);
        if (send_request(c, x, &rq, &e) < 0)
            dev_coap_drop(c, x);
    }
}

void dev_coap_requests_ended(struct dev_coap_protocol *c) {
    struct dev_coap_exchange *x, *next;
    const char *why = c->dead[0] ? c->dead : "the session ended before the answer";

    for (x = c->exchanges; x; x = next) {
        next = x->next;
        if (!x->observe || x->id || x->cancel_id || c->leaving) {
            dev_coap_fail(c, x, TB_ECLOSED, why);
        } else {
            x->token_n = x->body_n = 0;
            x->has_sequence = false;
            x->deadline = 0;
        }
    }
}

void dev_coap_requests_free(struct dev_coap_protocol *c) {
    while (c->exchanges)
        dev_coap_drop(c, c->exchanges);
    while (c->told) {
        struct dev_coap_told *t = c->told;

        c->told = t->next;
        json_decref(t->members);
        free(t);
    }
}
