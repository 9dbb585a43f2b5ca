#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/crypto.h"
#include "crypto/key.h"
#include "tb/tlv.h"

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

static int put(X509_REQ *req, struct tb_buf *out) {
    unsigned char *der = NULL;
    int n = i2d_X509_REQ(req, &der);

    if (n <= 0)
        return TB_ECRYPTO;
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_free(der);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

int card_key_csr(struct card_key *key, const char *common_name, struct tb_buf *out) {
    X509_REQ *req = X509_REQ_new();
    int r = TB_ECRYPTO;

    if (req)
        r = build(req, card_key_pkey(key), common_name);
    if (r == 0)
        r = put(req, out);
    X509_REQ_free(req);
    ERR_clear_error();
    return r;
}

static int set_subject(X509_REQ *req, struct tb_span der) {
    const unsigned char *p = der.p;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)der.n);
    int r = name && p == der.p + der.n ? 0 : TB_EPARSE;

    if (r == 0 && !X509_REQ_set_subject_name(req, name))
        r = TB_ECRYPTO;
    X509_NAME_free(name);
    return r;
}

/* The contents of [0]: one Attribute after the other. */
static int add_attributes(X509_REQ *req, struct tb_span der) {
    struct tb_tlv set, e;

    if (der.n == 0)
        return 0;
    if (tb_tlv_next(&der, &set) != 1 || set.tag != 0xA0 || der.n != 0)
        return TB_EPARSE;
    while (set.value.n > 0) {
        const unsigned char *p = set.value.p;
        struct tb_span rest = set.value;
        X509_ATTRIBUTE *a;
        int r;

        if (tb_tlv_next(&rest, &e) != 1 || e.tag != 0x30)
            return TB_EPARSE;
        a = d2i_X509_ATTRIBUTE(NULL, &p, (long)(set.value.n - rest.n));
        if (!a)
            return TB_EPARSE;
        r = X509_REQ_add1_attr(req, a) ? 0 : TB_ECRYPTO;
        X509_ATTRIBUTE_free(a);
        if (r < 0)
            return r;
        set.value = rest;
    }
    return 0;
}

int card_key_csr_for(struct card_key *key, struct tb_span subject, struct tb_span attributes,
                     struct tb_buf *out) {
    EVP_PKEY *pkey = card_key_pkey(key);
    X509_REQ *req = X509_REQ_new();
    int r = req ? set_subject(req, subject) : TB_ENOMEM;

    if (r == 0)
        r = add_attributes(req, attributes);
    if (r == 0 && (!X509_REQ_set_version(req, 0) || !X509_REQ_set_pubkey(req, pkey) ||
                   X509_REQ_sign(req, pkey, EVP_sha256()) <= 0))
        r = TB_ECRYPTO;
    if (r == 0)
        r = put(req, out);
    X509_REQ_free(req);
    ERR_clear_error();
    return r;
}
