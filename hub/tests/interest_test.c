#include "tb/test.h"

#include "mqtt/interest.h"

static const char topic[] = "devices/red/command";

static void matches_as_the_standard_says(void **state) {
    static const char *const yes[] = {"devices/red/command",
                                      "devices/red/+",
                                      "devices/+/command",
                                      "+/+/+",
                                      "#",
                                      "devices/#",
                                      "devices/red/#",
                                      "devices/red/command/#",
                                      "$share/g/devices/red/command",
                                      "$share/g/#"},
                             *const no[] = {"",
                                            "devices/red",
                                            "devices/red/command/",
                                            "devices/red/command/+",
                                            "/devices/red/command",
                                            "devices/blue/command",
                                            "devices/+",
                                            "+",
                                            "devices/red/commands",
                                            "devices/re/command",
                                            "$share/g",
                                            "$share/devices/red/command",
                                            "$share/"};
    (void)state;

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(hub_filter_matches(tb_span_str(yes[i]), topic));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(hub_filter_matches(tb_span_str(no[i]), topic));
}

static void see(struct hub_interest *i, uint8_t level, uint8_t type, struct tb_span body) {
    const struct tb_mqtt_seen seen = {{type, 2, (uint32_t)body.n}, body};

    hub_interest_see(i, level, topic, &seen);
}

#define RED_PLUS 0, 13, 'd', 'e', 'v', 'i', 'c', 'e', 's', '/', 'r', 'e', 'd', '/', '+'

static void comes_and_goes_with_the_filters(void **state) {
    struct hub_interest i = {0};
    (void)state;

    see(&i, 4, 8, TB_BYTES(0, 1, 0, 1, 'x', 0, RED_PLUS, 1));
    assert_true(hub_interest_is(&i));
    see(&i, 4, 8, TB_BYTES(0, 2, RED_PLUS, 1, 0, 1, '#', 0)); /* one of them a second time */
    see(&i, 4, 10, TB_BYTES(0, 3, RED_PLUS));
    assert_true(hub_interest_is(&i));
    see(&i, 4, 10, TB_BYTES(0, 3, 0, 1, 'x', 0, 1, '#'));
    assert_false(hub_interest_is(&i));
    /* MQTT 5: behind the properties */
    see(&i, 5, 8, TB_BYTES(0, 1, 2, 0x0B, 7, RED_PLUS, 1));
    assert_true(hub_interest_is(&i));
    see(&i, 5, 10, TB_BYTES(0, 1, 0, RED_PLUS));
    assert_false(hub_interest_is(&i));
}

static void survives_every_truncation(void **state) {
    const struct tb_span whole = TB_BYTES(0, 1, 2, 0x0B, 7, RED_PLUS, 1);
    (void)state;

    for (size_t n = 0; n < whole.n; n++) {
        struct hub_interest i = {0};

        see(&i, 5, 8, tb_span_sub(whole, 0, n));
        assert_false(hub_interest_is(&i));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_as_the_standard_says),
        cmocka_unit_test(comes_and_goes_with_the_filters),
        cmocka_unit_test(survives_every_truncation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
