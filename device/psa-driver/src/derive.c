/* Key derivations whose secret the library does not have. It calls setup, gives the inputs one by
 * one, and takes the output; here what passes is noted, and when the secret turns out to be a key
 * of the card, or the shared secret that is kept away, nothing more is passed on and the card makes
 * the output. The library's own operation stays set up and is aborted as any other. */
#include <mbedtls/platform_util.h>
#include <string.h>

#include "derive.h"

static struct derivation *find(struct session *s, const psa_key_derivation_operation_t *operation) {
    for (size_t i = 0; s && i < DERIVATION_MAX; i++) {
        if (s->derivations[i].operation == operation)
            return &s->derivations[i];
    }
    return NULL;
}

static bool concerns_us(psa_algorithm_t alg) {
    return PSA_ALG_IS_TLS12_PRF(alg) || PSA_ALG_IS_TLS12_PSK_TO_MS(alg) ||
           PSA_ALG_IS_HKDF_EXTRACT(alg);
}

psa_status_t derive_setup(struct session *s, const psa_key_derivation_operation_t *operation,
                          psa_algorithm_t alg) {
    struct derivation *d = find(s, operation); /* forgotten without an abort */

    if (d)
        mbedtls_platform_zeroize(d, sizeof *d);
    if (!s || !concerns_us(alg))
        return PSA_SUCCESS;
    d = find(s, NULL);
    if (!d)
        return PSA_ERROR_INSUFFICIENT_MEMORY;
    d->operation = operation;
    d->alg = alg;
    return PSA_SUCCESS;
}

void derive_abort(struct session *s, const psa_key_derivation_operation_t *operation) {
    struct derivation *d = operation ? find(s, operation) : NULL;

    if (d)
        mbedtls_platform_zeroize(d, sizeof *d);
}

static bool is_token(const struct session *s, const uint8_t *data, size_t n) {
    return s->secret.has_shared && n == TOKEN && memcmp(data, s->secret.token, TOKEN) == 0;
}

bool derive_is_token(const struct session *s, const uint8_t *data, size_t n) {
    return s && is_token(s, data, n);
}

static psa_status_t keep(uint8_t *to, size_t cap, size_t *ret_len, const uint8_t *data, size_t n) {
    if (n > cap)
        return PSA_ERROR_INSUFFICIENT_MEMORY;
    if (n > 0)
        memcpy(to, data, n);
    *ret_len = n;
    return PSA_SUCCESS;
}

static psa_status_t note_secret(struct session *s, struct derivation *d, const uint8_t *data,
                                size_t n) {
    const struct entry *psk = table_find_psk(data, n);

    if (psk) {
        d->secret = KIND_PSK;
        d->psk = psk->ref;
    } else if (is_token(s, data, n)) {
        d->secret = KIND_SHARED;
    }
    return PSA_SUCCESS;
}

psa_status_t derive_input(struct session *s, const psa_key_derivation_operation_t *operation,
                          psa_key_derivation_step_t step, const uint8_t **data, size_t n,
                          bool *ret_ours) {
    struct derivation *d = find(s, operation);
    psa_status_t status = PSA_SUCCESS;

    *ret_ours = false;
    if (!d)
        return PSA_SUCCESS;
    switch (step) {
    case PSA_KEY_DERIVATION_INPUT_SEED:
    case PSA_KEY_DERIVATION_INPUT_SALT:
        status = keep(d->seed, sizeof d->seed, &d->seed_len, *data, n);
        break;
    case PSA_KEY_DERIVATION_INPUT_LABEL:
        status = keep(d->label, sizeof d->label, &d->label_len, *data, n);
        break;
    case PSA_KEY_DERIVATION_INPUT_OTHER_SECRET:
        d->with_shared = is_token(s, *data, n);
        if (d->with_shared)
            *data = s->secret.shared; /* a PSK in software wants it from the library */
        status = keep(d->other, sizeof d->other, &d->other_len, *data, n);
        break;
    case PSA_KEY_DERIVATION_INPUT_SECRET:
        status = note_secret(s, d, *data, n);
        break;
    default:
        break;
    }
    *ret_ours = d->secret != KIND_FREE;
    return status;
}

psa_status_t derive_input_key(struct session *s, const psa_key_derivation_operation_t *operation,
                              psa_key_derivation_step_t step, const struct entry *e) {
    struct derivation *d = find(s, operation);

    if (!d || step != PSA_KEY_DERIVATION_INPUT_SECRET || e->kind != KIND_SHARED || e->owner != s)
        return PSA_ERROR_INVALID_ARGUMENT;
    d->secret = KIND_SHARED;
    return PSA_SUCCESS;
}

bool derive_is_ours(struct session *s, const psa_key_derivation_operation_t *operation) {
    const struct derivation *d = find(s, operation);

    return d && d->secret != KIND_FREE;
}

/* ---- output ---- */

struct request {
    const struct session *s;
    const struct derivation *d;
    unsigned hash;
    uint8_t *out;
    size_t n;
};

