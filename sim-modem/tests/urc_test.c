/* Lines nobody asked for: when they come, when they wait, what is lost. */
#include "helper.h"

static void registration_in_every_shape(void **state) {
    (void)state;
    says("AT+CREG=1;+CGREG=2;+CEREG=5\r", OK);
    modem_set_registration(b->m, MODEM_REG_ROAMING);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 5") INFO("+CGREG: 5,\"0001\",\"0000001A\",7")
                                            INFO("+CEREG: 5,\"0001\",\"0000001A\",7"));
    modem_set_registration(b->m, MODEM_REG_ROAMING); /* no news */
    assert_string_equal(bed_read(b, 0), "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 2") INFO("+CGREG: 2") INFO("+CEREG: 2"));
    says("AT+CREG=0;+CGREG=0;+CEREG=0\r", OK);
    modem_set_registration(b->m, MODEM_REG_HOME);
    assert_string_equal(bed_read(b, 0), "");
}

static void told_to_those_who_asked(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    bed_type(b, 1, "AT+CREG=1\r", 10);
    modem_set_registration(b->m, MODEM_REG_DENIED);
    assert_string_equal(bed_read(b, 0), "");
    assert_string_equal(bed_read(b, 1), INFO("+CREG: 3"));
}

static void never_inside_a_response(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\";+GSN\r", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    modem_set_registration(b->m, MODEM_REG_HOME);
    assert_string_equal(bed_read(b, 0), "");
    bed_answer(b, "9000");
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 4,\"9000\"") INFO("490154203237518")
                                            OK INFO("+CREG: 2") INFO("+CREG: 1"));
}

static void between_lines_that_were_typed_ahead(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\rAT\r", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    bed_answer(b, "9000");
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 4,\"9000\"") OK INFO("+CREG: 2") OK);
}

static void a_typing_te_is_not_interrupted(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    says("A", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_read(b, 0), "");
    says("T\r", OK INFO("+CREG: 2"));
}

static void but_not_for_ever(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    says("AT+C", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    bed_advance(b, 1999);
    assert_string_equal(bed_read(b, 0), "");
    bed_advance(b, 1);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 2"));
    says("FUN?\r", INFO("+CFUN: 1") OK); /* the line is still there */
}

static void several_clocks_run(void **state) {
    (void)state;
    USE("me-ch0-poll", "1");
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    bed_type(b, 1, "AT+CREG=1\r", 10);
    says("AT+CREG=1\r", OK);
    bed_advance(b, 500);
    says("A", "");
    bed_type(b, 1, "A", 1);
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_type(b, 1, "T\r", 2), OK INFO("+CREG: 2")); /* stops one of them */
    bed_advance(b, 1999);
    assert_string_equal(bed_read(b, 0), "");
    assert_int_equal(b->apdus, 4); /* two polls meanwhile */
    bed_advance(b, 1);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 2"));
}

static void garbage_is_no_typing(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    says("xyz", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 2"));
}

static void interleaved_by_profile(void **state) {
    (void)state;
    USE("urc", "interleave");
    says("AT+CREG=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 2"));
}

