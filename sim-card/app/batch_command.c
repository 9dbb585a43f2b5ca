#include "batch_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "batch_run.h"

const char *card_batch_wrong(const struct card_batch_options *opt) {
    if (!opt->out)
        return "--out is missing: where the batch's output file goes";
    if (!opt->stores == !opt->no_stores)
        return "want --stores DIR for the cards, or --no-stores";
    if (!opt->signer_cert != !opt->signer_key)
        return "--signer-cert and --signer-key belong together";
    return NULL;
}

static int complete(const struct card_batch_options *opt, struct batch *b, struct tb_error *e) {
    int r = batch_read(opt->batch, b, e);

    if (r < 0)
        return r;
    if (opt->card) {
        free(b->card);
        b->card = strdup(opt->card);
        if (!b->card)
            abort();
    }
    if (!b->card)
        return tb_error_set(e, TB_EPARSE, b->path, 0,
                            "no card file: write card = FILE into [batch], or name it");
    if (opt->count > BATCH_MAX)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "--count: at most %d", BATCH_MAX);
    if (opt->count)
        b->count = opt->count;
    return batch_check(b, e);
}

int card_batch(const struct card_batch_options *opt, struct tb_error *e) {
    struct tb_kek kek = {.n = 0};
    struct batch_options how = {.out = opt->out,
                                .stores = opt->stores,
                                .operator_file = opt->operator_file,
                                .signer_cert = opt->signer_cert,
                                .signer_key = opt->signer_key,
                                .kek = opt->kek ? &kek : NULL,
                                .jobs = opt->jobs,
                                .force = opt->force,
                                .progress = isatty(STDERR_FILENO)};
    struct batch_report report;
    struct batch b = {.path = NULL};
    int r = complete(opt, &b, e);

    if (r == 0 && opt->kek)
        r = tb_kek_load(opt->kek, &kek, e);
    if (r == 0)
        r = batch_run(&b, &how, &report, e);
    if (r == 0)
        fprintf(stderr, "%s: %u cards in %.1f s, %.0f cards/s\n", opt->out, report.cards,
                report.seconds, report.cards / report.seconds);
    batch_done(&b);
    tb_wipe(&kek, sizeof kek);
    return r;
}
