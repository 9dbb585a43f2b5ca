#include "lex.h"

static bool is_alpha(uint8_t c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

static char upper(uint8_t c) {
    return (char)(is_alpha(c) ? c & ~0x20 : c);
}

/* Start of an extended command: V.250 and 3GPP use '+', vendors the rest. */
static bool is_extended(uint8_t c) {
    return c && strchr("+*^$%#!_@", c);
}

static bool is_name(uint8_t c) {
    return is_alpha(c) || is_digit(c) || (c && strchr("!%-./:_", c));
}

static bool take_char(struct tb_span *in, char c) {
    if (in->n == 0 || in->p[0] != (uint8_t)c)
        return false;
    *in = tb_span_sub(*in, 1, in->n);
    return true;
}

int at_parse_uint(struct tb_span text, uint32_t *ret) {
    uint64_t v = 0;

    if (text.n == 0)
        return TB_EPARSE;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return TB_EPARSE;
        v = v * 10 + (text.p[i] - '0');
        if (v > UINT32_MAX)
            return TB_ERANGE;
    }
    *ret = (uint32_t)v;
    return 0;
}

/* Digits at the front, if any: their value, saturated, goes to *req. */
static void take_number(struct tb_span *in, struct at_request *req) {
    struct tb_span digits = {in->p, 0};

    while (digits.n < in->n && is_digit(in->p[digits.n]))
        digits.n++;
    req->has_number = digits.n > 0;
    req->number = 0;
    if (req->has_number && at_parse_uint(digits, &req->number) < 0)
        req->number = UINT32_MAX;
    *in = tb_span_sub(*in, digits.n, in->n);
}

/* Up to the next ';' outside a string, or the end; false when a string does not end. */
static bool take_args(struct tb_span *in, struct tb_span *ret) {
    bool quoted = false;
    size_t i;

    for (i = 0; i < in->n; i++) {
        quoted ^= in->p[i] == '"';
        if (in->p[i] == ';' && !quoted)
            break;
    }
    return !quoted && tb_take(in, i, ret);
}

static int lex_extended(struct tb_span *in, struct at_request *req) {
    size_t n = 1;

    while (n < in->n && is_name(in->p[n]))
        n++;
    if (n < 2 || n > AT_NAME_MAX || !is_alpha(in->p[1]))
        return TB_EPARSE;
    for (size_t i = 0; i < n; i++)
        req->name[i] = upper(in->p[i]);
    *in = tb_span_sub(*in, n, in->n);
    if (take_char(in, '=')) {
        req->form = AT_FORM_SET;
        if (!take_args(in, &req->args))
            return TB_EPARSE;
        if (tb_span_eq(req->args, tb_span_str("?"))) {
            req->form = AT_FORM_TEST;
            req->args = TB_SPAN_NONE;
        }
    } else if (take_char(in, '?')) {
        req->form = AT_FORM_READ;
    }
    return in->n == 0 || take_char(in, ';') ? 1 : TB_EPARSE;
}

static int lex_register(struct tb_span *in, struct at_request *req) {
    size_t n = 0;

    take_number(in, req);
    if (take_char(in, '?')) {
        req->form = AT_FORM_READ;
    } else if (take_char(in, '=')) {
        req->form = AT_FORM_SET;
        while (n < in->n && is_digit(in->p[n]))
            n++;
        if (!tb_take(in, n, &req->args))
            return TB_EPARSE;
    }
    return 1;
}

static int lex_basic(struct tb_span *in, struct at_request *req) {
    bool prefixed = in->p[0] == '&' || in->p[0] == '\\';

    if (in->n < (prefixed ? 2U : 1U) || !is_alpha(in->p[prefixed]))
        return TB_EPARSE;
    req->name[0] = upper(in->p[0]);
    if (prefixed)
        req->name[1] = upper(in->p[1]);
    *in = tb_span_sub(*in, prefixed ? 2 : 1, in->n);
    if (!prefixed && req->name[0] == 'S')
        return lex_register(in, req);
    if (!prefixed && req->name[0] == 'D') { /* the rest of the line is the dial string */
        req->args = *in;
        *in = tb_span_sub(*in, in->n, 0);
        return 1;
    }
    take_number(in, req);
    return 1;
}

int at_lex_next(struct tb_span *body, struct at_request *ret) {
    struct tb_span in = *body;
    int r;

    while (take_char(&in, ';'))
        ; /* empty commands, and the semicolon that some put after a basic one */
    *ret = (struct at_request){.form = AT_FORM_EXEC};
    if (in.n == 0)
        r = 0;
    else if (is_extended(in.p[0]))
        r = lex_extended(&in, ret);
    else
        r = lex_basic(&in, ret);
    *body = in;
    return r;
}

struct at_args at_args(struct tb_span text) {
    return (struct at_args){text, text.n > 0};
}

int at_args_next(struct at_args *a, struct at_arg *ret) {
    struct tb_span in = a->rest;
    struct at_arg arg = {.kind = AT_ARG_PLAIN};
    size_t n = 0;

    if (!a->more)
        return 0;
    if (take_char(&in, '"')) {
        arg.kind = AT_ARG_STRING;
        while (n < in.n && in.p[n] != '"')
            n++;
        if (!tb_take(&in, n, &arg.text) || !take_char(&in, '"'))
            return TB_EPARSE;
    } else {
        while (n < in.n && in.p[n] != ',')
            n++;
        if (!tb_take(&in, n, &arg.text))
            return TB_EPARSE;
        if (n == 0)
            arg.kind = AT_ARG_OMITTED;
    }
    a->more = take_char(&in, ',');
    if (!a->more && in.n > 0)
        return TB_EPARSE;
    a->rest = in;
    *ret = arg;
    return 1;
}

static int hex_digit(uint8_t c) {
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int at_unescape(struct tb_span text, char *dst, size_t cap) {
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) {
        int c = text.p[i];

        if (c == '\\') {
            if (text.n - i < 3 || hex_digit(text.p[i + 1]) < 0 || hex_digit(text.p[i + 2]) < 0)
                return TB_EPARSE;
            c = hex_digit(text.p[i + 1]) << 4 | hex_digit(text.p[i + 2]);
            i += 2;
        }
        if (c == 0)
            return TB_EPARSE;
        if (n + 1 >= cap)
            return TB_ESPACE;
        dst[n++] = (char)c;
    }
    if (cap == 0)
        return TB_ESPACE;
    dst[n] = '\0';
    return 0;
}
