#pragma once
/* Detached CMS signatures (RFC 5652) of whole files, as 'openssl cms -sign -binary -outform DER'
 * makes and 'openssl cms -verify -binary -inform DER -content FILE' reads them. */
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tb/error.h"
#include "tb/span.h"

/* The signer's certificate and key, PEM; the caller frees both. */
struct tb_pki_signer {
    X509 *cert;
    EVP_PKEY *key;
};
int tb_cms_signer_load(const char *cert_file, const char *key_file, struct tb_pki_signer *ret,
                       struct tb_error *e) TB_CHECKED;

/* Signs the bytes of file; the signature, with the signer's certificate in it, is written to
 * signature_file, which is on the disk on return. */
int tb_cms_sign(const char *file, X509 *signer, EVP_PKEY *key, const char *signature_file,
                struct tb_error *e) TB_CHECKED;

/* The bytes of a file to verify, mapped: TB_EPARSE when there are none. */
int tb_cms_map(const char *file, struct tb_span *ret, struct tb_error *e) TB_CHECKED;
void tb_cms_unmap(struct tb_span content);

/* Verifies it for content, the bytes of file. signature_file NULL: file.p7s. trusted_file: PEM with
 * the signer's certificate or with those of authorities, each of which is an anchor; purposes do
 * not matter, dates do. *ret_signer: the signer's subject, cut to cap - 1 bytes. TB_EPARSE when it
 * is no signature, TB_ECRYPTO when it is not of this content or by somebody else; *e says which. */
int tb_cms_verify(const char *file, struct tb_span content, const char *signature_file,
                  const char *trusted_file, char *ret_signer, size_t cap,
                  struct tb_error *e) TB_CHECKED;
