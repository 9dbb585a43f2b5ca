#pragma once
/* A TLS or DTLS handshake in memory: a client whose library context is given, against a server with
 * the default provider alone, whose keys are in software. */
#include <openssl/ssl.h>
#include <stdbool.h>

/* A root and a server's certificate of its making. */
struct tls_pki {
    EVP_PKEY *ca_key, *server_key;
    X509 *ca, *server;
};
/* Aborts when anything fails. curve: of the root's key. */
void tls_pki_init(struct tls_pki *pki, const char *curve);
void tls_pki_done(struct tls_pki *pki);
/* A certificate of the root's for a key. */
X509 *tls_pki_issue(const struct tls_pki *pki, EVP_PKEY *key, const char *name);

struct tls_setup {
    OSSL_LIB_CTX *ctx; /* the client's */
    const struct tls_pki *pki;
    int version;               /* TLS1_2_VERSION, TLS1_3_VERSION, DTLS1_2_VERSION */
    const char *ciphers;       /* NULL: default; both sides */
    const char *groups;        /* of the client, NULL: P-256 */
    const char *server_groups; /* NULL: P-256 */
    /* client's certificate, wanted by the server; NULL: none */
    X509 *cert;
    EVP_PKEY *key;
    bool server_prefers; /* its order of groups counts */
    bool auto_chain;     /* libssl looks for the client's chain */
    /* pre-shared key instead of certificates: what the client has and what the server has */
    const char *psk;
    const unsigned char *server_psk;
    size_t server_psk_len;
    bool no_extended_master_secret;
};

struct tls_pair {
    SSL_CTX *client_ctx, *server_ctx;
    SSL *client, *server;
};
void tls_pair_init(struct tls_pair *p, const struct tls_setup *setup);
void tls_pair_done(struct tls_pair *p);
/* One flight of each side: 1 both are done, 0 not yet, -1 a side failed (errors in the queue). */
int tls_pair_step(struct tls_pair *p);
/* To the end, and a byte each way. */
bool tls_pair_shake(struct tls_pair *p);
/* All of it; errors in the queue when it is false. */
bool tls_shake(const struct tls_setup *setup);
