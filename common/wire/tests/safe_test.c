#include "tb/safe.h"

#include "wire_test.h"

#define HASH  "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
#define R     "A0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBF"
#define S     "C0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
#define POINT "04" R S

/* The list as text: "84=01 A1=03", ending in "!" where it does not parse any further. */
static void render(struct tb_span in, struct tb_buf *text) {
    struct tb_tlv e;
    int r;

    while ((r = tb_safe_next(&in, &e)) > 0) {
        const uint8_t tag = (uint8_t)e.tag;

        if (text->n > 0)
            tb_put_u8(text, ' ');
        tb_put_hex(text, tb_span(&tag, 1), TB_HEX_UPPER);
        tb_put_u8(text, '=');
        tb_put_hex(text, e.value, TB_HEX_UPPER);
    }
    if (r < 0)
        tb_put(text, tb_span_str(" !"));
    tb_put_u8(text, '\0');
    assert_true(tb_buf_ok(text));
}

static void assert_reads(const char *hex, const char *want) {
    static uint8_t room[4096];
    struct tb_span in = from_hex(hex);
    struct tb_buf text = TB_BUF(room);

    render(in, &text);
    assert_string_equal((const char *)room, want);
    free_exact(in);
}

/* Every command body and answer of the reference's collection of real traces. */
static const struct {
    const char *hex, *list;
} traces[] = {
    /* GET DATA application, tags of the document and of a real card */
    {"100110 1120" HASH "B1010A B2010A B3010A B4010A 90010F 91020001 920104 930101 940102 B70101",
     "10=10 11=" HASH " B1=0A B2=0A B3=0A B4=0A 90=0F 91=0001 92=04 93=01 94=02 B7=01"},
    {"100110 1120" HASH "B1010A B2010A B3010A B4010A 61010F 91020001 920104 6F0101 940102 B70101",
     "10=10 11=" HASH " B1=0A B2=0A B3=0A B4=0A 61=0F 91=0001 92=04 6F=01 94=02 B7=01"},
    /* GET DATA object list: wrappers and what is in them */
    {"C125 740A636C69656E74206B6579 840101 600102 4A0101 4B0113 4E0101 610101 920104 91020001"
     "C319 730763657274203032 830102 600101 4A0101 210102 20020126",
     "C1=740A636C69656E74206B65798401016001024A01014B01134E010161010192010491020001"
     " C3=7307636572742030328301026001014A010121010220020126"},
    {"740A636C69656E74206B6579 840101 600102 4A0101 4B0113 4E0101 610101 920104 91020001",
     "74=636C69656E74206B6579 84=01 60=02 4A=01 4B=13 4E=01 61=01 92=04 91=0001"},
    {"C310 830102 600101 4A0101 210102 20020126", "C3=8301026001014A010121010220020126"},
    {"830102 600101 4A0101 210102 20020126", "83=02 60=01 4A=01 21=02 20=0126"},
    {"76023333 86020004 600103 4A0100 4B01A0 61010C 940102",
     "76=3333 86=0004 60=03 4A=00 4B=A0 61=0C 94=02"},
    /* READ PUBLIC KEY, GENERATE KEY PAIR, PUT PUBLIC KEY */
    {"34 45 49 43 86 41" POINT, "34=49438641" POINT},
    {"49 43 86 41" POINT, "49=8641" POINT},
    {"840104 850104 34454943 8641" POINT, "84=04 85=04 34=49438641" POINT},
    /* COMPUTE DH */
    {"840104 850105", "84=04 85=05"},
    /* COMPUTE SIGNATURE */
    {"840101 A10103 91020001 920104", "84=01 A1=03 91=0001 92=04"},
    {"8403303036 A10103 91020001 920104", "84=303036 A1=03 91=0001 92=04"},
    {"84020002 A10101 91020001 920104", "84=0002 A1=01 91=0001 92=04"},
    {"9E20" HASH, "9E=" HASH},
    {"9B08 0102030405060708", "9B=0102030405060708"},
    {"9A03 616263 9C20" HASH "9D04 00000040", "9A=616263 9C=" HASH " 9D=00000040"},
    {"9A00 9C20" HASH "9D04 00000040", "9A= 9C=" HASH " 9D=00000040"},
    {"330040" R S, "33=" R S},
    {"3340" R S, "33=" R S},
    /* VERIFY SIGNATURE, in both orders */
    {"9E20" HASH "330040" R S, "9E=" HASH " 33=" R S},
    {"9E20" HASH "3340" R S, "9E=" HASH " 33=" R S},
    {"330040" R S "9E20" HASH, "33=" R S " 9E=" HASH},
    {"3340" R S "9E20" HASH, "33=" R S " 9E=" HASH},
    {"9B03 616263 330040" R S, "9B=616263 33=" R S},
    /* COMPUTE PRF, COMPUTE HKDF */
    {"D120" HASH "D204 6B657930 D301FF", "D1=" HASH " D2=6B657930 D3=FF"},
    {"860101 D420" HASH "D204 6B657930 D30130", "86=01 D4=" HASH " D2=6B657930 D3=30"},
    {"D120" HASH "D520" HASH "91020001", "D1=" HASH " D5=" HASH " 91=0001"},
    {"D120" HASH "D500 91020001",
     "D1=" HASH " D5= 91=0001"},   /* an empty salt is no 16-bit length */
    {"D1 00 20" HASH, "D1=" HASH}, /* 16-bit on any tag, at the end */
    {"9E 00 20" HASH, "9E=" HASH},
    {"", ""},
    {"84 00", "84="},
    {"33 00", "33="},
    {"33 00 00", "33="},
};

