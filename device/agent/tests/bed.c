#include "bed.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "tb/vpcd.h"

/* ---- card ---- */

static void answer(struct bed_card *c, struct tb_span body) {
    uint8_t room[400];
    struct tb_buf out = TB_BUF(room);
    struct tb_span piece;

    tb_put_vpcd(&out, body);
    piece = tb_buf_span(&out);
    assert(tb_buf_ok(&out));
    if (c->conn)
        (void)tb_conn_write(c->conn, &piece, 1);
}

static void on_delay(uv_timer_t *t) {
    struct bed_card *c = t->data;
    uint8_t rsp[300];
    int n;

    c->busy = false;
    c->bed->in_flight--;
    if (c->gone_at && c->cmd[1] == c->gone_at) {
        c->gone = true;
        if (c->conn)
            tb_conn_close(c->conn, 0);
        return;
    }
    n = fake_card_transmit(&c->card, c->cmd, c->cmd_n, rsp, sizeof rsp);
    assert(n >= 2);
    answer(c, tb_span(rsp, (size_t)n));
}

static size_t on_data(struct tb_conn *conn, struct tb_span data, void *user) {
    static const uint8_t atr[] = {0x3B, 0x00};
    struct bed_card *c = user;
    struct tb_span rest = data, body;

    (void)conn;
    while (tb_vpcd_next(&rest, &body) == 1) {
        if (body.n == 1) {
            if (body.p[0] == TB_VPCD_GET_ATR)
                answer(c, tb_span(atr, sizeof atr));
        } else if (!c->silent) {
            assert(!c->busy && body.n <= sizeof c->cmd);
            memcpy(c->cmd, body.p, body.n);
            c->cmd_n = body.n;
            c->busy = true;
            if (++c->bed->in_flight > c->bed->most_in_flight)
                c->bed->most_in_flight = c->bed->in_flight;
            uv_timer_start(&c->delay, on_delay, c->delay_ms, 0);
        }
    }
    return data.n - rest.n;
}

static void on_closed(int why, void *user) {
    struct bed_card *c = user;

    (void)why;
    c->conn = NULL;
}

static const struct tb_conn_ops card_ops = {.on_data = on_data, .on_closed = on_closed};

static void on_accept(struct tb_listener *l, void *user) {
    struct bed_card *c = user;

    assert(tb_listener_accept(l, &card_ops, c, &c->conn) == 0);
    if (c->gone)
        tb_conn_close(c->conn, 0);
}

void bed_card_init(struct bed_card *c, struct bed *bed, const char *name) {
    struct tb_addr at = {.is_unix = true};

    memset(c, 0, sizeof *c);
    fake_card_init(&c->card, name);
    c->loop = &bed->loop;
    c->bed = bed;
    snprintf(at.host, sizeof at.host, "%s/card%u", bed->dir, bed->cards++);
    snprintf(c->link, sizeof c->link, "vpcd:unix:%s", at.host);
    uv_timer_init(c->loop, &c->delay);
    c->delay.data = c;
    assert(tb_listener_open(c->loop, &at, on_accept, c, &c->listener) == 0);
}

void bed_card_close(struct bed_card *c) {
    uv_close((uv_handle_t *)&c->delay, NULL);
    tb_listener_close(c->listener);
    if (c->conn)
        tb_conn_close(c->conn, 0);
}

void bed_card_done(struct bed_card *c) {
    fake_card_done(&c->card);
}

/* ---- server ---- */

static void serve_one(struct bed *bed, int fd) {
    SSL *ssl = SSL_new(bed->ctx);
    char buf[4096];
    X509 *peer;
    int n;

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        bed->good++;
        peer = SSL_get1_peer_certificate(ssl);
        X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, bed->peer,
                                  sizeof bed->peer);
        X509_free(peer);
        while ((n = SSL_read(ssl, buf, sizeof buf)) > 0)
            (void)SSL_write(ssl, buf, n);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

static void *serve(void *arg) {
    struct bed *bed = arg;

    for (int i = 0; i < bed->accepts; i++) {
        int fd = accept(bed->listen_fd, NULL, NULL);

        if (fd < 0)
            break;
        serve_one(bed, fd);
        shutdown(fd, SHUT_WR);
        while (recv(fd, &(char){0}, 1, 0) > 0) /* our last bytes are to arrive */
            ;
        close(fd);
    }
    return NULL;
}

static X509 *server_cert(EVP_PKEY *key) {
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1,
                               0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key);
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    assert(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

void bed_init(struct bed *bed) {
    memset(bed, 0, sizeof *bed);
    signal(SIGPIPE, SIG_IGN);
    strcpy(bed->dir, "/tmp/tb-agent-XXXXXX");
    assert(mkdtemp(bed->dir));
    assert(uv_loop_init(&bed->loop) == 0);
    bed->key = EVP_EC_gen("P-256");
    bed->listen_fd = -1;
    snprintf(bed->ca_file, sizeof bed->ca_file, "%s/ca.pem", bed->dir);
}

void bed_serve(struct bed *bed, int n, unsigned versions, struct bed_card *cards, size_t n_cards) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    X509 *own = server_cert(bed->key);
    FILE *f = fopen(bed->ca_file, "w");

    assert(f && PEM_write_X509(f, own));
    fclose(f);
    bed->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(bed->ctx, versions & DEV_TLS12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(bed->ctx, versions & DEV_TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    assert(SSL_CTX_use_certificate(bed->ctx, own) == 1);
    assert(SSL_CTX_use_PrivateKey(bed->ctx, bed->key) == 1);
    SSL_CTX_set_verify(bed->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    for (size_t i = 0; i < n_cards; i++) {
        const unsigned char *p = cards[i].card.cert;
        X509 *x = d2i_X509(NULL, &p, (long)cards[i].card.cert_len);

        X509_STORE_add_cert(SSL_CTX_get_cert_store(bed->ctx), x);
        X509_free(x);
    }
    X509_free(own);
    bed->accepts = n;
    bed->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert(bind(bed->listen_fd, (const struct sockaddr *)&sin, sizeof sin) == 0);
    assert(listen(bed->listen_fd, 64) == 0);
    assert(getsockname(bed->listen_fd, (struct sockaddr *)&sin, &len) == 0);
    snprintf(bed->hub, sizeof bed->hub, "127.0.0.1:%u", (unsigned)ntohs(sin.sin_port));
    assert(pthread_create(&bed->thread, NULL, serve, bed) == 0);
}

void bed_join(struct bed *bed) {
    assert(pthread_join(bed->thread, NULL) == 0);
    SSL_CTX_free(bed->ctx);
    close(bed->listen_fd);
    bed->listen_fd = -1;
}

void bed_done(struct bed *bed) {
    assert(uv_loop_close(&bed->loop) == 0);
    EVP_PKEY_free(bed->key);
    unlink(bed->ca_file);
    rmdir(bed->dir);
}
