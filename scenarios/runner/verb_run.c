/* run, list, demo: scenarios from files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "verbs.h"

int scn_verb_run(int argc, char **argv) {
    struct scn_report report;
    struct scn_options o;
    struct tb_error e = {0};
    int r, sum;

    scn_options_parse(
        argc, argv, "oukvsfnb", "[FILE|FOLDER...]",
        "Runs scenarios: each file is a story told by real daemons on this machine.\v"
        "Without arguments all scenarios of the project run. Each case gets a folder with "
        "events.jsonl, apdu.pcapng (Wireshark "
        "opens it), tls.keys and the daemons' logs; it is kept when the case fails.\n\n"
        "Exit codes: 0 passed, 1 failed, 2 usage, 3 the bed broke, 77 everything skipped; 128 + "
        "signal when interrupted.",
        &o);
    scn_report_init(&report, o.verbose);
    r = scn_suite_collect(&o, &report);
    if (r == 0) {
        r = scn_suite_run(&o, &report, o.keep);
        sum = scn_report_summary(&report);
        r = r ? r : sum;
    }
    if (o.junit && report.n > 0 && scn_report_junit(&report, o.junit, &e) < 0) {
        fprintf(stderr, "testbed: %s: %s\n", e.file, e.message);
        r = r ? r : 3;
    }
    scn_report_done(&report);
    return r;
}

int scn_verb_list(int argc, char **argv) {
    struct scn_report report;
    struct scn_options o;
    int r;

    scn_options_parse(argc, argv, "sf", "[FILE|FOLDER...]",
                      "Lists the scenario cases that `testbed run` would run.", &o);
    scn_report_init(&report, false);
    r = scn_suite_collect(&o, &report);
    for (size_t i = 0; r == 0 && i < report.n; i++)
        printf("%-44s %s\n", report.cases[i].name, report.cases[i].file);
    scn_report_done(&report);
    return r;
}

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "?";
}

static long long number_of(const json_t *o, const char *key) {
    return (long long)json_integer_value(json_object_get(o, key));
}

static void tell_demo(const struct scn_case *c) {
    const json_t *handshake = json_object_get(c->result.notes, "handshake");

    printf("\n");
    printf("  identity the hub saw  %s\n", text_of(c->result.notes, "identity"));
    printf("  handshake             %s, %s, %.1f ms\n", text_of(handshake, "version"),
           text_of(handshake, "cipher"), (double)number_of(handshake, "us") / 1e3);
    printf("  card                  %lld signature made in the card, %lld APDUs, %lld bytes to it, "
           "%lld from it\n",
           number_of(handshake, "signatures"), number_of(handshake, "apdus"),
           number_of(handshake, "bytes_out"), number_of(handshake, "bytes_in"));
    printf("  traces                %s\n", c->folder);
    printf(
        "                        events.jsonl, apdu.pcapng and tls.keys for Wireshark, log/\n\n");
    printf("Next: ./testbed up (a living bed to plug your own program into), ./testbed run (all "
           "scenarios), ./testbed --help\n");
}

int scn_verb_demo(int argc, char **argv) {
    struct scn_report report;
    struct scn_options o;
    char file[SCN_PATH];
    int r;

    scn_options_parse(argc, argv, "o", "",
                      "Runs the main scenario and says what happened: a factory-made card, a "
                      "modem, a device and a hub, one mutual TLS 1.3 "
                      "handshake signed in the card, one MQTT message each way.",
                      &o);
    if (o.n_files) {
        fprintf(stderr, "testbed: demo takes no arguments\n");
        return 2;
    }
    scn_data_path("scenarios/10-provisioning/factory-final.lua", file, sizeof file);
    o.files[o.n_files++] = file;
    o.set[o.n_set++] = "tls=1.3";
    o.set[o.n_set++] = "link=csim";
    scn_report_init(&report, true);
    printf("sim-card --vpcd--> sim-modem --AT+CSIM--> iot-device --TLS 1.3--> iot-hub --MQTT--> "
           "mosquitto\n\n");
    r = scn_suite_collect(&o, &report);
    if (r == 0)
        r = scn_suite_run(&o, &report, true);
    if (r == 0 && report.cases[0].result.status == SCN_PASS)
        tell_demo(&report.cases[0]);
    else if (r == 0)
        r = report.cases[0].result.status == SCN_BROKE ? 3 : 1;
    scn_report_done(&report);
    return r;
}
