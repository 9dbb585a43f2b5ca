#pragma once
/* Derivations, for interpose.c: what it passes on to the library and what not. s may be NULL. */
#include "internal.h"

psa_status_t derive_setup(struct session *s, const psa_key_derivation_operation_t *operation,
                          psa_algorithm_t alg);
/* *data is replaced by what the library is to have. *ret_ours: it is to have nothing. */
psa_status_t derive_input(struct session *s, const psa_key_derivation_operation_t *operation,
                          psa_key_derivation_step_t step, const uint8_t **data, size_t n,
                          bool *ret_ours);
psa_status_t derive_input_key(struct session *s, const psa_key_derivation_operation_t *operation,
                              psa_key_derivation_step_t step, const struct entry *e);
bool derive_is_ours(struct session *s, const psa_key_derivation_operation_t *operation);
psa_status_t derive_output(struct session *s, const psa_key_derivation_operation_t *operation,
                           uint8_t *out, size_t n);
void derive_abort(struct session *s, const psa_key_derivation_operation_t *operation);
/* Whether data is what the library has instead of the shared secret. */
bool derive_is_token(const struct session *s, const uint8_t *data, size_t n);
