#include "fake_card.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <string.h>

#include "tb/apdu.h"
#include "tb/der.h"
#include "tb/safe.h"

void fake_card_init(struct fake_card *card, const char *common_name) {
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    unsigned char *p = card->cert;
    int n;

    memset(card, 0, sizeof *card);
    card->key = EVP_EC_gen("P-256");
    card->n_own = 1;
    for (size_t i = 0; i < FAKE_PSK_LEN; i++)
        card->psk[i] = (uint8_t) "0123456789abcdef"[i % 16];
    assert(card->key && x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1,
                               0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, card->key);
    assert(X509_sign(x, card->key, EVP_sha256()) > 0);
    n = i2d_X509(x, NULL);
    assert(n > 0 && (size_t)n <= sizeof card->cert);
    card->cert_len = (size_t)i2d_X509(x, &p);
    X509_free(x);
}

void fake_card_done(struct fake_card *card) {
    EVP_PKEY_free(card->key);
    EVP_PKEY_free(card->peer);
    for (size_t i = 0; i < FAKE_OWN; i++)
        EVP_PKEY_free(card->own[i]);
}

static uint16_t sign(struct fake_card *card, struct tb_span data, struct tb_buf *out) {
    EVP_PKEY_CTX *ctx;
    struct tb_span digest;
    uint8_t der[80], room[64];
    struct tb_buf raw = TB_BUF(room);
    size_t n = sizeof der;

    if (card->fail_sign)
        return card->fail_sign;
    if (tb_safe_find(data, TB_SAFE_T_FINAL_HASH, &digest) != 1 ||
        digest.n > sizeof card->last_digest)
        return 0x6A80;
    memcpy(card->last_digest, digest.p, digest.n);
    card->last_digest_len = digest.n;
    ctx = EVP_PKEY_CTX_new(card->key, NULL);
    assert(EVP_PKEY_sign_init(ctx) > 0);
    assert(EVP_PKEY_sign(ctx, der, &n, digest.p, digest.n) > 0);
    EVP_PKEY_CTX_free(ctx);
    assert(tb_ecdsa_der_to_raw(tb_span(der, n), 32, &raw) == 0);
    tb_put_safe(out, TB_SAFE_T_SIGNATURE, TB_SAFE_LEN_16, tb_buf_span(&raw));
    card->signatures++;
    return 0x9000;
}

static uint16_t put_public(EVP_PKEY *key, struct tb_buf *out) {
    uint8_t point[65];
    size_t n;

    assert(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                           sizeof point, &n));
    tb_put(out, TB_BYTES(TB_SAFE_T_PUBLIC_KEY, 69, TB_SAFE_T_EC_KEY, 67, TB_SAFE_T_EC_POINT, 65));
    tb_put(out, tb_span(point, n));
    return 0x9000;
}

/* ---- keys of a handshake ---- */

static EVP_PKEY **own_of(struct fake_card *card, struct tb_span data) {
    struct tb_span id;

    if (tb_safe_find(data, TB_SAFE_T_PRIVATE_ID, &id) != 1 || id.n != 1 || id.p[0] < 0x10 ||
        id.p[0] >= 0x10 + card->n_own)
        return NULL;
    return &card->own[id.p[0] - 0x10];
}

static uint16_t generate(struct fake_card *card, struct tb_span data, struct tb_buf *out) {
    EVP_PKEY **own = own_of(card, data);

    if (!own)
        return 0x6A88;
    EVP_PKEY_free(*own);
    *own = EVP_EC_gen("P-256");
    assert(*own);
    return put_public(*own, out);
}

