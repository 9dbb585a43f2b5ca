#include "tb/csv.h"

#include <assert.h>
#include <stdlib.h>

enum { FIELDS_MAX = 256 };

void tb_csv_init(struct tb_csv *c, struct tb_span text, char separator) {
    struct tb_span bom;

    *c = (struct tb_csv){.rest = text, .line = 1, .separator = separator};
    if (tb_span_starts(text, TB_BYTES(0xEF, 0xBB, 0xBF)))
        (void)tb_take(&c->rest, 3, &bom);
}

void tb_csv_done(struct tb_csv *c) {
    if (c->scratch)
        tb_wipe(c->scratch, c->scratch_cap);
    free(c->scratch);
    *c = (struct tb_csv){0};
}

/* Moves n bytes from the front of the text. */
static struct tb_span eat(struct tb_csv *c, size_t n) {
    struct tb_span head = TB_SPAN_NONE;

    (void)tb_take(&c->rest, n, &head);
    return head;
}

static bool at(const struct tb_csv *c, char what) {
    return c->rest.n && c->rest.p[0] == (uint8_t)what;
}

static void next_line(struct tb_csv *c) {
    const uint8_t *end = c->rest.n ? memchr(c->rest.p, '\n', c->rest.n) : NULL;

    eat(c, end ? (size_t)(end - c->rest.p) + 1 : c->rest.n);
    c->line++;
}

/* The end of a row, if it is here. */
static bool take_end(struct tb_csv *c) {
    size_t n = c->rest.n == 0                                                            ? 0
               : at(c, '\n')                                                             ? 1
               : at(c, '\r') && c->rest.n > 1 && tb_span_sub(c->rest, 1, 1).p[0] == '\n' ? 2
                                                                                         : SIZE_MAX;

    if (n == SIZE_MAX)
        return false;
    eat(c, n);
    c->line += n > 0;
    return true;
}

static int complain(struct tb_csv *c, struct tb_error *e, int code, const char *what) {
    tb_error_set(e, code, NULL, (int)c->line, "%s", what);
    next_line(c);
    return code;
}

static int plain(struct tb_csv *c, struct tb_span *ret, struct tb_error *e) {
    size_t n = 0;

    for (; n < c->rest.n; n++) {
        uint8_t b = c->rest.p[n];

        if (b == (uint8_t)c->separator || b == '\n')
            break;
        if (b == '\r' && n + 1 < c->rest.n && c->rest.p[n + 1] == '\n')
            break;
        if (b == '"')
            return complain(c, e, TB_EPARSE,
                            "a quote inside a field: put the field in quotes and double it");
        if (b == 0 || b == '\r')
            return complain(c, e, TB_EPARSE,
                            b ? "a carriage return without a line feed" : "a NUL byte");
    }
    if (n > TB_CSV_FIELD_MAX)
        return complain(c, e, TB_ERANGE, "a field longer than 65536 bytes");
    *ret = eat(c, n);
    return 0;
}

/* The scratch is only as large as the quoted fields of one row: it is moved, so fields remember
 * offsets until the row is complete. */
static void keep(struct tb_csv *c, struct tb_span s) {
    if (c->scratch_n + s.n > c->scratch_cap) {
        size_t cap = (c->scratch_n + s.n) * 2;
        uint8_t *larger = malloc(cap);

        if (!larger)
            abort();
        if (c->scratch_n)
            memcpy(larger, c->scratch, c->scratch_n);
        if (c->scratch)
            tb_wipe(c->scratch, c->scratch_cap);
        free(c->scratch);
        c->scratch = larger;
        c->scratch_cap = cap;
    }
    if (s.n)
        memcpy(c->scratch + c->scratch_n, s.p, s.n);
    c->scratch_n += s.n;
}

/* spec: RFC 4180 2.5-2.7. *ret has p NULL: its bytes are the last n of the scratch. */
static int quoted(struct tb_csv *c, struct tb_span *ret, struct tb_error *e) {
    unsigned long first = c->line;
    size_t begin = c->scratch_n;

    eat(c, 1);
    for (;;) {
        const uint8_t *quote = c->rest.n ? memchr(c->rest.p, '"', c->rest.n) : NULL;
        struct tb_span piece;

        if (!quote) {
            eat(c, c->rest.n);
            return tb_error_set(e, TB_EPARSE, NULL, (int)first, "a quote that is never closed");
        }
        piece = eat(c, (size_t)(quote - c->rest.p));
        for (size_t i = 0; i < piece.n; i++)
            c->line += piece.p[i] == '\n';
        if (piece.n && memchr(piece.p, 0, piece.n))
            return complain(c, e, TB_EPARSE, "a NUL byte");
        if (c->scratch_n - begin + piece.n > TB_CSV_FIELD_MAX)
            return complain(c, e, TB_ERANGE, "a field longer than 65536 bytes");
        keep(c, piece);
        eat(c, 1);
        if (!at(c, '"'))
            break;
        keep(c, eat(c, 1));
    }
    *ret = (struct tb_span){NULL, c->scratch_n - begin};
    if (c->rest.n && !at(c, c->separator) && !at(c, '\n') && !at(c, '\r'))
        return complain(c, e, TB_EPARSE, "something follows a closing quote");
    return 0;
}

static void skip_blank(struct tb_csv *c) {
    while (c->rest.n && take_end(c))
        ;
}

int tb_csv_next(struct tb_csv *c, struct tb_span *fields, size_t max, struct tb_error *e) {
    bool is_quoted[FIELDS_MAX] = {false};
    size_t n = 0, from = 0;
    int r;

    assert(max <= FIELDS_MAX);
    skip_blank(c);
    c->row = c->line;
    c->scratch_n = 0;
    if (c->rest.n == 0)
        return 0;
    do {
        if (n == max)
            return complain(c, e, TB_ERANGE, "more fields than a row may have");
        is_quoted[n] = at(c, '"');
        r = is_quoted[n] ? quoted(c, &fields[n], e) : plain(c, &fields[n], e);
        if (r < 0)
            return r;
        n++;
        if (take_end(c))
            break;
        eat(c, 1);                       /* the separator */
        if (c->rest.n == 0 && n < max) { /* an empty field ends the text */
            fields[n++] = TB_SPAN_NONE;
            break;
        }
    } while (true);
    for (size_t i = 0; i < n; i++)
        if (is_quoted[i]) {
            fields[i] = tb_span_sub(tb_span(c->scratch, c->scratch_n), from, fields[i].n);
            from += fields[i].n;
        }
    return (int)n;
}

static bool needs_quotes(struct tb_span s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ',' || s.p[i] == '"' || s.p[i] == '\r' || s.p[i] == '\n')
            return true;
    return s.n && (s.p[0] == ' ' || s.p[s.n - 1] == ' ');
}

void tb_put_csv(struct tb_buf *out, struct tb_span field, bool last) {
    if (!needs_quotes(field)) {
        tb_put(out, field);
    } else {
        tb_put_u8(out, '"');
        for (size_t i = 0; i < field.n; i++) {
            if (field.p[i] == '"')
                tb_put_u8(out, '"');
            tb_put_u8(out, field.p[i]);
        }
        tb_put_u8(out, '"');
    }
    tb_put(out, last ? TB_BYTES('\r', '\n') : TB_BYTES(','));
}
