#include "tb/tlv.h"

#include "wire_test.h"

static void reads_elements_in_order_and_ends(void **state) {
    struct tb_span in = TB_BYTES(0x84, 0x01, 0xAA, 0x85, 0x00, 0x7F, 0x49, 0x02, 1, 2);
    struct tb_tlv e;
    (void)state;

    assert_int_equal(tb_tlv_next(&in, &e), 1);
    assert_int_equal(e.tag, 0x84);
    assert_span_equal(e.value, TB_BYTES(0xAA));
    assert_int_equal(tb_tlv_next(&in, &e), 1);
    assert_int_equal(e.tag, 0x85);
    assert_int_equal(e.value.n, 0);
    assert_int_equal(tb_tlv_next(&in, &e), 1);
    assert_int_equal(e.tag, 0x7F49);
    assert_span_equal(e.value, TB_BYTES(1, 2));
    assert_int_equal(tb_tlv_next(&in, &e), 0);
    assert_int_equal(e.tag, 0x7F49); /* the end touches nothing */
}

static void reads_or_refuses(const char *hex, int want, uint32_t tag, size_t len) {
    struct tb_span whole = from_hex(hex), in = whole, before = in;
    struct tb_tlv e = {.tag = 0xEE};

    if (tb_tlv_next(&in, &e) != want)
        fail_msg("%s: not %d", hex, want);
    if (want > 0) {
        assert_int_equal(e.tag, tag);
        assert_int_equal(e.value.n, len);
        assert_int_equal(in.n, 0);
    } else {
        assert_memory_equal(&in, &before, sizeof in);
        assert_int_equal(e.tag, 0xEE);
    }
    free_exact(whole);
}

static void reads_tags_of_one_to_three_bytes(void **state) {
    (void)state;

    reads_or_refuses("01 00", 1, 0x01, 0);
    reads_or_refuses("FE 00", 1, 0xFE, 0);
    reads_or_refuses("5F20 00", 1, 0x5F20, 0);
    reads_or_refuses("BF0C 00", 1, 0xBF0C, 0);
    reads_or_refuses("FF21 00", 1, 0xFF21, 0);
    reads_or_refuses("DF8101 00", 1, 0xDF8101, 0);
    reads_or_refuses("DFFF7F 00", 1, 0xDFFF7F, 0);
}

static void refuses_tags_that_are_none(void **state) {
    (void)state;

    reads_or_refuses("00 00", TB_EPARSE, 0, 0);
    reads_or_refuses("1F80 01 00", TB_EPARSE, 0, 0);  /* number padded with zeros */
    reads_or_refuses("1F818101 00", TB_EPARSE, 0, 0); /* four bytes */
    reads_or_refuses("FFFFFFFF 00", TB_EPARSE, 0, 0);
}

static void reads_lengths_minimal_or_not(void **state) {
    (void)state;

    reads_or_refuses("84 03 010203", 1, 0x84, 3);
    reads_or_refuses("84 8103 010203", 1, 0x84, 3);
    reads_or_refuses("84 820003 010203", 1, 0x84, 3);
    reads_or_refuses("84 83000003 010203", 1, 0x84, 3);
}

static void refuses_indefinite_and_endless_lengths(void **state) {
    uint8_t room[2 + 0xFF] = {0x30};
    (void)state;

    for (unsigned first = 0x80; first <= 0xFF; first++) {
        struct tb_span in = tb_span(room, sizeof room);
        struct tb_tlv e;

        room[1] = (uint8_t)first;
        if (first < 0x81 || first > 0x83) /* nor is it a plain length above 127 */
            assert_int_equal(tb_tlv_next(&in, &e), TB_EPARSE);
    }
    reads_or_refuses("30 80 0000", TB_EPARSE, 0, 0);
    reads_or_refuses("84 8400000001 01", TB_EPARSE, 0, 0);
    reads_or_refuses("84 FF 01", TB_EPARSE, 0, 0);
    reads_or_refuses("84 83FFFFFF 01", TB_EPARSE, 0, 0);
}

static void rejects_every_truncation(void **state) {
    static const char *const wholes[] = {"84 03 010203", "7F49 8103 010203", "DF8101 820003 010203",
                                         "84 83000003 010203"};
    (void)state;

    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        struct tb_span whole = from_hex(wholes[i]);

        for (size_t n = 1; n < whole.n; n++) {
            struct tb_span copy = exact(tb_span_sub(whole, 0, n)), cut = copy, before = copy;
            struct tb_tlv e = {.tag = 0xEE};

            assert_int_equal(tb_tlv_next(&cut, &e), TB_EPARSE);
            assert_memory_equal(&cut, &before, sizeof cut);
            assert_int_equal(e.tag, 0xEE);
            free_exact(copy);
        }
        free_exact(whole);
    }
}

