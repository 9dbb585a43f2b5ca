#include "tls/context.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls/ident.h"

enum { CERT_LIST_MAX = 16 << 10, TICKET_LIFE_S = 3600 };

static int digest_one(const struct hub_ca *ca, void *user) {
    uint8_t fp[32];
    unsigned n = sizeof fp;

    if (!ca->trusted)
        return 0;
    return X509_digest(ca->cert, EVP_sha256(), fp, &n) && EVP_DigestUpdate(user, fp, n)
               ? 0
               : TB_ECRYPTO;
}

int hub_tls_trust_digest(struct hub_registry *r, uint8_t ret[32]) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned n = 32;
    int err;

    if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
        abort();
    err = hub_registry_each_ca(r, digest_one, md);
    if (err >= 0)
        err = EVP_DigestFinal_ex(md, ret, &n) ? 0 : TB_ECRYPTO;
    EVP_MD_CTX_free(md);
    return err;
}

struct trust {
    X509_STORE *store;
    STACK_OF(X509_NAME) * names; /* what the hub tells devices that it trusts */
    unsigned count;
};

static int trust_one(const struct hub_ca *ca, void *user) {
    struct trust *t = user;
    X509_NAME *name;

    if (!ca->trusted)
        return 0;
    name = X509_NAME_dup(X509_get_subject_name(ca->cert));
    if (!name || !sk_X509_NAME_push(t->names, name))
        abort();
    if (!X509_STORE_add_cert(t->store, ca->cert))
        return TB_ECRYPTO;
    t->count++;
    return 0;
}

/* The first entry of OpenSSL's queue is the cause; what follows is who was told. */
static int openssl_says(struct tb_error *e, int err, const char *file, const char *what) {
    unsigned long code = ERR_peek_error();
    const char *why =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    ERR_clear_error();
    return tb_error_set(e, err, file, 0, "%s: %s", what, why ? why : "OpenSSL gives no reason");
}

static int load_own(SSL_CTX *ctx, const struct hub_front_config *cfg, struct tb_error *e) {
    if (access(cfg->cert_file, R_OK) < 0)
        return tb_error_set(
            e, TB_ENOTFOUND, cfg->cert_file, 0,
            "the hub has no certificate yet: run \"iot-hub ca init --state DIR\" first");
    if (SSL_CTX_use_certificate_chain_file(ctx, cfg->cert_file) != 1)
        return openssl_says(e, TB_EPARSE, cfg->cert_file, "the hub's certificate cannot be used");
    if (SSL_CTX_use_PrivateKey_file(ctx, cfg->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return openssl_says(e, TB_EPARSE, cfg->key_file, "the hub's key cannot be used");
    return 0;
}

static int trust_none(int err, struct tb_error *e) {
    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "the registry's CAs cannot be read: %s",
                            tb_strerror(err));
    return tb_error_set(
        e, TB_ENOTFOUND, NULL, 0,
        "no CA is trusted, so no device could connect: run \"iot-hub ca init --state DIR\", or"
        " \"iot-hub ca add NAME FILE --trust --state DIR\"");
}

int hub_tls_trust(SSL_CTX *ctx, struct hub_registry *r, struct tb_error *e) {
    struct trust t = {X509_STORE_new(), sk_X509_NAME_new_null(), 0};
    int err;

    if (!t.store || !t.names)
        abort();
    err = hub_registry_each_ca(r, trust_one, &t);
    if (err < 0 || t.count == 0) {
        X509_STORE_free(t.store);
        sk_X509_NAME_pop_free(t.names, X509_NAME_free);
        return trust_none(err, e);
    }
    SSL_CTX_set_cert_store(ctx, t.store);     /* given */
    SSL_CTX_set_client_CA_list(ctx, t.names); /* given */
    return 0;
}

/* A listener for PSKs has no certificate, so nothing else can be agreed on. Forward secrecy first;
 * of those suites OpenSSL has no AES-GCM (RFC 8442), of plain PSK it has. Keys shared ahead belong
 * to one hash each (RFC 8446 4.2.11), here SHA-256. */
static const char psk_suites_12[] =
    "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:PSK-AES128-GCM-SHA256:PSK-AES128-CCM:"
    "PSK-AES128-CCM8:PSK-CHACHA20-POLY1305:PSK-AES128-CBC-SHA256";
static const char psk_suites_13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:"
                                    "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_8_SHA256";

/* SHA-256 first: clients that leave HKDF to a card may know this length only. */
#define SUITES_13                                                                                  \
    "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"                  \
    "TLS_AES_256_GCM_SHA384"
static const char suites_13[] = SUITES_13;
static const char coap_suites_13[] = SUITES_13 ":TLS_AES_128_CCM_8_SHA256";

static int (*default_security)(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid,
                               void *other, void *ex);

/* CCM_8 counts as 64 bits, for the length of its tag: no level but 0 lets it in. RFC 7252 (9.1.3)
 * demands it; nothing else becomes weaker by it. */
static int allow_ccm8(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid, void *other,
                      void *ex) {
    if ((op == SSL_SECOP_CIPHER_SUPPORTED || op == SSL_SECOP_CIPHER_SHARED ||
         op == SSL_SECOP_CIPHER_CHECK) &&
        (strstr(SSL_CIPHER_get_name(other), "CCM8") || strstr(SSL_CIPHER_get_name(other), "CCM_8")))
        return 1;
    return default_security(s, ctx, op, bits, nid, other, ex);
}

static int dtls_version(int tls) {
    return tls == TLS1_2_VERSION ? DTLS1_2_VERSION : 0;
}

static int set_algorithms(SSL_CTX *ctx, const struct hub_front_config *cfg, struct tb_error *e) {
    const bool dtls = SSL_CTX_get_ssl_method(ctx) == DTLS_method();
    const int min = dtls ? dtls_version(cfg->min_version) : cfg->min_version;
    const int max = dtls ? DTLS1_2_VERSION : cfg->max_version;

    if (dtls && min == 0)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "DTLS has version 1.2 only");
    if (!SSL_CTX_set_min_proto_version(ctx, min) || !SSL_CTX_set_max_proto_version(ctx, max))
        return openssl_says(e, TB_ERANGE, NULL, "the TLS versions cannot be set");
    if (!SSL_CTX_set1_groups_list(ctx, cfg->groups))
        return openssl_says(e, TB_EPARSE, NULL, "--groups or groups= cannot be used");
    if (cfg->psk || cfg->coap) {
        if (!default_security)
            default_security = SSL_CTX_get_security_callback(ctx);
        SSL_CTX_set_security_callback(ctx, allow_ccm8);
    }
    if (!SSL_CTX_set_ciphersuites(ctx, cfg->psk    ? psk_suites_13
                                       : cfg->coap ? coap_suites_13
                                                   : suites_13))
        return openssl_says(e, TB_EPARSE, NULL, "the suites of TLS 1.3 cannot be used");
    if (!SSL_CTX_set_cipher_list(ctx, cfg->ciphers ? cfg->ciphers : psk_suites_12))
        return openssl_says(e, TB_EPARSE, NULL, "--ciphers or ciphers= cannot be used");
    return 0;
}

