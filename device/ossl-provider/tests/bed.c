#include "bed.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

static int acquire(void *user, void *card, const char *reader, struct iotsafe **ret, char *err,
                   size_t cap) {
    struct isp_bed *bed = user;
    size_t i = strcmp(reader, "b") == 0;
    struct iotsafe_transport *t;
    int r;

    (void)card;
    if (!i && reader[0]) {
        snprintf(err, cap, "no reader %s", reader);
        return IOTSAFE_E_ABSENT;
    }
    if (!bed->client[i]) {
        r = !i && bed->transmit ? iotsafe_transport_mem(bed->transmit, bed->transmit_user, &t)
                                : iotsafe_transport_mem(fake_card_transmit, &bed->card[i], &t);
        assert(r == 0);
        r = iotsafe_open(t, NULL, &bed->client[i]);
        assert(r == 0);
    }
    assert(bed->depth == 0);
    bed->depth++;
    *ret = bed->client[i];
    return 0;
}

static void release(void *user, struct iotsafe *client, int result) {
    struct isp_bed *bed = user;

    (void)client;
    bed->depth--;
    bed->last_result = result;
}

static int know_slots(struct isp_bed *bed, char *err, size_t cap) {
    struct iotsafe *c;
    int r;

    if (bed->slots_known)
        return 0;
    r = acquire(bed, NULL, "", &c, err, cap);
    if (r == 0) {
        r = iotsafe_slots_discover(c, &bed->slots);
        release(bed, c, r);
    }
    bed->slots_known = r == 0;
    if (r < 0)
        snprintf(err, cap, "GET DATA: %s", iotsafe_strerror(r));
    return r;
}

static int slot_take(void *user, struct isp_slot *ret, char *err, size_t cap) {
    struct isp_bed *bed = user;
    int r = know_slots(bed, err, cap);

    if (r == 0 && !iotsafe_slots_peer(&bed->slots))
        r = IOTSAFE_E_UNSUPPORTED;
    if (r == 0)
        r = iotsafe_slots_take(&bed->slots, &ret->own);
    if (r < 0) {
        snprintf(err, cap, "containers: %s", iotsafe_strerror(r));
        return r;
    }
    ret->peer = *iotsafe_slots_peer(&bed->slots);
    ret->card = bed;
    return 0;
}

static void slot_put(void *user, const struct isp_slot *slot) {
    struct isp_bed *bed = user;

    assert(slot->card == bed);
    iotsafe_slots_put(&bed->slots, &slot->own);
}

static int verifier(void *user, struct iotsafe_ref *ret, char *err, size_t cap) {
    struct isp_bed *bed = user;
    int r = know_slots(bed, err, cap);

    if (r == 0 && !iotsafe_slots_verifier(&bed->slots)) {
        snprintf(err, cap, "no container");
        r = IOTSAFE_E_UNSUPPORTED;
    }
    if (r == 0)
        *ret = *iotsafe_slots_verifier(&bed->slots);
    return r;
}

static int random_bytes(void *user, uint8_t *buf, size_t n, char *err, size_t cap) {
    struct isp_bed *bed = user;
    struct iotsafe *c;
    int r = acquire(bed, NULL, "", &c, err, cap);

    bed->seeds++;
    if (r == 0) {
        r = iotsafe_random(c, buf, n);
        release(bed, c, r);
    }
    if (r < 0)
        snprintf(err, cap, "%s", iotsafe_strerror(r));
    return r;
}

struct isp_bed *isp_bed_new(void) {
    return isp_bed_new_offload(NULL);
}

struct isp_bed *isp_bed_new_offload(const char *tokens) {
    struct isp_bed *bed = calloc(1, sizeof *bed);
    const struct isp_host host = {.acquire = acquire,
                                  .release = release,
                                  .slot_take = slot_take,
                                  .slot_put = slot_put,
                                  .verifier = verifier,
                                  .random = random_bytes,
                                  .user = bed,
                                  .offload = tokens};
    int ok;

    assert(bed);
    fake_card_init(&bed->card[0], "card a");
    fake_card_init(&bed->card[1], "card b");
    isp_set_host(&host);
    bed->ctx = OSSL_LIB_CTX_new();
    ok = OSSL_PROVIDER_add_builtin(bed->ctx, "iotsafe", isp_provider_init);
    assert(ok);
    bed->def = OSSL_PROVIDER_load(bed->ctx, "default");
    bed->iot = OSSL_PROVIDER_load(bed->ctx, "iotsafe");
    assert(bed->def && bed->iot);
    bed->offload = tokens;
    if (tokens)
        ok = EVP_set_default_properties(bed->ctx, "?iotsafe.offload=yes");
    assert(ok);
    return bed;
}

void isp_bed_close_cards(struct isp_bed *bed) {
    for (size_t i = 0; i < 2; i++) {
        iotsafe_close(bed->client[i]);
        bed->client[i] = NULL;
    }
}

void isp_bed_free(struct isp_bed *bed) {
    OSSL_PROVIDER_unload(bed->iot);
    OSSL_PROVIDER_unload(bed->def);
    OSSL_LIB_CTX_free(bed->ctx);
    isp_bed_close_cards(bed);
    for (size_t i = 0; i < 2; i++)
        fake_card_done(&bed->card[i]);
    ERR_clear_error();
    free(bed);
}

size_t isp_bed_reference(const char *uri, EVP_PKEY *pub, char *pem, size_t cap) {
    uint8_t room[ISP_REFERENCE_MAX];
    struct tb_buf der = TB_BUF(room);
    unsigned char *spki = NULL;
    int n = pub ? i2d_PUBKEY(pub, &spki) : 0;
    BIO *bio = BIO_new(BIO_s_mem());
    long len;
    char *p;

    isp_reference_put(&der, tb_span_str(uri), tb_span(spki, (size_t)n));
    OPENSSL_free(spki);
    assert(bio && PEM_write_bio(bio, ISP_PEM_LABEL, "", room, (long)der.n) > 0);
    len = BIO_get_mem_data(bio, &p);
    assert(len > 0 && (size_t)len < cap);
    memcpy(pem, p, (size_t)len);
    pem[len] = 0;
    BIO_free(bio);
    return (size_t)len;
}

EVP_PKEY *isp_bed_load_pem(struct isp_bed *bed, const char *pem) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, bed->ctx, NULL);

    BIO_free(bio);
    return key;
}

EVP_PKEY *isp_bed_load_ref(struct isp_bed *bed, const char *uri, EVP_PKEY *pub) {
    char pem[2048];

    isp_bed_reference(uri, pub, pem, sizeof pem);
    return isp_bed_load_pem(bed, pem);
}

size_t isp_bed_sign_text(struct isp_bed *bed, EVP_PKEY *key, const char *md, const char *text,
                         uint8_t *sig, size_t cap) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = cap;

    if (!ctx || EVP_DigestSignInit_ex(ctx, NULL, md, bed->ctx, NULL, key, NULL) <= 0 ||
        EVP_DigestSign(ctx, sig, &n, (const uint8_t *)text, strlen(text)) <= 0)
        n = 0;
    EVP_MD_CTX_free(ctx);
    return n;
}
