/* bench fleet: many devices in one process, each with a card of its own behind a modem of its own,
 * and what each keeps in memory: while it is not connected, and what a session adds. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bed.h"
#include "bench.h"
#include "client.h"
#include "device.h"
#include "server.h"
#include "session.h"
#include "simcard/card.h"
#include "sizes.h"

enum { AT_ONCE = 8, PROMISED_KIB = 100, CONNECTED = 1000, ROOM = 2048 };

struct device {
    struct bench_device sim;
    struct dev_card *card;
    struct dev_session *application; /* as iot-device has it while there is nothing to do */
    struct bench_client client;
    struct dev_task session;
    struct dev_channel *channel;
    struct fleet *fleet;
};

struct fleet {
    uv_loop_t loop;
    struct device *all;
    unsigned n, connect;
    enum dev_stack stack;
    struct bench_factory *factory;
    struct bench_tls_files server_files;
    char server[64];
    pid_t server_pid;
    struct tb_span ca;
    /* sessions */
    unsigned started, connected, over;
    bool leave;
    int result; /* the first failure */
};

/* ---- what makes a device ---- */

static int make_card(struct fleet *f, struct device *d) {
    struct card_nvm *nvm;
    int r = bench_factory_make(f->factory, (unsigned)(d - f->all), &nvm);

    return r == 0 ? bench_device_card(&d->sim, nvm) : r;
}

static int make_modem(struct fleet *f, struct device *d) {
    (void)f;
    return bench_device_modem(&d->sim);
}

/* Reads the certificate from the card, as iot-device does: its TLS is then ready to connect. */
static int make_tls(struct fleet *f, struct device *d) {
    const struct iotsafe_ref key = iotsafe_id1(1), certificate = iotsafe_id1(2);
    struct dev_failure why = {0};
    uint8_t *der = NULL;
    size_t n = 0;
    int r = dev_card_read_file(d->card, &certificate, &der, &n, &why);

    if (r == 0)
        r = dev_tls_new(&(struct dev_tls_config){.stack = f->stack,
                                                 .versions = DEV_TLS13,
                                                 .server_name = "localhost",
                                                 .ca = f->ca,
                                                 .cert = tb_span(der, n),
                                                 .key = &key,
                                                 .card = d->card},
                        &d->client.tls, &why);
    free(der);
    if (r < 0)
        fprintf(stderr, "iot-bench: device %u: %s\n", (unsigned)(d - f->all), why.reason);
    return r;
}

static int tls_job(struct dev_task *t, void *arg) {
    struct device *d = arg;

    (void)t;
    return make_tls(d->fleet, d);
}

/* No application runs: none of these is called. */
static const struct dev_session_ops session_ops = {0};

static int make_device(struct fleet *f, struct device *d) {
    struct iotsafe_transport *link;
    struct tb_error e = {0};
    int r = bench_link_memory(&d->sim, BENCH_CSIM, NULL, &link);

    if (r == 0)
        r = dev_card_new_on(link, NULL, &d->card, &e);
    d->fleet = f;
    d->client.server = f->server;
    if (r == 0)
        d->application = dev_session_new(&f->loop, d->card, &session_ops, d);
    return r == 0 ? bench_run_task(&f->loop, tls_job, d) : r;
}

static void on_session_closed(void *user) {
    struct device *d = user;

    d->application = NULL;
}

static void unmake(struct device *d) {
    if (d->application)
        dev_session_close(d->application, on_session_closed);
    while (d->application)
        uv_run(&d->fleet->loop, UV_RUN_ONCE);
    dev_tls_free(d->client.tls);
    dev_card_free(d->card);
    bench_device_done(&d->sim);
}

/* ---- sessions ---- */

static void start_next(struct fleet *f);

static void session(struct dev_task *t, void *arg) {
    struct device *d = arg;
    struct fleet *f = d->fleet;
    int r = bench_client_open(&d->client, t, &d->channel);

    if (r < 0) {
        f->result = f->result ? f->result : r;
        f->leave = true;
        uv_stop(&f->loop);
        return;
    }
    f->connected++;
    start_next(f);
    if (f->connected == f->connect)
        uv_stop(&f->loop);
    while (!f->leave)
        if (dev_task_wait(t, 0) < 0)
            break;
    d->channel->ops->close(d->channel, true);
}

