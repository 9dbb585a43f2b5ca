/* IOTSAFE-SEED: the seed of the process's random generator from the card. The generator itself
 * stays libcrypto's, and asks here once when it starts and again when it reseeds (each hour, after
 * a fork). */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "provider.h"

static OSSL_FUNC_rand_newctx_fn newctx;
static OSSL_FUNC_rand_freectx_fn freectx;
static OSSL_FUNC_rand_instantiate_fn instantiate;
static OSSL_FUNC_rand_uninstantiate_fn uninstantiate;
static OSSL_FUNC_rand_generate_fn generate;
static OSSL_FUNC_rand_enable_locking_fn enable_locking;
static OSSL_FUNC_rand_lock_fn lock;
static OSSL_FUNC_rand_unlock_fn unlock;
static OSSL_FUNC_rand_gettable_ctx_params_fn gettable_ctx_params;
static OSSL_FUNC_rand_get_ctx_params_fn get_ctx_params;
static OSSL_FUNC_rand_verify_zeroization_fn verify_zeroization;
static OSSL_FUNC_rand_get_seed_fn get_seed;
static OSSL_FUNC_rand_clear_seed_fn clear_seed;

enum { STRENGTH = 256, REQUEST_MAX = 255 }; /* one GET RANDOM */

struct seed {
    struct isp_provider *prov;
    int state;
};

static void *newctx(void *provctx, void *parent, const OSSL_DISPATCH *parent_calls) {
    struct isp_provider *prov = provctx;
    struct seed *s;

    (void)parent_calls;
    if (parent) {
        isp_raise(prov, ISP_R_STATE, "the card has no parent");
        return NULL;
    }
    s = OPENSSL_zalloc(sizeof *s);
    if (s) {
        s->prov = prov;
        s->state = EVP_RAND_STATE_UNINITIALISED;
    }
    return s;
}

static void freectx(void *vs) {
    OPENSSL_free(vs);
}

static int instantiate(void *vs, unsigned strength, int resistance, const unsigned char *pstr,
                       size_t pstr_len, const OSSL_PARAM params[]) {
    struct seed *s = vs;

    (void)resistance;
    (void)pstr;
    (void)pstr_len;
    (void)params;
    if (strength > STRENGTH)
        return 0;
    s->state = EVP_RAND_STATE_READY;
    return 1;
}

static int uninstantiate(void *vs) {
    struct seed *s = vs;

    s->state = EVP_RAND_STATE_UNINITIALISED;
    return 1;
}

static int generate(void *vs, unsigned char *out, size_t n, unsigned strength, int resistance,
                    const unsigned char *additional, size_t additional_len) {
    struct seed *s = vs;

    (void)resistance;
    (void)additional;
    (void)additional_len;
    return s->state == EVP_RAND_STATE_READY && strength <= STRENGTH && n <= REQUEST_MAX &&
           (n == 0 || isp_card_random(s->prov, out, n));
}

/* Every byte of the card's is counted as eight bits. */
static size_t get_seed(void *vs, unsigned char **ret, int entropy, size_t min_len, size_t max_len,
                       int resistance, const unsigned char *additional, size_t additional_len) {
    struct seed *s = vs;
    size_t n = entropy > 0 ? ((size_t)entropy + 7) / 8 : 0;
    unsigned char *buf;

    (void)resistance;
    (void)additional;
    (void)additional_len;
    if (n < min_len)
        n = min_len;
    if (n == 0 || n > max_len || n > REQUEST_MAX)
        return 0;
    buf = OPENSSL_secure_malloc(n);
    if (!buf)
        return 0;
    if (!isp_card_random(s->prov, buf, n)) {
        OPENSSL_secure_clear_free(buf, n);
        return 0;
    }
    *ret = buf;
    return n;
}

static void clear_seed(void *vs, unsigned char *buf, size_t n) {
    (void)vs;
    OPENSSL_secure_clear_free(buf, n);
}

/* There is nothing to be locked but the card, which has a lock of its own. */
static int enable_locking(void *vs) {
    (void)vs;
    return 1;
}

static int lock(void *vs) {
    (void)vs;
    return 1;
}

static void unlock(void *vs) {
    (void)vs;
}

static int get_ctx_params(void *vs, OSSL_PARAM params[]) {
    const struct seed *s = vs;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);

    if (p && !OSSL_PARAM_set_int(p, s->state))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
    if (p && !OSSL_PARAM_set_int(p, STRENGTH))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
    return !p || OSSL_PARAM_set_size_t(p, REQUEST_MAX);
}

static const OSSL_PARAM *gettable_ctx_params(void *vs, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, NULL),
        OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, NULL),
        OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, NULL),
        OSSL_PARAM_END,
    };

    (void)vs;
    (void)provctx;
    return table;
}

static int verify_zeroization(void *vs) {
    (void)vs;
    return 1; /* nothing is kept */
}

const OSSL_DISPATCH isp_rand_functions[] = {
    {OSSL_FUNC_RAND_NEWCTX, (void (*)(void))newctx},
    {OSSL_FUNC_RAND_FREECTX, (void (*)(void))freectx},
    {OSSL_FUNC_RAND_INSTANTIATE, (void (*)(void))instantiate},
    {OSSL_FUNC_RAND_UNINSTANTIATE, (void (*)(void))uninstantiate},
    {OSSL_FUNC_RAND_GENERATE, (void (*)(void))generate},
    {OSSL_FUNC_RAND_ENABLE_LOCKING, (void (*)(void))enable_locking},
    {OSSL_FUNC_RAND_LOCK, (void (*)(void))lock},
    {OSSL_FUNC_RAND_UNLOCK, (void (*)(void))unlock},
    {OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, (void (*)(void))gettable_ctx_params},
    {OSSL_FUNC_RAND_GET_CTX_PARAMS, (void (*)(void))get_ctx_params},
    {OSSL_FUNC_RAND_VERIFY_ZEROIZATION, (void (*)(void))verify_zeroization},
    {OSSL_FUNC_RAND_GET_SEED, (void (*)(void))get_seed},
    {OSSL_FUNC_RAND_CLEAR_SEED, (void (*)(void))clear_seed},
    {0, NULL},
};
