/* iot-device: an IoT SAFE device. Options, control socket, and what is done when the session is up.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"
#include "tb/child.h"
#include "tb/cli.h"
#include "tb/ctl.h"
#include "tb/log.h"
#include "tb/loop.h"

struct options {
    struct tb_cli_common common;
    char *link, *aid, *hub, *server_name, *tls, *ca, *cert, *key;
    char *client_id, *user, *password, *keylog;
    struct tb_strv subscribe, publish;
    unsigned qos, keep_alive, timeout, reconnect_min, reconnect_max;
    bool once, no_reconnect, no_connect, keep_session;
};

#define OPT(field) offsetof(struct options, field)
static const struct tb_opt opts[] = {
    {"link", 'l', "SPEC",
     "where the card is: at:PLACE or cgla:PLACE (a modem; PLACE is /dev/…[,speed=BAUD], unix:/path "
     "or "
     "tcp:host:port) or vpcd:PLACE",
     TB_OPT_STRING, OPT(link), NULL},
    {"aid", 0, "HEX", "applet to try first", TB_OPT_STRING, OPT(aid), NULL},
    {"hub", 'h', "HOST:PORT", "MQTT server with TLS", TB_OPT_STRING, OPT(hub), NULL},
    {"server-name", 0, "NAME", "name its certificate is for; the host's when not given",
     TB_OPT_STRING, OPT(server_name), NULL},
    {"tls", 0, "1.2|1.3|any", "TLS version", TB_OPT_STRING, OPT(tls), "any"},
    {"ca", 0, "card:ID|FILE", "trusted certificates: a file on the card, or PEM", TB_OPT_STRING,
     OPT(ca), "card:03"},
    {"cert", 0, "card:ID|FILE", "own certificate: a file on the card, or PEM", TB_OPT_STRING,
     OPT(cert), "card:02"},
    {"key", 0, "card:ID|FILE", "own private key: in the card, or PEM", TB_OPT_STRING, OPT(key),
     "card:01"},
    {"client-id", 'i', "TEXT", "MQTT client identifier", TB_OPT_STRING, OPT(client_id),
     "iot-device"},
    {"user", 0, "TEXT", "MQTT user name", TB_OPT_STRING, OPT(user), NULL},
    {"password", 0, "TEXT", "MQTT password", TB_OPT_STRING, OPT(password), NULL},
    {"keep-session", 0, NULL, "ask the server to keep subscriptions between sessions", TB_OPT_FLAG,
     OPT(keep_session), NULL},
    {"subscribe", 's', "TOPIC", "subscribe when connected; may be given several times", TB_OPT_LIST,
     OPT(subscribe), NULL},
    {"publish", 'p', "TOPIC=TEXT", "publish when connected; may be given several times",
     TB_OPT_LIST, OPT(publish), NULL},
    {"qos", 'q', "0|1|2", "quality of service of both", TB_OPT_UINT, OPT(qos), "1"},
    {"keep-alive", 0, "S", "MQTT keep-alive", TB_OPT_UINT, OPT(keep_alive), "60"},
    {"timeout", 0, "MS", "time for one attempt, from the card to CONNACK", TB_OPT_UINT,
     OPT(timeout), "60000"},
    {"reconnect-min", 0, "MS", "first pause before another attempt", TB_OPT_UINT,
     OPT(reconnect_min), "1000"},
    {"reconnect-max", 0, "MS", "longest pause", TB_OPT_UINT, OPT(reconnect_max), "60000"},
    {"no-reconnect", 0, NULL, "give up after the first session or failure", TB_OPT_FLAG,
     OPT(no_reconnect), NULL},
    {"no-connect", 0, NULL, "wait for the control verb \"connect\"", TB_OPT_FLAG, OPT(no_connect),
     NULL},
    {"once", '1', NULL, "connect, subscribe, publish, disconnect; exit 0 when all of it was done",
     TB_OPT_FLAG, OPT(once), NULL},
    {"keylog", 0, "FILE", "append TLS secrets for Wireshark", TB_OPT_STRING, OPT(keylog), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    "iot-device", NULL,
    "Connects to an MQTT server over TLS with the key and certificate in an IoT SAFE card."
    "\vExample:\n\n  iot-device --link at:unix:/run/modem.sock --hub hub.example:8883 --publish "
    "t=hello --once",
    opts};

struct pending { /* a publication or subscription under way */
    struct pending *next;
    unsigned id;
    struct tb_ctl_call *call; /* NULL: from an option */
    char *topic;              /* of a publication, NULL for a subscription */
};

