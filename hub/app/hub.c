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

json_t *hub_json_hex(const uint8_t *p, size_t n) {
    char text[2 * HUB_FP_SIZE];
    struct tb_buf out = tb_buf(text, sizeof text);

    tb_put_hex(&out, tb_span(p, n), TB_HEX_LOWER);
    return json_stringn(text, out.n);
}

char *hub_identity_text(const struct hub_credential *c, char dst[HUB_IDENTITY_TEXT]) {
    if (c->kind == HUB_CRED_PSK)
        snprintf(dst, HUB_IDENTITY_TEXT, "psk:%s", c->psk_identity);
    else
        snprintf(dst, HUB_IDENTITY_TEXT, "x509:%s", c->device);
    return dst;
}

static json_t *text_of(struct tb_span s) {
    return json_stringn_nocheck((const char *)s.p, s.n);
}

static void tell(struct hub *h, const char *event, json_t *members) {
    tb_ctl_event(h->ctl, event, members);
}

/* The registry may have been changed by another process: this is where that is noticed without
 * watching. */
static void notice_changes(struct hub *h) {
    if (!h->stopping && hub_registry_generation(h->registry) != h->seen_generation)
        tb_deadline_start(&h->recheck, 0);
}

static bool is_over(const struct hub_session *s, const char **ret_reason, void *user) {
    struct hub *h = user;
    struct hub_credential known;
    int err = hub_registry_lookup(h->registry, hub_session_peer(s)->cred.fp, &known);
    enum hub_verdict v;

    if (err < 0 && err != TB_ENOTFOUND)
        return false; /* the registry cannot be read: new devices are refused, these go on */
    v = hub_judge(err == 0 ? &known : NULL, tb_clock_wall_ms() / 1000);
    *ret_reason = hub_verdict_name(v);
    return v != HUB_ACCEPTED;
}

unsigned hub_recheck(struct hub *h) {
    struct tb_error e = {0};

    h->seen_generation = hub_registry_generation(h->registry);
    if (hub_front_refresh(h->front, &e) < 0)
        tb_error_log("tls", "the trusted CAs stay as they were: %s", e.message);
    return hub_sessions_kick(h->sessions, is_over, h);
}

static void on_recheck(void *arg) {
    hub_recheck(arg);
}

static void on_touched(uv_fs_event_t *w, const char *file, int events, int status) {
    struct hub *h = w->data;

    (void)file, (void)events, (void)status;
    hub_registry_generation(h->registry);
    notice_changes(h);
}

static bool on_open(struct hub_tls *t, const struct hub_peer *peer, void *user) {
    struct hub *h = user;
    char identity[HUB_DEVICE_MAX + 8];

    (*(strcmp(peer->version, "TLSv1.2") == 0 ? &h->counters.tls12 : &h->counters.tls13))++;
    h->counters.resumed += peer->resumed;
    h->counters.handshake_us += peer->handshake_us;
    if (peer->handshake_us > h->counters.handshake_us_max)
        h->counters.handshake_us_max = peer->handshake_us;
    notice_changes(h);
    snprintf(identity, sizeof identity, "x509:%s", peer->cred.device);
    tell(h, "session",
         json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:b, s:I}", "device",
                   peer->cred.device, "identity", identity, "subject", peer->cred.subject, "issuer",
                   peer->cred.issuer, "fingerprint", hub_json_hex(peer->cred.fp, HUB_FP_SIZE),
                   "spki", hub_json_hex(peer->cred.spki_hash, HUB_FP_SIZE), "version",
                   peer->version, "cipher", peer->cipher, "resumed", peer->resumed, "handshake_us",
                   (json_int_t)peer->handshake_us));
    hub_session_start(h->sessions, t, peer, h->broker);
    return true;
}

