/* make_devices CA.crt CA.key DIR N: N device certificates over one key (DIR/devices.key,
 * DIR/ICCID.crt) and the import file for them (DIR/devices.json). For tests with many devices,
 * where a process per certificate would take the time. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include "tb/pki.h"

static char *pem_of(X509 *cert) {
    BIO *b = BIO_new(BIO_s_mem());
    char *text, *copy;
    long n;

    PEM_write_bio_X509(b, cert);
    n = BIO_get_mem_data(b, &text);
    if (asprintf(&copy, "%.*s", (int)n, text) < 0)
        abort();
    BIO_free(b);
    return copy;
}

static int make_one(const struct tb_pki_ca *ca, EVP_PKEY *key, const char *dir, const char *iccid,
                    json_t *cards, struct tb_error *e) {
    const struct tb_pki_request req = {
        .role = TB_PKI_CLIENT, .common_name = iccid, .not_before_s = -3600, .not_after_s = 86400};
    char path[4096], *pem;
    X509 *cert;
    int err = tb_pki_issue(ca, key, &req, &cert);

    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "%s", tb_strerror(err));
    snprintf(path, sizeof path, "%s/%s.crt", dir, iccid);
    err = tb_pki_cert_save(cert, path, e);
    pem = pem_of(cert);
    json_array_append_new(cards, json_pack("{s:s, s:[{s:s, s:s}]}", "iccid", iccid, "credentials",
                                           "kind", "x509", "certificate", pem));
    free(pem);
    X509_free(cert);
    return err;
}

int main(int argc, char **argv) {
    struct tb_error e = {0};
    struct tb_pki_ca ca;
    json_t *cards = json_array(), *batch = json_pack("{s:o}", "cards", cards);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    char path[4096];
    int err;

    if (argc != 5) {
        fprintf(stderr, "usage: make_devices CA.crt CA.key DIR N\n");
        return 2;
    }
    err = tb_pki_ca_load(argv[1], argv[2], &ca, &e);
    snprintf(path, sizeof path, "%s/devices.key", argv[3]);
    if (err == 0)
        err = tb_pki_key_save(key, path, &e);
    for (long i = 0; i < strtol(argv[4], NULL, 10) && err == 0; i++) {
        char iccid[48];

        snprintf(iccid, sizeof iccid, "89882470000001%05ld", i);
        err = make_one(&ca, key, argv[3], iccid, cards, &e);
    }
    snprintf(path, sizeof path, "%s/devices.json", argv[3]);
    if (err == 0 && json_dump_file(batch, path, JSON_INDENT(1)) < 0)
        err = tb_error_set(&e, TB_ESTORE, path, 0, "cannot be written");
    if (err < 0) {
        fprintf(stderr, "make_devices: %s: %s\n", e.file, e.message);
        return 1;
    }
    tb_pki_ca_done(&ca);
    EVP_PKEY_free(key);
    json_decref(batch);
    return 0;
}
