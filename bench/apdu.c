/* bench apdu: what a command APDU costs on each transport, against the least any program could do
 * there, and what a card signature costs against the bare library call. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "bench.h"
#include "links.h"
#include "pcsc.h"
#include "peers.h"
#include "tb/apdu.h"

/* READ FILE of the certificate's first 68 bytes: an exchange of an everyday size, the same bytes
 * for the echo peers. */
static const uint8_t read_file[] = {
    0x81, 0xB0, 0x00, 0x00, 0x03, 0x83, 0x01, 0x02, BENCH_ECHO_BYTES};
static const uint8_t select_applet[] = {0x01, 0xA4, 0x04, 0x00, 0x07, 0xA0,
                                        0x00, 0x00, 0x05, 0x59, 0x00, 0x10};
static const uint8_t sign_init[] = {0x81, 0x2A, 0x00, 0x01, 0x0D, 0x84, 0x01, 0x01, 0xA1,
                                    0x01, 0x03, 0x91, 0x02, 0x00, 0x01, 0x92, 0x01, 0x04};
static const uint8_t sign_update[] = {
    0x81, 0x2B, 0x80, 0x01, 0x22, 0x9E, 0x20, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
    14,   15,   16,   17,   18,   19,   20,   21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};

#define SPAN(array) tb_span(array, sizeof(array))

static int exchanges(void *arg, unsigned n) {
    int r = 0;

    while (n-- > 0 && r == 0)
        r = bench_expect_ok(arg, SPAN(read_file));
    return r;
}

static int signatures(void *arg, unsigned n) {
    int r = 0;

    while (n-- > 0 && r == 0) {
        r = bench_expect_ok(arg, SPAN(sign_init));
        if (r == 0)
            r = bench_expect_ok(arg, SPAN(sign_update));
    }
    return r;
}

static int library_signatures(void *arg, unsigned n) {
    unsigned char sig[80];

    while (n-- > 0) {
        size_t len = sizeof sig;

        if (EVP_PKEY_sign(arg, sig, &len, sign_update + 7, 32) != 1)
            return TB_ECRYPTO;
    }
    return 0;
}

