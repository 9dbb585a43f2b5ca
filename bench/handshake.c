/* bench handshake: TLS with a client certificate over loopback TCP, the key in software against the
 * key in the card; all else is equal, and checked to be. A handshake counts when the client has
 * read a byte that the server sends after it accepted the client's certificate. */
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "bench.h"
#include "server.h"
#include "tls.h"

struct client {
    struct bench_tls_client tls;
    const char *card_ctl; /* NULL: the key is in software */
};

enum { SOFTWARE, VPCD, AT, N_KEYS };
static const char *const key_names[N_KEYS] = {"software key", "key in the card, vpcd",
                                              "key in the card, AT+CSIM"};
static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
static const char *const version_names[] = {"TLS 1.3", "TLS 1.2"};
static OSSL_LIB_CTX *libctxs[N_KEYS];
enum { N_VERSIONS = 2, N_CLIENTS = N_VERSIONS * N_KEYS, APDUS_PROMISED = 5 };

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
static int make_clients(struct client *all, int which, const char *conf,
                        const struct bench_tls_files *files) {
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    int r = libctx && OSSL_LIB_CTX_load_config(libctx, conf) == 1 ? 0 : TB_ECRYPTO;

    for (int v = 0; v < N_VERSIONS && r == 0; v++)
        r = bench_tls_client_init(&all[v * N_KEYS + which].tls, libctx, files, versions[v]);
    libctxs[which] = libctx;
    return r;
}

/* The key is in the card behind transport. */
static int card_clients(struct client *all, int which, const char *transport, const char *cert) {
    char conf[160], program[1024];
    struct bench_tls_files files;
    const char *argv[] = {program, "--id", "01", "--cert", cert, "--out", files.key, NULL};
    int r;

    snprintf(conf, sizeof conf, "%s/card-%d.cnf", bench_dir(), which);
    snprintf(files.cert, sizeof files.cert, "%s", cert);
    snprintf(files.key, sizeof files.key, "%s/card-%d.key", bench_dir(), which);
    snprintf(files.ca, sizeof files.ca, "%s", bench_ca_file());
    bench_program("iotsafe-keyref", program, sizeof program);
    r = write_conf(conf, transport);
    if (r == 0 && bench_tool(argv) < 0)
        r = TB_EPROTO;
    return r == 0 ? make_clients(all, which, conf, &files) : r;
}

static int software_clients(struct client *all) {
    /* A subject as long as a card's. */
    const struct tb_pki_request request = {
        TB_PKI_CLIENT, "89000100000000009000", "IoT SAFE testbed", NULL, NULL, -3600, 86400};
    struct bench_tls_files files;
    char conf[160];
    int r;

    snprintf(conf, sizeof conf, "%s/software.cnf", bench_dir());
    r = write_conf(conf, NULL);
    if (r == 0)
        r = bench_tls_issue("software", &request, &files);
    return r == 0 ? make_clients(all, SOFTWARE, conf, &files) : r;
}

/* ---- the bed ---- */

struct peers {
    char server[64], card[64], card_ctl[128], cert[2][160];
    struct bench_modem modem;
};

static int start_server(struct peers *p) {
    static struct bench_server config;
    int r = bench_tls_issue("server", &bench_tls_localhost, &config.files);

    return r == 0 ? bench_peer(bench_server_run, &config, p->server, sizeof p->server) : r;
}

static int start_peers(struct peers *p) {
    int r = start_server(p);

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
        all[i].tls.server = p->server;
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
        r = bench_tls_connect(&c->tls, 10);
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

static int measure(const struct bench_options *o, struct client *all, json_t *report) {
    struct bench_variant v[N_CLIENTS] = {0};
    char names[N_CLIENTS][64];
    int r;

    for (int i = 0; i < N_CLIENTS; i++) {
        int software = i - i % N_KEYS;

        snprintf(names[i], sizeof names[i], "%s, %s", version_names[i / N_KEYS],
                 key_names[i % N_KEYS]);
        v[i] = (struct bench_variant){.name = names[i],
                                      .fn = bench_tls_connect,
                                      .arg = &all[i].tls,
                                      .against = i == software ? -1 : software,
                                      .floor = i == VPCD || i == AT ? 0.80 : 0};
    }
    r = bench_measure(o, v, N_CLIENTS);
    if (r < 0)
        return r;
    bench_report_table(report, "Handshakes with client certificate, one client, loopback TCP", v,
                       N_CLIENTS);
    for (int i = 0; i < N_VERSIONS && r == 0; i++) {
        const struct client *of = all + (size_t)i * N_KEYS;
        const struct bench_tls_client *same[] = {&of[SOFTWARE].tls, &of[VPCD].tls, &of[AT].tls};

        r = bench_tls_same(version_names[i], same, N_KEYS);
    }
    return r == 0 ? tell_costs(all, v, report) : r;
}

int bench_handshake(const struct bench_options *o, json_t *report) {
    struct client all[N_CLIENTS];
    struct peers peers = {0};
    int r;

    memset(all, 0, sizeof all);
    r = start_peers(&peers);

    if (r == 0)
        r = make_all_clients(&peers, all);
    if (r < 0)
        fprintf(stderr, "iot-bench: the peers could not be set up: %s\n", tb_strerror(r));
    else
        r = measure(o, all, report);
    for (int i = 0; i < N_CLIENTS; i++)
        SSL_CTX_free(all[i].tls.ctx);
    for (int i = 0; i < N_KEYS; i++)
        OSSL_LIB_CTX_free(libctxs[i]);
    return r;
}
