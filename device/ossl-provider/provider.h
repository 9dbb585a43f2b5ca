#pragma once
/* What the files of the provider share. Functions that answer bool have raised an error when they
 * answer false; those that stand in OpenSSL's tables answer 1 and 0 as OpenSSL wants. */
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <stdbool.h>

#include "card.h"
#include "isp.h"
#include "ref.h"

struct isp_provider {
    const OSSL_CORE_HANDLE *core;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_LIB_CTX *bios; /* knows the core's BIOs, used for nothing else */
    OSSL_LIB_CTX
    *soft; /* only the default provider: public halves and digests; never comes back to us */
    OSSL_PROVIDER *soft_default;
    EVP_PKEY *p256; /* parameters of P-256 alone, for peers' keys; NULL without ecdhe */
    EVP_KDF *tls1_prf, *tls13_kdf; /* of soft; NULL without psk */
    bool p256_is_tls; /* libssl may ask for ephemeral keys by the group's common name */
    struct isp_config config;
    struct isp_card card;
};

/* For libcrypto's parameters that are not const but only read. */
#define ISP_UNCONST(p) ((void *)(uintptr_t)(p))

/* ---- errors (error.c) ---- */
enum isp_reason {
    ISP_R_CONFIG = 1,
    ISP_R_NO_TRANSPORT,
    ISP_R_TRANSPORT,
    ISP_R_LINK,
    ISP_R_TIMEOUT,
    ISP_R_NO_CARD,
    ISP_R_NO_APPLET,
    ISP_R_NOT_FOUND,
    ISP_R_CARD_REFUSED,
    ISP_R_CARD_ANSWER,
    ISP_R_ADMINISTRATION,
    ISP_R_MODEM_REFUSED,
    ISP_R_CARD_FAILED,
    ISP_R_URI,
    ISP_R_REFERENCE,
    ISP_R_KEY_TYPE,
    ISP_R_KEY_MISMATCH,
    ISP_R_DIGEST,
    ISP_R_BUFFER,
    ISP_R_STATE,
    ISP_R_SOFTWARE,
    ISP_R_BUSY,
    ISP_R_CONTAINERS,
    ISP_R_PSK,
};
extern const OSSL_ITEM isp_reason_strings[];

