/* Many handshakes with everything from the card: memory and containers are where they were. The
 * number of handshakes is the argument; sanitizers look for themselves. */
#include "tb/test.h"

#include <malloc.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "bed.h"
#include "tls.h"

enum {
    WARM = 500,
    SLACK = 48 * 1024
}; /* bytes, of caches and fragments: less than an object each */

static int handshakes = 1000;

static void many_handshakes_leave_nothing(void **state) {
    struct isp_bed *bed = isp_bed_new_offload("ecdhe,verify,psk,random");
    struct tls_setup with[4];
    struct tls_pki pki;
    size_t before = 0;
    EVP_PKEY *key;
    X509 *cert;

    (void)state;
    assert_int_equal(RAND_set_seed_source_type(bed->ctx, "IOTSAFE-SEED", NULL), 1);
    tls_pki_init(&pki, "P-256");
    key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    cert = tls_pki_issue(&pki, bed->card[0].key, "device");
    with[0] = (struct tls_setup){
        .ctx = bed->ctx, .pki = &pki, .version = TLS1_3_VERSION, .key = key, .cert = cert};
    with[1] = (struct tls_setup){.ctx = bed->ctx,
                                 .version = TLS1_2_VERSION,
                                 .ciphers = "PSK-AES128-GCM-SHA256",
                                 .psk = "IOTSAFE:psk:06",
                                 .server_psk = bed->card[0].psk,
                                 .server_psk_len = FAKE_PSK_LEN};
    with[2] = with[1];
    with[2].version = TLS1_3_VERSION;
    with[2].ciphers = "TLS_AES_128_GCM_SHA256";
    with[3] = with[0];
    with[3].version = DTLS1_2_VERSION;
    for (int i = 0; i < handshakes + WARM; i++) {
        if (i == WARM)
            before = mallinfo2().uordblks;
        if (i % 50 == 7) { /* now and then one that fails */
            bed->card[0].fail_ins = (uint8_t[]){0x46, 0x2D, 0x2B, 0xB9}[i / 50 % 4];
            bed->card[0].fail_sw = 0x6F00;
            (void)tls_shake(&with[i / 50 % 4]);
            bed->card[0].fail_sw = 0;
        } else if (!tls_shake(&with[i % 4])) {
            ERR_print_errors_fp(stderr);
            fail_msg("handshake %d", i);
        }
        ERR_clear_error();
    }
    assert_in_range(mallinfo2().uordblks, 0, before + SLACK);
    assert_int_equal(bed->slots.taken, 0);
    assert_int_equal(bed->card[0].opens, 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    tls_pki_done(&pki);
    isp_bed_free(bed);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_handshakes_leave_nothing)};

    if (argc > 1)
        handshakes = (int)strtol(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
