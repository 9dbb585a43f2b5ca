/* An application's side of TLS with Mbed TLS: what it offers, its credential, whom it trusts. */
#include <arpa/inet.h>
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/psa_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_mbedtls.h"

/* The card's signatures, PRF and ECDH are of SHA-256 and P-256, and Mbed TLS hashes what a TLS 1.2
 * client signs with the cipher suite's hash: offered is what any card can. */
static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
                                  MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
static const uint16_t sig_algs[] = {MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
                                    MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
                                    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
                                    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
                                    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
                                    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
                                    MBEDTLS_TLS1_3_SIG_NONE};

static const int suites_13[] = {MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
                                MBEDTLS_TLS1_3_AES_128_CCM_SHA256,
                                MBEDTLS_TLS1_3_AES_128_CCM_8_SHA256, 0};
static const int suites_cert[] = {
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
    /* The key in these names is the server's, ours is what it is. */
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
    0};
static const int suites_psk[] = {
    MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_CCM,
    MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA256, 0};
static const int suites_ecdhe_psk[] = {MBEDTLS_TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256, 0};

const char *dev_mbedtls_text(int code, char *buf, size_t cap) {
    mbedtls_strerror(code, buf, cap);
    return buf;
}

/* ---- cipher suites ---- */

static int add_suites(struct mbedtls_tls *t, int n, const int *more) {
    while (*more && n < MBEDTLS_SUITES_MAX)
        t->suites[n++] = *more++;
    return n;
}

/* IANA's name of a suite, or the library's. 0: it has none of that name. */
static int suite_by_name(const char *name, size_t n) {
    char own[80];
    int len;

    if (n > 4 && strncmp(name, "TLS_", 4) == 0 && !memmem(name, n, "_WITH_", 6))
        len = snprintf(own, sizeof own, "TLS1-3-%.*s", (int)n - 4, name + 4);
    else
        len = snprintf(own, sizeof own, "%.*s", (int)n, name);
    if (len < 0 || (size_t)len >= sizeof own)
        return 0;
    for (char *c = own; *c; c++) {
        if (*c == '_')
            *c = '-';
    }
    return mbedtls_ssl_get_ciphersuite_id(own);
}

