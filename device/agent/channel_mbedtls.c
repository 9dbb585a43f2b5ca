/* One connection with Mbed TLS. */
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_mbedtls.h"
#include "tb/hex.h"

enum {
    LINK_MTU = 1280 - 48, /* every link carries 1280 (RFC 8200, 5), headers of IPv6 and UDP off */
    FLIGHT = 4096
};

static struct mbedtls_channel *of(struct dev_channel *ch) {
    return (struct mbedtls_channel *)ch;
}

/* ---- the stream below ---- */

/* A flight of the handshake goes out in one piece: kept until the library has no more of it. */
static int flush(struct mbedtls_channel *c) {
    size_t n = c->out.n;

    c->out.n = 0;
    return n ? dev_stream_write(c->ch.stream, c->out.p, n) : 0;
}

static int on_send(void *user, const unsigned char *p, size_t n) {
    struct mbedtls_channel *c = user;
    int r = 0;

    if (c->out.p && n <= c->out.cap) {
        if (n > c->out.cap - c->out.n)
            r = flush(c);
        tb_put(&c->out, tb_span(p, n));
    } else {
        r = flush(c);
        if (r >= 0)
            r = dev_stream_write(c->ch.stream, p, n);
    }
    return r < 0 ? MBEDTLS_ERR_SSL_CONN_EOF : (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t n) {
    struct mbedtls_channel *c = user;
    struct tb_span in = dev_stream_data(c->ch.stream);
    size_t take = in.n < n ? in.n : n;

    if (in.n == 0)
        return dev_stream_status(c->ch.stream) < 0 ? MBEDTLS_ERR_SSL_CONN_EOF
                                                   : MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(p, in.p, take);
    dev_stream_eat(c->ch.stream, take); /* a datagram is taken whole */
    return (int)take;
}

static void set_timer(void *user, uint32_t some, uint32_t all) {
    struct mbedtls_channel *c = user;

    c->timer_some = all ? dev_after(some) : 0;
    c->timer_all = all ? dev_after(all) : 0;
}

/* As mbedtls_ssl_get_timer_t has it: -1 not set, 0 neither has passed, 1 the first, 2 both. */
static int get_timer(void *user) {
    const struct mbedtls_channel *c = user;
    uint64_t now = dev_now();

    if (!c->timer_all)
        return -1;
    return now >= c->timer_all ? 2 : now >= c->timer_some ? 1 : 0;
}

/* ---- why something failed ---- */

static const char *alert_name(int alert) {
    static const struct {
        unsigned char number;
        const char *name;
    } names[] = {{10, "unexpected message"},
                 {20, "bad record mac"},
                 {22, "record overflow"},
                 {40, "handshake failure"},
                 {42, "bad certificate"},
                 {43, "unsupported certificate"},
                 {44, "certificate revoked"},
                 {45, "certificate expired"},
                 {46, "certificate unknown"},
                 {47, "illegal parameter"},
                 {48, "unknown CA"},
                 {49, "access denied"},
                 {50, "decode error"},
                 {51, "decrypt error"},
                 {70, "protocol version"},
                 {71, "insufficient security"},
                 {80, "internal error"},
                 {86, "inappropriate fallback"},
                 {90, "user canceled"},
                 {100, "no renegotiation"},
                 {109, "missing extension"},
                 {110, "unsupported extension"},
                 {112, "unrecognized name"},
                 {113, "bad certificate status response"},
                 {115, "unknown PSK identity"},
                 {116, "certificate required"},
                 {120, "no application protocol"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].number == alert)
            return names[i].name;
    }
    return "unknown";
}

/* The library tells that there was a fatal alert, not which: the message is still where it was
 * read, level and number. */
static int last_alert(const struct mbedtls_channel *c) {
    return c->ssl.MBEDTLS_PRIVATE(in_msg)[1];
}

/* Why the server's certificate is not taken, in one line. */
static void certificate_text(uint32_t flags, char *buf, size_t cap) {
    char *end;

    if (mbedtls_x509_crt_verify_info(buf, cap, "", flags) < 0)
        snprintf(buf, cap, "not valid");
    end = strchr(buf, '\n');
    if (end)
        *end = 0;
}

