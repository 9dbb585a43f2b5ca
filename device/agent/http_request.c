/* Requests of an HTTP session, each an easy handle of libcurl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"

enum { PATH_MAX_LEN = 8000 };

/* ---- what can be asked ---- */

/* Fields of a header end at line ends: there must be none inside (RFC 9110 5.5). */
static bool is_field_text(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return false;
    return true;
}

static bool is_path(const char *text) {
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7F || text[i] == '#')
            return false;
    return n <= PATH_MAX_LEN;
}

int dev_http_check(const struct dev_request *rq, struct tb_error *e) {
    static const char *const methods[] = {"GET",    "HEAD",  "POST",    "PUT",
                                          "DELETE", "PATCH", "OPTIONS", NULL};
    size_t i = 0;

    while (methods[i] && strcmp(methods[i], rq->method) != 0)
        i++;
    if (!methods[i])
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "methods are GET, HEAD, POST, PUT, DELETE, PATCH and OPTIONS, not "
                            "\"%.20s\"",
                            rq->method);
    if (!is_path(rq->path))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "path %.80s: visible ASCII, %%XX for others, %d characters at most",
                            rq->path, PATH_MAX_LEN);
    if (rq->observe)
        return tb_error_set(e, TB_EUNSUP, NULL, 0, "HTTP has no observations: that is CoAP");
    if ((rq->content_type && !is_field_text(rq->content_type)) ||
        (rq->accept && !is_field_text(rq->accept)))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "a media type is one line of text");
    if (rq->payload.n > DEV_BODY_MAX)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "a payload has 16 MiB at most");
    if (rq->payload.n && (strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "%s has no payload", rq->method);
    return 0;
}

/* ---- a request ---- */

static void request_free(struct dev_http_request *r) {
    curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->fields);
    free(r->save);
    free(r->body);
    free(r);
}

static size_t on_body(char *data, size_t size, size_t n, void *user) {
    struct dev_http_request *r = user;
    size_t cap = r->body_cap;

    n *= size;
    if (n > (size_t)DEV_BODY_MAX - r->body_n) {
        snprintf(r->error, sizeof r->error, "an answer of more than 16 MiB");
        return 0;
    }
    while (r->body_n + n > cap)
        cap = cap ? 2 * cap : 4096;
    if (cap > r->body_cap) {
        r->body = realloc(r->body, cap);
        if (!r->body)
            abort();
        r->body_cap = cap;
    }
    memcpy(r->body + r->body_n, data, n);
    r->body_n += n;
    return n;
}

static void field(struct dev_http_request *r, const char *fmt, const char *value) {
    size_t n = strlen(fmt) + strlen(value) + 1;
    char *text = malloc(n);

    if (!text)
        abort();
    snprintf(text, n, "%s%s", fmt, value);
    r->fields = curl_slist_append(r->fields, text);
    free(text);
}

static void set_fields(struct dev_http_request *r, const struct dev_request *rq) {
    const struct dev_http_protocol *h = r->owner;
    const bool v6 = strchr(h->host, ':') != NULL;
    char host[300];

    if (h->cfg.port == 443)
        snprintf(host, sizeof host, v6 ? "[%s]" : "%s", h->host);
    else
        snprintf(host, sizeof host, v6 ? "[%s]:%u" : "%s:%u", h->host, h->cfg.port);
    field(r, "Host: ", host);
    if (rq->content_type)
        field(r, "Content-Type: ", rq->content_type);
    else
        field(r, "Content-Type:", "");
    if (rq->accept)
        field(r, "Accept: ", rq->accept);
    field(r, "Expect:", ""); /* it would cost a round trip */
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->fields);
}

static void set_method(CURL *easy, const struct dev_request *rq) {
    if (strcmp(rq->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (rq->payload.n || strcmp(rq->method, "POST") == 0 || strcmp(rq->method, "PUT") == 0 ||
        strcmp(rq->method, "PATCH") == 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->payload.n);
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS,
                         rq->payload.n ? (const char *)rq->payload.p : "");
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, rq->method);
}

