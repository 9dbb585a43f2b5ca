#include "tb/vpcd.h"

#include "wire_test.h"

static void takes_frames_that_came_together(void **state) {
    struct tb_span in = TB_BYTES(0, 1, 2, 0, 1, 4, 0, 4, 0, 0xA4, 4, 0, 0, 0), body;
    (void)state;

    assert_int_equal(tb_vpcd_next(&in, &body), 1);
    assert_span_equal(body, TB_BYTES(TB_VPCD_RESET));
    assert_int_equal(tb_vpcd_next(&in, &body), 1);
    assert_span_equal(body, TB_BYTES(TB_VPCD_GET_ATR));
    assert_int_equal(tb_vpcd_next(&in, &body), 1);
    assert_span_equal(body, TB_BYTES(0x00, 0xA4, 0x04, 0x00));
    assert_int_equal(tb_vpcd_next(&in, &body), 1);
    assert_int_equal(body.n, 0);
    assert_int_equal(tb_vpcd_next(&in, &body), 0);
}

static void waits_for_the_whole_frame(void **state) {
    const struct tb_span whole = TB_BYTES(0, 5, 1, 2, 3, 4, 5);
    (void)state;

    for (size_t n = 0; n < whole.n; n++) {
        struct tb_span copy = exact(tb_span_sub(whole, 0, n)), in = copy, before = in;
        struct tb_span body = tb_span("x", 1), body_before = body;

        assert_int_equal(tb_vpcd_next(&in, &body), 0);
        assert_memory_equal(&in, &before, sizeof in);
        assert_memory_equal(&body, &body_before, sizeof body);
        free_exact(copy);
    }
}

static void carries_every_size_up_to_the_maximum(void **state) {
    static uint8_t body[TB_VPCD_MAX + 1], room[TB_VPCD_HEADER + TB_VPCD_MAX + 1];
    static const size_t sizes[] = {0, 1, 2, 0xFF, 0x100, TB_VPCD_MAX};
    struct rng rng = rng_init();
    (void)state;

    rng_fill(&rng, body, sizeof body);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tb_buf b = TB_BUF(room);
        struct tb_span in, back;

        tb_put_vpcd(&b, tb_span(body, sizes[i]));
        assert_true(tb_buf_ok(&b));
        in = tb_buf_span(&b);
        assert_int_equal(tb_vpcd_next(&in, &back), 1);
        assert_span_equal(back, tb_span(body, sizes[i]));
        assert_int_equal(in.n, 0);
    }
}

static void overflows_for_bodies_too_long(void **state) {
    static uint8_t body[TB_VPCD_MAX + 1], room[TB_VPCD_HEADER + TB_VPCD_MAX + 1];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_vpcd(&b, tb_span(body, sizeof body));
    assert_false(tb_buf_ok(&b));
    b = tb_buf(room, 4);
    tb_put_vpcd(&b, tb_span(body, 3));
    assert_false(tb_buf_ok(&b));
    assert_int_equal(b.n, 0); /* no header without its body */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_frames_that_came_together),
        cmocka_unit_test(waits_for_the_whole_frame),
        cmocka_unit_test(carries_every_size_up_to_the_maximum),
        cmocka_unit_test(overflows_for_bodies_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
