/* Virtual cards on real sockets: those that listen and those that dial in. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

/* ---- vpcd ---- */

static void dials_a_card(void **state) {
    (void)state;
    for (size_t piece = 0; piece < 4; piece++) {
        struct peer p = {.where = piece % 2 ? UNIX : TCP, .vpcd = true, .piece = piece};
        struct iotsafe *c;

        peer_start(&p, "vpcd");
        c = peer_open(p.spec);
        peer_expect_random(c, 100);
        peer_expect_random(c, 255);
        iotsafe_close(c);
        peer_stop(&p);
        assert_int_equal(p.apdus, 5);
        assert_int_equal(p.power_n, 3);
        assert_memory_equal(p.power, "\x01\x04\x00", 3);
    }
}

/* Header and body in two writes, without TCP_NODELAY: each answer would wait 40 ms for our
 * acknowledgement. */
static void a_card_that_writes_in_pieces_is_not_kept_waiting(void **state) {
    struct peer p = {.where = TCP, .vpcd = true, .piece = 2};
    struct timespec start_time, end_time;
    struct iotsafe *c;

    (void)state;
    peer_start(&p, "vpcd");
    c = peer_open(p.spec);
    clock_gettime(CLOCK_MONOTONIC, &start_time);
    for (int i = 0; i < 50; i++)
        peer_expect_random(c, 1);
    clock_gettime(CLOCK_MONOTONIC, &end_time);
    assert_true(end_time.tv_sec - start_time.tv_sec < 2);
    iotsafe_close(c);
    peer_stop(&p);
}

static void a_card_that_was_away_is_opened_again(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true, .drop_at = 4};
    struct iotsafe *c;

    (void)state;
    peer_start(&p, "vpcd");
    c = peer_open(p.spec);
    peer_expect_random(c, 100);
    peer_expect_random(c, 50);
    assert_int_equal(peer_opens(c), 2);
    iotsafe_close(c);
    peer_stop(&p);
    assert_int_equal(p.calls, 2);
}

static void an_ejected_card_is_absent_until_it_is_back(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true, .eject_at = 4};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    peer_start(&p, "vpcd");
    c = peer_open(p.spec);
    peer_expect_random(c, 100);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_ABSENT);
    peer_expect_random(c, 50);
    iotsafe_close(c);
    peer_stop(&p);
}

static void a_card_that_is_mute_times_out(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true, .mute_at = 4};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    peer_start(&p, "vpcd");
    peer_with_timeout(&p);
    c = peer_open(p.spec);
    peer_expect_random(c, 100);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_TIMEOUT);
    assert_int_equal(write(p.go[1], "", 1), 1);
    peer_expect_random(c, 50); /* on a new connection */
    iotsafe_close(c);
    peer_stop(&p);
    assert_int_equal(p.calls, 2);
}

static void can_reset_the_card(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true};
    struct iotsafe_transport *t;
    struct iotsafe *c;

    (void)state;
    peer_start(&p, "vpcd");
    c = peer_open(p.spec);
    t = iotsafe_transport_of(c);
    assert_int_equal(t->ops->reset(t), 0);
    iotsafe_close(c);
    peer_stop(&p);
    assert_memory_equal(p.power, "\x01\x04\x02\x04\x00", 5);
}

struct caller {
    pthread_t thread;
    struct peer peer;
    char address[100];
};

/* A card that dials in, answers one life long, and dials in again. */
static void *caller_main(void *user) {
    struct caller *c = user;
    struct sockaddr_in i = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    bool unix_socket = strncmp(c->address, "unix:", 5) == 0;

    snprintf(u.sun_path, sizeof u.sun_path, "%s", unix_socket ? c->address + 5 : "");
    if (!unix_socket)
        i.sin_port = htons((uint16_t)strtoul(strrchr(c->address, ':') + 1, NULL, 10));
    for (int life = 0; life < 2; life++) {
        c->peer.fd = socket(unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(c->peer.fd, unix_socket ? (struct sockaddr *)&u : (struct sockaddr *)&i,
                    unix_socket ? sizeof u : sizeof i) == 0)
            peer_serve_card(&c->peer);
        close(c->peer.fd);
    }
    return NULL;
}

static void waits_for_a_card_that_dials_in_and_for_the_next(void **state) {
    char unix_spec[300];
    const char *specs[] = {"vpcd-listen:127.0.0.1:0", unix_spec, "vpcd-listen:[::1]:0"};

    (void)state;
    snprintf(unix_spec, sizeof unix_spec, "vpcd-listen:unix:%s/reader", peer_dir);
    for (size_t i = 0; i < 2; i++) {
        struct caller caller = {.peer = {.where = UNIX, .vpcd = true, .drop_at = 4}};
        struct iotsafe *c = peer_open(specs[i]);

        assert_int_equal(iotsafe_transport_describe(iotsafe_transport_of(c), caller.address, 4),
                         IOTSAFE_E_TOO_SMALL);
        assert_int_equal(iotsafe_transport_describe(iotsafe_transport_of(c), caller.address,
                                                    sizeof caller.address),
                         0);
        assert_int_equal(pthread_create(&caller.thread, NULL, caller_main, &caller), 0);
        peer_expect_random(c, 10);
        peer_expect_random(c, 20);
        assert_int_equal(peer_opens(c), 2);
        iotsafe_close(c);
        pthread_join(caller.thread, NULL);
    }
    snprintf(unix_spec, sizeof unix_spec, "%s/reader", peer_dir);
    assert_int_equal(access(unix_spec, F_OK), -1); /* taken away again */
}

static void nobody_dials_in(void **state) {
    struct iotsafe *c = peer_open("vpcd-listen:127.0.0.1:0,timeout=20");
    uint8_t buf[4];

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_ABSENT);
    iotsafe_close(c);
}

/* ---- processes ---- */

static void a_child_forgets_the_link_and_the_parent_keeps_it(void **state) {
    static const char *const schemes[] = {"at", "cgla", "vpcd"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct peer p = {.where = UNIX, .vpcd = i == 2};
        struct iotsafe *c;
        pid_t child;
        int status;

        peer_start(&p, schemes[i]);
        c = peer_open(p.spec);
        peer_expect_random(c, 100);
        child = fork();
        if (child == 0) {
            iotsafe_abandon(c);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        peer_expect_random(c, 50);
        assert_int_equal(peer_opens(c), 1);
        iotsafe_close(c);
        peer_stop(&p);
        assert_int_equal(p.calls, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dials_a_card),
        cmocka_unit_test(a_card_that_writes_in_pieces_is_not_kept_waiting),
        cmocka_unit_test(a_card_that_was_away_is_opened_again),
        cmocka_unit_test(an_ejected_card_is_absent_until_it_is_back),
        cmocka_unit_test(a_card_that_is_mute_times_out),
        cmocka_unit_test(can_reset_the_card),
        cmocka_unit_test(waits_for_a_card_that_dials_in_and_for_the_next),
        cmocka_unit_test(nobody_dials_in),
        cmocka_unit_test(a_child_forgets_the_link_and_the_parent_keeps_it),
    };

    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}
