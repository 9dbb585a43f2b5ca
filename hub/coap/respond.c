/* Answers of the API as CoAP messages: codes (RFC 8075 7), content formats, Block2 (RFC 7959). */
#include <string.h>
#include <strings.h>

#include "coap/internal.h"

static const struct {
    unsigned format;
    const char *type;
} formats[] = {
    {COAP_MEDIATYPE_TEXT_PLAIN, "text/plain"},
    {COAP_MEDIATYPE_APPLICATION_LINK_FORMAT, "application/link-format"},
    {COAP_MEDIATYPE_APPLICATION_XML, "application/xml"},
    {COAP_MEDIATYPE_APPLICATION_OCTET_STREAM, "application/octet-stream"},
    {COAP_MEDIATYPE_APPLICATION_EXI, "application/exi"},
    {COAP_MEDIATYPE_APPLICATION_JSON, "application/json"},
    {COAP_MEDIATYPE_APPLICATION_CBOR, "application/cbor"},
    {COAP_MEDIATYPE_APPLICATION_SENML_JSON, "application/senml+json"},
    {COAP_MEDIATYPE_APPLICATION_SENML_CBOR, "application/senml+cbor"},
};
enum { FORMATS = sizeof formats / sizeof *formats };

const char *hub_coap_type_of(unsigned format) {
    for (size_t i = 0; i < FORMATS; i++) {
        if (formats[i].format == format)
            return formats[i].type;
    }
    return NULL;
}

/* "text/plain;charset=utf-8" is text/plain: in CoAP it always is UTF-8. */
int hub_coap_format_of(const char *type) {
    const size_t n = strcspn(type, "; ");

    for (size_t i = 0; i < FORMATS; i++) {
        if (strlen(formats[i].type) == n && strncasecmp(formats[i].type, type, n) == 0)
            return (int)formats[i].format;
    }
    return -1;
}

static coap_pdu_code_t code_of(unsigned status, enum hub_api_method method) {
    switch (status) {
    case 200:
        return COAP_RESPONSE_CODE_CONTENT;
    case 201:
        return COAP_RESPONSE_CODE_CREATED;
    case 204: /* no content: 2.05 without any for GET, so that it can be observed */
        return method == HUB_API_GET      ? COAP_RESPONSE_CODE_CONTENT
               : method == HUB_API_DELETE ? COAP_RESPONSE_CODE_DELETED
                                          : COAP_RESPONSE_CODE_CHANGED;
    case 400:
        return COAP_RESPONSE_CODE_BAD_REQUEST;
    case 404:
        return COAP_RESPONSE_CODE_NOT_FOUND;
    case 405:
        return COAP_RESPONSE_CODE_NOT_ALLOWED;
    case 413:
        return COAP_RESPONSE_CODE_REQUEST_TOO_LARGE;
    case 503:
        return COAP_RESPONSE_CODE_SERVICE_UNAVAILABLE;
    default: /* 507 has no equivalent */
        return COAP_RESPONSE_CODE_INTERNAL_ERROR;
    }
}

static void add_number(coap_pdu_t *pdu, coap_option_num_t option, uint64_t value) {
    uint8_t bytes[8];

    coap_add_option(pdu, option, coap_encode_var_safe8(bytes, sizeof bytes, value), bytes);
}

static coap_pdu_code_t complain(coap_pdu_t *pdu, coap_pdu_code_t code, const char *why) {
    coap_pdu_set_code(pdu, code);
    coap_add_data(pdu, strlen(why), (const uint8_t *)why);
    return code;
}

/* The part of a body that goes into this message. Over TCP a peer may take it whole; what it takes
 * it has said when the session began. */