static void those_too_many_are_counted(void **state) {
    struct modem_counters c;
    const char *text;
    unsigned lines = 0;

    (void)state;
    says("AT+CREG=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    for (int i = 0; i < 1000; i++)
        modem_set_registration(b->m, i % 2 ? MODEM_REG_HOME : MODEM_REG_SEARCHING);
    modem_counters(b->m, &c);
    bed_answer(b, "9000");
    for (text = bed_read(b, 0); (text = strstr(text, "+CREG")); text++)
        lines++;
    assert_true(c.urcs_dropped > 0);
    assert_int_equal(lines + c.urcs_dropped, 1000);
}

static void v0_frames_them_differently(void **state) {
    (void)state;
    says("ATV0+CREG=1\r", "0\r");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    assert_string_equal(bed_read(b, 0), "+CREG: 2\r\n");
}

/* ---- The card ---- */

static void card_urcs_by_profile(void **state) {
    (void)state;
    says("AT+QSIMSTAT=1\r", OK);
    says("AT+QSIMSTAT?\r", INFO("+QSIMSTAT: 1,1") OK);
    modem_card_removed(b->m, "test");
    assert_string_equal(bed_read(b, 0), INFO("+QSIMSTAT: 1,0") INFO("+CPIN: NOT READY"));
    bed_insert(b);
    assert_string_equal(bed_read(b, 0), INFO("+QSIMSTAT: 1,1") INFO("+CPIN: READY"));
    USE("sim-urc", "cpin");
    modem_card_removed(b->m, "test");
    assert_string_equal(bed_read(b, 0), INFO("+CPIN: NOT INSERTED"));
    bed_insert(b);
    assert_string_equal(bed_read(b, 0), INFO("+CPIN: READY"));
    USE("sim-urc", "none");
    says("AT+QSIMSTAT=1\r", OK);
    modem_card_removed(b->m, "test");
    assert_string_equal(bed_read(b, 0), "");
}

static const struct bed_pair locked[] = {
    {"00A40004023F0000", "621D8202782183023F00A5038001718A01058B032F0601C606900180830101 9000"},
    {"0020000100", "63C3"},
    {"0020000108*", "9000"},
    {NULL, NULL}};

static void a_locked_card_is_not_called_ready(void **state) {
    (void)state;
    says("AT+QSIMSTAT=1\r", OK);
    modem_card_removed(b->m, "test");
    bed_read(b, 0);
    b->extra = locked;
    bed_insert(b);
    assert_string_equal(bed_read(b, 0), INFO("+QSIMSTAT: 1,1") INFO("+CPIN: SIM PIN"));
    says("AT+CPIN=\"1234\"\r", OK INFO("+CPIN: READY"));
}

static void a_card_without_power_is_still_inserted(void **state) {
    (void)state;
    says("AT+QSIMSTAT=1\r", OK);
    says("AT+CFUN=0\r", OK INFO("+CPIN: NOT READY"));
    says("AT+QSIMSTAT?\r", INFO("+QSIMSTAT: 1,1") OK);
    says("AT+CFUN=1\r", OK INFO("+CPIN: READY"));
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    assert_string_equal(bed_read(b, 0), INFO("+CPIN: NOT READY") INFO("+CPIN: READY"));
    says("AT+CFUN=0\r", OK INFO("+CPIN: NOT READY"));
    modem_card_removed(b->m, "test");
    assert_string_equal(bed_read(b, 0), INFO("+QSIMSTAT: 1,0"));
}

#define BOOT INFO("RDY") INFO("APP RDY") INFO("+CFUN: 1") INFO("+CPIN: READY")

static void boot_messages_reach_the_first_te(void **state) {
    struct modem_quirks q = bed_quirks((const char *const[]){"boot-urc", "quectel", NULL});

    (void)state;
    bed_free(b);
    b = bed_bare(&q);
    bed_attach(b, 0, AT_CHANNEL_NO_ECHO | AT_CHANNEL_EMPTY); /* a pty that nobody has opened */
    bed_insert(b);
    assert_string_equal(bed_read(b, 0), "");
    at_channel_attached(b->port[0].ch);
    assert_string_equal(bed_read(b, 0), BOOT);
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    assert_string_equal(bed_read(b, 1), ""); /* power-up is over */
    says("AT+CFUN=1,1\r", OK BOOT);
    assert_string_equal(bed_read(b, 1), BOOT);
}

static void a_card_that_comes_later_completes_them(void **state) {
    struct modem_quirks q = bed_quirks((const char *const[]){"boot-urc", "quectel", NULL});

    (void)state;
    bed_free(b);
    b = bed_bare(&q);
    b->extra = locked;
    bed_attach(b, 0, AT_CHANNEL_NO_ECHO);
    modem_card_inserted(b->m);
    assert_string_equal(bed_read(b, 0), INFO("RDY") INFO("APP RDY") INFO("+CFUN: 1"));
    bed_run(b);
    assert_string_equal(bed_read(b, 0), INFO("+CPIN: SIM PIN"));
    says("AT+CPIN=\"1234\"\r", OK INFO("+CPIN: READY"));
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    assert_string_equal(bed_read(b, 0), ""); /* power-up is over, nobody asked */
}

static void a_restart_speaks_the_language_it_was_asked_in(void **state) {
    (void)state;
    says("ATV0\r", "0\r");
    says("AT+CFUN=1,1\r", "0\r");
    says("AT\r", OK);
    says("ATS3=33\r", "!\nOK!\n");
    says("AT+CFUN=1,1!", "!\nOK!\n");
    says("AT\r", OK);
}

static void the_clock_of_a_half_typed_line_starts_anew(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    says("A", "");
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    bed_advance(b, 1500);
    says("T\r", OK INFO("+CREG: 2"));
    says("A", "");
    modem_set_registration(b->m, MODEM_REG_HOME);
    bed_advance(b, 1999);
    assert_string_equal(bed_read(b, 0), "");
    bed_advance(b, 1);
    assert_string_equal(bed_read(b, 0), INFO("+CREG: 1"));
}

static void nobody_is_told_on_an_empty_port(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    at_channel_hangup(b->port[0].ch);
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    at_channel_attached(b->port[0].ch);
    says("AT+CREG?\r", INFO("+CREG: 1,2") OK); /* settings stay as on a serial line */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(registration_in_every_shape),
        TEST(told_to_those_who_asked),
        TEST(never_inside_a_response),
        TEST(between_lines_that_were_typed_ahead),
        TEST(a_typing_te_is_not_interrupted),
        TEST(but_not_for_ever),
        TEST(several_clocks_run),
        TEST(garbage_is_no_typing),
        TEST(interleaved_by_profile),
        TEST(those_too_many_are_counted),
        TEST(v0_frames_them_differently),
        TEST(card_urcs_by_profile),
        TEST(a_locked_card_is_not_called_ready),
        TEST(a_card_without_power_is_still_inserted),
        TEST(a_card_that_comes_later_completes_them),
        TEST(a_restart_speaks_the_language_it_was_asked_in),
        TEST(the_clock_of_a_half_typed_line_starts_anew),
        TEST(boot_messages_reach_the_first_te),
        TEST(nobody_is_told_on_an_empty_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
