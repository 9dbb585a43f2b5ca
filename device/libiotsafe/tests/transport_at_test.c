/* AT+CSIM and AT+CGLA on real sockets and terminals, and the texts that name transports. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "peer.h"

/* ---- modem ---- */

static void at_on_every_kind_of_line_in_pieces_of_any_size(void **state) {
    static const char *const schemes[] = {"at", "cgla"};

    (void)state;
    for (int where = PTY; where <= TCP; where++) {
        for (size_t piece = 0; piece < 4; piece++) {
            struct peer p = {.where = (enum where)where, .piece = piece, .echo = piece % 2 != 0};
            struct iotsafe *c;

            peer_start(&p, schemes[piece / 2]);
            c = peer_open(p.spec);
            peer_expect_random(c, 100);
            peer_expect_random(c, 255);
            iotsafe_close(c);
            peer_stop(&p);
            assert_int_equal(p.apdus, piece / 2 ? 2 : 5);
            if (where == PTY)
                assert_int_equal(p.locks_refused, p.apdus);
        }
    }
}

/* A port that another program keeps is told as that, in time, both when it is opened and later; and
 * what the other program waits for is not thrown away by opening. */
static void a_port_that_another_keeps_is_busy(void **state) {
    struct peer p = {.where = PTY};
    struct iotsafe_transport *t;
    char err[200] = "";
    struct iotsafe *c;
    uint8_t buf[4];
    int other;

    (void)state;
    peer_start(&p, "at");
    peer_with_timeout(&p);
    c = peer_open(p.spec);
    peer_expect_random(c, 100);
    other = open(p.path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(other >= 0);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(iotsafe_random(c, buf, sizeof buf), IOTSAFE_E_BUSY);
    assert_int_equal(write(other, "AT\r", 3), 3);
    assert_int_equal(iotsafe_transport_open(p.spec, &t, err, sizeof err), IOTSAFE_E_BUSY);
    assert_non_null(strstr(err, "another program has it"));
    assert_int_equal(read(other, buf, sizeof buf), sizeof buf); /* of CR LF OK CR LF */
    assert_memory_equal(buf, "\r\nOK", 4);
    close(other);
    peer_expect_random(c, 100);
    iotsafe_close(c);
    peer_stop(&p);
}

static void a_late_answer_is_not_the_next_commands(void **state) {
    struct peer p = {.where = UNIX, .mute_at = 4};
    struct iotsafe *c;
    uint8_t buf[8];

    (void)state;
    peer_start(&p, "at");
    peer_with_timeout(&p);
    c = peer_open(p.spec);
    peer_expect_random(c, 5);
    assert_int_equal(iotsafe_random(c, buf, 8), IOTSAFE_E_TIMEOUT);
    assert_int_equal(write(p.go[1], "", 1), 1);
    peer_expect_random(c, 3);
    iotsafe_close(c);
    peer_stop(&p);
}

static void a_broken_line_is_dialled_again(void **state) {
    static const char *const schemes[] = {"at", "cgla"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct peer p = {.where = i < 2 ? UNIX : TCP, .drop_at = i % 2 ? 2 : 4};
        struct iotsafe *c;

        peer_start(&p, schemes[i % 2]);
        c = peer_open(p.spec);
        peer_expect_random(c, 10);
        peer_expect_random(c, 20);
        assert_int_equal(peer_opens(c), 2);
        iotsafe_close(c);
        peer_stop(&p);
        assert_int_equal(p.calls, 2);
    }
}

static void a_line_that_stays_away_is_told(void **state) {
    struct peer p = {.where = UNIX, .drop_at = 4};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    peer_start(&p, "at");
    c = peer_open(p.spec);
    peer_expect_random(c, 10);
    unlink(p.path);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK);
    iotsafe_close(c);
    peer_stop(&p);
}

/* ---- bytes of the caller ---- */

struct io {
    int fd;
    unsigned closed, abandoned;
};

static int io_write(void *user, const void *bytes, size_t n) {
    return write(((struct io *)user)->fd, bytes, n) == (ssize_t)n ? 0 : IOTSAFE_E_LINK;
}

static int io_read(void *user, void *buf, size_t cap, int timeout_ms) {
    ssize_t n;

    assert_true(timeout_ms > 0);
    n = read(((struct io *)user)->fd, buf, cap);
    return n > 0 ? (int)n : IOTSAFE_E_LINK;
}

static void io_close(void *user) {
    ((struct io *)user)->closed++;
}

