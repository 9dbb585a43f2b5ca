#include "mqtt_events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb/error.h"

enum {
    QUEUE_MAX = 1024, /* messages that wait for the loop; then paho is told to keep them */
    SUBACK_FAILURE = 0x80,
    REFUSED = 0x80, /* reason codes of MQTT 5 from here on */
};

static struct dev_mqtt_event *event_new(enum dev_mqtt_kind kind, const void *topic, size_t topic_n,
                                        const void *payload, size_t payload_n) {
    struct dev_mqtt_event *e = calloc(1, sizeof *e + topic_n + payload_n + 1);

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

static struct dev_mqtt_event *event_text(enum dev_mqtt_kind kind, const char *text) {
    return event_new(kind, text, strlen(text), NULL, 0);
}

/* False, and e is freed, when a message finds the queue full. */
static bool push(struct dev_mqtt_events *q, struct dev_mqtt_event *e) {
    bool taken;

    pthread_mutex_lock(&q->lock);
    taken = e->kind != DEV_MQTT_MESSAGE || q->queued < QUEUE_MAX;
    if (taken) {
        *q->last = e;
        q->last = &e->next;
        q->queued++;
    }
    pthread_mutex_unlock(&q->lock);
    if (taken)
        uv_async_send(&q->async);
    else
        free(e);
    return taken;
}

struct dev_mqtt_event *dev_mqtt_events_take(struct dev_mqtt_events *q) {
    struct dev_mqtt_event *all;

    pthread_mutex_lock(&q->lock);
    all = q->first;
    q->first = NULL;
    q->last = &q->first;
    q->queued = 0;
    pthread_mutex_unlock(&q->lock);
    return all;
}

/* ---- the connection, called by paho's threads ---- */

static void push_connected(struct dev_mqtt_events *q, int session_present) {
    struct dev_mqtt_event *e = event_new(DEV_MQTT_CONNECTED, NULL, 0, NULL, 0);

    e->status = session_present;
    push(q, e);
}

static void connected(void *user, MQTTAsync_successData *data) {
    push_connected(user, data ? data->alt.connect.sessionPresent : 0);
}

static void connected5(void *user, MQTTAsync_successData5 *data) {
    push_connected(user, data ? data->alt.connect.sessionPresent : 0);
}

static void push_failed(struct dev_mqtt_events *q, int code, const char *text) {
    struct dev_mqtt_event *e = event_text(DEV_MQTT_FAILED, text);

    e->code = code;
    push(q, e);
}

static const char *or_ended(const char *message) {
    return message ? message : "connection ended before CONNACK";
}

static void failed(void *user, MQTTAsync_failureData *data) {
    static const char *const refused[] = {
        "",
        "protocol version not accepted",
        "client identifier not accepted",
        "server unavailable",
        "bad user name or password",
        "not authorised",
    };
    int code = data ? data->code : 0;
    char text[160];

    /* positive codes are those of CONNACK, negative ones paho's own */
    if (code > 0 && code < 6)
        snprintf(text, sizeof text, "mqtt: CONNECT refused, return code %d (%s)", code,
                 refused[code]);
    else
        snprintf(text, sizeof text, "mqtt: %s", or_ended(data ? data->message : NULL));
    push_failed(user, code > 0 ? code : 0, text);
}

static const char *reason_text(int code) {
    const char *text = MQTTReasonCode_toString((enum MQTTReasonCodes)code);

    return text ? text : "unknown";
}

static void failed5(void *user, MQTTAsync_failureData5 *data) {
    int code = data ? (int)data->reasonCode : 0;
    char text[160];

    if (data && code < REFUSED) /* paho 1.3.12 has that of CONNACK here */
        code = data->code;
    if (code >= REFUSED)
        snprintf(text, sizeof text, "mqtt: CONNECT refused, reason code %d (%s)", code,
                 reason_text(code));
    else
        snprintf(text, sizeof text, "mqtt: %s", or_ended(data ? data->message : NULL));
    push_failed(user, code >= REFUSED ? code : 0, text);
}

static void push_ended(struct dev_mqtt_events *q) {
    push(q, event_text(DEV_MQTT_ENDED, ""));
}

static void lost(void *user, char *cause) {
    (void)cause;
    push_ended(user);
}

/* MQTT 5: the server says why it ends the connection. */
static void dismissed(void *user, MQTTProperties *properties, enum MQTTReasonCodes reason) {
    struct dev_mqtt_event *e;
    char text[160];

    (void)properties;
    snprintf(text, sizeof text, "mqtt: server sent DISCONNECT, reason code %d (%s)", (int)reason,
             reason_text((int)reason));
    e = event_text(DEV_MQTT_ENDED, text);
    e->code = (int)reason;
    push(user, e);
}

static void said_goodbye(void *user, MQTTAsync_successData *data) {
    (void)data;
    push_ended(user);
}

static void said_goodbye5(void *user, MQTTAsync_successData5 *data) {
    (void)data;
    push_ended(user);
}

static void no_goodbye(void *user, MQTTAsync_failureData *data) {
    (void)data;
    push_ended(user);
}

static void no_goodbye5(void *user, MQTTAsync_failureData5 *data) {
    (void)data;
    push_ended(user);
}

static int message(void *user, char *topic, int topic_n, MQTTAsync_message *msg) {
    size_t n = topic_n > 0 ? (size_t)topic_n : strlen(topic);

    if (!push(user, event_new(DEV_MQTT_MESSAGE, topic, n, msg->payload, (size_t)msg->payloadlen)))
        return 0; /* paho keeps it and comes again */
    MQTTAsync_freeMessage(&msg);
    MQTTAsync_free(topic);
    return 1;
}

void dev_mqtt_events_connect(struct dev_mqtt_events *q, MQTTAsync_connectOptions *opt,
                             int version) {
    opt->context = q;
    if (version >= MQTTVERSION_5) {
        opt->onSuccess5 = connected5;
        opt->onFailure5 = failed5;
    } else {
        opt->onSuccess = connected;
        opt->onFailure = failed;
    }
}

int dev_mqtt_events_install(struct dev_mqtt_events *q, MQTTAsync paho, int version) {
    int r = MQTTAsync_setCallbacks(paho, q, lost, message, NULL);

    if (r == MQTTASYNC_SUCCESS && version >= MQTTVERSION_5)
        r = MQTTAsync_setDisconnected(paho, q, dismissed);
    return r;
}

void dev_mqtt_events_disconnect(struct dev_mqtt_events *q, MQTTAsync_disconnectOptions *opt,
                                int version) {
    opt->context = q;
    if (version >= MQTTVERSION_5) {
        opt->onSuccess5 = said_goodbye5;
        opt->onFailure5 = no_goodbye5;
    } else {
        opt->onSuccess = said_goodbye;
        opt->onFailure = no_goodbye;
    }
}

/* ---- publications and subscriptions ---- */

void dev_mqtt_events_give_back(struct dev_mqtt_events *q, struct dev_mqtt_request *r) {
    struct dev_mqtt_request **at = &q->requests;

    pthread_mutex_lock(&q->lock);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    pthread_mutex_unlock(&q->lock);
    free(r);
}

static void finish(struct dev_mqtt_request *r, int status, int code, const char *text) {
    struct dev_mqtt_event *e = event_text(DEV_MQTT_DONE, text);
    struct dev_mqtt_events *q = r->events;

    e->id = r->id;
    e->status = status;
    e->code = code;
    dev_mqtt_events_give_back(q, r);
    push(q, e);
}

static void refuse(struct dev_mqtt_request *r, int code) {
    char text[120];

    snprintf(text, sizeof text, "refused by the server, reason code %d (%s)", code,
             reason_text(code));
    finish(r, TB_EPROTO, code, text);
}

static void done(void *user, MQTTAsync_successData *data) {
    (void)data;
    finish(user, 0, 0, "");
}

/* 3.1.1 knows one refusal: that of a subscription (3.9.3). */
static void subscribed(void *user, MQTTAsync_successData *data) {
    if (data && data->alt.qos == SUBACK_FAILURE)
        finish(user, TB_EPROTO, SUBACK_FAILURE, "refused by the server, return code 128");
    else
        finish(user, 0, 0, "");
}

static void not_done(void *user, MQTTAsync_failureData *data) {
    if (data && data->code == SUBACK_FAILURE)
        finish(user, TB_EPROTO, SUBACK_FAILURE, "refused by the server, return code 128");
    else
        finish(user, TB_ECLOSED, 0, "not acknowledged");
}

static void done5(void *user, MQTTAsync_successData5 *data) {
    int code = data ? (int)data->reasonCode : 0;

    if (code >= REFUSED)
        refuse(user, code);
    else
        finish(user, 0, code, "");
}

static void not_done5(void *user, MQTTAsync_failureData5 *data) {
    int code = data ? (int)data->reasonCode : 0;

    if (code >= REFUSED)
        refuse(user, code);
    else
        finish(user, TB_ECLOSED, 0, "not acknowledged");
}

void dev_mqtt_events_begin(struct dev_mqtt_events *q, unsigned id, bool subscription,
                           MQTTAsync_responseOptions *opt, int version,
                           struct dev_mqtt_request **ret) {
    struct dev_mqtt_request *r = malloc(sizeof *r);

    if (!r)
        abort();
    r->events = q;
    r->id = id;
    pthread_mutex_lock(&q->lock);
    r->next = q->requests;
    q->requests = r;
    pthread_mutex_unlock(&q->lock);
    opt->context = r;
    if (version >= MQTTVERSION_5) {
        opt->onSuccess5 = done5;
        opt->onFailure5 = not_done5;
    } else {
        opt->onSuccess = subscription ? subscribed : done;
        opt->onFailure = not_done;
    }
    *ret = r;
}

struct dev_mqtt_request *dev_mqtt_events_orphans(struct dev_mqtt_events *q) {
    struct dev_mqtt_request *all = q->requests;

    q->requests = NULL;
    return all;
}

/* ---- life ---- */

void dev_mqtt_events_init(struct dev_mqtt_events *q, uv_loop_t *loop, uv_async_cb on_async) {
    *q = (struct dev_mqtt_events){0};
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    if (uv_async_init(loop, &q->async, on_async) < 0)
        abort(); /* no descriptors left */
}

void dev_mqtt_events_done(struct dev_mqtt_events *q) {
    pthread_mutex_destroy(&q->lock);
}
