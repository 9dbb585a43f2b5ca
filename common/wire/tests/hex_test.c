#include "wire_test.h"

static void writes_every_byte_in_both_cases(void **state) {
    (void)state;

    for (unsigned v = 0; v < 256; v++) {
        const uint8_t byte = (uint8_t)v;
        char upper[3], lower[3];
        uint8_t room[2];
        struct tb_buf b = TB_BUF(room);

        snprintf(upper, sizeof upper, "%02X", v);
        snprintf(lower, sizeof lower, "%02x", v);
        tb_put_hex(&b, tb_span(&byte, 1), TB_HEX_UPPER);
        assert_span_equal(tb_buf_span(&b), tb_span_str(upper));
        b = TB_BUF(room);
        tb_put_hex(&b, tb_span(&byte, 1), TB_HEX_LOWER);
        assert_span_equal(tb_buf_span(&b), tb_span_str(lower));
    }
}

static void writes_nothing_when_it_does_not_fit(void **state) {
    uint8_t room[5];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_hex(&b, TB_BYTES(1, 2, 3), TB_HEX_UPPER);
    assert_false(tb_buf_ok(&b));
    assert_int_equal(b.n, 0);
    b = TB_BUF(room);
    tb_put_hex(&b, tb_span(room, SIZE_MAX / 2 + 2), TB_HEX_UPPER); /* twice that wraps to 2 */
    assert_false(tb_buf_ok(&b));
    assert_int_equal(b.n, 0);
}

static bool is_hex_digit(unsigned c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

static void decodes_digits_and_nothing_else(void **state) {
    (void)state;

    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 4; at++) {
            uint8_t text[4] = {'1', 'f', 'A', '0'}, room[4] = {0x77, 0, 0, 0};
            struct tb_buf b = tb_buf(room, sizeof room), before;

            b.n = 1; /* appends */
            before = b;
            text[at] = (uint8_t)c;
            if (is_hex_digit(c)) {
                char two[5] = {(char)text[0], (char)text[1], (char)text[2], (char)text[3], 0};

                assert_int_equal(tb_hex_decode(tb_span(text, 4), &b), 0);
                assert_int_equal(b.n, 3);
                assert_int_equal(room[0], 0x77);
                assert_int_equal(room[1] << 8 | room[2], strtoul(two, NULL, 16));
            } else {
                assert_int_equal(tb_hex_decode(tb_span(text, 4), &b), TB_EPARSE);
                assert_memory_equal(&b, &before, sizeof b);
                assert_int_equal(room[0], 0x77);
            }
        }
    }
}

static void refuses_half_bytes_and_little_room(void **state) {
    uint8_t room[2];
    struct tb_buf b = TB_BUF(room), before = b;
    (void)state;

    assert_int_equal(tb_hex_decode(tb_span_str("123"), &b), TB_EPARSE);
    assert_int_equal(tb_hex_decode(tb_span_str("1"), &b), TB_EPARSE);
    assert_int_equal(tb_hex_decode(tb_span_str("123456"), &b), TB_ESPACE);
    assert_memory_equal(&b, &before, sizeof b);
    assert_int_equal(tb_hex_decode(TB_SPAN_NONE, &b), 0);
    assert_int_equal(b.n, 0);
    b.n = 1;
    assert_int_equal(tb_hex_decode(tb_span_str("1234"), &b), TB_ESPACE);
    assert_int_equal(tb_hex_decode(tb_span_str("12"), &b), 0);
    assert_int_equal(b.n, 2);
    b.overflow = true;
    assert_int_equal(tb_hex_decode(tb_span_str("12"), &b), TB_ESPACE);
    assert_int_equal(tb_hex_decode_loose(tb_span_str("12"), &b), TB_ESPACE);
}

static void refuses_loose(const char *text, int want) {
    struct tb_span copy = exact(tb_span_str(text));
    uint8_t room[4];
    struct tb_buf b = TB_BUF(room), before = b;

    assert_int_equal(tb_hex_decode_loose(copy, &b), want);
    assert_memory_equal(&b, &before, sizeof b);
    free_exact(copy);
}

static void skips_separators_between_bytes_only(void **state) {
    uint8_t room[4];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    assert_int_equal(tb_hex_decode_loose(tb_span_str(" 00:A4\t04\r\nfF "), &b), 0);
    assert_span_equal(tb_buf_span(&b), TB_BYTES(0x00, 0xA4, 0x04, 0xFF));
    refuses_loose("0 0", TB_EPARSE);
    refuses_loose("00 A", TB_EPARSE);
    refuses_loose("00 A ", TB_EPARSE);
    refuses_loose("00,A4", TB_EPARSE);
    refuses_loose("0", TB_EPARSE);
    refuses_loose("00 11 22 33 44", TB_ESPACE);
    b = TB_BUF(room);
    assert_int_equal(tb_hex_decode_loose(tb_span_str(" : "), &b), 0);
    assert_int_equal(b.n, 0);
}

static void prints_what_fits_and_marks_the_cut(void **state) {
    const struct tb_span in = TB_BYTES(0x00, 0xA4, 0xFF);
    (void)state;

    for (size_t cap = 0; cap < 10; cap++) {
        static const char *const want[] = {NULL, "",    "",       "",       "…",
                                           "…",  "00…", "00A4FF", "00A4FF", "00A4FF"};
        char *dst = malloc(cap + 1);

        dst[0] = '#';
        assert_ptr_equal(tb_hex_str(dst, cap, in), dst);
        if (cap == 0)
            assert_int_equal(dst[0], '#');
        else
            assert_string_equal(dst, want[cap]);
        free(dst);
    }
}

static void decodes_what_it_wrote(void **state) {
    struct rng rng = rng_init();
    (void)state;

    for (int round = 0; round < 1000; round++) {
        uint8_t bytes[200], text_room[400], back_room[200];
        struct tb_buf text = TB_BUF(text_room), back = TB_BUF(back_room);
        size_t n = rng_below(&rng, sizeof bytes + 1);

        rng_fill(&rng, bytes, n);
        tb_put_hex(&text, tb_span(bytes, n), rng_below(&rng, 2) ? TB_HEX_UPPER : TB_HEX_LOWER);
        assert_int_equal(tb_hex_decode(tb_buf_span(&text), &back), 0);
        assert_span_equal(tb_buf_span(&back), tb_span(bytes, n));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_every_byte_in_both_cases),
        cmocka_unit_test(writes_nothing_when_it_does_not_fit),
        cmocka_unit_test(decodes_digits_and_nothing_else),
        cmocka_unit_test(refuses_half_bytes_and_little_room),
        cmocka_unit_test(skips_separators_between_bytes_only),
        cmocka_unit_test(prints_what_fits_and_marks_the_cut),
        cmocka_unit_test(decodes_what_it_wrote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
