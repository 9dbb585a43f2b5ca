#include "tb/span.h"

#include "wire_test.h"

static void takes_from_the_front_or_changes_nothing(void **state) {
    struct tb_span in = TB_BYTES(1, 2, 3, 4, 5, 6, 7, 8, 9), head = TB_SPAN_NONE, before;
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    (void)state;

    assert_true(tb_take(&in, 2, &head));
    assert_span_equal(head, TB_BYTES(1, 2));
    assert_true(tb_take_u8(&in, &u8));
    assert_int_equal(u8, 3);
    assert_true(tb_take_be16(&in, &u16));
    assert_int_equal(u16, 0x0405);
    assert_true(tb_take_be(&in, 3, &u32));
    assert_int_equal(u32, 0x060708);
    before = in;
    assert_false(tb_take(&in, 2, &head));
    assert_false(tb_take_be16(&in, &u16));
    assert_false(tb_take_be(&in, 2, &u32));
    assert_false(tb_take_be(&in, 0, &u32));
    assert_false(tb_take_be(&in, 5, &u32));
    assert_memory_equal(&in, &before, sizeof in);
    assert_int_equal(u16, 0x0405);
    assert_int_equal(u32, 0x060708);
    assert_true(tb_take_u8(&in, &u8));
    assert_false(tb_take_u8(&in, &u8));
    assert_int_equal(u8, 9);
    assert_true(tb_take(&in, 0, &head));
    assert_int_equal(head.n, 0);
}

static void takes_nothing_from_nothing(void **state) {
    struct tb_span none = TB_SPAN_NONE, head;
    (void)state;

    assert_true(tb_take(&none, 0, &head));
    assert_false(tb_take(&none, 1, &head));
    assert_int_equal(tb_span_sub(none, 3, 4).n, 0);
    assert_true(tb_span_eq(none, tb_span("", 0)));
    assert_true(tb_span_starts(tb_span_str("x"), none));
}

static void compares_and_clips(void **state) {
    const struct tb_span s = tb_span_str("abcdef");
    (void)state;

    assert_true(tb_span_eq(tb_span_sub(s, 2, 2), tb_span_str("cd")));
    assert_true(tb_span_eq(tb_span_sub(s, 4, SIZE_MAX), tb_span_str("ef")));
    assert_int_equal(tb_span_sub(s, 7, 1).n, 0);
    assert_false(tb_span_eq(s, tb_span_str("abcdeg")));
    assert_false(tb_span_eq(s, tb_span_str("abcde")));
    assert_true(tb_span_starts(s, tb_span_str("abc")));
    assert_false(tb_span_starts(s, tb_span_str("abd")));
    assert_false(tb_span_starts(tb_span_str("ab"), tb_span_str("abc")));
}

static void puts_until_full_and_stays_overflowed(void **state) {
    uint8_t room[8];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_u8(&b, 1);
    tb_put_be16(&b, 0x0203);
    tb_put_be(&b, 3, 0xFF040506);
    tb_put(&b, TB_BYTES(7));
    assert_span_equal(tb_buf_span(&b), TB_BYTES(1, 2, 3, 4, 5, 6, 7));
    tb_put_be16(&b, 0);
    assert_false(tb_buf_ok(&b));
    tb_put_u8(&b, 8); /* would fit, but the contents are broken already */
    assert_false(tb_buf_ok(&b));
    assert_int_equal(b.n, 7);
    assert_null(tb_put_room(&b, 0));
}

static void room_cannot_wrap_around(void **state) {
    uint8_t room[8];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_u8(&b, 1);
    assert_null(tb_put_room(&b, SIZE_MAX));
    assert_false(tb_buf_ok(&b));
}

static void wipes_and_accepts_nothing(void **state) {
    uint8_t secret[] = {1, 2, 3, 4};
    (void)state;

    tb_wipe(secret, 3);
    assert_span_equal(tb_span(secret, 4), TB_BYTES(0, 0, 0, 4));
    tb_wipe(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_from_the_front_or_changes_nothing),
        cmocka_unit_test(takes_nothing_from_nothing),
        cmocka_unit_test(compares_and_clips),
        cmocka_unit_test(puts_until_full_and_stays_overflowed),
        cmocka_unit_test(room_cannot_wrap_around),
        cmocka_unit_test(wipes_and_accepts_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
