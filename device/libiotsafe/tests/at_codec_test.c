/* The AT codec against what deployed modems say, cut into pieces at every place. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "iotsafe/at.h"
#include "script.h"

struct line {
    const char *sent;   /* what the codec has to send */
    const char *answer; /* what the modem then says */
};

#define INIT                                                                                       \
    {"ATE0Q0V1\r", "ATE0Q0V1\r\r\nOK\r\n"}, {"AT+CMEE=1\r", "\r\nOK\r\n"}, {                       \
        "AT+CMEE?\r", "\r\n+CMEE: 1\r\n\r\nOK\r\n"                                                 \
    }
#define STATUS_LINE "AT+CSIM=10,\"80F2000000\"\r"

static const uint8_t status[] = {0x80, 0xF2, 0x00, 0x00, 0x00};

struct modem {
    struct iotsafe_at at;
    const struct line *next;
    size_t piece; /* characters handed over at once, 0: all */
    uint8_t rsp[300];
};

static void start(struct modem *m, enum iotsafe_at_mode mode, const struct line *lines) {
    memset(m, 0, sizeof *m);
    iotsafe_at_init(&m->at, mode);
    m->next = lines;
}

static void hear(struct modem *m, const char *text, size_t n) {
    size_t step = m->piece ? m->piece : n;

    for (size_t off = 0; off < n; off += step)
        (void)iotsafe_at_input(&m->at, text + off, step < n - off ? step : n - off);
}

/* One command through the script. */
static int run(struct modem *m, const uint8_t *cmd, size_t n) {
    assert_int_equal(iotsafe_at_command(&m->at, cmd, n, m->rsp, sizeof m->rsp), 0);
    while (iotsafe_at_busy(&m->at)) {
        const char *out;
        size_t len = iotsafe_at_output(&m->at, &out);

        assert_true(len > 0); /* else it waits for what the script does not have */
        assert_non_null(m->next->sent);
        assert_int_equal(len, strlen(m->next->sent));
        assert_memory_equal(out, m->next->sent, len);
        hear(m, m->next->answer, strlen(m->next->answer));
        m->next++;
    }
    return iotsafe_at_result(&m->at);
}

/* The whole script for one command; the response is checked when r is a length. */
static void exchange(enum iotsafe_at_mode mode, const struct line *lines, int r, const char *rsp) {
    for (size_t piece = 0; piece < 40; piece++) {
        struct modem m;

        start(&m, mode, lines);
        m.piece = piece;
        assert_int_equal(run(&m, status, sizeof status), r);
        if (r > 0)
            assert_hex(m.rsp, (size_t)r, rsp);
        assert_null(m.next->sent);
    }
}

static void says_hello_once_and_then_one_line_for_each_command(void **state) {
    const struct line lines[] = {INIT,
                                 {STATUS_LINE, "\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n"},
                                 {STATUS_LINE, "\r\n+CSIM: 8,\"01026A82\"\r\n\r\nOK\r\n"},
                                 {0}};
    struct modem m;

    (void)state;
    start(&m, IOTSAFE_AT_CSIM, lines);
    assert_int_equal(run(&m, status, sizeof status), 2);
    assert_hex(m.rsp, 2, "9000");
    assert_int_equal(run(&m, status, sizeof status), 4);
    assert_hex(m.rsp, 4, "01026A82");
    assert_null(m.next->sent);
}

