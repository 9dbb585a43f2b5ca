/* What an application asks its protocol, and who waits for it. */
#include <stdlib.h>
#include <string.h>

#include "app.h"

enum { PENDING_MAX = 256 };

static char *copy(const char *text) {
    char *s = strdup(text);

    if (!s)
        abort();
    return s;
}

static void remember(struct dev_app *app, unsigned id, struct tb_ctl_call *call, enum dev_ask kind,
                     const char *topic, const char *method) {
    struct dev_pending *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    p->id = id;
    p->call = call;
    p->kind = kind;
    p->topic = copy(topic);
    p->method = method ? copy(method) : NULL;
    p->next = app->pending;
    app->pending = p;
    if (!call)
        app->startup++;
}

struct dev_pending *dev_app_take(struct dev_app *app, unsigned id) {
    struct dev_pending **at = &app->pending, *p;

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    p = *at;
    if (p)
        *at = p->next;
    return p;
}

static int room(const struct dev_app *app, struct tb_error *e) {
    size_t n = 0;

    for (const struct dev_pending *p = app->pending; p; p = p->next)
        n++;
    return n < PENDING_MAX
               ? 0
               : tb_error_set(e, TB_ESTATE, NULL, 0, "%d are under way already", PENDING_MAX);
}

static int lacks(const struct dev_app *app, const char *what, struct tb_error *e) {
    return tb_error_set(e, TB_EUNSUP, NULL, 0, "%s speaks %s: it has no %s", app->name,
                        dev_session_protocol(app->session)->ops->name, what);
}

int dev_app_publish(struct dev_app *app, const struct dev_publication *pub,
                    struct tb_ctl_call *call, struct tb_error *e) {
    struct dev_protocol *p = dev_session_protocol(app->session);
    unsigned id = 0;
    int r = room(app, e);

    if (r == 0)
        r = p->ops->publish ? p->ops->publish(p, pub, &id, e) : lacks(app, "publish", e);
    if (r == 0)
        remember(app, id, call, DEV_PUBLISH, pub->topic, NULL);
    return r;
}

int dev_app_subscribe(struct dev_app *app, const char *filter, int qos, struct tb_ctl_call *call,
                      struct tb_error *e) {
    struct dev_protocol *p = dev_session_protocol(app->session);
    unsigned id = 0;
    int r = room(app, e);

    if (r == 0)
        r = p->ops->subscribe ? p->ops->subscribe(p, filter, qos, &id, e)
                              : lacks(app, "subscriptions", e);
    if (r == 0)
        remember(app, id, call, DEV_SUBSCRIBE, filter, NULL);
    return r;
}

int dev_app_request(struct dev_app *app, const struct dev_request *rq, struct tb_ctl_call *call,
                    struct tb_error *e) {
    struct dev_protocol *p = dev_session_protocol(app->session);
    unsigned id = 0;
    int r = room(app, e);

    if (r == 0)
        r = p->ops->request ? p->ops->request(p, rq, &id, e) : lacks(app, "requests", e);
    if (r == 0)
        remember(app, id, call, DEV_REQUEST, rq->path, rq->method);
    return r;
}

int dev_app_cancel(struct dev_app *app, const char *path, struct tb_ctl_call *call,
                   struct tb_error *e) {
    struct dev_protocol *p = dev_session_protocol(app->session);
    unsigned id = 0;
    int r = room(app, e);

    if (r == 0)
        r = p->ops->cancel ? p->ops->cancel(p, path, &id, e) : lacks(app, "observations", e);
    if (r == 0)
        remember(app, id, call, DEV_SUBSCRIBE, path, NULL);
    return r;
}

void dev_pending_free(struct dev_pending *p) {
    free(p->topic);
    free(p->method);
    free(p);
}
