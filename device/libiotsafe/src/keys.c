/* GENERATE KEY PAIR, READ PUBLIC KEY, PUT PUBLIC KEY, COMPUTE DH. */
#include "call.h"

static bool is_point(struct tb_span key) {
    return key.n == POINT_LEN && key.p[0] == 0x04;
}

/* Goes into an element with that tag if in begins with it. */
static void descend(struct tb_span *in, uint8_t tag) {
    struct tb_span rest = *in;
    struct tb_tlv e;

    if (in->n > 0 && in->p[0] == tag && tb_safe_next(&rest, &e) == 1)
        *in = e.value;
}

/* spec: IOTSAFE 2.5.7 public key data: 34 {49 {86 point}}. Applets leave out layers, so each is
 * optional. */
bool find_public_key(struct tb_span data, struct tb_span *ret) {
    struct tb_span key = data;

    if (!is_point(data) && tb_safe_find(data, TB_SAFE_T_PUBLIC_KEY, &key) != 1 &&
        tb_safe_find(data, TB_SAFE_T_EC_KEY, &key) != 1)
        return false;
    descend(&key, TB_SAFE_T_EC_KEY);
    descend(&key, TB_SAFE_T_EC_POINT);
    if (key.n == 0)
        return false;
    *ret = key;
    return true;
}

/* ---- GENERATE KEY PAIR ---- */

static int generate_build(struct call *k, struct tb_buf *out) {
    command_begin(k, out, TB_SAFE_GENERATE_KEY_PAIR, 0, 0);
    put_ref(out, IOTSAFE_PRIVATE_KEY, k->ref);
    command_end(k, out, true);
    return 0;
}

/* Reads one of the answer's references into *ref; what the card does not tell stays as it is. */
static void read_ref(struct tb_tlv e, uint8_t id_tag, uint8_t label_tag, struct iotsafe_ref *ref) {
    if (e.tag == id_tag && e.value.n >= 1 && e.value.n <= sizeof ref->id) {
        memcpy(ref->id, e.value.p, e.value.n);
        ref->id_len = (uint8_t)e.value.n;
    } else if (e.tag == label_tag && e.value.n >= 1 && e.value.n <= sizeof ref->label) {
        memcpy(ref->label, e.value.p, e.value.n);
        ref->label_len = (uint8_t)e.value.n;
    }
}

/* spec: IOTSAFE 2.11 the answer names both halves, whose identifiers may have changed. A card that
 * does not tell is taken to have kept the private one, and to call the public one the same. */
static int generate_answer(struct call *k, uint16_t sw, struct tb_span data) {
    struct iotsafe_ref private_key = *k->ref, public_key = *k->ref;
    struct tb_span key, rest = data;
    struct tb_tlv e;

    (void)sw;
    if (!find_public_key(data, &key) || !is_point(key))
        return IOTSAFE_E_FORMAT;
    while (tb_safe_next(&rest, &e) == 1) {
        read_ref(e, TB_SAFE_T_PRIVATE_ID, TB_SAFE_T_PRIVATE_LABEL, &private_key);
        read_ref(e, TB_SAFE_T_PUBLIC_ID, TB_SAFE_T_PUBLIC_LABEL, &public_key);
    }
    memcpy(k->out, key.p, POINT_LEN);
    if (k->ret)
        memcpy(k->ret, &private_key, sizeof private_key);
    if (k->ret2)
        memcpy(k->ret2, &public_key, sizeof public_key);
    return 0;
}

static const struct operation op_generate = {
    .flags = OP_ONCE, .build = generate_build, .answer = generate_answer};

int iotsafe_generate_start(struct iotsafe_call *call, struct iotsafe *c,
                           const struct iotsafe_ref *private_key, uint8_t point[65],
                           struct iotsafe_ref *ret_private, struct iotsafe_ref *ret_public) {
    struct call *k;
    int r = call_begin(call, c, &op_generate, &k);

    if (r < 0)
        return r;
    if (!ref_ok(private_key) || !point)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = private_key;
    k->out = point;
    k->ret = ret_private;
    k->ret2 = ret_public;
    return 0;
}

int iotsafe_generate(struct iotsafe *c, const struct iotsafe_ref *private_key, uint8_t point[65],
                     struct iotsafe_ref *ret_private, struct iotsafe_ref *ret_public) {
    struct iotsafe_call call;

    return call_run(&call,
                    iotsafe_generate_start(&call, c, private_key, point, ret_private, ret_public));
}

/* ---- READ PUBLIC KEY ---- */

static int read_build(struct call *k, struct tb_buf *out) {
    command_begin(k, out, TB_SAFE_READ_PUBLIC_KEY, 0, 0);
    put_ref(out, IOTSAFE_PUBLIC_KEY, k->ref);
    command_end(k, out, true);
    return 0;
}

