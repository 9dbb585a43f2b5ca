/* Clients of bench handshake: the device's secure channels on either stack, and an unmodified
 * program with the provider as a module. */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "hsbed.h"

/* ---- channels ---- */

static unsigned version_bits(enum bench_version v) {
    return v == VERSION_TLS13 ? DEV_TLS13 : v == VERSION_TLS12 ? DEV_TLS12 : DEV_DTLS12;
}

static unsigned offload_bits(const struct bench_case *c) {
    if (c->offload != OFFLOAD_FULL)
        return 0;
    return DEV_OFFLOAD_ECDHE | DEV_OFFLOAD_RANDOM |
           (c->credential == CREDENTIAL_CERT ? DEV_OFFLOAD_VERIFY : 0U);
}

struct making {
    struct bench_hsclient *h;
    struct bench_place *at;
    struct dev_failure *why;
};

static void set_credential(struct dev_tls_config *cfg, const struct making *m,
                           const struct iotsafe_ref *key, const struct iotsafe_ref *psk) {
    const struct bench_case *c = m->h->is;
    bool software = c->transport == TRANSPORT_SOFTWARE;

    if (c->credential == CREDENTIAL_CERT) {
        cfg->cert_file = software ? m->h->bed->software.cert : m->at->who.cert;
        cfg->key_file = software ? m->h->bed->software.key : NULL;
        cfg->key = software ? NULL : key;
        return;
    }
    cfg->psk_identity = m->at->who.psk_identity;
    cfg->psk = software ? tb_span(m->at->who.psk, m->at->who.psk_n) : TB_SPAN_NONE;
    cfg->psk_ref = software ? NULL : psk;
    cfg->psk_plain = c->credential == CREDENTIAL_PSK;
    cfg->psk_ecdhe = !cfg->psk_plain;
}

static int tls_job(struct dev_task *t, void *arg) {
    struct making *m = arg;
    const struct bench_case *c = m->h->is;
    const struct iotsafe_ref key = iotsafe_id1(1), psk = iotsafe_id1(6);
    struct dev_tls_config cfg = {
        .stack = c->stack == STACK_MBEDTLS ? DEV_MBEDTLS : DEV_OPENSSL,
        .versions = version_bits(c->version),
        .server_name = "localhost",
        .ca_file = bench_ca_file(),
        .offload = offload_bits(c),
        .card = c->transport == TRANSPORT_SOFTWARE ? NULL : m->at->card,
    };

    (void)t;
    set_credential(&cfg, m, &key, &psk);
    return dev_tls_new(&cfg, &m->h->channel.tls, m->why);
}

static int init_channel(struct bench_hsclient *h, struct bench_place *at, struct dev_failure *why) {
    const struct bench_case *c = h->is;
    struct making m = {h, at, why};
    bool datagrams = c->version == VERSION_DTLS12;

    h->channel.server = h->bed->server[datagrams][c->credential != CREDENTIAL_CERT];
    h->channel.datagrams = datagrams;
    h->channel.times = &h->times;
    return bench_run_task(&h->bed->loop, tls_job, &m);
}

/* ---- an unmodified program ---- */

/* An openssl.cnf as a user's program would have it, docs/provider.md; transport is NULL for one
 * without a card. */
static int write_conf(const char *file, const char *transport, bool full) {
    FILE *f = fopen(file, "we");

    if (!f)
        return TB_ESTORE;
    fprintf(f,
            "openssl_conf = init\n[init]\nproviders = providers\n%s"
            "[providers]\ndefault = default_provider\n%s[default_provider]\nactivate = 1\n",
            full ? "alg_section = algorithms\nrandom = random\n" : "",
            transport ? "iotsafe = iotsafe_provider\n" : "");
    if (transport)
        fprintf(f, "[iotsafe_provider]\nmodule = %s\ntransport = %s\n%sactivate = 1\n",
                BENCH_PROVIDER_MODULE, transport, full ? "offload = ecdhe,verify,random\n" : "");
    if (full)
        fputs("[algorithms]\ndefault_properties = ?iotsafe.offload=yes\n"
              "[random]\nseed = IOTSAFE-SEED\n",
              f);
    return fclose(f) == 0 ? 0 : TB_ESTORE;
}

static int make_reference(const char *cert, const char *out) {
    char program[1024];
    const char *argv[] = {program, "--id", "01", "--cert", cert, "--out", out, NULL};

    bench_program("iotsafe-keyref", program, sizeof program);
    return bench_tool(argv) < 0 ? TB_EPROTO : 0;
}

static int init_module(struct bench_hsclient *h, struct bench_place *at) {
    const struct bench_case *c = h->is;
    struct bench_tls_files files = h->bed->software;
    bool software = c->transport == TRANSPORT_SOFTWARE;
    static unsigned serial;
    char conf[160];
    int r;

    snprintf(conf, sizeof conf, "%s/client-%u.cnf", bench_dir(), serial);
    r = write_conf(conf, software ? NULL : at->spec, c->offload == OFFLOAD_FULL);
    if (r == 0 && !software) {
        snprintf(files.cert, sizeof files.cert, "%s", at->who.cert);
        snprintf(files.key, sizeof files.key, "%s/client-%u.key", bench_dir(), serial);
        r = make_reference(files.cert, files.key);
    }
    serial++;
    if (r < 0)
        return r;
    h->libctx = OSSL_LIB_CTX_new();
    h->module.server = h->bed->server[0][0];
    h->module.times = &h->times;
    if (!h->libctx || OSSL_LIB_CTX_load_config(h->libctx, conf) != 1)
        return TB_ECRYPTO;
    return bench_tls_client_init(&h->module, h->libctx, &files,
                                 c->version == VERSION_TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION);
}

/* ---- either ---- */

int bench_hsclient_init(struct bench_hsclient *h, struct bench_hsbed *b, const struct bench_case *c,
                        struct bench_place *at, struct dev_failure *why) {
    struct bench_place *place = at ? at : bench_hsbed_place(b, c);
    int r;

    *h = (struct bench_hsclient){.bed = b, .is = c};
    if (place->missing) {
        dev_fail(why, "%s", place->missing);
        return TB_EUNSUP;
    }
    /* A pre-shared key in software has to be one that the server knows. */
    if (c->transport == TRANSPORT_SOFTWARE)
        place = &b->recorder;
    if (c->stack == STACK_MODULE)
        return init_module(h, place);
    r = init_channel(h, place, why);
    return r == TB_EPARSE ? TB_EUNSUP : r;
}

void bench_hsclient_done(struct bench_hsclient *h) {
    dev_tls_free(h->channel.tls);
    SSL_CTX_free(h->module.ctx);
    OSSL_LIB_CTX_free(h->libctx);
    *h = (struct bench_hsclient){0};
}

struct batch {
    struct bench_client *client;
    unsigned n;
};

static int connect_job(struct dev_task *t, void *arg) {
    struct batch *b = arg;
    int r = 0;

    while (b->n-- > 0 && r == 0)
        r = bench_client_once(b->client, t);
    return r;
}

int bench_hsclient_connect(void *arg, unsigned n) {
    struct bench_hsclient *h = arg;
    struct batch b = {&h->channel, n};

    if (h->is->stack == STACK_MODULE)
        return bench_tls_connect(&h->module, n);
    return bench_run_task(&h->bed->loop, connect_job, &b);
}

const char *bench_hsclient_negotiated(const struct bench_hsclient *h) {
    return h->is->stack == STACK_MODULE ? h->module.negotiated : h->channel.negotiated;
}
