#pragma once
/* MQTT 3.1.1 or 5 by paho.mqtt.c, which knows only sockets: it is connected to a port of the
 * loopback interface that the session bridges to its secure channel. paho runs threads of its own;
 * everything it says reaches the loop through one queue, and the callbacks below run there.
 *
 * paho identifies itself at the port with a random password (dev_mqtt_token()), which the session
 * takes out of the CONNECT before it goes on. */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "protocol.h"
#include "tb/error.h"
#include "tb/span.h"

struct dev_mqtt;

struct dev_mqtt_ops {
    /* The server accepted CONNECT. */
    void (*on_connected)(bool session_present, void *user);
    /* The attempt is over: refused with that code of CONNACK, or (0) the connection ended
     * first. why for a person. */
    void (*on_failed)(int code, const char *why, void *user);
    /* An accepted connection ended, by dev_mqtt_disconnect() or otherwise. why: "" or what the
     * server's DISCONNECT said. */
    void (*on_ended)(const char *why, void *user);
    /* After on_failed or on_ended, when paho has tidied up: the next dev_mqtt_connect() may come.
     */
    void (*on_idle)(void *user);
    void (*on_message)(struct tb_span topic, struct tb_span payload, void *user);
    /* The publication or subscription with that number is acknowledged (0) or failed (negative,
     * with why). code: reason code of MQTT 5. */
    void (*on_done)(unsigned id, int status, int code, const char *why, void *user);
};

struct dev_mqtt_config { /* copied, but for the texts of the CONNECT, which are borrowed */
    const char *client_id;
    const char *user, *password; /* for the hub's CONNECT; NULL: none */
    int version;                 /* 4: 3.1.1, 5 */
    unsigned keep_alive_s;
    bool keep_session; /* subscriptions and what was missed survive the connection */
    unsigned timeout_ms;
};

enum { DEV_MQTT_TOKEN = 32 }; /* characters */

/* ops and user are borrowed until dev_mqtt_close() is done. */
struct dev_mqtt *dev_mqtt_new(uv_loop_t *loop, const struct dev_mqtt_config *cfg,
                              const struct dev_mqtt_ops *ops, void *user);

/* Starts connecting to 127.0.0.1:port; on_connected or on_failed follows within timeout_s.
 * TB_ESTATE while an earlier attempt or connection has not ended. */
int dev_mqtt_connect(struct dev_mqtt *m, uint16_t port, unsigned timeout_s) TB_CHECKED;
bool dev_mqtt_busy(const struct dev_mqtt *m); /* between dev_mqtt_connect() and on_idle */
bool dev_mqtt_connected(const struct dev_mqtt *m);

/* *ret_id is what on_done() will tell. Negative: not connected, or too much is under way. */
int dev_mqtt_publish(struct dev_mqtt *m, const char *topic, struct tb_span payload, int qos,
                     bool retain, unsigned *ret_id) TB_CHECKED;
int dev_mqtt_subscribe(struct dev_mqtt *m, const char *filter, int qos,
                       unsigned *ret_id) TB_CHECKED;
/* Says DISCONNECT; on_ended follows. Nothing happens when it is not connected. */
void dev_mqtt_disconnect(struct dev_mqtt *m);

const char *dev_mqtt_token(const struct dev_mqtt *m);

/* Frees itself from the loop (paho takes its time in the background), then calls done. */
void dev_mqtt_close(struct dev_mqtt *m, void (*done)(void *user));

/* The protocol of an application that speaks MQTT. */
struct dev_protocol *dev_protocol_mqtt(uv_loop_t *loop, const struct dev_mqtt_config *cfg);
