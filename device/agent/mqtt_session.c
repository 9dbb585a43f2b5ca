/* A session that speaks MQTT: paho on one side, the channel on the other, bytes in between. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge.h"
#include "mqtt.h"

enum { REFUSAL_MS = 500 };

struct mqtt_protocol {
    struct dev_protocol p;
    struct dev_mqtt *mqtt;
    struct dev_mqtt_config cfg;
    struct dev_task *task; /* of the attempt under way */
    struct dev_bridge *bridge;
    bool up;      /* CONNACK came in this attempt */
    bool leaving; /* told to end */
    bool ended;   /* paho has given up, or said goodbye */
    int code;     /* CONNACK's when it refused */
    char why[200];
    void (*closed)(void *arg);
    void *closed_arg;
};

static void wake(struct mqtt_protocol *m) {
    if (m->task)
        dev_task_wake(m->task);
}

/* ---- what paho says ---- */

static void on_connected(bool session_present, void *user) {
    struct mqtt_protocol *m = user;

    m->up = true;
    m->p.host->on_up(json_pack("{s:b, s:s}", "session_present", session_present, "mqtt",
                               m->cfg.version == 5 ? "5" : "3.1.1"),
                     true, m->p.user);
}

static void on_failed(int code, const char *why, void *user) {
    struct mqtt_protocol *m = user;

    m->ended = true;
    m->code = code;
    snprintf(m->why, sizeof m->why, "%s", why);
    wake(m);
}

static void on_ended(const char *why, void *user) {
    struct mqtt_protocol *m = user;

    m->ended = true;
    snprintf(m->why, sizeof m->why, "%s", why);
    wake(m);
}

static void on_idle(void *user) {
    wake(user);
}

static void on_message(struct tb_span topic, struct tb_span payload, void *user) {
    struct mqtt_protocol *m = user;
    json_t *members = json_pack("{s:s%}", "topic", (const char *)topic.p, topic.n);

    if (!members)
        return; /* no UTF-8: the server broke the protocol (1.5.3) */
    dev_payload_put(members, payload);
    m->p.host->on_event("message", members, m->p.user);
}

static void on_done(unsigned id, int status, int code, const char *why, void *user) {
    struct mqtt_protocol *m = user;
    json_t *reply = m->cfg.version == 5 ? json_pack("{s:i}", "reason", code) : NULL;

    m->p.host->on_done(id, status, reply, why, m->p.user);
}

static const struct dev_mqtt_ops mqtt_ops = {on_connected, on_failed,  on_ended,
                                             on_idle,      on_message, on_done};

/* ---- an attempt ---- */

/* paho takes a tenth of a second to come: meanwhile there is enough to do. */
static int begin(struct dev_protocol *p, struct dev_task *t, struct dev_failure *why) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;
    const struct dev_bridge_config cfg = {dev_mqtt_token(m->mqtt), m->cfg.user, m->cfg.password};
    uint16_t port;
    int r;

    m->task = t;
    m->up = m->ended = m->leaving = false;
    m->why[0] = '\0';
    m->code = 0;
    while (dev_mqtt_busy(m->mqtt)) { /* paho tidies up after the last attempt */
        r = dev_task_wait(t, 0);
        if (r < 0)
            return r;
    }
    r = dev_bridge_open(t, &cfg, &port, &m->bridge);
    if (r == 0)
        r = dev_mqtt_connect(m->mqtt, port, m->cfg.timeout_ms / 1000 + 60);
    if (r < 0)
        dev_fail(why, "mqtt: %s", tb_strerror(r));
    return r;
}

/* paho ended its side; its reason is on its way through the queue. */
static int ended_by_paho(struct mqtt_protocol *m, struct dev_failure *why) {
    if (m->leaving)
        return 0;
    while (!m->ended && dev_task_wait(m->task, 0) == 0)
        ;
    dev_fail(why, "%s", m->why[0] ? m->why : "mqtt: no answer to keep-alive");
    return TB_EPROTO;
}

