/* AES and DES for secure channels: short messages under keys that change with each session. */
#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/crypto.h"

static const EVP_CIPHER *aes_cbc(size_t key_len) {
    return key_len == 16   ? EVP_aes_128_cbc()
           : key_len == 24 ? EVP_aes_192_cbc()
           : key_len == 32 ? EVP_aes_256_cbc()
                           : NULL;
}

static int cbc(const EVP_CIPHER *cipher, const uint8_t *key, bool encrypt, const uint8_t *iv,
               struct tb_span in, uint8_t *out) {
    EVP_CIPHER_CTX *c = cipher ? EVP_CIPHER_CTX_new() : NULL;
    int n = 0;
    bool ok;

    if (!cipher || in.n % (size_t)EVP_CIPHER_get_block_size(cipher) != 0) {
        EVP_CIPHER_CTX_free(c);
        return TB_ERANGE;
    }
    ok = c && EVP_CipherInit_ex2(c, cipher, key, iv, encrypt, NULL) == 1;
    if (ok)
        EVP_CIPHER_CTX_set_padding(c, 0);
    ok = ok && EVP_CipherUpdate(c, out, &n, in.p, (int)in.n) == 1 && (size_t)n == in.n;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    return ok ? 0 : TB_ECRYPTO;
}

int card_aes_cbc(struct tb_span key, bool encrypt, const uint8_t iv[16], struct tb_span in,
                 uint8_t *out) {
    return cbc(aes_cbc(key.n), key.p, encrypt, iv, in, out);
}

int card_aes_block(struct tb_span key, const uint8_t in[16], uint8_t out[16]) {
    static const uint8_t none[16];

    return card_aes_cbc(key, true, none, tb_span(in, 16), out);
}

int card_des_cbc(struct tb_span key, bool encrypt, const uint8_t iv[8], struct tb_span in,
                 uint8_t *out) {
    const EVP_CIPHER *c = key.n == 16 ? EVP_des_ede_cbc() : key.n == 24 ? EVP_des_ede3_cbc() : NULL;

    return cbc(c, key.p, encrypt, iv, in, out);
}

int card_cmac(struct tb_span key, const struct tb_span *parts, size_t n, uint8_t ret[16]) {
    struct tb_buf out = tb_buf(ret, CARD_CMAC_LEN);
    struct card_cmac *c;
    int r = card_cmac_new(key, &c);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = card_cmac_update(c, parts[i]);
    if (r == 0)
        r = card_cmac_final(c, &out);
    card_cmac_free(c);
    return r;
}
