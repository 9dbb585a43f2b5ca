/* The control verbs. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "app/hub.h"
#include "coap/coap.h"
#include "tb/hex.h"
#include "tb/log.h"

static const char *text_member(const json_t *request, const char *key) {
    return json_string_value(json_object_get(request, key));
}

static int wanted(struct tb_error *e, const char *what) {
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s", what);
}

json_t *hub_json_credential(const struct hub_credential *c) {
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:o}", "kind", hub_cred_kind_name(c->kind), "device",
                  c->device, "iccid", c->iccid, "state", hub_cred_state_name(c->state),
                  "fingerprint", hub_json_hex(c->fp, HUB_FP_SIZE));
    json_t *more = c->kind == HUB_CRED_PSK
                       ? json_pack("{s:s}", "identity", c->psk_identity)
                       : json_pack("{s:o, s:s, s:s, s:I, s:I}", "spki",
                                   hub_json_hex(c->spki_hash, HUB_FP_SIZE), "subject", c->subject,
                                   "issuer", c->issuer, "not_before", (json_int_t)c->not_before,
                                   "not_after", (json_int_t)c->not_after);

    json_object_update(o, more);
    json_decref(more);
    return o;
}

static int running(const struct hub *h, struct tb_error *e) {
    return h->stopping || !h->broker
               ? tb_error_set(e, TB_ESTATE, NULL, 0, "the hub is starting or stopping")
               : 0;
}

static int verb_state(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct hub *h = user;
    char text[300];

    (void)call, (void)request;
    if (running(h, e) < 0)
        return TB_ESTATE;
    hub_json_addresses(h, reply);
    json_object_set_new(reply, "listeners", hub_json_listeners(h));
    json_object_set_new(reply, "broker",
                        json_string(tb_addr_str(hub_broker_addr(h->broker), text, sizeof text)));
    json_object_set_new(reply, "broker_up", json_boolean(hub_broker_is_up(h->broker)));
    json_object_set_new(reply, "broker_pid", json_integer(hub_broker_pid(h->broker)));
    json_object_set_new(reply, "state", json_string(h->opt.state));
    json_object_set_new(reply, "connections", json_integer(hub_connections(h)));
    json_object_set_new(reply, "sessions", json_integer(hub_live_sessions(h)));
    return 0;
}

static json_t *cpu_us(void) {
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return json_integer((u.ru_utime.tv_sec + u.ru_stime.tv_sec) * (json_int_t)1000000 +
                        u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct sums {
    uint64_t version[HUB_VERSIONS], kind[HUB_KINDS_SHOWN], resumed, us, us_max;
    uint64_t refused[HUB_VERDICTS];
};

static void add_tally(struct sums *s, const struct hub_tally *t) {
    for (unsigned v = 0; v < HUB_VERSIONS; v++) {
        for (unsigned k = 0; k < HUB_KINDS_SHOWN; k++) {
            const uint64_t both = t->handshakes[v][k][0] + t->handshakes[v][k][1];

            s->version[v] += both;
            s->kind[k] += both;
            s->resumed += t->handshakes[v][k][1];
        }
    }
    s->us += t->us;
    if (t->us_max > s->us_max)
        s->us_max = t->us_max;
    for (unsigned v = 0; v < HUB_VERDICTS; v++)
        s->refused[v] += t->refused[v];
}

static json_t *json_sums(const struct sums *s) {
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I}", "x509", (json_int_t)s->kind[0], "psk",
                          (json_int_t)s->kind[1], "resumed", (json_int_t)s->resumed, "us",
                          (json_int_t)s->us, "us_max", (json_int_t)s->us_max);
    json_t *refused = json_object();

    for (unsigned v = 0; v < HUB_VERSIONS; v++)
        json_object_set_new(o, hub_version_name(v), json_integer((json_int_t)s->version[v]));
    for (unsigned v = HUB_ACCEPTED + 1; v < HUB_VERDICTS; v++)
        json_object_set_new(refused, hub_verdict_name(v), json_integer((json_int_t)s->refused[v]));
    json_object_set_new(o, "refused", refused);
    return o;
}

static int verb_counters(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                         struct tb_error *e, void *user) {
    struct hub *h = user;
    const struct hub_session_totals *t;
    json_t *by_listener;
    struct sums sums = {0};

    (void)call, (void)request;
    if (running(h, e) < 0)
        return TB_ESTATE;
    by_listener = json_object();
    t = hub_sessions_totals(h->sessions);
    for (size_t i = 0; i < h->listener_count; i++) {
        struct sums one = {0};

        add_tally(&one, &h->listeners[i].tally);
        add_tally(&sums, &h->listeners[i].tally);
        json_object_set_new(by_listener, h->listeners[i].name, json_sums(&one));
    }
    json_object_set_new(reply, "handshakes", json_sums(&sums));
    json_object_set_new(reply, "listeners", by_listener);
    json_object_set_new(
        reply, "mqtt",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "connects", (json_int_t)t->connects,
                  "connects_refused", (json_int_t)t->connects_refused, "publishes",
                  (json_int_t)t->publishes, "publishes_denied", (json_int_t)t->publishes_denied,
                  "taken_over", (json_int_t)t->taken_over, "kicked", (json_int_t)t->kicked,
                  "bytes_up", (json_int_t)t->bytes_up, "bytes_down", (json_int_t)t->bytes_down));
    json_object_set_new(reply, "connections", json_integer(hub_connections(h)));
    json_object_set_new(reply, "sessions", json_integer(hub_live_sessions(h)));
    json_object_set_new(reply, "broker_starts", json_integer((json_int_t)h->broker_starts));
    json_object_set_new(reply, "cpu_us", cpu_us());
    return 0;
}

/* A reply of unbounded size helps nobody: long lists are read with the command line tool. */
enum { LIST_MAX = 1000 };

