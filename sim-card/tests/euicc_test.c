/* The eUICC beside its vectors: what the factory takes, what is left of a profile in the memory,
 * what happens at the limits, and which memories are no eUICC's. */
#include "euicc/euicc.h"

#include <stdio.h>

#include "fixture.h"
#include "tb/test.h"

#define ISDR   "00A4040C10A0000005591010FFFFFFFF8900000100"
#define DELETE "80E291000FBF330C5A0A98001032547698103264"

static const uint8_t eid[] = {0x89, 0x04, 0x90, 0x32, 0x12, 0x34, 0x51, 0x23,
                              0x45, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x35};

static struct card *start(struct card_nvm *nvm, int *ret) {
    const struct card_config cfg = {.nvm = nvm};
    struct card *card = card_new(&cfg, ret);
    struct tb_span atr;

    if (card)
        assert_int_equal(card_power_on(card, &atr), 0);
    return card;
}

/* --- the factory --- */

static void an_eid_checks_itself(void **state) {
    struct card_nvm *nvm = card_nvm_mem_new(0);
    struct card_euicc_spec spec = {.eid = tb_span(eid, sizeof eid)};

    (void)state;
    assert_int_equal(card_perso_euicc(nvm, &spec), 0);
    spec.eid.n--;
    assert_int_equal(card_perso_euicc(nvm, &spec), TB_ERANGE);
    for (size_t i = 0; i < sizeof eid; i++) {
        uint8_t wrong[sizeof eid];

        memcpy(wrong, eid, sizeof eid);
        wrong[i] ^= 0x01;
        spec.eid = tb_span(wrong, sizeof wrong);
        assert_int_equal(card_perso_euicc(nvm, &spec), TB_ERANGE);
        wrong[i] = 0xA0;
        assert_int_equal(card_perso_euicc(nvm, &spec), TB_ERANGE);
    }
    spec.eid = tb_span(eid, sizeof eid);
    spec.smdp = "tab\t";
    assert_int_equal(card_perso_euicc(nvm, &spec), TB_ERANGE);
    card_nvm_free(nvm);
}

static void a_profile_needs_an_euicc_and_an_identity(void **state) {
    struct card_nvm *nvm = card_nvm_mem_new(0);
    const struct card_euicc_spec euicc = {.eid = tb_span(eid, sizeof eid)};
    const struct card_identity id = {.subscription = 7, .iccid = "89000123456789012345"};
    struct card_subscription_spec spec = {.number = 7, .enabled = true};
    char longer[EUICC_NAME_MAX + 2];

    (void)state;
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ENOTFOUND);
    assert_int_equal(card_perso_euicc(nvm, &euicc), 0);
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ENOTFOUND);
    assert_int_equal(card_perso_identity(nvm, &id), 0);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    spec.name = longer;
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ERANGE);
    spec.name = "\xC3\x28"; /* no UTF-8 */
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ERANGE);
    spec.name = NULL;
    assert_int_equal(card_perso_subscription(nvm, &spec), 0);
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ESTATE);
    card_nvm_free(nvm);
}

static void one_profile_is_enabled(void **state) {
    struct card_nvm *nvm = fx_memory("euicc");
    const struct card_identity id = {.subscription = 9, .iccid = "89000123456789012399"};
    struct card_subscription_spec spec = {.number = 9, .enabled = true};

    (void)state;
    assert_int_equal(card_perso_identity(nvm, &id), 0);
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ESTATE);
    spec.enabled = false;
    assert_int_equal(card_perso_subscription(nvm, &spec), 0);
    spec.number = 0;
    assert_int_equal(card_perso_subscription(nvm, &spec), TB_ERANGE);
    card_nvm_free(nvm);
}

/* --- what is left --- */

struct census {
    unsigned subscription, profile, apps, keys, objects;
};

