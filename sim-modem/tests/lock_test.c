/* PINs: what the card asks for, how the TE gives it. */
#include "helper.h"

#define MF                                                                                         \
    "621D8202782183023F00A5038001718A01058B032F0601C606900180830101 9000" /* PIN1 enabled          \
                                                                           */

static const struct bed_pair locked[] = {
    {"00A40004023F0000", MF}, {"0020000100", "63C3"}, {"00B0000009", "6982"}, {NULL, NULL}};

/* A card with PIN1 enabled, before anybody gave it. */
static void insert_locked(const struct bed_pair *pairs) {
    modem_card_removed(b->m, "test");
    b->extra = pairs;
    bed_insert(b);
    b->log_n = 0;
    b->log[0] = '\0';
    bed_at(b, "AT+CMEE=1\r");
}

static void without_a_pin_everything_is_open(void **state) {
    (void)state;
    says("AT+CMEE=1;+CPIN?\r", INFO("+CPIN: READY") OK);
    says("AT+CLCK=\"SC\",2\r", INFO("+CLCK: 0") OK);
    says("AT+CPIN=\"1234\"\r", INFO("+CME ERROR: 3")); /* nothing is asked for */
    says("AT+CLCK=\"FD\",2;+CLCK=\"PN\",2;+CLCK=\"PU\",2;+CLCK=\"PP\",2;+CLCK=\"PC\",2\r",
         INFO("+CLCK: 0") INFO("+CLCK: 0") INFO("+CLCK: 0") INFO("+CLCK: 0") INFO("+CLCK: 0") OK);
    says("AT+CLCK=\"XX\",2\r", INFO("+CME ERROR: 4"));
    says("AT+CLCK=\"PN\",1,\"1234\"\r", INFO("+CME ERROR: 4"));
    says("AT+CLCK=?\r", INFO("+CLCK: (\"SC\",\"FD\",\"PN\",\"PU\",\"PP\",\"PC\",\"PF\")") OK);
    asked("");
}

static void the_pin_is_wanted_and_given(void **state) {
    (void)state;
    insert_locked(locked);
    says("AT+CPIN?\r", INFO("+CPIN: SIM PIN") OK);
    says("AT+CIMI\r", INFO("+CME ERROR: 11"));
    says("AT+CREG?;+CLCK=\"SC\",2\r", INFO("+CREG: 0,0") INFO("+CLCK: 1") OK);
    says("AT+CCID\r", INFO("+CCID: 89000123456789012345") OK); /* readable without */
    b->extra = (const struct bed_pair[]){{"0020000108*", "9000"}, {NULL, NULL}};
    says("AT+CPIN=\"1234\"\r", OK);
    assert_non_null(strstr(b->log, "002000010831323334FFFFFFFF\n"));
    says("AT+CPIN?;+CIMI;+CREG?\r",
         INFO("+CPIN: READY") INFO("001010123456789") INFO("+CREG: 0,1") OK);
}

static void wrong_pins_lead_to_the_puk(void **state) {
    (void)state;
    insert_locked(locked);
    b->extra = (const struct bed_pair[]){{"0020000108*", "63C1"}, {NULL, NULL}};
    says("AT+CPIN=\"0000\"\r", INFO("+CME ERROR: 16"));
    b->extra = (const struct bed_pair[]){{"0020000108*", "63C0"}, {NULL, NULL}};
    says("AT+CPIN=\"0000\"\r", INFO("+CME ERROR: 12"));
    says("AT+CPIN?\r", INFO("+CPIN: SIM PUK") OK);
    says("AT+CIMI\r", INFO("+CME ERROR: 12"));
    says("AT+CPIN=\"12345678\"\r", INFO("+CME ERROR: 12"));
    b->log_n = 0;
    b->log[0] = '\0';
    b->extra = (const struct bed_pair[]){{"002C000110*", "9000"}, {NULL, NULL}};
    says("AT+CPIN=\"12345678\",\"4321\"\r", OK);
    assert_ptr_equal(strstr(b->log, "002C000110313233343536373834333231FFFFFFFF\n"), b->log);
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK);
}

