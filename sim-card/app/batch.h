#pragma once
/* A batch: what a SIM supplier is ordered to make (docs/factory.md), as a person wrote it. */
#include <stdbool.h>

#include "factory.h"
#include "tb/transport_key.h"

enum { BATCH_MAX = 100000, BATCH_DIGITS = 32, BATCH_CONTAINERS = 16 };

enum batch_fill {
    BATCH_CERTIFICATE, /* a key and a certificate of the issuer */
    BATCH_KEY,         /* a key; who gets the output file certifies it */
    BATCH_EMPTY,       /* nothing: filled later */
};

/* [container ID:FILE] or [container ID] */
struct batch_container {
    char name[84];
    uint8_t key[20], file[20];
    size_t key_n, file_n;
    enum batch_fill fill;
    bool fill_given, bootstrap;
};

struct batch {
    char *path, *order, *vendor, *card, *iccid, *imsi, *msisdn, *eid, *label;
    char *issuer_cert, *issuer_key, *server_ca;
    char **set; /* NULL-terminated NAME=VALUE */
    size_t set_n;
    unsigned count;
    struct batch_container containers[BATCH_CONTAINERS];
    size_t containers_n;
};

/* Reads it. Paths in it are relative to its folder. Wiped and freed by batch_done(), also after an
 * error. */
int batch_read(const char *path, struct batch *ret, struct tb_error *e) TB_CHECKED;
void batch_done(struct batch *b);

/* Completes and checks first numbers: "x" as the last digit of an ICCID (or the last two, "xx", of
 * an EID) is computed; and whether count cards have numbers. */
int batch_check(struct batch *b, struct tb_error *e) TB_CHECKED;

/* The numbers of the i-th card; "" where the batch has none. */
struct batch_numbers {
    char iccid[BATCH_DIGITS + 1], imsi[BATCH_DIGITS + 1], msisdn[BATCH_DIGITS + 1],
        eid[BATCH_DIGITS + 1];
};
void batch_numbers(const struct batch *b, unsigned i, struct batch_numbers *ret);

/* The card file with what the batch says about containers. */
int batch_apply(const struct batch *b, struct cardfile *f, struct tb_error *e) TB_CHECKED;
/* What the batch says about a container by its key's id; NULL: nothing. */
const struct batch_container *batch_container(const struct batch *b, struct tb_span key);
