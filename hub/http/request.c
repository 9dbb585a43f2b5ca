/* One request: gate, body, the site, answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/gate.h"
#include "http/internal.h"
#include "tb/log.h"

/* A body that is not wanted is read to its end, so that the answer is seen; this is too much. */
enum { DISCARD_MAX = 1 << 20, PROGRESS = 1 << 10, QUERY_ROOM = 256 };

struct http_exchange {
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    uint8_t *body;
    size_t body_n, body_cap;
    size_t discarded, since_progress;
    void *call; /* of the site; NULL when none is under way */
    bool in_call, suspended, cut;
    struct MHD_Response *answer; /* NULL: there is none yet */
    unsigned status;
};

const char *hub_http_header(const struct hub_http_request *r, const char *name) {
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

bool hub_http_is(const struct hub_http_request *r, const char *method) {
    return strcmp(r->method, method) == 0 ||
           (strcmp(r->method, "HEAD") == 0 && strcmp(method, "GET") == 0);
}

struct hub_http_answer hub_http_refusal(unsigned status, const char *why) {
    return (struct hub_http_answer){
        .status = status, .content_type = "text/plain", .body = tb_span_str(why)};
}

static void add(struct MHD_Response *resp, const char *name, const char *value) {
    if (MHD_add_response_header(resp, name, value) != MHD_YES)
        tb_warn("http", "header %s cannot be set", name);
}

static void set_answer(struct http_exchange *x, const struct hub_http_answer *a) {
    struct MHD_Response *resp = MHD_create_response_from_buffer(
        a->body.n, (void *)(uintptr_t)a->body.p, MHD_RESPMEM_MUST_COPY);

    if (!resp)
        abort();
    if (a->content_type)
        add(resp, MHD_HTTP_HEADER_CONTENT_TYPE, a->content_type);
    for (unsigned i = 0; i < HUB_HTTP_FIELDS_MAX && a->fields[i].name; i++)
        add(resp, a->fields[i].name, a->fields[i].value);
    add(resp, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (a->status >= 400)
        add(resp, MHD_HTTP_HEADER_CONNECTION, "close");
    x->status = a->status;
    x->answer = resp;
}

static void refuse(struct http_exchange *x, unsigned status, const char *why) {
    const struct hub_http_answer a = hub_http_refusal(status, why);

    set_answer(x, &a);
}

static enum MHD_Result send_answer(struct http_exchange *x) {
    x->conn->http->totals.by_class[x->status / 100]++;
    http_conn_is_sending(x->conn);
    return MHD_queue_response(x->mhd, x->status, x->answer);
}

static void on_site_done(const struct hub_http_answer *a, void *arg) {
    struct http_exchange *x = arg;

    x->call = NULL;
    set_answer(x, a);
    if (x->in_call)
        return;
    x->suspended = false;
    MHD_resume_connection(x->mhd);
    http_kick(x->conn->http);
}

void http_exchange_cut(struct http_exchange *x) {
    x->cut = true;
    if (x->call)
        x->conn->site->cancel(x->call);
    x->call = NULL;
    if (!x->suspended)
        return;
    x->suspended = false;
    MHD_resume_connection(x->mhd);
    http_kick(x->conn->http);
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

static void ask_site(struct http_exchange *x, const char *url, const char *method) {
    const struct hub_http_site *site = x->conn->site;
    char query[QUERY_ROOM];
    struct tb_buf args = tb_buf(query, sizeof query - 1);
    const struct hub_http_request req = {.peer = &x->conn->peer,
                                         .method = method,
                                         .path = url,
                                         .query = query,
                                         .body = tb_span(x->body, x->body_n),
                                         .mhd = x->mhd};

    MHD_get_connection_values(x->mhd, MHD_GET_ARGUMENT_KIND, add_argument, &args);
    if (!tb_buf_ok(&args)) {
        refuse(x, 414, "the query is too long\n");
        return;
    }
    query[args.n] = '\0';
    x->in_call = true;
    x->call = site->ask(&req, on_site_done, x, site->user);
    x->in_call = false;
}

static void keep(struct http_exchange *x, const char *data, size_t n) {
    if (x->body_cap - x->body_n < n) {
        size_t cap = 2 * x->body_cap + n;
        uint8_t *grown = realloc(x->body, cap);

        if (!grown)
            abort();
        x->body = grown;
        x->body_cap = cap;
    }
    memcpy(x->body + x->body_n, data, n);
    x->body_n += n;
}

/* A piece of the body. False: enough is enough. */
static bool take_body(struct http_exchange *x, const char *data, size_t n) {
    x->since_progress += n;
    if (x->since_progress >= PROGRESS) {
        x->since_progress = 0;
        http_conn_progress(x->conn);
    }
    if (!x->answer && x->body_n + n > x->conn->site->body_max)
        refuse(x, 413, "the body is too large\n");
    if (x->answer)
        x->discarded += n;
    else
        keep(x, data, n);
    return x->discarded <= DISCARD_MAX;
}

static unsigned long long said_length(struct MHD_Connection *c) {
    const char *text =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return text ? strtoull(text, NULL, 10) : 0;
}

/* The header is there, the body is not: a refusal now saves it the way. */
static enum MHD_Result begin(struct http_conn *conn, struct MHD_Connection *c, const char *version,
                             void **state) {
    struct http_exchange *x = calloc(1, sizeof *x);
    const char *wrong = http_gate(c, version);

    if (!x)
        abort();
    x->conn = conn;
    x->mhd = c;
    conn->exchange = x;
    *state = x;
    conn->http->totals.requests++;
    if (wrong)
        refuse(x, 400, wrong);
    else if (said_length(c) > conn->site->body_max)
        refuse(x, 413, "the body is too large\n");
    return x->answer ? send_answer(x) : MHD_YES;
}

enum MHD_Result http_on_request(void *user, struct MHD_Connection *c, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_n, void **state) {
    struct http_conn *conn = http_conn_of(c);
    struct http_exchange *x = *state;

    (void)user;
    if (!conn || conn->reason)
        return MHD_NO;
    if (!x)
        return begin(conn, c, version, state);
    if (x->cut)
        return MHD_NO;
    if (*data_n > 0) {
        size_t n = *data_n;

        *data_n = 0;
        return take_body(x, data, n) ? MHD_YES : MHD_NO;
    }
    if (!x->answer && !x->call) { /* the first look at the whole of it */
        http_conn_is_complete(conn);
        ask_site(x, url, method);
    }
    if (x->answer)
        return send_answer(x);
    x->suspended = true;
    MHD_suspend_connection(c);
    return MHD_YES;
}

void http_on_completed(void *user, struct MHD_Connection *c, void **state,
                       enum MHD_RequestTerminationCode why) {
    struct http_exchange *x = *state;

    (void)user, (void)c;
    if (!x)
        return;
    if (x->call)
        x->conn->site->cancel(x->call);
    if (x->answer)
        MHD_destroy_response(x->answer);
    else
        x->conn->http->totals.by_class[0]++;
    x->conn->exchange = NULL;
    if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_conn_is_answered(x->conn);
    free(x->body);
    free(x);
    *state = NULL;
}