/* The card's trouble is the cause when there is one; then the binding's; then the peer's alert;
 * then what the library says. */
static int explain(const struct mbedtls_channel *c, struct dev_failure *why, const char *what,
                   int code) {
    const struct dev_card_trouble *card = &c->ch.use.trouble;
    int status = dev_stream_status(c->ch.stream);
    char text[300];

    if (card->error) {
        dev_fail(why, "%s: card: %s", what, card->text);
        why->sw = card->sw;
    } else if (iotsafe_psa_trouble(&c->psa).error) {
        dev_fail(why, "%s: card: %s", what, iotsafe_psa_trouble_text(&c->psa, text, sizeof text));
    } else if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        dev_fail(why, "%s: peer sent alert %d (%s)", what, last_alert(c),
                 alert_name(last_alert(c)));
    } else if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        certificate_text(mbedtls_ssl_get_verify_result(&c->ssl), text, sizeof text);
        dev_fail(why, "%s: server's certificate: %s", what, text);
    } else if (code == MBEDTLS_ERR_SSL_CONN_EOF && status < 0) {
        dev_fail(why, "%s: %s", what, tb_strerror(status));
    } else {
        dev_fail(why, "%s: %s", what, dev_mbedtls_text(code, text, sizeof text));
    }
    return TB_ECRYPTO;
}

/* ---- sessions to be resumed ---- */

static void forget_session(struct mbedtls_tls *t) {
    mbedtls_ssl_session_free(&t->session);
    mbedtls_ssl_session_init(&t->session);
    t->has_session = false;
    mbedtls_platform_zeroize(t->master, sizeof t->master);
}

static void keep_session(struct mbedtls_channel *c) {
    struct mbedtls_tls *t = c->tls;

    if (!t->resume)
        return;
    forget_session(t);
    t->has_session = mbedtls_ssl_get_session(&c->ssl, &t->session) == 0;
    memcpy(t->master, c->master, sizeof t->master);
}

/* TLS 1.2: the old master secret again. TLS 1.3: the server had nothing to show. */
static bool was_resumed(const struct mbedtls_channel *c) {
    if (!c->tls->has_session)
        return false;
    if (mbedtls_ssl_get_version_number(&c->ssl) == MBEDTLS_SSL_VERSION_TLS1_3)
        return !c->certificate_seen && !c->tls->psk_identity[0];
    return memcmp(c->master, c->tls->master, sizeof c->master) == 0;
}

/* ---- keys, for the log ---- */

static const char *label_of(mbedtls_ssl_key_export_type type) {
    switch (type) {
    case MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET:
        return "CLIENT_RANDOM";
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_HANDSHAKE_TRAFFIC_SECRET:
        return "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_HANDSHAKE_TRAFFIC_SECRET:
        return "SERVER_HANDSHAKE_TRAFFIC_SECRET";
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET:
        return "CLIENT_TRAFFIC_SECRET_0";
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET:
        return "SERVER_TRAFFIC_SECRET_0";
    default:
        return NULL;
    }
}

static void on_keys(void *user, mbedtls_ssl_key_export_type type, const unsigned char *secret,
                    size_t n, const unsigned char client_random[32],
                    const unsigned char server_random[32], mbedtls_tls_prf_types prf) {
    struct mbedtls_channel *c = user;
    const char *label = label_of(type);
    char room[256];
    struct tb_buf line = tb_buf(room, sizeof room - 1);

    (void)server_random;
    (void)prf;
    if (type == MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET && n == sizeof c->master)
        memcpy(c->master, secret, n);
    if (!c->tls->keylog || !label)
        return;
    tb_put(&line, tb_span_str(label));
    tb_put(&line, tb_span_str(" "));
    tb_put_hex(&line, tb_span(client_random, 32), TB_HEX_LOWER);
    tb_put(&line, tb_span_str(" "));
    tb_put_hex(&line, tb_span(secret, n), TB_HEX_LOWER);
    if (tb_buf_ok(&line)) {
        room[line.n] = 0;
        c->tls->keylog(room, c->tls->keylog_user);
    }
    mbedtls_platform_zeroize(room, sizeof room);
}

/* ---- operations ---- */

