#include "buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "tb/conn.h"

enum { FIRST_CAP = 2048, IDLE_CAP = 1 << 16 };

uint8_t *tb_inbuf_room(struct tb_inbuf *b, size_t *ret_n) {
    size_t kept = b->end - b->start;

    if (b->start > 0) {
        if (kept > 0)
            memmove(b->p, b->p + b->start, kept);
        b->start = 0;
        b->end = kept;
    }
    /* Large reads are worth a larger buffer, but only kept bytes are worth more than 64 KiB. */
    if (b->end == b->cap || (b->grow && b->cap < IDLE_CAP)) {
        size_t cap = b->cap ? b->cap * 2 : FIRST_CAP;

        if (cap <= TB_CONN_IN_MAX) {
            b->p = tb_xrealloc(b->p, cap);
            b->cap = cap;
        }
    }
    b->grow = false;
    *ret_n = b->cap - b->end;
    return b->p + b->end;
}

void tb_inbuf_filled(struct tb_inbuf *b, size_t n) {
    assert(n <= b->cap - b->end);
    b->end += n;
    b->grow = b->end == b->cap;
}

struct tb_span tb_inbuf_kept(const struct tb_inbuf *b) {
    return tb_span(b->p ? b->p + b->start : NULL, b->end - b->start);
}

void tb_inbuf_drop(struct tb_inbuf *b) {
    b->start = b->end = 0;
}

void tb_inbuf_done(struct tb_inbuf *b) {
    free(b->p);
    *b = (struct tb_inbuf){0};
}

void tb_outbuf_append(struct tb_outbuf *b, const struct tb_span *pieces, unsigned n, size_t skip) {
    for (unsigned i = 0; i < n; i++) {
        struct tb_span rest = tb_span_sub(pieces[i], skip, pieces[i].n);

        skip -= pieces[i].n - rest.n;
        if (rest.n == 0)
            continue;
        if (b->cap - b->n < rest.n) {
            while (b->cap - b->n < rest.n)
                b->cap = b->cap ? b->cap * 2 : FIRST_CAP;
            b->p = tb_xrealloc(b->p, b->cap);
        }
        memcpy(b->p + b->n, rest.p, rest.n);
        b->n += rest.n;
    }
}

void tb_outbuf_done(struct tb_outbuf *b) {
    free(b->p);
    *b = (struct tb_outbuf){0};
}