static EVP_PKEY_CTX *library_key(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;

    EVP_PKEY_free(key);
    if (ctx && EVP_PKEY_sign_init(ctx) != 1) {
        EVP_PKEY_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

enum {
    BARE_UNIX,
    MODEM_UNIX,
    CHAIN_UNIX,
    BARE_PTY,
    MODEM_PTY,
    CHAIN_PTY,
    ECHO_VPCD,
    CARD_VPCD,
    CARD_MEMORY,
    CARD_PCSC,
    N_LINKS
};

/* A bare modem with an echo card, over "unix" or "pty". */
static int open_bare(const char *kind, struct bench_link *l) {
    char both[256], dialled[32], *at;
    char text[8];
    int r;

    snprintf(text, sizeof text, "%s", kind);
    r = bench_peer(bench_bare_modem, text, both, sizeof both);
    if (r < 0)
        return r;
    at = strchr(both, ' ');
    *at++ = 0;
    r = bench_peer(bench_echo_card_dial, both, dialled, sizeof dialled);
    if (r < 0)
        return r;
    *l = (struct bench_link){.fd = bench_dial(at), .is_at = 1};
    return l->fd < 0 ? l->fd : 0;
}

/* A card in the reader of a pcscd of our own. */
static int open_pcsc(struct bench_link *l) {
    char addr[64], ctl[128];
    int r = bench_pcsc_start(addr, sizeof addr);

    if (r == 0)
        r = bench_card_dial(addr, ctl, sizeof ctl);
    if (r == 0)
        r = bench_pcsc_connect();
    *l = (struct bench_link){.call = bench_pcsc_exchange};
    return r;
}

static int open_links(struct bench_link *l, bool with_pcsc, struct bench_memory_card **ret_memory) {
    struct bench_modem echo = {0}, real = {0};
    char echo_addr[64], card_addr[64], card_ctl[128];
    int r;

    r = open_bare("unix", &l[BARE_UNIX]);
    if (r == 0)
        r = open_bare("pty", &l[BARE_PTY]);
    if (r == 0)
        r = bench_modem_start("echo", false, &echo);
    if (r == 0)
        r = bench_modem_start("real", true, &real);
    if (r == 0)
        r = bench_link_open(&l[MODEM_UNIX], echo.at_unix, 1);
    if (r == 0)
        r = bench_link_open(&l[MODEM_PTY], echo.at_pty, 1);
    if (r == 0)
        r = bench_link_open(&l[CHAIN_UNIX], real.at_unix, 1);
    if (r == 0)
        r = bench_link_open(&l[CHAIN_PTY], real.at_pty, 1);
    if (r == 0)
        r = bench_peer(bench_echo_card_listen, NULL, echo_addr, sizeof echo_addr);
    if (r == 0)
        r = bench_link_open(&l[ECHO_VPCD], echo_addr, 0);
    if (r == 0)
        r = bench_card_start(card_addr, sizeof card_addr, card_ctl, sizeof card_ctl);
    if (r == 0)
        r = bench_link_open(&l[CARD_VPCD], card_addr, 0);
    if (r == 0)
        r = bench_memory_card_new(ret_memory);
    if (r == 0 && with_pcsc)
        r = open_pcsc(&l[CARD_PCSC]);
    if (r < 0)
        return r;
    l[CARD_MEMORY] = (struct bench_link){.call = bench_memory_card_exchange, .arg = *ret_memory};
    /* Readers power a card before they use it; modem and pcscd do so by themselves. */
    r = bench_vpcd_power_on(l[CARD_VPCD].fd);
    for (int i = 0; i < N_LINKS && r == 0; i++)
        if (i == CHAIN_UNIX || i == CARD_VPCD || i == CARD_MEMORY || (i == CARD_PCSC && with_pcsc))
            r = bench_expect_ok(&l[i], SPAN(select_applet));
    return r;
}

static int measure_exchanges(const struct bench_options *o, struct bench_link *l,
                             const char *no_pcsc, json_t *report) {
    /* 25 exchanges per second are what Nagle's algorithm against delayed acknowledgements leaves of
     * a link: Debian's vpcd provokes it. */
    struct bench_variant v[] = {
        {"the card's engine, in memory", exchanges, &l[CARD_MEMORY], .against = -1},
        {"vpcd TCP: echo card", exchanges, &l[ECHO_VPCD], .against = -1},
        {"vpcd TCP: sim-card", exchanges, &l[CARD_VPCD], .against = 1},
        {"AT Unix socket: bare line modem, echo card", exchanges, &l[BARE_UNIX], .against = -1},
        {"AT Unix socket: sim-modem, echo card", exchanges, &l[MODEM_UNIX], 3, .floor = 0.60},
        {"AT Unix socket: sim-modem, sim-card", exchanges, &l[CHAIN_UNIX], .against = 3},
        {"AT pty: bare line modem, echo card", exchanges, &l[BARE_PTY], .against = -1},
        {"AT pty: sim-modem, echo card", exchanges, &l[MODEM_PTY], .against = 6},
        {"AT pty: sim-modem, sim-card", exchanges, &l[CHAIN_PTY], .against = 6},
        {"PC/SC: pcscd, Debian's vpcd, sim-card", exchanges, &l[CARD_PCSC], 2, .least = 100},
    };
    size_t n = sizeof v / sizeof *v - (no_pcsc ? 1 : 0);
    int r = bench_measure(o, v, n);

    if (r < 0)
        return r;
    bench_report_table(report, "APDU exchanges (READ FILE, 9 bytes out, 70 bytes in)", v, n);
    if (no_pcsc)
        bench_report_missing(report, v[n].name, no_pcsc);
    return 0;
}

static int measure_signatures(const struct bench_options *o, struct bench_link *l,
                              const char *no_pcsc, json_t *report) {
    EVP_PKEY_CTX *key = library_key();
    struct bench_variant v[] = {
        {"OpenSSL: EVP_PKEY_sign, P-256", library_signatures, key, .against = -1},
        {"the card's engine, in memory", signatures, &l[CARD_MEMORY], .against = 0},
        {"vpcd TCP: sim-card", signatures, &l[CARD_VPCD], .against = 0, .floor = 0.35},
        {"AT Unix socket: sim-modem, sim-card", signatures, &l[CHAIN_UNIX], .against = 0},
        {"PC/SC: pcscd, Debian's vpcd, sim-card", signatures, &l[CARD_PCSC], .against = 0},
    };
    size_t n = sizeof v / sizeof *v - (no_pcsc ? 1 : 0);
    int r = key ? bench_measure(o, v, n) : TB_ECRYPTO;

    if (r == 0)
        bench_report_table(report, "Signatures (COMPUTE SIGNATURE INIT and UPDATE)", v, n);
    EVP_PKEY_CTX_free(key);
    return r;
}

int bench_apdu(const struct bench_options *o, json_t *report) {
    struct bench_memory_card *memory = NULL;
    struct bench_link l[N_LINKS];
    const char *no_pcsc = NULL;
    int r;

    (void)bench_pcsc_enter(&no_pcsc);
    r = open_links(l, !no_pcsc, &memory);
    if (r < 0)
        fprintf(stderr, "iot-bench: the peers could not be set up: %s\n", tb_strerror(r));
    if (r == 0)
        r = measure_exchanges(o, l, no_pcsc, report);
    if (r == 0)
        r = measure_signatures(o, l, no_pcsc, report);
    bench_pcsc_close();
    bench_memory_card_free(memory);
    return r;
}
