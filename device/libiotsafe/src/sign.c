/* COMPUTE SIGNATURE and VERIFY SIGNATURE in the mode "the device hashes" (A1 = 03).
 *
 * spec: IOTSAFE COMPUTE-SIGNATURE INIT names key and algorithms, UPDATE carries the final hash */
#include "call.h"
#include "tb/der.h"

enum { HALF = 32, RAW = 2 * HALF, DIGEST_MAX = 64 };

static unsigned hash_of_len(size_t n) {
    return n > 48 ? IOTSAFE_SHA512 : n > 32 ? IOTSAFE_SHA384 : IOTSAFE_SHA256;
}

static void put_init(const struct call *k, struct tb_buf *out, enum iotsafe_object_type type) {
    put_ref(out, type, k->ref);
    tb_put_tlv_u8(out, TB_SAFE_T_MODE, TB_SAFE_MODE_FINAL_HASH);
    tb_put_tlv_be16(out, TB_SAFE_T_HASH, (uint16_t)k->hash);
    tb_put_tlv_u8(out, TB_SAFE_T_SIGN_ALG, (uint8_t)k->alg);
}

static int begin(struct call *k, const struct iotsafe_ref *ref, unsigned hash, unsigned alg,
                 const uint8_t *digest, size_t digest_len) {
    if (!ref_ok(ref) || !digest || digest_len == 0 || digest_len > DIGEST_MAX || hash > 0xFFFF ||
        alg > 0xFF)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = ref;
    k->hash = hash ? hash : hash_of_len(digest_len);
    k->alg = alg ? alg : IOTSAFE_ECDSA;
    k->in = tb_span(digest, digest_len);
    return IOTSAFE_OK;
}

/* ---- sign ---- */

static int sign_build(struct call *k, struct tb_buf *out) {
    if (k->step == STEP_INIT)
        put_init(k, out, IOTSAFE_PRIVATE_KEY);
    else
        tb_put_safe(out, TB_SAFE_T_FINAL_HASH, TB_SAFE_LEN_8, k->in);
    return 0;
}

/* 33 with whatever length form. Applets disagree on the value too: r || s in the document, DER in
 * some. 64 bytes are r || s, whatever they look like. */
static int take_signature(struct call *k, struct tb_span data) {
    struct tb_buf out = tb_buf(k->out, k->out_cap);
    struct tb_span sig;

    /* What this applet sends is what it will want to be sent. */
    k->c->sig_8bit = data.n > 1 && data.p[0] == TB_SAFE_T_SIGNATURE && data.p[1] > 1;
    k->c->sig_der = false;
    if (tb_safe_find(data, TB_SAFE_T_SIGNATURE, &sig) != 1 || sig.n == 0)
        return IOTSAFE_E_FORMAT;
    if (k->alg == IOTSAFE_ECDSA && sig.n != RAW) {
        int r = tb_ecdsa_der_to_raw(sig, HALF, &out);

        if (r < 0)
            return r == TB_ESPACE ? IOTSAFE_E_TOO_SMALL : IOTSAFE_E_FORMAT;
        k->c->sig_der = true;
    } else {
        tb_put(&out, sig);
    }
    if (!tb_buf_ok(&out))
        return IOTSAFE_E_TOO_SMALL;
    *k->ret_len = out.n;
    return 0;
}

static int sign_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    if (k->step == STEP_INIT) {
        k->step = STEP_UPDATE;
        return 1;
    }
    return take_signature(k, data);
}

static const struct operation op_sign = {
    .flags = OP_SESSION | OP_LONG | OP_ANSWERS,
    .init_ins = TB_SAFE_COMPUTE_SIGNATURE_INIT,
    .update_ins = TB_SAFE_COMPUTE_SIGNATURE_UPDATE,
    .build = sign_build,
    .answer = sign_answer,
};

int iotsafe_sign_start(struct iotsafe_call *call, struct iotsafe *c,
                       const struct iotsafe_ref *private_key, unsigned hash, unsigned alg,
                       const uint8_t *digest, size_t digest_len, uint8_t *sig, size_t cap,
                       size_t *ret_len) {
    struct call *k;
    int r = call_begin(call, c, &op_sign, &k);

    if (r == 0)
        r = begin(k, private_key, hash, alg, digest, digest_len);
    if (r < 0)
        return r;
    if (!sig || !ret_len)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->out = sig;
    k->out_cap = cap;
    k->ret_len = ret_len;
    return 0;
}

