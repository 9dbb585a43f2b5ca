#include "server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

/* MQTT 3.1.1: what bench_tls_connect() sends, and what it waits for */
enum { MQTT_CONNECT_BYTES = 19, MAX_FD = 1 << 16 };
static const uint8_t mqtt_connack[] = {0x20, 2, 0, 0};

static const struct bench_server *config;

struct connection {
    SSL *ssl;
    int fd;
    bool answered;
    struct bench_traffic handshake;
};

/* ---- TLS ---- */

static unsigned psk(SSL *ssl, const char *identity, unsigned char *key, unsigned cap) {
    const struct bench_identity *who;
    unsigned n;

    (void)ssl;
    who = bench_identities(&n);
    while (n > 0 && strcmp(identity, who->psk_identity) != 0) {
        who++;
        n--;
    }
    if (n == 0 || who->psk_n > cap)
        return 0;
    memcpy(key, who->psk, who->psk_n);
    return who->psk_n;
}

static bool use_certificate(SSL_CTX *ctx) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_CTX_use_certificate_file(ctx, config->files.cert, SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_use_PrivateKey_file(ctx, config->files.key, SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_load_verify_locations(ctx, config->files.ca, NULL) == 1;
}

static bool use_psk(SSL_CTX *ctx) {
    SSL_CTX_set_psk_server_callback(ctx, psk); /* of TLS 1.3, too */
    SSL_CTX_set_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
    return SSL_CTX_set_cipher_list(ctx, "PSK-AES128-GCM-SHA256:PSK-AES128-CBC-SHA256:"
                                        "ECDHE-PSK-AES128-CBC-SHA256:PSK-AES128-CCM8:"
                                        "PSK-AES128-CCM") == 1;
}

static SSL_CTX *make_context(void) {
    /* A context of its own: an openssl.cnf in the environment is not the subject. */
    SSL_CTX *ctx = SSL_CTX_new_ex(OSSL_LIB_CTX_new(), NULL,
                                  config->datagrams ? DTLS_server_method() : TLS_server_method());

    if (!ctx || !(config->psk ? use_psk(ctx) : use_certificate(ctx))) {
        ERR_print_errors_fp(stderr);
        _exit(1);
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set1_groups_list(ctx, "P-256");
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* connections are many, and idle */
    return ctx;
}

/* ---- connections ---- */

struct bench_traffic bench_server_traffic(SSL *ssl) {
    return (struct bench_traffic){BIO_number_read(SSL_get_rbio(ssl)),
                                  BIO_number_written(SSL_get_wbio(ssl))};
}

void bench_server_tell(SSL *ssl, struct bench_traffic t) {
    char text[48];
    int n = snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)t.up,
                     (unsigned long long)t.down);

    (void)SSL_write(ssl, text, n);
}

static struct connection *connections[MAX_FD]; /* by descriptor */

static void end(struct connection *c) {
    connections[c->fd] = NULL;
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
}

/* Whether the connection goes on after r. */
static bool waits(struct connection *c, int r) {
    int e = SSL_get_error(c->ssl, r);

    ERR_clear_error();
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

static bool answer(struct connection *c) {
    uint8_t packet[MQTT_CONNECT_BYTES];
    int r;

    c->answered = true;
    if (!config->mqtt)
        return SSL_write(c->ssl, "!", 1) == 1;
    r = SSL_read(c->ssl, packet, sizeof packet);
    if (r <= 0) {
        c->answered = false;
        return waits(c, r);
    }
    return SSL_write(c->ssl, mqtt_connack, sizeof mqtt_connack) > 0;
}

/* Everything that can be done now; false: it is over. */
static bool go_on(struct connection *c) {
    uint8_t question[256];
    int r;

    if (!SSL_is_init_finished(c->ssl)) {
        r = SSL_accept(c->ssl);
        if (r != 1)
            return waits(c, r);
        c->handshake = bench_server_traffic(c->ssl);
    }
    if (!c->answered && !answer(c))
        return false;
    if (!c->answered)
        return true;
    while ((r = SSL_read(c->ssl, question, sizeof question)) > 0)
        if (!config->mqtt)
            bench_server_tell(c->ssl, c->handshake);
    return waits(c, r);
}

static void begin(SSL_CTX *ctx, int epoll, int fd) {
    struct connection *c = calloc(1, sizeof *c);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    int one = 1;

    if (!c || fd >= MAX_FD)
        abort();
    connections[fd] = c;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, fd);
    SSL_set_accept_state(c->ssl);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0 || !go_on(c))
        end(c);
}

static void serve(SSL_CTX *ctx, int listener) {
    struct epoll_event e[64] = {{.events = EPOLLIN, .data.fd = listener}};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e[0]);
    for (;;) {
        int n = epoll_wait(epoll, e, sizeof e / sizeof *e, -1), fd;

        for (int i = 0; i < n; i++) {
            struct connection *c = connections[e[i].data.fd];

            if (c && !go_on(c))
                end(c);
            if (e[i].data.fd == listener &&
                (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                begin(ctx, epoll, fd);
        }
    }
}

/* ---- socket ---- */

static int open_socket(unsigned *ret_port) {
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)config->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int type = config->datagrams ? SOCK_DGRAM : SOCK_STREAM, one = 1;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | (config->datagrams ? 0 : SOCK_NONBLOCK), 0);
    socklen_t n = sizeof at;

    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) < 0 ||
        (!config->datagrams && listen(fd, 1024) < 0))
        return -1;
    *ret_port = ntohs(at.sin_port);
    return fd;
}

void bench_server_run(int fd, void *arg) {
    unsigned port;
    int listener;

    config = arg;
    listener = open_socket(&port);
    if (listener < 0)
        return;
    SSL_CTX *ctx = make_context();
    if (dprintf(fd, "127.0.0.1:%u\n", port) < 0)
        return;
    close(fd);
    if (config->datagrams)
        bench_server_datagrams(ctx, listener);
    else
        serve(ctx, listener);
}
