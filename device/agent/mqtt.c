#include "mqtt.h"

#include <MQTTAsync.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tb/hex.h"

enum {
    QUEUE_MAX = 1024, /* messages that wait for the loop; then paho is told to keep them */
    PAYLOAD_MAX = 1 << 20,
};

enum kind { CONNECTED, FAILED, ENDED, MESSAGE, DONE };

struct event { /* from a thread of paho's to the loop */
    struct event *next;
    enum kind kind;
    int value; /* CONNECTED: session present; FAILED: return code; DONE: status */
    unsigned id;
    size_t topic_n, payload_n;
    char bytes[]; /* topic, payload; FAILED: text with NUL */
};

struct request { /* what paho is to acknowledge; guarded by the lock */
    struct request *next;
    struct dev_mqtt *m;
    unsigned id;
};

/* paho is made anew for each connection: the thread with which it reads sleeps up to a second when
 * it has no socket, and would keep a second connection waiting for that time; a thread just started
 * does not. */
enum state { IDLE, CONNECTING, UP, TIDYING };

struct dev_mqtt {
    MQTTAsync paho; /* NULL when idle */
    uv_loop_t *loop;
    uv_async_t async;
    uv_work_t work;
    const struct dev_mqtt_ops *ops;
    void *user;
    struct dev_mqtt_config cfg;
    char client_id[256];
    char token[DEV_MQTT_TOKEN + 1];
    enum state state; /* of the loop's thread */
    unsigned last_id;
    pthread_mutex_t lock; /* guards the queue and the requests */
    struct event *first, **last;
    unsigned queued;
    struct request *requests;
    void (*closed)(void *user);
};

/* ---- queue ---- */

static struct event *event_new(enum kind kind, const void *topic, size_t topic_n,
                               const void *payload, size_t payload_n) {
    struct event *e = calloc(1, sizeof *e + topic_n + payload_n + 1);

    if (!e)
        abort();
    e->kind = kind;
    e->topic_n = topic_n;
    e->payload_n = payload_n;
    if (topic_n)
        memcpy(e->bytes, topic, topic_n);
    if (payload_n)
        memcpy(e->bytes + topic_n, payload, payload_n);
    return e;
}

/* False, and e is freed, when a message finds the queue full. */
static bool push(struct dev_mqtt *m, struct event *e) {
    bool taken;

    pthread_mutex_lock(&m->lock);
    taken = e->kind != MESSAGE || m->queued < QUEUE_MAX;
    if (taken) {
        *m->last = e;
        m->last = &e->next;
        m->queued++;
    }
    pthread_mutex_unlock(&m->lock);
    if (taken)
        uv_async_send(&m->async);
    else
        free(e);
    return taken;
}

static struct event *pop_all(struct dev_mqtt *m) {
    struct event *all;

    pthread_mutex_lock(&m->lock);
    all = m->first;
    m->first = NULL;
    m->last = &m->first;
    m->queued = 0;
    pthread_mutex_unlock(&m->lock);
    return all;
}

static void tidy_up(struct dev_mqtt *m);

static void deliver(struct dev_mqtt *m, const struct event *e) {
    const struct dev_mqtt_ops *ops = m->ops;

    switch (e->kind) {
    case CONNECTED:
        if (m->state == CONNECTING) {
            m->state = UP;
            ops->on_connected(e->value != 0, m->user);
        }
        break;
    case FAILED:
        if (m->state == CONNECTING) {
            tidy_up(m);
            ops->on_failed(e->value, e->bytes, m->user);
        }
        break;
    case ENDED:
        if (m->state == UP) {
            tidy_up(m);
            ops->on_ended(m->user);
        }
        break;
    case MESSAGE:
        ops->on_message(
            tb_span(e->bytes, e->topic_n),
            tb_span_sub(tb_span(e->bytes, e->topic_n + e->payload_n), e->topic_n, e->payload_n),
            m->user);
        break;
    case DONE:
        ops->on_done(e->id, e->value, m->user);
        break;
    }
}

