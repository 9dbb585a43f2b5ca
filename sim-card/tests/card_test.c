/* The card as its user sees it: power, events, counters, what a damaged memory does. */
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "store/store.h"
#include "tb/test.h"

struct seen {
    int n;
    char operation[32];
    uint16_t sw;
    unsigned channel;
    bool secret_command, secret_response;
    uint8_t command[300], response[300];
    size_t command_n, response_n, masked_n;
    uint8_t masked[600];
};

static void on_command(const struct card_event *e, void *user) {
    struct seen *s = user;
    struct tb_buf m = TB_BUF(s->masked);

    s->n++;
    snprintf(s->operation, sizeof s->operation, "%s", e->operation);
    s->sw = e->sw;
    s->channel = e->channel;
    s->secret_command = e->secret_command;
    s->secret_response = e->secret_response;
    s->command_n = e->command.n;
    s->response_n = e->response.n;
    memcpy(s->command, e->command.p, e->command.n < 300 ? e->command.n : 300);
    memcpy(s->response, e->response.p, e->response.n < 300 ? e->response.n : 300);
    card_event_mask(e, &m, &m);
    s->masked_n = m.n;
}

struct bed {
    struct card_nvm *nvm;
    struct card *card;
    struct seen seen;
};

static int make_bed(void **state) {
    struct bed *bed = calloc(1, sizeof *bed);
    struct card_config cfg = {.on_command = on_command};
    int r;

    bed->nvm = cfg.nvm = card_nvm_mem_new(0);
    cfg.user = &bed->seen;
    fx_personalise(bed->nvm, NULL);
    bed->card = card_new(&cfg, &r);
    *state = bed;
    return bed->card ? 0 : -1;
}

static int free_bed(void **state) {
    struct bed *bed = *state;

    card_free(bed->card);
    card_nvm_free(bed->nvm);
    free(bed);
    return 0;
}

static void power(struct bed *bed) {
    struct tb_span atr;

    assert_int_equal(card_power_on(bed->card, &atr), 0);
}

static void needs_power(void **state) {
    struct bed *bed = *state;
    uint8_t rsp[TB_APDU_MAX_SHORT_RSP];
    struct tb_buf b = TB_BUF(rsp);
    struct tb_span atr;

    assert_int_equal(card_transact(bed->card, TB_BYTES(0x80, 0xF2, 0, 0x0C), &b), TB_ESTATE);
    assert_int_equal(card_reset(bed->card), TB_ESTATE);
    assert_int_equal(card_power_on(bed->card, &atr), 0);
    assert_int_equal(card_transact(bed->card, TB_BYTES(0x80, 0xF2, 0, 0x0C), &b), 0);
    assert_int_equal(b.n, 2);
    card_power_off(bed->card);
    assert_int_equal(card_transact(bed->card, TB_BYTES(0x80, 0xF2, 0, 0x0C), &b), TB_ESTATE);
    assert_int_equal(b.n, 2);
    assert_int_equal(bed->seen.n, 1);
}

static void needs_room_for_a_short_response(void **state) {
    struct bed *bed = *state;
    uint8_t rsp[TB_APDU_MAX_SHORT_RSP];
    struct tb_buf b = TB_BUF(rsp);

    power(bed);
    tb_put_u8(&b, 0);
    assert_int_equal(card_transact(bed->card, TB_BYTES(0x80, 0xF2, 0, 0x0C), &b), TB_ESPACE);
    assert_int_equal(b.n, 1);
    assert_int_equal(bed->seen.n, 0);
}

/* What an extended Le asks for beyond the caller's room waits for GET RESPONSE. */
static void offers_what_does_not_fit(void **state) {
    struct bed *bed = *state;
    uint8_t rsp[400];
    struct tb_buf b = TB_BUF(rsp);

    power(bed);
    fx_run(bed->card, "01A4040007A0000005590010");
    assert_int_equal(
        card_transact(bed->card, TB_BYTES(0x81, 0xB0, 0, 0, 0, 0, 3, 0x83, 1, 3, 0, 0), &b), 0);
    assert_int_equal(b.n, 400);
    assert_int_equal(rsp[398], 0x61);
    assert_int_equal(rsp[399], 0x00); /* 302 bytes wait: 256 or more */
    b.n = 0;
    assert_int_equal(card_transact(bed->card, TB_BYTES(0x81, 0xC0, 0, 0, 0), &b), 0);
    assert_int_equal(b.n, 258);
    assert_int_equal(rsp[257], 700 - 398 - 256);
}