static uint16_t put_peer(struct fake_card *card, struct tb_span data) {
    struct tb_span point = tb_span_sub(data, 6, data.n);
    uint8_t copy[65];
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){"P-256"}, 5),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof copy),
        OSSL_PARAM_END,
    };
    EVP_PKEY_CTX *ctx;

    if (point.n != sizeof copy)
        return 0x6A80;
    memcpy(copy, point.p, sizeof copy);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert(ctx && EVP_PKEY_fromdata_init(ctx) > 0);
    EVP_PKEY_free(card->peer);
    card->peer = NULL;
    if (EVP_PKEY_fromdata(ctx, &card->peer, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)params) <=
        0)
        card->peer = NULL;
    EVP_PKEY_CTX_free(ctx);
    return card->peer ? 0x9000 : 0x6A80;
}

static uint16_t agree(struct fake_card *card, struct tb_span data, struct tb_buf *out) {
    EVP_PKEY **own = own_of(card, data);
    EVP_PKEY_CTX *ctx;
    uint8_t secret[32];
    size_t n = sizeof secret;

    if (!own || !*own || !card->peer)
        return 0x6985;
    ctx = EVP_PKEY_CTX_new(*own, NULL);
    assert(EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, card->peer) > 0);
    assert(EVP_PKEY_derive(ctx, secret, &n) > 0 && n == sizeof secret);
    EVP_PKEY_CTX_free(ctx);
    tb_put(out, tb_span(secret, n));
    return 0x9000;
}

static uint16_t verify(struct fake_card *card, struct tb_span data) {
    struct tb_span digest, raw;
    uint8_t room[TB_ECDSA_DER_MAX_256];
    struct tb_buf der = TB_BUF(room);
    EVP_PKEY_CTX *ctx;
    int good;

    if (!card->peer || tb_safe_find(data, TB_SAFE_T_FINAL_HASH, &digest) != 1 ||
        tb_safe_find(data, TB_SAFE_T_SIGNATURE, &raw) != 1 || raw.n != 64)
        return 0x6A80;
    assert(tb_ecdsa_raw_to_der(raw, &der) == 0);
    ctx = EVP_PKEY_CTX_new(card->peer, NULL);
    assert(EVP_PKEY_verify_init(ctx) > 0);
    good = EVP_PKEY_verify(ctx, room, der.n, digest.p, digest.n) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return good ? 0x9000 : 0x6D01;
}

/* ---- pre-shared key ---- */

static uint16_t prf(struct fake_card *card, const struct tb_apdu *cmd, struct tb_buf *out) {
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    uint8_t room[2 * (2 + FAKE_PSK_LEN)] = {0}, result[48];
    struct tb_buf premaster = TB_BUF(room);
    struct tb_span z = tb_span(room + 2, FAKE_PSK_LEN), label_seed;
    OSSL_PARAM params[4];

    assert(tb_safe_find(cmd->data, TB_SAFE_T_LABEL_SEED, &label_seed) == 1);
    if (cmd->p1 == 2)
        assert(tb_safe_find(cmd->data, TB_SAFE_T_PSK_ECDHE, &z) == 1 && z.n == 32);
    tb_put_be16(&premaster, (uint16_t)z.n);
    tb_put(&premaster, z);
    tb_put_be16(&premaster, FAKE_PSK_LEN);
    tb_put(&premaster, tb_span(card->psk, FAKE_PSK_LEN));
    params[0] = OSSL_PARAM_construct_utf8_string("digest", (char[]){"SHA256"}, 0);
    params[1] = OSSL_PARAM_construct_octet_string("secret", room, premaster.n);
    params[2] =
        OSSL_PARAM_construct_octet_string("seed", (void *)(uintptr_t)label_seed.p, label_seed.n);
    params[3] = OSSL_PARAM_construct_end();
    assert(EVP_KDF_derive(ctx, result, sizeof result, params) > 0);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    tb_put(out, tb_span(result, sizeof result));
    return 0x9000;
}

