/* GET DATA and READ FILE. spec: IOTSAFE 2.12 2.14 2.21 */
#include <stdlib.h>

#include "iotsafe/applet.h"
#include "tb/tlv.h"

enum { P1_APPLICATION = 0x00, P1_LIST = 0x01, P2_FIRST = 0x00, P2_NEXT = 0x01, MAX_OBJECTS = 10 };

/* At least what a card announces; a set that was made larger says so. */
static void put_maximum(struct tb_buf *out, uint8_t tag, const struct card_instance *in,
                        enum card_object_class cls) {
    size_t n = card_instance_count(in, cls);

    tb_put_tlv_u8(out, tag, (uint8_t)(n > 255 ? 255 : n > MAX_OBJECTS ? n : MAX_OBJECTS));
}

/* An applet of Type II has no keys but secrets, and no certificates. */
static bool is_there(const struct card_profile *p, const struct card_object *o) {
    if (!p->type2)
        return true;
    return o->cls == CARD_SECRET || (o->cls == CARD_FILE && o->file_usage != TB_SAFE_FILE_X509);
}

static void put_type2(const struct card_profile *p, const struct card_instance *in,
                      struct tb_buf *out) {
    static const char identifier[32] = "IoT SAFE testbed applet, Type II";

    tb_put_tlv_u8(out, TB_SAFE_T_VERSION, p->version);
    tb_put_tlv(out, TB_SAFE_T_APPLET_ID, tb_span(identifier, sizeof identifier));
    put_maximum(out, TB_SAFE_T_MAX_FILES, in, CARD_FILE);
    put_maximum(out, TB_SAFE_T_MAX_SECRET, in, CARD_SECRET);
    tb_put_tlv_u8(out, p->appinfo_61_6f ? TB_SAFE_T_CRYPTO : TB_SAFE_T_APP_CRYPTO,
                  TB_SAFE_CAN_DERIVE);
    tb_put_tlv_be16(out, TB_SAFE_T_HASH, TB_SAFE_SHA256 | TB_SAFE_SHA384 | TB_SAFE_SHA512);
    tb_put_tlv_u8(out, TB_SAFE_T_KEY_DERIVATION, TB_SAFE_PRF | TB_SAFE_HKDF);
}

/* spec: IOTSAFE 2.12 */
static void put_application(const struct card_profile *p, const struct card_instance *in,
                            struct tb_buf *out) {
    static const char identifier[32] = "IoT SAFE testbed applet, Type I ";
    const uint8_t functions =
        TB_SAFE_CAN_SIGN | TB_SAFE_CAN_GENERATE | TB_SAFE_CAN_AGREE | TB_SAFE_CAN_DERIVE;

    tb_put_tlv_u8(out, TB_SAFE_T_VERSION, p->version);
    tb_put_tlv(out, TB_SAFE_T_APPLET_ID, tb_span(identifier, sizeof identifier));
    put_maximum(out, TB_SAFE_T_MAX_FILES, in, CARD_FILE);
    put_maximum(out, TB_SAFE_T_MAX_PRIVATE, in, CARD_PRIVATE);
    put_maximum(out, TB_SAFE_T_MAX_PUBLIC, in, CARD_PUBLIC);
    put_maximum(out, TB_SAFE_T_MAX_SECRET, in, CARD_SECRET);
    tb_put_tlv_u8(out, p->appinfo_61_6f ? TB_SAFE_T_CRYPTO : TB_SAFE_T_APP_CRYPTO, functions);
    tb_put_tlv_be16(out, TB_SAFE_T_HASH, TB_SAFE_SHA256 | TB_SAFE_SHA384 | TB_SAFE_SHA512);
    tb_put_tlv_u8(out, TB_SAFE_T_SIGN_ALG, TB_SAFE_RSA_PKCS1 | TB_SAFE_RSA_PSS | TB_SAFE_ECDSA);
    tb_put_tlv_u8(out, p->appinfo_61_6f ? TB_SAFE_T_KEY_AGREEMENT : TB_SAFE_T_APP_KEY_AGREEMENT,
                  TB_SAFE_ECKA);
    tb_put_tlv_u8(out, TB_SAFE_T_KEY_DERIVATION, TB_SAFE_PRF | TB_SAFE_HKDF);
    tb_put_tlv_u8(out, TB_SAFE_T_MAX_SESSIONS, p->max_sessions);
}

