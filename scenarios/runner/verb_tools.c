/* ctl, apdu, at: small tools over a living bed. */
#include <iotsafe/iotsafe.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "living.h"
#include "options.h"
#include "tb/apdu.h"
#include "tb/ctl.h"
#include "tb/hex.h"
#include "verbs.h"

/* key=value: numbers and true/false become what they look like. */
static int add_member(json_t *request, const char *text) {
    const char *eq = strchr(text, '=');
    char key[64], *end;
    long long number;

    if (!eq || eq == text || (size_t)(eq - text) >= sizeof key)
        return -1;
    snprintf(key, sizeof key, "%.*s", (int)(eq - text), text);
    number = strtoll(eq + 1, &end, 10);
    if (eq[1] && !*end && strlen(eq + 1) < 18)
        return json_object_set_new(request, key, json_integer(number));
    if (strcmp(eq + 1, "true") == 0 || strcmp(eq + 1, "false") == 0)
        return json_object_set_new(request, key, json_boolean(eq[1] == 't'));
    return json_object_set_new(request, key, json_string(eq + 1));
}

static int ask(const char *where, const json_t *request) {
    struct tb_error e = {0};
    struct tb_addr at;
    json_t *reply;
    char *text;
    int ok;

    if (tb_addr_parse(where, &at, &e) < 0 || !(reply = tb_ctl_request(&at, request, 10000, &e))) {
        fprintf(stderr, "testbed: %s\n", e.message);
        return 3;
    }
    ok = json_is_true(json_object_get(reply, "ok"));
    text = json_dumps(reply, JSON_INDENT(2) | JSON_SORT_KEYS);
    printf("%s\n", text);
    free(text);
    json_decref(reply);
    return ok ? 0 : 1;
}

int scn_verb_ctl(int argc, char **argv) {
    struct scn_options o;
    const char *where;
    json_t *bed, *request;
    int r = 2;

    scn_options_parse(argc, argv, "r", "card|modem|device|hub [VERB [KEY=VALUE...]]",
                      "Sends one request to the control socket of a daemon of the living bed and "
                      "prints the answer.\v"
                      "Without a verb: help, the daemon's list of verbs.",
                      &o);
    if (o.n_files < 1) {
        fprintf(stderr, "testbed: ctl: which daemon? card, modem, device or hub\n");
        return 2;
    }
    bed = scn_living_bed_open(o.run);
    if (!bed)
        return 3;
    where = scn_living_bed_text(bed, "ctl", o.files[0]);
    request = json_pack("{s:s}", "verb", o.n_files > 1 ? o.files[1] : "help");
    if (!where) {
        fprintf(stderr, "testbed: ctl: no '%s' in this bed: card, modem, device or hub\n",
                o.files[0]);
    } else {
        r = 0;
        for (int i = 2; i < o.n_files && r == 0; i++)
            if (add_member(request, o.files[i]) < 0) {
                fprintf(stderr, "testbed: ctl: '%s' is not KEY=VALUE\n", o.files[i]);
                r = 2;
            }
        if (r == 0)
            r = ask(where, request);
    }
    json_decref(request);
    json_decref(bed);
    return r;
}

static int send_apdu(struct iotsafe_transport *t, const char *text) {
    uint8_t cmd[TB_APDU_MAX_CMD], rsp[4096];
    struct tb_buf b = TB_BUF(cmd);
    char hex[2 * sizeof rsp + 1];
    int n;

    if (tb_hex_decode_loose(tb_span_str(text), &b) < 0 || b.n < 4) {
        fprintf(stderr, "testbed: apdu: '%s' is not a command APDU in hex\n", text);
        return 2;
    }
    n = t->ops->transmit(t, cmd, b.n, rsp, sizeof rsp);
    if (n < 2) {
        fprintf(stderr, "testbed: apdu: %s\n", iotsafe_strerror(n));
        return 3;
    }
    printf("%s\n", tb_hex_str(hex, sizeof hex, tb_span(rsp, (size_t)n)));
    return 0;
}

int scn_verb_apdu(int argc, char **argv) {
    struct iotsafe_transport *t = NULL;
    struct scn_options o;
    char spec[256], err[256];
    const char *where;
    json_t *bed;
    int r = 0;

    scn_options_parse(
        argc, argv, "r", "HEX...",
        "Sends command APDUs to the card of the living bed, by AT+CSIM through its modem, and "
        "prints the responses.\v"
        "Example, select the IoT SAFE applet on channel 1 and read its first certificate:\n"
        "  testbed apdu 01A4040007A0000005590010 81B0000003830102",
        &o);
    if (o.n_files == 0) {
        fprintf(stderr, "testbed: apdu: which command? For example 00A40004023F0000\n");
        return 2;
    }
    bed = scn_living_bed_open(o.run);
    if (!bed)
        return 3;
    where = scn_living_bed_text(bed, "at", "unix");
    snprintf(spec, sizeof spec, "at:unix:%s", where ? where : "");
    json_decref(bed);
    if (!where) {
        fprintf(stderr, "testbed: apdu: this bed has no AT socket\n");
        return 3;
    }
    if (iotsafe_transport_open(spec, &t, err, sizeof err) < 0) {
        fprintf(stderr, "testbed: apdu: %s\n", err);
        return 3;
    }
    for (int i = 0; i < o.n_files && r == 0; i++)
        r = send_apdu(t, o.files[i]);
    iotsafe_transport_close(t);
    return r;
}
