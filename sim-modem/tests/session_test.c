/* +CCHO, +CGLA, +CCHC and what becomes of channels. */
#include "helper.h"

static const struct bed_pair applet[] = {{"0070000001", "02 9000"},
                                         {"02A4040007A0000005590010", "9000"},
                                         {"8284000002", "AABB 9000"},
                                         {"82CB0000", "DD 9000"},
                                         {NULL, NULL}};

static void opens_uses_closes(void **state) {
    (void)state;
    b->extra = applet;
    says("AT+CCHO=?;+CGLA=?;+CCHC=?\r", OK);
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 2") OK);
    says("AT+CGLA=2,10,\"8184000002\"\r",
         INFO("+CGLA: 8,\"AABB9000\"") OK); /* the TE's channel bits do not count */
    says("AT+CGLA=2,8,\"80cb0000\"\r", INFO("+CGLA: 6,\"DD9000\"") OK);
    says("AT+CCHC=2\r", OK);
    asked("0070000001\n02A4040007A0000005590010\n8284000002\n82CB0000\n00708002\n");
    says("AT+CMEE=1;+CGLA=2,10,\"8184000002\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCHC=2\r", INFO("+CME ERROR: 50"));
    asked("");
}

static void class_byte_of_high_channels(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){
        {"0070000001", "13 9000"}, {"4FA404*", "9000"}, {"*", "9000"}, {NULL, NULL}};
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 19") OK);
    b->log_n = 0;
    says("AT+CGLA=19,8,\"80CB0000\";+CGLA=19,8,\"00CB0000\";+CGLA=19,8,\"84CB0000\";+CGLA=19,8,"
         "\"E2CB0000\"\r",
         INFO("+CGLA: 4,\"9000\"") INFO("+CGLA: 4,\"9000\"") INFO("+CGLA: 4,\"9000\"")
             INFO("+CGLA: 4,\"9000\"") OK);
    asked("CFCB0000\n4FCB0000\nEFCB0000\nEFCB0000\n");
}

static void unknown_application(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"01A404*", "6A82"}, {NULL, NULL}};
    says("AT+CMEE=1;+CCHO=\"A0000005590099\"\r", INFO("+CME ERROR: 22"));
    asked("0070000001\n01A4040007A0000005590099\n00708001\n"); /* the channel does not stay */
}

static void no_channel_free(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"0070000001", "6A81"}, {NULL, NULL}};
    says("AT+CMEE=1;+CCHO=\"A0000005590010\"\r", INFO("+CME ERROR: 20"));
    b->extra = (const struct bed_pair[]){{"0070000001", "6D00"}, {NULL, NULL}};
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CME ERROR: 100"));
    b->extra = (const struct bed_pair[]){{"0070000001", "20 9000"}, {NULL, NULL}}; /* channel 32? */
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CME ERROR: 100"));
}

static void parameters_are_checked(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    says("AT+CCHO=\"A000\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCHO=\"A00000055900100000000000000000000000\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCHO=\"A00000055900XX\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCHO\r", INFO("ERROR"));
    says("AT+CCHO=\r", INFO("ERROR"));
    says("AT+CGLA=1,8,\"80CB0000\"\r", INFO("+CME ERROR: 50"));
    says("AT+CGLA=1\r", INFO("ERROR"));
    says("AT+CCHC=0\r", INFO("+CME ERROR: 50"));
    asked("");
}

static void network_authentication_is_refused(void **state) {
    (void)state;
    b->extra = applet;
    says("AT+CMEE=1;+CCHO=A0000005590010\r", INFO("+CCHO: 2") OK);
    b->log_n = 0;
    says("AT+CGLA=2,8,\"00880080\"\r", INFO("+CME ERROR: 3"));
    says("AT+CGLA=2,8,\"00880000\"\r", INFO("+CME ERROR: 3"));
    says("AT+CGLA=2,8,\"00890080\"\r", INFO("+CME ERROR: 3"));
    assert_int_equal(b->log_n, 0);
    says("AT+CGLA=2,8,\"00880081\"\r",
         INFO("+CGLA: 4,\"6A82\"") OK); /* 3G context is the TE's business */
}

static void handles_by_profile(void **state) {
    (void)state;
    USE("session", "opaque");
    b->extra = applet;
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 000000000385a7cf") OK);
    says("AT+CGLA=000000000385a7cf,8,\"80CB0000\"\r", INFO("+CGLA: 6,\"DD9000\"") OK);
    says("AT+CGLA=\"000000000385a7cf\",8,\"80CB0000\"\r", INFO("+CGLA: 6,\"DD9000\"") OK);
    says("AT+CMEE=1;+CGLA=2,8,\"80CB0000\"\r", INFO("+CME ERROR: 50"));
    USE("ccho-prefix", "0");
    says("AT+CCHO=\"A0000005590010\"\r", INFO("1") OK);
    USE("cgla", "off");
    says("AT+CMEE=1;+CCHO=\"A0000005590010\"\r", INFO("ERROR"));
    says("AT+CGLA=?\r", INFO("ERROR"));
    assert_null(strstr(bed_at(b, "AT+CLAC\r"), "+CGLA"));
}

static void cgla_has_its_own_t0(void **state) {
    (void)state;
    USE("t0", "pass", "cgla-t0", "auto");
    b->extra =
        (const struct bed_pair[]){{"81CB0000", "6102"}, {"01C0000002", "AABB 9000"}, {NULL, NULL}};
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 1") OK);
    says("AT+CGLA=1,8,\"80CB0000\"\r", INFO("+CGLA: 8,\"AABB9000\"") OK);
    says("AT+CSIM=8,\"81CB0000\"\r", INFO("+CSIM: 4,\"6102\"") OK);
}

