#include "tb/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void tb_put_base64(struct tb_buf *out, struct tb_span in) {
    struct tb_span three;

    while (in.n > 0) {
        const size_t n = in.n < 3 ? in.n : 3;
        uint32_t v = 0;

        if (!tb_take(&in, n, &three))
            return;
        for (size_t i = 0; i < 3; i++)
            v = v << 8 | (i < n ? three.p[i] : 0);
        for (size_t i = 0; i < 4; i++)
            tb_put_u8(out, i > n ? '=' : (uint8_t)digits[v >> (18 - 6 * i) & 0x3F]);
    }
}

/* The six bits of a digit; -1: none. */
static int bits_of(uint8_t c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int tb_base64_decode(struct tb_span text, struct tb_buf *out) {
    const size_t before = out->n;
    unsigned have = 0, pads = 0; /* digits of the group that is open */
    uint32_t v = 0;
    uint8_t c;

    if (!tb_buf_ok(out))
        return TB_ERANGE;
    while (tb_take_u8(&text, &c)) {
        const int bits = bits_of(c);

        if (is_blank(c))
            continue;
        if (c == '=' && have + pads > 1 && have + pads < 4) {
            pads++;
            continue;
        }
        if (bits < 0 || pads > 0)
            goto bad;
        v = v << 6 | (uint32_t)bits;
        if (++have == 4) {
            tb_put_be(out, 3, v);
            have = 0;
            v = 0;
        }
    }
    if (have > 0) {
        if (have + pads != 4 || v & (have == 2 ? 0xFU : 0x3U))
            goto bad;
        tb_put_be(out, have - 1, have == 2 ? v >> 4 : v >> 2);
    }
    if (tb_buf_ok(out))
        return 0;
    *out = tb_buf(out->p, out->cap);
    out->n = before;
    return TB_ERANGE;

bad:
    *out = tb_buf(out->p, out->cap);
    out->n = before;
    return TB_EPARSE;
}
