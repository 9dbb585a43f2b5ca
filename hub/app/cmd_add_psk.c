/* iot-hub add-psk …: one pre-shared key. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/hub.h"
#include "tb/hex.h"

struct options {
    struct tb_cli_common common;
    char *state, *secret, *secret_file, *device, *iccid;
};

static const struct tb_opt options[] = {
    {"state", 's', "DIR", "the hub's folder", TB_OPT_STRING, offsetof(struct options, state), NULL},
    {"secret", 0, "HEX", "the key; others on this machine may see it in the list of processes",
     TB_OPT_STRING, offsetof(struct options, secret), NULL},
    {"secret-file", 0, "FILE", "where the key is, in hex; - is the standard input", TB_OPT_STRING,
     offsetof(struct options, secret_file), NULL},
    {"device", 0, "ID", "who has it (else the ICCID, else the identity)", TB_OPT_STRING,
     offsetof(struct options, device), NULL},
    {"iccid", 0, "DIGITS", "the card it is in", TB_OPT_STRING, offsetof(struct options, iccid),
     NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    .program = "iot-hub add-psk",
    .args_doc = "IDENTITY",
    .doc = "Takes a pre-shared key into the registry."
           "\vIt is kept wrapped under DIR/psk.key, which is made when missing. The same again "
           "changes nothing. A running hub sees the change at once.",
    .opts = options,
};

enum { GUESSABLE = 16 }; /* RFC 9257 6: 128 bits at least */

static int read_text(const char *name, char *text, size_t cap, struct tb_error *e) {
    FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    size_t n;

    if (!f)
        return tb_error_set(e, -errno, name, 0, "%s", strerror(errno));
    n = fread(text, 1, cap, f);
    if (f != stdin)
        fclose(f);
    if (n == cap)
        return tb_error_set(e, TB_ERANGE, name, 0, "too long for a pre-shared key");
    text[n] = '\0';
    return 0;
}

static int add(const struct options *o, struct hub_registry *r, const char *identity,
               struct tb_error *e) {
    const char *device = o->device ? o->device : o->iccid ? o->iccid : identity;
    char text[8 * HUB_PSK_MAX];
    uint8_t secret[HUB_PSK_MAX];
    struct tb_buf out = TB_BUF(secret);
    bool added = false;
    int err = o->secret_file ? read_text(o->secret_file, text, sizeof text, e) : 0;

    if (err == 0) {
        err = tb_hex_decode_loose(tb_span_str(o->secret_file ? text : o->secret), &out);
        if (err < 0)
            tb_error_set(e, err, o->secret_file, 0, "1 to %d bytes in hex are wanted", HUB_PSK_MAX);
    }
    if (err == 0)
        err = hub_registry_add_psk(r, device, o->iccid, NULL, identity, tb_buf_span(&out), "cli",
                                   &added, e);
    if (err == 0)
        printf("%s: %s\n", identity, added ? "added" : "known already");
    if (err == 0 && out.n < GUESSABLE)
        fprintf(stderr,
                "iot-hub add-psk: warning: with fewer than %d bytes it can be guessed from one "
                "recorded handshake\n",
                GUESSABLE);
    tb_wipe(text, sizeof text);
    tb_wipe(secret, sizeof secret);
    return err;
}

int hub_cmd_add_psk(int argc, char **argv) {
    struct options o = {0};
    struct tb_strv args;
    struct tb_error e = {0};
    struct hub_registry *r;
    int err;

    tb_cli_parse(&cli, argc, argv, &o, &args);
    if (args.n != 1 || !o.secret == !o.secret_file) {
        fprintf(stderr, "%s: %s and one of --secret and --secret-file are wanted\n", cli.program,
                cli.args_doc);
        tb_cli_done(&cli, &o);
        return 2;
    }
    r = hub_cmd_registry(cli.program, o.state);
    err = add(&o, r, args.v[0], &e);
    hub_registry_touch(r);
    hub_registry_close(r);
    tb_cli_done(&cli, &o);
    return err < 0 ? hub_cmd_fail(cli.program, &e) : 0;
}
