/* The line editor. Every input is given whole and cut at every byte: the lines must be the same. */
#include <stdio.h>

#include "at/line.h"
#include "tb/test.h"

enum { LIMIT = 64 };

/* Runs input through an editor in pieces of at most step bytes; the events as text: "[body]",
 * "R[body]", "R!", "!". */
static const char *lines(const char *input, size_t n, size_t step) {
    static char out[1024];
    uint8_t mem[LIMIT];
    struct at_line l;
    size_t at = 0;

    out[0] = '\0';
    at_line_init(&l, mem, sizeof mem);
    while (at < n) {
        struct tb_span in = tb_span_sub(tb_span(input, n), at, step);

        at += in.n;
        while (in.n) {
            enum at_line_event e = at_line_take(&l, '\r', '\b', &in);
            char *end = out + strlen(out);

            if (e == AT_LINE_READY)
                sprintf(end, "[%.*s]", (int)l.n, (const char *)l.p);
            else if (e == AT_LINE_REPEAT && l.whole)
                sprintf(end, "R[%.*s]", (int)l.n, (const char *)l.p);
            else if (e == AT_LINE_REPEAT)
                sprintf(end, "R!");
            else if (e == AT_LINE_TOO_LONG)
                sprintf(end, "!");
        }
    }
    return out;
}

static void check_bytes(const char *input, size_t n, const char *expected) {
    for (size_t step = 1; step <= n; step++)
        assert_string_equal(lines(input, n, step), expected);
}

static void check(const char *input, const char *expected) {
    check_bytes(input, strlen(input), expected);
}

static void empty_body_is_a_line(void **state) {
    (void)state;
    check("AT\r", "[]");
    check("at\r", "[]");
    check("At\raT\r", "[][]");
}

static void all_line_ends_work(void **state) {
    (void)state;
    check("ATI\r\nATE0\r\n", "[I][E0]");
    check("ATI\r\rATE0\r\r\r", "[I][E0]");
    check("\r\n\nATI\r", "[I]");
}

static void finds_the_prefix_in_garbage(void **state) {
    (void)state;
    check("xyzATI\r", "[I]");
    check("AATI\r", "[I]");
    check("AxATI\r", "[I]");
    check("A\rTI\r", "");
    check("A\nTI\r", "[I]");
    check("\x1b\x1a\x1a"
          "AT\r",
          "[]");
    check_bytes("\0\0A\0TI\0\r", 8, "[I]");
    check("nothing of the kind\r", "");
    check("look at this\r", "[this]"); /* a scanner cannot know better */
}

static void repeated_prefix_starts_anew(void **state) {
    (void)state;
    check("ATAT\r", "[]");
    check("AATAT\r", "[]");
    check("ATATATI\r", "[I]");
    check("AT AT I\r", "[I]");
    check("ATDAT\r", "[DAT]");
}

static void backspace_deletes_but_never_the_prefix(void **state) {
    (void)state;
    check("ATX\bI\r", "[I]");
    check("ATX\x7fI\r", "[I]");
    check("AT\b\b\bI\r", "[I]");
    check("ATE \b1\r", "[E1]");
}

static void blanks_vanish_outside_strings_only(void **state) {
    (void)state;
    check("AT + CSIM = 10 , \"00 A4\" \r", "[+CSIM=10,\"00 A4\"]");
    check("AT+X=\" a \", \" b\"\r", "[+X=\" a \",\" b\"]");
    check("AT+X=\"open end \r", "[+X=\"open end ]");
}

static void control_characters_vanish(void **state) {
    (void)state;
    check("AT+C\nSI\tM\x1a?\r", "[+CSIM?]");
}

static void eight_bit_characters_pass(void **state) {
    (void)state;
    check("AT+X=\"\xE9\xFF\"\r", "[+X=\"\xE9\xFF\"]");
}

static void repeats_the_last_body_without_terminator(void **state) {
    (void)state;
    check("ATI\rA/", "[I]R[I]");
    check("ATI\ra/A/\r", "[I]R[I]R[I]");
    check("A/", "R!");
    check("A/ATI\r", "R![I]");
    check("ATI\rA A/", "[I]R[I]");
}

static void too_long_bodies_are_refused_once(void **state) {
    char text[400], fits[LIMIT + 1], over[LIMIT + 200];

    (void)state;
    snprintf(fits, sizeof fits, "%0*d", LIMIT, 0);
    snprintf(over, sizeof over, "%0*d", LIMIT + 100, 0);
    snprintf(text, sizeof text, "AT%s\rATI\r", fits);
    assert_int_equal(strlen(lines(text, strlen(text), 7)), strlen("[") + LIMIT + strlen("][I]"));
    snprintf(text, sizeof text, "AT%s0\rATI\r", fits); /* one too many */
    check(text, "![I]");
    snprintf(text, sizeof text, "AT%s\b\b\rATI\rA/", over);
    check(text, "![I]R[I]");
    snprintf(text, sizeof text, "AT%s\rA/", over);
    check(text, "!R!"); /* a body that was thrown away is not repeated */
}

static void the_terminator_is_a_register(void **state) {
    struct tb_span in = tb_span_str("AT\rI;");
    uint8_t mem[LIMIT];
    struct at_line l;

    (void)state;
    at_line_init(&l, mem, sizeof mem);
    assert_int_equal(at_line_take(&l, ';', '\b', &in), AT_LINE_READY);
    assert_int_equal(l.n, 1);
}

static void typing_begins_with_the_prefix(void **state) {
    struct tb_span in = tb_span_str("xA");
    uint8_t mem[LIMIT];
    struct at_line l;

    (void)state;
    at_line_init(&l, mem, sizeof mem);
    assert_false(at_line_typing(&l));
    assert_int_equal(at_line_take(&l, '\r', '\b', &in), AT_LINE_MORE);
    assert_true(at_line_typing(&l));
    at_line_abort(&l);
    assert_false(at_line_typing(&l));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_body_is_a_line),
        cmocka_unit_test(all_line_ends_work),
        cmocka_unit_test(finds_the_prefix_in_garbage),
        cmocka_unit_test(repeated_prefix_starts_anew),
        cmocka_unit_test(backspace_deletes_but_never_the_prefix),
        cmocka_unit_test(blanks_vanish_outside_strings_only),
        cmocka_unit_test(control_characters_vanish),
        cmocka_unit_test(eight_bit_characters_pass),
        cmocka_unit_test(repeats_the_last_body_without_terminator),
        cmocka_unit_test(too_long_bodies_are_refused_once),
        cmocka_unit_test(the_terminator_is_a_register),
        cmocka_unit_test(typing_begins_with_the_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
