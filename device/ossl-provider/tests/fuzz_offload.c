/* A hostile card behind the offloaded operations: its answers are the input, each with a length
 * byte before it; the first byte chooses the operation. What is given back has the right size, a
 * key pair is on its curve, and no container is left taken. */
#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <string.h>

#include "bed.h"
#include "tb/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int answer(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t rsp_cap) {
    struct tb_span *input = user, part;
    uint8_t n;

    (void)cmd;
    (void)cmd_len;
    if (!tb_take_u8(input, &n))
        return IOTSAFE_E_ABSENT;
    if (n > input->n)
        n = (uint8_t)input->n;
    if (n < 2 || n > rsp_cap || !tb_take(input, n, &part))
        return IOTSAFE_E_LINK;
    memcpy(rsp, part.p, part.n);
    return (int)part.n;
}

static EVP_PKEY *generate(struct isp_bed *bed) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(bed->ctx, "EC", NULL);
    EVP_PKEY *key = NULL;

    assert(ctx && EVP_PKEY_keygen_init(ctx) > 0);
    assert(EVP_PKEY_CTX_set_group_name(ctx, "IOTSAFE-P-256") > 0); /* as libssl does */
    (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void agree(struct isp_bed *bed, EVP_PKEY *other) {
    EVP_PKEY *own = generate(bed);
    EVP_PKEY_CTX *ctx = own ? EVP_PKEY_CTX_new_from_pkey(bed->ctx, own, NULL) : NULL;
    uint8_t *point = NULL, secret[64];
    size_t n = sizeof secret;

    if (own) {
        assert(EVP_PKEY_get1_encoded_public_key(own, &point) == 65);
        OPENSSL_free(point);
        assert(ctx && EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, other) > 0);
        if (EVP_PKEY_derive(ctx, secret, &n) > 0)
            assert(n == 32);
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    assert(bed->slots.taken == 0);
}

static void verify(struct isp_bed *bed, EVP_PKEY *key) {
    static const uint8_t sig[] = {0x30, 6, 2, 1, 1, 2, 1, 1};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    assert(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, key, NULL) > 0);
    (void)EVP_DigestVerify(ctx, sig, sizeof sig, (const uint8_t *)"x", 1);
    EVP_MD_CTX_free(ctx);
}

static void derive(struct isp_bed *bed, const char *name, uint8_t *secret, size_t n, int mode,
                   size_t out_len) {
    EVP_KDF *kdf = EVP_KDF_fetch(bed->ctx, name, NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    const char *key = mode < 0 ? OSSL_KDF_PARAM_SECRET : OSSL_KDF_PARAM_KEY;
    uint8_t out[64];
    OSSL_PARAM params[5], *p = params;

    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0);
    *p++ = OSSL_PARAM_construct_octet_string(key, secret, n);
    if (mode < 0)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (char[]){"label"}, 5);
    else
        *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *p = OSSL_PARAM_construct_end();
    (void)EVP_KDF_derive(ctx, out, out_len, params);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

static void use(struct isp_bed *bed, EVP_PKEY *other, uint8_t which) {
    uint8_t premaster[2 + 14 + 2 + 14] = "\0\16\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\16IOTSAFE:psk:06";
    uint8_t psk[] = "IOTSAFE:psk:06", seed[48];

    switch (which % 6) {
    case 0:
        agree(bed, other);
        break;
    case 1:
        verify(bed, other);
        break;
    case 2:
        derive(bed, "TLS1-PRF", premaster, sizeof premaster, -1, 48);
        break;
    case 3:
        derive(bed, "TLS13-KDF", psk, sizeof psk - 1, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, 32);
        break;
    case 4: { /* the generator itself is not asked: it would keep the seed */
        EVP_RAND *rand = EVP_RAND_fetch(bed->ctx, "IOTSAFE-SEED", NULL);
        EVP_RAND_CTX *ctx = EVP_RAND_CTX_new(rand, NULL);

        assert(ctx && EVP_RAND_instantiate(ctx, 256, 0, NULL, 0, NULL) > 0);
        (void)EVP_RAND_generate(ctx, seed, sizeof seed, 256, 0, NULL, 0);
        EVP_RAND_CTX_free(ctx);
        EVP_RAND_free(rand);
        break;
    }
    default:
        agree(bed, other);
        verify(bed, other);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct isp_bed *bed; /* stays reachable */
    static struct tb_span input;
    static EVP_PKEY *other;
    uint8_t which;

    if (!bed) {
        bed = isp_bed_new_offload("ecdhe,verify,psk,random");
        bed->transmit = answer;
        bed->transmit_user = &input;
        other = EVP_PKEY_Q_keygen(bed->ctx, "provider=default", "EC", "P-256");
        assert(other);
    }
    input = tb_span(data, size);
    if (!tb_take_u8(&input, &which))
        return 0;
    use(bed, other, which);
    isp_bed_close_cards(bed);
    bed->slots_known = false;
    ERR_clear_error();
    return 0;
}
