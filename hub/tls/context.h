#pragma once
/* Builds the SSL_CTX of a front: once, not per connection. */
#include "tls/front.h"

/* Digest over the trusted CAs, to see whether they have changed. */
int hub_tls_trust_digest(struct hub_registry *r, uint8_t ret[32]) TB_CHECKED;

/* verify: called by OpenSSL in place of X509_verify_cert() with f. new_ticket: puts the
 * credential's fingerprint into it; ticket: decides whether it may be used. psk, find_psk: of
 * TLS 1.2 and 1.3. TB_ENOTFOUND, with advice, when there is no certificate of the hub or no trusted
 * CA. */
struct hub_tls_hooks {
    int (*verify)(X509_STORE_CTX *store, void *front);
    int (*new_ticket)(SSL *ssl, void *front);
    SSL_TICKET_RETURN(*ticket)
    (SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
     SSL_TICKET_STATUS status, void *front);
    unsigned (*psk)(SSL *ssl, const char *identity, unsigned char *psk, unsigned cap);
    int (*find_psk)(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **ret);
    void (*info)(const SSL *ssl, int where, int value);
    void (*keylog)(const SSL *ssl, const char *line); /* NULL: no key log */
    void *front;
};
int hub_tls_context(const struct hub_front_config *cfg, const struct hub_tls_hooks *hooks,
                    SSL_CTX **ret, struct tb_error *e) TB_CHECKED;