static int add_credential(const struct hub_credential *c, void *user) {
    json_array_append_new(user, hub_json_credential(c));
    return json_array_size(user) >= LIST_MAX;
}

static const char *which_of(const json_t *request) {
    static const char *const keys[] = {"device", "fingerprint", "iccid", "identity"};
    const char *which = NULL;

    for (size_t i = 0; i < sizeof keys / sizeof *keys && !which; i++)
        which = text_member(request, keys[i]);
    return which;
}

static int verb_credentials(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                            struct tb_error *e, void *user) {
    struct hub *h = user;
    json_t *list = json_array();
    int err;

    (void)call;
    json_object_set_new(reply, "credentials", list);
    err = hub_registry_each(h->registry, which_of(request), add_credential, list);
    json_object_set_new(reply, "cut", json_boolean(json_array_size(list) >= LIST_MAX));
    return err < 0
               ? tb_error_set(e, err, NULL, 0, "the registry cannot be read: %s", tb_strerror(err))
               : 0;
}

static int add_certificate(struct hub *h, const json_t *request, const char *device, bool *ret,
                           struct tb_error *e) {
    const char *pem = text_member(request, "certificate");
    BIO *b = pem ? BIO_new_mem_buf(pem, -1) : NULL;
    X509 *cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    int err;

    BIO_free(b);
    if (!cert)
        return wanted(e, "\"certificate\" is not a certificate in PEM");
    err = hub_registry_add(h->registry, device, text_member(request, "iccid"),
                           text_member(request, "imsi"), cert, "ctl", ret, e);
    X509_free(cert);
    return err;
}

static int add_psk(struct hub *h, const json_t *request, const char *device, bool *ret,
                   struct tb_error *e) {
    const char *hex = text_member(request, "secret");
    uint8_t secret[HUB_PSK_MAX];
    struct tb_buf out = TB_BUF(secret);
    int err;

    if (!hex || tb_hex_decode_loose(tb_span_str(hex), &out) < 0)
        return wanted(e, "\"secret\": 1 to 64 bytes in hex are wanted");
    err = hub_registry_add_psk(h->registry, device, text_member(request, "iccid"),
                               text_member(request, "imsi"), text_member(request, "identity"),
                               tb_buf_span(&out), "ctl", ret, e);
    tb_wipe(secret, sizeof secret);
    return err;
}

