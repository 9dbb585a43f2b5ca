#include "app/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tb/child.h"
#include "tb/hex.h"
#include "tb/log.h"

unsigned hub_recheck(struct hub *h) {
    struct tb_error e = {0};

    h->seen_generation = hub_registry_generation(h->registry);
    if (hub_listeners_refresh(h, &e) < 0)
        tb_error_log("tls", "the trusted CAs stay as they were: %s", e.message);
    return hub_listeners_kick(h);
}

static void on_recheck(void *arg) {
    hub_recheck(arg);
}

void hub_notice_changes(struct hub *h) {
    if (!h->stopping && hub_registry_generation(h->registry) != h->seen_generation)
        tb_deadline_start(&h->recheck, 0);
}

static void on_touched(uv_fs_event_t *w, const char *file, int events, int status) {
    struct hub *h = w->data;

    (void)file, (void)events, (void)status;
    hub_registry_generation(h->registry);
    hub_notice_changes(h);
}

/* Events are told until the very end: the control socket closes when nobody is left to cause one.
 */
void hub_maybe_close_ctl(struct hub *h) {
    if (h->stopping && !h->broker && hub_live_sessions(h) == 0 && h->ctl) {
        tb_ctl_close(h->ctl);
        h->ctl = NULL;
    }
}

static void on_broker_up(struct hub_broker *b, void *user) {
    struct hub *h = user;

    h->broker_starts++;
    hub_tell(h, "broker-up", json_pack("{s:i}", "pid", hub_broker_pid(b)));
    hub_tell_ready(h);
}

static void on_broker_down(struct hub_broker *b, const char *why, void *user) {
    (void)b;
    tb_warn("broker", "down: %s", why);
    hub_tell(user, "broker-down", json_pack("{s:s}", "reason", why));
}

static void on_broker_message(struct tb_span topic, struct tb_span payload, bool retained,
                              void *user) {
    struct hub *h = user;

    if (!h->stopping)
        hub_api_message(h->api, topic, payload, retained);
}

static void on_broker_closed(void *user) {
    struct hub *h = user;

    h->broker = NULL;
    hub_maybe_close_ctl(h);
}

static int api_publish(const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg, void *user) {
    struct hub *h = user;

    return h->broker ? hub_broker_publish(h->broker, topic, payload, retain, done, arg) : TB_ESTATE;
}

/* As a PUBLISH that came over MQTT is told. */
static void on_api_publish(const char *device, const char *topic, struct tb_span payload,
                           void *user) {
    struct hub *h = user;
    json_t *o = json_pack("{s:s, s:s, s:i, s:b, s:I}", "device", device, "topic", topic, "qos", 1,
                          "retain", 0, "bytes", (json_int_t)payload.n);

    h->api_messages++;
    if (payload.n <= TB_MQTT_SCAN_MAX && tb_mqtt_utf8_ok(payload))
        json_object_set_new(o, "payload", json_stringn_nocheck((const char *)payload.p, payload.n));
    hub_tell(h, "publish", o);
}

/* Stop hooks run in reverse order of registration. */
static void stop_api(void *arg) {
    struct hub *h = arg;

    hub_api_close(h->api);
    h->api = NULL;
}

static void start_api(struct hub *h) {
    const struct hub_api_config cfg = {.loop = tb_loop_uv(h->loop),
                                       .publish = api_publish,
                                       .on_publish = on_api_publish,
                                       .user = h};

    h->api = hub_api_new(&cfg);
    tb_loop_on_stop(h->loop, stop_api, h);
}

static void stop_broker(void *arg) {
    hub_broker_close(((struct hub *)arg)->broker);
}

static void stop_ctl(void *arg) {
    struct hub *h = arg;

    h->stopping = true;
    hub_maybe_close_ctl(h);
}

static void stop_watch(void *arg) {
    struct hub *h = arg;

    uv_close((uv_handle_t *)&h->watch, NULL);
    tb_deadline_close(&h->recheck, NULL);
}

static void on_quit(void *arg) {
    tb_loop_stop(((struct hub *)arg)->loop, 0);
}

