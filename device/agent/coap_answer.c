/* What the hub answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coap_format.h"
#include "coap_internal.h"

/* RFC 7641 3.4: notifications are in order within half the number space and this time. */
static const uint32_t HALF = 1U << 23;
enum { FRESH_MS = 128 * 1000 };

static bool take_uint(const coap_pdu_t *pdu, coap_option_num_t number, uint32_t *ret) {
    coap_opt_iterator_t i;
    coap_opt_t *o = coap_check_option(pdu, number, &i);

    if (o)
        *ret = coap_decode_var_bytes(coap_opt_value(o), coap_opt_length(o));
    return o != NULL;
}

/* Adds a block to the body. 1: more is to come, 0: it is whole, negative: it cannot be. */
static int take_block(struct dev_coap_exchange *x, const coap_session_t *session,
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
static bool is_fresh(const struct dev_coap_protocol *c, const struct dev_coap_exchange *x,
                     uint32_t v2) {
    const uint32_t v1 = x->sequence;

    return !c->cfg.datagrams || !x->has_sequence || (v1 < v2 && v2 - v1 < HALF) ||
           (v1 > v2 && v1 - v2 > HALF) || dev_now() > x->sequence_at + FRESH_MS;
}

static json_t *answer(const struct dev_coap_exchange *x, const coap_pdu_t *pdu, int *ret_status,
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

static void tell_answer(struct dev_coap_protocol *c, struct dev_coap_exchange *x,
                        const coap_pdu_t *pdu) {
    struct tb_error e = {0};
    struct dev_coap_told *t;
    int status;
    json_t *m = answer(x, pdu, &status, &e);

    if (x->observe)
        json_object_set_new(m, "observing", json_boolean(x->has_sequence));
    t = dev_coap_tell(c, x->id, NULL, m);
    t->status = status;
    snprintf(t->why, sizeof t->why, "%.190s", e.message);
    x->id = 0;
}

static void tell_notification(struct dev_coap_protocol *c, const struct dev_coap_exchange *x,
                              const coap_pdu_t *pdu) {
    struct tb_error e = {0};
    int status;
    json_t *m = answer(x, pdu, &status, &e);

    json_object_set_new(m, "path", json_string(x->path));
    if (x->has_sequence)
        json_object_set_new(m, "sequence", json_integer(x->sequence));
    if (status < 0)
        json_object_set_new(m, "error", json_string(e.message));
    dev_coap_tell(c, 0, "notification", m);
}

/* A whole answer, of which pdu is the last block. */
static void finish(struct dev_coap_protocol *c, struct dev_coap_exchange *x,
                   const coap_pdu_t *pdu) {
    const bool good = COAP_RESPONSE_CLASS(coap_pdu_get_code(pdu)) == 2;

    if (x->cancel_id && !x->observing_now) {
        dev_coap_tell(c, x->cancel_id, NULL, NULL);
        dev_coap_drop(c, x);
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
        dev_coap_tell_failed(c, x->cancel_id, 0, "");
        dev_coap_drop(c, x);
    } else if (!x->cancel_id) {
        x->deadline = 0;
    }
}

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent,
                                   const coap_pdu_t *received, const coap_mid_t mid) {
    struct dev_coap_protocol *c = coap_session_get_app_data(session);
    struct dev_coap_exchange *x = c ? dev_coap_by_token(c, coap_pdu_get_token(received)) : NULL;
    int r;

    (void)sent;
    (void)mid;
    if (!x)
        return COAP_RESPONSE_FAIL; /* an observation that we have given up */
    r = take_block(x, session, received);
    if (r < 0) {
        dev_coap_dead(c, "coap: an answer with gaps, or of more than 16 MiB");
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
    struct dev_coap_protocol *c = coap_session_get_app_data(session);
    struct dev_coap_exchange *x = c && sent ? dev_coap_by_token(c, coap_pdu_get_token(sent)) : NULL;
    char text[120];

    (void)mid;
    if (!c)
        return;
    if (reason != COAP_NACK_RST) {
        snprintf(text, sizeof text, "coap: no answer from the hub after %u retransmission(s)",
                 c->cfg.max_retransmit);
        dev_coap_dead(c, text);
    } else if (x) {
        dev_coap_fail(c, x, TB_EPROTO, "the hub rejected the message (RST)");
    }
}

void dev_coap_requests_install(coap_context_t *ctx) {
    coap_register_response_handler(ctx, on_response);
    coap_register_nack_handler(ctx, on_nack);
}
