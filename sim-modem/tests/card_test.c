/* The card comes, goes, stays mute, answers too late; power, reset, whose turn it is. */
#include "helper.h"

static void boots_with_what_a_modem_asks(void **state) {
    (void)state;
    bed_free(b);
    b = bed_bare(NULL);
    bed_insert(b);
    asked("00A40004023F0000\n00A4000C022FE2\n00B000000A\n00A40004022F0000\n00B2010426\n00B2020426\n"
          "00A4040410A0000000871002FFFFFFFF890709000000\n801000000101\n00A4000C026F07\n00B0000009\n"
          "00A4000C026FAD\n"
          "00B0000004\n00A4000C026F46\n00B0000011\n80F2010000\n");
    assert_string_equal(b->events, "card-inserted 89000123456789012345\nregistration home\n");
}

static void nrf91_sends_a_status_of_four_bytes(void **state) {
    (void)state;
    USE("me-status", "case1");
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    assert_non_null(strstr(b->log, "\n80F2010C\n"));
}

static void other_habits_of_modems(void **state) {
    (void)state;
    USE("me-status", "extended", "me-read-le", "00");
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    assert_non_null(strstr(b->log, "\n80F20100000168\n"));
    assert_non_null(strstr(b->log, "\n00B0000000\n"));
}

static void a_card_that_asks_is_told_what_the_terminal_can(void **state) {
    (void)state;
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    assert_null(strstr(b->log, "80AA"));
    b->extra = (const struct bed_pair[]){
        {"00A40004023F0000", "620D8202782183023F00A503870101 9000"}, {NULL, NULL}};
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    assert_non_null(strstr(b->log, "00A40004023F0000\n80AA000004A9028100\n00A4"));
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK); /* it does not mind the answer */
}

static void a_card_that_opens_one_channel_for_ever(void **state) {
    struct modem_quirks q = bed_quirks((const char *const[]){"preopen-channel", "2", NULL});

    (void)state;
    bed_free(b);
    b = bed_bare(&q);
    b->extra = (const struct bed_pair[]){{"0070000001", "019000"}, {NULL, NULL}};
    bed_attach(b, 0, AT_CHANNEL_NO_ECHO);
    bed_insert(b);
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK);
}

static void without_a_card(void **state) {
    (void)state;
    modem_card_removed(b->m, "test");
    says("AT+CMEE=1\r", OK);
    says("AT+CPIN?\r", INFO("+CME ERROR: 10"));
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CME ERROR: 10"));
    says("AT+CCHO=\"A0000005590010\"\r", INFO("+CME ERROR: 10"));
    says("AT+CRSM=176,28423\r", INFO("+CME ERROR: 10"));
    says("AT+CIMI\r", INFO("+CME ERROR: 10"));
    says("AT+CSIM=?;+CREG?;+CSQ\r", INFO("+CREG: 0,0") INFO("+CSQ: 24,99") OK); /* works without */
    assert_int_equal(modem_card_reset(b->m), TB_ESTATE);
}

static void removal_ends_what_is_under_way(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    says("AT+CMEE=1\r", OK);
    bed_type(b, 1, "AT+CMEE=1\r", 10);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    assert_string_equal(bed_type(b, 1, "AT+CSIM=8,\"80CB0000\"\r", 21), "");
    b->pending = false;
    modem_card_removed(b->m, "test");
    assert_string_equal(bed_read(b, 0), INFO("+CME ERROR: 13"));
    assert_string_equal(bed_read(b, 1), INFO("+CME ERROR: 13"));
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CME ERROR: 10"));
    assert_non_null(strstr(b->events, "registration none\ncard-removed test\n"));
    b->hold = false;
    bed_insert(b); /* and comes back without a restart */
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    says("AT+CREG?\r", INFO("+CREG: 0,1") OK);
}

static void another_card_is_another_subscriber(void **state) {
    (void)state;
    modem_card_removed(b->m, "test");
    b->extra =
        (const struct bed_pair[]){{"00B0000009", "080929002143658709 9000"},
                                  {"00B000000A", "98002143658709214365 9000"},
                                  {"00B0000011", "01 426C75654F70 FFFFFFFFFFFFFFFFFFFFFF 9000"},
                                  {NULL, NULL}};
    bed_insert(b);
    says("AT+CIMI;+CCID\r", INFO("092001234567890") INFO("+CCID: 89001234567890123456") OK);
    says("AT+COPS?\r", INFO("+COPS: 0,0,\"BlueOp\",7") OK);
    says("AT+COPS=3,2;+COPS?\r", INFO("+COPS: 0,2,\"09200\",7") OK);
}

static void mute_card(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    b->pending = false;
    modem_card_answer(b->m, TB_SPAN_NONE);
    assert_string_equal(bed_read(b, 0), INFO("+CME ERROR: 13"));
    assert_non_null(strstr(b->events, "card-removed no answer\n"));
    says("AT+CSIM=8,\"80CB0001\"\r", INFO("+CME ERROR: 13"));
    assert_false(b->pending);
}