static int count(struct tb_span key, struct tb_span value, void *user) {
    struct census *c = user;

    (void)value;
    c->subscription += key.n > 2 && key.p[0] == CARD_REC_OF && key.p[1] == 2;
    c->profile += key.n == 2 && key.p[0] == CARD_REC_EUICC && key.p[1] == 2;
    c->apps += key.p[0] == CARD_REC_APPLET;
    c->keys += key.p[0] == CARD_REC_KEYSET;
    c->objects += key.n > 1 && key.p[0] == CARD_REC_OBJECT && key.p[1] == 12;
    return 0;
}

static void nothing_is_left_of_a_deleted_profile(void **state) {
    struct card_nvm *nvm;
    struct card *card = fx_card("euicc", &nvm);
    struct census before = {0}, after = {0};
    int r;

    (void)state;
    assert_int_equal(nvm->ops->each(nvm, count, &before), 0);
    assert_int_equal(before.subscription, 3);
    assert_int_equal(before.profile, 1);
    assert_int_equal(before.objects, 1);
    fx_run(card, ISDR);
    assert_string_equal(fx_run(card, DELETE), "6106");
    assert_int_equal(nvm->ops->each(nvm, count, &after), 0);
    assert_int_equal(after.subscription + after.profile + after.objects, 0);
    assert_int_equal(after.apps, before.apps - 2);
    assert_int_equal(after.keys, before.keys - 1);
    card_free(card);
    card = start(nvm, &r);
    assert_non_null(card);
    card_free(card);
    card_nvm_free(nvm);
}

/* --- limits --- */

static unsigned waiting(struct card *card, uint32_t *ret_first) {
    unsigned n = 0;

    *ret_first = card->euicc->notifications->seq;
    for (const struct euicc_notification *at = card->euicc->notifications; at; at = at->next)
        n++;
    return n;
}

static void the_oldest_notification_gives_way(void **state) {
    struct card_nvm *nvm;
    struct card *card = fx_card("euicc", &nvm);
    uint32_t first = 0;
    int r;

    (void)state;
    fx_run(card, ISDR);
    for (unsigned i = 0; i < 40; i++) {
        char command[80];

        snprintf(command, sizeof command, "80E2910014BF3111A00C5A0A980010325476981032%s81010000",
                 i % 2 ? "54" : "64");
        assert_string_equal(fx_run(card, command), "BF31038001009000");
    }
    assert_int_equal(waiting(card, &first), EUICC_NOTIFICATIONS_MAX);
    assert_int_equal(first, 80 - EUICC_NOTIFICATIONS_MAX + 1);
    card_free(card);
    card = start(nvm, &r);
    assert_non_null(card);
    assert_int_equal(waiting(card, &first), EUICC_NOTIFICATIONS_MAX);
    assert_int_equal(first, 80 - EUICC_NOTIFICATIONS_MAX + 1);
    fx_run(card, ISDR);
    /* numbers above 127 are INTEGERs with a byte more, and are found by it */
    card->euicc->state.next_seq = 0x80;
    fx_run(card, "80E2910014BF3111A00C5A0A9800103254769810326481010000");
    assert_string_equal(fx_run(card, "80E2910007BF30048002008000"), "BF30038001009000");
    assert_string_equal(fx_run(card, "80E2910006BF300380018100"), "BF30038001009000");
    card_free(card);
    card_nvm_free(nvm);
}

static void a_command_has_an_end(void **state) {
    struct card_nvm *nvm;
    struct card *card = fx_card("euicc", &nvm);
    uint8_t block[5 + 255] = {0x80, 0xE2, 0x11, 0x00, 0xFF, 0xBF, 0x3F, 0x82, 0xFF, 0xFF};
    unsigned i = 0;
    uint16_t sw = TB_SW_OK;

    (void)state;
    fx_run(card, ISDR);
    for (; sw == TB_SW_OK && i < 255; i++) {
        block[3] = (uint8_t)i;
        sw = fx_transact(card, tb_span(block, sizeof block), NULL);
    }
    assert_int_equal(sw, TB_SW_NO_SPACE);
    assert_int_equal(i, EUICC_COMMAND_MAX / 255 + 1);
    assert_string_equal(fx_run(card, "80E2910006BF3E035C015A"), "6115");
    card_free(card);
    card_nvm_free(nvm);
}

