/* Power cuts: every command that writes, cut at every write. What the card says, what it does
 * afterwards and what the next card over the same memory does have to agree: the old state or the
 * new one, never a mix. */
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "simcard/admin.h"
#include "tb/test.h"

#define SELECT  "01A4040007A0000005590010"
#define USIM    "00A4040C07A0000000871002"
#define POINT_B /* the base point of brainpoolP256r1 */                                            \
    "8BD2AEB9CB7E57CB2C4B482FFC81B7AFB9DE27E1E3BD23C23A4453BD9ACE3262"                             \
    "547EF835C3DAC4FD97F8461A14611DC9C27745132DED8E545C1D54C72F046997"

#define ISD     "00A4040C08A000000151000000"
#define SESSION "session" /* fx_open_session() */
#define TARGET  "80E620000D000007A0000005590010000000"
#define KEY     "8810C62E5212589B9EAF19AE940D03C3B7C203F2A8DF"
#define SSD                                                                                        \
    "80E60C002807A000000151535008A00000015153504110A00000055910100102736456616C7565038040000000"
#define APPLET "80E60C002008F0494F545341464509F0494F54534146450106F05341464501010002C90000"

#define ISDR    "00A4040C10A0000005591010FFFFFFFF8900000100"
#define ENABLE  "80E2910014BF3111A00C5A0A980010325476981032648101FF"
#define SWITCH  "80E2910014BF3111A00C5A0A98001032547698103264810100"
#define DISABLE "80E2910014BF3211A00C5A0A98001032547698103254810100"

enum { PREPARATIONS = 5 };

