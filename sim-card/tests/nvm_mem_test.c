#include <stdio.h>
#include <stdlib.h>

#include "simcard/nvm.h"
#include "store/store.h"
#include "tb/test.h"

#define KEY(c) tb_span_str(c)

struct dump {
    char text[256];
    size_t n;
};

static int dump_entry(struct tb_span key, struct tb_span value, void *user) {
    struct dump *d = user;

    d->n += (size_t)snprintf(d->text + d->n, sizeof d->text - d->n, "%.*s=%.*s ", (int)key.n,
                             (const char *)key.p, (int)value.n, (const char *)value.p);
    return 0;
}

static const char *contents(struct card_nvm *nvm) {
    static struct dump d;

    d = (struct dump){0};
    assert_int_equal(nvm->ops->each(nvm, dump_entry, &d), 0);
    return d.text;
}

static void put(struct card_nvm *nvm, const char *key, const char *value) {
    assert_int_equal(nvm->ops->put(nvm, KEY(key), KEY(value)), 0);
}

static struct card_nvm *filled(size_t limit) {
    struct card_nvm *nvm = card_nvm_mem_new(limit);

    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "b", "2");
    put(nvm, "a", "1");
    put(nvm, "c", "3");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    return nvm;
}

static void entries_come_in_the_order_of_keys(void **state) {
    struct card_nvm *nvm = filled(0);

    (void)state;
    assert_string_equal(contents(nvm), "a=1 b=2 c=3 ");
    card_nvm_free(nvm);
}

static void a_transaction_shows_when_it_is_committed(void **state) {
    struct card_nvm *nvm = filled(0);

    (void)state;
    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "b", "two");
    put(nvm, "b", "zwei"); /* the last one counts */
    put(nvm, "aa", "x");
    assert_int_equal(nvm->ops->del(nvm, KEY("a")), 0);
    assert_int_equal(nvm->ops->del(nvm, KEY("absent")), 0);
    assert_string_equal(contents(nvm), "a=1 b=2 c=3 ");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_string_equal(contents(nvm), "aa=x b=zwei c=3 ");
    card_nvm_free(nvm);
}

static void rollback_leaves_everything_as_it_was(void **state) {
    struct card_nvm *nvm = filled(0);

    (void)state;
    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "b", "two");
    assert_int_equal(nvm->ops->del(nvm, KEY("c")), 0);
    nvm->ops->rollback(nvm);
    assert_string_equal(contents(nvm), "a=1 b=2 c=3 ");
    nvm->ops->rollback(nvm); /* nothing open: nothing happens */
    card_nvm_free(nvm);
}

static void writes_outside_a_transaction_are_refused(void **state) {
    struct card_nvm *nvm = filled(0);

    (void)state;
    assert_int_equal(nvm->ops->put(nvm, KEY("d"), KEY("4")), TB_ESTATE);
    assert_int_equal(nvm->ops->del(nvm, KEY("a")), TB_ESTATE);
    assert_int_equal(nvm->ops->commit(nvm), TB_ESTATE);
    assert_int_equal(nvm->ops->begin(nvm), 0);
    assert_int_equal(nvm->ops->begin(nvm), TB_ESTATE);
    card_nvm_free(nvm); /* with a transaction open */
}

static void the_limit_counts_keys_and_values_and_what_is_replaced(void **state) {
    struct card_nvm *nvm = filled(8); /* 6 are used */

    (void)state;
    assert_int_equal(nvm->ops->begin(nvm), 0);
    assert_int_equal(nvm->ops->put(nvm, KEY("d"), KEY("44")), TB_ESPACE);
    assert_int_equal(nvm->ops->put(nvm, KEY("a"), KEY("123")), 0);
    assert_int_equal(nvm->ops->put(nvm, KEY("b"), KEY("22")), TB_ESPACE);
    assert_int_equal(nvm->ops->del(nvm, KEY("c")), 0);
    assert_int_equal(nvm->ops->put(nvm, KEY("b"), KEY("22")), 0);
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_string_equal(contents(nvm), "a=123 b=22 ");
    assert_int_equal(nvm->ops->begin(nvm), 0);
    assert_int_equal(nvm->ops->put(nvm, KEY("d"), KEY("44")), TB_ESPACE);
    nvm->ops->rollback(nvm);
    card_nvm_free(nvm);
}

static int stop_at_b(struct tb_span key, struct tb_span value, void *user) {
    (void)value;
    (*(int *)user)++;
    return key.p[0] == 'b' ? 42 : 0;
}

static void each_stops_where_it_is_told(void **state) {
    struct card_nvm *nvm = filled(0);
    int calls = 0;

    (void)state;
    assert_int_equal(nvm->ops->each(nvm, stop_at_b, &calls), 42);
    assert_int_equal(calls, 2);
    card_nvm_free(nvm);
}

static const struct card_write two_writes[] = {
    {{(const uint8_t *)"a", 1}, {(const uint8_t *)"9", 1}}, {{(const uint8_t *)"c", 1}, {NULL, 0}}};

static void a_cut_anywhere_before_the_end_leaves_the_old_state(void **state) {
    (void)state;
    /* begin, put, del, commit */
    for (unsigned cut = 0; cut <= 4; cut++) {
        struct card_nvm *nvm = card_nvm_tear_new(filled(0), cut);

        assert_int_equal(card_nvm_write(nvm, two_writes, 2, false), TB_ESTORE);
        assert_string_equal(contents(nvm), "a=1 b=2 c=3 ");
        assert_int_equal(card_nvm_write(nvm, two_writes, 2, false), TB_ESTORE); /* it stays dead */
        card_nvm_free(nvm);
    }
    {
        struct card_nvm *nvm = card_nvm_tear_new(filled(0), 5);

        assert_int_equal(card_nvm_write(nvm, two_writes, 2, false), 0);
        assert_string_equal(contents(nvm), "a=9 b=2 ");
        card_nvm_free(nvm);
    }
}

static void a_failing_write_rolls_back(void **state) {
    struct card_nvm *nvm = filled(6);
    const struct card_write w[] = {{KEY("a"), KEY("2")}, {KEY("b"), KEY("long")}};

    (void)state;
    assert_int_equal(card_nvm_write(nvm, w, 2, false), TB_ESPACE);
    assert_string_equal(contents(nvm), "a=1 b=2 c=3 ");
    assert_int_equal(card_nvm_write(nvm, w, 1, false), 0);
    assert_string_equal(contents(nvm), "a=2 b=2 c=3 ");
    card_nvm_free(nvm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_in_the_order_of_keys),
        cmocka_unit_test(a_transaction_shows_when_it_is_committed),
        cmocka_unit_test(rollback_leaves_everything_as_it_was),
        cmocka_unit_test(writes_outside_a_transaction_are_refused),
        cmocka_unit_test(the_limit_counts_keys_and_values_and_what_is_replaced),
        cmocka_unit_test(each_stops_where_it_is_told),
        cmocka_unit_test(a_cut_anywhere_before_the_end_leaves_the_old_state),
        cmocka_unit_test(a_failing_write_rolls_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
