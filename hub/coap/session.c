/* The TLS side of a session. libcoap ends sessions in many places, in some without a word; what
 * they all have in common is that the SSL is freed: that is where a session ends for us, too. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "coap/internal.h"

static int peer_index = -1; /* of SSL objects */

static uint64_t deadline_ns(const struct hub_coap *c) {
    return tb_timeout_ms(c->cfg.tls.deadline_ms) * 1000000;
}

static void report(struct hub_coap_peer *p, enum hub_verdict v) {
    struct hub_coap *c = p->coap;

    if (p->reported || c->closing)
        return;
    p->reported = true;
    p->id.peer.handshake_us = (tb_clock_mono_ns() - p->began_ns) / 1000;
    p->id.peer.version = SSL_get_version(p->ssl);
    c->cfg.on_refused(v, &p->id.peer, c->cfg.user);
}

/* DTLS drops what it cannot decrypt without a word (RFC 6347 4.1.2.7): all that can be said is that
 * there was something, and that it was no Finished under our keys. */
static enum hub_verdict cause(struct hub_coap_peer *p) {
    const bool dtls = coap_session_get_proto(p->session) == COAP_PROTO_DTLS;

    if (p->id.refused != HUB_ACCEPTED || p->id.alert_received || ERR_peek_error() != 0)
        return hub_ident_cause(&p->id);
    if (!dtls)
        return HUB_ABORTED;
    if (p->id.shown == SHOWN_PSK && p->saw_encrypted) {
        p->id.peer.detail = "no Finished that could be decrypted";
        return HUB_WRONG_PSK;
    }
    return HUB_TIMEOUT;
}

static const char *why_ended(const struct hub_coap_peer *p) {
    return p->reason                                               ? p->reason
           : p->said_goodbye                                       ? "device"
           : p->id.alert_received || ERR_peek_error() != 0         ? "protocol"
           : coap_session_get_proto(p->session) == COAP_PROTO_DTLS ? "idle"
                                                                   : "device";
}

static void handshake_done(struct hub_coap_peer *p) {
    struct hub_coap *c = p->coap;
    enum hub_verdict v = hub_ident_confirm(&p->id, p->ssl);

    if (v != HUB_ACCEPTED) {
        p->id.peer.detail = "the registry has changed its mind";
        report(p, v);
        hub_coap_doom(p, hub_verdict_name(v));
        return;
    }
    p->id.peer.handshake_us = (tb_clock_mono_ns() - p->began_ns) / 1000;
    p->reported = p->open = true;
    p->id.peer.alert = -1;
    c->sessions++;
    hub_credential_identity(&p->id.peer.cred, p->identity);
    coap_session_set_app_data(p->session, p);
    c->cfg.on_open(&p->id.peer, c->cfg.user);
}

/* OpenSSL frees the SSL of a session, wherever libcoap may stand. */
static void on_ssl_freed(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl,
                         void *argp) {
    struct hub_coap_peer *p = ptr;
    struct hub_coap *c;

    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (!p)
        return;
    c = p->coap;
    /* Somebody who leaves with the last message of the handshake was here: libcoap is silent about
     * it. */
    if (!p->open && !p->reported && !c->closing && p->id.refused == HUB_ACCEPTED &&
        SSL_is_init_finished(p->ssl))
        handshake_done(p);
    *p->link = p->next;
    *(p->next ? &p->next->link : &c->last) = p->link;
    c->connections--;
    c->gone++;
    c->sessions -= p->open;
    c->doomed -= p->doomed;
    c->knocks -= p->ask_if_alive;
    hub_coap_drop_calls(p);
    hub_coap_forget_all(p);
    free(p->upload.p);
    coap_session_set_app_data(p->session, NULL);
    if (p->open)
        c->cfg.on_closed(&p->id.peer, why_ended(p), c->cfg.user);
    else
        report(p, cause(p));
    free(p);
}

