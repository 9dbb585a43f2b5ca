#pragma once
/* The other side of all measured handshakes: a server on bare OpenSSL, many connections at a time
 * in one process. It says one byte when a handshake is complete: by that a client knows that its
 * certificate was accepted. To any data it then answers how many bytes came and went for the
 * handshake: "UP DOWN". */
#include <stdbool.h>

#include "bed.h"
#include "tls.h"

struct bench_server {
    struct bench_tls_files files; /* certificate, key, the clients' CA */
    bool datagrams;               /* DTLS, with a cookie first */
    bool mqtt;                    /* answers CONNECT with CONNACK instead of saying a byte */
    bool psk;                     /* the pre-shared keys of all cards so far, no certificates */
    unsigned port;                /* another one's to share; 0: a new one */
};

/* For bench_peer(), arg is a struct bench_server: tells its address. */
void bench_server_run(int fd, void *arg);

/* ---- server_dtls.c ---- */
struct bench_traffic {
    uint64_t up, down; /* bytes from the client, to the client */
};
struct bench_traffic bench_server_traffic(SSL *ssl);
void bench_server_tell(SSL *ssl, struct bench_traffic t);
void bench_server_datagrams(SSL_CTX *ctx, int fd);
