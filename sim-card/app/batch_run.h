#pragma once
/* Makes the cards of a batch with all cores. */
#include "batch.h"

struct batch_options {
    const char *out, *stores, *operator_file, *signer_cert, *signer_key;
    const struct tb_kek *kek; /* or NULL */
    unsigned jobs;            /* threads; 0: as many as there are cores */
    bool force, progress;
};

struct batch_report {
    unsigned cards;
    double seconds;
};

/* All or nothing: the output file has its name when everything is there. */
int batch_run(const struct batch *b, const struct batch_options *opt, struct batch_report *ret,
              struct tb_error *e) TB_CHECKED;