/* NULL for the SSL that libcoap keeps to receive ClientHellos without a cookie. */
static struct hub_coap_peer *peer_of(struct hub_coap *c, SSL *ssl) {
    struct hub_coap_peer *p = SSL_get_ex_data(ssl, peer_index);
    coap_session_t *session = SSL_get_app_data(ssl);

    if (p || !session)
        return p;
    p = calloc(1, sizeof *p);
    if (!p || !SSL_set_ex_data(ssl, peer_index, p))
        abort();
    p->coap = c;
    p->ssl = ssl;
    p->session = session;
    p->began_ns = tb_clock_mono_ns();
    hub_ident_init(&p->id, &c->cfg.tls, c->sha256);
    hub_ident_attach(ssl, &p->id);
    p->link = c->last;
    *c->last = p;
    c->last = &p->next;
    c->connections++;
    hub_coap_arm(c); /* the deadline */
    return p;
}

void hub_coap_ask_if_alive(struct hub_coap_peer *p) {
    p->coap->knocks += !p->ask_if_alive;
    p->ask_if_alive = true;
    hub_coap_arm(p->coap);
}

/* A ClientHello at the address of a session that is open. libcoap gives it to the session's SSL,
 * which drops it, so a device that has restarted would be shut out while the session lasts. RFC
 * 6347, 4.2.8: the old one must not go because somebody says so. It is asked whether it is still
 * there, and goes if the ClientHello is repeated and there was no answer. */
static void knock(struct hub_coap_peer *p) {
    enum { PATIENCE_NS = 900000000 };
    const uint64_t now = tb_clock_mono_ns();

    if (p->knocked_ns == 0) {
        p->knocked_ns = now;
        hub_coap_ask_if_alive(p);
    } else if (now - p->knocked_ns > PATIENCE_NS) {
        hub_coap_doom(p, "replaced");
    }
}

/* Answered by RST (RFC 7252 4.3), or pong (RFC 8323 5.4). */
static void send_ping(struct hub_coap_peer *p) {
    const bool tcp = COAP_PROTO_RELIABLE(coap_session_get_proto(p->session));
    coap_pdu_t *ping =
        tcp ? coap_pdu_init(COAP_MESSAGE_CON, (coap_pdu_code_t)COAP_SIGNALING_CODE_PING, 0, 0)
            : coap_pdu_init(COAP_MESSAGE_CON, COAP_EMPTY_CODE, coap_new_message_id(p->session), 0);

    p->ask_if_alive = false;
    p->coap->knocks--;
    if (ping)
        coap_send(p->session, ping);
}

static void on_message(int sent, int version, int type, const void *data, size_t n, SSL *ssl,
                       void *arg) {
    enum { DTLS_HEADER = 13, TYPE = 0, EPOCH = 3, LEVEL_AND_DESCRIPTION = 2 };
    struct hub_coap_peer *p = peer_of(arg, ssl);
    const uint8_t *b = data;

    (void)version;
    if (!p)
        return;
    if (type == SSL3_RT_ALERT && n == LEVEL_AND_DESCRIPTION) {
        hub_ident_note_alert(&p->id, b[1], !sent);
        p->said_goodbye |= !sent && b[1] == SSL_AD_CLOSE_NOTIFY;
    } else if (type == SSL3_RT_HEADER && n == DTLS_HEADER && !sent) {
        const bool encrypted = b[EPOCH] != 0 || b[EPOCH + 1] != 0;

        if (!p->open)
            p->saw_encrypted |= encrypted;
        else if (!encrypted && b[TYPE] == SSL3_RT_HANDSHAKE)
            knock(p);
    }
}