static const struct writing {
    const char *name;
    const char *before[PREPARATIONS]; /* run first, all of it works */
    const char *command;
    const char *knobs;
} commands[] = {
    {"generate", {SELECT}, "81B90000058403303036", NULL},
    {"generate again", {SELECT, "81B90000058403303036"}, "81B90000058403303036", NULL},
    {"put public key", {SELECT, "812400000385010B"}, "81D880004734454943864104" POINT_B, NULL},
    {"create a pair", {SELECT}, "81B90000038401 55", "create_on_demand=on"},
    {"create a public key", {SELECT}, "8124000003850155", "create_on_demand=on"},
    {"update binary", {USIM}, "00D68B000B1122334400F11012340000", NULL},
    {"update binary again", {USIM, "00D68B0001AA"}, "00D68B000B1122334400F11012340000", NULL},
    {"update record",
     {USIM, "00A4000C026FE4"},
     "00DC01043600112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF0011223344556677889"
     "9AA"
     "BBCCDDEEFF001122334455",
     NULL},
    {"authenticate",
     {USIM},
     "008800812210 23553CBE9637A89D218AE64DAE47BF35 10 AA689C6482508000CAF78BA0C43FA8FD",
     NULL},
    {"open a secure channel", {"00A4040C08A000000151000000"}, "80500000080001020304050607", NULL},
    {"put keys", {ISD, SESSION}, "80D800814331" KEY KEY KEY, NULL},
    {"replace keys by others", {ISD, SESSION}, "80D830814333" KEY KEY KEY, NULL},
    {"replace one key", {ISD, SESSION}, "80D830021730" KEY, NULL},
    {"delete keys", {ISD, SESSION}, "80E4000003D20101", NULL},
    {"install a domain", {ISD, SESSION}, SSD, NULL},
    {"install an applet", {ISD, SESSION}, APPLET, NULL},
    {"extradite",
     {ISD, SESSION, SSD, APPLET},
     "80E610001C10A00000055910100102736456616C75650006F05341464501000000",
     NULL},
    {"change privileges",
     {ISD, SESSION, SSD},
     "80E6400017000010A00000055910100102736456616C756501800000",
     NULL},
    {"lock an applet", {ISD, SESSION}, "80F0408007A0000002480400", NULL},
    {"lock the card", {ISD, SESSION}, "80F0807F", NULL},
    {"delete an applet", {ISD, SESSION}, "80E40000094F07A0000002480400", NULL},
    {"delete all that belongs to a domain",
     {ISD, SESSION, SSD, APPLET},
     "80E40080124F10A00000055910100102736456616C7565",
     NULL},
    {"store data in a domain",
     {ISD, SESSION},
     "80E288001600700642048900012300CF0A0A0B0C0D0E0F10111213",
     NULL},
    {"store keys in a domain",
     {ISD, SESSION},
     "80E288006900B933B90F950110800188810110820101830133B90F950110800188810110820102830133B90F95011"
     "0800188810110820103830133811330C62E5212589B9EAF19AE940D03C3B7C2C62E5212589B9EAF19AE940D03C3B7"
     "C2C62E5212589B9EAF19AE940D03C3B7C2",
     NULL},
    {"create a file", {ISD, SESSION, TARGET}, "80E2800009740783014420020010", NULL},
    {"fill a file", {ISD, SESSION, TARGET, "80E28000057503830108"}, "80E2800006770431383833", NULL},
    {"make a pair in the card", {ISD, SESSION, TARGET}, "80E281000B7109840155850155480113", NULL},
    {"delete an object", {ISD, SESSION, TARGET}, "80E28000057603830103", NULL},
    {"clear an applet", {ISD, SESSION, TARGET}, "80E280000A7F08636C656172616C6C", NULL},
    {"request a certificate",
     {ISD, SESSION, TARGET},
     "80E28000167D14840101500F300D310B300906035504030C026430",
     NULL},
    {"change PIN",
     {"002800010830303030FFFFFFFF"},
     "002400811030303030FFFFFFFF31313131FFFFFFFF",
     NULL},
    {"disable PIN", {"002800010830303030FFFFFFFF"}, "002600010830303030FFFFFFFF", NULL},
    {"enable a profile", {ISDR}, ENABLE, "euicc"},
    {"enable a profile at once", {ISDR}, SWITCH, "euicc"},
    {"disable a profile", {ISDR}, DISABLE, "euicc"},
    {"delete a profile", {ISDR}, "80E291000FBF330C5A0A98001032547698103264", "euicc"},
    {"delete all profiles", {ISDR}, "80E2910007BF3404820205E0", "euicc"},
    {"go back to a profile", {ISDR, SWITCH}, "80E2910006BF58038001FF", "euicc"},
    {"name a profile", {ISDR}, "80E2910012BF290F5A0A98001032547698103264900141", "euicc"},
    {"default address", {ISDR}, "80E291000EBF3F0B80096C6F63616C686F7374", "euicc"},
    {"notification sent", {ISDR, SWITCH}, "80E2910006BF3003800101", "euicc"},
    {"enable PIN", {NULL}, "002800010830303030FFFFFFFF", NULL},
    {"right PIN", {NULL}, "002000010830303030FFFFFFFF", NULL},
    {"wrong PIN", {NULL}, "002000010831313131FFFFFFFF", NULL},
    {"right PIN after a wrong one",
     {"002000010831313131FFFFFFFF"},
     "002000010830303030FFFFFFFF",
     NULL},
    {"unblock",
     {"002000010831313131FFFFFFFF"},
     "002C0001103030303030303030 31313131FFFFFFFF",
     NULL},
};

enum { SIGNATURE_HEX = 134 };
enum { COMMANDS = sizeof commands / sizeof commands[0], STATE_MAX = 20000 };

static struct card *new_card(struct card_nvm *nvm) {
    const struct card_config cfg = {.nvm = nvm};
    struct tb_span atr;
    int r;
    struct card *card = card_new(&cfg, &r);

    assert_non_null(card);
    assert_int_equal(card_power_on(card, &atr), 0);
    return card;
}

static void append(char *state, const char *answer) {
    size_t n = strlen(state);

    assert_true(n + strlen(answer) + 2 < STATE_MAX);
    snprintf(state + n, STATE_MAX - n, "%s\n", answer);
}

/* All that can be seen from outside, on a channel of its own. PIN tries are left out: they are
 * looked at apart. */