static void on_async(uv_async_t *async) {
    struct dev_mqtt *m = async->data;
    struct event *e = pop_all(m), *next;

    for (; e; e = next) {
        next = e->next;
        if (!m->closed)
            deliver(m, e);
        free(e);
    }
}

/* ---- called by paho's threads ---- */

static void paho_connected(void *user, MQTTAsync_successData *data) {
    struct event *e = event_new(CONNECTED, NULL, 0, NULL, 0);

    e->value = data ? data->alt.connect.sessionPresent : 0;
    push(user, e);
}

static void paho_failed(void *user, MQTTAsync_failureData *data) {
    static const char *const refused[] = {
        "",
        "protocol version not accepted",
        "client identifier not accepted",
        "server unavailable",
        "bad user name or password",
        "not authorised",
    };
    struct event *e;
    char text[160];
    int code = data ? data->code : 0;

    /* positive codes are those of CONNACK, negative ones paho's own */
    if (code > 0 && code < 6)
        snprintf(text, sizeof text, "mqtt: CONNECT refused, return code %d (%s)", code,
                 refused[code]);
    else
        snprintf(text, sizeof text, "mqtt: %s",
                 data && data->message ? data->message : "connection ended before CONNACK");
    e = event_new(FAILED, text, strlen(text), NULL, 0);
    e->value = code > 0 ? code : 0;
    push(user, e);
}

static void paho_ended(void *user, char *cause) {
    (void)cause;
    push(user, event_new(ENDED, NULL, 0, NULL, 0));
}

static void paho_disconnected(void *user, MQTTAsync_successData *data) {
    (void)data;
    push(user, event_new(ENDED, NULL, 0, NULL, 0));
}

static void paho_disconnect_failed(void *user, MQTTAsync_failureData *data) {
    (void)data;
    push(user, event_new(ENDED, NULL, 0, NULL, 0));
}

static int paho_message(void *user, char *topic, int topic_n, MQTTAsync_message *msg) {
    size_t n = topic_n > 0 ? (size_t)topic_n : strlen(topic);

    if (!push(user, event_new(MESSAGE, topic, n, msg->payload, (size_t)msg->payloadlen)))
        return 0; /* paho keeps it and comes again */
    MQTTAsync_freeMessage(&msg);
    MQTTAsync_free(topic);
    return 1;
}

static void give_back(struct dev_mqtt *m, struct request *r) {
    struct request **at = &m->requests;

    pthread_mutex_lock(&m->lock);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    pthread_mutex_unlock(&m->lock);
    free(r);
}

static void finish(struct request *r, int status) {
    struct event *e = event_new(DONE, NULL, 0, NULL, 0);
    struct dev_mqtt *m = r->m;

    e->id = r->id;
    e->value = status;
    give_back(m, r);
    push(m, e);
}

static void paho_done(void *user, MQTTAsync_successData *data) {
    (void)data;
    finish(user, 0);
}

static void paho_not_done(void *user, MQTTAsync_failureData *data) {
    (void)data;
    finish(user, TB_ECLOSED);
}

/* ---- the loop's side ---- */

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
    m->last = &m->first;
    m->work.data = m;
    pthread_mutex_init(&m->lock, NULL);
    if (uv_async_init(loop, &m->async, on_async) < 0)
        abort(); /* no descriptors left at the start of the program */
    m->async.data = m;
    return m;
}

