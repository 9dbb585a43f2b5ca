/* +CSIM: lengths, hex, quoting, T=0 by profile. */
#include "helper.h"

static void carries_an_apdu_each_way(void **state) {
    (void)state;
    says("AT+CSIM=10,\"0070000001\"\r", INFO("+CSIM: 6,\"019000\"") OK);
    says("AT+CSIM=10,\"0070800100\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    asked("0070000001\n0070800100\n");
}

static void card_errors_are_no_at_errors(void **state) {
    (void)state;
    says("AT+CSIM=14,\"00A40004022FFF\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
}

static void takes_hex_as_clients_send_it(void **state) {
    (void)state;
    b->extra = (const struct bed_pair[]){{"81CB0000", "9000"}, {NULL, NULL}};
    says("AT+CSIM=8,\"81cb0000\"\r", INFO("+CSIM: 4,\"9000\"") OK);    /* lpac */
    says("AT+CSIM=8,81CB0000\r", INFO("+CSIM: 4,\"9000\"") OK);        /* unquoted */
    says("AT+CSIM= 8,\"81CB0000\"\r\n", INFO("+CSIM: 4,\"9000\"") OK); /* wolfSSL pads the length */
    says("at + csim = 8 , \"81CB0000\"\r", INFO("+CSIM: 4,\"9000\"") OK);
    says("AT+CSIM=008,\"81CB0000\";\r", INFO("+CSIM: 4,\"9000\"") OK);
}

static void refuses_what_is_no_apdu(void **state) {
    (void)state;
    says("AT+CMEE=1\r", OK);
    says("AT+CSIM=10,\"81CB0000\"\r", INFO("+CME ERROR: 50")); /* length and string differ */
    says("AT+CSIM=7,\"81CB000\"\r", INFO("+CME ERROR: 50"));   /* odd */
    says("AT+CSIM=8,\"81CB00XY\"\r", INFO("+CME ERROR: 50"));  /* not hex */
    says("AT+CSIM=9,\"81 CB0000\"\r", INFO("+CME ERROR: 50")); /* a blank in a string is data */
    says("AT+CSIM=10,\"81 CB 0000\"\r", INFO("+CME ERROR: 50"));
    says("AT+CSIM=6,\"81CB00\"\r", INFO("+CME ERROR: 50")); /* no whole header */
    says("AT+CSIM=0,\"\"\r", INFO("+CME ERROR: 50"));
    says("AT+CSIM=8\r", INFO("ERROR"));
    says("AT+CSIM=1\r", INFO("ERROR")); /* Telit's lock */
    says("AT+CSIM=\r", INFO("ERROR"));
    says("AT+CSIM=8,\"81CB0000\",1\r", INFO("ERROR"));
    says("AT+CSIM=\"8\",\"81CB0000\"\r", INFO("ERROR"));
    says("AT+CSIM=8,\"81CB0000\r", INFO("ERROR"));
    says("AT+CSIM?\r", INFO("ERROR"));
    says("AT+CSIM\r", INFO("ERROR"));
    asked("");
    says("AT+CSIM=?\r", OK); /* bare, as pySim wants it */
}

static void longest_short_apdu_passes(void **state) {
    char line[700], cmd[600], data[511];

    (void)state;
    snprintf(data, sizeof data, "%0510d", 0);
    snprintf(cmd, sizeof cmd, "802B0001FF%s00", data);
    assert_int_equal(strlen(cmd), 522);
    snprintf(line, sizeof line, "AT+CSIM=522,\"%s\"\r", cmd);
    says(line, INFO("+CSIM: 4,\"6A82\"") OK);
    says("AT+CMEE=1\r", OK);
    snprintf(line, sizeof line, "AT+CSIM=523,\"%sA\"\r", cmd);
    says(line, INFO("+CME ERROR: 50"));
    snprintf(line, sizeof line, "AT+CSIM=522,\"%sA\"\r", cmd);
    says(line, INFO("+CME ERROR: 50"));
}

static void extended_length_needs_a_card_that_has_it(void **state) {
    static char line[5000];
    static uint8_t mem[4200];
    struct tb_buf text = TB_BUF(mem);

    (void)state;
    /* 2048 bytes: header, extended Lc 07F9, as many bytes of data. */
    tb_put(&text, tb_span_str("80DA00000007F9"));
    while (text.n < 4096)
        tb_put_u8(&text, 'C');
    snprintf(line, sizeof line, "AT+CSIM=4096,\"%.*s\"\r", (int)text.n, (const char *)text.p);
    says(line, INFO("+CSIM: 4,\"6A82\"") OK);
    assert_int_equal(b->cmd.n, 2048);
    b->atr = "3B00"; /* says nothing about extended length */
    assert_int_equal(modem_card_reset(b->m), 0);
    bed_run(b);
    says("AT+CMEE=1\r", OK);
    says(line, INFO("+CME ERROR: 50"));
}

static void the_largest_answer_comes_whole(void **state) {
    static char rsp[2 * 65535 + 1], expected[2 * 65535 + 64];

    (void)state;
    memset(rsp, 'E', sizeof rsp - 1);
    snprintf(rsp + sizeof rsp - 5, 5, "9000");
    b->extra = (const struct bed_pair[]){{"00B00000", rsp}, {NULL, NULL}};
    snprintf(expected, sizeof expected, INFO("+CSIM: 131070,\"%s\"") OK, rsp);
    says("AT+CSIM=8,\"00B00000\"\r", expected);
}

static void one_exchange_is_one_write(void **state) {
    (void)state;
    b->port[0].writes = 0;
    says("AT+CSIM=10,\"0070000001\"\r", INFO("+CSIM: 6,\"019000\"") OK);
    assert_int_equal(b->port[0].writes, 1);
    assert_int_equal(b->apdus, 1);
}

/* ---- Profiles ---- */

static const struct bed_pair speaks_t0[] = {
    {"81CB000003840101", "6104"},  {"01C0000004", "A0A1 6102"},
    {"01C0000002", "A2A3 9000"},   {"8184000000", "6C03"},
    {"8184000003", "010203 9000"}, {"80CB0000", "9F02"},
    {"00C0000002", "B0B1 9000"},   {"A0C0000003", "C0C1C2 9000"},
    {"A0A40000023F00", "9F03"},    {NULL, NULL}};
static const struct bed_pair speaks_directly[] = {
    {"81CB000003840101", "A0A1A2A3 9000"}, {"8184000000", "010203 9000"}, {NULL, NULL}};

static void pass_hands_everything_on(void **state) {
    (void)state;
    b->extra = speaks_t0;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 4,\"6104\"") OK);
    says("AT+CSIM=10,\"01C0000004\"\r", INFO("+CSIM: 8,\"A0A16102\"") OK);
    says("AT+CSIM=10,\"8184000000\"\r", INFO("+CSIM: 4,\"6C03\"") OK);
    b->extra = speaks_directly;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 12,\"A0A1A2A39000\"") OK);
}

