/* The public PSA functions as the program and the TLS library see them: the linker sends their
 * calls here (wrap.txt). Keys of the card, and what belongs to them, go to the binding; everything
 * else goes on to the library, __real_x, unchanged. */
#include <mbedtls/platform_util.h>

#include "derive.h"

/* The library does one of our operations for a session. */
#define COUNT(s, what)                                                                             \
    do {                                                                                           \
        if (s)                                                                                     \
            (s)->counters.software_##what++;                                                       \
    } while (0)

psa_status_t __wrap_psa_generate_key(const psa_key_attributes_t *attributes, psa_key_id_t *key) {
    struct session *s = session_current();

    if (iotsafe_opaque_generates(s, attributes))
        return iotsafe_opaque_generate_key(s, attributes, key);
    COUNT(s, generate);
    return __real_psa_generate_key(attributes, key);
}

psa_status_t __wrap_psa_get_key_attributes(psa_key_id_t key, psa_key_attributes_t *attributes) {
    struct entry *e = table_find(key);

    return e ? iotsafe_opaque_get_attributes(e, attributes)
             : __real_psa_get_key_attributes(key, attributes);
}

psa_status_t __wrap_psa_export_public_key(psa_key_id_t key, uint8_t *data, size_t size,
                                          size_t *len) {
    struct entry *e = table_find(key);

    return e ? iotsafe_opaque_export_public_key(session_current(), e, data, size, len)
             : __real_psa_export_public_key(key, data, size, len);
}

psa_status_t __wrap_psa_export_key(psa_key_id_t key, uint8_t *data, size_t size, size_t *len) {
    return table_find(key) ? PSA_ERROR_NOT_PERMITTED : __real_psa_export_key(key, data, size, len);
}

psa_status_t __wrap_psa_destroy_key(psa_key_id_t key) {
    struct entry *e = table_find(key);

    return e ? iotsafe_opaque_destroy_key(e) : __real_psa_destroy_key(key);
}

psa_status_t __wrap_psa_sign_hash(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *hash,
                                  size_t hash_len, uint8_t *sig, size_t size, size_t *sig_len) {
    struct session *s = session_current();
    struct entry *e = table_find(key);
    psa_status_t status;

    if (e)
        return iotsafe_opaque_sign_hash(s, e, alg, hash, hash_len, sig, size, sig_len);
    status = __real_psa_sign_hash(key, alg, hash, hash_len, sig, size, sig_len);
    if (status == PSA_SUCCESS)
        COUNT(s, sign);
    return status;
}

/* Whether the public key behind key is on P-256, and its point. */
static bool p256_point(psa_key_id_t key, uint8_t point[POINT]) {
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    size_t n;
    bool yes = __real_psa_get_key_attributes(key, &a) == PSA_SUCCESS &&
               psa_get_key_type(&a) == PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1) &&
               psa_get_key_bits(&a) == 256;

    psa_reset_key_attributes(&a);
    return yes && __real_psa_export_public_key(key, point, POINT, &n) == PSA_SUCCESS && n == POINT;
}

psa_status_t __wrap_psa_verify_hash(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *hash,
                                    size_t hash_len, const uint8_t *sig, size_t sig_len) {
    struct session *s = session_current();
    uint8_t point[POINT];

    if (s && (s->offload & IOTSAFE_PSA_VERIFY) && PSA_ALG_IS_ECDSA(alg) && hash_len >= 32 &&
        p256_point(key, point))
        return iotsafe_opaque_verify_hash(s, point, hash, hash_len, sig, sig_len);
    COUNT(s, verify);
    return __real_psa_verify_hash(key, alg, hash, hash_len, sig, sig_len);
}

psa_status_t __wrap_psa_raw_key_agreement(psa_algorithm_t alg, psa_key_id_t key,
                                          const uint8_t *peer, size_t peer_len, uint8_t *out,
                                          size_t size, size_t *out_len) {
    struct entry *e = table_find(key);

    if (!e) {
        COUNT(session_current(), agree);
        return __real_psa_raw_key_agreement(alg, key, peer, peer_len, out, size, out_len);
    }
    if (e->kind != KIND_EPHEMERAL || alg != PSA_ALG_ECDH)
        return PSA_ERROR_NOT_PERMITTED;
    return iotsafe_opaque_key_agreement(e->owner, e, peer, peer_len, out, size, out_len);
}

/* TLS 1.2 imports the premaster secret before it derives from it. */
psa_status_t __wrap_psa_import_key(const psa_key_attributes_t *attributes, const uint8_t *data,
                                   size_t len, psa_key_id_t *key) {
    struct session *s = session_current();

    if (!derive_is_token(s, data, len))
        return __real_psa_import_key(attributes, data, len, key);
    if (!s->secret.shared_key) {
        s->secret.shared_key = table_add(KIND_SHARED);
        if (!s->secret.shared_key)
            return session_refuse(s, IOTSAFE_E_NO_MEMORY, "shared secret");
        s->secret.shared_key->owner = s;
    }
    *key = s->secret.shared_key->id;
    return PSA_SUCCESS;
}

/* ---- derivations ---- */

psa_status_t __wrap_psa_key_derivation_setup(psa_key_derivation_operation_t *operation,
                                             psa_algorithm_t alg) {
    psa_status_t status = __real_psa_key_derivation_setup(operation, alg);

    if (status == PSA_SUCCESS)
        status = derive_setup(session_current(), operation, alg);
    return status;
}

psa_status_t __wrap_psa_key_derivation_input_bytes(psa_key_derivation_operation_t *operation,
                                                   psa_key_derivation_step_t step,
                                                   const uint8_t *data, size_t len) {
    bool ours;
    psa_status_t status = derive_input(session_current(), operation, step, &data, len, &ours);

    if (status != PSA_SUCCESS || ours)
        return status;
    return __real_psa_key_derivation_input_bytes(operation, step, data, len);
}

psa_status_t __wrap_psa_key_derivation_input_key(psa_key_derivation_operation_t *operation,
                                                 psa_key_derivation_step_t step, psa_key_id_t key) {
    struct entry *e = table_find(key);

    return e ? derive_input_key(session_current(), operation, step, e)
             : __real_psa_key_derivation_input_key(operation, step, key);
}

psa_status_t __wrap_psa_key_derivation_set_capacity(psa_key_derivation_operation_t *operation,
                                                    size_t capacity) {
    if (derive_is_ours(session_current(), operation))
        return PSA_SUCCESS; /* the output is asked for in one piece */
    return __real_psa_key_derivation_set_capacity(operation, capacity);
}

psa_status_t __wrap_psa_key_derivation_output_bytes(psa_key_derivation_operation_t *operation,
                                                    uint8_t *out, size_t len) {
    struct session *s = session_current();

    if (derive_is_ours(s, operation))
        return derive_output(s, operation, out, len);
    return __real_psa_key_derivation_output_bytes(operation, out, len);
}

psa_status_t __wrap_psa_key_derivation_abort(psa_key_derivation_operation_t *operation) {
    derive_abort(session_current(), operation);
    return __real_psa_key_derivation_abort(operation);
}