static void on_refused(enum hub_verdict v, const struct hub_peer *peer, void *user) {
    static const uint8_t none[HUB_FP_SIZE];
    struct hub *h = user;
    json_t *o = json_pack("{s:s, s:s, s:s}", "reason", hub_verdict_name(v), "version",
                          peer->version, "detail", peer->detail);

    h->counters.refused[v]++;
    json_object_set_new(o, "alert", peer->alert >= 0 ? json_integer(peer->alert) : json_null());
    if (memcmp(peer->cred.fp, none, sizeof none) != 0) {
        json_object_set_new(o, "fingerprint", hub_json_hex(peer->cred.fp, HUB_FP_SIZE));
        json_object_set_new(o, "subject", json_string(peer->cred.subject));
        json_object_set_new(o, "issuer", json_string(peer->cred.issuer));
        json_object_set_new(o, "resumed", json_boolean(peer->resumed));
    }
    if (*peer->cred.device)
        json_object_set_new(o, "device", json_string(peer->cred.device));
    tb_info("tls", "refused reason=%s alert=%d device=%s detail=\"%s\"", hub_verdict_name(v),
            peer->alert, *peer->cred.device ? peer->cred.device : "-", peer->detail);
    tell(h, "refused", o);
    notice_changes(h);
}

static void on_connect(const struct hub_session *s, const struct tb_mqtt_connect *c, unsigned code,
                       void *user) {
    json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:i, s:b}", "device", hub_session_device(s),
                          "identity", hub_session_identity(s), "code", (int)code, "level", c->level,
                          "keep_alive", c->keep_alive, "clean", c->clean);

    json_object_set_new(o, "client_id", text_of(c->client_id));
    tell(user, "connect", o);
}

/* The payload is told only when it was seen whole and is text. */
static void on_publish(const struct hub_session *s, struct tb_span topic,
                       const struct tb_mqtt_publish *p, bool denied, void *user) {
    json_t *o = json_pack("{s:s, s:i, s:b, s:I}", "device", hub_session_device(s), "qos", p->qos,
                          "retain", p->retain, "bytes", (json_int_t)p->payload_size);

    json_object_set_new(o, "topic", text_of(topic));
    if (p->payload.n == p->payload_size && tb_mqtt_utf8_ok(p->payload))
        json_object_set_new(o, "payload", text_of(p->payload));
    tell(user, denied ? "publish-denied" : "publish", o);
}

/* Events are told until the very end: the control socket closes when nobody is left to cause one.
 */
static void maybe_close_ctl(struct hub *h) {
    if (h->stopping && !h->broker && (!h->sessions || hub_sessions_count(h->sessions) == 0) &&
        h->ctl) {
        tb_ctl_close(h->ctl);
        h->ctl = NULL;
    }
}

static void on_session_closed(const struct hub_session *s, const char *reason, void *user) {
    tell(user, "closed",
         json_pack("{s:s, s:s}", "device", hub_session_device(s), "reason", reason));
    maybe_close_ctl(user);
}

static void tell_ready(struct hub *h) {
    char ctl[300], mqtts[300], broker[300], *line;
    json_t *o;

    if (h->ready)
        return;
    h->ready = true;
    o = json_pack("{s:s, s:s}", "mqtts", tb_addr_str(hub_front_addr(h->front), mqtts, sizeof mqtts),
                  "broker", tb_addr_str(hub_broker_addr(h->broker), broker, sizeof broker));
    if (tb_ctl_addr(h->ctl))
        json_object_set_new(o, "ctl",
                            json_string(tb_addr_str(tb_ctl_addr(h->ctl), ctl, sizeof ctl)));
    line = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    tb_info("hub", "ready mqtts=%s broker=%s", mqtts, broker);
    if (h->opt.common.ready_fd != UINT_MAX && tb_ready_tell((int)h->opt.common.ready_fd, line) < 0)
        tb_warn("hub", "nobody reads the ready descriptor");
    free(line);
}

static void on_broker_up(struct hub_broker *b, void *user) {
    struct hub *h = user;

    h->counters.broker_starts++;
    tell(h, "broker-up", json_pack("{s:i}", "pid", hub_broker_pid(b)));
    tell_ready(h);
}