static void observe(struct card *card, char *state) {
    static const char old_challenge[] = "418800812210 23553CBE9637A89D218AE64DAE47BF35"
                                        "10 AA689C6483708000E96F26276A8719FE";
    static const char *const probes[] = {
        "41A4040007A0000002480400", "C1CB0100000400", "C1CD0000058503303037", "C1CD00000385010B",
        "C1CD000003850155", "41A4040C07A0000000871002", "41B08B000B", "41B201C436",
        /* an old number: AUTS tells the highest */
        old_challenge,
        /* keys, applications, data of the issuer domain */
        "41A4040C08A000000151000000", "C1CA00E000", "C1CA2F0000", "C1CA004200", "C1CA00CF00",
        "41A4040010A00000055910100102736456616C7565",
        /* profiles, notifications, addresses, what is in force */
        "41A4040C10A0000005591010FFFFFFFF8900000100", "C1E2910003BF2D0000", "C1E2910003BF280000",
        "C1E2910003BF3C0000", "41A4000C022FE2", "41B000000A", "41A4040008A000000559001102",
        "41A4040008A000000559001101", "C1B00000048301010004"};

    state[0] = '\0';
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        append(state, fx_run(card, probes[i]));
    append(state, fx_run(card, "00A40004023F0000"));
    fx_run(card, "0070800500");
}

/* The halves of a pair belong together: what the private key signs, the public one verifies. */
static void check_pair(struct card *card, const char *id, const char *public_id) {
    char text[512], signature[140];
    const char *hash = "9E20BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

    fx_run(card, "41A4040007A0000005590010");
    snprintf(text, sizeof text, "C12A0009%02X%sA1010391020001920104",
             (unsigned)(10 + strlen(id) / 2), id);
    if (strcmp(fx_run(card, text), "9000") != 0) {
        fx_run(card, "0070800500");
        return; /* no key yet, or none at all */
    }
    snprintf(text, sizeof text, "C12B800922%s", hash);
    snprintf(signature, sizeof signature, "%s", fx_run(card, text));
    assert_int_equal(strlen(signature), 2 * 69);
    signature[SIGNATURE_HEX] = '\0'; /* without the status word */
    snprintf(text, sizeof text, "C12C0009%02X%sA1010391020001920104",
             (unsigned)(10 + strlen(public_id) / 2), public_id);
    assert_string_equal(fx_run(card, text), "9000");
    snprintf(text, sizeof text, "C12D800965%s%s", hash, signature);
    assert_string_equal(fx_run(card, text), "9000");
    fx_run(card, "0070800500");
}

static void check_pairs(struct card *card) {
    check_pair(card, "8403303036", "8503303037");
    check_pair(card, "840155", "850155");
}

static void run(struct card *card, const char *command) {
    if (strcmp(command, SESSION) == 0)
        fx_open_session(card);
    else
        fx_run(card, command);
}

static bool is_done(const char *answer) {
    const char *sw = answer + strlen(answer) - 4;

    return strcmp(sw, "9000") == 0 || strncmp(sw, "61", 2) == 0 || strncmp(sw, "63C", 3) == 0;
}

/* What a reset undoes. */
static bool is_volatile(const char *command) {
    return strncmp(command + 2, "A4", 2) == 0 || strncmp(command + 2, "24", 2) == 0 ||
           strcmp(command, SESSION) == 0 || strcmp(command, TARGET) == 0 ||
           strncmp(command, "80E2800005", 10) == 0;
}

static void prepare(const struct writing *w, struct card *card) {
    for (size_t i = 0; i < PREPARATIONS && w->before[i]; i++)
        run(card, w->before[i]);
}

