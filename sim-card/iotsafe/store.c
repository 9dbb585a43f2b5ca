#include "iotsafe/store.h"

#include <stdlib.h>

#include "admin/admin.h"

enum {
    READ_MAX = 248, /* bytes of one answer */
    CSR_MAX = 766,
    FIELDS = 24,
};

enum command { /* tags of commands; those that are not published are what the profile says */
               DO_DEBUG = 0x70,
               DO_CREATE_FILE = 0x74,
               DO_SELECT = 0x75,
               DO_DELETE = 0x76,
               DO_UPDATE_FILE = 0x77,
               DO_READ_PUBLIC = 0x7A,
               DO_SELECT_READ_PUBLIC = 0x7B,
               DO_CSR = 0x7D,
               DO_READ_FILE = 0x7E,
               DO_RESET = 0x7F,
};

enum { TAG_VALUE = 0x47, TAG_PAIR_TYPE = 0x48, TAG_SUBJECT = 0x50, TAG_ATTRIBUTES = 0x51 };

struct safe_store {
    struct card_instance *in;
    const struct card_profile *profile;
    bool selected, locked, reading, debug;
    enum card_object_class cls;
    uint8_t id[TB_SAFE_MAX_ID], id_len;
};

static struct card_object *selected(const struct safe_store *st) {
    return st->selected ? card_instance_find(st->in, st->cls, tb_span(st->id, st->id_len)) : NULL;
}

struct safe_store *safe_store_new(struct card_instance *in, const struct card_profile *profile) {
    struct safe_store *st = calloc(1, sizeof *st);

    if (st) {
        st->in = in;
        st->profile = profile;
    }
    return st;
}

static void unlock(struct safe_store *st) {
    struct card_object *o = st->locked ? selected(st) : NULL;

    if (o)
        o->locked = false;
    st->locked = false;
}

void safe_store_free(struct safe_store *st) {
    if (st)
        unlock(st);
    free(st);
}

/* ---- TLV: tags of one byte, BER lengths ---- */

static bool take_tlv(struct tb_span *in, uint8_t *tag, struct tb_span *value) {
    struct tb_span rest = *in;
    uint8_t first;
    uint32_t n;

    if (!tb_take_u8(&rest, tag) || !tb_take_u8(&rest, &first))
        return false;
    n = first;
    if (first > 0x82 || first == 0x80 || (first & 0x80 && !tb_take_be(&rest, first & 0x7FU, &n)))
        return false;
    if (!tb_take(&rest, n, value))
        return false;
    *in = rest;
    return true;
}

struct fields {
    struct {
        uint8_t tag;
        struct tb_span v;
    } f[FIELDS];
    size_t n;
};

/* Tags come once. */
static bool take_fields(struct tb_span in, struct fields *ret) {
    *ret = (struct fields){.n = 0};
    while (in.n > 0) {
        struct tb_span v;
        uint8_t tag;

        if (ret->n == FIELDS || !take_tlv(&in, &tag, &v))
            return false;
        for (size_t i = 0; i < ret->n; i++)
            if (ret->f[i].tag == tag)
                return false;
        ret->f[ret->n].tag = tag;
        ret->f[ret->n++].v = v;
    }
    return true;
}

static struct tb_span get(const struct fields *f, uint8_t tag) {
    for (size_t i = 0; i < f->n; i++)
        if (f->f[i].tag == tag)
            return f->f[i].v;
    return TB_SPAN_NONE;
}

/* Nothing, or a number of as many bytes. */
static bool get_u(const struct fields *f, uint8_t tag, size_t bytes, uint32_t *ret) {
    struct tb_span v = get(f, tag);

    *ret = 0;
    return v.n == 0 || (v.n == bytes && tb_take_be(&v, bytes, ret));
}

/* ---- objects ---- */

