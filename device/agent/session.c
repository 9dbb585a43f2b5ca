#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tb/loop.h"

enum { STOP_MS = 2000, RELEASE_MS = 1000 };

struct dev_session {
    uv_loop_t *loop;
    struct dev_session_config cfg;
    struct dev_card *card;
    const struct dev_session_ops *ops;
    void *user;
    struct dev_credential credential;
    struct dev_protocol *protocol; /* NULL before the first configuration */
    struct dev_task task;
    const char *state;
    bool running, stopping, closing;
    bool again;    /* start anew once the old session has ended */
    bool failed;   /* the last attempt, and not because it was stopped */
    bool up, sure; /* of this attempt: the session exists, the peer has shown that it accepts us */
    unsigned retries;
    unsigned protocols_closing;
    unsigned long long sessions, failures, reconnects;
    struct iotsafe_stats total; /* what the card was asked for all attempts */
    /* of this attempt */
    struct dev_card_use use; /* without the channel's */
    struct iotsafe_stats shaken;
    uint64_t handshake_us;
    struct dev_channel_info info;
    void (*closed)(void *user);
};

/* ---- what the protocol says ---- */

static void on_sure(void *user) {
    struct dev_session *s = user;

    s->sure = true;
    s->retries = 0;
}

static void put_count(json_t *m, const char *name, unsigned long long n) {
    json_object_set_new(m, name, json_integer((json_int_t)n));
}

static json_t *describe(const struct dev_session *s) {
    const struct dev_credential *c = &s->credential;
    json_t *m = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "identity",
                          s->info.identity, "version", s->info.version, "cipher", s->info.cipher,
                          "group", s->info.group, "stack", dev_credential_stack(c), "protocol",
                          s->protocol->ops->name, "credential", dev_credential_kind(c), "resumed",
                          s->info.resumed, "offload", c->cfg.offload ? c->cfg.offload : "");

    if (!m)
        m = json_object(); /* an identity that is not UTF-8 */
    put_count(m, "apdus", s->shaken.apdus);
    put_count(m, "bytes_out", s->shaken.bytes_out);
    put_count(m, "bytes_in", s->shaken.bytes_in);
    put_count(m, "handshake_us", s->handshake_us);
    return m;
}

static void on_up(json_t *members, bool sure, void *user) {
    struct dev_session *s = user;
    json_t *m = describe(s);

    s->up = true;
    s->sessions++;
    s->state = "up";
    if (!s->stopping)
        s->task.limit = 0; /* what comes now may take a year */
    if (sure)
        on_sure(s);
    if (members)
        json_object_update(m, members);
    json_decref(members);
    s->ops->on_event("session", m, s->user);
    s->ops->on_up(s->user);
}

static void on_protocol_event(const char *name, json_t *members, void *user) {
    struct dev_session *s = user;

    s->ops->on_event(name, members, s->user);
}

static void on_done(unsigned id, int status, json_t *reply, const char *why, void *user) {
    struct dev_session *s = user;

    s->ops->on_done(id, status, reply, why, s->user);
}

static const struct dev_protocol_host host = {on_up, on_sure, on_protocol_event, on_done};

/* ---- one attempt ---- */

static void add_stats(struct iotsafe_stats *to, const struct iotsafe_stats *from) {
    to->apdus += from->apdus;
    to->bytes_out += from->bytes_out;
    to->bytes_in += from->bytes_in;
}

static int connect_stream(struct dev_session *s, struct dev_stream **ret, struct dev_failure *why) {
    const struct dev_hub *at = &s->cfg.at;
    int r;

    if (s->cfg.via)
        r = dev_stream_via(&s->task, s->cfg.via, at->address, at->datagrams, 0, ret, why);
    else if (at->datagrams)
        r = dev_stream_connect_udp(&s->task, at->address, 0, ret);
    else
        r = dev_stream_connect(&s->task, at->address, 0, ret);
    if (r < 0 && !why->reason[0])
        dev_fail(why, "connect to %s: %s", s->cfg.hub, tb_strerror(r));
    return r;
}

static int open_channel(struct dev_session *s, struct dev_channel **ret, struct dev_failure *why) {
    struct dev_stream *stream;
    struct dev_channel *ch;
    uint64_t begin;
    int r;

    s->state = "connecting";
    r = connect_stream(s, &stream, why);
    if (r < 0)
        return r;
    s->state = "handshake";
    begin = tb_clock_mono_ns();
    r = dev_channel_open(s->credential.tls, stream, &ch, why);
    if (r < 0) {
        dev_stream_reset(stream);
        return r;
    }
    r = ch->ops->handshake(ch, 0, why);
    s->shaken = s->use.stats;
    add_stats(&s->shaken, &ch->use.stats);
    if (r < 0) {
        ch->ops->close(ch, false);
        return r;
    }
    s->handshake_us = (tb_clock_mono_ns() - begin) / 1000;
    ch->ops->info(ch, &s->info);
    *ret = ch;
    return 0;
}

static void explain(const struct dev_session *s, int r, struct dev_failure *why) {
    if (r >= 0 || why->reason[0])
        return;
    if (r == UV_ECANCELED)
        dev_fail(why, "called off");
    else if (r == TB_ETIMEOUT)
        dev_fail(why, "not done within %u ms", s->cfg.timeout_ms);
    else
        dev_fail(why, "%s", tb_strerror(r));
}

