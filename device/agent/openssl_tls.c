#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_openssl.h"
#include "isp.h"
#include "ref.h"

/* ---- credentials ---- */

static X509 *take_der(struct openssl_tls *t, const unsigned char **p, struct tb_span all) {
    X509 *x = X509_new_ex(t->lib->ctx, NULL);

    if (!d2i_X509(&x, p, (long)(all.p + all.n - *p)))
        return NULL; /* x is freed */
    return x;
}

static bool load_ca(struct openssl_tls *t, const struct dev_tls_config *cfg) {
    const unsigned char *p = cfg->ca.p;
    X509 *x;

    if (cfg->ca_file)
        return SSL_CTX_load_verify_file(t->ctx, cfg->ca_file) == 1;
    while (p < cfg->ca.p + cfg->ca.n) {
        x = take_der(t, &p, cfg->ca);
        if (!x)
            return false;
        X509_STORE_add_cert(SSL_CTX_get_cert_store(t->ctx), x);
        X509_free(x);
    }
    return true;
}

static bool load_cert(struct openssl_tls *t, const struct dev_tls_config *cfg) {
    const unsigned char *p = cfg->cert.p;
    bool ok = true;
    X509 *x;

    if (cfg->cert_file)
        return SSL_CTX_use_certificate_chain_file(t->ctx, cfg->cert_file) == 1;
    for (size_t i = 0; ok && p < cfg->cert.p + cfg->cert.n; i++) {
        x = take_der(t, &p, cfg->cert);
        ok = x && (i == 0 ? SSL_CTX_use_certificate(t->ctx, x)
                          : SSL_CTX_add1_chain_cert(t->ctx, x)) == 1;
        X509_free(x);
    }
    return ok;
}

/* A key in the card by a reference that holds the certificate's public key: loading it asks the
 * card nothing. */
static EVP_PKEY *key_in_card(struct openssl_tls *t, const struct iotsafe_ref *which) {
    const struct isp_uri uri = {.has_ref = true, .ref = *which};
    X509 *cert = SSL_CTX_get0_certificate(t->ctx);
    char text[ISP_URI_MAX];
    uint8_t room[ISP_REFERENCE_MAX];
    struct tb_buf name = tb_buf(text, sizeof text), ref = TB_BUF(room);
    unsigned char *spki = NULL;
    const unsigned char *p = room;
    OSSL_DECODER_CTX *dec;
    EVP_PKEY *key = NULL;
    size_t n;
    int len = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki) : 0;

    isp_uri_put(&name, &uri);
    isp_reference_put(&ref, tb_buf_span(&name), tb_span(spki, len > 0 ? (size_t)len : 0));
    OPENSSL_free(spki);
    n = ref.n;
    dec = OSSL_DECODER_CTX_new_for_pkey(&key, "DER", "IotSafeRef", "EC", 0, t->lib->ctx, NULL);
    if (!tb_buf_ok(&ref) || !dec || !OSSL_DECODER_from_data(dec, &p, &n)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    OSSL_DECODER_CTX_free(dec);
    return key;
}

static bool load_key(struct openssl_tls *t, const struct dev_tls_config *cfg) {
    EVP_PKEY *key;
    bool ok;

    if (cfg->key_file)
        return SSL_CTX_use_PrivateKey_file(t->ctx, cfg->key_file, SSL_FILETYPE_PEM) == 1;
    key = key_in_card(t, cfg->key);
    ok = key && SSL_CTX_use_PrivateKey(t->ctx, key) == 1;
    EVP_PKEY_free(key);
    return ok;
}

/* ---- an application's side ---- */

static void on_keylog(const SSL *ssl, const char *line) {
    struct openssl_channel *c = SSL_get_app_data(ssl);

    c->tls->keylog(line, c->tls->keylog_user);
}

static bool set_versions(struct openssl_tls *t, unsigned versions) {
    int min = versions & DEV_TLS12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    int max = versions & DEV_TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION;

    if (t->datagrams)
        min = max = DTLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(t->ctx, min) == 1 &&
           SSL_CTX_set_max_proto_version(t->ctx, max) == 1;
}

/* ---- resumption ---- */

/* At the end of a handshake, or, TLS 1.3, when the server sends a ticket. */
static int on_session(SSL *ssl, SSL_SESSION *session) {
    struct openssl_channel *c = SSL_get_app_data(ssl);

    if (!SSL_SESSION_is_resumable(session))
        return 0;
    SSL_SESSION_free(c->tls->session);
    c->tls->session = session;
    return 1; /* kept */
}

static void set_resumption(struct openssl_tls *t) {
    SSL_CTX_set_session_cache_mode(t->ctx, t->resume
                                               ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                               : SSL_SESS_CACHE_OFF);
    if (t->resume)
        SSL_CTX_sess_set_new_cb(t->ctx, on_session);
    else
        SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET);
}

/* ---- making ---- */

