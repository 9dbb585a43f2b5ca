/* Handshakes with the k-th allocation of the client failing, for k = 1, 2, … until none fails any
 * more: Mbed TLS and the binding return it, nothing leaks (a sanitizer looks), the card's
 * containers are free. */
#include "bed.h"

#include <stdlib.h>
#include <string.h>

static long countdown = -1; /* allocations until one fails; -1: none does */

void *__real_calloc(size_t n, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool fails(void) {
    return bed_in_client && countdown >= 0 && countdown-- == 0;
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size) {
    return fails() ? NULL : __real_realloc(p, size);
}

static void configure(struct bed *bed, struct bed_card *card, const struct bed_options *o) {
    long k = 0;
    int r;

    do {
        countdown = k++;
        r = bed_init(bed, card, o);
        if (r == 0 && countdown >= 0)
            break;
        if (r == 0) /* it could do without */
            bed_done(bed);
    } while (k < 100000);
    countdown = -1;
    assert_true(k > 3);
}

/* Mbed TLS 3.6.6 itself forgets one of its keys when there is no memory for the second of a record
 * layer's two, in TLS 1.3 (mbedtls_ssl_tls13_populate_transform()): two allocations each, for the
 * handshake's keys and for the application's. */
enum { LOST_BY_LIBRARY = 4 };

static void connect_always(struct bed *bed) {
    mbedtls_psa_stats_t before, after;
    struct bed_result r;
    long k = 0;

    mbedtls_psa_get_stats(&before);
    do {
        countdown = k++;
        r = bed_connect(bed);
        assert_int_equal(r.slots_held, 0);
        assert_true(r.client != 0 || r.server);
    } while (countdown < 0 && k < 100000);
    countdown = -1;
    mbedtls_psa_get_stats(&after);
    assert_in_range(after.MBEDTLS_PRIVATE(volatile_slots), before.MBEDTLS_PRIVATE(volatile_slots),
                    before.MBEDTLS_PRIVATE(volatile_slots) +
                        (bed->o.version == TLS1_3_VERSION ? LOST_BY_LIBRARY : 0));
    assert_int_equal(r.client, 0);
    assert_true(k > 200);
}

static void torture(const struct bed_options *o) {
    struct bed_card card;
    struct bed bed;

    bed_card_init(&card);
    configure(&bed, &card, o);
    connect_always(&bed);
    bed_done(&bed);
    bed_card_done(&card);
}

enum { FULL = IOTSAFE_PSA_ECDHE | IOTSAFE_PSA_DERIVE | IOTSAFE_PSA_VERIFY | IOTSAFE_PSA_RANDOM };

static void certificates(void **state) {
    (void)state;
    torture(&(struct bed_options){.version = TLS1_3_VERSION, .offload = FULL});
    torture(&(struct bed_options){.version = TLS1_2_VERSION, .no_ems = true, .offload = FULL});
}

static void pre_shared_keys(void **state) {
    (void)state;
    torture(&(struct bed_options){.version = TLS1_3_VERSION, .psk = true, .offload = FULL});
    torture(&(struct bed_options){
        .version = TLS1_2_VERSION, .no_ems = true, .psk = true, .offload = FULL});
}

static int setup(void **state) {
    (void)state;
    return psa_crypto_init() == PSA_SUCCESS ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates),
        cmocka_unit_test(pre_shared_keys),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
