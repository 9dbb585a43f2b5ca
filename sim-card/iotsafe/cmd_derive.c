/* What a handshake derives: COMPUTE DH, COMPUTE PRF, COMPUTE HKDF, GET RANDOM. All of the results
 * leave the card, the keys they come from do not. */
#include "iotsafe/applet.h"

enum {
    Z_MAX = 66,
    PREMASTER_MAX = 2 + Z_MAX + 2 + CARD_SECRET_MAX,
    SEED_MAX = 1024,
    P1_PRF = 0x00,
    P1_PSK = 0x01,
    P1_PSK_ECDHE = 0x02,
};

static bool usable(const struct card_object *o, uint8_t function) {
    return o->active && (o->crypto & function);
}

/* spec: IOTSAFE COMPUTE-DH spec: IOTSAFE 2.5.3 the raw X coordinate, no TLV */
uint16_t card_cmd_compute_dh(struct card *card, struct cmd *cmd) {
    struct card_object *private_key, *public_key;
    struct card_key *own, *peer;
    struct safe_args a;
    uint8_t *z;
    uint16_t sw;

    cmd->secret_out = true;
    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    sw = safe_parse(cmd->a.data, &a);
    if (sw == TB_SW_OK)
        sw = safe_object(safe_instance(cmd), CARD_PRIVATE, &a, &private_key);
    if (sw == TB_SW_OK)
        sw = safe_object(safe_instance(cmd), CARD_PUBLIC, &a, &public_key);
    if (sw != TB_SW_OK)
        return sw;
    if (!usable(private_key, TB_SAFE_CAN_AGREE) || !usable(public_key, TB_SAFE_CAN_AGREE))
        return TB_SW_CONDITIONS;
    if (card_object_key(private_key, &own) < 0 || card_object_key(public_key, &peer) < 0)
        return TB_SW_INTEGRITY;
    if (!card_out_room(cmd, 32))
        return TB_SW_NO_SPACE;
    z = tb_put_room(cmd->out, 32);
    cmd->work = TB_CARD_ECDH;
    switch (card_key_agree(own, peer, z)) {
    case 0:
        card->counters.ecdh++;
        return TB_SW_OK;
    case TB_EUNSUP: /* not on one curve */
        return TB_SW_CONDITIONS;
    default:
        return TB_SW_UNKNOWN;
    }
}

/* The input secret: a card's secret key by reference, which may be used with that derivation, else
 * the value under D1. The reference wins, and what the host gave beside it is not used. */
static uint16_t input_secret(struct cmd *cmd, const struct safe_args *a, uint8_t derivation,
                             bool by_reference_only, struct tb_span *ret) {
    struct card_object *o;
    uint16_t sw;

    if (!by_reference_only && !safe_has(a, ARG_SECRET_ID) && !safe_has(a, ARG_SECRET_LABEL)) {
        *ret = a->v[ARG_SECRET];
        return ret->n > 0 ? TB_SW_OK : TB_SW_DATA;
    }
    sw = safe_object(safe_instance(cmd), CARD_SECRET, a, &o);
    if (sw != TB_SW_OK)
        return sw;
    if (!usable(o, TB_SAFE_CAN_DERIVE) || !(o->key_derivation & derivation))
        return TB_SW_CONDITIONS;
    *ret = card_object_value(o);
    return TB_SW_OK;
}

/* spec: RFC4279 2 spec: RFC5489 2 two length-prefixed parts: zeros as long as the PSK, or the
 * shared secret; then the PSK */
static void put_premaster(struct tb_buf *out, struct tb_span z, struct tb_span psk) {
    static const uint8_t zeros[CARD_SECRET_MAX];

    if (!z.p)
        z = tb_span(zeros, psk.n);
    tb_put_be16(out, (uint16_t)z.n);
    tb_put(out, z);
    tb_put_be16(out, (uint16_t)psk.n);
    tb_put(out, psk);
}

