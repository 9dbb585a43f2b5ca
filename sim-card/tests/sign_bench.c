/* What the engine adds to ECDSA: COMPUTE SIGNATURE INIT + UPDATE through card_transact() against
 * the same kind of key in a kept OpenSSL context. Prints; asserts nothing. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fixture.h"

enum { ROUNDS = 9, PER_ROUND = 2000 };

static double now_us(void) {
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double openssl_alone(EVP_PKEY_CTX *ctx) {
    uint8_t hash[32] = {1}, sig[80];
    double start = now_us();

    for (int i = 0; i < PER_ROUND; i++) {
        size_t n = sizeof sig;

        hash[0]++;
        if (EVP_PKEY_sign(ctx, sig, &n, hash, sizeof hash) <= 0)
            exit(1);
    }
    return (now_us() - start) / PER_ROUND;
}

static void transact(struct card *card, struct tb_span cmd, size_t want) {
    uint8_t rsp[TB_APDU_MAX_SHORT_RSP];
    struct tb_buf b = TB_BUF(rsp);

    if (card_transact(card, cmd, &b) < 0 || b.n != want)
        exit(1);
}

static double through_card(struct card *card) {
    static const uint8_t init[] = {0x81, 0x2A, 0x00, 0x01, 0x0D, 0x84, 0x01, 0x01, 0xA1,
                                   0x01, 0x03, 0x91, 0x02, 0x00, 0x01, 0x92, 0x01, 0x04};
    uint8_t update[7 + 32] = {0x81, 0x2B, 0x80, 0x01, 0x22, 0x9E, 0x20};
    double start = now_us();

    for (int i = 0; i < PER_ROUND; i++) {
        update[7]++;
        transact(card, tb_span(init, sizeof init), 2);
        transact(card, tb_span(update, sizeof update), 69);
    }
    return (now_us() - start) / PER_ROUND;
}

int main(void) {
    struct card_nvm *nvm;
    struct card *card = fx_card(NULL, &nvm);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    double best_alone = 1e9, best_card = 1e9;

    if (!ctx || EVP_PKEY_sign_init(ctx) <= 0)
        return 1;
    fx_run(card, "01A4040007A0000005590010");
    for (int i = 0; i < ROUNDS; i++) { /* taking turns, so that both see the same machine */
        double alone = openssl_alone(ctx), whole = through_card(card);

        best_alone = alone < best_alone ? alone : best_alone;
        best_card = whole < best_card ? whole : best_card;
    }
    printf("OpenSSL alone %.2f us, card INIT + UPDATE %.2f us, the engine's part %.2f us\n",
           best_alone, best_card, best_card - best_alone);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    card_free(card);
    card_nvm_free(nvm);
    return 0;
}
