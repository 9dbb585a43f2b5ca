#pragma once
/* What the files of the OpenSSL channel share: openssl_lib.c (library context, streams as BIOs),
 * openssl_tls.c (an application's side), channel_openssl.c (a connection). */
#include <openssl/ssl.h>

#include "channel_stack.h"
#include "isp.h"

/* ---- openssl_lib.c ---- */

/* OpenSSL with the iotsafe provider linked in; one for each set of operations that the card takes
 * over, shared by counting. */
struct openssl_lib {
    OSSL_LIB_CTX *ctx;
    OSSL_PROVIDER *def, *iotsafe;
    unsigned refs;
};
enum { OPENSSL_ECDHE = 1, OPENSSL_VERIFY = 2, OPENSSL_PSK = 4 };
/* tokens: what the card does besides signatures. NULL when OpenSSL cannot be set up; its errors are
 * in the queue. */
struct openssl_lib *dev_openssl_lib(unsigned tokens);
void dev_openssl_lib_put(struct openssl_lib *lib); /* NULL is a no-op */

/* The stream (borrowed) as a BIO. NULL when out of memory. */
BIO *dev_openssl_bio(struct dev_stream *s);

/* For isp_set_host() (openssl_host.c). */
struct isp_host dev_openssl_host(void);

/* ---- openssl_tls.c ---- */

struct openssl_tls {
    struct dev_tls tls;
    struct openssl_lib *lib;
    SSL_CTX *ctx;
    char server_name[256];
    bool datagrams, random;
    char psk_identity[256]; /* "": a certificate */
    size_t psk_n;
    unsigned char psk[256]; /* the secret, or the provider's handle for the one in the card */
    SSL_SESSION *session;   /* to be resumed, NULL: none */
    bool resume;
    void (*keylog)(const char *line, void *user);
    void *keylog_user;
};

/* ---- channel_openssl.c ---- */

struct openssl_channel {
    struct dev_channel ch;
    struct openssl_tls *tls;
    SSL *ssl;
    int alert; /* last one received, -1: none */
    bool resumed;
};

/* Credential and policy of a pre-shared key (openssl_psk.c). */
bool dev_openssl_use_psk(struct openssl_tls *t, const struct dev_tls_config *cfg);
/* Names as OpenSSL has them, of TLS 1.3 and of before. */
bool dev_openssl_ciphers(SSL_CTX *ctx, const char *names);
/* Whether a suite is left that the versions, the credential and its exchange allow. */
bool dev_openssl_has_suite(SSL_CTX *ctx, const struct dev_tls_config *cfg);

int dev_openssl_open(struct dev_tls *t, struct dev_stream *stream, struct dev_channel **ret,
                     struct dev_failure *why);

/* Fills *why from the card's trouble, else the peer's, else OpenSSL's error queue, which is empty
 * then. c is NULL when there is no connection. */
void dev_openssl_explain(const struct dev_card_use *use, const struct openssl_channel *c,
                         struct dev_failure *why, const char *what);
