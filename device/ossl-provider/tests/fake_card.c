#include "fake_card.h"

#include <assert.h>
#include <openssl/core_names.h>
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

static uint16_t read_public(struct fake_card *card, struct tb_buf *out) {
    uint8_t point[65];
    size_t n;

    assert(EVP_PKEY_get_octet_string_param(card->key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                           sizeof point, &n));
    tb_put(out, TB_BYTES(TB_SAFE_T_PUBLIC_KEY, 69, TB_SAFE_T_EC_KEY, 67, TB_SAFE_T_EC_POINT, 65));
    tb_put(out, tb_span(point, n));
    return 0x9000;
}

static uint16_t read_file(const struct fake_card *card, const struct tb_apdu *cmd,
                          struct tb_buf *out) {
    size_t off = (size_t)cmd->p1 << 8 | cmd->p2;

    if (off >= card->cert_len)
        return 0x6B00;
    tb_put(out, tb_span_sub(tb_span(card->cert, card->cert_len), off, cmd->ne ? cmd->ne : 256));
    return 0x9000;
}

static void put_object(struct tb_buf *out, uint32_t wrapper, uint32_t id_tag, uint8_t id,
                       const char *label, uint32_t label_tag, struct tb_span rest) {
    size_t mark = tb_tlv_open(out, wrapper);

    if (label)
        tb_put_tlv(out, label_tag, tb_span_str(label));
    tb_put_tlv_u8(out, id_tag, id);
    tb_put_tlv_u8(out, TB_SAFE_T_ACCESS, TB_SAFE_READ);
    tb_put_tlv_u8(out, TB_SAFE_T_STATE, TB_SAFE_ACTIVATED);
    tb_put(out, rest);
    tb_tlv_close(out, mark);
}

/* The object list: private key 01, public key 01, file 02 */
static uint16_t get_data(const struct fake_card *card, const struct tb_apdu *cmd,
                         struct tb_buf *out) {
    struct tb_span key =
        TB_BYTES(0x4B, 1, TB_SAFE_P256, 0x4E, 1, 1, 0x61, 1, 1, 0x91, 2, 0, 1, 0x92, 1, 4);
    uint8_t room[16];
    struct tb_buf file = TB_BUF(room);

    if (cmd->p1 != 1)
        return 0x6A86;
    tb_put_tlv_be16(&file, TB_SAFE_T_FILE_SIZE, (uint16_t)card->cert_len);
    tb_put_tlv_u8(&file, TB_SAFE_T_FILE_USAGE, TB_SAFE_FILE_X509);
    put_object(out, TB_SAFE_T_PRIVATE_INFO, TB_SAFE_T_PRIVATE_ID, 1, "tls key",
               TB_SAFE_T_PRIVATE_LABEL, key);
    put_object(out, TB_SAFE_T_PUBLIC_INFO, TB_SAFE_T_PUBLIC_ID, 1, NULL, 0, key);
    put_object(out, TB_SAFE_T_FILE_INFO, TB_SAFE_T_FILE_ID, 2, NULL, 0, tb_buf_span(&file));
    return 0x9000;
}

static bool names(struct tb_span data, uint8_t tag, uint8_t id) {
    struct tb_span value;

    return tb_safe_find(data, tag, &value) == 1 && tb_span_eq(value, tb_span(&id, 1));
}

int fake_card_transmit(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                       size_t rsp_cap) {
    struct fake_card *card = user;
    struct tb_buf out = tb_buf(rsp, rsp_cap);
    struct tb_apdu c;
    uint16_t sw = 0x6D00;

    if (card->gone)
        return card->gone;
    card->apdus++;
    if (tb_apdu_parse(tb_span(cmd, cmd_len), TB_APDU_TRAILING, &c) < 0)
        return IOTSAFE_E_LINK;
    switch (c.ins) {
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
        sw = names(c.data, TB_SAFE_T_PUBLIC_ID, 1) ? read_public(card, &out) : 0x6A88;
        break;
    case TB_SAFE_READ_FILE:
        sw = names(c.data, TB_SAFE_T_FILE_ID, 2) ? read_file(card, &c, &out) : 0x6A88;
        break;
    case TB_SAFE_GET_DATA:
        sw = get_data(card, &c, &out);
        break;
    default:
        break;
    }
    tb_put_be16(&out, sw);
    assert(tb_buf_ok(&out));
    return (int)out.n;
}