static int on_verify(void *user, mbedtls_x509_crt *cert, int depth, uint32_t *flags) {
    struct mbedtls_channel *c = user;

    c->certificate_seen = true;
    if (depth == 0 && c->tls->numeric && !dev_mbedtls_is_for_address(cert, c->tls->server_name))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
}

/* 0: the peer, the end of the stream, or the timer of DTLS has something for the library to do. */
static int wait_for_peer(struct mbedtls_channel *c) {
    const struct dev_task *t = dev_task_current();
    int r = dev_stream_wait(c->ch.stream, 0, c->timer_all);

    if (r == TB_ETIMEOUT && c->timer_all && dev_now() >= c->timer_all &&
        !(t->limit && dev_now() >= t->limit))
        r = 0;
    return r == TB_ETIMEOUT || r == UV_ECANCELED ? r : 0;
}

/* The binding knows of whose card this is while the library is at work. */
static int step(struct mbedtls_channel *c) {
    struct iotsafe_psa_session *before = iotsafe_psa_enter(&c->psa);
    int r = mbedtls_ssl_handshake(&c->ssl);

    iotsafe_psa_enter(before);
    return r;
}

static void handshake_done(struct mbedtls_channel *c) {
    struct iotsafe_psa_counters n = iotsafe_psa_counters(&c->psa);

    c->ecdhe = n.agree || n.software_agree;
    c->resumed = was_resumed(c);
    if (mbedtls_ssl_get_version_number(&c->ssl) != MBEDTLS_SSL_VERSION_TLS1_3)
        keep_session(c);
    if (c->tls->datagrams)
        mbedtls_ssl_set_mtu(&c->ssl, 0);
}

/* A card that was waited for when the session was called off, or its time over, is not to blame. */
static int failed(const struct mbedtls_channel *c, struct dev_failure *why, int code) {
    const struct dev_task *t = dev_task_current();

    if (t->cancelled) {
        dev_fail(why, "handshake: called off");
        return UV_ECANCELED;
    }
    explain(c, why, "handshake", code);
    return t->limit && dev_now() >= t->limit ? TB_ETIMEOUT : TB_ECRYPTO;
}

static int op_handshake(struct dev_channel *ch, uint64_t until, struct dev_failure *why) {
    struct mbedtls_channel *c = of(ch);
    int r, w;

    (void)until; /* is the task's limit */
    for (;;) {
        r = step(c);
        w = flush(c);
        if (r == 0 && w >= 0)
            break;
        if (r == MBEDTLS_ERR_SSL_CRYPTO_IN_PROGRESS)
            continue;
        if (r != MBEDTLS_ERR_SSL_WANT_READ && r != MBEDTLS_ERR_SSL_WANT_WRITE) {
            /* Never called again: a second call might tell of success. */
            forget_session(c->tls); /* perhaps it was at fault */
            return failed(c, why, r ? r : MBEDTLS_ERR_SSL_CONN_EOF);
        }
        r = wait_for_peer(c);
        if (r < 0) {
            dev_fail(why, "handshake: %s", r == TB_ETIMEOUT ? "no answer in time" : "called off");
            return r;
        }
    }
    free(c->out.p);
    c->out = (struct tb_buf){0};
    handshake_done(c);
    iotsafe_psa_settle(&c->psa);
    return 0;
}