static int verb_add(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                    struct tb_error *e, void *user) {
    const char *device = text_member(request, "device");
    const char *identity = text_member(request, "identity");
    bool added = false;
    int err;

    (void)call;
    if (!device)
        device = text_member(request, "iccid");
    if (!device)
        device = identity;
    if (!device || !identity == !json_object_get(request, "certificate"))
        return wanted(e, "\"certificate\" (PEM), or \"identity\" and \"secret\" (hex) of a "
                         "pre-shared key, and \"device\" or \"iccid\" are wanted");
    err = identity ? add_psk(user, request, device, &added, e)
                   : add_certificate(user, request, device, &added, e);
    if (err < 0)
        return err;
    json_object_set_new(reply, "device", json_string(device));
    json_object_set_new(reply, "added", json_boolean(added));
    return 0;
}

static int verb_import(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    struct hub *h = user;
    const char *file = text_member(request, "file");
    struct hub_import_report report;
    json_error_t why;
    json_t *batch = NULL;
    int err;

    (void)call;
    if (file && !(batch = json_load_file(file, 0, &why)))
        return tb_error_set(e, TB_EPARSE, file, why.line, "%s", why.text);
    err = hub_registry_import(h->registry, batch ? batch : request, file, "ctl", &report, e);
    json_decref(batch);
    if (err < 0)
        return err;
    json_object_set_new(reply, "cards", json_integer(report.cards));
    json_object_set_new(reply, "added", json_integer(report.added));
    json_object_set_new(reply, "unchanged", json_integer(report.unchanged));
    json_object_set_new(reply, "untrusted", json_integer(report.untrusted));
    json_object_set_new(reply, "skipped", json_integer(report.skipped));
    return 0;
}

struct change {
    enum hub_cred_state to;
    struct hub_credential *list;
    size_t n, cap, named;
};

static int collect(const struct hub_credential *c, void *user) {
    struct change *ch = user;

    ch->named++;
    if (!hub_cred_may_go(c->state, ch->to))
        return 0;
    if (ch->n == ch->cap) {
        ch->cap = ch->cap ? 2 * ch->cap : 4;
        ch->list = realloc(ch->list, ch->cap * sizeof *ch->list);
        if (!ch->list)
            abort();
    }
    ch->list[ch->n++] = *c;
    return 0;
}

int hub_change_state(struct hub *h, struct hub_registry *r, const char *which,
                     enum hub_cred_state to, const char *actor, const char *cause,
                     unsigned *ret_kicked, struct tb_error *e) {
    struct change ch = {.to = to};
    int err = hub_registry_each(r, which, collect, &ch);
    size_t i;

    if (err < 0)
        err = tb_error_set(e, err, NULL, 0, "the registry cannot be read: %s", tb_strerror(err));
    else if (ch.named == 0)
        err = tb_error_set(e, TB_ENOTFOUND, NULL, 0, "no credential of %s is known", which);
    else if (ch.n == 0)
        err = tb_error_set(e, TB_ESTATE, NULL, 0, "no credential of %s can become %s", which,
                           hub_cred_state_name(to));
    for (i = 0; i < ch.n && err >= 0; i++) {
        err = hub_registry_transition(r, &ch.list[i], to, actor, cause, e);
        if (err < 0 || !h)
            continue;
        ch.list[i].state = to;
        tb_ctl_event(h->ctl, "credential", hub_json_credential(&ch.list[i]));
    }
    free(ch.list);
    if (h)
        *ret_kicked = hub_recheck(h);
    return err < 0 ? err : (int)ch.n;
}

static int change(struct hub *h, const json_t *request, json_t *reply, enum hub_cred_state to,
                  struct tb_error *e) {
    const char *which = which_of(request), *reason = text_member(request, "reason");
    unsigned kicked = 0;
    int n;

    if (running(h, e) < 0)
        return TB_ESTATE;
    if (!which)
        return wanted(e, "\"device\", \"fingerprint\", \"iccid\" or \"identity\" is wanted");
    n = hub_change_state(h, h->registry, which, to, "ctl", reason ? reason : "operator", &kicked,
                         e);
    if (n < 0)
        return n;
    json_object_set_new(reply, "changed", json_integer(n));
    json_object_set_new(reply, "kicked", json_integer(kicked));
    return 0;
}

