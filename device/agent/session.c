#include "session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bridge.h"
#include "tb/hex.h"
#include "tb/log.h"
#include "tb/loop.h"

enum { STOP_MS = 2000, RELEASE_MS = 1000, REFUSAL_MS = 500 };

struct source { /* where a certificate or key is */
    bool in_card;
    struct iotsafe_ref ref;
    const char *file; /* not in the card */
    uint8_t *der;     /* in the card: what was read, NULL before */
    size_t der_n;
};

struct dev_session {
    uv_loop_t *loop;
    struct dev_session_config cfg;
    struct dev_card *card;
    const struct dev_session_ops *ops;
    void *user;
    char server_name[256];
    struct source ca, cert, key;
    struct dev_tls *tls;     /* NULL: to be made */
    struct dev_card_use use; /* of this attempt, without the channel's */
    struct dev_mqtt *mqtt;
    struct dev_task task;
    const char *state;
    bool running, stopping, closing;
    bool again;      /* start anew once the old session has ended */
    bool failed;     /* the last attempt, and not because it was stopped */
    bool mqtt_up;    /* CONNACK came in this attempt */
    bool mqtt_ended; /* paho has given up, or said goodbye */
    int mqtt_code;   /* CONNACK's return code when it refused */
    char mqtt_why[200];
    unsigned retries;
    unsigned long long sessions, failures, reconnects, received;
    /* of this attempt */
    struct iotsafe_stats shaken; /* what the card was asked for it */
    uint64_t handshake_us;
    struct dev_channel_info info;
    void (*closed)(void *user);
};

/* ---- configuration ---- */

/* "card:01", "card:label=my cert", or a file name. */
static int parse_source(const char *text, struct source *ret, const char *what,
                        struct tb_error *e) {
    struct tb_buf id = TB_BUF(ret->ref.id), label = TB_BUF(ret->ref.label);

    if (strncmp(text, "card:", 5) != 0) {
        ret->file = text;
        return 0;
    }
    text += 5;
    ret->in_card = true;
    if (strncmp(text, "label=", 6) == 0) {
        tb_put(&label, tb_span_str(text + 6));
        ret->ref.label_len = (uint8_t)label.n;
        if (tb_buf_ok(&label) && label.n)
            return 0;
    } else if (tb_hex_decode(tb_span_str(text), &id) == 0 && id.n) {
        ret->ref.id_len = (uint8_t)id.n;
        return 0;
    }
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: card:HEX or card:label=TEXT, not card:%s", what,
                        text);
}

static int parse_config(struct dev_session *s, struct tb_error *e) {
    const char *colon = strrchr(s->cfg.hub, ':');
    struct tb_addr a;
    int r = tb_addr_parse(s->cfg.hub, &a, e);

    if (r == 0)
        r = parse_source(s->cfg.ca, &s->ca, "ca", e);
    if (r == 0)
        r = parse_source(s->cfg.cert, &s->cert, "cert", e);
    if (r == 0)
        r = parse_source(s->cfg.key, &s->key, "key", e);
    if (r < 0)
        return r;
    if (s->cfg.server_name)
        snprintf(s->server_name, sizeof s->server_name, "%s", s->cfg.server_name);
    else if (!a.is_unix && colon)
        snprintf(s->server_name, sizeof s->server_name, "%s", a.host);
    else
        return tb_error_set(e, TB_EPARSE, NULL, 0, "server-name is needed with hub %s", s->cfg.hub);
    return 0;
}

/* ---- what paho says ---- */

static void on_connected(bool session_present, void *user);

static void on_mqtt_failed(int code, const char *why, void *user) {
    struct dev_session *s = user;

    s->mqtt_ended = true;
    s->mqtt_code = code;
    snprintf(s->mqtt_why, sizeof s->mqtt_why, "%s", why);
    dev_task_wake(&s->task);
}

static void on_mqtt_ended(void *user) {
    struct dev_session *s = user;

    s->mqtt_ended = true;
    dev_task_wake(&s->task);
}

static void on_message(struct tb_span topic, struct tb_span payload, void *user) {
    struct dev_session *s = user;
    json_t *text = json_stringn((const char *)payload.p, payload.n), *m;
    size_t n = 2 * payload.n;
    char *hex;

    s->received++;
    m = json_pack("{s:s%}", "topic", (const char *)topic.p, topic.n);
    if (text) {
        json_object_set_new(m, "payload", text);
    } else { /* not UTF-8 */
        struct tb_buf out;

        hex = malloc(n + 1);
        if (!hex)
            abort();
        out = tb_buf(hex, n);
        tb_put_hex(&out, payload, TB_HEX_LOWER);
        json_object_set_new(m, "payload_hex", json_stringn(hex, n));
        free(hex);
    }
    s->ops->on_event("message", m, s->user);
}

