/* Card operations in the shape of PSA driver entry points. When the library dispatches agreement
 * and derivation to drivers by itself, these stay and interpose.c goes. */
#include <mbedtls/platform_util.h>
#include <string.h>

#include "internal.h"

psa_status_t iotsafe_opaque_get_attributes(const struct entry *e, psa_key_attributes_t *ret) {
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;

    psa_set_key_id(&a, e->id);
    switch (e->kind) {
    case KIND_SIGN:
        psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
        psa_set_key_bits(&a, 256);
        psa_set_key_usage_flags(&a, PSA_KEY_USAGE_SIGN_HASH);
        /* Not deterministic ECDSA: the card does not say how it makes its nonces. */
        psa_set_key_algorithm(&a, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
        break;
    case KIND_EPHEMERAL:
        psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
        psa_set_key_bits(&a, 256);
        psa_set_key_usage_flags(&a, PSA_KEY_USAGE_DERIVE);
        psa_set_key_algorithm(&a, PSA_ALG_ECDH);
        break;
    case KIND_SHARED:
        psa_set_key_type(&a, PSA_KEY_TYPE_DERIVE);
        psa_set_key_bits(&a, 256);
        psa_set_key_usage_flags(&a, PSA_KEY_USAGE_DERIVE);
        break;
    default:
        return PSA_ERROR_INVALID_HANDLE;
    }
    *ret = a;
    return PSA_SUCCESS;
}

/* ---- ephemeral keys ---- */

bool iotsafe_opaque_generates(const struct session *s, const psa_key_attributes_t *attributes) {
    return s && (s->offload & IOTSAFE_PSA_ECDHE) &&
           PSA_ALG_IS_KEY_AGREEMENT(psa_get_key_algorithm(attributes)) &&
           PSA_KEY_TYPE_IS_KEY_PAIR(psa_get_key_type(attributes)) &&
           PSA_KEY_LIFETIME_IS_VOLATILE(psa_get_key_lifetime(attributes));
}

static int generate_op(struct iotsafe *c, void *arg) {
    struct entry *e = arg;

    return iotsafe_generate(c, &e->slot, e->point, &e->ref, NULL);
}

psa_status_t iotsafe_opaque_generate_key(struct session *s, const psa_key_attributes_t *attributes,
                                         psa_key_id_t *ret) {
    struct entry *e;
    size_t i = 0;
    int r;

    if (psa_get_key_type(attributes) != PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1) ||
        psa_get_key_bits(attributes) != 256 || psa_get_key_algorithm(attributes) != PSA_ALG_ECDH)
        return session_refuse(
            s, IOTSAFE_E_UNSUPPORTED,
            "the card makes ephemeral keys on P-256 only, another group is asked for");
    while (i < EPHEMERAL_MAX && s->ephemeral[i])
        i++;
    if (i == EPHEMERAL_MAX)
        return session_refuse(s, IOTSAFE_E_BUSY, "too many ephemeral keys in one session");
    e = table_add(KIND_EPHEMERAL);
    if (!e)
        return session_refuse(s, IOTSAFE_E_NO_MEMORY, "ephemeral key");
    e->owner = s;
    r = session_slot(s, e);
    if (r < 0) {
        table_drop(e);
        return session_refuse(s, r, "container for an ephemeral key");
    }
    s->ephemeral[i] = e;
    e->ref = e->slot;
    r = session_ask(s, generate_op, e, &s->counters.generate, "ephemeral key pair");
    if (r < 0) {
        session_drop_ephemeral(s, e);
        return session_status(r);
    }
    e->has_point = true;
    *ret = e->id;
    return PSA_SUCCESS;
}

psa_status_t iotsafe_opaque_destroy_key(struct entry *e) {
    switch (e->kind) {
    case KIND_EPHEMERAL:
        session_drop_ephemeral(e->owner, e);
        break;
    case KIND_SHARED:
        session_drop_shared(e->owner);
        e->owner->secret.shared_key = NULL;
        table_drop(e);
        break;
    default: /* not ours to destroy */
        break;
    }
    return PSA_SUCCESS;
}

struct agreement {
    const struct entry *key;
    const uint8_t *peer;
    uint8_t secret[SECRET];
};

static int agree_op(struct iotsafe *c, void *arg) {
    struct agreement *a = arg;

    return iotsafe_agree(c, &a->key->ref, &a->key->peer, a->peer, a->secret);
}

/* Importing a public key checks that it is on the curve, which nothing but that may tell the card.
 */
static psa_status_t check_point(const uint8_t *point, size_t n) {
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t id = 0;
    psa_status_t status;

    if (n != POINT)
        return PSA_ERROR_INVALID_ARGUMENT;
    psa_set_key_type(&a, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&a, 256);
    status = __real_psa_import_key(&a, point, n, &id);
    if (status == PSA_SUCCESS)
        status = __real_psa_destroy_key(id);
    return status;
}

