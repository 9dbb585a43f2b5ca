/* The server: OpenSSL between two memory BIOs, so that each of its records can be looked at, lost
 * or held back on its way to the client. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "simbed.h"

struct side {
    struct sim_server *s;
    int fd;
    SSL *ssl;
    BIO *in, *out;
    bool stalled, over;
};

/* ---- to the client ---- */

static size_t record_length(const struct side *c, const unsigned char *p, size_t n) {
    const size_t head = c->s->versions & DEV_DTLS12 ? 13 : 5;

    assert(n >= head); /* OpenSSL writes whole records */
    return head + (size_t)(p[head - 2] << 8 | p[head - 1]);
}

static void put_record(struct side *c, const unsigned char *p, size_t n) {
    const unsigned number = ++c->s->sent;

    if (c->s->records && number > c->s->records && !(c->s->drop_one && number != c->s->records + 1))
        c->stalled = !c->s->drop_one;
    else
        (void)!send(c->fd, p, n, MSG_NOSIGNAL);
    if (c->stalled && c->s->close)
        c->over = true;
}

static void flush_out(struct side *c) {
    unsigned char *p;
    long n = BIO_get_mem_data(c->out, &p);

    while (n > 0) {
        size_t len = record_length(c, p, (size_t)n);

        put_record(c, p, len);
        p += len;
        n -= (long)len;
    }
    (void)BIO_reset(c->out);
}

/* ---- from the client ---- */

static void on_input(struct side *c) {
    char buf[4096];
    int n;

    if (SSL_is_init_finished(c->ssl)) {
        while ((n = SSL_read(c->ssl, buf, sizeof buf)) > 0)
            (void)SSL_write(c->ssl, buf, n);
        c->over = SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ;
        if (c->over)
            SSL_shutdown(c->ssl);
        return;
    }
    n = SSL_accept(c->ssl);
    if (n == 1) {
        X509 *peer = SSL_get1_peer_certificate(c->ssl);

        if (peer)
            X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, c->s->peer,
                                      sizeof c->s->peer);
        X509_free(peer);
        c->s->resumed = SSL_session_reused(c->ssl) == 1;
        c->s->good++;
        if (SSL_has_pending(c->ssl) || BIO_pending(c->in))
            on_input(c);
    } else if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) {
        c->over = true;
    }
    ERR_clear_error();
}

static int timeout_of(const struct side *c) {
    struct timeval left;

    if (!(c->s->versions & DEV_DTLS12) || c->stalled || DTLSv1_get_timeout(c->ssl, &left) != 1)
        return 20000;
    return (int)(left.tv_sec * 1000 + left.tv_usec / 1000 + 1);
}

static unsigned timer_us(SSL *ssl, unsigned last) {
    const struct sim_server *s = SSL_get_app_data(ssl);

    (void)last;
    return s->timer_ms * 1000;
}

static void serve_one(struct sim_server *s, int fd) {
    struct side c = {.s = s, .fd = fd, .ssl = SSL_new(s->ctx), .stalled = s->mute};
    unsigned char buf[20000];
    ssize_t n;

    s->sent = 0;
    c.in = BIO_new(BIO_s_mem());
    c.out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(c.in, -1);
    BIO_set_mem_eof_return(c.out, -1);
    SSL_set_bio(c.ssl, c.in, c.out);
    if (s->versions & DEV_DTLS12)
        DTLS_set_link_mtu(c.ssl, 1200);
    if (s->timer_ms) {
        SSL_set_app_data(c.ssl, s);
        DTLS_set_timer_cb(c.ssl, timer_us);
    }
    while (!c.over) {
        /* Another client: this one has gone without a word, as those of datagrams do. */
        struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = s->fd, .events = POLLIN}};
        int r = poll(p, 2, timeout_of(&c));

        if (s->stop || (r > 0 && !p[0].revents))
            break;
        if (r == 0) {
            if (!(s->versions & DEV_DTLS12) || DTLSv1_handle_timeout(c.ssl) < 0)
                break;
            s->repeats++;
        } else {
            n = recv(fd, buf, sizeof buf, 0);
            if (n <= 0)
                break;
            if (c.stalled)
                continue;
            BIO_write(c.in, buf, (int)n);
            on_input(&c);
        }
        flush_out(&c);
    }
    flush_out(&c);
    SSL_free(c.ssl);
    ERR_clear_error();
}

/* ---- thread ---- */

/* The next client of a datagram socket: its first datagram stays in the queue. */
static int udp_accept(struct sim_server *s) {
    struct sockaddr_in from, at;
    socklen_t n = sizeof from, at_n = sizeof at;
    int fd = s->fd, on = 1;
    char c;

    if (recvfrom(fd, &c, 1, MSG_PEEK, (struct sockaddr *)&from, &n) < 0)
        return -1;
    assert(getsockname(fd, (struct sockaddr *)&at, &at_n) == 0);
    assert(connect(fd, (struct sockaddr *)&from, n) == 0);
    s->fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    assert(bind(s->fd, (struct sockaddr *)&at, at_n) == 0);
    return fd;
}