struct app {
    struct options o;
    struct tb_loop *loop;
    struct tb_ctl *ctl;
    struct dev_card *card;
    struct dev_session *session;
    struct pending *pending;
    unsigned startup; /* options' publications and subscriptions under way */
    unsigned long long published;
    bool once_failed, once_done, stopping;
    int keylog_fd;
};

static void usage(const char *what) __attribute__((noreturn));
static void usage(const char *what) {
    fprintf(stderr, "iot-device: %s\nTry 'iot-device --help' for more information.\n", what);
    exit(2);
}

/* ---- publications and subscriptions ---- */

static void remember(struct app *app, unsigned id, struct tb_ctl_call *call, const char *topic) {
    struct pending *p = calloc(1, sizeof *p);

    if (!p || (topic && !(p->topic = strdup(topic))))
        abort();
    p->id = id;
    p->call = call;
    p->next = app->pending;
    app->pending = p;
    if (!call)
        app->startup++;
}

static void end_of_once(struct app *app) {
    if (app->o.once && app->startup == 0) {
        app->once_done = true;
        dev_session_stop(app->session);
    }
}

static void on_done(unsigned id, int status, void *user) {
    struct app *app = user;
    struct pending **at = &app->pending, *p;

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    p = *at;
    if (!p)
        return;
    *at = p->next;
    if (p->topic && status == 0) {
        app->published++;
        tb_ctl_event(app->ctl, "published", json_pack("{s:s}", "topic", p->topic));
    }
    if (p->call) {
        tb_ctl_reply(p->call, NULL, status, status < 0 ? "not acknowledged" : NULL);
    } else {
        app->startup--;
        if (status < 0)
            app->once_failed = true;
        end_of_once(app);
    }
    free(p->topic);
    free(p);
}

/* text is TOPIC=PAYLOAD, checked at start. */
static void publish_option(struct app *app, const char *text) {
    const char *equals = strchr(text, '=');
    char *topic = strndup(text, (size_t)(equals - text));
    unsigned id;

    if (!topic)
        abort();
    if (dev_mqtt_publish(dev_session_mqtt(app->session), topic, tb_span_str(equals + 1),
                         (int)app->o.qos, false, &id) == 0)
        remember(app, id, NULL, topic);
    else
        app->once_failed = true;
    free(topic);
}

static void on_up(void *user) {
    struct app *app = user;
    unsigned id;

    for (size_t i = 0; i < app->o.subscribe.n; i++) {
        if (dev_mqtt_subscribe(dev_session_mqtt(app->session), app->o.subscribe.v[i],
                               (int)app->o.qos, &id) == 0)
            remember(app, id, NULL, NULL);
        else
            app->once_failed = true;
    }
    for (size_t i = 0; i < app->o.publish.n; i++)
        publish_option(app, app->o.publish.v[i]);
    end_of_once(app);
}

/* ---- events ---- */

/* " key=value key=value", without what was said in messages. */
static const char *describe(json_t *members, char *dst, size_t cap) {
    const char *key;
    json_t *value;
    size_t n = 0;

    dst[0] = 0;
    json_object_foreach(members, key, value) {
        char *text =
            strcmp(key, "payload") == 0 ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        if (text && n < cap)
            n += (size_t)snprintf(dst + n, cap - n, " %s=%s", key, text);
        free(text);
    }
    return dst;
}

static void on_event(const char *name, json_t *members, void *user) {
    struct app *app = user;
    char text[512];

    tb_log("session", strcmp(name, "session-failed") == 0 ? TB_LOG_WARN : TB_LOG_INFO, "%s%s", name,
           describe(members, text, sizeof text));
    tb_ctl_event(app->ctl, name, members);
}

static void on_idle(bool failed, void *user) {
    struct app *app = user;

    if (app->o.once)
        tb_loop_stop(app->loop, failed || app->once_failed || !app->once_done);
}

static const struct dev_session_ops session_ops = {on_event, on_up, on_done, on_idle};

static void on_keylog(const char *line, void *user) {
    struct app *app = user;
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n", line);

    if (n > 0 && (size_t)n < sizeof text && write(app->keylog_fd, text, (size_t)n) != n)
        tb_warn("session", "keylog: %s", strerror(errno));
    tb_wipe(text, sizeof text);
}

