#pragma once
/* Inside the PSA binding.
 *
 *   interpose.c   __wrap_psa_…: card or library? Nothing else.
 *   driver.c      card operations, in the shape of PSA driver entry points (iotsafe_opaque_…)
 *   derive.c      key derivations whose secret is in the card, or stays away from the library
 *   table.c       what a key identifier or a token stands for
 *   session.c     sessions: which is current, asking its card, what it holds
 */
#include <psa/crypto.h>
#include <stdbool.h>
#include <stdint.h>

#include "iotsafe/psa.h"

enum {
    POINT = 65,  /* uncompressed, P-256 */
    SECRET = 32, /* of ECDH on P-256 */
    TOKEN = 32,
    EPHEMERAL_MAX = 4, /* of one session at once: TLS needs one */
    DERIVATION_MAX = 4
};

/* ---- table.c ---- */

enum kind {
    KIND_FREE,
    KIND_SIGN,      /* long-term key of a card */
    KIND_PSK,       /* known by its token */
    KIND_EPHEMERAL, /* made for a handshake */
    KIND_SHARED     /* shared secret that stays away from the library */
};

struct session;

struct entry { /* allocated; stays where it is until it is dropped */
    enum kind kind;
    psa_key_id_t id;
    struct iotsafe_ref ref;  /* KIND_EPHEMERAL: as the card told it after generation */
    struct iotsafe_ref slot; /* KIND_EPHEMERAL: the container, as it was taken */
    struct iotsafe_ref peer; /* KIND_EPHEMERAL: container of the other side's key */
    bool has_point;
    uint8_t point[POINT];
    uint8_t token[TOKEN];  /* KIND_PSK */
    struct session *owner; /* KIND_EPHEMERAL, KIND_SHARED */
};

bool table_is_card_id(psa_key_id_t id);
/* NULL: out of memory, or of identifiers. */
struct entry *table_add(enum kind kind);
/* NULL when the identifier stands for nothing. Borrowed until it is dropped. */
struct entry *table_find(psa_key_id_t id);
struct entry *table_find_psk(const uint8_t *data, size_t n);
void table_drop(struct entry *e);

/* ---- derive.c ---- */

struct derivation { /* shadow of one psa_key_derivation_operation_t */
    const psa_key_derivation_operation_t *operation; /* NULL: free */
    psa_algorithm_t alg;
    enum kind secret;       /* KIND_FREE: in the library */
    struct iotsafe_ref psk; /* KIND_PSK */
    bool with_shared;       /* OTHER_SECRET is the session's shared secret */
    uint8_t seed[64], label[32], other[66];
    size_t seed_len, label_len, other_len;
};

/* ---- session.c ---- */

struct session {
    struct iotsafe_psa_host host;
    unsigned offload;
    struct iotsafe_psa_counters counters;
    struct iotsafe_psa_trouble trouble;
    int failed; /* the trouble's error, until the session is settled */
    struct entry *ephemeral[EPHEMERAL_MAX];
    struct derivation derivations[DERIVATION_MAX];
    struct {
        /* shared secret of ECDH (IOTSAFE_PSA_DERIVE) and what the library has instead */
        bool has_shared;
        uint8_t shared[SECRET], token[TOKEN];
        struct entry *shared_key; /* the token imported as a key */
        /* last HKDF-Extract with a PSK: TLS 1.3 wants it twice */
        bool has_early;
        struct iotsafe_ref early_psk;
        psa_algorithm_t early_alg;
        uint8_t early_salt[64], early[48];
        size_t early_salt_len, early_len;
        uint8_t random[64];
        size_t random_left;
    } secret;
};

struct session *session_current(void); /* NULL: none */
struct session *session_of(struct iotsafe_psa_session *s);

/* One operation on the session's card: acquires the client, calls op, releases it, counts or
 * remembers. While it lasts nobody is current: the fiber may be parked. IOTSAFE_E…. */
