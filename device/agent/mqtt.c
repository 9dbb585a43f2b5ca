#include "mqtt.h"

#include <MQTTAsync.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mqtt_events.h"
#include "tb/hex.h"

enum { PAYLOAD_MAX = 1 << 20 };
static const unsigned FOR_EVER = 0xFFFFFFFFU; /* session expiry interval, MQTT 5 3.1.2.11.2 */

/* paho is made anew for each connection: the thread with which it reads sleeps up to a second when
 * it has no socket, and would keep a second connection waiting for that time; a thread just started
 * does not. */
enum state { IDLE, CONNECTING, UP, TIDYING };

struct dev_mqtt {
    MQTTAsync paho; /* NULL when idle */
    uv_loop_t *loop;
    uv_work_t work;
    const struct dev_mqtt_ops *ops;
    void *user;
    struct dev_mqtt_config cfg;
    char client_id[256];
    char token[DEV_MQTT_TOKEN + 1];
    enum state state; /* of the loop's thread */
    unsigned last_id;
    struct dev_mqtt_events events;
    void (*closed)(void *user);
};

static void tidy_up(struct dev_mqtt *m);

static void deliver(struct dev_mqtt *m, const struct dev_mqtt_event *e) {
    const struct dev_mqtt_ops *ops = m->ops;
    struct tb_span all = tb_span(e->bytes, e->topic_n + e->payload_n);

    switch (e->kind) {
    case DEV_MQTT_CONNECTED:
        if (m->state == CONNECTING) {
            m->state = UP;
            ops->on_connected(e->status != 0, m->user);
        }
        break;
    case DEV_MQTT_FAILED:
        if (m->state == CONNECTING) {
            tidy_up(m);
            ops->on_failed(e->code, e->bytes, m->user);
        }
        break;
    case DEV_MQTT_ENDED:
        if (m->state == UP) {
            tidy_up(m);
            ops->on_ended(e->bytes, m->user);
        }
        break;
    case DEV_MQTT_MESSAGE:
        ops->on_message(tb_span_sub(all, 0, e->topic_n), tb_span_sub(all, e->topic_n, e->payload_n),
                        m->user);
        break;
    case DEV_MQTT_DONE:
        ops->on_done(e->id, e->status, e->code, e->bytes, m->user);
        break;
    }
}

static void deliver_all(struct dev_mqtt *m) {
    struct dev_mqtt_event *e = dev_mqtt_events_take(&m->events), *next;

    for (; e; e = next) {
        next = e->next;
        if (!m->closed)
            deliver(m, e);
        free(e);
    }
}

static void on_async(uv_async_t *async) {
    deliver_all(async->data);
}

struct dev_mqtt *dev_mqtt_new(uv_loop_t *loop, const struct dev_mqtt_config *cfg,
                              const struct dev_mqtt_ops *ops, void *user) {
    struct dev_mqtt *m = calloc(1, sizeof *m);
    uint8_t random[DEV_MQTT_TOKEN / 2];
    struct tb_buf token;

    if (!m || getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        abort();
    token = tb_buf(m->token, DEV_MQTT_TOKEN);
    tb_put_hex(&token, tb_span(random, sizeof random), TB_HEX_LOWER);
    m->loop = loop;
    m->ops = ops;
    m->user = user;
    m->cfg = *cfg;
    snprintf(m->client_id, sizeof m->client_id, "%s", cfg->client_id);
    m->work.data = m;
    dev_mqtt_events_init(&m->events, loop, on_async);
    m->events.async.data = m;
    return m;
}

static int paho_create(struct dev_mqtt *m, const char *uri) {
    MQTTAsync_createOptions opt = MQTTAsync_createOptions_initializer;
    int r;

    opt.MQTTVersion = m->cfg.version;
    r = MQTTAsync_createWithOptions(&m->paho, uri, m->client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                    &opt);
    if (r != MQTTASYNC_SUCCESS)
        m->paho = NULL;
    return r == MQTTASYNC_SUCCESS ? 0 : TB_EPROTO;
}

static int paho_connect(struct dev_mqtt *m, unsigned timeout_s) {
    MQTTAsync_connectOptions v3 = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions v5 = MQTTAsync_connectOptions_initializer5;
    const bool is5 = m->cfg.version >= MQTTVERSION_5;
    MQTTAsync_connectOptions opt = is5 ? v5 : v3;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                           .value.integer4 = FOR_EVER};
    int r;

    if (is5) {
        opt.cleanstart = !m->cfg.keep_session;
        if (m->cfg.keep_session)
            MQTTProperties_add(&properties, &expiry);
        opt.connectProperties = &properties;
    } else {
        opt.MQTTVersion = MQTTVERSION_3_1_1;
        opt.cleansession = !m->cfg.keep_session;
    }
    opt.keepAliveInterval = (int)m->cfg.keep_alive_s;
    opt.connectTimeout = (int)timeout_s;
    opt.username = "iot-device";
    opt.password = m->token;
    dev_mqtt_events_connect(&m->events, &opt, m->cfg.version);
    r = dev_mqtt_events_install(&m->events, m->paho, m->cfg.version);
    if (r == MQTTASYNC_SUCCESS)
        r = MQTTAsync_connect(m->paho, &opt);
    MQTTProperties_free(&properties);
    return r == MQTTASYNC_SUCCESS ? 0 : TB_EPROTO;
}

