/* Milenage, the example algorithm set for AKA. spec: TS35206 4.1 */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/crypto.h"

enum { BLOCK = CARD_MILENAGE_KEY };

static void xor_into(uint8_t to[BLOCK], const uint8_t with[BLOCK]) {
    for (size_t i = 0; i < BLOCK; i++)
        to[i] ^= with[i];
}

bool card_equal(const void *a, const void *b, size_t n) {
    return CRYPTO_memcmp(a, b, n) == 0;
}

/* A key that is used for a few blocks. */
static EVP_CIPHER_CTX *aes_new(const uint8_t key[BLOCK]) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

    if (c && EVP_EncryptInit_ex2(c, EVP_aes_128_ecb(), key, NULL, NULL) == 1) {
        EVP_CIPHER_CTX_set_padding(c, 0);
        return c;
    }
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    return NULL;
}

static bool encrypt(EVP_CIPHER_CTX *aes, const uint8_t in[BLOCK], uint8_t out[BLOCK]) {
    int n;

    return EVP_EncryptUpdate(aes, out, &n, in, BLOCK) == 1 && n == BLOCK;
}

/* OUT = E(rot(in, bytes) xor c xor also) xor OPc. The constants c1 … c5 have one bit, in their last
 * byte. also: NULL, or what is added before encryption. */
static bool round_of(EVP_CIPHER_CTX *aes, const uint8_t opc[BLOCK], const uint8_t in[BLOCK],
                     size_t bytes, uint8_t c, const uint8_t *also, uint8_t out[BLOCK]) {
    uint8_t x[BLOCK];
    bool ok;

    for (size_t i = 0; i < BLOCK; i++)
        x[i] = in[(i + bytes) % BLOCK];
    x[BLOCK - 1] ^= c;
    if (also)
        xor_into(x, also);
    ok = encrypt(aes, x, out);
    xor_into(out, opc);
    tb_wipe(x, sizeof x);
    return ok;
}

/* TEMP = E(RAND xor OPc) */
static bool temp_of(EVP_CIPHER_CTX *aes, const uint8_t opc[BLOCK], const uint8_t rand[BLOCK],
                    uint8_t temp[BLOCK]) {
    uint8_t x[BLOCK];

    memcpy(x, rand, BLOCK);
    xor_into(x, opc);
    return encrypt(aes, x, temp);
}

int card_milenage_opc(const uint8_t k[BLOCK], const uint8_t op[BLOCK], uint8_t ret_opc[BLOCK]) {
    EVP_CIPHER_CTX *aes = aes_new(k);
    uint8_t out[BLOCK];
    bool ok = aes && encrypt(aes, op, out);

    EVP_CIPHER_CTX_free(aes);
    if (!ok)
        return TB_ECRYPTO;
    xor_into(out, op);
    memcpy(ret_opc, out, BLOCK);
    return 0;
}

int card_milenage(const struct card_milenage_keys *keys, const uint8_t rand[BLOCK],
                  struct card_milenage *ret) {
    EVP_CIPHER_CTX *aes = aes_new(keys->k);
    struct card_milenage m;
    uint8_t temp[BLOCK], out[BLOCK], star[BLOCK];
    bool ok = aes && temp_of(aes, keys->opc, rand, temp);

    if (ok)
        xor_into(temp, keys->opc);
    ok = ok && round_of(aes, keys->opc, temp, 0, 1, NULL, out) &&
         round_of(aes, keys->opc, temp, 4, 2, NULL, m.ck) &&
         round_of(aes, keys->opc, temp, 8, 4, NULL, m.ik) &&
         round_of(aes, keys->opc, temp, 12, 8, NULL, star);
    EVP_CIPHER_CTX_free(aes);
    if (ok) {
        memcpy(m.res, out + 8, sizeof m.res);
        memcpy(m.ak, out, sizeof m.ak);
        memcpy(m.ak_star, star, sizeof m.ak_star);
        *ret = m;
    }
    tb_wipe(&m, sizeof m);
    tb_wipe(out, sizeof out);
    tb_wipe(star, sizeof star);
    tb_wipe(temp, sizeof temp);
    return ok ? 0 : TB_ECRYPTO;
}

int card_milenage_mac(const struct card_milenage_keys *keys, const uint8_t rand[BLOCK],
                      const uint8_t sqn[6], const uint8_t amf[2], uint8_t ret_a[8],
                      uint8_t ret_s[8]) {
    EVP_CIPHER_CTX *aes = aes_new(keys->k);
    uint8_t in[BLOCK], temp[BLOCK], out[BLOCK];
    bool ok;

    for (size_t half = 0; half < 2; half++) {
        memcpy(in + 8 * half, sqn, 6);
        memcpy(in + 8 * half + 6, amf, 2);
    }
    xor_into(in, keys->opc);
    ok =
        aes && temp_of(aes, keys->opc, rand, temp) && round_of(aes, keys->opc, in, 8, 0, temp, out);
    EVP_CIPHER_CTX_free(aes);
    if (ok && ret_a)
        memcpy(ret_a, out, 8);
    if (ok && ret_s)
        memcpy(ret_s, out + 8, 8);
    tb_wipe(temp, sizeof temp);
    tb_wipe(out, sizeof out);
    return ok ? 0 : TB_ECRYPTO;
}