static uint16_t extract(struct fake_card *card, const struct tb_apdu *cmd, struct tb_buf *out) {
    struct tb_span salt;
    uint8_t prk[32];
    unsigned n = sizeof prk;

    assert(tb_safe_find(cmd->data, TB_SAFE_T_SALT, &salt) == 1);
    assert(HMAC(EVP_sha256(), salt.p, (int)salt.n, card->psk, FAKE_PSK_LEN, prk, &n));
    tb_put(out, tb_span(prk, n));
    return 0x9000;
}

static uint16_t random_bytes(const struct tb_apdu *cmd, struct tb_buf *out) {
    uint8_t bytes[256];

    assert(RAND_bytes(bytes, (int)cmd->ne) > 0);
    tb_put(out, tb_span(bytes, cmd->ne));
    return 0x9000;
}

/* ---- files and lists ---- */

static uint16_t read_file(const struct fake_card *card, const struct tb_apdu *cmd,
                          struct tb_buf *out) {
    size_t off = (size_t)cmd->p1 << 8 | cmd->p2;

    if (off >= card->cert_len)
        return 0x6B00;
    tb_put(out, tb_span_sub(tb_span(card->cert, card->cert_len), off, cmd->ne ? cmd->ne : 256));
    return 0x9000;
}

static void put_object(struct tb_buf *out, uint32_t wrapper, uint32_t id_tag, uint8_t id,
                       const char *label, uint32_t label_tag, uint8_t access, struct tb_span rest) {
    size_t mark = tb_tlv_open(out, wrapper);

    if (label)
        tb_put_tlv(out, label_tag, tb_span_str(label));
    tb_put_tlv_u8(out, id_tag, id);
    tb_put_tlv_u8(out, TB_SAFE_T_ACCESS, access);
    tb_put_tlv_u8(out, TB_SAFE_T_STATE, TB_SAFE_ACTIVATED);
    tb_put(out, rest);
    tb_tlv_close(out, mark);
}

/* The object list: private keys 01, 10 …, public keys 01, 05, file 02 */
static uint16_t get_data(const struct fake_card *card, const struct tb_apdu *cmd,
                         struct tb_buf *out) {
    struct tb_span key =
        TB_BYTES(0x4B, 1, TB_SAFE_P256, 0x4E, 1, 1, 0x61, 1, 1, 0x91, 2, 0, 1, 0x92, 1, 4);
    struct tb_span own = TB_BYTES(0x4B, 1, TB_SAFE_P256_VOLATILE, 0x61, 1, 6, 0x6F, 1, 1);
    struct tb_span peer = TB_BYTES(0x4B, 1, TB_SAFE_P256_VOLATILE, 0x61, 1, 5, 0x6F, 1, 1);
    uint8_t room[16];
    struct tb_buf file = TB_BUF(room);

    if (cmd->p1 != 1)
        return 0x6A86;
    tb_put_tlv_be16(&file, TB_SAFE_T_FILE_SIZE, (uint16_t)card->cert_len);
    tb_put_tlv_u8(&file, TB_SAFE_T_FILE_USAGE, TB_SAFE_FILE_X509);
    put_object(out, TB_SAFE_T_PRIVATE_INFO, TB_SAFE_T_PRIVATE_ID, 1, "tls key",
               TB_SAFE_T_PRIVATE_LABEL, TB_SAFE_READ, key);
    for (uint8_t i = 0; i < card->n_own; i++)
        put_object(out, TB_SAFE_T_PRIVATE_INFO, TB_SAFE_T_PRIVATE_ID, 0x10 + i, NULL, 0,
                   TB_SAFE_UPDATE, own);
    put_object(out, TB_SAFE_T_PUBLIC_INFO, TB_SAFE_T_PUBLIC_ID, 1, NULL, 0, TB_SAFE_READ, key);
    put_object(out, TB_SAFE_T_PUBLIC_INFO, TB_SAFE_T_PUBLIC_ID, 5, NULL, 0, TB_SAFE_UPDATE, peer);
    put_object(out, TB_SAFE_T_FILE_INFO, TB_SAFE_T_FILE_ID, 2, NULL, 0, TB_SAFE_READ,
               tb_buf_span(&file));
    return 0x9000;
}

