/* bench memory: what one simulated device keeps in memory, as an engine of many in one process and
 * as a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bed.h"
#include "bench.h"
#include "simcard/card.h"
#include "simmodem/modem.h"
#include "tb/apdu.h"
#include "tb/hex.h"

enum { N_DEVICES = 256 };

/* One device: a card and, when it has one, its modem. */
struct device {
    struct card_nvm *nvm;
    struct card *card;
    struct modem *modem;
    struct at_channel *te;
    /* what the modem wants of the card, answered when the modem has returned */
    uint8_t command[TB_APDU_MAX_SHORT_CMD];
    size_t n;
    bool pending, atr;
    bool said_ok;
};

/* ---- a modem without a loop ---- */

static void card_command(struct tb_span cmd, void *user) {
    struct device *d = user;

    d->n = cmd.n < sizeof d->command ? cmd.n : sizeof d->command;
    memcpy(d->command, cmd.p, d->n);
    d->pending = true;
    d->atr = false;
}

static void card_power(enum modem_card_power what, void *user) {
    struct device *d = user;

    d->pending = d->atr = what != MODEM_CARD_OFF;
}

static void set_timer(uint64_t ms, void *user) {
    (void)ms;
    (void)user;
}

static uint64_t now_ms(void *user) {
    (void)user;
    return 0;
}

static int64_t wall_ms(void *user) {
    (void)user;
    return 0;
}

static int te_write(struct tb_span bytes, void *user) {
    struct device *d = user;

    d->said_ok = bytes.n >= 4 && memcmp(bytes.p + bytes.n - 4, "OK\r\n", 4) == 0;
    return 1;
}

static void te_ready(void *user) {
    (void)user;
}

static int serve_card(struct device *d) {
    uint8_t room[TB_APDU_MAX_SHORT_RSP];
    int r = 0;

    while (d->pending && r == 0) {
        struct tb_buf rsp = TB_BUF(room);
        struct tb_span answer;

        d->pending = false;
        if (d->atr) {
            r = card_power_on(d->card, &answer);
        } else {
            r = card_transact(d->card, tb_span(d->command, d->n), &rsp);
            answer = tb_buf_span(&rsp);
        }
        if (r == 0)
            modem_card_answer(d->modem, answer);
    }
    return r;
}

static int at(struct device *d, const char *line) {
    int r;

    d->said_ok = false;
    (void)at_channel_input(d->te, tb_span_str(line));
    r = serve_card(d);
    return r < 0 ? r : d->said_ok ? 0 : TB_EPROTO;
}

/* ---- devices ---- */

static int copy_entry(struct tb_span key, struct tb_span value, void *user) {
    struct card_nvm *to = user;

    return to->ops->put(to, key, value);
}

static int make_card(struct card_nvm *store, struct device *d) {
    struct tb_span atr;
    int r;

    d->nvm = card_nvm_mem_new(0);
    r = d->nvm->ops->begin(d->nvm);
    if (r == 0)
        r = store->ops->each(store, copy_entry, d->nvm);
    if (r == 0)
        r = d->nvm->ops->commit(d->nvm);
    if (r == 0) {
        d->card = card_new(&(struct card_config){.nvm = d->nvm}, &r);
        r = d->card ? card_power_on(d->card, &atr) : r;
    }
    return r;
}

/* The applet selected on a logical channel, and a signature made there. */
static int use_card(struct device *d) {
    static const char *const commands[] = {
        "01A4040007A0000005590010", "812A00010D840101A1010391020001920104",
        "812B8001229E200102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20"};
    uint8_t cmd[64], room[TB_APDU_MAX_SHORT_RSP];
    int r = 0;

    for (size_t i = 0; i < sizeof commands / sizeof *commands && r == 0; i++) {
        struct tb_buf out = TB_BUF(cmd), rsp = TB_BUF(room);

        r = tb_hex_decode(tb_span_str(commands[i]), &out);
        if (r == 0)
            r = card_transact(d->card, tb_buf_span(&out), &rsp);
        if (r == 0 && (rsp.n < 2 || room[rsp.n - 2] != 0x90))
            r = TB_ECARD;
    }
    return r;
}

