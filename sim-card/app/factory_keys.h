#pragma once
/* Keys of a *.card file: made inside the card, or taken from a PEM file of a person. */
#include <openssl/evp.h>

#include "cardfile.h"

/* Puts the pair of a [key] onto the card. *ret_public: the public key, NULL for an empty container;
 * a new reference. */
int factory_key(const struct cardfile *f, const struct cardfile_entry *key, struct card_nvm *nvm,
                EVP_PKEY **ret_public, struct tb_error *e) TB_CHECKED;
/* Puts the pair of a [key] with copy_of onto the card, which is original's. */
int factory_copy(const struct cardfile *f, const struct cardfile_entry *key,
                 const struct cardfile_entry *original, struct card_nvm *nvm,
                 struct tb_error *e) TB_CHECKED;
/* The same for a [public]. */
int factory_public(const struct cardfile *f, const struct cardfile_entry *key, struct card_nvm *nvm,
                   EVP_PKEY **ret_public, struct tb_error *e) TB_CHECKED;

/* Fails with what went wrong while at was put onto the card: err is the core's code. */
int factory_refused(const struct cardfile *f, const struct cardfile_entry *at, int err,
                    struct tb_error *e);

/* What card_perso_object() takes as a private key: the scalar, or RSAPrivateKey: appended to out.
 */
int factory_private_bytes(EVP_PKEY *key, struct tb_buf *out) TB_CHECKED;

/* The point (65 bytes) of an EC key, the SubjectPublicKeyInfo of others: appended to out. */
int factory_public_bytes(EVP_PKEY *key, struct tb_buf *out) TB_CHECKED;

/* Name of the group of an EC key type. */
const char *factory_group(uint8_t type);
