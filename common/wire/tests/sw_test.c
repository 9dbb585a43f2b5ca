#include "tb/sw.h"

#include "wire_test.h"

static void every_status_word_has_a_text(void **state) {
    (void)state;

    for (unsigned sw = 0; sw <= 0xFFFF; sw++) {
        const char *text = tb_sw_text((uint16_t)sw);

        assert_non_null(text);
        assert_true(*text);
    }
}

static void says_what_a_status_word_means(void **state) {
    (void)state;

    assert_string_equal(tb_sw_text(0x9000), "success");
    assert_string_equal(tb_sw_text(0x6985), "conditions of use not satisfied");
    assert_string_equal(tb_sw_text(0x6D01), "signature does not match");
    assert_string_equal(tb_sw_text(0x6D00), "instruction not supported");
    assert_string_equal(tb_sw_text(0x63C3), "verification failed, tries remain");
    assert_string_equal(tb_sw_text(0x63CF), "success, remote administration completed meanwhile");
    assert_string_equal(tb_sw_text(0x6142), "more data available by GET RESPONSE");
    assert_string_equal(tb_sw_text(0x6C10), "wrong Le");
    assert_string_equal(tb_sw_text(0x69FF), "command not allowed");
    assert_string_equal(tb_sw_text(0x9124), "success, proactive command pending");
    assert_string_equal(tb_sw_text(0x1234), "unknown status word");
}

static void sorts_success_and_more(void **state) {
    (void)state;

    for (unsigned sw = 0; sw <= 0xFFFF; sw++) {
        unsigned sw1 = sw >> 8;

        assert_int_equal(tb_sw_more((uint16_t)sw), sw1 == 0x61 || sw1 == 0x9F);
        assert_int_equal(tb_sw_success((uint16_t)sw),
                         sw == 0x9000 || sw == 0x63CF || sw1 == 0x91 || sw1 == 0x92);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_word_has_a_text),
        cmocka_unit_test(says_what_a_status_word_means),
        cmocka_unit_test(sorts_success_and_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