/* spec: IOTSAFE 3.13 the card puts PSK and ECDH secret together itself (RFC 4279 2, RFC 5489 2) */
static int prf_op(struct iotsafe *c, void *arg) {
    const struct request *q = arg;
    const struct derivation *d = q->d;
    uint8_t label_seed[sizeof d->label + sizeof d->seed];

    memcpy(label_seed, d->label, d->label_len);
    memcpy(label_seed + d->label_len, d->seed, d->seed_len);
    if (d->secret == KIND_PSK)
        return iotsafe_prf(c, &d->psk, NULL, 0, d->other_len ? d->other : NULL, label_seed,
                           d->label_len + d->seed_len, q->out, q->n);
    return iotsafe_prf(c, NULL, q->s->secret.shared, SECRET, NULL, label_seed,
                       d->label_len + d->seed_len, q->out, q->n);
}

static int extract_op(struct iotsafe *c, void *arg) {
    const struct request *q = arg;
    const struct derivation *d = q->d;
    size_t n;
    int r;

    if (d->secret == KIND_PSK)
        r = iotsafe_hkdf_extract(c, &d->psk, NULL, 0, d->seed, d->seed_len, q->hash, q->out, q->n,
                                 &n);
    else
        r = iotsafe_hkdf_extract(c, NULL, q->s->secret.shared, SECRET, d->seed, d->seed_len,
                                 q->hash, q->out, q->n, &n);
    return r == 0 && n != q->n ? IOTSAFE_E_FORMAT : r;
}

static bool same_ref(const struct iotsafe_ref *a, const struct iotsafe_ref *b) {
    return a->id_len == b->id_len && a->label_len == b->label_len &&
           memcmp(a->id, b->id, a->id_len) == 0 && memcmp(a->label, b->label, a->label_len) == 0;
}

/* TLS 1.3 makes the early secret twice, for the binder and for the schedule. */
static bool is_early(const struct session *s, const struct derivation *d, size_t n) {
    return d->secret == KIND_PSK && s->secret.has_early && s->secret.early_alg == d->alg &&
           s->secret.early_len == n && s->secret.early_salt_len == d->seed_len &&
           memcmp(s->secret.early_salt, d->seed, d->seed_len) == 0 &&
           same_ref(&s->secret.early_psk, &d->psk);
}

static void keep_early(struct session *s, const struct derivation *d, const uint8_t *out,
                       size_t n) {
    if (n > sizeof s->secret.early)
        return;
    s->secret.has_early = true;
    s->secret.early_alg = d->alg;
    s->secret.early_psk = d->psk;
    memcpy(s->secret.early_salt, d->seed, d->seed_len);
    s->secret.early_salt_len = d->seed_len;
    memcpy(s->secret.early, out, n);
    s->secret.early_len = n;
}

static psa_status_t extract(struct session *s, const struct derivation *d, uint8_t *out, size_t n) {
    psa_algorithm_t hash = PSA_ALG_HKDF_GET_HASH(d->alg);
    struct request q = {s, d, hash == PSA_ALG_SHA_384 ? IOTSAFE_SHA384 : IOTSAFE_SHA256, out, n};
    int r;

    if ((hash != PSA_ALG_SHA_256 && hash != PSA_ALG_SHA_384) || n != PSA_HASH_LENGTH(hash))
        return session_refuse(s, IOTSAFE_E_UNSUPPORTED, "HKDF with another hash than SHA-256");
    if (is_early(s, d, n)) {
        memcpy(out, s->secret.early, n);
        return PSA_SUCCESS;
    }
    r = session_ask(s, extract_op, &q, &s->counters.extract, "HKDF-Extract");
    if (r == 0 && d->secret == KIND_PSK)
        keep_early(s, d, out, n);
    return session_status(r);
}

static psa_status_t prf(struct session *s, const struct derivation *d, uint8_t *out, size_t n) {
    psa_algorithm_t hash = PSA_ALG_TLS12_PRF_GET_HASH(d->alg); /* same bits in both algorithms */
    struct request q = {s, d, 0, out, n};

    if (hash != PSA_ALG_SHA_256)
        return session_refuse(s, IOTSAFE_E_UNSUPPORTED,
                              "the card's PRF is that of SHA-256, another cipher suite was chosen");
    if (d->other_len != 0 && d->other_len != SECRET)
        return session_refuse(s, IOTSAFE_E_UNSUPPORTED,
                              "the card's PRF takes shared secrets of P-256 only");
    return session_status(session_ask(s, prf_op, &q, &s->counters.prf, "PRF"));
}

psa_status_t derive_output(struct session *s, const psa_key_derivation_operation_t *operation,
                           uint8_t *out, size_t n) {
    struct derivation *d = find(s, operation);
    psa_status_t status =
        PSA_ALG_IS_HKDF_EXTRACT(d->alg) ? extract(s, d, out, n) : prf(s, d, out, n);

    if (d->secret == KIND_SHARED || d->with_shared)
        session_drop_shared(s); /* wanted once */
    return status;
}
