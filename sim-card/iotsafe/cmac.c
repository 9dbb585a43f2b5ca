#include "iotsafe/cmac.h"

#include "tb/tlv.h"

bool safe_wants_cmac(const struct safe_args *a) {
    return (safe_has(a, ARG_SECRET_ID) || safe_has(a, ARG_SECRET_LABEL)) &&
           !safe_has(a, ARG_PRIVATE_ID) && !safe_has(a, ARG_PRIVATE_LABEL);
}

/* Full text mode is the only one; there is no hash to name. */
uint16_t safe_cmac_init(struct cmd *cmd, const struct safe_args *a) {
    struct card_object *o;
    struct card_session *s;
    uint8_t mode, alg;
    uint16_t sw = safe_object(safe_instance(cmd), CARD_SECRET, a, &o);

    if (sw != TB_SW_OK)
        return sw;
    if (!safe_u8(a, ARG_MODE, &mode) || mode != TB_SAFE_MODE_FULL_TEXT ||
        !safe_u8(a, ARG_SIGN_ALG, &alg) || alg != TB_SAFE_AES_CMAC)
        return TB_SW_DATA;
    if (!o->active || !(o->crypto & TB_SAFE_CAN_SIGN) || !(o->sign_alg & TB_SAFE_AES_CMAC))
        return TB_SW_CONDITIONS;
    sw = card_session_begin(cmd, SESSION_SIGN, &s);
    if (sw != TB_SW_OK)
        return sw;
    if (card_cmac_new(card_object_value(o), &s->cmac) < 0) {
        card_session_end(s);
        return TB_SW_UNKNOWN;
    }
    s->mode = mode;
    s->alg = alg;
    s->object = o;
    s->generation = o->generation;
    return TB_SW_OK;
}

uint16_t safe_cmac_update(struct card *card, struct cmd *cmd, struct card_session *s, bool last) {
    uint8_t bytes[CARD_CMAC_LEN];
    struct tb_buf mac = TB_BUF(bytes);
    struct tb_span chunk;
    struct safe_args a;
    uint16_t sw = safe_feed(s, TB_SAFE_T_CMAC_DATA, ARG_CMAC_DATA, cmd->a.data, last, &chunk, &a);

    if (sw != TB_SW_OK)
        return sw;
    if (card_cmac_update(s->cmac, chunk) < 0)
        return TB_SW_UNKNOWN;
    if (!last)
        return TB_SW_OK;
    if (card_cmac_final(s->cmac, &mac) < 0)
        return TB_SW_UNKNOWN;
    if (!card_out_room(cmd, 2 + CARD_CMAC_LEN))
        return TB_SW_NO_SPACE;
    card->counters.sign++;
    tb_put_tlv(cmd->out, TB_SAFE_T_SIGNATURE, tb_buf_span(&mac)); /* 33 10 in every profile */
    return TB_SW_OK;
}
