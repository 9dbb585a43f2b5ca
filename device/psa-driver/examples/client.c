/* TLS with Mbed TLS and an IoT SAFE card, as a firmware would have it: one card, one connection,
 * one thread. Certificate 02 and CA 03 are files of the card, key 01 never leaves it, and the key
 * exchange and the server's signatures are the card's as well.
 *
 *     client at:/dev/ttyUSB0,speed=115200 hub.example 8883
 *
 * sends a line, prints what comes back, and what the card did. */
#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iotsafe/psa.h"

struct connection { /* what outlives a handshake */
    struct iotsafe *card;
    struct iotsafe_psa_client host;
    struct iotsafe_psa_session session;
    psa_key_id_t key_id;
    mbedtls_pk_context key;
    mbedtls_x509_crt own, ca;
    mbedtls_ssl_config conf;
    mbedtls_ssl_context ssl;
    int fd;
};

static const int suites[] = {MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
                             MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0};
static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0};
static const uint16_t sig_algs[] = {MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, 0};

/* ---- the card ---- */

static int open_card(struct connection *c, const char *link) {
    struct iotsafe_transport *t;
    char why[200];
    int r = iotsafe_transport_open(link, &t, why, sizeof why);

    if (r < 0) {
        fprintf(stderr, "%s: %s\n", link, why);
        return r;
    }
    r = iotsafe_open(t, NULL, &c->card);
    if (r < 0)
        return r;
    c->host.client = c->card;
    return iotsafe_slots_discover(c->card, &c->host.slots);
}

static int read_certificate(struct connection *c, uint8_t file, mbedtls_x509_crt *to) {
    const struct iotsafe_ref ref = iotsafe_id1(file);
    static uint8_t der[4096];
    size_t n;
    int r = iotsafe_read_file(c->card, &ref, der, sizeof der, &n);

    return r < 0 ? r : mbedtls_x509_crt_parse_der(to, der, n);
}

/* ---- TLS ---- */

static int configure(struct connection *c) {
    const struct iotsafe_ref key = iotsafe_id1(0x01);
    const struct iotsafe_psa_host host = iotsafe_psa_client_host(&c->host);
    int r = mbedtls_ssl_config_defaults(&c->conf, MBEDTLS_SSL_IS_CLIENT,
                                        MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

    if (r == 0)
        r = iotsafe_psa_init(&c->session, &host,
                             IOTSAFE_PSA_ECDHE | IOTSAFE_PSA_DERIVE | IOTSAFE_PSA_VERIFY |
                                 IOTSAFE_PSA_RANDOM);
    if (r == 0)
        r = iotsafe_psa_key(&key, &c->key_id);
    if (r == 0)
        r = mbedtls_pk_setup_opaque(&c->key, c->key_id);
    if (r == 0)
        r = read_certificate(c, 0x02, &c->own);
    if (r == 0)
        r = read_certificate(c, 0x03, &c->ca);
    if (r == 0)
        r = mbedtls_ssl_conf_own_cert(&c->conf, &c->own, &c->key);
    mbedtls_ssl_conf_ca_chain(&c->conf, &c->ca, NULL);
    mbedtls_ssl_conf_rng(&c->conf, iotsafe_psa_random, NULL);
    mbedtls_ssl_conf_ciphersuites(&c->conf, suites);
    mbedtls_ssl_conf_groups(&c->conf, groups);
    mbedtls_ssl_conf_sig_algs(&c->conf, sig_algs);
    return r;
}

static int shake_hands(struct connection *c) {
    int r;

    iotsafe_psa_enter(&c->session);
    do
        r = mbedtls_ssl_handshake(&c->ssl);
    while (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE);
    iotsafe_psa_enter(NULL);
    iotsafe_psa_settle(&c->session); /* any other error has ended it: never call it again */
    return r;
}

/* ---- the network ---- */

static int on_send(void *user, const unsigned char *p, size_t n) {
    ssize_t r = send(*(int *)user, p, n, MSG_NOSIGNAL);

    return r < 0 ? MBEDTLS_ERR_SSL_CONN_EOF : (int)r;
}

static int on_recv(void *user, unsigned char *p, size_t n) {
    ssize_t r = recv(*(int *)user, p, n, 0);

    return r < 0 ? MBEDTLS_ERR_SSL_CONN_EOF : (int)r;
}

static int dial(const char *host, const char *port) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *at;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &at) != 0)
        return -1;
    for (struct addrinfo *a = at; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(at);
    return fd;
}

static int talk(struct connection *c) {
    static const unsigned char line[] = "hello\n";
    unsigned char buf[256];
    int r = mbedtls_ssl_write(&c->ssl, line, sizeof line - 1);

    if (r > 0)
        r = mbedtls_ssl_read(&c->ssl, buf, sizeof buf);
    if (r > 0)
        printf("%s %s: %.*s", mbedtls_ssl_get_version(&c->ssl),
               mbedtls_ssl_get_ciphersuite(&c->ssl), r, (char *)buf);
    return r > 0 ? 0 : r;
}

static void report(const struct connection *c, int r) {
    struct iotsafe_psa_counters n = iotsafe_psa_counters(&c->session);
    char text[200];

    printf("the card: %u key pairs, %u shared secrets, %u signatures, %u verifications, "
           "%u derivations, %u random; software: %u\n",
           n.generate, n.agree, n.sign, n.verify, n.prf + n.extract, n.random,
           n.software_generate + n.software_agree + n.software_sign + n.software_verify);
    if (r == 0)
        return;
    if (iotsafe_psa_trouble(&c->session).error) {
        fprintf(stderr, "card: %s\n", iotsafe_psa_trouble_text(&c->session, text, sizeof text));
    } else {
        mbedtls_strerror(r, text, sizeof text);
        fprintf(stderr, "%s\n", text);
    }
}

int main(int argc, char **argv) {
    static struct connection c;
    int r;

    if (argc != 4) {
        fprintf(stderr, "usage: client LINK HOST PORT\n");
        return 2;
    }
    mbedtls_ssl_init(&c.ssl);
    mbedtls_ssl_config_init(&c.conf);
    mbedtls_pk_init(&c.key);
    mbedtls_x509_crt_init(&c.own);
    mbedtls_x509_crt_init(&c.ca);
    if (psa_crypto_init() != PSA_SUCCESS || open_card(&c, argv[1]) < 0)
        return 1;
    r = configure(&c);
    if (r == 0)
        r = mbedtls_ssl_setup(&c.ssl, &c.conf);
    if (r == 0)
        r = mbedtls_ssl_set_hostname(&c.ssl, argv[2]);
    c.fd = dial(argv[2], argv[3]);
    if (c.fd < 0) {
        fprintf(stderr, "%s:%s: %s\n", argv[2], argv[3], strerror(errno));
        return 1;
    }
    mbedtls_ssl_set_bio(&c.ssl, &c.fd, on_send, on_recv, NULL);
    if (r == 0)
        r = shake_hands(&c);
    if (r == 0)
        r = talk(&c);
    report(&c, r);

    mbedtls_ssl_close_notify(&c.ssl);
    mbedtls_ssl_free(&c.ssl);
    iotsafe_psa_done(&c.session);
    mbedtls_ssl_config_free(&c.conf);
    mbedtls_pk_free(&c.key);
    mbedtls_x509_crt_free(&c.own);
    mbedtls_x509_crt_free(&c.ca);
    iotsafe_psa_forget_key(c.key_id);
    iotsafe_close(c.card);
    close(c.fd);
    return r == 0 ? 0 : 1;
}
