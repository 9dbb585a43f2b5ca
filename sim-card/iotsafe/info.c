#include "iotsafe/applet.h"

#include "tb/tlv.h"

size_t safe_file_size(const struct card_profile *p, const struct card_object *o) {
    return p->file_padded ? o->capacity : o->value_len;
}

/* spec: IOTSAFE 2.14.4.4 usage, then size; one deployed parser wants the size at once */
static void put_file(const struct card_profile *p, const struct card_object *o,
                     struct tb_buf *out) {
    uint16_t size = (uint16_t)safe_file_size(p, o);

    if (p->file_size_first || p->file_info_brief)
        tb_put_tlv_be16(out, TB_SAFE_T_FILE_SIZE, size);
    if (!p->file_info_brief)
        tb_put_tlv_u8(out, TB_SAFE_T_FILE_USAGE, o->file_usage);
    if (!p->file_size_first && !p->file_info_brief)
        tb_put_tlv_be16(out, TB_SAFE_T_FILE_SIZE, size);
}

/* spec: IOTSAFE 2.14.4.2 2.14.4.3 algorithms only where the key can be used with them */
static void put_key(const struct card_profile *p, const struct card_object *o, struct tb_buf *out) {
    tb_put_tlv_u8(out, TB_SAFE_T_KEY_TYPE, o->key_type);
    tb_put_tlv_u8(out, TB_SAFE_T_KEY_USAGE, o->key_usage);
    tb_put_tlv_u8(out, TB_SAFE_T_CRYPTO, o->crypto);
    if (o->crypto & TB_SAFE_CAN_SIGN) {
        tb_put_u8(out, TB_SAFE_T_SIGN_ALG);
        tb_put_u8(out, p->sign_alg_miscounted ? 2 : 1);
        tb_put_u8(out, o->sign_alg);
        tb_put_tlv_be16(out, TB_SAFE_T_HASH, o->hash);
    }
    if (o->crypto & TB_SAFE_CAN_AGREE)
        tb_put_tlv_u8(out, TB_SAFE_T_KEY_AGREEMENT, o->key_agreement);
}

static void put_secret(const struct card_object *o, struct tb_buf *out) {
    tb_put_tlv_u8(out, TB_SAFE_T_KEY_TYPE, o->key_type);
    tb_put_tlv_u8(out, TB_SAFE_T_CRYPTO, o->crypto);
    if (o->sign_alg)
        tb_put_tlv_u8(out, TB_SAFE_T_SIGN_ALG, o->sign_alg);
    if (o->key_derivation)
        tb_put_tlv_u8(out, TB_SAFE_T_KEY_DERIVATION, o->key_derivation);
}

void safe_put_info(const struct card_profile *p, const struct card_object *o, struct tb_buf *out) {
    static const struct {
        uint8_t wrapper, label, id;
    } tags[] = {
        [CARD_PRIVATE] = {TB_SAFE_T_PRIVATE_INFO, TB_SAFE_T_PRIVATE_LABEL, TB_SAFE_T_PRIVATE_ID},
        [CARD_PUBLIC] = {TB_SAFE_T_PUBLIC_INFO, TB_SAFE_T_PUBLIC_LABEL, TB_SAFE_T_PUBLIC_ID},
        [CARD_SECRET] = {TB_SAFE_T_SECRET_INFO, TB_SAFE_T_SECRET_LABEL, TB_SAFE_T_SECRET_ID},
        [CARD_FILE] = {TB_SAFE_T_FILE_INFO, TB_SAFE_T_FILE_LABEL, TB_SAFE_T_FILE_ID},
    };
    size_t mark = p->info_wrapper ? tb_tlv_open(out, tags[o->cls].wrapper) : 0;

    if (o->label_len)
        tb_put_tlv(out, tags[o->cls].label, card_object_label(o));
    tb_put_tlv(out, tags[o->cls].id, card_object_id(o));
    if (o->cls != CARD_FILE || !p->file_info_brief) {
        tb_put_tlv_u8(out, TB_SAFE_T_ACCESS, o->access);
        tb_put_tlv_u8(out, TB_SAFE_T_STATE, o->active ? TB_SAFE_ACTIVATED : TB_SAFE_DEACTIVATED);
    }
    if (o->cls == CARD_FILE)
        put_file(p, o, out);
    else if (o->cls == CARD_SECRET)
        put_secret(o, out);
    else
        put_key(p, o, out);
    if (p->info_wrapper)
        tb_tlv_close(out, mark);
}
