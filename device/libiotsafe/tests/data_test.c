/* GET DATA: what cards say about themselves and their objects. */
#include <stdio.h>
#include <string.h>

#include "script.h"

/* The list of the reference, 9.3: a signing key, its public half, a file. */
#define PRIVATE "740A636C69656E74206B6579 840101 600102 4A0101 4B0113 4E0101 610101 920104 91020001"
#define EMPTY   "7409656364686520 6B6579 840104 600102 4A0100 4B0114 4E0101 610106 6F0101"
#define PUBLIC  "750A636C69656E74206B6579 850101 600103 4A0101 4B0113 4E0101 610101 920104 91020001"
#define FILE2   "7307636572742030 32 830102 600101 4A0101 210102 20020126"
#define SECRET  "76023333 86020004 600103 4B01A0 61010C 940102"

static size_t list(const struct exchange *exchanges, struct iotsafe_object *objects, size_t cap,
                   int r) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, NULL, 0);
    size_t n = 99;

    assert_int_equal(iotsafe_list(c, objects, cap, &n), r);
    script_close(c, &script);
    return n;
}

static void check_private(const struct iotsafe_object *o) {
    assert_int_equal(o->type, IOTSAFE_PRIVATE_KEY);
    assert_hex(o->ref.id, o->ref.id_len, "01");
    assert_int_equal(o->ref.label_len, 10);
    assert_memory_equal(o->ref.label, "client key", 10);
    assert_int_equal(o->access, 2);
    assert_int_equal(o->state, 1);
    assert_int_equal(o->key_type, 0x13);
    assert_int_equal(o->key_usage, 1);
    assert_int_equal(o->crypto, 1);
    assert_int_equal(o->sign_alg, 4);
    assert_int_equal(o->hash, 1);
}

static void check_file(const struct iotsafe_object *o) {
    assert_int_equal(o->type, IOTSAFE_FILE);
    assert_hex(o->ref.id, o->ref.id_len, "02");
    assert_memory_equal(o->ref.label, "cert 02", 7);
    assert_int_equal(o->file_usage, 2);
    assert_int_equal(o->file_size, 0x126);
}

#define LIST "81 CB 01 00 00"
#define NEXT "81 CB 01 01 00"

static void reads_lists_with_and_without_wrappers(void **state) {
    static const char *const answers[] = {
        "C125" PRIVATE "C120" EMPTY "C225" PUBLIC "C319" FILE2 "9000",
        PRIVATE EMPTY PUBLIC FILE2 "9000",
        /* several keys in one wrapper, short and long */
        "C145" PRIVATE EMPTY "C225" PUBLIC "C319" FILE2 "9000",
        "C181 8E" PRIVATE EMPTY "C225" PUBLIC "C319" FILE2 "9000",
        "C182 0045" PRIVATE EMPTY "C225" PUBLIC "C319" FILE2 "9000",
        /* wrappers that are miscounted */
        "C1FF" PRIVATE "C101" EMPTY "C200" PUBLIC "C37F" FILE2 "9000",
    };
    struct iotsafe_object o[4];

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct exchange x[] = {OPENING, {LIST, answers[i]}, {0}};

        assert_int_equal(list(x, o, 4, 0), 4);
        check_private(&o[0]);
        assert_int_equal(o[1].state, 0);
        assert_int_equal(o[1].key_agreement, 1);
        assert_int_equal(o[2].type, IOTSAFE_PUBLIC_KEY);
        check_file(&o[3]);
    }
}

/* The list of a real card, bare and with a length that is one too many: 9202 for one byte. */
static void survives_a_miscounted_length(void **state) {
    const struct exchange x[] = {
        OPENING,
        {LIST, "74023131 84020002 600102 4A0101 4B0113 4E0103 610107 9202 04 91020007 6F0101"
               "75023131 85020002 600103 4A0101 4B0113 4E0103 610107 9202 04 91020007 6F0101"
               "73023031 83020001 600101 4A0101 210101 20020040"
               "76023333 86020004 600103 4A0100 4B01A0 61010C 940102 9000"},
        {0}};
    const struct exchange y[] = {OPENING, {LIST, "840101 9202 04 9000"}, {0}};
    const struct exchange z[] = {
        OPENING, {LIST, "840101 6002 01 C119 840102 9102 0004 920400000004 9000"}, {0}};
    struct iotsafe_object o[4];

    (void)state;
    assert_int_equal(list(x, o, 4, 0), 4);
    assert_int_equal(o[0].sign_alg, 4);
    assert_int_equal(o[0].hash, 7);
    assert_int_equal(o[0].key_agreement, 1);
    assert_int_equal(o[1].sign_alg, 4);
    assert_int_equal(o[2].file_size, 0x40);
    assert_int_equal(o[3].key_derivation, 2);
    assert_int_equal(list(y, o, 4, 0), 1);
    assert_int_equal(o[0].sign_alg, 4);
    assert_int_equal(list(z, o, 4, 0), 2);
    assert_int_equal(o[0].access, 1);
    assert_int_equal(o[1].hash, 4);
    assert_int_equal(o[1].sign_alg, 4);
}

