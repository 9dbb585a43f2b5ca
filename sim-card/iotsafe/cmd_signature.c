/* COMPUTE SIGNATURE and VERIFY SIGNATURE. spec: IOTSAFE 2.10 2.5.14 */
#include "iotsafe/applet.h"
#include "iotsafe/cmac.h"
#include "iotsafe/session.h"
#include "tb/der.h"

enum { P1_OPEN = 0x00, P1_CLOSE = 0x01, P1_MORE = 0x00, P1_LAST = 0x80 };

/* The algorithm has to be one that the key's type can do, and that its attributes allow. */
static bool algorithm_allowed(const struct card_object *o, uint8_t alg, uint16_t hash) {
    bool rsa = o->key_type == TB_SAFE_RSA2048;
    bool fits = rsa ? alg == TB_SAFE_RSA_PKCS1 || alg == TB_SAFE_RSA_PSS : alg == TB_SAFE_ECDSA;

    return fits && (o->sign_alg & alg) && (o->hash & hash);
}

static uint16_t init(struct cmd *cmd, enum card_session_op op, enum card_object_class cls) {
    struct safe_args a;
    struct card_object *o;
    struct card_session *s;
    uint8_t mode, alg;
    uint16_t hash, sw;

    if (cmd->a.p1 == P1_CLOSE)
        return card_session_close(cmd, op);
    if (cmd->a.p1 != P1_OPEN)
        return TB_SW_P1P2;
    sw = safe_parse(cmd->a.data, &a);
    if (sw == TB_SW_OK && op == SESSION_SIGN && safe_wants_cmac(&a))
        return safe_cmac_init(cmd, &a);
    if (sw == TB_SW_OK)
        sw = safe_object(safe_instance(cmd), cls, &a, &o);
    if (sw != TB_SW_OK)
        return sw;
    if (!safe_u8(&a, ARG_MODE, &mode) || mode < TB_SAFE_MODE_FULL_TEXT ||
        mode > TB_SAFE_MODE_FINAL_HASH || !safe_hash(&a, &hash) || !safe_u8(&a, ARG_SIGN_ALG, &alg))
        return TB_SW_DATA;
    if (!o->active || !(o->crypto & TB_SAFE_CAN_SIGN) || !algorithm_allowed(o, alg, hash))
        return TB_SW_CONDITIONS;
    sw = card_session_begin(cmd, op, &s);
    if (sw != TB_SW_OK)
        return sw;
    s->mode = mode;
    s->alg = alg;
    s->hash_alg = hash;
    s->object = o;
    s->generation = o->generation;
    if (mode == TB_SAFE_MODE_FULL_TEXT)
        card_hash_init(&s->hash, hash);
    return TB_SW_OK;
}

uint16_t card_cmd_compute_signature_init(struct card *card, struct cmd *cmd) {
    (void)card;
    return init(cmd, SESSION_SIGN, CARD_PRIVATE);
}

uint16_t card_cmd_verify_signature_init(struct card *card, struct cmd *cmd) {
    (void)card;
    return init(cmd, SESSION_VERIFY, CARD_PUBLIC);
}

/* Last block: the state of the compression function after count bytes, and the tail, which the card
 * pads with the total. */
static uint16_t digest_last_block(struct card_session *s, const struct safe_args *a,
                                  struct tb_buf *out) {
    struct tb_span tail = a->v[ARG_LAST_BLOCK], count = a->v[ARG_HASHED_COUNT];
    uint8_t digest[CARD_HASH_MAX];
    uint32_t n;

    if (!tail.p || tail.n > 128 || count.n != 4 || !tb_take_be(&count, 4, &n) ||
        card_hash_resume(&s->hash, s->hash_alg, a->v[ARG_INTERMEDIATE_HASH], n) < 0)
        return TB_SW_DATA;
    card_hash_update(&s->hash, tail);
    tb_put(out, tb_span(digest, card_hash_final(&s->hash, digest)));
    return TB_SW_OK;
}

