/* Remote administration while a device is at work. */
#include "fixture.h"
#include "simcard/admin.h"
#include "tb/test.h"

#define SELECT "01A4040007A0000005590010"
#define HASH   "9E20BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
#define INIT   "812A00010D840101A1010391020001920104"
#define UPDATE "812B800122" HASH
#define READ   "81B0000003830108"

struct bed {
    struct card_nvm *nvm;
    struct card *card;
};

static struct bed bed;

static int make_bed(void **state) {
    (void)state;
    bed.card = fx_card(NULL, &bed.nvm);
    fx_run(bed.card, SELECT);
    return 0;
}

static int free_bed(void **state) {
    (void)state;
    card_free(bed.card);
    card_nvm_free(bed.nvm);
    return 0;
}

static const uint8_t endpoint_id = 0x08;

static struct card_object_spec new_endpoint(const char *content) {
    return (struct card_object_spec){.cls = CARD_FILE,
                                     .id = {&endpoint_id, 1},
                                     .label = tb_span_str("endpoint"),
                                     .access = 1,
                                     .value = tb_span_str(content)};
}

static void stage(const char *content) {
    const struct card_object_spec spec = new_endpoint(content);

    assert_int_equal(card_admin_put(bed.card, &spec), 0);
}

/* spec: IOTSAFE STATUS-WORDS 6984 while the object is administered, 63CF once when it is done */
static void an_object_is_locked_until_the_change_is_done(void **state) {
    (void)state;
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    stage("443 new.example");
    assert_string_equal(fx_run(bed.card, READ), "6984");
    assert_string_equal(fx_run(bed.card, "81CBC30003830108"), "6984");
    assert_string_equal(fx_run(bed.card, "81B000000383010208"), "30820122"
                                                                "1C232A31"
                                                                "9000");
    assert_int_equal(card_admin_commit(bed.card), 0);
    assert_string_equal(fx_run(bed.card, "81B000000383010208"), "30820122"
                                                                "1C232A31"
                                                                "63CF");
    assert_string_equal(fx_run(bed.card, READ), "343433206E65772E6578616D706C659000");
    assert_string_equal(fx_run(bed.card, "81CBC30003830108"),
                        "C31A7308656E64706F696E748301086001014A01012101012002000F9000");
}

static void every_channel_with_the_applet_is_told_once(void **state) {
    (void)state;
    fx_run(bed.card, "02A4040007A0000002480400");
    fx_run(bed.card, "00700000");
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    assert_int_equal(card_admin_commit(bed.card), 0);
    assert_string_equal(fx_run(bed.card, "80F2000C"), "9000");
    assert_string_equal(fx_run(bed.card, "82B000000383014400"),
                        "6A82"); /* a failure tells nothing */
    assert_string_equal(fx_run(bed.card, "82B000000383010801") + 2, "63CF");
    assert_string_equal(fx_run(bed.card, "82B000000383010801") + 2, "9000");
    assert_string_equal(fx_run(bed.card, "81B000000383010801") + 2, "63CF");
    assert_string_equal(fx_run(bed.card, "81B000000383010801") + 2, "9000");
}

/* spec: IOTSAFE STATUS-WORDS 6989 the session's key was changed under it */
static void a_session_whose_key_changed_fails(void **state) {
    const uint8_t id = 0x01;
    struct card_object_spec key = {.cls = CARD_PRIVATE,
                                   .id = {&id, 1},
                                   .access = 2,
                                   .label = tb_span_str("client key"),
                                   .key_type = TB_SAFE_P256,
                                   .crypto = TB_SAFE_CAN_SIGN,
                                   .value = tb_span(fx_scalar, 32)};

    (void)state;
    assert_string_equal(fx_run(bed.card, INIT), "9000");
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    assert_int_equal(card_admin_put(bed.card, &key), 0);
    assert_string_equal(fx_run(bed.card, INIT), "6984");
    assert_int_equal(card_admin_commit(bed.card), 0);
    assert_string_equal(fx_run(bed.card, UPDATE), "6989");
    assert_string_equal(fx_run(bed.card, UPDATE), "6985"); /* the session is over */
    assert_string_equal(fx_run(bed.card, INIT), "63CF");
    assert_int_equal(strlen(fx_run(bed.card, UPDATE)), 2 * 67 + 4);
}

