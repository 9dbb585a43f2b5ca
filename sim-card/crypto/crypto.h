#pragma once
/* The card's cryptography. Only the files of this folder see OpenSSL. Keys are parsed once and keep
 * their contexts, so that an operation costs what the mathematics costs. */
#include <stdbool.h>

#include "tb/error.h"
#include "tb/safe.h"
#include "tb/span.h"

enum card_key_kind { CARD_KEY_P256, CARD_KEY_BP256, CARD_KEY_RSA2048 };

enum {
    CARD_KEY_SCALAR = 32,        /* private EC key */
    CARD_KEY_PRIVATE_MAX = 1400, /* PKCS#1 RSAPrivateKey of 2048 bits */
    CARD_KEY_PUBLIC_MAX = 320,   /* SubjectPublicKeyInfo of RSA-2048: 294 */
    CARD_SIGNATURE_EC = 64,
    CARD_SIGNATURE_MAX = 256,
};

struct card_key;

/* Parses a private key: scalar of 32 bytes, or RSAPrivateKey DER. TB_EPARSE when it is not one of
 * that kind (scalar 0 or not below the order, modulus not of 2048 bits …), TB_ECRYPTO, TB_ENOMEM.
 */
int card_key_from_private(enum card_key_kind kind, struct tb_span value,
                          struct card_key **ret) TB_CHECKED;

/* Parses a public key: uncompressed point of 65 bytes that is on the curve; SubjectPublicKeyInfo or
 * RSAPublicKey DER of a 2048-bit modulus. Errors as above. */
int card_key_from_public(enum card_key_kind kind, struct tb_span value,
                         struct card_key **ret) TB_CHECKED;

int card_key_generate(enum card_key_kind kind, struct card_key **ret) TB_CHECKED;
void card_key_free(struct card_key *key); /* NULL is a no-op; wipes */

/* Appends what card_key_from_private() reads. */
int card_key_put_private(const struct card_key *key, struct tb_buf *out) TB_CHECKED;

/* Appends the point, or for RSA the SubjectPublicKeyInfo, or RSAPublicKey when pkcs1 is set. */
int card_key_put_public(const struct card_key *key, bool pkcs1, struct tb_buf *out) TB_CHECKED;

/* Signs a hash with alg (one of TB_SAFE_ECDSA, _RSA_PKCS1, _RSA_PSS). ECDSA appends r || s and
 * takes a digest of any length, leftmost bits first (SEC 1 4.1.3); RSA wants a digest as long as
 * hash (TB_SAFE_SHA…) makes it, PSS has MGF1 with the same hash and a salt of its length. TB_EUNSUP
 * when key and alg do not fit, TB_ERANGE for the digest's length. */
int card_key_sign(struct card_key *key, uint8_t alg, uint16_t hash, struct tb_span digest,
                  struct tb_buf *out) TB_CHECKED;

/* 1 when the signature is right, 0 when it is wrong; errors as above. ECDSA signatures are r || s.
 */
int card_key_verify(struct card_key *key, uint8_t alg, uint16_t hash, struct tb_span digest,
                    struct tb_span signature) TB_CHECKED;

/* spec: IEEE1363 ECKAS-DH1 the shared X coordinate, 32 bytes. TB_EUNSUP unless both are on one
 * curve. */
int card_key_agree(struct card_key *key, struct card_key *peer, uint8_t ret_z[32]) TB_CHECKED;

/* A PKCS#10 request for CN=common_name, signed with SHA-256. TB_ERANGE when the name does not suit.
 */
int card_key_csr(struct card_key *key, const char *common_name, struct tb_buf *out) TB_CHECKED;

/* The same with a subject (DER of a Name) and attributes (DER, [0] IMPLICIT SET OF; empty: none).
 * TB_EPARSE when they are not that. */
int card_key_csr_for(struct card_key *key, struct tb_span subject, struct tb_span attributes,
                     struct tb_buf *out) TB_CHECKED;

/* Hashing that can start in the middle: hash is one of TB_SAFE_SHA256, _SHA384, _SHA512. */
struct card_hash {
    uint16_t alg;
    uint64_t state[27]; /* OpenSSL's, see hash.c */
};

enum { CARD_HASH_MAX = 64 };

