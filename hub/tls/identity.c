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
    t->judged = true;
    if (t->refused == HUB_ACCEPTED)
        return 1;
    if (t->refused == HUB_UNKNOWN_CREDENTIAL)
        note_names(&t->peer, leaf);
    X509_STORE_CTX_set_error(store, hub_verdict_to_x509(t->refused));
    return 0;
}

/* A ticket of somebody who would be refused is ignored: the full handshake that follows then ends
 * in the right alert. */
SSL_TICKET_RETURN hub_tls_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                 size_t name_len, SSL_TICKET_STATUS status, void *front) {
    struct hub_front *f = front;
    struct hub_peer peer = {0};
    X509 *cert;

    (void)ssl, (void)name, (void)name_len;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    cert = SSL_SESSION_get0_peer(session);
    if (!cert)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    note_certificate(&peer, cert, f->sha256);
    if (ask_registry(f, &peer) != HUB_ACCEPTED)
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

    if (!t->judged) { /* resumed */
        X509 *cert = SSL_get0_peer_certificate(t->ssl);

        if (!cert)
            return HUB_NO_CERTIFICATE;
        note_certificate(&t->peer, cert, f->sha256);
    }
    v = ask_registry(f, &t->peer);
    if (v == HUB_ACCEPTED && t->peer.cred.state == HUB_CRED_PENDING)
        v = activate(f, &t->peer);
    return v;
}
