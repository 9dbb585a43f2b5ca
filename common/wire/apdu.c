#include "tb/apdu.h"

#include <assert.h>

enum { NE_MAX_SHORT = 256, NE_MAX_EXTENDED = 65536, LC_MAX_SHORT = 255, LC_MAX_EXTENDED = 65535 };

/* The Le field, all bytes of le; width is what the encoding asks for (1 short, 2 extended). A
 * tolerated field of another width is cut down to what a response in that encoding can carry. */
static bool read_le(struct tb_span le, size_t width, unsigned flags, struct tb_apdu *a) {
    uint32_t max = a->extended ? NE_MAX_EXTENDED : NE_MAX_SHORT, ne = 0;

    if (le.n == 0)
        return true;
    if (le.n != width && !(flags & TB_APDU_TRAILING))
        return false;
    if (le.n > 2 || !tb_take_be(&le, le.n, &ne))
        return false;
    a->ne = ne == 0 || ne > max ? max : ne;
    a->le_present = true;
    return true;
}

static bool take_body(struct tb_span body, unsigned flags, struct tb_apdu *a) {
    uint16_t lc = 0;
    uint8_t p3;

    if (body.n == 0)
        return true; /* case 1 */
    if (body.n == 1)
        return read_le(body, 1, flags, a); /* case 2 short */
    tb_take_u8(&body, &p3);
    if (p3 != 0 ||
        body.n == 1) { /* Lc = 00 with one byte after it is tolerated as an empty case 4 */
        if (p3 == 0 && !(flags & TB_APDU_TRAILING))
            return false;
        return tb_take(&body, p3, &a->data) && read_le(body, 1, flags, a);
    }
    a->extended = true;
    if (body.n == 2)
        return read_le(body, 2, flags, a); /* case 2 extended: CLA INS P1 P2 00 Le1 Le2 */
    if (!tb_take_be16(&body, &lc) || lc == 0 || !tb_take(&body, lc, &a->data))
        return false;
    return read_le(body, 2, flags, a);
}

int tb_apdu_parse(struct tb_span raw, unsigned flags, struct tb_apdu *ret) {
    struct tb_apdu a = {0};
    struct tb_span head;

    if (!tb_take(&raw, 4, &head))
        return TB_EPARSE;
    a.cla = head.p[0];
    a.ins = head.p[1];
    a.p1 = head.p[2];
    a.p2 = head.p[3];
    if (!take_body(raw, flags, &a))
        return TB_EPARSE;
    *ret = a;
    return 0;
}

void tb_put_apdu(struct tb_buf *out, const struct tb_apdu *cmd) {
    size_t lc = cmd->data.n;
    bool extended = cmd->extended || lc > LC_MAX_SHORT || cmd->ne > NE_MAX_SHORT;
    uint8_t *at;

    if (lc > LC_MAX_EXTENDED || cmd->ne > NE_MAX_EXTENDED) {
        out->overflow = true;
        return;
    }
    at = tb_put_room(out, 4);
    if (!at)
        return;
    at[0] = cmd->cla;
    at[1] = cmd->ins;
    at[2] = cmd->p1;
    at[3] = cmd->p2;
    if (extended && (lc > 0 || cmd->ne > 0))
        tb_put_u8(out, 0);
    if (lc > 0) {
        tb_put_be(out, extended ? 2 : 1, (uint32_t)lc);
        tb_put(out, cmd->data);
    }
    if (cmd->ne > 0)
        tb_put_be(out, extended ? 2 : 1,
                  cmd->ne); /* the maximum loses its high bit and becomes 0 */
}

int tb_rapdu_parse(struct tb_span raw, struct tb_span *ret_data, uint16_t *ret_sw) {
    struct tb_span data;

    if (raw.n < 2)
        return TB_EPARSE;
    tb_take(&raw, raw.n - 2, &data);
    tb_take_be16(&raw, ret_sw);
    *ret_data = data;
    return 0;
}

/* Layout of the class byte: first form P00C ssNN (channels 0-3), further form P1SC NNNN (4-19). */
enum {
    CLA_PROPRIETARY = 0x80,
    CLA_FURTHER = 0x40,
    CLA_FURTHER_SM = 0x20, /* in the first form: reserved */
    CLA_CHAINING = 0x10,
    CLA_SM = 0x0C,
    CLA_SM_PROPRIETARY = 0x04, /* GlobalPlatform's coding on 8X */
    CLA_SM_ISO = 0x08,         /* header not authenticated, which is what b6 of 4X means */
};

bool tb_cla_parse(uint8_t cla, struct tb_cla *ret) {
    bool further = (cla & CLA_FURTHER) != 0;

    if (cla == 0xFF || (!further && (cla & CLA_FURTHER_SM) != 0))
        return false;
    *ret = (struct tb_cla){
        .channel = further ? (uint8_t)(4 + (cla & 0x0F)) : cla & 0x03,
        .proprietary = (cla & CLA_PROPRIETARY) != 0,
        .chaining = (cla & CLA_CHAINING) != 0,
        .secure = (cla & (further ? CLA_FURTHER_SM : CLA_SM)) != 0,
    };
    return true;
}

uint8_t tb_cla_on_channel(uint8_t cla, unsigned ch) {
    uint8_t kept = cla & (CLA_PROPRIETARY | CLA_CHAINING);
    struct tb_cla c;

    assert(ch < TB_CHANNELS);
    if (!tb_cla_parse(cla, &c))
        return cla;
    if (ch >= 4)
        return (uint8_t)(kept | CLA_FURTHER | (c.secure ? CLA_FURTHER_SM : 0) | (ch - 4));
    if (c.channel < 4)
        return (uint8_t)(kept | (cla & CLA_SM) | ch);
    if (c.secure)
        kept |= c.proprietary ? CLA_SM_PROPRIETARY : CLA_SM_ISO;
    return (uint8_t)(kept | ch);
}
