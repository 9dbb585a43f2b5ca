/* sim-card personalise: makes a card from a *.card file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch_command.h"
#include "commands.h"
#include "factory.h"
#include "store.h"
#include "tb/cli.h"
#include "tb/log.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
    struct tb_cli_common common;
    char *store, *issuer_cert, *issuer_key, *server_ca, *iccid, *imsi, *out;
    struct tb_strv set;
    bool force, export_secrets;
    struct card_batch_options many;
};

static const struct tb_opt opts[] = {
    {"store", 's', "FILE", "Where the card will live; must not exist, or hold no card",
     TB_OPT_STRING, offsetof(struct options, store), NULL},
    {"issuer-cert", 0, "FILE", "Certificate of the CA that certifies the card's keys, PEM",
     TB_OPT_STRING, offsetof(struct options, issuer_cert), NULL},
    {"issuer-key", 0, "FILE", "Its private key, PEM", TB_OPT_STRING,
     offsetof(struct options, issuer_key), NULL},
    {"server-ca", 0, "FILE",
     "Certificate of the CA that devices verify servers with, PEM: what 'certificate = ca' puts "
     "into a file (default: the issuer's)",
     TB_OPT_STRING, offsetof(struct options, server_ca), NULL},
    {"iccid", 0, "DIGITS", "Instead of the file's ICCID", TB_OPT_STRING,
     offsetof(struct options, iccid), NULL},
    {"imsi", 0, "DIGITS", "Instead of the file's IMSI", TB_OPT_STRING,
     offsetof(struct options, imsi), NULL},
    {"set", 0, "NAME=VALUE", "Instead of the file's [set] variable of that name; may be repeated",
     TB_OPT_LIST, offsetof(struct options, set), NULL},
    {"out", 'o', "FILE", "Write the card's record there instead of to standard output",
     TB_OPT_STRING, offsetof(struct options, out), NULL},
    {"export-secrets", 0, NULL, "Put the values of PSKs into the record", TB_OPT_FLAG,
     offsetof(struct options, export_secrets), NULL},
    {"batch", 0, "FILE", "Make a batch of cards as FILE orders it (docs/factory.md)", TB_OPT_STRING,
     offsetof(struct options, many.batch), NULL},
    {"count", 0, "N", "Batch: so many cards instead of FILE's number", TB_OPT_UINT,
     offsetof(struct options, many.count), "0"},
    {"kek", 0, "NAME=FILE", "Batch: transport key that secrets in the output file are under",
     TB_OPT_STRING, offsetof(struct options, many.kek), NULL},
    {"signer-cert", 0, "FILE", "Batch: who signs the output file, PEM; the signature is OUT.p7s",
     TB_OPT_STRING, offsetof(struct options, many.signer_cert), NULL},
    {"signer-key", 0, "FILE", "Batch: the signer's private key, PEM", TB_OPT_STRING,
     offsetof(struct options, many.signer_key), NULL},
    {"stores", 0, "DIR", "Batch: a new folder for the cards, one file ICCID.db each", TB_OPT_STRING,
     offsetof(struct options, many.stores), NULL},
    {"no-stores", 0, NULL, "Batch: keep the output file alone, throw the cards away", TB_OPT_FLAG,
     offsetof(struct options, many.no_stores), NULL},
    {"operator-file", 0, "FILE", "Batch: PINs and network keys for the operator, pySim's CSV",
     TB_OPT_STRING, offsetof(struct options, many.operator_file), NULL},
    {"jobs", 'j', "N", "Batch: threads (0: one per core)", TB_OPT_UINT,
     offsetof(struct options, many.jobs), "0"},
    {"force", 'f', NULL, "Replace a card that is in the store", TB_OPT_FLAG,
     offsetof(struct options, force), NULL},
    {0},
};

static const struct tb_cli cli = {
    .program = "sim-card personalise",
    .args_doc = "[CARD-FILE]",
    .doc = "Makes a card as CARD-FILE describes it: keys are made inside, certificates issued for "
           "them.\v"
           "The record that it writes is one JSON object, {\"cards\": [{iccid, imsi, atr, applets, "
           "keys, "
           "certificates, credentials}]}, which 'iot-hub' imports into its registry; it holds no "
           "secrets unless "
           "--export-secrets is given. docs/card.md describes both files. Either the whole card is "
           "made or "
           "nothing.\n"
           "\n"
           "Examples:\n"
           "  sim-card personalise factory.card --store card.db --issuer-cert ca.pem --issuer-key "
           "ca.key\n"
           "  sim-card personalise factory.card --store 2.db --iccid 8988211000000000029 --imsi "
           "001010000000002 "
           "--issuer-cert ca.pem --issuer-key ca.key --out 2.json\n"
           "\n"
           "A batch: sim-card personalise --batch order.ini --out order.csv --stores cards --kek "
           "t1=t1.key --signer-cert vendor.pem --signer-key vendor.key\n"
           "\n"
           "Exit status: 0 made, 1 not made (standard error says why), 2 usage.",
    .opts = opts,
};

static void complain(const struct tb_error *e) {
    if (e->file[0] && e->line)
        fprintf(stderr, "%s:%d: %s\n", e->file, e->line, e->message);
    else if (e->file[0])
        fprintf(stderr, "%s: %s\n", e->file, e->message);
    else
        fprintf(stderr, "sim-card personalise: %s\n", e->message);
}

static void usage(const char *text) {
    fprintf(stderr,
            "sim-card personalise: %s\nTry 'sim-card personalise --help' for more information.\n",
            text);
    exit(EXIT_USAGE);
}

/* The record is written beside its place first and moved there when the card is made: so a full
 * disk leaves neither a card without record nor half a record. */