static void auto_fetches(void **state) {
    (void)state;
    USE("t0", "auto");
    b->extra = speaks_t0;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 12,\"A0A1A2A39000\"") OK);
    asked("81CB000003840101\n01C0000004\n01C0000002\n");
    says("AT+CSIM=10,\"8184000000\"\r", INFO("+CSIM: 10,\"0102039000\"") OK);
    says("AT+CSIM=8,\"80CB0000\"\r",
         INFO("+CSIM: 8,\"B0B19000\"") OK); /* 9F02 is as good as 6102 */
    says("AT+CSIM=14,\"A0A40000023F00\"\r",
         INFO("+CSIM: 10,\"C0C1C29000\"") OK); /* class A0 fetches with A0 */
    b->extra = speaks_directly;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 12,\"A0A1A2A39000\"") OK);
}

static void raw_makes_procedure_bytes_up(void **state) {
    (void)state;
    USE("t0", "raw");
    b->extra = speaks_directly;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 4,\"6104\"") OK);
    says("AT+CSIM=10,\"01C0000002\"\r", INFO("+CSIM: 8,\"A0A16102\"") OK);
    says("AT+CSIM=10,\"01C0000002\"\r", INFO("+CSIM: 8,\"A2A39000\"") OK);
    says("AT+CSIM=10,\"8184000000\"\r", INFO("+CSIM: 4,\"6C03\"") OK);
    says("AT+CSIM=10,\"8184000003\"\r", INFO("+CSIM: 10,\"0102039000\"") OK);
    asked("81CB000003840101\n8184000000\n"); /* the card saw each command once */
    b->extra = speaks_t0;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 4,\"6104\"") OK);
    says("AT+CSIM=10,\"01C0000004\"\r", INFO("+CSIM: 8,\"A0A16102\"") OK);
}

static void raw_holds_per_channel(void **state) {
    (void)state;
    USE("t0", "raw");
    b->extra = (const struct bed_pair[]){
        {"81CB000003840101", "AAAA 9000"}, {"82CB000003840101", "BBBB 9000"}, {NULL, NULL}};
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 4,\"6102\"") OK);
    says("AT+CSIM=16,\"82CB000003840101\"\r", INFO("+CSIM: 4,\"6102\"") OK);
    says("AT+CSIM=10,\"01C0000002\"\r", INFO("+CSIM: 8,\"AAAA9000\"") OK);
    says("AT+CSIM=10,\"02C0000002\"\r", INFO("+CSIM: 8,\"BBBB9000\"") OK);
}

static void trunc_cuts(void **state) {
    (void)state;
    USE("t0", "trunc:5");
    b->extra = speaks_t0;
    says("AT+CSIM=16,\"81CB000003840101\"\r", INFO("+CSIM: 10,\"A0A1A2A390\"") OK);
    says("AT+CSIM=10,\"8184000000\"\r", INFO("+CSIM: 10,\"0102039000\"") OK);
}

