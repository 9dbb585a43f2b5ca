/* iot-hub ca …: certificate authorities. The first one, "device", vouches for devices and has also
 * signed the hub's own certificate. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "app/hub.h"
#include "tb/pki.h"

struct options {
    struct tb_cli_common common;
    char *state, *name, *cn, *csr, *out, *key_out;
    struct tb_strv san;
    unsigned days;
    bool trust, json, expired;
};

static const struct tb_opt options[] = {
    {"state", 's', "DIR", "the hub's folder", TB_OPT_STRING, offsetof(struct options, state), NULL},
    {"name", 'n', "NAME", "which CA", TB_OPT_STRING, offsetof(struct options, name), "device"},
    {"cn", 0, "TEXT", "common name in the certificate", TB_OPT_STRING, offsetof(struct options, cn),
     NULL},
    {"days", 0, "N", "issue: validity", TB_OPT_UINT, offsetof(struct options, days), "365"},
    {"expired", 0, NULL, "issue: a certificate that ended yesterday, to test with", TB_OPT_FLAG,
     offsetof(struct options, expired), NULL},
    {"csr", 0, "FILE", "issue: for the key in this PKCS#10 request (PEM)", TB_OPT_STRING,
     offsetof(struct options, csr), NULL},
    {"key-out", 0, "FILE", "issue: for a new P-256 key, written here", TB_OPT_STRING,
     offsetof(struct options, key_out), NULL},
    {"out", 'o', "FILE", "issue: the certificate", TB_OPT_STRING, offsetof(struct options, out),
     NULL},
    {"san", 0, "NAME", "init: names and addresses of the hub", TB_OPT_LIST,
     offsetof(struct options, san), NULL},
    {"trust", 0, NULL, "init, add: devices of this CA are accepted (always so for \"device\")",
     TB_OPT_FLAG, offsetof(struct options, trust), NULL},
    {"json", 0, NULL, "show: JSON, one object per line", TB_OPT_FLAG,
     offsetof(struct options, json), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    .program = "iot-hub ca",
    .args_doc = "init | issue | add NAME FILE | trust NAME | distrust NAME | show",
    .doc = "Makes certificate authorities, and decides which of them vouch for devices."
           "\vinit makes DIR/ca/NAME.crt and .key. For the first one, \"device\", also the hub's "
           "own DIR/server.crt and .key,"
           " for localhost, 127.0.0.1, ::1 and what --san names. Another CA (--name other) is not "
           "trusted unless --trust is"
           " given. issue makes a client certificate; add takes somebody else's CA. A running hub "
           "sees the change at"
           " once.",
    .opts = options,
};

enum { CA_DAYS = 3650, SERVER_DAYS = 825, DAY_S = 86400 };

/* DIR/folder/name.suffix. Given to the caller. */
static char *path_of(const struct options *o, const char *folder, const char *name,
                     const char *suffix) {
    char *path;

    if (asprintf(&path, "%s/%s%s%s", o->state, folder, name, suffix) < 0)
        abort();
    return path;
}

static int load_ca(const struct options *o, struct tb_pki_ca *ca, struct tb_error *e) {
    char *cert = path_of(o, "ca/", o->name, ".crt"), *key = path_of(o, "ca/", o->name, ".key");
    int err = tb_pki_ca_load(cert, key, ca, e);

    free(cert);
    free(key);
    return err;
}

static int new_key(EVP_PKEY **ret, struct tb_error *e) {
    *ret = EVP_EC_gen("P-256");
    return *ret ? 0 : tb_error_set(e, TB_ECRYPTO, NULL, 0, "no key could be made");
}