static void a_late_answer_is_nobodys(void **state) {
    uint8_t late[] = {0xAA, 0x90, 0x00};

    (void)state;
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    b->pending = false;
    modem_card_answer(b->m, TB_SPAN_NONE);
    bed_read(b, 0);
    modem_card_answer(b->m, tb_span(late, sizeof late)); /* before the card is inserted again */
    b->hold = false;
    bed_insert(b);
    modem_card_answer(b->m, tb_span(late, sizeof late)); /* and after */
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
}

static void answers_without_a_status_word_are_muteness(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    bed_answer(b, "90");
    assert_string_equal(bed_read(b, 0), INFO("+CME ERROR: 13"));
}

static void commands_wait_while_the_card_boots(void **state) {
    (void)state;
    bed_free(b);
    b = bed_bare(NULL);
    bed_attach(b, 0, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    modem_card_inserted(b->m);
    says("AT+CIMI;+CSIM=8,\"80CB0000\"\r", "");
    says("AT+CREG?\r", ""); /* typed ahead: stays in line */
    b->hold = false;
    bed_run(b);
    assert_string_equal(bed_read(b, 0),
                        INFO("001010123456789") INFO("+CSIM: 4,\"6A82\"") OK INFO("+CREG: 0,1") OK);
}

static void a_card_that_dies_while_it_boots(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    modem_card_removed(b->m, "test");
    b->hold = true;
    modem_card_inserted(b->m);
    says("AT+CIMI\r", "");
    b->pending = false;
    modem_card_answer(b->m, TB_SPAN_NONE); /* not even an ATR */
    assert_string_equal(bed_read(b, 0), INFO("+CME ERROR: 13"));
    says("AT+CPIN?\r", INFO("+CME ERROR: 13"));
}

static void inserted_twice_is_taken_for_a_change(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    b->pending = false;
    modem_card_inserted(b->m);
    assert_string_equal(bed_read(b, 0), INFO("+CME ERROR: 13"));
    b->hold = false;
    bed_run(b);
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK);
}

static void reset_lets_the_exchange_end_first(void **state) {
    (void)state;
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    assert_int_equal(modem_card_reset(b->m), 0);
    assert_int_equal(b->resets, 0);
    bed_answer(b, "AB9000");
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 6,\"AB9000\"") OK);
    assert_int_equal(b->resets, 1);
    says("AT+CPIN?\r", "");
    assert_int_equal(modem_card_reset(b->m), 0); /* once more, before the ATR has come */
    b->hold = false;
    bed_run(b);
    assert_string_equal(bed_read(b, 0), INFO("+CPIN: READY") OK);
    assert_int_equal(b->resets, 2);
    assert_int_equal(modem_card_reset(b->m), 0); /* and in the middle of the boot */
    b->hold = true;
    bed_answer(b, b->atr);
    bed_answer(b, "9000");
    assert_int_equal(modem_card_reset(b->m), 0);
    b->hold = false;
    bed_run(b);
    says("AT+CIMI\r", INFO("001010123456789") OK);
}

static void minimum_functionality_powers_the_card_down(void **state) {
    (void)state;
    says("AT+CMEE=1;+CFUN?\r", INFO("+CFUN: 1") OK);
    says("AT+CFUN=0\r", OK);
    assert_int_equal(b->offs, 1);
    says("AT+CPIN?\r", INFO("+CME ERROR: 13"));
    says("AT+CREG?;+CSQ;+CFUN?\r", INFO("+CREG: 0,0") INFO("+CSQ: 99,99") INFO("+CFUN: 0") OK);
    says("AT+CFUN=1;+CPIN?\r", INFO("+CPIN: READY") OK);
    says("AT+CREG?\r", INFO("+CREG: 0,1") OK);
}

static void power_down_while_another_te_waits(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    bed_type(b, 1, "AT+CMEE=1\r", 10);
    b->hold = true;
    bed_type(b, 1, "AT+CSIM=8,\"80CB0000\"\r", 21);
    says("AT+CFUN=0\r", OK);
    assert_string_equal(bed_read(b, 1), INFO("+CME ERROR: 13"));
    assert_int_equal(b->offs,
                     0); /* the answer under way belongs to nobody, but it has to come first */
    bed_answer(b, "AB9000");
    assert_int_equal(b->offs, 1);
    says("AT+CFUN=1\r", OK);
    b->hold = false;
    bed_run(b);
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK);
    assert_string_equal(bed_read(b, 1), "");
}

static void off_and_on_before_the_answer(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    bed_type(b, 1, "AT+CSIM=8,\"80CB0000\"\r", 21);
    says("AT+CFUN=0;+CFUN=1\r", OK);
    bed_answer(b, "AB9000");
    assert_true(b->pending_atr);
    b->hold = false;
    bed_run(b);
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK);
}

