#pragma once
/* What the kinds of streams share: bytes (stream.c), datagrams (dgram.c), by way of a proxy
 * (socks.c). */
#include "stream.h"

struct dev_stream;

struct stream_kind {
    int (*write)(struct dev_stream *s, const void *p, size_t n);
    /* The reader has taken something. */
    void (*taken)(struct dev_stream *s);
    /* Nobody holds it any more: owner is NULL. finish: what is queued is still to be sent. */
    void (*let_go)(struct dev_stream *s, bool finish);
};

struct dev_stream { /* first member of every kind */
    const struct stream_kind *kind;
    struct dev_task *owner;
    int status;
    bool datagrams;
    bool full, paused;
    /* What has arrived and is not taken yet. Allocated only while there is something: a thousand
     * sessions wait most of the time. Datagrams: each with its length, two bytes, before it. */
    uint8_t *in;
    size_t off, n, cap;
};

/* Room for n bytes more behind what is there, NULL when DEV_STREAM_IN would be passed. */
uint8_t *dev_stream_room(struct dev_stream *s, size_t n);
/* How many more bytes it may hold. */
size_t dev_stream_space(const struct dev_stream *s);
void dev_stream_wake(struct dev_stream *s);
void dev_stream_ended(struct dev_stream *s, int status); /* the first one stays */

/* Looks up *a's name with the system's resolver, in the background, unless it is numeric. */
int dev_stream_resolve(struct dev_task *t, struct tb_addr *a, uint64_t until) TB_CHECKED;
bool dev_stream_numeric(const char *host);

/* Datagrams to and from one address. Through a proxy's relay: socks, the header that is put before
 * each (copied), and taken from each that comes; control, the connection that stands for it: if it
 * ends, so does this (given when this succeeds). Else empty and NULL. */
int dev_dgram_open(struct dev_task *t, const struct tb_addr *a, struct tb_span socks,
                   struct dev_stream *control, struct dev_stream **ret) TB_CHECKED;

/* Takes the header from a datagram of the relay; false: it is to be dropped. */
bool dev_socks_strip(struct tb_span header, struct tb_span *data);