static void a_session_on_a_locked_key_fails_too(void **state) {
    const uint8_t id = 0x01;

    (void)state;
    assert_string_equal(fx_run(bed.card, INIT), "9000");
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    assert_int_equal(card_admin_delete(bed.card, CARD_PRIVATE, tb_span(&id, 1)), 0);
    assert_string_equal(fx_run(bed.card, UPDATE), "6984");
    card_admin_abort(bed.card);
    assert_string_equal(fx_run(bed.card, INIT), "9000");
    assert_int_equal(strlen(fx_run(bed.card, UPDATE)), 2 * 67 + 4);
}

static void objects_come_and_go(void **state) {
    const uint8_t old_id = 0x03, new_id = 0x33;
    struct card_object_spec file = {
        .cls = CARD_FILE, .id = {&new_id, 1}, .access = 1, .value = tb_span_str("new")};

    (void)state;
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    assert_int_equal(card_admin_put(bed.card, &file), 0);
    assert_int_equal(card_admin_put(bed.card, &file), TB_ESTATE);
    assert_int_equal(card_admin_delete(bed.card, CARD_FILE, tb_span(&old_id, 1)), 0);
    assert_int_equal(card_admin_delete(bed.card, CARD_FILE, tb_span(&old_id, 1)), TB_ESTATE);
    assert_int_equal(card_admin_delete(bed.card, CARD_SECRET, tb_span(&old_id, 1)), TB_ENOTFOUND);
    assert_string_equal(fx_run(bed.card, "81B0000003830133"), "6A82"); /* not before the commit */
    assert_int_equal(card_admin_commit(bed.card), 0);
    assert_string_equal(fx_run(bed.card, "81B0000003830133"), "6E657763CF");
    assert_string_equal(fx_run(bed.card, "81B0000003830103"), "6A82");
    /* and so it is for the next card over this memory */
    card_free(bed.card);
    {
        const struct card_config cfg = {.nvm = bed.nvm};
        struct tb_span atr;
        int r;

        bed.card = card_new(&cfg, &r);
        assert_non_null(bed.card);
        assert_int_equal(card_power_on(bed.card, &atr), 0);
    }
    fx_run(bed.card, SELECT);
    assert_string_equal(fx_run(bed.card, "81B0000003830133"), "6E65779000");
    assert_string_equal(fx_run(bed.card, "81B0000003830103"), "6A82");
}

static void losing_power_ends_a_session_without_effect(void **state) {
    (void)state;
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    stage("gone");
    assert_int_equal(card_reset(bed.card), 0);
    assert_int_equal(card_admin_commit(bed.card), TB_ESTATE);
    fx_run(bed.card, SELECT);
    assert_string_equal(fx_run(bed.card, READ), "38383833206875622E6578616D706C659000");
}

static void misuse_is_refused(void **state) {
    struct card_object_spec spec = new_endpoint("x");
    const uint8_t id = 0x44, cert = 0x02;

    (void)state;
    spec.id = tb_span(&id, 1);
    assert_int_equal(card_admin_put(bed.card, &spec), TB_ESTATE);
    assert_int_equal(card_admin_delete(bed.card, CARD_FILE, tb_span(&cert, 1)), TB_ESTATE);
    assert_int_equal(card_admin_commit(bed.card), TB_ESTATE);
    assert_int_equal(card_admin_begin(bed.card, 9), TB_ENOTFOUND);
    assert_int_equal(card_admin_begin(bed.card, 0), 0);
    assert_int_equal(card_admin_begin(bed.card, 0), TB_ESTATE);
    assert_int_equal(card_admin_put(bed.card, &spec), TB_ESTATE); /* the label is another file's */
    spec.label = TB_SPAN_NONE;
    spec.access = 9;
    assert_int_equal(card_admin_put(bed.card, &spec), TB_ERANGE);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, make_bed, free_bed)
    const struct CMUnitTest tests[] = {
        T(an_object_is_locked_until_the_change_is_done),
        T(every_channel_with_the_applet_is_told_once),
        T(a_session_whose_key_changed_fails),
        T(a_session_on_a_locked_key_fails_too),
        T(objects_come_and_go),
        T(losing_power_ends_a_session_without_effect),
        T(misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
