/* Who is it? The chain first, by OpenSSL; then the registry. */
#include <string.h>

#include "tb/log.h"
#include "tls/internal.h"

static int64_t now_s(void) {
    return tb_clock_wall_ms() / 1000;
}

static void note_certificate(struct hub_peer *peer, X509 *cert, const EVP_MD *sha256) {
    unsigned n = sizeof peer->cred.fp;

    memset(&peer->cred, 0, sizeof peer->cred);
    X509_digest(cert, sha256, peer->cred.fp, &n);
}

/* For the report on somebody the registry does not know. */
static void note_names(struct hub_peer *peer, X509 *cert) {
    hub_name_text(X509_get_subject_name(cert), peer->cred.subject, sizeof peer->cred.subject);
    hub_name_text(X509_get_issuer_name(cert), peer->cred.issuer, sizeof peer->cred.issuer);
}

/* Fills peer->cred from the registry when there is something. */
static enum hub_verdict ask_registry(struct hub_front *f, struct hub_peer *peer) {
    struct hub_credential known;
    int err = hub_registry_lookup(f->cfg.registry, peer->cred.fp, &known);

    if (err < 0 && err != TB_ENOTFOUND) {
        tb_error_log("tls", "the registry cannot be read, devices are refused: %s",
                     tb_strerror(err));
        return HUB_UNKNOWN_CREDENTIAL;
    }
    if (err == 0)
        peer->cred = known;
    return hub_judge(err == 0 ? &known : NULL, now_s());
}

int hub_tls_verify(X509_STORE_CTX *store, void *front) {
    struct hub_front *f = front;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct hub_tls *t = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);

    t->shown = SHOWN_CERTIFICATE;
    note_certificate(&t->peer, leaf, f->sha256);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), now_s());
    if (X509_verify_cert(store) != 1) {
        int error = X509_STORE_CTX_get_error(store);

        t->refused = hub_verdict_of_x509(error);
        t->peer.detail = X509_verify_cert_error_string(error);
        note_names(&t->peer, leaf);
        return 0;
    }
    t->refused = ask_registry(f, &t->peer);
    if (t->refused == HUB_ACCEPTED)
        return 1;
    if (t->refused == HUB_UNKNOWN_CREDENTIAL)
        note_names(&t->peer, leaf);
    X509_STORE_CTX_set_error(store, hub_verdict_to_x509(t->refused));
    return 0;
}

/* For the report on somebody the registry does not know: what was shown, when it is text. */
static void note_identity(struct hub_credential *c, struct tb_span identity) {
    *c = (struct hub_credential){.kind = HUB_CRED_PSK};
    if (identity.n <= HUB_PSK_IDENTITY_MAX)
        memcpy(c->psk_identity, identity.p, identity.n);
    if (!hub_psk_identity_ok(c->psk_identity))
        memset(c->psk_identity, 0, sizeof c->psk_identity);
}

/* Fills peer->cred; a secret only when it is accepted. */
static enum hub_verdict ask_for_psk(struct hub_tls *t, struct tb_span identity,
                                    uint8_t secret[HUB_PSK_MAX], size_t *ret_n) {
    struct hub_registry *r = t->front->cfg.registry;
    struct hub_credential *c = &t->peer.cred;
    struct tb_error e = {0};
    enum hub_verdict v;
    int err = hub_registry_lookup_psk(r, identity, c);

    if (err < 0) {
        note_identity(c, identity);
        if (err != TB_ENOTFOUND)
            tb_error_log("tls", "the registry cannot be read, devices are refused: %s",
                         tb_strerror(err));
        return HUB_UNKNOWN_PSK;
    }
    v = hub_judge(c, now_s());
    if (v != HUB_ACCEPTED)
        return v;
    if (hub_registry_psk(r, c, secret, ret_n, &e) < 0) {
        tb_error_log("tls", "device %s is refused: its secret cannot be read: %s: %s", c->device,
                     e.file, e.message);
        t->peer.detail = "its secret cannot be read";
        return HUB_UNKNOWN_PSK;
    }
    return HUB_ACCEPTED;
}

