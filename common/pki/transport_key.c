#include "tb/transport_key.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "tb/hex.h"

enum { BLOCK = 16 };

static bool length_ok(size_t n) {
    return n == 16 || n == 24 || n == 32;
}

static bool name_ok(const char *name, size_t n) {
    return n > 0 && n <= TB_KEK_NAME_MAX &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") >= n;
}

static int read_key(const char *path, struct tb_kek *kek, struct tb_error *e) {
    uint8_t raw[160];
    struct tb_buf hex = TB_BUF(kek->key);
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        return tb_error_set(e, -errno, path, 0, "cannot read the transport key: %s",
                            tb_strerror(-errno));
    setvbuf(f, NULL, _IONBF, 0); /* no copy of it stays in a buffer */
    n = fread(raw, 1, sizeof raw, f);
    fclose(f);
    if (tb_hex_decode_loose(tb_span(raw, n), &hex) == 0 && length_ok(hex.n)) {
        kek->n = hex.n;
    } else if (length_ok(n)) {
        memcpy(kek->key, raw, n);
        kek->n = n;
    }
    tb_wipe(raw, sizeof raw);
    if (kek->n)
        return 0;
    tb_wipe(kek, sizeof *kek);
    return tb_error_set(e, TB_EPARSE, path, 0,
                        "a transport key has 16, 24 or 32 bytes, as they are or in hexadecimal");
}

int tb_kek_load(const char *name_is_file, struct tb_kek *ret, struct tb_error *e) {
    const char *equals = strchr(name_is_file, '=');
    struct tb_kek kek = {.n = 0};
    int r;

    if (!equals || !equals[1] || !name_ok(name_is_file, (size_t)(equals - name_is_file)))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "transport key '%s': want NAME=FILE, a name of 1 to %d letters, digits "
                            "and . _ -",
                            name_is_file, TB_KEK_NAME_MAX);
    memcpy(kek.name, name_is_file, (size_t)(equals - name_is_file));
    r = read_key(equals + 1, &kek, e);
    if (r == 0)
        *ret = kek;
    tb_wipe(&kek, sizeof kek);
    return r;
}

static const EVP_CIPHER *cipher(size_t n, bool padded) {
    if (padded)
        return n == 16   ? EVP_aes_128_wrap_pad()
               : n == 24 ? EVP_aes_192_wrap_pad()
                         : EVP_aes_256_wrap_pad();
    return n == 16 ? EVP_aes_128_wrap() : n == 24 ? EVP_aes_192_wrap() : EVP_aes_256_wrap();
}

static int transform(const struct tb_kek *kek, bool padded, bool encrypt, struct tb_span in,
                     struct tb_buf *out) {
    uint8_t room[TB_KEK_WRAPPED_MAX + BLOCK];
    EVP_CIPHER_CTX *ctx;
    int n = 0, last = 0;
    bool ok;

    if (in.n == 0 || in.n > TB_KEK_WRAPPED_MAX)
        return TB_ERANGE;
    ERR_set_mark();
    ctx = EVP_CIPHER_CTX_new();
    if (ctx)
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ok = ctx &&
         EVP_CipherInit_ex(ctx, cipher(kek->n, padded), NULL, kek->key, NULL, encrypt) == 1 &&
         EVP_CipherUpdate(ctx, room, &n, in.p, (int)in.n) == 1 &&
         EVP_CipherFinal_ex(ctx, room + n, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    ERR_pop_to_mark();
    if (ok)
        tb_put(out, tb_span(room, (size_t)(n + last)));
    tb_wipe(room, sizeof room);
    return !ok ? TB_ECRYPTO : tb_buf_ok(out) ? 0 : TB_ESPACE;
}

int tb_kek_wrap(const struct tb_kek *kek, struct tb_span secret, struct tb_buf *out) {
    if (secret.n > TB_KEK_SECRET_MAX)
        return TB_ERANGE;
    return transform(kek, secret.n < 16 || secret.n % 8 != 0, true, secret, out);
}

int tb_kek_unwrap(const struct tb_kek *kek, struct tb_span wrapped, struct tb_buf *out) {
    int r;

    if (wrapped.n < 16 || wrapped.n % 8 != 0 || wrapped.n > TB_KEK_WRAPPED_MAX)
        return TB_EPARSE;
    r = wrapped.n < 24 ? TB_ECRYPTO : transform(kek, false, false, wrapped, out);
    return r == TB_ECRYPTO ? transform(kek, true, false, wrapped, out) : r;
}

int tb_kcv(struct tb_span key, bool des, uint8_t ret[TB_KCV]) {
    uint8_t block[BLOCK], out[2 * BLOCK], whole[24];
    EVP_CIPHER_CTX *ctx;
    const EVP_CIPHER *c;
    int n = 0;
    bool ok;

    if (!length_ok(key.n) || (des && key.n == 32))
        return TB_EUNSUP;
    memcpy(whole, key.p, key.n < sizeof whole ? key.n : sizeof whole);
    if (key.n == 16)
        memcpy(whole + 16, key.p, 8); /* DES: the third key is the first */
    c = des           ? EVP_des_ede3_ecb()
        : key.n == 16 ? EVP_aes_128_ecb()
        : key.n == 24 ? EVP_aes_192_ecb()
                      : EVP_aes_256_ecb();
    memset(block, des ? 0 : 1, sizeof block);
    ERR_set_mark();
    ctx = EVP_CIPHER_CTX_new();
    ok = ctx && EVP_EncryptInit_ex(ctx, c, NULL, des ? whole : key.p, NULL) == 1 &&
         EVP_EncryptUpdate(ctx, out, &n, block, sizeof block) == 1 && n >= TB_KCV;
    EVP_CIPHER_CTX_free(ctx);
    ERR_pop_to_mark();
    tb_wipe(whole, sizeof whole);
    if (!ok)
        return TB_ECRYPTO;
    memcpy(ret, out, TB_KCV);
    return 0;
}