static void io_abandon(void *user) {
    ((struct io *)user)->abandoned++;
}

static void at_over_the_callers_bytes(void **state) {
    static const struct iotsafe_io io = {
        .write = io_write, .read = io_read, .abandon = io_abandon, .close = io_close};
    struct peer p = {.where = UNIX, .piece = 3, .drop_at = 5};
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    struct iotsafe_transport *t;
    struct io mine = {0};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    peer_start(&p, "at");
    mine.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(u.sun_path, sizeof u.sun_path, "%.100s", p.path);
    assert_int_equal(connect(mine.fd, (struct sockaddr *)&u, sizeof u), 0);
    assert_int_equal(iotsafe_transport_at(IOTSAFE_AT_CSIM, &io, &mine, 0, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    peer_expect_random(c, 30);
    peer_expect_random(c, 200);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK); /* and cannot come back */
    iotsafe_close(c);
    assert_int_equal(mine.closed, 1);
    assert_int_equal(iotsafe_transport_at(IOTSAFE_AT_CGLA, &io, &mine, 0, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    iotsafe_abandon(c);
    assert_int_equal(mine.abandoned, 1);
    close(mine.fd);
    peer_stop(&p);
}

/* ---- texts ---- */

static void tells_what_is_wrong_with_a_text(void **state) {
    static const struct {
        const char *spec;
        int err;
        const char *says;
    } table[] = {
        {"", IOTSAFE_E_ARGUMENT, "begins with"},
        {"serial:/dev/ttyS0", IOTSAFE_E_ARGUMENT, "begins with"},
        {"at:", IOTSAFE_E_ARGUMENT, "no address"},
        {"at:,timeout=1", IOTSAFE_E_ARGUMENT, "no address"},
        {"at:/dev/null,baud=9600", IOTSAFE_E_ARGUMENT, "baud=9600"},
        {"at:/dev/null,speed", IOTSAFE_E_ARGUMENT, "speed"},
        {"at:/dev/null,speed=fast", IOTSAFE_E_ARGUMENT, "speed"},
        {"at:/dev/null,timeout=0", IOTSAFE_E_ARGUMENT, "timeout"},
        {"at:/dev/null,flow=soft", IOTSAFE_E_ARGUMENT, "flow"},
        {"at:/dev/null", IOTSAFE_E_LINK, "/dev/null"},
        {"at:/nowhere/ttyUSB0", IOTSAFE_E_LINK, "/nowhere/ttyUSB0"},
        {"at:unix:/nowhere/modem", IOTSAFE_E_LINK, "/nowhere/modem"},
        {"at:tcp:localhost", IOTSAFE_E_LINK, "HOST:PORT"},
        {"at:tcp:127.0.0.1:notaport", IOTSAFE_E_LINK, "127.0.0.1:notaport"},
        {"vpcd:", IOTSAFE_E_ARGUMENT, "no address"},
        {"vpcd:unix:/nowhere/card", IOTSAFE_E_LINK, "/nowhere/card"},
        {"vpcd-listen:unix:/nowhere/card", IOTSAFE_E_LINK, "/nowhere/card"},
    };
    struct iotsafe_transport *t = NULL;
    char err[200], big[400];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(iotsafe_transport_open(table[i].spec, &t, err, sizeof err), table[i].err);
        if (!strstr(err, table[i].says))
            fail_msg("'%s' says '%s'", table[i].spec, err);
        assert_int_equal(iotsafe_transport_open(table[i].spec, &t, NULL, 0), table[i].err);
        assert_null(t);
    }
    snprintf(big, sizeof big, "at:unix:/%0200d", 0);
    assert_int_equal(iotsafe_transport_open(big, &t, err, sizeof err), IOTSAFE_E_LINK);
    snprintf(big, sizeof big, "at:unix:/%0300d", 0);
    assert_int_equal(iotsafe_transport_open(big, &t, err, 10), IOTSAFE_E_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_on_every_kind_of_line_in_pieces_of_any_size),
        cmocka_unit_test(a_port_that_another_keeps_is_busy),
        cmocka_unit_test(a_late_answer_is_not_the_next_commands),
        cmocka_unit_test(a_broken_line_is_dialled_again),
        cmocka_unit_test(a_line_that_stays_away_is_told),
        cmocka_unit_test(at_over_the_callers_bytes),
        cmocka_unit_test(tells_what_is_wrong_with_a_text),
    };

    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}
