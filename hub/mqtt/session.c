#include "mqtt/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt/alias.h"
#include "mqtt/filters.h"
#include "mqtt/interest.h"
#include "tb/hex.h"
#include "tb/log.h"

enum { BUCKETS = 4096, CONNECT_ROOM = TB_MQTT_CONNECT_MAX + TB_MQTT_HEAD_MAX };

struct hub_sessions {
    uv_loop_t *loop;
    struct hub_session_hooks hooks;
    struct hub_session_totals totals;
    struct hub_session *bucket[BUCKETS];
    unsigned count;
};

struct hub_session {
    struct hub_sessions *all;
    struct hub_session *next, **link; /* same bucket */
    struct hub_broker *broker;
    struct hub_tls *tls;  /* NULL when it has closed */
    struct tb_conn *conn; /* to the broker; NULL before and after */
    struct tb_connect *connecting;
    struct hub_peer peer;
    char identity[HUB_IDENTITY_TEXT];
    uint8_t *first; /* what arrived before the broker could take it: CONNECT, and what the device
                       sent behind it */
    size_t first_n, first_cap;
    size_t connect_n;               /* of that, the size of CONNECT; 0 before it is complete */
    struct tb_mqtt_connect connect; /* borrows from first */
    struct tb_mqtt_scan up, down;
    struct hub_filters filters; /* of the SUBSCRIBE that passes */
    struct hub_interest interest;
    struct hub_aliases *aliases; /* MQTT 5 topic aliases of the device; NULL before the first */
    const char *reason;          /* why it ends; NULL while it lives */
    unsigned broker_life;
    bool answered;     /* CONNACK has been sent to the device */
    bool said_goodbye; /* DISCONNECT seen */
    bool lost_broker;  /* the broker has ended the connection, for a reason of its own */
    bool reported;
    bool superseded; /* the same device has connected again */
};

static struct hub_session **bucket_of(struct hub_sessions *all, const char *device) {
    uint32_t h = 2166136261U; /* FNV-1a */

    for (; *device; device++)
        h = (h ^ (uint8_t)*device) * 16777619U;
    return &all->bucket[h % BUCKETS];
}

/* Out of the table, and the hub is told. What is left is to get rid of the handles. */
static void report_end(struct hub_session *s) {
    if (s->reported)
        return;
    s->reported = true;
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    s->all->count--;
    s->all->hooks.on_closed(s, s->reason ? s->reason : "error", s->all->hooks.user);
}

static void maybe_gone(struct hub_session *s) {
    if (s->tls || s->conn || s->connecting)
        return;
    if (s->lost_broker && hub_broker_lives(s->broker) != s->broker_life)
        s->reason = "broker-down";
    report_end(s);
    hub_aliases_free(s->aliases);
    free(s->first);
    free(s);
}

/* The first reason stays. To the device goes close_notify, to the broker what is queued for it.
 * Told at once, but when the broker has ended the connection: that the broker as a whole is gone
 * shows only a moment later. */
static void end(struct hub_session *s, const char *reason) {
    if (!s->reason)
        s->reason = reason;
    if (s->tls)
        hub_tls_close(s->tls);
    if (s->connecting)
        tb_conn_cancel(s->connecting);
    if (s->conn)
        tb_conn_finish(s->conn);
    if (!s->lost_broker)
        report_end(s);
}

/* A CONNACK of our own, then the end. */
static void refuse(struct hub_session *s, const struct tb_mqtt_connect *c, uint8_t level,
                   uint8_t code, const char *reason) {
    const struct tb_mqtt_connack ack = {.code = code};
    uint8_t bytes[16];
    struct tb_buf out = TB_BUF(bytes);

    if (code != 0) {
        tb_mqtt_put_connack(&out, level, &ack);
        hub_tls_write(s->tls, tb_buf_span(&out));
    }
    s->all->totals.connects_refused++;
    s->all->hooks.on_connect(s, c, code, s->all->hooks.user);
    end(s, reason);
}

