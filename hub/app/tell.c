/* Events, the ready line, and the figures that go with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/hub.h"
#include "tb/child.h"
#include "tb/hex.h"
#include "tb/log.h"

json_t *hub_json_hex(const uint8_t *p, size_t n) {
    char text[2 * HUB_FP_SIZE];
    struct tb_buf out = tb_buf(text, sizeof text);

    tb_put_hex(&out, tb_span(p, n), TB_HEX_LOWER);
    return json_stringn(text, out.n);
}

static json_t *text_of(struct tb_span s) {
    return json_stringn_nocheck((const char *)s.p, s.n);
}

void hub_tell(struct hub *h, const char *event, json_t *members) {
    tb_ctl_event(h->ctl, event, members);
}

/* For people: where everything is. */
static void log_listeners(const json_t *listeners) {
    const json_t *l;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)listeners, i, l) {
        const char *tls = json_string_value(json_object_get(l, "tls"));

        tb_info("hub", "listening name=%s at=%s kind=%s%s%s",
                json_string_value(json_object_get(l, "name")),
                json_string_value(json_object_get(l, "at")),
                json_string_value(json_object_get(l, "kind")), tls ? " tls=" : "", tls ? tls : "");
    }
}

void hub_tell_ready(struct hub *h) {
    char ctl[300], broker[300], *line;
    json_t *o;

    if (h->ready)
        return;
    h->ready = true;
    o = json_pack("{s:s}", "broker",
                  tb_addr_str(hub_broker_addr(h->broker), broker, sizeof broker));
    hub_json_addresses(h, o);
    if (tb_ctl_addr(h->ctl))
        json_object_set_new(o, "ctl",
                            json_string(tb_addr_str(tb_ctl_addr(h->ctl), ctl, sizeof ctl)));
    json_object_set_new(o, "listeners", hub_json_listeners(h));
    line = json_dumps(o, JSON_COMPACT);
    log_listeners(json_object_get(o, "listeners"));
    json_decref(o);
    tb_info("hub", "ready broker=%s", broker);
    if (h->opt.common.ready_fd != UINT_MAX && tb_ready_tell((int)h->opt.common.ready_fd, line) < 0)
        tb_warn("hub", "nobody reads the ready descriptor");
    free(line);
}

static void count(struct hub_tally *t, const struct hub_peer *peer) {
    const enum hub_version v = hub_version_of(peer->version);
    const unsigned kind = peer->cred.id == 0 ? 2 : peer->cred.kind;
    unsigned i = 0;

    t->handshakes[v][kind][peer->resumed]++;
    t->us += peer->handshake_us;
    if (peer->handshake_us > t->us_max)
        t->us_max = peer->handshake_us;
    while (i < HUB_TIME_BUCKETS && peer->handshake_us > hub_time_bucket_us[i])
        i++;
    if (i < HUB_TIME_BUCKETS)
        t->faster[i]++;
}

/* Of somebody the registry does not know, what was shown. */
static void add_credential(json_t *o, const struct hub_credential *c) {
    static const uint8_t none[HUB_FP_SIZE];
    char identity[HUB_IDENTITY_TEXT];

    if (memcmp(c->fp, none, sizeof none) != 0)
        json_object_set_new(o, "fingerprint", hub_json_hex(c->fp, HUB_FP_SIZE));
    if (c->kind == HUB_CRED_PSK) {
        if (*c->psk_identity)
            json_object_set_new(o, "identity", json_string(hub_credential_identity(c, identity)));
    } else if (json_object_get(o, "fingerprint")) {
        json_object_set_new(o, "subject", json_string(c->subject));
        json_object_set_new(o, "issuer", json_string(c->issuer));
    }
}

void hub_tell_session(struct hub_listener *l, const struct hub_peer *peer, const char *protocol) {
    const struct hub_credential *c = &peer->cred;
    char identity[HUB_IDENTITY_TEXT];
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I}", "listener", l->name,
                          "protocol", protocol, "kind", hub_kind_shown(c), "device", c->device,
                          "identity", hub_credential_identity(c, identity), "version",
                          peer->version, "cipher", peer->cipher, "resumed", peer->resumed,
                          "handshake_us", (json_int_t)peer->handshake_us);

    count(&l->tally, peer);
    add_credential(o, c);
    if (c->id != 0 && c->kind == HUB_CRED_X509)
        json_object_set_new(o, "spki", hub_json_hex(c->spki_hash, HUB_FP_SIZE));
    hub_tell(l->hub, "session", o);
    hub_notice_changes(l->hub);
}

void hub_tell_refused(struct hub_listener *l, enum hub_verdict v, const struct hub_peer *peer) {
    const char *device = peer->cred.device;
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "listener", l->name, "reason",
                          hub_verdict_name(v), "version", peer->version, "detail", peer->detail);

    l->tally.refused[v]++;
    json_object_set_new(o, "alert", peer->alert >= 0 ? json_integer(peer->alert) : json_null());
    add_credential(o, &peer->cred);
    if (json_object_get(o, "fingerprint"))
        json_object_set_new(o, "resumed", json_boolean(peer->resumed));
    if (*device)
        json_object_set_new(o, "device", json_string(device));
    tb_info("tls", "refused listener=%s reason=%s alert=%d device=%s detail=\"%s\"", l->name,
            hub_verdict_name(v), peer->alert, *device ? device : "-", peer->detail);
    hub_tell(l->hub, "refused", o);
    hub_notice_changes(l->hub);
}

void hub_tell_closed(struct hub *h, const char *device, const char *reason) {
    hub_tell(h, "closed", json_pack("{s:s, s:s}", "device", device, "reason", reason));
    hub_maybe_close_ctl(h);
}

static void on_connect(const struct hub_session *s, const struct tb_mqtt_connect *c, unsigned code,
                       void *user) {
    json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:i, s:b}", "device", hub_session_device(s),
                          "identity", hub_session_identity(s), "code", (int)code, "level", c->level,
                          "keep_alive", c->keep_alive, "clean", c->clean);

    json_object_set_new(o, "client_id", text_of(c->client_id));
    hub_tell(user, "connect", o);
}

/* The payload is told only when it was seen whole and is text. */
static void on_publish(const struct hub_session *s, struct tb_span topic,
                       const struct tb_mqtt_publish *p, bool denied, void *user) {
    json_t *o = json_pack("{s:s, s:i, s:b, s:I}", "device", hub_session_device(s), "qos", p->qos,
                          "retain", p->retain, "bytes", (json_int_t)p->payload_size);

    json_object_set_new(o, "topic", text_of(topic));
    if (p->payload.n == p->payload_size && tb_mqtt_utf8_ok(p->payload))
        json_object_set_new(o, "payload", text_of(p->payload));
    hub_tell(user, denied ? "publish-denied" : "publish", o);
}

static void on_closed(const struct hub_session *s, const char *reason, void *user) {
    hub_tell_closed(user, hub_session_device(s), reason);
}

const struct hub_session_hooks hub_session_hooks = {on_connect, on_publish, on_closed, NULL};