static int verb_revoke(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    (void)call;
    return change(user, request, reply, HUB_CRED_REVOKED, e);
}

static int verb_suspend(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    (void)call;
    return change(user, request, reply, HUB_CRED_SUSPENDED, e);
}

static int verb_resume(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    (void)call;
    return change(user, request, reply, HUB_CRED_ACTIVE, e);
}

/* One session of any protocol; is_connected: what the protocol says beyond TLS. */
void hub_json_add_session(json_t *list, const struct hub_peer *p, const char *protocol,
                          bool is_connected) {
    char identity[HUB_IDENTITY_TEXT];

    if (json_array_size(list) < LIST_MAX)
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:b, s:b}", "listener", p->listener,
                      "protocol", protocol, "kind", hub_kind_shown(&p->cred), "device",
                      p->cred.device, "identity", hub_credential_identity(&p->cred, identity),
                      "fingerprint", hub_json_hex(p->cred.fp, HUB_FP_SIZE), "version", p->version,
                      "cipher", p->cipher, "resumed", p->resumed, "connected", is_connected));
}

static bool list_mqtt(const struct hub_session *s, const char **ret_reason, void *user) {
    (void)ret_reason;
    hub_json_add_session(user, hub_session_peer(s), "mqtt", hub_session_is_connected(s));
    return false;
}

static bool list_http(const struct hub_peer *peer, const char **ret_reason, void *user) {
    (void)ret_reason;
    hub_json_add_session(user, peer, "http", true);
    return false;
}

static bool list_coap(const struct hub_peer *peer, const char **ret_reason, void *user) {
    (void)ret_reason;
    hub_json_add_session(user, peer, "coap", true);
    return false;
}

static int verb_sessions(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                         struct tb_error *e, void *user) {
    struct hub *h = user;
    json_t *list = json_array();

    (void)call, (void)request;
    if (running(h, e) < 0) {
        json_decref(list);
        return TB_ESTATE;
    }
    json_object_set_new(reply, "count", json_integer(hub_live_sessions(h)));
    json_object_set_new(reply, "sessions", list);
    hub_sessions_kick(h->sessions, list_mqtt, list);
    if (h->http)
        hub_http_kick(h->http, list_http, list);
    for (size_t i = 0; i < h->listener_count; i++) {
        if (h->listeners[i].coap)
            hub_coap_kick(h->listeners[i].coap, list_coap, list);
    }
    return 0;
}

struct publishing {
    struct tb_ctl_call *call;
    bool own;        /* a topic that the hub itself subscribes: the broker's word says nothing */
    bool subscribed; /* then by the device, over MQTT or at the device API */
};

static void on_published(int result, void *arg) {
    struct publishing *p = arg;

    if (result < 0)
        tb_ctl_reply(p->call, NULL, result, "the broker did not take the message");
    else
        tb_ctl_reply(p->call, json_pack("{s:b}", "subscribed", p->own ? p->subscribed : result), 0,
                     NULL);
    free(p);
}

/* To the broker and, what the broker does not tell us because it is from us, to the device API. */
static int publish(struct hub *h, const char *topic, struct tb_span payload, bool retain,
                   struct tb_ctl_call *call) {
    struct publishing *p = malloc(sizeof *p);
    char device[HUB_DEVICE_MAX + 1];
    int err;

    if (!p)
        abort();
    *p = (struct publishing){call, false, false};
    err = hub_broker_publish(h->broker, topic, payload, retain, on_published, p);
    if (err < 0) {
        free(p);
        return err;
    }
    p->own = hub_api_device_of(tb_span_str(topic), device);
    if (p->own)
        p->subscribed = hub_api_message(h->api, tb_span_str(topic), payload, retain) ||
                        hub_sessions_want_commands(h->sessions, device);
    return 0;
}

