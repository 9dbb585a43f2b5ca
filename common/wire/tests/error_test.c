#include "tb/error.h"

#include <errno.h>
#include <uv.h>

#include "wire_test.h"

static void every_code_of_ours_has_its_own_text(void **state) {
    (void)state;

    for (int a = TB_ESTATE; a <= TB_EPARSE; a++) {
        assert_string_not_equal(tb_strerror(a), "unknown error");
        for (int b = a + 1; b <= TB_EPARSE; b++)
            assert_string_not_equal(tb_strerror(a), tb_strerror(b));
    }
}

static void every_libuv_code_has_a_text(void **state) {
    (void)state;

#define CHECK(name, text)                                                                          \
    if (UV_##name != UV_UNKNOWN && strstr(tb_strerror(UV_##name), "nknown error"))                 \
        fail_msg("UV_" #name " (%d): %s", UV_##name, tb_strerror(UV_##name));
    UV_ERRNO_MAP(CHECK)
#undef CHECK
    assert_string_equal(tb_strerror(UV_EOF), "end of file");
    assert_string_equal(tb_strerror(-ENOENT), strerror(ENOENT));
    assert_string_equal(tb_strerror(UV_UNKNOWN), "unknown error");
}

static void every_number_has_some_text(void **state) {
    static const int codes[] = {0, 1, INT32_MAX, INT32_MIN, -4096, -5014, -3012, -600};
    (void)state;

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_non_null(tb_strerror(codes[i]));
    assert_string_equal(tb_strerror(0), "success");
    assert_string_equal(tb_strerror(7), "success");
    assert_string_equal(tb_strerror(INT32_MIN), "unknown error");
}

static void fills_an_error_and_hands_the_code_through(void **state) {
    struct tb_error e;
    char name[400];
    (void)state;

    assert_int_equal(tb_error_set(&e, TB_EPARSE, "a.card", 7, "no key %s", "x"), TB_EPARSE);
    assert_string_equal(e.file, "a.card");
    assert_int_equal(e.line, 7);
    assert_string_equal(e.message, "no key x");
    assert_int_equal(tb_error_set(NULL, -ENOENT, "a", 0, "m"), -ENOENT);
    assert_int_equal(tb_error_set(&e, TB_ERANGE, NULL, 0, "m"), TB_ERANGE);
    assert_string_equal(e.file, "");

    memset(name, 'f', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(tb_error_set(&e, TB_ERANGE, name, 0, "%s%s", name, name), TB_ERANGE);
    assert_int_equal(strlen(e.file), sizeof e.file - 1);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_of_ours_has_its_own_text),
        cmocka_unit_test(every_libuv_code_has_a_text),
        cmocka_unit_test(every_number_has_some_text),
        cmocka_unit_test(fills_an_error_and_hands_the_code_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