static uint16_t premaster(struct cmd *cmd, const struct safe_args *a, struct tb_buf *store,
                          struct tb_span *ret) {
    struct tb_span psk, z = TB_SPAN_NONE;
    uint16_t sw = input_secret(cmd, a, TB_SAFE_PRF, cmd->a.p1 != P1_PRF, &psk);

    if (sw != TB_SW_OK)
        return sw;
    *ret = psk;
    if (cmd->a.p1 == P1_PRF)
        return TB_SW_OK;
    if (cmd->a.p1 == P1_PSK_ECDHE) {
        z = a->v[ARG_PSK_ECDHE];
        if (z.n == 0 || z.n > Z_MAX)
            return TB_SW_DATA;
    }
    put_premaster(store, z, psk);
    *ret = tb_buf_span(store);
    return TB_SW_OK;
}

/* spec: IOTSAFE COMPUTE-PRF TLS 1.2 P_SHA256 over label and seed */
uint16_t card_cmd_compute_prf(struct card *card, struct cmd *cmd) {
    uint8_t bytes[PREMASTER_MAX], length;
    struct tb_buf store = TB_BUF(bytes);
    struct tb_span secret, seed;
    struct safe_args a;
    uint16_t sw;

    cmd->secret_out = true;
    if (cmd->a.p1 > P1_PSK_ECDHE || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    sw = safe_parse(cmd->a.data, &a);
    if (sw != TB_SW_OK)
        return sw;
    seed = a.v[ARG_LABEL_SEED];
    if (seed.n == 0 || seed.n > SEED_MAX || !safe_u8(&a, ARG_PRF_LENGTH, &length) || length == 0)
        return TB_SW_DATA;
    sw = premaster(cmd, &a, &store, &secret);
    if (sw != TB_SW_OK)
        return sw;
    if (!card_out_room(cmd, length))
        sw = TB_SW_NO_SPACE;
    else if (card_prf_sha256(secret, seed, length, cmd->out) < 0)
        sw = TB_SW_UNKNOWN;
    else
        card->counters.prf++;
    cmd->work = TB_CARD_PRF;
    tb_wipe(bytes, sizeof bytes);
    return sw;
}

/* spec: IOTSAFE COMPUTE-HKDF the extract step; the pseudo-random key leaves the card */
uint16_t card_cmd_compute_hkdf(struct card *card, struct cmd *cmd) {
    struct tb_span ikm, salt;
    struct safe_args a;
    uint16_t hash, sw;

    cmd->secret_out = true;
    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    sw = safe_parse(cmd->a.data, &a);
    if (sw != TB_SW_OK)
        return sw;
    salt = a.v[ARG_SALT];
    if (!safe_hash(&a, &hash) || (salt.n == 0 && !safe_profile(cmd)->hkdf_null_salt))
        return TB_SW_DATA;
    sw = input_secret(cmd, &a, TB_SAFE_HKDF, false, &ikm);
    if (sw != TB_SW_OK)
        return sw;
    if (!card_out_room(cmd, CARD_HASH_MAX))
        return TB_SW_NO_SPACE;
    cmd->work = TB_CARD_PRF;
    if (card_hkdf_extract(hash, salt, ikm, cmd->out) < 0)
        return TB_SW_UNKNOWN;
    card->counters.hkdf++;
    return TB_SW_OK;
}

/* spec: IOTSAFE GET-RANDOM Le bytes, 00 is 256 */
uint16_t card_cmd_get_random(struct card *card, struct cmd *cmd) {
    size_t n = cmd->a.le_present ? cmd->a.ne : 256;

    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    if (!card_out_room(cmd, n))
        return TB_SW_NO_SPACE;
    cmd->work = TB_CARD_RANDOM;
    if (card_random(cmd->out, n) < 0)
        return TB_SW_UNKNOWN;
    card->counters.random++;
    return TB_SW_OK;
}