static int read_answer(struct call *k, uint16_t sw, struct tb_span data) {
    struct tb_span key;

    (void)sw;
    if (!find_public_key(data, &key))
        return IOTSAFE_E_FORMAT;
    if (key.n > k->out_cap)
        return IOTSAFE_E_TOO_SMALL;
    memcpy(k->out, key.p, key.n);
    *k->ret_len = key.n;
    return 0;
}

static const struct operation op_read = {.build = read_build, .answer = read_answer};

int iotsafe_read_public_key_start(struct iotsafe_call *call, struct iotsafe *c,
                                  const struct iotsafe_ref *ref, uint8_t *buf, size_t cap,
                                  size_t *ret_len) {
    struct call *k;
    int r = call_begin(call, c, &op_read, &k);

    if (r < 0)
        return r;
    if (!ref_ok(ref) || !buf || !ret_len)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = ref;
    k->out = buf;
    k->out_cap = cap;
    k->ret_len = ret_len;
    return 0;
}

int iotsafe_read_public_key(struct iotsafe *c, const struct iotsafe_ref *ref, uint8_t *buf,
                            size_t cap, size_t *ret_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_read_public_key_start(&call, c, ref, buf, cap, ret_len));
}

/* ---- PUT PUBLIC KEY ---- */

static int put_build(struct call *k, struct tb_buf *out) {
    if (k->step == STEP_INIT) {
        put_ref(out, IOTSAFE_PUBLIC_KEY, k->put_ref);
        return 0;
    }
    if (is_point(k->put_key)) {
        size_t key = tb_tlv_open(out, TB_SAFE_T_PUBLIC_KEY);
        size_t ec = tb_tlv_open(out, TB_SAFE_T_EC_KEY);

        tb_put_safe(out, TB_SAFE_T_EC_POINT, TB_SAFE_LEN_8, k->put_key);
        tb_tlv_close(out, ec);
        tb_tlv_close(out, key);
    } else {
        tb_put_safe(out, TB_SAFE_T_PUBLIC_KEY, TB_SAFE_LEN_BER, k->put_key);
    }
    return 0;
}

static int put_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    (void)data;
    if (k->step == STEP_UPDATE)
        return 0;
    k->step = STEP_UPDATE;
    return 1;
}

const struct operation op_put = {
    .flags = OP_SESSION | OP_LONG,
    .init_ins = TB_SAFE_PUT_PUBLIC_INIT,
    .update_ins = TB_SAFE_PUT_PUBLIC_UPDATE,
    .build = put_build,
    .answer = put_answer,
};

int put_arguments(struct call *k, const struct iotsafe_ref *public_key, const uint8_t *point,
                  size_t point_len) {
    if (!ref_ok(public_key) || !point || point_len == 0)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->put_ref = public_key;
    k->put_key = tb_span(point, point_len);
    return 0;
}

int iotsafe_put_public_key_start(struct iotsafe_call *call, struct iotsafe *c,
                                 const struct iotsafe_ref *public_key, const uint8_t *point,
                                 size_t point_len) {
    struct call *k;
    int r = call_begin(call, c, &op_put, &k);

    return r < 0 ? r : put_arguments(k, public_key, point, point_len);
}

int iotsafe_put_public_key(struct iotsafe *c, const struct iotsafe_ref *public_key,
                           const uint8_t *point, size_t point_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_put_public_key_start(&call, c, public_key, point, point_len));
}

/* ---- COMPUTE DH ---- */

enum { SECRET_LEN = 32 };

static int ecdh_build(struct call *k, struct tb_buf *out) {
    command_begin(k, out, TB_SAFE_COMPUTE_DH, 0, 0);
    put_ref(out, IOTSAFE_PRIVATE_KEY, k->ref);
    put_ref(out, IOTSAFE_PUBLIC_KEY, k->ref2);
    command_end(k, out, true);
    return 0;
}

static int ecdh_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    if (data.n != SECRET_LEN)
        return IOTSAFE_E_FORMAT;
    memcpy(k->out, data.p, SECRET_LEN);
    return 0;
}

const struct operation op_ecdh = {.flags = OP_SECRET, .build = ecdh_build, .answer = ecdh_answer};

int ecdh_arguments(struct call *k, const struct iotsafe_ref *private_key,
                   const struct iotsafe_ref *public_key, uint8_t *secret) {
    if (!ref_ok(private_key) || !ref_ok(public_key) || !secret)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = private_key;
    k->ref2 = public_key;
    k->out = secret;
    return 0;
}

int iotsafe_ecdh_start(struct iotsafe_call *call, struct iotsafe *c,
                       const struct iotsafe_ref *private_key, const struct iotsafe_ref *public_key,
                       uint8_t secret[32]) {
    struct call *k;
    int r = call_begin(call, c, &op_ecdh, &k);

    return r < 0 ? r : ecdh_arguments(k, private_key, public_key, secret);
}

int iotsafe_ecdh(struct iotsafe *c, const struct iotsafe_ref *private_key,
                 const struct iotsafe_ref *public_key, uint8_t secret[32]) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_ecdh_start(&call, c, private_key, public_key, secret));
}