static void a_card_that_promises_for_ever_is_left(void **state) {
    (void)state;
    USE("t0", "auto");
    b->extra = (const struct bed_pair[]){{"*", "6110"}, {NULL, NULL}};
    says("AT+CSIM=8,\"81CB0000\"\r", INFO("+CSIM: 4,\"6110\"") OK);
    assert_int_equal(b->apdus, 2);
    b->extra = (const struct bed_pair[]){{"*", "00 6110"},
                                         {NULL, NULL}}; /* …and one that never ends, too */
    bed_at(b, "AT+CSIM=8,\"81CB0000\"\r");
    b->extra = (const struct bed_pair[]){{"*", "6C10"}, {NULL, NULL}};
    says("AT+CSIM=10,\"81CB000000\"\r", INFO("+CSIM: 4,\"6C10\"") OK);
}

static void formats_by_profile(void **state) {
    (void)state;
    USE("csim-quote", "0", "csim-case", "lower");
    b->extra =
        (const struct bed_pair[]){{"81CB0000", "AB 9000"}, {"81CB0001", "CD 9000"}, {NULL, NULL}};
    says("AT+CSIM=8,\"81CB0000\"\r", INFO("+CSIM: 6,ab9000") OK);
    USE("csim-stale", "1");
    b->extra =
        (const struct bed_pair[]){{"81CB0000", "AB 9000"}, {"81CB0001", "CD 9000"}, {NULL, NULL}};
    says("AT+CSIM=8,\"81CB0000\"\r", INFO("+CSIM: 6,\"AB9000\"") OK);
    says("AT+CSIM=8,\"81CB0001\"\r", INFO("+CSIM: 6,AB9000") INFO("+CSIM: 6,\"CD9000\"") OK);
}

static void limits_by_profile(void **state) {
    (void)state;
    USE("csim-max", "8");
    says("AT+CSIM=8,\"81CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    says("AT+CMEE=1;+CSIM=10,\"81CB000000\"\r", INFO("+CME ERROR: 50"));
    USE("csim-len", "trust-string");
    says("AT+CSIM=4,\"81CB0000\"\r",
         INFO("+CSIM: 4,\"6A82\"") OK); /* wolfSSL's miscounted length */
    USE("csim-channels", "blocked");
    says("AT+CSIM=10,\"0070000001\"\r", INFO("+CSIM: 6,\"019000\"") OK);
    says("AT+CMEE=1;+CSIM=8,\"81CB0000\"\r", INFO("+CME ERROR: 3"));
    says("AT+CSIM=8,\"80CB0000\"\r", INFO("+CSIM: 4,\"6A82\"") OK);
    USE("sim-test-forms", "0");
    says("AT+CSIM=?\r", INFO("ERROR"));
}

static void opens_channels_before_the_te(void **state) {
    struct modem_quirks q = bed_quirks((const char *const[]){"preopen-channel", "1", NULL});

    (void)state;
    bed_free(b);
    b = bed_bare(&q);
    bed_insert(b);
    assert_non_null(strstr(b->log, "0070000001\n"));
}

static void waits_as_long_as_the_profile_says(void **state) {
    (void)state;
    USE("latency-card", "30", "latency-at", "20");
    assert_int_equal(at_channel_input(b->port[0].ch, tb_span_str("AT+CSIM=8,\"81CB0000\"\r")), 21);
    bed_advance(b, 19);
    bed_advance(b, 30);
    assert_int_equal(b->apdus, 0);
    bed_advance(b, 1);
    assert_int_equal(b->apdus, 1);
    assert_string_equal(bed_read(b, 0), INFO("+CSIM: 4,\"6A82\"") OK);
}

static void swallows_lines_by_profile(void **state) {
    (void)state;
    USE("drop-every", "3");
    says("AT\rAT\rAT\rAT\r", OK OK OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(carries_an_apdu_each_way),
        TEST(card_errors_are_no_at_errors),
        TEST(takes_hex_as_clients_send_it),
        TEST(refuses_what_is_no_apdu),
        TEST(longest_short_apdu_passes),
        TEST(extended_length_needs_a_card_that_has_it),
        TEST(the_largest_answer_comes_whole),
        TEST(one_exchange_is_one_write),
        TEST(pass_hands_everything_on),
        TEST(auto_fetches),
        TEST(raw_makes_procedure_bytes_up),
        TEST(raw_holds_per_channel),
        TEST(trunc_cuts),
        TEST(a_card_that_promises_for_ever_is_left),
        TEST(formats_by_profile),
        TEST(limits_by_profile),
        TEST(opens_channels_before_the_te),
        TEST(waits_as_long_as_the_profile_says),
        TEST(swallows_lines_by_profile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
