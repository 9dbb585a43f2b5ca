/* Who is it? The chain first, by OpenSSL; then the registry. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "tb/log.h"
#include "tb/loop.h"
#include "tls/ident.h"

static int ident_index = -1; /* of SSL objects */

void hub_ident_init(struct hub_ident *id, const struct hub_front_config *cfg,
                    const EVP_MD *sha256) {
    *id = (struct hub_ident){
        .cfg = cfg,
        .sha256 = sha256,
        .peer = {.listener = cfg->name, .version = "", .cipher = "", .alert = -1, .detail = ""}};
}

void hub_ident_attach(SSL *ssl, struct hub_ident *id) {
    if (ident_index < 0)
        ident_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (ident_index < 0 || !SSL_set_ex_data(ssl, ident_index, id))
        abort();
}

struct hub_ident *hub_ident_of(const SSL *ssl) {
    return ident_index < 0 ? NULL : SSL_get_ex_data(ssl, ident_index);
}

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
static enum hub_verdict ask_registry(const struct hub_ident *id, struct hub_peer *peer) {
    struct hub_credential known;
    int err = hub_registry_lookup(id->cfg->registry, peer->cred.fp, &known);

    if (err < 0 && err != TB_ENOTFOUND) {
        tb_error_log("tls", "the registry cannot be read, devices are refused: %s",
                     tb_strerror(err));
        return HUB_UNKNOWN_CREDENTIAL;
    }
    if (err == 0)
        peer->cred = known;
    return hub_judge(err == 0 ? &known : NULL, now_s());
}

int hub_ident_verify(X509_STORE_CTX *store, void *unused) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct hub_ident *id = hub_ident_of(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);

    (void)unused;
    id->shown = SHOWN_CERTIFICATE;
    note_certificate(&id->peer, leaf, id->sha256);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), now_s());
    if (X509_verify_cert(store) != 1) {
        int error = X509_STORE_CTX_get_error(store);

        id->refused = hub_verdict_of_x509(error);
        id->peer.detail = X509_verify_cert_error_string(error);
        note_names(&id->peer, leaf);
        return 0;
    }
    id->refused = ask_registry(id, &id->peer);
    if (id->refused == HUB_ACCEPTED)
        return 1;
    if (id->refused == HUB_UNKNOWN_CREDENTIAL)
        note_names(&id->peer, leaf);
    X509_STORE_CTX_set_error(store, hub_verdict_to_x509(id->refused));
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
static enum hub_verdict ask_for_psk(struct hub_ident *id, struct tb_span identity,
                                    uint8_t secret[HUB_PSK_MAX], size_t *ret_n) {
    struct hub_registry *r = id->cfg->registry;
    struct hub_credential *c = &id->peer.cred;
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
        id->peer.detail = "its secret cannot be read";
        return HUB_UNKNOWN_PSK;
    }
    return HUB_ACCEPTED;
}

/* TLS 1.2: no key makes it alert 115, whatever the cause. */
unsigned hub_ident_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned cap) {
    struct hub_ident *id = hub_ident_of(ssl);
    uint8_t secret[HUB_PSK_MAX];
    size_t n = 0;

    if (SSL_version(ssl) == TLS1_3_VERSION)
        return 0; /* has been asked below */
    id->shown = SHOWN_PSK;
    id->refused = ask_for_psk(id, tb_span_str(identity), secret, &n);
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
int hub_ident_find_psk(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **ret) {
    struct hub_ident *id = hub_ident_of(ssl);
    uint8_t secret[HUB_PSK_MAX];
    size_t secret_n = 0;

    id->shown = SHOWN_PSK;
    id->refused = ask_for_psk(id, tb_span(identity, n), secret, &secret_n);
    *ret = id->refused == HUB_ACCEPTED ? session_of(ssl, secret, secret_n) : NULL;
    tb_wipe(secret, sizeof secret);
    return 1;
}

int hub_ident_new_ticket(SSL *ssl, void *unused) {
    struct hub_ident *id = hub_ident_of(ssl);

    (void)unused;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), id->peer.cred.fp, HUB_FP_SIZE);
}

