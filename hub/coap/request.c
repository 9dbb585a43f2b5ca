/* Requests to the device API. All of them come to one handler, whatever the path. */
#include <stdlib.h>
#include <string.h>

#include "coap/internal.h"

struct hub_coap_call {
    struct hub_coap_call *next, **link;
    struct hub_coap_peer *peer; /* NULL: gone while the API was being asked */
    struct hub_coap_ask ask;
    struct hub_coap_recent *recent; /* where its code is to be noted; NULL */
    coap_mid_t mid;
    struct hub_api_call *api;
    coap_pdu_t *response; /* while the handler runs: the answer can go with the acknowledgement */
    bool asking;          /* inside hub_api_request() */
    bool answered;
    int observe; /* value of the option; -1: none */
    enum hub_api_resource what;
    coap_pdu_code_t code;
};

struct text { /* what a request names, put together */
    char path[64], query[64];
};

static bool put_text(char *dst, size_t cap, char separator, const uint8_t *p, size_t n) {
    size_t at = strlen(dst);

    if (at + 1 + n >= cap || memchr(p, '\0', n) || (separator == '/' && memchr(p, '/', n)))
        return false;
    if (separator == '/' || at > 0)
        dst[at++] = separator;
    memcpy(dst + at, p, n);
    dst[at + n] = '\0';
    return true;
}

/* False: longer than anything there is. */
static bool take_names(const coap_pdu_t *req, struct text *ret) {
    coap_opt_iterator_t it;
    coap_opt_t *o;
    bool ok = true;

    memset(ret, 0, sizeof *ret);
    coap_option_iterator_init(req, &it, COAP_OPT_ALL);
    while ((o = coap_option_next(&it))) {
        const uint8_t *p = coap_opt_value(o);
        const size_t n = coap_opt_length(o);

        if (it.number == COAP_OPTION_URI_PATH)
            ok &= put_text(ret->path, sizeof ret->path, '/', p, n);
        else if (it.number == COAP_OPTION_URI_QUERY)
            ok &= put_text(ret->query, sizeof ret->query, '&', p, n);
    }
    return ok;
}

/* -1 when the option is not there. */
static int64_t option_value(const coap_pdu_t *pdu, coap_option_num_t number) {
    coap_opt_iterator_t it;
    coap_opt_t *o = coap_check_option(pdu, number, &it);

    return o ? (int64_t)coap_decode_var_bytes(coap_opt_value(o), coap_opt_length(o)) : -1;
}

static enum hub_api_method method_of(const coap_pdu_t *req) {
    switch (coap_pdu_get_code(req)) {
    case COAP_REQUEST_CODE_GET:
        return HUB_API_GET;
    case COAP_REQUEST_CODE_POST:
        return HUB_API_POST;
    case COAP_REQUEST_CODE_PUT:
        return HUB_API_PUT;
    case COAP_REQUEST_CODE_DELETE:
        return HUB_API_DELETE;
    default:
        return HUB_API_OTHER;
    }
}

static void complain(coap_pdu_t *response, coap_pdu_code_t code, const char *why) {
    coap_pdu_set_code(response, code);
    coap_add_data(response, strlen(why), (const uint8_t *)why);
}

static bool take_ask(const coap_pdu_t *req, struct hub_coap_ask *ret) {
    const coap_bin_const_t token = coap_pdu_get_token(req);
    const int64_t block2 = option_value(req, COAP_OPTION_BLOCK2),
                  accept = option_value(req, COAP_OPTION_ACCEPT);

    *ret = (struct hub_coap_ask){.method = method_of(req),
                                 .confirmable = coap_pdu_get_type(req) == COAP_MESSAGE_CON,
                                 .szx = 6,
                                 .block1 = -1,
                                 .accept = (int)accept};
    if (token.length > sizeof ret->token || accept > UINT16_MAX)
        return false;
    memcpy(ret->token, token.s, token.length);
    ret->token_n = token.length;
    if (block2 < 0)
        return true;
    ret->has_block2 = true;
    ret->szx = block2 & 7;
    ret->block2_num = (uint32_t)block2 >> 4;
    return ret->szx < 7 && ret->block2_num < 1 << 20; /* 7 is BERT, which we have not offered */
}

