/* One TLS connection: handshake, records in, records out, the end. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "tb/log.h"
#include "tls/internal.h"

enum { STALL_MS = 60000 };

/* Sends what OpenSSL has written since the last time, as one write. Returns like tb_conn_write().
 */
static int flush(struct hub_tls *t) {
    struct hub_front *f = t->front;
    struct tb_span all = tb_buf_span(&f->out);

    if (all.n == 0)
        return 1;
    f->out.n = 0;
    return tb_conn_write(t->conn, &all, 1);
}

static void report(struct hub_tls *t, enum hub_verdict v) {
    struct hub_front *f = t->front;

    if (t->reported || f->closing)
        return;
    t->reported = true;
    t->id.peer.handshake_us = (tb_clock_mono_ns() - t->began_ns) / 1000;
    t->id.peer.version = SSL_get_version(t->ssl);
    f->cfg.on_refused(v, &t->id.peer, f->cfg.user);
}

/* The alert is on its way in front->out. */
static void fail(struct hub_tls *t) {
    if (!t->open)
        report(t, hub_ident_cause(&t->id));
    ERR_clear_error();
    flush(t);
    t->closing = true;
    tb_conn_finish(t->conn);
}

static void refuse_late(struct hub_tls *t, enum hub_verdict v) {
    t->id.peer.detail = "the registry has changed its mind";
    report(t, v);
    hub_tls_close(t);
}

/* In TLS 1.3 the device speaks last, and without tickets we have nothing to say to it: the kernel
 * would hold back its ACK for 40 ms, and a device with Nagle's algorithm its CONNECT for as long.
 */
static void acknowledge(struct hub_tls *t) {
    int on = 1;

    if (SSL_version(t->ssl) == TLS1_3_VERSION && t->front->out.n == 0)
        setsockopt(tb_conn_fd(t->conn), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static void handshake_done(struct hub_tls *t) {
    struct hub_front *f = t->front;
    enum hub_verdict v = hub_ident_confirm(&t->id, t->ssl);

    /* To OpenSSL a PSK of TLS 1.3 is a session that is resumed, too. */
    t->open = true;
    if (v != HUB_ACCEPTED) {
        refuse_late(t, v);
        return;
    }
    t->id.peer.handshake_us = (tb_clock_mono_ns() - t->began_ns) / 1000;
    t->reported = true;
    acknowledge(t);
    flush(t); /* the application may write to any connection; the scratch is shared */
    if (!f->cfg.on_open(t, &t->id.peer, f->cfg.user))
        hub_tls_close(t);
}

static void shake_hands(struct hub_tls *t) {
    int r = SSL_do_handshake(t->ssl);

    if (r == 1)
        handshake_done(t);
    else if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ)
        fail(t);
}

/* Decrypts as many records as fit into one delivery: fewer, larger writes to the other side. */
static void read_plain(struct hub_tls *t) {
    uint8_t *plain = t->front->plain;

    while (!t->closing && !t->paused) {
        size_t have = 0, n;
        int r = 1;

        while (PLAIN_SIZE - have >= RECORD_MAX &&
               (r = SSL_read_ex(t->ssl, plain + have, PLAIN_SIZE - have, &n)) == 1)
            have += n;
        if (r != 1)
            r = SSL_get_error(t->ssl, r);
        else
            r = SSL_ERROR_NONE;
        flush(t); /* an answer to KeyUpdate, say; see handshake_done() */
        if (have > 0)
            t->ops->on_data(t, tb_span(plain, have), t->user);
        if (r == SSL_ERROR_WANT_READ)
            return;
        if (r == SSL_ERROR_ZERO_RETURN)
            hub_tls_close(t);
        else if (r != SSL_ERROR_NONE && !t->closing)
            fail(t);
    }
}

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct hub_tls *t = user;

    (void)c;
    if (t->closing)
        return data.n;
    if (t->began_ns == 0)
        t->began_ns = tb_clock_mono_ns();
    t->in = data;
    ERR_clear_error();
    if (!t->open)
        shake_hands(t);
    if (t->open)
        read_plain(t);
    if (!t->closing)
        flush(t);
    data = tb_span_sub(data, 0, data.n - t->in.n);
    t->in = TB_SPAN_NONE;
    return data.n;
}

static void on_drain(struct tb_conn *c, void *user) {
    struct hub_tls *t = user;

    (void)c;
    if (t->settled)
        tb_deadline_stop(&t->deadline);
    if (t->ops && t->ops->on_drain && !t->closing)
        t->ops->on_drain(t, t->user);
}

