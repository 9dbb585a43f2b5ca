/* Echo, result codes, registers, the order of things: what every TE relies on first. */
#include <stdio.h>

#include "bed.h"

static struct bed *b;

static int bare(void **state) {
    (void)state;
    b = bed_bare(NULL);
    bed_attach(b, 0, 0);
    return 0;
}

static int end(void **state) {
    (void)state;
    bed_free(b);
    return 0;
}

static void says(const char *typed, const char *expected) {
    assert_string_equal(bed_at(b, typed), expected);
}

static void echoes_what_it_got(void **state) {
    (void)state;
    says("AT\r", "AT\r\r\nOK\r\n");
    says("AT\r\n", "AT\r\r\nOK\r\n\n");
    says("xAT\bE1\r", "xAT\bE1\r\r\nOK\r\n");
    says("ATE0\r", "ATE0\r\r\nOK\r\n"); /* still echoed itself */
    says("AT\r", "\r\nOK\r\n");
    says("ATE\r", "\r\nOK\r\n");
    says("ATE1\r", "\r\nOK\r\n");
    says("A", "A");
    says("T\r", "T\r\r\nOK\r\n");
}

static void echo_of_a_long_line_is_exact(void **state) {
    char line[1100], expected[1200];

    (void)state;
    snprintf(line, sizeof line, "AT+%01021d\r", 0);
    snprintf(expected, sizeof expected, "%s\r\nERROR\r\n", line);
    says(line, expected);
}

static void short_results_with_v0(void **state) {
    (void)state;
    says("ATE0V0\r", "ATE0V0\r0\r");
    says("AT\r", "0\r");
    says("AT+GSN\r", "490154203237518\r\n0\r");
    says("AT+NOSUCH\r", "4\r");
    says("ATA\r", "3\r");
    says("AT+CMEE=1;+CIMI\r", "+CME ERROR: 10\r\n");
    says("ATV1\r", "\r\nOK\r\n");
}

static void quiet_hides_results_but_not_information(void **state) {
    (void)state;
    says("ATE0Q1\r", "ATE0Q1\r");
    says("AT\r", "");
    says("AT+NOSUCH\r", "");
    says("AT+CMEE=1;+CIMI\r", "");
    says("AT+GSN\r", "\r\n490154203237518\r\n");
    says("ATQ0\r", "\r\nOK\r\n");
}

static void one_result_for_a_line_and_the_first_error_ends_it(void **state) {
    (void)state;
    says("ATE0V1Q0X4&C1+CMEE=1;+CREG=2\r", "ATE0V1Q0X4&C1+CMEE=1;+CREG=2\r\r\nOK\r\n");
    says("AT+GMM;+NOSUCH;+GMI\r", "\r\nsim-modem\r\n\r\nERROR\r\n");
    says("AT+CMEE=2;+CREG=9;+CMEE=0\r", "\r\n+CME ERROR: Incorrect parameters\r\n");
    says("AT+CMEE?\r", "\r\n+CMEE: 2\r\n\r\nOK\r\n"); /* what came before the error holds */
}

static void error_modes(void **state) {
    (void)state;
    says("ATE0+CMEE=0;+CIMI\r", "ATE0+CMEE=0;+CIMI\r\r\nERROR\r\n");
    says("AT+CMEE=1;+CIMI\r", "\r\n+CME ERROR: 10\r\n");
    says("AT+CMEE=2;+CIMI\r", "\r\n+CME ERROR: SIM not inserted\r\n");
    says("AT+CMEE=3\r", "\r\n+CME ERROR: Incorrect parameters\r\n");
    says("AT+CMEE=x\r", "\r\nERROR\r\n"); /* syntax is plain in every mode */
    says("AT+CMEE=1,2\r", "\r\nERROR\r\n");
    says("AT+CMEE=\"1\"\r", "\r\nERROR\r\n");
    says("AT+CMEE=?\r", "\r\n+CMEE: (0-2)\r\n\r\nOK\r\n");
}

