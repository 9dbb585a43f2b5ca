#include "simcard/personalise.h"

#include <stdlib.h>

#include "admin/identity.h"
#include "admin/object_spec.h"
#include "iotsafe/object.h"
#include "os/pin.h"
#include "usim/aka.h"

static int write_one(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    const struct card_write w = {key, value};

    return card_nvm_write(nvm, &w, 1, true);
}

/* Copies min..max digits; a leading + is passed over. NULL counts as "". */
static bool copy_digits(const char *text, size_t min, size_t max, char *to) {
    size_t n;

    if (!text)
        text = "";
    if (text[0] == '+')
        text++;
    n = strlen(text);
    if (n < min || n > max || strspn(text, "0123456789") != n)
        return false;
    memcpy(to, text, n + 1);
    return true;
}

/* A record of that subscription. */
static int write_of(struct card_nvm *nvm, uint8_t subscription, struct tb_span key,
                    struct tb_span value) {
    uint8_t whole[CARD_REC_KEY_MAX];
    struct tb_buf k = TB_BUF(whole);

    card_subscription_key(&(struct card_subscription){.number = subscription}, &k);
    tb_put(&k, key);
    return write_one(nvm, tb_buf_span(&k), value);
}

int card_perso_identity(struct card_nvm *nvm, const struct card_identity *id) {
    uint8_t record[CARD_IDENTITY_RECORD_MAX];
    struct tb_buf b = TB_BUF(record);
    struct card_subscriber s = {.mnc_digits = id->mnc_digits ? id->mnc_digits : 2};
    const char *spn = id->spn ? id->spn : "";

    if (!id->iccid || !copy_digits(id->iccid, 18, CARD_ICCID_MAX, s.iccid) ||
        (id->imsi && !copy_digits(id->imsi, 6, CARD_IMSI_MAX, s.imsi)) ||
        !copy_digits(id->msisdn, 0, CARD_NUMBER_MAX, s.msisdn) ||
        !copy_digits(id->smsc, 0, CARD_NUMBER_MAX, s.smsc) || strlen(spn) > CARD_SPN_MAX ||
        s.mnc_digits < 2 || s.mnc_digits > 3 || id->atr.n == 1 || id->atr.n > sizeof s.atr)
        return TB_ERANGE;
    for (const char *c = spn; *c; c++)
        if (*c < 0x20 || *c > 0x7E)
            return TB_ERANGE;
    memcpy(s.spn, spn, strlen(spn) + 1);
    s.atr_len = (uint8_t)id->atr.n;
    if (id->atr.n)
        memcpy(s.atr, id->atr.p, id->atr.n);
    card_identity_encode(&s, &b);
    return tb_buf_ok(&b)
               ? write_of(nvm, id->subscription, TB_BYTES(CARD_REC_IDENTITY), tb_buf_span(&b))
               : TB_ERANGE;
}

int card_perso_pin(struct card_nvm *nvm, const struct card_pin_spec *spec) {
    struct card_pin_state pin = card_pin_default((uint8_t)spec->ref);
    uint8_t record[CARD_PIN_RECORD_MAX], key[] = {CARD_REC_PIN, (uint8_t)spec->ref};
    struct tb_buf b = TB_BUF(record);
    size_t n = spec->pin ? strlen(spec->pin) : 0;
    int r;

    if ((spec->ref != CARD_PIN1 && spec->ref != CARD_PIN2 && spec->ref != CARD_ADM1) || n < 4 ||
        n > 8 || (spec->puk && strlen(spec->puk) != 8))
        return TB_ERANGE;
    if (spec->ref != CARD_ADM1 && strspn(spec->pin, "0123456789") != n)
        return TB_ERANGE;
    memset(pin.pin, 0xFF, sizeof pin.pin);
    memcpy(pin.pin, spec->pin, n);
    pin.has_puk = spec->puk != NULL;
    if (spec->puk)
        memcpy(pin.puk, spec->puk, sizeof pin.puk);
    pin.enabled = spec->ref != CARD_PIN1 || spec->enabled;
    card_pin_encode(&pin, &b);
    r = write_of(nvm, spec->subscription, tb_span(key, sizeof key), tb_buf_span(&b));
    tb_wipe(record, sizeof record);
    tb_wipe(&pin, sizeof pin);
    return r;
}

