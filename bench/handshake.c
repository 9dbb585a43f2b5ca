/* bench handshake: TLS with a client certificate over loopback TCP, the key in software against the
 * key in the card; all else is equal, and checked to be. A handshake counts when the client has
 * read a byte that the server sends after it accepted the client's certificate. */
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
    SSL_CTX *ctx;
    const char *server;   /* address */
    const char *card_ctl; /* NULL: the key is in software */
    char negotiated[128]; /* what the last handshake agreed on */
};

enum { SOFTWARE, VPCD, AT, N_KEYS };
static const char *const key_names[N_KEYS] = {"software key", "key in the card, vpcd",
                                              "key in the card, AT+CSIM"};
static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
static const char *const version_names[] = {"TLS 1.3", "TLS 1.2"};
static OSSL_LIB_CTX *libctxs[N_KEYS];
enum { N_VERSIONS = 2, N_CLIENTS = N_VERSIONS * N_KEYS, APDUS_PROMISED = 5 };

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
    /* A context of its own: an openssl.cnf in the environment is not the subject. */
    SSL_CTX *ctx = SSL_CTX_new_ex(OSSL_LIB_CTX_new(), NULL, TLS_server_method());
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

/* Version, cipher, group, signature: equal for all that are compared. */
static void note(struct client *c, SSL *ssl) {
    int sig = NID_undef, digest = NID_undef;
    char group[32] = "";
    EVP_PKEY *theirs = NULL;

    if (SSL_get_peer_tmp_key(ssl, &theirs) == 1)
        (void)EVP_PKEY_get_group_name(theirs, group, sizeof group, NULL);
    EVP_PKEY_free(theirs);
    (void)SSL_get_signature_type_nid(ssl, &sig);
    (void)SSL_get_signature_nid(ssl, &digest);
    snprintf(c->negotiated, sizeof c->negotiated, "%s, %s, client signs %s %s, %s",
             SSL_get_cipher_name(ssl), group, sig == NID_X9_62_id_ecPublicKey ? "ECDSA" : "?",
             OBJ_nid2sn(digest), SSL_session_reused(ssl) ? "resumed" : "not resumed");
}

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
    if (r == 0 && !c->negotiated[0])
        note(c, ssl);
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