/* ---- Whose channels ---- */

static void a_vanished_te_leaves_no_channel(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->extra = (const struct bed_pair[]){{"0070000001", "03 9000"}, {NULL, NULL}};
    assert_string_equal(bed_type(b, 1, "AT+CSIM=10,0070000001\r", 22),
                        INFO("+CSIM: 6,\"039000\"") OK);
    b->extra = applet;
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 2") OK);
    b->log_n = 0;
    at_channel_free(b->port[1].ch);
    bed_run(b);
    asked("00708003\n"); /* its own; not that of port 0 */
    at_channel_hangup(b->port[0].ch);
    bed_run(b);
    asked("00708002\n");
    at_channel_attached(b->port[0].ch);
    says("AT+CMEE=1;+CGLA=2,8,\"80CB0000\"\r", INFO("+CME ERROR: 50"));
}

static void channels_opened_by_a_bare_select_count(void **state) {
    (void)state;
    says("AT+CSIM=24,\"01A4040007A0000005590010\"\r",
         INFO("+CSIM: 4,\"9000\"") OK); /* wolfSSL never opens */
    b->log_n = 0;
    at_channel_hangup(b->port[0].ch);
    bed_run(b);
    asked("00708001\n");
}

/* Clients that take channel 1 without asking come while their forerunner on another port is not
 * gone yet. */
static void a_channel_belongs_to_who_selects_on_it(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    says("AT+CSIM=24,\"01A4040007A0000005590010\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    bed_type(b, 1, "AT+CSIM=24,\"01A4040007A0000005590010\"\r", 38);
    b->log_n = 0;
    b->log[0] = '\0';
    at_channel_hangup(b->port[0].ch);
    bed_run(b);
    asked("");
    at_channel_free(b->port[1].ch);
    bed_run(b);
    asked("00708001\n");
}

static void a_session_stays_with_who_opened_it(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->extra = applet;
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 2") OK);
    bed_type(b, 1, "AT+CSIM=24,\"02A4040007A0000005590010\"\r", 38);
    b->log_n = 0;
    at_channel_hangup(b->port[0].ch);
    bed_run(b);
    asked("00708002\n");
}

static void a_te_that_closes_itself_leaves_nothing_to_do(void **state) {
    (void)state;
    says("AT+CSIM=10,\"0070000001\";+CSIM=8,\"00708001\"\r",
         INFO("+CSIM: 6,\"019000\"") INFO("+CSIM: 4,\"9000\"") OK);
    b->log_n = 0;
    b->log[0] = '\0';
    at_channel_hangup(b->port[0].ch);
    bed_run(b);
    asked("");
}

static void killed_while_the_channel_opens(void **state) {
    struct modem_status s;

    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    bed_type(b, 1, "AT+CCHO=\"A0000005590010\"\r", 25);
    says("AT+CSIM=8,\"80CB0000\"\r", ""); /* waits behind it */
    at_channel_free(b->port[1].ch);
    bed_answer(b, "01 9000");
    asked("0070000001\n00708001\n"); /* what it opened is closed before the other's turn */
    bed_answer(b, "9000");
    bed_answer(b, "AB 9000");
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 6,\"AB9000\"") OK);
    modem_status(b->m, &s);
    assert_int_equal(s.sessions, 0);
}

static void killed_while_waiting(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    bed_attach(b, 2, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    bed_type(b, 1, "AT+CSIM=8,\"80CB0001\"\r", 21);
    bed_type(b, 2, "AT+CSIM=8,\"80CB0002\"\r", 21);
    at_channel_free(b->port[1].ch);
    bed_answer(b, "9000");
    asked("80CB0000\n80CB0002\n");
    bed_answer(b, "9002");
    assert_string_equal(bed_read(b, 2), INFO("+CSIM: 4,\"9002\"") OK);
}

static void profile_may_keep_channels(void **state) {
    (void)state;
    USE("hangup-keeps-channels", "1");
    b->extra = applet;
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 2") OK);
    b->log_n = 0;
    b->log[0] = '\0';
    at_channel_hangup(b->port[0].ch);
    bed_run(b);
    asked("");
    says("AT+CGLA=2,8,\"80CB0000\"\r", INFO("+CGLA: 6,\"DD9000\"") OK);
}

static void sessions_end_with_a_reset(void **state) {
    (void)state;
    b->extra = applet;
    says("AT+CMEE=1;+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 2") OK);
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    says("AT+CGLA=2,8,\"80CB0000\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 2") OK);
    says("AT+CFUN=0;+CFUN=1\r", OK);
    says("AT+CGLA=2,8,\"80CB0000\"\r", INFO("+CME ERROR: 50"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(opens_uses_closes),
        TEST(class_byte_of_high_channels),
        TEST(unknown_application),
        TEST(no_channel_free),
        TEST(parameters_are_checked),
        TEST(network_authentication_is_refused),
        TEST(handles_by_profile),
        TEST(cgla_has_its_own_t0),
        TEST(a_vanished_te_leaves_no_channel),
        TEST(channels_opened_by_a_bare_select_count),
        TEST(a_channel_belongs_to_who_selects_on_it),
        TEST(a_session_stays_with_who_opened_it),
        TEST(a_te_that_closes_itself_leaves_nothing_to_do),
        TEST(killed_while_the_channel_opens),
        TEST(killed_while_waiting),
        TEST(profile_may_keep_channels),
        TEST(sessions_end_with_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
