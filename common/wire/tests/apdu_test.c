#include "tb/apdu.h"

#include "wire_test.h"

enum { NO = 0, STRICT = 1, TRAILING = 2, BOTH = 3 };

struct example {
    const char *hex;
    int accepted; /* without the flag, with it, in both cases, never */
    size_t lc;
    uint32_t ne;
    bool extended;
};

static const struct example examples[] = {
    /* the eight forms */
    {"00A40400", BOTH, 0, 0, false},
    {"0184000020", BOTH, 0, 32, false},
    {"0184000000", BOTH, 0, 256, false},
    {"01A4040007A0000005590010", BOTH, 7, 0, false},
    {"01A4040007A000000559001000", BOTH, 7, 256, false},
    {"01B0000003830102 32", BOTH, 3, 50, false},
    {"00B00000 00 0000", BOTH, 0, 65536, true},
    {"80F20000 00 0168", BOTH, 0, 0x168, true}, /* nRF91 asks for STATUS like this */
    {"80E29100 00 0003 010203", BOTH, 3, 0, true},
    {"80E29100 00 0003 010203 0000", BOTH, 3, 65536, true},
    {"80E29100 00 0003 010203 0100", BOTH, 3, 256, true},
    /* one or two bytes too many, as a client in the field sends */
    {"01A4040007A0000005590010 0000", TRAILING, 7, 256, false},
    {"01B0000003830102 0032", TRAILING, 3, 50, false},
    {"01B0000003830102 0132", TRAILING, 3, 256, false},
    {"0146000000 00", TRAILING, 0, 256, false},
    {"0146000000 20", TRAILING, 0, 32, false},
    {"80E29100 00 0003 010203 10", TRAILING, 3, 16, true},
    /* lengths that do not add up */
    {"01B0000003830102 000032", NO, 0, 0, false},
    {"01B00000038301", NO, 0, 0, false},
    {"01B0000003", BOTH, 0, 3, false}, /* no data at all is case 2 */
    {"80E29100 00 0000 01", NO, 0, 0, false},
    {"80E29100 00 0003 0102", NO, 0, 0, false},
    {"80E29100 00 0003 010203 000000", NO, 0, 0, false},
    {"00A404", NO, 0, 0, false},
    {"", NO, 0, 0, false},
};

static void assert_header(const struct tb_apdu *a, struct tb_span raw) {
    const uint8_t header[] = {a->cla, a->ins, a->p1, a->p2};

    assert_span_equal(tb_span(header, 4), tb_span_sub(raw, 0, 4));
}

static void check_parse(const struct example *x, unsigned flags, bool accepted) {
    struct tb_span raw = from_hex(x->hex);
    struct tb_apdu a, before;

    memset(&a, 0xEE, sizeof a);
    before = a;
    if (tb_apdu_parse(raw, flags, &a) != (accepted ? 0 : TB_EPARSE))
        fail_msg("%s, flags %u: should be %s", x->hex, flags, accepted ? "read" : "refused");
    if (accepted) {
        assert_header(&a, raw);
        assert_int_equal(a.data.n, x->lc);
        if (x->lc > 0)
            assert_ptr_equal(a.data.p, raw.p + (x->extended ? 7 : 5));
        assert_int_equal(a.ne, x->ne);
        assert_int_equal(a.le_present, x->ne > 0);
        assert_int_equal(a.extended, x->extended);
    } else {
        assert_memory_equal(&a, &before, sizeof a);
    }
    free_exact(raw);
}

static void parses_all_cases(void **state) {
    (void)state;

    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        check_parse(&examples[i], 0, examples[i].accepted & STRICT);
        check_parse(&examples[i], TB_APDU_TRAILING, examples[i].accepted & TRAILING);
    }
}

/* Lc says how long a command is: of all cuts only the header, and header plus P3, remain commands.
 */
static void rejects_every_truncation(void **state) {
    static const char *const wholes[] = {
        "01A4040007A0000005590010", "80E2910000000901020304050607080900C8", "01B0000003830102"};
    (void)state;

    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        struct tb_span whole = from_hex(wholes[i]);
        bool extended = whole.p[4] == 0;

        for (size_t n = 0; n < whole.n; n++) {
            struct tb_span cut = exact(tb_span_sub(whole, 0, n));
            struct tb_apdu a;
            bool command = n == 4 || n == 5 || (extended && (n == 7 || n == whole.n - 2));

            assert_int_equal(tb_apdu_parse(cut, 0, &a), command ? 0 : TB_EPARSE);
            free_exact(cut);
        }
        free_exact(whole);
    }
}

