#include <stdio.h>

#include "sim/t0.h"
#include "tb/hex.h"
#include "tb/test.h"

static struct t0_hold hold;

static int reset(void **state) {
    (void)state;
    hold = (struct t0_hold){0};
    return 0;
}

static struct tb_span hex(const char *text, uint8_t *mem, size_t cap) {
    struct tb_buf b = tb_buf(mem, cap);

    assert_int_equal(tb_hex_decode_loose(tb_span_str(text), &b), 0);
    return tb_buf_span(&b);
}

/* What the TE sees when the card answers rsp to cmd; NULL when the card must not be asked. */
static void exchange(const char *cmd, const char *rsp, const char *seen) {
    uint8_t c[512], r[512], out[512];
    struct tb_buf b = TB_BUF(out);
    struct tb_span command = hex(cmd, c, sizeof c);
    char text[1100];
    bool local = t0_before(&hold, command, &b);

    assert_int_equal(local, rsp == NULL);
    if (rsp)
        t0_after(&hold, command, hex(rsp, r, sizeof r), &b);
    assert_true(tb_buf_ok(&b));
    assert_string_equal(tb_hex_str(text, sizeof text, tb_buf_span(&b)), seen);
}

static void case_4_has_to_be_fetched(void **state) {
    (void)state;
    exchange("81CB000003840101 00", "AABBCC 9000", "6103"); /* with Le */
    exchange("01C0000003", NULL, "AABBCC9000");
    exchange("81CB000003840101", "AABBCC 9000", "6103"); /* without */
    exchange("01C0000000", NULL, "AABBCC9000");
    exchange("01C0000000", "6985", "6985"); /* nothing is held any more */
}

static void parts_are_announced(void **state) {
    (void)state;
    exchange("81CB000003840101", "0102030405 9000", "6105");
    exchange("01C0000002", NULL, "01026103");
    exchange("01C0000003", NULL, "0304059000");
}

static void whole_256_bytes_are_6100(void **state) {
    char rsp[520];

    (void)state;
    snprintf(rsp, sizeof rsp, "%0512d9000", 0);
    exchange("81CB000003840101", rsp, "6100");
}

static void another_command_discards(void **state) {
    (void)state;
    exchange("81CB000003840101", "AABBCC 9000", "6103");
    exchange("81CB000003840102", "DD 9000", "6101");
    exchange("01C0000001", NULL, "DD9000");
}

static void wrong_le_is_corrected_without_running_twice(void **state) {
    (void)state;
    exchange("8184000000", "AABBCC 9000", "6C03");
    exchange("8184000003", NULL, "AABBCC9000");
    exchange("8184000003", "DDEEFF 9000", "DDEEFF9000"); /* right Le: as it is */
    exchange("8184000000", "AABB 9000", "6C02");
    exchange("8184000103", "112233 9000",
             "1122339000"); /* another command: the held answer is gone */
}

/* atsign opens with Le 00 and, on SIMs whose 61xx it sees, gets the number at once. */
static void a_channel_is_opened_with_any_le(void **state) {
    (void)state;
    exchange("0070000000", "01 9000", "019000");
    exchange("0070000001", "02 9000", "029000");
    exchange("0070000003", "03 9000", "6C01");
}

static void status_words_are_kept(void **state) {
    (void)state;
    exchange("00A4040007A0000005590010", "6F00 9110", "6102");
    exchange("00C0000002", NULL, "6F009110");
    exchange("00B0000020", "0102 6282", "01026282"); /* a warning with less data is no wrong Le */
    exchange("00A4040007A0000005590010", "6A82", "6A82");
    exchange("0070800100", "9000", "9000");
}

static void what_the_card_does_itself_stays(void **state) {
    (void)state;
    exchange("81CB000003840101", "6110", "6110");
    exchange("01C0000010", "00112233 9000", "001122339000"); /* its GET RESPONSE goes to the card */
    exchange("8184000000", "6C20", "6C20");
}

static void extended_and_malformed_pass(void **state) {
    (void)state;
    exchange("00B00000000100", "AABB 9000", "AABB9000");
    exchange("00B000000A01", "AABB 9000", "AABB9000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_4_has_to_be_fetched, reset),
        cmocka_unit_test_setup(parts_are_announced, reset),
        cmocka_unit_test_setup(whole_256_bytes_are_6100, reset),
        cmocka_unit_test_setup(another_command_discards, reset),
        cmocka_unit_test_setup(wrong_le_is_corrected_without_running_twice, reset),
        cmocka_unit_test_setup(a_channel_is_opened_with_any_le, reset),
        cmocka_unit_test_setup(status_words_are_kept, reset),
        cmocka_unit_test_setup(what_the_card_does_itself_stays, reset),
        cmocka_unit_test_setup(extended_and_malformed_pass, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
