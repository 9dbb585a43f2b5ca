#include "app.h"

#include <assert.h>
#include <errno.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tb/log.h"

/* ---- events ---- */

/* " key=value key=value", without what was said in messages. */
static const char *describe(json_t *members, char *dst, size_t cap) {
    const char *key;
    json_t *value;
    size_t n = 0;

    dst[0] = 0;
    json_object_foreach(members, key, value) {
        char *text = strncmp(key, "payload", 7) == 0
                         ? NULL
                         : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        if (text && n < cap)
            n += (size_t)snprintf(dst + n, cap - n, " %s=%s", key, text);
        free(text);
    }
    return dst;
}

static void tell(struct dev_app *app, const char *name, json_t *members) {
    char text[768];
    const bool one = app->device->n_apps == 1;

    tb_log("session", strcmp(name, "session-failed") == 0 ? TB_LOG_WARN : TB_LOG_INFO, "%s%s%s%s",
           one ? "" : app->name, one ? "" : ": ", name, describe(members, text, sizeof text));
    json_object_set_new(members, "app", json_string(app->name));
    tb_ctl_event(app->device->ctl, name, members);
}

static void on_event(const char *name, json_t *members, void *user) {
    struct dev_app *app = user;

    if (strcmp(name, "message") == 0 || strcmp(name, "notification") == 0)
        app->received++;
    tell(app, name, members);
}

/* ---- what the options ask for ---- */

static void end_of_once(struct dev_app *app) {
    if (app->device->o.once && app->startup == 0) {
        app->once_done = true;
        dev_session_stop(app->session);
    }
}

static void unasked(struct dev_app *app, const struct tb_error *e) {
    app->once_failed = true;
    tb_warn("session", "%s: %s", app->name, e->message);
}

/* text is TOPIC=PAYLOAD, checked at start. */
static void publish_option(struct dev_app *app, const char *text) {
    const char *equals = strchr(text, '=');
    char *topic = strndup(text, (size_t)(equals - text));
    const struct dev_publication pub = {topic, tb_span_str(equals + 1), (int)app->o->qos, false};
    struct tb_error e;

    if (!topic)
        abort();
    if (dev_app_publish(app, &pub, NULL, &e) < 0)
        unasked(app, &e);
    free(topic);
}

static void request_option(struct dev_app *app, const char *text) {
    struct dev_request rq;
    struct tb_error e;
    char *parts = NULL;

    if (dev_request_parse(text, &rq, &parts, &e) < 0) {
        unasked(app, &e);
        return;
    }
    if (rq.payload.p)
        rq.content_type = app->o->content_type;
    if (dev_app_request(app, &rq, NULL, &e) < 0)
        unasked(app, &e);
    free(parts);
}

static void on_up(void *user) {
    struct dev_app *app = user;
    const struct dev_options *o = app->o;
    struct tb_error e;

    app->startup++; /* an answer in between is not the last one */
    for (size_t i = 0; i < o->subscribe.n; i++)
        if (dev_app_subscribe(app, o->subscribe.v[i], (int)o->qos, NULL, &e) < 0)
            unasked(app, &e);
    for (size_t i = 0; i < o->publish.n; i++)
        publish_option(app, o->publish.v[i]);
    for (size_t i = 0; i < o->observe.n; i++) {
        const struct dev_request rq = {.method = "GET", .path = o->observe.v[i], .observe = true};

        if (dev_app_request(app, &rq, NULL, &e) < 0)
            unasked(app, &e);
    }
    for (size_t i = 0; i < o->request.n; i++)
        request_option(app, o->request.v[i]);
    app->startup--;
    end_of_once(app);
}

/* ---- what became of it ---- */

/* "2.05", or 200. */
static bool is_success(const json_t *reply) {
    const json_t *code = json_object_get(reply, "code");

    if (json_is_integer(code))
        return json_integer_value(code) >= 200 && json_integer_value(code) < 300;
    return code && strncmp(json_string_value(code), "2.", 2) == 0;
}

static void tell_response(struct dev_app *app, const struct dev_pending *p, json_t *reply,
                          const char *error) {
    json_t *m = json_pack("{s:s, s:s}", "method", p->method, "path", p->topic);

    if (reply)
        json_object_update(m, reply);
    if (p->call) { /* it has the payload */
        json_object_del(m, "payload");
        json_object_del(m, "payload_hex");
    }
    if (error)
        json_object_set_new(m, "error", json_string(error));
    tell(app, "response", m);
}

static void on_done(unsigned id, int status, json_t *reply, const char *why, void *user) {
    struct dev_app *app = user;
    struct dev_pending *p = dev_app_take(app, id);
    bool good = status == 0;

    if (!p) {
        json_decref(reply);
        return;
    }
    if (p->kind == DEV_PUBLISH && good) {
        json_t *m = json_pack("{s:s}", "topic", p->topic);

        app->published++;
        if (reply)
            json_object_update(m, reply);
        tell(app, "published", m);
    }
    if (p->kind == DEV_REQUEST) {
        app->requested++;
        good = good && is_success(reply);
        tell_response(app, p, reply, status < 0 ? why : NULL);
    }
    if (p->call) {
        tb_ctl_reply(p->call, reply, status, status < 0 ? why : NULL);
    } else {
        json_decref(reply);
        app->startup--;
        if (!good)
            app->once_failed = true;
        if (!good && p->kind != DEV_REQUEST)
            tb_warn("session", "%s: %s: %s", app->name, p->topic, why ? why : "failed");
        end_of_once(app);
    }
    dev_pending_free(p);
}