/* The access rules of broker_config.c: devices/ID/#, and "#" includes the level above it (3.1.1:
 * 4.7.1.2). */
static bool is_own_topic(const struct hub_session *s, struct tb_span topic) {
    static const struct tb_span prefix = {(const uint8_t *)"devices/", 8};
    const struct tb_span id = tb_span_str(s->peer.cred.device);

    return tb_span_starts(topic, prefix) &&
           tb_span_starts(tb_span_sub(topic, prefix.n, SIZE_MAX), id) &&
           (topic.n == prefix.n + id.n || topic.p[prefix.n + id.n] == '/');
}

static void see_publish(struct hub_session *s, const struct tb_mqtt_seen *seen) {
    struct tb_mqtt_publish p;
    struct tb_span topic;
    bool denied;

    if (tb_mqtt_publish_parse(seen->body, seen->head.length, seen->head.flags, s->connect.level,
                              &p) < 0)
        return; /* malformed, which the broker punishes, or its topic is longer than what is kept */
    topic = p.topic;
    if (p.alias > 0)
        topic = hub_aliases_resolve(&s->aliases, p.alias, topic);
    denied = !is_own_topic(s, topic);
    (*(denied ? &s->all->totals.publishes_denied : &s->all->totals.publishes))++;
    s->all->hooks.on_publish(s, topic, &p, denied, s->all->hooks.user);
}

/* taken: what the scanner has just read. Of that, the body of the packet that it is in or has
 * finished, whose first `had` bytes were read so far, is at the end. */
static bool may_subscribe(struct hub_session *s, struct tb_span taken, uint32_t had) {
    if (taken.n > had)
        taken = tb_span_sub(taken, taken.n - had, SIZE_MAX);
    return hub_filters_feed(&s->filters, s->connect.level, s->peer.cred.device, taken);
}

/* Like tb_mqtt_scan_next(). TB_EPROTO: a shared subscription to another device's topics. */
static int next_up(struct hub_session *s, struct tb_span *rest, struct tb_mqtt_seen *ret) {
    struct tb_span before = *rest;
    int r = tb_mqtt_scan_next(&s->up, rest, ret);
    struct tb_span taken = tb_span_sub(before, 0, before.n - rest->n);
    bool ok = true;

    if (r > 0) {
        if (ret->head.type == TB_MQTT_SUBSCRIBE)
            ok = may_subscribe(s, taken, ret->head.length);
        s->filters = (struct hub_filters){0};
    } else if (r == 0 && s->up.in_body && s->up.cur.type == TB_MQTT_SUBSCRIBE) {
        ok = may_subscribe(s, taken, s->up.cur.length - s->up.left);
    }
    return ok ? r : TB_EPROTO;
}

static void see_interest(struct hub_session *s, const struct tb_mqtt_seen *seen) {
    char topic[HUB_DEVICE_MAX + 32];

    snprintf(topic, sizeof topic, "devices/%s/command", s->peer.cred.device);
    hub_interest_see(&s->interest, s->connect.level, topic, seen);
}

/* From the device, behind CONNECT. */
static void relay_up(struct hub_session *s, struct tb_span data) {
    struct tb_span rest = data;
    struct tb_mqtt_seen seen;
    int r;

    while ((r = next_up(s, &rest, &seen)) > 0) {
        if (seen.head.type == TB_MQTT_CONNECT) { /* 3.1: a second one is a protocol error */
            r = TB_EPROTO;
            break;
        }
        if (seen.head.type == TB_MQTT_PUBLISH)
            see_publish(s, &seen);
        else
            see_interest(s, &seen);
        s->said_goodbye = seen.head.type == TB_MQTT_DISCONNECT;
    }
    if (r < 0) {
        end(s, "protocol");
        return;
    }
    s->all->totals.bytes_up += data.n;
    if (tb_conn_write(s->conn, &data, 1) == 0)
        hub_tls_pause(s->tls);
}

