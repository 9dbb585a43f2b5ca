#pragma once
/* The little X.509 that both the factory (sim-card personalise) and the hub's CA need: certificate
 * authorities, certificates for a public key, CSRs whose signature is made elsewhere. OpenSSL 3
 * underneath. Profiles follow RFC 5280 strictly (key usage, SKI, AKI), because Python 3.13 and
 * others insist. */
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tb/error.h"
#include "tb/span.h"

enum tb_pki_role { TB_PKI_CA, TB_PKI_CLIENT, TB_PKI_SERVER };

struct tb_pki_request {
    enum tb_pki_role role;
    const char *common_name;  /* subject CN */
    const char *organization; /* O, or NULL */
    const char *const
        *dns_names;  /* SAN: DNS names or numeric addresses, NULL-terminated; or NULL */
    const char *uri; /* SAN URI, or NULL */
    long not_before_s, not_after_s; /* relative to now, seconds; at most 1000 years */
    bool written_only; /* the certificate will only be written: its key cannot be had from it, which
                          makes it faster to issue */
};

struct tb_pki_ca { /* freed by tb_pki_ca_done() */
    X509 *cert;
    EVP_PKEY *key;
};

/* A new P-256 CA, self-signed, valid since yesterday. common_name: at most 64 bytes (TB_ERANGE). */
int tb_pki_ca_init(const char *common_name, long days, struct tb_pki_ca *ret) TB_CHECKED;
/* PEM files; the key file is written with mode 0600, never overwriting an existing one (TB_ESTATE).
 * After a crash there is a matching pair, or no key. */
int tb_pki_ca_save(const struct tb_pki_ca *ca, const char *cert_file, const char *key_file,
                   struct tb_error *e) TB_CHECKED;
/* TB_EPARSE when a file does not hold what it should, the certificate is no CA's, or the key is
 * another's. */
int tb_pki_ca_load(const char *cert_file, const char *key_file, struct tb_pki_ca *ret,
                   struct tb_error *e) TB_CHECKED;
void tb_pki_ca_done(struct tb_pki_ca *ca);

/* A certificate for pub under ca (random 127-bit serial, ecdsa-with-SHA256). New reference in *ret.
 * TB_ERANGE when names or times break a limit of RFC 5280, TB_EUNSUP for a key below 112 bits of
 * security or an EC key without a named curve. A CA issued here may not issue further CAs. */
int tb_pki_issue(const struct tb_pki_ca *ca, EVP_PKEY *pub, const struct tb_pki_request *req,
                 X509 **ret) TB_CHECKED;
/* Verifies the CSR's own signature (TB_EPARSE) and issues for its key; subject comes from req
 * alone. */
int tb_pki_issue_csr(const struct tb_pki_ca *ca, X509_REQ *csr, const struct tb_pki_request *req,
                     X509 **ret) TB_CHECKED;

/* EC public key from an uncompressed point (65 bytes). group: "P-256" or "brainpoolP256r1", else
 * TB_EUNSUP. TB_EPARSE when the point is not on the curve. */
int tb_pki_ec_public(const char *group, struct tb_span point, EVP_PKEY **ret) TB_CHECKED;

int tb_pki_cert_load(const char *pem_file, X509 **ret, struct tb_error *e) TB_CHECKED;
/* Both replace the file atomically. The key file has mode 0600 and is on the disk on return. */
int tb_pki_cert_save(X509 *cert, const char *pem_file, struct tb_error *e) TB_CHECKED;
int tb_pki_key_save(EVP_PKEY *key, const char *pem_file, struct tb_error *e) TB_CHECKED;
/* SHA-256 of the DER: 32 bytes. */
int tb_pki_fingerprint(X509 *cert, uint8_t ret[32]) TB_CHECKED;