static void keeps_id_and_label_together_in_either_order(void **state) {
    const struct exchange x[] = {
        OPENING,
        {LIST, "840101 74026161 600102 840102 74026262 600103 830103 20020010 830104 840105 9000"},
        {0}};
    struct iotsafe_object o[5];

    (void)state;
    assert_int_equal(list(x, o, 5, 0), 5);
    assert_memory_equal(o[0].ref.label, "aa", 2);
    assert_int_equal(o[0].access, 2);
    assert_memory_equal(o[1].ref.label, "bb", 2);
    assert_int_equal(o[2].file_size, 0x10);
    assert_int_equal(o[3].ref.id[0], 4);
    assert_int_equal(o[4].type, IOTSAFE_PRIVATE_KEY);
}

static void counts_what_does_not_fit(void **state) {
    const struct exchange x[] = {OPENING, {LIST, PRIVATE EMPTY PUBLIC FILE2 "9000"}, {0}};
    struct iotsafe_object o[2];

    (void)state;
    memset(&o[1], 0xEE, sizeof o[1]);
    assert_int_equal(list(x, o, 1, 0), 4);
    check_private(&o[0]);
    assert_int_equal(o[1].access, 0xEE);
    assert_int_equal(list(x, NULL, 0, 0), 4);
}

/* Blocks may end anywhere, also inside an element. */
static void joins_blocks_cut_at_every_place(void **state) {
    static const char whole[] =
        "C125740A636C69656E74206B65798401016001024A01014B01134E010161010192010491020001"
        "C3197307636572742030328301026001014A0101210102200201264A"; /* the last byte: rubbish */
    const size_t n = (sizeof whole - 1) / 2;
    char one[200], two[200];
    struct iotsafe_object o[3];

    (void)state;
    for (size_t cut = 1; cut < n; cut++) {
        const struct exchange paged[] = {OPENING, {LIST, one}, {NEXT, two}, {0}};
        const struct exchange fetched[] = {OPENING, {LIST, one}, {"01 C0 00 00 10", two}, {0}};

        snprintf(one, sizeof one, "%.*s6300", (int)(2 * cut), whole);
        snprintf(two, sizeof two, "%s9000", whole + 2 * cut);
        assert_int_equal(list(paged, o, 3, 0), 2);
        check_private(&o[0]);
        check_file(&o[1]);
        snprintf(one, sizeof one, "%.*s6110", (int)(2 * cut), whole);
        assert_int_equal(list(fetched, o, 3, 0), 2);
        check_private(&o[0]);
        check_file(&o[1]);
    }
}

static void ends_where_the_card_ends(void **state) {
    static const char *const ends[] = {"6A86", "6A88", "9000", "6300"};
    const struct exchange none[] = {OPENING, {LIST, "9000"}, {0}};
    const struct exchange unknown[] = {OPENING, {LIST, "6A88"}, {0}};
    const struct exchange junk[] = {OPENING, {LIST, "DEADBEEF 9000"}, {0}};
    const struct exchange cut[] = {OPENING, {LIST, "84"}, {0}};
    struct iotsafe_object o[2];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const struct exchange x[] = {OPENING, {LIST, "C125" PRIVATE "6300"}, {NEXT, ends[i]}, {0}};

        assert_int_equal(list(x, o, 2, 0), 1);
        check_private(&o[0]);
    }
    assert_int_equal(list(none, o, 2, 0), 0);
    assert_int_equal(list(unknown, o, 2, IOTSAFE_E_NOT_FOUND), 99);
    assert_int_equal(list(junk, o, 2, IOTSAFE_E_FORMAT), 99);
    assert_int_equal(list(cut, o, 2, IOTSAFE_E_FORMAT), 99);
}

static void begins_the_list_again_after_administration(void **state) {
    const struct exchange x[] = {OPENING,
                                 {LIST, "C125" PRIVATE "6300"},
                                 {NEXT, "C319" FILE2 "63CF"},
                                 {LIST, "C319" FILE2 "9000"},
                                 {0}};
    struct iotsafe_object o[2];

    (void)state;
    assert_int_equal(list(x, o, 2, 0), 1);
    check_file(&o[0]);
}

