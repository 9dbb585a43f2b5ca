#pragma once
/* The provider linked into a program: registered with OSSL_PROVIDER_add_builtin() instead of being
 * loaded from a file, and fed with the program's own card clients.
 *
 * What the configuration file does for other programs, such a program does for the library context
 * it loads the provider into:
 *
 *     isp_set_host(&host);                          host.offload = "ecdhe,verify"
 *     OSSL_PROVIDER_add_builtin(ctx, "iotsafe", isp_provider_init);
 *     OSSL_PROVIDER_load(ctx, "default"), OSSL_PROVIDER_load(ctx, "iotsafe");
 *     EVP_set_default_properties(ctx, "?iotsafe.offload=yes");
 *     RAND_set_seed_source_type(ctx, "IOTSAFE-SEED", NULL);   only with random
 *     SSL_CTX_set1_groups_list(ssl_ctx, "P-256");             only with ecdhe */
#include <openssl/core.h>
#include <stdint.h>

#include "iotsafe/iotsafe.h"

/* OSSL_provider_init_fn. */
int isp_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                      const OSSL_DISPATCH **out, void **provctx);

/* A container for an ephemeral key, in use by one handshake. */
struct isp_slot {
    struct iotsafe_ref own;  /* where the key pair is made */
    struct iotsafe_ref peer; /* where the other side's key goes, for iotsafe_agree() */
    void *card;              /* the host's own: which card it is on */
};

/* Where the provider gets its card clients. The program opens, owns, locks and closes them: a
 * program with fibers parks the caller in acquire() while another one uses the card, and in the
 * transport during each APDU. Functions that can fail answer 0, or an IOTSAFE_E… code with a text
 * for a person in err. */
struct isp_host {
    /* Exclusive use of a card until release(): the one of a slot (card not NULL), the one named
     * reader, or with neither (NULL, "") the current one: that of the session under way. */
    int (*acquire)(void *user, void *card, const char *reader, struct iotsafe **ret, char *err,
                   size_t cap);
    /* result: what the operation gave, 0 or IOTSAFE_E…; the status word is iotsafe_last_sw(). */
    void (*release)(void *user, struct iotsafe *client, int result);
    /* Takes a container of the current card; may park until one is free. Not called while a client
     * is acquired, nor are the others below. NULL: nothing is offloaded but signatures. */
    int (*slot_take)(void *user, struct isp_slot *ret, char *err, size_t cap);
    /* Gives it back. From any place, also outside of a session: never parks. */
    void (*slot_put)(void *user, const struct isp_slot *slot);
    /* Container of the current card for the other side's key in iotsafe_verify_by(). */
    int (*verifier)(void *user, struct iotsafe_ref *ret, char *err, size_t cap);
    /* n random bytes from the card, for the seed of the context's generator. Its locks are held, so
     * this never parks: the program fetches them before, 64 at a time are enough. Not NULL with
     * offload random. */
    int (*random)(void *user, uint8_t *buf, size_t n, char *err, size_t cap);
    void *user; /* borrowed */
    /* What the card does besides signatures of its keys, as the parameter "offload" has it:
     * ecdhe, verify, psk, random, comma separated; borrowed. NULL: nothing. */
    const char *offload;
};

/* Used by every instance of the provider initialised from now on; copied. NULL: back to the
 * "transport" parameter. */
void isp_set_host(const struct isp_host *host);