static uint16_t digest_final(const struct safe_args *a, struct tb_buf *out) {
    struct tb_span hash = a->v[ARG_FINAL_HASH];

    /* Not compared with the declared algorithm: a deployed client declares SHA-256 for any. */
    if (hash.n != 32 && hash.n != 48 && hash.n != 64)
        return TB_SW_DATA;
    tb_put(out, hash);
    return TB_SW_OK;
}

/* A hash has no blocks, but its data field may be too long for one command: with the signature of
 * an RSA key it is. Then the blocks are pieces of that field, cut anywhere. */
static uint16_t whole_field(struct card_session *s, struct tb_span block, bool last,
                            struct tb_span *ret) {
    uint16_t sw = TB_SW_OK;

    if (!last || s->blocks_n > 0)
        sw = card_session_keep(s, block, CARD_SESSION_BLOCKS);
    *ret = s->blocks_n > 0 ? tb_span(s->blocks, s->blocks_n) : block;
    return sw;
}

/* One UPDATE of either command: the digest appended to out with the last block, *ret_args the other
 * TLVs. */
static uint16_t digest(struct card_session *s, const struct cmd *cmd, struct tb_buf *out,
                       struct safe_args *ret_args) {
    bool last = cmd->a.p1 == P1_LAST;
    uint8_t final[CARD_HASH_MAX];
    struct tb_span chunk;
    uint16_t sw;

    if (s->mode != TB_SAFE_MODE_FULL_TEXT) {
        sw = cmd->a.data.n == 0 ? TB_SW_LENGTH : whole_field(s, cmd->a.data, last, &chunk);
        if (sw != TB_SW_OK || !last)
            return sw;
        sw = safe_parse(chunk, ret_args);
        if (sw != TB_SW_OK)
            return sw;
        return s->mode == TB_SAFE_MODE_FINAL_HASH ? digest_final(ret_args, out)
                                                  : digest_last_block(s, ret_args, out);
    }
    sw = safe_feed(s, TB_SAFE_T_FULL_TEXT, ARG_FULL_TEXT, cmd->a.data, last, &chunk, ret_args);
    if (sw != TB_SW_OK)
        return sw;
    card_hash_update(&s->hash, chunk);
    if (last)
        tb_put(out, tb_span(final, card_hash_final(&s->hash, final)));
    return TB_SW_OK;
}

/* spec: IOTSAFE 2.10.3 tag 33; an RSA signature does not fit a one-byte length */
static uint16_t put_signature(const struct card_profile *p, uint8_t alg, struct tb_span raw,
                              struct tb_buf *out) {
    uint8_t der[TB_ECDSA_DER_MAX_256];
    struct tb_buf b = TB_BUF(der);
    enum tb_safe_len form = p->sig_len;

    if (alg == TB_SAFE_ECDSA && p->sig_der) {
        if (tb_ecdsa_raw_to_der(raw, &b) < 0)
            return TB_SW_UNKNOWN;
        raw = tb_buf_span(&b);
    }
    if (raw.n > 0xFF && form == TB_SAFE_LEN_8)
        form = TB_SAFE_LEN_16;
    tb_put_safe(out, TB_SAFE_T_SIGNATURE, form, raw);
    return TB_SW_OK;
}

static uint16_t sw_of(int r) {
    switch (r) {
    case TB_EPARSE: /* the stored key cannot be read */
        return TB_SW_INTEGRITY;
    case TB_ERANGE: /* RSA: the hash is not as long as the algorithm's */
        return TB_SW_DATA;
    case TB_ENOMEM:
        return TB_SW_NO_SPACE;
    default:
        return TB_SW_UNKNOWN;
    }
}