int iotsafe_sign(struct iotsafe *c, const struct iotsafe_ref *private_key, unsigned hash,
                 unsigned alg, const uint8_t *digest, size_t digest_len, uint8_t *sig, size_t cap,
                 size_t *ret_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_sign_start(&call, c, private_key, hash, alg, digest, digest_len,
                                              sig, cap, ret_len));
}

/* ---- verify ---- */

static int verify_build(struct call *k, struct tb_buf *out) {
    enum tb_safe_len form = k->c->sig_8bit && k->in2.n <= 0xFF ? TB_SAFE_LEN_8 : TB_SAFE_LEN_16;
    uint8_t bytes[TB_ECDSA_DER_MAX_256];
    struct tb_buf der = TB_BUF(bytes);
    struct tb_span sig = k->in2;

    if (k->step == STEP_INIT) {
        put_init(k, out, IOTSAFE_PUBLIC_KEY);
        return 0;
    }
    if (k->c->sig_der && k->alg == IOTSAFE_ECDSA) {
        if (tb_ecdsa_raw_to_der(sig, &der) < 0)
            return IOTSAFE_E_ARGUMENT;
        sig = tb_buf_span(&der);
    }
    tb_put_safe(out, TB_SAFE_T_FINAL_HASH, TB_SAFE_LEN_8, k->in);
    tb_put_safe(out, TB_SAFE_T_SIGNATURE, form, sig);
    return 0;
}

/* Refusals of an applet that does not understand the length form of tag 33. */
static bool is_syntax(uint16_t sw) {
    return sw == TB_SW_DATA || sw == TB_SW_LENGTH || sw == TB_SW_CONDITIONS;
}

/* The status word is the verdict: nothing but "done" is a good signature. */
static int verify_answer(struct call *k, uint16_t sw, struct tb_span data) {
    bool done = sw == TB_SW_OK || sw == TB_SW_ADMIN_DONE || (sw >> 8) == 0x91;

    (void)data;
    if (k->step == STEP_INIT) {
        if (!done)
            return error_of_sw(sw);
        k->step = STEP_UPDATE;
        return 1;
    }
    if (done)
        return IOTSAFE_OK;
    if (is_syntax(sw) && !k->other_form && k->in2.n <= 0xFF) {
        k->other_form = true;
        k->c->sig_8bit = !k->c->sig_8bit;
        k->step = STEP_INIT;
        return 1;
    }
    return error_of_sw(sw);
}

const struct operation op_verify = {
    .flags = OP_SESSION | OP_LONG | OP_OWN_ERRORS | OP_CHAINS,
    .init_ins = TB_SAFE_VERIFY_SIGNATURE_INIT,
    .update_ins = TB_SAFE_VERIFY_SIGNATURE_UPDATE,
    .build = verify_build,
    .answer = verify_answer,
};

int verify_arguments(struct call *k, const struct iotsafe_ref *public_key, unsigned hash,
                     unsigned alg, const uint8_t *digest, size_t digest_len, const uint8_t *sig,
                     size_t sig_len) {
    int r = begin(k, public_key, hash, alg, digest, digest_len);

    if (r < 0)
        return r;
    if (!sig || sig_len < 2 || (k->alg == IOTSAFE_ECDSA && sig_len != RAW))
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->in2 = tb_span(sig, sig_len);
    return 0;
}

int iotsafe_verify_start(struct iotsafe_call *call, struct iotsafe *c,
                         const struct iotsafe_ref *public_key, unsigned hash, unsigned alg,
                         const uint8_t *digest, size_t digest_len, const uint8_t *sig,
                         size_t sig_len) {
    struct call *k;
    int r = call_begin(call, c, &op_verify, &k);

    return r < 0 ? r : verify_arguments(k, public_key, hash, alg, digest, digest_len, sig, sig_len);
}

int iotsafe_verify(struct iotsafe *c, const struct iotsafe_ref *public_key, unsigned hash,
                   unsigned alg, const uint8_t *digest, size_t digest_len, const uint8_t *sig,
                   size_t sig_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_verify_start(&call, c, public_key, hash, alg, digest, digest_len,
                                                sig, sig_len));
}