static bool named(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

/* Mbed TLS says nothing about a list of which it can offer none: the server would. */
static bool goes_with(int id, const struct dev_tls_config *cfg) {
    const char *name = mbedtls_ssl_get_ciphersuite_name(id);

    if (named(name, "TLS1-3-"))
        return cfg->versions & DEV_TLS13;
    if (!(cfg->versions & (DEV_TLS12 | DEV_DTLS12)))
        return false;
    if (named(name, "TLS-PSK-"))
        return cfg->psk_identity && cfg->psk_plain;
    if (named(name, "TLS-ECDHE-PSK-"))
        return cfg->psk_identity && cfg->psk_ecdhe;
    return !cfg->psk_identity;
}

static int set_suites(struct mbedtls_tls *t, const struct dev_tls_config *cfg,
                      struct dev_failure *why) {
    bool has = !cfg->ciphers;
    int n = 0;

    if (!cfg->ciphers) {
        if (cfg->versions & DEV_TLS13)
            n = add_suites(t, n, suites_13);
        if (!cfg->psk_identity)
            n = add_suites(t, n, suites_cert);
        if (cfg->psk_identity && cfg->psk_ecdhe)
            n = add_suites(t, n, suites_ecdhe_psk);
        if (cfg->psk_identity && cfg->psk_plain)
            n = add_suites(t, n, suites_psk);
    }
    for (const char *at = cfg->ciphers; at && *at;) {
        size_t len = strcspn(at, ":,");
        const int id[] = {len ? suite_by_name(at, len) : 0, 0};

        if (len && !id[0]) {
            dev_fail(why, "tls: ciphers: Mbed TLS has no cipher suite %.*s", (int)len, at);
            return TB_EPARSE;
        }
        has = has || (len && goes_with(id[0], cfg));
        n = add_suites(t, n, id);
        at += len + (at[len] != 0);
    }
    if (!has) {
        dev_fail(why, "tls: ciphers: none of %s goes with the other options", cfg->ciphers);
        return TB_EPARSE;
    }
    mbedtls_ssl_conf_ciphersuites(&t->conf, t->suites);
    return 0;
}

/* ---- credentials ---- */

/* The length of the DER object that all begins with, at most all.n. */
static size_t der_length(struct tb_span all) {
    if (all.n < 2 || all.p[0] != 0x30)
        return all.n;
    if (all.p[1] < 0x80)
        return 2 + (size_t)all.p[1] < all.n ? 2 + (size_t)all.p[1] : all.n;
    if (all.p[1] == 0x81 && all.n > 3)
        return 3 + (size_t)all.p[2] < all.n ? 3 + (size_t)all.p[2] : all.n;
    if (all.p[1] == 0x82 && all.n > 4) {
        size_t n = 4 + (size_t)(all.p[2] << 8 | all.p[3]);

        return n < all.n ? n : all.n;
    }
    return all.n;
}

/* From a PEM file, or DER one behind the other. */
static int load_certs(mbedtls_x509_crt *to, const char *file, struct tb_span der) {
    int r = 0;

    if (file) {
        r = mbedtls_x509_crt_parse_file(to, file);
        return r > 0 ? MBEDTLS_ERR_X509_INVALID_FORMAT : r; /* that many of them were bad */
    }
    if (der.n == 0)
        return MBEDTLS_ERR_X509_BAD_INPUT_DATA;
    while (r == 0 && der.n > 0) {
        size_t n = der_length(der);

        r = mbedtls_x509_crt_parse_der(to, der.p, n);
        der = tb_span(der.p + n, der.n - n);
    }
    return r;
}

static int use_psk(struct mbedtls_tls *t, const struct dev_tls_config *cfg) {
    struct tb_span psk = cfg->psk;
    int r;

    snprintf(t->psk_identity, sizeof t->psk_identity, "%s", cfg->psk_identity);
    if (cfg->psk_ref) {
        if (iotsafe_psa_psk(cfg->psk_ref, t->token) < 0)
            return MBEDTLS_ERR_SSL_ALLOC_FAILED;
        t->has_token = true;
        psk = tb_span(t->token, sizeof t->token);
    }
    r = mbedtls_ssl_conf_psk(&t->conf, psk.p, psk.n, (const unsigned char *)t->psk_identity,
                             strlen(t->psk_identity));
    return r;
}

static int use_key(struct mbedtls_tls *t, const struct dev_tls_config *cfg) {
    int r;

    if (cfg->key_file)
        return mbedtls_pk_parse_keyfile(&t->key, cfg->key_file, NULL, mbedtls_psa_get_random,
                                        MBEDTLS_PSA_RANDOM_STATE);
    r = iotsafe_psa_key(cfg->key, &t->key_id);
    return r < 0 ? MBEDTLS_ERR_PK_ALLOC_FAILED : mbedtls_pk_setup_opaque(&t->key, t->key_id);
}

static int set_credential(struct mbedtls_tls *t, const struct dev_tls_config *cfg,
                          const char **ret_what, const char **ret_file) {
    int r;

    *ret_file = NULL;
    *ret_what = "pre-shared key";
    if (cfg->psk_identity)
        return use_psk(t, cfg);
    *ret_what = "CA certificate";
    *ret_file = cfg->ca_file;
    r = load_certs(&t->ca, cfg->ca_file, cfg->ca);
    if (r < 0)
        return r;
    mbedtls_ssl_conf_ca_chain(&t->conf, &t->ca, NULL);
    *ret_what = "own certificate";
    *ret_file = cfg->cert_file;
    r = load_certs(&t->own, cfg->cert_file, cfg->cert);
    if (r < 0)
        return r;
    *ret_what = "private key";
    *ret_file = cfg->key_file;
    r = use_key(t, cfg);
    return r < 0 ? r : mbedtls_ssl_conf_own_cert(&t->conf, &t->own, &t->key);
}

/* ---- policy ---- */

static void set_versions(struct mbedtls_tls *t, unsigned versions) {
    mbedtls_ssl_conf_min_tls_version(&t->conf, versions & (DEV_TLS12 | DEV_DTLS12)
                                                   ? MBEDTLS_SSL_VERSION_TLS1_2
                                                   : MBEDTLS_SSL_VERSION_TLS1_3);
    mbedtls_ssl_conf_max_tls_version(&t->conf, versions & DEV_TLS13 ? MBEDTLS_SSL_VERSION_TLS1_3
                                                                    : MBEDTLS_SSL_VERSION_TLS1_2);
}

static int exchanges(const struct dev_tls_config *cfg) {
    unsigned modes = 0;

    if (cfg->psk_identity && cfg->psk_plain)
        modes |= MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK;
    if (cfg->psk_identity && cfg->psk_ecdhe)
        modes |= MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL;
    if (!cfg->psk_identity)
        modes |= MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL;
    /* A ticket is a PSK; the secrets of a resumed session are fresh nevertheless. */
    if (!cfg->psk_identity && cfg->resume)
        modes |= MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL;
    return (int)modes;
}

static void set_policy(struct mbedtls_tls *t, const struct dev_tls_config *cfg) {
    set_versions(t, cfg->versions);
    mbedtls_ssl_conf_rng(&t->conf, iotsafe_psa_random, NULL);
    mbedtls_ssl_conf_groups(&t->conf, groups);
    mbedtls_ssl_conf_sig_algs(&t->conf, sig_algs);
    mbedtls_ssl_conf_tls13_key_exchange_modes(&t->conf, exchanges(cfg));
    mbedtls_ssl_conf_session_tickets(&t->conf, t->resume);
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(&t->conf, t->resume);
    mbedtls_ssl_conf_authmode(&t->conf, MBEDTLS_SSL_VERIFY_REQUIRED);
}

static unsigned offload_of(unsigned offload) {
    return (offload & DEV_OFFLOAD_ECDHE ? IOTSAFE_PSA_ECDHE : 0U) |
           (offload & DEV_OFFLOAD_VERIFY ? IOTSAFE_PSA_VERIFY : 0U) |
           (offload & DEV_OFFLOAD_RANDOM ? IOTSAFE_PSA_RANDOM : 0U) |
           (offload & DEV_OFFLOAD_DERIVE ? IOTSAFE_PSA_DERIVE : 0U);
}

/* ---- what cannot be ---- */

static const char *impossible(const struct dev_tls_config *cfg) {
    if ((cfg->offload & DEV_OFFLOAD_DERIVE) && !(cfg->offload & DEV_OFFLOAD_ECDHE))
        return "derive: only a shared secret that the card made can stay there: it needs ecdhe";
    if ((cfg->offload & DEV_OFFLOAD_VERIFY) && cfg->psk_identity)
        return "verify: with a pre-shared key there are no signatures to verify";
    if ((cfg->offload & DEV_OFFLOAD_ECDHE) && cfg->psk_identity && !cfg->psk_ecdhe)
        return "ecdhe: the plain exchange of a pre-shared key has no key agreement";
    if (cfg->psk.n > MBEDTLS_PSK_MAX_LEN)
        return "the pre-shared key is longer than 64 bytes";
    if (cfg->psk_identity && strlen(cfg->psk_identity) > 128)
        return "the identity is longer than 128 bytes";
    return NULL;
}

/* ---- making ---- */

static bool library_ready(void) {
    static bool ready;

    if (!ready)
        ready = psa_crypto_init() == PSA_SUCCESS;
    return ready;
}

static void op_free(struct dev_tls *tls) {
    struct mbedtls_tls *t = (struct mbedtls_tls *)tls;

    mbedtls_ssl_session_free(&t->session);
    mbedtls_ssl_config_free(&t->conf);
    mbedtls_pk_free(&t->key);
    mbedtls_x509_crt_free(&t->own);
    mbedtls_x509_crt_free(&t->ca);
    if (t->key_id)
        iotsafe_psa_forget_key(t->key_id);
    if (t->has_token)
        iotsafe_psa_forget_psk(t->token);
    mbedtls_platform_zeroize(t, sizeof *t);
    free(t);
}

static const struct dev_tls_ops ops = {dev_mbedtls_open, op_free};

static struct mbedtls_tls *new_tls(const struct dev_tls_config *cfg) {
    struct mbedtls_tls *t = calloc(1, sizeof *t);
    unsigned char address[16];

    if (!t)
        abort();
    t->tls.ops = &ops;
    mbedtls_ssl_config_init(&t->conf);
    mbedtls_x509_crt_init(&t->own);
    mbedtls_x509_crt_init(&t->ca);
    mbedtls_pk_init(&t->key);
    mbedtls_ssl_session_init(&t->session);
    t->datagrams = cfg->versions & DEV_DTLS12;
    /* A ticket of TLS 1.3 saves nothing where a PSK is the credential: the library would offer
     * both, and the card would be asked all the same. */
    t->resume = cfg->resume && !(cfg->psk_identity && (cfg->versions & DEV_TLS13));
    t->offload = offload_of(cfg->offload);
    t->keylog = cfg->keylog;
    t->keylog_user = cfg->keylog_user;
    snprintf(t->server_name, sizeof t->server_name, "%s", cfg->server_name);
    t->numeric = inet_pton(AF_INET, t->server_name, address) == 1 ||
                 inet_pton(AF_INET6, t->server_name, address) == 1;
    return t;
}

int dev_tls_mbedtls(const struct dev_tls_config *cfg, struct dev_card_use *use,
                    struct dev_tls **ret, struct dev_failure *why) {
    const char *what = impossible(cfg), *file = NULL;
    struct mbedtls_tls *t;
    char text[200];
    int r;

    (void)use; /* the card is not asked before the first handshake */
    if (what) {
        dev_fail(why, "tls: %s", what);
        return TB_EPARSE;
    }
    if (!library_ready()) {
        dev_fail(why, "tls: Mbed TLS cannot be started");
        return TB_ECRYPTO;
    }
    t = new_tls(cfg);
    what = "tls";
    r = mbedtls_ssl_config_defaults(&t->conf, MBEDTLS_SSL_IS_CLIENT,
                                    t->datagrams ? MBEDTLS_SSL_TRANSPORT_DATAGRAM
                                                 : MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT);
    if (r == 0) {
        set_policy(t, cfg);
        r = set_credential(t, cfg, &what, &file);
    }
    if (r < 0)
        dev_fail(why, "%s%s%.200s: %s", what, file ? " " : "", file ? file : "",
                 dev_mbedtls_text(r, text, sizeof text));
    else
        r = set_suites(t, cfg, why);
    if (r < 0) {
        op_free(&t->tls);
        return r == TB_EPARSE ? r : TB_ECRYPTO;
    }
    *ret = &t->tls;
    return 0;
}
