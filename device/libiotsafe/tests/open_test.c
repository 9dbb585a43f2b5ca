/* Opening: channels, AIDs, class bytes; and finding back when something was lost. GET RANDOM of
 * four bytes stands for any operation. */
#include <string.h>

#include "script.h"

#define GSMA   "A4 04 00 07 A0000005590010"
#define THALES "A4 04 00 0F A00000003053F12401770101495341"
#define ORANGE "A4 04 00 07 A0000002480400"
#define NTT    "A4 04 00 10 A0000001157000000000000049534102"

static void random4(const struct exchange *exchanges, const struct iotsafe_options *opt,
                    unsigned flags, int r) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, opt, flags);
    uint8_t buf[4] = {0};

    assert_int_equal(iotsafe_random(c, buf, sizeof buf), r);
    if (r == IOTSAFE_E_NO_APPLET) /* of SELECT, not of the channel's closing */
        assert_int_equal(iotsafe_last_sw(c), 0x6A82);
    if (r == 0)
        assert_hex(buf, 4, "01020304");
    script_close(c, &script);
}

#define RANDOM81                                                                                   \
    { "81 84 00 00 04", "01020304 9000" }

static void opens_at_the_first_operation_only(void **state) {
    const struct exchange x[] = {OPENING, RANDOM81, RANDOM81, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(script.done, 0);
    assert_int_equal(iotsafe_last_sw(c), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(script.done, 3);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_last_sw(c), 0x9000);
    script_close(c, &script);
}

static void closes_its_channel_at_the_end(void **state) {
    const struct exchange x[] = {OPENING, RANDOM81, {"00 70 80 01 00", "9000"}, RANDOM81, {0}};
    const struct exchange y[] = {OPENING, {"00 70 80 01", "9000"}, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    iotsafe_close(c);
    assert_int_equal(script.done, 4);
    c = script_open(&script, y, NULL, IOTSAFE_TRANSPORT_LE);
    assert_int_equal(iotsafe_select(c), 0);
    assert_int_equal(iotsafe_select(c), 0); /* nothing to do */
    iotsafe_close(c);
    assert_int_equal(script.done, 3);
}

static void release_gives_the_channel_back_until_it_is_needed(void **state) {
    const struct exchange x[] = {OPENING, {"00 70 80 01 00", "6200"}, OPENING, RANDOM81, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_release(c), 0); /* nothing is open */
    assert_int_equal(iotsafe_select(c), 0);
    assert_int_equal(iotsafe_release(c), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    script_close(c, &script);
}

static void tries_the_well_known_applications_in_turn(void **state) {
    const struct exchange x[] = {{"00 70 00 00 01", "03 9000"},
                                 {"03" GSMA, "6A82"},
                                 {"03" THALES, "6A82"},
                                 {"03" ORANGE, "6999"},
                                 {"03" NTT, "6110"},
                                 {"83 84 00 00 04", "01020304 9000"},
                                 {0}};

    (void)state;
    random4(x, NULL, 0, 0);
}

static void tries_the_configured_application_first_and_only_once(void **state) {
    static const uint8_t orange[] = {0xA0, 0x00, 0x00, 0x02, 0x48, 0x04, 0x00};
    const struct iotsafe_options opt = {.aid = orange, .aid_len = sizeof orange};
    const struct iotsafe_options only = {
        .aid = orange, .aid_len = sizeof orange, .only_this_aid = 1};
    const struct exchange x[] = {{"00 70 00 00 01", "01 9000"},
                                 {"01" ORANGE, "6A82"},
                                 {"01" GSMA, "6A82"},
                                 {"01" THALES, "6A82"},
                                 {"01" NTT, "6A82"},
                                 {"00 70 80 01 00", "9000"},
                                 {0}};
    const struct exchange y[] = {
        {"00 70 00 00 01", "01 9000"}, {"01" ORANGE, "6A82"}, {"00 70 80 01 00", "9000"}, {0}};

    (void)state;
    random4(x, &opt, 0, IOTSAFE_E_NO_APPLET);
    random4(y, &only, 0, IOTSAFE_E_NO_APPLET);
}

static void remembers_which_application_it_was(void **state) {
    const struct exchange x[] = {{"00 70 00 00 01", "01 9000"},
                                 {"01" GSMA, "6A82"},
                                 {"01" THALES, "9000"},
                                 {"81 84 00 00 04", "6881"},
                                 {"00 70 00 00 01", "02 9000"},
                                 {"02" THALES, "9000"},
                                 {"82 84 00 00 04", "01020304 9000"},
                                 {"82 84 00 00 04", "6881"},
                                 {"00 70 00 00 01", "01 9000"},
                                 {"01" THALES, "6A82"},
                                 {"01" GSMA, "9000"},
                                 RANDOM81,
                                 {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_select(c), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    script_close(c, &script);
}

static void uses_the_basic_channel_when_there_is_no_other(void **state) {
    static const char *const refusals[] = {"6A81", "6D00",    "6E00",    "6881",   "6985",
                                           "9000", "00 9000", "14 9000", "REFUSED"};

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct exchange x[] = {{"00 70 00 00 01", refusals[i]},
                                     {"00" GSMA, "9000"},
                                     {"80 84 00 00 04", "01020304 9000"},
                                     {0}};

        random4(x, NULL, 0, 0);
    }
}

/* Modems that say OK and nothing else. */
static void believes_a_bare_ok_while_it_opens(void **state) {
    const struct exchange x[] = {
        {"00 70 00 00 01", ""}, {"00" GSMA, ""}, {"80 84 00 00 04", "01020304 9000"}, {0}};
    const struct exchange y[] = {{"00 70 00 00 01", "01 9000"}, {"01" GSMA, ""}, RANDOM81, {0}};

    (void)state;
    random4(x, NULL, 0, 0);
    random4(y, NULL, 0, 0);
}

static void does_not_open_a_channel_when_told_so_or_when_the_link_has_its_own(void **state) {
    const struct exchange x[] = {{"00" GSMA, "9000"}, {"80 84 00 00 04", "01020304 9000"}, {0}};
    const struct iotsafe_options basic = {.basic_channel = 1};

    (void)state;
    random4(x, &basic, 0, 0);
    random4(x, NULL, IOTSAFE_TRANSPORT_OWNS_CHANNEL, 0);
}

static void codes_channels_above_three(void **state) {
    const struct exchange x[] = {{"00 70 00 00 01", "05 9000"},
                                 {"41" GSMA, "9000"},
                                 {"C1 84 00 00 04", "6104"},
                                 {"41 C0 00 00 04", "01020304 9000"},
                                 {0}};

    (void)state;
    random4(x, NULL, 0, 0);
}

static void falls_back_to_the_interindustry_class(void **state) {
    static const char *const refusals[] = {"6E00", "6D00"};
    const struct iotsafe_options first = {.interindustry_class = 1};
    const struct exchange z[] = {OPENING, {"01 84 00 00 04", "01020304 9000"}, {0}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct exchange x[] = {OPENING,
                                     {"81 84 00 00 04", refusals[i]},
                                     {"01 84 00 00 04", "01020304 9000"},
                                     {"01 84 00 00 04", "01020304 9000"},
                                     {0}};
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        uint8_t buf[4];

        assert_int_equal(iotsafe_random(c, buf, 4), 0);
        assert_int_equal(iotsafe_random(c, buf, 4), 0); /* and stays with it */
        script_close(c, &script);
    }
    random4(z, &first, 0, 0);
}

static void takes_an_unknown_command_as_such(void **state) {
    /* not yet proven: another class is tried, and the next command begins with the usual one */
    const struct exchange x[] = {OPENING,  {"81 84 00 00 04", "6D00"}, {"01 84 00 00 04", "6D00"},
                                 RANDOM81, {"81 84 00 00 04", "6D00"}, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_CARD);
    assert_int_equal(iotsafe_last_sw(c), 0x6D00);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_CARD);
    script_close(c, &script);
}

/* Quectel EG25 and the like: a channel is given, but does not work. */
static void leaves_a_channel_that_does_not_work(void **state) {
    static const char *const refusals[] = {"6881", "6E00", "REFUSED"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct exchange x[] = {{"00 70 00 00 01", "01 9000"},       {"01" GSMA, refusals[i]},
                                     {"00 70 80 01 00", "9000"},          {"00" GSMA, "9000"},
                                     {"80 84 00 00 04", "01020304 9000"}, {0}};
        const struct exchange y[] = {OPENING,
                                     {"81 84 00 00 04", refusals[i]},
                                     {"01 84 00 00 04", refusals[i]},
                                     {"00 70 80 01 00", "REFUSED"},
                                     {"00" GSMA, "9000"},
                                     {"80 84 00 00 04", "01020304 9000"},
                                     {0}};
        const struct exchange z[] = {OPENING,
                                     {"81 84 00 00 04", "6881"},
                                     {"00 70 80 01 00", "6881"},
                                     {"00" GSMA, "9000"},
                                     {"80 84 00 00 04", "01020304 9000"},
                                     {0}};

        random4(x, NULL, 0, 0);
        random4(i == 0 ? z : y, NULL, 0, 0);
    }
}

static void says_when_the_modem_refuses_everything(void **state) {
    const struct exchange x[] = {{"00 70 00 00 01", "REFUSED"}, {"00" GSMA, "REFUSED"},
                                 {"00" THALES, "REFUSED"},      {"00" ORANGE, "REFUSED"},
                                 {"00" NTT, "REFUSED"},         {0}};

    (void)state;
    random4(x, NULL, 0, IOTSAFE_E_REFUSED);
}

static void says_when_the_modem_has_no_channel_left(void **state) {
    const struct exchange x[] = {
        {"00" GSMA, "6A81"}, {"00" THALES, "6A81"}, {"00" ORANGE, "6A81"}, {"00" NTT, "6A81"}, {0}};

    (void)state;
    random4(x, NULL, IOTSAFE_TRANSPORT_OWNS_CHANNEL, IOTSAFE_E_BUSY);
}

static void fetches_what_waits_and_corrects_the_length(void **state) {
    const struct exchange split[] = {OPENING,
                                     {"81 84 00 00 04", "6102"},
                                     {"01 C0 00 00 02", "0102 6102"},
                                     {"01 C0 00 00 02", "0304 9000"},
                                     {0}};
    const struct exchange legacy[] = {
        OPENING, {"81 84 00 00 04", "9F04"}, {"01 C0 00 00 04", "01020304 9000"}, {0}};
    const struct exchange wrong_le[] = {OPENING,
                                        {"81 84 00 00 04", "6C03"},
                                        {"81 84 00 00 03", "010203 9000"},
                                        {"81 84 00 00 01", "04 9000"},
                                        {0}};
    const struct exchange fetch_le[] = {OPENING,
                                        {"81 84 00 00 04", "6110"},
                                        {"01 C0 00 00 10", "6C04"},
                                        {"01 C0 00 00 04", "01020304 9000"},
                                        {0}};
    const struct exchange mixed[] = {
        {"00 70 00 00 01", "6101"},      {"00 C0 00 00 01", "01 9000"},   {"01" GSMA, "61 1A"},
        {"81 84 00 00 04", "0102 6102"}, {"01 C0 00 00 02", "0304 9110"}, {0}};
    const struct exchange channel_le[] = {{"00 70 00 00 01", "6C01"},
                                          {"00 70 00 00 01", "01 9000"},
                                          {"01" GSMA, "9110"},
                                          RANDOM81,
                                          {0}};
    const struct exchange for_ever[] = {
        OPENING, {"81 84 00 00 04", "6C03"}, {"81 84 00 00 03", "6C04"}, {0}};

    (void)state;
    random4(split, NULL, 0, 0);
    random4(legacy, NULL, 0, 0);
    random4(wrong_le, NULL, 0, 0);
    random4(fetch_le, NULL, 0, 0);
    random4(mixed, NULL, 0, 0);
    random4(channel_le, NULL, 0, 0);
    random4(for_ever, NULL, 0, IOTSAFE_E_CARD);
}

static void asks_for_no_more_than_the_modem_can_carry(void **state) {
    const struct iotsafe_options opt = {.max_answer = 2};
    const struct exchange x[] = {OPENING,
                                 {"81 84 00 00 02", "6104"},
                                 {"01 C0 00 00 02", "0102 6102"},
                                 {"01 C0 00 00 02", "0304 9000"},
                                 {0}};

    (void)state;
    random4(x, &opt, 0, 0);
}

/* ---- something was lost ---- */

static void opens_again_once(void **state) {
    static const char *const losses[] = {"6881", "6E00", "LINK", "RESET", "REFUSED"};

    (void)state;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        const struct exchange x[] = {
            OPENING, RANDOM81, {"81 84 00 00 04", losses[i]}, OPENING, RANDOM81, RANDOM81, {0}};
        struct iotsafe_stats stats;
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        uint8_t buf[4];

        assert_int_equal(iotsafe_random(c, buf, 4), 0);
        assert_int_equal(iotsafe_random(c, buf, 4), 0);
        assert_int_equal(iotsafe_random(c, buf, 4), 0);
        iotsafe_stats(c, &stats);
        assert_int_equal(stats.opens, 2);
        script_close(c, &script);
    }
}

static void does_not_open_for_ever(void **state) {
    const struct exchange x[] = {
        OPENING, RANDOM81, {"81 84 00 00 04", "6881"}, OPENING, {"81 84 00 00 04", "6881"}, {0}};
    const struct exchange y[] = {
        OPENING, RANDOM81, {"81 84 00 00 04", "LINK"}, {"00 70 00 00 01", "LINK"}, {0}};
    const struct exchange z[] = {{"00 70 00 00 01", "LINK"}, {"00 70 00 00 01", "LINK"}, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_CARD);
    script_close(c, &script);
    c = script_open(&script, y, NULL, 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK);
    script_close(c, &script);
    random4(z, NULL, 0, IOTSAFE_E_LINK);
}

static void tells_at_once_what_does_not_pass(void **state) {
    static const struct {
        const char *event;
        int err;
    } table[] = {{"TIMEOUT", IOTSAFE_E_TIMEOUT},
                 {"ABSENT", IOTSAFE_E_ABSENT},
                 {"BUSY", IOTSAFE_E_BUSY},
                 {"00", IOTSAFE_E_FORMAT},
                 {"", IOTSAFE_E_FORMAT}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct exchange x[] = {OPENING, {"81 84 00 00 04", table[i].event}, {0}};

        random4(x, NULL, 0, table[i].err);
    }
}

static void says_no_farewell_to_a_card_that_does_not_answer(void **state) {
    const struct exchange x[] = {OPENING, {"81 84 00 00 04", "TIMEOUT"}, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_TIMEOUT);
    iotsafe_close(c); /* a command would be beyond the script */
    assert_int_equal(script.done, 3);
}

static void opens_again_after_the_card_was_away(void **state) {
    const struct exchange x[] = {OPENING, {"81 84 00 00 04", "ABSENT"}, OPENING, RANDOM81, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_ABSENT);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    script_close(c, &script);
}

/* The modem works on the basic channel too and may have selected something else. */
static void selects_again_on_the_basic_channel(void **state) {
    const struct iotsafe_options basic = {.basic_channel = 1};
    const struct exchange x[] = {
        {"00" GSMA, "9000"}, {"80 84 00 00 04", "01020304 9000"}, {"80 84 00 00 04", "6A86"},
        {"00" GSMA, "9000"}, {"80 84 00 00 04", "01020304 9000"}, {"80 84 00 00 04", "6D00"},
        {"00" GSMA, "9000"}, {"80 84 00 00 04", "01020304 9000"}, {"80 84 00 00 04", "6985"},
        {"00" GSMA, "9000"}, {"80 84 00 00 04", "6985"},          {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, &basic, 0);
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), 0);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_CARD);
    script_close(c, &script);
}