static int op_read(struct dev_channel *ch, void *buf, size_t cap, struct dev_failure *why) {
    struct mbedtls_channel *c = of(ch);
    int r;

    while ((r = mbedtls_ssl_read(&c->ssl, buf, cap)) == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
        keep_session(c);
    if (r > 0)
        return r;
    switch (r) {
    case MBEDTLS_ERR_SSL_WANT_READ:
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return UV_EAGAIN;
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return TB_ECLOSED;
    default:
        return explain(c, why, "connection", r ? r : MBEDTLS_ERR_SSL_CONN_EOF);
    }
}

static int op_write(struct dev_channel *ch, const void *p, size_t n, struct dev_failure *why) {
    struct mbedtls_channel *c = of(ch);
    const unsigned char *at = p;

    while (n > 0) {
        int r = mbedtls_ssl_write(&c->ssl, at, n);

        if (r == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) { /* read before, handled now */
            keep_session(c);
            continue;
        }
        if (r < 0)
            return explain(c, why, "connection", r);
        at += r;
        n -= (size_t)r;
    }
    return 0;
}

/* The name IANA gives a suite, from the library's own. */
static void iana_name(const char *own, char *dst, size_t cap) {
    bool new = strncmp(own, "TLS1-3-", 7) == 0;

    snprintf(dst, cap, "%s%s", new ? "TLS_" : "", new ? own + 7 : own);
    for (; *dst; dst++) {
        if (*dst == '-')
            *dst = '_';
    }
}

static void op_info(const struct dev_channel *ch, struct dev_channel_info *ret) {
    const struct mbedtls_channel *c = (const struct mbedtls_channel *)ch;

    if (c->tls->psk_identity[0])
        snprintf(ret->identity, sizeof ret->identity, "%s", c->tls->psk_identity);
    else
        dev_mbedtls_subject(&c->tls->own, ret->identity, sizeof ret->identity);
    snprintf(ret->version, sizeof ret->version, "%s", mbedtls_ssl_get_version(&c->ssl));
    iana_name(mbedtls_ssl_get_ciphersuite(&c->ssl), ret->cipher, sizeof ret->cipher);
    snprintf(ret->group, sizeof ret->group, "%s", c->ecdhe ? "P-256" : "");
    ret->resumed = c->resumed;
}

static void channel_free(struct mbedtls_channel *c) {
    mbedtls_ssl_free(&c->ssl); /* destroys the keys of a handshake that was broken off */
    iotsafe_psa_done(&c->psa);
    free(c->out.p);
    mbedtls_platform_zeroize(c, sizeof *c);
    free(c);
}

static void op_close(struct dev_channel *ch, bool orderly) {
    struct mbedtls_channel *c = of(ch);

    if (orderly) {
        (void)mbedtls_ssl_close_notify(&c->ssl);
        (void)flush(c);
    }
    dev_stream_close(ch->stream);
    channel_free(c);
}

static const struct dev_channel_ops channel_ops = {op_handshake, op_read, op_write, op_info,
                                                   op_close};

/* ---- opening ---- */

static int set_up(struct mbedtls_channel *c) {
    struct mbedtls_tls *t = c->tls;
    int r = mbedtls_ssl_setup(&c->ssl, &t->conf);

    if (r == 0) /* an address is no name to be sent; on_verify() looks for it */
        r = mbedtls_ssl_set_hostname(&c->ssl, t->numeric ? NULL : t->server_name);
    if (r < 0)
        return r;
    mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_recv, NULL);
    mbedtls_ssl_set_verify(&c->ssl, on_verify, c);
    mbedtls_ssl_set_export_keys_cb(&c->ssl, on_keys, c);
    if (t->datagrams) {
        mbedtls_ssl_set_timer_cb(&c->ssl, c, set_timer, get_timer);
        mbedtls_ssl_set_mtu(&c->ssl, LINK_MTU);
    }
    /* A session that cannot be offered any more makes a full handshake, no failure. */
    if (t->has_session && mbedtls_ssl_set_session(&c->ssl, &t->session) != 0)
        forget_session(t);
    return 0;
}

int dev_mbedtls_open(struct dev_tls *tls, struct dev_stream *stream, struct dev_channel **ret,
                     struct dev_failure *why) {
    struct mbedtls_tls *t = (struct mbedtls_tls *)tls;
    struct mbedtls_channel *c = calloc(1, sizeof *c);
    const struct iotsafe_psa_host host = dev_mbedtls_host();
    int r;

    if (!c)
        abort();
    c->ch.ops = &channel_ops;
    c->ch.stream = stream;
    c->tls = t;
    mbedtls_ssl_init(&c->ssl);
    r = iotsafe_psa_init(&c->psa, &host, t->offload) < 0 ? MBEDTLS_ERR_SSL_BAD_INPUT_DATA
                                                         : set_up(c);
    if (r == 0 && !t->datagrams) {
        unsigned char *room = malloc(FLIGHT);

        if (!room)
            abort();
        c->out = tb_buf(room, FLIGHT);
    }
    if (r < 0) {
        explain(c, why, "tls", r);
        channel_free(c);
        return TB_ECRYPTO;
    }
    *ret = &c->ch;
    return 0;
}
