/* sim-card verify-output: is this output file what the platform will take? */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "tb/cli.h"
#include "tb/cms.h"
#include "tb/output_file.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, SHOWN = 20 };

struct options {
    struct tb_cli_common common;
    char *signature, *signer, *kek;
    bool is_unsigned;
};

static const struct tb_opt opts[] = {
    {"signature", 0, "FILE", "The detached signature (default: FILE.p7s)", TB_OPT_STRING,
     offsetof(struct options, signature), NULL},
    {"signer", 0, "CERT", "Certificate of the signer or of an authority above, PEM", TB_OPT_STRING,
     offsetof(struct options, signer), NULL},
    {"unsigned", 0, NULL, "Do without a signature", TB_OPT_FLAG,
     offsetof(struct options, is_unsigned), NULL},
    {"kek", 0, "NAME=FILE", "Transport key: unwrap secrets and compare check values", TB_OPT_STRING,
     offsetof(struct options, kek), NULL},
    {0},
};

static const struct tb_cli cli = {
    .program = "sim-card verify-output",
    .args_doc = "FILE",
    .doc = "Checks a SIM supplier's output file: signature, columns, check digits, certificates "
           "against public keys, with the transport key also the secrets.\v"
           "Exit status: 0 good, 1 not good (standard error says where), 2 usage.",
    .opts = opts,
};

struct verified {
    unsigned long rows, x509, psk, bootstrap, bad;
};

static void bad(struct verified *v, const char *file, unsigned long line, const char *column,
                const char *reason) {
    if (v->bad++ < SHOWN)
        fprintf(stderr, "%s:%lu: %s%s%s\n", file, line, column, *column ? ": " : "", reason);
}

static void verify_row(const struct tb_out_header *h, const struct tb_span *fields, size_t n,
                       const struct tb_kek *kek, const char *file, unsigned long line,
                       struct verified *v) {
    static struct tb_out_row row;
    struct tb_out_complaint why;
    struct tb_out_secrets secrets;
    int r = tb_out_row(h, fields, n, &row, &why);

    v->rows++;
    if (r == 0 && kek)
        r = tb_out_unwrap(&row, kek, &secrets, &why);
    tb_wipe(&secrets, sizeof secrets);
    if (r == TB_ENOTFOUND)
        why = (struct tb_out_complaint){"KEK_ID", "another transport key than the one given"};
    if (r < 0) {
        bad(v, file, line, why.column, why.reason);
        return;
    }
    v->x509 += row.kind == TB_OUT_X509;
    v->psk += row.kind == TB_OUT_PSK;
    v->bootstrap += row.kind != TB_OUT_NO_CREDENTIAL && row.bootstrap;
}

static int verify_rows(struct tb_span text, const char *file, const struct tb_kek *kek,
                       struct verified *v, struct tb_error *e) {
    struct tb_span fields[TB_OUT_FIELDS_MAX];
    struct tb_out_header h;
    struct tb_csv csv;
    int n, r;

    tb_csv_init(&csv, text, ',');
    n = tb_csv_next(&csv, fields, TB_OUT_FIELDS_MAX, e);
    r = n < 0 ? n : tb_out_header(fields, (size_t)n, &h, e);
    if (r == 0 && h.unknown)
        fprintf(stderr, "%s: note: %zu columns are not known and passed over, the first is %.*s\n",
                file, h.unknown, (int)h.first_unknown.n, (const char *)h.first_unknown.p);
    while (r == 0 && (n = tb_csv_next(&csv, fields, TB_OUT_FIELDS_MAX, e)) != 0) {
        if (n < 0)
            bad(v, file, (unsigned long)e->line, "", e->message);
        else
            verify_row(&h, fields, (size_t)n, kek, file, csv.row, v);
    }
    tb_csv_done(&csv);
    if (r < 0)
        snprintf(e->file, sizeof e->file, "%s", file);
    return r;
}

static int verify(const struct options *opt, const char *file, struct tb_error *e) {
    struct verified v = {0};
    struct tb_kek kek = {.n = 0};
    struct tb_span text;
    char signer[256] = "nobody";
    int r = tb_cms_map(file, &text, e);

    if (r < 0)
        return r;
    r = opt->kek ? tb_kek_load(opt->kek, &kek, e) : 0;
    if (r == 0 && opt->signer)
        r = tb_cms_verify(file, text, opt->signature, opt->signer, signer, sizeof signer, e);
    if (r == 0)
        r = verify_rows(text, file, kek.n ? &kek : NULL, &v, e);
    tb_wipe(&kek, sizeof kek);
    tb_cms_unmap(text);
    if (r < 0)
        return r;
    printf("%s: %lu rows, %lu certificates or public keys, %lu pre-shared keys, %lu of them for "
           "bootstrap; signed by %s\n",
           file, v.rows, v.x509, v.psk, v.bootstrap, signer);
    return v.bad ? tb_error_set(e, TB_EPARSE, file, 0, "%lu rows are not good", v.bad) : 0;
}

int card_command_verify_output(int argc, char **argv) {
    struct options opt = {0};
    struct tb_error e = {0};
    struct tb_strv args;
    int r;

    tb_cli_parse(&cli, argc, argv, &opt, &args);
    if (args.n != 1 || !opt.signer == !opt.is_unsigned) {
        fprintf(stderr, "sim-card verify-output: %s\n",
                args.n != 1 ? "want one FILE"
                            : "want --signer CERT, or --unsigned for a file without signature");
        return EXIT_USAGE;
    }
    r = verify(&opt, args.v[0], &e);
    if (r < 0 && e.line)
        fprintf(stderr, "%s:%d: %s\n", e.file, e.line, e.message);
    else if (r < 0)
        fprintf(stderr, "%s%s%s\n", e.file, *e.file ? ": " : "", e.message);
    tb_cli_done(&cli, &opt);
    return r < 0 ? EXIT_FAILED : 0;
}