static void registers_have_three_digits_and_ranges(void **state) {
    (void)state;
    says("ATE0\r", "ATE0\r\r\nOK\r\n");
    says("ATS3?\r", "\r\n013\r\n\r\nOK\r\n");
    says("ATS0=2S0?S7?\r", "\r\n002\r\n\r\n060\r\n\r\nOK\r\n");
    says("ATS0=256\r", "\r\nERROR\r\n");
    says("ATS3=128\r", "\r\nERROR\r\n");
    says("ATS9=1\r", "\r\nERROR\r\n");
    says("ATS99?\r", "\r\nERROR\r\n");
    says("ATS0=\r", "\r\nERROR\r\n");
    says("ATS5=35\r", "\r\nOK\r\n"); /* backspace is # now */
    says("ATX#I\b#E0\r", "\r\nOK\r\n");
}

static void line_ends_are_registers(void **state) {
    (void)state;
    says("ATE0S4=33\r", "ATE0S4=33\r\r!OK\r!");
    says("ATS3=36\r", "$!OK$!"); /* at once */
    says("AT\r$", "$!OK$!");
}

static void profiles(void **state) {
    (void)state;
    says("ATE0S0=5+CMEE=2\r", "ATE0S0=5+CMEE=2\r\r\nOK\r\n");
    says("AT&W\r", "\r\nOK\r\n");
    says("ATS0=1+CMEE=0\r", "\r\nOK\r\n");
    says("ATZ\r", "\r\nOK\r\n");
    says("ATS0?+CMEE?\r", "\r\n005\r\n\r\n+CMEE: 2\r\n\r\nOK\r\n");
    says("AT&F\r", "\r\nOK\r\n");
    says("AT\r", "AT\r\r\nOK\r\n"); /* echo is back */
    says("ATS0?\r", "ATS0?\r\r\n000\r\n\r\nOK\r\n");
}

static void basic_commands_take_their_ranges_only(void **state) {
    (void)state;
    says("ATE0\r", "ATE0\r\r\nOK\r\n");
    says("ATE2\r", "\r\nERROR\r\n");
    says("ATV7\r", "\r\nERROR\r\n");
    says("ATX5\r", "\r\nERROR\r\n");
    says("AT&C1&D2&S0\\Q3&K3L1M1TPH\r", "\r\nOK\r\n");
    says("AT&D3\r", "\r\nERROR\r\n");
    says("ATJ\r", "\r\nERROR\r\n");
    says("AT&V\r", "\r\nE0 Q0 V1 X4 &C1 &D2 &S0 \\Q3 +CMEE=0\r\n\r\nS0:000 S3:013 S4:010 S5:008 "
                   "S7:060\r\n\r\nOK\r\n");
}

static void strings_of_terminal_programs(void **state) {
    (void)state;
    says("ATE0\r", "ATE0\r\r\nOK\r\n");
    says("AT S7=45 S0=0 L1 V1 X4 &c1 E1 Q0\r", "\r\nOK\r\n"); /* minicom */
    says("ATQ0 V1 E0 S0=0 &C1 &D2 +FCLASS=0\r",
         "ATQ0 V1 E0 S0=0 &C1 &D2 +FCLASS=0\r\r\nOK\r\n"); /* wvdial */
    says("AT&FE0V1X1&D2&C1S0=0\r",
         "\r\nOK\r\n"); /* pppd chat scripts; &F brought the echo back for none of it */
}

static void nothing_to_dial_into(void **state) {
    (void)state;
    says("ATE0\r", "ATE0\r\r\nOK\r\n");
    says("ATD*99***1#\r", "\r\nNO CARRIER\r\n");
    says("ATD+491711234567;\r", "\r\nNO CARRIER\r\n");
    says("ATO\r", "\r\nNO CARRIER\r\n");
    says("ATA\r", "\r\nNO CARRIER\r\n");
    says("ATH\r", "\r\nOK\r\n");
}

