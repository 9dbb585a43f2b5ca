#pragma once
/* The provider linked into a program: registered with OSSL_PROVIDER_add_builtin() instead of being
 * loaded from a file, and fed with the program's own card clients. */
#include <openssl/core.h>
#include <stdint.h>

#include "iotsafe/iotsafe.h"

/* OSSL_provider_init_fn. */
int isp_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                      const OSSL_DISPATCH **out, void **provctx);

/* Where the provider gets its card clients. The program opens, owns, locks and closes them: a
 * program with fibers parks the caller in acquire() while another one uses the card, and in the
 * transport during each APDU. */
struct isp_host {
    /* Exclusive use of the card named reader ("" when the key reference names none) until
     * release(). Returns 0, or an IOTSAFE_E… code with a text for a person in err. */
    int (*acquire)(void *user, const char *reader, struct iotsafe **ret, char *err, size_t cap);
    /* result: what the operation gave, 0 or IOTSAFE_E…; the status word is iotsafe_last_sw(). */
    void (*release)(void *user, struct iotsafe *client, int result);
    void *user; /* borrowed */
};

/* Used by every instance of the provider initialised from now on; copied. NULL: back to the
 * "transport" parameter. */
void isp_set_host(const struct isp_host *host);
