/* iot-hub credential …: what devices may connect with. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/hub.h"

struct options {
    struct tb_cli_common common;
    char *state, *reason;
    bool json;
};

static const struct tb_opt options[] = {
    {"state", 's', "DIR", "the hub's folder", TB_OPT_STRING, offsetof(struct options, state), NULL},
    {"reason", 0, "TEXT", "kept with the change", TB_OPT_STRING, offsetof(struct options, reason),
     "operator"},
    {"json", 0, NULL, "list as JSON, one object per line", TB_OPT_FLAG,
     offsetof(struct options, json), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    .program = "iot-hub credential",
    .args_doc = "list [WHICH] | show WHICH | revoke WHICH | suspend WHICH | resume WHICH",
    .doc = "Looks at credentials and changes their state."
           "\vWHICH is a device id, an ICCID, a PSK identity, or at least eight digits of a "
           "fingerprint. Revoked "
           "is for ever, suspended until"
           " resumed. A running hub sees the change at once and ends sessions that are not allowed "
           "any more.",
    .opts = options,
};

static int print_line(const struct hub_credential *c, void *user) {
    const struct options *o = user;
    char until[32] = "-";
    time_t t = (time_t)c->not_after;
    struct tm tm;

    if (o->json) {
        json_t *j = hub_json_credential(c);

        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(j);
        return 0;
    }
    if (c->kind == HUB_CRED_X509)
        strftime(until, sizeof until, "%F", gmtime_r(&t, &tm));
    printf("%-24s %-4s %-10s until %-10s  ", c->device, hub_cred_kind_name(c->kind),
           hub_cred_state_name(c->state), until);
    for (size_t i = 0; i < 8; i++)
        printf("%02x", c->fp[i]);
    printf("…  %s\n", c->kind == HUB_CRED_PSK ? c->psk_identity : c->subject);
    return 0;
}

static int list(struct hub_registry *r, const char *which, struct options *o, struct tb_error *e) {
    int n = hub_registry_each(r, which, print_line, o);

    if (n < 0)
        return tb_error_set(e, n, NULL, 0, "the registry cannot be read: %s", tb_strerror(n));
    if (n == 0 && which)
        return tb_error_set(e, TB_ENOTFOUND, NULL, 0, "no credential of %s is known", which);
    return 0;
}

int hub_cmd_credential(int argc, char **argv) {
    static const char *const names[] = {"list", "show", "revoke", "suspend", "resume", NULL};
    static const enum hub_cred_state to[] = {0, 0, HUB_CRED_REVOKED, HUB_CRED_SUSPENDED,
                                             HUB_CRED_ACTIVE};
    struct options o = {0};
    struct tb_strv args;
    struct tb_error e = {0};
    struct hub_registry *r;
    size_t verb = 0;
    int err;

    tb_cli_parse(&cli, argc, argv, &o, &args);
    while (names[verb] && (args.n == 0 || strcmp(args.v[0], names[verb]) != 0))
        verb++;
    if (!names[verb] || args.n > 2 || (verb > 0 && args.n < 2)) {
        fprintf(stderr, "%s: %s is wanted\n", cli.program, cli.args_doc);
        tb_cli_done(&cli, &o);
        return 2;
    }
    r = hub_cmd_registry(cli.program, o.state);
    if (verb < 2) {
        err = list(r, args.n > 1 ? args.v[1] : NULL, &o, &e);
    } else {
        err = hub_change_state(NULL, r, args.v[1], to[verb], "cli", o.reason, NULL, &e);
        hub_registry_touch(r);
        if (err >= 0)
            printf("%d changed\n", err);
    }
    hub_registry_close(r);
    tb_cli_done(&cli, &o);
    return err < 0 ? hub_cmd_fail(cli.program, &e) : 0;
}