static bool alone(void *user) {
    const struct dev_app *app = user;
    const struct dev_device *d = app->device;

    for (size_t i = 0; i < d->n_apps; i++)
        if (&d->apps[i] != app && d->apps[i].running)
            return false;
    return true;
}

/* ---- life ---- */

static void on_keylog(const char *line, void *user) {
    struct dev_device *d = user;
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n", line);

    if (n > 0 && (size_t)n < sizeof text && write(d->keylog_fd, text, (size_t)n) != n)
        tb_warn("session", "keylog: %s", strerror(errno));
    tb_wipe(text, sizeof text);
}

static int configure(struct dev_app *app, const struct dev_options *o, struct tb_error *e) {
    struct dev_device *d = app->device;
    const char *name = d->n_apps == 1 ? NULL : app->name;
    struct dev_session_config cfg;
    struct dev_protocol *p;
    int r = dev_options_session(o, name, d->o.keylog ? on_keylog : NULL, d, &cfg, e);

    if (r < 0)
        return r;
    if (app->running)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "%s is %s: disconnect first", app->name,
                            dev_session_state(app->session));
    p = dev_options_protocol(o, name, tb_loop_uv(d->loop), &cfg);
    r = dev_session_configure(app->session, &cfg, p, e);
    assert(r == 0); /* all of it is checked */
    return r;
}

static void forget_options(struct dev_options *o) {
    if (!o)
        return;
    tb_cli_done(&dev_cli, o);
    free(o);
}

/* o is configured: the ones before are not needed any more. */
static void use_options(struct dev_app *app, struct dev_options *o) {
    if (app->o_changed)
        forget_options(app->o);
    app->o = o;
    app->o_changed = true;
}

/* The session has ended for which the next one waited. */
static void go_on(struct dev_app *app) {
    struct dev_options *o = app->next;
    struct tb_error e;
    int r;

    app->again = false;
    app->next = NULL;
    if (o) {
        r = configure(app, o, &e);
        assert(r == 0); /* checked before */
        use_options(app, o);
    }
    if (dev_app_start(app) < 0)
        abort(); /* it is idle */
}

static void on_idle(bool failed, void *user) {
    struct dev_app *app = user;
    struct dev_device *d = app->device;

    app->running = false;
    if (app->again && d->closing == 0) {
        go_on(app);
        return;
    }
    if (!d->o.once)
        return;
    d->failed |= failed || app->once_failed || !app->once_done;
    for (size_t i = 0; i < d->n_apps; i++)
        if (d->apps[i].running)
            return;
    tb_loop_stop(d->loop, d->failed);
}

static const struct dev_session_ops session_ops = {on_event, on_up, on_done, on_idle, alone};

int dev_app_init(struct dev_app *app, struct dev_device *device, const char *name,
                 struct dev_options *o, struct tb_error *e) {
    *app = (struct dev_app){.device = device, .name = name, .o = o};
    app->session = dev_session_new(tb_loop_uv(device->loop), device->card, &session_ops, app);
    return configure(app, o, e);
}

int dev_app_change(struct dev_app *app, struct dev_options *o, struct tb_error *e) {
    struct dev_session_config cfg;
    int r;

    if (!app->running || !dev_session_ending(app->session)) {
        r = configure(app, o, e);
        if (r == 0)
            use_options(app, o);
        return r;
    }
    r = dev_options_session(o, app->name, NULL, NULL, &cfg, e); /* so that nothing fails later */
    if (r < 0)
        return r;
    forget_options(app->next);
    app->next = o;
    app->again = true;
    return 1;
}

/* Told to start while the old session still says good-bye: right after it. */
int dev_app_start(struct dev_app *app) {
    int r;

    if (app->running && dev_session_ending(app->session)) {
        app->again = true;
        return 0;
    }
    r = dev_session_start(app->session);
    if (r == 0)
        app->running = true;
    return r;
}

void dev_app_stop(struct dev_app *app) {
    forget_options(app->next);
    app->next = NULL;
    app->again = false;
    dev_session_stop(app->session);
}

void dev_app_done(struct dev_app *app) {
    struct dev_pending *p;

    while ((p = app->pending)) {
        app->pending = p->next;
        if (p->call)
            tb_ctl_reply(p->call, NULL, TB_ECLOSED, "the device ends");
        dev_pending_free(p);
    }
    if (app->o_changed)
        forget_options(app->o);
    forget_options(app->next);
}

json_t *dev_app_counters(const struct dev_app *app) {
    json_t *m = dev_session_counters(app->session);

    json_object_set_new(m, "published", json_integer((json_int_t)app->published));
    json_object_set_new(m, "requests", json_integer((json_int_t)app->requested));
    json_object_set_new(m, "received", json_integer((json_int_t)app->received));
    return m;
}