static void reads_every_trace(void **state) {
    (void)state;

    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++)
        assert_reads(traces[i].hex, traces[i].list);
}

/* A card in the field says 9202 for a value of one byte. The list cannot be read on from there by
 * any rule of lengths; a client that wants to survive it must know the tag. Here it is an error,
 * not a wild read, and it comes with the input still at the element that failed. */
static void stops_after_a_miscounted_entry(void **state) {
    struct tb_span whole = from_hex("610107 920204 91020007 6F0101 7503313132"), in = whole, v;
    struct tb_tlv e;
    (void)state;

    assert_reads("610107 920204 91020007 6F0101 7503313132", "61=07 92=0491 02= !");
    for (int i = 0; i < 3; i++)
        assert_int_equal(tb_safe_next(&in, &e), 1);
    assert_int_equal(tb_safe_next(&in, &e), TB_EPARSE);
    assert_span_equal(in, tb_span_sub(whole, 9, SIZE_MAX));
    assert_int_equal(tb_safe_find(whole, 0x61, &v), 1);
    assert_int_equal(tb_safe_find(whole, 0x6F, &v), TB_EPARSE);
    free_exact(whole);
}

/* Builds tag, coded length, n bytes of value, tail; checks that the first element has want bytes.
 */
static void assert_first(const char *head, size_t n, const char *tail, int want_r, size_t want) {
    static uint8_t room[70000];
    struct tb_span h = from_hex(head), t = from_hex(tail), in, before;
    struct tb_buf b = TB_BUF(room);
    struct tb_tlv e = {.tag = 0xEE};
    uint8_t *at;
    int r;

    tb_put(&b, h);
    at = tb_put_room(&b, n);
    memset(at, 0x5A, n);
    tb_put(&b, t);
    in = before = exact(tb_buf_span(&b));
    r = tb_safe_next(&in, &e);
    if (r != want_r || (r > 0 && e.value.n != want))
        fail_msg("%s + %zu bytes + %s: %d, %zu bytes", head, n, tail, r, r > 0 ? e.value.n : 0);
    if (r < 0) {
        assert_memory_equal(&in, &before, sizeof in);
        assert_int_equal(e.tag, 0xEE);
    }
    free_exact(before);
    free_exact(h);
    free_exact(t);
}

static void reads_long_full_text_as_ber(void **state) {
    (void)state;

    assert_first("9B 7F", 127, "", 1, 127);
    assert_first("9B 81 80", 128, "", 1, 128); /* could be 129 plain bytes; BER is the rule */
    assert_first("9B 81 C8", 200, "", 1, 200);
    assert_first("9B 82 0100", 256, "", 1, 256);
    assert_first("9B 82 0400", 1024, "3340", 1, 1024);
    assert_first("9B 83 010000", 65536, "", 1, 65536);
    assert_first("9B 81 C8", 200, "330040", 1, 200);
    assert_first("9B C8", 200, "", 1, 200); /* plain, as some clients write it */
    assert_first("9B C8", 200, "330040", 1, 200);
    assert_first("34 81 C8", 200, "", 1, 200);
}