/* The hub's own certificate, under the CA that the devices trust. */
static int make_server(const struct options *o, const struct tb_pki_ca *ca, struct tb_error *e) {
    const char *names[64] = {"localhost", "127.0.0.1", "::1"};
    const struct tb_pki_request req = {.role = TB_PKI_SERVER,
                                       .common_name = "iot-hub",
                                       .dns_names = names,
                                       .not_before_s = -DAY_S,
                                       .not_after_s = (long)SERVER_DAYS * DAY_S};
    char *cert_file = path_of(o, "", "server", ".crt"),
         *key_file = path_of(o, "", "server", ".key");
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int err = 0;

    for (size_t i = 0; i < o->san.n && i < 60; i++)
        names[3 + i] = o->san.v[i];
    err = new_key(&key, e);
    if (err == 0 && (err = tb_pki_issue(ca, key, &req, &cert)) < 0)
        tb_error_set(e, err, NULL, 0, "the hub's certificate cannot be issued: %s",
                     tb_strerror(err));
    if (err == 0)
        err = tb_pki_key_save(key, key_file, e);
    if (err == 0)
        err = tb_pki_cert_save(cert, cert_file, e);
    X509_free(cert);
    EVP_PKEY_free(key);
    free(cert_file);
    free(key_file);
    return err;
}

static int make_ca(const struct options *o, struct hub_registry *r, bool first,
                   struct tb_error *e) {
    char *dir = path_of(o, "ca", "", ""), *cert = path_of(o, "ca/", o->name, ".crt"),
         *key = path_of(o, "ca/", o->name, ".key");
    char cn[HUB_DEVICE_MAX + 32];
    struct tb_pki_ca ca = {0};
    int err;

    snprintf(cn, sizeof cn, "IoT SAFE testbed CA %s", o->name);
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        err = tb_error_set(e, -errno, dir, 0, "cannot make the folder: %s", strerror(errno));
    else if ((err = tb_pki_ca_init(o->cn ? o->cn : cn, CA_DAYS, &ca)) < 0)
        tb_error_set(e, err, NULL, 0, "the CA cannot be made: %s", tb_strerror(err));
    if (err == 0)
        err = tb_pki_ca_save(&ca, cert, key, e);
    if (err == 0)
        err = hub_registry_add_ca(r, o->name, ca.cert, first || o->trust, true, e);
    if (err == 0 && first)
        err = make_server(o, &ca, e);
    if (err == 0)
        printf("%s\n", cert);
    tb_pki_ca_done(&ca);
    free(dir);
    free(cert);
    free(key);
    return err;
}

static int init(const struct options *o, struct hub_registry *r, const struct tb_strv *args,
                struct tb_error *e) {
    (void)args;
    if (!hub_device_id_ok(o->name))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--name: letters, digits and . _ : - are wanted");
    return make_ca(o, r, strcmp(o->name, "device") == 0, e);
}

static int load_csr(const char *file, X509_REQ **ret, struct tb_error *e) {
    BIO *b = BIO_new_file(file, "r");

    *ret = b ? PEM_read_bio_X509_REQ(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    return *ret ? 0 : tb_error_set(e, TB_EPARSE, file, 0, "no certificate request in PEM");
}

static int issue_with(const struct options *o, const struct tb_pki_ca *ca, struct tb_error *e) {
    const struct tb_pki_request req = {.role = TB_PKI_CLIENT,
                                       .common_name = o->cn,
                                       .not_before_s = o->expired ? -2L * DAY_S : -DAY_S,
                                       .not_after_s = o->expired ? -DAY_S : (long)o->days * DAY_S};
    EVP_PKEY *key = NULL;
    X509_REQ *csr = NULL;
    X509 *cert = NULL;
    int err = o->csr ? load_csr(o->csr, &csr, e) : new_key(&key, e);

    if (err == 0) {
        err = csr ? tb_pki_issue_csr(ca, csr, &req, &cert) : tb_pki_issue(ca, key, &req, &cert);
        if (err < 0)
            tb_error_set(e, err, o->csr, 0, "the certificate cannot be issued: %s",
                         tb_strerror(err));
    }
    if (err == 0 && key)
        err = tb_pki_key_save(key, o->key_out, e);
    if (err == 0)
        err = tb_pki_cert_save(cert, o->out, e);
    X509_free(cert);
    X509_REQ_free(csr);
    EVP_PKEY_free(key);
    return err;
}

static int issue(const struct options *o, struct hub_registry *r, const struct tb_strv *args,
                 struct tb_error *e) {
    struct tb_pki_ca ca;
    int err;

    (void)r, (void)args;
    if (!o->cn || !o->out || !o->csr == !o->key_out)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "issue wants --cn, --out and one of --csr and --key-out");
    err = load_ca(o, &ca, e);
    if (err < 0)
        return err;
    err = issue_with(o, &ca, e);
    tb_pki_ca_done(&ca);
    return err;
}

