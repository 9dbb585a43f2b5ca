#pragma once
/* The life of one application with its hub: card, TCP or UDP, TLS or DTLS, its protocol, and again
 * after a while when it ends.
 *
 * One attempt reads the certificate from the card (once, until something fails), connects, makes
 * the handshake with the card's key and lets the protocol run. The session exists when the hub has
 * accepted it (MQTT: CONNACK; DTLS: the handshake; CoAP over TLS: its CSM): before that, a TLS 1.3
 * client cannot know whether its certificate was accepted. HTTP has no greeting: there a session
 * that ends before the first answer counts as failed. Nothing is tried again inside an attempt. */
#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "card.h"
#include "credential.h"
#include "hub_url.h"
#include "protocol.h"
#include "tb/error.h"

struct dev_session;

struct dev_session_config { /* texts are borrowed until the next configuration or the end */
    const char *hub;        /* as given, for events and errors */
    struct dev_hub at;
    struct dev_credential_config credential;
    const char *via;     /* socks5 proxy, host:port; NULL: none */
    unsigned timeout_ms; /* of an attempt, up to the session */
    unsigned retry_min_ms, retry_max_ms;
    bool reconnect;
};

struct dev_session_ops {
    /* One of the events in docs/device.md: session, session-failed, disconnected, reconnecting,
     * message, notification. members: given. */
    void (*on_event)(const char *name, json_t *members, void *user);
    /* The session exists; subscriptions are to be made here. */
    void (*on_up)(void *user);
    /* As in struct dev_protocol_host. */
    void (*on_done)(unsigned id, int status, json_t *reply, const char *why, void *user);
    /* No attempt is under way or planned any more. failed: the last one did not end by
     * dev_session_stop(). */
    void (*on_idle)(bool failed, void *user);
    /* Does no other session of the card run? Then this one's end is the end of its channel. */
    bool (*alone)(void *user);
};

/* card is borrowed. Idle, and without a configuration. */
struct dev_session *dev_session_new(uv_loop_t *loop, struct dev_card *card,
                                    const struct dev_session_ops *ops, void *user);

/* While the session is idle (else TB_ESTATE). protocol: given when it succeeds; the one before is
 * closed. The texts of sources are checked for their form only. Nothing changes when it fails. */
int dev_session_configure(struct dev_session *s, const struct dev_session_config *cfg,
                          struct dev_protocol *protocol, struct tb_error *e) TB_CHECKED;

/* TB_ESTATE when it is running already. */
int dev_session_start(struct dev_session *s) TB_CHECKED;

/* Ends the session in order (the protocol's good-bye, close_notify, the card's channel given back),
 * within two seconds; no reconnection. on_idle follows. */
void dev_session_stop(struct dev_session *s);

bool dev_session_ending(const struct dev_session *s); /* told to stop, and not idle yet */
struct dev_protocol *dev_session_protocol(struct dev_session *s);
const char *dev_session_state(const struct dev_session *s); /* "idle", "card", … "up", "waiting" */
/* New reference: sessions, failures, reconnects, card traffic. */
json_t *dev_session_counters(const struct dev_session *s);

/* Stops if need be, frees, then calls done. */
void dev_session_close(struct dev_session *s, void (*done)(void *user));