/* True when the cut came too late to be noticed. */
static bool cut_at(const struct writing *w, unsigned cut) {
    static char before[STATE_MAX], after[STATE_MAX], again[STATE_MAX];
    struct card_nvm *memory = fx_memory(w->knobs), *torn;
    struct card *card;
    char answer[300], tries[5], tries_after[5];
    bool failed;

    card = new_card(memory);
    prepare(w, card);
    assert_int_equal(card_reset(card), 0); /* PINs presented are not what is compared */
    observe(card, before);
    snprintf(tries, sizeof tries, "%s", fx_run(card, "00200001"));
    card_free(card);

    /* the same card with a memory that will fail; volatile preparations once more, now without
     * effect on it */
    torn = card_nvm_tear_new(memory, 1000000);
    card = new_card(torn);
    for (size_t i = 0; i < PREPARATIONS && w->before[i]; i++)
        if (is_volatile(w->before[i]))
            run(card, w->before[i]);
    card_nvm_tear_cut(torn, cut);
    snprintf(answer, sizeof answer, "%s", fx_run(card, w->command));
    failed = strcmp(answer, "6581") == 0;
    if (!failed && !is_done(answer))
        fail_msg("%s: %s", w->name, answer);
    assert_int_equal(card_reset(card), 0);
    observe(card, after);
    check_pairs(card);
    if (failed && strcmp(after, before) != 0) {
        size_t i = 0;

        while (after[i] == before[i])
            i++;
        print_error("%s, write %u, at %zu: %.80s\nbefore: %.80s\n", w->name, cut, i, after + i,
                    before + i);
    }
    if (failed)
        assert_string_equal(after, before);
    snprintf(tries_after, sizeof tries_after, "%s", fx_run(card, "00200001"));
    if (failed)
        assert_true(tries_after[3] <= tries[3]); /* no counter goes back */
    card_free(card);

    card = new_card(torn);
    observe(card, again);
    assert_string_equal(again, after);
    assert_string_equal(fx_run(card, "00200001"), tries_after);
    check_pairs(card);
    card_free(card);
    card_nvm_free(torn);
    return !failed;
}

static void commands_are_done_or_not_done(void **state) {
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        unsigned cut = 1;

        while (!cut_at(&commands[i], cut))
            cut++;
        if (cut < 4) /* begin, put and commit can all be cut */
            fail_msg("%s was finished after %u writes", commands[i].name, cut);
    }
}

/* ---- none is forgotten ---- */

enum context { OF_PLATFORM, OF_APPLET, OF_DOMAIN, CONTEXTS };

/* Instructions that write nothing, or have a test of their own here (C2). */
static const char *const others[CONTEXTS] = {
    /* hex, one behind the other */
    [OF_PLATFORM] = "A470F2101214C2AAB0B284",
    [OF_APPLET] = "2A2B2C2D46484A84B0CBCD",
    [OF_DOMAIN] = "82CAF2",
};

static enum context context_of(const struct writing *w) {
    const char *first = w->before[0];

    if (first && strcmp(first, SELECT) == 0)
        return OF_APPLET;
    return first && strcmp(first, ISD) == 0 ? OF_DOMAIN : OF_PLATFORM;
}

static bool is_torn(enum context context, unsigned ins) {
    char hex[12];

    snprintf(hex, sizeof hex, "%02X", ins);
    for (const char *at = others[context]; *at; at += 2)
        if (strncmp(at, hex, 2) == 0)
            return true;
    for (size_t i = 0; i < COMMANDS; i++)
        if (context_of(&commands[i]) == context && strncmp(commands[i].command + 2, hex, 2) == 0)
            return true;
    return false;
}

static bool is_known(enum context context, unsigned ins) {
    static const char *const classes[] = {"00", "80"};
    bool known = false;

    for (size_t i = 0; i < 2; i++) {
        struct card_nvm *nvm;
        struct card *card = fx_card("create_on_demand=on", &nvm);
        char command[24];

        if (context == OF_APPLET)
            fx_run(card, "00A4040007A0000005590010");
        if (context == OF_DOMAIN) {
            fx_run(card, ISD);
            fx_open_session(card);
        }
        snprintf(command, sizeof command, "%s%02X0000", classes[i], ins);
        known = known || strcmp(fx_run(card, command), "6D00") != 0;
        card_free(card);
        card_nvm_free(nvm);
    }
    return known;
}

/* Whoever adds an instruction finds out here that it has to be torn, or said to write nothing. */
static void every_instruction_is_among_them(void **state) {
    (void)state;
    for (enum context context = OF_PLATFORM; context < CONTEXTS; context++)
        for (unsigned ins = 0; ins < 0x100; ins++) {
            if (ins == 0xC0 || !is_known(context, ins) || is_torn(context, ins))
                continue;
            if (context == OF_PLATFORM || !is_torn(OF_PLATFORM, ins))
                fail_msg("instruction %02X: neither in the table of commands nor among those that "
                         "write nothing",
                         ins);
        }
}

/* Over the air the counter comes first: a packet is carried out once or never, and one that was has
 * its counter used up. */
