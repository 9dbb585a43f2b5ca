#pragma once
/* TLS with client certificates as an unmodified program does it: OpenSSL on blocking sockets. */
#include <openssl/ssl.h>
#include <stdbool.h>

#include "hist.h"
#include "tb/pki.h"

struct bench_tls_files {
    char cert[160], key[160], ca[160];
};

/* For a server on this machine. */
extern const struct tb_pki_request bench_tls_localhost;

/* A new key and its certificate by bench_ca(), in files named after name. */
int bench_tls_issue(const char *name, const struct tb_pki_request *request,
                    struct bench_tls_files *ret);

struct bench_tls_client {
    SSL_CTX *ctx;
    const char *server; /* address */
    bool mqtt;          /* connected when CONNACK says so; else when the server's byte is there */
    struct bench_hist *times; /* of connections, NULL: not wanted */
    char negotiated[128];     /* what the first connection agreed on */
};
int bench_tls_client_init(struct bench_tls_client *c, OSSL_LIB_CTX *libctx,
                          const struct bench_tls_files *files, int version);
/* n connections, one after the other; arg is a struct bench_tls_client. */
int bench_tls_connect(void *arg, unsigned n);