typedef int card_op(struct iotsafe *c, void *arg);
int session_ask(struct session *s, card_op *op, void *arg, uint32_t *counter, const char *what);
/* A container for e, into e->slot and e->peer; one for a key to verify with. As session_ask(). */
int session_slot(struct session *s, struct entry *e);
int session_verifier(struct session *s, struct iotsafe_ref *ret);
/* Notes a failure that is not of session_ask() and returns its PSA code. */
psa_status_t session_refuse(struct session *s, int error, const char *what);
psa_status_t session_status(int error);
void session_drop_ephemeral(struct session *s, struct entry *e);
void session_drop_shared(struct session *s); /* the value, not its key identifier */

/* ---- driver.c ---- */

psa_status_t iotsafe_opaque_get_attributes(const struct entry *e, psa_key_attributes_t *ret);
/* Whether a key of these attributes is the card's to make. */
bool iotsafe_opaque_generates(const struct session *s, const psa_key_attributes_t *attributes);
psa_status_t iotsafe_opaque_generate_key(struct session *s, const psa_key_attributes_t *attributes,
                                         psa_key_id_t *ret);
psa_status_t iotsafe_opaque_export_public_key(struct session *s, struct entry *e, uint8_t *out,
                                              size_t size, size_t *ret_len);
psa_status_t iotsafe_opaque_sign_hash(struct session *s, const struct entry *e, psa_algorithm_t alg,
                                      const uint8_t *hash, size_t hash_len, uint8_t *sig,
                                      size_t size, size_t *ret_len);
psa_status_t iotsafe_opaque_verify_hash(struct session *s, const uint8_t point[POINT],
                                        const uint8_t *hash, size_t hash_len, const uint8_t *sig,
                                        size_t sig_len);
psa_status_t iotsafe_opaque_key_agreement(struct session *s, const struct entry *e,
                                          const uint8_t *peer, size_t peer_len, uint8_t *out,
                                          size_t size, size_t *ret_len);
psa_status_t iotsafe_opaque_destroy_key(struct entry *e);

/* ---- the library's functions behind ours ---- */

/* The names are the linker's: __real_x is x itself where x is wrapped. */
#define REAL(type, name, params)                                                                   \
    type __real_##name params;                                                                     \
    type __wrap_##name params
REAL(psa_status_t, psa_generate_key, (const psa_key_attributes_t *attributes, psa_key_id_t *key));
REAL(psa_status_t, psa_export_public_key,
     (psa_key_id_t key, uint8_t *data, size_t size, size_t *len));
REAL(psa_status_t, psa_get_key_attributes, (psa_key_id_t key, psa_key_attributes_t *attributes));
REAL(psa_status_t, psa_sign_hash,
     (psa_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_len, uint8_t *sig,
      size_t size, size_t *sig_len));
REAL(psa_status_t, psa_verify_hash,
     (psa_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_len,
      const uint8_t *sig, size_t sig_len));
REAL(psa_status_t, psa_raw_key_agreement,
     (psa_algorithm_t alg, psa_key_id_t key, const uint8_t *peer, size_t peer_len, uint8_t *out,
      size_t size, size_t *out_len));
REAL(psa_status_t, psa_destroy_key, (psa_key_id_t key));
REAL(psa_status_t, psa_import_key,
     (const psa_key_attributes_t *attributes, const uint8_t *data, size_t len, psa_key_id_t *key));
REAL(psa_status_t, psa_export_key, (psa_key_id_t key, uint8_t *data, size_t size, size_t *len));
REAL(psa_status_t, psa_key_derivation_setup,
     (psa_key_derivation_operation_t * operation, psa_algorithm_t alg));
REAL(psa_status_t, psa_key_derivation_input_bytes,
     (psa_key_derivation_operation_t * operation, psa_key_derivation_step_t step,
      const uint8_t *data, size_t len));
REAL(psa_status_t, psa_key_derivation_input_key,
     (psa_key_derivation_operation_t * operation, psa_key_derivation_step_t step,
      psa_key_id_t key));
REAL(psa_status_t, psa_key_derivation_set_capacity,
     (psa_key_derivation_operation_t * operation, size_t capacity));
REAL(psa_status_t, psa_key_derivation_output_bytes,
     (psa_key_derivation_operation_t * operation, uint8_t *out, size_t len));
REAL(psa_status_t, psa_key_derivation_abort, (psa_key_derivation_operation_t * operation));