static void repeats_with_a_slash(void **state) {
    (void)state;
    says("A/", "A/\r\nERROR\r\n");
    says("ATE0+GSN\r", "ATE0+GSN\r\r\n490154203237518\r\n\r\nOK\r\n");
    says("A/", "\r\n490154203237518\r\n\r\nOK\r\n");
    says("AT+NOSUCH\r", "\r\nERROR\r\n");
    says("a/", "\r\nERROR\r\n"); /* an error is repeated, too */
}

static void overlong_lines_are_refused_once(void **state) {
    static char line[140000];

    (void)state;
    says("ATE0\r", "ATE0\r\r\nOK\r\n");
    snprintf(line, sizeof line, "AT%0*d", (int)sizeof line - 3, 1);
    at_channel_input(b->port[0].ch, tb_span(line, strlen(line)));
    says("\rAT\r", "\r\nERROR\r\n\r\nOK\r\n");
    says("A/", "\r\nOK\r\n");
}

static void identity(void **state) {
    (void)state;
    says("ATE0\r", "ATE0\r\r\nOK\r\n");
    says("ATI\r",
         "\r\nIoT SAFE testbed\r\n\r\nsim-modem\r\n\r\nRevision: " TB_VERSION "\r\n\r\nOK\r\n");
    says("AT+CGMI;+CGMM;+CGMR\r",
         "\r\nIoT SAFE testbed\r\n\r\nsim-modem\r\n\r\n" TB_VERSION "\r\n\r\nOK\r\n");
    says("AT+CGSN\r", "\r\n490154203237518\r\n\r\nOK\r\n");
    says("AT+CGSN=0\r", "\r\n490154203237518\r\n\r\nOK\r\n");
    says("AT+CGSN=1\r", "\r\n+CGSN: \"490154203237518\"\r\n\r\nOK\r\n");
    says("AT+CGSN=2\r", "\r\n+CGSN: \"4901542032375101\"\r\n\r\nOK\r\n");
    says("AT+CGSN=3\r", "\r\n+CGSN: \"01\"\r\n\r\nOK\r\n");
    says("AT+CGSN=4\r", "\r\nERROR\r\n");
    says("AT+GCAP\r", "\r\n+GCAP: +CGSM\r\n\r\nOK\r\n");
}

static void clac_is_the_table(void **state) {
    const char *list;

    (void)state;
    bed_at(b, "ATE0\r");
    list = bed_at(b, "AT+CLAC\r");
    assert_non_null(strstr(list, "\r\n+CSIM\r\n"));
    assert_non_null(strstr(list, "\r\n+CGLA\r\n"));
    assert_non_null(strstr(list, "\r\n&F\r\n"));
    assert_null(strstr(list, "+CMGS")); /* known only to be refused */
    assert_null(strstr(list, "+QSSLOPEN"));
}

static void later_stages_are_refused_by_the_book(void **state) {
    (void)state;
    bed_at(b, "ATE0+CMEE=1\r");
    says("AT+CMGF=0\r", "\r\n+CMS ERROR: 303\r\n");
    says("AT+CMGS=28\r", "\r\n+CMS ERROR: 303\r\n");
    says("AT+CNMI=2,1\r", "\r\n+CMS ERROR: 303\r\n");
    says("AT+QSSLOPEN=1,1,0,\"h\",1\r", "\r\n+CME ERROR: 4\r\n");
    says("AT+CMUX=0\r", "\r\n+CME ERROR: 4\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, bare, end)
        T(echoes_what_it_got),
        T(echo_of_a_long_line_is_exact),
        T(short_results_with_v0),
        T(quiet_hides_results_but_not_information),
        T(one_result_for_a_line_and_the_first_error_ends_it),
        T(error_modes),
        T(registers_have_three_digits_and_ranges),
        T(line_ends_are_registers),
        T(profiles),
        T(basic_commands_take_their_ranges_only),
        T(strings_of_terminal_programs),
        T(nothing_to_dial_into),
        T(repeats_with_a_slash),
        T(overlong_lines_are_refused_once),
        T(identity),
        T(clac_is_the_table),
        T(later_stages_are_refused_by_the_book),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
