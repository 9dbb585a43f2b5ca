#include <string.h>

#include "simcard/profile.h"
#include "tb/test.h"

static bool equal(const struct card_profile *a, const struct card_profile *b) {
    for (const char *const *k = card_profile_knobs(); *k; k++) {
        char x[CARD_KNOB_TEXT], y[CARD_KNOB_TEXT];

        assert_int_equal(card_profile_get(a, *k, x, sizeof x), 0);
        assert_int_equal(card_profile_get(b, *k, y, sizeof y), 0);
        if (strcmp(x, y) != 0)
            return false;
    }
    return true;
}

static void every_name_finds_its_profile(void **state) {
    size_t n = 0;

    (void)state;
    for (const char *const *name = card_profile_names(); *name; name++, n++)
        assert_string_equal(card_profile_find(*name)->name, *name);
    assert_int_equal(n, 9);
    assert_string_equal(card_profile_names()[0], "gsma");
    assert_null(card_profile_find("nobody"));
}

static void profiles_survive_as_text(void **state) {
    (void)state;
    for (const char *const *name = card_profile_names(); *name; name++) {
        const struct card_profile *p = card_profile_find(*name);
        struct card_profile copy = {0};

        for (const char *const *k = card_profile_knobs(); *k; k++) {
            char text[CARD_KNOB_TEXT];

            assert_int_equal(card_profile_get(p, *k, text, sizeof text), 0);
            assert_int_equal(card_profile_set(&copy, *k, text), 0);
        }
        assert_true(equal(p, &copy));
    }
}

/* Each knob takes each of its values, and setting one changes that one only. */
static void knobs_are_independent(void **state) {
    (void)state;
    for (const char *const *k = card_profile_knobs(); *k; k++) {
        const char *values = card_profile_knob_values(*k);

        assert_non_null(values);
        while (*values) {
            struct card_profile p = *card_profile_find("gsma"), q = p;
            char value[16] = "", got[CARD_KNOB_TEXT], was[CARD_KNOB_TEXT];
            size_t n = strcspn(values, "|.");

            assert_true(n < sizeof value);
            memcpy(value, values, n);
            values += n + strspn(values + n, "|.");
            assert_int_equal(card_profile_get(&p, *k, was, sizeof was), 0);
            assert_int_equal(card_profile_set(&p, *k, value), 0);
            assert_int_equal(card_profile_get(&p, *k, got, sizeof got), 0);
            assert_string_equal(got, value);
            assert_int_equal(card_profile_set(&p, *k, was), 0);
            assert_true(equal(&p, &q));
        }
    }
}

static void wrong_names_and_values_are_refused(void **state) {
    struct card_profile p = *card_profile_find("gsma");
    char text[CARD_KNOB_TEXT];

    (void)state;
    assert_int_equal(card_profile_set(&p, "colour", "red"), TB_ENOTFOUND);
    assert_int_equal(card_profile_get(&p, "colour", text, sizeof text), TB_ENOTFOUND);
    assert_null(card_profile_knob_values("colour"));
    assert_int_equal(card_profile_set(&p, "sig_len", "12"), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "sig_len", ""), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "sig_len", "1"), TB_ERANGE); /* a prefix is not enough */
    assert_int_equal(card_profile_set(&p, "max_block", "0"), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "max_block", "257"), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "max_block", "12x"), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "max_block", "-1"), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "max_block", ""), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "max_sessions", "9"), TB_ERANGE);
    assert_int_equal(card_profile_set(&p, "version", "0x11"), 0);
    assert_int_equal(p.version, 0x11);
    assert_true(p.sig_len == TB_SAFE_LEN_16 && p.max_block == 255);
    assert_int_equal(card_profile_get(&p, "delivery", text, 6), TB_ESPACE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_finds_its_profile),
        cmocka_unit_test(profiles_survive_as_text),
        cmocka_unit_test(knobs_are_independent),
        cmocka_unit_test(wrong_names_and_values_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