static void writes_the_shortest_case(void **state) {
    static const struct {
        size_t lc;
        uint32_t ne;
        bool extended;
        size_t len;
    } sizes[] = {
        {0, 0, false, 4},       {0, 0, true, 4},          {0, 1, false, 5},
        {0, 256, false, 5},     {0, 257, false, 7},       {0, 65536, false, 7},
        {0, 1, true, 7},        {1, 0, false, 6},         {255, 0, false, 260},
        {255, 256, false, 261}, {256, 0, false, 263},     {255, 257, false, 264},
        {1, 0, true, 8},        {65535, 0, false, 65542}, {65535, 65536, false, 65544},
    };
    static uint8_t data[65536], room[65544];
    (void)state;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tb_apdu a = {0x80,
                            0xE2,
                            1,
                            2,
                            tb_span(data, sizes[i].lc),
                            .ne = sizes[i].ne,
                            .extended = sizes[i].extended};
        struct tb_buf b = TB_BUF(room);

        tb_put_apdu(&b, &a);
        assert_true(tb_buf_ok(&b));
        assert_int_equal(b.n, sizes[i].len);
    }
}

static void overflows_for_what_cannot_be_coded(void **state) {
    static uint8_t data[65536], room[70000];
    struct tb_apdu a = {.data = {data, sizeof data}};
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_apdu(&b, &a);
    assert_false(tb_buf_ok(&b));
    b = TB_BUF(room);
    a = (struct tb_apdu){.ne = 65537};
    tb_put_apdu(&b, &a);
    assert_false(tb_buf_ok(&b));
    a = (struct tb_apdu){.data = TB_BYTES(1, 2, 3), .ne = 256};
    for (size_t cap = 0; cap < 9; cap++) {
        b = tb_buf(room, cap);
        tb_put_apdu(&b, &a);
        assert_false(tb_buf_ok(&b));
    }
}

static void parses_what_it_wrote(void **state) {
    static const size_t lcs[] = {0, 1, 2, 254, 255, 256, 257, 65535};
    static const uint32_t nes[] = {0, 1, 2, 255, 256, 257, 65535, 65536};
    static uint8_t data[65535], room[65544];
    struct rng rng = rng_init();
    (void)state;

    for (int round = 0; round < 4000; round++) {
        struct tb_apdu a = {.cla = (uint8_t)rng_next(&rng), .ins = (uint8_t)rng_next(&rng)}, back;
        struct tb_buf b = TB_BUF(room);

        rng_fill(&rng, data, 16);
        a.p1 = (uint8_t)rng_next(&rng);
        a.p2 = (uint8_t)rng_next(&rng);
        a.data = tb_span(data, lcs[rng_below(&rng, 8)]);
        a.ne = nes[rng_below(&rng, 8)];
        a.extended = rng_below(&rng, 2);
        tb_put_apdu(&b, &a);
        assert_true(tb_buf_ok(&b));
        assert_int_equal(
            tb_apdu_parse(tb_buf_span(&b), rng_below(&rng, 2) ? TB_APDU_TRAILING : 0, &back), 0);
        assert_header(&back, tb_buf_span(&b));
        assert_span_equal(back.data, a.data);
        assert_int_equal(back.ne, a.ne);
    }
}

static void splits_responses(void **state) {
    struct tb_span data = tb_span("x", 1);
    uint16_t sw = 0xEEEE;
    (void)state;

    assert_int_equal(tb_rapdu_parse(TB_SPAN_NONE, &data, &sw), TB_EPARSE);
    assert_int_equal(tb_rapdu_parse(TB_BYTES(0x90), &data, &sw), TB_EPARSE);
    assert_int_equal(data.n, 1);
    assert_int_equal(sw, 0xEEEE);
    assert_int_equal(tb_rapdu_parse(TB_BYTES(0x61, 0x42), &data, &sw), 0);
    assert_int_equal(data.n, 0);
    assert_int_equal(sw, 0x6142);
    assert_int_equal(tb_rapdu_parse(TB_BYTES(1, 2, 3, 0x90, 0x00), &data, &sw), 0);
    assert_span_equal(data, TB_BYTES(1, 2, 3));
    assert_int_equal(sw, 0x9000);
}

