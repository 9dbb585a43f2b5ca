#include "os/fs.h"
#include "tb/tlv.h"

static void put_descriptor(const struct card *card, const struct fs_node *node,
                           struct tb_buf *out) {
    static const uint8_t kinds[] = {
        [FS_DF] = 0x78, [FS_TRANSPARENT] = 0x41, [FS_LINEAR] = 0x42, [FS_CYCLIC] = 0x46};
    size_t mark = tb_tlv_open(out, 0x82);

    tb_put_u8(out, kinds[node->kind]);
    tb_put_u8(out, 0x21); /* data coding byte */
    if (node->kind == FS_LINEAR || node->kind == FS_CYCLIC) {
        tb_put_be16(out, node->size);
        tb_put_u8(out, fs_records(card, node));
    }
    tb_tlv_close(out, mark);
}

/* spec: TS102221 11.1.1.4.6 UICC characteristics: clock stop allowed; of the MF also free memory */
static void put_proprietary(const struct fs_node *node, struct tb_buf *out) {
    size_t mark = tb_tlv_open(out, 0xA5);

    tb_put_tlv_u8(out, 0x80, 0x71);
    if (node->fid == FS_MF)
        tb_put_tlv(out, 0x83, TB_BYTES(0x00, 0x01, 0x23, 0x45));
    tb_tlv_close(out, mark);
}

/* spec: TS102221 9.5.2 PIN status: one bit for each reference that follows, 1 = enabled */
static void put_pin_status(const struct card *card, struct tb_buf *out) {
    size_t mark = tb_tlv_open(out, 0xC6);
    uint8_t bits = 0;

    for (size_t i = 0; i < CARD_PINS; i++)
        if (card->cur->pins[i].enabled)
            bits |= (uint8_t)(0x80 >> i);
    tb_put_tlv_u8(out, 0x90, bits);
    for (size_t i = 0; i < CARD_PINS; i++)
        tb_put_tlv_u8(out, 0x83, card->cur->pins[i].ref);
    tb_tlv_close(out, mark);
}

void fs_put_fcp(const struct card *card, const struct fs_node *node, uint8_t tag,
                struct tb_buf *out) {
    size_t mark = tb_tlv_open(out, tag);
    uint8_t rule[] = {node->df == FS_ADF ? 0x6F : 0x2F, 0x06, fs_rule(node)};

    put_descriptor(card, node, out);
    if (node->fid == FS_ADF)
        tb_put_tlv(out, 0x84, tb_span(fs_usim_aid, sizeof fs_usim_aid));
    else
        tb_put_tlv_be16(out, 0x83, node->fid);
    if (node->kind == FS_DF)
        put_proprietary(node, out);
    tb_put_tlv_u8(out, 0x8A, 0x05); /* operational, activated */
    tb_put_tlv(out, 0x8B, tb_span(rule, sizeof rule));
    if (node->kind == FS_DF) {
        put_pin_status(card, out);
    } else {
        uint8_t sfi = (uint8_t)(node->sfi << 3);

        tb_put_tlv_be16(out, 0x80, (uint16_t)fs_size(card, node));
        tb_put_tlv(out, 0x88, tb_span(&sfi, node->sfi ? 1 : 0));
    }
    tb_tlv_close(out, mark);
}
