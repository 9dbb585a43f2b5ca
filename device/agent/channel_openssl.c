#include <arpa/inet.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "isp.h"
#include "ref.h"

struct dev_openssl {
    struct dev_card *card;
    OSSL_LIB_CTX *ctx;
    OSSL_PROVIDER *def, *iotsafe;
    BIO_METHOD *bio;
};

struct openssl_channel {
    struct dev_channel ch;
    struct dev_openssl *o;
    SSL_CTX *ctx;
    SSL *ssl;
    char server_name[256];
    int alert; /* last one received, -1: none */
    void (*keylog)(const char *line, void *user);
    void *keylog_user;
};

void dev_fail(struct dev_failure *why, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why->reason, sizeof why->reason, fmt, ap);
    va_end(ap);
}

/* ---- the stream as a BIO ---- */

static int bio_read(BIO *bio, char *buf, int n) {
    struct dev_stream *s = BIO_get_data(bio);
    struct tb_span data = dev_stream_data(s);

    BIO_clear_retry_flags(bio);
    if (data.n == 0) {
        if (dev_stream_status(s) == 0) {
            BIO_set_retry_read(bio);
            return -1;
        }
        return dev_stream_status(s) == TB_ECLOSED ? 0 : -1;
    }
    data = tb_span_sub(data, 0, (size_t)n);
    memcpy(buf, data.p, data.n);
    dev_stream_eat(s, data.n);
    return (int)data.n;
}

static int bio_write(BIO *bio, const char *buf, int n) {
    BIO_clear_retry_flags(bio);
    return dev_stream_write(BIO_get_data(bio), buf, (size_t)n) < 0 ? -1 : n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *p) {
    (void)num;
    (void)p;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return dev_stream_status(BIO_get_data(bio)) < 0;
    default:
        return 0;
    }
}

/* ---- the library ---- */

int dev_openssl_new(struct dev_card *card, struct dev_openssl **ret) {
    struct dev_openssl *o = calloc(1, sizeof *o);
    struct isp_host host = dev_card_host(card);

    if (!o)
        abort();
    o->card = card;
    isp_set_host(&host);
    o->ctx = OSSL_LIB_CTX_new();
    if (o->ctx && OSSL_PROVIDER_add_builtin(o->ctx, "iotsafe", isp_provider_init)) {
        o->def = OSSL_PROVIDER_load(o->ctx, "default");
        o->iotsafe = OSSL_PROVIDER_load(o->ctx, "iotsafe");
    }
    o->bio = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "stream");
    if (!o->def || !o->iotsafe || !o->bio) {
        dev_openssl_free(o);
        return TB_ECRYPTO;
    }
    BIO_meth_set_read(o->bio, bio_read);
    BIO_meth_set_write(o->bio, bio_write);
    BIO_meth_set_ctrl(o->bio, bio_ctrl);
    *ret = o;
    return 0;
}

void dev_openssl_free(struct dev_openssl *o) {
    if (!o)
        return;
    BIO_meth_free(o->bio);
    if (o->iotsafe)
        OSSL_PROVIDER_unload(o->iotsafe);
    if (o->def)
        OSSL_PROVIDER_unload(o->def);
    OSSL_LIB_CTX_free(o->ctx);
    isp_set_host(NULL);
    free(o);
}

/* ---- why something failed ---- */

static const char *reason_of(unsigned long e) {
    const char *text =
        ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);

    return text ? text : "OpenSSL gives no reason";
}

static const char *alert_name(int alert) {
    /* Only the later OpenSSLs know the alerts that came with TLS 1.3. */
    if (alert == 109)
        return "missing extension";
    return alert == 116 ? "certificate required" : SSL_alert_desc_string_long(alert);
}

/* The card's trouble is the cause when there is one; then the peer's alert; then what OpenSSL says.
 */