static void blocks_are_the_channels_own(void **state) {
    struct card_nvm *nvm;
    struct card *card = fx_card("euicc", &nvm);

    (void)state;
    fx_run(card, ISDR);
    fx_run(card, "0070000001");
    fx_run(card, "01A4040C10A0000005591010FFFFFFFF8900000100");
    assert_string_equal(fx_run(card, "80E2110003BF3E03"), "9000");
    assert_string_equal(fx_run(card, "81E29101035C015A"), "6A86");
    assert_string_equal(fx_run(card, "80E29101035C015A"), "6115");
    assert_string_equal(fx_run(card, "80E2110003BF3E03"), "9000");
    fx_run(card, ISDR); /* selected anew: they are gone */
    assert_string_equal(fx_run(card, "80E29101035C015A"), "6A86");
    card_free(card);
    card_nvm_free(nvm);
}

/* --- text --- */

static void text_is_utf8_without_controls(void **state) {
    static const char *const good[] = {"", "a", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x93\xB1"},
                             *const bad[] = {"\x1F",
                                             "\x7F",
                                             "\x80",
                                             "\xC0\xAF",
                                             "\xC3",
                                             "\xE0\x80\xAF",
                                             "\xED\xA0\x80",
                                             "\xE2\x82",
                                             "\xF0\x80\x80\x80",
                                             "\xF5\x80\x80",
                                             "\xF4\x90\x80\x80"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(euicc_is_text(tb_span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(euicc_is_text(tb_span_str(bad[i])));
}

/* --- damaged memories --- */

static void check_refused(struct tb_span key, struct tb_span value) {
    struct card_nvm *nvm = fx_memory("euicc");
    const struct card_write w = {key, value};
    int r = 0;

    assert_int_equal(card_nvm_write(nvm, &w, 1, false), 0);
    assert_null(start(nvm, &r));
    assert_int_equal(r, TB_EPARSE);
    card_nvm_free(nvm);
}

static void damaged_records_are_refused(void **state) {
    (void)state;
    check_refused(TB_BYTES('E'), TB_SPAN_NONE);                  /* profiles of no eUICC */
    check_refused(TB_BYTES('E'), TB_BYTES(1, 0xC0, 1, 0x89));    /* half an EID */
    check_refused(TB_BYTES('E', 0), TB_BYTES(1, 0xD0, 1, 0));    /* a profile of no number */
    check_refused(TB_BYTES('E', 9), TB_BYTES(1, 0xD0, 1, 0));    /* … without an identity */
    check_refused(TB_BYTES('E', 2), TB_BYTES(1, 0xD0, 1, 1));    /* a second one enabled */
    check_refused(TB_BYTES('E', 2), TB_BYTES(1, 0xD1, 1, 3));    /* a class there is not */
    check_refused(TB_BYTES('E', 2), TB_BYTES(1, 0xD3, 1, 0x80)); /* no text */
    check_refused(TB_BYTES('E', 1, 1), TB_BYTES(1, 0xD0, 1, 0)); /* a key too long */
    check_refused(TB_BYTES('M', 0, 0, 0, 1), TB_BYTES(1));       /* no operation */
    check_refused(TB_BYTES('M', 0, 0, 0, 1), TB_BYTES(1, 0xD7, 1, 0x30)); /* two */
    check_refused(TB_BYTES('M', 0, 0, 1), TB_BYTES(1, 0xD7, 1, 0x40));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_eid_checks_itself),
        cmocka_unit_test(a_profile_needs_an_euicc_and_an_identity),
        cmocka_unit_test(one_profile_is_enabled),
        cmocka_unit_test(nothing_is_left_of_a_deleted_profile),
        cmocka_unit_test(the_oldest_notification_gives_way),
        cmocka_unit_test(a_command_has_an_end),
        cmocka_unit_test(blocks_are_the_channels_own),
        cmocka_unit_test(text_is_utf8_without_controls),
        cmocka_unit_test(damaged_records_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