static void session_over(struct dev_task *t, void *arg) {
    struct device *d = arg;

    (void)t;
    if (++d->fleet->over == d->fleet->started)
        uv_stop(&d->fleet->loop);
}

static void start_next(struct fleet *f) {
    struct device *d = &f->all[f->started];

    if (f->leave || f->started == f->connect)
        return;
    f->started++;
    if (dev_task_start(&d->session, &f->loop, session, session_over, d) < 0)
        abort(); /* out of memory */
}

static int connect_all(struct fleet *f) {
    for (unsigned i = 0; i < AT_ONCE; i++)
        start_next(f);
    while (f->connected < f->connect && f->result == 0) {
        uv_run(&f->loop, UV_RUN_DEFAULT);
        if (bench_caught_signal())
            f->result = TB_ECLOSED;
    }
    return f->result;
}

static void leave_all(struct fleet *f) {
    f->leave = true;
    for (unsigned i = 0; i < f->started; i++)
        dev_task_cancel(&f->all[i].session);
    while (f->over < f->started)
        uv_run(&f->loop, UV_RUN_DEFAULT);
}

/* ---- measuring ---- */

/* What a step cost, for all n devices. */
struct step {
    const char *name;
    double kib, allocated_kib; /* per device */
    uint64_t ns, cpu_ns;
};

static int take_step(struct fleet *f, int (*fn)(struct fleet *f, struct device *d),
                     struct step *s) {
    double before = 0, after = 0, allocated = bench_allocated_kib();
    uint64_t began = tb_clock_mono_ns(), cpu = bench_cpu_self();
    int r = bench_private_kib(getpid(), &before);

    for (unsigned i = 0; i < f->n && r == 0; i++)
        r = bench_caught_signal() ? TB_ECLOSED : fn(f, &f->all[i]);
    s->ns = tb_clock_mono_ns() - began;
    s->cpu_ns = bench_cpu_self() - cpu;
    if (r == 0)
        r = bench_private_kib(getpid(), &after);
    if (r < 0)
        return r;
    s->kib = (after - before) / f->n;
    s->allocated_kib = (bench_allocated_kib() - allocated) / f->n;
    return 0;
}

/* How fast the devices were made and connected. */
static struct bench_variant rate_of(const char *name, double n, uint64_t ns, uint64_t cpu_ns) {
    double rate = n * 1e9 / (double)ns, cpu_us = (double)cpu_ns / 1e3 / n;

    return (struct bench_variant){.name = name,
                                  .against = -1,
                                  .rate = rate,
                                  .low = rate,
                                  .high = rate,
                                  .cpu_us = cpu_us,
                                  .all_us = cpu_us};
}

enum { CARD, MODEM, DEVICE, N_STEPS };

static int idle(struct fleet *f, json_t *report, struct bench_variant rates[N_STEPS]) {
    static int (*const fns[N_STEPS])(struct fleet *, struct device *) = {make_card, make_modem,
                                                                         make_device};
    struct step s[N_STEPS] = {{.name = "card: personalised and powered, a key of its own"},
                              {.name = "modem: one AT port, its card booted and read"},
                              {.name = "device: card client, session, TLS ready to connect"}};
    static const char *const made[N_STEPS] = {"cards personalised", "modems booted",
                                              "devices set up, certificates read"};
    double sum = 0, allocated = 0;
    int r = 0;

    for (int i = 0; i < N_STEPS && r == 0; i++) {
        r = take_step(f, fns[i], &s[i]);
        if (r < 0)
            return r;
        bench_tell_size(report, s[i].name, s[i].kib);
        rates[i] = rate_of(made[i], f->n, s[i].ns, s[i].cpu_ns);
        sum += s[i].kib;
        allocated += s[i].allocated_kib;
    }
    bench_tell_size(report, "together, not connected", sum);
    bench_tell_size(report, "of it allocated (the rest is the allocator's)", allocated);
    bench_report_promise(report, sum <= PROMISED_KIB,
                         "card, modem and device not connected: at most %d KiB", PROMISED_KIB);
    return 0;
}

