#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/crypto.h"

struct card_cmac {
    EVP_MAC_CTX *ctx;
};

static int failed(void) {
    ERR_clear_error();
    return TB_ECRYPTO;
}

int card_cmac_new(struct tb_span key, struct card_cmac **ret) {
    char cipher[16];
    OSSL_PARAM params[2] = {OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end()};
    struct card_cmac *c;
    EVP_MAC *mac;

    if (key.n != 16 && key.n != 24 && key.n != 32)
        return TB_ERANGE;
    snprintf(cipher, sizeof cipher, "AES-%zu-CBC", 8 * key.n);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0);
    c = calloc(1, sizeof *c);
    if (!c)
        return TB_ENOMEM;
    mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    c->ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (!c->ctx || EVP_MAC_init(c->ctx, key.p, key.n, params) <= 0) {
        card_cmac_free(c);
        return failed();
    }
    *ret = c;
    return 0;
}

int card_cmac_update(struct card_cmac *c, struct tb_span data) {
    return data.n == 0 || EVP_MAC_update(c->ctx, data.p, data.n) > 0 ? 0 : failed();
}

int card_cmac_final(struct card_cmac *c, struct tb_buf *out) {
    uint8_t *to = tb_put_room(out, CARD_CMAC_LEN);
    size_t n = 0;

    if (!to)
        return TB_ESPACE;
    if (EVP_MAC_final(c->ctx, to, &n, CARD_CMAC_LEN) > 0 && n == CARD_CMAC_LEN)
        return 0;
    out->n -= CARD_CMAC_LEN;
    return failed();
}

void card_cmac_free(struct card_cmac *c) {
    if (!c)
        return;
    EVP_MAC_CTX_free(c->ctx);
    free(c);
}
