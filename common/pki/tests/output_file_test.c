/* The SIM supplier's output file: CSV, numbers, transport keys, rows. */
#include <stdlib.h>

#include "tb/hex.h"
#include "tb/number.h"
#include "tb/output_file.h"
#include "tb/test.h"

static int next(struct tb_csv *c, struct tb_span *fields, struct tb_error *e) {
    return tb_csv_next(c, fields, 4, e);
}

static bool is(struct tb_span s, const char *text) {
    return tb_span_eq(s, tb_span_str(text));
}

static void csv_reads_quotes_line_ends_and_a_byte_order_mark(void **state) {
    struct tb_span f[4];
    struct tb_error e;
    struct tb_csv c;
    (void)state;

    tb_csv_init(&c,
                tb_span_str("\xEF\xBB\xBF"
                            "a,\"b,\"\"c\"\"\r\nd\",\r\n\n\r\n1,2\n\"\",x,"),
                ',');
    assert_int_equal(next(&c, f, &e), 3);
    assert_true(is(f[0], "a") && is(f[1], "b,\"c\"\r\nd") && is(f[2], ""));
    assert_int_equal(c.row, 1);
    assert_int_equal(next(&c, f, &e), 2);
    assert_true(is(f[0], "1") && is(f[1], "2"));
    assert_int_equal(c.row, 5);
    assert_int_equal(next(&c, f, &e), 3);
    assert_true(is(f[0], "") && is(f[1], "x") && is(f[2], ""));
    assert_int_equal(next(&c, f, &e), 0);
    tb_csv_done(&c);
}

static void csv_tells_the_line_of_what_it_refuses_and_goes_on(void **state) {
    static const struct {
        const char *text;
        size_t n;
        int want, line;
    } rows[] = {
        {"ok\na\"b\nok\n", 0, TB_EPARSE, 2},   {"ok\na\rb\nok\n", 0, TB_EPARSE, 2},
        {"ok\n\"a\"b\nok\n", 0, TB_EPARSE, 2}, {"ok\na,b,c,d,e\nok\n", 0, TB_ERANGE, 2},
        {"ok\nx\0y\nok\n", 10, TB_EPARSE, 2},  {"ok\n\"x\0y\"\nok\n", 12, TB_EPARSE, 2},
    };
    struct tb_span f[4];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = rows[i].n ? rows[i].n : strlen(rows[i].text);
        struct tb_error e = {.line = 0};
        struct tb_csv c;

        tb_csv_init(&c, tb_span(rows[i].text, n), ',');
        assert_int_equal(next(&c, f, &e), 1);
        assert_int_equal(next(&c, f, &e), rows[i].want);
        assert_int_equal(e.line, rows[i].line);
        assert_int_equal(next(&c, f, &e), 1);
        assert_true(is(f[0], "ok"));
        assert_int_equal(next(&c, f, &e), 0);
        tb_csv_done(&c);
    }
}

static void csv_ends_at_a_quote_that_is_never_closed(void **state) {
    struct tb_span f[4];
    struct tb_error e;
    struct tb_csv c;
    (void)state;

    tb_csv_init(&c, tb_span_str("a\n\"b\nc\nd\n"), ',');
    assert_int_equal(next(&c, f, &e), 1);
    assert_int_equal(next(&c, f, &e), TB_EPARSE);
    assert_int_equal(e.line, 2);
    assert_int_equal(next(&c, f, &e), 0);
    tb_csv_done(&c);
}

static void csv_bounds_fields(void **state) {
    size_t n = TB_CSV_FIELD_MAX + 1;
    char *text = malloc(n + 3);
    struct tb_span f[4];
    struct tb_error e;
    struct tb_csv c;
    (void)state;

    for (int quoted = 0; quoted < 2; quoted++) {
        memset(text, 'a', n + 3);
        if (quoted)
            text[0] = text[n + 1] = '"';
        tb_csv_init(&c, tb_span(text, n + (quoted ? 2 : 0)), ',');
        assert_int_equal(next(&c, f, &e), TB_ERANGE);
        tb_csv_done(&c);
        tb_csv_init(&c, tb_span(text, n - 1), ',');
        assert_int_equal(next(&c, f, &e), quoted ? TB_EPARSE : 1);
        tb_csv_done(&c);
    }
    free(text);
}