int dev_mqtt_connect(struct dev_mqtt *m, uint16_t port, unsigned timeout_s) {
    char uri[64];
    int r;

    if (m->state != IDLE)
        return TB_ESTATE;
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", (unsigned)port);
    r = paho_create(m, uri);
    if (r == 0)
        r = paho_connect(m, timeout_s);
    if (r < 0) {
        if (m->paho)
            MQTTAsync_destroy(&m->paho);
        return r;
    }
    m->state = CONNECTING;
    return 0;
}

bool dev_mqtt_busy(const struct dev_mqtt *m) {
    return m->state != IDLE;
}

bool dev_mqtt_connected(const struct dev_mqtt *m) {
    return m->state == UP;
}

int dev_mqtt_publish(struct dev_mqtt *m, const char *topic, struct tb_span payload, int qos,
                     bool retain, unsigned *ret_id) {
    MQTTAsync_responseOptions opt = MQTTAsync_responseOptions_initializer;
    struct dev_mqtt_request *r;
    unsigned id;

    if (m->state != UP)
        return TB_ESTATE;
    if (payload.n > PAYLOAD_MAX)
        return TB_ERANGE;
    id = ++m->last_id;
    dev_mqtt_events_begin(&m->events, id, false, &opt, m->cfg.version, &r);
    if (MQTTAsync_send(m->paho, topic, (int)payload.n, payload.p, qos, retain, &opt) !=
        MQTTASYNC_SUCCESS) {
        dev_mqtt_events_give_back(&m->events, r);
        return TB_ESTATE;
    }
    *ret_id = id;
    return 0;
}

int dev_mqtt_subscribe(struct dev_mqtt *m, const char *filter, int qos, unsigned *ret_id) {
    MQTTAsync_responseOptions opt = MQTTAsync_responseOptions_initializer;
    struct dev_mqtt_request *r;
    unsigned id;

    if (m->state != UP)
        return TB_ESTATE;
    id = ++m->last_id;
    dev_mqtt_events_begin(&m->events, id, true, &opt, m->cfg.version, &r);
    if (MQTTAsync_subscribe(m->paho, filter, qos, &opt) != MQTTASYNC_SUCCESS) {
        dev_mqtt_events_give_back(&m->events, r);
        return TB_ESTATE;
    }
    *ret_id = id;
    return 0;
}

void dev_mqtt_disconnect(struct dev_mqtt *m) {
    MQTTAsync_disconnectOptions v3 = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnectOptions v5 = MQTTAsync_disconnectOptions_initializer5;
    MQTTAsync_disconnectOptions opt = m->cfg.version >= MQTTVERSION_5 ? v5 : v3;

    if (m->state != UP)
        return;
    opt.timeout = 1000;
    dev_mqtt_events_disconnect(&m->events, &opt, m->cfg.version);
    (void)MQTTAsync_disconnect(m->paho, &opt);
}

const char *dev_mqtt_token(const struct dev_mqtt *m) {
    return m->token;
}

/* ---- end ---- */

static void on_async_closed(uv_handle_t *h) {
    struct dev_mqtt *m = h->data;
    void (*closed)(void *) = m->closed;
    void *user = m->user;

    dev_mqtt_events_done(&m->events);
    free(m);
    closed(user);
}

static void destroy(uv_work_t *work) {
    struct dev_mqtt *m = work->data;

    MQTTAsync_destroy(&m->paho); /* waits for paho's threads: a tenth of a second */
}

/* paho is gone and says nothing more: what it has not acknowledged it never will. */
static void on_destroyed(uv_work_t *work, int status) {
    struct dev_mqtt *m = work->data;
    struct dev_mqtt_request *r, *next;

    (void)status;
    m->paho = NULL;
    deliver_all(m);
    for (r = dev_mqtt_events_orphans(&m->events); r; r = next) {
        next = r->next;
        if (!m->closed)
            m->ops->on_done(r->id, TB_ECLOSED, 0, "not acknowledged", m->user);
        free(r);
    }
    m->state = IDLE;
    if (m->closed)
        uv_close((uv_handle_t *)&m->events.async, on_async_closed);
    else
        m->ops->on_idle(m->user);
}

static void tidy_up(struct dev_mqtt *m) {
    m->state = TIDYING;
    if (uv_queue_work(m->loop, &m->work, destroy, on_destroyed) < 0)
        abort();
}

void dev_mqtt_close(struct dev_mqtt *m, void (*done)(void *user)) {
    assert(!m->closed);
    m->closed = done;
    if (m->state == IDLE)
        uv_close((uv_handle_t *)&m->events.async, on_async_closed);
    else if (m->state != TIDYING)
        tidy_up(m);
}
