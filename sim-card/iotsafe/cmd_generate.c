/* GENERATE KEY PAIR. spec: IOTSAFE 2.11 */
#include <stdlib.h>

#include "iotsafe/applet.h"
#include "iotsafe/create.h"
#include "tb/tlv.h"

enum { ANSWER_MAX = 2 * (2 + TB_SAFE_MAX_ID + 2 + TB_SAFE_MAX_LABEL) + SAFE_PUBLIC_TLV_MAX };

/* The container that takes the public half: the one linked, else the one with the private key's id.
 */
static struct card_object *public_half(struct card_instance *in, const struct card_object *o) {
    struct tb_span id = o->pair_len ? tb_span(o->pair, o->pair_len) : card_object_id(o);

    return card_instance_find(in, CARD_PUBLIC, id);
}

static uint16_t copy_out(const struct card_key *key, bool private, struct safe_change *c) {
    size_t cap = private ? CARD_KEY_PRIVATE_MAX : CARD_KEY_PUBLIC_MAX;
    struct tb_buf b = tb_buf(malloc(cap), cap);

    if (!b.p)
        return TB_SW_NO_SPACE;
    if ((private ? card_key_put_private(key, &b) : card_key_put_public(key, false, &b)) < 0) {
        free(b.p);
        return TB_SW_UNKNOWN;
    }
    c->value = b.p;
    c->n = b.n;
    c->active = true;
    return TB_SW_OK;
}

/* changes: the private key, then its public half. */
static uint16_t make_pair(enum card_key_kind kind, struct safe_change changes[2]) {
    struct card_key *key;
    uint16_t sw;

    if (card_key_generate(kind, &key) < 0)
        return TB_SW_UNKNOWN;
    sw = copy_out(key, true, &changes[0]);
    if (sw == TB_SW_OK)
        sw = copy_out(key, false, &changes[1]);
    if (sw == TB_SW_OK)
        changes[0].key = key;
    else
        card_key_free(key);
    return sw;
}

static void put_answer(const struct cmd *cmd, const struct card_object *private_key,
                       const struct card_object *public_key) {
    const struct card_profile *p = safe_profile(cmd);
    bool labels = p->keygen_labels;

    if (labels && private_key->label_len)
        tb_put_tlv(cmd->out, TB_SAFE_T_PRIVATE_LABEL, card_object_label(private_key));
    if (!p->keygen_bare)
        tb_put_tlv(cmd->out, TB_SAFE_T_PRIVATE_ID, card_object_id(private_key));
    if (labels && public_key->label_len)
        tb_put_tlv(cmd->out, TB_SAFE_T_PUBLIC_LABEL, card_object_label(public_key));
    if (!p->keygen_bare)
        tb_put_tlv(cmd->out, TB_SAFE_T_PUBLIC_ID, card_object_id(public_key));
}

static uint16_t find_pair(struct cmd *cmd, struct safe_created *created,
                          struct card_object **ret_private, struct card_object **ret_public) {
    struct card_instance *in = safe_instance(cmd);
    struct safe_args a;
    uint16_t sw = safe_parse(cmd->a.data, &a);

    if (sw == TB_SW_OK)
        sw = safe_object(in, CARD_PRIVATE, &a, ret_private);
    if (sw == TB_SW_NOT_FOUND && safe_profile(cmd)->create_on_demand) {
        sw = safe_create(in, CARD_PRIVATE, a.v[ARG_PRIVATE_ID], created);
        *ret_private = created->v[0];
    }
    if (sw != TB_SW_OK)
        return sw;
    *ret_public = public_half(in, *ret_private);
    if (!*ret_public)
        return TB_SW_NOT_FOUND;
    return (*ret_public)->locked ? TB_SW_INVALIDATED : TB_SW_OK;
}

static uint16_t generate(struct card *card, struct cmd *cmd, struct card_object *private_key,
                         struct card_object *public_key) {
    struct safe_change changes[2] = {{.o = private_key}, {.o = public_key}};
    enum card_key_kind kind;
    uint16_t sw;

    if (!(private_key->crypto & TB_SAFE_CAN_GENERATE) || !(private_key->access & TB_SAFE_UPDATE) ||
        private_key->key_type != public_key->key_type ||
        !card_key_type_kind(private_key->key_type, &kind))
        return TB_SW_CONDITIONS;
    if (!card_out_room(cmd, ANSWER_MAX))
        return TB_SW_NO_SPACE;
    cmd->work = TB_CARD_KEYGEN;
    sw = make_pair(kind, changes);
    if (sw != TB_SW_OK) {
        safe_change_drop(changes, 2);
        return sw;
    }
    return safe_change(card, safe_instance(cmd)->number, changes, 2);
}

uint16_t card_cmd_generate_key_pair(struct card *card, struct cmd *cmd) {
    struct card_object *private_key, *public_key;
    struct safe_created created = {.n = 0};
    uint16_t sw;

    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    sw = find_pair(cmd, &created, &private_key, &public_key);
    if (sw == TB_SW_OK)
        sw = generate(card, cmd, private_key, public_key);
    if (sw != TB_SW_OK) {
        safe_create_undo(safe_instance(cmd), &created);
        return sw;
    }
    card->counters.keygen++;
    put_answer(cmd, private_key, public_key);
    return safe_put_public_key(safe_profile(cmd), public_key, cmd->out);
}
