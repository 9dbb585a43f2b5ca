/* +CRSM, +CRLA, +CNUM, +CUAD and the selection on channel 0. */
#include "helper.h"

static const struct bed_pair files[] = {
    {"00A4080C022FE2", "9000"},
    {"00A4080C047FFF6F07", "9000"},
    {"00A40804047FFF6F0700", "62178202412183026F078A01058B036F060580020009880138 9000"},
    {"00B0000000", "080910101032547698 9000"},
    {"00B0000009", "080910101032547698 9000"},
    {"00B000000A", "98001032547698103254 9000"},
    {"00A4080C047FFF6F7B", "9000"},
    {"00D600000362F210", "9000"},
    {"00A4080C047F106F3A", "9000"},
    {"00B2010414", "AABB 9000"},
    {"00DC010402CCDD", "9000"},
    {"00A4040C10A0000000871002FFFFFFFF8907090000", "9000"},
    {NULL, NULL}};

static void reads_and_writes_files(void **state) {
    (void)state;
    b->extra = files;
    says("AT+CRSM=176,28423,0,0,9\r", INFO("+CRSM: 144,0,\"080910101032547698\"") OK);
    says("AT+CRSM=176,12258,0,0,10\r", INFO("+CRSM: 144,0,\"98001032547698103254\"") OK);
    says("AT+CRSM=178,28474,1,4,20\r", INFO("+CRSM: 144,0,\"AABB\"") OK); /* in DF TELECOM */
    says("AT+CRSM=220,28474,1,4,2,\"CCDD\"\r", INFO("+CRSM: 144,0") OK);
    says("AT+CRSM=214,28539,0,0,3,\"62f210\"\r", INFO("+CRSM: 144,0") OK);
    says("AT+CRSM=214,28539,0,0,3,62F210\r", INFO("+CRSM: 144,0") OK);
}

static void tells_the_fcp_in_the_short_form(void **state) {
    (void)state;
    b->extra = files;
    /* ofono leaves P1 to P3 out */
    says("AT+CRSM=192,28423\r",
         INFO("+CRSM: 144,0,\"62178202412183026F078A01058B036F060580020009880138\"") OK);
    says("AT+CRSM=176,28423\r", INFO("+CRSM: 144,0,\"080910101032547698\"") OK);
    says("AT+CRSM=242\r", INFO("+CRSM: 144,0,\"620482027821\"") OK);
}

static void says_what_the_card_says(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){
        {"00A4080C047FFF6F38", "9000"}, {"00B0000005", "6982"}, {NULL, NULL}};
    says("AT+CRSM=176,28472,0,0,5\r", INFO("+CRSM: 105,130") OK);
    says("AT+CRSM=176,20256,0,0,1\r", INFO("+CRSM: 106,130") OK);
}

static void looks_in_all_places(void **state) {
    (void)state;
    says("AT+CRSM=176,28423\r", INFO("+CRSM: 106,130") OK);
    asked("00A4080C047FFF6F07\n00A4080C047F106F07\n00A4080C026F07\n");
    says("AT+CRSM=176,12258\r", INFO("+CRSM: 106,130") OK);
    asked("00A4080C022FE2\n00A4080C047FFF2FE2\n00A4080C047F102FE2\n");
}

static void follows_an_explicit_path(void **state) {
    (void)state;
    says("AT+CRSM=192,28423,0,0,0,,\"3F007FFF5F3A\"\r", INFO("+CRSM: 106,130") OK);
    asked("00A40804067FFF5F3A6F0700\n");
    says("AT+CRSM=192,16128\r", /* 3F00 by itself */
         INFO("+CRSM: 144,0,\"621D8202782183023F00A5038001718A01058B032F0601C606900100830101\"")
             OK);
    asked("00A40004023F0000\n");
    says("AT+CMEE=1;+CRSM=192,28423,0,0,0,,\"7FF\"\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=192,28423,0,0,0,,\"7FFF7FFF7FFF7FFF7FFF7FFF7FFF7FFF7FFF\"\r",
         INFO("+CME ERROR: 50"));
}