/* Blocks of a request's body (RFC 7959 2.5), in order, one body at a time. True: it is whole,
 * *ret_body borrows from the upload or the message. */
static bool take_body(struct hub_coap_peer *p, const coap_pdu_t *req, const struct text *t,
                      coap_pdu_t *response, struct tb_span *ret_body, int64_t *ret_block1) {
    const int64_t block1 = option_value(req, COAP_OPTION_BLOCK1);
    struct hub_coap_upload *u = &p->upload;
    const unsigned szx = block1 & 7, num = (unsigned)(block1 >> 4);
    const bool more = block1 & 8;
    const size_t at = (size_t)num << (szx + 4);
    const uint8_t *data = NULL;
    uint8_t echo[4];
    size_t n = 0;

    coap_get_data(req, &n, &data);
    *ret_body = tb_span(data, n);
    *ret_block1 = block1;
    if (block1 < 0 || (num == 0 && !more))
        return true;
    if (szx == 7 || (more && n != (size_t)1 << (szx + 4)) || n > (size_t)1 << (szx + 4)) {
        complain(response, COAP_RESPONSE_CODE_BAD_REQUEST, "the block's size is wrong");
        return false;
    }
    if (num == 0) {
        u->n = 0;
        u->method = method_of(req);
        memcpy(u->path, t->path, sizeof u->path);
    } else if (more && u->p && at + n == u->n && strcmp(u->path, t->path) == 0) {
        u->n = at; /* the one before, again */
    }
    if (at > HUB_API_BODY_MAX || n > HUB_API_BODY_MAX - at ||
        option_value(req, COAP_OPTION_SIZE1) > HUB_API_BODY_MAX) {
        coap_pdu_set_code(response, COAP_RESPONSE_CODE_REQUEST_TOO_LARGE);
        coap_add_option(response, COAP_OPTION_SIZE1,
                        coap_encode_var_safe(echo, sizeof echo, HUB_API_BODY_MAX), echo);
    } else if ((num > 0 && !u->p) || at != u->n || u->method != method_of(req) ||
               strcmp(u->path, t->path) != 0) {
        complain(response, COAP_RESPONSE_CODE_INCOMPLETE, "not the block after the last one");
    } else {
        uint8_t *grown = realloc(u->p, at + HUB_COAP_BLOCK);

        if (!grown)
            abort();
        u->p = grown;
        memcpy(u->p + at, data, n);
        u->n = at + n;
        *ret_body = tb_span(u->p, u->n);
        if (!more)
            return true;
        coap_pdu_set_code(response, COAP_RESPONSE_CODE_CONTINUE);
        coap_add_option(response, COAP_OPTION_BLOCK1,
                        coap_encode_var_safe(echo, sizeof echo, (unsigned)block1), echo);
        return false;
    }
    free(u->p);
    *u = (struct hub_coap_upload){0};
    return false;
}

static void unlink_call(struct hub_coap_call *c) {
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->peer->call_count--;
}

static void call_gone(struct hub_coap_call *c) {
    unlink_call(c);
    free(c);
}

/* One that the API is just being asked for stays until it has answered: what a request changes is
 * told to observers, and sending may be the end of the session that has asked. */
void hub_coap_drop_calls(struct hub_coap_peer *p) {
    for (struct hub_coap_call *c = p->calls, *next; c; c = next) {
        next = c->next;
        if (c->asking) {
            unlink_call(c);
            c->peer = NULL;
            continue;
        }
        hub_api_cancel(c->api);
        call_gone(c);
    }
}

static void note_code(struct hub_coap_call *c) {
    if (c->recent && c->recent->used && c->recent->mid == c->mid)
        c->recent->code = c->code;
}