static size_t relay_connack(struct hub_session *s, struct tb_span data) {
    struct tb_span in = data, body = TB_SPAN_NONE;
    struct tb_mqtt_head head;
    struct tb_mqtt_connack ack;
    uint8_t props[512], bytes[sizeof props + 16];
    struct tb_buf list = TB_BUF(props), out = TB_BUF(bytes);
    int r = tb_mqtt_take_head(&in, &head);

    if (r == 0 && head.length > sizeof props)
        r = TB_ERANGE;
    if (r == TB_EMORE || (r == 0 && !tb_take(&in, head.length, &body)))
        return 0;
    if (r < 0 || head.type != TB_MQTT_CONNACK ||
        tb_mqtt_connack_parse(body, s->connect.level, &ack) < 0) {
        end(s, "broker");
        return data.n;
    }
    /* A device that left its client id to us must be told it (5: 3.1.3.1). */
    tb_put(&list, ack.properties);
    if (s->connect.level == TB_MQTT_5 && ack.code == 0 && s->connect.client_id.n == 0)
        tb_mqtt_put_assigned_client_id(&list, tb_span_str(s->peer.cred.device));
    ack.properties = tb_buf_span(&list);
    tb_mqtt_put_connack(&out, s->connect.level, &ack);
    if (!tb_buf_ok(&list) || !tb_buf_ok(&out)) {
        end(s, "broker");
        return data.n;
    }
    s->answered = true;
    s->interest.resumed = ack.session_present;
    (*(ack.code == 0 ? &s->all->totals.connects : &s->all->totals.connects_refused))++;
    s->all->hooks.on_connect(s, &s->connect, ack.code, s->all->hooks.user);
    hub_tls_write(s->tls, tb_buf_span(&out));
    free(s->first); /* connect's spans have served */
    s->first = NULL;
    s->connect = (struct tb_mqtt_connect){.level = s->connect.level};
    return data.n - in.n;
}

static size_t on_broker_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct hub_session *s = user;
    struct tb_span rest = data;
    struct tb_mqtt_seen seen;
    int r;

    if (!s->tls || s->reason)
        return data.n;
    if (!s->answered) {
        size_t used = relay_connack(s, data);

        rest = tb_span_sub(data, used, SIZE_MAX);
        if (!s->answered || s->reason || rest.n == 0)
            return used;
    }
    s->all->totals.bytes_down += rest.n;
    if (hub_tls_write(s->tls, rest) == 0)
        tb_conn_pause(c);
    if (s->connect.level == TB_MQTT_5) { /* where a packet of ours may stand must be known */
        do
            r = tb_mqtt_scan_next(&s->down, &rest, &seen);
        while (r > 0);
    }
    return data.n;
}

static void on_broker_drain(struct tb_conn *c, void *user) {
    struct hub_session *s = user;

    (void)c;
    if (s->tls)
        hub_tls_resume(s->tls);
}

static void on_broker_closed(int why, void *user) {
    struct hub_session *s = user;

    (void)why;
    s->conn = NULL;
    if (!s->reason && s->superseded)
        s->all->totals.taken_over++;
    s->lost_broker = !s->reason && !s->said_goodbye && !s->superseded;
    end(s, s->said_goodbye ? "disconnect" : s->superseded ? "taken-over" : "broker");
    maybe_gone(s);
}

static const struct tb_conn_ops broker_ops = {
    .on_data = on_broker_data, .on_drain = on_broker_drain, .on_closed = on_broker_closed};

/* One device has one connection: the broker ends the older one, because the client id is the same.
 */
static void mark_older(struct hub_session *s) {
    for (struct hub_session *o = *bucket_of(s->all, s->peer.cred.device); o; o = o->next) {
        if (o != s && o->conn && strcmp(o->peer.cred.device, s->peer.cred.device) == 0)
            o->superseded = true;
    }
}

/* mosquitto denies everything to a user whose name has a wildcard in it, which an identity may. */
static void put_user_name(struct tb_buf *out, const char *identity) {
    for (const char *p = identity; *p; p++) {
        if (strchr("+#%", *p)) {
            tb_put(out, tb_span("%", 1));
            tb_put_hex(out, tb_span(p, 1), TB_HEX_UPPER);
        } else {
            tb_put(out, tb_span(p, 1));
        }
    }
}

