#pragma once
/* The running hub: its parts, and what happens between them. */
#include "api/api.h"
#include "mqtt/broker.h"
#include "mqtt/session.h"
#include "registry/registry.h"
#include "tb/cli.h"
#include "tb/ctl.h"
#include "tb/loop.h"
#include "tls/front.h"

struct hub_options {
    struct tb_cli_common common; /* first */
    char *state, *mqtts;
    char *tls_min, *tls_max, *groups, *ciphers, *cert, *key, *keylog;
    char *broker, *broker_socket, *broker_log;
    bool resumption;
    unsigned deadline_ms, max_connections, max_message;
};

struct hub_counters {
    uint64_t tls12, tls13, resumed;
    uint64_t handshake_us, handshake_us_max;
    uint64_t refused[HUB_VERDICTS];
    uint64_t broker_starts;
};

struct hub {
    struct tb_loop *loop;
    struct hub_options opt;
    struct tb_ctl *ctl;
    struct hub_registry *registry;
    struct hub_front *front;
    struct hub_sessions *sessions;
    struct hub_broker *broker;
    struct hub_api *api;
    uv_fs_event_t watch;        /* on hub_registry_touch_file() */
    struct tb_deadline recheck; /* runs hub_recheck() in a turn of its own */
    uint64_t seen_generation;   /* of the registry, by live sessions */
    struct hub_counters counters;
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

/* Lower-case hex, as sha256sum prints it. */
json_t *hub_json_hex(const uint8_t *p, size_t n);
json_t *hub_json_credential(const struct hub_credential *c); /* never its secret */

/* "x509:DEVICE" or "psk:IDENTITY": who a peer is in events. Returns dst. */
enum { HUB_IDENTITY_TEXT = HUB_PSK_IDENTITY_MAX + 8 };
char *hub_identity_text(const struct hub_credential *c, char dst[HUB_IDENTITY_TEXT]);

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
