#pragma once
/* The device's own TLS as the benchmarks use it: iot-device's secure channels, on tasks of one
 * loop. */
#include "channel.h"
#include "hist.h"
#include "task.h"

struct bench_client {
    const char *server; /* address of a bench_server_run() */
    struct dev_tls *tls;
    bool datagrams;
    struct bench_hist *times; /* of connections, NULL: not wanted */
    char negotiated[160];     /* what the first connection agreed on */
};

/* For tasks: a connection that the server has accepted. Negative: told on stderr. */
int bench_client_open(struct bench_client *c, struct dev_task *t, struct dev_channel **ret);

/* For tasks: the same, and closed again. */
int bench_client_once(struct bench_client *c, struct dev_task *t);

/* Runs fn on a task to its end; the loop may have handles that stay. Returns what fn returned. */
int bench_run_task(uv_loop_t *loop, int (*fn)(struct dev_task *t, void *arg), void *arg);
