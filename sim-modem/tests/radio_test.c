/* The radio in virtual time. */
#include "data/radio.h"

#include "tb/test.h"

static void off_is_at_once_and_accounted(void **state) {
    struct radio_flow f = {0};
    struct radio r;
    uint64_t due = 0;
    (void)state;

    radio_init(&r, TB_RADIO_OFF, 1);
    assert_int_equal(radio_round_trip(&r, &f, 100), 100);
    assert_int_equal(radio_stream(&r, &f, RADIO_UP, 100, 1000), 100);
    assert_int_equal(radio_stream(&r, &f, RADIO_DOWN, 100, 50), 100);
    assert_true(radio_datagram(&r, &f, RADIO_UP, 100, 7, &due));
    assert_int_equal(due, 100);
    assert_int_equal(r.round_trips, 2);
    assert_int_equal(r.bytes[RADIO_UP], 1007);
    assert_int_equal(r.bytes[RADIO_DOWN], 50);
    assert_int_equal(r.datagrams[RADIO_UP], 1);
    assert_int_equal(r.waited_us, 0);
}

/* One exchange in quiet air: the round trip of the profile and the bits. */
static void an_exchange_takes_its_round_trip(void **state) {
    struct radio r;
    uint64_t sum = 0;
    (void)state;

    radio_init(&r, TB_RADIO_NB_IOT_GOOD, 1);
    for (unsigned i = 0; i < 1000; i++) {
        struct radio_flow f = {0};
        uint64_t start = (uint64_t)i * 60000000, up, down;
        uint64_t resent = r.resent;

        up = radio_stream(&r, &f, RADIO_UP, start, 62);  /* 8 ms */
        down = radio_stream(&r, &f, RADIO_DOWN, up, 26); /* 8 ms */
        if (r.resent == resent)
            assert_in_range(down - start, 500000 + 16000, 1100000 + 16000);
        sum += down - start;
    }
    assert_in_range(sum / 1000, 780000, 900000); /* with what was resent */
    assert_int_equal(r.round_trips, 1000);
    assert_true(r.resent > 0);
}

static void the_rate_is_shared_by_all_flows(void **state) {
    struct radio_flow a = {0}, b = {0};
    struct radio r;
    uint64_t first, second;
    (void)state;

    radio_init(&r, TB_RADIO_NB_IOT_DEEP, 3);
    first = radio_stream(&r, &a, RADIO_UP, 0, 125); /* a second each */
    second = radio_stream(&r, &b, RADIO_UP, 0, 125);
    assert_true(first >= 1000000);
    assert_true(second >= 2000000);
    assert_int_equal(r.free_us[RADIO_UP], 2000000);
    assert_int_equal(r.free_us[RADIO_DOWN], 0);
}

static void order_is_kept_within_a_flow(void **state) {
    struct radio_flow f = {0};
    struct radio r;
    uint64_t last[2] = {0, 0};
    (void)state;

    radio_init(&r, TB_RADIO_NB_IOT_DEEP, 9);
    for (unsigned i = 0; i < 2000; i++) {
        enum radio_dir dir = i % 3 == 0 ? RADIO_DOWN : RADIO_UP;
        uint64_t due = radio_stream(&r, &f, dir, i * 1000, 1400);

        assert_true(due >= last[dir]);
        assert_true(due >= i * 1000);
        last[dir] = due;
    }
    assert_true(r.resent > 50); /* 5 % of 2000, and nothing is lost */
    assert_int_equal(r.lost, 0);
}

static void datagrams_are_lost_at_the_profiles_rate(void **state) {
    struct radio_flow f = {0};
    struct radio r;
    unsigned lost = 0;
    (void)state;

    radio_init(&r, TB_RADIO_NB_IOT_DEEP, 4);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t due = 0;

        if (!radio_datagram(&r, &f, RADIO_UP, i, 10, &due))
            lost++;
        else
            assert_true(due > i);
    }
    assert_in_range(lost, 400, 600);
    assert_int_equal(r.lost, lost);
    assert_int_equal(r.datagrams[RADIO_UP], 10000);
}

static void answers_make_round_trips(void **state) {
    struct radio_flow f = {0};
    struct radio r;
    (void)state;

    radio_init(&r, TB_RADIO_OFF, 1);
    (void)radio_stream(&r, &f, RADIO_UP, 0, 1);
    (void)radio_stream(&r, &f, RADIO_UP, 0, 1);
    assert_int_equal(r.round_trips, 0);
    (void)radio_stream(&r, &f, RADIO_DOWN, 0, 1);
    (void)radio_stream(&r, &f, RADIO_DOWN, 0, 1);
    assert_int_equal(r.round_trips, 1);
    (void)radio_stream(&r, &f, RADIO_UP, 0, 1);
    (void)radio_stream(&r, &f, RADIO_DOWN, 0, 1);
    assert_int_equal(r.round_trips, 2);
    f = (struct radio_flow){0};
    (void)radio_stream(&r, &f, RADIO_DOWN, 0, 1); /* a server that speaks first */
    assert_int_equal(r.round_trips, 2);
}

static void the_same_seed_is_the_same_radio(void **state) {
    struct radio_flow f[3] = {0};
    struct radio r[3];
    bool differs = false;
    (void)state;

    for (int k = 0; k < 3; k++)
        radio_init(&r[k], TB_RADIO_LTE_M, k < 2 ? 5 : 6);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t due[3];

        for (int k = 0; k < 3; k++)
            due[k] = radio_stream(&r[k], &f[k], i % 2 ? RADIO_DOWN : RADIO_UP, i * 100000, 100);
        assert_int_equal(due[0], due[1]);
        differs |= due[0] != due[2];
    }
    assert_true(differs);
}

static void a_connection_takes_a_round_trip_before_its_data(void **state) {
    struct radio_flow f = {0};
    struct radio r;
    uint64_t up, there;
    (void)state;

    radio_init(&r, TB_RADIO_LTE_M, 11);
    up = radio_round_trip(&r, &f, 0);
    assert_true(up >= 50000);
    there = radio_stream(&r, &f, RADIO_DOWN, 0, 1); /* a server's greeting is not there before it */
    assert_true(there >= up);
    assert_int_equal(r.round_trips, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_is_at_once_and_accounted),
        cmocka_unit_test(an_exchange_takes_its_round_trip),
        cmocka_unit_test(the_rate_is_shared_by_all_flows),
        cmocka_unit_test(order_is_kept_within_a_flow),
        cmocka_unit_test(datagrams_are_lost_at_the_profiles_rate),
        cmocka_unit_test(answers_make_round_trips),
        cmocka_unit_test(the_same_seed_is_the_same_radio),
        cmocka_unit_test(a_connection_takes_a_round_trip_before_its_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