static bool names(struct tb_span data, uint8_t tag, uint8_t id) {
    struct tb_span value;

    return tb_safe_find(data, tag, &value) == 1 && tb_span_eq(value, tb_span(&id, 1));
}

static int transmit(struct fake_card *card, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                    size_t rsp_cap) {
    struct tb_buf out = tb_buf(rsp, rsp_cap);
    struct tb_apdu c;
    uint16_t sw = 0x6D00;

    if (card->gone)
        return card->gone;
    card->apdus++;
    card->ins[cmd[1]]++;
    if (tb_apdu_parse(tb_span(cmd, cmd_len), TB_APDU_TRAILING, &c) < 0)
        return IOTSAFE_E_LINK;
    switch (card->fail_sw && c.ins == card->fail_ins ? -1 : c.ins) {
    case -1:
        sw = card->fail_sw;
        break;
    case TB_INS_MANAGE_CHANNEL:
        if (c.p1 == 0)
            tb_put_u8(&out, 1);
        sw = 0x9000;
        break;
    case TB_INS_SELECT:
        card->opens++;
        sw = 0x9000;
        break;
    case TB_SAFE_COMPUTE_SIGNATURE_INIT:
        sw = c.p1 || names(c.data, TB_SAFE_T_PRIVATE_ID, 1) ||
                     tb_span_starts(c.data, TB_BYTES(TB_SAFE_T_PRIVATE_LABEL, 7, 't'))
                 ? 0x9000
                 : 0x6A88;
        break;
    case TB_SAFE_COMPUTE_SIGNATURE_UPDATE:
        sw = sign(card, c.data, &out);
        break;
    case TB_SAFE_READ_PUBLIC_KEY:
        sw = names(c.data, TB_SAFE_T_PUBLIC_ID, 1) ? put_public(card->key, &out) : 0x6A88;
        break;
    case TB_SAFE_READ_FILE:
        sw = names(c.data, TB_SAFE_T_FILE_ID, 2) ? read_file(card, &c, &out) : 0x6A88;
        break;
    case TB_SAFE_GET_DATA:
        sw = get_data(card, &c, &out);
        break;
    case TB_SAFE_GENERATE_KEY_PAIR:
        sw = generate(card, c.data, &out);
        break;
    case TB_SAFE_PUT_PUBLIC_INIT:
    case TB_SAFE_VERIFY_SIGNATURE_INIT:
        sw = c.p1 || names(c.data, TB_SAFE_T_PUBLIC_ID, 5) ? 0x9000 : 0x6A88;
        break;
    case TB_SAFE_PUT_PUBLIC_UPDATE:
        sw = put_peer(card, c.data);
        break;
    case TB_SAFE_COMPUTE_DH:
        sw = agree(card, c.data, &out);
        break;
    case TB_SAFE_VERIFY_SIGNATURE_UPDATE:
        sw = verify(card, c.data);
        break;
    case TB_SAFE_COMPUTE_PRF:
        sw = names(c.data, TB_SAFE_T_SECRET_ID, 6) ? prf(card, &c, &out) : 0x6A88;
        break;
    case TB_SAFE_COMPUTE_HKDF:
        sw = names(c.data, TB_SAFE_T_SECRET_ID, 6) ? extract(card, &c, &out) : 0x6A88;
        break;
    case TB_SAFE_GET_RANDOM:
        sw = random_bytes(&c, &out);
        break;
    default:
        break;
    }
    tb_put_be16(&out, sw);
    assert(tb_buf_ok(&out));
    return (int)out.n;
}

unsigned fake_card_busy;

int fake_card_transmit(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                       size_t rsp_cap) {
    int n;

    fake_card_busy++;
    n = transmit(user, cmd, cmd_len, rsp, rsp_cap);
    fake_card_busy--;
    return n;
}
