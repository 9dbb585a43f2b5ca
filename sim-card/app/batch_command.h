#pragma once
/* sim-card personalise --batch. */
#include <stdbool.h>

#include "tb/error.h"

struct card_batch_options { /* the texts belong to the command line */
    char *batch, *kek, *signer_cert, *signer_key, *stores, *operator_file;
    const char *card, *out;
    unsigned count, jobs;
    bool no_stores, force;
};

/* What is wrong about the command line; NULL: nothing. */
const char *card_batch_wrong(const struct card_batch_options *opt);
/* Makes the batch and says so on standard error. */
int card_batch(const struct card_batch_options *opt, struct tb_error *e) TB_CHECKED;
