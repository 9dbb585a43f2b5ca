/* The serial line between a TE and a channel, both played by the test. */
#include "app/uart.h"

#include <stdlib.h>
#include <string.h>

#include "tb/loop.h"
#include "tb/test.h"

struct line {
    uv_loop_t loop;
    struct uart uart;
    struct uart_line *l;
    char typed[4096], read[4096]; /* what the modem, and the TE, have got */
    size_t takes;                 /* the modem's appetite */
    int room;                     /* of what the TE reads from: 0 makes every write the last */
    bool echo;
    unsigned offered, flushed;
};

static size_t on_input(struct tb_span bytes, void *user) {
    struct line *t = user;
    size_t n = bytes.n < t->takes ? bytes.n : t->takes;

    strncat(t->typed, (const char *)bytes.p, n);
    if (t->echo)
        (void)uart_output(t->l, tb_span(bytes.p, n));
    return n;
}

static bool on_echoes(void *user) {
    return ((struct line *)user)->echo;
}

static int on_output(struct tb_span bytes, void *user) {
    struct line *t = user;

    strncat(t->read, (const char *)bytes.p, bytes.n);
    return t->room;
}

static void on_offer(void *user) {
    ((struct line *)user)->offered++;
}

static void on_flushed(void *user) {
    ((struct line *)user)->flushed++;
}

static const struct uart_ops ops = {.input = on_input,
                                    .echoes = on_echoes,
                                    .output = on_output,
                                    .offer = on_offer,
                                    .flushed = on_flushed};

static int begin(void **state) {
    struct line *t = calloc(1, sizeof *t);

    uv_loop_init(&t->loop);
    t->uart.random = 1;
    t->takes = SIZE_MAX;
    t->room = 1;
    t->l = uart_line_new(&t->loop, &t->uart, &ops, t);
    *state = t;
    return 0;
}

static int end(void **state) {
    struct line *t = *state;

    uart_line_close(t->l);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    free(t);
    return 0;
}

static struct tb_span text(const char *s) {
    return tb_span_str(s);
}

/* Runs until counter has moved; every timer of a line is due some time. */
static void until(struct line *t, const unsigned *counter) {
    unsigned before = *counter;

    while (*counter == before)
        assert_true(uv_run(&t->loop, UV_RUN_ONCE) > 0 || *counter != before);
}

static void off_passes_at_once_and_counts(void **state) {
    struct line *t = *state;

    assert_int_equal(uart_input(t->l, text("AT\r")), 3);
    assert_string_equal(t->typed, "AT\r");
    assert_int_equal(uart_output(t->l, text("OK\r\n")), 1);
    assert_string_equal(t->read, "OK\r\n");
    assert_int_equal(t->uart.chars_in, 3);
    assert_int_equal(t->uart.chars_out, 4);
    assert_int_equal(t->uart.waited_us, 0);
}

static void a_command_arrives_with_its_last_character(void **state) {
    struct line *t = *state;
    uint64_t start = tb_clock_mono_ns();
    const char *typed = "AT+CSIM\rAT\r";

    t->uart.profile = TB_UART_9K6;
    assert_int_equal(uart_input(t->l, text(typed)), 0);
    assert_string_equal(t->typed, "");
    assert_int_equal(uart_input(t->l, text(typed)), 0); /* still on the line */
    until(t, &t->offered);
    assert_true(tb_clock_mono_ns() - start >= 8 * 10 * UINT64_C(1000000000) / 9600 + 10000000);
    assert_int_equal(uart_input(t->l, text(typed)), 8); /* one command, the next one begins */
    assert_string_equal(t->typed, "AT+CSIM\r");
    until(t, &t->offered);
    assert_int_equal(uart_input(t->l, text("AT\r")), 3);
    assert_int_equal(t->uart.chars_in, 11);
}