static int verb_publish(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct hub *h = user;
    const char *topic = text_member(request, "topic"), *device = text_member(request, "device");
    const json_t *payload = json_object_get(request, "payload");
    char own[HUB_DEVICE_MAX + 32];
    int err;

    (void)reply;
    if (running(h, e) < 0)
        return TB_ESTATE;
    if (!topic && device && hub_device_id_ok(device)) {
        snprintf(own, sizeof own, "devices/%s/command", device);
        topic = own;
    }
    if (!topic || !*topic || strlen(topic) > UINT16_MAX || strpbrk(topic, "+#") ||
        !json_is_string(payload))
        return wanted(
            e, "\"device\", or \"topic\" without wildcards, and \"payload\" (text) are wanted");
    err = publish(h, topic, tb_span(json_string_value(payload), json_string_length(payload)),
                  json_is_true(json_object_get(request, "retain")), call);
    if (err == TB_ESTATE)
        return tb_error_set(e, err, NULL, 0, "the broker is down");
    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "too large, or too many messages are under way");
    return TB_CTL_LATER;
}

/* What the device API has as /state, from the other side. */
static int verb_document(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                         struct tb_error *e, void *user) {
    struct hub *h = user;
    const char *device = text_member(request, "device"),
               *type = text_member(request, "content_type");
    const json_t *payload = json_object_get(request, "payload");
    struct hub_api_answer a;

    (void)call;
    if (running(h, e) < 0)
        return TB_ESTATE;
    if (!device || !hub_device_id_ok(device) || (payload && !json_is_string(payload)))
        return wanted(e, "\"device\" is wanted, and \"payload\" (text) to change it");
    if (payload &&
        hub_api_set_state(h->api, device, type ? type : "text/plain",
                          tb_span(json_string_value(payload), json_string_length(payload))) < 0)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "above 64 KiB, or no room for more");
    if (!hub_api_state(h->api, device, &a))
        return tb_error_set(e, TB_ENOTFOUND, NULL, 0, "there is none of %s", device);
    json_object_set_new(reply, "content_type", json_string(a.content_type));
    json_object_set_new(reply, "bytes", json_integer((json_int_t)a.body.n));
    if (tb_mqtt_utf8_ok(a.body))
        json_object_set_new(reply, "payload",
                            json_stringn_nocheck((const char *)a.body.p, a.body.n));
    return 0;
}

static int verb_reload(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    (void)call, (void)request;
    if (running(user, e) < 0)
        return TB_ESTATE;
    json_object_set_new(reply, "kicked", json_integer(hub_recheck(user)));
    return 0;
}

static int verb_clock(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    const json_t *offset = json_object_get(request, "offset_ms");

    (void)call;
    if (running(user, e) < 0)
        return TB_ESTATE;
    if (!json_is_integer(offset))
        return wanted(e, "\"offset_ms\" is wanted");
    tb_clock_set_offset_ms(json_integer_value(offset));
    json_object_set_new(reply, "now_ms", json_integer(tb_clock_wall_ms()));
    json_object_set_new(reply, "kicked", json_integer(hub_recheck(user)));
    return 0;
}

const struct tb_ctl_verb hub_verbs[] = {
    {"state", "addresses, broker, how many connections", verb_state},
    {"counters", "handshakes by version and cause of refusal, MQTT traffic, CPU time",
     verb_counters},
    {"credentials", "[device|iccid|fingerprint|identity]: what the registry knows",
     verb_credentials},
    {"add",
     "certificate (PEM), or identity and secret (hex); device and/or iccid, [imsi]: one credential",
     verb_add},
    {"import", "file, or cards as in that file: a batch, all or nothing", verb_import},
    {"revoke", "device|iccid|fingerprint|identity, [reason]: for ever; live sessions end",
     verb_revoke},
    {"suspend", "device|iccid|fingerprint|identity, [reason]: until \"resume\"; live sessions end",
     verb_suspend},
    {"resume", "device|iccid|fingerprint|identity: a suspended credential is active again",
     verb_resume},
    {"sessions", "who is connected", verb_sessions},
    {"publish", "device or topic, payload, [retain]: to a device; says whether somebody subscribes",
     verb_publish},
    {"document", "device, [payload, content_type]: what the device API keeps as its /state",
     verb_document},
    {"reload", "look at registry and CAs again now", verb_reload},
    {"clock", "offset_ms: move this program's clock", verb_clock},
    {NULL, NULL, NULL},
};
