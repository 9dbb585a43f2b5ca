#include "certificate_text.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <time.h>

#include "tb/hex.h"
#include "tb/pki.h"

static json_t *json_hex_case(struct tb_span s, enum tb_hex_case c) {
    struct tb_buf out = tb_buf(malloc(2 * s.n + 1), 2 * s.n);
    json_t *j;

    if (!out.p)
        abort();
    tb_put_hex(&out, s, c);
    j = json_stringn((const char *)out.p, out.n);
    free(out.p);
    return j;
}

json_t *card_json_hex(struct tb_span bytes) {
    return json_hex_case(bytes, TB_HEX_LOWER);
}

json_t *card_json_upper_hex(struct tb_span bytes) {
    return json_hex_case(bytes, TB_HEX_UPPER);
}

static BIO *memory_bio(void) {
    BIO *bio = BIO_new(BIO_s_mem());

    if (!bio)
        abort();
    return bio;
}

static json_t *take_text(BIO *bio) {
    char *text;
    long n = BIO_get_mem_data(bio, &text);
    json_t *j = json_stringn(text, (size_t)n);

    BIO_free(bio);
    return j;
}

json_t *card_json_pem(X509 *cert) {
    BIO *bio = memory_bio();

    PEM_write_bio_X509(bio, cert);
    return take_text(bio);
}

json_t *card_json_subject(X509 *cert) {
    BIO *bio = memory_bio();

    X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0,
                       XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    return take_text(bio);
}

json_t *card_json_not_after(X509 *cert) {
    struct tm tm;
    char text[32] = "";

    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

json_t *card_json_fingerprint(X509 *cert) {
    uint8_t digest[32];

    return tb_pki_fingerprint(cert, digest) < 0 ? NULL
                                                : card_json_hex(tb_span(digest, sizeof digest));
}

X509 *card_certificate_in(struct tb_span bytes) {
    const unsigned char *p = bytes.p;
    X509 *cert = bytes.n ? d2i_X509(NULL, &p, (long)bytes.n) : NULL;
    BIO *bio;

    if (!cert && bytes.n) {
        bio = BIO_new_mem_buf(bytes.p, (int)bytes.n);
        if (!bio)
            abort();
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
    }
    ERR_clear_error();
    return cert;
}
