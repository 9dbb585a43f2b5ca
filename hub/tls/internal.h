#pragma once
/* What the files of the TLS front share. */
#include <stdio.h>

#include "tb/loop.h"
#include "tls/front.h"
#include "tls/ident.h"

struct hub_front {
    uv_loop_t *loop;
    struct hub_front_config cfg;
    struct tb_listener *listener; /* NULL when closing */
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    EVP_MD *sha256;
    FILE *keylog;
    uint8_t trust_digest[32];
    struct hub_tls *first; /* all connections, doubly linked */
    unsigned count;
    /* Scratch for whichever connection is at work; one thread, never nested. */
    uint8_t *plain;
    struct tb_buf out; /* heap, grows */
    bool closing;
};

enum { PLAIN_SIZE = 64 << 10, RECORD_MAX = 16 << 10 };

struct hub_tls {
    struct hub_front *front;
    struct hub_tls *next, **link;
    struct tb_conn *conn;
    SSL *ssl;
    struct tb_span in; /* ciphertext offered by tb_conn, while it is being driven */
    struct tb_deadline deadline;
    const struct hub_tls_ops *ops; /* NULL before it is open */
    void *user;
    uint64_t began_ns;
    struct hub_ident id;
    bool open, settled, closing, paused, reported;
    unsigned handles; /* conn and deadline, while they are open */
};

/* The BIO between OpenSSL and tb_conn: reads from t->in, appends to front->out. */
BIO_METHOD *hub_tls_bio_method(void);
BIO *hub_tls_bio(BIO_METHOD *m, struct hub_tls *t);
void hub_front_put_out(struct hub_front *f, const void *p, size_t n);

/* Takes over a waiting connection of the listener. */
void hub_tls_accept(struct hub_front *f);
/* After the last handle of a front's connection has closed. */
void hub_front_gone(struct hub_front *f);