void isp_raise_at(const struct isp_provider *prov, const char *file, int line, const char *func,
                  enum isp_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* Puts an error into the thread's queue; fmt and what follows become its data. */
#define isp_raise(prov, reason, ...)                                                               \
    isp_raise_at((prov), __FILE__, __LINE__, __func__, (reason), __VA_ARGS__)

/* ---- keys (key.c) ---- */

/* What libssl calls the curve of the card's ephemeral keys in its requests (TLS-GROUP capability).
 * Any other name makes keys in software, so that "openssl req -newkey ec" gets one it can write. */
#define ISP_TLS_P256 "IOTSAFE-P-256"

enum isp_kind {
    ISP_EMPTY,     /* libcrypto made it and has not filled it */
    ISP_REFERENCE, /* private half in the card, named by uri; or its public half alone */
    ISP_EPHEMERAL, /* private half in the card, in a container of a handshake */
    ISP_PEER,      /* public P-256 key for the card to verify or agree with, or parameters only */
    ISP_SOFTWARE,  /* anything else that came here because this provider is preferred */
};

struct isp_key { /* shared by counting; does not change once it is filled, but for the slot of an
                    ephemeral key and what set_params() may change in a key without private half */
    struct isp_provider
        *prov; /* outlives the key: libcrypto holds the provider for each EVP_PKEY */
    enum isp_kind kind;
    struct isp_uri uri;
    EVP_PKEY *pub; /* public half, an ordinary key of prov->soft; SOFTWARE: all there is of it;
                      a PEER without point: the curve alone */
    bool secret;   /* stands for the private key too */
    bool has_public;
    bool has_point; /* a key on P-256, and this is it */
    uint8_t point[65];
    bool tls;            /* a key generated after this one is the card's */
    bool from_ref;       /* pub was not told by the card itself */
    atomic_bool checked; /* the card has proved once to hold the private half of pub */
    atomic_int slot_in_use;
    struct isp_slot slot;
    struct iotsafe_ref made; /* name of the private key in the slot */
    pthread_t maker;
    uint64_t age;
    atomic_int refs;
};

/* A key named by uri. spki: its SubjectPublicKeyInfo, or empty: asked from the card. NULL with an
 * error raised. */
struct isp_key *isp_key_new(struct isp_provider *prov, const struct isp_uri *uri,
                            struct tb_span spki, bool secret);
/* Of kind ISP_EMPTY. */
struct isp_key *isp_key_empty(struct isp_provider *prov);
/* Fills a key that is empty, or has no private half, with an ordinary one of prov->soft, which is
 * given to it. selection: OSSL_KEYMGMT_SELECT_…, what pkey has. */
void isp_key_fill(struct isp_key *key, EVP_PKEY *pkey, int selection);
/* A new key pair in the card; NULL with an error raised. answer: it is a TLS 1.2 client's, which
 * knows the server's key already. */
struct isp_key *isp_key_generate(struct isp_provider *prov, bool answer);
/* The curve of those, without a key. */
struct isp_key *isp_key_p256(struct isp_provider *prov);
struct isp_key *isp_key_ref(struct isp_key *key);
void isp_key_free(struct isp_key *key); /* NULL is a no-op */

/* DER signature over a digest of any length, by the card or, of a key in software, by that. out has
 * room for isp_key_max_signature(). */
bool isp_key_sign(struct isp_key *key, struct tb_span digest, struct tb_buf *out);
size_t isp_key_max_signature(const struct isp_key *key);
/* True for a good signature and nothing else. By the card when it verifies for everybody; when that
 * fails an error is raised. */
bool isp_key_verify(const struct isp_key *key, struct tb_span digest, struct tb_span sig);
/* Shared secret of an ephemeral key with a peer's; its container is free then. */
bool isp_key_agree(struct isp_key *key, const struct isp_key *peer, uint8_t ret_secret[32]);

/* An ordinary key of prov->soft; NULL when it is none, without an error raised. n 33 or 65 bytes
 * for curves of 256 bits, and so on. */
EVP_PKEY *isp_soft_public(struct isp_provider *prov, const char *group, const uint8_t *point,
                          size_t n);
/* From parameters as OSSL_FUNC_KEYMGMT_IMPORT has them, of which those of selection are wanted. */
EVP_PKEY *isp_soft_import(struct isp_provider *prov, int selection, const OSSL_PARAM params[]);

/* ---- pre-shared keys (psk.c) ---- */

/* What stands where a program has its pre-shared key: IOTSAFE:psk:06, IOTSAFE:psk:label=my%20key */
#define ISP_PSK_MAGIC "IOTSAFE:psk:"
bool isp_is_psk_handle(struct tb_span secret);
/* False with an error raised. */
bool isp_psk_parse(struct isp_provider *prov, struct tb_span secret, struct isp_uri *ret);

/* ---- tables ---- */
extern const OSSL_DISPATCH isp_keymgmt_functions[];
extern const OSSL_DISPATCH isp_keymgmt_offload_functions[];
extern const OSSL_DISPATCH isp_signature_functions[];
extern const OSSL_DISPATCH isp_keyexch_functions[];
extern const OSSL_DISPATCH isp_prf_functions[];
extern const OSSL_DISPATCH isp_tls13_kdf_functions[];
extern const OSSL_DISPATCH isp_rand_functions[];
extern const OSSL_DISPATCH isp_pem_decoder_functions[];
extern const OSSL_DISPATCH isp_der_decoder_functions[];
extern const OSSL_DISPATCH isp_store_functions[];

/* Passes key to libcrypto through cb as an object by reference; frees it when nobody takes it. */
int isp_key_hand_over(struct isp_key *key, OSSL_CALLBACK *cb, void *arg);
