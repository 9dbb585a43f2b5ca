#ifndef IOTSAFE_PSA_H
#define IOTSAFE_PSA_H
/* Keys of an IoT SAFE card behind the PSA calls that Mbed TLS 3.6 makes: the program and the TLS
 * library stay as they are, the linker sends fifteen public PSA functions through this binding
 * (-Wl,--wrap=…, wrap.txt), and what concerns a card goes to the card. With a key of the card
 *
 *     iotsafe_psa_key(&ref, &id);               its PSA key identifier
 *     mbedtls_pk_setup_opaque(&pk, id);         client key, or the key of a request (PKCS #10)
 *
 * or a pre-shared key of the card
 *
 *     iotsafe_psa_psk(&ref, token);             32 bytes that stand for it
 *     mbedtls_ssl_conf_psk(&conf, token, sizeof token, identity, identity_len);
 *
 * and, around every call of the TLS library that may want the card,
 *
 *     before = iotsafe_psa_enter(&session);
 *     r = mbedtls_ssl_handshake(&ssl);
 *     iotsafe_psa_enter(before);
 *
 * A session is one user of one card: a connection, or whoever makes a request. Card operations of
 * a handshake: TLS 1.2 and 1.3 with a certificate: one signature. With a PSK: one PRF (1.2) or
 * HKDF-Extract (1.3). With IOTSAFE_PSA_ECDHE: a key pair and a shared secret, with _DERIVE also the
 * PRF or HKDF-Extract of that secret, with _VERIFY one verification for each signature of the
 * server on P-256.
 *
 * What the card has been asked to do is never done in software instead: if it cannot, the call
 * fails and with it the handshake. Nothing is tried twice.
 *
 * ISO C. A failed allocation is returned. Tables are shared by all sessions and guarded by Mbed
 * TLS's own mutex (MBEDTLS_THREADING_C); a session belongs to one thread, or fiber, at a time. An
 * operation may park the fiber that asked: which session is current is kept with it. */
#include <psa/crypto.h>
#include <stddef.h>
#include <stdint.h>

#include "iotsafe/iotsafe.h"
#include "iotsafe/slots.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the card does besides signatures and PSKs of its own, which are never anything else. */
enum {
    IOTSAFE_PSA_ECDHE = 1,  /* ephemeral key pairs on P-256 and shared secrets */
    IOTSAFE_PSA_VERIFY = 2, /* ECDSA on P-256; other signatures stay in software */
    IOTSAFE_PSA_RANDOM = 4, /* iotsafe_psa_random() */
    IOTSAFE_PSA_DERIVE = 8 /* with ECDHE: the shared secret is not given to the TLS library; PRF and
                              HKDF-Extract of it are made by the card */
};

/* Where the binding gets the card. Functions answer 0 or IOTSAFE_E…; those that may park say so.
 * None is called while a client is acquired. */
struct iotsafe_psa_host {
    /* Exclusive use of the session's card until release(); may park. */
    int (*acquire)(void *user, struct iotsafe **ret);
    /* result: what the operation gave, 0 or IOTSAFE_E…. */
    void (*release)(void *user, struct iotsafe *client, int result);
    /* A container for an ephemeral key, and the one for the other side's key (iotsafe_agree()). May
     * park until one is free. */
    int (*slot_take)(void *user, struct iotsafe_ref *ret_own, struct iotsafe_ref *ret_peer);
    /* Gives it back; never parks. */
    void (*slot_put)(void *user, const struct iotsafe_ref *own);
    /* The container for the other side's key in iotsafe_verify_by(); may park. */
    int (*verifier)(void *user, struct iotsafe_ref *ret);
    void *user; /* borrowed */
};

/* Operations that the card did for a session, and those of a like kind that the library did, with
 * keys of its own. */
struct iotsafe_psa_counters {
    uint32_t generate, agree, sign, verify, prf, extract, random;
    uint32_t software_generate, software_agree, software_sign, software_verify;
};

/* The operation of the last handshake that failed. That a signature does not match is no failure.
 */
struct iotsafe_psa_trouble {
    int error;        /* IOTSAFE_E…, 0: none failed */
    uint16_t sw;      /* the card's status word, 0 when there was none */
    const char *what; /* static text: "signature", "key pair", … or the reason for a refusal */
};

struct iotsafe_psa_session { /* caller's storage, not to be moved; contents are private */
    uint64_t opaque[256];
};

/* offload: bits of IOTSAFE_PSA_…. The host is copied. psa_crypto_init() must have been called.
 * IOTSAFE_E_ARGUMENT: DERIVE without ECDHE, or a host that lacks what the bits need. */
int iotsafe_psa_init(struct iotsafe_psa_session *s, const struct iotsafe_psa_host *host,
                     unsigned offload);
/* A handshake is over, well or not: containers that it still holds are given back, secrets that
 * were kept for it are wiped. Key identifiers it got from psa_generate_key() are void. After a
 * failure the card is not asked again before this. */
void iotsafe_psa_settle(struct iotsafe_psa_session *s);
/* The end; settles. Not while s is entered. A zeroed session is allowed. */
void iotsafe_psa_done(struct iotsafe_psa_session *s);

/* From now on this thread's PSA calls are those of s (NULL: of nobody, all in software). Returns
 * whose they were before. */
struct iotsafe_psa_session *iotsafe_psa_enter(struct iotsafe_psa_session *s);

struct iotsafe_psa_counters iotsafe_psa_counters(const struct iotsafe_psa_session *s);
struct iotsafe_psa_trouble iotsafe_psa_trouble(const struct iotsafe_psa_session *s);
/* One line for a person, e.g. "signature: card answered 6982 (…)"; "" when nothing failed. Returns
 * buf. */
const char *iotsafe_psa_trouble_text(const struct iotsafe_psa_session *s, char *buf, size_t cap);

/* A private key on P-256 in the card, as PSA key: signs hashes with ECDSA, its public half can be
 * exported. Asks nothing of the card. Any session may use it, on whose card it is then looked for.
 * IOTSAFE_E_NO_MEMORY; IOTSAFE_E_ARGUMENT for a reference that is none. */
int iotsafe_psa_key(const struct iotsafe_ref *ref, psa_key_id_t *ret);
/* A pre-shared key in the card, as a value that stands for it in mbedtls_ssl_conf_psk(). The value
 * is random and no secret. */
int iotsafe_psa_psk(const struct iotsafe_ref *ref, uint8_t ret_token[32]);
/* psa_destroy_key() leaves both alone; these forget them. Unknown ones are no-ops. */
void iotsafe_psa_forget_key(psa_key_id_t id);
void iotsafe_psa_forget_psk(const uint8_t token[32]);

/* For mbedtls_ssl_conf_rng() (with NULL): random bytes of the current session's card, 64 at a time,
 * if it has IOTSAFE_PSA_RANDOM, else of the PSA. 0, or MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED. */
int iotsafe_psa_random(void *unused, unsigned char *out, size_t n);

/* A host for one card whose client the caller has, used by one thread: nothing parks, a container
 * that is in use is IOTSAFE_E_BUSY. */
struct iotsafe_psa_client {
    struct iotsafe *client;     /* borrowed */
    struct iotsafe_slots slots; /* of iotsafe_slots_discover(), or zeroed */
};
struct iotsafe_psa_host iotsafe_psa_client_host(struct iotsafe_psa_client *c);

#ifdef __cplusplus
}
#endif
#endif
