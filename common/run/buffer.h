#pragma once
/* The two buffers of a byte stream, shared by connections and pseudo terminals. Not installed. */
#include <stdbool.h>

#include "tb/span.h"

/* Input: read straight into it, offered from start to end, what is not consumed stays. It begins
 * small because a fleet has many connections, and doubles when a read filled it. */
struct tb_inbuf {
    uint8_t *p;
    size_t start, end, cap;
    bool grow;
};

/* Where the next read goes; *ret_n is 0 when TB_CONN_IN_MAX bytes are kept already. */
uint8_t *tb_inbuf_room(struct tb_inbuf *b, size_t *ret_n);
void tb_inbuf_filled(struct tb_inbuf *b, size_t n);
struct tb_span tb_inbuf_kept(const struct tb_inbuf *b);
void tb_inbuf_drop(struct tb_inbuf *b); /* forgets the contents, keeps the memory */
void tb_inbuf_done(struct tb_inbuf *b);

/* Output that the kernel did not take at once. */
struct tb_outbuf {
    uint8_t *p;
    size_t n, cap;
};

/* Appends the pieces without their first skip bytes. */
void tb_outbuf_append(struct tb_outbuf *b, const struct tb_span *pieces, unsigned n, size_t skip);
void tb_outbuf_done(struct tb_outbuf *b);
