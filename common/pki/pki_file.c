/* PEM files. A file appears whole or not at all: it is written beside its place and then renamed,
 * or linked where an existing file must stay. */
#include "tb/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tb/hex.h"

enum { PUBLIC_MODE = 0666 /* less the umask */, PRIVATE_MODE = 0600 };

struct draft { /* a file on its way */
    char path[4096];
    bool exists; /* path is there and must be removed or renamed */
};

static int write_all(int fd, struct tb_span s) {
    struct tb_span part;

    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!tb_take(&s, (size_t)n, &part))
            return -EIO;
    }
    return 0;
}

/* Creates a new file beside file, with a name nobody else has. Returns its descriptor. */
static int draft_open(struct draft *d, const char *file, mode_t mode) {
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    int n, fd;

    if (RAND_bytes(random, sizeof random) != 1)
        return TB_ECRYPTO;
    tb_hex_str(hex, sizeof hex, tb_span(random, sizeof random));
    n = snprintf(d->path, sizeof d->path, "%s.%s", file, hex);
    if (n < 0 || (size_t)n >= sizeof d->path)
        return -ENAMETOOLONG;
    fd = open(d->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    d->exists = fd >= 0;
    return fd < 0 ? -errno : fd;
}

/* Writes content into a new file beside file. durable: it has reached the disk on return. */
static int draft_write(struct draft *d, const char *file, struct tb_span content, mode_t mode,
                       bool durable) {
    int fd = draft_open(d, file, mode), r;

    if (fd < 0)
        return fd;
    r = write_all(fd, content);
    if (r == 0 && durable && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

static void draft_drop(struct draft *d) {
    if (d->exists)
        unlink(d->path);
    d->exists = false;
}

static int draft_replace(struct draft *d, const char *file) {
    if (rename(d->path, file) < 0)
        return -errno;
    d->exists = false;
    return 0;
}

/* -EEXIST when file is there. */
static int draft_create(struct draft *d, const char *file) {
    return link(d->path, file) < 0 ? -errno : 0;
}

static struct tb_span bio_span(BIO *bio) {
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);

    return n > 0 ? tb_span(p, (size_t)n) : TB_SPAN_NONE;
}

/* A BIO with the PEM text, or NULL. Freed by the caller; the key's memory is wiped then. */
static BIO *pem_cert(X509 *cert) {
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio && PEM_write_bio_X509(bio, cert) == 1)
        return bio;
    BIO_free(bio);
    return NULL;
}

static BIO *pem_key(EVP_PKEY *key) {
    BIO *bio = BIO_new(BIO_s_secmem());

    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
        return bio;
    BIO_free(bio);
    return NULL;
}

static int fail(struct tb_error *e, int r, const char *file, const char *what) {
    return tb_error_set(e, r, file, 0, "%s: %s", what, tb_strerror(r));
}

/* Writes the text of bio (given to this function) to file, replacing it. */
static int replace_file(BIO *bio, const char *file, mode_t mode, bool durable, struct tb_error *e) {
    struct draft d = {.exists = false};
    int r = bio ? draft_write(&d, file, bio_span(bio), mode, durable) : TB_ECRYPTO;

    if (r == 0)
        r = draft_replace(&d, file);
    draft_drop(&d);
    BIO_free(bio);
    return r < 0 ? fail(e, r, file, "cannot write") : 0;
}

int tb_pki_cert_save(X509 *cert, const char *pem_file, struct tb_error *e) {
    BIO *bio;

    ERR_set_mark();
    bio = pem_cert(cert);
    ERR_pop_to_mark();
    return replace_file(bio, pem_file, PUBLIC_MODE, false, e);
}

int tb_pki_key_save(EVP_PKEY *key, const char *pem_file, struct tb_error *e) {
    BIO *bio;

    ERR_set_mark();
    bio = pem_key(key);
    ERR_pop_to_mark();
    return replace_file(bio, pem_file, PRIVATE_MODE, true, e);
}

/* The certificate goes first: a crash leaves either no key, and saving starts anew, or a matching
 * pair. */
static int save_pair(BIO *cert, BIO *key, const char *cert_file, const char *key_file,
                     struct tb_error *e) {
    struct draft c = {.exists = false}, k = {.exists = false};
    const char *file = key_file;
    struct stat st;
    int r;

    if (lstat(key_file, &st) == 0)
        return tb_error_set(e, TB_ESTATE, key_file, 0,
                            "exists already, and keys are never replaced");
    r = draft_write(&k, key_file, bio_span(key), PRIVATE_MODE, true);
    if (r == 0) {
        file = cert_file;
        r = draft_write(&c, cert_file, bio_span(cert), PUBLIC_MODE, true);
    }
    if (r == 0)
        r = draft_replace(&c, cert_file);
    if (r == 0) {
        file = key_file;
        r = draft_create(&k, key_file);
    }
    draft_drop(&c);
    draft_drop(&k);
    if (r == -EEXIST) /* somebody was faster */
        r = TB_ESTATE;
    return r < 0 ? fail(e, r, file, "cannot write") : 0;
}

int tb_pki_ca_save(const struct tb_pki_ca *ca, const char *cert_file, const char *key_file,
                   struct tb_error *e) {
    BIO *cert, *key;
    int r;

    ERR_set_mark();
    cert = pem_cert(ca->cert);
    key = pem_key(ca->key);
    ERR_pop_to_mark();
    if (cert && key)
        r = save_pair(cert, key, cert_file, key_file, e);
    else
        r = fail(e, TB_ECRYPTO, key_file, "cannot encode");
    BIO_free(cert);
    BIO_free(key);
    return r;
}

int tb_pki_cert_load(const char *pem_file, X509 **ret, struct tb_error *e) {
    FILE *f = fopen(pem_file, "re");
    X509 *cert;

    if (!f)
        return fail(e, -errno, pem_file, "cannot open");
    ERR_set_mark();
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    ERR_pop_to_mark();
    fclose(f);
    if (!cert)
        return tb_error_set(e, TB_EPARSE, pem_file, 0, "no certificate in PEM form");
    *ret = cert;
    return 0;
}

/* Without this OpenSSL would ask at the terminal. */
static int no_password(char *buf, int size, int writing, void *user) {
    (void)buf, (void)size, (void)writing, (void)user;
    return -1;
}

static int key_load(const char *pem_file, EVP_PKEY **ret, struct tb_error *e) {
    FILE *f = fopen(pem_file, "re");
    EVP_PKEY *key;

    if (!f)
        return fail(e, -errno, pem_file, "cannot open");
    ERR_set_mark();
    key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
    ERR_pop_to_mark();
    fclose(f);
    if (!key)
        return tb_error_set(e, TB_EPARSE, pem_file, 0, "no unencrypted private key in PEM form");
    *ret = key;
    return 0;
}

int tb_pki_ca_load(const char *cert_file, const char *key_file, struct tb_pki_ca *ret,
                   struct tb_error *e) {
    struct tb_pki_ca ca = {NULL, NULL};
    int r = tb_pki_cert_load(cert_file, &ca.cert, e);

    if (r == 0)
        r = key_load(key_file, &ca.key, e);
    if (r == 0) {
        ERR_set_mark();
        if (X509_check_ca(ca.cert) != 1)
            r = tb_error_set(e, TB_EPARSE, cert_file, 0, "not the certificate of a v3 CA");
        else if (X509_check_private_key(ca.cert, ca.key) != 1)
            r = tb_error_set(e, TB_EPARSE, key_file, 0, "not the key of %s", cert_file);
        ERR_pop_to_mark();
    }
    if (r < 0) {
        tb_pki_ca_done(&ca);
        return r;
    }
    *ret = ca;
    return 0;
}