/* ---- control verbs ---- */

static int verb_connect(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct app *app = user;

    (void)call;
    (void)request;
    (void)reply;
    if (dev_session_start(app->session) < 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "already %s", dev_session_state(app->session));
    return 0;
}

static int verb_disconnect(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                           struct tb_error *e, void *user) {
    struct app *app = user;

    (void)call;
    (void)request;
    (void)reply;
    (void)e;
    dev_session_stop(app->session);
    return 0;
}

static int qos_of(const json_t *request, const struct app *app) {
    const json_t *qos = json_object_get(request, "qos");
    json_int_t n = qos ? json_integer_value(qos) : (json_int_t)app->o.qos;

    return qos && !json_is_integer(qos) ? -1 : n >= 0 && n <= 2 ? (int)n : -1;
}

static int verb_publish(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct app *app = user;
    const char *topic = json_string_value(json_object_get(request, "topic"));
    const json_t *payload = json_object_get(request, "payload");
    int qos = qos_of(request, app), r;
    unsigned id;

    (void)reply;
    if (!topic || !json_is_string(payload) || qos < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "publish needs topic and payload (texts), qos is 0, 1 or 2");
    r = dev_mqtt_publish(dev_session_mqtt(app->session), topic,
                         tb_span(json_string_value(payload), json_string_length(payload)), qos,
                         json_is_true(json_object_get(request, "retain")), &id);
    if (r < 0)
        return tb_error_set(e, r, NULL, 0, "cannot publish: %s",
                            r == TB_ERANGE ? "payload too large" : "not connected");
    remember(app, id, call, topic);
    return TB_CTL_LATER;
}

static int verb_subscribe(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                          struct tb_error *e, void *user) {
    struct app *app = user;
    const char *topic = json_string_value(json_object_get(request, "topic"));
    int qos = qos_of(request, app);
    unsigned id;

    (void)reply;
    if (!topic || qos < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "subscribe needs topic (text), qos is 0, 1 or 2");
    if (dev_mqtt_subscribe(dev_session_mqtt(app->session), topic, qos, &id) < 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "cannot subscribe: not connected");
    remember(app, id, call, NULL);
    return TB_CTL_LATER;
}

static int verb_state(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct app *app = user;

    (void)call;
    (void)request;
    (void)e;
    json_object_set_new(reply, "state", json_string(dev_session_state(app->session)));
    json_object_set_new(reply, "hub", json_string(app->o.hub));
    json_object_set_new(reply, "link", json_string(app->o.link));
    return 0;
}

static int verb_counters(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                         struct tb_error *e, void *user) {
    struct app *app = user;
    json_t *counters = dev_session_counters(app->session);

    (void)call;
    (void)request;
    (void)e;
    json_object_set_new(counters, "published", json_integer((json_int_t)app->published));
    json_object_update(reply, counters);
    json_decref(counters);
    return 0;
}

static const struct tb_ctl_verb verbs[] = {
    {"connect", "start the session, and start it again when it ends", verb_connect},
    {"disconnect", "end the session", verb_disconnect},
    {"publish", "topic, payload, qos, retain: answered when the server has acknowledged",
     verb_publish},
    {"mqtt-subscribe", "topic, qos: answered when the server has acknowledged", verb_subscribe},
    {"state", "state, hub, link", verb_state},
    {"counters", "sessions, failures, reconnects, published, received, apdus, bytes_out, bytes_in",
     verb_counters},
    {NULL, NULL, NULL},
};

/* ---- start and end ---- */

static void on_session_closed(void *user) {
    struct app *app = user;

    dev_card_free(app->card); /* its link is a handle of the loop */
    tb_ctl_close(app->ctl);
}

static void on_stop(void *arg) {
    struct app *app = arg;

    app->stopping = true;
    dev_session_close(app->session, on_session_closed);
}

static void on_quit(void *user) {
    struct app *app = user;

    tb_loop_stop(app->loop, 0);
}