/* A ticket of somebody who would be refused, or of nobody, is ignored: the full handshake that
 * follows then ends in the right alert. */
SSL_TICKET_RETURN hub_ident_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                   size_t name_len, SSL_TICKET_STATUS status, void *unused) {
    struct hub_ident *id = hub_ident_of(ssl);
    struct hub_peer peer = {0};
    enum hub_verdict v;
    void *fp;
    size_t n;

    (void)name, (void)name_len, (void)unused;
    if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) ||
        !SSL_SESSION_get0_ticket_appdata(session, &fp, &n) || n != HUB_FP_SIZE)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    memcpy(peer.cred.fp, fp, HUB_FP_SIZE);
    v = ask_registry(id, &peer);
    if (v == HUB_ACCEPTED || id->cfg->psk) { /* else the certificate that follows counts */
        id->shown = SHOWN_TICKET;
        id->refused = v;
        id->peer.cred = peer.cred;
    }
    if (v != HUB_ACCEPTED)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static enum hub_verdict activate(const struct hub_ident *id, struct hub_peer *peer) {
    struct tb_error e = {0};
    int err = hub_registry_transition(id->cfg->registry, &peer->cred, HUB_CRED_ACTIVE, "hub",
                                      "first handshake", &e);

    if (err == TB_ESTATE) /* somebody was faster: ask what it is now */
        return ask_registry(id, peer);
    if (err < 0)
        tb_warn("tls", "device %s connects, but its credential stays pending: %s",
                peer->cred.device, e.message);
    else
        peer->cred.state = HUB_CRED_ACTIVE;
    return HUB_ACCEPTED;
}

enum hub_verdict hub_ident_confirm(struct hub_ident *id, SSL *ssl) {
    enum hub_verdict v;

    /* A ticket that was good, but not for the suite that was agreed on afterwards. */
    if (id->shown == SHOWN_TICKET && !SSL_session_reused(ssl)) {
        id->shown = SHOWN_NOTHING;
        memset(&id->peer.cred, 0, sizeof id->peer.cred);
    }
    id->peer.resumed = SSL_session_reused(ssl) && id->shown == SHOWN_TICKET;
    id->peer.version = SSL_get_version(ssl);
    id->peer.cipher = SSL_get_cipher_name(ssl);
    if (id->shown == SHOWN_NOTHING)
        return id->cfg->cert_optional ? HUB_ACCEPTED : HUB_NO_CERTIFICATE;
    v = ask_registry(id, &id->peer);
    if (v == HUB_ACCEPTED && id->peer.cred.state == HUB_CRED_PENDING)
        v = activate(id, &id->peer);
    return v;
}

/* The first one counts: what follows is about the same. */
void hub_ident_note_alert(struct hub_ident *id, int description, bool received) {
    if (id->peer.alert >= 0 || description == SSL_AD_CLOSE_NOTIFY)
        return;
    id->peer.alert = description;
    id->alert_received = received;
}

/* TLS 1.3 has the binder for it; in TLS 1.2 it is the first record under the new keys that cannot
 * be read. */
static bool is_wrong_psk(const struct hub_ident *id, int reason) {
    return id->shown == SHOWN_PSK && (reason == SSL_R_BINDER_DOES_NOT_VERIFY ||
                                      reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
                                      reason == SSL_R_DIGEST_CHECK_FAILED);
}

enum hub_verdict hub_ident_cause(struct hub_ident *id) {
    unsigned long code = ERR_peek_error();

    if (id->refused != HUB_ACCEPTED)
        return id->refused;
    id->peer.detail = ERR_reason_error_string(code);
    if (!id->peer.detail)
        id->peer.detail = "";
    if (id->alert_received)
        return HUB_PEER_ALERT;
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return HUB_PROTOCOL;
    return ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ? HUB_NO_CERTIFICATE
           : is_wrong_psk(id, ERR_GET_REASON(code))                        ? HUB_WRONG_PSK
                                                                           : HUB_PROTOCOL;
}