static void set_resumption(SSL_CTX *ctx, const struct hub_front_config *cfg) {
    static const unsigned char context[] = "iot-hub";

    /* No cache in either case: it cannot be asked before it resumes, a ticket can. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1);
    if (cfg->resumption) {
        SSL_CTX_set_num_tickets(ctx, 1);
        SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
        SSL_CTX_set_session_ticket_cb(ctx, hub_ident_new_ticket, hub_ident_ticket, NULL);
    } else {
        SSL_CTX_set_num_tickets(ctx, 0);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    }
}

static int set_certificates(SSL_CTX *ctx, const struct hub_front_config *cfg, struct tb_error *e) {
    int err = load_own(ctx, cfg, e);

    if (err == 0)
        err = hub_tls_trust(ctx, cfg->registry, e);
    if (err < 0)
        return err;
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (cfg->cert_optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT), NULL);
    /* A CA in the registry is an anchor, be it self-signed or an intermediate one. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_cert_verify_callback(ctx, hub_ident_verify, NULL);
    return 0;
}

/* TLS 1.3 without a key exchange (psk_ke) is for those who want it: the card does it all then. */
static void set_psk(SSL_CTX *ctx) {
    SSL_CTX_set_psk_server_callback(ctx, hub_ident_psk);
    SSL_CTX_set_psk_find_session_callback(ctx, hub_ident_find_psk);
    SSL_CTX_set_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
}

int hub_tls_configure(SSL_CTX *ctx, const struct hub_front_config *cfg, struct tb_error *e) {
    int err = set_algorithms(ctx, cfg, e);

    if (err == 0 && cfg->psk)
        set_psk(ctx);
    else if (err == 0)
        err = set_certificates(ctx, cfg, e);
    if (err < 0)
        return err;
    set_resumption(ctx, cfg);
    /* Our order counts, of groups too: clients that offer P-384 first may agree on keys in a card,
     * and cards know P-256. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return 0;
}