static void a_packet_is_carried_out_once_or_never(void **state) {
    static const char
        *const packet = "80C2000044D142820283818B3C40048121437FF6261123170000002D027000002815161912"
                        "12B000117176792225ACC157462ADD515D51A6E88E0C541C24D6A17C3F762A776CAFA1A9",
               *const read = "00B0000003";
    bool done = false;

    (void)state;
    for (unsigned cut = 1; !done; cut++) {
        struct card_nvm *torn = card_nvm_tear_new(fx_memory(NULL), cut);
        struct card *card = new_card(torn);
        char before[40], now[40], again[40];

        fx_run(card, USIM);
        fx_run(card, "00A4000C026F46");
        snprintf(before, sizeof before, "%s", fx_run(card, read));
        assert_string_equal(before, "0174659000");
        fx_run(card, packet);
        card_free(card);

        card_nvm_tear_cut(torn, 1000000);
        card = new_card(torn);
        fx_run(card, USIM);
        fx_run(card, "00A4000C026F46");
        snprintf(now, sizeof now, "%s", fx_run(card, read));
        assert_true(strcmp(now, before) == 0 || strcmp(now, "01424C9000") == 0);
        fx_run(card, packet);
        snprintf(again, sizeof again, "%s", fx_run(card, read));
        if (cut > 3) /* begin, put and commit of the counter are past */
            assert_string_equal(again, now);
        else
            assert_string_equal(again, "01424C9000");
        done = strcmp(now, before) != 0;
        assert_true(!done || cut > 6);
        card_free(card);
        card_nvm_free(torn);
    }
}

/* A PIN that is tried while the power fails costs its try, or was not compared. */
static void a_cut_does_not_save_a_try(void **state) {
    (void)state;
    for (unsigned cut = 1; cut <= 6; cut++) {
        struct card_nvm *memory = fx_memory(NULL), *torn;
        struct card *card;
        char right[8], wrong[8];

        torn = card_nvm_tear_new(memory, cut);
        card = new_card(torn);
        snprintf(right, sizeof right, "%s", fx_run(card, "002000010830303030FFFFFFFF"));
        card_free(card);
        card_nvm_free(torn);

        memory = fx_memory(NULL);
        torn = card_nvm_tear_new(memory, cut);
        card = new_card(torn);
        snprintf(wrong, sizeof wrong, "%s", fx_run(card, "002000010831313131FFFFFFFF"));
        if (cut <= 3) { /* begin, put, commit of the count */
            assert_string_equal(right, "6581");
            assert_string_equal(wrong, "6581");
            assert_string_equal(fx_run(card, "00200001"), "63C3");
        } else {
            assert_string_equal(wrong, "63C2");
            assert_string_equal(right, cut <= 6 ? "6581" : "9000");
        }
        card_free(card);
        card_nvm_free(torn);
    }
}

static void administration_is_done_or_not_done(void **state) {
    static char before[STATE_MAX], after[STATE_MAX];
    bool done = false;

    (void)state;
    for (unsigned cut = 1; !done; cut++) {
        const uint8_t new_id = 0x44, old_id = 0x03;
        const struct card_object_spec file = {
            .cls = CARD_FILE, .id = {&new_id, 1}, .access = 1, .value = tb_span_str("new")};
        struct card_nvm *memory = fx_memory(NULL), *torn;
        struct card *card;

        torn = card_nvm_tear_new(memory, cut);
        card = new_card(torn);
        observe(card, before);
        assert_int_equal(card_admin_begin(card, 0), 0);
        assert_int_equal(card_admin_put(card, &file), 0);
        assert_int_equal(card_admin_delete(card, CARD_FILE, tb_span(&old_id, 1)), 0);
        done = card_admin_commit(card) == 0;
        if (!done)
            card_admin_abort(card);
        observe(card, after);
        assert_true((strcmp(before, after) == 0) == !done);
        card_free(card);
        card = new_card(torn);
        observe(card, before);
        assert_string_equal(before, after);
        card_free(card);
        card_nvm_free(torn);
        assert_true(!done || cut == 5); /* begin, put, del, commit fail; the fifth is never made */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_done_or_not_done),
        cmocka_unit_test(every_instruction_is_among_them),
        cmocka_unit_test(a_packet_is_carried_out_once_or_never),
        cmocka_unit_test(a_cut_does_not_save_a_try),
        cmocka_unit_test(administration_is_done_or_not_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