/* Observe in the first answer; what is refused is not observed (RFC 7641 4.1). */
static int64_t register_observer(struct hub_coap_call *c, const struct hub_api_answer *a) {
    uint32_t number;

    if (c->observe == COAP_OBSERVE_CANCEL || (c->observe >= 0 && a->status >= 300))
        hub_coap_forget(c->peer, c->ask.token, c->ask.token_n);
    else if (c->observe == COAP_OBSERVE_ESTABLISH && c->ask.block2_num == 0 &&
             hub_coap_observe(c->peer, &c->ask, c->what, &number))
        return number;
    return -1;
}

static void on_answer(const struct hub_api_answer *a, void *arg) {
    struct hub_coap_call *c = arg;
    struct hub_coap_peer *peer;
    struct hub_coap_ask ask;
    int64_t observe;

    c->answered = true;
    if (!c->peer)
        return; /* ask_api() goes on */
    observe = register_observer(c, a);
    if (c->response) {
        c->code = hub_coap_fill(c->peer->session, c->response, &c->ask, a, observe);
        return; /* ask_api() goes on */
    }
    peer = c->peer;
    ask = c->ask;
    call_gone(c); /* sending may be the end of the session, and of all that belongs to it */
    hub_coap_send(peer, &ask, ask.confirmable, a, observe);
}

/* False: the session has ended meanwhile, and p is gone. */
static bool ask_api(struct hub_coap_peer *p, const struct hub_coap_ask *ask,
                    const struct hub_api_request *req, int observe, struct hub_coap_recent *recent,
                    coap_mid_t mid, coap_pdu_t *response) {
    char device[HUB_DEVICE_MAX + 1];
    const struct hub_api_peer who = {.device = device,
                                     .identity = p->identity,
                                     .kind = hub_cred_kind_name(p->id.peer.cred.kind),
                                     .protocol = "coap",
                                     .version = p->id.peer.version,
                                     .cipher = p->id.peer.cipher};
    struct hub_coap_call *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    snprintf(device, sizeof device, "%s", p->id.peer.cred.device);
    c->peer = p;
    c->ask = *ask;
    c->recent = recent;
    c->mid = mid;
    c->response = response;
    c->observe = ask->method == HUB_API_GET ? observe : -1;
    c->what = strcmp(req->path, "/state") == 0 ? HUB_API_STATE : HUB_API_COMMAND;
    if (c->what == HUB_API_COMMAND && strcmp(req->path, "/command") != 0)
        c->observe = -1;
    c->link = &p->calls;
    c->next = p->calls;
    if (c->next)
        c->next->link = &c->next;
    p->calls = c;
    p->call_count++;
    c->asking = true;
    c->api = hub_api_request(p->coap->cfg.api, &who, req, on_answer, c);
    c->asking = false;
    c->response = NULL;
    if (!c->peer) {
        if (c->api)
            hub_api_cancel(c->api);
        free(c);
        return false;
    }
    if (c->answered) {
        note_code(c);
        call_gone(c);
    } /* else the response stays empty, which libcoap makes a bare acknowledgement */
    return true;
}

/* A repetition of a request that is no GET: what was answered is answered again, and not done
 * again. libcoap does not see to that. */
static struct hub_coap_recent *is_repeated(struct hub_coap_peer *p, coap_mid_t mid) {
    for (unsigned i = 0; i < HUB_COAP_RECENT; i++) {
        if (p->recent[i].used && p->recent[i].mid == mid)
            return &p->recent[i];
    }
    return NULL;
}

static struct hub_coap_recent *remember(struct hub_coap_peer *p, coap_mid_t mid) {
    struct hub_coap_recent *r = &p->recent[p->recent_at++ % HUB_COAP_RECENT];

    *r = (struct hub_coap_recent){mid, 0, true};
    return r;
}

