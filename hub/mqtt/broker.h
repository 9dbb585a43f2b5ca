#pragma once
/* The stock broker behind the hub: a mosquitto that the hub configures, starts, and starts again
 * when it dies, listening on a Unix socket only. The folder of the socket (mode 0700) is the trust
 * boundary: what comes through it has been named by the hub. A small MQTT 5 client of the hub
 * itself publishes to devices; its CONNACK is also the proof that the broker serves. */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "tb/conn.h"
#include "tb/error.h"

struct hub_broker;

struct hub_broker_config { /* texts are copied */
    const char *program;   /* "mosquitto": looked up in PATH, then in /usr/sbin */
    const char *dir;       /* for its configuration and socket; made when missing */
    const char *socket;    /* NULL: DIR/mqtt */
    const char *log_file;  /* NULL: our stderr */
    unsigned max_message;  /* bytes of a PUBLISH payload */
    const char *filter;    /* what on_message() hears; NULL: nothing */
    void (*on_up)(struct hub_broker *b, void *user);
    void (*on_down)(struct hub_broker *b, const char *why, void *user);
    /* Somebody has published, but not hub_broker_publish(). Borrowed for the call. What is larger
     * than 64 KiB is left out. After a reconnection retained messages come again. */
    void (*on_message)(struct tb_span topic, struct tb_span payload, bool retained, void *user);
    void (*on_closed)(void *user); /* after hub_broker_close(): last call */
    void *user;
};

int hub_broker_open(uv_loop_t *loop, const struct hub_broker_config *cfg, struct hub_broker **ret,
                    struct tb_error *e) TB_CHECKED;
bool hub_broker_is_up(const struct hub_broker *b);
/* Changes each time the broker goes down: tells a session lost with it from one that the broker has
 * ended. */
unsigned hub_broker_lives(const struct hub_broker *b);
int hub_broker_pid(const struct hub_broker *b); /* -1 while there is none */
const struct tb_addr *hub_broker_addr(const struct hub_broker *b);
void hub_broker_close(struct hub_broker *b);

/* Publishes with QoS 1; done is called exactly once, from the loop: 1 when somebody subscribes to
 * the topic (our own filter does not count), 0 when nobody does, or negative. topic and payload are
 * copied. TB_ESTATE while the broker is down, TB_ERANGE when too many are under way or the payload
 * is above max_message. */
typedef void hub_published_fn(int result, void *arg);
int hub_broker_publish(struct hub_broker *b, const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg) TB_CHECKED;