static const struct {
    uint8_t label, id;
} names[] = {
    [CARD_PRIVATE] = {TB_SAFE_T_PRIVATE_LABEL, TB_SAFE_T_PRIVATE_ID},
    [CARD_PUBLIC] = {TB_SAFE_T_PUBLIC_LABEL, TB_SAFE_T_PUBLIC_ID},
    [CARD_SECRET] = {TB_SAFE_T_SECRET_LABEL, TB_SAFE_T_SECRET_ID},
    [CARD_FILE] = {TB_SAFE_T_FILE_LABEL, TB_SAFE_T_FILE_ID},
};

/* By id, label, or both, which have to agree. 9000, 6A80 without either, 6A82. */
static uint16_t find(const struct safe_store *st, enum card_object_class cls,
                     const struct fields *f, struct card_object **ret) {
    struct tb_span id = get(f, names[cls].id), label = get(f, names[cls].label);
    struct card_object *o;

    if (id.n == 0 && label.n == 0)
        return TB_SW_DATA;
    o = id.n ? card_instance_find(st->in, cls, id) : card_instance_find_label(st->in, cls, label);
    if (!o || (label.n && !tb_span_eq(card_object_label(o), label)))
        return TB_SW_NOT_FOUND;
    *ret = o;
    return TB_SW_OK;
}

/* The one reference of a command, whatever its class. */
static uint16_t find_any(const struct safe_store *st, struct tb_span data,
                         struct card_object **ret) {
    struct fields f;
    unsigned classes = 0, cls = 0;

    if (!take_fields(data, &f))
        return TB_SW_DATA;
    for (unsigned c = CARD_PRIVATE; c <= CARD_FILE; c++)
        if (get(&f, names[c].id).n || get(&f, names[c].label).n) {
            classes++;
            cls = c;
        }
    return classes == 1 ? find(st, (enum card_object_class)cls, &f, ret) : TB_SW_DATA;
}

static void select_object(struct safe_store *st, const struct card_object *o) {
    unlock(st);
    st->reading = false;
    st->selected = true;
    st->cls = (enum card_object_class)o->cls;
    st->id_len = o->id_len;
    memcpy(st->id, o->id, o->id_len);
}

static struct card_object_spec describe(const struct card_object *o, struct tb_span value) {
    return (struct card_object_spec){
        .cls = (enum card_object_class)o->cls,
        .id = card_object_id(o),
        .label = card_object_label(o),
        .access = o->access,
        .key_type = o->key_type,
        .key_usage = o->key_usage,
        .crypto = o->crypto,
        .sign_alg = o->sign_alg,
        .hash = o->hash,
        .key_agreement = o->key_agreement,
        .key_derivation = o->key_derivation,
        .file_usage = o->file_usage,
        .pair = tb_span(o->pair, o->pair_len),
        .capacity = o->capacity,
        .value = value,
    };
}

static uint16_t status(int r) {
    switch (r) {
    case 0:
        return TB_SW_OK;
    case TB_ENOTFOUND:
        return TB_SW_NOT_FOUND;
    case TB_ERANGE:
    case TB_EPARSE:
        return TB_SW_DATA;
    case TB_ESPACE:
    case TB_ENOMEM:
        return TB_SW_NO_SPACE;
    case TB_ESTATE:
        return TB_SW_CONDITIONS; /* another administrator is at it, or a label is taken */
    case TB_ESTORE:
        return TB_SW_MEMORY;
    default:
        return TB_SW_UNKNOWN;
    }
}

/* Carries out n changes, or none. */
static uint16_t change(struct card *card, const struct safe_store *st,
                       const struct card_object_spec *specs, size_t n) {
    int r = card_admin_begin(card, st->in->number);

    if (r < 0)
        return status(r);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = card_admin_put(card, &specs[i]);
    if (r == 0)
        r = card_admin_commit(card);
    if (r < 0)
        card_admin_abort(card);
    return status(r);
}

/* ---- creation ---- */