static uint16_t sign(struct card *card, struct cmd *cmd, struct card_session *s,
                     struct tb_span hash) {
    uint8_t raw[CARD_SIGNATURE_MAX];
    struct tb_buf signature = TB_BUF(raw);
    struct card_key *key;
    int r = card_object_key(s->object, &key);

    cmd->work = TB_CARD_SIGN;
    if (r == 0)
        r = card_key_sign(key, s->alg, s->hash_alg, hash, &signature);
    if (r < 0)
        return sw_of(r);
    if (!card_out_room(cmd, 4 + signature.n))
        return TB_SW_NO_SPACE;
    card->counters.sign++;
    return put_signature(safe_profile(cmd), s->alg, tb_buf_span(&signature), cmd->out);
}

uint16_t card_cmd_compute_signature_update(struct card *card, struct cmd *cmd) {
    uint8_t store[CARD_HASH_MAX];
    struct tb_buf hash = TB_BUF(store);
    struct card_session *s;
    struct safe_args a;
    uint16_t sw;

    if (cmd->a.p1 != P1_MORE && cmd->a.p1 != P1_LAST)
        return TB_SW_P1P2;
    sw = card_session_continue(cmd, SESSION_SIGN, &s);
    if (sw != TB_SW_OK)
        return sw;
    sw = s->cmac ? safe_cmac_update(card, cmd, s, cmd->a.p1 == P1_LAST) : digest(s, cmd, &hash, &a);
    if (sw == TB_SW_OK && cmd->a.p1 == P1_LAST && !s->cmac)
        sw = sign(card, cmd, s, tb_buf_span(&hash));
    if (sw != TB_SW_OK || cmd->a.p1 == P1_LAST)
        card_session_end(s);
    return sw;
}

/* The signature as the key's algorithm has it: r || s out of either form. */
static uint16_t take_signature(const struct card_session *s, struct tb_span value,
                               struct tb_buf *raw) {
    size_t whole = s->alg == TB_SAFE_ECDSA ? CARD_SIGNATURE_EC : CARD_SIGNATURE_MAX;

    if (value.n == whole) {
        tb_put(raw, value);
        return TB_SW_OK;
    }
    if (s->alg != TB_SAFE_ECDSA)
        return TB_SW_DATA;
    return tb_ecdsa_der_to_raw(value, CARD_KEY_SCALAR, raw) == 0 ? TB_SW_OK : TB_SW_DATA;
}

static uint16_t verify(struct card *card, struct cmd *cmd, struct card_session *s,
                       struct tb_span hash, struct tb_span signature) {
    uint8_t raw[CARD_SIGNATURE_MAX];
    struct tb_buf b = TB_BUF(raw);
    struct card_key *key;
    uint16_t sw = take_signature(s, signature, &b);
    int r;

    if (sw != TB_SW_OK)
        return sw;
    cmd->work = TB_CARD_VERIFY;
    r = card_object_key(s->object, &key);
    if (r == 0)
        r = card_key_verify(key, s->alg, s->hash_alg, hash, tb_buf_span(&b));
    if (r < 0)
        return sw_of(r);
    if (r == 0)
        return TB_SW_VERIFY_FAILED;
    card->counters.verify++;
    return TB_SW_OK;
}

uint16_t card_cmd_verify_signature_update(struct card *card, struct cmd *cmd) {
    uint8_t store[CARD_HASH_MAX];
    struct tb_buf hash = TB_BUF(store);
    struct card_session *s;
    struct safe_args a;
    uint16_t sw;

    if (cmd->a.p1 != P1_MORE && cmd->a.p1 != P1_LAST)
        return TB_SW_P1P2;
    sw = card_session_continue(cmd, SESSION_VERIFY, &s);
    if (sw != TB_SW_OK)
        return sw;
    sw = digest(s, cmd, &hash, &a);
    if (sw == TB_SW_OK && cmd->a.p1 == P1_LAST)
        sw = verify(card, cmd, s, tb_buf_span(&hash), a.v[ARG_SIGNATURE]);
    if (sw != TB_SW_OK || cmd->a.p1 == P1_LAST)
        card_session_end(s);
    return sw;
}