size_t card_hash_len(uint16_t alg);       /* 32, 48, 64; 0 for anything else */
size_t card_hash_block(uint16_t alg);     /* 64 or 128 */
size_t card_hash_state_len(uint16_t alg); /* of the compression function: 32 or 64 */
void card_hash_init(struct card_hash *h, uint16_t alg);
/* As if count bytes, whole blocks, had been hashed with that result. TB_ERANGE otherwise. */
int card_hash_resume(struct card_hash *h, uint16_t alg, struct tb_span state,
                     uint64_t count) TB_CHECKED;
void card_hash_update(struct card_hash *h, struct tb_span data);
size_t card_hash_final(struct card_hash *h, uint8_t ret[CARD_HASH_MAX]); /* its length */

/* spec: RFC5246 5 P_SHA256(secret, seed), n bytes appended; TB_ECRYPTO, TB_ESPACE. */
int card_prf_sha256(struct tb_span secret, struct tb_span seed, size_t n,
                    struct tb_buf *out) TB_CHECKED;

/* spec: RFC5869 2.2 HKDF-Extract, HashLen bytes appended. */
int card_hkdf_extract(uint16_t hash, struct tb_span salt, struct tb_span ikm,
                      struct tb_buf *out) TB_CHECKED;

/* spec: RFC4493 2.4 AES CMAC over blocks of any length. new: key of 16, 24 or 32 bytes, TB_ERANGE,
 * TB_ECRYPTO. */
struct card_cmac;
enum { CARD_CMAC_LEN = 16 };
int card_cmac_new(struct tb_span key, struct card_cmac **ret) TB_CHECKED;
int card_cmac_update(struct card_cmac *c, struct tb_span data) TB_CHECKED;
int card_cmac_final(struct card_cmac *c, struct tb_buf *out) TB_CHECKED;
void card_cmac_free(struct card_cmac *c); /* NULL is a no-op; wipes */

/* The same in one call, over the parts one after the other. */
int card_cmac(struct tb_span key, const struct tb_span *parts, size_t n,
              uint8_t ret[16]) TB_CHECKED;

/* CBC without padding, in.n a multiple of the block; out may be in's own memory. AES keys of 16, 24
 * or 32 bytes, DES of 16 (two keys) or 24. TB_ERANGE, TB_ECRYPTO. */
int card_aes_cbc(struct tb_span key, bool encrypt, const uint8_t iv[16], struct tb_span in,
                 uint8_t *out) TB_CHECKED;
int card_aes_block(struct tb_span key, const uint8_t in[16], uint8_t out[16]) TB_CHECKED;
int card_des_cbc(struct tb_span key, bool encrypt, const uint8_t iv[8], struct tb_span in,
                 uint8_t *out) TB_CHECKED;

/* spec: TS35206 4.1 Milenage. TB_ECRYPTO when the library fails, and then no output is touched. */
enum { CARD_MILENAGE_KEY = 16 };
struct card_milenage_keys {
    uint8_t k[CARD_MILENAGE_KEY], opc[CARD_MILENAGE_KEY];
};
struct card_milenage { /* f2, f3, f4, f5, f5* */
    uint8_t res[8], ck[16], ik[16], ak[6], ak_star[6];
};
int card_milenage_opc(const uint8_t k[CARD_MILENAGE_KEY], const uint8_t op[CARD_MILENAGE_KEY],
                      uint8_t ret_opc[CARD_MILENAGE_KEY]) TB_CHECKED;
int card_milenage(const struct card_milenage_keys *keys, const uint8_t rand[CARD_MILENAGE_KEY],
                  struct card_milenage *ret) TB_CHECKED;
/* f1 (MAC-A) and f1* (MAC-S); either may be NULL. */
int card_milenage_mac(const struct card_milenage_keys *keys, const uint8_t rand[CARD_MILENAGE_KEY],
                      const uint8_t sqn[6], const uint8_t amf[2], uint8_t ret_a[8],
                      uint8_t ret_s[8]) TB_CHECKED;

/* Compares secrets in a time that does not depend on them. */
bool card_equal(const void *a, const void *b, size_t n);

int card_random(struct tb_buf *out, size_t n) TB_CHECKED;