static int start_ctl(struct hub *h, struct tb_error *e) {
    char text[300];
    struct tb_addr at;
    int err = 0;

    if (h->opt.common.ctl)
        err = tb_addr_parse(h->opt.common.ctl, &at, e);
    else if (snprintf(text, sizeof text, "%s/ctl", h->opt.state) >= (int)sizeof text ||
             tb_addr_parse(text, &at, e) < 0)
        err =
            tb_error_set(e, -ENAMETOOLONG, h->opt.state, 0,
                         "too long for a socket in it: choose one with --ctl, and --broker-socket");
    if (err == 0)
        err = tb_ctl_open(tb_loop_uv(h->loop), &at, "iot-hub", hub_verbs, on_quit, h, &h->ctl, e);
    if (err < 0)
        return err;
    tb_loop_on_stop(h->loop, stop_ctl, h);
    return h->opt.common.event_file ? tb_ctl_event_file(h->ctl, h->opt.common.event_file, e) : 0;
}

static int start_watch(struct hub *h, struct tb_error *e) {
    int err;

    hub_registry_touch(h->registry); /* the file must be there to be watched */
    uv_fs_event_init(tb_loop_uv(h->loop), &h->watch);
    h->watch.data = h;
    tb_deadline_init(tb_loop_uv(h->loop), &h->recheck, on_recheck, h);
    tb_loop_on_stop(h->loop, stop_watch, h);
    h->seen_generation = hub_registry_generation(h->registry);
    err = uv_fs_event_start(&h->watch, on_touched, hub_registry_touch_file(h->registry), 0);
    return err < 0 ? tb_error_set(e, err, hub_registry_touch_file(h->registry), 0,
                                  "cannot be watched: %s", tb_strerror(err))
                   : 0;
}

static int start_broker(struct hub *h, struct tb_error *e) {
    char dir[4096];
    const struct hub_broker_config cfg = {.program = h->opt.broker,
                                          .dir = dir,
                                          .socket = h->opt.broker_socket,
                                          .log_file = h->opt.broker_log,
                                          .max_message = h->opt.max_message,
                                          .on_up = on_broker_up,
                                          .on_down = on_broker_down,
                                          .on_message = on_broker_message,
                                          .filter = "devices/+/command",
                                          .on_closed = on_broker_closed,
                                          .user = h};
    int err;

    snprintf(dir, sizeof dir, "%s/broker", h->opt.state);
    err = hub_broker_open(tb_loop_uv(h->loop), &cfg, &h->broker, e);
    if (err == 0)
        tb_loop_on_stop(h->loop, stop_broker, h);
    return err;
}

/* Addresses that others are told, and the broker's configuration, need a path that does not depend
 * on where we are. The front keeps the names of its files: it reads them again when the trusted CAs
 * change. */
static void name_own_files(struct hub_options *o) {
    char *whole = realpath(o->state, NULL);

    if (!whole)
        abort(); /* it was opened a moment ago */
    free(o->state);
    o->state = whole;
    if ((!o->cert && asprintf(&o->cert, "%s/server.crt", o->state) < 0) ||
        (!o->key && asprintf(&o->key, "%s/server.key", o->state) < 0))
        abort();
}

/* Two hubs on one folder would take each other's broker away. The kernel lets go of the lock when
 * this process ends, however it ends. */
static int lock_state(struct hub *h, struct tb_error *e) {
    char *path;
    int err = 0;

    if (asprintf(&path, "%s/lock", h->opt.state) < 0)
        abort();
    h->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (h->lock_fd < 0)
        err = tb_error_set(e, -errno, path, 0, "%s", strerror(errno));
    else if (flock(h->lock_fd, LOCK_EX | LOCK_NB) < 0)
        err = tb_error_set(e, errno == EWOULDBLOCK ? TB_ESTATE : -errno, h->opt.state, 0, "%s",
                           errno == EWOULDBLOCK ? "another iot-hub serves this state folder"
                                                : strerror(errno));
    free(path);
    return err;
}

int hub_start(struct hub *h, struct tb_error *e) {
    int err = hub_registry_open(h->opt.state, &h->registry, e);

    if (err == 0)
        err = lock_state(h, e);
    if (err == 0)
        err = hub_registry_check(h->registry, e);
    if (err < 0)
        return err;
    name_own_files(&h->opt);
    err = start_ctl(h, e);
    if (err == 0)
        err = start_watch(h, e);
    if (err == 0)
        start_api(h);
    if (err == 0)
        err = hub_listeners_start(h, e);
    return err < 0 ? err : start_broker(h, e);
}

void hub_done(struct hub *h) {
    hub_listeners_done(h);
    hub_registry_close(h->registry);
    if (h->lock_fd >= 0)
        close(h->lock_fd);
}