static void the_atr_is_right(void **state) {
    struct bed *bed = *state;
    struct tb_span atr = card_atr(bed->card); /* without power too */
    uint8_t x = 0;

    assert_int_equal(atr.p[0], 0x3B);
    assert_int_equal(atr.n, 25);
    for (size_t i = 1; i < atr.n; i++)
        x ^= atr.p[i];
    assert_int_equal(x, 0); /* TCK */
}

static void an_atr_of_ones_own_is_used_when_it_is_not_too_long(void **state) {
    struct bed *bed = *state;
    static const uint8_t bytes[34] = {0x3B, 0x00};
    struct card_config cfg = {.nvm = bed->nvm, .atr = {bytes, 34}};
    struct card *card;
    int r = 0;

    assert_null(card_new(&cfg, &r));
    assert_int_equal(r, TB_ERANGE);
    cfg.atr.n = 2;
    card = card_new(&cfg, &r);
    assert_non_null(card);
    assert_int_equal(card_atr(card).n, 2);
    card_free(card);
}

static void a_blank_card_has_a_master_file_and_nothing_else(void **state) {
    struct card_nvm *nvm = card_nvm_mem_new(0);
    const struct card_config cfg = {.nvm = nvm};
    struct tb_span atr;
    char iccid[21];
    int r;
    struct card *card = card_new(&cfg, &r);

    (void)state;
    assert_non_null(card);
    assert_int_equal(card_power_on(card, &atr), 0);
    card_iccid(card, iccid);
    assert_string_equal(iccid, "");
    assert_string_equal(fx_run(card, "00A4000C023F00"), "9000");
    assert_string_equal(fx_run(card, "00A4040007A0000005590010"), "6A82");
    assert_string_equal(fx_run(card, "00A4040007A0000000871002"), "6A82");
    assert_string_equal(fx_run(card, "00B082000A"), "FFFFFFFFFFFFFFFFFFFF9000");
    assert_int_equal(strlen(fx_run(card, "00B201F400")), 2 * 38 + 4);
    card_free(card);
    card_nvm_free(nvm);
}

static void commands_have_names_and_channels_in_events(void **state) {
    static const struct {
        const char *cmd, *operation;
        uint16_t sw;
        unsigned channel;
    } cases[] = {
        {"00700000", "manage-channel", 0x9000, 0},
        {"01A4040007A0000005590010", "select", 0x9000, 1},
        {"8184000004", "get-random", 0x9000, 1},
        {"812A00010D840101A1010391020001920104", "compute-signature-init", 0x9000, 1},
        {"812B800122", "compute-signature-update", 0x6700, 1},
        {"C1EE0000", "unknown", 0x6881, 5},
        {"A0A40000", "unknown", 0x6E00, 0},
        {"81C0000000", "get-response", 0x6985, 1},
        {"80F2000C", "status", 0x9000, 0},
        {"81CB000044", "get-data", 0x9000, 1},
        {"81", "unknown", 0x6700, 1},
    };
    struct bed *bed = *state;

    power(bed);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fx_run(bed->card, cases[i].cmd);
        assert_string_equal(bed->seen.operation, cases[i].operation);
        assert_int_equal(bed->seen.sw, cases[i].sw);
        assert_int_equal(bed->seen.channel, cases[i].channel);
        assert_int_equal(bed->seen.n, i + 1);
    }
}

/* spec: IOTSAFE SECRETS what may not be logged is marked, and masked without changing its length */
static void key_material_is_marked_and_masked(void **state) {
    static const char hkdf[] = "814A000029"
                               "860106"
                               "D520"
                               "5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A"
                               "91020001";
    struct bed *bed = *state;
    struct seen *s = &bed->seen;

    power(bed);
    fx_run(bed->card, "01A4040007A0000005590010");
    assert_false(s->secret_command || s->secret_response);
    fx_run(bed->card, hkdf);
    assert_true(s->secret_command && s->secret_response);
    assert_int_equal(s->masked_n, 46 + 34);
    assert_memory_equal(s->masked, "\x81\x4A\x00\x00\x29", 5);
    for (size_t i = 5; i < 46 + 32; i++)
        assert_int_equal(s->masked[i], 0);
    assert_memory_equal(s->masked + 46 + 32, "\x90\x00", 2);
    /* the same by GET RESPONSE */
    fx_run(bed->card, "814A000029"
                      "860106"
                      "D520"
                      "5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A"
                      "91020001"
                      "10");
    assert_int_equal(s->sw, 0x6110);
    assert_int_equal(s->masked[46], 0x10); /* Le stays */
    fx_run(bed->card, "81C0000010");
    assert_true(s->secret_response);
    assert_false(s->secret_command);
    fx_run(bed->card, "002000010830303030FFFFFFFF");
    assert_true(s->secret_command);
    fx_run(bed->card, "81B0000003830102");
    assert_false(s->secret_command || s->secret_response);
    assert_int_equal(s->masked_n, 8 + 257);
    assert_memory_equal(s->masked + 8, s->response, 257);
}

