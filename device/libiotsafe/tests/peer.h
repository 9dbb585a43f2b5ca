#pragma once
/* The other side of a transport in a thread of its own: a modem or a card on a real socket or
 * terminal, with faults on order. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "iotsafe/at.h"
#include "script.h"

enum where { PTY, UNIX, TCP };

struct peer {
    pthread_t thread;
    enum where where;
    bool vpcd, echo;
    int listen_fd, fd; /* pty: fd is the master from the beginning */
    char path[200], spec[300];
    size_t piece;      /* bytes of one write, 0: all */
    unsigned calls;    /* connections so far */
    unsigned drop_at;  /* close the connection instead of answering this APDU, counted from 1 */
    unsigned mute_at;  /* keep the answer to this APDU back until go is readable */
    unsigned eject_at; /* vpcd: answer with an empty frame */
    int go[2];
    unsigned apdus, locks_refused;
    unsigned char power[16]; /* vpcd: control bytes as they came */
    size_t power_n;
};

/* Fill in what is wanted before peer_start(): where, vpcd, echo, piece and the faults. scheme:
 * "at", "cgla", "vpcd"; spec is set. */
void peer_start(struct peer *p, const char *scheme);
void peer_stop(struct peer *p);
void peer_with_timeout(struct peer *p); /* half a second, in spec */

/* Serves one connection, p->fd, as a vpcd card does, until it ends. */
void peer_serve_card(struct peer *p);
extern char peer_dir[]; /* folder of the sockets */

struct iotsafe *peer_open(const char *spec);
void peer_expect_random(struct iotsafe *c, size_t n); /* GET RANDOM of this card counts up from 0 */
uint64_t peer_opens(const struct iotsafe *c);

/* Of the group of tests: the folder of the sockets. */
int peer_setup(void **state);
int peer_teardown(void **state);
