#pragma once
/* Builds the SSL_CTX of a front: once, not per connection. */
#include "tls/front.h"

/* Digest over the trusted CAs, to see whether they have changed. */
int hub_tls_trust_digest(struct hub_registry *r, uint8_t ret[32]) TB_CHECKED;

/* verify: called by OpenSSL in place of X509_verify_cert() with f. ticket: decides whether a ticket
 * may be used. TB_ENOTFOUND, with advice, when there is no certificate of the hub or no trusted CA.
 */
struct hub_tls_hooks {
    int (*verify)(X509_STORE_CTX *store, void *front);
    SSL_TICKET_RETURN(*ticket)
    (SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
     SSL_TICKET_STATUS status, void *front);
    void (*info)(const SSL *ssl, int where, int value);
    void (*keylog)(const SSL *ssl, const char *line); /* NULL: no key log */
    void *front;
};
int hub_tls_context(const struct hub_front_config *cfg, const struct hub_tls_hooks *hooks,
                    SSL_CTX **ret, struct tb_error *e) TB_CHECKED;