static bool describe_new(enum card_object_class cls, const struct fields *f,
                         struct card_object_spec *s) {
    uint32_t access, type, usage, crypto, alg, hash, agreement, derivation, file_usage, size, state;

    if (!get_u(f, TB_SAFE_T_ACCESS, 1, &access) || !get_u(f, TB_SAFE_T_KEY_TYPE, 1, &type) ||
        !get_u(f, TB_SAFE_T_KEY_USAGE, 1, &usage) || !get_u(f, TB_SAFE_T_CRYPTO, 1, &crypto) ||
        !get_u(f, TB_SAFE_T_SIGN_ALG, 1, &alg) || !get_u(f, TB_SAFE_T_HASH, 2, &hash) ||
        !get_u(f, TB_SAFE_T_KEY_AGREEMENT, 1, &agreement) ||
        !get_u(f, TB_SAFE_T_KEY_DERIVATION, 1, &derivation) ||
        !get_u(f, TB_SAFE_T_FILE_USAGE, 1, &file_usage) ||
        !get_u(f, TB_SAFE_T_FILE_SIZE, 2, &size) || !get_u(f, TB_SAFE_T_STATE, 1, &state))
        return false;
    *s = (struct card_object_spec){
        .cls = cls,
        .id = get(f, names[cls].id),
        .label = get(f, names[cls].label),
        .access = (uint8_t)access,
        .key_type = (uint8_t)type,
        .key_usage = (uint8_t)usage,
        .crypto = (uint8_t)crypto,
        .sign_alg = (uint8_t)alg,
        .hash = (uint16_t)hash,
        .key_agreement = (uint8_t)agreement,
        .key_derivation = (uint8_t)derivation,
        .file_usage = (uint8_t)file_usage,
        .capacity = size,
    };
    return true;
}

/* An object of its own, which must not be there. What a description leaves out is what
 * most keys are. */
static uint16_t create(struct card *card, struct safe_store *st, enum card_object_class cls,
                       struct tb_span data) {
    struct card_object_spec s;
    struct card_object *o;
    struct fields f;
    uint16_t sw;

    if (!take_fields(data, &f) || !describe_new(cls, &f, &s) || s.id.n == 0)
        return TB_SW_DATA;
    if (card_instance_find(st->in, cls, s.id))
        return TB_SW_DATA;
    if (!get(&f, TB_SAFE_T_ACCESS).n)
        s.access = cls == CARD_PUBLIC || cls == CARD_FILE ? TB_SAFE_READ : 0;
    if (cls == CARD_SECRET && !s.key_type)
        s.key_type = TB_SAFE_HMAC;
    if (cls <= CARD_PUBLIC && !s.key_type)
        s.key_type = TB_SAFE_P256;
    if (cls != CARD_FILE && !get(&f, TB_SAFE_T_CRYPTO).n)
        s.crypto = s.key_type == TB_SAFE_HMAC ? TB_SAFE_CAN_DERIVE : TB_SAFE_CAN_SIGN;
    if (cls != CARD_FILE)
        s.value = get(&f, TAG_VALUE);
    if (cls == CARD_PRIVATE)
        s.pair = get(&f, TB_SAFE_T_PUBLIC_ID);
    sw = change(card, st, &s, 1);
    o = sw == TB_SW_OK ? card_instance_find(st->in, cls, s.id) : NULL;
    if (o)
        select_object(st, o);
    return sw;
}

/* One half of a pair: as it is there already, or a new one. */
static void half(const struct safe_store *st, enum card_object_class cls, const struct fields *f,
                 uint8_t type, struct card_object_spec *s) {
    const struct card_object *o = card_instance_find(st->in, cls, get(f, names[cls].id));

    if (o) {
        *s = describe(o, TB_SPAN_NONE);
        s->key_type = type;
        return;
    }
    s->cls = cls;
    s->key_type = type;
    if (!get(f, TB_SAFE_T_ACCESS).n || cls == CARD_PUBLIC)
        s->access = cls == CARD_PUBLIC ? TB_SAFE_READ : 0;
    if (!get(f, TB_SAFE_T_CRYPTO).n)
        s->crypto = TB_SAFE_CAN_SIGN;
    s->id = get(f, names[cls].id);
    s->label = get(f, names[cls].label);
}

/* A key pair made in the card. A pair that is there gets a new key. The public half is the
 * answer. */