static int client_init(struct client *c, OSSL_LIB_CTX *libctx, const char *cert, const char *key,
                       int version) {
    c->ctx = SSL_CTX_new_ex(libctx, NULL, TLS_client_method());
    if (!c->ctx || SSL_CTX_use_certificate_file(c->ctx, cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(c->ctx, bench_ca_file(), NULL) != 1) {
        ERR_print_errors_fp(stderr);
        return TB_ECRYPTO;
    }
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(c->ctx, version);
    SSL_CTX_set_max_proto_version(c->ctx, version);
    SSL_CTX_set1_groups_list(c->ctx, "P-256");
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    /* The client's own chain is one certificate: do not build it anew in each handshake. */
    SSL_CTX_set_mode(c->ctx, SSL_MODE_NO_AUTO_CHAIN);
    return 0;
}

/* An openssl.cnf as a user's program would have it; transport is NULL for one without a card. */
static int write_conf(const char *file, const char *transport) {
    FILE *f = fopen(file, "we");

    if (!f)
        return TB_ESTORE;
    fprintf(f, "openssl_conf = init\n[init]\nproviders = providers\n"
               "[providers]\ndefault = default_provider\n");
    if (transport)
        fprintf(f, "iotsafe = iotsafe_provider\n");
    fprintf(f, "[default_provider]\nactivate = 1\n");
    if (transport)
        fprintf(f, "[iotsafe_provider]\nmodule = %s\ntransport = %s\nactivate = 1\n",
                BENCH_PROVIDER_MODULE, transport);
    return fclose(f) == 0 ? 0 : TB_ESTORE;
}

/* Clients of all versions, of one program so to say: a card in vpcd has one reader. */
static int make_clients(struct client *all, int which, const char *conf, const char *cert,
                        const char *key) {
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    int r = libctx && OSSL_LIB_CTX_load_config(libctx, conf) == 1 ? 0 : TB_ECRYPTO;

    for (int v = 0; v < N_VERSIONS && r == 0; v++)
        r = client_init(&all[v * N_KEYS + which], libctx, cert, key, versions[v]);
    libctxs[which] = libctx;
    return r;
}

/* The key is in the card behind transport. */
static int card_clients(struct client *all, int which, const char *transport, const char *cert) {
    char conf[160], key[160], program[1024];
    const char *argv[] = {program, "--id", "01", "--cert", cert, "--out", key, NULL};
    int r;

    snprintf(conf, sizeof conf, "%s/card-%d.cnf", bench_dir(), which);
    snprintf(key, sizeof key, "%s/card-%d.key", bench_dir(), which);
    bench_program("iotsafe-keyref", program, sizeof program);
    r = write_conf(conf, transport);
    if (r == 0 && bench_tool(argv) < 0)
        r = TB_EPROTO;
    return r == 0 ? make_clients(all, which, conf, cert, key) : r;
}

/* A new key and its certificate as files. */
static int issue(const struct tb_pki_request *request, const char *cert, const char *key) {
    EVP_PKEY *k = EVP_EC_gen("P-256");
    struct tb_error e = {0};
    X509 *x = NULL;
    int r = k ? tb_pki_issue(bench_ca(), k, request, &x) : TB_ECRYPTO;

    if (r == 0)
        r = tb_pki_cert_save(x, cert, &e);
    if (r == 0)
        r = tb_pki_key_save(k, key, &e);
    X509_free(x);
    EVP_PKEY_free(k);
    return r;
}

static int software_clients(struct client *all) {
    /* A subject as long as a card's. */
    const struct tb_pki_request request = {
        TB_PKI_CLIENT, "89000100000000009000", "IoT SAFE testbed", NULL, NULL, -3600, 86400};
    char conf[160], cert[160], key[160];
    int r;

    snprintf(conf, sizeof conf, "%s/software.cnf", bench_dir());
    snprintf(cert, sizeof cert, "%s/software.pem", bench_dir());
    snprintf(key, sizeof key, "%s/software.key", bench_dir());
    r = write_conf(conf, NULL);
    if (r == 0)
        r = issue(&request, cert, key);
    return r == 0 ? make_clients(all, SOFTWARE, conf, cert, key) : r;
}

/* ---- the bed ---- */

struct peers {
    char server[64], card[64], card_ctl[128], cert[2][160];
    struct bench_modem modem;
};

static int start_server(struct peers *p) {
    static const char *const names[] = {"localhost", "127.0.0.1", NULL};
    const struct tb_pki_request request = {TB_PKI_SERVER, "localhost", NULL, names,
                                           NULL,          -3600,       86400};
    struct server_files files;
    int r;

    snprintf(files.cert, sizeof files.cert, "%s/server.pem", bench_dir());
    snprintf(files.key, sizeof files.key, "%s/server.key", bench_dir());
    snprintf(files.ca, sizeof files.ca, "%s", bench_ca_file());
    r = issue(&request, files.cert, files.key);
    return r == 0 ? bench_peer(server, &files, p->server, sizeof p->server) : r;
}

static int start_peers(struct peers *p) {
    int r = bench_ca() ? start_server(p) : TB_ECRYPTO;

    if (r == 0)
        r = bench_card_start(p->card, sizeof p->card, p->card_ctl, sizeof p->card_ctl);
    snprintf(p->cert[0], sizeof p->cert[0], "%s", bench_card_cert());
    if (r == 0)
        r = bench_modem_start("handshake", true, &p->modem);
    snprintf(p->cert[1], sizeof p->cert[1], "%s", bench_card_cert());
    return r;
}

static int make_all_clients(struct peers *p, struct client *all) {
    char spec[160];
    int r = software_clients(all);

    snprintf(spec, sizeof spec, "vpcd:%s", p->card);
    if (r == 0)
        r = card_clients(all, VPCD, spec, p->cert[0]);
    snprintf(spec, sizeof spec, "at:unix:%s", p->modem.at_unix);
    if (r == 0)
        r = card_clients(all, AT, spec, p->cert[1]);
    for (int i = 0; i < N_CLIENTS; i++) {
        all[i].server = p->server;
        if (i % N_KEYS == VPCD)
            all[i].card_ctl = p->card_ctl;
        if (i % N_KEYS == AT)
            all[i].card_ctl = p->modem.card_ctl;
    }
    return r;
}

/* ---- what is measured ---- */

/* What one handshake costs on the card's interface: counted over ten. */
static int tell_cost(struct client *c, const char *name, json_t *report) {
    json_t *before = NULL, *after = NULL;
    static const char *const keys[] = {"apdus", "bytes_in", "bytes_out", "sign"};
    double per[4] = {0};
    int r = bench_card_counters(c->card_ctl, &before);

    if (r == 0)
        r = handshakes(c, 10);
    if (r == 0)
        r = bench_card_counters(c->card_ctl, &after);
    for (int i = 0; i < 4 && r == 0; i++)
        per[i] = (double)(json_integer_value(json_object_get(after, keys[i])) -
                          json_integer_value(json_object_get(before, keys[i]))) /
                 10;
    json_decref(before);
    json_decref(after);
    if (r < 0)
        return r;
    printf("      %-*s %6.1f %14.1f %14.1f %11.1f\n", BENCH_NAME_MAX, name, per[0], per[1], per[2],
           per[3]);
    json_array_append_new(json_object_get(report, "costs"),
                          json_pack("{s:s,s:f,s:f,s:f,s:f}", "name", name, "apdus", per[0],
                                    "bytes_to_card", per[1], "bytes_from_card", per[2],
                                    "signatures", per[3]));
    if (per[3] != 1.0) {
        fprintf(stderr, "iot-bench: %s: the card did not make one signature per handshake\n", name);
        return TB_EPROTO;
    }
    if (per[0] > APDUS_PROMISED)
        bench_report_promise(report, false, "%s: at most %d APDUs per handshake", name,
                             APDUS_PROMISED);
    return 0;
}

static int tell_costs(struct client *all, const struct bench_variant *v, json_t *report) {
    int r = 0;
    unsigned broken = bench_report_broken();

    printf("\nOn the card's interface, per handshake once the channel is open\n%*s\n",
           6 + BENCH_NAME_MAX + 50, "APDUs  bytes to card  bytes from it  signatures");
    for (int i = 0; i < N_CLIENTS && r == 0; i++)
        if (all[i].card_ctl)
            r = tell_cost(&all[i], v[i].name, report);
    if (r == 0 && broken == bench_report_broken())
        bench_report_promise(report, true, "at most %d APDUs per handshake", APDUS_PROMISED);
    return r;
}

/* Variants that are compared have to agree on the same things. */
static int tell_negotiated(const struct client *all) {
    for (int v = 0; v < N_VERSIONS; v++) {
        const struct client *of = all + (size_t)v * N_KEYS;

        printf("  in each %s: %s\n", version_names[v], of->negotiated);
        for (int k = 1; k < N_KEYS; k++)
            if (strcmp(of[k].negotiated, of->negotiated) != 0) {
                fprintf(stderr, "iot-bench: but with %s: %s\n", key_names[k], of[k].negotiated);
                return TB_EPROTO;
            }
    }
    return 0;
}

static int measure(const struct bench_options *o, struct client *all, json_t *report) {
    struct bench_variant v[N_CLIENTS] = {0};
    char names[N_CLIENTS][64];
    int r;

    for (int i = 0; i < N_CLIENTS; i++) {
        int software = i - i % N_KEYS;

        snprintf(names[i], sizeof names[i], "%s, %s", version_names[i / N_KEYS],
                 key_names[i % N_KEYS]);
        v[i] = (struct bench_variant){.name = names[i],
                                      .fn = handshakes,
                                      .arg = &all[i],
                                      .against = i == software ? -1 : software,
                                      .floor = i == VPCD || i == AT ? 0.80 : 0};
    }
    r = bench_measure(o, v, N_CLIENTS);
    if (r < 0)
        return r;
    bench_report_table(report, "Handshakes with client certificate, one client, loopback TCP", v,
                       N_CLIENTS);
    r = tell_negotiated(all);
    return r == 0 ? tell_costs(all, v, report) : r;
}

int bench_handshake(const struct bench_options *o, json_t *report) {
    struct client all[N_CLIENTS] = {{0}};
    struct peers peers = {0};
    int r = start_peers(&peers);

    if (r == 0)
        r = make_all_clients(&peers, all);
    if (r < 0)
        fprintf(stderr, "iot-bench: the peers could not be set up: %s\n", tb_strerror(r));
    else
        r = measure(o, all, report);
    for (int i = 0; i < N_CLIENTS; i++)
        SSL_CTX_free(all[i].ctx);
    for (int i = 0; i < N_KEYS; i++)
        OSSL_LIB_CTX_free(libctxs[i]);
    return r;
}