static int make_modem(struct device *d) {
    static const struct modem_ops ops = {.card_command = card_command,
                                         .card_power = card_power,
                                         .set_timer = set_timer,
                                         .now_ms = now_ms,
                                         .wall_ms = wall_ms};
    static const struct at_channel_ops te_ops = {.write = te_write, .ready = te_ready};
    int r = 0;

    d->modem = modem_new(&(struct modem_config){.ops = &ops, .user = d}, &r);
    if (!d->modem)
        return r;
    d->te = at_channel_new(d->modem, "te", 0, &te_ops, d);
    if (!d->te)
        return TB_ENOMEM;
    modem_card_inserted(d->modem);
    r = serve_card(d);
    return r < 0 ? r : at(d, "AT+CSIM=10,\"00B0000000\"\r");
}

static void free_device(struct device *d) {
    modem_free(d->modem); /* and its channel */
    card_free(d->card);
    card_nvm_free(d->nvm);
}

/* ---- sizes ---- */

/* Pages in use of a process that no other process shares. What is allocated and never touched costs
 * nothing. */
static int private_kib(pid_t pid, double *ret) {
    char file[64], line[256];
    unsigned long sum = 0;
    FILE *f;

    snprintf(file, sizeof file, "/proc/%d/smaps_rollup", (int)pid);
    f = fopen(file, "re");
    if (!f)
        return TB_EUNSUP;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "Private_Clean:", 14) == 0 || strncmp(line, "Private_Dirty:", 14) == 0)
            sum += strtoul(line + 14, NULL, 10);
    fclose(f);
    *ret = (double)sum;
    return 0;
}

static void tell(json_t *report, const char *name, double kib) {
    printf("  %-60s %8.1f KiB\n", name, kib);
    json_array_append_new(json_object_get(report, "sizes"),
                          json_pack("{s:s,s:f}", "name", name, "kib", kib));
}

/* step for each device; the pages it left used, per device. */
static int measure(struct device *d, int (*step)(struct device *d), const char *name,
                   json_t *report) {
    double before, after;
    int r = private_kib(getpid(), &before);

    for (size_t i = 0; i < N_DEVICES && r == 0; i++)
        r = bench_caught_signal() ? TB_ECLOSED : step(&d[i]);
    if (r == 0)
        r = private_kib(getpid(), &after);
    if (r == 0)
        tell(report, name, (after - before) / N_DEVICES);
    return r;
}

static struct card_nvm *store; /* a personalised card's */

static int make_one_card(struct device *d) {
    return make_card(store, d);
}

static int engines(json_t *report) {
    struct device *d = calloc(N_DEVICES, sizeof *d), warm = {0};
    int r;

    if (!d)
        abort();
    /* The library's own tables are made by the first one. */
    r = make_card(store, &warm);
    if (r == 0)
        r = use_card(&warm);
    if (r == 0)
        r = measure(d, make_one_card, "card's engine: personalised, powered", report);
    if (r == 0)
        r = measure(d, use_card, "card's engine: more once its applet has signed", report);
    if (r == 0)
        r = measure(d, make_modem, "modem's engine: one AT port, its card booted and read", report);
    free_device(&warm);
    for (size_t i = 0; i < N_DEVICES; i++)
        free_device(&d[i]);
    free(d);
    return r;
}

static int processes(json_t *report) {
    struct bench_modem modem;
    double modem_kib = 0, card_kib = 0;
    int r = bench_modem_start("memory", true, &modem);

    if (r < 0)
        return r;
    r = private_kib(modem.modem_pid, &modem_kib);
    if (r == 0)
        r = private_kib(modem.card_pid, &card_kib);
    if (r < 0)
        return r;
    tell(report, "process sim-card, pages of its own", card_kib);
    tell(report, "process sim-modem, pages of its own", modem_kib);
    return 0;
}

int bench_memory(const struct bench_options *o, json_t *report) {
    int r = bench_card_store(&store);

    (void)o;
    printf("\nMemory per device, %d devices in one process\n", N_DEVICES);
    if (r == 0)
        r = engines(report);
    if (r == 0)
        r = processes(report);
    card_nvm_free(store);
    if (r < 0)
        fprintf(stderr, "iot-bench: %s\n", tb_strerror(r));
    return r;
}