static void on_broker_connected(int status, struct tb_conn *c, void *user) {
    struct hub_session *s = user;
    struct tb_mqtt_connect mine = s->connect;
    uint8_t name[3 * HUB_IDENTITY_TEXT];
    struct tb_buf user_name = TB_BUF(name), out;
    struct tb_span all;

    s->connecting = NULL;
    s->conn = c;
    if (status < 0 && s->tls && !s->reason) {
        refuse(s, &s->connect, mine.level,
               mine.level == TB_MQTT_5 ? TB_MQTT_5_UNAVAILABLE : TB_MQTT_3_UNAVAILABLE,
               "broker-down");
    } else if (status == 0 && s->reason) {
        tb_conn_close(c, 0);
    }
    if (status < 0 || s->reason) {
        maybe_gone(s);
        return;
    }
    mine.client_id = tb_span_str(s->peer.cred.device);
    mine.has_user = true;
    put_user_name(&user_name, s->identity);
    mine.user = tb_buf_span(&user_name);
    mine.has_password = false;
    mine.password = TB_SPAN_NONE;
    out.cap = tb_mqtt_connect_size(&mine);
    out = tb_buf(malloc(out.cap), out.cap);
    if (!out.p)
        abort();
    tb_mqtt_put_connect(&out, &mine);
    all = tb_buf_span(&out);
    mark_older(s);
    tb_conn_write(c, &all, 1);
    free(out.p);
    hub_tls_settled(s->tls);
    if (s->first_n > s->connect_n)
        relay_up(s, tb_span(s->first + s->connect_n, s->first_n - s->connect_n));
    if (s->tls && !s->reason)
        hub_tls_resume(s->tls);
}

static void dial_broker(struct hub_session *s) {
    int err;

    s->broker_life = hub_broker_lives(s->broker);
    err = hub_broker_is_up(s->broker)
              ? tb_conn_connect(s->all->loop, hub_broker_addr(s->broker), &broker_ops, s,
                                on_broker_connected, &s->connecting)
              : TB_ESTATE;

    if (err < 0)
        refuse(s, &s->connect, s->connect.level,
               s->connect.level == TB_MQTT_5 ? TB_MQTT_5_UNAVAILABLE : TB_MQTT_3_UNAVAILABLE,
               "broker-down");
    else
        hub_tls_pause(s->tls);
}

/* Keeps what a device says before the broker is there. More than a CONNECT's worth behind a
 * complete CONNECT cannot come: reading is paused then. */
static bool keep(struct hub_session *s, struct tb_span data) {
    if (s->first_cap - s->first_n < data.n) {
        size_t cap = s->first_n + data.n < 512 ? 512 : 2 * (s->first_n + data.n);
        uint8_t *grown = realloc(s->first, cap);

        if (!grown)
            abort();
        s->first = grown;
        s->first_cap = cap;
    }
    memcpy(s->first + s->first_n, data.p, data.n);
    s->first_n += data.n;
    return s->first_n <= CONNECT_ROOM + (128 << 10);
}

static void await_connect(struct hub_session *s, struct tb_span data) {
    struct tb_mqtt_refusal refusal;
    int r;

    if (!keep(s, data)) {
        end(s, "protocol");
        return;
    }
    if (s->connect_n > 0)
        return; /* arrived with the same record */
    r = tb_mqtt_connect_parse(tb_span(s->first, s->first_n), &s->connect, &refusal);
    if (r == TB_EMORE)
        return;
    if (r < 0) {
        tb_info("mqtt", "CONNECT refused device=%s cause=\"%s\"", s->peer.cred.device,
                tb_strerror(r));
        refuse(s, &s->connect, refusal.level, refusal.code, "protocol");
        return;
    }
    s->connect_n = (size_t)r;
    dial_broker(s);
}

static void on_tls_data(struct hub_tls *t, struct tb_span plain, void *user) {
    struct hub_session *s = user;

    (void)t;
    if (s->reason)
        return;
    if (s->conn)
        relay_up(s, plain);
    else
        await_connect(s, plain);
}