static void finds_the_first_of_a_tag(void **state) {
    const struct tb_span list = TB_BYTES(0x83, 1, 9, 0x84, 1, 1, 0x84, 1, 2, 0x00);
    struct tb_span v = TB_SPAN_NONE;
    (void)state;

    assert_int_equal(tb_tlv_find(list, 0x84, &v), 1);
    assert_span_equal(v, TB_BYTES(1));
    assert_int_equal(tb_tlv_find(list, 0x85, &v), TB_EPARSE); /* the 00 is no element */
    assert_int_equal(tb_tlv_find(tb_span_sub(list, 0, 9), 0x85, &v), 0);
    assert_span_equal(v, TB_BYTES(1));
}

/* Lengths on both sides of every change of form, and their coding. */
static const struct {
    size_t len;
    const char *coded;
} lengths[] = {
    {0, "00"},
    {1, "01"},
    {0x7F, "7F"},
    {0x80, "8180"},
    {0xFF, "81FF"},
    {0x100, "820100"},
    {0xFFFF, "82FFFF"},
    {0x10000, "83010000"},
    {0x10001, "83010001"},
};

static void codes_lengths_minimally(void **state) {
    (void)state;

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct tb_span want = from_hex(lengths[i].coded);
        uint8_t room[4];
        struct tb_buf b = TB_BUF(room);

        tb_put_len(&b, lengths[i].len);
        assert_true(tb_buf_ok(&b));
        assert_span_equal(tb_buf_span(&b), want);
        free_exact(want);
    }
}

static void closes_an_open_element_like_one_written_at_once(void **state) {
    static uint8_t value[0x10001], at_once[sizeof value + 16], opened[sizeof value + 16];
    struct rng rng = rng_init();
    (void)state;

    rng_fill(&rng, value, sizeof value);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct tb_span v = tb_span(value, lengths[i].len);
        struct tb_buf a = TB_BUF(at_once), o = TB_BUF(opened);
        size_t mark;

        tb_put_u8(&o, 0x55); /* not at the start of the buffer */
        tb_put_u8(&a, 0x55);
        tb_put_tlv(&a, 0x7F49, v);
        mark = tb_tlv_open(&o, 0x7F49);
        tb_put(&o, v);
        tb_tlv_close(&o, mark);
        assert_span_equal(tb_buf_span(&o), tb_buf_span(&a));
    }
}

static void nests_open_elements(void **state) {
    uint8_t room[300], bytes[130] = {0};
    struct tb_buf b = TB_BUF(room);
    struct tb_span outer, inner;
    size_t m1, m2;
    (void)state;

    m1 = tb_tlv_open(&b, 0x62);
    m2 = tb_tlv_open(&b, 0xA5);
    tb_put_tlv(&b, 0x80, TB_BYTES(1));
    tb_put(&b, tb_span(bytes, sizeof bytes)); /* the inner length grows, then the outer one */
    tb_tlv_close(&b, m2);
    tb_put_tlv_u8(&b, 0x8A, 5);
    tb_put_tlv_be16(&b, 0x83, 0x3F00);
    tb_tlv_close(&b, m1);
    assert_int_equal(tb_tlv_find(tb_buf_span(&b), 0x62, &outer), 1);
    assert_int_equal(outer.n, b.n - 3);
    assert_int_equal(tb_tlv_find(outer, 0xA5, &inner), 1);
    assert_int_equal(inner.n, 133);
    assert_int_equal(tb_tlv_find(outer, 0x8A, &inner), 1);
    assert_span_equal(inner, TB_BYTES(5));
    assert_int_equal(tb_tlv_find(outer, 0x83, &inner), 1);
    assert_span_equal(inner, TB_BYTES(0x3F, 0x00));
}

