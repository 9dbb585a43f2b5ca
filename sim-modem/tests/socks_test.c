#include "data/socks.h"

#include <stdlib.h>

#include "tb/hex.h"
#include "tb/test.h"

static uint8_t room[600];

static struct tb_span hex(const char *text) {
    struct tb_buf b = TB_BUF(room);

    assert_int_equal(tb_hex_decode_loose(tb_span_str(text), &b), 0);
    return tb_buf_span(&b);
}

static void takes_greetings(void **state) {
    struct tb_span in = hex("05 01 00 AA");
    bool none = false;
    (void)state;

    assert_int_equal(socks_take_greeting(&in, &none), 1);
    assert_true(none);
    assert_int_equal(in.n, 1);
    in = hex("05 02 02 00");
    assert_int_equal(socks_take_greeting(&in, &none), 1);
    assert_true(none);
    in = hex("05 02 01 02");
    assert_int_equal(socks_take_greeting(&in, &none), 1);
    assert_false(none);
    none = true;
    in = hex("05 00");
    assert_int_equal(socks_take_greeting(&in, &none), 1);
    assert_false(none);
}

static void refuses_other_protocols(void **state) {
    static const char *const others[] = {"04 01", "47", "16 03 01", "00"};
    bool none = true;
    (void)state;

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct tb_span in = hex(others[i]), before = in;

        assert_int_equal(socks_take_greeting(&in, &none), TB_EPARSE);
        assert_memory_equal(&in, &before, sizeof in);
        assert_true(none);
    }
}

static void takes_requests_with_every_address(void **state) {
    struct socks_addr to;
    uint8_t command;
    struct tb_span in = hex("05 01 00 01 7F000001 1F90 DD");
    (void)state;

    assert_int_equal(socks_take_request(&in, &command, &to), 1);
    assert_int_equal(command, SOCKS_CONNECT);
    assert_int_equal(to.type, SOCKS_IPV4);
    assert_memory_equal(to.ip, "\x7F\0\0\1", 4);
    assert_int_equal(to.port, 8080);
    assert_int_equal(in.n, 1);
    in = hex("05 03 00 04 20010DB8000000000000000000000001 0050");
    assert_int_equal(socks_take_request(&in, &command, &to), 1);
    assert_int_equal(command, SOCKS_UDP_ASSOCIATE);
    assert_int_equal(to.type, SOCKS_IPV6);
    assert_int_equal(to.ip[15], 1);
    in = hex("05 7F 00 03 03 612E62 FFFF");
    assert_int_equal(socks_take_request(&in, &command, &to), 1);
    assert_int_equal(command, 0x7F);
    assert_string_equal(to.name, "a.b");
    assert_int_equal(to.port, 65535);
}

static void needs_every_byte_of_a_message(void **state) {
    static const char *const whole[] = {"05 01 00 01 7F000001 1F90", "05 01 00 03 04 686F7374 1F90",
                                        "05 01 00 04 20010DB8000000000000000000000001 0050"};
    (void)state;

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        struct tb_span all = hex(whole[i]);

        for (size_t n = 0; n < all.n; n++) {
            struct socks_addr to = {.port = 77};
            struct tb_span in = tb_span_sub(all, 0, n), before = in;
            uint8_t command = 0xEE;

            assert_int_equal(socks_take_request(&in, &command, &to), 0);
            assert_memory_equal(&in, &before, sizeof in);
            assert_int_equal(command, 0xEE);
            assert_int_equal(to.port, 77);
        }
    }
}