static void on_tls_drain(struct hub_tls *t, void *user) {
    struct hub_session *s = user;

    (void)t;
    if (s->conn)
        tb_conn_resume(s->conn);
}

static void on_tls_closed(int why, void *user) {
    struct hub_session *s = user;

    s->tls = NULL;
    end(s, s->said_goodbye      ? "disconnect"
           : why == TB_ETIMEOUT ? "timeout"
           : why == TB_EPROTO   ? "protocol"
                                : "device");
    maybe_gone(s);
}

static const struct hub_tls_ops tls_ops = {on_tls_data, on_tls_drain, on_tls_closed};

struct hub_sessions *hub_sessions_new(uv_loop_t *loop, const struct hub_session_hooks *hooks) {
    struct hub_sessions *all = calloc(1, sizeof *all);

    if (!all)
        abort();
    all->loop = loop;
    all->hooks = *hooks;
    return all;
}

void hub_sessions_free(struct hub_sessions *all) {
    free(all);
}

void hub_session_start(struct hub_sessions *all, struct hub_tls *tls, const struct hub_peer *peer,
                       struct hub_broker *broker) {
    struct hub_session *s = calloc(1, sizeof *s);
    struct hub_session **head = bucket_of(all, peer->cred.device);

    if (!s)
        abort();
    s->all = all;
    s->tls = tls;
    s->peer = *peer;
    s->broker = broker;
    hub_credential_identity(&peer->cred, s->identity);
    s->next = *head;
    s->link = head;
    if (s->next)
        s->next->link = &s->next;
    *head = s;
    all->count++;
    hub_tls_set_ops(tls, &tls_ops, s);
}

const char *hub_session_device(const struct hub_session *s) {
    return s->peer.cred.device;
}

const char *hub_session_identity(const struct hub_session *s) {
    return s->identity;
}

const struct hub_peer *hub_session_peer(const struct hub_session *s) {
    return &s->peer;
}

bool hub_session_is_connected(const struct hub_session *s) {
    return s->answered && !s->reason;
}

bool hub_sessions_want_commands(struct hub_sessions *all, const char *device) {
    for (const struct hub_session *s = *bucket_of(all, device); s; s = s->next) {
        if (hub_session_is_connected(s) && strcmp(s->peer.cred.device, device) == 0 &&
            hub_interest_is(&s->interest))
            return true;
    }
    return false;
}

static void kick(struct hub_session *s, const char *reason, uint8_t code) {
    uint8_t bytes[8];
    struct tb_buf out = TB_BUF(bytes);

    if (s->tls && s->answered && s->connect.level == TB_MQTT_5 && tb_mqtt_scan_between(&s->down)) {
        tb_mqtt_put_disconnect(&out, TB_MQTT_5, code);
        hub_tls_write(s->tls, tb_buf_span(&out));
    }
    end(s, reason);
}

unsigned hub_sessions_kick(struct hub_sessions *all, hub_session_fn *fn, void *user) {
    unsigned count = 0;

    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct hub_session *s = all->bucket[i], *next; s; s = next) {
            const char *reason = "kicked";

            next = s->next; /* who ends leaves the table */
            if (s->reason || !fn(s, &reason, user))
                continue;
            kick(s, reason, TB_MQTT_5_ADMINISTRATIVE);
            all->totals.kicked++;
            count++;
        }
    }
    return count;
}

void hub_sessions_close(struct hub_sessions *all) {
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct hub_session *s = all->bucket[i], *next; s; s = next) {
            next = s->next;
            if (!s->reason)
                kick(s, "shutdown", TB_MQTT_5_SHUTTING_DOWN);
            s->lost_broker = false; /* it may be gone before the session is */
            report_end(s);
        }
    }
}

unsigned hub_sessions_count(const struct hub_sessions *all) {
    return all->count;
}

const struct hub_session_totals *hub_sessions_totals(const struct hub_sessions *all) {
    return &all->totals;
}