static void malformed_secrets_never_reach_the_card(void **state) {
    (void)state;
    insert_locked(locked);
    says("AT+CPIN=\"123\"\r", INFO("+CME ERROR: 16"));
    says("AT+CPIN=\"123456789\"\r", INFO("+CME ERROR: 16"));
    says("AT+CPIN=\"12a4\"\r", INFO("+CME ERROR: 16"));
    says("AT+CPIN=1234\r", INFO("ERROR"));
    says("AT+CPIN=\r", INFO("ERROR"));
    says("AT+CPIN=\"1234\",\"1234\"\r", INFO("ERROR"));
    asked("");
}

static void a_pin_through_csim_counts(void **state) {
    (void)state;
    insert_locked(locked);
    b->extra = (const struct bed_pair[]){{"0020000108*", "9000"}, {NULL, NULL}};
    says("AT+CSIM=26,\"002000010831323334FFFFFFFF\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    says("AT+CPIN?;+CIMI\r", INFO("+CPIN: READY") INFO("001010123456789") OK);
}

/* A card tells how many attempts are left whether the PIN was given or not (TS 102 221 11.1.9.1).
 */
static const struct bed_pair tells_attempts[] = {
    {"00A40004023F0000", MF}, {"0020000100", "63C3"},
    {"0020000108*", "9000"},  {"002400011039*", "63C0"},
    {"00280001*", "9000"},    {"00260001*", "9000"},
    {"002C000110*", "9000"},  {NULL, NULL}};

static void a_given_pin_is_not_asked_for_again(void **state) {
    (void)state;
    USE("me-status", "normal");
    modem_card_removed(b->m, "test");
    b->extra = tells_attempts;
    bed_insert(b);
    assert_null(strstr(b->log, "80F201"));
    says("AT+CPIN?\r", INFO("+CPIN: SIM PIN") OK);
    says("AT+CPIN=\"1234\"\r", OK);
    says("AT+CPIN?;+CIMI\r", INFO("+CPIN: READY") INFO("001010123456789") OK);
    /* TS 31.102 5.1.1: the application is told when its initialisation is complete, not before */
    assert_non_null(strstr(b->log, "80F2010000\n"));
}

static void what_the_pin_opens_is_read_before_it_is_shown(void **state) {
    (void)state;
    insert_locked(locked);
    b->extra = tells_attempts;
    b->hold = true;
    says("AT+CPIN=\"1234\";+CIMI\r", "");
    bed_answer(b, "9000");
    b->hold = false;
    bed_run(b);
    assert_string_equal(bed_read(b, 0), INFO("001010123456789") OK);
}

static void pins_handled_through_csim_show(void **state) {
    (void)state;
    insert_locked(tells_attempts);
    says("AT+CSIM=26,\"002600010831323334FFFFFFFF\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    says("AT+CPIN?;+CLCK=\"SC\",2\r", INFO("+CPIN: READY") INFO("+CLCK: 0") OK);
    says("AT+CSIM=26,\"002800010831323334FFFFFFFF\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    says("AT+CPIN?;+CLCK=\"SC\",2\r", INFO("+CPIN: READY") INFO("+CLCK: 1") OK);
    b->extra = (const struct bed_pair[]){{"0020000108*", "63C0"}, {NULL, NULL}};
    says("AT+CSIM=26,\"002000010830303030FFFFFFFF\"\r", INFO("+CSIM: 4,\"63C0\"") OK);
    says("AT+CPIN?\r", INFO("+CPIN: SIM PUK") OK);
    says("AT+CIMI\r", INFO("+CME ERROR: 12"));
}

static void a_pin_blocked_by_changing_it_is_blocked(void **state) {
    (void)state;
    insert_locked(tells_attempts);
    says("AT+CPIN=\"1234\"\r", OK);
    says("AT+CPWD=\"SC\",\"9999\",\"1234\"\r", INFO("+CME ERROR: 12"));
    says("AT+CPIN?;+CREG?\r", INFO("+CPIN: SIM PUK") INFO("+CREG: 0,0") OK);
    says("AT+CPIN=\"12345678\",\"1234\"\r", OK);
    says("AT+CPIN?;+CREG?;+CIMI\r",
         INFO("+CPIN: READY") INFO("+CREG: 0,1") INFO("001010123456789") OK);
}

static void a_restart_right_after_the_pin_forgets_nobody(void **state) {
    (void)state;
    insert_locked(tells_attempts);
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    says("AT+CPIN=\"1234\";+CFUN=1,1\r", "");
    at_channel_input(b->port[1].ch, tb_span_str("AT+CSIM=8,\"80CB0000\"\r"));
    bed_answer(b, "9000");
    b->hold = false;
    bed_run(b);
    assert_string_equal(bed_read(b, 0), OK);
    assert_string_equal(bed_read(b, 1), INFO("+CSIM: 4,\"6A82\"") OK);
    says("AT+CPIN?\r", INFO("+CPIN: SIM PIN") OK);
}

static void a_card_that_hides_its_pin_state(void **state) {
    (void)state;
    insert_locked((const struct bed_pair[]){
        {"00A40004023F0000", "9000"}, {"00B0000009", "6982"}, {NULL, NULL}});
    says("AT+CPIN?\r", INFO("+CPIN: SIM PIN") OK);
}

static void attempts_left(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"0020000100", "63C2"},
                                         {"002C000100", "63CA"},
                                         {"0020008100", "6983"},
                                         {"002C008100", "6A88"},
                                         {NULL, NULL}};
    says("AT+CPINR\r",
         INFO("+CPINR: SIM PIN,2,3") INFO("+CPINR: SIM PUK,10,10") INFO("+CPINR: SIM PIN2,0,3") OK);
    says("AT+CPINR=\"SIM PUK\"\r", INFO("+CPINR: SIM PUK,10,10") OK);
    says("AT+CMEE=1;+CPINR=\"SIM POX\"\r", INFO("+CME ERROR: 50"));
    b->extra = (const struct bed_pair[]){{"0020000100", "9000"}, {NULL, NULL}};
    says("AT+CPINR=\"SIM PIN\"\r", INFO("+CPINR: SIM PIN,3,3") OK);
}