static void on_done(unsigned id, int status, void *user) {
    struct dev_session *s = user;

    s->ops->on_done(id, status, s->user);
}

static void on_mqtt_idle(void *user) {
    struct dev_session *s = user;

    dev_task_wake(&s->task);
}

static const struct dev_mqtt_ops mqtt_ops = {on_connected, on_mqtt_failed, on_mqtt_ended,
                                             on_mqtt_idle, on_message,     on_done};

static void on_connected(bool session_present, void *user) {
    struct dev_session *s = user;
    const struct iotsafe_stats *h = &s->shaken;

    s->mqtt_up = true;
    s->retries = 0;
    s->sessions++;
    s->state = "up";
    s->ops->on_event("session",
                     json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "identity",
                               s->info.identity, "version", s->info.version, "cipher",
                               s->info.cipher, "apdus", (json_int_t)h->apdus, "bytes_out",
                               (json_int_t)h->bytes_out, "bytes_in", (json_int_t)h->bytes_in,
                               "handshake_us", (json_int_t)s->handshake_us, "session_present",
                               session_present),
                     s->user);
    s->ops->on_up(s->user);
    dev_task_wake(&s->task);
}

/* ---- one attempt ---- */

static int read_source(struct dev_session *s, struct source *src, const char *what,
                       struct dev_failure *why) {
    struct dev_failure card = {0};
    int r;

    if (!src->in_card || src->der)
        return 0;
    r = dev_card_read_file(s->card, &src->ref, &src->der, &src->der_n, &card);
    if (r < 0) {
        dev_fail(why, "card: %s: %s", what, card.reason);
        why->sw = card.sw;
    }
    return r;
}

static void forget_source(struct source *src) {
    free(src->der);
    src->der = NULL;
    src->der_n = 0;
}

/* What is known of the card's contents: perhaps it is another card now. */
static void forget(struct dev_session *s) {
    dev_tls_free(s->tls);
    s->tls = NULL;
    forget_source(&s->cert);
    forget_source(&s->ca);
}

static int make_tls(struct dev_session *s, struct dev_failure *why) {
    int r;

    if (s->tls)
        return 0;
    r = read_source(s, &s->cert, "certificate", why);
    if (r == 0)
        r = read_source(s, &s->ca, "CA certificate", why);
    if (r < 0)
        return r;
    const struct dev_tls_config cfg = {
        .stack = DEV_OPENSSL,
        .versions = s->cfg.versions,
        .server_name = s->server_name,
        .ca_file = s->ca.file,
        .ca = tb_span(s->ca.der, s->ca.der_n),
        .cert_file = s->cert.file,
        .cert = tb_span(s->cert.der, s->cert.der_n),
        .key_file = s->key.file,
        .key = s->key.in_card ? &s->key.ref : NULL,
        .card = s->card,
        .keylog = s->cfg.keylog,
        .keylog_user = s->cfg.keylog_user,
    };
    return dev_tls_new(&cfg, &s->tls, why);
}

static int open_channel(struct dev_session *s, struct dev_channel **ret, struct dev_failure *why) {
    struct dev_stream *stream;
    struct dev_channel *ch;
    uint64_t begin;
    int r;

    s->state = "connecting";
    r = dev_stream_connect(&s->task, s->cfg.hub, 0, &stream);
    if (r < 0) {
        dev_fail(why, "connect to %s: %s", s->cfg.hub, tb_strerror(r));
        return r;
    }
    s->state = "handshake";
    begin = tb_clock_mono_ns();
    r = dev_channel_open(s->tls, stream, &ch, why);
    if (r < 0) {
        dev_stream_reset(stream);
        return r;
    }
    r = ch->ops->handshake(ch, 0, why);
    if (r < 0) {
        ch->ops->close(ch, false);
        return r;
    }
    s->handshake_us = (tb_clock_mono_ns() - begin) / 1000;
    ch->ops->info(ch, &s->info);
    s->shaken = s->use.stats;
    s->shaken.apdus += ch->use.stats.apdus;
    s->shaken.bytes_out += ch->use.stats.bytes_out;
    s->shaken.bytes_in += ch->use.stats.bytes_in;
    *ret = ch;
    return 0;
}

