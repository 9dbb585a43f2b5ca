#include "iotsafe/applet.h"
#include "iotsafe/session.h"

/* A value that is longer than its block: tag, then 81, 82 or 83 and a minimal length, three bytes
 * that begin with 00, or one byte. False when the length fits (or is none), and when the block is
 * one whole element in the one-byte form. */
static bool take_long_head(struct tb_span *in, uint8_t tag, uint32_t *ret_len) {
    struct tb_span rest = *in;
    uint8_t t, first;
    uint32_t len;

    if (!tb_take_u8(&rest, &t) || t != tag || !tb_take_u8(&rest, &first) || rest.n == first)
        return false;
    len = first;
    if (first >= 0x81 && first <= 0x83) {
        struct tb_span ber = rest;
        uint32_t v;

        if (tb_take_be(&ber, first & 0x7FU, &v) && v > ber.n &&
            v >= (first == 0x81   ? 0x80U
                  : first == 0x82 ? 0x100U
                                  : 0x10000U)) {
            rest = ber;
            len = v;
        }
    }
    if (first == 0 && tag == TB_SAFE_T_FULL_TEXT) {
        struct tb_span fixed = rest;

        if (tb_take_be(&fixed, 2, &len))
            rest = fixed;
    }
    if (len <= rest.n)
        return false;
    *in = rest;
    *ret_len = len;
    return true;
}

static uint16_t feed_raw(struct card_session *s, struct tb_span data, struct tb_span *ret_chunk,
                         struct safe_args *ret_args) {
    size_t n = data.n < s->missing ? data.n : s->missing;

    if (!tb_take(&data, n, ret_chunk))
        return TB_SW_DATA;
    s->missing -= (uint32_t)n;
    *ret_args = (struct safe_args){0};
    return data.n ? safe_parse(data, ret_args) : TB_SW_OK;
}

uint16_t safe_feed(struct card_session *s, uint8_t tag, enum safe_arg arg, struct tb_span data,
                   bool last, struct tb_span *ret_chunk, struct safe_args *ret_args) {
    uint32_t len;
    uint16_t sw;

    s->begun = true;
    if (data.n == 0)
        return TB_SW_LENGTH;
    if (s->missing > 0) {
        sw = feed_raw(s, data, ret_chunk, ret_args);
    } else if (!last && take_long_head(&data, tag, &len)) {
        s->missing = len;
        sw = feed_raw(s, data, ret_chunk, ret_args);
    } else {
        sw = safe_parse(data, ret_args);
        if (sw == TB_SW_OK && !safe_has(ret_args, arg))
            sw = TB_SW_DATA;
        *ret_chunk = ret_args->v[arg];
    }
    return sw == TB_SW_OK && last && s->missing > 0 ? TB_SW_DATA : sw;
}