static void a_busy_modem_gets_the_rest_without_another_wait(void **state) {
    struct line *t = *state;

    t->uart.profile = TB_UART_USB;
    t->takes = 2;
    assert_int_equal(uart_input(t->l, text("AT+GSN\r")), 0);
    until(t, &t->offered);
    assert_int_equal(uart_input(t->l, text("AT+GSN\r")), 2);
    t->takes = SIZE_MAX;
    assert_int_equal(uart_input(t->l, text("+GSN\r")), 5);
    assert_string_equal(t->typed, "AT+GSN\r");
    assert_int_equal(t->offered, 1);
}

static void an_answer_is_there_with_its_last_character(void **state) {
    struct line *t = *state;
    uint64_t start = tb_clock_mono_ns();

    t->uart.profile = TB_UART_9K6;
    assert_int_equal(uart_output(t->l, text("0123456789")), 1);
    assert_true(uart_pending(t->l));
    assert_string_equal(t->read, "");
    until(t, &t->flushed);
    assert_true(tb_clock_mono_ns() - start >= 10 * 10 * UINT64_C(1000000000) / 9600);
    assert_string_equal(t->read, "0123456789");
    assert_false(uart_pending(t->l));
}

static void the_host_pauses_after_an_answer(void **state) {
    struct line *t = *state;
    uint64_t start = tb_clock_mono_ns();

    t->uart.profile = TB_UART_115K;
    (void)uart_output(t->l, text("OK"));
    assert_int_equal(uart_input(t->l, text("A")), 0);
    until(t, &t->offered);
    assert_true(tb_clock_mono_ns() - start >= 20000000);
}

static void echo_is_free(void **state) {
    struct line *t = *state;

    t->echo = true;
    assert_int_equal(uart_input(t->l, text("AT\r")), 3);
    (void)uart_output(t->l, text("OK"));
    assert_string_equal(t->read, "AT\rOK");
    assert_int_equal(t->uart.chars_in, 3);
    assert_int_equal(t->uart.chars_out, 2);
}

/* The TE does not read: nothing more comes after what has been written, whether more waits or not.
 */
static void a_full_te_is_waited_for(void **state) {
    struct line *t = *state;
    unsigned more;

    for (more = 0; more < 2; more++) {
        t->uart.profile = TB_UART_USB;
        t->read[0] = '\0';
        t->room = 0;
        (void)uart_output(t->l, text("a"));
        if (more)
            (void)uart_output(t->l, text("b"));
        while (!t->read[0])
            uv_run(&t->loop, UV_RUN_ONCE);
        assert_string_equal(t->read, "a");
        (void)uart_output(t->l, text("c"));
        while (uv_run(&t->loop, UV_RUN_NOWAIT))
            ;
        assert_string_equal(t->read, "a");
        t->room = 1;
        uart_drained(t->l);
        until(t, &t->flushed);
        assert_string_equal(t->read, more ? "abc" : "ac");
    }
    t->uart.profile = TB_UART_OFF; /* and without a profile */
    t->room = 0;
    assert_int_equal(uart_output(t->l, text("d")), 0);
    more = t->flushed;
    uart_drained(t->l);
    assert_int_equal(t->flushed, more + 1);
}

static void much_output_is_bounded(void **state) {
    struct line *t = *state;
    static char block[1 << 14];
    int n = 0;

    memset(block, 'x', sizeof block);
    t->uart.profile = TB_UART_9K6;
    while (uart_output(t->l, tb_span((const uint8_t *)block, sizeof block)) == 1)
        n++;
    assert_int_equal(n, 3); /* 64 KiB */
    uart_forget(t->l);
    assert_false(uart_pending(t->l));
    while (uv_run(&t->loop, UV_RUN_NOWAIT))
        ;
    assert_string_equal(t->read, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(off_passes_at_once_and_counts, begin, end),
        cmocka_unit_test_setup_teardown(a_command_arrives_with_its_last_character, begin, end),
        cmocka_unit_test_setup_teardown(a_busy_modem_gets_the_rest_without_another_wait, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_answer_is_there_with_its_last_character, begin, end),
        cmocka_unit_test_setup_teardown(the_host_pauses_after_an_answer, begin, end),
        cmocka_unit_test_setup_teardown(echo_is_free, begin, end),
        cmocka_unit_test_setup_teardown(a_full_te_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(much_output_is_bounded, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
