/* bench handshake: TLS 1.3 with a client certificate over loopback TCP, the key in software against
 * the key in the card. A handshake counts when the client has read a byte that the server sends
 * after it accepted the client's certificate. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bed.h"
#include "bench.h"
#include "tb/pki.h"

struct client {
    OSSL_LIB_CTX *libctx;
    SSL_CTX *ctx;
    char server[64];
    char card_ctl[128];
};

/* ---- the server, in a process of its own ---- */

static void serve_one(SSL_CTX *ctx, int fd) {
    SSL *ssl = SSL_new(ctx);
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1)
        SSL_write(ssl, "!", 1);
    SSL_free(ssl);
    close(fd);
}

struct server_files {
    char cert[160], key[160], ca[160];
};

static void server(int fd, void *arg) {
    const struct server_files *files = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char addr[64];
    int listener = bench_listen(false, addr, sizeof addr);

    if (listener < 0 || SSL_CTX_use_certificate_file(ctx, files->cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(ctx, files->ca, NULL) != 1)
        return;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set1_groups_list(ctx, "P-256");
    dprintf(fd, "%s\n", addr);
    close(fd);
    for (;;) {
        int conn = accept(listener, NULL, NULL);

        if (conn >= 0)
            serve_one(ctx, conn);
    }
}

/* ---- the client ---- */

static int handshake(struct client *c) {
    int fd = bench_dial(c->server), r = TB_EPROTO;
    SSL *ssl;
    char byte;

    if (fd < 0)
        return fd;
    ssl = SSL_new(c->ctx);
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1)
        r = 0;
    else
        ERR_print_errors_fp(stderr);
    SSL_free(ssl);
    close(fd);
    return r;
}

static int handshakes(void *arg, unsigned n) {
    int r = 0;

    while (n-- > 0 && r == 0)
        r = handshake(arg);
    return r;
}

