#pragma once
/* The loopback port at which paho meets the secure channel. Open to paho alone: a connection is
 * taken when its first packet is a CONNECT with the right password, others are dropped. */
#include <stdint.h>

#include "channel.h"
#include "stream.h"
#include "task.h"
#include "tb/error.h"

struct dev_bridge;

struct dev_bridge_config {       /* borrowed */
    const char *token;           /* password expected */
    const char *user, *password; /* put into the CONNECT that goes on; NULL: none */
};

/* Listens on 127.0.0.1; t is woken when something happens. */
int dev_bridge_open(struct dev_task *t, const struct dev_bridge_config *cfg, uint16_t *ret_port,
                    struct dev_bridge **ret) TB_CHECKED;
void dev_bridge_close(struct dev_bridge *b); /* NULL is a no-op */

/* Waits until paho has come with its CONNECT; the port is closed then. */
int dev_bridge_wait(struct dev_bridge *b, uint64_t until) TB_CHECKED;

/* Passes on what has arrived on either side, as far as the other side keeps up. 1 when something
 * moved, 0 when not. TB_ECLOSED: paho ended its side, everything it sent has been passed on. Other
 * negative results: the channel ended, *why says why ("" for an orderly end). */
int dev_bridge_run(struct dev_bridge *b, struct dev_channel *ch,
                   struct dev_failure *why) TB_CHECKED;
