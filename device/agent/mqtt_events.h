#pragma once
/* From paho's threads to the loop: what paho says, in order, through one queue. */
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum dev_mqtt_kind {
    DEV_MQTT_CONNECTED,
    DEV_MQTT_FAILED,
    DEV_MQTT_ENDED,
    DEV_MQTT_MESSAGE,
    DEV_MQTT_DONE
};

struct dev_mqtt_event {
    struct dev_mqtt_event *next;
    enum dev_mqtt_kind kind;
    int status;  /* CONNECTED: session present; DONE: 0 or negative */
    int code;    /* what the server said: return or reason code */
    unsigned id; /* DONE */
    size_t topic_n, payload_n;
    char bytes[]; /* MESSAGE: topic, payload; FAILED, ENDED, DONE: text with NUL */
};

struct dev_mqtt_request { /* what paho is to acknowledge; guarded by the lock */
    struct dev_mqtt_request *next;
    struct dev_mqtt_events *events;
    unsigned id;
};

struct dev_mqtt_events {
    uv_async_t async;     /* the owner's: its data is not touched here */
    pthread_mutex_t lock; /* guards what follows */
    struct dev_mqtt_event *first, **last;
    unsigned queued;
    struct dev_mqtt_request *requests;
};

/* The loop takes events in on_async. */
void dev_mqtt_events_init(struct dev_mqtt_events *q, uv_loop_t *loop, uv_async_cb on_async);
void dev_mqtt_events_done(struct dev_mqtt_events *q); /* when async is closed */
/* All of them, to be freed one by one. */
struct dev_mqtt_event *dev_mqtt_events_take(struct dev_mqtt_events *q);

/* Paho's callbacks for a connection; q is their context. */
void dev_mqtt_events_connect(struct dev_mqtt_events *q, MQTTAsync_connectOptions *opt, int version);
int dev_mqtt_events_install(struct dev_mqtt_events *q, MQTTAsync paho, int version);
void dev_mqtt_events_disconnect(struct dev_mqtt_events *q, MQTTAsync_disconnectOptions *opt,
                                int version);
/* Numbers a request and lets paho's answer find it. */
void dev_mqtt_events_begin(struct dev_mqtt_events *q, unsigned id, bool subscription,
                           MQTTAsync_responseOptions *opt, int version,
                           struct dev_mqtt_request **ret);
/* Paho did not take it. */
void dev_mqtt_events_give_back(struct dev_mqtt_events *q, struct dev_mqtt_request *r);
/* Paho is gone: what it has not acknowledged it never will. */
struct dev_mqtt_request *dev_mqtt_events_orphans(struct dev_mqtt_events *q);