static int write_aside(const char *out, const json_t *record, char *ret_aside, size_t cap,
                       struct tb_error *e) {
    FILE *f;
    int fd, r = 0;

    if ((size_t)snprintf(ret_aside, cap, "%s.XXXXXX", out) >= cap)
        return tb_error_set(e, TB_ERANGE, out, 0, "the name is too long");
    fd = mkstemp(ret_aside); /* mode 0600: with --export-secrets the record is one */
    f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f)
        return tb_error_set(e, -errno, out, 0, "cannot write: %s", tb_strerror(-errno));
    if (json_dumpf(record, f, JSON_INDENT(2)) < 0 || fputc('\n', f) == EOF || fflush(f) == EOF ||
        fsync(fd) < 0)
        r = tb_error_set(e, -EIO, out, 0, "cannot write: %s", tb_strerror(-errno));
    fclose(f);
    if (r < 0)
        unlink(ret_aside);
    return r;
}

static int write_directly(const char *out, const json_t *record, struct tb_error *e) {
    FILE *f = out ? fopen(out, "w") : stdout;
    bool ok =
        f && json_dumpf(record, f, JSON_INDENT(2)) == 0 && putc('\n', f) != EOF && fflush(f) == 0;
    int r = ok ? 0 : -errno;

    if (out && f)
        fclose(f);
    return r < 0 ? tb_error_set(e, r, out, 0,
                                "the card is made, but its record cannot be written: %s",
                                tb_strerror(r))
                 : 0;
}

/* A place that another file may take: not a device, a pipe or somebody's link. */
static bool can_move_to(const char *out) {
    struct stat st;

    return lstat(out, &st) < 0 || S_ISREG(st.st_mode);
}

static int finish(const struct options *opt, struct card_nvm *made, const json_t *record,
                  struct tb_error *e) {
    bool move = opt->out && can_move_to(opt->out);
    char aside[4096] = "";
    int r = move ? write_aside(opt->out, record, aside, sizeof aside, e) : 0;

    if (r < 0)
        return r;
    r = card_store_write(opt->store, made, opt->force, e);
    if (r < 0) {
        if (move)
            unlink(aside);
        return r;
    }
    if (!move)
        return write_directly(opt->out, record, e);
    if (rename(aside, opt->out) < 0)
        return tb_error_set(e, -errno, opt->out, 0,
                            "the card is made; its record had to stay in %s: %s", aside,
                            tb_strerror(-errno));
    return 0;
}

static int personalise(const struct options *opt, const char *card_file, struct tb_error *e) {
    const struct cardfile_override with = {
        .iccid = opt->iccid, .imsi = opt->imsi, .set = opt->set.v};
    struct factory_options how = {.export_secrets = opt->export_secrets};
    struct tb_pki_ca ca = {0};
    struct cardfile *f = NULL;
    struct card_nvm *made = card_nvm_mem_new(0);
    json_t *record = NULL, *cards;
    int r = cardfile_read(card_file, &with, &f, e);

    /* Before the work, though it is looked at again at the end. */
    if (r == 0 && !opt->force)
        r = card_store_check_free(opt->store, e);
    if (r == 0 && opt->issuer_cert) {
        r = tb_pki_ca_load(opt->issuer_cert, opt->issuer_key, &ca, e);
        how.issuer = &ca;
    }
    if (r == 0 && opt->server_ca)
        r = tb_pki_cert_load(opt->server_ca, &how.server_ca, e);
    if (r == 0)
        r = factory_make(f, &how, made, &record, e);
    if (r == 0) {
        cards = json_pack("{s:[O]}", "cards", record);
        r = finish(opt, made, cards, e);
        json_decref(cards);
    }
    json_decref(record);
    X509_free(how.server_ca);
    if (ca.cert)
        tb_pki_ca_done(&ca);
    card_nvm_free(made);
    cardfile_free(f);
    return r;
}

int card_command_personalise(int argc, char **argv) {
    struct options opt = {0};
    struct tb_error e = {0};
    struct tb_strv args;
    int r;

    tb_cli_parse(&cli, argc, argv, &opt, &args);
    if (opt.many.batch) {
        const char *wrong;

        opt.many.force = opt.force;
        opt.many.out = opt.out;
        opt.many.card = args.n ? args.v[0] : NULL;
        wrong = args.n > 1 ? "want one CARD-FILE" : card_batch_wrong(&opt.many);
        if (!wrong && (opt.store || opt.iccid || opt.imsi || opt.set.n || opt.issuer_cert))
            wrong = "the batch file says what --store, --iccid, --imsi, --set and --issuer-cert "
                    "say for one card";
        if (wrong)
            usage(wrong);
        r = card_batch(&opt.many, &e);
        if (r < 0)
            complain(&e);
        tb_cli_done(&cli, &opt);
        return r < 0 ? EXIT_FAILED : 0;
    }
    if (args.n != 1)
        usage(args.n ? "want one CARD-FILE" : "CARD-FILE is missing");
    if (!opt.store)
        usage("--store is missing");
    if (!opt.issuer_cert != !opt.issuer_key)
        usage("--issuer-cert and --issuer-key belong together");
    r = personalise(&opt, args.v[0], &e);
    if (r < 0)
        complain(&e);
    tb_cli_done(&cli, &opt);
    return r < 0 ? EXIT_FAILED : 0;
}
