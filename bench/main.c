/* iot-bench: handshake and APDU benchmarks. Each prints what it compares itself with, measured in
 * the same run. */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "tb/cli.h"

static const struct {
    const char *name, *help;
    int (*fn)(const struct bench_options *o, json_t *report);
    double seconds;
} benches[] = {
    {"apdu",
     "APDU exchanges and card signatures per second on each transport, against bare echoes and the "
     "bare library",
     bench_apdu, 0.3},
    {"handshake",
     "TLS handshakes with the key in the card against a software key; APDUs and bytes per "
     "handshake",
     bench_handshake, 0.5},
};

enum {
    N_BENCHES = sizeof benches / sizeof benches[0],
    KEY_JSON = 1000,
    KEY_CPUS,
    KEY_ROUNDS,
    KEY_SECONDS
};

struct arguments {
    struct bench_options o;
    const char *name;
    bool cpus_given;
};

static error_t parse_one(int key, char *arg, struct argp_state *state) {
    struct arguments *a = state->input;
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
        a->o.rounds = (unsigned)strtoul(arg, &end, 10);
        if (*end || a->o.rounds < 1 || a->o.rounds > 64)
            argp_error(state, "--rounds is a number from 1 to 64");
        break;
    case KEY_SECONDS:
        a->o.seconds = strtod(arg, &end);
        if (*end || !(a->o.seconds >= 0.01 && a->o.seconds <= 60))
            argp_error(state, "--seconds is a number from 0.01 to 60");
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

static int write_json(const char *file, const char *name, const struct bench_options *o,
                      json_t *report) {
    json_t *all = json_pack("{s:s,s:i,s:f,s:i,s:s,s:O}", "benchmark", name, "time", (int)time(NULL),
                            "seconds", o->seconds, "rounds", (int)o->rounds, "cpus",
                            o->one_cpu ? "one" : "free", "results", report);
    int r = json_dump_file(all, file, JSON_INDENT(2));

    if (r < 0)
        fprintf(stderr, "iot-bench: %s cannot be written\n", file);
    json_decref(all);
    return r;
}

int main(int argc, char **argv) {
    static const struct argp_option options[] = {
        {"json", KEY_JSON, "FILE", 0, "Write the figures as JSON", 0},
        {"cpus", KEY_CPUS, "one|free", 0,
         "Pin everything to one CPU (default for apdu), or leave placement to the kernel (default "
         "for handshake)",
         0},
        {"rounds", KEY_ROUNDS, "N", 0, "Rounds; all variants take turns in each (default 7)", 0},
        {"seconds", KEY_SECONDS, "S", 0, "Length of one variant's turn", 0},
        {0}};
    static const struct argp argp = {
        options,
        parse_one,
        "apdu|handshake",
        "Measures the testbed's paths against what any program could do there, in one run.\v"
        "Absolute rates are those of a machine shared with others: compare the ratios.",
        NULL,
        NULL,
        NULL};
    struct arguments a = {.o = {.rounds = 7}};
    const char *names[N_BENCHES + 1] = {NULL};
    size_t i;
    json_t *report = json_array();
    int r;

    argp_err_exit_status = 2;
    signal(SIGPIPE, SIG_IGN);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    for (i = 0; i < N_BENCHES; i++)
        names[i] = benches[i].name;
    for (i = 0; a.name && i < N_BENCHES && strcmp(benches[i].name, a.name) != 0; i++)
        ;
    if (!a.name || i == N_BENCHES) {
        const char *near = a.name ? tb_nearest(a.name, names) : NULL;

        fprintf(stderr, "iot-bench: %s%s%s%s%s\n", a.name ? "no benchmark '" : "which benchmark? ",
                a.name ? a.name : "", a.name ? "'; " : "",
                near ? "did you mean " : "there is: ", near ? near : "apdu, handshake");
        return 2;
    }
    if (a.o.seconds == 0)
        a.o.seconds = benches[i].seconds;
    if (!a.cpus_given)
        a.o.one_cpu = i == 0;
    bench_pin(a.o.one_cpu);
    printf("%s: %u rounds of %.2f s per variant, %s\n", a.name, a.o.rounds, a.o.seconds,
           a.o.one_cpu ? "all processes on one CPU" : "placement left to the kernel");
    r = benches[i].fn(&a.o, report);
    if (r == 0 && a.o.json)
        r = write_json(a.o.json, a.name, &a.o, report);
    bench_children_end();
    json_decref(report);
    return r < 0 ? 3 : 0;
}