/* TLS 1.2: no key makes it alert 115, whatever the cause. */
unsigned hub_tls_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned cap) {
    struct hub_tls *t = SSL_get_app_data(ssl);
    uint8_t secret[HUB_PSK_MAX];
    size_t n = 0;

    if (SSL_version(ssl) == TLS1_3_VERSION)
        return 0; /* has been asked below */
    t->shown = SHOWN_PSK;
    t->refused = ask_for_psk(t, tb_span_str(identity), secret, &n);
    if (n > cap)
        n = 0;
    memcpy(psk, secret, n);
    tb_wipe(secret, sizeof secret);
    return (unsigned)n;
}

/* A PSK of TLS 1.3 is to OpenSSL a session made elsewhere. Suite 1301 stands for its hash, SHA-256;
 * another suite with that hash may be agreed on. */
static SSL_SESSION *session_of(SSL *ssl, const uint8_t *secret, size_t n) {
    static const uint8_t suite[] = {0x13, 0x01};
    SSL_SESSION *s = SSL_SESSION_new();

    if (!s || !SSL_SESSION_set1_master_key(s, secret, n) ||
        !SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, suite)) ||
        !SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
        abort();
    return s;
}

/* Called for each identity in ClientHello until one is good. A ticket is one, too: nothing is known
 * of it here, and OpenSSL goes on to try it as a ticket. */
int hub_tls_find_psk(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **ret) {
    struct hub_tls *t = SSL_get_app_data(ssl);
    uint8_t secret[HUB_PSK_MAX];
    size_t secret_n = 0;

    t->shown = SHOWN_PSK;
    t->refused = ask_for_psk(t, tb_span(identity, n), secret, &secret_n);
    *ret = t->refused == HUB_ACCEPTED ? session_of(ssl, secret, secret_n) : NULL;
    tb_wipe(secret, sizeof secret);
    return 1;
}

int hub_tls_new_ticket(SSL *ssl, void *front) {
    struct hub_tls *t = SSL_get_app_data(ssl);

    (void)front;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), t->peer.cred.fp, HUB_FP_SIZE);
}

/* A ticket of somebody who would be refused, or of nobody, is ignored: the full handshake that
 * follows then ends in the right alert. */
SSL_TICKET_RETURN hub_tls_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                 size_t name_len, SSL_TICKET_STATUS status, void *front) {
    struct hub_tls *t = SSL_get_app_data(ssl);
    struct hub_peer peer = {0};
    enum hub_verdict v;
    void *fp;
    size_t n;

    (void)name, (void)name_len;
    if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) ||
        !SSL_SESSION_get0_ticket_appdata(session, &fp, &n) || n != HUB_FP_SIZE)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    memcpy(peer.cred.fp, fp, HUB_FP_SIZE);
    v = ask_registry(front, &peer);
    if (v == HUB_ACCEPTED || t->front->cfg.psk) { /* else the certificate that follows counts */
        t->shown = SHOWN_TICKET;
        t->refused = v;
        t->peer.cred = peer.cred;
    }
    if (v != HUB_ACCEPTED)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static enum hub_verdict activate(struct hub_front *f, struct hub_peer *peer) {
    struct tb_error e = {0};
    int err = hub_registry_transition(f->cfg.registry, &peer->cred, HUB_CRED_ACTIVE, "hub",
                                      "first handshake", &e);

    if (err == TB_ESTATE) /* somebody was faster: ask what it is now */
        return ask_registry(f, peer);
    if (err < 0)
        tb_warn("tls", "device %s connects, but its credential stays pending: %s",
                peer->cred.device, e.message);
    else
        peer->cred.state = HUB_CRED_ACTIVE;
    return HUB_ACCEPTED;
}

enum hub_verdict hub_tls_confirm(struct hub_tls *t) {
    struct hub_front *f = t->front;
    enum hub_verdict v;

    /* A ticket that was good, but not for the suite that was agreed on afterwards. */
    if (t->shown == SHOWN_TICKET && !SSL_session_reused(t->ssl)) {
        t->shown = SHOWN_NOTHING;
        memset(&t->peer.cred, 0, sizeof t->peer.cred);
    }
    if (t->shown == SHOWN_NOTHING)
        return f->cfg.cert_optional ? HUB_ACCEPTED : HUB_NO_CERTIFICATE;
    v = ask_registry(f, &t->peer);
    if (v == HUB_ACCEPTED && t->peer.cred.state == HUB_CRED_PENDING)
        v = activate(f, &t->peer);
    return v;
}
