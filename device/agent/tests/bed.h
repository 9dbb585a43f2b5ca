#pragma once
/* What a channel needs around it, in one process: a card that answers over vpcd after a while, and
 * a TLS server that insists on a client certificate and sends back what it receives. */
#include <openssl/ssl.h>
#include <pthread.h>
#include <uv.h>

#include "../../ossl-provider/tests/fake_card.h"
#include "tb/conn.h"

struct bed_card { /* a fake card behind a Unix socket on the loop */
    struct fake_card card;
    uv_loop_t *loop;
    struct tb_listener *listener;
    struct tb_conn *conn;
    uv_timer_t delay;
    unsigned delay_ms; /* from command to answer */
    uint8_t gone_at;   /* instruction at which the card vanishes for good, 0: never */
    bool gone;
    bool silent; /* never answer again */
    bool busy;
    struct bed *bed;
    char link[300]; /* for dev_link_new() */
    size_t cmd_n;
    uint8_t cmd[300];
};

struct bed {
    uv_loop_t loop;
    char dir[64];
    unsigned cards, in_flight, most_in_flight;
    /* server */
    pthread_t thread;
    int listen_fd;
    char hub[64], ca_file[96];
    EVP_PKEY *key;
    SSL_CTX *ctx;
    int versions;  /* bits of DEV_TLS… */
    int accepts;   /* connections to serve, then the thread ends */
    int good;      /* handshakes that succeeded; of the thread until bed_join() */
    char peer[64]; /* CN of the last client */
};

void bed_init(struct bed *bed);
/* Serves n connections, one after the other, with versions; client certificates must be one of
 * cards'. */
void bed_serve(struct bed *bed, int n, unsigned versions, struct bed_card *cards, size_t n_cards);
void bed_join(struct bed *bed);
void bed_done(struct bed *bed);

void bed_card_init(struct bed_card *card, struct bed *bed, const char *name);
void bed_card_close(struct bed_card *card); /* then the loop must run */
void bed_card_done(struct bed_card *card);