static void check_options(const struct options *o) {
    if (!o->link)
        usage("--link is needed");
    if (!o->hub)
        usage("--hub is needed");
    if (o->qos > 2)
        usage("--qos is 0, 1 or 2");
    if (o->reconnect_min < 1 || o->reconnect_max < o->reconnect_min)
        usage("--reconnect-min and --reconnect-max do not fit");
    if (o->timeout < 1)
        usage("--timeout is 1 or more");
    if (o->once && o->no_connect)
        usage("--once and --no-connect exclude each other");
    for (size_t i = 0; i < o->publish.n; i++) {
        const char *equals = strchr(o->publish.v[i], '=');

        if (!equals || equals == o->publish.v[i])
            usage("--publish is TOPIC=TEXT");
    }
}

static unsigned versions_of(const char *text) {
    if (strcmp(text, "1.2") == 0)
        return DEV_TLS12;
    if (strcmp(text, "1.3") == 0)
        return DEV_TLS13;
    if (strcmp(text, "any") == 0)
        return DEV_TLS12 | DEV_TLS13;
    usage("--tls is 1.2, 1.3 or any");
}

static struct dev_session_config session_config(struct app *app) {
    const struct options *o = &app->o;

    return (struct dev_session_config){
        .hub = o->hub,
        .server_name = o->server_name,
        .versions = versions_of(o->tls),
        .ca = o->ca,
        .cert = o->cert,
        .key = o->key,
        .mqtt = {o->client_id, o->keep_alive, o->keep_session},
        .user = o->user,
        .password = o->password,
        .timeout_ms = o->timeout,
        .retry_min_ms = o->reconnect_min,
        .retry_max_ms = o->reconnect_max,
        .reconnect = !o->once && !o->no_reconnect,
        .keylog = o->keylog ? on_keylog : NULL,
        .keylog_user = app,
    };
}

static int start(struct app *app, struct tb_error *e) {
    struct dev_session_config cfg = session_config(app);
    uv_loop_t *uv = tb_loop_uv(app->loop);
    struct tb_addr at;
    int r;

    if (app->o.keylog) {
        app->keylog_fd = open(app->o.keylog, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (app->keylog_fd < 0)
            return tb_error_set(e, -errno, app->o.keylog, 0, "%s", strerror(errno));
    }
    r = app->o.common.ctl ? tb_addr_parse(app->o.common.ctl, &at, e) : 0;
    if (r == 0)
        r = dev_card_new(uv, app->o.link, app->o.aid, &app->card, e);
    if (r < 0)
        return r;
    r = dev_session_new(uv, &cfg, app->card, &session_ops, app, &app->session, e);
    if (r < 0)
        return r;
    r = tb_ctl_open(uv, app->o.common.ctl ? &at : NULL, "iot-device", verbs, on_quit, app,
                    &app->ctl, e);
    if (r == 0 && app->o.common.event_file)
        r = tb_ctl_event_file(app->ctl, app->o.common.event_file, e);
    return r;
}

static void tell_ready(struct app *app) {
    const struct tb_addr *at = tb_ctl_addr(app->ctl);
    json_t *line = json_object();
    char text[300];
    char *json;

    if (app->o.common.ctl)
        json_object_set_new(line, "ctl", json_string(tb_addr_str(at, text, sizeof text)));
    json = json_dumps(line, JSON_COMPACT);
    if (tb_ready_tell((int)app->o.common.ready_fd, json) < 0)
        tb_warn("main", "nobody reads the ready line");
    free(json);
    json_decref(line);
}

int main(int argc, char **argv) {
    struct app app = {.keylog_fd = -1};
    struct tb_error e = {0};
    int status, r;

    tb_cli_parse(&cli, argc, argv, &app.o, NULL);
    check_options(&app.o);
    if (tb_log_setup(app.o.common.log_level, strcmp(app.o.common.log_format, "json") == 0, &e) < 0)
        usage(e.message);
    app.loop = tb_loop_new(true);
    r = start(&app, &e);
    if (r < 0) {
        fprintf(stderr, "iot-device: %s%s%s\n", e.file, e.file[0] ? ": " : "", e.message);
        /* A value that makes no sense, or something about this machine (errno). */
        exit(!e.file[0] && r <= TB_EPARSE ? 2 : 1);
    }
    tb_loop_on_stop(app.loop, on_stop, &app);
    if (app.o.common.ready_fd != UINT_MAX)
        tell_ready(&app);
    if (!app.o.no_connect && dev_session_start(app.session) < 0)
        abort(); /* it is idle */
    status = tb_loop_run(app.loop);
    if (app.keylog_fd >= 0)
        close(app.keylog_fd);
    tb_cli_done(&cli, &app.o);
    return status;
}
