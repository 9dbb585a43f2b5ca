/* Whole sessions cut at every byte, byte by byte, in one piece; typing ahead, slow readers, floods.
 */
#include <stdlib.h>

#include "helper.h"

/* Types a session in two pieces cut at every place, and byte by byte: what the TE reads must not
 * depend on it. */
static void same_at_every_cut(const char *session, unsigned flags) {
    size_t n = strlen(session);
    char *whole = NULL;

    for (size_t cut = 0; cut <= n + 1; cut++) {
        bed_free(b);
        b = bed_bare(NULL);
        bed_attach(b, 0, flags);
        bed_insert(b);
        b->port[0].n = 0;
        if (cut <= n) {
            at_channel_input(b->port[0].ch, tb_span(session, cut));
            bed_run(b);
            at_channel_input(b->port[0].ch, tb_span(session + cut, n - cut));
            bed_run(b);
        } else {
            for (size_t i = 0; i < n; i++) {
                at_channel_input(b->port[0].ch, tb_span(session + i, 1));
                bed_run(b);
            }
        }
        if (!whole)
            whole = strdup(bed_read(b, 0));
        else
            assert_string_equal(bed_read(b, 0), whole);
    }
    assert_true(whole && *whole);
    free(whole);
}

static void wolfssl(void **state) {
    (void)state;
    same_at_every_cut(
        "ATE0\r\nAT+CSIM=24,\"01A4040007A0000005590010\"\r\nAT+CSIM= 10,\"8184000020\"\r\nAT\r\n",
        0);
}

static void lpac(void **state) {
    (void)state;
    same_at_every_cut("AT\r\nAT+CCHO=?\r\nAT+CCHC=?\r\nAT+CGLA=?\r\nAT+CCHO="
                      "\"a0000005591010ffffffff8900000100\"\r\n"
                      "AT+CGLA=1,22,\"81e2910006bf3e035c015a\"\r\nAT+CCHC=1\r\n",
                      AT_CHANNEL_NO_ECHO);
}

static void pysim(void **state) {
    (void)state;
    same_at_every_cut("ATZ\r\nAT\r\nAT+CSIM=?\r\nAT+CSIM=14,\"00A40004023F00\"\r\n",
                      AT_CHANNEL_NO_ECHO);
}

static void modemmanager(void **state) {
    (void)state;
    same_at_every_cut("AT\rATE0\rATV1\rAT+CMEE=1\rATX4\rAT&C1\rAT+GCAP\rATI\rAT+CPIN=?\rAT+"
                      "CGMI\rAT+CGMM\rAT+CGMR\r"
                      "AT+CGSN\rAT+CPIN?\rAT+CSIM=10,\"0020000100\"\rAT+CRSM=176,28486,0,0,17\rAT+"
                      "CREG=2\rAT+COPS=3,2;+COPS?\r",
                      0);
}

static void ofono(void **state) {
    (void)state;
    same_at_every_cut(
        "AT+CGMI\rAT+CGMM\rAT+CGMR\rAT+CGSN\rAT+CPIN?\rAT+CUAD\rAT+CRSM=192,12258\rAT+CRSM=176,"
        "12258,0,0,10\r"
        "AT+CPINR\rAT+CREG=2\rAT+CGDCONT=?\rAT+CGACT?\rAT+CGATT?\rAT+CGEREP=2,1\rAT+CNMI=?\r",
        AT_CHANNEL_NO_ECHO);
}

static void smsd(void **state) {
    (void)state;
    same_at_every_cut("AT\rATE0\rAT+CMEE=1;+CREG=2\rAT+CSQ\rAT+CREG?\rAT+CGSN\rAT+CIMI\r", 0);
}

static void pitfalls(void **state) {
    (void)state;
    same_at_every_cut(
        "garbage\x1a\x1b "
        "AT\rATI\r\r\nAATAT\rA/at+gsn;+csq\ra/AT+X=\"a;b,c=\\22\"\rATE0\r\nAT\b\bE1\rAT+CREG=\"",
        0);
}

static void the_bodys_limit_may_fall_anywhere(void **state) {
    struct modem_quirks q = bed_quirks((const char *const[]){"line-max", "40", NULL});
    char text[200];

    (void)state;
    snprintf(text, sizeof text, "AT%058d\rAT\rA/", 0);
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        bed_free(b);
        b = bed_bare(&q);
        bed_attach(b, 0, AT_CHANNEL_NO_ECHO);
        at_channel_input(b->port[0].ch, tb_span(text, cut));
        at_channel_input(b->port[0].ch, tb_span(text + cut, strlen(text) - cut));
        assert_string_equal(bed_read(b, 0), INFO("ERROR") OK OK);
    }
}

static void nuls_are_nothing(void **state) {
    (void)state;
    assert_string_equal(bed_type(b, 0, "\0A\0T\0+GSN\0\r", 11), INFO("490154203237518") OK);
}

/* ---- Typing ahead ---- */

static void what_is_typed_ahead_is_executed_later(void **state) {
    (void)state;
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\rAT+GSN\rATE1\rAT\r", "");
    b->hold = false;
    bed_run(b);
    assert_string_equal(bed_read(b, 0),
                        INFO("+CSIM: 4,\"6A82\"") OK INFO("490154203237518") OK OK "AT\r" OK);
}