static int on_client_hello(SSL *ssl, int *alert, void *arg) {
    struct hub_coap *c = arg;
    struct hub_coap_peer *p = peer_of(c, ssl);

    if (!p || c->connections <= c->cfg.tls.max_connections)
        return SSL_CLIENT_HELLO_SUCCESS;
    p->id.refused = HUB_FULL;
    p->id.peer.detail = "--max-connections are open";
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

static int hook_index = -1; /* of SSL_CTX objects */

static void on_keylog(const SSL *ssl, const char *line) {
    struct hub_coap *c = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), hook_index);

    fprintf(c->keylog, "%s\n", line);
}

void hub_coap_hook(struct hub_coap *c, SSL_CTX *ctx) {
    if (peer_index < 0) {
        peer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_freed);
        hook_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    }
    if (peer_index < 0 || hook_index < 0 || !SSL_CTX_set_ex_data(ctx, hook_index, c))
        abort();
    SSL_CTX_set_msg_callback(ctx, on_message);
    SSL_CTX_set_msg_callback_arg(ctx, c);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, c);
    if (c->keylog)
        SSL_CTX_set_keylog_callback(ctx, on_keylog);
}

/* The peer's CSM needs no answer, so the kernel would hold back its ACK for 40 ms, and a device
 * with Nagle's algorithm its first request for as long. An empty message is none either, and
 * ignored (RFC 8323 3.4). */
static void say_nothing(struct hub_coap_peer *p) {
    coap_pdu_t *nothing = coap_pdu_init(COAP_MESSAGE_NON, COAP_EMPTY_CODE, 0, 0);

    if (nothing)
        coap_send(p->session, nothing);
}

int hub_coap_on_event(coap_session_t *session, const coap_event_t event) {
    struct hub_coap *c = coap_get_app_data(coap_session_get_context(session));
    SSL *ssl = coap_session_get_tls(session, NULL);
    struct hub_coap_peer *p = ssl ? peer_of(c, ssl) : NULL;

    if (!p)
        return 0;
    if (event == COAP_EVENT_DTLS_CONNECTED && !p->open)
        handshake_done(p);
    else if (event == COAP_EVENT_DTLS_ERROR && !p->open)
        report(p, cause(p)); /* while OpenSSL still knows */
    else if (event == COAP_EVENT_SESSION_CONNECTED && p->open)
        say_nothing(p);
    return 0;
}

void hub_coap_doom(struct hub_coap_peer *p, const char *reason) {
    if (!p->reason)
        p->reason = reason;
    p->coap->doomed += !p->doomed;
    p->doomed = true;
    hub_coap_arm(p->coap);
}

void hub_coap_end(struct hub_coap_peer *p, const char *reason) {
    const struct hub_coap *c = p->coap;

    if (!p->reason)
        p->reason = reason;
    coap_session_disconnected(p->session, COAP_NACK_NOT_DELIVERABLE);
    assert(c->first != p); /* its SSL has been freed, and it with it */
}

/* coap_send() may end a session: then once more from the beginning. */
static void ask_who_was_knocked_at(struct hub_coap *c) {
    while (c->knocks > 0) {
        struct hub_coap_peer *p = c->first;

        while (!p->ask_if_alive)
            p = p->next;
        send_ping(p);
    }
}

void hub_coap_reap(struct hub_coap *c) {
    ask_who_was_knocked_at(c);
    for (struct hub_coap_peer *p = c->first, *next; p && c->doomed > 0; p = next) {
        next = p->next;
        if (p->doomed)
            hub_coap_end(p, "protocol");
    }
}

/* Who began first is first; accepted ones are passed over. */
void hub_coap_check_deadlines(struct hub_coap *c) {
    const uint64_t now = tb_clock_mono_ns(), limit = deadline_ns(c);

    for (struct hub_coap_peer *p = c->first, *next; p && c->connections > c->sessions; p = next) {
        next = p->next;
        if (p->began_ns + limit > now)
            break;
        if (p->open)
            continue;
        ERR_clear_error();
        report(p, cause(p) == HUB_ABORTED ? HUB_TIMEOUT : cause(p));
        hub_coap_end(p, "timeout");
    }
}