static void inserted_while_off(void **state) {
    (void)state;
    says("AT+CFUN=0\r", OK);
    modem_card_removed(b->m, "test");
    bed_insert(b);
    assert_false(b->pending);
    says("AT+CMEE=1;+CPIN?\r", INFO("+CME ERROR: 13"));
    says("AT+CFUN=4;+CPIN?\r", INFO("+CPIN: READY") OK);
    says("AT+CREG?\r", INFO("+CREG: 0,0") OK); /* the card is on, the radio is not */
}

static void restart_by_cfun(void **state) {
    (void)state;
    says("AT+CMEE=2;+CREG=1;S0=3\r", OK);
    assert_string_equal(bed_at(b, "AT+CFUN=1,1\r"), OK);
    assert_int_equal(b->resets, 1);
    says("AT+CMEE?;+CREG?\r", INFO("+CMEE: 0") INFO("+CREG: 0,1") OK);
    says("ATS0?\r", INFO("000") OK);
    says("AT+CFUN=2\r", INFO("ERROR"));
    says("AT+CFUN=?\r", INFO("+CFUN: (0,1,4),(0,1)") OK);
}

/* ---- Whose turn it is ---- */

static void two_tes_take_turns(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\";+CSIM=8,\"80CB0001\"\r", "");
    bed_type(b, 1, "AT+CSIM=8,\"80CB0002\"\r", 21);
    bed_answer(b, "9000");
    asked(
        "80CB0000\n80CB0002\n"); /* the second command of the first TE stands behind the other TE */
    bed_answer(b, "9002");
    bed_answer(b, "9001");
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 4,\"9000\"") INFO("+CSIM: 4,\"9001\"") OK);
    assert_string_equal(bed_read(b, 1), INFO("+CSIM: 4,\"9002\"") OK);
}

static void a_transaction_is_not_interrupted(void **state) {
    (void)state;
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    says("AT+CRSM=176,28423,0,0,9\r", "");
    bed_type(b, 1, "AT+CSIM=8,\"01CB0000\"\r", 21);
    bed_answer(b, "9000");
    bed_answer(b, "AA9000");
    asked("00A4080C047FFF6F07\n00B0000009\n01CB0000\n");
}

static void busy_by_profile(void **state) {
    (void)state;
    USE("sim-busy", "error");
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    bed_type(b, 1, "AT+CMEE=1\r", 10);
    b->hold = true;
    says("AT+CSIM=8,\"80CB0000\"\r", "");
    assert_string_equal(bed_type(b, 1, "AT+CSIM=8,\"80CB0002\"\r", 21), INFO("+CME ERROR: 14"));
    assert_string_equal(bed_type(b, 1, "AT+CREG?\r", 9), INFO("+CREG: 0,1") OK);
}

static void counts(void **state) {
    struct modem_counters c;
    struct modem_status s;

    (void)state;
    bed_at(b, "AT\rAT+X\rAT+CSIM=10,\"0070000001\"\r");
    modem_counters(b->m, &c);
    assert_int_equal(c.at_lines, 3);
    assert_int_equal(c.at_errors, 1);
    assert_int_equal(c.apdus_te, 1);
    assert_int_equal(c.apdus_own, 15);
    modem_status(b->m, &s);
    assert_string_equal(s.card, "ready");
    assert_string_equal(s.iccid, "89000123456789012345");
    assert_int_equal(s.sessions, 1);
    assert_int_equal(s.at_channels, 1);
}

static void configuration_is_checked(void **state) {
    struct modem_config cfg = {.imei = "12345"};
    int err = 0;

    (void)state;
    assert_null(modem_new(&cfg, &err));
    assert_int_equal(err, TB_EPARSE);
    cfg.imei = "49015420323751x";
    assert_null(modem_new(&cfg, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(boots_with_what_a_modem_asks),
        TEST(nrf91_sends_a_status_of_four_bytes),
        TEST(other_habits_of_modems),
        TEST(a_card_that_asks_is_told_what_the_terminal_can),
        TEST(a_card_that_opens_one_channel_for_ever),
        TEST(without_a_card),
        TEST(removal_ends_what_is_under_way),
        TEST(another_card_is_another_subscriber),
        TEST(mute_card),
        TEST(a_late_answer_is_nobodys),
        TEST(answers_without_a_status_word_are_muteness),
        TEST(commands_wait_while_the_card_boots),
        TEST(a_card_that_dies_while_it_boots),
        TEST(inserted_twice_is_taken_for_a_change),
        TEST(reset_lets_the_exchange_end_first),
        TEST(minimum_functionality_powers_the_card_down),
        TEST(power_down_while_another_te_waits),
        TEST(off_and_on_before_the_answer),
        TEST(inserted_while_off),
        TEST(restart_by_cfun),
        TEST(two_tes_take_turns),
        TEST(a_transaction_is_not_interrupted),
        TEST(busy_by_profile),
        TEST(counts),
        TEST(configuration_is_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