/* Bytes go to and fro until either side ends. 0: ended by us. */
static int relay(struct dev_session *s, struct dev_bridge *bridge, struct dev_channel *ch,
                 struct dev_failure *why) {
    int r;

    for (;;) {
        if (s->mqtt_up && !s->stopping)
            s->task.limit = 0; /* what comes now may take a year */
        r = dev_bridge_run(bridge, ch, why);
        if (r == TB_ECLOSED && s->stopping)
            return 0;
        if (r == TB_ECLOSED) {
            /* paho's reason is on its way through the queue */
            while (!s->mqtt_ended && dev_task_wait(&s->task, 0) == 0)
                ;
            dev_fail(why, "%s", s->mqtt_why[0] ? s->mqtt_why : "mqtt: no answer to keep-alive");
            return TB_EPROTO;
        }
        if (r < 0 && !why->reason[0])
            dev_fail(why, "hub closed the connection");
        if (r == 0) {
            r = dev_task_wait(&s->task, 0);
            if (r < 0)
                dev_fail(why, "%s", r == TB_ETIMEOUT ? "mqtt: no CONNACK in time" : "called off");
        }
        if (r < 0)
            return r;
    }
}

/* The hub may have refused CONNECT before it closed the connection: paho has read that, or will at
 * once. */
static void wait_for_refusal(struct dev_session *s, struct dev_failure *why) {
    uint64_t until = dev_after(REFUSAL_MS);

    s->task.limit = 0;
    while (!s->mqtt_ended && dev_task_wait(&s->task, until) == 0)
        ;
    if (s->mqtt_code)
        dev_fail(why, "%s", s->mqtt_why);
}

static int attempt(struct dev_session *s, struct dev_failure *why) {
    const struct dev_bridge_config bridge_cfg = {dev_mqtt_token(s->mqtt), s->cfg.user,
                                                 s->cfg.password};
    struct dev_bridge *bridge = NULL;
    struct dev_channel *ch = NULL;
    uint16_t port;
    int r;

    s->mqtt_up = s->mqtt_ended = false;
    s->mqtt_why[0] = 0;
    s->mqtt_code = 0;
    s->task.limit = dev_after(s->cfg.timeout_ms);
    while (dev_mqtt_busy(s->mqtt)) { /* paho tidies up after the last attempt */
        r = dev_task_wait(&s->task, 0);
        if (r < 0)
            return r;
    }
    s->use = (struct dev_card_use){.card = s->card};
    dev_card_enter(&s->use);
    s->state = "card";
    /* paho takes a tenth of a second to come: meanwhile there is enough to do */
    r = dev_bridge_open(&s->task, &bridge_cfg, &port, &bridge);
    if (r == 0)
        r = dev_mqtt_connect(s->mqtt, port, s->cfg.timeout_ms / 1000 + 60);
    if (r < 0)
        dev_fail(why, "mqtt: %s", tb_strerror(r));
    if (r == 0)
        r = make_tls(s, why);
    if (r == 0)
        r = open_channel(s, &ch, why);
    if (r == 0) {
        s->state = "mqtt";
        r = dev_bridge_wait(bridge, 0);
        if (r < 0)
            dev_fail(why, "mqtt: %s", tb_strerror(r));
    }
    if (r == 0)
        r = relay(s, bridge, ch, why);
    if (r == UV_ECANCELED && !why->reason[0])
        dev_fail(why, "called off");
    if (r == TB_ETIMEOUT && !why->reason[0])
        dev_fail(why, "not done within %u ms", s->cfg.timeout_ms);
    dev_bridge_close(bridge);
    if (ch && r < 0 && !s->mqtt_up)
        wait_for_refusal(s, why);
    if (ch)
        ch->ops->close(ch, r == 0 || s->mqtt_up);
    dev_card_enter(NULL);
    dev_card_use_done(&s->use);
    if (r < 0)
        forget(s);
    return r;
}

/* ---- one after the other ---- */

static void report(struct dev_session *s, const struct dev_failure *why) {
    char sw[8];
    json_t *m = json_pack("{s:s}", "reason", why->reason);

    if (why->sw) {
        snprintf(sw, sizeof sw, "%04X", why->sw);
        json_object_set_new(m, "sw", json_string(sw));
    }
    if (!s->mqtt_up)
        s->failures++;
    s->ops->on_event(s->mqtt_up ? "disconnected" : "session-failed", m, s->user);
}

/* Doubles from attempt to attempt, the upper half of it at random: a fleet that lost its hub comes
 * back spread. */
static uint64_t back_off(const struct dev_session *s) {
    uint64_t ms = s->cfg.retry_min_ms;
    uint32_t random;

    for (unsigned i = 1; i < s->retries && ms < s->cfg.retry_max_ms; i++)
        ms *= 2;
    if (ms > s->cfg.retry_max_ms)
        ms = s->cfg.retry_max_ms;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        abort();
    return ms / 2 + random % (ms / 2 + 1);
}

