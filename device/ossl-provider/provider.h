#pragma once
/* What the files of the provider share. Functions that answer bool have raised an error when they
 * answer false; those that stand in OpenSSL's tables answer 1 and 0 as OpenSSL wants. */
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/evp.h>
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
    struct isp_config config;
    struct isp_card card;
};

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
};
extern const OSSL_ITEM isp_reason_strings[];

void isp_raise_at(const struct isp_provider *prov, const char *file, int line, const char *func,
                  enum isp_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* Puts an error into the thread's queue; fmt and what follows become its data. */
#define isp_raise(prov, reason, ...)                                                               \
    isp_raise_at((prov), __FILE__, __LINE__, __func__, (reason), __VA_ARGS__)

/* ---- keys (key.c) ---- */
struct isp_key { /* never changes after isp_key_new(), so it is shared by counting; pub is NULL in
                    one that libcrypto made and filled with nothing */
    struct isp_provider
        *prov; /* outlives the key: libcrypto holds the provider for each EVP_PKEY */
    struct isp_uri uri;
    EVP_PKEY *pub;       /* public half, an ordinary key of prov->soft */
    bool secret;         /* stands for the private key too */
    bool from_ref;       /* pub was not told by the card itself */
    atomic_bool checked; /* the card has proved once to hold the private half of pub */
    atomic_int refs;
};

/* A key named by uri. spki: its SubjectPublicKeyInfo, or empty: asked from the card. NULL with an
 * error raised. */
struct isp_key *isp_key_new(struct isp_provider *prov, const struct isp_uri *uri,
                            struct tb_span spki, bool secret);
struct isp_key *isp_key_ref(struct isp_key *key);
void isp_key_free(struct isp_key *key); /* NULL is a no-op */

/* DER ECDSA-Sig-Value over a digest of any length, made by the card: cap is at least
 * TB_ECDSA_DER_MAX_256. */
bool isp_key_sign(struct isp_key *key, struct tb_span digest, struct tb_buf *out);
/* 1 good, 0 bad, in software with the public half. */
int isp_key_verify(const struct isp_key *key, struct tb_span digest, struct tb_span sig);

/* ---- tables ---- */
extern const OSSL_DISPATCH isp_keymgmt_functions[];
extern const OSSL_DISPATCH isp_signature_functions[];
extern const OSSL_DISPATCH isp_pem_decoder_functions[];
extern const OSSL_DISPATCH isp_der_decoder_functions[];
extern const OSSL_DISPATCH isp_store_functions[];

/* Passes key to libcrypto through cb as an object by reference; frees it when nobody takes it. */
int isp_key_hand_over(struct isp_key *key, OSSL_CALLBACK *cb, void *arg);