static void refuses_an_answer_that_never_ends(void **state) {
    struct exchange x[16] = {OPENING};
    size_t n = 2;

    (void)state;
    x[n++] = (struct exchange){"81 84 00 00 04", "6104"};
    for (int i = 0; i < 8; i++)
        x[n++] = (struct exchange){"01 C0 00 00 04", "6104"};
    random4(x, NULL, 0, IOTSAFE_E_FORMAT);
}

/* ---- administration ---- */

static void begins_again_when_the_card_was_administered(void **state) {
    static const char *const words[] = {"63CF", "6984", "6989"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const char *answer[] = {"01010101 63CF", "6984", "6989"};
        const struct exchange x[] = {OPENING, {"81 84 00 00 04", answer[i]}, RANDOM81, {0}};
        const struct exchange y[] = {
            OPENING, {"81 84 00 00 04", words[i]}, {"81 84 00 00 04", answer[i]}, {0}};
        struct iotsafe_stats stats;
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        uint8_t buf[4];

        assert_int_equal(iotsafe_random(c, buf, 4), 0);
        assert_hex(buf, 4, "01020304");
        iotsafe_stats(c, &stats);
        assert_int_equal(stats.refreshes, 1);
        script_close(c, &script);
        c = script_open(&script, y, NULL, 0);
        assert_int_equal(iotsafe_random(c, buf, 4), i == 0 ? 0 : IOTSAFE_E_ADMIN);
        script_close(c, &script);
    }
}

