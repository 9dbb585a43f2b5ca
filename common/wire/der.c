#include "tb/der.h"

enum { TAG_INTEGER = 0x02, TAG_SEQUENCE = 0x30, HALF_MIN = 32, HALF_MAX = 66, LEN_BYTES_MAX = 4 };

/* DER length (ITU-T X.690 8.1.3, 10.1): definite and minimal. */
static int take_len(struct tb_span *in, size_t *ret) {
    struct tb_span rest = *in;
    uint8_t first;
    uint32_t len;

    if (!tb_take_u8(&rest, &first))
        return TB_EMORE;
    len = first;
    if (first >= 0x80) {
        size_t n = first & 0x7FU;

        if (n == 0 || n > LEN_BYTES_MAX)
            return TB_EPARSE;
        if (rest.n > 0 && rest.p[0] == 0)
            return TB_EPARSE; /* a shorter form exists */
        if (!tb_take_be(&rest, n, &len))
            return TB_EMORE;
        if (len < 0x80)
            return TB_EPARSE;
    }
    *in = rest;
    *ret = len;
    return 0;
}

static bool take_object(struct tb_span *in, uint8_t tag, struct tb_span *ret_value) {
    uint8_t t;
    size_t len;

    return tb_take_u8(in, &t) && t == tag && take_len(in, &len) == 0 && tb_take(in, len, ret_value);
}

static struct tb_span without_leading_zeros(struct tb_span n) {
    while (n.n > 1 && n.p[0] == 0)
        n = tb_span_sub(n, 1, n.n);
    return n;
}

static bool high_bit(struct tb_span n) {
    return n.n > 0 && (n.p[0] & 0x80) != 0;
}

/* n without leading zeros as an INTEGER: a zero byte keeps it positive (X.690 8.3). */
static void put_integer(struct tb_buf *out, struct tb_span n) {
    bool pad = high_bit(n);

    tb_put_u8(out, TAG_INTEGER);
    tb_put_u8(out, (uint8_t)(n.n + pad));
    if (pad)
        tb_put_u8(out, 0);
    tb_put(out, n);
}

int tb_ecdsa_raw_to_der(struct tb_span raw, struct tb_buf *out) {
    size_t half = raw.n / 2, body;
    struct tb_buf b = *out;
    struct tb_span r, s;

    if (raw.n % 2 != 0 || half < HALF_MIN || half > HALF_MAX)
        return TB_ERANGE;
    r = without_leading_zeros(tb_span_sub(raw, 0, half));
    s = without_leading_zeros(tb_span_sub(raw, half, half));
    body = 2 + high_bit(r) + r.n + 2 + high_bit(s) + s.n;
    tb_put_u8(&b, TAG_SEQUENCE);
    if (body > 0x7F)
        tb_put_u8(&b, 0x81);
    tb_put_u8(&b, (uint8_t)body);
    put_integer(&b, r);
    put_integer(&b, s);
    if (!tb_buf_ok(&b))
        return TB_ESPACE;
    *out = b;
    return 0;
}

/* A positive or zero INTEGER of at most half bytes, its padding removed. */
static bool take_integer(struct tb_span *in, size_t half, struct tb_span *ret) {
    struct tb_span n;

    if (!take_object(in, TAG_INTEGER, &n) || n.n == 0 || high_bit(n))
        return false;
    if (n.n > 1 && n.p[0] == 0) {
        n = tb_span_sub(n, 1, n.n);
        if (!high_bit(n))
            return false; /* padded without need */
    }
    if (n.n > half)
        return false;
    *ret = n;
    return true;
}

static void put_fixed(struct tb_buf *out, size_t half, struct tb_span n) {
    uint8_t *at = tb_put_room(out, half);

    if (at) {
        memset(at, 0, half - n.n);
        memcpy(at + half - n.n, n.p, n.n);
    }
}

int tb_ecdsa_der_to_raw(struct tb_span der, size_t half, struct tb_buf *out) {
    struct tb_span body, r, s;
    struct tb_buf b = *out;

    if (half < HALF_MIN || half > HALF_MAX)
        return TB_ERANGE;
    if (!take_object(&der, TAG_SEQUENCE, &body) || der.n > 0)
        return TB_EPARSE;
    if (!take_integer(&body, half, &r) || !take_integer(&body, half, &s) || body.n > 0)
        return TB_EPARSE;
    put_fixed(&b, half, r);
    put_fixed(&b, half, s);
    if (!tb_buf_ok(&b))
        return TB_ESPACE;
    *out = b;
    return 0;
}

int tb_der_object_len(struct tb_span in, size_t *ret_len) {
    struct tb_span rest = in;
    size_t len;
    uint8_t t;
    int r;

    if (!tb_take_u8(&rest, &t))
        return TB_EMORE;
    if (t == 0 || (t & 0x1F) == 0x1F)
        return TB_EPARSE; /* no high tag number occurs at the front of what we read */
    r = take_len(&rest, &len);
    if (r < 0)
        return r;
    if (len > SIZE_MAX - (in.n - rest.n))
        return TB_EPARSE;
    *ret_len = in.n - rest.n + len;
    return 0;
}
