/* Containers for the keys of a handshake: which a card has, which are free. */
#include "iotsafe/slots.h"

#include "call.h"

void iotsafe_slots_init(struct iotsafe_slots *s) {
    memset(s, 0, sizeof *s);
}

int iotsafe_slots_add(struct iotsafe_slots *s, const struct iotsafe_ref *own) {
    if (!ref_ok(own))
        return IOTSAFE_E_ARGUMENT;
    if (s->n_own == IOTSAFE_SLOTS_MAX)
        return IOTSAFE_E_TOO_SMALL;
    s->own[s->n_own++] = *own;
    return 0;
}

int iotsafe_slots_add_peer(struct iotsafe_slots *s, const struct iotsafe_ref *peer, int agrees,
                           int verifies) {
    if (!ref_ok(peer))
        return IOTSAFE_E_ARGUMENT;
    if (s->n_peers == IOTSAFE_SLOTS_MAX)
        return IOTSAFE_E_TOO_SMALL;
    s->peers[s->n_peers].ref = *peer;
    s->peers[s->n_peers].functions =
        (uint8_t)((agrees ? TB_SAFE_CAN_AGREE : 0) | (verifies ? TB_SAFE_CAN_SIGN : 0));
    s->n_peers++;
    return 0;
}

/* ---- discovery ---- */

/* Cards leave attributes out: 0 is "not told" in all of these. */
static bool on_p256(const struct iotsafe_object *o) {
    return o->key_type == 0 || o->key_type == TB_SAFE_P256 || o->key_type == TB_SAFE_P256_VOLATILE;
}

static bool signs(const struct iotsafe_object *o) {
    return (o->crypto & TB_SAFE_CAN_SIGN) != 0 || (o->crypto == 0 && o->sign_alg != 0);
}

static bool agrees(const struct iotsafe_object *o) {
    return (o->crypto & TB_SAFE_CAN_AGREE) != 0 || (o->crypto == 0 && o->key_agreement != 0);
}

/* spec: IOTSAFE 2.11 generation needs update access and the function 02 */
static bool is_own(const struct iotsafe_object *o) {
    const unsigned both = TB_SAFE_CAN_GENERATE | TB_SAFE_CAN_AGREE;

    if (o->type != IOTSAFE_PRIVATE_KEY || !on_p256(o) || !(o->access & TB_SAFE_UPDATE))
        return false;
    if (o->key_type == TB_SAFE_P256_VOLATILE && o->crypto == 0)
        return true;
    return (o->crypto & both) == both && !signs(o);
}

static bool is_peer(const struct iotsafe_object *o) {
    return o->type == IOTSAFE_PUBLIC_KEY && on_p256(o) && (o->access & TB_SAFE_UPDATE) &&
           (agrees(o) || signs(o));
}

/* Private keys that are no containers for ephemeral keys, k->total of them: kept at the end of
 * own[] while the list is read, so that their public halves are known. */
static void note_other(struct call *k, struct iotsafe_slots *s, const struct iotsafe_ref *ref) {
    if (s->n_own + k->total < IOTSAFE_SLOTS_MAX)
        s->own[IOTSAFE_SLOTS_MAX - ++k->total] = *ref;
    else
        k->excess = true;
}

static void take_object(const struct iotsafe_object *o, void *user) {
    struct call *k = user;
    struct iotsafe_slots *s = k->ret;

    if (k->done++ == 0) { /* the list may begin anew */
        iotsafe_slots_init(s);
        k->total = 0;
        k->excess = false;
    }
    if (is_own(o) && s->n_own + k->total < IOTSAFE_SLOTS_MAX)
        (void)iotsafe_slots_add(s, &o->ref); /* more than fit are not needed */
    else if (o->type == IOTSAFE_PRIVATE_KEY)
        note_other(k, s, &o->ref);
    else if (is_peer(o))
        (void)iotsafe_slots_add_peer(s, &o->ref, agrees(o), signs(o));
}

static bool same_ref(const struct iotsafe_ref *a, const struct iotsafe_ref *b) {
    if (a->id_len || b->id_len)
        return a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0;
    return a->label_len == b->label_len && memcmp(a->label, b->label, a->label_len) == 0;
}

static bool has_private_half(const struct call *k, const struct iotsafe_slots *s,
                             const struct iotsafe_ref *ref) {
    for (size_t i = 0; i < IOTSAFE_SLOTS_MAX; i++) {
        if ((i < s->n_own || i >= IOTSAFE_SLOTS_MAX - k->total) && same_ref(&s->own[i], ref))
            return true;
    }
    return k->excess; /* more private keys than were kept: nothing is sure */
}

/* A key pair shares its reference. Generation writes its public half, nobody else may: the device's
 * identity is among them. */
static void drop_public_halves(struct call *k) {
    struct iotsafe_slots *s = k->ret;
    uint8_t n = 0;

    for (uint8_t i = 0; i < s->n_peers; i++) {
        if (!has_private_half(k, s, &s->peers[i].ref))
            s->peers[n++] = s->peers[i];
    }
    s->n_peers = n;
}

int iotsafe_slots_discover_start(struct iotsafe_call *call, struct iotsafe *c,
                                 struct iotsafe_slots *s) {
    struct call *k;
    int r;

    if (!s)
        return IOTSAFE_E_ARGUMENT;
    r = call_begin(call, c, &op_list, &k);
    if (r < 0)
        return r;
    iotsafe_slots_init(s);
    k->ret = s;
    k->emit = take_object;
    k->listed = drop_public_halves;
    return 0;
}

int iotsafe_slots_discover(struct iotsafe *c, struct iotsafe_slots *s) {
    struct iotsafe_call call;
    int r = iotsafe_slots_discover_start(&call, c, s);

    if (r < 0)
        return r;
    r = call_run(&call, r);
    if (r < 0)
        iotsafe_slots_init(s); /* half a list is none */
    return r;
}

/* ---- giving out ---- */

int iotsafe_slots_take(struct iotsafe_slots *s, struct iotsafe_ref *ret_own) {
    for (uint8_t i = 0; i < s->n_own; i++) {
        if (!(s->taken & 1U << i)) {
            s->taken |= (uint16_t)(1U << i);
            *ret_own = s->own[i];
            return 0;
        }
    }
    return s->n_own ? IOTSAFE_E_BUSY : IOTSAFE_E_UNSUPPORTED;
}

void iotsafe_slots_put(struct iotsafe_slots *s, const struct iotsafe_ref *own) {
    for (uint8_t i = 0; i < s->n_own; i++) {
        if (same_ref(&s->own[i], own))
            s->taken &= (uint16_t) ~(1U << i);
    }
}

static const struct iotsafe_ref *find_peer(const struct iotsafe_slots *s, unsigned function) {
    for (uint8_t i = 0; i < s->n_peers; i++) {
        if (s->peers[i].functions & function)
            return &s->peers[i].ref;
    }
    return NULL;
}

const struct iotsafe_ref *iotsafe_slots_peer(const struct iotsafe_slots *s) {
    return find_peer(s, TB_SAFE_CAN_AGREE);
}

const struct iotsafe_ref *iotsafe_slots_verifier(const struct iotsafe_slots *s) {
    return find_peer(s, TB_SAFE_CAN_SIGN);
}