static void reads_a_plain_length_where_ber_is_out_of_place(void **state) {
    (void)state;

    assert_first("9B 81 08", 128, "", 1, 129);     /* not minimal */
    assert_first("9B 82 0080", 128, "", 1, 130);   /* not minimal */
    assert_first("9B 81 C8", 200, "9E20", 1, 129); /* neither the end nor a signature follows */
    assert_first("D2 81 80", 128, "", 1, 129);     /* D2 has no BER form */
    assert_first("9B 81", 128, "", TB_EPARSE, 0);
    assert_first("9B 84 00000080", 128, "", 1, 132);
    assert_first("9B 84 00010000", 65536, "", 1, 132);
    assert_first("9B 03 010000", 65536, "", 1, 3);
    assert_first("9B FF", 254, "", TB_EPARSE, 0);
    assert_first("9B 817E", 127, "", TB_EPARSE, 0);
    /* not minimal, and no plain byte */
    assert_first("9B 817F", 127, "", 1, 127);
    assert_first("33 8140", 64, "", 1, 64);
    assert_first("9B 82000B", 11, "330040", 1, 11);
    /* three bytes, as one may read the table of the document */
    assert_first("9B 00000B", 11, "", 1, 11);
    assert_first("9B 0001F4", 500, "330040", 1, 500);
    assert_first("9B 00", 0, "330040" R R, 1, 0);
    assert_first("9B 00", 0, "3340" R R, 1, 0);
    assert_first("9B 8201", 0, "", TB_EPARSE, 0);
}

static void reads_signatures_in_every_form(void **state) {
    (void)state;

    assert_first("33 40", 64, "", 1, 64);
    assert_first("33 0040", 64, "", 1, 64);
    assert_first("33 0040", 64, "9A00", 1, 64);
    assert_first("33 0100", 256, "", 1, 256); /* RSA-2048 */
    assert_first("33 0100", 256, "9E20", 1, 256);
    assert_first("33 82 0100", 256, "", 1, 256);
    assert_first("33 8180", 128, "", 1, 128);
    assert_first("33 46", 70, "", 1, 70); /* DER, 8 bit */
    assert_first("33 0046", 70, "", 1, 70);
    assert_first("33 02", 2, "9E00", 1, 2);
    assert_first("33 01FF", 511, "", 1, 511);
    assert_first("33 0200", 512, "", 1, 2); /* no key of IoT.05 signs that long */
}

static void reads_16_bit_lengths_of_other_tags_at_the_end_only(void **state) {
    (void)state;

    assert_first("9E 0020", 32, "", 1, 32);
    assert_first("9E 00FF", 255, "", 1, 255);
    assert_first("9E 0020", 32, "3300", 1, 0);
    assert_first("9E 0100", 256, "", 1, 1);
}

static void refuses_a_cut_signature(void **state) {
    (void)state;

    assert_first("33 0040", 63, "", TB_EPARSE, 0);
    assert_first("33 40", 63, "", TB_EPARSE, 0);
    assert_first("33 0100", 255, "", TB_EPARSE, 0);
    assert_first("33", 0, "", TB_EPARSE, 0);
}

/* Whatever is cut off, the elements read lie inside what is left, and an error touches nothing. */
static void survives_every_truncation(void **state) {
    (void)state;

    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
        struct tb_span whole = from_hex(traces[i].hex);

        for (size_t n = 0; n < whole.n; n++) {
            struct tb_span copy = exact(tb_span_sub(whole, 0, n)), in = copy, before = in;
            struct tb_tlv e = {.tag = 0xEE}, kept = e;
            int r;

            while ((r = tb_safe_next(&in, &e)) > 0) {
                assert_true(e.value.p >= copy.p && e.value.p + e.value.n <= copy.p + copy.n);
                assert_ptr_equal(e.value.p + e.value.n, in.p);
                assert_true(in.n < before.n);
                before = in;
                kept = e;
            }
            assert_memory_equal(&in, &before, sizeof in);
            assert_memory_equal(&e, &kept, sizeof e);
            assert_int_equal(r, in.n == 0 ? 0 : TB_EPARSE);
            free_exact(copy);
        }
        free_exact(whole);
    }
}

static void finds_the_first_of_a_tag(void **state) {
    const struct tb_span list = TB_BYTES(0x84, 1, 1, 0x85, 1, 2, 0x84, 1, 3);
    struct tb_span v = TB_SPAN_NONE;
    (void)state;

    assert_int_equal(tb_safe_find(list, TB_SAFE_T_PRIVATE_ID, &v), 1);
    assert_span_equal(v, TB_BYTES(1));
    assert_int_equal(tb_safe_find(list, TB_SAFE_T_MODE, &v), 0);
    assert_int_equal(tb_safe_find(tb_span_sub(list, 0, 8), TB_SAFE_T_MODE, &v), TB_EPARSE);
    assert_span_equal(v, TB_BYTES(1));
}