static uint16_t create_pair(struct card *card, struct safe_store *st, struct tb_span data,
                            struct cmd *cmd) {
    uint8_t private[CARD_KEY_PRIVATE_MAX], public[CARD_KEY_PUBLIC_MAX];
    struct tb_buf priv = TB_BUF(private), pub = TB_BUF(public);
    struct card_object_spec s[2];
    enum card_key_kind kind;
    struct card_key *key;
    struct fields f;
    uint32_t type;
    uint16_t sw = TB_SW_UNKNOWN;

    if (!take_fields(data, &f) || !get_u(&f, TAG_PAIR_TYPE, 1, &type) ||
        !describe_new(CARD_PRIVATE, &f, &s[0]) || !get(&f, TB_SAFE_T_PRIVATE_ID).n ||
        !get(&f, TB_SAFE_T_PUBLIC_ID).n)
        return TB_SW_DATA;
    if (!type)
        type = TB_SAFE_P256;
    if (!card_key_type_kind((uint8_t)type, &kind) || card_key_type_volatile((uint8_t)type))
        return TB_SW_DATA;
    s[1] = s[0];
    half(st, CARD_PRIVATE, &f, (uint8_t)type, &s[0]);
    half(st, CARD_PUBLIC, &f, (uint8_t)type, &s[1]);
    s[0].pair = s[1].id;
    if (!card_out_room(cmd, CARD_KEY_PUBLIC_MAX) || card_key_generate(kind, &key) < 0)
        return TB_SW_NO_SPACE;
    cmd->work = TB_CARD_KEYGEN;
    if (card_key_put_private(key, &priv) == 0 && card_key_put_public(key, false, &pub) == 0) {
        s[0].value = tb_buf_span(&priv);
        s[1].value = tb_buf_span(&pub);
        sw = change(card, st, s, 2);
    }
    if (sw == TB_SW_OK) {
        card->counters.keygen++;
        select_object(st, card_instance_find(st->in, CARD_PUBLIC, s[1].id));
        tb_put(cmd->out, tb_buf_span(&pub));
    }
    card_key_free(key);
    tb_wipe(private, sizeof private);
    return sw;
}

/* ---- new values ---- */

/* A scalar or RSAPrivateKey for the selected private key, or the value of the selected secret,
 * under tag 47; or for a public key a point, with or without tags 34, 49, 86. */
static uint16_t update_key(struct card *card, struct safe_store *st, struct tb_span data,
                           bool public) {
    struct card_object *o = selected(st);
    struct card_object_spec s;
    struct tb_span inner = data;
    struct fields f;

    if (!o || (public ? o->cls != CARD_PUBLIC : o->cls != CARD_PRIVATE && o->cls != CARD_SECRET))
        return TB_SW_CONDITIONS;
    if (!public) {
        if (!take_fields(data, &f) || get(&f, TAG_VALUE).n == 0)
            return TB_SW_DATA;
        inner = get(&f, TAG_VALUE);
    } else if (o->key_type != TB_SAFE_RSA2048) {
        static const uint8_t wrappers[] = {TB_SAFE_T_PUBLIC_KEY, TB_SAFE_T_EC_KEY,
                                           TB_SAFE_T_EC_POINT};

        for (size_t i = 0; i < sizeof wrappers; i++) {
            struct tb_span rest = inner, v;
            uint8_t tag;

            if (take_tlv(&rest, &tag, &v) && tag == wrappers[i] && rest.n == 0)
                inner = v;
        }
    }
    if (inner.n == 0)
        return TB_SW_DATA;
    s = describe(o, inner);
    return change(card, st, &s, 1);
}

static uint16_t update_file(struct card *card, struct safe_store *st, struct tb_span content) {
    struct card_object *o = selected(st);
    struct card_object_spec s;

    if (!o || o->cls != CARD_FILE)
        return TB_SW_CONDITIONS;
    if (content.n > o->capacity)
        return TB_SW_NO_SPACE;
    s = describe(o, content);
    return change(card, st, &s, 1);
}

