/* Control verbs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app.h"
#include "mem.h"
#include "tb/hex.h"

/* The one that is meant: member "app", or the only one. */
static struct dev_app *find_app(struct dev_device *d, const json_t *request, struct tb_error *e) {
    const json_t *name = json_object_get(request, "app");
    char names[400] = "";
    size_t n = 0;

    if (!name && d->n_apps == 1)
        return &d->apps[0];
    for (size_t i = 0; i < d->n_apps; i++) {
        if (json_is_string(name) && strcmp(json_string_value(name), d->apps[i].name) == 0)
            return &d->apps[i];
        if (n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
                                  d->apps[i].name);
    }
    (void)tb_error_set(e, TB_ENOTFOUND, NULL, 0, "%s: %s", name ? "no such app" : "which app",
                       names);
    return NULL;
}

/* ---- connect: members are options for what follows ---- */

static bool is_option(const char *key) {
    static const char *const not_now[] = {"id", "verb", "app", NULL};

    for (size_t i = 0; not_now[i]; i++)
        if (strcmp(key, not_now[i]) == 0)
            return false;
    return true;
}

static int set_text(struct dev_options *o, const char *name, const char *value,
                    struct tb_error *e) {
    return tb_cli_set(&dev_cli, o, name, &value, 1, e);
}

static int set_list(struct dev_options *o, const char *name, const json_t *list,
                    struct tb_error *e) {
    size_t n = json_array_size(list), i;
    const char **values = calloc(n + 1, sizeof *values);
    int r = 0;

    if (!values)
        abort();
    for (i = 0; i < n && r == 0; i++) {
        values[i] = json_string_value(json_array_get(list, i));
        if (!values[i])
            r = tb_error_set(e, TB_EPARSE, NULL, 0, "%s: a list of texts", name);
    }
    if (r == 0)
        r = tb_cli_set(&dev_cli, o, name, values, n, e);
    free(values);
    return r;
}

/* JSON names may have '_' for '-'. */
static int set_option(struct dev_options *o, const char *key, const json_t *value,
                      struct tb_error *e) {
    char name[64], number[32];

    if (strlen(key) >= sizeof name)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "unknown option '%.60s…'", key);
    for (size_t i = 0; i <= strlen(key); i++)
        name[i] = (char)(key[i] == '_' ? '-' : key[i]);
    for (const char *const *p = dev_device_options; *p; p++)
        if (strcmp(*p, name) == 0)
            return tb_error_set(e, TB_EPARSE, NULL, 0, "%s is for the device as a whole", name);
    switch (json_typeof(value)) {
    case JSON_STRING:
        return set_text(o, name, json_string_value(value), e);
    case JSON_TRUE:
        return set_text(o, name, "yes", e);
    case JSON_FALSE:
        return set_text(o, name, "no", e);
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return set_text(o, name, number, e);
    case JSON_ARRAY:
        return set_list(o, name, value, e);
    case JSON_NULL: /* as if it had not been given */
        return tb_cli_set(&dev_cli, o, name, NULL, 0, e);
    default:
        return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: a text, number, bool or list", name);
    }
}

static int change_options(struct dev_app *app, json_t *request, struct tb_error *e) {
    struct dev_options *o = NULL;
    const char *key;
    json_t *value;
    int r = 0;

    json_object_foreach(request, key, value) {
        if (!is_option(key))
            continue;
        if (!o)
            o = tb_cli_copy(&dev_cli, app->next ? app->next : app->o, sizeof *o);
        r = set_option(o, key, value, e);
        if (r < 0)
            break;
    }
    if (o && r == 0)
        r = dev_app_change(app, o, e);
    if (o && r < 0) {
        tb_cli_done(&dev_cli, o);
        free(o);
    }
    return r;
}

static int verb_connect(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);
    json_t *members;
    int r;

    (void)call;
    (void)reply;
    if (!app)
        return TB_ENOTFOUND;
    members = json_object();
    json_object_update(members, tb_unconst(request)); /* to be gone through */
    r = change_options(app, members, e);
    json_decref(members);
    if (r == 0 && dev_app_start(app) < 0) /* 1: soon, by itself */
        r = tb_error_set(e, TB_ESTATE, NULL, 0, "already %s", dev_session_state(app->session));
    return r < 0 ? r : 0;
}

