#include "hsbed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "pcsc.h"
#include "server.h"

/* ---- cards ---- */

static int start_memory(struct bench_place *p, bool modem) {
    struct card_nvm *nvm = NULL;
    int r;

    p->sim = calloc(1, sizeof *p->sim);
    if (!p->sim)
        abort();
    r = bench_card_store(&nvm);
    if (r == 0)
        r = bench_device_card(p->sim, nvm);
    if (r == 0 && modem)
        r = bench_device_modem(p->sim);
    return r;
}

static int start_vpcd(struct bench_place *p) {
    char addr[64];
    int r = bench_card_start(addr, sizeof addr, p->ctl, sizeof p->ctl);

    snprintf(p->spec, sizeof p->spec, "vpcd:%s", addr);
    return r;
}

static int start_pcsc(struct bench_place *p) {
    char addr[64];
    int r = bench_pcsc_start(addr, sizeof addr);

    if (r == 0)
        r = bench_card_dial(addr, p->ctl, sizeof p->ctl);
    if (r == 0)
        r = bench_pcsc_connect(); /* waits for the card */
    bench_pcsc_close();
    snprintf(p->spec, sizeof p->spec, "pcsc:");
    return r;
}

/* One modem for everything that goes by AT commands: each client has a port of its own. */
static int start_modem(struct bench_hsbed *b) {
    struct bench_modem modem;
    int r = bench_modem_start("handshake", true, &modem);

    for (unsigned who = 0; who < N_OFFLOADS && r == 0; who++)
        for (unsigned t = TRANSPORT_CSIM; t <= TRANSPORT_CGLA; t++) {
            struct bench_place *p = &b->places[who][t];

            snprintf(p->spec, sizeof p->spec, "%s:unix:%s", t == TRANSPORT_CSIM ? "at" : "cgla",
                     modem.at_unix);
            snprintf(p->ctl, sizeof p->ctl, "%s", modem.card_ctl);
            p->who = *bench_last_identity();
            p->there = true;
        }
    return r;
}

/* Whose place a case has. */
static unsigned who_of(const struct bench_case *c) {
    return c->stack == STACK_MODULE ? c->offload : 0;
}

static int start_place(struct bench_hsbed *b, enum bench_transport t, unsigned who) {
    struct bench_place *p = &b->places[who][t];
    int r = 0;

    if (p->there || p->missing || t == TRANSPORT_SOFTWARE)
        return 0;
    if (t == TRANSPORT_CSIM || t == TRANSPORT_CGLA)
        return start_modem(b);
    for (unsigned i = 0; t == TRANSPORT_PCSC && i < N_OFFLOADS; i++)
        if (b->places[i][t].there) { /* a reader that all share */
            *p = b->places[i][t];
            return 0;
        }
    if (t == TRANSPORT_MEMORY)
        r = start_memory(p, false);
    else
        r = t == TRANSPORT_VPCD ? start_vpcd(p) : start_pcsc(p);
    p->there = r == 0;
    if (r == 0)
        p->who = *bench_last_identity();
    return r;
}

/* The device's own end of it. */
static int open_card(struct bench_hsbed *b, enum bench_transport t, struct bench_place *p) {
    struct iotsafe_transport *link;
    struct tb_error e = {0};
    char why[200] = "";
    int r = 0;

    if (!p->there)
        return 0;
    if (p->sim) {
        r = bench_link_memory(p->sim, t == TRANSPORT_MEMORY ? BENCH_DIRECT : BENCH_CSIM, NULL,
                              &link);
        if (r == 0)
            r = dev_card_new_on(link, NULL, &p->card, &e);
    } else if (t == TRANSPORT_PCSC) { /* the agent has none: libiotsafe's, which blocks */
        r = iotsafe_transport_open(p->spec, &link, why, sizeof why) < 0 ? TB_ECARD : 0;
        if (r == 0)
            r = dev_card_new_on(link, NULL, &p->card, &e);
    } else {
        r = dev_card_new(&b->loop, p->spec, NULL, &p->card, &e);
    }
    if (r < 0)
        fprintf(stderr, "iot-bench: %s: %s%s\n", p->spec, why, e.message);
    return r;
}

static int open_cards(struct bench_hsbed *b) {
    int r = start_memory(&b->recorder, true);

    b->recorder.there = r == 0;
    if (r == 0)
        b->recorder.who = *bench_last_identity();
    for (unsigned t = 0; t < N_TRANSPORTS && r == 0; t++)
        r = open_card(b, (enum bench_transport)t, &b->places[0][t]);
    return r == 0 ? open_card(b, TRANSPORT_CSIM, &b->recorder) : r;
}

struct bench_place *bench_hsbed_place(struct bench_hsbed *b, const struct bench_case *c) {
    return &b->places[who_of(c)][c->transport];
}

/* ---- servers ---- */

static int start_server(struct bench_hsbed *b, const struct bench_tls_files *files,
                        const struct bench_case *c) {
    bool datagrams = c->version == VERSION_DTLS12, psk = c->credential != CREDENTIAL_CERT;
    struct bench_server config = {.files = *files, .datagrams = datagrams, .psk = psk};
    char *addr = b->server[datagrams][psk];

    return *addr ? 0 : bench_peer(bench_server_run, &config, addr, sizeof b->server[0][0]);
}

/* ---- all of it ---- */

int bench_hsbed_start(struct bench_hsbed *b, const struct bench_case *cases, size_t n) {
    /* A subject as long as a card's. */
    const struct tb_pki_request request = {.role = TB_PKI_CLIENT,
                                           .common_name = "89000100000000009000",
                                           .organization = "IoT SAFE testbed",
                                           .not_before_s = -3600,
                                           .not_after_s = 86400};
    struct bench_tls_files files;
    const char *no_pcsc = NULL;
    int r = 0;

    for (size_t i = 0; i < n; i++) /* before there are children */
        if (cases[i].transport == TRANSPORT_PCSC && !no_pcsc) {
            if (bench_pcsc_enter(&no_pcsc) == 0)
                break;
            for (unsigned who = 0; who < N_OFFLOADS; who++)
                b->places[who][TRANSPORT_PCSC].missing = no_pcsc;
        }
    uv_loop_init(&b->loop);
    for (size_t i = 0; i < n && r == 0; i++)
        r = start_place(b, cases[i].transport, who_of(&cases[i]));
    if (r == 0)
        r = open_cards(b);
    if (r == 0)
        r = bench_tls_issue("software", &request, &b->software);
    if (r == 0)
        r = bench_tls_issue("server", &bench_tls_localhost, &files);
    for (size_t i = 0; i < n && r == 0; i++)
        r = start_server(b, &files, &cases[i]);
    return r;
}

static void close_place(struct bench_place *p) {
    dev_card_free(p->card);
    if (p->sim)
        bench_device_done(p->sim);
    free(p->sim);
}

void bench_hsbed_stop(struct bench_hsbed *b) {
    for (unsigned t = 0; t < N_TRANSPORTS; t++)
        close_place(&b->places[0][t]);
    close_place(&b->recorder);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_loop_close(&b->loop);
}