static int add(const struct options *o, struct hub_registry *r, const struct tb_strv *args,
               struct tb_error *e) {
    X509 *cert;
    int err = tb_pki_cert_load(args->v[2], &cert, e);

    if (err < 0)
        return err;
    if (X509_check_ca(cert) != 1)
        err = tb_error_set(e, TB_EPARSE, args->v[2], 0,
                           "not the certificate of a CA (basicConstraints CA:TRUE)");
    else
        err = hub_registry_add_ca(r, args->v[1], cert, o->trust, false, e);
    X509_free(cert);
    return err;
}

static int trust(const struct options *o, struct hub_registry *r, const struct tb_strv *args,
                 struct tb_error *e) {
    (void)o;
    return hub_registry_trust_ca(r, args->v[1], args->v[0][0] == 't', e);
}

static int print_ca(const struct hub_ca *ca, void *user) {
    const struct options *o = user;
    char subject[HUB_SUBJECT_MAX + 1], *cert = path_of(o, "ca/", ca->name, ".crt");

    hub_name_text(X509_get_subject_name(ca->cert), subject, sizeof subject);
    if (o->json) {
        json_t *j = json_pack("{s:s, s:b, s:s, s:b}", "name", ca->name, "trusted", ca->trusted,
                              "subject", subject, "key", ca->has_key);

        if (ca->has_key)
            json_object_set_new(j, "cert", json_string(cert));
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(j);
    } else {
        printf("%-16s %-9s %s%s%s\n", ca->name, ca->trusted ? "trusted" : "untrusted", subject,
               ca->has_key ? "  " : "", ca->has_key ? cert : "");
    }
    free(cert);
    return 0;
}

static int show(const struct options *o, struct hub_registry *r, const struct tb_strv *args,
                struct tb_error *e) {
    struct options copy = *o;
    int n = hub_registry_each_ca(r, print_ca, &copy);

    (void)args;
    if (n < 0)
        return tb_error_set(e, n, NULL, 0, "the registry cannot be read: %s", tb_strerror(n));
    if (n == 0 && !o->json)
        printf("no CA yet: iot-hub ca init --state %s\n", o->state);
    return 0;
}

static const struct command {
    const char *name;
    size_t args; /* with its name */
    int (*fn)(const struct options *o, struct hub_registry *r, const struct tb_strv *args,
              struct tb_error *e);
} commands[] = {
    {"init", 1, init},   {"issue", 1, issue},    {"add", 3, add},
    {"trust", 2, trust}, {"distrust", 2, trust}, {"show", 1, show},
};

int hub_cmd_ca(int argc, char **argv) {
    const struct command *c = NULL;
    struct options o = {0};
    struct tb_strv args;
    struct tb_error e = {0};
    struct hub_registry *r;
    int err;

    tb_cli_parse(&cli, argc, argv, &o, &args);
    for (size_t i = 0; args.n > 0 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(args.v[0], commands[i].name) == 0 && args.n == commands[i].args)
            c = &commands[i];
    }
    if (!c) {
        fprintf(stderr, "%s: %s is wanted\n", cli.program, cli.args_doc);
        tb_cli_done(&cli, &o);
        return 2;
    }
    r = hub_cmd_registry(cli.program, o.state);
    err = c->fn(&o, r, &args, &e);
    if (err == 0)
        hub_registry_touch(r);
    hub_registry_close(r);
    tb_cli_done(&cli, &o);
    return err < 0 ? hub_cmd_fail(cli.program, &e) : 0;
}