static int verb_disconnect(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                           struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);

    (void)call;
    (void)reply;
    if (!app)
        return TB_ENOTFOUND;
    dev_app_stop(app);
    return 0;
}

/* ---- MQTT ---- */

static int qos_of(const json_t *request, const struct dev_app *app) {
    const json_t *qos = json_object_get(request, "qos");
    json_int_t n = qos ? json_integer_value(qos) : (json_int_t)app->o->qos;

    return qos && !json_is_integer(qos) ? -1 : n >= 0 && n <= 2 ? (int)n : -1;
}

static int verb_publish(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);
    const json_t *payload = json_object_get(request, "payload");
    struct dev_publication pub;
    int r;

    (void)reply;
    if (!app)
        return TB_ENOTFOUND;
    pub = (struct dev_publication){
        json_string_value(json_object_get(request, "topic")),
        tb_span(json_string_value(payload), json_string_length(payload)),
        qos_of(request, app),
        json_is_true(json_object_get(request, "retain")),
    };
    if (!pub.topic || !json_is_string(payload) || pub.qos < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "publish needs topic and payload (texts), qos is 0, 1 or 2");
    r = dev_app_publish(app, &pub, call, e);
    return r < 0 ? r : TB_CTL_LATER;
}

static int verb_subscribe(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                          struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);
    const char *topic = json_string_value(json_object_get(request, "topic"));
    int qos, r;

    (void)reply;
    if (!app)
        return TB_ENOTFOUND;
    qos = qos_of(request, app);
    if (!topic || qos < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "subscribe needs topic (text), qos is 0, 1 or 2");
    r = dev_app_subscribe(app, topic, qos, call, e);
    return r < 0 ? r : TB_CTL_LATER;
}

/* ---- CoAP, HTTP ---- */

/* A whole file, up to DEV_BODY_MAX; *ret on the heap. */
static int read_file(const char *path, uint8_t **ret, size_t *ret_n, struct tb_error *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0; /* a pipe would wait */
    struct stat st;
    uint8_t *p;
    ssize_t n;

    if (fd < 0)
        return tb_error_set(e, -errno, NULL, 0, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > DEV_BODY_MAX) {
        close(fd);
        return tb_error_set(e, TB_ERANGE, NULL, 0, "%s: not a file of at most 16 MiB", path);
    }
    p = malloc((size_t)st.st_size + 1);
    if (!p)
        abort();
    *ret_n = 0;
    while (*ret_n < (size_t)st.st_size && r == 0) {
        n = read(fd, p + *ret_n, (size_t)st.st_size - *ret_n);
        if (n > 0)
            *ret_n += (size_t)n;
        else if (n == 0 || errno != EINTR)
            r = tb_error_set(e, n ? -errno : TB_EMORE, NULL, 0, "%s: cannot be read", path);
    }
    close(fd);
    if (r < 0)
        free(p);
    else
        *ret = p;
    return r;
}

/* The payload, from whichever member has it; *ret_heap is to be freed. */
static int payload_of(const json_t *request, struct tb_span *ret, uint8_t **ret_heap,
                      struct tb_error *e) {
    const json_t *text = json_object_get(request, "payload");
    const char *hex = json_string_value(json_object_get(request, "payload_hex"));
    const char *file = json_string_value(json_object_get(request, "payload_file"));
    struct tb_buf out;
    size_t n = 0;
    int r = 0;

    if ((text && !json_is_string(text)) || (text != NULL) + (hex != NULL) + (file != NULL) > 1)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "one of payload, payload_hex, payload_file (texts)");
    if (text)
        *ret = tb_span(json_string_value(text), json_string_length(text));
    if (hex) {
        *ret_heap = malloc(strlen(hex) / 2 + 1);
        if (!*ret_heap)
            abort();
        out = tb_buf(*ret_heap, strlen(hex) / 2);
        if (tb_hex_decode(tb_span_str(hex), &out) < 0)
            return tb_error_set(e, TB_EPARSE, NULL, 0, "payload_hex is no hex");
        *ret = tb_buf_span(&out);
    }
    if (file) {
        r = read_file(file, ret_heap, &n, e);
        if (r == 0)
            *ret = tb_span(*ret_heap, n);
    }
    return r;
}