static void writes_the_length_form_asked_for(void **state) {
    static uint8_t value[70000], room[70010];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    tb_put_safe(&b, 0x33, TB_SAFE_LEN_8, TB_BYTES(1, 2));
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_16, TB_BYTES(1, 2));
    tb_put_safe(&b, 0x9B, TB_SAFE_LEN_BER, TB_BYTES(1, 2));
    assert_span_equal(tb_buf_span(&b), TB_BYTES(0x33, 2, 1, 2, 0x33, 0, 2, 1, 2, 0x9B, 2, 1, 2));
    b = TB_BUF(room);
    tb_put_safe(&b, 0x9B, TB_SAFE_LEN_BER, tb_span(value, 200));
    assert_span_equal(tb_span_sub(tb_buf_span(&b), 0, 3), TB_BYTES(0x9B, 0x81, 200));
    b = TB_BUF(room);
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_16, tb_span(value, 256));
    assert_span_equal(tb_span_sub(tb_buf_span(&b), 0, 3), TB_BYTES(0x33, 1, 0));
    b = TB_BUF(room);
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_8, tb_span(value, 255));
    assert_int_equal(b.n, 2 + 255);
    b = TB_BUF(room);
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_16, tb_span(value, 65535));
    assert_int_equal(b.n, 3 + 65535);
    b = TB_BUF(room);
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_8, tb_span(value, 256));
    assert_false(tb_buf_ok(&b));
    b = TB_BUF(room);
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_16, tb_span(value, 65536));
    assert_false(tb_buf_ok(&b));
    b = tb_buf(room, 4);
    tb_put_safe(&b, 0x33, TB_SAFE_LEN_16, TB_BYTES(1, 2));
    assert_false(tb_buf_ok(&b));
}

static void reads_back_what_it_wrote(void **state) {
    static const uint8_t tags[] = {0x10, 0x20, 0x61, 0x74, 0x84, 0x91, 0x9E, 0xC1, 0xD1, 0xD2};
    struct rng rng = rng_init();
    (void)state;

    for (int round = 0; round < 3000; round++) {
        uint8_t room[2048], value[128];
        struct tb_buf b = TB_BUF(room);
        struct tb_tlv wrote[8], e;
        struct tb_span in;
        size_t count = 1 + rng_below(&rng, 7);

        for (size_t i = 0; i < count; i++) {
            bool signature = i + 1 == count && rng_below(&rng, 2);
            size_t len = signature ? 64 : 1 + rng_below(&rng, 127);
            enum tb_safe_len form =
                signature && rng_below(&rng, 2) ? TB_SAFE_LEN_16 : TB_SAFE_LEN_8;

            rng_fill(&rng, value, len);
            wrote[i].tag = signature ? TB_SAFE_T_SIGNATURE : tags[rng_below(&rng, sizeof tags)];
            tb_put_safe(&b, (uint8_t)wrote[i].tag, form, tb_span(value, len));
            wrote[i].value = tb_span(room + b.n - len, len);
        }
        assert_true(tb_buf_ok(&b));
        in = tb_buf_span(&b);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(tb_safe_next(&in, &e), 1);
            assert_int_equal(e.tag, wrote[i].tag);
            assert_span_equal(e.value, wrote[i].value);
        }
        assert_int_equal(tb_safe_next(&in, &e), 0);
    }
}

static void knows_the_aids_of_the_field(void **state) {
    size_t n = 0;
    (void)state;

    assert_span_equal(tb_span(tb_safe_aids[0].aid, tb_safe_aids[0].len),
                      TB_BYTES(0xA0, 0x00, 0x00, 0x05, 0x59, 0x00, 0x10));
    for (; tb_safe_aids[n].len > 0; n++) {
        assert_in_range(tb_safe_aids[n].len, 5, 16); /* ISO/IEC 7816-5 */
        assert_non_null(tb_safe_aids[n].name);
        for (size_t i = 0; i < n; i++)
            assert_false(tb_span_eq(tb_span(tb_safe_aids[i].aid, tb_safe_aids[i].len),
                                    tb_span(tb_safe_aids[n].aid, tb_safe_aids[n].len)));
    }
    assert_int_equal(n, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_trace),
        cmocka_unit_test(stops_after_a_miscounted_entry),
        cmocka_unit_test(reads_long_full_text_as_ber),
        cmocka_unit_test(reads_a_plain_length_where_ber_is_out_of_place),
        cmocka_unit_test(reads_signatures_in_every_form),
        cmocka_unit_test(reads_16_bit_lengths_of_other_tags_at_the_end_only),
        cmocka_unit_test(refuses_a_cut_signature),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(finds_the_first_of_a_tag),
        cmocka_unit_test(writes_the_length_form_asked_for),
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(knows_the_aids_of_the_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