static void refuses_what_is_no_request(void **state) {
    static const struct {
        const char *bytes;
        int code;
    } bad[] = {
        {"04 01 00", TB_EPARSE},
        {"05 01 01", TB_EPARSE},                   /* reserved */
        {"05 01 00 02 0000", TB_EUNSUP},           /* address type */
        {"05 01 00 03 00", TB_EPARSE},             /* empty name */
        {"05 01 00 03 03 610062 0050", TB_EPARSE}, /* NUL in it */
        {"05 01 00 03 03 612062 0050", TB_EPARSE}, /* blank */
        {"05 01 00 03 02 C3A4 0050", TB_EPARSE},   /* not ASCII */
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tb_span in = hex(bad[i].bytes), before = in;
        struct socks_addr to = {.port = 77};
        uint8_t command = 0xEE;

        assert_int_equal(socks_take_request(&in, &command, &to), bad[i].code);
        assert_memory_equal(&in, &before, sizeof in);
        assert_int_equal(command, 0xEE);
        assert_int_equal(to.port, 77);
    }
}

static void takes_the_longest_name(void **state) {
    uint8_t bytes[SOCKS_REQUEST_MAX] = {5, 1, 0, 3, 255};
    struct tb_span in = tb_span(bytes, sizeof bytes);
    struct socks_addr to;
    uint8_t command;
    (void)state;

    memset(bytes + 5, 'x', 255);
    assert_int_equal(socks_take_request(&in, &command, &to), 1);
    assert_int_equal(strlen(to.name), 255);
    assert_int_equal(in.n, 0);
}

static void datagrams_are_whole_or_dropped(void **state) {
    static const char *const bad[] = {"",
                                      "00",
                                      "0000",
                                      "000000",
                                      "00000001",
                                      "0100000100000000 0001",
                                      "000000 01 7F000001 1F",
                                      "000000 07 0000",
                                      "000000 03 00 0001"};
    struct socks_addr to;
    struct tb_span in = hex("0000 00 01 7F000001 1F90 616263");
    (void)state;

    assert_int_equal(socks_take_datagram(&in, &to), 1);
    assert_int_equal(to.port, 8080);
    assert_memory_equal(in.p, "abc", 3);
    in = hex("0000 00 01 7F000001 1F90");
    assert_int_equal(socks_take_datagram(&in, &to), 1);
    assert_int_equal(in.n, 0);
    in = hex("0000 01 01 7F000001 1F90 616263");
    assert_int_equal(socks_take_datagram(&in, &to), TB_EUNSUP);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        in = hex(bad[i]);
        assert_int_equal(socks_take_datagram(&in, &to), TB_EPARSE);
    }
}

static void writes_choices_replies_and_headers(void **state) {
    struct socks_addr at = {.type = SOCKS_IPV4, .ip = {127, 0, 0, 1}, .port = 8080};
    uint8_t bytes[SOCKS_REPLY_MAX];
    struct tb_buf out = TB_BUF(bytes);
    struct socks_addr back;
    struct tb_span in;
    (void)state;

    socks_put_choice(&out, true);
    assert_memory_equal(out.p, "\5\0", 2);
    out.n = 0;
    socks_put_choice(&out, false);
    assert_memory_equal(out.p, "\5\xFF", 2);
    out.n = 0;
    socks_put_reply(&out, SOCKS_REFUSED, NULL);
    assert_int_equal(out.n, 10);
    assert_memory_equal(out.p, "\5\5\0\1\0\0\0\0\0\0", 10);
    out.n = 0;
    at.type = SOCKS_IPV6;
    socks_put_reply(&out, SOCKS_OK, &at);
    assert_int_equal(out.n, SOCKS_REPLY_MAX);
    out.n = 0;
    at.type = SOCKS_IPV4;
    socks_put_datagram(&out, &at);
    in = tb_buf_span(&out);
    assert_int_equal(socks_take_datagram(&in, &back), 1);
    assert_int_equal(back.port, 8080);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_greetings),
        cmocka_unit_test(refuses_other_protocols),
        cmocka_unit_test(takes_requests_with_every_address),
        cmocka_unit_test(needs_every_byte_of_a_message),
        cmocka_unit_test(refuses_what_is_no_request),
        cmocka_unit_test(takes_the_longest_name),
        cmocka_unit_test(datagrams_are_whole_or_dropped),
        cmocka_unit_test(writes_choices_replies_and_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
