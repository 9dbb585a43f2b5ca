/* The device API as a site. */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

struct waiting { /* an answer that is to be translated */
    hub_http_done_fn *done;
    void *arg;
    struct hub_api_call *call;
    bool asking;
};

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

static void on_done(const struct hub_api_answer *a, void *arg) {
    struct waiting *w = arg;
    struct hub_http_answer out = {
        .status = a->status, .content_type = a->content_type, .body = a->body};
    unsigned n = 0;
    char etag[32];

    if (a->allow)
        out.fields[n++] = (struct hub_http_field){MHD_HTTP_HEADER_ALLOW, a->allow};
    if (a->sequence > 0) {
        snprintf(etag, sizeof etag, "\"%llu\"", (unsigned long long)a->sequence);
        out.fields[n++] = (struct hub_http_field){MHD_HTTP_HEADER_ETAG, etag};
    }
    w->done(&out, w->arg);
    w->call = NULL;
    if (!w->asking)
        free(w);
    else
        w->done = NULL;
}

static void *ask(const struct hub_http_request *r, hub_http_done_fn *done, void *arg, void *user) {
    const struct hub_peer *p = r->peer;
    char identity[HUB_IDENTITY_TEXT];
    const struct hub_api_peer peer = {.device = p->cred.device,
                                      .identity = hub_credential_identity(&p->cred, identity),
                                      .kind = hub_cred_kind_name(p->cred.kind),
                                      .protocol = "http",
                                      .version = p->version,
                                      .cipher = p->cipher};
    const struct hub_api_request req = {.method = method_of(r->method),
                                        .path = r->path,
                                        .query = r->query,
                                        .content_type =
                                            hub_http_header(r, MHD_HTTP_HEADER_CONTENT_TYPE),
                                        .body = r->body};
    struct waiting *w;

    if (p->cred.id == 0) {
        const struct hub_http_answer a = hub_http_refusal(403, "a client certificate is wanted\n");

        done(&a, arg);
        return NULL;
    }
    w = malloc(sizeof *w);
    if (!w)
        abort();
    *w = (struct waiting){done, arg, NULL, true};
    w->call = hub_api_request(user, &peer, &req, on_done, w);
    w->asking = false;
    if (w->done)
        return w;
    free(w);
    return NULL;
}

static void cancel(void *call) {
    struct waiting *w = call;

    hub_api_cancel(w->call);
    free(w);
}

const struct hub_http_site hub_http_api_site = {
    .ask = ask, .cancel = cancel, .body_max = HUB_API_BODY_MAX};
