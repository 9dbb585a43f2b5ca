#include "tb/test.h"

#include "mqtt/alias.h"

static void remembers_and_replaces(void **state) {
    struct hub_aliases *a = NULL;
    struct tb_span t;
    (void)state;

    t = hub_aliases_resolve(&a, 1, TB_SPAN_NONE);
    assert_int_equal(t.n, 0); /* never set */
    t = hub_aliases_resolve(&a, 1, tb_span_str("a/b"));
    assert_true(tb_span_eq(t, tb_span_str("a/b")));
    assert_true(tb_span_eq(hub_aliases_resolve(&a, 1, TB_SPAN_NONE), tb_span_str("a/b")));
    hub_aliases_resolve(&a, 1, tb_span_str("c"));
    assert_true(tb_span_eq(hub_aliases_resolve(&a, 1, TB_SPAN_NONE), tb_span_str("c")));
    assert_int_equal(hub_aliases_resolve(&a, HUB_ALIASES, TB_SPAN_NONE).n, 0);
    hub_aliases_free(a);
}

static void bounds_number_and_length(void **state) {
    static uint8_t longest[HUB_ALIAS_TOPIC + 1];
    struct hub_aliases *a = NULL;
    (void)state;

    memset(longest, 'x', sizeof longest);
    assert_int_equal(hub_aliases_resolve(&a, HUB_ALIASES + 1, tb_span_str("a")).n, 1);
    assert_null(a);
    hub_aliases_resolve(&a, 2, tb_span(longest, HUB_ALIAS_TOPIC));
    assert_int_equal(hub_aliases_resolve(&a, 2, TB_SPAN_NONE).n, HUB_ALIAS_TOPIC);
    assert_int_equal(hub_aliases_resolve(&a, 2, tb_span(longest, sizeof longest)).n,
                     sizeof longest);
    assert_int_equal(hub_aliases_resolve(&a, 2, TB_SPAN_NONE).n,
                     0); /* not remembered, not mixed up */
    hub_aliases_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_and_replaces),
        cmocka_unit_test(bounds_number_and_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