static void too_much_is_left_with_the_caller(void **state) {
    static char flood[AT_TYPED_AHEAD_MAX + 100];
    size_t taken;

    (void)state;
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    for (size_t i = 0; i < sizeof flood; i += 3)
        memcpy(flood + i, "AT\r", 3 < sizeof flood - i ? 3 : sizeof flood - i);
    taken = at_channel_input(b->port[0].ch, tb_span(flood, sizeof flood));
    assert_int_equal(taken, AT_TYPED_AHEAD_MAX);
    assert_int_equal(at_channel_input(b->port[0].ch, tb_span(flood, 1)), 0);
    assert_false(b->port[0].ready);
    b->hold = false;
    bed_run(b);
    assert_true(b->port[0].ready);
    assert_int_equal(at_channel_input(b->port[0].ch, tb_span(flood + taken, sizeof flood - taken)),
                     sizeof flood - taken);
    bed_read(b, 0);
    says("\rAT\r", OK OK);
}

static void typed_ahead_goes_round_the_ring(void **state) {
    (void)state;
    for (int round = 0; round < 40; round++) {
        char line[400];

        b->hold = true;
        says("AT+CSIM=8,\"80CB0000\"\r", "");
        snprintf(line, sizeof line, "AT+CSCS=\"IRA\";+CSCS?%0*d\r\rAT\r", 300, 0);
        says(line, "");
        b->hold = false;
        bed_run(b);
        assert_string_equal(bed_read(b, 0), INFO("+CSIM: 4,\"6A82\"") OK INFO("ERROR") OK);
    }
}

/* ---- Slow readers ---- */

static void a_te_that_does_not_read_stops_its_own_port_only(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->port[0].room = 0;
    says("AT\r", OK); /* this answer told that there is no room */
    says("AT+GSN\rAT\r", "");
    assert_string_equal(bed_type(b, 1, "AT+GSN\r", 7), INFO("490154203237518") OK);
    b->port[0].room = 1;
    at_channel_drained(b->port[0].ch);
    assert_string_equal(bed_read(b, 0), INFO("490154203237518") OK OK);
}

static void unsolicited_lines_wait_for_room(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    b->port[0].room = 0;
    says("AT\r", OK);
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_read(b, 0), "");
    b->port[0].room = 1;
    at_channel_drained(b->port[0].ch);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 2"));
}

static void a_long_line_of_commands_pauses_for_a_slow_reader(void **state) {
    static char line[60000];
    unsigned n = 0;
    const char *text;
    size_t first;

    (void)state;
    n = (unsigned)snprintf(line, sizeof line, "AT");
    while (n < sizeof line - 10)
        n += (unsigned)snprintf(line + n, sizeof line - n, "+CLAC;");
    snprintf(line + n, sizeof line - n, "\r");
    n = 0;
    b->port[0].room = 0;
    bed_at(b, line);
    first = strlen(b->port[0].out);
    assert_true(first > 10000 && first < 100000); /* not all ten megabytes of it */
    at_channel_hangup(b->port[0].ch);
    b->port[0].room = 1;
    for (text = bed_at(b, "AT+CSQ;+CSQ;+CSQ\r"); (text = strstr(text, "+CSQ:")); text++)
        n++;
    assert_int_equal(n, 3);
}

static void an_exchange_that_ends_at_a_full_port_goes_on_later(void **state) {
    (void)state;
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\";+GSN\r", "");
    b->port[0].room = 0;
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    b->hold = false;
    bed_run(b);
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 4,\"6A82\"") INFO("490154203237518") OK);
    says("AT+GSN\r", "");
    b->port[0].room = 1;
    at_channel_drained(b->port[0].ch);
    assert_string_equal(bed_read(b, 0), INFO("490154203237518") OK);
}

static void a_hang_up_forgets_half_a_line(void **state) {
    (void)state;
    says("AT+GS", "");
    at_channel_hangup(b->port[0].ch);
    says("N\r", "");
    says("AT\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\rAT+GSN\r", "");
    at_channel_hangup(b->port[0].ch);
    b->hold = false;
    bed_run(b);
    says("AT\r", OK); /* neither the answer nor what was typed ahead */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(wolfssl),
        TEST(lpac),
        TEST(pysim),
        TEST(modemmanager),
        TEST(ofono),
        TEST(smsd),
        TEST(pitfalls),
        TEST(the_bodys_limit_may_fall_anywhere),
        TEST(nuls_are_nothing),
        TEST(what_is_typed_ahead_is_executed_later),
        TEST(too_much_is_left_with_the_caller),
        TEST(typed_ahead_goes_round_the_ring),
        TEST(a_te_that_does_not_read_stops_its_own_port_only),
        TEST(unsolicited_lines_wait_for_room),
        TEST(a_long_line_of_commands_pauses_for_a_slow_reader),
        TEST(an_exchange_that_ends_at_a_full_port_goes_on_later),
        TEST(a_hang_up_forgets_half_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