static void explain(const struct openssl_channel *c, struct dev_failure *why, const char *what) {
    const struct dev_card_trouble *card = dev_card_trouble(c->o->card);
    long verified = c->ssl ? SSL_get_verify_result(c->ssl) : X509_V_OK;
    unsigned long e = ERR_peek_last_error(), first = ERR_peek_error();
    int status = dev_stream_status(c->ch.stream);
    const char *data = NULL;
    int flags = 0;

    if (card->error) {
        dev_fail(why, "%s: card: %s", what, card->text);
        why->sw = card->sw;
    } else if (c->alert >= 0) {
        dev_fail(why, "%s: peer sent alert %d (%s)", what, c->alert, alert_name(c->alert));
    } else if (verified != X509_V_OK) {
        dev_fail(why, "%s: server's certificate: %s", what,
                 X509_verify_cert_error_string(verified));
    } else if (status < 0 && (!e || ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        dev_fail(why, "%s: %s", what, tb_strerror(status));
    } else if (first) {
        if (!ERR_SYSTEM_ERROR(first)) /* "calling fopen(…)" is said by what */
            ERR_peek_error_data(&data, &flags);
        dev_fail(why, "%s: %s%s%s", what, reason_of(first),
                 data && (flags & ERR_TXT_STRING) && *data ? ": " : "",
                 data && (flags & ERR_TXT_STRING) ? data : "");
    } else {
        dev_fail(why, "%s failed", what);
    }
    ERR_clear_error();
}

static void on_info(const SSL *ssl, int where, int value) {
    struct openssl_channel *c = SSL_get_app_data(ssl);

    if ((where & SSL_CB_ALERT) && (where & SSL_CB_READ) && (value & 0xFF) != SSL_AD_CLOSE_NOTIFY)
        c->alert = value & 0xFF;
}

static void on_keylog(const SSL *ssl, const char *line) {
    struct openssl_channel *c = SSL_get_app_data(ssl);

    c->keylog(line, c->keylog_user);
}

/* ---- credentials ---- */

static X509 *take_der(struct openssl_channel *c, const unsigned char **p, struct tb_span all) {
    X509 *x = X509_new_ex(c->o->ctx, NULL);

    if (!d2i_X509(&x, p, (long)(all.p + all.n - *p)))
        return NULL; /* x is freed */
    return x;
}

static bool load_ca(struct openssl_channel *c, const struct dev_channel_config *cfg) {
    const unsigned char *p = cfg->ca.p;
    X509 *x;

    if (cfg->ca_file)
        return SSL_CTX_load_verify_file(c->ctx, cfg->ca_file) == 1;
    while (p < cfg->ca.p + cfg->ca.n) {
        x = take_der(c, &p, cfg->ca);
        if (!x)
            return false;
        X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx), x);
        X509_free(x);
    }
    return true;
}

static bool load_cert(struct openssl_channel *c, const struct dev_channel_config *cfg) {
    const unsigned char *p = cfg->cert.p;
    bool ok = true;
    X509 *x;

    if (cfg->cert_file)
        return SSL_CTX_use_certificate_chain_file(c->ctx, cfg->cert_file) == 1;
    for (size_t i = 0; ok && p < cfg->cert.p + cfg->cert.n; i++) {
        x = take_der(c, &p, cfg->cert);
        ok = x && (i == 0 ? SSL_CTX_use_certificate(c->ctx, x)
                          : SSL_CTX_add1_chain_cert(c->ctx, x)) == 1;
        X509_free(x);
    }
    return ok;
}

/* A key in the card by a reference that holds the certificate's public key: loading it asks the
 * card nothing. */
static EVP_PKEY *key_in_card(struct openssl_channel *c, const char *uri) {
    X509 *cert = SSL_CTX_get0_certificate(c->ctx);
    uint8_t room[ISP_REFERENCE_MAX];
    struct tb_buf ref = TB_BUF(room);
    unsigned char *spki = NULL;
    const unsigned char *p = room;
    OSSL_DECODER_CTX *dec;
    EVP_PKEY *key = NULL;
    size_t n;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

    isp_reference_put(&ref, tb_span_str(uri), tb_span(spki, len > 0 ? (size_t)len : 0));
    OPENSSL_free(spki);
    n = ref.n;
    dec = OSSL_DECODER_CTX_new_for_pkey(&key, "DER", "IotSafeRef", "EC", 0, c->o->ctx, NULL);
    if (!tb_buf_ok(&ref) || !dec || !OSSL_DECODER_from_data(dec, &p, &n)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    OSSL_DECODER_CTX_free(dec);
    return key;
}

static bool load_key(struct openssl_channel *c, const struct dev_channel_config *cfg) {
    EVP_PKEY *key;
    bool ok;

    if (cfg->key_file)
        return SSL_CTX_use_PrivateKey_file(c->ctx, cfg->key_file, SSL_FILETYPE_PEM) == 1;
    key = key_in_card(c, cfg->key_uri);
    ok = key && SSL_CTX_use_PrivateKey(c->ctx, key) == 1;
    EVP_PKEY_free(key);
    return ok;
}

static bool set_name(SSL *ssl, char *name) {
    unsigned char addr[16];

    if (inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)name) == 1 &&
           SSL_set1_host(ssl, name) == 1;
}

/* ---- channel ---- */

static void channel_free(struct openssl_channel *c) {
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    ERR_clear_error();
    free(c);
}

static int op_handshake(struct dev_channel *ch, uint64_t until, struct dev_failure *why) {
    struct openssl_channel *c = (struct openssl_channel *)ch;
    int r;

    for (;;) {
        ERR_clear_error();
        r = SSL_connect(c->ssl);
        if (r == 1)
            return 0;
        if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ) {
            explain(c, why, "handshake");
            return TB_ECRYPTO;
        }
        r = dev_stream_wait(ch->stream, 0, until);
        if (r == TB_ETIMEOUT || r == UV_ECANCELED) {
            dev_fail(why, "handshake: %s", r == TB_ETIMEOUT ? "no answer in time" : "called off");
            return r;
        }
        /* At the end of the stream OpenSSL is asked once more: it may hold the peer's alert. */
    }
}

