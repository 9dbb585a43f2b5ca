#pragma once
/* Sets up an SSL_CTX by a listener's policy: once, not per connection. */
#include "tls/front.h"

/* Digest over the trusted CAs, to see whether they have changed. */
int hub_tls_trust_digest(struct hub_registry *r, uint8_t ret[32]) TB_CHECKED;

/* Everything but who is told of alerts and secrets: versions, suites, the hub's own certificate,
 * the trusted CAs, and the callbacks of tls/ident.h, so every SSL needs hub_ident_attach(). ctx is
 * new, of TLS or DTLS; versions are those of TLS for either. TB_ENOTFOUND, with advice, when there
 * is no certificate of the hub or no trusted CA. */
int hub_tls_configure(SSL_CTX *ctx, const struct hub_front_config *cfg,
                      struct tb_error *e) TB_CHECKED;
/* Other trusted CAs, for handshakes from now on. */
int hub_tls_trust(SSL_CTX *ctx, struct hub_registry *r, struct tb_error *e) TB_CHECKED;