int card_perso_usim(struct card_nvm *nvm, const struct card_usim_spec *spec) {
    struct card_aka aka = {.delta = spec->delta ? spec->delta : CARD_AKA_DELTA};
    uint8_t record[CARD_AKA_RECORD_MAX];
    struct tb_buf b = TB_BUF(record);
    int r = 0;

    if (spec->k.n != CARD_MILENAGE_KEY || spec->sqn >> 48 ||
        (spec->opc.n != CARD_MILENAGE_KEY || spec->op.n != 0) ==
            (spec->op.n != CARD_MILENAGE_KEY || spec->opc.n != 0))
        return TB_ERANGE;
    memcpy(aka.keys.k, spec->k.p, CARD_MILENAGE_KEY);
    if (spec->opc.n)
        memcpy(aka.keys.opc, spec->opc.p, CARD_MILENAGE_KEY);
    else
        r = card_milenage_opc(spec->k.p, spec->op.p, aka.keys.opc);
    /* Nothing at or below it is accepted whatever its IND. */
    for (size_t i = 0; i < CARD_AKA_SLOTS; i++)
        aka.seq[i] = spec->sqn / CARD_AKA_SLOTS;
    card_aka_encode(&aka, &b);
    if (r == 0)
        r = tb_buf_ok(&b)
                ? write_of(nvm, spec->subscription, TB_BYTES(CARD_REC_AKA), tb_buf_span(&b))
                : TB_ERANGE;
    tb_wipe(record, sizeof record);
    tb_wipe(&aka, sizeof aka);
    return r;
}

/* --- objects --- */

struct object_scan {
    uint8_t instance;
    const struct card_object *wanted;
    uint16_t next_seq;
    struct card_object *found; /* the caller's, when asked for */
};

/* Finds the object with wanted's class and id; on the way the next free sequence number and, as an
 * error, another object of the class that has wanted's label. */
static int scan_object(struct tb_span key, struct tb_span value, void *user) {
    struct object_scan *scan = user;
    struct card_object *o;
    uint8_t instance;
    bool same_id, same_label;
    int r;

    if (key.n < 4 || key.p[0] != CARD_REC_OBJECT || key.p[1] != scan->instance)
        return 0;
    r = card_object_decode(key, value, &instance, &o);
    if (r < 0)
        return r;
    if (o->seq >= scan->next_seq)
        scan->next_seq = (uint16_t)(o->seq + 1);
    same_id =
        o->cls == scan->wanted->cls && tb_span_eq(card_object_id(o), card_object_id(scan->wanted));
    same_label = o->cls == scan->wanted->cls && o->label_len > 0 &&
                 tb_span_eq(card_object_label(o), card_object_label(scan->wanted));
    if (same_id) {
        scan->found = o;
        return 0;
    }
    card_object_free(o);
    return same_label ? TB_ESTATE : 0;
}

static int put_object(struct card_nvm *nvm, uint8_t instance, const struct card_object *o) {
    uint8_t key[CARD_REC_KEY_MAX], *record;
    struct tb_buf k = TB_BUF(key);
    size_t n;
    int r;

    record = card_object_encode(o, card_object_value(o), o->active, &n);
    if (!record)
        return TB_ENOMEM;
    card_object_record_key(instance, o, &k);
    r = write_one(nvm, tb_buf_span(&k), tb_span(record, n));
    card_object_encode_free(record, n);
    return r;
}

int card_perso_object(struct card_nvm *nvm, uint8_t instance, const struct card_object_spec *spec) {
    struct object_scan scan = {.instance = instance};
    struct card_object *o;
    int r = card_object_from_spec(spec, &o);

    if (r < 0)
        return r;
    scan.wanted = o;
    r = nvm->ops->each(nvm, scan_object, &scan);
    if (r == 0 && scan.found)
        r = TB_ESTATE;
    if (r == 0) {
        o->seq = scan.next_seq;
        r = put_object(nvm, instance, o);
    }
    card_object_free(scan.found);
    card_object_free(o);
    return r;
}

