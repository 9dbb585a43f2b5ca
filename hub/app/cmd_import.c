/* iot-hub import FILE…: what the card factory wrote. */
#include <stdio.h>
#include <string.h>

#include "app/hub.h"

struct options {
    struct tb_cli_common common;
    char *state;
    bool json;
};

static const struct tb_opt options[] = {
    {"state", 's', "DIR", "the hub's folder", TB_OPT_STRING, offsetof(struct options, state), NULL},
    {"json", 0, NULL, "report as one JSON object per file", TB_OPT_FLAG,
     offsetof(struct options, json), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    .program = "iot-hub import",
    .args_doc = "FILE…",
    .doc = "Takes cards, devices, certificates and pre-shared keys into the registry: the output "
           "of \"sim-card "
           "personalise\"."
           "\vA file is taken as a whole or not at all, and may be imported again. - is the "
           "standard input. A running hub"
           " sees the change at once.",
    .opts = options,
};

static json_t *load(const char *file, struct tb_error *e) {
    json_error_t why;
    json_t *batch =
        strcmp(file, "-") == 0 ? json_loadf(stdin, 0, &why) : json_load_file(file, 0, &why);

    if (!batch)
        tb_error_set(e, TB_EPARSE, file, why.line, "%s", why.text);
    return batch;
}

static void print(const char *file, const struct hub_import_report *r, bool json) {
    if (json) {
        json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "file", file, "cards",
                              (int)r->cards, "added", (int)r->added, "unchanged", (int)r->unchanged,
                              "untrusted", (int)r->untrusted, "skipped", (int)r->skipped);

        json_dumpf(o, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(o);
        return;
    }
    printf("%s: %u cards, %u credentials added, %u known already\n", file, r->cards, r->added,
           r->unchanged);
    if (r->skipped > 0)
        fprintf(stderr,
                "iot-hub import: note: %u pre-shared keys left out, the file does not have their "
                "values: make it with \"sim-card personalise --export-secrets\"\n",
                r->skipped);
    if (r->untrusted > 0)
        fprintf(stderr,
                "iot-hub import: warning: %u certificates were issued by no CA this hub trusts; "
                "these devices will be"
                " refused (unknown_ca) until \"iot-hub ca add NAME FILE --trust\"\n",
                r->untrusted);
}

int hub_cmd_import(int argc, char **argv) {
    struct options o = {0};
    struct tb_strv files;
    struct tb_error e = {0};
    struct hub_import_report report;
    struct hub_registry *r;
    int err = 0;

    tb_cli_parse(&cli, argc, argv, &o, &files);
    if (files.n == 0) {
        fprintf(stderr, "iot-hub import: a file is wanted\n");
        tb_cli_done(&cli, &o);
        return 2;
    }
    r = hub_cmd_registry(cli.program, o.state);
    for (size_t i = 0; i < files.n && err == 0; i++) {
        json_t *batch = load(files.v[i], &e);

        err = batch ? hub_registry_import(r, batch, files.v[i], "cli", &report, &e) : TB_EPARSE;
        json_decref(batch);
        if (err == 0)
            print(files.v[i], &report, o.json);
    }
    hub_registry_touch(r);
    hub_registry_close(r);
    tb_cli_done(&cli, &o);
    return err < 0 ? hub_cmd_fail(cli.program, &e) : 0;
}
