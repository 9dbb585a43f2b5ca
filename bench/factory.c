/* Many cards from one mould: sim-card personalises the first; of the others only what makes a card
 * this one is made anew. */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "bed.h"
#include "device.h"
#include "simcard/personalise.h"
#include "tb/pki.h"

struct bench_factory {
    struct card_nvm *mould;
};

/* factory.card has its client key as 01 and its certificate as 02; the third certificate is in PEM
 * form. */
enum { INSTANCES = 3, PEM_INSTANCE = 2 };

int bench_factory_new(struct bench_factory **ret) {
    struct bench_factory *f = calloc(1, sizeof *f);
    int r;

    if (!f)
        abort();
    r = bench_card_store(&f->mould);
    if (r < 0) {
        free(f);
        return r;
    }
    *ret = f;
    return 0;
}

void bench_factory_free(struct bench_factory *f) {
    if (!f)
        return;
    card_nvm_free(f->mould);
    free(f);
}

static int copy_entry(struct tb_span key, struct tb_span value, void *user) {
    struct card_nvm *to = user;

    return to->ops->put(to, key, value);
}

static int copy_all(struct card_nvm *from, struct card_nvm *to) {
    int r = to->ops->begin(to);

    if (r == 0)
        r = from->ops->each(from, copy_entry, to);
    return r == 0 ? to->ops->commit(to) : r;
}

/* One key pair, made in the first applet and shown by all. */
static int make_key(struct card_nvm *nvm, struct tb_buf *point) {
    struct tb_span id = TB_BYTES(1);
    int r = card_perso_generate(nvm, 0, id, point);

    for (uint8_t i = 1; i < INSTANCES && r == 0; i++)
        r = card_perso_copy(nvm, 0, id, i, id);
    return r;
}

static int put_certificate(struct card_nvm *nvm, X509 *x) {
    BIO *pem = BIO_new(BIO_s_mem());
    uint8_t *der = NULL;
    char *text;
    int n = i2d_X509(x, &der), r = n > 0 && pem && PEM_write_bio_X509(pem, x) ? 0 : TB_ECRYPTO;

    for (uint8_t i = 0; i < INSTANCES && r == 0; i++) {
        struct tb_span content = tb_span(der, (size_t)n);

        if (i == PEM_INSTANCE) {
            long length = BIO_get_mem_data(pem, &text);

            content = tb_span(text, (size_t)length);
        }
        r = card_perso_file(nvm, i, TB_BYTES(2), content);
    }
    OPENSSL_free(der);
    BIO_free(pem);
    return r;
}

static int certify(struct card_nvm *nvm, const char *iccid, struct tb_span point) {
    const struct tb_pki_request request = {.role = TB_PKI_CLIENT,
                                           .common_name = iccid,
                                           .organization = "IoT SAFE testbed",
                                           .not_before_s = -24L * 3600,
                                           .not_after_s = 365L * 24 * 3600,
                                           .written_only = true};
    EVP_PKEY *key = NULL;
    X509 *x = NULL;
    int r = tb_pki_ec_public("P-256", point, &key);

    if (r == 0)
        r = tb_pki_issue(bench_ca(), key, &request, &x);
    if (r == 0)
        r = put_certificate(nvm, x);
    X509_free(x);
    EVP_PKEY_free(key);
    return r;
}

int bench_factory_make(struct bench_factory *f, unsigned serial, struct card_nvm **ret) {
    struct card_nvm *nvm = card_nvm_mem_new(0);
    uint8_t room[TB_SAFE_POINT];
    struct tb_buf point = TB_BUF(room);
    char iccid[24], imsi[24];
    int r;

    if (!nvm)
        return TB_ENOMEM;
    snprintf(iccid, sizeof iccid, "8988211%012u", serial);
    snprintf(imsi, sizeof imsi, "00101%010u", serial);
    r = copy_all(f->mould, nvm);
    if (r == 0)
        r = card_perso_identity(
            nvm, &(struct card_identity){.iccid = iccid, .imsi = imsi, .spn = "IoT SAFE"});
    if (r == 0)
        r = make_key(nvm, &point);
    if (r == 0)
        r = certify(nvm, iccid, tb_buf_span(&point));
    if (r < 0) {
        card_nvm_free(nvm);
        return r;
    }
    *ret = nvm;
    return 0;
}
