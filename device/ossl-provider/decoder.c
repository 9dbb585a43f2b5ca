/* A key reference becomes a key in two steps, because OpenSSL's file store strips PEM first and
 * then asks for decoders of DER: IOTSAFE KEY REFERENCE block -> DER named "IotSafeRef" -> EC key by
 * reference.
 *
 * A decoder that does not know its input answers 1 without a call back, or others would not be
 * tried. */
#include <openssl/bio.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "provider.h"

static OSSL_FUNC_decoder_newctx_fn newctx;
static OSSL_FUNC_decoder_freectx_fn freectx;
static OSSL_FUNC_decoder_does_selection_fn does_selection;
static OSSL_FUNC_decoder_decode_fn decode_pem, decode_der;

/* Nothing is kept between calls: the provider itself is the context. */
static void *newctx(void *provctx) {
    return provctx;
}

static void freectx(void *ctx) {
    (void)ctx;
}

static int pass_der(unsigned char *der, size_t n, OSSL_CALLBACK *cb, void *arg) {
    char structure[] = "IotSafeRef", data_type[] = "EC";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, data_type, sizeof data_type - 1),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, structure, sizeof structure - 1),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, der, n),
        OSSL_PARAM_END,
    };

    return cb(params, arg);
}

/* Takes one PEM block: what follows it in the file is another decode. */
static int decode_pem(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *cb, void *arg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg) {
    struct isp_provider *prov = ctx;
    BIO *bio = BIO_new_from_core_bio(prov->bios, in);
    char *label = NULL, *header = NULL;
    unsigned char *der = NULL;
    long n;
    int ok = 1;

    (void)selection;
    (void)pw_cb;
    (void)pw_arg;
    if (!bio)
        return 0;
    ERR_set_mark();
    if (PEM_read_bio(bio, &label, &header, &der, &n) <= 0)
        label = NULL;
    ERR_pop_to_mark();
    if (label && strcmp(label, ISP_PEM_LABEL) == 0)
        ok = pass_der(der, (size_t)n, cb, arg);
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(der);
    BIO_free(bio);
    return ok;
}

/* Reads one DER object if its beginning could be a reference. Every DER object that the process
 * decodes passes here, so the first bytes decide. */
static bool read_der(BIO *bio, struct tb_buf *out) {
    size_t n, rest;
    uint8_t *p = out->p;

    if (!BIO_read_ex(bio, p, 2, &n) || n != 2 || p[0] != 0x30)
        return false;
    if (p[1] < 0x80) {
        rest = p[1];
        out->n = 2;
    } else if (p[1] == 0x81) {
        if (!BIO_read_ex(bio, p + 2, 1, &n))
            return false;
        rest = p[2];
        out->n = 3;
    } else if (p[1] == 0x82) {
        if (!BIO_read_ex(bio, p + 2, 2, &n) || n != 2)
            return false;
        rest = (size_t)p[2] << 8 | p[3];
        out->n = 4;
    } else {
        return false;
    }
    if (rest > out->cap - out->n)
        return false;
    if (!BIO_read_ex(bio, p + out->n, rest, &n) || n != rest)
        return false;
    out->n += rest;
    return true;
}

static int decode_der(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *cb, void *arg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg) {
    struct isp_provider *prov = ctx;
    uint8_t room[ISP_REFERENCE_MAX];
    struct tb_buf der = TB_BUF(room);
    struct tb_span text, spki;
    struct isp_uri uri;
    struct isp_key *key;
    const char *why;
    bool known;
    BIO *bio;

    (void)pw_cb;
    (void)pw_arg;
    bio = BIO_new_from_core_bio(prov->bios, in);
    if (!bio)
        return 0;
    ERR_set_mark();
    known = read_der(bio, &der) && isp_reference_parse(tb_buf_span(&der), &text, &spki) == 0;
    ERR_pop_to_mark();
    BIO_free(bio);
    if (!known)
        return 1;
    if (isp_uri_parse(text, &uri, &why) < 0) {
        isp_raise(prov, ISP_R_REFERENCE, "%s", why);
        return 0;
    }
    if (!uri.has_ref || uri.type == ISP_PUBLIC || uri.type == ISP_CERT) {
        isp_raise(prov, ISP_R_REFERENCE, "it names no private key");
        return 0;
    }
    key =
        isp_key_new(prov, &uri, spki, !selection || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY));
    return key ? isp_key_hand_over(key, cb, arg) : 0;
}

/* Whoever wants a public key and nothing else does not mean a reference. Saying so matters:
 * libcrypto 3.0 builds a chain of decoders for each certificate that a handshake brings, and every
 * decoder in its first link costs a walk over all that there are. */
static int does_selection(void *provctx, int selection) {
    (void)provctx;
    return !selection || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
}

const OSSL_DISPATCH isp_pem_decoder_functions[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))newctx},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))freectx},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))decode_pem},
    {0, NULL},
};

const OSSL_DISPATCH isp_der_decoder_functions[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))newctx},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))freectx},
    {OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))does_selection},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))decode_der},
    {0, NULL},
};