/* Bytes go to and fro until either side ends. 0: ended by us. */
static int relay(struct mqtt_protocol *m, struct dev_channel *ch, struct dev_failure *why) {
    int r;

    for (;;) {
        r = dev_bridge_run(m->bridge, ch, why);
        if (r == TB_ECLOSED)
            return ended_by_paho(m, why);
        if (r < 0 && !why->reason[0])
            dev_fail(why, "hub closed the connection");
        if (r == 0) {
            r = dev_task_wait(m->task, 0);
            if (r == TB_ETIMEOUT && !m->up)
                dev_fail(why, "mqtt: no CONNACK in time");
        }
        if (r < 0)
            return r;
    }
}

/* The hub may have said why before it closed the connection: paho has read that, or will at once.
 */
static void wait_for_words(struct mqtt_protocol *m, struct dev_failure *why) {
    uint64_t until = dev_after(REFUSAL_MS), limit = m->task->limit;

    m->task->limit = 0;
    while (!m->ended && dev_task_wait(m->task, until) == 0)
        ;
    m->task->limit = limit;
    if (m->code || (m->up && m->why[0]))
        dev_fail(why, "%s", m->why);
}

static int run(struct dev_protocol *p, struct dev_task *t, struct dev_channel *ch,
               struct dev_failure *why) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;
    int r = dev_bridge_wait(m->bridge, 0);

    (void)t;
    if (r < 0)
        return r;
    r = relay(m, ch, why);
    dev_bridge_close(m->bridge);
    m->bridge = NULL;
    if (r < 0 && !m->leaving)
        wait_for_words(m, why);
    return r;
}

static void end(struct dev_protocol *p) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;

    dev_bridge_close(m->bridge);
    m->bridge = NULL;
    m->task = NULL;
}

static void leave(struct dev_protocol *p) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;

    m->leaving = true;
    dev_mqtt_disconnect(m->mqtt);
    wake(m);
}

static void on_closed(void *user) {
    struct mqtt_protocol *m = user;
    void (*closed)(void *) = m->closed;
    void *arg = m->closed_arg;

    free(m);
    closed(arg);
}

static void close_protocol(struct dev_protocol *p, void (*done)(void *arg), void *arg) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;

    m->closed = done;
    m->closed_arg = arg;
    dev_mqtt_close(m->mqtt, on_closed);
}

/* ---- what is asked for ---- */

static int publish(struct dev_protocol *p, const struct dev_publication *pub, unsigned *ret_id,
                   struct tb_error *e) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;
    int r = dev_mqtt_publish(m->mqtt, pub->topic, pub->payload, pub->qos, pub->retain, ret_id);

    if (r < 0)
        return tb_error_set(e, r, NULL, 0, "cannot publish: %s",
                            r == TB_ERANGE ? "payload too large" : "not connected");
    return 0;
}

static int subscribe(struct dev_protocol *p, const char *filter, int qos, unsigned *ret_id,
                     struct tb_error *e) {
    struct mqtt_protocol *m = (struct mqtt_protocol *)p;
    int r = dev_mqtt_subscribe(m->mqtt, filter, qos, ret_id);

    return r < 0 ? tb_error_set(e, r, NULL, 0, "cannot subscribe: not connected") : 0;
}

static const struct dev_protocol_ops ops = {
    .name = "mqtt",
    .begin = begin,
    .run = run,
    .end = end,
    .leave = leave,
    .close = close_protocol,
    .publish = publish,
    .subscribe = subscribe,
};

struct dev_protocol *dev_protocol_mqtt(uv_loop_t *loop, const struct dev_mqtt_config *cfg) {
    struct mqtt_protocol *m = calloc(1, sizeof *m);

    if (!m)
        abort();
    m->p.ops = &ops;
    m->cfg = *cfg;
    m->mqtt = dev_mqtt_new(loop, cfg, &mqtt_ops, m);
    return &m->p;
}
