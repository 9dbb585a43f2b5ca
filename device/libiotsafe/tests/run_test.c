/* The blocking functions over a transport of the caller's: locks, resets, the end. */
#include <string.h>

#include "script.h"

struct mine {
    struct iotsafe_transport base;
    int lock_says;
    unsigned commands, locks, unlocks, closed, abandoned;
    int locked;
};

static int transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t n, uint8_t *rsp,
                    size_t cap) {
    struct mine *m = (struct mine *)(void *)t;
    size_t len = 0;

    assert_true(n >= 4 && cap >= 258);
    m->commands++;
    if (cmd[1] == 0x70 && cmd[2] == 0)
        rsp[len++] = 2;
    if (cmd[1] == 0x84) {
        memset(rsp, 7, cmd[4]);
        len = cmd[4];
    }
    rsp[len] = 0x90;
    rsp[len + 1] = 0;
    return (int)len + 2;
}

static int lock(struct iotsafe_transport *t) {
    struct mine *m = (struct mine *)(void *)t;
    int r = m->lock_says;

    assert_false(m->locked);
    m->lock_says = 0;
    m->locks++;
    m->locked = r >= 0;
    return r;
}

static void unlock(struct iotsafe_transport *t) {
    struct mine *m = (struct mine *)(void *)t;

    assert_true(m->locked);
    m->locked = 0;
    m->unlocks++;
}

static void end(struct iotsafe_transport *t) {
    ((struct mine *)(void *)t)->closed++;
}

static void leave(struct iotsafe_transport *t) {
    ((struct mine *)(void *)t)->abandoned++;
}

static const struct iotsafe_transport_ops ops = {
    .transmit = transmit, .lock = lock, .unlock = unlock, .close = end, .abandon = leave};
static const struct iotsafe_transport_ops without_abandon = {.transmit = transmit, .close = end};

static struct iotsafe *open_mine(struct mine *m, unsigned flags) {
    struct iotsafe *c;

    *m = (struct mine){.base = {.ops = &ops, .flags = flags}};
    assert_int_equal(iotsafe_open(&m->base, NULL, &c), 0);
    return c;
}

static void locks_what_takes_several_commands(void **state) {
    struct iotsafe_ref key = iotsafe_id1(5);
    uint8_t point[65] = {4}, buf[8];
    struct iotsafe_info info;
    struct mine m;
    struct iotsafe *c = open_mine(&m, 0);

    (void)state;
    assert_int_equal(iotsafe_select(c), 0); /* two commands */
    assert_int_equal(m.locks, 1);
    assert_int_equal(iotsafe_put_public_key(c, &key, point, sizeof point), 0);
    assert_int_equal(m.locks, 2);
    assert_int_equal(iotsafe_get_info(c, &info), IOTSAFE_E_FORMAT); /* one command */
    assert_int_equal(m.locks, 2);
    assert_int_equal(iotsafe_random(c, buf, 0), 0); /* none */
    assert_int_equal(m.locks, 2);
    assert_int_equal(m.unlocks, 2);
    iotsafe_close(c);
    assert_int_equal(m.closed, 1);
}

static void locks_everything_on_a_shared_link(void **state) {
    struct iotsafe_info info;
    struct mine m;
    struct iotsafe *c = open_mine(&m, IOTSAFE_TRANSPORT_SHARED);

    (void)state;
    assert_int_equal(iotsafe_select(c), 0);
    assert_int_equal(iotsafe_get_info(c, &info), IOTSAFE_E_FORMAT);
    assert_int_equal(m.locks, 2);
    iotsafe_close(c);
    assert_int_equal(m.locks, 3); /* the farewell */
    assert_int_equal(m.unlocks, 3);
}

static void tells_when_it_cannot_lock(void **state) {
    uint8_t buf[8];
    struct mine m;
    struct iotsafe *c = open_mine(&m, 0);

    (void)state;
    m.lock_says = IOTSAFE_E_ABSENT;
    assert_int_equal(iotsafe_random(c, buf, 8), IOTSAFE_E_ABSENT);
    assert_int_equal(m.commands, 0);
    assert_int_equal(m.unlocks, 0);
    assert_int_equal(iotsafe_random(c, buf, 8), 0); /* and is not stuck */
    iotsafe_close(c);
}

static void opens_again_when_the_lock_tells_of_a_reset(void **state) {
    struct iotsafe_stats stats;
    uint8_t buf[8];
    struct mine m;
    struct iotsafe *c = open_mine(&m, 0);

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 8), 0);
    assert_int_equal(m.commands, 3);
    m.lock_says = 1;
    assert_int_equal(iotsafe_random(c, buf, 8), 0);
    assert_int_equal(m.commands, 6);
    iotsafe_stats(c, &stats);
    assert_int_equal(stats.opens, 2);
    m.base.flags = IOTSAFE_TRANSPORT_SHARED;
    m.lock_says = 1;
    assert_int_equal(iotsafe_release(c), 0); /* the channel went with the reset */
    assert_int_equal(m.commands, 6);
    m.lock_says = 1; /* nothing was open anyway */
    assert_int_equal(iotsafe_select(c), 0);
    assert_int_equal(m.commands, 8);
    iotsafe_close(c);
}

static void abandons_without_a_word(void **state) {
    uint8_t buf[8];
    struct mine m;
    struct iotsafe *c = open_mine(&m, 0);

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 8), 0);
    assert_ptr_equal(iotsafe_transport_of(c), &m.base);
    iotsafe_abandon(c);
    assert_int_equal(m.commands, 3);
    assert_int_equal(m.abandoned, 1);
    assert_int_equal(m.closed, 0);
    c = open_mine(&m, 0);
    m.base.ops = &without_abandon;
    iotsafe_abandon(c);
    assert_int_equal(m.closed, 1);
    assert_int_equal(iotsafe_transport_describe(&m.base, NULL, 0), IOTSAFE_E_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_what_takes_several_commands),
        cmocka_unit_test(locks_everything_on_a_shared_link),
        cmocka_unit_test(tells_when_it_cannot_lock),
        cmocka_unit_test(opens_again_when_the_lock_tells_of_a_reset),
        cmocka_unit_test(abandons_without_a_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