static uint16_t delete_object(struct card *card, struct safe_store *st, struct tb_span data) {
    struct card_object *o;
    uint16_t sw = find_any(st, data, &o);
    uint8_t id[TB_SAFE_MAX_ID];
    int r;

    if (sw != TB_SW_OK)
        return sw;
    if (o->locked)
        return TB_SW_CONDITIONS;
    memcpy(id, o->id, o->id_len);
    r = card_admin_begin(card, st->in->number);
    if (r < 0)
        return status(r);
    r = card_admin_delete(card, (enum card_object_class)o->cls, tb_span(id, o->id_len));
    if (r == 0)
        r = card_admin_commit(card);
    if (r < 0)
        card_admin_abort(card);
    return status(r);
}

/* The applet as it was before anything was put into it. */
static uint16_t reset(struct card *card, struct safe_store *st, struct tb_span data) {
    int r;

    if (!tb_span_eq(data, tb_span_str("clearall")))
        return TB_SW_DATA;
    r = card_admin_begin(card, st->in->number);
    if (r < 0)
        return status(r);
    for (size_t i = 0; r == 0 && i < st->in->n; i++) {
        const struct card_object *o = st->in->v[i];

        r = o->locked ? TB_ESTATE
                      : card_admin_delete(card, (enum card_object_class)o->cls, card_object_id(o));
    }
    if (r == 0)
        r = card_admin_commit(card);
    if (r < 0)
        card_admin_abort(card);
    else
        st->selected = st->reading = false;
    return status(r);
}

/* A request for the key that is named, into a file made for it. */
static uint16_t make_csr(struct card *card, struct safe_store *st, struct tb_span data,
                         struct cmd *cmd) {
    static const uint8_t id[] = {0x80, 0x00, 0x00, 0x00};
    uint8_t der[CSR_MAX];
    struct tb_buf out = TB_BUF(der);
    struct card_object_spec s = {
        .cls = CARD_FILE,
        .id = tb_span(id, sizeof id),
        .label = tb_span_str("CertificateSigningRequest"),
        .access = TB_SAFE_READ,
        .capacity = CSR_MAX,
    };
    struct card_object *o;
    struct card_key *key;
    struct fields f;
    uint16_t sw;
    int r;

    if (!take_fields(data, &f) || get(&f, TAG_SUBJECT).n == 0)
        return TB_SW_DATA;
    sw = find(st, CARD_PRIVATE, &f, &o);
    if (sw != TB_SW_OK)
        return sw;
    if (!o->active || o->value_len == 0)
        return TB_SW_CONDITIONS;
    r = card_object_key(o, &key);
    if (r == 0)
        r = card_key_csr_for(key, get(&f, TAG_SUBJECT), get(&f, TAG_ATTRIBUTES), &out);
    if (r < 0)
        return status(r);
    cmd->work = TB_CARD_SIGN;
    card->counters.sign++;
    s.value = tb_buf_span(&out);
    return change(card, st, &s, 1);
}

/* ---- reading back ---- */

static uint16_t read_public(struct safe_store *st, struct cmd *cmd) {
    const struct card_object *o = selected(st);

    if (!o || o->cls != CARD_PUBLIC || o->value_len == 0)
        return TB_SW_CONDITIONS;
    if (!card_out_room(cmd, o->value_len))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, card_object_value(o));
    return TB_SW_OK;
}

uint16_t safe_store_more(struct safe_store *st, struct cmd *cmd, unsigned block) {
    const struct card_object *o = selected(st);
    struct tb_span part;

    if (!st->reading || !o)
        return TB_SW_CONDITIONS;
    part = tb_span_sub(card_object_value(o), (size_t)block * READ_MAX, READ_MAX);
    if (!card_out_room(cmd, part.n + 1))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, part);
    return TB_SW_OK;
}

static uint16_t read_file(struct safe_store *st, struct tb_span data, struct cmd *cmd) {
    struct card_object *o;
    uint16_t sw = find_any(st, data, &o);

    if (sw == TB_SW_OK && o->cls != CARD_FILE)
        sw = TB_SW_DATA;
    if (sw != TB_SW_OK)
        return sw;
    select_object(st, o);
    st->reading = true;
    return safe_store_more(st, cmd, 0);
}

