#pragma once
/* The device's life with its hub: card, TCP, TLS, MQTT, and again after a while when it ends.
 *
 * One attempt reads the certificate from the card (once, until something fails), connects, makes
 * the TLS handshake with the card's key and bridges paho to the channel. The session exists when
 * the hub has answered CONNACK: before that, a TLS 1.3 client cannot know whether its certificate
 * was accepted. Nothing is tried again inside an attempt. */
#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "card.h"
#include "channel.h"
#include "mqtt.h"
#include "tb/error.h"

struct dev_session;

struct dev_session_config {  /* borrowed until the session is closed */
    const char *hub;         /* host:port */
    const char *server_name; /* NULL: the host part of hub */
    unsigned versions;       /* bits of DEV_TLS… */
    const char *ca, *cert;   /* "card:<hex id>", "card:label=…" or a PEM file */
    const char *key;         /* the same */
    struct dev_mqtt_config mqtt;
    const char *user, *password; /* for the hub's CONNECT; NULL: none */
    unsigned timeout_ms;         /* of an attempt up to CONNACK */
    unsigned retry_min_ms, retry_max_ms;
    bool reconnect;
    void (*keylog)(const char *line, void *user);
    void *keylog_user;
};

struct dev_session_ops {
    /* One of the events in docs/architecture.md: session, session-failed, disconnected,
     * reconnecting, message, published. members: given. */
    void (*on_event)(const char *name, json_t *members, void *user);
    /* The hub accepted; subscriptions are to be made here. */
    void (*on_up)(void *user);
    /* A publication or subscription is acknowledged (0) or failed. */
    void (*on_done)(unsigned id, int status, void *user);
    /* No attempt is under way or planned any more. failed: the last one did not end by
     * dev_session_stop(). */
    void (*on_idle)(bool failed, void *user);
};

/* ca, cert and key are checked for their form only. card is borrowed. */
int dev_session_new(uv_loop_t *loop, const struct dev_session_config *cfg, struct dev_card *card,
                    const struct dev_session_ops *ops, void *user, struct dev_session **ret,
                    struct tb_error *e) TB_CHECKED;

/* TB_ESTATE when it is running already. */
int dev_session_start(struct dev_session *s) TB_CHECKED;

/* Ends the session in order (DISCONNECT, close_notify, the card's channel given back), within two
 * seconds; no reconnection. on_idle follows. */
void dev_session_stop(struct dev_session *s);

struct dev_mqtt *dev_session_mqtt(struct dev_session *s);
const char *dev_session_state(const struct dev_session *s); /* "idle", "card", … "up", "waiting" */
/* New reference: sessions, failures, reconnects, received, card traffic. */
json_t *dev_session_counters(const struct dev_session *s);

/* Stops if need be, frees, then calls done. */
void dev_session_close(struct dev_session *s, void (*done)(void *user));
