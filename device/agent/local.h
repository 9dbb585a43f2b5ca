#pragma once
/* The loopback end at which a library that knows only sockets (libcoap, libcurl) meets the secure
 * channel: it takes what that library's one socket sends, and nobody else's. */
#include <stdint.h>

#include "task.h"
#include "tb/error.h"
#include "tb/span.h"

struct dev_local;

/* UDP (datagrams) or TCP on 127.0.0.1; t is woken when something can be read. */
int dev_local_open(struct dev_task *t, bool datagrams, uint16_t *ret_port,
                   struct dev_local **ret) TB_CHECKED;
/* The library's socket has that port: from now on only its bytes are taken. 1 when it is there, 0
 * when its connection has not come yet (TCP), or negative. */
int dev_local_peer(struct dev_local *l, uint16_t port) TB_CHECKED;

/* What the library has sent, a datagram or bytes; empty when nothing is there; until
 * dev_local_eat(). */
struct tb_span dev_local_data(struct dev_local *l);
void dev_local_eat(struct dev_local *l);
/* To the library. Datagrams may be lost, as datagrams are. */
int dev_local_write(struct dev_local *l, const void *p, size_t n) TB_CHECKED;
bool dev_local_full(const struct dev_local *l);
bool dev_local_ended(const struct dev_local *l); /* TCP: the library has closed */

void dev_local_ack_now(struct dev_local *l); /* dev_stream_ack_now() */
/* TCP: nothing more comes; what was written arrives. */
void dev_local_finish(struct dev_local *l);
void dev_local_close(struct dev_local *l); /* NULL is a no-op */