static int wait_for_retry(struct dev_session *s) {
    uint64_t ms = back_off(s), until = dev_now() + ms;

    s->state = "waiting";
    s->task.limit = 0; /* that was the attempt's: with it each wait would be over at once */
    s->reconnects++;
    s->ops->on_event("reconnecting", json_pack("{s:I}", "in_ms", (json_int_t)ms), s->user);
    while (dev_now() < until) {
        int r = dev_task_wait(&s->task, until);

        if (r == UV_ECANCELED || s->stopping)
            return UV_ECANCELED;
    }
    return 0;
}

static void body(struct dev_task *t, void *arg) {
    struct dev_session *s = arg;
    struct dev_failure why;
    int r;

    do {
        why = (struct dev_failure){0};
        r = attempt(s, &why);
        if (s->stopping && s->mqtt_up)
            s->ops->on_event("disconnected", json_pack("{s:s}", "reason", "by request"), s->user);
        s->failed = r < 0 && !s->stopping;
        if (!s->failed)
            break;
        s->retries++;
        report(s, &why);
    } while (s->cfg.reconnect && wait_for_retry(s) == 0);
    /* Whatever was called off, the card gets its channel back if it answers at once. */
    t->cancelled = false;
    t->limit = dev_after(RELEASE_MS);
    dev_card_release(s->card);
}

/* ---- life ---- */

static void on_mqtt_closed(void *user) {
    struct dev_session *s = user;
    void (*closed)(void *) = s->closed;
    void *arg = s->user;

    forget(s);
    free(s);
    closed(arg);
}

static void on_task_end(struct dev_task *t, void *arg) {
    struct dev_session *s = arg;

    (void)t;
    s->running = s->stopping = false;
    s->state = "idle";
    if (s->again && !s->closing) {
        s->again = false;
        if (dev_session_start(s) == 0)
            return;
    }
    s->ops->on_idle(s->failed, s->user);
    if (s->closing)
        dev_mqtt_close(s->mqtt, on_mqtt_closed);
}

int dev_session_new(uv_loop_t *loop, const struct dev_session_config *cfg, struct dev_card *card,
                    const struct dev_session_ops *ops, void *user, struct dev_session **ret,
                    struct tb_error *e) {
    struct dev_session *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        abort();
    s->loop = loop;
    s->cfg = *cfg;
    s->card = card;
    s->ops = ops;
    s->user = user;
    s->state = "idle";
    r = parse_config(s, e);
    if (r < 0) {
        free(s);
        return r;
    }
    s->mqtt = dev_mqtt_new(loop, &cfg->mqtt, &mqtt_ops, s);
    *ret = s;
    return 0;
}

int dev_session_start(struct dev_session *s) {
    /* Told to start while the old session still says good-bye: right after it. */
    if (s->running && s->stopping && !s->closing) {
        s->again = true;
        return 0;
    }
    if (s->running || s->closing)
        return TB_ESTATE;
    s->running = true;
    s->failed = false;
    s->retries = 0;
    if (dev_task_start(&s->task, s->loop, body, on_task_end, s) < 0)
        abort(); /* out of memory */
    return 0;
}

void dev_session_stop(struct dev_session *s) {
    if (!s->running || s->stopping)
        return;
    s->stopping = true;
    if (!dev_mqtt_connected(s->mqtt)) {
        dev_task_cancel(&s->task);
        return;
    }
    s->task.limit = dev_after(STOP_MS);
    dev_mqtt_disconnect(s->mqtt);
    dev_task_wake(&s->task); /* to look at the new limit */
}

void dev_session_close(struct dev_session *s, void (*done)(void *user)) {
    s->closing = true;
    s->closed = done;
    if (s->running)
        dev_session_stop(s);
    else
        dev_mqtt_close(s->mqtt, on_mqtt_closed);
}

/* ---- what others want to know ---- */

struct dev_mqtt *dev_session_mqtt(struct dev_session *s) {
    return s->mqtt;
}

const char *dev_session_state(const struct dev_session *s) {
    return s->state;
}

json_t *dev_session_counters(const struct dev_session *s) {
    struct iotsafe_stats card;

    dev_card_stats(s->card, &card);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sessions", (json_int_t)s->sessions,
                     "failures", (json_int_t)s->failures, "reconnects", (json_int_t)s->reconnects,
                     "received", (json_int_t)s->received, "apdus", (json_int_t)card.apdus,
                     "bytes_out", (json_int_t)card.bytes_out, "bytes_in",
                     (json_int_t)card.bytes_in);
}