static void csv_writes_what_it_reads(void **state) {
    static const char *const texts[] = {"", "a", "a,b", "\"", " a", "a\nb", "a "};
    uint8_t room[128];
    struct tb_buf out = TB_BUF(room);
    struct tb_span f[8];
    struct tb_error e;
    struct tb_csv c;
    (void)state;

    for (size_t i = 0; i < 7; i++)
        tb_put_csv(&out, tb_span_str(texts[i]), i == 6);
    tb_csv_init(&c, tb_buf_span(&out), ',');
    assert_int_equal(tb_csv_next(&c, f, 8, &e), 7);
    for (size_t i = 0; i < 7; i++)
        assert_true(is(f[i], texts[i]));
    tb_csv_done(&c);
}

static void numbers_have_check_digits(void **state) {
    char big[] = "0999", full[] = "9999", digits[2];
    (void)state;

    assert_int_equal(tb_luhn_digit("7992739871", 10), '3');
    assert_true(tb_luhn_ok(tb_span_str("8988211000000000011")));
    assert_false(tb_luhn_ok(tb_span_str("8988211000000000012")));
    assert_false(tb_luhn_ok(tb_span_str("898821100000000001a")));
    tb_eid_digits("890490321234512345123456789012", digits); /* SGP.22's example of an EID */
    assert_memory_equal(digits, "35", 2);
    assert_true(tb_eid_ok(tb_span_str("89049032123451234512345678901235")));
    assert_false(tb_eid_ok(tb_span_str("89049032123451234512345678901236")));
    assert_int_equal(tb_number_add(big, 4, 2), 0);
    assert_string_equal(big, "1001");
    assert_int_equal(tb_number_add(full, 4, 1), TB_ERANGE);
    assert_string_equal(full, "9999");
}

static struct tb_span hex(const char *text, uint8_t *dst, size_t cap) {
    struct tb_buf b = tb_buf(dst, cap);

    assert_int_equal(tb_hex_decode(tb_span_str(text), &b), 0);
    return tb_buf_span(&b);
}

static struct tb_kek kek_of(const char *text) {
    struct tb_kek k = {.name = "t1"};

    k.n = hex(text, k.key, sizeof k.key).n;
    return k;
}

