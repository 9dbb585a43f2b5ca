#include "tb/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <regex.h>

#include "helper.h"

static int saved_stderr;

static int begin(void **state) {
    int fd;

    if (make_dir(state) < 0)
        return -1;
    fd = open(in_dir("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    saved_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    return 0;
}

static int end(void **state) {
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    return remove_dir(state);
}

static void assert_line(const char *pattern) {
    char *text = read_file(in_dir("log"));
    regex_t re;
    int r;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    r = regexec(&re, text, 0, NULL, 0);
    regfree(&re);
    if (r != 0)
        fail_msg("log is not as %s:\n%s", pattern, text);
    free(text);
}

static void line_has_time_level_component_message(void **state) {
    (void)state;
    assert_int_equal(tb_log_setup("info", 0, NULL), 0);
    tb_info("modem", "client connected channel=%d", 1);
    assert_line("^[0-9]+\\.[0-9]{3} info modem: client connected channel=1\n$");
}

static void levels_go_by_component(void **state) {
    (void)state;
    assert_int_equal(tb_log_setup("warn,apdu=debug,at=error", 0, NULL), 0);
    assert_true(tb_log_enabled("apdu", TB_LOG_DEBUG));
    assert_true(tb_log_enabled("x", TB_LOG_WARN));
    assert_false(tb_log_enabled("x", TB_LOG_INFO));
    assert_true(tb_log_enabled("at", TB_LOG_ERROR));
    assert_false(tb_log_enabled("at", TB_LOG_WARN));
    tb_error_log("at", "1");
    tb_warn("at", "2");
    tb_debug("apdu", "3");
    tb_debug("x", "4");
    tb_info("x", "5");
    tb_warn("x", "6");
    assert_line("^[0-9.]+ error at: 1\n[0-9.]+ debug apdu: 3\n[0-9.]+ warn x: 6\n$");
    assert_int_equal(tb_log_setup("apdu=debug", 0, NULL), 0);
    assert_true(tb_log_enabled("x", TB_LOG_INFO)); /* the default */
}

static void bad_levels_are_explained_and_change_nothing(void **state) {
    static const struct {
        const char *spec, *message;
    } bad[] = {
        {"inof", "unknown log level 'inof': did you mean 'info'?"},
        {"info,apdu=xyz", "unknown log level 'xyz' (error, warn, info, debug)"},
        {"=debug", "bad component in log level '=debug'"},
        {"a,b", "unknown log level 'a' (error, warn, info, debug)"},
    };
    struct tb_error e;

    (void)state;
    assert_int_equal(tb_log_setup("error", 0, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(tb_log_setup(bad[i].spec, 0, &e) < 0);
        assert_string_equal(e.message, bad[i].message);
        assert_false(tb_log_enabled("x", TB_LOG_WARN));
    }
}

static void foreign_bytes_cannot_forge_a_line(void **state) {
    (void)state;
    assert_int_equal(tb_log_setup("info", 0, NULL), 0);
    tb_info("x", "name=%s", "a\n1.000 error x: forged\x1b[2J\x7f");
    assert_line("^[0-9.]+ info x: name=a\\\\x0a1\\.000 error x: forged\\\\x1b\\[2J\\\\x7f\n$");
}

static void long_message_is_cut_and_marked(void **state) {
    char big[10000];

    (void)state;
    memset(big, 'm', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(tb_log_setup("info", 0, NULL), 0);
    tb_info("x", "%s", big);
    memset(big, '\n', sizeof big - 1); /* grows when escaped */
    tb_info("x", "%s", big);
    assert_line("^[0-9.]+ info x: m+\\.\\.\\.\n[0-9.]+ info x: (\\\\x0a)+\\.\\.\\.\n$");
}

static void json_lines_are_json_whatever_is_in_them(void **state) {
    char all[256], *text;
    json_error_t e;
    json_t *o;

    (void)state;
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    assert_int_equal(tb_log_setup("info", 1, NULL), 0);
    tb_warn("hub", "%s", all);
    text = read_file(in_dir("log"));
    o = json_loads(text, 0, &e);
    if (!o)
        fail_msg("%s: %s", e.text, text);
    assert_string_equal(json_string_value(json_object_get(o, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(o, "component")), "hub");
    assert_true(json_is_integer(json_object_get(o, "ts")));
    assert_true(json_is_integer(json_object_get(o, "mono")));
    assert_int_equal(strncmp(json_string_value(json_object_get(o, "message")), all, 126), 0);
    assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
    json_decref(o);
    free(text);
}

static void errno_survives(void **state) {
    (void)state;
    assert_int_equal(tb_log_setup("info", 0, NULL), 0);
    errno = EXDEV;
    tb_info("x", "%m");
    assert_int_equal(errno, EXDEV);
    assert_line("Invalid cross-device link");
}

static void *chatter(void *arg) {
    for (int i = 0; i < 200; i++)
        tb_info("t", "%s", (const char *)arg);
    return NULL;
}

static void lines_of_threads_stay_whole(void **state) {
    static char a[400], b[400];
    pthread_t t[2];
    char *text, *at;

    (void)state;
    assert_int_equal(tb_log_setup("info", 0, NULL), 0);
    memset(a, 'a', sizeof a - 1);
    memset(b, 'b', sizeof b - 1);
    assert_int_equal(pthread_create(&t[0], NULL, chatter, a), 0);
    assert_int_equal(pthread_create(&t[1], NULL, chatter, b), 0);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    text = read_file(in_dir("log"));
    for (at = text; *at; at = strchr(at, '\n') + 1) {
        at = strstr(at, " t: ") + 4;
        assert_int_equal(strspn(at, "a") + strspn(at, "b"), sizeof a - 1);
        assert_int_equal(at[sizeof a - 1], '\n');
    }
    free(text);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        LOG_TEST(line_has_time_level_component_message),
        LOG_TEST(levels_go_by_component),
        LOG_TEST(bad_levels_are_explained_and_change_nothing),
        LOG_TEST(foreign_bytes_cannot_forge_a_line),
        LOG_TEST(long_message_is_cut_and_marked),
        LOG_TEST(json_lines_are_json_whatever_is_in_them),
        LOG_TEST(errno_survives),
        LOG_TEST(lines_of_threads_stay_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
