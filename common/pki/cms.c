#include "tb/cms.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "tb/pki.h"

/* OpenSSL's own words, after ours. */
static int fail(struct tb_error *e, int code, const char *file, const char *what) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return tb_error_set(e, code, file, 0, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

static int write_out(CMS_ContentInfo *cms, const char *path, struct tb_error *e) {
    FILE *f = fopen(path, "wb");
    BIO *out = f ? BIO_new_fp(f, BIO_NOCLOSE) : NULL;
    int r = 0;

    if (!out || i2d_CMS_bio(out, cms) != 1 || BIO_flush(out) != 1 || fflush(f) != 0 ||
        fsync(fileno(f)) < 0)
        r = tb_error_set(e, errno ? -errno : -EIO, path, 0, "cannot write the signature: %s",
                         tb_strerror(errno ? -errno : -EIO));
    BIO_free(out);
    if (f && fclose(f) != 0 && r == 0)
        r = tb_error_set(e, -errno, path, 0, "cannot write the signature: %s", tb_strerror(-errno));
    return r;
}

int tb_cms_signer_load(const char *cert_file, const char *key_file, struct tb_pki_signer *ret,
                       struct tb_error *e) {
    struct tb_pki_signer s = {NULL, NULL};
    int r = tb_pki_cert_load(cert_file, &s.cert, e);
    FILE *f = r == 0 ? fopen(key_file, "r") : NULL;

    ERR_set_mark();
    if (r == 0 && !f)
        r = tb_error_set(e, -errno, key_file, 0, "cannot read the signer's key: %s",
                         tb_strerror(-errno));
    if (r == 0 && !(s.key = PEM_read_PrivateKey(f, NULL, NULL, NULL)))
        r = tb_error_set(e, TB_EPARSE, key_file, 0, "holds no private key in PEM form");
    if (r == 0 && X509_check_private_key(s.cert, s.key) != 1)
        r = tb_error_set(e, TB_EPARSE, key_file, 0, "the key is not the certificate's");
    ERR_pop_to_mark();
    if (f)
        fclose(f);
    if (r < 0) {
        X509_free(s.cert);
        EVP_PKEY_free(s.key);
        return r;
    }
    *ret = s;
    return 0;
}

int tb_cms_sign(const char *file, X509 *signer, EVP_PKEY *key, const char *signature_file,
                struct tb_error *e) {
    const unsigned flags = CMS_DETACHED | CMS_BINARY | CMS_STREAM | CMS_NOSMIMECAP;
    CMS_ContentInfo *cms = NULL;
    BIO *content;
    int r = 0;

    ERR_set_mark();
    content = BIO_new_file(file, "rb");
    if (!content)
        r = fail(e, -EIO, file, "cannot read what is to be signed");
    if (r == 0) {
        cms = CMS_sign(signer, key, NULL, content, flags);
        if (!cms || CMS_final(cms, content, NULL, flags) != 1)
            r = fail(e, TB_ECRYPTO, file, "cannot be signed");
    }
    if (r == 0)
        r = write_out(cms, signature_file, e);
    CMS_ContentInfo_free(cms);
    BIO_free(content);
    ERR_pop_to_mark();
    return r;
}

static int read_signature(const char *path, CMS_ContentInfo **ret, struct tb_error *e) {
    BIO *in = BIO_new_file(path, "rb");

    if (!in)
        return tb_error_set(e, -ENOENT, path, 0, "cannot read the signature: %s",
                            tb_strerror(errno ? -errno : -ENOENT));
    *ret = d2i_CMS_bio(in, NULL);
    BIO_free(in);
    return *ret ? 0
                : tb_error_set(e, TB_EPARSE, path, 0,
                               "not a CMS signature in DER form (openssl cms -sign -binary "
                               "-outform DER makes one)");
}

static int read_trusted(const char *path, X509_STORE **ret, struct tb_error *e) {
    X509_STORE *store = X509_STORE_new();
    FILE *f = fopen(path, "r");
    X509 *x;
    int n = 0;

    if (!f || !store) {
        X509_STORE_free(store);
        return tb_error_set(e, errno ? -errno : TB_ENOMEM, path, 0,
                            "cannot read the signer's certificate: %s",
                            tb_strerror(errno ? -errno : TB_ENOMEM));
    }
    while ((x = PEM_read_X509(f, NULL, NULL, NULL))) {
        n += X509_STORE_add_cert(store, x);
        X509_free(x);
    }
    fclose(f);
    if (n == 0) {
        X509_STORE_free(store);
        return tb_error_set(e, TB_EPARSE, path, 0, "holds no certificate in PEM form");
    }
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_set_purpose(store, X509_PURPOSE_ANY);
    *ret = store;
    return 0;
}

static void name_signer(CMS_ContentInfo *cms, char *ret, size_t cap) {
    STACK_OF(X509) *signers = CMS_get0_signers(cms);
    BIO *b = BIO_new(BIO_s_mem());
    char *text;
    long n;

    if (b && signers && sk_X509_num(signers) > 0)
        X509_NAME_print_ex(b, X509_get_subject_name(sk_X509_value(signers, 0)), 0, XN_FLAG_RFC2253);
    n = b ? BIO_get_mem_data(b, &text) : 0;
    snprintf(ret, cap, "%.*s", (int)n, n > 0 ? text : "");
    BIO_free(b);
    sk_X509_free(signers);
}

int tb_cms_map(const char *file, struct tb_span *ret, struct tb_error *e) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *p = MAP_FAILED;

    if (fd < 0)
        return tb_error_set(e, -errno, file, 0, "cannot read: %s", tb_strerror(-errno));
    if (fstat(fd, &st) == 0 && st.st_size > 0)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return tb_error_set(e, TB_EPARSE, file, 0, "is empty, or not a file");
    *ret = tb_span(p, (size_t)st.st_size);
    return 0;
}

void tb_cms_unmap(struct tb_span content) {
    munmap((void *)(uintptr_t)content.p, content.n);
}

int tb_cms_verify(const char *file, struct tb_span content, const char *signature_file,
                  const char *trusted_file, char *ret_signer, size_t cap, struct tb_error *e) {
    char beside[4096];
    CMS_ContentInfo *cms = NULL;
    X509_STORE *store = NULL;
    BIO *in = NULL;
    int r;

    if (content.n > INT_MAX)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "larger than 2 GiB");
    snprintf(beside, sizeof beside, "%s.p7s", file);
    if (!signature_file)
        signature_file = beside;
    ERR_set_mark();
    r = read_signature(signature_file, &cms, e);
    if (r == 0)
        r = read_trusted(trusted_file, &store, e);
    if (r == 0) {
        /* Detached, whatever the file says: its own content would be another one than ours. */
        ASN1_OCTET_STRING **inside = CMS_get0_content(cms);

        in = BIO_new_mem_buf(content.n ? (const void *)content.p : "", (int)content.n);
        if (inside && *inside)
            r = tb_error_set(e, TB_EPARSE, signature_file, 0,
                             "this signature has its content inside: a detached one is wanted");
        else if (!in || CMS_verify(cms, NULL, store, in, NULL, CMS_BINARY) != 1)
            r = fail(e, TB_ECRYPTO, signature_file,
                     "the signature is not by the trusted signer over this file");
    }
    if (r == 0)
        name_signer(cms, ret_signer, cap);
    BIO_free(in);
    X509_STORE_free(store);
    CMS_ContentInfo_free(cms);
    ERR_pop_to_mark();
    return r;
}
