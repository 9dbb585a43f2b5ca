#pragma once
/* The axes of bench handshake, which of their combinations there are, and which are wanted. */
#include <stdbool.h>
#include <stddef.h>

#include "tb/error.h"

enum bench_stack { STACK_OPENSSL, STACK_MBEDTLS, STACK_MODULE, N_STACKS };
enum bench_version { VERSION_TLS13, VERSION_TLS12, VERSION_DTLS12, N_VERSIONS };
enum bench_credential { CREDENTIAL_CERT, CREDENTIAL_PSK, CREDENTIAL_ECDHE_PSK, N_CREDENTIALS };
enum bench_transport {
    TRANSPORT_SOFTWARE, /* no card: what the others are compared to */
    TRANSPORT_MEMORY,
    TRANSPORT_VPCD,
    TRANSPORT_CSIM,
    TRANSPORT_CGLA,
    TRANSPORT_PCSC,
    N_TRANSPORTS
};
enum bench_offload { OFFLOAD_NONE, OFFLOAD_SIGN, OFFLOAD_FULL, N_OFFLOADS };

struct bench_case {
    enum bench_stack stack;
    enum bench_version version;
    enum bench_credential credential;
    enum bench_transport transport;
    enum bench_offload offload;
};

enum { BENCH_AXES = 5 };
/* Names of axes and of a case's values, as filters and JSON have them: "stack", "openssl" … */
const char *bench_axis_name(unsigned axis);
const char *bench_axis_value(const struct bench_case *c, unsigned axis);
/* For people: "OpenSSL, TLS 1.3, certificate" and "AT+CSIM, full offload". */
const char *bench_group_label(const struct bench_case *c, char *dst, size_t cap);
const char *bench_case_label(const struct bench_case *c, char *dst, size_t cap);

/* Why the combination cannot be, NULL when it can. */
const char *bench_case_impossible(const struct bench_case *c);

/* What is wanted: the default selection, all, or what a filter leaves of all:
 * "stack=mbedtls,version=1.3|1.2"; an axis that is not named is free. */
struct bench_wanted {
    bool everything;
    unsigned values[BENCH_AXES]; /* bits; 0: all */
};
/* TB_EPARSE with *e filled when text is no filter. */
int bench_wanted_parse(struct bench_wanted *w, const char *text, struct tb_error *e);
/* Possible and wanted. The software key of a group is when anything else of the group is. */
bool bench_case_wanted(const struct bench_wanted *w, const struct bench_case *c);
