#pragma once
/* The bed of bench handshake: servers, cards and the ways to them, as far as the wanted cases need
 * them, and a client for each case. */
#include "bed.h"
#include "client.h"
#include "device.h"
#include "matrix.h"
#include "tls.h"

/* A card as a client reaches it. */
struct bench_place {
    bool there;
    char spec[200];            /* of libiotsafe */
    const char *missing;       /* why it cannot be measured here, NULL when it can */
    struct bench_identity who; /* the card */
    char ctl[128];             /* its sim-card's control socket, "" when it is in memory */
    struct bench_device *sim;  /* …and this is it */
    struct dev_card *card;     /* for channels; the module opens its own */
};

struct bench_hsbed {
    uv_loop_t loop;
    char server[2][2][64]; /* [datagrams][psk] */
    /* [0] the device's own; [offload] of the module's programs: a card has one reader */
    struct bench_place places[N_OFFLOADS][N_TRANSPORTS];
    struct bench_place recorder; /* in memory, behind a modem in memory: nothing is timed there */
    struct bench_tls_files software;
};

/* Starts what cases need. Everything is NULL or "" before. */
int bench_hsbed_start(struct bench_hsbed *b, const struct bench_case *cases, size_t n);
void bench_hsbed_stop(struct bench_hsbed *b);
struct bench_place *bench_hsbed_place(struct bench_hsbed *b, const struct bench_case *c);

/* A client of a case. */
struct bench_hsclient {
    struct bench_hsbed *bed;
    const struct bench_case *is;
    struct bench_hist times;
    struct bench_client channel; /* stacks of the device */
    struct bench_tls_client module;
    OSSL_LIB_CTX *libctx; /* the module's */
};
/* 0; TB_EUNSUP with *why filled when this build or machine cannot; or negative. at: NULL for the
 * case's own place. */
int bench_hsclient_init(struct bench_hsclient *h, struct bench_hsbed *b, const struct bench_case *c,
                        struct bench_place *at, struct dev_failure *why);
void bench_hsclient_done(struct bench_hsclient *h);
/* n handshakes, one after the other; arg is a struct bench_hsclient. */
int bench_hsclient_connect(void *arg, unsigned n);
const char *bench_hsclient_negotiated(const struct bench_hsclient *h);