static void parameters_are_checked(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    says("AT+CRSM=?\r", OK);
    says("AT+CRSM=177,28423\r", INFO("+CME ERROR: 4"));
    says("AT+CRSM=176\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=176,65536\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=176,28423,256\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=214,28423,0,0,3,\"6F\"\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=214,28423,0,0,1,\"XX\"\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=214,28423,0,0,1\r", INFO("+CME ERROR: 50"));
    says("AT+CRSM=\r", INFO("ERROR"));
    says("AT+CRSM=176,\"28423\"\r", INFO("ERROR"));
    says("AT+CRSM=176,28423,0,0,9,,,\r", INFO("ERROR"));
    asked("");
}

static void repeats_after_6c_unless_the_profile_does_not(void **state) {
    static const struct bed_pair wants_le[] = {{"00A4080C047FFF6F07", "9000"},
                                               {"00B0000000", "6C09"},
                                               {"00B0000009", "0102 9000"},
                                               {NULL, NULL}};

    (void)state;
    b->extra = wants_le;
    says("AT+CRSM=176,28423\r", INFO("+CRSM: 144,0,\"0102\"") OK);
    USE("me-retry-6c", "0");
    b->extra = wants_le;
    says("AT+CRSM=176,28423\r", INFO("+CRSM: 108,9") OK);
}

static void works_through_a_session(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"0070000001", "01 9000"},
                                         {"01A4080C047FFF6F07", "9000"},
                                         {"01B0000009", "55 9000"},
                                         {NULL, NULL}};
    says("AT+CCHO=\"A0000000871002\"\r", INFO("+CCHO: 1") OK);
    b->log_n = 0;
    says("AT+CRLA=1,176,28423,0,0,9\r", INFO("+CRLA: 144,0,\"55\"") OK);
    asked("01A4080C047FFF6F07\n01B0000009\n"); /* no application is selected on the TE's channel */
    says("AT+CMEE=1;+CRLA=2,176,28423,0,0,9\r", INFO("+CME ERROR: 50"));
}

/* ---- The TE's selection on channel 0 ---- */

static void selection_of_the_te_is_restored(void **state) {
    (void)state;
    b->extra = files;
    says("AT+CSIM=24,\"00A4040007A0000005590010\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    asked("00A4040007A0000005590010\n80CB0000\n");
    says("AT+CRSM=176,28423,0,0,9\r", INFO("+CRSM: 144,0,\"080910101032547698\"") OK);
    asked("00A4040C10A0000000871002FFFFFFFF8907090000\n00A4080C047FFF6F07\n00B0000009\n");
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    asked("00A4040007A0000005590010\n80CB0000\n");
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    asked("80CB0000\n"); /* once is enough */
}

static void a_path_is_restored_step_by_step(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"00A40004023F00", "9000"},
                                         {"00A40004027F10", "6110"},
                                         {"00A40004026F3A", "9F0F"},
                                         {"00A4080C022FE2", "9000"},
                                         {NULL, NULL}};
    bed_at(
        b,
        "AT+CSIM=14,\"00A40004023F00\";+CSIM=14,\"00A40004027F10\";+CSIM=14,\"00A40004026F3A\"\r");
    bed_at(b, "AT+CRSM=176,12258\r");
    b->log_n = 0;
    bed_at(b, "AT+CSIM=10,\"00B0000000\"\r");
    asked("00A4040C10A0000000871002FFFFFFFF8907090000\n00A40004023F00\n00A40004027F10\n00A40004026F"
          "3A\n00B0000000\n");
}

static void a_new_selection_needs_no_old_one(void **state) {
    (void)state;
    b->extra = files;
    bed_at(b, "AT+CRSM=176,28423\r");
    b->log_n = 0;
    says("AT+CSIM=24,\"00A4040007A0000005590010\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    says("AT+CSIM=10,\"01B0000000\"\r",
         INFO("+CSIM: 4,\"6A82\"") OK); /* another channel has its own */
    asked("00A4040007A0000005590010\n01B0000000\n");
}

