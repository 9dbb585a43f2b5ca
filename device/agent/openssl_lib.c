#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <string.h>

#include "channel_openssl.h"

/* ---- the library ---- */

/* Algorithms are chosen for a whole library context: hence one for each choice. Made when first
 * needed: what OpenSSL looks up once is then there for all connections of this kind. */
static struct openssl_lib libs[8];

static const char *tokens_text(unsigned tokens, char *dst, size_t cap) {
    snprintf(dst, cap, "%s%s%s", tokens & OPENSSL_ECDHE ? "ecdhe," : "",
             tokens & OPENSSL_VERIFY ? "verify," : "", tokens & OPENSSL_PSK ? "psk," : "");
    if (*dst)
        dst[strlen(dst) - 1] = 0;
    return *dst ? dst : NULL;
}

static bool load(struct openssl_lib *lib, unsigned tokens) {
    struct isp_host host = dev_openssl_host();
    char text[32];

    host.offload = tokens_text(tokens, text, sizeof text);
    isp_set_host(&host);
    lib->ctx = OSSL_LIB_CTX_new();
    if (lib->ctx && OSSL_PROVIDER_add_builtin(lib->ctx, "iotsafe", isp_provider_init)) {
        lib->def = OSSL_PROVIDER_load(lib->ctx, "default");
        lib->iotsafe = OSSL_PROVIDER_load(lib->ctx, "iotsafe");
    }
    isp_set_host(NULL);
    return lib->def && lib->iotsafe &&
           (!tokens || EVP_set_default_properties(lib->ctx, "?iotsafe.offload=yes") == 1);
}

struct openssl_lib *dev_openssl_lib(unsigned tokens) {
    struct openssl_lib *lib = &libs[tokens];

    if (lib->refs++ > 0)
        return lib;
    if (load(lib, tokens))
        return lib;
    dev_openssl_lib_put(lib);
    return NULL;
}

void dev_openssl_lib_put(struct openssl_lib *lib) {
    if (!lib || --lib->refs > 0)
        return;
    if (lib->iotsafe)
        OSSL_PROVIDER_unload(lib->iotsafe);
    if (lib->def)
        OSSL_PROVIDER_unload(lib->def);
    OSSL_LIB_CTX_free(lib->ctx);
    *lib = (struct openssl_lib){0};
}

/* ---- the stream as a BIO ---- */

static int bio_read(BIO *bio, char *buf, int n) {
    struct dev_stream *s = BIO_get_data(bio);
    struct tb_span data = dev_stream_data(s);

    BIO_clear_retry_flags(bio);
    if (data.n == 0) {
        if (dev_stream_status(s) == 0) {
            BIO_set_retry_read(bio);
            return -1;
        }
        return dev_stream_status(s) == TB_ECLOSED ? 0 : -1;
    }
    data = tb_span_sub(data, 0, (size_t)n);
    memcpy(buf, data.p, data.n);
    dev_stream_eat(s, data.n); /* a datagram: the whole of it */
    return (int)data.n;
}

static int bio_write(BIO *bio, const char *buf, int n) {
    BIO_clear_retry_flags(bio);
    return dev_stream_write(BIO_get_data(bio), buf, (size_t)n) < 0 ? -1 : n;
}

enum { IPV6_UDP_HEADERS = 48 };

static long bio_ctrl(BIO *bio, int cmd, long num, void *p) {
    (void)num;
    (void)p;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD:
        return IPV6_UDP_HEADERS;
    case BIO_CTRL_EOF:
        return dev_stream_status(BIO_get_data(bio)) < 0;
    default:
        return 0;
    }
}

static BIO_METHOD *method;

__attribute__((destructor)) static void free_method(void) {
    BIO_meth_free(method);
}

BIO *dev_openssl_bio(struct dev_stream *s) {
    BIO *bio;

    if (!method) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "stream");
        if (!method)
            return NULL;
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    bio = BIO_new(method);
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
    }
    return bio;
}