static void on_handle_closed(struct hub_tls *t) {
    struct hub_front *f = t->front;

    if (--t->handles > 0)
        return;
    SSL_free(t->ssl);
    free(t);
    f->count--;
    hub_front_gone(f);
}

static void on_deadline_closed(uv_handle_t *h) {
    on_handle_closed(h->data);
}

static void on_closed(int why, void *user) {
    struct hub_tls *t = user;

    if (!t->open && t->began_ns > 0) /* who only knocks is no event */
        report(t, HUB_ABORTED);
    t->closing = true;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    if (t->ops)
        t->ops->on_closed(why, t->user);
    t->deadline.timer.data = t;
    tb_deadline_close(&t->deadline, on_deadline_closed);
    on_handle_closed(t);
}

static const struct tb_conn_ops conn_ops = {
    .on_data = on_data, .on_drain = on_drain, .on_closed = on_closed};

static void on_late(void *arg) {
    struct hub_tls *t = arg;

    if (!t->open)
        report(t, HUB_TIMEOUT);
    t->closing = true;
    tb_conn_close(t->conn, TB_ETIMEOUT);
}

static size_t swallow(struct tb_conn *c, struct tb_span data, void *user) {
    (void)c, (void)user;
    return data.n;
}

static void forget(int why, void *user) {
    (void)why, (void)user;
}

static void turn_away(struct hub_front *f) {
    static const struct tb_conn_ops ops = {.on_data = swallow, .on_closed = forget};
    const struct hub_peer nobody = {.listener = f->cfg.name,
                                    .version = "",
                                    .cipher = "",
                                    .alert = -1,
                                    .detail = "--max-connections are open"};
    struct tb_conn *c;

    if (tb_listener_accept(f->listener, &ops, NULL, &c) == 0)
        tb_conn_close(c, 0);
    f->cfg.on_refused(HUB_FULL, &nobody, f->cfg.user);
}

void hub_tls_accept(struct hub_front *f) {
    struct hub_tls *t;
    BIO *b;
    int err;

    if (f->count >= f->cfg.max_connections) {
        turn_away(f);
        return;
    }
    t = calloc(1, sizeof *t);
    if (!t || !(t->ssl = SSL_new(f->ctx)))
        abort();
    err = tb_listener_accept(f->listener, &conn_ops, t, &t->conn);
    if (err < 0) {
        tb_warn("tls", "a connection could not be accepted: %s", tb_strerror(err));
        SSL_free(t->ssl);
        free(t);
        return;
    }
    t->front = f;
    t->handles = 2;
    hub_ident_init(&t->id, &f->cfg, f->sha256);
    hub_ident_attach(t->ssl, &t->id);
    b = hub_tls_bio(f->bio, t);
    SSL_set_bio(t->ssl, b, b); /* given */
    SSL_set_app_data(t->ssl, t);
    SSL_set_accept_state(t->ssl);
    t->next = f->first;
    t->link = &f->first;
    if (t->next)
        t->next->link = &t->next;
    f->first = t;
    f->count++;
    tb_deadline_init(f->loop, &t->deadline, on_late, t);
    tb_deadline_start(&t->deadline, f->cfg.deadline_ms);
}

void hub_tls_set_ops(struct hub_tls *t, const struct hub_tls_ops *ops, void *user) {
    t->ops = ops;
    t->user = user;
}

void hub_tls_settled(struct hub_tls *t) {
    t->settled = true;
    tb_deadline_stop(&t->deadline);
}

int hub_tls_write(struct hub_tls *t, struct tb_span data) {
    size_t n;
    int r;

    if (t->closing)
        return TB_ECLOSED;
    if (data.n > 0 && SSL_write_ex(t->ssl, data.p, data.n, &n) != 1) {
        fail(t); /* the BIO never blocks, so this is an end */
        return TB_ECLOSED;
    }
    r = flush(t);
    if (r == 0 && t->settled) /* a device that stops reading may not keep our memory for ever */
        tb_deadline_start(&t->deadline, STALL_MS);
    return r;
}

void hub_tls_pause(struct hub_tls *t) {
    t->paused = true;
    tb_conn_pause(t->conn);
}

void hub_tls_resume(struct hub_tls *t) {
    if (!t->paused || t->closing)
        return;
    t->paused = false;
    tb_conn_resume(t->conn);
}

void hub_tls_close(struct hub_tls *t) {
    if (t->closing)
        return;
    if (t->open) {
        SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
    flush(t);
    t->closing = true;
    tb_conn_finish(t->conn);
}
