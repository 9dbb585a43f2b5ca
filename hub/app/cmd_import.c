/* iot-hub import FILE…: what the card factory wrote. */
#include <stdio.h>
#include <string.h>

#include "app/hub.h"
#include "tb/cms.h"

enum { KEKS_MAX = 8 };

struct options {
    struct tb_cli_common common;
    char *state, *format, *signature, *signer;
    struct tb_strv kek;
    bool json, is_unsigned, partial;
};

static const struct tb_opt options[] = {
    {"state", 's', "DIR", "the hub's folder", TB_OPT_STRING, offsetof(struct options, state), NULL},
    {"format", 0, "FORMAT",
     "auto; json: of \"sim-card personalise\"; csv: the SIM supplier's output file, pySim's too",
     TB_OPT_STRING, offsetof(struct options, format), "auto"},
    {"signature", 0, "FILE", "csv: its detached CMS signature (default: FILE.p7s)", TB_OPT_STRING,
     offsetof(struct options, signature), NULL},
    {"signer", 0, "CERT", "csv: certificate of who signs, or of an authority above, PEM",
     TB_OPT_STRING, offsetof(struct options, signer), NULL},
    {"unsigned", 0, NULL, "csv: take it without a signature", TB_OPT_FLAG,
     offsetof(struct options, is_unsigned), NULL},
    {"kek", 0, "NAME=FILE", "csv: transport key of its secrets; may be repeated", TB_OPT_LIST,
     offsetof(struct options, kek), NULL},
    {"partial", 0, NULL, "csv: leave rows out that are not good, instead of the whole file",
     TB_OPT_FLAG, offsetof(struct options, partial), NULL},
    {"json", 0, NULL, "report as one JSON object per file", TB_OPT_FLAG,
     offsetof(struct options, json), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    .program = "iot-hub import",
    .args_doc = "FILE…",
    .doc = "Takes cards, devices, certificates and pre-shared keys into the registry: what "
           "\"sim-card personalise\" has written about a card or a batch."
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

/* --- the SIM supplier's output file --- */

static int check_signature(const struct options *o, const char *file, struct tb_span text,
                           struct tb_error *e) {
    char signer[256];
    int err;

    if (o->is_unsigned)
        return 0;
    if (!o->signer)
        return tb_error_set(e, TB_EPARSE, file, 0,
                            "who signs it? --signer CERT, or --unsigned to take it as it is");
    err = tb_cms_verify(file, text, o->signature, o->signer, signer, sizeof signer, e);
    if (err == 0)
        printf("%s: signed by %s\n", file, signer);
    return err;
}

static void print_complaints(const char *file, const struct hub_output_report *r) {
    unsigned n = r->rejected < HUB_IMPORT_SHOWN ? r->rejected : HUB_IMPORT_SHOWN;

    if (r->unknown_columns)
        fprintf(stderr, "%s: note: %u columns are passed over, the first is %s\n", file,
                r->unknown_columns, r->first_unknown);
    for (unsigned i = 0; i < n; i++)
        fprintf(stderr, "%s:%lu: %s%s%s\n", file, r->complaints[i].line, r->complaints[i].column,
                *r->complaints[i].column ? ": " : "", r->complaints[i].reason);
    if (r->rejected > n)
        fprintf(stderr, "%s: … and %u rows more\n", file, r->rejected - n);
}

static void print_output(const char *file, const struct hub_output_report *r, bool json) {
    json_t *list = json_array(), *o;

    if (!json) {
        print(file, &r->in, false);
        if (r->issued || r->rejected)
            printf("%s: %u certificates issued, %u rows left out\n", file, r->issued, r->rejected);
        if (r->ota_keys)
            fprintf(stderr,
                    "iot-hub import: note: %u key sets for administration over the air are not "
                    "kept by this release\n",
                    r->ota_keys);
        json_decref(list);
        return;
    }
    for (unsigned i = 0; i < r->rejected && i < HUB_IMPORT_SHOWN; i++)
        json_array_append_new(
            list, json_pack("{s:I, s:s, s:s}", "line", (json_int_t)r->complaints[i].line, "column",
                            r->complaints[i].column, "reason", r->complaints[i].reason));
    o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o}", "file", file, "cards",
                  (int)r->in.cards, "added", (int)r->in.added, "unchanged", (int)r->in.unchanged,
                  "untrusted", (int)r->in.untrusted, "rows", (int)r->rows, "rejected",
                  (int)r->rejected, "issued", (int)r->issued, "complaints", list);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

/* The CA "device", when this hub has it. */
static const struct tb_pki_ca *load_issuer(const struct options *o, struct tb_pki_ca *ca) {
    char cert[4096], key[4096];
    struct tb_error e;

    snprintf(cert, sizeof cert, "%s/ca/device.crt", o->state);
    snprintf(key, sizeof key, "%s/ca/device.key", o->state);
    return tb_pki_ca_load(cert, key, ca, &e) == 0 ? ca : NULL;
}

static int import_text(const struct options *o, struct hub_registry *r, const char *file,
                       struct tb_span text, struct tb_error *e) {
    struct tb_kek keks[KEKS_MAX];
    struct tb_pki_ca ca = {NULL, NULL};
    struct hub_output_import in = {.text = text,
                                   .actor = "cli",
                                   .keks = keks,
                                   .issuer = load_issuer(o, &ca),
                                   .partial = o->partial};
    struct hub_output_report report;
    int err = o->kek.n > KEKS_MAX
                  ? tb_error_set(e, TB_ERANGE, NULL, 0, "at most %d transport keys", KEKS_MAX)
                  : 0;

    for (; err == 0 && in.keks_n < o->kek.n; in.keks_n += err == 0)
        err = tb_kek_load(o->kek.v[in.keks_n], &keks[in.keks_n], e);
    if (err == 0) {
        err = hub_registry_import_output(r, &in, &report, e);
        print_complaints(file, &report);
        if (err == 0 || o->json)
            print_output(file, &report, o->json);
        if (err < 0 && !e->file[0])
            snprintf(e->file, sizeof e->file, "%s", file);
    }
    tb_wipe(keks, sizeof keks);
    tb_pki_ca_done(&ca);
    return err;
}

static int import_output(const struct options *o, struct hub_registry *r, const char *file,
                         struct tb_error *e) {
    struct tb_span text;
    int err = tb_cms_map(file, &text, e);

    if (err < 0)
        return err;
    err = check_signature(o, file, text, e);
    if (err == 0)
        err = import_text(o, r, file, text, e);
    tb_cms_unmap(text);
    return err;
}

/* JSON begins with a brace; the names of columns do not. */
static bool is_json(const char *file) {
    FILE *f = strcmp(file, "-") == 0 ? NULL : fopen(file, "r");
    int c = '{';

    if (!f)
        return true;
    do
        c = fgetc(f);
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n');
    fclose(f);
    return c == '{' || c == EOF;
}

static int import_json(const struct options *o, struct hub_registry *r, const char *file,
                       struct tb_error *e) {
    struct hub_import_report report;
    json_t *batch = load(file, e);
    int err = batch ? hub_registry_import(r, batch, file, "cli", &report, e) : TB_EPARSE;

    json_decref(batch);
    if (err == 0)
        print(file, &report, o->json);
    return err;
}

int hub_cmd_import(int argc, char **argv) {
    static const char *const formats[] = {"auto", "json", "csv", NULL};
    struct options o = {0};
    struct tb_strv files;
    struct tb_error e = {0};
    struct hub_registry *r;
    size_t format = 0;
    int err = 0;

    tb_cli_parse(&cli, argc, argv, &o, &files);
    while (formats[format] && strcmp(o.format, formats[format]) != 0)
        format++;
    if (files.n == 0 || !formats[format]) {
        fprintf(stderr, "iot-hub import: %s\n",
                files.n ? "--format is auto, json or csv" : "a file is wanted");
        tb_cli_done(&cli, &o);
        return 2;
    }
    r = hub_cmd_registry(cli.program, o.state);
    for (size_t i = 0; i < files.n && err == 0; i++)
        err = format == 1 || (format == 0 && is_json(files.v[i]))
                  ? import_json(&o, r, files.v[i], &e)
                  : import_output(&o, r, files.v[i], &e);
    hub_registry_touch(r);
    hub_registry_close(r);
    tb_cli_done(&cli, &o);
    return err < 0 ? hub_cmd_fail(cli.program, &e) : 0;
}
