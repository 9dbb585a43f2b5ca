#include "hist.h"

#include "tb/test.h"

static struct bench_hist h;

static void knows_nothing_of_no_times(void **state) {
    (void)state;
    bench_hist_clear(&h);
    assert_true(bench_hist_us(&h, 0.5) == 0);
}

static void tells_quantiles_within_three_percent(void **state) {
    static const double quantiles[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999};

    (void)state;
    bench_hist_clear(&h);
    for (uint64_t us = 1; us <= 100000; us++)
        bench_hist_add(&h, us * 1000);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        double us = bench_hist_us(&h, quantiles[i]), wanted = quantiles[i] * 100000 + 1;

        assert_true(us > wanted * 0.97 && us < wanted * 1.03);
    }
}

static void takes_any_time(void **state) {
    (void)state;
    bench_hist_clear(&h);
    bench_hist_add(&h, 0);
    assert_true(bench_hist_us(&h, 0.5) == 0);
    bench_hist_add(&h, UINT64_MAX);
    assert_true(bench_hist_us(&h, 0.99) > 1.7e16);
    assert_int_equal(h.n, 2);
}

static void merges(void **state) {
    static struct bench_hist other;

    (void)state;
    bench_hist_clear(&h);
    bench_hist_clear(&other);
    for (int i = 0; i < 10; i++) {
        bench_hist_add(&h, 1000);
        bench_hist_add(&other, 1000000);
    }
    bench_hist_merge(&h, &other);
    assert_int_equal(h.n, 20);
    assert_true(bench_hist_us(&h, 0.25) < 1.1 && bench_hist_us(&h, 0.75) > 970);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_nothing_of_no_times),
        cmocka_unit_test(tells_quantiles_within_three_percent),
        cmocka_unit_test(takes_any_time),
        cmocka_unit_test(merges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