/* ---- calls ---- */

static void one_call_at_a_time(void **state) {
    const struct exchange x[] = {{0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    struct iotsafe_call a, b;
    const uint8_t *cmd, *again;
    uint8_t buf[4];
    size_t n;

    (void)state;
    assert_int_equal(iotsafe_random_start(&a, c, buf, 4), 0);
    assert_int_equal(iotsafe_random_start(&b, c, buf, 4), IOTSAFE_E_BUSY);
    assert_int_equal(iotsafe_call_next(&b, &cmd, &n), IOTSAFE_E_BUSY);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_BUSY);
    assert_int_equal(iotsafe_call_next(&a, &cmd, &n), 1);
    assert_int_equal(iotsafe_call_next(&a, &again, &n), 1); /* the same once more */
    assert_ptr_equal(cmd, again);
    iotsafe_call_cancel(&a);
    iotsafe_call_cancel(&a);
    assert_int_equal(iotsafe_call_next(&a, &cmd, &n), IOTSAFE_E_LINK);
    iotsafe_call_response(&a, (const uint8_t *)"\x90", 2); /* ignored */
    assert_int_equal(iotsafe_random_start(&b, c, buf, 4), 0);
    assert_int_equal(iotsafe_random_start(&a, NULL, buf, 4), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void raw_commands_pass_as_they_are(void **state) {
    const struct exchange x[] = {
        OPENING, {"81 CA 01 02 00", "6110"},    {"01 B2 00 00 00", "6881"},
        OPENING, {"01 B2 00 00 00", "AA 9000"}, {"81 CA 01 02 00", "RESET"},
        OPENING, {"81 CA 01 02 00", "6C04"},    {"81 CA 01 02 00", "LINK"},
        {0}};
    static const uint8_t proprietary[] = {0x80, 0xCA, 0x01, 0x02, 0x00},
                         interindustry[] = {0x00, 0xB2, 0x00, 0x00, 0x00};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t rsp[8];
    size_t n;

    (void)state;
    assert_int_equal(iotsafe_transmit(c, proprietary, 5, rsp, sizeof rsp, &n), 0);
    assert_hex(rsp, n, "6110");
    assert_int_equal(iotsafe_transmit(c, interindustry, 5, rsp, sizeof rsp, &n), 0);
    assert_hex(rsp, n, "6881");
    assert_int_equal(iotsafe_transmit(c, interindustry, 5, rsp, sizeof rsp, &n), 0);
    assert_hex(rsp, n, "AA9000");
    assert_int_equal(iotsafe_transmit(c, proprietary, 5, rsp, sizeof rsp, &n), 0);
    assert_int_equal(iotsafe_transmit(c, proprietary, 5, rsp, sizeof rsp, &n), IOTSAFE_E_LINK);
    assert_int_equal(iotsafe_transmit(c, proprietary, 3, rsp, sizeof rsp, &n), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void refuses_options_that_make_no_sense(void **state) {
    static const uint8_t aid[17];
    const struct iotsafe_options too_long = {.aid = aid, .aid_len = 17},
                                 only_none = {.only_this_aid = 1}, null_aid = {.aid_len = 5};
    struct iotsafe_transport *t;
    struct iotsafe *c = NULL;

    (void)state;
    assert_int_equal(iotsafe_transport_mem(NULL, NULL, &t), 0);
    assert_int_equal(iotsafe_open(t, &too_long, &c), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_open(t, &only_none, &c), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_open(t, &null_aid, &c), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_open(NULL, NULL, &c), IOTSAFE_E_ARGUMENT);
    assert_null(c);
    iotsafe_transport_close(t);
    iotsafe_transport_close(NULL);
    iotsafe_close(NULL);
    iotsafe_abandon(NULL);
}

static void every_error_has_a_text(void **state) {
    (void)state;
    for (int e = 0; e >= IOTSAFE_E_RESET; e--)
        assert_string_not_equal(iotsafe_strerror(e), iotsafe_strerror(-1000));
    assert_non_null(iotsafe_sw_text(0x6A82));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_at_the_first_operation_only),
        cmocka_unit_test(closes_its_channel_at_the_end),
        cmocka_unit_test(release_gives_the_channel_back_until_it_is_needed),
        cmocka_unit_test(tries_the_well_known_applications_in_turn),
        cmocka_unit_test(tries_the_configured_application_first_and_only_once),
        cmocka_unit_test(remembers_which_application_it_was),
        cmocka_unit_test(uses_the_basic_channel_when_there_is_no_other),
        cmocka_unit_test(believes_a_bare_ok_while_it_opens),
        cmocka_unit_test(does_not_open_a_channel_when_told_so_or_when_the_link_has_its_own),
        cmocka_unit_test(codes_channels_above_three),
        cmocka_unit_test(falls_back_to_the_interindustry_class),
        cmocka_unit_test(takes_an_unknown_command_as_such),
        cmocka_unit_test(leaves_a_channel_that_does_not_work),
        cmocka_unit_test(says_when_the_modem_refuses_everything),
        cmocka_unit_test(says_when_the_modem_has_no_channel_left),
        cmocka_unit_test(fetches_what_waits_and_corrects_the_length),
        cmocka_unit_test(asks_for_no_more_than_the_modem_can_carry),
        cmocka_unit_test(opens_again_once),
        cmocka_unit_test(does_not_open_for_ever),
        cmocka_unit_test(tells_at_once_what_does_not_pass),
        cmocka_unit_test(says_no_farewell_to_a_card_that_does_not_answer),
        cmocka_unit_test(opens_again_after_the_card_was_away),
        cmocka_unit_test(selects_again_on_the_basic_channel),
        cmocka_unit_test(refuses_an_answer_that_never_ends),
        cmocka_unit_test(begins_again_when_the_card_was_administered),
        cmocka_unit_test(one_call_at_a_time),
        cmocka_unit_test(raw_commands_pass_as_they_are),
        cmocka_unit_test(refuses_options_that_make_no_sense),
        cmocka_unit_test(every_error_has_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
