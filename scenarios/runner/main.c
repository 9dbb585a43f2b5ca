/* testbed: the front command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb/cli.h"
#include "tb/log.h"
#include "verbs.h"

static const struct {
    const char *name, *help;
    int (*fn)(int argc, char **argv);
} verbs[] = {
    {"demo", "run the main scenario and say what happened", scn_verb_demo},
    {"run", "run scenarios: FILE... (default: all)", scn_verb_run},
    {"list", "list the scenario cases", scn_verb_list},
    {"up", "a living bed until Ctrl-C; prints where everything is (--json)", scn_verb_up},
    {"ctl", "ask a daemon of the living bed: ctl card|modem|device|hub VERB [key=value...]",
     scn_verb_ctl},
    {"apdu", "send command APDUs through the living bed's modem: apdu HEX...", scn_verb_apdu},
    {"at", "send AT commands to the living bed's modem: at 'AT+CIMI'...", scn_verb_at},
    {"trace", "show what happened in a run folder or the living bed (--follow: and goes on)",
     scn_verb_trace},
    {"bench", "benchmarks: apdu, handshake, concurrency, fleet, hub", scn_verb_bench},
};

enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static void usage(FILE *to) {
    fputs("Usage: testbed COMMAND [OPTION...]\n"
          "GSMA IoT SAFE testbed: SIM card, modem, device and hub on one machine.\n\n",
          to);
    for (size_t i = 0; i < N_VERBS; i++)
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    fputs("  test     run the test suite (only through the ./testbed script)\n\n"
          "`testbed COMMAND --help` tells more. Exit codes: 0 pass, 1 failed, 2 usage, 3 the bed "
          "broke, 77 all skipped.\n",
          to);
}

int main(int argc, char **argv) {
    const char *names[N_VERBS + 1] = {NULL};
    const char *near;

    /* Results go to a pipe as they come, too. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("testbed %s\n", TB_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "matrix") == 0) {
        fprintf(stderr, "testbed: matrix: the interop matrix is not built yet\n");
        return 2;
    }
    for (size_t i = 0; i < N_VERBS; i++) {
        names[i] = verbs[i].name;
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].fn(argc - 1, argv + 1);
    }
    near = tb_nearest(argv[1], names);
    fprintf(stderr, "testbed: unknown command '%s'%s%s%s; see testbed --help\n", argv[1],
            near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return 2;
}