static void on_broker_down(struct hub_broker *b, const char *why, void *user) {
    (void)b;
    tb_warn("broker", "down: %s", why);
    tell(user, "broker-down", json_pack("{s:s}", "reason", why));
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
    maybe_close_ctl(h);
}

static int api_publish(const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg, void *user) {
    struct hub *h = user;

    return h->broker ? hub_broker_publish(h->broker, topic, payload, retain, done, arg) : TB_ESTATE;
}

/* As a PUBLISH that came over MQTT is told. */
static void on_api_publish(const char *device, const char *topic, struct tb_span payload,
                           void *user) {
    json_t *o = json_pack("{s:s, s:s, s:i, s:b, s:I}", "device", device, "topic", topic, "qos", 1,
                          "retain", 0, "bytes", (json_int_t)payload.n);

    if (payload.n <= TB_MQTT_SCAN_MAX && tb_mqtt_utf8_ok(payload))
        json_object_set_new(o, "payload", text_of(payload));
    tell(user, "publish", o);
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

static void stop_front(void *arg) {
    struct hub *h = arg;

    h->stopping = true;
    hub_sessions_close(h->sessions);
    hub_front_close(h->front);
    h->front = NULL;
}

static void stop_broker(void *arg) {
    hub_broker_close(((struct hub *)arg)->broker);
}

static void stop_ctl(void *arg) {
    struct hub *h = arg;

    h->stopping = true;
    maybe_close_ctl(h);
}

static void stop_watch(void *arg) {
    struct hub *h = arg;

    uv_close((uv_handle_t *)&h->watch, NULL);
    tb_deadline_close(&h->recheck, NULL);
}

static void on_quit(void *arg) {
    tb_loop_stop(((struct hub *)arg)->loop, 0);
}

static int version_of(const char *text, const char *option, int *ret, struct tb_error *e) {
    if (strcmp(text, "1.2") == 0)
        *ret = TLS1_2_VERSION;
    else if (strcmp(text, "1.3") == 0)
        *ret = TLS1_3_VERSION;
    else
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--%s: 1.2 or 1.3 is wanted, not \"%s\"", option,
                            text);
    return 0;
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

static int start_front(struct hub *h, struct tb_error *e) {
    const struct hub_session_hooks hooks = {on_connect, on_publish, on_session_closed, h};
    struct hub_front_config cfg = {.groups = h->opt.groups,
                                   .ciphers = h->opt.ciphers,
                                   .cert_file = h->opt.cert,
                                   .key_file = h->opt.key,
                                   .keylog_file = h->opt.keylog,
                                   .resumption = h->opt.resumption,
                                   .deadline_ms = h->opt.deadline_ms,
                                   .max_connections = h->opt.max_connections,
                                   .registry = h->registry,
                                   .on_open = on_open,
                                   .on_refused = on_refused,
                                   .user = h};
    struct tb_addr at;
    int err;

    err = version_of(h->opt.tls_min, "tls-min", &cfg.min_version, e);
    if (err == 0)
        err = version_of(h->opt.tls_max, "tls-max", &cfg.max_version, e);
    if (err == 0 && cfg.min_version > cfg.max_version)
        err = tb_error_set(e, TB_ERANGE, NULL, 0,
                           "--tls-min is above --tls-max: nobody could connect");
    if (err == 0)
        err = tb_addr_parse(h->opt.mqtts, &at, e);
    if (err == 0)
        err = hub_front_open(tb_loop_uv(h->loop), &at, &cfg, &h->front, e);
    if (err < 0)
        return err;
    h->sessions = hub_sessions_new(tb_loop_uv(h->loop), &hooks);
    tb_loop_on_stop(h->loop, stop_front, h);
    return 0;
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
        err = start_front(h, e);
    return err < 0 ? err : start_broker(h, e);
}

void hub_done(struct hub *h) {
    hub_sessions_free(h->sessions);
    hub_registry_close(h->registry);
    if (h->lock_fd >= 0)
        close(h->lock_fd);
}