static void *serve(void *arg) {
    struct sim_server *s = arg;

    for (int i = 0; i < s->connections && !s->stop; i++) {
        int fd = s->versions & DEV_DTLS12 ? udp_accept(s) : accept(s->fd, NULL, NULL);

        if (fd < 0)
            break;
        if (s->stop) {
            close(fd);
            break;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        serve_one(s, fd);
        if (!(s->versions & DEV_DTLS12)) {
            shutdown(fd, SHUT_WR);
            while (recv(fd, &(char){0}, 1, 0) > 0) /* our last bytes are to arrive */
                ;
        }
        close(fd);
    }
    return NULL;
}

static unsigned on_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned max) {
    (void)ssl;
    if (strcmp(identity, sim_identity) != 0 || max < sizeof sim_psk)
        return 0;
    memcpy(psk, sim_psk, sizeof sim_psk);
    return sizeof sim_psk;
}

static int make_cookie(SSL *ssl, unsigned char *cookie, unsigned *n) {
    (void)ssl;
    memcpy(cookie, "biscuit", 7);
    *n = 7;
    return 1;
}

static int check_cookie(SSL *ssl, const unsigned char *cookie, unsigned n) {
    (void)ssl;
    return n == 7 && memcmp(cookie, "biscuit", 7) == 0;
}

static SSL_CTX *context(const struct sim_server *s) {
    const bool dtls = s->versions & DEV_DTLS12;
    SSL_CTX *ctx = SSL_CTX_new(dtls ? DTLS_server_method() : TLS_server_method());

    SSL_CTX_set_min_proto_version(ctx, dtls                      ? DTLS1_2_VERSION
                                       : s->versions & DEV_TLS12 ? TLS1_2_VERSION
                                                                 : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ctx, dtls                      ? DTLS1_2_VERSION
                                       : s->versions & DEV_TLS13 ? TLS1_3_VERSION
                                                                 : TLS1_2_VERSION);
    if (s->groups)
        assert(SSL_CTX_set1_groups_list(ctx, (char *)(uintptr_t)s->groups) == 1);
    if (s->ciphers)
        assert(SSL_CTX_set_cipher_list(ctx, s->ciphers) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1);
    if (s->cookie) {
        SSL_CTX_set_options(ctx, SSL_OP_COOKIE_EXCHANGE);
        SSL_CTX_set_cookie_generate_cb(ctx, make_cookie);
        SSL_CTX_set_cookie_verify_cb(ctx, check_cookie);
    }
    if (!s->tickets) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    }
    if (s->psk) {
        SSL_CTX_set_psk_server_callback(ctx, on_psk);
        SSL_CTX_set_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
        return ctx;
    }
    assert(SSL_CTX_use_certificate(ctx, s->bed->server_cert) == 1);
    assert(SSL_CTX_use_PrivateKey(ctx, s->bed->server_key) == 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), s->bed->ca.cert);
    return ctx;
}

void sim_serve(struct sim_server *s, struct sim_bed *bed) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const bool dtls = s->versions & DEV_DTLS12;
    socklen_t len = sizeof sin;
    int on = 1;

    s->bed = bed;
    s->ctx = context(s);
    s->fd = socket(AF_INET, dtls ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (dtls)
        setsockopt(s->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    else /* records are sent one by one */
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    assert(bind(s->fd, (const struct sockaddr *)&sin, sizeof sin) == 0);
    assert(dtls || listen(s->fd, 64) == 0);
    assert(getsockname(s->fd, (struct sockaddr *)&sin, &len) == 0);
    snprintf(s->at, sizeof s->at, "%s127.0.0.1:%u", dtls ? "udp:" : "",
             (unsigned)ntohs(sin.sin_port));
    assert(pthread_create(&s->thread, NULL, serve, s) == 0);
}

void sim_stop(struct sim_server *s) {
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, s->versions & DEV_DTLS12 ? SOCK_DGRAM : SOCK_STREAM, 0);

    /* As one more client, which ends the one it waits for, or the wait for one. */
    s->stop = true;
    if (getsockname(s->fd, (struct sockaddr *)&at, &len) == 0 &&
        connect(fd, (const struct sockaddr *)&at, len) == 0)
        (void)!send(fd, "", 1, MSG_NOSIGNAL);
    close(fd);
    sim_join(s);
}

void sim_join(struct sim_server *s) {
    assert(pthread_join(s->thread, NULL) == 0);
    SSL_CTX_free(s->ctx);
    close(s->fd);
}