/* The object of that class and id, the caller's to free. */
static int get_object(struct card_nvm *nvm, uint8_t instance, enum card_object_class cls,
                      struct tb_span id, struct card_object **ret) {
    struct card_object wanted = {.cls = (uint8_t)cls};
    struct object_scan scan = {.instance = instance, .wanted = &wanted};
    int r;

    if (id.n == 0 || id.n > sizeof wanted.id)
        return TB_ERANGE;
    memcpy(wanted.id, id.p, id.n);
    wanted.id_len = (uint8_t)id.n;
    r = nvm->ops->each(nvm, scan_object, &scan);
    if (r < 0) {
        card_object_free(scan.found);
        return r;
    }
    if (!scan.found)
        return TB_ENOTFOUND;
    *ret = scan.found;
    return 0;
}

static int take_value(struct card_object *o, const struct card_key *key, bool private) {
    size_t cap = private ? CARD_KEY_PRIVATE_MAX : CARD_KEY_PUBLIC_MAX;
    struct tb_buf b = tb_buf(malloc(cap), cap);
    int r;

    if (!b.p)
        return TB_ENOMEM;
    r = private ? card_key_put_private(key, &b) : card_key_put_public(key, false, &b);
    if (r < 0) {
        free(b.p);
        return r;
    }
    card_object_set(o, b.p, b.n, NULL);
    o->active = true;
    return 0;
}

static int put_pair(struct card_nvm *nvm, uint8_t instance, const struct card_object *const o[2]) {
    uint8_t keys[2][CARD_REC_KEY_MAX], *records[2] = {NULL};
    struct card_write writes[2];
    size_t n[2] = {0};
    int r = 0;

    for (int i = 0; i < 2; i++) {
        struct tb_buf k = TB_BUF(keys[i]);

        records[i] = card_object_encode(o[i], card_object_value(o[i]), true, &n[i]);
        if (!records[i])
            r = TB_ENOMEM;
        card_object_record_key(instance, o[i], &k);
        writes[i] = (struct card_write){tb_buf_span(&k), {records[i], n[i]}};
    }
    if (r == 0)
        r = card_nvm_write(nvm, writes, 2, true);
    for (int i = 0; i < 2; i++)
        card_object_encode_free(records[i], n[i]);
    return r;
}

/* Both halves of a pair, the caller's to free. */
static int get_pair(struct card_nvm *nvm, uint8_t instance, struct tb_span private_id,
                    struct card_object *ret[2]) {
    struct card_object *half[2];
    int r = get_object(nvm, instance, CARD_PRIVATE, private_id, &half[0]);

    if (r < 0)
        return r;
    r = get_object(nvm, instance, CARD_PUBLIC,
                   half[0]->pair_len ? tb_span(half[0]->pair, half[0]->pair_len) : private_id,
                   &half[1]);
    if (r < 0) {
        card_object_free(half[0]);
        return r;
    }
    memcpy(ret, half, sizeof half);
    return 0;
}

/* Puts key into both containers and writes them. */
static int fill_pair(struct card_nvm *nvm, uint8_t instance, struct card_object *const half[2],
                     const struct card_key *key) {
    int r = take_value(half[0], key, true);

    if (r == 0)
        r = take_value(half[1], key, false);
    return r < 0 ? r
                 : put_pair(nvm, instance, (const struct card_object *const[]){half[0], half[1]});
}

/* The kind of key that both containers take and keep. */
static int pair_kind(struct card_object *const half[2], enum card_key_kind *ret) {
    return half[0]->key_type != half[1]->key_type || card_key_type_volatile(half[0]->key_type) ||
                   !card_key_type_kind(half[0]->key_type, ret)
               ? TB_ERANGE
               : 0;
}

