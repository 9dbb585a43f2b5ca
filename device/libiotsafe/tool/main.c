/* iotsafe: try an IoT SAFE card from the command line. */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { OPT_JSON = 256, OPT_PEM, OPT_ONLY_AID, OPT_BASIC, OPT_CLOSE, OPT_CLASS };

static const struct argp_option options[] = {
    {"transport", 't', "SPEC", 0, "Where the card is; default: $IOTSAFE_TRANSPORT", 1},
    {"aid", 'a', "HEX", 0, "Application to try first", 1},
    {"only-aid", OPT_ONLY_AID, NULL, 0, "… and no other", 1},
    {"basic-channel", OPT_BASIC, NULL, 0, "Open no logical channel", 1},
    {"interindustry", OPT_CLASS, NULL, 0, "Class 0n from the start instead of 8n", 1},
    {"close-sessions", OPT_CLOSE, NULL, 0, "Close sessions before and after each use", 1},
    {"output", 'o', "FILE", 0, "Write the result as bytes into FILE ('-': standard output)", 2},
    {"pem", OPT_PEM, NULL, 0, "read, pubkey: the result as PEM", 2},
    {"json", OPT_JSON, NULL, 0, "The result as one JSON object", 2},
    {"verbose", 'v', NULL, 0, "Show every command and answer on standard error", 3},
    {0}};

static const char doc[] =
    "Try an IoT SAFE card (GSMA IoT.05) behind a modem, a reader or a socket."
    "\v"
    "Commands:\n"
    "  info                     what the applet says about itself\n"
    "  list                     its objects\n"
    "  object TYPE ID           one of them; TYPE: private public secret file\n"
    "  read ID                  content of a file\n"
    "  pubkey ID                a public key\n"
    "  generate ID              make a key pair in the container of that private key\n"
    "  put ID POINT             store a peer's public key (hex, 65 bytes)\n"
    "  sign ID FILE             ECDSA over the SHA-256 of FILE ('-': standard input); DER\n"
    "  verify ID FILE SIGFILE   the card's opinion on such a signature, DER or r||s\n"
    "  ecdh PRIVATE PUBLIC      shared secret of two keys on the card\n"
    "  prf SECRET LABEL SEED N [Z]  N bytes of the TLS 1.2 PRF, label as text and seed in hex; of "
    "a\n"
    "                           pre-shared key (RFC 4279; with the shared secret Z, RFC 5489)\n"
    "  hkdf SECRET [SALT]       HKDF-Extract with SHA-256; no salt: zeros\n"
    "  random N                 N bytes\n"
    "  apdu HEX...              commands as they are, on the applet's channel\n"
    "  reset                    cold reset, where the transport can\n"
    "\n"
    "ID is an identifier in hex (01, 303036) or a label (label:client key). SECRET is the ID of a\n"
    "secret key on the card, or hex:BYTES for one of the device.\n"
    "\n"
    "Transports:\n"
    "  at:/dev/ttyUSB0,speed=115200,flow=hw   AT+CSIM on a serial port or pty\n"
    "  at:unix:PATH  at:tcp:HOST:PORT         AT+CSIM on a socket\n"
    "  cgla:...                               the same with AT+CCHO and AT+CGLA\n"
    "  pcsc:  pcsc:PART-OF-READER-NAME        PC/SC\n"
    "  vpcd:HOST:PORT  vpcd-listen:HOST:PORT  a virtual card that listens, or dials in\n"
    "Each takes timeout=MILLISECONDS after a comma.\n"
    "\n"
    "Exit status: 0 done, 1 failed (or the signature is bad), 2 wrong usage.";

static error_t parse(int key, char *arg, struct argp_state *state) {
    struct tool *tool = state->input;

    switch (key) {
    case 't':
        tool->transport = arg;
        return 0;
    case 'a':
        if (!tool_hex(arg, tool->aid, sizeof tool->aid, &tool->options.aid_len) ||
            tool->options.aid_len < 5)
            argp_error(state, "'%s' is no application identifier: 5 to 16 bytes in hex", arg);
        tool->options.aid = tool->aid;
        return 0;
    case OPT_ONLY_AID:
        tool->options.only_this_aid = 1;
        return 0;
    case OPT_BASIC:
        tool->options.basic_channel = 1;
        return 0;
    case OPT_CLASS:
        tool->options.interindustry_class = 1;
        return 0;
    case OPT_CLOSE:
        tool->options.close_sessions = 1;
        return 0;
    case 'o':
        tool->output = arg;
        return 0;
    case OPT_PEM:
        tool->pem = true;
        return 0;
    case OPT_JSON:
        tool->json = true;
        return 0;
    case 'v':
        tool->verbose = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            tool->command = arg;
        else if (tool->argc < TOOL_ARGS_MAX)
            tool->argv[tool->argc++] = arg;
        else
            argp_error(state, "too many arguments");
        return 0;
    case ARGP_KEY_END:
        if (!tool->command)
            argp_usage(state);
        if (tool->options.only_this_aid && !tool->options.aid_len)
            argp_error(state, "--only-aid needs --aid");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The C library looks for it: hidden, as everything else of ours, it would not be found. */
__attribute__((visibility("default"))) const char *argp_program_version = "iotsafe " TB_VERSION;

int main(int argc, char **argv) {
    static const struct argp argp = {options, parse, "COMMAND [ARGUMENT...]", doc, NULL,
                                     NULL,    NULL};
    struct tool tool = {.transport = getenv("IOTSAFE_TRANSPORT")};

    argp_err_exit_status = TOOL_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &tool);
    return tool_run(&tool);
}
