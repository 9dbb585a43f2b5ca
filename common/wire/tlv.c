#include "tb/tlv.h"

#include <assert.h>

enum { LEN_MAX = 0xFFFFFF, TAG_MAX = 0xFFFFFF, TAG_MAX_BYTES = 3 };

/* ISO/IEC 8825-1 8.1.2: a low five bits of 1F mean that more bytes follow, the last one has b8
 * clear. 00 is no tag of ISO/IEC 7816-4, and the first further byte carries at least one bit of the
 * number. */
static bool take_tag(struct tb_span *in, uint32_t *ret) {
    uint8_t b;
    uint32_t tag;

    if (!tb_take_u8(in, &b) || b == 0x00)
        return false;
    tag = b;
    if ((b & 0x1F) == 0x1F) {
        for (unsigned n = 1;; n++) {
            if (n == TAG_MAX_BYTES || !tb_take_u8(in, &b) || (n == 1 && b == 0x80))
                return false;
            tag = tag << 8 | b;
            if ((b & 0x80) == 0)
                break;
        }
    }
    *ret = tag;
    return true;
}

static bool take_len(struct tb_span *in, size_t *ret) {
    uint8_t b;
    uint32_t len;

    if (!tb_take_u8(in, &b))
        return false;
    len = b;
    if (b >= 0x80 && (b > 0x83 || !tb_take_be(in, b & 0x7FU, &len))) /* 80: indefinite */
        return false;
    *ret = len;
    return true;
}

int tb_tlv_next(struct tb_span *in, struct tb_tlv *ret) {
    struct tb_span rest = *in;
    struct tb_tlv e;
    size_t len;

    if (rest.n == 0)
        return 0;
    if (!take_tag(&rest, &e.tag) || !take_len(&rest, &len) || !tb_take(&rest, len, &e.value))
        return TB_EPARSE;
    *in = rest;
    *ret = e;
    return 1;
}

int tb_tlv_find(struct tb_span in, uint32_t tag, struct tb_span *ret_value) {
    struct tb_tlv e;
    int r;

    while ((r = tb_tlv_next(&in, &e)) > 0) {
        if (e.tag == tag) {
            *ret_value = e.value;
            return 1;
        }
    }
    return r;
}

void tb_put_tag(struct tb_buf *out, uint32_t tag) {
    if (tag > TAG_MAX)
        out->overflow = true;
    else
        tb_put_be(out, tag > 0xFFFF ? 3 : tag > 0xFF ? 2 : 1, tag);
}

/* How many bytes follow the first one of the minimal length field. */
static size_t len_extra(size_t len) {
    return len > 0xFFFF ? 3 : len > 0xFF ? 2 : len > 0x7F ? 1 : 0;
}

void tb_put_len(struct tb_buf *out, size_t len) {
    size_t extra = len_extra(len);

    if (len > LEN_MAX) {
        out->overflow = true;
        return;
    }
    if (extra > 0)
        tb_put_u8(out, (uint8_t)(0x80 | extra));
    tb_put_be(out, extra > 0 ? extra : 1, (uint32_t)len);
}

void tb_put_tlv(struct tb_buf *out, uint32_t tag, struct tb_span value) {
    tb_put_tag(out, tag);
    tb_put_len(out, value.n);
    tb_put(out, value);
}

void tb_put_tlv_u8(struct tb_buf *out, uint32_t tag, uint8_t v) {
    tb_put_tlv(out, tag, tb_span(&v, 1));
}

void tb_put_tlv_be16(struct tb_buf *out, uint32_t tag, uint16_t v) {
    const uint8_t be[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    tb_put_tlv(out, tag, tb_span(be, sizeof be));
}

size_t tb_tlv_open(struct tb_buf *out, uint32_t tag) {
    tb_put_tag(out, tag);
    tb_put_u8(out, 0);
    return out->n;
}

void tb_tlv_close(struct tb_buf *out, size_t mark) {
    struct tb_buf head;
    size_t len, extra;

    if (out->overflow)
        return;
    assert(mark >= 2 && mark <= out->n);
    len = out->n - mark;
    extra = len_extra(len);
    if (len > LEN_MAX) {
        out->overflow = true;
        return;
    }
    if (extra > 0) {
        if (!tb_put_room(out, extra))
            return;
        memmove(out->p + mark + extra, out->p + mark, len);
    }
    head = tb_buf(out->p + mark - 1, 1 + extra);
    tb_put_len(&head, len);
}
