#pragma once
/* The provider linked in, with two cards in memory behind it: readers "" and "b". */
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdbool.h>

#include "fake_card.h"
#include "iotsafe/slots.h"
#include "isp.h"

struct isp_bed {
    OSSL_LIB_CTX *ctx;
    OSSL_PROVIDER *def, *iot;
    struct fake_card card[2];
    struct iotsafe_slots slots; /* of reader "" */
    bool slots_known;
    const char *offload;      /* what the provider was told */
    unsigned seeds;           /* requests for random */
    iotsafe_mem_fn *transmit; /* instead of the fake cards, for reader ""; NULL: none */
    void *transmit_user;
    struct iotsafe *client[2];
    int depth, last_result;
};

/* Aborts when anything fails. */
struct isp_bed *isp_bed_new(void);
/* With offload of these tokens, "" for none, and the property that prefers it. */
struct isp_bed *isp_bed_new_offload(const char *tokens);
void isp_bed_free(struct isp_bed *bed);
/* Forgets the clients: the next operation opens the card anew. */
void isp_bed_close_cards(struct isp_bed *bed);

/* A PEM reference into pem[cap], with NUL; its length. pub NULL: without the public key. */
size_t isp_bed_reference(const char *uri, EVP_PKEY *pub, char *pem, size_t cap);
EVP_PKEY *isp_bed_load_pem(struct isp_bed *bed, const char *pem);
EVP_PKEY *isp_bed_load_ref(struct isp_bed *bed, const char *uri, EVP_PKEY *pub);
/* A signature over text; md NULL: the key's default digest. 0 when it fails. */
size_t isp_bed_sign_text(struct isp_bed *bed, EVP_PKEY *key, const char *md, const char *text,
                         uint8_t *sig, size_t cap);
