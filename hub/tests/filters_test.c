/* Shared subscriptions of a SUBSCRIBE, cut at every place. */
#include "tb/test.h"

#include "mqtt/filters.h"

struct packet {
    uint8_t bytes[600];
    struct tb_buf b;
};

static void begin(struct packet *p, uint8_t level, const char *properties, size_t n) {
    p->b = TB_BUF(p->bytes);
    tb_put_u8(&p->b, 0);
    tb_put_u8(&p->b, 1);
    if (level == TB_MQTT_5) {
        if (n > 127) {
            tb_put_u8(&p->b, (uint8_t)(n & 0x7F) | 0x80);
            tb_put_u8(&p->b, (uint8_t)(n >> 7));
        } else {
            tb_put_u8(&p->b, (uint8_t)n);
        }
        tb_put(&p->b, tb_span(properties, n));
    }
}

static void add(struct packet *p, const char *filter) {
    size_t n = strlen(filter);

    tb_put_u8(&p->b, (uint8_t)(n >> 8));
    tb_put_u8(&p->b, (uint8_t)n);
    tb_put(&p->b, tb_span(filter, n));
    tb_put_u8(&p->b, 1);
}

/* The same answer in one piece, and in two with every place for the cut. */
static bool passes(const struct packet *p, uint8_t level) {
    struct tb_span all = tb_buf_span(&p->b);
    struct hub_filters f = {0};
    bool whole = hub_filters_feed(&f, level, "d.7", all);

    for (size_t i = 0; i <= all.n; i++) {
        struct hub_filters g = {0};
        bool ok = hub_filters_feed(&g, level, "d.7", tb_span_sub(all, 0, i)) &&
                  hub_filters_feed(&g, level, "d.7", tb_span_sub(all, i, SIZE_MAX));

        assert_int_equal(ok, whole);
    }
    return whole;
}

static bool one(const char *filter) {
    struct packet p;
    bool ok4, ok5;

    begin(&p, TB_MQTT_3_1_1, NULL, 0);
    add(&p, filter);
    ok4 = passes(&p, TB_MQTT_3_1_1);
    begin(&p, TB_MQTT_5, "\x0B\x05", 2);
    add(&p, "devices/d.7/x");
    add(&p, filter);
    ok5 = passes(&p, TB_MQTT_5);
    assert_int_equal(ok4, ok5);
    return ok4;
}

static void ordinary_filters_are_the_brokers_affair(void **state) {
    (void)state;
    assert_true(one("#"));
    assert_true(one(""));
    assert_true(one("devices/other/#"));
    assert_true(one("$SYS/#"));
    assert_true(one("$share"));
    assert_true(one("$shared/g/x"));
}

static void own_shared_subscriptions_pass(void **state) {
    (void)state;
    assert_true(one("$share/g/devices/d.7/#"));
    assert_true(one("$share/a long group/devices/d.7/command"));
    assert_true(one("$share/g/devices/d.7"));
}

static void foreign_shared_subscriptions_do_not(void **state) {
    (void)state;
    assert_false(one("$share/g/devices/other/command"));
    assert_false(one("$share/g/devices/d.77/command"));
    assert_false(one("$share/g/devices/d."));
    assert_false(one("$share/g/devices/d.7+/x"));
    assert_false(one("$share/g/devices/+/command"));
    assert_false(one("$share/g/#"));
    assert_false(one("$share/devices/d.7/command"));
    assert_false(one("$share/g/"));
    assert_false(one("$share/g"));
    assert_false(one("$share/"));
    assert_false(one("$share//devices/other/x"));
}

static void long_properties_are_skipped(void **state) {
    char list[300];
    struct packet p;

    (void)state;
    memset(list, '$', sizeof list);
    begin(&p, TB_MQTT_5, list, sizeof list);
    add(&p, "$share/g/devices/d.7/x");
    assert_true(passes(&p, TB_MQTT_5));
    add(&p, "$share/g/x");
    assert_false(passes(&p, TB_MQTT_5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_filters_are_the_brokers_affair),
        cmocka_unit_test(own_shared_subscriptions_pass),
        cmocka_unit_test(foreign_shared_subscriptions_do_not),
        cmocka_unit_test(long_properties_are_skipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
