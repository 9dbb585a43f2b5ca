/* The tables: commands, results, models. */
#include "cmd/cmd.h"
#include "tb/test.h"

static void commands_are_sorted_and_found(void **state) {
    (void)state;
    for (size_t i = 0; i < at_commands_n; i++) {
        assert_ptr_equal(at_command_find(at_commands[i].name), &at_commands[i]);
        if (i)
            assert_true(strcmp(at_commands[i - 1].name, at_commands[i].name) < 0);
    }
    assert_null(at_command_find("+NOSUCH"));
    assert_null(at_command_find(""));
}

static void every_command_has_a_handler_and_a_form(void **state) {
    (void)state;
    for (const struct at_command *c = at_commands; c->name; c++) {
        assert_non_null(c->run);
        assert_true(c->forms);
        assert_true(strlen(c->name) <= AT_NAME_MAX);
        assert_true(!c->test || (c->forms & AT_FORM_TEST));
    }
}

static void results_have_texts(void **state) {
    (void)state;
    assert_string_equal(at_cme_text(10), "SIM not inserted");
    assert_string_equal(at_cme_text(50), "Incorrect parameters");
    assert_null(at_cme_text(8));
    assert_string_equal(at_result_text(AT_NO_CARRIER), "NO CARRIER");
    assert_int_equal(at_result_number(AT_OK), 0);
    assert_int_equal(at_result_number(AT_NO_CARRIER), 3);
    assert_int_equal(at_result_number(AT_ERROR), 4);
}

static void every_built_in_model_loads(void **state) {
    static const char *const expected[] = {"csim-only",   "fibocom-fm350", "generic",
                                           "nrf91",       "quectel-bg95",  "sequans-gms01q",
                                           "sierra-mc74", "ublox-sara"};
    const char *const *names = modem_quirks_names();
    struct modem_quirks q, plain;
    size_t n = 0;

    (void)state;
    for (; names[n]; n++) {
        assert_int_equal(modem_quirks_find(names[n], &q), 0);
        assert_string_equal(names[n], expected[n]);
    }
    assert_int_equal(n, sizeof expected / sizeof *expected);
    assert_int_equal(modem_quirks_find("nokia-3310", &q), TB_ENOTFOUND);
    modem_quirks_default(&plain);
    assert_int_equal(modem_quirks_find("generic", &q),
                     0); /* the default, with another name for it */
    assert_string_equal(q.manufacturer, plain.manufacturer);
    assert_int_equal(q.t0, plain.t0);
    assert_int_equal(q.csim_quote, plain.csim_quote);
    assert_int_equal(q.line_max, plain.line_max);
}

static void bundles_say_what_they_are_known_for(void **state) {
    struct modem_quirks q;

    (void)state;
    assert_int_equal(modem_quirks_find("sequans-gms01q", &q), 0);
    assert_int_equal(q.t0, MODEM_T0_TRUNC);
    assert_int_equal(q.trunc, 256);
    assert_false(q.csim_quote);
    assert_true(q.csim_stale);
    assert_int_equal(modem_quirks_find("sierra-mc74", &q), 0);
    assert_true(q.session_opaque);
    assert_int_equal(modem_quirks_find("fibocom-fm350", &q), 0);
    assert_false(q.ccho_prefix);
    assert_int_equal(modem_quirks_find("csim-only", &q), 0);
    assert_false(q.cgla);
    assert_int_equal(modem_quirks_find("ublox-sara", &q), 0);
    assert_int_equal(q.t0, MODEM_T0_RAW);
    assert_int_equal(modem_quirks_find("nrf91", &q), 0);
    assert_int_equal(q.me_status, MODEM_STATUS_CASE1);
    assert_false(q.me_retry_6c);
}

static void quirk_values_are_checked(void **state) {
    struct modem_quirks q, before;

    (void)state;
    memset(&q, 0, sizeof q);
    modem_quirks_default(&q);
    before = q;
    assert_int_equal(modem_quirks_set(&q, "t1", "raw"), TB_ENOTFOUND);
    assert_int_equal(modem_quirks_set(&q, "t0", "rare"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "t0", "raw:1"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "t0", "trunc"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "t0", "trunc:1"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "t0", "trunc:x"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "csim-quote", "yes"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "preopen-channel", "20"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "latency-card", "-1"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "latency-card", ""), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "latency-card", "99999999999"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "line-max", "39"), TB_EPARSE);
    assert_int_equal(modem_quirks_set(&q, "manufacturer", "A \"quoted\" name"), TB_EPARSE);
    assert_int_equal(
        modem_quirks_set(&q, "manufacturer", "a name that is much longer than the field is"),
        TB_EPARSE);
    assert_memory_equal(&q, &before, sizeof q);
    assert_int_equal(modem_quirks_set(&q, "cgla-t0", "trunc:100"), 0);
    assert_int_equal(q.cgla_trunc, 100);
    assert_int_equal(q.t0, MODEM_T0_PASS);
}

static void every_key_can_be_set(void **state) {
    static const char *const values[] = {"0",      "1",      "ok",      "on",     "pass",
                                         "upper",  "strict", "channel", "normal", "wait",
                                         "queued", "none",   "text",    "exact",  "40"};
    struct modem_quirks q;

    (void)state;
    modem_quirks_default(&q);
    for (const char *const *key = modem_quirks_keys(); *key; key++) {
        bool one = false;

        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
            one |= modem_quirks_set(&q, *key, values[i]) == 0;
        if (!one)
            fail_msg("no value fits %s", *key);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_sorted_and_found),
        cmocka_unit_test(every_command_has_a_handler_and_a_form),
        cmocka_unit_test(results_have_texts),
        cmocka_unit_test(every_built_in_model_loads),
        cmocka_unit_test(bundles_say_what_they_are_known_for),
        cmocka_unit_test(quirk_values_are_checked),
        cmocka_unit_test(every_key_can_be_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
