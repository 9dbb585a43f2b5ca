/* Which containers are for the keys of a handshake, and giving them out. */
#include "iotsafe/slots.h"

#include <stdio.h>
#include <string.h>

#include "script.h"

#define LIST          "81 CB 01 00 00"
#define CLIENT        "840101 600102 4A0101 4B0113 4E0101 610101 920104 91020001"
#define CLIENT_PUBLIC "850101 600103 4A0101 4B0113 4E0101 610101 920104 91020001"
#define ECDHE         "7405656364686A 840104 600102 4A0100 4B0114 4E0101 610106 6F0101"
#define ECDHE_PUBLIC  "850104 600103 4A0100 4B0114 4E0101 610104 6F0101"
#define PEER          "850105 600103 4A0100 4B0114 4E0101 610105 920104 91020001 6F0101"

static int discover(const char *answer, struct iotsafe_slots *s) {
    const struct exchange x[] = {OPENING, {LIST, answer}, {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    int r;

    memset(s, 0xEE, sizeof *s);
    r = iotsafe_slots_discover(c, s);
    script_close(c, &script);
    return r;
}

static void finds_own_and_peer_containers(void **state) {
    struct iotsafe_slots s;
    struct iotsafe_ref own;

    (void)state;
    assert_int_equal(discover(CLIENT ECDHE CLIENT_PUBLIC ECDHE_PUBLIC PEER "9000", &s), 0);
    assert_int_equal(s.n_own, 1);
    assert_int_equal(iotsafe_slots_take(&s, &own), 0);
    assert_hex(own.id, own.id_len, "04");
    assert_hex(iotsafe_slots_peer(&s)->id, 1, "05");
    assert_hex(iotsafe_slots_verifier(&s)->id, 1, "05");
}

static void the_order_of_the_list_does_not_matter(void **state) {
    struct iotsafe_slots s;

    (void)state;
    assert_int_equal(discover(ECDHE_PUBLIC CLIENT_PUBLIC PEER ECDHE CLIENT "9000", &s), 0);
    assert_int_equal(s.n_own, 1);
    assert_int_equal(s.n_peers, 1);
    assert_hex(iotsafe_slots_peer(&s)->id, 1, "05");
}

static void one_agrees_and_another_verifies(void **state) {
    struct iotsafe_slots s;

    (void)state;
    assert_int_equal(discover("840103 600102 4A0100 4B0114 610106 6F0101"
                              "850104 600103 4A0100 4B0114 610104 6F0101"
                              "850105 600103 4A0100 4B0114 610101 920104 9000",
                              &s),
                     0);
    assert_hex(iotsafe_slots_peer(&s)->id, 1, "04");
    assert_hex(iotsafe_slots_verifier(&s)->id, 1, "05");
}

static void leaves_alone_what_is_for_something_else(void **state) {
    static const char *const lists[] = {
        "9000",
        (CLIENT CLIENT_PUBLIC "9000"),
        /* no update access; brainpool; RSA; signs as well; cannot be generated */
        "840104 600101 4A0100 4B0114 610106 6F0101 9000",
        "840104 600102 4A0100 4B0124 610106 6F0101 9000",
        "840104 600102 4A0100 4B0103 610106 6F0101 9000",
        "840104 600102 4A0101 4B0113 610107 920104 6F0101 9000",
        "840104 600102 4A0101 4B0113 610104 6F0101 9000",
        "850105 600101 4A0100 4B0114 610105 920104 6F0101 9000",
        "850105 600102 4A0100 4B0124 610105 920104 6F0101 9000",
        "830105 600103 4A0101 210102 20020100 860106 600103 4B01A0 61010C 940103 9000",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct iotsafe_slots s;
        struct iotsafe_ref own;

        assert_int_equal(discover(lists[i], &s), 0);
        assert_int_equal(s.n_own, 0);
        assert_int_equal(iotsafe_slots_take(&s, &own), IOTSAFE_E_UNSUPPORTED);
        assert_null(iotsafe_slots_peer(&s));
        assert_null(iotsafe_slots_verifier(&s));
    }
}

static void persistent_containers_made_for_agreement_will_do(void **state) {
    struct iotsafe_slots s;

    (void)state;
    assert_int_equal(discover("840104 600102 4A0100 4B0113 610106 6F0101"
                              "850107 600102 4A0100 4B0113 610101 920104 9000",
                              &s),
                     0);
    assert_int_equal(s.n_own, 1);
    assert_null(iotsafe_slots_peer(&s));
    assert_hex(iotsafe_slots_verifier(&s)->id, 1, "07");
}

/* With more private keys than are kept none of the public ones is known to stand alone. */
static void of_too_many_keys_none_is_written_to(void **state) {
    char list[4000] = "";
    struct iotsafe_slots s;

    (void)state;
    for (int i = 0; i < IOTSAFE_SLOTS_MAX; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list),
                 "8401%02X 600102 4A0101 4B0113 610101 920104", 0x10 + i);
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s", ECDHE PEER "9000");
    assert_int_equal(discover(list, &s), 0);
    assert_null(iotsafe_slots_peer(&s));
}

static void a_list_that_broke_off_is_no_list(void **state) {
    const struct exchange x[] = {
        OPENING, {LIST, ECDHE PEER "6300"}, {"81 CB 01 01 00", "TIMEOUT"}, {0}};
    struct iotsafe_slots s;
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);

    (void)state;
    assert_int_equal(iotsafe_slots_discover(c, &s), IOTSAFE_E_TIMEOUT);
    assert_int_equal(s.n_own, 0);
    assert_null(iotsafe_slots_peer(&s));
    assert_int_equal(iotsafe_slots_discover(c, NULL), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void gives_each_out_once(void **state) {
    struct iotsafe_ref a = iotsafe_id1(4), b = iotsafe_label("second"), one, two, three;
    struct iotsafe_slots s;

    (void)state;
    iotsafe_slots_init(&s);
    assert_int_equal(iotsafe_slots_add(&s, &a), 0);
    assert_int_equal(iotsafe_slots_add(&s, &b), 0);
    assert_int_equal(iotsafe_slots_take(&s, &one), 0);
    assert_int_equal(iotsafe_slots_take(&s, &two), 0);
    assert_memory_equal(&one, &a, sizeof a);
    assert_memory_equal(&two, &b, sizeof b);
    assert_int_equal(iotsafe_slots_take(&s, &three), IOTSAFE_E_BUSY);
    iotsafe_slots_put(&s, &two);
    iotsafe_slots_put(&s, &two);
    assert_int_equal(iotsafe_slots_take(&s, &three), 0);
    assert_memory_equal(&three, &b, sizeof b);
    assert_int_equal(iotsafe_slots_take(&s, &three), IOTSAFE_E_BUSY);
}

static void is_bounded(void **state) {
    struct iotsafe_ref ref = iotsafe_id1(4), none = {0};
    struct iotsafe_slots s;

    (void)state;
    iotsafe_slots_init(&s);
    assert_int_equal(iotsafe_slots_add(&s, &none), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_slots_add_peer(&s, &none, 1, 1), IOTSAFE_E_ARGUMENT);
    for (int i = 0; i < IOTSAFE_SLOTS_MAX; i++) {
        ref = iotsafe_id1((uint8_t)i);
        assert_int_equal(iotsafe_slots_add(&s, &ref), 0);
        assert_int_equal(iotsafe_slots_add_peer(&s, &ref, 0, i == 9), 0);
    }
    assert_int_equal(iotsafe_slots_add(&s, &ref), IOTSAFE_E_TOO_SMALL);
    assert_int_equal(iotsafe_slots_add_peer(&s, &ref, 1, 1), IOTSAFE_E_TOO_SMALL);
    assert_null(iotsafe_slots_peer(&s));
    assert_hex(iotsafe_slots_verifier(&s)->id, 1, "09");
    for (int i = 0; i < IOTSAFE_SLOTS_MAX; i++)
        assert_int_equal(iotsafe_slots_take(&s, &ref), 0);
    assert_int_equal(iotsafe_slots_take(&s, &ref), IOTSAFE_E_BUSY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_own_and_peer_containers),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(one_agrees_and_another_verifies),
        cmocka_unit_test(leaves_alone_what_is_for_something_else),
        cmocka_unit_test(persistent_containers_made_for_agreement_will_do),
        cmocka_unit_test(of_too_many_keys_none_is_written_to),
        cmocka_unit_test(a_list_that_broke_off_is_no_list),
        cmocka_unit_test(gives_each_out_once),
        cmocka_unit_test(is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