static int attempt(struct dev_session *s, struct dev_failure *why) {
    const struct dev_protocol_ops *protocol = s->protocol->ops;
    struct dev_channel *ch = NULL;
    int r = 0;

    s->up = s->sure = false;
    s->task.limit = dev_after(s->cfg.timeout_ms);
    s->use = (struct dev_card_use){.card = s->card};
    s->shaken = (struct iotsafe_stats){0};
    dev_card_enter(&s->use);
    s->state = "card";
    while (r == 0 && s->protocols_closing) /* two pahos at once wait for each other for a second */
        r = dev_task_wait(&s->task, 0);
    if (r == 0 && protocol->begin)
        r = protocol->begin(s->protocol, &s->task, why);
    if (r == 0)
        r = dev_credential_load(&s->credential, s->card, why);
    s->shaken = s->use.stats;
    if (r == 0)
        r = open_channel(s, &ch, why);
    if (r == 0) {
        s->state = protocol->name;
        r = protocol->run(s->protocol, &s->task, ch, why);
    }
    explain(s, r, why);
    protocol->end(s->protocol);
    if (ch)
        ch->ops->close(ch, r == 0 || s->up);
    dev_card_enter(NULL);
    dev_card_use_done(&s->use);
    add_stats(&s->total, &s->shaken);
    if (r < 0 && !(s->up && s->cfg.credential.resume))
        dev_credential_forget(&s->credential);
    return r;
}

/* ---- one after the other ---- */

static void report(struct dev_session *s, const struct dev_failure *why) {
    char sw[8];
    json_t *m = json_pack("{s:s}", "reason", why->reason);

    if (!m)
        m = json_pack("{s:s}", "reason", "not UTF-8");
    if (why->sw) {
        snprintf(sw, sizeof sw, "%04X", why->sw);
        json_object_set_new(m, "sw", json_string(sw));
    }
    if (!s->sure)
        s->failures++;
    s->ops->on_event(s->sure ? "disconnected" : "session-failed", m, s->user);
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
        if (s->stopping && s->up)
            s->ops->on_event("disconnected", json_pack("{s:s}", "reason", "by request"), s->user);
        s->failed = r < 0 && !s->stopping;
        if (!s->failed)
            break;
        s->retries++;
        report(s, &why);
        s->up = s->sure = false;
    } while (s->cfg.reconnect && wait_for_retry(s) == 0);
    s->up = s->sure = false;
    if (!s->ops->alone(s->user))
        return;
    /* Whatever was called off, the card gets its channel back if it answers at once. */
    t->cancelled = false;
    t->limit = dev_after(RELEASE_MS);
    dev_card_release(s->card);
}

/* ---- life ---- */

static void free_when_done(struct dev_session *s) {
    void (*closed)(void *) = s->closed;
    void *arg = s->user;

    if (!s->closing || s->running || s->protocols_closing)
        return;
    dev_credential_done(&s->credential);
    free(s);
    closed(arg);
}

static void on_protocol_closed(void *user) {
    struct dev_session *s = user;

    s->protocols_closing--;
    if (s->running)
        dev_task_wake(&s->task);
    free_when_done(s);
}

static void close_protocol(struct dev_session *s) {
    struct dev_protocol *p = s->protocol;

    if (!p)
        return;
    s->protocol = NULL;
    s->protocols_closing++;
    p->ops->close(p, on_protocol_closed, s);
}

static void close_all(struct dev_session *s) {
    s->protocols_closing++; /* not free inside */
    close_protocol(s);
    on_protocol_closed(s);
}

static void on_task_end(struct dev_task *t, void *arg) {
    struct dev_session *s = arg;

    (void)t;
    s->running = s->stopping = false;
    s->state = "idle";
    s->ops->on_idle(s->failed, s->user);
    if (s->closing)
        close_all(s);
}

struct dev_session *dev_session_new(uv_loop_t *loop, struct dev_card *card,
                                    const struct dev_session_ops *ops, void *user) {
    struct dev_session *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->loop = loop;
    s->card = card;
    s->ops = ops;
    s->user = user;
    s->state = "idle";
    return s;
}

int dev_session_configure(struct dev_session *s, const struct dev_session_config *cfg,
                          struct dev_protocol *protocol, struct tb_error *e) {
    struct dev_credential credential;
    int r;

    if (s->running || s->closing)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "it is %s: disconnect first", s->state);
    r = dev_credential_init(&credential, &cfg->credential, e);
    if (r < 0)
        return r;
    if (s->protocol)
        dev_credential_done(&s->credential);
    close_protocol(s);
    s->credential = credential;
    s->cfg = *cfg;
    if (!s->credential.cfg.server_name)
        s->credential.cfg.server_name = s->cfg.at.host;
    s->protocol = protocol;
    protocol->host = &host;
    protocol->user = s;
    return 0;
}

int dev_session_start(struct dev_session *s) {
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
    if (!s->up) {
        dev_task_cancel(&s->task);
        return;
    }
    s->task.limit = dev_after(STOP_MS);
    s->protocol->ops->leave(s->protocol);
}

void dev_session_close(struct dev_session *s, void (*done)(void *user)) {
    s->closing = true;
    s->closed = done;
    if (s->running)
        dev_session_stop(s);
    else
        close_all(s);
}

/* ---- what others want to know ---- */

bool dev_session_ending(const struct dev_session *s) {
    return s->running && s->stopping;
}

struct dev_protocol *dev_session_protocol(struct dev_session *s) {
    return s->protocol;
}

const char *dev_session_state(const struct dev_session *s) {
    return s->state;
}

json_t *dev_session_counters(const struct dev_session *s) {
    json_t *m = json_object();

    put_count(m, "sessions", s->sessions);
    put_count(m, "failures", s->failures);
    put_count(m, "reconnects", s->reconnects);
    put_count(m, "apdus", s->total.apdus);
    put_count(m, "bytes_out", s->total.bytes_out);
    put_count(m, "bytes_in", s->total.bytes_in);
    return m;
}
