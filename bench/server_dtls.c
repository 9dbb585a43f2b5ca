/* DTLS on one socket: which connection a datagram belongs to is told by who sent it. Connections
 * end by being pushed out by later ones. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "server.h"

enum { CONNECTIONS = 16, DATAGRAM_MAX = 2048, MTU = 1400 };

struct peer {
    struct sockaddr_in at;
    SSL *ssl;
    bool answered;
    struct bench_traffic handshake;
};

static struct {
    int fd;
    uint8_t in[DATAGRAM_MAX];
    size_t n; /* 0: read */
} port;

static const unsigned char cookie[16] = "who knows this?";

/* ---- BIO ---- */

static int bio_read(BIO *bio, char *buf, int cap) {
    int n = port.n < (size_t)cap ? (int)port.n : cap;

    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(buf, port.in, (size_t)n);
    port.n = 0;
    return n;
}

static int bio_write(BIO *bio, const char *buf, int n) {
    const struct peer *p = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    return (int)sendto(port.fd, buf, (size_t)n, 0, (const struct sockaddr *)&p->at, sizeof p->at);
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *p) {
    (void)bio;
    (void)num;
    (void)p;
    return cmd == BIO_CTRL_FLUSH ? 1 : cmd == BIO_CTRL_DGRAM_QUERY_MTU ? MTU : 0;
}

/* ---- cookies: that a client can hear us is not in doubt, but a real server asks ---- */

static int make_cookie(SSL *ssl, unsigned char *to, unsigned *n) {
    (void)ssl;
    memcpy(to, cookie, sizeof cookie);
    *n = sizeof cookie;
    return 1;
}

static int check_cookie(SSL *ssl, const unsigned char *from, unsigned n) {
    (void)ssl;
    return n == sizeof cookie && memcmp(from, cookie, n) == 0;
}

/* ---- connections ---- */

static struct peer *peer_of(struct peer *all, const struct sockaddr_in *from, SSL_CTX *ctx,
                            BIO_METHOD *method) {
    static unsigned next;
    struct peer *p;
    BIO *bio;

    for (p = all; p < all + CONNECTIONS; p++)
        if (p->ssl && p->at.sin_port == from->sin_port)
            return p;
    p = &all[next++ % CONNECTIONS];
    SSL_free(p->ssl);
    *p = (struct peer){.at = *from, .ssl = SSL_new(ctx)};
    bio = BIO_new(method);
    BIO_set_data(bio, p);
    BIO_set_init(bio, 1);
    SSL_set_bio(p->ssl, bio, bio);
    SSL_set_accept_state(p->ssl);
    SSL_set_options(p->ssl, SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(p->ssl, MTU);
    return p;
}

static void go_on(struct peer *p) {
    uint8_t question[256];

    if (!SSL_is_init_finished(p->ssl)) {
        if (SSL_accept(p->ssl) != 1) {
            ERR_clear_error();
            return;
        }
        p->handshake = bench_server_traffic(p->ssl);
    }
    if (!p->answered && SSL_write(p->ssl, "!", 1) == 1)
        p->answered = true;
    while (SSL_read(p->ssl, question, sizeof question) > 0)
        bench_server_tell(p->ssl, p->handshake);
    ERR_clear_error();
    if (SSL_get_shutdown(p->ssl) & SSL_RECEIVED_SHUTDOWN) {
        SSL_free(p->ssl);
        p->ssl = NULL;
    }
}

void bench_server_datagrams(SSL_CTX *ctx, int fd) {
    static struct peer all[CONNECTIONS];
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "datagrams");

    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    SSL_CTX_set_cookie_generate_cb(ctx, make_cookie);
    SSL_CTX_set_cookie_verify_cb(ctx, check_cookie);
    port.fd = fd;
    for (;;) {
        struct sockaddr_in from = {0};
        socklen_t n = sizeof from;
        ssize_t got = recvfrom(fd, port.in, sizeof port.in, 0, (struct sockaddr *)&from, &n);

        if (got <= 0)
            continue;
        port.n = (size_t)got;
        go_on(peer_of(all, &from, ctx, method));
    }
}
