/* iot-bench: handshake and APDU benchmarks. Each prints what it compares itself with, measured in
 * the same run. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "matrix.h"
#include "tb/cli.h"

static const struct {
    const char *name, *help;
    int (*fn)(const struct bench_options *o, json_t *report);
    double seconds; /* defaults */
    unsigned rounds;
    bool one_cpu; /* what ping-pongs is measured without the wake-ups of idle CPUs */
} benches[] = {
    {"apdu",
     "APDU exchanges and card signatures per second on each transport, against bare echoes and the "
     "bare library",
     bench_apdu, 0.3, 7, true},
    {"handshake",
     "TLS handshakes with the key in the card against a software key; APDUs and bytes per "
     "handshake",
     bench_handshake, 0.3, 5, true},
    {"concurrency",
     "Handshakes of up to 1000 sessions in one thread whose cards need 100 ms for an operation, "
     "against cards that need no time",
     bench_concurrency, 1, 3, true},
    {"fleet",
     "What 10000 devices in one process keep in memory: card, modem, device; and what a session "
     "adds",
     bench_fleet, 0, 0, false},
    {"hub",
     "Connections per second that iot-hub takes, against mosquitto with its own TLS and bare "
     "OpenSSL",
     bench_hub, 0.5, 7, false},
};

enum {
    N_BENCHES = sizeof benches / sizeof benches[0],
    KEY_JSON = 1000,
    KEY_CPUS,
    KEY_ROUNDS,
    KEY_SECONDS,
    KEY_CHECK,
    KEY_HTML,
    KEY_DEVICES,
    KEY_SESSIONS,
    KEY_STACK,
    KEY_FILTER,
    KEY_ALL,
    KEY_QUICK
};

struct arguments {
    struct bench_options o;
    const char *name;
    bool cpus_given;
};

static unsigned number(struct argp_state *state, const char *option, const char *text, unsigned min,
                       unsigned max) {
    char *end;
    unsigned long v = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || v < min || v > max)
        argp_error(state, "%s is a number from %u to %u", option, min, max);
    return (unsigned)v;
}