static int paho_connect(struct dev_mqtt *m, const char *uri, unsigned timeout_s) {
    MQTTAsync_connectOptions opt = MQTTAsync_connectOptions_initializer;
    int r = MQTTAsync_create(&m->paho, uri, m->client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL);

    if (r != MQTTASYNC_SUCCESS) {
        m->paho = NULL;
        return TB_EPROTO;
    }
    opt.MQTTVersion = MQTTVERSION_3_1_1;
    opt.keepAliveInterval = (int)m->cfg.keep_alive_s;
    opt.cleansession = !m->cfg.keep_session;
    opt.connectTimeout = (int)timeout_s;
    opt.username = "iot-device";
    opt.password = m->token;
    opt.onSuccess = paho_connected;
    opt.onFailure = paho_failed;
    opt.context = m;
    r = MQTTAsync_setCallbacks(m->paho, m, paho_ended, paho_message, NULL);
    if (r == MQTTASYNC_SUCCESS)
        r = MQTTAsync_connect(m->paho, &opt);
    return r == MQTTASYNC_SUCCESS ? 0 : TB_EPROTO;
}

int dev_mqtt_connect(struct dev_mqtt *m, uint16_t port, unsigned timeout_s) {
    char uri[64];
    int r;

    if (m->state != IDLE)
        return TB_ESTATE;
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", (unsigned)port);
    r = paho_connect(m, uri, timeout_s);
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

/* Numbers a request and lets paho's answer find it. */
static struct request *begin(struct dev_mqtt *m, MQTTAsync_responseOptions *opt) {
    struct request *r = malloc(sizeof *r);

    if (!r)
        abort();
    r->m = m;
    r->id = ++m->last_id;
    pthread_mutex_lock(&m->lock);
    r->next = m->requests;
    m->requests = r;
    pthread_mutex_unlock(&m->lock);
    opt->onSuccess = paho_done;
    opt->onFailure = paho_not_done;
    opt->context = r;
    return r;
}

int dev_mqtt_publish(struct dev_mqtt *m, const char *topic, struct tb_span payload, int qos,
                     bool retain, unsigned *ret_id) {
    MQTTAsync_responseOptions opt = MQTTAsync_responseOptions_initializer;
    struct request *r;
    unsigned id;

    if (m->state != UP)
        return TB_ESTATE;
    if (payload.n > PAYLOAD_MAX)
        return TB_ERANGE;
    r = begin(m, &opt);
    id = r->id; /* r may be gone when the call returns */
    if (MQTTAsync_send(m->paho, topic, (int)payload.n, payload.p, qos, retain, &opt) !=
        MQTTASYNC_SUCCESS) {
        give_back(m, r);
        return TB_ESTATE;
    }
    *ret_id = id;
    return 0;
}

int dev_mqtt_subscribe(struct dev_mqtt *m, const char *filter, int qos, unsigned *ret_id) {
    MQTTAsync_responseOptions opt = MQTTAsync_responseOptions_initializer;
    struct request *r;
    unsigned id;

    if (m->state != UP)
        return TB_ESTATE;
    r = begin(m, &opt);
    id = r->id;
    if (MQTTAsync_subscribe(m->paho, filter, qos, &opt) != MQTTASYNC_SUCCESS) {
        give_back(m, r);
        return TB_ESTATE;
    }
    *ret_id = id;
    return 0;
}

void dev_mqtt_disconnect(struct dev_mqtt *m) {
    MQTTAsync_disconnectOptions opt = MQTTAsync_disconnectOptions_initializer;

    if (m->state != UP)
        return;
    opt.timeout = 1000;
    opt.onSuccess = paho_disconnected;
    opt.onFailure = paho_disconnect_failed;
    opt.context = m;
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

    pthread_mutex_destroy(&m->lock);
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
    struct event *e = pop_all(m), *next_event;
    struct request *r = m->requests, *next;

    (void)status;
    m->paho = NULL;
    m->requests = NULL;
    for (; e; e = next_event) {
        next_event = e->next;
        if (!m->closed)
            deliver(m, e);
        free(e);
    }
    for (; r; r = next) {
        next = r->next;
        if (!m->closed)
            m->ops->on_done(r->id, TB_ECLOSED, m->user);
        free(r);
    }
    m->state = IDLE;
    if (m->closed)
        uv_close((uv_handle_t *)&m->async, on_async_closed);
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
        uv_close((uv_handle_t *)&m->async, on_async_closed);
    else if (m->state != TIDYING)
        tidy_up(m);
}