static int client_init(struct client *c, const char *cert, const char *key, const char *version) {
    int v = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

    c->ctx = SSL_CTX_new_ex(c->libctx, NULL, TLS_client_method());
    if (!c->ctx || SSL_CTX_use_certificate_file(c->ctx, cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(c->ctx, bench_ca_file(), NULL) != 1) {
        ERR_print_errors_fp(stderr);
        return TB_ECRYPTO;
    }
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(c->ctx, v);
    SSL_CTX_set_max_proto_version(c->ctx, v);
    SSL_CTX_set1_groups_list(c->ctx, "P-256");
    /* The client's own chain is one certificate: do not build it anew in each handshake. */
    SSL_CTX_set_mode(c->ctx, SSL_MODE_NO_AUTO_CHAIN);
    return 0;
}

/* A library context whose openssl.cnf loads our provider with this transport: what a user's program
 * does. */
static int card_client(struct client *c, const char *name, const char *transport,
                       const char *version) {
    char conf[160], key[160], program[1024], cert[160];
    const char *argv[] = {program, "--id", "01", "--cert", cert, "--out", key, NULL};
    FILE *f;

    snprintf(conf, sizeof conf, "%s/%s.cnf", bench_dir(), name);
    snprintf(key, sizeof key, "%s/%s.key", bench_dir(), name);
    snprintf(cert, sizeof cert, "%s", bench_card_cert());
    bench_program("iotsafe-keyref", program, sizeof program);
    f = fopen(conf, "we");
    if (!f)
        return TB_ESTORE;
    fprintf(f,
            "openssl_conf = init\n[init]\nproviders = providers\n"
            "[providers]\ndefault = default_provider\niotsafe = iotsafe_provider\n"
            "[default_provider]\nactivate = 1\n"
            "[iotsafe_provider]\nmodule = %s\ntransport = %s\nactivate = 1\n",
            BENCH_PROVIDER_MODULE, transport);
    fclose(f);
    c->libctx = OSSL_LIB_CTX_new();
    if (bench_tool(argv) < 0 || OSSL_LIB_CTX_load_config(c->libctx, conf) != 1)
        return TB_ECRYPTO;
    return client_init(c, cert, key, version);
}

static int software_files(struct server_files *server_files, char *cert, char *key, size_t cap) {
    static const char *const names[] = {"localhost", "127.0.0.1", NULL};
    struct tb_pki_request server_request = {TB_PKI_SERVER, "localhost", NULL, names,
                                            NULL,          -3600,       86400};
    struct tb_pki_request client_request = {TB_PKI_CLIENT, "software", NULL, NULL,
                                            NULL,          -3600,      86400};
    EVP_PKEY *k = EVP_EC_gen("P-256");
    struct tb_error e = {0};
    X509 *x = NULL;
    int r = tb_pki_issue(bench_ca(), k, &server_request, &x);

    snprintf(server_files->cert, sizeof server_files->cert, "%s/server.pem", bench_dir());
    snprintf(server_files->key, sizeof server_files->key, "%s/server.key", bench_dir());
    snprintf(server_files->ca, sizeof server_files->ca, "%s", bench_ca_file());
    snprintf(cert, cap, "%s/software.pem", bench_dir());
    snprintf(key, cap, "%s/software.key", bench_dir());
    if (r == 0)
        r = tb_pki_cert_save(x, server_files->cert, &e);
    if (r == 0)
        r = tb_pki_key_save(k, server_files->key, &e);
    X509_free(x);
    x = NULL;
    if (r == 0)
        r = tb_pki_issue(bench_ca(), k, &client_request, &x);
    if (r == 0)
        r = tb_pki_cert_save(x, cert, &e);
    if (r == 0)
        r = tb_pki_key_save(k, key, &e);
    X509_free(x);
    EVP_PKEY_free(k);
    return r;
}

/* What one handshake costs on the card's interface: counted over ten. */
static int tell_cost(struct client *c, const char *name, json_t *report) {
    json_t *before = NULL, *after = NULL;
    static const char *const keys[] = {"apdus", "bytes_in", "bytes_out", "sign"};
    double per[4];
    int r = bench_card_counters(c->card_ctl, &before);

    if (r == 0)
        r = handshakes(c, 10);
    if (r == 0)
        r = bench_card_counters(c->card_ctl, &after);
    for (int i = 0; i < 4 && r == 0; i++)
        per[i] = (double)(json_integer_value(json_object_get(after, keys[i])) -
                          json_integer_value(json_object_get(before, keys[i]))) /
                 10;
    if (r == 0) {
        printf("  %-52s %.1f APDUs, %.1f bytes to the card, %.1f from it, %.1f signatures\n", name,
               per[0], per[1], per[2], per[3]);
        json_array_append_new(report, json_pack("{s:s,s:f,s:f,s:f,s:f}", "cost", name, "apdus",
                                                per[0], "bytes_to_card", per[1], "bytes_from_card",
                                                per[2], "signatures", per[3]));
        if (per[3] != 1.0) {
            fprintf(stderr, "iot-bench: %s: the card did not make one signature per handshake\n",
                    name);
            r = TB_EPROTO;
        }
    }
    json_decref(before);
    json_decref(after);
    return r;
}

int bench_handshake(const struct bench_options *o, json_t *report) {
    struct client software[2] = {{0}}, vpcd[2] = {{0}}, at[2] = {{0}};
    struct server_files files;
    struct bench_modem modem;
    char cert[160], key[160], addr[64], spec[160], server_addr[64];
    static const char *const versions[] = {"1.3", "1.2"};
    int r = bench_ca() ? software_files(&files, cert, key, sizeof cert) : TB_ECRYPTO;

    if (r == 0)
        r = bench_peer(server, &files, server_addr, sizeof server_addr);
    if (r == 0)
        r = bench_card_start(addr, sizeof addr, vpcd[0].card_ctl, sizeof vpcd[0].card_ctl);
    snprintf(spec, sizeof spec, "vpcd:%s", addr);
    if (r == 0)
        r = card_client(&vpcd[0], "vpcd", spec, "1.3");
    if (r == 0)
        r = bench_modem_start("handshake", true, &modem);
    if (r == 0)
        snprintf(spec, sizeof spec, "at:unix:%s", modem.at_unix);
    for (int i = 0; i < 2 && r == 0; i++) {
        r = client_init(&software[i], cert, key, versions[i]);
        snprintf(at[i].card_ctl, sizeof at[i].card_ctl, "%s", modem.card_ctl);
        if (r == 0)
            r = card_client(&at[i], i ? "at12" : "at13", spec, versions[i]);
        snprintf(software[i].server, sizeof software[i].server, "%s", server_addr);
        snprintf(at[i].server, sizeof at[i].server, "%s", server_addr);
        snprintf(vpcd[i].server, sizeof vpcd[i].server, "%s", server_addr);
    }
    if (r < 0) {
        fprintf(stderr, "iot-bench: the peers could not be set up: %s\n", tb_strerror(r));
        return r;
    }
    struct bench_variant v[] = {
        {.name = "TLS 1.3, software key", .fn = handshakes, .arg = &software[0], .against = -1},
        {.name = "TLS 1.3, key in the card, vpcd",
         .fn = handshakes,
         .arg = &vpcd[0],
         .against = 0,
         .floor = 0.80},
        {.name = "TLS 1.3, key in the card, AT+CSIM",
         .fn = handshakes,
         .arg = &at[0],
         .against = 0,
         .floor = 0.80},
        {.name = "TLS 1.2, software key", .fn = handshakes, .arg = &software[1], .against = -1},
        {.name = "TLS 1.2, key in the card, AT+CSIM",
         .fn = handshakes,
         .arg = &at[1],
         .against = 3},
    };
    r = bench_measure(o, v, sizeof v / sizeof *v);
    if (r < 0)
        return r;
    bench_print("Handshakes with client certificate, one client, loopback TCP", v,
                sizeof v / sizeof *v, report);
    printf("\nOn the card's interface, per handshake once the channel is open\n");
    r = tell_cost(&vpcd[0], v[1].name, report);
    if (r == 0)
        r = tell_cost(&at[0], v[2].name, report);
    if (r == 0)
        r = tell_cost(&at[1], v[4].name, report);
    for (int i = 0; i < 2; i++) {
        struct client *all[] = {&software[i], &vpcd[i], &at[i]};

        for (int k = 0; k < 3; k++) {
            SSL_CTX_free(all[k]->ctx);
            OSSL_LIB_CTX_free(all[k]->libctx);
        }
    }
    return r;
}