static bool set_credential(struct openssl_tls *t, const struct dev_tls_config *cfg,
                           const char **ret_what, const char **ret_file) {
    *ret_file = NULL;
    *ret_what = "pre-shared key";
    if (cfg->psk_identity)
        return dev_openssl_use_psk(t, cfg);
    *ret_what = "CA certificate";
    *ret_file = cfg->ca_file;
    if (!load_ca(t, cfg))
        return false;
    *ret_what = "own certificate";
    *ret_file = cfg->cert_file;
    if (!load_cert(t, cfg))
        return false;
    *ret_what = "private key";
    *ret_file = cfg->key_file;
    return load_key(t, cfg);
}

static bool set_policy(struct openssl_tls *t, const struct dev_tls_config *cfg,
                       const char **ret_what) {
    *ret_what = "tls: ciphers";
    if (cfg->ciphers && !dev_openssl_ciphers(t->ctx, cfg->ciphers))
        return false;
    *ret_what = "tls: groups";
    return !(cfg->offload & DEV_OFFLOAD_ECDHE) || SSL_CTX_set1_groups_list(t->ctx, "P-256") == 1;
}

static unsigned tokens_of(const struct dev_tls_config *cfg) {
    return (cfg->offload & DEV_OFFLOAD_ECDHE ? OPENSSL_ECDHE : 0U) |
           (cfg->offload & DEV_OFFLOAD_VERIFY ? OPENSSL_VERIFY : 0U) |
           (cfg->psk_ref ? OPENSSL_PSK : 0U);
}

static bool set_up(struct openssl_tls *t, const struct dev_tls_config *cfg, const char **ret_what,
                   const char **ret_file) {
    *ret_what = "tls";
    *ret_file = NULL;
    t->lib = dev_openssl_lib(tokens_of(cfg));
    if (t->lib)
        t->ctx = SSL_CTX_new_ex(t->lib->ctx, NULL,
                                t->datagrams ? DTLS_client_method() : TLS_client_method());
    if (!t->ctx || !set_versions(t, cfg->versions) || !set_credential(t, cfg, ret_what, ret_file))
        return false;
    *ret_file = NULL;
    if (!set_policy(t, cfg, ret_what))
        return false;
    set_resumption(t);
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU);
    if (cfg->keylog)
        SSL_CTX_set_keylog_callback(t->ctx, on_keylog);
    return true;
}

/* ---- what cannot be ---- */

static const char *impossible(const struct dev_tls_config *cfg) {
    if (cfg->offload & DEV_OFFLOAD_DERIVE)
        return "derive: OpenSSL computes with the shared secret itself; it can stay in the card "
               "only "
               "with Mbed TLS";
    if ((cfg->offload & DEV_OFFLOAD_VERIFY) && cfg->psk_identity)
        return "verify: with a pre-shared key there are no signatures to verify";
    if ((cfg->offload & DEV_OFFLOAD_ECDHE) && cfg->psk_identity && !cfg->psk_ecdhe)
        return "ecdhe: the plain exchange of a pre-shared key has no key agreement";
    if (cfg->psk_identity && !cfg->psk_ecdhe && (cfg->versions & DEV_TLS13))
        return "plain: OpenSSL cannot offer TLS 1.3 psk_ke without psk_dhe_ke: take both, TLS 1.2, "
               "or Mbed TLS";
    if (cfg->psk.n > sizeof((struct openssl_tls *)0)->psk)
        return "the pre-shared key is longer than 256 bytes";
    if (cfg->psk_identity && strlen(cfg->psk_identity) > 128)
        return "the identity is longer than 128 bytes";
    return NULL;
}

static void op_free(struct dev_tls *tls) {
    struct openssl_tls *t = (struct openssl_tls *)tls;

    SSL_SESSION_free(t->session);
    SSL_CTX_free(t->ctx);
    dev_openssl_lib_put(t->lib);
    OPENSSL_cleanse(t->psk, sizeof t->psk);
    ERR_clear_error();
    free(t);
}

static const struct dev_tls_ops ops = {dev_openssl_open, op_free};

int dev_tls_openssl(const struct dev_tls_config *cfg, struct dev_card_use *use,
                    struct dev_tls **ret, struct dev_failure *why) {
    const char *what = impossible(cfg), *file;
    struct openssl_tls *t;
    char text[300];

    if (what) {
        dev_fail(why, "tls: %s", what);
        return TB_EPARSE;
    }
    t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->tls.ops = &ops;
    t->datagrams = cfg->versions & DEV_DTLS12;
    t->resume = cfg->resume;
    t->random = cfg->offload & DEV_OFFLOAD_RANDOM;
    t->keylog = cfg->keylog;
    t->keylog_user = cfg->keylog_user;
    snprintf(t->server_name, sizeof t->server_name, "%s", cfg->server_name);
    ERR_clear_error();
    if (!set_up(t, cfg, &what, &file)) {
        snprintf(text, sizeof text, "%s%s%.200s", what, file ? " " : "", file ? file : "");
        dev_openssl_explain(use, NULL, why, text);
        op_free(&t->tls);
        return TB_ECRYPTO;
    }
    if (cfg->ciphers && !dev_openssl_has_suite(t->ctx, cfg)) {
        dev_fail(why, "tls: ciphers: none of %s goes with the other options", cfg->ciphers);
        op_free(&t->tls);
        return TB_EPARSE;
    }
    *ret = &t->tls;
    return 0;
}
