#ifndef IOTSAFE_SLOTS_H
#define IOTSAFE_SLOTS_H
/* The card's containers for the keys of one handshake: those in which it makes its ephemeral key
 * pair, and those that take the peer's public key. A card has few, often one, so whoever runs
 * several handshakes at once gives them out one by one.
 *
 * An own container is taken before iotsafe_generate() and given back when the shared secret is
 * computed or the handshake is over. A container for peer's keys needs no taking: iotsafe_agree()
 * and iotsafe_verify_by() fill and use it in one call.
 *
 * Nothing here locks or allocates: the caller's storage, one thread at a time. */
#include "iotsafe/call.h"
#include "iotsafe/iotsafe.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility push(default)
#endif

enum { IOTSAFE_SLOTS_MAX = 16 };

struct iotsafe_slots { /* private but for n_own, 0: the card cannot make ephemeral keys */
    uint8_t n_own, n_peers;
    uint16_t taken; /* bit i: own[i] */
    struct iotsafe_ref own[IOTSAFE_SLOTS_MAX];
    struct {
        struct iotsafe_ref ref;
        uint8_t functions; /* bits of tag 61: 1 verifies, 4 agrees */
    } peers[IOTSAFE_SLOTS_MAX];
};

/* Empty: neither own containers nor any for the peer's keys. */
void iotsafe_slots_init(struct iotsafe_slots *s);

/* Named by the user instead of discovered; copied. IOTSAFE_E_TOO_SMALL when there are too many,
 * IOTSAFE_E_ARGUMENT for a reference that is none. For peers: agrees, verifies: what it can do. */
int iotsafe_slots_add(struct iotsafe_slots *s, const struct iotsafe_ref *own);
int iotsafe_slots_add_peer(struct iotsafe_slots *s, const struct iotsafe_ref *peer, int agrees,
                           int verifies);

/* Replaces what is in *s by what the card's object list tells: private keys on P-256 that are
 * volatile, or made by the device for agreement and not for signing; public keys on P-256 that the
 * device may write and that agree or verify, but for the public halves of private keys. One
 * operation, as iotsafe_list(). None found is no error. *s is empty after a failure. */
int iotsafe_slots_discover(struct iotsafe *c, struct iotsafe_slots *s);
int iotsafe_slots_discover_start(struct iotsafe_call *call, struct iotsafe *c,
                                 struct iotsafe_slots *s);

/* Takes a free own container: 0 and a copy of its reference, IOTSAFE_E_BUSY when all of them are
 * taken, IOTSAFE_E_UNSUPPORTED when there are none. */
int iotsafe_slots_take(struct iotsafe_slots *s, struct iotsafe_ref *ret_own);
/* Gives back what was taken, by the reference that take told; anything else is a no-op. */
void iotsafe_slots_put(struct iotsafe_slots *s, const struct iotsafe_ref *own);

/* Container for the peer's key in iotsafe_agree(), borrowed from *s; NULL: the card has none. */
const struct iotsafe_ref *iotsafe_slots_peer(const struct iotsafe_slots *s);
/* … in iotsafe_verify_by(). */
const struct iotsafe_ref *iotsafe_slots_verifier(const struct iotsafe_slots *s);

#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
