#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_JUNIT = 1000,
    KEY_RUN,
    KEY_PROFILE,
    KEY_MODEL,
    KEY_BED,
    KEY_TIME,
    KEY_KEEP,
    KEY_REPEAT,
    KEY_SEED,
    KEY_JSON,
    KEY_STACK,
    KEY_FOLLOW
};

static const struct {
    char letter;
    struct argp_option option;
} all[] = {
    {'o',
     {"out", 'o', "DIR", 0, "Folder of the run: events, captures, logs (default: a new one)", 0}},
    {'u', {"junit", KEY_JUNIT, "FILE", 0, "Write the results as JUnit XML", 0}},
    {'j', {"json", KEY_JSON, NULL, 0, "Print one JSON object on one line", 0}},
    {'k', {"keep", KEY_KEEP, NULL, 0, "Keep the folders of passed cases too", 0}},
    {'v', {"verbose", 'v', NULL, 0, "Show each step", 0}},
    {'s',
     {"set", 's', "AXIS=VALUE", 0, "Run only this value of a matrix axis (may be repeated)", 0}},
    {'s', {"stack", KEY_STACK, "NAME", 0, "Short for --set stack=NAME", 0}},
    {'f', {"filter", 'f', "TEXT", 0, "Only cases whose name or tags contain TEXT", 0}},
    {'n', {"repeat", KEY_REPEAT, "N", 0, "Run everything N times", 0}},
    {'n',
     {"seed", KEY_SEED, "N", 0,
      "Seed of the scenarios' random numbers (printed; default: from the clock)", 0}},
    {'b', {"bed", KEY_BED, "NAME", 0, "procs: daemons on loopback (the only bed built so far)", 0}},
    {'b',
     {"time", KEY_TIME, "PROFILE", 0, "off: no modelled delays (the only profile built so far)",
      0}},
    {'r',
     {"run", KEY_RUN, "DIR", 0, "Folder of the living bed (default: the newest `testbed up`)", 0}},
    {'w', {"follow", KEY_FOLLOW, NULL, 0, "Go on with what happens, until the run ends", 0}},
    {'p',
     {"profile", KEY_PROFILE, "NAME|FILE", 0,
      "Card file, by its name in sim-card/profiles (default: factory) or its path", 0}},
    {'p', {"model", KEY_MODEL, "NAME", 0, "Modem model (default: generic)", 0}},
};

static error_t parse_one(int key, char *arg, struct argp_state *state) {
    struct scn_options *o = state->input;

    switch (key) {
    case 'o':
        if (!arg[0])
            argp_error(state, "--out needs the name of a folder");
        o->out = arg;
        break;
    case 'v':
        o->verbose = true;
        break;
    case 'f':
        o->filter = arg;
        break;
    case KEY_JUNIT:
        o->junit = arg;
        break;
    case KEY_JSON:
        o->json = true;
        break;
    case KEY_FOLLOW:
        o->follow = true;
        break;
    case KEY_KEEP:
        o->keep = true;
        break;
    case KEY_RUN:
        o->run = arg;
        break;
    case KEY_PROFILE:
        o->profile = arg;
        break;
    case KEY_MODEL:
        o->model = arg;
        break;
    case KEY_BED:
        if (strcmp(arg, "procs") != 0)
            argp_error(state, "bed '%s' is not built yet; there is: procs", arg);
        o->bed = arg;
        break;
    case KEY_TIME:
        if (strcmp(arg, "off") != 0)
            argp_error(state, "time profile '%s' is not built yet; there is: off", arg);
        o->time = arg;
        break;
    case KEY_REPEAT:
    case KEY_SEED: {
        char *end;
        unsigned long v = strtoul(arg, &end, 10);

        if (*end || end == arg || v > 1000000000 || (key == KEY_REPEAT && v == 0))
            argp_error(state, "'%s' is not a number that fits here", arg);
        *(key == KEY_REPEAT ? &o->repeat : &o->seed) = (unsigned)v;
        break;
    }
    case KEY_STACK: {
        static char text[64];

        snprintf(text, sizeof text, "stack=%s", arg);
        arg = text;
    }
        __attribute__((fallthrough));
    case 's':
        if (!strchr(arg, '='))
            argp_error(state, "--set takes AXIS=VALUE, not '%s'", arg);
        if (o->n_set == SCN_MAX_SET)
            argp_error(state, "too many --set");
        o->set[o->n_set++] = arg;
        break;
    case ARGP_KEY_ARG:
        if (o->n_files == SCN_MAX_FILES)
            argp_error(state, "too many arguments");
        o->files[o->n_files++] = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

void scn_options_parse(int argc, char **argv, const char *which, const char *args_doc,
                       const char *doc, struct scn_options *ret) {
    struct argp_option options[sizeof all / sizeof all[0] + 1];
    struct argp argp = {options, parse_one, args_doc, doc, NULL, NULL, NULL};
    char name[64];
    size_t n = 0;

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strchr(which, all[i].letter))
            options[n++] = all[i].option;
    memset(&options[n], 0, sizeof options[n]);
    memset(ret, 0, sizeof *ret);
    ret->repeat = 1;
    snprintf(name, sizeof name, "testbed %s", argv[0]);
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, ret);
    argv[0] = NULL; /* name is ours */
}