static void takes_every_form_of_the_answer(void **state) {
    static const char *const answers[] = {
        "\r\n+CSIM: 8,\"0102abCD\"\r\n\r\nOK\r\n", "\r\n+CSIM: 8,0102ABCD\r\n\r\nOK\r\n",
        "\r\n+CSIM:8,\"0102ABCD\"\r\nOK\r\n", "\r\n+CSIM: 8, \"0102ABCD\"  \r\nOK\r\n",
        "\r\n+csim: 8,\"0102abcd\"\r\n\r\nOK\r\n", "\r\n+CSIM: 4,\"0102ABCD\"\r\n\r\nOK\r\n",
        "+CSIM: \"0102ABCD\"\r\nOK\r\n", "+CSIM: 8,\"0102ABCD\"\nOK\n",
        "\r\r\n+CSIM: 8,\"0102ABCD\"\r\r\n\r\nOK  \r\n",
        /* our own line, echoed */
        "AT+CSIM=10,\"80F2000000\"\r\r\n+CSIM: 8,\"0102ABCD\"\r\n\r\nOK\r\n",
        /* unsolicited lines before, in between and after */
        ("\r\n+CREG: 1\r\n\r\n+CSIM: 8,\"0102ABCD\"\r\n\r\nRING\r\n\r\n+CMTI: "
         "\"SM\",1\r\n\r\nOK\r\n+CREG: 2\r\n"),
        "\r\nNO CARRIER\r\n\r\n+CSIM: 8,\"0102ABCD\"\r\n\r\nOK\r\n",
        /* rests of the answer before, in the same line and in one of its own */
        "9000\"+CSIM: 8,0102ABCD\r\n\r\nOK\r\n", "\r\n+CSIM: 4,9000+CSIM: 8,0102ABCD\r\n\r\nOK\r\n",
        "\r\n+CSIM: 4,\"9000\"\r\n+CSIM: 8,\"0102ABCD\"\r\n\r\nOK\r\n",
        /* the prompt of a command before us */
        "> \r\n+CSIM: 8,\"0102ABCD\"\r\n\r\nOK\r\n", "> +CSIM: 8,\"0102ABCD\"\r\n> OK\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct line lines[] = {INIT, {STATUS_LINE, answers[i]}, {0}};

        exchange(IOTSAFE_AT_CSIM, lines, 4, "0102ABCD");
    }
}

static void refuses_answers_that_are_cut_off(void **state) {
    static const char *const answers[] = {"+CSIM: 8,\"0102ABC\"\r\nOK\r\n",
                                          "+CSIM: 10,\"0102ABCD\"\r\nOK\r\n",
                                          "+CSIM: 2,\"90\"\r\nOK\r\n",
                                          "+CSIM: 0,\"\"\r\nOK\r\n",
                                          "+CSIM: 8,\"0102\r\nOK\r\n",
                                          "+CSIM: 8,\"01 02ABCD\"\r\nOK\r\n",
                                          "+CSIM: 4,\"9000\"\r\n+CSIM: 8,\"0102\r\nOK\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct line lines[] = {INIT, {STATUS_LINE, answers[i]}, {0}};

        exchange(IOTSAFE_AT_CSIM, lines, IOTSAFE_E_FORMAT, NULL);
    }
}

static void refuses_an_answer_larger_than_the_room(void **state) {
    const struct line lines[] = {INIT, {STATUS_LINE, "+CSIM: 8,\"01029000\"\r\nOK\r\n"}, {0}};
    struct modem m;
    uint8_t rsp[4] = {0, 0, 0, 0xEE};
    const char *out;

    (void)state;
    start(&m, IOTSAFE_AT_CSIM, lines);
    assert_int_equal(iotsafe_at_command(&m.at, status, sizeof status, rsp, 3), 0);
    for (; m.next->sent; m.next++) {
        (void)iotsafe_at_output(&m.at, &out);
        hear(&m, m.next->answer, strlen(m.next->answer));
    }
    assert_int_equal(iotsafe_at_result(&m.at), IOTSAFE_E_FORMAT);
    assert_int_equal(rsp[3], 0xEE);
}

static void tells_a_bare_ok_from_an_answer(void **state) {
    const struct line lines[] = {INIT, {STATUS_LINE, "\r\nOK\r\n"}, {0}};

    (void)state;
    exchange(IOTSAFE_AT_CSIM, lines, 0, NULL);
}

