#include "iotsafe/args.h"

/* Tag -> argument + 1; 0 for a tag without meaning here. */
static const uint8_t map[256] = {
    [TB_SAFE_T_PRIVATE_ID] = 1 + ARG_PRIVATE_ID,
    [TB_SAFE_T_PRIVATE_LABEL] = 1 + ARG_PRIVATE_LABEL,
    [TB_SAFE_T_PUBLIC_ID] = 1 + ARG_PUBLIC_ID,
    [TB_SAFE_T_PUBLIC_LABEL] = 1 + ARG_PUBLIC_LABEL,
    [TB_SAFE_T_SECRET_ID] = 1 + ARG_SECRET_ID,
    [TB_SAFE_T_SECRET_LABEL] = 1 + ARG_SECRET_LABEL,
    [TB_SAFE_T_FILE_ID] = 1 + ARG_FILE_ID,
    [TB_SAFE_T_FILE_LABEL] = 1 + ARG_FILE_LABEL,
    [TB_SAFE_T_MODE] = 1 + ARG_MODE,
    [TB_SAFE_T_HASH] = 1 + ARG_HASH,
    [TB_SAFE_T_SIGN_ALG] = 1 + ARG_SIGN_ALG,
    [TB_SAFE_T_LAST_BLOCK] = 1 + ARG_LAST_BLOCK,
    [TB_SAFE_T_FULL_TEXT] = 1 + ARG_FULL_TEXT,
    [TB_SAFE_T_INTERMEDIATE_HASH] = 1 + ARG_INTERMEDIATE_HASH,
    [TB_SAFE_T_HASHED_COUNT] = 1 + ARG_HASHED_COUNT,
    [TB_SAFE_T_FINAL_HASH] = 1 + ARG_FINAL_HASH,
    [TB_SAFE_T_CMAC_DATA] = 1 + ARG_CMAC_DATA,
    [TB_SAFE_T_SIGNATURE] = 1 + ARG_SIGNATURE,
    [TB_SAFE_T_PUBLIC_KEY] = 1 + ARG_PUBLIC_KEY,
    [TB_SAFE_T_SECRET] = 1 + ARG_SECRET,
    [TB_SAFE_T_LABEL_SEED] = 1 + ARG_LABEL_SEED,
    [TB_SAFE_T_PRF_LENGTH] = 1 + ARG_PRF_LENGTH,
    [TB_SAFE_T_PSK_ECDHE] = 1 + ARG_PSK_ECDHE,
    [TB_SAFE_T_SALT] = 1 + ARG_SALT,
};

uint16_t safe_parse(struct tb_span data, struct safe_args *ret) {
    struct tb_tlv e;
    int r;

    *ret = (struct safe_args){0};
    if (data.n == 0)
        return TB_SW_LENGTH;
    while ((r = tb_safe_next(&data, &e)) > 0) {
        uint8_t arg = e.tag < 256 ? map[e.tag] : 0;

        if (arg == 0)
            continue;
        if (ret->v[arg - 1].p)
            return TB_SW_DATA;
        ret->v[arg - 1] = e.value;
    }
    return r < 0 ? TB_SW_DATA : TB_SW_OK;
}

/* spec: IOTSAFE OBJECTS an object is named by its id or by its label; given both, they have to
 * agree. */
uint16_t safe_object(struct card_instance *in, enum card_object_class cls,
                     const struct safe_args *a, struct card_object **ret) {
    static const struct {
        uint8_t id, label;
    } tags[] = {
        [CARD_PRIVATE] = {ARG_PRIVATE_ID, ARG_PRIVATE_LABEL},
        [CARD_PUBLIC] = {ARG_PUBLIC_ID, ARG_PUBLIC_LABEL},
        [CARD_SECRET] = {ARG_SECRET_ID, ARG_SECRET_LABEL},
        [CARD_FILE] = {ARG_FILE_ID, ARG_FILE_LABEL},
    };
    struct tb_span id = a->v[tags[cls].id], label = a->v[tags[cls].label];
    struct card_object *o;

    if ((!id.p && !label.p) || (id.p && (id.n == 0 || id.n > TB_SAFE_MAX_ID)) ||
        (label.p && (label.n == 0 || label.n > TB_SAFE_MAX_LABEL)))
        return TB_SW_DATA;
    o = id.p ? card_instance_find(in, cls, id) : card_instance_find_label(in, cls, label);
    if (!o || (label.p && !tb_span_eq(card_object_label(o), label)))
        return TB_SW_NOT_FOUND;
    if (o->locked)
        return TB_SW_INVALIDATED;
    *ret = o;
    return TB_SW_OK;
}

bool safe_u8(const struct safe_args *a, enum safe_arg arg, uint8_t *ret) {
    struct tb_span v = a->v[arg];

    return v.n == 1 && tb_take_u8(&v, ret);
}

bool safe_hash(const struct safe_args *a, uint16_t *ret) {
    struct tb_span v = a->v[ARG_HASH];
    uint32_t hash;

    if (v.n < 1 || v.n > 2 || !tb_take_be(&v, v.n, &hash) || card_hash_len((uint16_t)hash) == 0)
        return false;
    *ret = (uint16_t)hash;
    return true;
}
