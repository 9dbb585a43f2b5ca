#pragma once
/* The client's end of the transports: one exchange at a time, blocking, the same code for a bare
 * peer and for ours. */
#include <stddef.h>
#include <stdint.h>

#include "tb/span.h"

struct bench_link {
    int fd; /* vpcd or AT */
    int is_at;
    int (*call)(void *arg, struct tb_span cmd, struct tb_buf *rsp); /* not NULL: instead of fd */
    void *arg;
};

/* One command, one response (data and SW1 SW2 into rsp). 0 or negative. */
int bench_exchange(struct bench_link *l, struct tb_span cmd, struct tb_buf *rsp);
/* The same, and the response must end with 9000. */
int bench_expect_ok(struct bench_link *l, struct tb_span cmd);
/* Opens addr and, for AT, switches the echo off. */
int bench_link_open(struct bench_link *l, const char *addr, int is_at);