int card_perso_generate(struct card_nvm *nvm, uint8_t instance, struct tb_span private_id,
                        struct tb_buf *ret_public) {
    struct card_object *half[2];
    struct card_key *key = NULL;
    enum card_key_kind kind;
    int r = get_pair(nvm, instance, private_id, half);

    if (r < 0)
        return r;
    r = pair_kind(half, &kind);
    if (r == 0)
        r = card_key_generate(kind, &key);
    if (r == 0)
        r = fill_pair(nvm, instance, half, key);
    if (r == 0) {
        tb_put(ret_public, card_object_value(half[1]));
        r = tb_buf_ok(ret_public) ? 0 : TB_ESPACE;
    }
    card_key_free(key);
    card_object_free(half[0]);
    card_object_free(half[1]);
    return r;
}

static int copy_value(struct card_object *to, const struct card_object *from) {
    struct tb_span value = card_object_value(from);
    uint8_t *copy = malloc(value.n ? value.n : 1);

    if (!copy)
        return TB_ENOMEM;
    if (value.n)
        memcpy(copy, value.p, value.n);
    card_object_set(to, copy, value.n, NULL);
    to->active = true;
    return 0;
}

static int copy_pair(struct card_nvm *nvm, uint8_t instance, struct card_object *const from[2],
                     struct card_object *const to[2]) {
    enum card_key_kind kind;
    int r = pair_kind(to, &kind);

    if (r == 0 && to[0]->key_type != from[0]->key_type)
        r = TB_ERANGE;
    if (r == 0 && (from[0]->value_len == 0 || from[1]->value_len == 0))
        r = TB_ENOTFOUND;
    for (int i = 0; i < 2 && r == 0; i++)
        r = copy_value(to[i], from[i]);
    return r < 0 ? r : put_pair(nvm, instance, (const struct card_object *const[]){to[0], to[1]});
}

int card_perso_copy(struct card_nvm *nvm, uint8_t from_instance, struct tb_span from_id,
                    uint8_t to_instance, struct tb_span to_id) {
    struct card_object *from[2], *to[2];
    int r = get_pair(nvm, from_instance, from_id, from);

    if (r < 0)
        return r;
    r = get_pair(nvm, to_instance, to_id, to);
    if (r == 0) {
        r = copy_pair(nvm, to_instance, from, to);
        card_object_free(to[0]);
        card_object_free(to[1]);
    }
    card_object_free(from[0]);
    card_object_free(from[1]);
    return r;
}

int card_perso_public_of(uint8_t key_type, struct tb_span private_value,
                         struct tb_buf *ret_public) {
    enum card_key_kind kind;
    struct card_key *key;
    int r;

    if (!card_key_type_kind(key_type, &kind))
        return TB_ERANGE;
    r = card_key_from_private(kind, private_value, &key);
    if (r < 0)
        return r;
    r = card_key_put_public(key, false, ret_public);
    card_key_free(key);
    return r;
}

int card_perso_csr(struct card_nvm *nvm, uint8_t instance, struct tb_span private_id,
                   const char *common_name, struct tb_buf *ret_csr) {
    struct card_object *o;
    struct card_key *key;
    int r = get_object(nvm, instance, CARD_PRIVATE, private_id, &o);

    if (r < 0)
        return r;
    r = o->value_len == 0 ? TB_ENOTFOUND : card_object_key(o, &key);
    if (r == 0)
        r = card_key_csr(key, common_name, ret_csr);
    card_object_free(o);
    return r;
}

int card_perso_file(struct card_nvm *nvm, uint8_t instance, struct tb_span file_id,
                    struct tb_span content) {
    struct card_object *o;
    uint8_t *copy;
    int r = get_object(nvm, instance, CARD_FILE, file_id, &o);

    if (r < 0)
        return r;
    copy = malloc(content.n ? content.n : 1);
    if (!copy || content.n > o->capacity) {
        r = copy ? TB_ESPACE : TB_ENOMEM;
        free(copy);
        card_object_free(o);
        return r;
    }
    if (content.n)
        memcpy(copy, content.p, content.n);
    card_object_set(o, copy, content.n, NULL);
    o->active = true;
    r = put_object(nvm, instance, o);
    card_object_free(o);
    return r;
}
