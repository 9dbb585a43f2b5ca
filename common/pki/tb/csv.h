#pragma once
/* Comma-separated values, RFC 4180: what a SIM supplier's and an operator's files are written in.
 * Rows end with CRLF or LF; a byte order mark is passed over; a field in quotes may hold anything
 * but NUL. Everything else is refused with its line. */
#include "tb/error.h"
#include "tb/span.h"

enum { TB_CSV_FIELD_MAX = 65536 };

struct tb_csv {
    struct tb_span rest; /* borrowed */
    unsigned long line;  /* of what comes next, from 1 */
    unsigned long row;   /* line in which the last row began */
    char separator;
    uint8_t *scratch; /* of fields with quotes inside */
    size_t scratch_n, scratch_cap;
};

/* text is borrowed until tb_csv_done(). */
void tb_csv_init(struct tb_csv *c, struct tb_span text, char separator);
void tb_csv_done(struct tb_csv *c);

/* The next row that is not blank: its number of fields, borrowed until the next call; 0 at the end.
 * TB_EPARSE or TB_ERANGE (more than max fields, one too long) with e->line and e->message set;
 * what follows is the next line, unless a quote is never closed: then nothing follows. */
int tb_csv_next(struct tb_csv *c, struct tb_span *fields, size_t max,
                struct tb_error *e) TB_CHECKED;

/* Appends a field, in quotes where needed, and what follows it: a comma, or CRLF when last. */
void tb_put_csv(struct tb_buf *out, struct tb_span field, bool last);