/* ---- one object ---- */

static void reads_one_object_in_every_wrapping(void **state) {
    static const char *const answers[] = {"C319" FILE2 "9000", FILE2 "9000",
                                          "830102 7307636572742030 32 20020126 210102 9000"};
    struct iotsafe_ref id = iotsafe_id1(2), label = iotsafe_label("c");

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct exchange x[] = {OPENING,
                                     {"81 CB C3 00 03 830102", answers[i]},
                                     {"81 CB C1 00 03 840102", answers[i]},
                                     {"81 CB C4 00 03 760163", "6A82"},
                                     {"81 CB C2 00 03 850102", "9000"},
                                     {0}};
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        struct iotsafe_object o;

        assert_int_equal(iotsafe_get_object(c, IOTSAFE_FILE, &id, &o), 0);
        check_file(&o);
        memset(&o, 0xEE, sizeof o);
        assert_int_equal(iotsafe_get_object(c, IOTSAFE_PRIVATE_KEY, &id, &o),
                         IOTSAFE_E_FORMAT); /* that is a file */
        assert_int_equal(iotsafe_get_object(c, IOTSAFE_SECRET_KEY, &label, &o),
                         IOTSAFE_E_NOT_FOUND);
        assert_int_equal(iotsafe_get_object(c, IOTSAFE_PUBLIC_KEY, &id, &o), IOTSAFE_E_FORMAT);
        assert_int_equal(o.access, 0xEE);
        script_close(c, &script);
    }
}

/* ---- application information ---- */

#define APPLET_ID "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

static void reads_application_information_of_every_applet(void **state) {
    static const char *const answers[] = {
        "100110 1120" APPLET_ID
        "B1010A B2010B B3010C B4010D 90010F 91020001 920104 930101 940102 B70103 9000",
        "100110 1120" APPLET_ID
        "B1010A B2010B B3010C B4010D 61010F 91020001 920104 6F0101 940102 B70103 9000",
        "B70103 940102 100110 910101 9202 04 930101 1120" APPLET_ID
        "90010F B1010A B2010B B3010C B4010D 9000",
        /* tag 11 counts one byte too many */
        "100110 1121" APPLET_ID
        "B1010A B2010B B3010C B4010D 90010F 91020001 920104 930101 940102 B70103 9000",
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct exchange x[] = {OPENING, {"81 CB 00 00 00", answers[i]}, {0}};
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        struct iotsafe_info info;

        assert_int_equal(iotsafe_get_info(c, &info), 0);
        assert_int_equal(info.version, 0x10);
        assert_hex(info.applet_id, info.applet_id_len, APPLET_ID);
        assert_int_equal(info.max_files, 10);
        assert_int_equal(info.max_private, 11);
        assert_int_equal(info.max_public, 12);
        assert_int_equal(info.max_secret, 13);
        assert_int_equal(info.max_sessions, 3);
        assert_int_equal(info.crypto, 0x0F);
        assert_int_equal(info.hash, 1);
        assert_int_equal(info.sign_alg, 4);
        assert_int_equal(info.key_agreement, 1);
        assert_int_equal(info.key_derivation, 2);
        script_close(c, &script);
    }
}

static void takes_short_and_strange_application_information(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 CB 00 00 00", "6C09"},
                                 {"81 CB 00 00 09", "1002 0104 1104 31303430 B101 9000"},
                                 {"81 CB 00 00 00", "9000"},
                                 {"81 CB 00 00 00", "E000 9000"},
                                 {"81 CB 00 00 00", "6A86"},
                                 {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    struct iotsafe_info info;

    (void)state;
    assert_int_equal(iotsafe_get_info(c, &info), 0);
    assert_memory_equal(info.applet_id, "1040", 4);
    assert_int_equal(iotsafe_get_info(c, &info), IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_get_info(c, &info), IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_get_info(c, &info), IOTSAFE_E_CARD);
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lists_with_and_without_wrappers),
        cmocka_unit_test(survives_a_miscounted_length),
        cmocka_unit_test(keeps_id_and_label_together_in_either_order),
        cmocka_unit_test(counts_what_does_not_fit),
        cmocka_unit_test(joins_blocks_cut_at_every_place),
        cmocka_unit_test(ends_where_the_card_ends),
        cmocka_unit_test(begins_the_list_again_after_administration),
        cmocka_unit_test(reads_one_object_in_every_wrapping),
        cmocka_unit_test(reads_application_information_of_every_applet),
        cmocka_unit_test(takes_short_and_strange_application_information),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
