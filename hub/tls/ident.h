#pragma once
/* Who is it? What a handshake has found out so far, and the callbacks of OpenSSL that find it out:
 * the same for every place of the hub where TLS or DTLS ends. */
#include <openssl/ssl.h>

#include "tls/front.h"

struct hub_ident {
    const struct hub_front_config *cfg; /* registry, psk, cert_optional; borrowed */
    const EVP_MD *sha256;               /* borrowed */
    struct hub_peer peer;
    enum hub_verdict refused; /* HUB_ACCEPTED: not (yet) */
    /* Where peer.cred comes from: OpenSSL asked about that last. */
    enum { SHOWN_NOTHING, SHOWN_CERTIFICATE, SHOWN_TICKET, SHOWN_PSK } shown;
    bool alert_received;
};

void hub_ident_init(struct hub_ident *id, const struct hub_front_config *cfg, const EVP_MD *sha256);
/* Ties id to ssl; it must outlive the handshake. */
void hub_ident_attach(SSL *ssl, struct hub_ident *id);
struct hub_ident *hub_ident_of(const SSL *ssl);

/* For hub_tls_configure(). */
int hub_ident_verify(X509_STORE_CTX *store, void *unused);
unsigned hub_ident_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned cap);
int hub_ident_find_psk(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **ret);
int hub_ident_new_ticket(SSL *ssl, void *unused);
SSL_TICKET_RETURN hub_ident_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                   size_t name_len, SSL_TICKET_STATUS status, void *unused);

/* An alert has been sent or received. */
void hub_ident_note_alert(struct hub_ident *id, int description, bool received);
/* After the handshake, before the first plain byte: asks the registry again, and makes a pending
 * credential active. Fills peer's resumed, version, cipher. */
enum hub_verdict hub_ident_confirm(struct hub_ident *id, SSL *ssl);
/* What a failed handshake was about, from what OpenSSL has left in its queue of errors. */
enum hub_verdict hub_ident_cause(struct hub_ident *id);
