#pragma once
/* What the benchmarks share: rates measured in interleaved rounds, daemons and echo peers as
 * children, one table of results.
 *
 * A figure is only told together with what it is compared to, measured in the same run: absolute
 * rates of a machine shared with others are noise. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tb/error.h"

struct bench_options {
    double seconds; /* of one round of one variant */
    unsigned rounds;
    bool one_cpu;     /* everything on one CPU: no wake-ups of idle CPUs in the figures */
    const char *json; /* file, or NULL */
};

/* One variant: fn does n operations and returns 0, or negative. */
struct bench_variant {
    const char *name;
    int (*fn)(void *arg, unsigned n);
    void *arg;
    int against;  /* index of the variant it is compared to, -1: none */
    double floor; /* the ratio the project promises, 0: none */
    /* results */
    double rate; /* median of the rounds, operations per second */
    double low, high;
    double cpu_us; /* this process's CPU per operation */
    double ratio;  /* median of the rounds' ratios to variant `against` */
};

/* Runs all variants in turn, round after round. Returns 0, or the first error (named on stderr). */
int bench_measure(const struct bench_options *o, struct bench_variant *v, size_t n);

/* Prints the table and adds it to *report (a JSON array). */
void bench_print(const char *title, const struct bench_variant *v, size_t n, json_t *report);

/* ---- children: all end with this process ---- */

/* Starts a program of the build with --ready-fd; returns its ready line as a new object, or NULL
 * (told on stderr). */
json_t *bench_daemon(const char *const *argv);
/* Forks fn(arg) as a peer; fn writes its address as one line to fd. Returns the address in ret (cap
 * bytes) and the pid. */
int bench_peer(void (*fn)(int fd, void *arg), void *arg, char *ret, size_t cap);
/* Ends all children and reaps them. */
void bench_children_end(void);
/* Runs a program to its end; 0 when it exits with 0. */
int bench_tool(const char *const *argv);
const char *bench_program(const char *name, char *dst, size_t cap); /* beside this one */
const char *bench_dir(void); /* a folder of this run, removed at exit */
void bench_pin(bool one_cpu);

/* ---- sockets ---- */
int bench_dial(const char *addr); /* "127.0.0.1:1", "unix:/path" or "/dev/pts/1": blocking
                                     descriptor or negative */
int bench_listen(bool unix_socket, char *ret_addr, size_t cap); /* blocking listening descriptor */
/* Reads from a card counters verb: apdus, bytes_in, bytes_out, sign. */
int bench_card_counters(const char *ctl, json_t **ret);

int bench_apdu(const struct bench_options *o, json_t *report);
int bench_handshake(const struct bench_options *o, json_t *report);
