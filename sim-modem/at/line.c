#include "line.h"

enum { BLANK = 0x20, DEL = 0x7F };

void at_line_init(struct at_line *l, uint8_t *p, size_t limit) {
    *l = (struct at_line){.p = p, .limit = limit};
}

void at_line_abort(struct at_line *l) {
    if (l->state == AT_LINE_BODY)
        l->n = 0; /* the previous body is overwritten already */
    l->state = AT_LINE_IDLE;
    l->overflow = false;
}

static void begin_body(struct at_line *l) {
    l->state = AT_LINE_BODY;
    l->n = 0;
    l->whole = false;
    l->overflow = false;
}

static bool is_letter(uint8_t c, char upper) {
    return (c & ~BLANK) == upper;
}

/* One byte after an A. Control characters do not part A from T (V.250 5.2.2 ignores them), the
 * terminator does. */
static enum at_line_event after_a(struct at_line *l, uint8_t c, uint8_t cr) {
    if (is_letter(c, 'T')) {
        begin_body(l);
    } else if (c == '/') {
        l->state = AT_LINE_IDLE;
        return AT_LINE_REPEAT;
    } else if (c == cr || (!is_letter(c, 'A') && c >= BLANK)) {
        l->state = AT_LINE_IDLE;
    }
    return AT_LINE_MORE;
}

/* Blanks outside strings mean nothing (V.250 5.2.1); they are removed only now because until the
 * end of the line they are characters that a backspace deletes. A prefix repeated at the start of
 * the body is a TE that began anew. */
static void tidy(struct at_line *l) {
    bool quoted = false;
    size_t from = 0, to = 0;

    if (memchr(l->p, BLANK, l->n)) {
        for (; from < l->n; from++) {
            quoted ^= l->p[from] == '"';
            if (l->p[from] != BLANK || quoted)
                l->p[to++] = l->p[from];
        }
        l->n = to;
    }
    for (from = 0;
         l->n - from >= 2 && is_letter(l->p[from], 'A') && is_letter(l->p[from + 1], 'T');)
        from += 2;
    if (from) {
        l->n -= from;
        memmove(l->p, l->p + from, l->n);
    }
}

static enum at_line_event end_body(struct at_line *l) {
    l->state = AT_LINE_IDLE;
    if (l->overflow) {
        l->n = 0;
        return AT_LINE_TOO_LONG;
    }
    tidy(l);
    l->whole = true;
    return AT_LINE_READY;
}

static enum at_line_event take_body(struct at_line *l, uint8_t cr, uint8_t bs, struct tb_span *in) {
    size_t i = 0, n = l->n;
    enum at_line_event event = AT_LINE_MORE;

    while (i < in->n) {
        uint8_t c = in->p[i++];

        if (c == cr) {
            l->n = n;
            event = end_body(l);
            n = l->n;
            break;
        }
        if (c == bs || c == DEL) {
            if (n > 0)
                n--;
        } else if (c < BLANK) {
            continue;
        } else if (n < l->limit) {
            l->p[n++] = c;
        } else {
            l->overflow = true; /* for good: what a backspace would bring back is lost */
        }
    }
    l->n = n;
    *in = tb_span_sub(*in, i, in->n);
    return event;
}

enum at_line_event at_line_take(struct at_line *l, uint8_t cr, uint8_t bs, struct tb_span *in) {
    enum at_line_event event = AT_LINE_MORE;
    uint8_t c;

    while (event == AT_LINE_MORE && in->n > 0) {
        if (l->state == AT_LINE_BODY) {
            event = take_body(l, cr, bs, in);
            continue;
        }
        tb_take_u8(in, &c);
        if (l->state == AT_LINE_PREFIX)
            event = after_a(l, c, cr);
        else if (is_letter(c, 'A'))
            l->state = AT_LINE_PREFIX;
    }
    return event;
}
