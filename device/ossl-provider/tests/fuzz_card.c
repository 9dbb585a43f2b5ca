/* A hostile card behind the provider: its answers are the input, each with a length byte before it.
 * A key is loaded, a signature asked for, the card listed. A signature that is given is a good one
 * of the key in the reference. */
#include <assert.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <string.h>

#include "bed.h"
#include "tb/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int answer(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t rsp_cap) {
    struct tb_span *input = user, part;
    uint8_t n;

    (void)cmd;
    (void)cmd_len;
    if (!tb_take_u8(input, &n))
        return IOTSAFE_E_ABSENT;
    if (n > input->n)
        n = (uint8_t)input->n;
    if (n < 2 || n > rsp_cap || !tb_take(input, n, &part))
        return IOTSAFE_E_LINK;
    memcpy(rsp, part.p, part.n);
    return (int)part.n;
}

static void list(struct isp_bed *bed) {
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex("iotsafe:", bed->ctx, NULL, NULL, NULL, NULL, NULL, NULL);

    for (unsigned i = 0; store && i < 100 && !OSSL_STORE_eof(store); i++)
        OSSL_STORE_INFO_free(OSSL_STORE_load(store));
    OSSL_STORE_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct isp_bed *bed; /* stays reachable */
    static struct tb_span input;
    static EVP_PKEY *known;
    uint8_t sig[80];
    EVP_PKEY *key;

    if (!bed) {
        bed = isp_bed_new();
        bed->transmit = answer;
        bed->transmit_user = &input;
        known = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    }
    input = tb_span(data, size);
    if (size % 2) {
        /* the key is not this card's: whatever it answers, no signature is right */
        assert(isp_bed_sign_text(bed, known, "SHA256", "x", sig, sizeof sig) == 0);
    } else {
        key = isp_bed_load_ref(bed, "iotsafe:id=01", NULL);
        if (key)
            (void)isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig);
        EVP_PKEY_free(key);
    }
    list(bed);
    isp_bed_close_cards(bed);
    ERR_clear_error();
    return 0;
}