/* Also where the command is refused, or is a part of one. */
static void refused_secrets_are_masked_too(void **state) {
    static const struct {
        const char *cmd;
        bool secret;
    } cases[] = {
        {"00200001", true},
        {"0020000104 30303030", true},
        {"00200001083030", true},              /* malformed */
        {"A0200001083030303030303030", true},  /* the class of old cards */
        {"0720000108 3030303030303030", true}, /* secure messaging, on a closed channel */
        {"03200001083030303030303030", true},
        {"834800000BD106414243444546D30110", true},
        {"914A000003D10141", true}, /* a block of a chain */
        {"914800000BD106414243444546D30110", true},
        {"8124000003850105", false}, /* the applet's own meaning of 24 and 2C */
        {"812C00010D850101A1010391020001920104", false},
        {"0124000003850105", false},
        {"0024000110 30303030303030303131313131313131", true},
        {"002C000110 30303030303030303131313131313131", true},
        {"81CB000044", false},
    };
    struct bed *bed = *state;

    power(bed);
    fx_run(bed->card, "01A4040007A0000005590010");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fx_run(bed->card, cases[i].cmd);
        if (bed->seen.secret_command != cases[i].secret)
            fail_msg("%s", cases[i].cmd);
        for (size_t b = 5; cases[i].secret && b < bed->seen.command_n; b++)
            assert_int_equal(bed->seen.masked[b], 0);
    }
}

static void counters_count_what_succeeded(void **state) {
    struct bed *bed = *state;
    struct card_counters c;

    power(bed);
    fx_run(bed->card, "01A4040007A0000005590010");
    fx_run(bed->card, "81B9000003840104");
    fx_run(bed->card, "8124000003850105");
    fx_run(
        bed->card,
        "81D88000473445494386410451 5C3D6EB9E396B904D3FECA7F54FDCD0CC1E997BF375DCA515AD0A6C3B4035F"
        "4536BE3A50F318FBF9A5475902A221502BEF0D57E08C53B2CC0A56F17D9F9354");
    fx_run(bed->card, "8146000006840104850105");
    card_counters(bed->card, &c);
    assert_int_equal(c.apdus, 5);
    assert_int_equal(c.resets, 1);
    assert_int_equal(c.keygen, 1);
    assert_int_equal(c.ecdh, 1);
    assert_int_equal(c.writes, 0); /* volatile keys do not touch the memory */
    assert_int_equal(c.refused, 0);
    assert_int_equal(c.bytes_in, 12 + 8 + 8 + 76 + 11);
    assert_int_equal(c.bytes_out, 2 + 79 + 2 + 2 + 34);
    fx_run(bed->card, "81B90000058403303036");
    fx_run(bed->card, "812A00010D840101A1010391020001920104");
    fx_run(bed->card,
           "812B8001229E20BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD");
    fx_run(bed->card, "8184000010");
    fx_run(bed->card, "814A00000D860106D50400000000"
                      "91020001");
    fx_run(bed->card, "814800000B860106D203414243D30110");
    fx_run(bed->card, "81EE0000");
    fx_run(bed->card, "81CB010000"); /* 6300 is no refusal */
    card_counters(bed->card, &c);
    assert_int_equal(c.keygen, 2);
    assert_int_equal(c.writes, 1); /* both halves in one transaction */
    assert_int_equal(c.sign, 1);
    assert_int_equal(c.random, 1);
    assert_int_equal(c.hkdf, 1);
    assert_int_equal(c.prf, 1);
    assert_int_equal(c.refused, 1);
}

static int count_entries(struct tb_span key, struct tb_span value, void *user) {
    (void)key;
    (void)value;
    (*(int *)user)++;
    return 0;
}

static void put_record(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    const struct card_write w = {key, value};

    assert_int_equal(card_nvm_write(nvm, &w, 1, false), 0);
}

/* spec: IOTSAFE STATUS-WORDS 6400: the set is damaged, other sets and the rest of the card are not
 */
