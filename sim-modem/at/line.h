#pragma once
/* The V.250 line editor (5.2.1, 5.2.2): from a stream of characters to command line bodies, one
 * byte or a whole session at a time. Pure: echo and execution are the caller's. */
#include <stdbool.h>

#include "tb/span.h"

struct at_line {
    uint8_t *p; /* the body being typed or, when whole, the last one; given by the owner, who may
                   move it between calls */
    size_t n, limit;
    enum { AT_LINE_IDLE, AT_LINE_PREFIX, AT_LINE_BODY } state;
    bool whole;    /* p holds a finished body that A/ repeats */
    bool overflow; /* the body being typed passed the limit */
};

enum at_line_event {
    AT_LINE_MORE,     /* input used up, no line yet */
    AT_LINE_READY,    /* a body is in p[0..n), without "AT" and terminator, blanks outside quotes
                         removed */
    AT_LINE_REPEAT,   /* A/: execute p[0..n) again if whole, refuse otherwise */
    AT_LINE_TOO_LONG, /* a body passed the limit and was thrown away up to its terminator */
};

/* p: limit bytes, or as many as n and the next input together; borrowed until the line is no longer
 * used. */
void at_line_init(struct at_line *l, uint8_t *p, size_t limit);

/* Consumes from *in up to and including the byte that completes an event. cr and bs are the
 * registers S3 and S5; DEL deletes like bs. */
enum at_line_event at_line_take(struct at_line *l, uint8_t cr, uint8_t bs, struct tb_span *in);

/* True while the TE is in the middle of a line: unsolicited text has to wait. */
static inline bool at_line_typing(const struct at_line *l) {
    return l->state != AT_LINE_IDLE;
}

/* Forgets a half-typed line. */
void at_line_abort(struct at_line *l);
