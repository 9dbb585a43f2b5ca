#pragma once
/* One device's MQTT connection: CONNECT is read and rewritten with the verified identity, then both
 * directions are relayed between TLS and the broker, each waiting for the other. */
#include "mqtt/broker.h"
#include "tb/mqtt.h"
#include "tls/front.h"

struct hub_session;
struct hub_sessions; /* all of them, found by device */

struct hub_session_totals { /* since the start */
    uint64_t connects, connects_refused, publishes, publishes_denied, taken_over, kicked;
    uint64_t bytes_up, bytes_down; /* MQTT, from and to devices */
};

struct hub_session_hooks {
    /* CONNECT was answered by the broker (code 0: accepted) or by the hub. client_id: what the
     * device asked for. */
    void (*on_connect)(const struct hub_session *s, const struct tb_mqtt_connect *c, unsigned code,
                       void *user);
    /* A PUBLISH went by. denied: the access rules forbid it, the broker drops it. payload is cut at
     * what the scanner keeps; payload_size is the truth. */
    void (*on_publish)(const struct hub_session *s, struct tb_span topic,
                       const struct tb_mqtt_publish *p, bool denied, void *user);
    /* Last call. reason: "device", "disconnect", "broker", "broker-down", "taken-over", "protocol",
     * "timeout", "shutdown", "error", or what hub_sessions_kick() was given. */
    void (*on_closed)(const struct hub_session *s, const char *reason, void *user);
    void *user;
};

struct hub_sessions *hub_sessions_new(uv_loop_t *loop, const struct hub_session_hooks *hooks);
void hub_sessions_free(struct hub_sessions *all); /* all sessions have ended */

/* Takes over an accepted connection. broker: borrowed, outlives it. */
void hub_session_start(struct hub_sessions *all, struct hub_tls *tls, const struct hub_peer *peer,
                       struct hub_broker *broker);

const char *hub_session_device(const struct hub_session *s);
const char *hub_session_identity(const struct hub_session *s); /* user name at the broker */
const struct hub_peer *hub_session_peer(const struct hub_session *s);
bool hub_session_is_connected(const struct hub_session *s); /* the broker has accepted it */
/* Is the device connected, and has it subscribed to its commands? */
bool hub_sessions_want_commands(struct hub_sessions *all, const char *device);

/* fn returns true to have the session closed with reason: MQTT 5 devices are told 0x98 first.
 * Returns how many. */
typedef bool hub_session_fn(const struct hub_session *s, const char **ret_reason, void *user);
unsigned hub_sessions_kick(struct hub_sessions *all, hub_session_fn *fn, void *user);
/* Ends all, for shutdown: MQTT 5 devices are told 0x8B. */
void hub_sessions_close(struct hub_sessions *all);
unsigned hub_sessions_count(const struct hub_sessions *all);
const struct hub_session_totals *hub_sessions_totals(const struct hub_sessions *all);