static void a_damaged_object_spoils_its_own_set(void **state) {
    struct bed *bed = *state;
    const struct card_config cfg = {.nvm = bed->nvm};
    struct tb_span atr;
    struct card *card;
    int r;

    assert_int_equal(card_perso_applet(bed->nvm, TB_BYTES(0xA0, 0, 0, 5, 0x59, 0, 0x11), 1,
                                       card_profile_find("gsma")),
                     0);
    put_record(bed->nvm, TB_BYTES('O', 0, CARD_FILE, 0x55), TB_BYTES(1, 0xC2, 0x55));
    card = card_new(&cfg, &r);
    assert_non_null(card);
    assert_int_equal(card_power_on(card, &atr), 0);
    assert_string_equal(fx_run(card, "01A4040007A0000005590010"), "9000");
    assert_string_equal(fx_run(card, "81CB000044"), "6400");
    assert_string_equal(fx_run(card, "81B9000003840104"), "6400");
    assert_int_equal(strlen(fx_run(card, "8184000004")), 12);
    assert_string_equal(fx_run(card, "01A4040007A0000005590011"), "9000");
    assert_string_equal(fx_run(card, "81CB010000"), "9000"); /* an empty list */
    assert_string_equal(fx_run(card, "00B082000A"), "980010325476981032549000");
    card_free(card);
}

/* A key value that is none shows when it is used. */
static void a_damaged_key_says_so_when_it_is_used(void **state) {
    static const uint8_t record[] = {1, 0x4A, 1, 1, 0x60, 1, 1, 0x4B, 1,    0x13, 0x61, 1,
                                     1, 0x92, 1, 4, 0x91, 2, 0, 1,    0xC4, 2,    0xAA, 0xBB};
    struct bed *bed = *state;
    const struct card_config cfg = {.nvm = bed->nvm};
    struct tb_span atr;
    struct card *card;
    int r;

    put_record(bed->nvm, TB_BYTES('O', 0, CARD_PRIVATE, 0x77), tb_span(record, sizeof record));
    card = card_new(&cfg, &r);
    assert_non_null(card);
    assert_int_equal(card_power_on(card, &atr), 0);
    fx_run(card, "01A4040007A0000005590010");
    assert_string_equal(fx_run(card, "812A00010D840177A1010391020001920104"), "9000");
    assert_string_equal(fx_run(card,
                               "812B8001229E20BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9C"
                               "B410FF61F20015AD"),
                        "6400");
    card_free(card);
}

static int error_of(struct tb_span key, struct tb_span value) {
    struct card_nvm *nvm = card_nvm_mem_new(0);
    const struct card_config cfg = {.nvm = nvm};
    int r = 0;

    put_record(nvm, key, value);
    assert_null(card_new(&cfg, &r));
    card_nvm_free(nvm);
    return r;
}

static void damaged_and_newer_memories_are_told_apart(void **state) {
    (void)state;
    assert_int_equal(error_of(TB_BYTES('V'), TB_BYTES(2)), TB_EUNSUP);
    assert_int_equal(error_of(TB_BYTES('V'), TB_BYTES(0)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('V'), TB_BYTES(1, 1)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('I'), TB_BYTES(2)), TB_EUNSUP);
    assert_int_equal(error_of(TB_BYTES('I'), TB_BYTES(1, 0xC0, 1, 'x')), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('I'), tb_span("", 0)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('Z'), TB_BYTES(1)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('A', 0), TB_BYTES(1)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('A', 0, 0), TB_BYTES(1)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('F', 0x3F, 0, 0x2F, 0x99), TB_BYTES(1, 0)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('P', 0x02), TB_BYTES(1, 0)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('P', 0x01), TB_BYTES(1, 0)), TB_EPARSE);
    assert_int_equal(error_of(TB_BYTES('O', 0, 0, 1), TB_BYTES(2)), TB_EUNSUP);
}

/* Every record cut at every length, and with every byte changed: an error or a card, never a crash.
 */
static int mutate(struct tb_span key, struct tb_span value, void *user) {
    uint8_t copy[2048];
    (void)user;

    if (value.n > 200)
        return 0;
    for (size_t n = 0; n <= value.n; n++) {
        struct card_nvm *nvm = card_nvm_mem_new(0);
        const struct card_config cfg = {.nvm = nvm};
        struct card *card;
        struct tb_span atr;
        int r;

        memcpy(copy, value.p, value.n);
        if (n < value.n)
            copy[n] ^= 0x5A;
        put_record(nvm, key, tb_span(copy, value.n));
        card = card_new(&cfg, &r);
        if (card) {
            assert_int_equal(card_power_on(card, &atr), 0);
            fx_run(card, "01A4040007A0000005590010");
            fx_run(card, "81CB010000");
            card_free(card);
        }
        put_record(nvm, key, tb_span(copy, n));
        card = card_new(&cfg, &r);
        card_free(card);
        card_nvm_free(nvm);
    }
    return 0;
}

