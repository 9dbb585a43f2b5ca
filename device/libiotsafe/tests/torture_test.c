/* Memory: with every allocation failing in turn, and none at all once a client is open. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iotsafe/at.h"
#include "iotsafe/slots.h"
#include "script.h"

static long countdown = -1; /* allocations until one fails; -1: none does */
static unsigned allocations;

void *__real_calloc(size_t n, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool fails(void) {
    allocations++;
    return countdown >= 0 && countdown-- == 0;
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size) {
    return fails() ? NULL : __real_realloc(p, size);
}

/* An applet that says yes to everything with what each command expects. */
static int yes_card(void *user, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    static const char *const answers[] = {
        [0x70] = "01",         [0x84] = "0102030405060708", [0x2B] = "3340",  [0x46] = "secret",
        [0xB0] = "3003020105", [0xCB] = "C107840101600102", [0xCD] = "point", [0xB9] = "point"};
    const char *hex =
        cmd[1] < sizeof answers / sizeof *answers && answers[cmd[1]] ? answers[cmd[1]] : "";
    size_t len = 0;

    (void)user;
    (void)n;
    (void)cap;
    if (strcmp(hex, "point") == 0) {
        memcpy(rsp, "\x34\x45\x49\x43\x86\x41\x04", 7);
        memset(rsp + 7, 1, 64);
        len = 71;
    } else if (strcmp(hex, "secret") == 0) {
        memset(rsp, 2, 32);
        len = 32;
    } else {
        len = unhex(hex, rsp, cap);
        if (strcmp(hex, "3340") == 0) {
            memset(rsp + 2, 3, 64);
            len = 66;
        }
    }
    rsp[len] = 0x90;
    rsp[len + 1] = 0x00;
    return (int)len + 2;
}

static int use(struct iotsafe *c) {
    struct iotsafe_ref id = iotsafe_id1(1);
    struct iotsafe_object objects[4], object;
    uint8_t buf[300], digest[32] = {0}, point[65] = {4};
    struct iotsafe_slots slots;
    size_t n;
    int r = iotsafe_select(c);

    if (r == 0)
        r = iotsafe_list(c, objects, 4, &n);
    if (r == 0)
        r = iotsafe_get_object(c, IOTSAFE_PRIVATE_KEY, &id, &object);
    if (r == 0)
        r = iotsafe_read_file(c, &id, buf, sizeof buf, &n);
    if (r == 0)
        r = iotsafe_read_public_key(c, &id, buf, sizeof buf, &n);
    if (r == 0)
        r = iotsafe_generate(c, &id, buf, NULL, NULL);
    if (r == 0)
        r = iotsafe_put_public_key(c, &id, buf, 65);
    if (r == 0)
        r = iotsafe_sign(c, &id, 0, 0, digest, 32, buf, sizeof buf, &n);
    if (r == 0)
        r = iotsafe_verify(c, &id, 0, 0, digest, 32, buf, n);
    if (r == 0)
        r = iotsafe_ecdh(c, &id, &id, buf);
    if (r == 0)
        r = iotsafe_slots_discover(c, &slots);
    if (r == 0)
        r = iotsafe_agree(c, &id, &id, point, buf);
    if (r == 0)
        r = iotsafe_verify_by(c, &id, point, 0, 0, digest, 32, buf, 64);
    if (r == 0)
        r = iotsafe_random(c, buf, 8);
    if (r == 0)
        r = iotsafe_release(c);
    return r;
}

static int open_mem(struct iotsafe **ret) {
    struct iotsafe_transport *t;
    int r = iotsafe_transport_mem(yes_card, NULL, &t);

    if (r < 0)
        return r;
    r = iotsafe_open(t, NULL, ret);
    if (r < 0)
        iotsafe_transport_close(t);
    return r;
}

static void operations_allocate_nothing(void **state) {
    struct iotsafe *c = NULL;

    (void)state;
    assert_int_equal(open_mem(&c), 0);
    allocations = 0;
    assert_int_equal(use(c), 0);
    assert_int_equal(allocations, 0);
    iotsafe_close(c);
    assert_int_equal(allocations, 0);
}

static void opening_survives_each_failure(void **state) {
    long k;
    int r = IOTSAFE_E_NO_MEMORY;

    (void)state;
    for (k = 0; r != 0; k++) {
        struct iotsafe *c = NULL;

        countdown = k;
        r = open_mem(&c);
        countdown = -1;
        if (r == 0) {
            assert_int_equal(use(c), 0);
            iotsafe_close(c);
        } else {
            assert_int_equal(r, IOTSAFE_E_NO_MEMORY);
            assert_null(c);
        }
    }
    assert_true(k > 2);
}

static void transports_survive_each_failure(void **state) {
    static const char *const specs[] = {"at:/nowhere", "cgla:unix:/nowhere", "vpcd:unix:/nowhere",
                                        "vpcd-listen:127.0.0.1:0"};
    static const struct iotsafe_io io = {0};
    struct iotsafe_transport *t;
    char err[200];

    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        for (long k = 0; k < 2; k++) {
            int r;

            t = NULL;
            countdown = k;
            r = iotsafe_transport_open(specs[i], &t, err, sizeof err);
            countdown = -1;
            if (k == 0)
                assert_int_equal(r, IOTSAFE_E_NO_MEMORY);
            assert_true(r == 0 || err[0]);
            iotsafe_transport_close(t);
        }
    }
    countdown = 0;
    assert_int_equal(iotsafe_transport_at(IOTSAFE_AT_CSIM, &io, NULL, 0, &t), IOTSAFE_E_NO_MEMORY);
    countdown = -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_allocate_nothing),
        cmocka_unit_test(opening_survives_each_failure),
        cmocka_unit_test(transports_survive_each_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
