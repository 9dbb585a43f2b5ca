/* ENVELOPE with a short message: over the basic channel, sent once, every status word passed on. */
#include <stdio.h>

#include "script.h"

#define TPDU     "44 04 81 2143 7FF6 00000000000000 03 027000"
#define ENVELOPE "80 C2 00 00 1A D1 18 82 02 83 81 8B 12 " TPDU

struct result {
    int r;
    uint16_t sw;
    size_t n;
    uint8_t data[300];
};

static struct result download(const struct exchange *exchanges, const struct iotsafe_options *opt,
                              unsigned flags) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, opt, flags);
    struct result got = {.sw = 0xEEEE};
    uint8_t tpdu[64];
    size_t n = unhex(TPDU, tpdu, sizeof tpdu);

    got.r = iotsafe_sms_download(c, tpdu, n, got.data, sizeof got.data, &got.n, &got.sw);
    script_close(c, &script);
    return got;
}

static void needs_no_application(void **state) {
    const struct exchange x[] = {{ENVELOPE, "9000"}, {0}};
    struct result got = download(x, NULL, 0);

    (void)state;
    assert_int_equal(got.r, 0);
    assert_int_equal(got.sw, 0x9000);
    assert_int_equal(got.n, 0);
}

static void fetches_the_proof_of_receipt_on_the_basic_channel(void **state) {
    const struct exchange x[] = {{ENVELOPE, "6103"}, {"00 C0 00 00 03", "027100 9000"}, {0}};
    struct result got = download(x, NULL, 0);

    (void)state;
    assert_int_equal(got.r, 0);
    assert_int_equal(got.sw, 0x9000);
    assert_hex(got.data, got.n, "027100");
}

static void has_le_where_the_link_wants_it(void **state) {
    const struct exchange x[] = {{ENVELOPE "00", "027100 9110"}, {0}};
    struct result got = download(x, NULL, IOTSAFE_TRANSPORT_LE);

    (void)state;
    assert_int_equal(got.r, 0);
    assert_int_equal(got.sw, 0x9110);
    assert_hex(got.data, got.n, "027100");
}

static void opens_the_application_where_the_channel_is_the_links(void **state) {
    const struct exchange x[] = {
        {"00 A4 04 00 07 A0000005590010", "9000"}, {ENVELOPE, "9000"}, {0}};
    struct result got = download(x, NULL, IOTSAFE_TRANSPORT_OWNS_CHANNEL);

    (void)state;
    assert_int_equal(got.r, 0);
}

static void passes_on_every_refusal(void **state) {
    static const uint16_t all[] = {0x9300, 0x6200, 0x6A80, 0x6A84, 0x6F00, 0x6985, 0x6E00, 0x6D00};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[5];
        const struct exchange x[] = {{ENVELOPE, text}, {0}};
        struct result got;

        snprintf(text, sizeof text, "%04X", all[i]);
        got = download(x, NULL, 0);
        assert_int_equal(got.r, 0);
        assert_int_equal(got.sw, all[i]);
    }
}

/* Carried out or not: whoever sends secured packets knows how to find out, by the counter. */
static void is_not_sent_twice(void **state) {
    const struct exchange lost[] = {{ENVELOPE, "LINK"}, {0}};
    const struct exchange reset[] = {{ENVELOPE, "RESET"}, {ENVELOPE, "9000"}, {0}};

    (void)state;
    assert_int_equal(download(lost, NULL, 0).r, IOTSAFE_E_LINK);
    assert_int_equal(download(reset, NULL, 0).r, 0);
}

static void refuses_what_no_short_message_is(void **state) {
    const struct exchange x[] = {{0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t tpdu[241] = {0}, data[8];
    uint16_t sw = 0;
    size_t n = 0;

    (void)state;
    assert_int_equal(iotsafe_sms_download(c, tpdu, 0, data, sizeof data, &n, &sw),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sms_download(c, tpdu, sizeof tpdu, data, sizeof data, &n, &sw),
                     IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_no_application),
        cmocka_unit_test(fetches_the_proof_of_receipt_on_the_basic_channel),
        cmocka_unit_test(has_le_where_the_link_wants_it),
        cmocka_unit_test(opens_the_application_where_the_channel_is_the_links),
        cmocka_unit_test(passes_on_every_refusal),
        cmocka_unit_test(is_not_sent_twice),
        cmocka_unit_test(refuses_what_no_short_message_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