static void the_profile_may_disturb_channel_0(void **state) {
    (void)state;
    USE("me-ch0-poll", "30");
    says("AT+CSIM=24,\"00A4040007A0000005590010\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    b->log_n = 0;
    bed_advance(b, 60000);
    asked("00A4000C023F00\n80F2000000\n00A4000C023F00\n80F2000000\n");
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    asked("80CB0000\n"); /* it is not mended: that is the point */
}

/* ---- What the modem reads for the TE ---- */

static void identity_of_the_card(void **state) {
    (void)state;
    says("AT+CIMI\r", INFO("001010123456789") OK);
    says("AT+CCID\r", INFO("+CCID: 89000123456789012345") OK);
    says("AT+ICCID;+QCCID\r",
         INFO("+ICCID: 89000123456789012345") INFO("+QCCID: 89000123456789012345") OK);
    says("AT+CUAD\r",
         INFO("+CUAD: 61184F10A0000000871002FFFFFFFF890709000050045553494DFFFFFFFFFFFFFFFFFFFFFFFF")
             OK);
    says("AT+CSUS?;+CSUS=0\r", INFO("+CSUS: 0") OK);
    says("AT+CMEE=1;+CSUS=1\r", INFO("+CME ERROR: 50"));
    asked(""); /* all known since power-up */
}

static void own_numbers(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){
        {"00A40804047FFF6F4000", "620B 82054221001C02 83026F40 9000"},
        {"00A4080C047FFF6F40", "9000"},
        {"00B201041C", "4C696E6531 FFFFFFFFFFFFFFFFFF 07 91 947171325476FFFFFFFF FF FF 9000"},
        {"00B202041C", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 9000"},
        {NULL, NULL}};
    says("AT+CNUM\r", INFO("+CNUM: \"Line1\",\"+491717234567\",145") OK);
    b->extra = NULL;
    says("AT+CNUM\r", OK); /* none stored */
}

static void a_card_without_usim(void **state) {
    static const struct bed_pair nothing[] = {{"*", "6A82"}, {NULL, NULL}};

    (void)state;
    modem_card_removed(b->m, "test");
    b->card = nothing;
    bed_insert(b);
    says("AT+CPIN?\r", INFO("+CPIN: READY") OK);
    says("AT+CMEE=1;+CIMI\r", INFO("+CME ERROR: 13"));
    says("AT+CCID\r", INFO("+CME ERROR: 13"));
    says("AT+CUAD\r", OK);
    says("AT+CREG?\r", INFO("+CREG: 0,0") OK);
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
}

static void status_of_no_file_selects_none(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"80F2000000", "62009000"}, {NULL, NULL}};
    says("AT+CRSM=242\r", INFO("+CRSM: 144,0,\"6200\"") OK);
    says("AT+CRSM=242,0,0,0,0\r", INFO("+CRSM: 144,0,\"6200\"") OK);
    asked("80F2000000\n80F2000000\n");
}

static void a_session_that_ended_meanwhile_has_no_files(void **state) {
    (void)state;
    says("AT+CMEE=1;+CCHO=\"A0000005590010\"\r", INFO("+CCHO: 1") OK);
    bed_attach(b, 1, AT_CHANNEL_NO_ECHO);
    b->hold = true;
    says("AT+CCHC=1\r", "");
    at_channel_input(b->port[1].ch, tb_span_str("AT+CMEE=1;+CRLA=1,176,28423,0,0,9\r"));
    bed_answer(b, "9000");
    assert_string_equal(bed_read(b, 1), INFO("+CME ERROR: 50"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_and_writes_files),
        TEST(tells_the_fcp_in_the_short_form),
        TEST(says_what_the_card_says),
        TEST(looks_in_all_places),
        TEST(follows_an_explicit_path),
        TEST(parameters_are_checked),
        TEST(repeats_after_6c_unless_the_profile_does_not),
        TEST(works_through_a_session),
        TEST(selection_of_the_te_is_restored),
        TEST(a_path_is_restored_step_by_step),
        TEST(a_new_selection_needs_no_old_one),
        TEST(the_profile_may_disturb_channel_0),
        TEST(identity_of_the_card),
        TEST(own_numbers),
        TEST(a_card_without_usim),
        TEST(status_of_no_file_selects_none),
        TEST(a_session_that_ended_meanwhile_has_no_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
