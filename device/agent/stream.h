#pragma once
/* A stream for tasks. Of bytes: TCP to a host, a Unix socket, a serial port, or a connection that
 * was accepted; or of datagrams: UDP with one host. Either may go by way of a SOCKS proxy. Reading
 * and writing never wait; dev_stream_wait() does.
 *
 * What arrives is kept up to DEV_STREAM_IN bytes, then the peer is held back; datagrams that come
 * then are lost, as datagrams are. */
#include <stdbool.h>
#include <uv.h>

#include "failure.h"
#include "task.h"
#include "tb/conn.h"
#include "tb/error.h"

enum { DEV_STREAM_IN = 32 * 1024, DEV_DATAGRAM_MAX = 16 * 1024 + 256 };

struct dev_stream;

/* Connects to host:port (name looked up by the system's resolver, in the background) or unix:/path.
 * For tasks. until as in dev_task_wait(). */
int dev_stream_connect(struct dev_task *t, const char *address, uint64_t until,
                       struct dev_stream **ret) TB_CHECKED;

/* Datagrams to and from host:port (RFC 768), no others are let in. Nothing is sent yet: whether
 * anybody is there shows later. */
int dev_stream_connect_udp(struct dev_task *t, const char *address, uint64_t until,
                           struct dev_stream **ret) TB_CHECKED;

/* The same two by way of the SOCKS 5 proxy at host:port (RFC 1928, without authentication: CONNECT
 * or UDP ASSOCIATE): a modem's packet service. Names of address are looked up by the proxy, the
 * proxy's own by the system. Negative with *why filled: who answered what. */
int dev_stream_via(struct dev_task *t, const char *proxy, const char *address, bool datagrams,
                   uint64_t until, struct dev_stream **ret, struct dev_failure *why) TB_CHECKED;

/* A serial port or pseudo terminal, raw, with that speed (0: as it is), and ours alone among
 * programs that lock it, as libiotsafe does: UV_EBUSY when another has it. */
int dev_stream_tty(uv_loop_t *loop, const char *path, unsigned speed,
                   struct dev_stream **ret) TB_CHECKED;

/* The listener's next connection, in its callback. */
int dev_stream_accept(struct tb_listener *l, struct dev_stream **ret) TB_CHECKED;

/* The TCP port of the other side of an accepted connection, 0 when there is none. */
uint16_t dev_stream_peer_port(const struct dev_stream *s);

/* TCP: what has arrived is acknowledged now, not with the next answer: for peers that have left
 * Nagle's algorithm on, as libcoap does. No-op for others. */
void dev_stream_ack_now(struct dev_stream *s);

/* The task to be woken by everything that happens to s; NULL: none. */
void dev_stream_owner(struct dev_stream *s, struct dev_task *t);

bool dev_stream_datagrams(const struct dev_stream *s);

/* Bytes that have arrived, all of them and in one piece, or the first datagram; borrowed until the
 * next wait or dev_stream_eat(). Empty: nothing is there (empty datagrams are dropped). */
struct tb_span dev_stream_data(const struct dev_stream *s);
/* Takes n bytes; a datagram is taken whole, whatever n. */
void dev_stream_eat(struct dev_stream *s, size_t n);

/* 1 while there is room, 0 when the peer does not keep up (dev_stream_full()), negative when s is
 * of no use any more. All n bytes are taken unless the result is negative; as one datagram, at most
 * DEV_DATAGRAM_MAX bytes (else TB_ERANGE; only this one is lost). */
int dev_stream_write(struct dev_stream *s, const void *p, size_t n);
bool dev_stream_full(const struct dev_stream *s);

/* 0 while it is open; TB_ECLOSED at the end of the stream, else the error. Data may still be there.
 */
int dev_stream_status(const struct dev_stream *s);

/* Waits until there is more data than `have` bytes (any datagram at all), or the stream ended (its
 * status is the result unless data came), or as dev_task_wait(). */
int dev_stream_wait(struct dev_stream *s, size_t have, uint64_t until) TB_CHECKED;

/* Sends what is queued, then closes; frees itself. NULL is a no-op. */
void dev_stream_close(struct dev_stream *s);
/* Without sending what is queued. */
void dev_stream_reset(struct dev_stream *s);