static error_t parse_one(int key, char *arg, struct argp_state *state) {
    struct arguments *a = state->input;
    struct bench_wanted wanted;
    struct tb_error e = {0};
    char *end;

    switch (key) {
    case KEY_JSON:
        a->o.json = arg;
        break;
    case KEY_CPUS:
        if (strcmp(arg, "one") != 0 && strcmp(arg, "free") != 0)
            argp_error(state, "--cpus is one or free, not '%s'", arg);
        a->o.one_cpu = strcmp(arg, "one") == 0;
        a->cpus_given = true;
        break;
    case KEY_ROUNDS:
        a->o.rounds = number(state, "--rounds", arg, 1, BENCH_MAX_ROUNDS);
        break;
    case KEY_SECONDS:
        a->o.seconds = strtod(arg, &end);
        if (*end || !(a->o.seconds >= 0.01 && a->o.seconds <= 60))
            argp_error(state, "--seconds is a number from 0.01 to 60");
        break;
    case KEY_CHECK:
        a->o.check = true;
        break;
    case KEY_HTML:
        a->o.html = arg;
        break;
    case KEY_DEVICES:
        a->o.devices = number(state, "--devices", arg, 1, 100000);
        break;
    case KEY_SESSIONS:
        a->o.sessions = number(state, "--sessions", arg, 1, 1000);
        break;
    case KEY_STACK:
        if (strcmp(arg, "openssl") != 0 && strcmp(arg, "mbedtls") != 0)
            argp_error(state, "--stack is openssl or mbedtls, not '%s'", arg);
        a->o.stack = strcmp(arg, "mbedtls") == 0;
        break;
    case KEY_FILTER:
        if (bench_wanted_parse(&wanted, arg, &e) < 0)
            argp_error(state, "--filter: %s", e.message);
        a->o.filter = arg;
        break;
    case KEY_ALL:
        a->o.everything = true;
        break;
    case KEY_QUICK:
        a->o.everything = false;
        break;
    case ARGP_KEY_ARG:
        if (a->name)
            argp_error(state, "one benchmark at a time");
        a->name = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* The command as a person would type it again. */
static char *command_line(int argc, char **argv) {
    size_t n = sizeof "iot-bench", at;
    char *text;

    for (int i = 1; i < argc; i++)
        n += strlen(argv[i]) + 3;
    text = malloc(n);
    if (!text)
        abort();
    at = (size_t)snprintf(text, n, "iot-bench");
    for (int i = 1; i < argc; i++) {
        const char *quote = strpbrk(argv[i], " |*?$&;()<>\"\\") ? "'" : "";

        at += (size_t)snprintf(text + at, n - at, " %s%s%s", quote, argv[i], quote);
    }
    return text;
}

int main(int argc, char **argv) {
    static const struct argp_option options[] = {
        {"json", KEY_JSON, "FILE", 0, "Write the figures as JSON", 0},
        {"cpus", KEY_CPUS, "one|free", 0,
         "Pin everything to one CPU (default for apdu, handshake and concurrency), or leave "
         "placement "
         "to the kernel (default for the others)",
         0},
        {"rounds", KEY_ROUNDS, "N", 0,
         "Rounds; all variants take turns in each (default 7, handshake 5, concurrency 3)", 0},
        {"seconds", KEY_SECONDS, "S", 0,
         "Time of one variant in one round (default hub: 0.5, apdu and handshake: 0.3, "
         "concurrency: 1)",
         0},
        {"stack", KEY_STACK, "openssl|mbedtls", 0,
         "fleet (default openssl) and concurrency (default both): the TLS library", 0},
        {"filter", KEY_FILTER, "AXIS=VALUE[|VALUE],...", 0,
         "handshake: only these, of stack, version, credential, transport, offload", 0},
        {"quick", KEY_QUICK, NULL, 0, "handshake: the selection that takes a minute (default)", 0},
        {"all", KEY_ALL, NULL, 0, "handshake: every combination there is", 0},
        {"devices", KEY_DEVICES, "N", 0, "fleet: devices in the process (default 10000)", 0},
        {"sessions", KEY_SESSIONS, "N", 0,
         "concurrency: the largest number of sessions, 1 to 1000 (default 1000)", 0},
        {"check", KEY_CHECK, NULL, 0, "Exit with 1 when a promise is broken", 0},
        {"html", KEY_HTML, "DIR", 0, "Write a page with tables and plots: DIR/BENCHMARK.html", 0},
        {0}};
    static const struct argp argp = {
        options,
        parse_one,
        "apdu|handshake|concurrency|fleet|hub",
        "Measures the testbed's paths against what any program could do there, in one run.\v"
        "Absolute rates are those of a machine shared with others: compare the ratios.",
        NULL,
        NULL,
        NULL};
    static char *command; /* not lost when argp ends the program */
    struct arguments a = {.o = {.devices = 10000, .sessions = 1000, .stack = BENCH_STACK_ANY}};
    const char *names[N_BENCHES + 1] = {NULL};
    char beside[4096];
    size_t i;
    json_t *report;
    int r;

    argp_err_exit_status = 2;
    argp_program_version = "iot-bench " TB_VERSION;
    bench_catch_signals();
    (void)bench_program("", beside, sizeof beside); /* before a benchmark enters namespaces */
    command = command_line(argc, argv);             /* argp puts it in another order */
    a.o.command = command;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    for (i = 0; i < N_BENCHES; i++)
        names[i] = benches[i].name;
    if (a.name && strcmp(a.name, "memory") == 0) { /* what scripts may still say */
        fprintf(stderr, "iot-bench: memory is part of fleet now; this name will go\n");
        a.name = "fleet";
    }
    for (i = 0; a.name && i < N_BENCHES && strcmp(benches[i].name, a.name) != 0; i++)
        ;
    if (!a.name || i == N_BENCHES) {
        const char *near = a.name ? tb_nearest(a.name, names) : NULL;

        fprintf(stderr, "iot-bench: %s%s%s%s%s\n", a.name ? "no benchmark '" : "which benchmark? ",
                a.name ? a.name : "", a.name ? "'; " : "", near ? "did you mean " : "there is: ",
                near ? near : "apdu, handshake, concurrency, fleet, hub");
        return 2;
    }
    if (a.o.seconds == 0)
        a.o.seconds = benches[i].seconds;
    if (benches[i].rounds == 0 || a.o.rounds == 0)
        a.o.rounds = benches[i].rounds;
    if (!a.cpus_given)
        a.o.one_cpu = benches[i].one_cpu;
    (void)bench_dir(); /* before there are children who would make their own */
    bench_pin(a.o.one_cpu);
    report = bench_report_new(a.name, &a.o);
    r = benches[i].fn(&a.o, report);
    if (r == 0 && a.o.rounds)
        bench_report_end(report);
    if (r == 0 && a.o.json)
        r = bench_report_write(report, a.o.json);
    if (r == 0 && a.o.html)
        r = bench_report_html(report, a.o.html);
    json_decref(report);
    bench_children_end();
    free(command);
    if (bench_caught_signal())
        return 128 + bench_caught_signal();
    if (r < 0)
        return 3;
    return a.o.check && bench_report_broken() ? 1 : 0;
}
