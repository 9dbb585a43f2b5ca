#pragma once
/* The running hub: its parts, and what happens between them. */
#include "api/api.h"
#include "app/listener.h"
#include "http/http.h"
#include "mqtt/broker.h"
#include "mqtt/session.h"
#include "registry/registry.h"
#include "tb/cli.h"
#include "tb/ctl.h"
#include "tb/loop.h"
#include "tls/front.h"

struct hub_options {
    struct tb_cli_common common; /* first */
    char *state;
    struct tb_strv listen[HUB_LISTENER_KINDS]; /* see app/listener.h */
    char *tls_min, *tls_max, *groups, *ciphers, *cert, *key, *keylog;
    char *broker, *broker_socket, *broker_log;
    bool resumption;
    unsigned deadline_ms, max_connections, max_message;
};

struct hub {
    struct tb_loop *loop;
    struct hub_options opt;
    struct tb_ctl *ctl;
    struct hub_registry *registry;
    struct hub_listener *listeners; /* in the order of their kinds; their place never changes */
    size_t listener_count;
    struct hub_sessions *sessions;
    struct hub_broker *broker;
    struct hub_api *api;
    struct hub_http *http;      /* NULL when no listener needs it */
    uv_fs_event_t watch;        /* on hub_registry_touch_file() */
    struct tb_deadline recheck; /* runs hub_recheck() in a turn of its own */
    uint64_t seen_generation;   /* of the registry, by live sessions */
    uint64_t broker_starts, api_messages, coap_kicked;
    int lock_fd; /* of DIR/lock; -1: none */
    bool ready, stopping;
};

/* Starts everything on h->loop. On failure what was started is stopped by tb_loop_stop(). */
int hub_start(struct hub *h, struct tb_error *e) TB_CHECKED;
void hub_done(struct hub *h); /* after the loop has ended */

extern const struct tb_ctl_verb hub_verbs[];

/* Trusted CAs are looked at again, sessions whose credential is not accepted any more are ended.
 * Returns how many. */
unsigned hub_recheck(struct hub *h);
/* The registry may have been changed by another process: this is where that is noticed without
 * watching. Cheap; call it when a device has connected. */
void hub_notice_changes(struct hub *h);
/* True when a session of c has to end; *ret_reason says why, for event "closed". */
bool hub_is_over(struct hub *h, const struct hub_credential *c, const char **ret_reason);
/* The control socket closes when the hub stops and nobody is left to cause an event. To be called
 * when a session has gone. */
void hub_maybe_close_ctl(struct hub *h);

/* listeners.c: all of them, whatever is behind. */
int hub_listeners_start(struct hub *h, struct tb_error *e) TB_CHECKED;
int hub_listeners_refresh(struct hub *h, struct tb_error *e) TB_CHECKED; /* trusted CAs */
unsigned hub_listeners_kick(struct hub *h); /* sessions that are over; how many */
void hub_listeners_done(struct hub *h);
unsigned hub_live_sessions(const struct hub *h); /* of all protocols */
unsigned hub_connections(const struct hub *h);   /* sessions and handshakes */
/* [{"name", "kind", "at", "tls"}]; coaps over TCP has an entry of its own, kind "coaps_tcp". */
json_t *hub_json_listeners(const struct hub *h);
/* The first address of each kind, as members of *o. */
void hub_json_addresses(const struct hub *h, json_t *o);

/* tell.c: events and figures. members are given. */
void hub_tell(struct hub *h, const char *event, json_t *members);
void hub_tell_ready(struct hub *h);
/* For whoever has ended TLS at l: a device is in, is not let in, has gone. protocol: "mqtt",
 * "coap", "http". Also counted in l->tally. */
void hub_tell_session(struct hub_listener *l, const struct hub_peer *peer, const char *protocol);
void hub_tell_refused(struct hub_listener *l, enum hub_verdict v, const struct hub_peer *peer);
void hub_tell_closed(struct hub *h, const char *device, const char *reason);
/* The text of /metrics, Prometheus' text format 0.0.4; heap. */
char *hub_metrics_text(const struct hub *h);
extern const struct hub_session_hooks hub_session_hooks; /* user: the hub */

/* Lower-case hex, as sha256sum prints it. */
json_t *hub_json_hex(const uint8_t *p, size_t n);
json_t *hub_json_credential(const struct hub_credential *c); /* never its secret */
/* Appends what verb "sessions" tells of one, unless the list is long enough. */
void hub_json_add_session(json_t *list, const struct hub_peer *p, const char *protocol,
                          bool is_connected);

/* To all credentials that which names and the step is possible for: to the new state, with event
 * "credential". Returns how many changed; TB_ENOTFOUND when which names nothing, TB_ESTATE when
 * nothing could change. *ret_kicked: sessions ended. h NULL in the command line tool: registry r
 * then, no events. */
int hub_change_state(struct hub *h, struct hub_registry *r, const char *which,
                     enum hub_cred_state to, const char *actor, const char *cause,
                     unsigned *ret_kicked, struct tb_error *e) TB_CHECKED;

/* Subcommands; argv[0] is their name. Return the exit code. */
int hub_cmd_ca(int argc, char **argv);
int hub_cmd_import(int argc, char **argv);
int hub_cmd_add_psk(int argc, char **argv);
int hub_cmd_credential(int argc, char **argv);

/* Opens the registry in state (NULL: complains about --state), else ends the process with status 1
 * or 2. */
struct hub_registry *hub_cmd_registry(const char *program, const char *state);
/* "program: file:line: message" on stderr; returns 1. */
int hub_cmd_fail(const char *program, const struct tb_error *e);