static void serve(struct hub_coap_peer *p, const coap_pdu_t *req, const struct text *t,
                  struct hub_coap_ask *ask, coap_pdu_t *response) {
    const bool reliable = COAP_PROTO_RELIABLE(coap_session_get_proto(p->session));
    const int64_t format = option_value(req, COAP_OPTION_CONTENT_FORMAT),
                  observe = option_value(req, COAP_OPTION_OBSERVE);
    const coap_mid_t mid = coap_pdu_get_mid(req);
    struct hub_api_request r = {.method = ask->method, .path = t->path, .query = t->query};
    struct hub_coap_recent *recent = NULL;

    if (!reliable && ask->method != HUB_API_GET && (recent = is_repeated(p, mid))) {
        coap_pdu_set_code(response, recent->code);
        return;
    }
    if (format >= 0 && !(r.content_type = hub_coap_type_of((unsigned)format))) {
        complain(response, COAP_RESPONSE_CODE_UNSUPPORTED_CONTENT_FORMAT, "unknown");
        return;
    }
    if (!take_body(p, req, t, response, &r.body, &ask->block1))
        return;
    if (!reliable && ask->method != HUB_API_GET)
        recent = remember(p, mid);
    if (!ask_api(p, ask, &r, observe == 0 || observe == 1 ? (int)observe : -1, recent, mid,
                 response))
        return;
    free(p->upload.p);
    p->upload = (struct hub_coap_upload){0};
}

static void on_request(coap_resource_t *resource, coap_session_t *session, const coap_pdu_t *req,
                       const coap_string_t *query, coap_pdu_t *response) {
    struct hub_coap_peer *p = coap_session_get_app_data(session);
    struct hub_coap_ask ask;
    struct text t;

    (void)resource, (void)query;
    if (p)
        hub_coap_heard(p);
    if (!p || !p->open || p->reason)
        coap_pdu_set_code(response, COAP_RESPONSE_CODE_UNAUTHORIZED);
    else if (!take_ask(req, &ask))
        complain(response, COAP_RESPONSE_CODE_BAD_OPTION, "a block of that size is not possible");
    else if (option_value(req, COAP_OPTION_IF_MATCH) >= 0 ||
             option_value(req, COAP_OPTION_IF_NONE_MATCH) >= 0)
        complain(response, COAP_RESPONSE_CODE_BAD_OPTION, "no conditional requests");
    else if (!take_names(req, &t))
        complain(response, COAP_RESPONSE_CODE_NOT_FOUND, "no such name");
    else if (p->call_count >= HUB_COAP_CALLS_MAX)
        complain(response, COAP_RESPONSE_CODE_SERVICE_UNAVAILABLE, "too many requests at once");
    else
        serve(p, req, &t, &ask, response);
}

/* What we have sent was not taken. */
static void on_nack(coap_session_t *session, const coap_pdu_t *sent, const coap_nack_reason_t why,
                    const coap_mid_t mid) {
    struct hub_coap_peer *p = coap_session_get_app_data(session);
    coap_bin_const_t token;

    (void)mid;
    if (!p || p->reason)
        return;
    if (why == COAP_NACK_RST)
        hub_coap_heard(p);
    if (why == COAP_NACK_RST && sent) {
        token = coap_pdu_get_token(sent);
        hub_coap_forget(p, token.s, token.length);
    } else if (why == COAP_NACK_TOO_MANY_RETRIES) {
        hub_coap_doom(p, "timeout");
    }
}

static void on_pong(coap_session_t *session, const coap_pdu_t *pong, const coap_mid_t mid) {
    struct hub_coap_peer *p = coap_session_get_app_data(session);

    (void)pong, (void)mid;
    if (p)
        hub_coap_heard(p);
}

/* The resource for unknown ones gets them all. One is looked for before it. */
void hub_coap_serve(coap_context_t *ctx) {
    coap_str_const_t *core = coap_make_str_const(".well-known/core");
    coap_resource_t *all[] = {coap_resource_unknown_init(on_request), coap_resource_init(core, 0)};

    for (unsigned i = 0; i < 2; i++) {
        if (!all[i])
            abort();
        for (int m = COAP_REQUEST_GET; m <= COAP_REQUEST_IPATCH; m++)
            coap_register_request_handler(all[i], (coap_request_t)m, on_request);
        coap_add_resource(ctx, all[i]);
    }
    coap_register_nack_handler(ctx, on_nack);
    coap_register_pong_handler(ctx, on_pong);
}