static int op_read(struct dev_channel *ch, void *buf, size_t cap, struct dev_failure *why) {
    struct openssl_channel *c = (struct openssl_channel *)ch;
    size_t n;
    int r;

    ERR_clear_error();
    r = SSL_read_ex(c->ssl, buf, cap, &n);
    if (r == 1)
        return (int)n;
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return UV_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return TB_ECLOSED;
    default:
        explain(c, why, "connection");
        return TB_ECRYPTO;
    }
}

static int op_write(struct dev_channel *ch, const void *p, size_t n, struct dev_failure *why) {
    struct openssl_channel *c = (struct openssl_channel *)ch;
    size_t done;

    ERR_clear_error();
    if (SSL_write_ex(c->ssl, p, n, &done) == 1)
        return 0;
    explain(c, why, "connection");
    return TB_ECRYPTO;
}

static void op_info(const struct dev_channel *ch, struct dev_channel_info *ret) {
    const struct openssl_channel *c = (const struct openssl_channel *)ch;
    X509 *cert = SSL_get_certificate(c->ssl);
    BIO *bio = BIO_new(BIO_s_mem());
    int n = 0;

    if (cert && bio &&
        X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(bio, ret->identity, sizeof ret->identity - 1);
    ret->identity[n > 0 ? n : 0] = 0;
    BIO_free(bio);
    snprintf(ret->version, sizeof ret->version, "%s", SSL_get_version(c->ssl));
    snprintf(ret->cipher, sizeof ret->cipher, "%s", SSL_get_cipher_name(c->ssl));
}

static void op_close(struct dev_channel *ch, bool orderly) {
    struct openssl_channel *c = (struct openssl_channel *)ch;

    if (orderly)
        (void)SSL_shutdown(c->ssl);
    dev_stream_close(ch->stream);
    channel_free(c);
}

static const struct dev_channel_ops channel_ops = {op_handshake, op_read, op_write, op_info,
                                                   op_close};

static bool set_up(struct openssl_channel *c, const struct dev_channel_config *cfg,
                   struct dev_failure *why) {
    const char *what = "tls", *file = NULL;
    char name[300];
    BIO *bio;
    bool ok;

    c->ctx = SSL_CTX_new_ex(c->o->ctx, NULL, TLS_client_method());
    ok = c->ctx &&
         SSL_CTX_set_min_proto_version(c->ctx, cfg->versions & DEV_TLS12 ? TLS1_2_VERSION
                                                                         : TLS1_3_VERSION) &&
         SSL_CTX_set_max_proto_version(c->ctx,
                                       cfg->versions & DEV_TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (ok && !load_ca(c, cfg)) {
        what = "CA certificate";
        file = cfg->ca_file;
        ok = false;
    }
    if (ok && !load_cert(c, cfg)) {
        what = "own certificate";
        file = cfg->cert_file;
        ok = false;
    }
    if (ok && !load_key(c, cfg)) {
        what = "private key";
        file = cfg->key_file;
        ok = false;
    }
    if (!ok) {
        snprintf(name, sizeof name, "%s%s%.200s", what, file ? " " : "", file ? file : "");
        explain(c, why, name);
        return false;
    }
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->ctx, SSL_MODE_NO_AUTO_CHAIN);
    if (cfg->keylog)
        SSL_CTX_set_keylog_callback(c->ctx, on_keylog);
    c->keylog = cfg->keylog;
    c->keylog_user = cfg->keylog_user;
    c->ssl = SSL_new(c->ctx);
    bio = BIO_new(c->o->bio);
    if (!c->ssl || !bio || !set_name(c->ssl, c->server_name)) {
        BIO_free(bio);
        explain(c, why, "tls");
        return false;
    }
    BIO_set_data(bio, c->ch.stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_app_data(c->ssl, c);
    SSL_set_info_callback(c->ssl, on_info);
    return true;
}

int dev_channel_openssl(struct dev_openssl *o, const struct dev_channel_config *cfg,
                        struct dev_stream *stream, struct dev_channel **ret,
                        struct dev_failure *why) {
    struct openssl_channel *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    c->ch.ops = &channel_ops;
    c->ch.stream = stream;
    c->o = o;
    c->alert = -1;
    snprintf(c->server_name, sizeof c->server_name, "%s", cfg->server_name);
    ERR_clear_error();
    if (!set_up(c, cfg, why)) {
        channel_free(c);
        return TB_ECRYPTO;
    }
    *ret = &c->ch;
    return 0;
}
