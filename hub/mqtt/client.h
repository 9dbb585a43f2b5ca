#pragma once
/* The hub's own MQTT 5 client on the broker's socket: it only publishes. */
#include "mqtt/broker.h"

struct hub_client;

struct hub_client_ops {
    void (*on_up)(void *user);              /* the broker has accepted us */
    void (*on_closed)(int why, void *user); /* also after a failed attempt; last call */
};

/* Connects to the socket once. */
int hub_client_open(uv_loop_t *loop, const struct tb_addr *at, const struct hub_client_ops *ops,
                    void *user, struct hub_client **ret) TB_CHECKED;
int hub_client_publish(struct hub_client *c, const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg) TB_CHECKED;
void hub_client_close(struct hub_client *c);