psa_status_t iotsafe_opaque_key_agreement(struct session *s, const struct entry *e,
                                          const uint8_t *peer, size_t peer_len, uint8_t *out,
                                          size_t size, size_t *ret_len) {
    struct agreement a = {.key = e, .peer = peer};
    psa_status_t status = size < SECRET ? PSA_ERROR_BUFFER_TOO_SMALL : check_point(peer, peer_len);

    if (status == PSA_SUCCESS)
        status = session_status(session_ask(s, agree_op, &a, &s->counters.agree, "shared secret"));
    if (status == PSA_SUCCESS && (s->offload & IOTSAFE_PSA_DERIVE)) {
        session_drop_shared(s);
        status = psa_generate_random(s->secret.token, TOKEN);
        if (status == PSA_SUCCESS) {
            memcpy(s->secret.shared, a.secret, SECRET);
            s->secret.has_shared = true;
            memcpy(a.secret, s->secret.token, TOKEN);
        }
    }
    if (status == PSA_SUCCESS) {
        memcpy(out, a.secret, SECRET);
        *ret_len = SECRET;
    }
    mbedtls_platform_zeroize(a.secret, sizeof a.secret);
    return status;
}

/* ---- signatures ---- */

static int public_key_op(struct iotsafe *c, void *arg) {
    struct entry *e = arg;
    uint8_t value[300];
    size_t n;
    int r = iotsafe_read_public_key(c, &e->ref, value, sizeof value, &n);

    if (r == 0 && n != POINT)
        r = IOTSAFE_E_UNSUPPORTED;
    if (r == 0)
        memcpy(e->point, value, POINT);
    return r;
}

psa_status_t iotsafe_opaque_export_public_key(struct session *s, struct entry *e, uint8_t *out,
                                              size_t size, size_t *ret_len) {
    uint32_t uncounted = 0;
    int r;

    if (e->kind != KIND_SIGN && e->kind != KIND_EPHEMERAL)
        return PSA_ERROR_INVALID_ARGUMENT;
    if (!e->has_point) {
        if (!s)
            return PSA_ERROR_BAD_STATE;
        r = session_ask(s, public_key_op, e, &uncounted, "reading the public key");
        if (r < 0)
            return session_status(r);
        e->has_point = true;
    }
    if (size < POINT)
        return PSA_ERROR_BUFFER_TOO_SMALL;
    memcpy(out, e->point, POINT);
    *ret_len = POINT;
    return PSA_SUCCESS;
}

struct signing {
    const struct iotsafe_ref *key; /* private key; container of the public key */
    const uint8_t *point, *hash, *sig;
    uint8_t *out;
    size_t *ret_len;
};

/* ECDSA on P-256 uses the leftmost 256 bits of a longer hash: the card gets just those. */
enum { HASH = 32, SIGNATURE = 64 };

static int sign_op(struct iotsafe *c, void *arg) {
    struct signing *a = arg;

    return iotsafe_sign(c, a->key, IOTSAFE_SHA256, IOTSAFE_ECDSA, a->hash, HASH, a->out, SIGNATURE,
                        a->ret_len);
}

psa_status_t iotsafe_opaque_sign_hash(struct session *s, const struct entry *e, psa_algorithm_t alg,
                                      const uint8_t *hash, size_t hash_len, uint8_t *sig,
                                      size_t size, size_t *ret_len) {
    uint8_t value[SIGNATURE];
    size_t n = 0;
    struct signing a = {.key = &e->ref, .hash = hash, .out = value, .ret_len = &n};
    int r;

    /* The library asks for deterministic ECDSA first and wants just this answer to go on. */
    if (e->kind != KIND_SIGN || !PSA_ALG_IS_RANDOMIZED_ECDSA(alg))
        return PSA_ERROR_NOT_PERMITTED;
    if (!s)
        return PSA_ERROR_BAD_STATE;
    if (hash_len < HASH)
        return session_refuse(s, IOTSAFE_E_UNSUPPORTED, "signature of a hash shorter than SHA-256");
    if (size < SIGNATURE)
        return PSA_ERROR_BUFFER_TOO_SMALL;
    r = session_ask(s, sign_op, &a, &s->counters.sign, "signature");
    if (r < 0)
        return session_status(r);
    if (n != SIGNATURE)
        return session_refuse(s, IOTSAFE_E_FORMAT, "signature");
    memcpy(sig, value, SIGNATURE);
    *ret_len = SIGNATURE;
    return PSA_SUCCESS;
}

static int verify_op(struct iotsafe *c, void *arg) {
    struct signing *a = arg;

    return iotsafe_verify_by(c, a->key, a->point, IOTSAFE_SHA256, IOTSAFE_ECDSA, a->hash, HASH,
                             a->sig, SIGNATURE);
}

psa_status_t iotsafe_opaque_verify_hash(struct session *s, const uint8_t point[POINT],
                                        const uint8_t *hash, size_t hash_len, const uint8_t *sig,
                                        size_t sig_len) {
    struct iotsafe_ref slot;
    struct signing a = {.key = &slot, .point = point, .hash = hash, .sig = sig};
    int r;

    if (hash_len < HASH || sig_len != SIGNATURE)
        return PSA_ERROR_INVALID_SIGNATURE;
    r = session_verifier(s, &slot);
    if (r < 0)
        return session_refuse(s, r, "container for a key to verify with");
    return session_status(session_ask(s, verify_op, &a, &s->counters.verify, "verification"));
}
