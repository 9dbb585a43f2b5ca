#pragma once
/* The hub's own MQTT 5 client on the broker's socket: publishes, and hears what one filter
 * matches, but for what it has published itself. */
#include "mqtt/broker.h"

struct hub_client;

struct hub_client_ops {
    void (*on_up)(void *user); /* the broker has accepted us, and the subscription */
    /* Borrowed for the call. Messages larger than HUB_MESSAGE_MAX are left out by the broker. */
    void (*on_message)(struct tb_span topic, struct tb_span payload, bool retained, void *user);
    void (*on_closed)(int why, void *user); /* also after a failed attempt; last call */
};

enum { HUB_MESSAGE_MAX = 65 << 10 }; /* bytes of a whole packet */

/* Connects to the socket once. filter: copied; NULL for none. */
int hub_client_open(uv_loop_t *loop, const struct tb_addr *at, const char *filter,
                    const struct hub_client_ops *ops, void *user,
                    struct hub_client **ret) TB_CHECKED;
/* As hub_broker_publish(). As many as the broker wants are under way at a time, the next ones
 * wait. */
int hub_client_publish(struct hub_client *c, const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg) TB_CHECKED;
void hub_client_close(struct hub_client *c);