static uint16_t get_application(struct cmd *cmd) {
    uint16_t sw;

    if (cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    if (!card_out_room(cmd, 128))
        return TB_SW_NO_SPACE;
    if (safe_profile(cmd)->type2)
        put_type2(safe_profile(cmd), safe_instance(cmd), cmd->out);
    else
        put_application(safe_profile(cmd), safe_instance(cmd), cmd->out);
    sw = card_wrong_le(cmd, cmd->out->n);
    return sw ? sw : TB_SW_OK;
}

/* spec: IOTSAFE 2.14 blocks may end inside of a TLV; 6300 says that P2 = 01 brings more. A wrong Le
 * (6Cxx) leaves the position as it is, so that the repeated command gets the same block. */
static uint16_t put_block(struct cmd *cmd, struct tb_span list) {
    size_t limit = safe_profile(cmd)->object_list_limit;
    size_t offset = cmd->a.p2 == P2_NEXT ? cmd->ch->list_offset : 0;
    struct tb_span block = tb_span_sub(list, offset, limit ? limit : list.n);
    size_t end = offset + block.n;
    uint16_t sw = card_wrong_le(cmd, block.n);

    if (sw)
        return sw;
    if (!card_out_room(cmd, block.n))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, block);
    cmd->ch->list_offset = end < list.n ? end : 0;
    return end < list.n ? TB_SW_MORE_LIST : TB_SW_OK;
}

static uint16_t get_list(struct cmd *cmd) {
    const struct card_instance *in = safe_instance(cmd);
    size_t cap = in->n * SAFE_INFO_MAX;
    struct tb_buf list;
    uint16_t sw;

    if (cmd->a.p2 != P2_FIRST && cmd->a.p2 != P2_NEXT)
        return TB_SW_P1P2;
    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    if (cmd->a.p2 == P2_NEXT && cmd->ch->list_offset == 0)
        return TB_SW_CONDITIONS;
    list = tb_buf(malloc(cap ? cap : 1), cap);
    if (!list.p)
        return TB_SW_NO_SPACE;
    for (size_t i = 0; i < in->n; i++)
        if (is_there(safe_profile(cmd), in->v[i]))
            safe_put_info(safe_profile(cmd), in->v[i], &list);
    sw = put_block(cmd, tb_buf_span(&list));
    free(list.p);
    return sw;
}

static uint16_t get_object(struct cmd *cmd, enum card_object_class cls) {
    struct card_object *o;
    struct safe_args a;
    uint16_t sw;

    if (cmd->a.p2 != 0)
        return TB_SW_P1P2;
    sw = safe_parse(cmd->a.data, &a);
    if (sw == TB_SW_OK)
        sw = safe_object(safe_instance(cmd), cls, &a, &o);
    if (sw == TB_SW_OK && !is_there(safe_profile(cmd), o))
        sw = TB_SW_NOT_FOUND;
    if (sw != TB_SW_OK)
        return sw;
    if (!card_out_room(cmd, SAFE_INFO_MAX))
        return TB_SW_NO_SPACE;
    safe_put_info(safe_profile(cmd), o, cmd->out);
    return TB_SW_OK;
}

uint16_t card_cmd_get_data(struct card *card, struct cmd *cmd) {
    (void)card;
    switch (cmd->a.p1) {
    case P1_APPLICATION:
        return get_application(cmd);
    case P1_LIST:
        return get_list(cmd);
    case TB_SAFE_T_PRIVATE_INFO:
        return get_object(cmd, CARD_PRIVATE);
    case TB_SAFE_T_PUBLIC_INFO:
        return get_object(cmd, CARD_PUBLIC);
    case TB_SAFE_T_FILE_INFO:
        return get_object(cmd, CARD_FILE);
    case TB_SAFE_T_SECRET_INFO:
        return get_object(cmd, CARD_SECRET);
    default:
        return TB_SW_P1P2;
    }
}

/* How many bytes the client wants at most. Le = 00 counts as none: deployed clients send it and
 * count in blocks of the profile's size. */
static size_t wanted(const struct cmd *cmd) {
    if (cmd->a.le_present && (cmd->a.extended || cmd->a.ne < 256))
        return cmd->a.ne;
    return safe_profile(cmd)->max_block;
}

/* spec: IOTSAFE 2.21 P1 P2 is the offset; fewer bytes at the end, none exactly at it */
uint16_t card_cmd_read_file(struct card *card, struct cmd *cmd) {
    size_t offset = (size_t)(cmd->a.p1 << 8 | cmd->a.p2), size, n;
    struct card_object *o;
    struct safe_args a;
    struct tb_span part;
    uint16_t sw = safe_parse(cmd->a.data, &a);
    uint8_t *padding;

    (void)card;
    if (sw == TB_SW_OK)
        sw = safe_object(safe_instance(cmd), CARD_FILE, &a, &o);
    if (sw == TB_SW_OK && !is_there(safe_profile(cmd), o))
        sw = TB_SW_NOT_FOUND;
    if (sw != TB_SW_OK)
        return sw;
    if (!o->active || !(o->access & TB_SAFE_READ))
        return TB_SW_CONDITIONS;
    size = safe_file_size(safe_profile(cmd), o);
    if (offset > size)
        return TB_SW_P1P2;
    n = wanted(cmd);
    if (n > size - offset)
        n = size - offset;
    if (!card_out_room(cmd, n))
        return TB_SW_NO_SPACE;
    part = tb_span_sub(card_object_value(o), offset, n);
    tb_put(cmd->out, part);
    padding = tb_put_room(cmd->out, n - part.n);
    if (padding)
        memset(padding, 0, n - part.n);
    return TB_SW_OK;
}
