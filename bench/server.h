#pragma once
/* The other side of all measured handshakes: a server on bare OpenSSL, many connections at a time
 * in one process. It says one byte when a handshake is complete: by that a client knows that its
 * certificate was accepted. */
#include <stdbool.h>

#include "tls.h"

enum { BENCH_PSK_MAX = 64 };

struct bench_server {
    struct bench_tls_files files; /* certificate, key, the clients' CA */
    bool datagrams;               /* DTLS, with a cookie first */
    bool mqtt;                    /* answers CONNECT with CONNACK instead of saying a byte */
    const char *psk_identity;     /* not NULL: a pre-shared key instead of certificates */
    unsigned char psk[BENCH_PSK_MAX];
    unsigned psk_n;
    unsigned port; /* another one's to share; 0: a new one */
};

/* For bench_peer(), arg is a struct bench_server: tells its address. */
void bench_server_run(int fd, void *arg);

/* A datagram socket as the server's BIO: see server_dtls.c. */
void bench_server_datagrams(SSL_CTX *ctx, int fd);