static void overflows_instead_of_writing_too_far(void **state) {
    uint8_t whole_room[140], value[0x80] = {0};
    struct tb_buf whole = TB_BUF(whole_room);
    (void)state;

    tb_put_tlv(&whole, 0x84, tb_span(value, sizeof value));
    for (size_t cap = 0; cap < whole.n; cap++) {
        uint8_t *room = malloc(cap ? cap : 1);
        struct tb_buf b = tb_buf(room, cap);
        size_t mark;

        tb_put_tlv(&b, 0x84, tb_span(value, sizeof value));
        assert_false(tb_buf_ok(&b));
        b = tb_buf(room, cap);
        mark = tb_tlv_open(&b, 0x84);
        tb_put(&b, tb_span(value, sizeof value));
        tb_tlv_close(&b, mark);
        assert_false(tb_buf_ok(&b));
        free(room);
    }
}

static void codes_tags_in_as_many_bytes_as_they_have(void **state) {
    uint8_t room[16];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_tag(&b, 0xFF);
    tb_put_tag(&b, 0xFFFF);
    tb_put_tag(&b, 0x01FFFF);
    tb_put_tag(&b, 0xFFFFFF);
    assert_span_equal(tb_buf_span(&b),
                      TB_BYTES(0xFF, 0xFF, 0xFF, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF));
}

static void overflows_when_an_open_element_grows_too_long(void **state) {
    const size_t cap = 0x1000010;
    uint8_t *room = malloc(cap);
    struct tb_buf b = tb_buf(room, cap), kept;
    size_t mark = tb_tlv_open(&b, 0x84);
    (void)state;

    assert_non_null(tb_put_room(&b, 0xFFFFFF));
    kept = b;
    tb_tlv_close(&b, mark);
    assert_true(tb_buf_ok(&b));
    assert_span_equal(tb_span(room, 5), TB_BYTES(0x84, 0x83, 0xFF, 0xFF, 0xFF));
    b = kept;
    tb_put_u8(&b, 0);
    tb_tlv_close(&b, mark);
    assert_false(tb_buf_ok(&b));
    free(room);
}

static void overflows_for_what_cannot_be_coded(void **state) {
    uint8_t room[16];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_len(&b, 0xFFFFFF);
    assert_true(tb_buf_ok(&b));
    tb_put_tag(&b, 0x1000000);
    assert_false(tb_buf_ok(&b));
    b = TB_BUF(room);
    tb_put_len(&b, 0x1000000);
    assert_false(tb_buf_ok(&b));
}

static uint32_t random_tag(struct rng *rng) {
    static const uint32_t tags[] = {0x01, 0x84, 0xFE, 0x5F20, 0x7F49, 0xBF0C, 0xDF8101, 0xFFFF7F};

    return tags[rng_below(rng, sizeof tags / sizeof *tags)];
}

static void reads_back_what_it_wrote(void **state) {
    struct rng rng = rng_init();
    (void)state;

    for (int round = 0; round < 2000; round++) {
        uint8_t room[4096], value[300];
        struct tb_buf b = TB_BUF(room);
        struct tb_tlv wrote[8], e;
        struct tb_span in;
        size_t count = rng_below(&rng, 8);

        for (size_t i = 0; i < count; i++) {
            size_t len = rng_below(&rng, sizeof value);

            rng_fill(&rng, value, len);
            wrote[i].tag = random_tag(&rng);
            tb_put_tlv(&b, wrote[i].tag, tb_span(value, len));
            wrote[i].value = tb_span(room + b.n - len, len);
        }
        assert_true(tb_buf_ok(&b));
        in = tb_buf_span(&b);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(tb_tlv_next(&in, &e), 1);
            assert_int_equal(e.tag, wrote[i].tag);
            assert_span_equal(e.value, wrote[i].value);
        }
        assert_int_equal(tb_tlv_next(&in, &e), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_elements_in_order_and_ends),
        cmocka_unit_test(reads_tags_of_one_to_three_bytes),
        cmocka_unit_test(refuses_tags_that_are_none),
        cmocka_unit_test(reads_lengths_minimal_or_not),
        cmocka_unit_test(refuses_indefinite_and_endless_lengths),
        cmocka_unit_test(rejects_every_truncation),
        cmocka_unit_test(finds_the_first_of_a_tag),
        cmocka_unit_test(codes_lengths_minimally),
        cmocka_unit_test(closes_an_open_element_like_one_written_at_once),
        cmocka_unit_test(nests_open_elements),
        cmocka_unit_test(overflows_instead_of_writing_too_far),
        cmocka_unit_test(codes_tags_in_as_many_bytes_as_they_have),
        cmocka_unit_test(overflows_when_an_open_element_grows_too_long),
        cmocka_unit_test(overflows_for_what_cannot_be_coded),
        cmocka_unit_test(reads_back_what_it_wrote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
