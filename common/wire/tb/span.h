#pragma once
/* Borrowed input and bounded output: the only place of the project with raw pointer arithmetic.
 *
 * A span is consumed from the front by the tb_take_* functions; each of them either succeeds or
 * leaves both the span and its output untouched. A buffer has sticky overflow: put as much as you
 * like, then look at tb_buf_ok() once. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tb_span { /* borrowed, read-only, passed by value; p may be NULL when n is 0 */
    const uint8_t *p;
    size_t n;
};

struct tb_buf { /* borrowed storage, n of cap bytes used */
    uint8_t *p;
    size_t n;
    size_t cap;
    bool overflow; /* something did not fit; contents are not to be used */
};

#define TB_SPAN_NONE ((struct tb_span){NULL, 0})
/* A span over literal bytes: TB_BYTES(0x00, 0xA4) */
#define TB_BYTES(...)                                                                              \
    ((struct tb_span){(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})})
/* A buffer over an array of bytes (not a pointer). */
#define TB_BUF(array) ((struct tb_buf){(array), 0, sizeof(array), false})

static inline struct tb_span tb_span(const void *p, size_t n) {
    return (struct tb_span){p, n};
}

static inline struct tb_span tb_span_str(const char *s) {
    return (struct tb_span){(const uint8_t *)s, strlen(s)};
}

static inline bool tb_span_eq(struct tb_span a, struct tb_span b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* True when a begins with all of prefix. */
static inline bool tb_span_starts(struct tb_span a, struct tb_span prefix) {
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

/* The n bytes from offset off, clipped to what is there. */
static inline struct tb_span tb_span_sub(struct tb_span s, size_t off, size_t n) {
    if (off > s.n)
        off = s.n;
    if (n > s.n - off)
        n = s.n - off;
    return (struct tb_span){off ? s.p + off : s.p, n};
}

/* Moves n bytes from the front of *in to *ret_head; false and no change if *in is shorter. */
static inline bool tb_take(struct tb_span *in, size_t n, struct tb_span *ret_head) {
    if (in->n < n)
        return false;
    *ret_head = (struct tb_span){in->p, n};
    *in = (struct tb_span){n ? in->p + n : in->p, in->n - n};
    return true;
}

static inline bool tb_take_u8(struct tb_span *in, uint8_t *ret) {
    if (in->n < 1)
        return false;
    *ret = in->p[0];
    *in = (struct tb_span){in->p + 1, in->n - 1};
    return true;
}

static inline bool tb_take_be16(struct tb_span *in, uint16_t *ret) {
    if (in->n < 2)
        return false;
    *ret = (uint16_t)(in->p[0] << 8 | in->p[1]);
    *in = (struct tb_span){in->p + 2, in->n - 2};
    return true;
}

/* Big-endian unsigned integer of n bytes, n = 1..4. */
static inline bool tb_take_be(struct tb_span *in, size_t n, uint32_t *ret) {
    uint32_t v = 0;

    if (n < 1 || n > 4 || in->n < n)
        return false;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | in->p[i];
    *in = (struct tb_span){in->p + n, in->n - n};
    *ret = v;
    return true;
}

static inline struct tb_buf tb_buf(void *p, size_t cap) {
    return (struct tb_buf){p, 0, cap, false};
}

static inline bool tb_buf_ok(const struct tb_buf *b) {
    return !b->overflow;
}

static inline struct tb_span tb_buf_span(const struct tb_buf *b) {
    return (struct tb_span){b->p, b->n};
}

/* Reserves n bytes at the end and returns where they go; NULL, overflow set, if they do not fit. */
static inline uint8_t *tb_put_room(struct tb_buf *b, size_t n) {
    uint8_t *at;

    if (b->overflow || b->cap - b->n < n) {
        b->overflow = true;
        return NULL;
    }
    at = b->n ? b->p + b->n : b->p;
    b->n += n;
    return at;
}

static inline void tb_put(struct tb_buf *b, struct tb_span s) {
    uint8_t *at = tb_put_room(b, s.n);

    if (at && s.n)
        memcpy(at, s.p, s.n);
}

static inline void tb_put_u8(struct tb_buf *b, uint8_t v) {
    uint8_t *at = tb_put_room(b, 1);

    if (at)
        *at = v;
}

static inline void tb_put_be16(struct tb_buf *b, uint16_t v) {
    uint8_t *at = tb_put_room(b, 2);

    if (at) {
        at[0] = (uint8_t)(v >> 8);
        at[1] = (uint8_t)v;
    }
}

/* Big-endian unsigned integer in n bytes, n = 1..4; higher bits are cut off. */
static inline void tb_put_be(struct tb_buf *b, size_t n, uint32_t v) {
    uint8_t *at = tb_put_room(b, n);

    for (size_t i = 0; at && i < n; i++)
        at[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

/* Overwrites secrets in a way the compiler keeps. NULL with n = 0 is allowed. */
void tb_wipe(void *p, size_t n);