/* RFC 3394 4.1 and 4.6, RFC 5649 6. */
static void keys_are_wrapped_as_the_standards_say(void **state) {
    static const struct {
        const char *kek, *key, *wrapped;
    } v[] = {
        {"000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF",
         "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
        {"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
         "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
         "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
        {"5840DF6E29B02AF1AB493B705BF16EA1AE8338F4DCC176A8",
         "C37B7E6492584340BED12207808941155068F738",
         "138BDEAA9B8FA7FC61F97742E72248EE5AE6AE5360D1AE6A5F54F373FA543B6A"},
        {"5840DF6E29B02AF1AB493B705BF16EA1AE8338F4DCC176A8", "466F7250617369",
         "AFBEB0F07DFBF5419200F2CCB50BB24F"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        uint8_t a[72], b[72], c[72], d[72];
        struct tb_kek kek = kek_of(v[i].kek);
        struct tb_span key = hex(v[i].key, a, sizeof a), want = hex(v[i].wrapped, b, sizeof b);
        struct tb_buf wrapped = TB_BUF(c), back = TB_BUF(d);

        assert_int_equal(tb_kek_wrap(&kek, key, &wrapped), 0);
        assert_true(tb_span_eq(tb_buf_span(&wrapped), want));
        assert_int_equal(tb_kek_unwrap(&kek, want, &back), 0);
        assert_true(tb_span_eq(tb_buf_span(&back), key));
        kek.key[0] ^= 1;
        back.n = 0;
        assert_int_equal(tb_kek_unwrap(&kek, want, &back), TB_ECRYPTO);
        assert_int_equal(back.n, 0);
    }
}

static void check_values_are_globalplatforms(void **state) {
    uint8_t key[32], kcv[TB_KCV];
    (void)state;

    assert_int_equal(tb_kcv(hex("404142434445464748494A4B4C4D4E4F", key, sizeof key), false, kcv),
                     0);
    assert_memory_equal(kcv, "\x50\x4A\x77", 3);
    assert_int_equal(tb_kcv(hex("404142434445464748494A4B4C4D4E4F", key, sizeof key), true, kcv),
                     0);
    assert_memory_equal(kcv, "\x8B\xAF\x47", 3);
    assert_int_equal(tb_kcv(tb_span(key, 20), false, kcv), TB_EUNSUP);
}

/* --- rows --- */

#define POINT                                                                                      \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/"        \
    "hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="

static int check(const char *text, struct tb_out_row *row, struct tb_out_complaint *why) {
    struct tb_span f[TB_OUT_FIELDS_MAX];
    struct tb_out_header h;
    struct tb_error e;
    struct tb_csv c;
    int n, r;

    tb_csv_init(&c, tb_span_str(text), ',');
    n = tb_csv_next(&c, f, TB_OUT_FIELDS_MAX, &e);
    assert_true(n > 0);
    assert_int_equal(tb_out_header(f, (size_t)n, &h, &e), 0);
    n = tb_csv_next(&c, f, TB_OUT_FIELDS_MAX, &e);
    assert_true(n > 0);
    r = tb_out_row(&h, f, (size_t)n, row, why);
    tb_csv_done(&c);
    return r;
}

static void rows_that_are_good_are_taken(void **state) {
    static struct tb_out_row row;
    struct tb_out_complaint why;
    (void)state;

    assert_int_equal(check("iccid,imsi\n8988211000000000011,001010000000001\n", &row, &why), 0);
    assert_int_equal(row.kind, TB_OUT_NO_CREDENTIAL);
    assert_int_equal(
        check("KIND,ICCID,SPKI_B64,ROLE,CONTAINER,PIN1\nx509,8988211000000000011," POINT
              ",bootstrap,01:02,0000\n",
              &row, &why),
        0);
    assert_true(row.bootstrap && row.spki_n == 91 && row.kind == TB_OUT_X509);
}

static void rows_that_are_not_good_are_told_by_column(void **state) {
    static const struct {
        const char *column, *text;
    } v[] = {
        {"ICCID", "ICCID\n8988211000000000012\n"},
        {"ICCID", "ICCID\n12\n"},
        {"", "ICCID,IMSI\n8988211000000000011\n"},
        {"", "ICCID\n8988211000000000011,1\n"},
        {"IMSI", "ICCID,IMSI\n8988211000000000011,12\n"},
        {"EID", "ICCID,EID\n8988211000000000011,89049032123451234512345678901236\n"},
        {"KIND", "ICCID,KIND\n8988211000000000011,rpk\n"},
        {"KIND", "ICCID,SPKI_B64\n8988211000000000011," POINT "\n"},
        {"ROLE", "ICCID,ROLE\n8988211000000000011,f\n"},
        {"SPKI_B64", "ICCID,KIND\n8988211000000000011,x509\n"},
        {"SPKI_B64", "ICCID,KIND,SPKI_B64\n8988211000000000011,x509,*\n"},
        {"CERT_B64", "ICCID,KIND,CERT_B64\n8988211000000000011,x509,MAA=\n"},
        {"CONTAINER", "ICCID,CONTAINER\n8988211000000000011,01:\n"},
        {"PSK_ID", "ICCID,KIND\n8988211000000000011,psk\n"},
        {"PSK_WRAPPED_B64", "ICCID,KIND,PSK_ID,PSK_WRAPPED_B64\n8988211000000000011,psk,a,AAAA\n"},
        {"OTA_AID", "ICCID,OTA_TAR\n8988211000000000011,000000\n"},
    };
    static struct tb_out_row row;
    (void)state;

    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct tb_out_complaint why = {NULL, ""};

        assert_int_equal(check(v[i].text, &row, &why), TB_EPARSE);
        assert_string_equal(why.column, v[i].column);
        assert_true(strlen(why.reason) > 5);
    }
}

static void a_file_has_to_say_what_its_columns_are(void **state) {
    struct tb_span none[] = {tb_span_str("IMSI")},
                   twice[] = {tb_span_str("ICCID"), tb_span_str("iccid")};
    struct tb_out_header h;
    struct tb_error e;
    (void)state;

    assert_int_equal(tb_out_header(none, 1, &h, &e), TB_EPARSE);
    assert_int_equal(tb_out_header(twice, 2, &h, &e), TB_EPARSE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads_quotes_line_ends_and_a_byte_order_mark),
        cmocka_unit_test(csv_tells_the_line_of_what_it_refuses_and_goes_on),
        cmocka_unit_test(csv_ends_at_a_quote_that_is_never_closed),
        cmocka_unit_test(csv_bounds_fields),
        cmocka_unit_test(csv_writes_what_it_reads),
        cmocka_unit_test(numbers_have_check_digits),
        cmocka_unit_test(keys_are_wrapped_as_the_standards_say),
        cmocka_unit_test(check_values_are_globalplatforms),
        cmocka_unit_test(rows_that_are_good_are_taken),
        cmocka_unit_test(rows_that_are_not_good_are_told_by_column),
        cmocka_unit_test(a_file_has_to_say_what_its_columns_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
