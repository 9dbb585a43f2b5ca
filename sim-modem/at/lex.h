#pragma once
/* From a command line body to commands and their parameters (V.250 5.3, 5.4). Total: every body
 * gives commands, an end, or an error; nothing is copied except the name. */
#include <stdbool.h>

#include "tb/error.h"
#include "tb/span.h"

enum at_form { AT_FORM_EXEC = 1, AT_FORM_SET = 2, AT_FORM_READ = 4, AT_FORM_TEST = 8 };

enum { AT_NAME_MAX = 23 };

struct at_request {
    char name[AT_NAME_MAX + 1]; /* upper case: "E", "&C", "\\Q", "S", "D", "+CSIM" */
    enum at_form form;
    bool has_number;     /* basic commands and S: digits followed the name */
    uint32_t number;     /* basic: the number, 0 when absent; S: the register */
    struct tb_span args; /* SET: what stands after "="; D: the dial string */
};

/* Takes the next command off the front of *body: 1, 0 at the end, TB_EPARSE when what stands there
 * is no command (unknown characters, a string without end, something glued to "?"). */
int at_lex_next(struct tb_span *body, struct at_request *ret) TB_CHECKED;

/* Parameters of a SET command, separated by commas outside strings. */
struct at_args {
    struct tb_span rest;
    bool more; /* another parameter follows (maybe an empty one) */
};

struct at_arg {
    enum { AT_ARG_OMITTED, AT_ARG_PLAIN, AT_ARG_STRING } kind;
    struct tb_span text; /* without quotes, escapes not resolved */
};

struct at_args at_args(struct tb_span text);
/* 1 and *ret; 0 when there are no more; TB_EPARSE when a string is not followed by a comma or the
 * end. */
int at_args_next(struct at_args *a, struct at_arg *ret) TB_CHECKED;

/* Decimal digits only. TB_EPARSE, or TB_ERANGE above UINT32_MAX. */
int at_parse_uint(struct tb_span text, uint32_t *ret) TB_CHECKED;

/* Resolves \22 and \5C style escapes (V.250 5.4.2.2) of a string parameter into dst, with
 * terminating NUL. TB_EPARSE on a lone backslash or a NUL character, TB_ESPACE when cap is too
 * small. */
int at_unescape(struct tb_span text, char *dst, size_t cap) TB_CHECKED;
