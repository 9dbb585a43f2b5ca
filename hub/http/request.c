/* One request: gate, body, the device API or a page of the hub's own, answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/gate.h"
#include "http/internal.h"
#include "tb/log.h"

/* A body that is not wanted is read to its end, so that the answer is seen; this is too much. */
enum { DISCARD_MAX = 1 << 20, PROGRESS = 1 << 10, TYPE_ROOM = HUB_API_TYPE_MAX + 1 };

struct http_request {
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    uint8_t *body;
    size_t body_n, body_cap;
    size_t discarded, since_progress;
    struct hub_api_call *call; /* NULL when none is under way */
    bool in_call, suspended, answered, cut;
    /* The answer, when answered. */
    unsigned status;
    char type[TYPE_ROOM], allow[64];
    uint8_t *out;
    size_t out_n;
    uint64_t sequence;
};

static void set_answer(struct http_request *r, const struct hub_api_answer *a) {
    r->answered = true;
    r->status = a->status;
    r->sequence = a->sequence;
    snprintf(r->type, sizeof r->type, "%s", a->content_type ? a->content_type : "");
    snprintf(r->allow, sizeof r->allow, "%s", a->allow ? a->allow : "");
    if (a->body.n > 0) {
        r->out = malloc(a->body.n);
        if (!r->out)
            abort();
        memcpy(r->out, a->body.p, a->body.n);
        r->out_n = a->body.n;
    }
}

static void refuse(struct http_request *r, unsigned status, const char *why) {
    const struct hub_api_answer a = {
        .status = status, .content_type = "text/plain", .body = tb_span_str(why)};

    set_answer(r, &a);
}

static void add(struct MHD_Response *resp, const char *name, const char *value) {
    if (MHD_add_response_header(resp, name, value) != MHD_YES)
        tb_warn("http", "header %s cannot be set", name);
}

/* The body goes to the library, which frees it. */
static enum MHD_Result send_answer(struct http_request *r) {
    struct MHD_Response *resp =
        MHD_create_response_from_buffer(r->out_n, r->out, MHD_RESPMEM_MUST_FREE);
    struct hub_http_totals *t = &r->conn->http->totals;
    enum MHD_Result ok;
    char etag[32];