static int sessions(struct fleet *f, json_t *report, struct bench_variant *rate) {
    double here[2] = {0}, there[2] = {0};
    uint64_t began, cpu;
    int r = bench_private_kib(getpid(), &here[0]);

    if (r == 0)
        r = bench_private_kib(f->server_pid, &there[0]);
    began = tb_clock_mono_ns();
    cpu = bench_cpu_self();
    if (r == 0)
        r = connect_all(f);
    *rate = rate_of("sessions opened, 8 at a time", f->connect, tb_clock_mono_ns() - began,
                    bench_cpu_self() - cpu);
    if (r == 0)
        r = bench_private_kib(getpid(), &here[1]);
    if (r == 0)
        r = bench_private_kib(f->server_pid, &there[1]);
    leave_all(f);
    if (r < 0)
        return r;
    bench_tell_size(report, "a TLS 1.3 session on top: fiber, stream, channel",
                    (here[1] - here[0]) / f->connect);
    bench_tell_size(report, "the same session at a bare OpenSSL server",
                    (there[1] - there[0]) / f->connect);
    return 0;
}

/* The daemons, for comparison: a process each. */
static int processes(json_t *report) {
    struct bench_modem modem;
    double modem_kib = 0, card_kib = 0;
    int r = bench_modem_start("memory", true, &modem);

    if (r == 0)
        r = bench_private_kib(modem.modem_pid, &modem_kib);
    if (r == 0)
        r = bench_private_kib(modem.card_pid, &card_kib);
    if (r < 0)
        return r;
    bench_size_group("As processes of their own");
    bench_tell_size(report, "process sim-card, pages of its own", card_kib);
    bench_tell_size(report, "process sim-modem, pages of its own", modem_kib);
    return 0;
}

/* ---- the fleet ---- */

static int start(struct fleet *f) {
    static struct bench_server server;
    int r = bench_factory_new(&f->factory), n;
    uint8_t *der = NULL;

    if (r == 0)
        r = bench_tls_issue("server", &bench_tls_localhost, &server.files);
    if (r == 0)
        r = bench_peer(bench_server_run, &server, f->server, sizeof f->server);
    if (r < 0)
        return r;
    f->server_pid = bench_last_child();
    n = i2d_X509(bench_ca()->cert, &der);
    f->ca = tb_span(der, n > 0 ? (size_t)n : 0);
    f->all = calloc(f->n, sizeof *f->all);
    if (!f->all)
        abort();
    return uv_loop_init(&f->loop);
}

/* The libraries' own tables are made by the first device and are not part of any. */
static int warm_up(struct fleet *f) {
    struct fleet one = *f;
    struct device d = {0};
    int r;

    one.all = &d;
    one.n = one.connect = 1;
    uv_loop_init(&one.loop);
    r = make_card(&one, &d);
    if (r == 0)
        r = make_modem(&one, &d);
    if (r == 0)
        r = make_device(&one, &d);
    if (r == 0)
        r = connect_all(&one);
    leave_all(&one);
    uv_run(&one.loop, UV_RUN_DEFAULT);
    unmake(&d);
    uv_loop_close(&one.loop);
    return r;
}

static int run(struct fleet *f, json_t *report) {
    struct bench_variant rates[N_STEPS + 1];
    int r = warm_up(f);

    bench_size_group("Memory per device, %u devices in one process", f->n);
    if (r == 0)
        r = idle(f, report, rates);
    bench_size_group("Memory per session, %u devices connected", f->connect);
    if (r == 0)
        r = sessions(f, report, &rates[N_STEPS]);
    if (r == 0)
        r = processes(report);
    if (r == 0)
        bench_report_table(report, "Making them, one thread", rates, N_STEPS + 1);
    return r;
}

int bench_fleet(const struct bench_options *o, json_t *report) {
    struct fleet f = {.n = o->devices,
                      .stack = o->stack == 1 ? DEV_MBEDTLS : DEV_OPENSSL,
                      .connect = o->devices < CONNECTED ? o->devices : CONNECTED};
    int r;

    r = start(&f);
    if (r == 0)
        r = run(&f, report);
    if (f.all) {
        for (unsigned i = 0; i < f.n; i++)
            unmake(&f.all[i]);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        uv_loop_close(&f.loop);
    }
    free(f.all);
    OPENSSL_free((void *)(uintptr_t)f.ca.p);
    bench_factory_free(f.factory);
    if (r < 0)
        fprintf(stderr, "iot-bench: %s\n", tb_strerror(r));
    return r;
}