static void maps_errors_numeric_and_verbose(void **state) {
    static const struct {
        const char *answer;
        int err;
    } table[] = {
        {"\r\nERROR\r\n", IOTSAFE_E_REFUSED},
        {"\r\n+CME ERROR: 10\r\n", IOTSAFE_E_ABSENT},
        {"\r\n+CME ERROR: SIM not inserted\r\n", IOTSAFE_E_ABSENT},
        {"\r\n+CME ERROR:10\r\n", IOTSAFE_E_ABSENT},
        {"\r\n+CMS ERROR: 310\r\n", IOTSAFE_E_ABSENT},
        {"\r\n+CME ERROR: 13\r\n", IOTSAFE_E_LINK},
        {"\r\n+CME ERROR: SIM failure\r\n", IOTSAFE_E_LINK},
        {"\r\n+CME ERROR: 14\r\n", IOTSAFE_E_BUSY},
        {"\r\n+CME ERROR: sim BUSY\r\n", IOTSAFE_E_BUSY},
        {"\r\n+CME ERROR: 3\r\n", IOTSAFE_E_REFUSED},
        {"\r\n+CME ERROR: 99999999999999999999\r\n", IOTSAFE_E_REFUSED},
        {"\r\n+CME ERROR:\r\n", IOTSAFE_E_REFUSED},
        {"\r\n+CSIM: 4,\"9000\"\r\n+CME ERROR: 10\r\n", IOTSAFE_E_ABSENT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct line lines[] = {INIT, {STATUS_LINE, table[i].answer}, {0}};

        exchange(IOTSAFE_AT_CSIM, lines, table[i].err, NULL);
    }
}

static void begins_with_modems_that_know_none_of_its_questions(void **state) {
    const struct line all_errors[] = {{"ATE0Q0V1\r", "\r\nERROR\r\n"},
                                      {"AT+CMEE=1\r", "\r\nERROR\r\n"},
                                      {"AT+CMEE?\r", "\r\nERROR\r\n"},
                                      {"AT\r", "\r\nOK\r\n"},
                                      {STATUS_LINE, "+CSIM: 4,\"9000\"\r\nOK\r\n"},
                                      {0}};
    const struct line all_ok[] = {{"ATE0Q0V1\r", "\r\nOK\r\n"},
                                  {"AT+CMEE=1\r", "\r\nOK\r\n"},
                                  {"AT+CMEE?\r", "\r\nOK\r\n"},
                                  {STATUS_LINE, "+CSIM: 4,\"9000\"\r\nOK\r\n"},
                                  {0}};
    const struct line numeric[] = {{"ATE0Q0V1\r", "0\r"},
                                   {"AT+CMEE=1\r", "\r\nOK\r\n"},
                                   {"AT+CMEE?\r", "\r\n+CMEE: 1\r\n\r\nOK\r\n"},
                                   {STATUS_LINE, "+CSIM: 4,\"9000\"\r\nOK\r\n"},
                                   {0}};

    (void)state;
    exchange(IOTSAFE_AT_CSIM, all_errors, 2, "9000");
    exchange(IOTSAFE_AT_CSIM, all_ok, 2, "9000");
    exchange(IOTSAFE_AT_CSIM, numeric, 2, "9000");
}

/* What a modem that does or does not know +CMEE says to a line. */
static const char *serial_modem(const char *line, size_t n, bool knows_cmee) {
    if (n >= 7 && memcmp(line, "AT+CSIM", 7) == 0)
        return "\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n";
    if (n >= 8 && memcmp(line, "AT+CMEE?", 8) == 0)
        return knows_cmee ? "\r\n+CMEE: 1\r\n\r\nOK\r\n" : "\r\nERROR\r\n";
    return "\r\nOK\r\n";
}

enum { LATE_EARLY = 1, KNOWS_CMEE = 2, ONE_BY_ONE = 4 };

/* A command times out; its answer comes before the next command is begun, or while the probe is
 * under way, together with the probe's or by itself. The modem answers in the order of its
 * commands. */
static void expect_own_answer(const char *late, unsigned how) {
    char queue[400] = "";
    struct modem m;
    const char *out;

    start(&m, IOTSAFE_AT_CSIM, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(iotsafe_at_command(&m.at, status, sizeof status, m.rsp, sizeof m.rsp), 0);
        while (iotsafe_at_busy(&m.at)) {
            size_t n = iotsafe_at_output(&m.at, &out), ready;

            assert_true(n > 0 || queue[0]);
            if (i == 1) {
                iotsafe_at_timeout(&m.at);
                snprintf(queue, sizeof queue, "%s", late);
                break;
            }
            ready = strlen(queue);
            if (n)
                snprintf(queue + ready, sizeof queue - ready, "%s",
                         serial_modem(out, n, (how & KNOWS_CMEE) != 0));
            if (!(how & ONE_BY_ONE) || ready == 0)
                ready = strlen(queue);
            hear(&m, queue, ready);
            memmove(queue, queue + ready, sizeof queue - ready);
        }
        if (i == 1 && (how & LATE_EARLY)) {
            hear(&m, queue, strlen(queue));
            queue[0] = 0;
        }
    }
    assert_int_equal(iotsafe_at_result(&m.at), 2);
    assert_hex(m.rsp, 2, "9000");
}

static void never_takes_a_late_answer_for_the_next(void **state) {
    static const char *const late[] = {"", "\r\n+CSIM: 8,\"DEAD9000\"\r\n\r\nOK\r\n",
                                       "\r\nERROR\r\n", "\r\n+CME ERROR: 10\r\n", "\r\nOK\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        for (unsigned how = 0; how < 8; how++)
            expect_own_answer(late[i], how);
    }
}

static void forgets_a_probe_that_was_given_up(void **state) {
    const struct line first[] = {INIT, {STATUS_LINE, "+CSIM: 4,\"9000\"\r\nOK\r\n"}, {0}};
    const struct line then[] = {{STATUS_LINE,
                                 /* the old probe's answer, then ours */
                                 "\r\n+CMEE: 1\r\n\r\nOK\r\n\r\n+CSIM: 4,\"6A82\"\r\n\r\nOK\r\n"},
                                {0}};
    struct modem m;
    const char *out;

    (void)state;
    start(&m, IOTSAFE_AT_CSIM, first);
    assert_int_equal(run(&m, status, sizeof status), 2);
    for (int i = 0; i < 2; i++) { /* a command, then a probe, without an answer */
        assert_int_equal(iotsafe_at_command(&m.at, status, sizeof status, m.rsp, sizeof m.rsp), 0);
        (void)iotsafe_at_output(&m.at, &out);
        iotsafe_at_timeout(&m.at);
    }
    assert_int_equal(iotsafe_at_command(&m.at, status, sizeof status, m.rsp, sizeof m.rsp), 0);
    assert_int_equal(iotsafe_at_output(&m.at, &out), strlen("AT+CMEE?\r"));
    for (const char *old = "\r\n+CSIM: 4,\"DEAD\"\r\nOK\r\n\r\n+CMEE: 1\r\n\r\nOK\r\n"; *old; old++)
        hear(&m, old, 1);
    m.next = then;
    assert_int_equal(iotsafe_at_output(&m.at, &out), strlen(STATUS_LINE));
    hear(&m, then[0].answer, strlen(then[0].answer));
    assert_int_equal(iotsafe_at_result(&m.at), 2);
    assert_hex(m.rsp, 2, "6A82");
}

static void ends_a_prompt_that_swallowed_its_first_line(void **state) {
    const struct line again[] = {{"\033\rATE0Q0V1\r", "\r\n+CMS ERROR: 500\r\n\r\nOK\r\n"},
                                 {"AT+CMEE=1\r", "\r\nOK\r\n"},
                                 {"AT+CMEE?\r", "\r\n+CMEE: 1\r\n\r\nOK\r\n"},
                                 {STATUS_LINE, "+CSIM: 4,\"9000\"\r\nOK\r\n"},
                                 {0}};
    struct modem m;
    const char *out;

    (void)state;
    start(&m, IOTSAFE_AT_CSIM, again);
    assert_int_equal(iotsafe_at_command(&m.at, status, sizeof status, m.rsp, sizeof m.rsp), 0);
    assert_int_equal(iotsafe_at_output(&m.at, &out), strlen("ATE0Q0V1\r"));
    hear(&m, "\r\n> ", 4);
    iotsafe_at_timeout(&m.at);
    assert_int_equal(run(&m, status, sizeof status), 2);
}

static void gives_up_a_modem_whose_answers_cannot_be_told_apart(void **state) {
    const struct line lines[] = {{"ATE0Q0V1\r", "\r\nOK\r\n"},
                                 {"AT+CMEE=1\r", "\r\nOK\r\n"},
                                 {"AT+CMEE?\r", "\r\nOK\r\n"},
                                 {STATUS_LINE, "+CSIM: 4,\"9000\"\r\nOK\r\n"},
                                 {0}};
    struct modem m;
    const char *out;

    (void)state;
    start(&m, IOTSAFE_AT_CSIM, lines);
    assert_int_equal(run(&m, status, sizeof status), 2);
    assert_int_equal(iotsafe_at_command(&m.at, status, sizeof status, m.rsp, sizeof m.rsp), 0);
    (void)iotsafe_at_output(&m.at, &out);
    iotsafe_at_timeout(&m.at);
    assert_int_equal(run(&m, status, sizeof status), IOTSAFE_E_LINK);
    iotsafe_at_reset(&m.at);
    m.next = lines;
    assert_int_equal(run(&m, status, sizeof status), 2);
}

/* ---- AT+CCHO, AT+CGLA, AT+CCHC ---- */

static const uint8_t select_aid[] = {0x00, 0xA4, 0x04, 0x00, 0x07, 0xA0,
                                     0x00, 0x00, 0x05, 0x59, 0x00, 0x10};
static const uint8_t close_channel[] = {0x00, 0x70, 0x80, 0x00, 0x00};
#define CCHO "AT+CCHO=\"A0000005590010\"\r"

static void binds_a_session_of_any_name(void **state) {
    static const struct {
        const char *answer, *apdu, *close;
    } table[] = {
        {"\r\n+CCHO: 2\r\n\r\nOK\r\n", "AT+CGLA=2,10,\"82F2000000\"\r", "AT+CCHC=2\r"},
        {"\r\n+CCHO:2\r\nOK\r\n", "AT+CGLA=2,10,\"82F2000000\"\r", "AT+CCHC=2\r"},
        {"\r\n1\r\n\r\nOK\r\n", "AT+CGLA=1,10,\"81F2000000\"\r", "AT+CCHC=1\r"},
        {"\r\n+CREG: 1\r\n\r\n17\r\n\r\nOK\r\n", "AT+CGLA=17,10,\"CDF2000000\"\r", "AT+CCHC=17\r"},
        {"\r\n+CCHO: 000000000385a7cf\r\n\r\nOK\r\n",
         "AT+CGLA=000000000385a7cf,10,\"80F2000000\"\r", "AT+CCHC=000000000385a7cf\r"},
        {"\r\n+CCHO: \"3\"\r\n\r\nOK\r\n", "AT+CGLA=\"3\",10,\"80F2000000\"\r", "AT+CCHC=\"3\"\r"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct line lines[] = {INIT,
                                     {CCHO, table[i].answer},
                                     {table[i].apdu, "\r\n+CGLA: 4,\"9000\"\r\n\r\nOK\r\n"},
                                     {table[i].close, "\r\n+CCHC\r\n\r\nOK\r\n"},
                                     {0}};
        struct modem m;

        start(&m, IOTSAFE_AT_CGLA, lines);
        assert_int_equal(run(&m, select_aid, sizeof select_aid), 2);
        assert_hex(m.rsp, 2, "9000");
        assert_int_equal(run(&m, status, sizeof status), 2);
        assert_hex(m.rsp, 2, "9000");
        assert_int_equal(run(&m, close_channel, sizeof close_channel), 2);
        assert_int_equal(run(&m, status, sizeof status), 2); /* no session: no line */
        assert_hex(m.rsp, 2, "6881");
        assert_null(m.next->sent);
    }
}

static void turns_refusals_to_open_into_status_words(void **state) {
    static const struct {
        const char *answer;
        int r;
        const char *sw;
    } table[] = {
        {"\r\n+CME ERROR: 22\r\n", 2, "6A82"},
        {"\r\n+CME ERROR: not found\r\n", 2, "6A82"},
        {"\r\n+CME ERROR: 100\r\n", 2, "6A82"},
        {"\r\n+CME ERROR: 20\r\n", 2, "6A81"},
        {"\r\n+CME ERROR: 10\r\n", IOTSAFE_E_ABSENT, NULL},
        {"\r\n+CME ERROR: 14\r\n", IOTSAFE_E_BUSY, NULL},
        {"\r\n+CME ERROR: 4\r\n", IOTSAFE_E_REFUSED, NULL},
        {"\r\nERROR\r\n", IOTSAFE_E_REFUSED, NULL},
        {"\r\nOK\r\n", IOTSAFE_E_FORMAT, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct line lines[] = {INIT, {CCHO, table[i].answer}, {0}};
        struct modem m;

        start(&m, IOTSAFE_AT_CGLA, lines);
        assert_int_equal(run(&m, select_aid, sizeof select_aid), table[i].r);
        if (table[i].sw)
            assert_hex(m.rsp, 2, table[i].sw);
    }
}

static void closes_a_lost_session_before_it_opens_another(void **state) {
    const struct line lines[] = {
        INIT,
        {CCHO, "\r\n+CCHO: 1\r\n\r\nOK\r\n"},
        {"AT+CGLA=1,10,\"81F2000000\"\r", "\r\n+CME ERROR: 50\r\n"},
        {"AT+CCHC=1\r", "\r\nERROR\r\n"},
        {CCHO, "\r\n+CCHO: 2\r\n\r\nOK\r\n"},
        {"AT+CGLA=2,10,\"82F2000000\"\r", "\r\n+CGLA: 4,9000\r\n\r\nOK\r\n"},
        {0}};
    struct modem m;

    (void)state;
    start(&m, IOTSAFE_AT_CGLA, lines);
    assert_int_equal(run(&m, select_aid, sizeof select_aid), 2);
    assert_int_equal(run(&m, status, sizeof status), 2);
    assert_hex(m.rsp, 2, "6881");
    assert_int_equal(run(&m, status, sizeof status), 2); /* still lost, no line */
    assert_hex(m.rsp, 2, "6881");
    assert_int_equal(run(&m, select_aid, sizeof select_aid), 2);
    assert_int_equal(run(&m, status, sizeof status), 2);
    assert_hex(m.rsp, 2, "9000");
    assert_null(m.next->sent);
}

static void refuses_what_is_no_short_command(void **state) {
    uint8_t cmd[IOTSAFE_AT_MAX_COMMAND + 1] = {0}, rsp[16];
    struct iotsafe_at at;

    (void)state;
    iotsafe_at_init(&at, IOTSAFE_AT_CSIM);
    assert_int_equal(iotsafe_at_command(&at, cmd, 3, rsp, sizeof rsp), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_at_command(&at, cmd, sizeof cmd, rsp, sizeof rsp), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_at_busy(&at), 0);
}

static void sends_the_longest_command_in_both_modes(void **state) {
    uint8_t cmd[IOTSAFE_AT_MAX_COMMAND] = {0x81, 0x2B};
    const struct line csim[] = {INIT, {0}};
    const struct line cgla[] = {
        INIT, {CCHO, "\r\n+CCHO: 0123456789012345678901234567890123456789\r\n\r\nOK\r\n"}, {0}};
    struct modem m;
    const char *out;

    (void)state;
    start(&m, IOTSAFE_AT_CSIM, csim);
    assert_int_equal(iotsafe_at_command(&m.at, cmd, sizeof cmd, m.rsp, sizeof m.rsp), 0);
    for (; m.next->sent; m.next++) {
        (void)iotsafe_at_output(&m.at, &out);
        hear(&m, m.next->answer, strlen(m.next->answer));
    }
    assert_int_equal(iotsafe_at_output(&m.at, &out), 8 + 3 + 2 + 522 + 2);
    iotsafe_at_reset(&m.at);
    assert_int_equal(iotsafe_at_result(&m.at), IOTSAFE_E_LINK);
    start(&m, IOTSAFE_AT_CGLA, cgla);
    assert_int_equal(run(&m, select_aid, sizeof select_aid), 2);
    assert_int_equal(iotsafe_at_command(&m.at, cmd, sizeof cmd, m.rsp, sizeof m.rsp), 0);
    assert_int_equal(iotsafe_at_output(&m.at, &out), 8 + 40 + 1 + 3 + 2 + 522 + 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_hello_once_and_then_one_line_for_each_command),
        cmocka_unit_test(takes_every_form_of_the_answer),
        cmocka_unit_test(refuses_answers_that_are_cut_off),
        cmocka_unit_test(refuses_an_answer_larger_than_the_room),
        cmocka_unit_test(tells_a_bare_ok_from_an_answer),
        cmocka_unit_test(maps_errors_numeric_and_verbose),
        cmocka_unit_test(begins_with_modems_that_know_none_of_its_questions),
        cmocka_unit_test(never_takes_a_late_answer_for_the_next),
        cmocka_unit_test(forgets_a_probe_that_was_given_up),
        cmocka_unit_test(ends_a_prompt_that_swallowed_its_first_line),
        cmocka_unit_test(gives_up_a_modem_whose_answers_cannot_be_told_apart),
        cmocka_unit_test(binds_a_session_of_any_name),
        cmocka_unit_test(turns_refusals_to_open_into_status_words),
        cmocka_unit_test(closes_a_lost_session_before_it_opens_another),
        cmocka_unit_test(refuses_what_is_no_short_command),
        cmocka_unit_test(sends_the_longest_command_in_both_modes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
