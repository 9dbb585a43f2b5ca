#pragma once
/* Shared by the files of the command line tool. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iotsafe/iotsafe.h"

enum { TOOL_OK, TOOL_FAILED, TOOL_USAGE };
enum { TOOL_ARGS_MAX = 256 };

struct tool {
    const char *transport, *output, *command;
    bool pem, json, verbose;
    struct iotsafe_options options;
    uint8_t aid[16];
    int argc;
    char *argv[TOOL_ARGS_MAX];
    struct iotsafe *client;
};

/* Runs the command; returns the exit status, messages are printed. */
int tool_run(struct tool *tool);

/* Hex of a whole text, blanks and colons allowed: false when it is none or does not fit. */
bool tool_hex(const char *text, uint8_t *buf, size_t cap, size_t *ret_n);

/* Prints a result as the options want it: --output, --pem (label NULL: no PEM for this), --json (a
 * member of that name), else hex. */
int tool_print_bytes(const struct tool *tool, const char *name, const char *pem_label,
                     const uint8_t *bytes, size_t n);
void tool_print_info(const struct tool *tool, const struct iotsafe_info *info);
void tool_print_objects(const struct tool *tool, const struct iotsafe_object *objects, size_t n);

/* A transport that prints what passes through t, which is given to it. NULL when out of memory. */
struct iotsafe_transport *tool_trace(struct iotsafe_transport *t);
