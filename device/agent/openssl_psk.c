#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "channel_openssl.h"
#include "isp.h"
#include "ref.h"

/* Suites whose PRF is SHA-256: the card knows no other for a pre-shared key. ECDHE-PSK with an AEAD
 * is in OpenSSL with ChaCha20 only. Level 0 is for CCM8, the suite of constrained devices: there is
 * no certificate that the level could be about. */
#define ECDHE "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:"
#define PLAIN                                                                                      \
    "PSK-AES128-GCM-SHA256:PSK-CHACHA20-POLY1305:PSK-AES128-CCM:PSK-AES128-CCM8:"                  \
    "PSK-AES128-CBC-SHA256:"
#define TLS13                                                                                      \
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:"                  \
    "TLS_AES_128_CCM_8_SHA256:"

/* For TLS 1.2 and, since no callback for a session is set, for TLS 1.3 as well, where OpenSSL makes
 * of it a session with SHA-256. */
static unsigned on_psk(SSL *ssl, const char *hint, char *identity, unsigned identity_max,
                       unsigned char *psk, unsigned psk_max) {
    const struct openssl_channel *c = SSL_get_app_data(ssl);
    const struct openssl_tls *t = c->tls;

    (void)hint;
    if (t->psk_n > psk_max || strlen(t->psk_identity) >= identity_max)
        return 0;
    memcpy(identity, t->psk_identity, strlen(t->psk_identity) + 1);
    memcpy(psk, t->psk, t->psk_n);
    return (unsigned)t->psk_n;
}

/* What the provider takes for the secret in the card: IOTSAFE:psk:06, IOTSAFE:psk:label=… */
static size_t put_handle(const struct iotsafe_ref *secret, struct tb_buf out) {
    const struct isp_uri uri = {.has_ref = true, .ref = *secret};
    char text[ISP_URI_MAX];
    struct tb_buf name = tb_buf(text, sizeof text);
    struct tb_span ref;

    isp_uri_put(&name, &uri);
    ref = tb_buf_span(&name);
    ref = tb_span_sub(ref, strlen(ISP_SCHEME), ref.n);
    if (tb_span_starts(ref, tb_span_str("id=")))
        ref = tb_span_sub(ref, 3, ref.n);
    tb_put(&out, tb_span_str("IOTSAFE:psk:"));
    tb_put(&out, ref);
    return tb_buf_ok(&out) ? out.n : 0;
}

bool dev_openssl_use_psk(struct openssl_tls *t, const struct dev_tls_config *cfg) {
    char suites[512];

    snprintf(t->psk_identity, sizeof t->psk_identity, "%s", cfg->psk_identity);
    if (cfg->psk_ref) {
        t->psk_n = put_handle(cfg->psk_ref, tb_buf(t->psk, sizeof t->psk));
    } else {
        memcpy(t->psk, cfg->psk.p, cfg->psk.n);
        t->psk_n = cfg->psk.n;
    }
    SSL_CTX_set_psk_client_callback(t->ctx, on_psk);
    if (cfg->psk_plain)
        SSL_CTX_set_options(t->ctx, SSL_OP_ALLOW_NO_DHE_KEX); /* psk_ke beside psk_dhe_ke */
    snprintf(suites, sizeof suites, TLS13 "%s%s@SECLEVEL=0", cfg->psk_ecdhe ? ECDHE : "",
             cfg->psk_plain ? PLAIN : "");
    return dev_openssl_ciphers(t->ctx, suites);
}

static void append(char *list, size_t cap, const char *name, size_t n) {
    size_t have = strlen(list);

    snprintf(list + have, cap - have, "%s%.*s", have ? ":" : "", (int)n, name);
}

bool dev_openssl_ciphers(SSL_CTX *ctx, const char *names) {
    char new[512] = "", old[512] = "";

    while (*names) {
        size_t n = strcspn(names, ":");

        if (strncmp(names, "TLS_", 4) == 0)
            append(new, sizeof new, names, n);
        else if (n > 0)
            append(old, sizeof old, names, n);
        names += n + (names[n] == ':');
    }
    /* Either list alone leaves the other as it is. */
    return (!*new || SSL_CTX_set_ciphersuites(ctx, new) == 1) &&
           (!*old || SSL_CTX_set_cipher_list(ctx, old) == 1);
}

static bool goes_with(const SSL_CIPHER *suite, const struct dev_tls_config *cfg) {
    const int kx = SSL_CIPHER_get_kx_nid(suite);

    if (kx == NID_kx_any) /* of TLS 1.3 */
        return true;
    if (!cfg->psk_identity)
        return SSL_CIPHER_get_auth_nid(suite) != NID_auth_psk;
    return (kx == NID_kx_ecdhe_psk && cfg->psk_ecdhe) || (kx == NID_kx_psk && cfg->psk_plain);
}

bool dev_openssl_has_suite(SSL_CTX *ctx, const struct dev_tls_config *cfg) {
    SSL *ssl = SSL_new(ctx);
    STACK_OF(SSL_CIPHER) *suites = ssl ? SSL_get1_supported_ciphers(ssl) : NULL;
    bool has = false;

    for (int i = 0; i < sk_SSL_CIPHER_num(suites); i++)
        has |= goes_with(sk_SSL_CIPHER_value(suites, i), cfg);
    sk_SSL_CIPHER_free(suites);
    SSL_free(ssl);
    return has;
}
