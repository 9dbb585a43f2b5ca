#include "tb/safe.h"

/* The length of a signature: 16-bit in the document, 8-bit in many applets.
 * No signature is 0 or 1 bytes long, so a tag 33 whose length begins with 00 or 01 has the 16-bit
 * form whenever that form fits. Other tags have it only at the end of the input. */
static bool take_value_16(struct tb_span *in, uint8_t tag, struct tb_span *ret) {
    struct tb_span rest = *in, value;
    uint16_t len;

    if (!tb_take_be16(&rest, &len) || !tb_take(&rest, len, &value))
        return false;
    if (tag == TB_SAFE_T_SIGNATURE ? len > 0x1FF : len > 0xFF || rest.n > 0)
        return false;
    *in = rest;
    *ret = value;
    return true;
}

/* The value of that length, if it ends where a list can end. */
static bool take_ending(struct tb_span rest, uint32_t len, struct tb_span *in,
                        struct tb_span *ret) {
    struct tb_span value;

    if (!tb_take(&rest, len, &value) || (rest.n > 0 && rest.p[0] != TB_SAFE_T_SIGNATURE))
        return false;
    *in = rest;
    *ret = value;
    return true;
}

/* Full text by a reader of the document's table who takes its FFFFFF for three bytes, always. */
static bool take_value_24(struct tb_span *in, uint8_t tag, struct tb_span *ret) {
    struct tb_span rest = *in;
    uint32_t len;

    return tag == TB_SAFE_T_FULL_TEXT && tb_take_be(&rest, 3, &len) && len <= 0xFFFF &&
           take_ending(rest, len, in, ret);
}

/* 81 LL, 82 HH LL, 83 HH MM LL, and the value ends where a list can end. */
static bool take_value_ber(struct tb_span *in, uint8_t tag, bool minimal, struct tb_span *ret) {
    struct tb_span rest = *in;
    uint32_t len;
    uint8_t first;

    if (tag != TB_SAFE_T_FULL_TEXT && tag != TB_SAFE_T_PUBLIC_KEY && tag != TB_SAFE_T_SIGNATURE)
        return false;
    if (!tb_take_u8(&rest, &first) || first < 0x81 || first > 0x83)
        return false;
    if (!tb_take_be(&rest, first & 0x7FU, &len))
        return false;
    if (minimal && len < (first == 0x81 ? 0x80U : first == 0x82 ? 0x100U : 0x10000U))
        return false;
    return take_ending(rest, len, in, ret);
}

static bool take_value_8(struct tb_span *in, uint8_t tag, struct tb_span *ret) {
    struct tb_span rest = *in, value;
    uint8_t len;

    if (!tb_take_u8(&rest, &len) || !tb_take(&rest, len, &value))
        return false;
    if (tag == TB_SAFE_T_SIGNATURE && len < 2 && rest.n > 0)
        return false; /* the 16-bit form of a signature that was cut off */
    *in = rest;
    *ret = value;
    return true;
}

int tb_safe_next(struct tb_span *in, struct tb_tlv *ret) {
    struct tb_span rest = *in, value;
    uint8_t tag;

    if (!tb_take_u8(&rest, &tag))
        return 0;
    if (!take_value_16(&rest, tag, &value) && !take_value_24(&rest, tag, &value) &&
        !take_value_ber(&rest, tag, true, &value) && !take_value_8(&rest, tag, &value) &&
        !take_value_ber(&rest, tag, false, &value))
        return TB_EPARSE;
    *in = rest;
    *ret = (struct tb_tlv){.tag = tag, .value = value};
    return 1;
}

int tb_safe_find(struct tb_span in, uint8_t tag, struct tb_span *ret_value) {
    struct tb_tlv e;
    int r;

    while ((r = tb_safe_next(&in, &e)) > 0) {
        if (e.tag == tag) {
            *ret_value = e.value;
            return 1;
        }
    }
    return r;
}

void tb_put_safe(struct tb_buf *out, uint8_t tag, enum tb_safe_len form, struct tb_span value) {
    if ((form == TB_SAFE_LEN_8 && value.n > 0xFF) || (form == TB_SAFE_LEN_16 && value.n > 0xFFFF)) {
        out->overflow = true;
        return;
    }
    tb_put_u8(out, tag);
    switch (form) {
    case TB_SAFE_LEN_8:
        tb_put_u8(out, (uint8_t)value.n);
        break;
    case TB_SAFE_LEN_16:
        tb_put_be16(out, (uint16_t)value.n);
        break;
    case TB_SAFE_LEN_BER:
        tb_put_len(out, value.n);
        break;
    }
    tb_put(out, value);
}

const struct tb_safe_aid tb_safe_aids[] = {
    {"GSMA", 7, {0xA0, 0x00, 0x00, 0x05, 0x59, 0x00, 0x10}},
    {"Thales",
     15,
     {0xA0, 0x00, 0x00, 0x00, 0x30, 0x53, 0xF1, 0x24, 0x01, 0x77, 0x01, 0x01, 0x49, 0x53, 0x41}},
    {"Orange partner", 7, {0xA0, 0x00, 0x00, 0x02, 0x48, 0x04, 0x00}},
    {"NTT",
     16,
     {0xA0, 0x00, 0x00, 0x01, 0x15, 0x70, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x49, 0x53, 0x41,
      0x02}},
    {NULL, 0, {0}},
};