static int verb_request(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);
    const char *method = json_string_value(json_object_get(request, "method"));
    struct dev_request rq = {
        .method = method ? method : "GET",
        .path = json_string_value(json_object_get(request, "path")),
        .content_type = json_string_value(json_object_get(request, "content_type")),
        .accept = json_string_value(json_object_get(request, "accept")),
        .save = json_string_value(json_object_get(request, "save")),
        .observe = json_is_true(json_object_get(request, "observe")),
    };
    uint8_t *heap = NULL;
    int r;

    (void)reply;
    if (!app)
        return TB_ENOTFOUND;
    if (!rq.path)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "request needs path, and method if not GET");
    r = payload_of(request, &rq.payload, &heap, e);
    if (r == 0)
        r = dev_app_request(app, &rq, call, e);
    free(heap);
    return r < 0 ? r : TB_CTL_LATER;
}

static int verb_cancel(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);
    const char *path = json_string_value(json_object_get(request, "path"));
    int r;

    (void)reply;
    if (!app)
        return TB_ENOTFOUND;
    if (!path)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "cancel needs path");
    r = dev_app_cancel(app, path, call, e);
    return r < 0 ? r : TB_CTL_LATER;
}

/* ---- how it is ---- */

static void put_state(json_t *m, const struct dev_app *app) {
    json_object_set_new(m, "app", json_string(app->name));
    json_object_set_new(m, "state", json_string(dev_session_state(app->session)));
    json_object_set_new(m, "hub", json_string(app->o->hub));
    json_object_set_new(m, "protocol", json_string(dev_session_protocol(app->session)->ops->name));
    json_object_set_new(m, "stack", json_string(app->o->stack));
    json_object_set_new(m, "credential", json_string(app->o->psk ? "psk" : "certificate"));
}

static int verb_state(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct dev_device *d = user;
    struct dev_app *app = find_app(d, request, e);

    (void)call;
    if (!app)
        return TB_ENOTFOUND;
    put_state(reply, app);
    json_object_set_new(reply, "link", json_string(d->o.link));
    return 0;
}

static int verb_apps(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                     struct tb_error *e, void *user) {
    struct dev_device *d = user;
    json_t *list = json_array();

    (void)call;
    (void)request;
    (void)e;
    for (size_t i = 0; i < d->n_apps; i++) {
        json_t *m = json_object();

        put_state(m, &d->apps[i]);
        json_array_append_new(list, m);
    }
    json_object_set_new(reply, "apps", list);
    return 0;
}

static int verb_counters(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                         struct tb_error *e, void *user) {
    struct dev_app *app = find_app(user, request, e);
    json_t *counters;

    (void)call;
    if (!app)
        return TB_ENOTFOUND;
    counters = dev_app_counters(app);
    json_object_update(reply, counters);
    json_decref(counters);
    return 0;
}

const struct tb_ctl_verb dev_verbs[] = {
    {"connect",
     "start the session, and again when it ends; other members are options of the application for "
     "what follows",
     verb_connect},
    {"disconnect", "end the session", verb_disconnect},
    {"publish", "MQTT: topic, payload, qos, retain: answered when the server has acknowledged",
     verb_publish},
    {"mqtt-subscribe", "MQTT: topic, qos: answered when the server has acknowledged",
     verb_subscribe},
    {"request",
     "CoAP, HTTP: method, path, payload | payload_hex | payload_file, content_type, accept, save "
     "(file), observe: answered with code, payload, content_type, bytes",
     verb_request},
    {"cancel", "CoAP: path: ends an observation", verb_cancel},
    {"state", "state, hub, protocol, stack, credential, link", verb_state},
    {"apps", "apps: the state of each application", verb_apps},
    {"counters",
     "sessions, failures, reconnects, published, requests, received, apdus, bytes_out, bytes_in",
     verb_counters},
    {NULL, NULL, NULL},
};