static bool choose_block(const coap_session_t *session, const struct hub_coap_ask *ask, size_t n,
                         size_t *ret_from, size_t *ret_n) {
    enum { ROOM_FOR_OPTIONS = 64 };
    const size_t size = (size_t)1 << (ask->szx + 4);

    *ret_from = 0;
    *ret_n = n;
    if (!ask->has_block2 &&
        (n <= size || (COAP_PROTO_RELIABLE(coap_session_get_proto(session)) &&
                       n + ROOM_FOR_OPTIONS <= coap_session_max_pdu_size(session))))
        return false;
    *ret_from = ask->block2_num * size;
    *ret_n = *ret_from >= n ? 0 : n - *ret_from > size ? size : n - *ret_from;
    return true;
}

/* The body is complete: no more to come. */
static void add_block1(coap_pdu_t *pdu, const struct hub_coap_ask *ask) {
    if (ask->block1 >= 0)
        add_number(pdu, COAP_OPTION_BLOCK1, (uint64_t)ask->block1 & ~(uint64_t)8);
}

coap_pdu_code_t hub_coap_fill(coap_session_t *session, coap_pdu_t *pdu,
                              const struct hub_coap_ask *ask, const struct hub_api_answer *a,
                              int64_t observe) {
    coap_pdu_code_t code = code_of(a->status, ask->method);
    const bool good = COAP_RESPONSE_CLASS(code) == 2;
    const int format = a->content_type ? hub_coap_format_of(a->content_type) : -1;
    bool in_blocks;
    size_t from, n;

    if (!good || a->body.n == 0) {
        /* A refusal's text is a diagnostic message, which has no format (RFC 7252 5.5.2). */
        coap_pdu_set_code(pdu, code);
        if (good && a->sequence)
            add_number(pdu, COAP_OPTION_ETAG, a->sequence);
        if (observe >= 0 && good)
            add_number(pdu, COAP_OPTION_OBSERVE, (uint64_t)observe);
        add_block1(pdu, ask);
        if (a->status == 413)
            add_number(pdu, COAP_OPTION_SIZE1, HUB_API_BODY_MAX);
        if (a->body.n > 0)
            coap_add_data(pdu, a->body.n, a->body.p);
        return code;
    }
    if (ask->accept >= 0 && ask->accept != format)
        return complain(pdu, COAP_RESPONSE_CODE_NOT_ACCEPTABLE, "not in that format");
    in_blocks = choose_block(session, ask, a->body.n, &from, &n);
    if (in_blocks && n == 0 && from > 0)
        return complain(pdu, COAP_RESPONSE_CODE_BAD_REQUEST, "there is no such block");
    coap_pdu_set_code(pdu, code);
    if (a->sequence)
        add_number(pdu, COAP_OPTION_ETAG, a->sequence);
    if (observe >= 0)
        add_number(pdu, COAP_OPTION_OBSERVE, (uint64_t)observe);
    if (format >= 0)
        add_number(pdu, COAP_OPTION_CONTENT_FORMAT, (unsigned)format);
    if (in_blocks) {
        const bool more = from + n < a->body.n;

        add_number(pdu, COAP_OPTION_BLOCK2, ask->block2_num << 4 | (unsigned)more << 3 | ask->szx);
    }
    add_block1(pdu, ask);
    if (in_blocks)
        add_number(pdu, COAP_OPTION_SIZE2, a->body.n);
    coap_add_data(pdu, n, a->body.p + from);
    return code;
}

void hub_coap_send(struct hub_coap_peer *p, const struct hub_coap_ask *ask, bool confirmable,
                   const struct hub_api_answer *a, int64_t observe) {
    coap_pdu_t *pdu =
        coap_pdu_init(confirmable ? COAP_MESSAGE_CON : COAP_MESSAGE_NON, 0,
                      coap_new_message_id(p->session), coap_session_max_pdu_size(p->session));
    struct hub_coap *c = p->coap;

    if (!pdu)
        return;
    coap_add_token(pdu, ask->token_n, ask->token);
    hub_coap_fill(p->session, pdu, ask, a, observe);
    coap_send(p->session, pdu); /* frees pdu in any case */
    hub_coap_arm(c);
}
