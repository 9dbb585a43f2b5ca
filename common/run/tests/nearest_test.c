#include "helper.h"
#include "tb/cli.h"

static void slips_of_the_pen_are_understood(void **state) {
    static const char *const names[] = {"listen", "log-level", "ctl", "event-file", NULL};
    static const struct {
        const char *text, *near;
    } cases[] = {
        {"lisen", "listen"},         {"listne", "listen"}, {"LISTEN", "listen"},
        {"loglevel", "log-level"},   {"ct", "ctl"},        {"event_file", "event-file"},
        {"eventfile", "event-file"}, {"listen", "listen"}, {"log-levels", "log-level"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *near = tb_nearest(cases[i].text, names);

        assert_non_null(near);
        assert_string_equal(near, cases[i].near);
    }
}

static void other_words_have_no_neighbour(void **state) {
    static const char *const names[] = {"listen", "ctl", NULL}, *const none[] = {NULL};
    char endless[200];

    (void)state;
    memset(endless, 'l', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(tb_nearest("configuration", names));
    assert_null(tb_nearest("xyz", names));
    assert_null(tb_nearest("", names));
    assert_null(tb_nearest(endless, names));
    assert_null(tb_nearest("listen", none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slips_of_the_pen_are_understood),
        cmocka_unit_test(other_words_have_no_neighbour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
