/* READ PUBLIC KEY and PUT PUBLIC KEY. spec: IOTSAFE 2.5.7 */
#include "iotsafe/applet.h"
#include "iotsafe/create.h"
#include "iotsafe/session.h"

enum { P1_OPEN = 0x00, P1_CLOSE = 0x01, P1_MORE = 0x00, P1_LAST = 0x80 };

/* spec: IOTSAFE READ-PUBLIC-KEY */
uint16_t card_cmd_read_public_key(struct card *card, struct cmd *cmd) {
    struct card_object *o;
    struct safe_args a;
    uint16_t sw;

    (void)card;
    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    sw = safe_parse(cmd->a.data, &a);
    if (sw == TB_SW_OK)
        sw = safe_object(safe_instance(cmd), CARD_PUBLIC, &a, &o);
    if (sw != TB_SW_OK)
        return sw;
    if (!o->active || !(o->access & TB_SAFE_READ))
        return TB_SW_CONDITIONS;
    if (!card_out_room(cmd, SAFE_PUBLIC_TLV_MAX))
        return TB_SW_NO_SPACE;
    return safe_put_public_key(safe_profile(cmd), o, cmd->out);
}

/* The container, made when it is missing and the profile has it so: then in RAM only, and in
 * *created. */
static uint16_t find_or_create(struct cmd *cmd, struct safe_created *created,
                               struct card_object **ret) {
    struct card_instance *in = safe_instance(cmd);
    struct safe_args a;
    uint16_t sw = safe_parse(cmd->a.data, &a);

    if (sw == TB_SW_OK)
        sw = safe_object(in, CARD_PUBLIC, &a, ret);
    if (sw == TB_SW_NOT_FOUND && safe_profile(cmd)->create_on_demand) {
        sw = safe_create(in, CARD_PUBLIC, a.v[ARG_PUBLIC_ID], created);
        *ret = created->v[0];
    }
    if (sw == TB_SW_OK && !((*ret)->access & TB_SAFE_UPDATE))
        sw = TB_SW_CONDITIONS;
    return sw;
}

/* spec: IOTSAFE PUT-PUBLIC-KEY opens a session on a container that the device may update */
uint16_t card_cmd_put_public_init(struct card *card, struct cmd *cmd) {
    struct safe_created created = {.n = 0};
    struct card_session *s = NULL;
    struct card_object *o;
    uint16_t sw;

    if (cmd->a.p1 == P1_CLOSE)
        return card_session_close(cmd, SESSION_PUT);
    if (cmd->a.p1 != P1_OPEN)
        return TB_SW_P1P2;
    sw = find_or_create(cmd, &created, &o);
    if (sw == TB_SW_OK)
        sw = card_session_begin(cmd, SESSION_PUT, &s);
    if (sw == TB_SW_OK && created.n > 0)
        sw = safe_create_store(card, safe_instance(cmd), &created);
    if (sw != TB_SW_OK) {
        safe_create_undo(safe_instance(cmd), &created);
        if (s)
            card_session_end(s);
        return sw;
    }
    s->object = o;
    s->generation = o->generation;
    return TB_SW_OK;
}

/* The container keeps its old value until the last block is there and is a key. */
static uint16_t finish(struct card *card, struct cmd *cmd, struct card_session *s,
                       struct tb_span value) {
    struct safe_change change = {.o = s->object};
    enum card_key_kind kind;
    uint16_t sw;

    if (!card_key_type_kind(s->object->key_type, &kind))
        return TB_SW_CONDITIONS;
    sw = safe_take_public_key(kind, value, &change);
    return sw == TB_SW_OK ? safe_change(card, safe_instance(cmd)->number, &change, 1) : sw;
}

uint16_t card_cmd_put_public_update(struct card *card, struct cmd *cmd) {
    bool last = cmd->a.p1 == P1_LAST;
    struct card_session *s;
    struct safe_args a;
    struct tb_span chunk;
    uint16_t sw;

    if (cmd->a.p1 != P1_MORE && !last)
        return TB_SW_P1P2;
    sw = card_session_continue(cmd, SESSION_PUT, &s);
    if (sw != TB_SW_OK)
        return sw;
    sw = safe_feed(s, TB_SAFE_T_PUBLIC_KEY, ARG_PUBLIC_KEY, cmd->a.data, last, &chunk, &a);
    if (sw == TB_SW_OK && (!last || s->blocks_n > 0)) {
        sw = card_session_keep(s, chunk, CARD_KEY_PUBLIC_MAX);
        chunk = tb_span(s->blocks, s->blocks_n);
    }
    if (sw == TB_SW_OK && last)
        sw = finish(card, cmd, s, chunk);
    if (sw != TB_SW_OK || last)
        card_session_end(s);
    return sw;
}