/* The table of ISO/IEC 7816-4 5.4.1 and ETSI TS 102 221 10.1.1, one row per first digit. ss and CC
 * are in the second digit; CCCC is all of it. */
static const struct {
    bool valid, further, proprietary, chaining, secure;
} first_digit[16] = {
    [0x0] = {true, false, false, false, false}, [0x1] = {true, false, false, true, false},
    [0x4] = {true, true, false, false, false},  [0x5] = {true, true, false, true, false},
    [0x6] = {true, true, false, false, true},   [0x7] = {true, true, false, true, true},
    [0x8] = {true, false, true, false, false},  [0x9] = {true, false, true, true, false},
    [0xC] = {true, true, true, false, false},   [0xD] = {true, true, true, true, false},
    [0xE] = {true, true, true, false, true},    [0xF] = {true, true, true, true, true},
};

static void reads_every_class_byte(void **state) {
    (void)state;

    for (unsigned cla = 0; cla < 256; cla++) {
        unsigned hi = cla >> 4, lo = cla & 0x0F;
        struct tb_cla c = {.channel = 0xEE};
        bool valid = first_digit[hi].valid && cla != 0xFF;

        assert_int_equal(tb_cla_parse((uint8_t)cla, &c), valid);
        if (!valid) {
            assert_int_equal(c.channel, 0xEE);
            continue;
        }
        assert_int_equal(c.channel, first_digit[hi].further ? 4 + lo : lo & 3);
        assert_int_equal(c.proprietary, first_digit[hi].proprietary);
        assert_int_equal(c.chaining, first_digit[hi].chaining);
        assert_int_equal(c.secure, first_digit[hi].further ? first_digit[hi].secure : lo >> 2 != 0);
    }
}

static void moves_every_class_byte_to_every_channel(void **state) {
    (void)state;

    for (unsigned cla = 0; cla < 256; cla++) {
        for (unsigned ch = 0; ch < TB_CHANNELS; ch++) {
            uint8_t moved = tb_cla_on_channel((uint8_t)cla, ch);
            struct tb_cla from, to;

            if (!tb_cla_parse((uint8_t)cla, &from)) {
                assert_int_equal(moved, cla);
                continue;
            }
            if (from.proprietary && from.chaining && from.secure && ch == 19) {
                assert_int_equal(moved, 0xFF); /* the code does not exist */
                continue;
            }
            assert_true(tb_cla_parse(moved, &to));
            assert_int_equal(to.channel, ch);
            assert_int_equal(to.proprietary, from.proprietary);
            assert_int_equal(to.chaining, from.chaining);
            assert_int_equal(to.secure, from.secure);
            if (ch == from.channel)
                assert_int_equal(moved, cla);
        }
    }
}

static void keeps_the_kind_of_secure_messaging(void **state) {
    (void)state;

    assert_int_equal(tb_cla_on_channel(0x84, 2), 0x86);
    assert_int_equal(tb_cla_on_channel(0x8C, 1), 0x8D);
    assert_int_equal(tb_cla_on_channel(0x84, 5), 0xE1);
    assert_int_equal(tb_cla_on_channel(0xE1, 1), 0x85); /* GlobalPlatform's own coding */
    assert_int_equal(tb_cla_on_channel(0x62, 1), 0x09); /* ISO's, header not authenticated */
    assert_int_equal(tb_cla_on_channel(0x00, 4), 0x40);
    assert_int_equal(tb_cla_on_channel(0x80, 19), 0xCF);
    assert_int_equal(tb_cla_on_channel(0x90, 1), 0x91);
    assert_int_equal(tb_cla_on_channel(0xA0, 1), 0xA0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_all_cases),
        cmocka_unit_test(rejects_every_truncation),
        cmocka_unit_test(writes_the_shortest_case),
        cmocka_unit_test(overflows_for_what_cannot_be_coded),
        cmocka_unit_test(parses_what_it_wrote),
        cmocka_unit_test(splits_responses),
        cmocka_unit_test(reads_every_class_byte),
        cmocka_unit_test(moves_every_class_byte_to_every_channel),
        cmocka_unit_test(keeps_the_kind_of_secure_messaging),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
