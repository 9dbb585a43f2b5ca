#include "wire_test.h"

#include "tb/base64.h"

static const struct {
    const char *bytes, *text;
} vectors[] = {/* RFC 4648, 10 */
               {"", ""},
               {"f", "Zg=="},
               {"fo", "Zm8="},
               {"foo", "Zm9v"},
               {"foob", "Zm9vYg=="},
               {"fooba", "Zm9vYmE="},
               {"foobar", "Zm9vYmFy"}};

static void encodes_and_decodes_the_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct tb_span bytes = tb_span_str(vectors[i].bytes),
                             text = tb_span_str(vectors[i].text);
        uint8_t room[16];
        struct tb_buf out = TB_BUF(room);

        assert_int_equal(TB_BASE64_SIZE(bytes.n), text.n);
        tb_put_base64(&out, bytes);
        assert_true(tb_span_eq(tb_buf_span(&out), text));
        out = TB_BUF(room);
        assert_int_equal(tb_base64_decode(text, &out), 0);
        assert_true(tb_span_eq(tb_buf_span(&out), bytes));
    }
}

static void reads_line_breaks_anywhere(void **state) {
    uint8_t room[16];
    struct tb_buf out = TB_BUF(room);

    (void)state;
    assert_int_equal(tb_base64_decode(tb_span_str(" Z\r\nm9\tvYg\n=\r\n=\n"), &out), 0);
    assert_true(tb_span_eq(tb_buf_span(&out), tb_span_str("foob")));
}

static void refuses_everything_else(void **state) {
    static const char *const bad[] = {"Z",    "Zg",    "Zg=",      "Zg===",  "=",        "Z===",
                                      "Zh==", "Zm9=",  "Zg==Zg==", "Zm9v=",  "Zm9v====", "Zm-v",
                                      "Zm_v", "Zm9v!", "Zg=x",     "Zm9v\v", "====",     "Zg== ="};
    uint8_t room[16];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tb_buf out = TB_BUF(room);

        tb_put_u8(&out, 'x');
        assert_int_equal(tb_base64_decode(tb_span_str(bad[i]), &out), TB_EPARSE);
        assert_int_equal(out.n, 1);
        assert_true(tb_buf_ok(&out));
    }
}

static void says_when_there_is_no_room(void **state) {
    uint8_t room[5];
    struct tb_buf out = TB_BUF(room);

    (void)state;
    assert_int_equal(tb_base64_decode(tb_span_str("Zm9vYmFy"), &out), TB_ERANGE);
    assert_int_equal(out.n, 0);
    assert_int_equal(tb_base64_decode(tb_span_str("Zm9vYmE="), &out), 0);
    assert_int_equal(out.n, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_the_vectors),
        cmocka_unit_test(reads_line_breaks_anywhere),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(says_when_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