    if (!resp)
        abort();
    r->out = NULL;
    if (*r->type)
        add(resp, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    if (*r->allow)
        add(resp, MHD_HTTP_HEADER_ALLOW, r->allow);
    if (r->sequence > 0) {
        snprintf(etag, sizeof etag, "\"%llu\"", (unsigned long long)r->sequence);
        add(resp, MHD_HTTP_HEADER_ETAG, etag);
    }
    add(resp, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (r->status >= 400)
        add(resp, MHD_HTTP_HEADER_CONNECTION, "close");
    t->by_class[r->status / 100]++;
    http_conn_is_sending(r->conn);
    ok = MHD_queue_response(r->mhd, r->status, resp);
    MHD_destroy_response(resp);
    return ok;
}

static void on_api_done(const struct hub_api_answer *a, void *arg) {
    struct http_request *r = arg;

    r->call = NULL;
    set_answer(r, a);
    if (r->in_call)
        return;
    r->suspended = false;
    MHD_resume_connection(r->mhd);
    http_kick(r->conn->http);
}

void http_request_cut(struct http_request *r) {
    r->cut = true;
    if (r->call)
        hub_api_cancel(r->call);
    r->call = NULL;
    if (!r->suspended)
        return;
    r->suspended = false;
    MHD_resume_connection(r->mhd);
    http_kick(r->conn->http);
}

static enum hub_api_method method_of(const char *name) {
    static const struct {
        const char *name;
        enum hub_api_method method;
    } known[] = {{"GET", HUB_API_GET},
                 {"HEAD", HUB_API_GET},
                 {"POST", HUB_API_POST},
                 {"PUT", HUB_API_PUT},
                 {"DELETE", HUB_API_DELETE}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0)
            return known[i].method;
    }
    return HUB_API_OTHER;
}

/* The library has taken the query apart: numbers only matter in it. */
static enum MHD_Result add_argument(void *user, enum MHD_ValueKind kind, const char *key,
                                    const char *value) {
    struct tb_buf *out = user;

    (void)kind;
    if (out->n > 0)
        tb_put(out, tb_span("&", 1));
    tb_put(out, tb_span_str(key));
    tb_put(out, tb_span("=", 1));
    tb_put(out, tb_span_str(value ? value : ""));
    return MHD_YES;
}

static void ask_api(struct http_request *r, const char *url, const char *method) {
    const struct hub_peer *p = &r->conn->peer;
    char query[256], identity[HUB_IDENTITY_TEXT];
    struct tb_buf args = tb_buf(query, sizeof query - 1);
    const struct hub_api_peer peer = {.device = p->cred.device,
                                      .identity = hub_credential_identity(&p->cred, identity),
                                      .kind = hub_cred_kind_name(p->cred.kind),
                                      .protocol = "http",
                                      .version = p->version,
                                      .cipher = p->cipher};
    const struct hub_api_request req = {.method = method_of(method),
                                        .path = url,
                                        .query = query,
                                        .content_type = MHD_lookup_connection_value(
                                            r->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE),
                                        .body = tb_span(r->body, r->body_n)};

    MHD_get_connection_values(r->mhd, MHD_GET_ARGUMENT_KIND, add_argument, &args);
    if (!tb_buf_ok(&args)) {
        refuse(r, 414, "the query is too long\n");
        return;
    }
    query[args.n] = '\0';
    if (p->cred.id == 0) {
        refuse(r, 403, "a client certificate is wanted\n");
        return;
    }
    r->in_call = true;
    r->call = hub_api_request(r->conn->http->cfg.api, &peer, &req, on_api_done, r);
    r->in_call = false;
}

/* What the hub tells of itself. */
static void show_page(struct http_request *r, const char *url, const char *method) {
    struct hub_http_config *cfg = &r->conn->http->cfg;
    struct hub_api_answer a = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    char *text = NULL;

    if (strcmp(url, "/metrics") != 0 && strcmp(url, "/healthz") != 0) {
        refuse(r, 404, "/metrics and /healthz are here\n");
        return;
    }
    if (method_of(method) != HUB_API_GET) {
        a = (struct hub_api_answer){.status = 405, .allow = "GET, HEAD"};
    } else if (strcmp(url, "/metrics") == 0) {
        text = cfg->metrics(cfg->user);
        a.content_type = "text/plain; version=0.0.4; charset=utf-8";
        a.body = tb_span_str(text);
    } else if (cfg->is_healthy(cfg->user)) {
        a.body = tb_span_str("ok\n");
    } else {
        a.status = 503;
        a.body = tb_span_str("the broker is down\n");
    }
    set_answer(r, &a);
    free(text);
}

static void keep(struct http_request *r, const char *data, size_t n) {
    if (r->body_cap - r->body_n < n) {
        size_t cap = 2 * r->body_cap + n;
        uint8_t *grown = realloc(r->body, cap);

        if (!grown)
            abort();
        r->body = grown;
        r->body_cap = cap;
    }
    memcpy(r->body + r->body_n, data, n);
    r->body_n += n;
}

/* A piece of the body. False: enough is enough. */
static bool take_body(struct http_request *r, const char *data, size_t n) {
    r->since_progress += n;
    if (r->since_progress >= PROGRESS) {
        r->since_progress = 0;
        http_conn_progress(r->conn);
    }
    if (!r->answered && r->body_n + n > HUB_API_BODY_MAX)
        refuse(r, 413, "the body is too large\n");
    if (r->answered)
        r->discarded += n;
    else
        keep(r, data, n);
    return r->discarded <= DISCARD_MAX;
}

static unsigned long long said_length(struct MHD_Connection *c) {
    const char *text =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return text ? strtoull(text, NULL, 10) : 0;
}

/* The header is there, the body is not: a refusal now saves it the way. */
static enum MHD_Result begin(struct http_conn *conn, struct MHD_Connection *c, const char *version,
                             void **state) {
    struct http_request *r = calloc(1, sizeof *r);
    const char *wrong = http_gate(c, version);

    if (!r)
        abort();
    r->conn = conn;
    r->mhd = c;
    conn->request = r;
    *state = r;
    conn->http->totals.requests++;
    if (wrong)
        refuse(r, 400, wrong);
    else if (said_length(c) > HUB_API_BODY_MAX)
        refuse(r, 413, "the body is too large\n");
    return r->answered ? send_answer(r) : MHD_YES;
}

enum MHD_Result http_on_request(void *user, struct MHD_Connection *c, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_n, void **state) {
    struct http_conn *conn = http_conn_of(c);
    struct http_request *r = *state;
    bool first_look;

    (void)user;
    if (!conn || conn->reason)
        return MHD_NO;
    if (!r)
        return begin(conn, c, version, state);
    if (r->cut)
        return MHD_NO;
    if (*data_n > 0) {
        size_t n = *data_n;

        *data_n = 0;
        return take_body(r, data, n) ? MHD_YES : MHD_NO;
    }
    first_look = !r->answered && !r->call;
    if (first_look)
        http_conn_is_complete(conn);
    if (first_look && conn->is_plain)
        show_page(r, url, method);
    else if (first_look)
        ask_api(r, url, method);
    if (r->answered)
        return send_answer(r);
    r->suspended = true;
    MHD_suspend_connection(c);
    return MHD_YES;
}

void http_on_completed(void *user, struct MHD_Connection *c, void **state,
                       enum MHD_RequestTerminationCode why) {
    struct http_request *r = *state;

    (void)user, (void)c;
    if (!r)
        return;
    if (r->call)
        hub_api_cancel(r->call);
    if (!r->answered)
        r->conn->http->totals.by_class[0]++;
    r->conn->request = NULL;
    if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_conn_is_answered(r->conn);
    free(r->body);
    free(r->out);
    free(r);
    *state = NULL;
}