static uint16_t select_named(struct safe_store *st, struct tb_span data) {
    struct card_object *o;
    uint16_t sw = find_any(st, data, &o);

    if (sw == TB_SW_OK)
        select_object(st, o);
    return sw;
}

static uint16_t debug(struct safe_store *st, struct tb_span data, struct cmd *cmd) {
    if (data.n > 1 || (data.n == 1 && data.p[0] > 1))
        return TB_SW_DATA;
    if (data.n == 1) {
        st->debug = data.p[0];
        return TB_SW_OK;
    }
    if (!card_out_room(cmd, 1))
        return TB_SW_NO_SPACE;
    tb_put_u8(cmd->out, st->debug);
    return TB_SW_OK;
}

/* ---- commands ---- */

uint16_t safe_store_block(struct safe_store *st, struct tb_span so_far) {
    struct card_object *o = selected(st);

    if (so_far.n == 0 || so_far.p[0] != DO_UPDATE_FILE || st->locked)
        return TB_SW_OK;
    if (!o || o->cls != CARD_FILE || o->locked || st->in->damaged)
        return TB_SW_CONDITIONS;
    o->locked = true;
    st->locked = true;
    return TB_SW_OK;
}

void safe_store_break(struct safe_store *st) {
    unlock(st);
    st->reading = false;
}

bool safe_store_at_once(struct tb_span so_far) {
    struct tb_span v;
    uint8_t tag;

    return take_tlv(&so_far, &tag, &v) && tag == DO_READ_FILE && so_far.n == 0;
}

/* An applet of Type II has neither key pairs nor certificates. */
static bool is_type_1(const struct card_profile *p, uint8_t tag) {
    return tag == DO_CSR || tag == DO_READ_PUBLIC || tag == DO_SELECT_READ_PUBLIC ||
           tag == p->store_pair || tag == p->store_private || tag == p->store_public ||
           tag == p->store_public_key;
}

static uint16_t run_unpublished(struct card *card, struct safe_store *st, uint8_t tag,
                                struct tb_span v, struct cmd *cmd) {
    const struct card_profile *p = st->profile;

    if (tag == p->store_pair)
        return create_pair(card, st, v, cmd);
    if (tag == p->store_private)
        return create(card, st, CARD_PRIVATE, v);
    if (tag == p->store_public)
        return create(card, st, CARD_PUBLIC, v);
    if (tag == p->store_secret)
        return create(card, st, CARD_SECRET, v);
    if (tag == p->store_key || tag == p->store_public_key)
        return update_key(card, st, v, tag == p->store_public_key);
    return TB_SW_DATA;
}

uint16_t safe_store_run(struct card *card, struct safe_store *st, struct tb_span command,
                        struct cmd *cmd) {
    struct tb_span v;
    uint8_t tag;

    unlock(st);
    st->reading = false;
    if (st->in->damaged)
        return TB_SW_INTEGRITY;
    if (!take_tlv(&command, &tag, &v) || command.n != 0)
        return TB_SW_DATA;
    if (st->profile->type2 && is_type_1(st->profile, tag))
        return TB_SW_FUNCTION;
    switch ((enum command)tag) {
    case DO_DEBUG:
        return debug(st, v, cmd);
    case DO_CREATE_FILE:
        return create(card, st, CARD_FILE, v);
    case DO_SELECT:
        return select_named(st, v);
    case DO_DELETE:
        return delete_object(card, st, v);
    case DO_UPDATE_FILE:
        return update_file(card, st, v);
    case DO_SELECT_READ_PUBLIC: {
        uint16_t sw = select_named(st, v);

        return sw == TB_SW_OK ? read_public(st, cmd) : sw;
    }
    case DO_READ_PUBLIC:
        return v.n ? TB_SW_DATA : read_public(st, cmd);
    case DO_CSR:
        return make_csr(card, st, v, cmd);
    case DO_READ_FILE:
        return read_file(st, v, cmd);
    case DO_RESET:
        return reset(card, st, v);
    }
    return run_unpublished(card, st, tag, v, cmd);
}