static void mutilated_records_never_hurt(void **state) {
    struct bed *bed = *state;

    assert_int_equal(bed->nvm->ops->each(bed->nvm, mutate, NULL), 0);
}

static void a_card_over_the_same_memory_is_the_same_card(void **state) {
    struct bed *bed = *state;
    char before[300], first[700];
    struct tb_span atr;
    int entries = 0, again = 0, r;
    const struct card_config cfg = {.nvm = bed->nvm};
    struct card *card;

    power(bed);
    fx_run(bed->card, "01A4040007A0000005590010");
    fx_run(bed->card, "81B90000058403303036");
    snprintf(before, sizeof before, "%s", fx_run(bed->card, "81CD0000058503303037"));
    snprintf(first, sizeof first, "%s", fx_run(bed->card, "81CB010000"));
    assert_int_equal(bed->nvm->ops->each(bed->nvm, count_entries, &entries), 0);
    card_free(bed->card);
    bed->card = NULL;
    card = card_new(&cfg, &r);
    assert_non_null(card);
    assert_int_equal(bed->nvm->ops->each(bed->nvm, count_entries, &again), 0);
    assert_int_equal(entries, again);
    assert_int_equal(card_power_on(card, &atr), 0);
    fx_run(card, "01A4040007A0000005590010");
    assert_string_equal(fx_run(card, "81CD0000058503303037"), before);
    assert_string_equal(fx_run(card, "81CB010000"), first);
    card_free(card);
}

static void a_full_memory_is_a_status_word(void **state) {
    struct card_nvm *nvm = card_nvm_mem_new(120);
    const struct card_identity id = {.iccid = "89000123456789012345", .imsi = "001010123456789"};
    const struct card_config cfg = {.nvm = nvm};
    struct tb_span atr;
    struct card *card;
    int r;

    (void)state;
    assert_int_equal(card_perso_identity(nvm, &id), 0);
    card = card_new(&cfg, &r);
    assert_int_equal(card_power_on(card, &atr), 0);
    fx_run(card, "00A4040C07A0000000871002");
    assert_string_equal(fx_run(card, "00D68B000100"), "9000");
    assert_string_equal(fx_run(card, "00D68C000100"), "9000");
    assert_string_equal(fx_run(card, "00D68900012A"), "6A84");
    assert_string_equal(fx_run(card, "00B0890001"), "079000");
    card_free(card);
    card_nvm_free(nvm);
}

static void thousands_of_cards_are_small(void **state) {
    enum { CARDS = 200 };
    struct card_nvm *nvm[CARDS];
    struct card *cards[CARDS];
    struct tb_span atr;
    int r;

    (void)state;
    for (size_t i = 0; i < CARDS; i++) {
        const struct card_identity id = {.iccid = "89000123456789012345"};
        struct card_config cfg = {0};

        cfg.nvm = nvm[i] = card_nvm_mem_new(0);
        assert_int_equal(card_perso_identity(nvm[i], &id), 0);
        cards[i] = card_new(&cfg, &r);
        assert_non_null(cards[i]);
        assert_int_equal(card_power_on(cards[i], &atr), 0);
    }
    for (size_t i = 0; i < CARDS; i++) {
        assert_string_equal(fx_run(cards[i], "00B082000A"), "980010325476981032549000");
        card_free(cards[i]);
        card_nvm_free(nvm[i]);
    }
    card_free(NULL);
    card_nvm_free(NULL);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, make_bed, free_bed)
    const struct CMUnitTest tests[] = {
        T(needs_power),
        T(needs_room_for_a_short_response),
        T(offers_what_does_not_fit),
        T(the_atr_is_right),
        T(an_atr_of_ones_own_is_used_when_it_is_not_too_long),
        T(a_blank_card_has_a_master_file_and_nothing_else),
        T(commands_have_names_and_channels_in_events),
        T(key_material_is_marked_and_masked),
        T(refused_secrets_are_masked_too),
        T(counters_count_what_succeeded),
        T(a_damaged_object_spoils_its_own_set),
        T(a_damaged_key_says_so_when_it_is_used),
        T(damaged_and_newer_memories_are_told_apart),
        T(mutilated_records_never_hurt),
        T(a_card_over_the_same_memory_is_the_same_card),
        T(a_full_memory_is_a_status_word),
        T(thousands_of_cards_are_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
