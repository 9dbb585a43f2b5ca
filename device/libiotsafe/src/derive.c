/* COMPUTE PRF, COMPUTE HKDF, GET RANDOM. */
#include "call.h"

enum { PRF_MAX = 255, RANDOM_BLOCK = 255, ECDHE_LEN = 32 };

/* ---- PRF ---- */

/* spec: IOTSAFE 2.5.4 P1: 00 secret of the device, 01 pre-shared key, 02 pre-shared key and ECDHE
 */
static int prf_build(struct call *k, struct tb_buf *out) {
    command_begin(k, out, TB_SAFE_COMPUTE_PRF, !k->ref ? 0x00 : k->ecdhe ? 0x02 : 0x01, 0);
    if (k->ref)
        put_ref(out, IOTSAFE_SECRET_KEY, k->ref);
    else
        tb_put_safe(out, TB_SAFE_T_SECRET, TB_SAFE_LEN_8, k->in);
    if (k->ecdhe)
        tb_put_safe(out, TB_SAFE_T_PSK_ECDHE, TB_SAFE_LEN_8, tb_span(k->ecdhe, ECDHE_LEN));
    tb_put_safe(out, TB_SAFE_T_LABEL_SEED, TB_SAFE_LEN_8, k->in2);
    tb_put_tlv_u8(out, TB_SAFE_T_PRF_LENGTH, (uint8_t)k->out_cap);
    command_end(k, out, true);
    return 0;
}

static int prf_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    if (data.n != k->out_cap)
        return IOTSAFE_E_FORMAT;
    memcpy(k->out, data.p, data.n);
    return 0;
}

static const struct operation op_prf = {
    .flags = OP_SECRET, .build = prf_build, .answer = prf_answer};

int iotsafe_prf_start(struct iotsafe_call *call, struct iotsafe *c,
                      const struct iotsafe_ref *secret_key, const uint8_t *secret,
                      size_t secret_len, const uint8_t *ecdhe, const uint8_t *label_seed,
                      size_t label_seed_len, uint8_t *out, size_t out_len) {
    struct call *k;
    int r = call_begin(call, c, &op_prf, &k);

    if (r < 0)
        return r;
    if (secret_key ? !ref_ok(secret_key) : (!secret || secret_len == 0 || ecdhe))
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    if (!label_seed || label_seed_len == 0 || !out || out_len == 0 || out_len > PRF_MAX)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = secret_key;
    k->in = tb_span(secret, secret_len);
    k->in2 = tb_span(label_seed, label_seed_len);
    k->ecdhe = ecdhe;
    k->out = out;
    k->out_cap = out_len;
    return 0;
}

int iotsafe_prf(struct iotsafe *c, const struct iotsafe_ref *secret_key, const uint8_t *secret,
                size_t secret_len, const uint8_t *ecdhe, const uint8_t *label_seed,
                size_t label_seed_len, uint8_t *out, size_t out_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_prf_start(&call, c, secret_key, secret, secret_len, ecdhe,
                                             label_seed, label_seed_len, out, out_len));
}

/* ---- HKDF-Extract ---- */

static size_t hash_len(unsigned hash) {
    switch (hash) {
    case IOTSAFE_SHA256:
        return 32;
    case IOTSAFE_SHA384:
        return 48;
    case IOTSAFE_SHA512:
        return 64;
    default:
        return 0;
    }
}

/* RFC 5869 2.2: no salt means HashLen zeros. They are sent, because deployed applets refuse an
 * empty one. */
static int hkdf_build(struct call *k, struct tb_buf *out) {
    static const uint8_t zeros[64];

    command_begin(k, out, TB_SAFE_COMPUTE_HKDF, 0, 0);
    if (k->ref)
        put_ref(out, IOTSAFE_SECRET_KEY, k->ref);
    else
        tb_put_safe(out, TB_SAFE_T_SECRET, TB_SAFE_LEN_8, k->in);
    tb_put_safe(out, TB_SAFE_T_SALT, TB_SAFE_LEN_8,
                k->in2.n ? k->in2 : tb_span(zeros, hash_len(k->hash)));
    tb_put_tlv_be16(out, TB_SAFE_T_HASH, (uint16_t)k->hash);
    command_end(k, out, true);
    return 0;
}

static int hkdf_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    if (data.n != hash_len(k->hash))
        return IOTSAFE_E_FORMAT;
    if (data.n > k->out_cap)
        return IOTSAFE_E_TOO_SMALL;
    memcpy(k->out, data.p, data.n);
    *k->ret_len = data.n;
    return 0;
}

static const struct operation op_hkdf = {
    .flags = OP_SECRET, .build = hkdf_build, .answer = hkdf_answer};

int iotsafe_hkdf_extract_start(struct iotsafe_call *call, struct iotsafe *c,
                               const struct iotsafe_ref *secret_key, const uint8_t *ikm,
                               size_t ikm_len, const uint8_t *salt, size_t salt_len, unsigned hash,
                               uint8_t *prk, size_t cap, size_t *ret_len) {
    struct call *k;
    int r = call_begin(call, c, &op_hkdf, &k);

    if (r < 0)
        return r;
    if (secret_key ? !ref_ok(secret_key) : (!ikm || ikm_len == 0))
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    if (hash_len(hash) == 0 || (salt_len && !salt) || !prk || !ret_len)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = secret_key;
    k->in = tb_span(ikm, ikm_len);
    k->in2 = tb_span(salt, salt_len);
    k->hash = hash;
    k->out = prk;
    k->out_cap = cap;
    k->ret_len = ret_len;
    return 0;
}

int iotsafe_hkdf_extract(struct iotsafe *c, const struct iotsafe_ref *secret_key,
                         const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len,
                         unsigned hash, uint8_t *prk, size_t cap, size_t *ret_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_hkdf_extract_start(&call, c, secret_key, ikm, ikm_len, salt,
                                                      salt_len, hash, prk, cap, ret_len));
}

/* ---- GET RANDOM ---- */

static int random_build(struct call *k, struct tb_buf *out) {
    size_t left = k->out_cap - k->done;

    command_get(k, out, TB_SAFE_GET_RANDOM, 0, 0,
                left < RANDOM_BLOCK ? (unsigned)left : RANDOM_BLOCK);
    return 0;
}

/* Less than asked for is asked for again, more is left. */
static int random_answer(struct call *k, uint16_t sw, struct tb_span data) {
    size_t left = k->out_cap - k->done;

    (void)sw;
    if (data.n == 0)
        return IOTSAFE_E_FORMAT;
    if (data.n > left)
        data = tb_span_sub(data, 0, left);
    memcpy(k->out + k->done, data.p, data.n);
    k->done += data.n;
    return k->done < k->out_cap;
}

static void random_restart(struct call *k) {
    k->done = 0;
}

static const struct operation op_random = {.flags = OP_SECRET | OP_LONG,
                                           .build = random_build,
                                           .answer = random_answer,
                                           .restart = random_restart};

int iotsafe_random_start(struct iotsafe_call *call, struct iotsafe *c, uint8_t *buf, size_t len) {
    struct call *k;
    int r = call_begin(call, c, &op_random, &k);

    if (r < 0)
        return r;
    if (len && !buf)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->out = buf;
    k->out_cap = len;
    if (len == 0)
        call_finish(k, 0);
    return 0;
}

int iotsafe_random(struct iotsafe *c, uint8_t *buf, size_t len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_random_start(&call, c, buf, len));
}