static void set_up(struct dev_http_request *r, const struct dev_request *rq) {
    struct dev_http_protocol *h = r->owner;
    size_t n = strlen(rq->path) + 40;
    char *url = malloc(n);

    if (!url)
        abort();
    snprintf(url, n, "http://127.0.0.1:%u/%s", h->port, rq->path + (*rq->path == '/'));
    curl_easy_setopt(r->easy, CURLOPT_URL, url);
    free(url);
    curl_easy_setopt(r->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)tb_timeout_ms(h->cfg.timeout_ms));
    curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "iot-device/" TB_VERSION);
    curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETFUNCTION, dev_http_open_socket);
    curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    set_method(r->easy, rq);
    set_fields(r, rq);
}

int dev_http_request(struct dev_protocol *p, const struct dev_request *rq, unsigned *ret_id,
                     struct tb_error *e) {
    struct dev_http_protocol *h = (struct dev_http_protocol *)p;
    struct dev_http_request *r, **at;
    int status = dev_http_check(rq, e);

    if (status < 0)
        return status;
    if (!h->up || h->leaving)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "not connected");
    r = calloc(1, sizeof *r);
    if (!r || !(r->easy = curl_easy_init()) || (rq->save && !(r->save = strdup(rq->save))))
        abort();
    r->owner = h;
    set_up(r, rq);
    if (curl_multi_add_handle(h->multi, r->easy) != CURLM_OK)
        abort(); /* out of memory */
    *ret_id = r->id = ++h->last_id;
    for (at = &h->requests; *at; at = &(*at)->next)
        ;
    *at = r;
    return 0;
}

/* ---- its end ---- */

static struct dev_http_told *tell(struct dev_http_protocol *h, struct dev_http_request *r) {
    struct dev_http_request **at = &h->requests;
    struct dev_http_told *t = calloc(1, sizeof *t);

    if (!t)
        abort();
    t->id = r->id;
    *h->last_told = t;
    h->last_told = &t->next;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    curl_multi_remove_handle(h->multi, r->easy);
    return t;
}

static json_t *answer(struct dev_http_request *r, int *ret_status, struct tb_error *e) {
    json_t *m = json_object();
    char *type = NULL;
    long code = 0;

    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_TYPE, &type);
    json_object_set_new(m, "code", json_integer(code));
    *ret_status = dev_answer_put(m, tb_span(r->body, r->body_n), type, r->save, e);
    return m;
}

static void finish(struct dev_http_protocol *h, struct dev_http_request *r, CURLcode result) {
    struct dev_http_told *t = tell(h, r);
    struct tb_error e = {0};

    if (result == CURLE_OK) {
        t->reply = answer(r, &t->status, &e);
        snprintf(t->why, sizeof t->why, "%.250s", e.message);
    } else if (result == CURLE_OPERATION_TIMEDOUT) {
        t->status = TB_ETIMEOUT;
        snprintf(t->why, sizeof t->why, "not answered within %u ms", h->cfg.timeout_ms);
        snprintf(h->why, sizeof h->why, "http: the hub did not answer within %u ms",
                 h->cfg.timeout_ms);
    } else if (result == CURLE_COULDNT_CONNECT) {
        t->status = TB_ECLOSED;
        snprintf(t->why, sizeof t->why, "the session ended before the answer");
    } else {
        t->status = TB_EPROTO;
        snprintf(t->why, sizeof t->why, "%.240s",
                 r->error[0] ? r->error : curl_easy_strerror(result));
        snprintf(h->why, sizeof h->why, "http: %.190s", t->why);
    }
    request_free(r);
}

void dev_http_requests_collect(struct dev_http_protocol *h) {
    CURLMsg *msg;
    char *private;
    int left;

    while ((msg = curl_multi_info_read(h->multi, &left))) {
        CURLcode result = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        finish(h, (struct dev_http_request *)(void *)private, result);
    }
}

void dev_http_requests_ended(struct dev_http_protocol *h, const char *why) {
    while (h->requests) {
        struct dev_http_request *r = h->requests;
        struct dev_http_told *t = tell(h, r);

        t->status = TB_ECLOSED;
        snprintf(t->why, sizeof t->why, "%s", why);
        request_free(r);
    }
}