static void locks_and_passwords(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){
        {"00280001*", "9000"}, {"00260001*", "63C2"}, {"00240001*", "9000"}, {NULL, NULL}};
    says("AT+CMEE=1;+CLCK=\"SC\",1,\"1234\"\r", OK);
    says("AT+CLCK=\"SC\",2\r", INFO("+CLCK: 1") OK);
    says("AT+CLCK=\"SC\",0,\"0000\"\r", INFO("+CME ERROR: 16"));
    says("AT+CPWD=\"SC\",\"1234\",\"5678\"\r", OK);
    asked("002800010831323334FFFFFFFF\n002600010830303030FFFFFFFF\n002400011031323334FFFFFFFF353637"
          "38FFFFFFFF\n");
    says("AT+CPWD=?\r", INFO("+CPWD: (\"SC\",8)") OK);
    says("AT+CPWD=\"P2\",\"1234\",\"5678\"\r", INFO("+CME ERROR: 4"));
    says("AT+CPWD=\"SC\",\"1234\"\r", INFO("ERROR"));
}

static void counters_as_modemmanager_reads_them(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"0020000100", "63C3"}, {NULL, NULL}};
    says("AT+CSIM=10,\"0020000100\"\r", INFO("+CSIM: 4,\"63C3\"") OK);
    asked("0020000100\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(without_a_pin_everything_is_open),
        TEST(the_pin_is_wanted_and_given),
        TEST(wrong_pins_lead_to_the_puk),
        TEST(malformed_secrets_never_reach_the_card),
        TEST(a_pin_through_csim_counts),
        TEST(a_given_pin_is_not_asked_for_again),
        TEST(what_the_pin_opens_is_read_before_it_is_shown),
        TEST(pins_handled_through_csim_show),
        TEST(a_pin_blocked_by_changing_it_is_blocked),
        TEST(a_restart_right_after_the_pin_forgets_nobody),
        TEST(a_card_that_hides_its_pin_state),
        TEST(attempts_left),
        TEST(locks_and_passwords),
        TEST(counters_as_modemmanager_reads_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
