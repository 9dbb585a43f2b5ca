#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_openssl.h"

enum { LINK_MTU = 1280 }; /* every link carries this (RFC 8200, 5), and no path is asked */

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
void dev_openssl_explain(const struct dev_card_use *use, const struct openssl_channel *c,
                         struct dev_failure *why, const char *what) {
    const struct dev_card_trouble *card = &use->trouble;
    long verified = c && c->ssl ? SSL_get_verify_result(c->ssl) : X509_V_OK;
    unsigned long e = ERR_peek_last_error(), first = ERR_peek_error();
    int status = c ? dev_stream_status(c->ch.stream) : 0;
    const char *data = NULL;
    int flags = 0;

    if (card->error) {
        dev_fail(why, "%s: card: %s", what, card->text);
        why->sw = card->sw;
    } else if (c && c->alert >= 0) {
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

/* ---- channel ---- */

static void explain(const struct openssl_channel *c, struct dev_failure *why, const char *what) {
    dev_openssl_explain(&c->ch.use, c, why, what);
}

static void channel_free(struct openssl_channel *c) {
    SSL_free(c->ssl);
    ERR_clear_error();
    free(c);
}

/* Random bytes of the card into the generator, before this session draws from it: a seed source
 * that asks the card would park while it holds the generator's lock. */
static int add_random(struct openssl_channel *c) {
    EVP_RAND_CTX *of[] = {RAND_get0_public(c->tls->lib->ctx), RAND_get0_private(c->tls->lib->ctx)};
    struct iotsafe *client;
    unsigned char seed[48];
    int r = dev_card_take(c->ch.use.card, &client);

    if (r == 0) {
        r = iotsafe_random(client, seed, sizeof seed);
        dev_card_put(c->ch.use.card, r);
    }
    for (size_t i = 0; r == 0 && i < 2; i++) {
        if (!of[i] || EVP_RAND_reseed(of[i], 0, seed, sizeof seed, NULL, 0) != 1)
            r = TB_ECRYPTO;
    }
    OPENSSL_cleanse(seed, sizeof seed);
    return r;
}

/* 0: the peer, the end of the stream, or the timer of DTLS has something for OpenSSL to do. */
static int wait_for_peer(struct openssl_channel *c) {
    const struct dev_task *t = dev_task_current();
    struct timeval left;
    uint64_t timer = 0;
    int r;

    if (c->tls->datagrams && DTLSv1_get_timeout(c->ssl, &left) == 1)
        timer = dev_now() + (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_usec / 1000 + 1;
    r = dev_stream_wait(c->ch.stream, 0, timer);
    if (r == TB_ETIMEOUT && timer && !(t->limit && dev_now() >= t->limit))
        r = DTLSv1_handle_timeout(c->ssl) < 0 ? TB_ETIMEOUT : 0; /* sends its flight again */
    return r == TB_ETIMEOUT || r == UV_ECANCELED ? r : 0;
}

/* The external PSK of TLS 1.3 counts as resumption for OpenSSL: it is none without a ticket. */
static bool was_resumed(SSL *ssl) {
    return SSL_session_reused(ssl) == 1 && (SSL_version(ssl) != TLS1_3_VERSION ||
                                            SSL_SESSION_has_ticket(SSL_get_session(ssl)) == 1);
}

static void forget_session(struct openssl_tls *t) {
    SSL_SESSION_free(t->session);
    t->session = NULL;
}

/* A card that was waited for when the session was called off, or its time over, is not to blame. */
static int failed(struct openssl_channel *c, struct dev_failure *why) {
    const struct dev_task *t = dev_task_current();

    if (t->cancelled) {
        dev_fail(why, "handshake: called off");
        ERR_clear_error();
        return UV_ECANCELED;
    }
    explain(c, why, "handshake");
    return t->limit && dev_now() >= t->limit ? TB_ETIMEOUT : TB_ECRYPTO;
}

static int op_handshake(struct dev_channel *ch, uint64_t until, struct dev_failure *why) {
    struct openssl_channel *c = (struct openssl_channel *)ch;
    int r = c->tls->random ? add_random(c) : 0;

    (void)until; /* is the task's limit */
    if (r < 0)
        return failed(c, why);
    for (;;) {
        ERR_clear_error();
        r = SSL_connect(c->ssl);
        if (r == 1) {
            c->resumed = was_resumed(c->ssl);
            return 0;
        }
        if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ) {
            forget_session(c->tls); /* perhaps it was at fault */
            return failed(c, why);
        }
        r = wait_for_peer(c);
        if (r < 0) {
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

static void identity_of(const struct openssl_channel *c, char *dst, size_t cap) {
    X509 *cert = SSL_get_certificate(c->ssl);
    BIO *bio = BIO_new(BIO_s_mem());
    int n = 0;

    if (cert && bio &&
        X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(bio, dst, (int)cap - 1);
    dst[n > 0 ? n : 0] = 0;
    BIO_free(bio);
}

static void group_of(SSL *ssl, char *dst, size_t cap) {
    EVP_PKEY *key = NULL;
    char name[64];
    const char *nist;

    *dst = 0;
    if (SSL_get_peer_tmp_key(ssl, &key) != 1)
        return;
    if (EVP_PKEY_get_group_name(key, name, sizeof name, NULL) == 1) {
        nist = EC_curve_nid2nist(OBJ_sn2nid(name));
        snprintf(dst, cap, "%.31s", nist ? nist : name);
    } else {
        snprintf(dst, cap, "%.31s", EVP_PKEY_get0_type_name(key));
    }
    EVP_PKEY_free(key);
}

static void op_info(const struct dev_channel *ch, struct dev_channel_info *ret) {
    const struct openssl_channel *c = (const struct openssl_channel *)ch;

    if (c->tls->psk_identity[0])
        snprintf(ret->identity, sizeof ret->identity, "%s", c->tls->psk_identity);
    else
        identity_of(c, ret->identity, sizeof ret->identity);
    snprintf(ret->version, sizeof ret->version, "%s", SSL_get_version(c->ssl));
    snprintf(ret->cipher, sizeof ret->cipher, "%s", SSL_get_cipher_name(c->ssl));
    group_of(c->ssl, ret->group, sizeof ret->group);
    ret->resumed = c->resumed;
    ERR_clear_error();
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

static bool set_name(SSL *ssl, const char *name) {
    unsigned char addr[16];

    if (inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)name) == 1 &&
           SSL_set1_host(ssl, name) == 1;
}

int dev_openssl_open(struct dev_tls *tls, struct dev_stream *stream, struct dev_channel **ret,
                     struct dev_failure *why) {
    struct openssl_tls *t = (struct openssl_tls *)tls;
    struct openssl_channel *c = calloc(1, sizeof *c);
    BIO *bio;

    if (!c)
        abort();
    c->ch.ops = &channel_ops;
    c->ch.stream = stream;
    c->tls = t;
    c->alert = -1;
    ERR_clear_error();
    c->ssl = SSL_new(t->ctx);
    bio = dev_openssl_bio(stream);
    if (!c->ssl || !bio || !set_name(c->ssl, t->server_name) ||
        (t->session && SSL_set_session(c->ssl, t->session) != 1)) {
        BIO_free(bio);
        explain(c, why, "tls");
        channel_free(c);
        return TB_ECRYPTO;
    }
    SSL_set_bio(c->ssl, bio, bio);
    if (t->datagrams)
        DTLS_set_link_mtu(c->ssl, LINK_MTU);
    SSL_set_app_data(c->ssl, c);
    SSL_set_info_callback(c->ssl, on_info);
    *ret = &c->ch;
    return 0;
}
