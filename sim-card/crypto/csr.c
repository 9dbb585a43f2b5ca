#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/crypto.h"
#include "crypto/key.h"

enum { CN_MAX = 64 }; /* RFC 5280 A.1 ub-common-name */

/* What OpenSSL refused for the name's sake, and what for want of memory. */
static int why_no_name(void) {
    unsigned long e;

    while ((e = ERR_get_error()) != 0)
        if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
            return TB_ENOMEM;
    return TB_ERANGE;
}

/* spec: RFC2986 4 a certification request signed by the key it asks for. */
static int build(X509_REQ *req, EVP_PKEY *pkey, const char *common_name) {
    X509_NAME *name = X509_REQ_get_subject_name(req);

    if (common_name[0] == '\0' || strlen(common_name) > CN_MAX)
        return TB_ERANGE;
    if (!X509_REQ_set_version(req, 0))
        return TB_ECRYPTO;
    if (!X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                    -1, -1, 0))
        return why_no_name();
    if (!X509_REQ_set_pubkey(req, pkey) || X509_REQ_sign(req, pkey, EVP_sha256()) <= 0)
        return TB_ECRYPTO;
    return 0;
}

int card_key_csr(struct card_key *key, const char *common_name, struct tb_buf *out) {
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    int n, r = TB_ECRYPTO;

    if (req)
        r = build(req, card_key_pkey(key), common_name);
    if (r == 0) {
        n = i2d_X509_REQ(req, &der);
        if (n > 0) {
            tb_put(out, tb_span(der, (size_t)n));
            r = tb_buf_ok(out) ? 0 : TB_ESPACE;
        } else
            r = TB_ECRYPTO;
        OPENSSL_free(der);
    }
    X509_REQ_free(req);
    ERR_clear_error();
    return r;
}
