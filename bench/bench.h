#pragma once
/* What the benchmarks share: rates measured in turns, daemons and echo peers as children, tables of
 * results.
 *
 * A figure is only told together with what it is compared to, measured in the same run: absolute
 * rates of a machine shared with others are noise. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hist.h"
#include "tb/error.h"

struct bench_case;

enum { BENCH_MAX_ROUNDS = 64, BENCH_STACK_ANY = -1 };

struct bench_options {
    double seconds; /* of one variant in one round */
    unsigned rounds;
    bool one_cpu;        /* everything on one CPU: no wake-ups of idle CPUs in the figures */
    bool check;          /* a broken promise is a failure */
    const char *json;    /* file, or NULL */
    const char *html;    /* folder, or NULL */
    const char *command; /* as it was given; for the report */
    unsigned devices;    /* fleet */
    unsigned sessions;   /* concurrency: the largest crowd */
    int stack;           /* fleet, concurrency: BENCH_STACK_ANY, 0 OpenSSL, 1 Mbed TLS */
    const char *filter;  /* handshake: NULL for the default selection */
    bool everything;     /* handshake: the whole matrix */
};

/* One variant: fn does n operations and returns 0, or negative. */
struct bench_variant {
    const char *name; /* at most BENCH_NAME_MAX characters */
    int (*fn)(void *arg, unsigned n);
    void *arg;
    int against;                 /* index of the variant it is compared to, -1: none */
    double floor;                /* the ratio the project promises, 0: none */
    double least;                /* the rate it promises, 0: none */
    const struct bench_case *is; /* handshake: which; for the JSON */
    struct bench_hist *times;    /* of single operations, filled by fn; NULL: not told */
    /* results, medians of the rounds */
    double rate, low, high; /* operations per second; worst and best round */
    double cpu_us, all_us;  /* CPU per operation: of this process; of all that the run started */
    double ratio;           /* to variant `against`, round by round */
    double p50_us, p99_us;  /* of times */
};
enum { BENCH_NAME_MAX = 44 };

/* Runs all variants, taking turns, round after round. Returns 0, or the first error (named on
 * stderr). */
int bench_measure(const struct bench_options *o, struct bench_variant *v, size_t n);

/* What one variant did in one round; for benchmarks that take turns in their own way. */
struct bench_round {
    uint64_t operations, ns, cpu_self, cpu_all;
};
/* Fills the results of v; against: the rounds of the one it is compared to, or NULL. */
void bench_summarise(struct bench_variant *v, const struct bench_round *rounds,
                     const struct bench_round *against, size_t n);
/* On a terminal: step (from 0) of so many; steps 0: nothing any more. */
void bench_progress(size_t step, size_t steps);

/* ---- report (report.c): to stdout as tables, and into one JSON object ---- */

/* A new report, with where and how it was measured; prints its head. */
json_t *bench_report_new(const char *name, const struct bench_options *o);
void bench_report_table(json_t *report, const char *title, const struct bench_variant *v, size_t n);
/* A row that could not be measured on this machine. */
void bench_report_missing(json_t *report, const char *name, const char *reason);
/* A promise that is no ratio between rows: told, and counted when it is broken. */
void bench_report_promise(json_t *report, bool kept, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
unsigned bench_report_broken(void); /* promises so far */
/* Before the children end: what else the machine did meanwhile. */
void bench_report_end(json_t *report);
int bench_report_write(const json_t *report, const char *file);
/* The report as one page that needs nothing else, dir/BENCHMARK.html; makes dir. html.c, plot.c */
int bench_report_html(const json_t *report, const char *dir);

/* ---- children: all end with this process ---- */

/* Starts a program of the build with --ready-fd; returns its ready line as a new object, or NULL
 * (told on stderr). */
json_t *bench_daemon(const char *const *argv);
/* Forks fn(arg) as a peer; fn writes its address as one line to fd. Returns the address in ret (cap
 * bytes) and the pid. */
int bench_peer(void (*fn)(int fd, void *arg), void *arg, char *ret, size_t cap);
/* What a child does first after fork(): it dies with this process. */
void bench_child_begins(int signal_at_death);
/* The child ends with the others, and its CPU time counts. */
void bench_child(pid_t pid);
pid_t bench_last_child(void);
/* The CPU time of a child's children counts, too. */
void bench_count_children_of(pid_t pid);
/* CPU time of this process, and of it and all children, in nanoseconds. */
uint64_t bench_cpu_self(void);
uint64_t bench_cpu_all(void);
/* Ends all children and reaps them. */
void bench_children_end(void);
/* Runs a program to its end; 0 when it exits with 0. */
int bench_tool(const char *const *argv);
const char *bench_program(const char *name, char *dst, size_t cap); /* beside this one */
const char *bench_dir(void); /* a folder of this run, removed at exit */
void bench_pin(bool one_cpu);

/* SIGINT, SIGTERM and SIGHUP make everything that waits fail, so that the run ends in order. */
void bench_catch_signals(void);
int bench_caught_signal(void); /* 0: none */

/* ---- sockets ---- */
int bench_dial(const char *addr);      /* "127.0.0.1:1", "unix:/path" or "/dev/pts/1": blocking
                                          descriptor or negative */
uint16_t bench_port(const char *addr); /* what follows the last colon */
int bench_listen(bool unix_socket, char *ret_addr, size_t cap); /* blocking listening descriptor */
/* Reads from a card counters verb: apdus, bytes_in, bytes_out, sign. */
int bench_card_counters(const char *ctl, json_t **ret);

/* Clients whose rates are compared have to agree on the same things with their servers: prints
 * what, TB_EPROTO if not. */
int bench_same(const char *what, const char *const *negotiated, size_t n);

int bench_apdu(const struct bench_options *o, json_t *report);
int bench_handshake(const struct bench_options *o, json_t *report);
int bench_hub(const struct bench_options *o, json_t *report);
int bench_concurrency(const struct bench_options *o, json_t *report);
int bench_fleet(const struct bench_options *o, json_t *report);
