#include "tb/conn.h"

#include "helper.h"

static void addresses_of_people_are_understood(void **state) {
    static const struct {
        const char *text, *host;
        unsigned port;
        bool is_unix;
        const char *printed;
    } good[] = {
        {"127.0.0.1:1234", "127.0.0.1", 1234, false, "127.0.0.1:1234"},
        {"localhost:0", "localhost", 0, false, "localhost:0"},
        {"0.0.0.0:65535", "0.0.0.0", 65535, false, "0.0.0.0:65535"},
        {":80", "127.0.0.1", 80, false, "127.0.0.1:80"},
        {"[::1]:443", "::1", 443, false, "[::1]:443"},
        {"hub.example:8883", "hub.example", 8883, false, "hub.example:8883"},
        {"/run/x.sock", "/run/x.sock", 0, true, "unix:/run/x.sock"},
        {"unix:/run/x.sock", "/run/x.sock", 0, true, "unix:/run/x.sock"},
        {"unix:x:1", "x:1", 0, true, "unix:x:1"},
    };
    struct tb_addr a;
    char text[300];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(tb_addr_parse(good[i].text, &a, NULL), 0);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.is_unix, good[i].is_unix);
        assert_string_equal(tb_addr_str(&a, text, sizeof text), good[i].printed);
    }
}

static void other_texts_are_refused_with_a_reason(void **state) {
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "'' is no address: host:port or unix:/path is wanted"},
        {"host", "'host' is no address: host:port or unix:/path is wanted"},
        {"host:", "'host:' has no valid port (0 to 65535)"},
        {"host:x", "'host:x' has no valid port (0 to 65535)"},
        {"host:-1", "'host:-1' has no valid port (0 to 65535)"},
        {"host:65536", "'host:65536' has no valid port (0 to 65535)"},
        {"host: 80", "'host: 80' has no valid port (0 to 65535)"},
        {"a b:80", "'a b:80' has no valid host"},
        {"::1:80", "'::1:80': an IPv6 address stands in brackets, as in [::1]:port"},
        {"[::g]:80", "'[::g]:80' has no valid IPv6 address"},
        {"[]:80", "'[]:80' has no valid IPv6 address"},
        {"[::1:80", "'[::1:80': an IPv6 address stands in brackets, as in [::1]:port"},
        {"unix:", "a Unix socket needs a path"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tb_addr a = {.port = 77};
        struct tb_error e = {0};

        assert_true(tb_addr_parse(bad[i].text, &a, &e) < 0);
        assert_string_equal(e.message, bad[i].message);
        assert_int_equal(a.port, 77); /* untouched */
    }
}

static void path_of_a_socket_has_107_bytes_at_most(void **state) {
    char path[200] = "/";
    struct tb_addr a;
    struct tb_error e;

    (void)state;
    memset(path + 1, 'p', 106);
    assert_int_equal(tb_addr_parse(path, &a, &e), 0);
    path[107] = 'p';
    assert_int_equal(tb_addr_parse(path, &a, &e), TB_ERANGE);
    assert_non_null(strstr(e.message, "longer than 107 bytes"));
}

static void any_text_is_survived(void **state) {
    char text[600];
    struct tb_addr a;

    (void)state;
    memset(text, 'h', sizeof text);
    memcpy(text + 590, ":1\0", 3);
    assert_true(tb_addr_parse(text, &a, NULL) < 0);
    text[255] = ':';
    memcpy(text + 256, "1\0", 2);
    assert_int_equal(tb_addr_parse(text, &a, NULL), 0); /* the longest host that fits */
    memset(text, 'h', 256);
    memcpy(text + 256, ":1\0", 3);
    assert_true(tb_addr_parse(text, &a, NULL) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_people_are_understood),
        cmocka_unit_test(other_texts_are_refused_with_a_reason),
        cmocka_unit_test(path_of_a_socket_has_107_bytes_at_most),
        cmocka_unit_test(any_text_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
