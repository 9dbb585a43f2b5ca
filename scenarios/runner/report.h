#pragma once
/* Results for people (TTY or plain lines), and JUnit for CI. */
#include <stdbool.h>
#include <stddef.h>

#include "host.h"

struct scn_case { /* one run of one file with one set of matrix values */
    char file[SCN_PATH];
    char name[128]; /* "factory-final[link=csim,tls=1.3]" */
    json_t *parameters;
    struct scn_result result;
    bool ran;
    char folder[SCN_PATH]; /* where its traces are; "" when removed */
};

struct scn_report {
    struct scn_case *cases;
    size_t n;
    bool tty, color, verbose;
    unsigned seed; /* of the scenarios' random numbers */
};

void scn_report_init(struct scn_report *r, bool verbose);
void scn_report_done(struct scn_report *r);
struct scn_case *scn_report_add(struct scn_report *r);

void scn_report_begin(const struct scn_report *r, const struct scn_case *c, size_t index);
void scn_report_step(const struct scn_report *r, const struct scn_case *c, const char *text);
void scn_report_end(const struct scn_report *r, const struct scn_case *c);
/* Prints the sum and returns the exit code of the contract: 0 pass, 1 failed, 3 the bed broke, 77
 * all skipped. */
int scn_report_summary(const struct scn_report *r);
int scn_report_junit(const struct scn_report *r, const char *file, struct tb_error *e) TB_CHECKED;
