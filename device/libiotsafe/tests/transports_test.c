/* The transports on real sockets and terminals, against a modem and a card that run in a thread of
 * their own. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "iotsafe/at.h"
#include "script.h"
#include "tb/hex.h"

/* ---- the other side ---- */

enum where { PTY, UNIX, TCP };

struct peer {
    pthread_t thread;
    enum where where;
    bool vpcd, echo;
    int listen_fd, fd; /* pty: fd is the master from the beginning */
    char path[200], spec[300];
    size_t piece;      /* bytes of one write, 0: all */
    unsigned calls;    /* connections so far */
    unsigned drop_at;  /* close the connection instead of answering this APDU, counted from 1 */
    unsigned mute_at;  /* keep the answer to this APDU back until go is readable */
    unsigned eject_at; /* vpcd: answer with an empty frame */
    int go[2];
    unsigned apdus, locks_refused;
    unsigned char power[16]; /* vpcd: control bytes as they came */
    size_t power_n;
};

static char dir[] = "/tmp/iotsafe-transports-XXXXXX";

/* A card with the applet on any channel. */
static size_t card(const uint8_t *cmd, size_t n, uint8_t *rsp) {
    size_t len = 0;

    assert_true(n >= 4);
    switch (cmd[1]) {
    case 0x70:
        if (cmd[2] == 0)
            rsp[len++] = 1;
        break;
    case 0xA4:
        break;
    case 0x84:
        for (; len < cmd[4]; len++)
            rsp[len] = (uint8_t)len;
        break;
    default:
        rsp[0] = 0x6D;
        rsp[1] = 0x00;
        return 2;
    }
    rsp[len] = 0x90;
    rsp[len + 1] = 0x00;
    return len + 2;
}

static void say(struct peer *p, const void *bytes, size_t n) {
    const char *at = bytes;

    while (n > 0) {
        size_t piece = p->piece && p->piece < n ? p->piece : n;
        ssize_t w =
            p->where == PTY ? write(p->fd, at, piece) : send(p->fd, at, piece, MSG_NOSIGNAL);

        if (w <= 0)
            return;
        at += w;
        n -= (size_t)w;
    }
}

/* True when the connection is to be closed instead. */
static bool apdu_event(struct peer *p) {
    char c;

    p->apdus++;
    if (p->apdus == p->drop_at)
        return true;
    if (p->apdus == p->mute_at)
        assert_int_equal(read(p->go[0], &c, 1), 1);
    return false;
}

static bool modem_line(struct peer *p, const char *line) {
    uint8_t cmd[300], rsp[300];
    char answer[700];
    const char *hex = strchr(line, '"');
    struct tb_buf b = TB_BUF(cmd);
    int fd;

    if (p->echo) {
        say(p, line, strlen(line));
        say(p, "\r", 1);
    }
    if (strncmp(line, "AT+CMEE?", 8) == 0) {
        say(p, "\r\n+CMEE: 1\r\n\r\nOK\r\n", 19);
        return false;
    }
    if (strncmp(line, "AT+CCHO=", 8) == 0) {
        say(p, "\r\n+CCHO: 7\r\n\r\nOK\r\n", 19);
        return false;
    }
    if (!hex) {
        say(p, "\r\nOK\r\n", 6);
        return false;
    }
    assert_int_equal(tb_hex_decode(tb_span(hex + 1, strcspn(hex + 1, "\"")), &b), 0);
    if (apdu_event(p))
        return true;
    if (p->where == PTY) { /* whoever wants the port now has to wait */
        fd = open(p->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_true(fd >= 0);
        p->locks_refused += flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
        close(fd);
    }
    {
        size_t n = card(cmd, b.n, rsp);
        char text[600];

        snprintf(answer, sizeof answer, "\r\n+%.4s: %zu,\"%s\"\r\n\r\nOK\r\n", line + 3, 2 * n,
                 tb_hex_str(text, sizeof text, tb_span(rsp, n)));
    }
    say(p, answer, strlen(answer));
    return false;
}

static void serve_modem(struct peer *p) {
    char line[700], c;
    size_t n = 0;

    while (read(p->fd, &c, 1) == 1) {
        if (c != '\r') {
            assert_true(n < sizeof line - 1);
            line[n++] = c;
            continue;
        }
        line[n] = 0;
        n = 0;
        if (modem_line(p, line))
            return;
    }
}

static bool read_all(int fd, uint8_t *buf, size_t n) {
    while (n > 0) {
        ssize_t r = read(fd, buf, n);

        if (r <= 0)
            return false;
        buf += r;
        n -= (size_t)r;
    }
    return true;
}

static void serve_card(struct peer *p) {
    uint8_t head[2], body[300], answer[300];

    while (read_all(p->fd, head, 2) && read_all(p->fd, body, (size_t)(head[0] << 8 | head[1]))) {
        size_t n = (size_t)(head[0] << 8 | head[1]), len;

        if (n == 1) {
            if (p->power_n < sizeof p->power)
                p->power[p->power_n++] = body[0];
            if (body[0] == 4)
                say(p, "\x00\x04\x3B\x02\x01\x02", 6);
            continue;
        }
        if (apdu_event(p))
            return;
        len = p->apdus == p->eject_at ? 0 : card(body, n, answer + 2);
        answer[0] = (uint8_t)(len >> 8);
        answer[1] = (uint8_t)len;
        say(p, answer, len + 2);
    }
}

static void *peer_main(void *user) {
    struct peer *p = user;

    for (;;) {
        if (p->where != PTY) {
            p->fd = accept(p->listen_fd, NULL, NULL);
            if (p->fd < 0)
                return NULL;
        }
        p->calls++;
        if (p->vpcd)
            serve_card(p);
        else
            serve_modem(p);
        if (p->where == PTY)
            return NULL;
        close(p->fd);
        p->fd = -1;
    }
}

static void listen_on(struct peer *p, const char *scheme) {
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    struct sockaddr_in i = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof i;

    p->listen_fd = socket(p->where == UNIX ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->listen_fd >= 0);
    if (p->where == UNIX) {
        snprintf(p->path, sizeof p->path, "%s/peer", dir);
        unlink(p->path);
        snprintf(u.sun_path, sizeof u.sun_path, "%.100s", p->path);
        assert_int_equal(bind(p->listen_fd, (struct sockaddr *)&u, sizeof u), 0);
        snprintf(p->spec, sizeof p->spec, "%s:unix:%s", scheme, p->path);
    } else {
        assert_int_equal(bind(p->listen_fd, (struct sockaddr *)&i, sizeof i), 0);
        assert_int_equal(getsockname(p->listen_fd, (struct sockaddr *)&i, &n), 0);
        snprintf(p->spec, sizeof p->spec, "%s:tcp:127.0.0.1:%u", scheme, ntohs(i.sin_port));
    }
    assert_int_equal(listen(p->listen_fd, 4), 0);
}

static void start(struct peer *p, const char *scheme) {
    struct termios raw;
    int slave;

    p->fd = p->listen_fd = -1;
    assert_int_equal(pipe2(p->go, O_CLOEXEC), 0);
    if (p->where == PTY) {
        assert_int_equal(openpty(&p->fd, &slave, p->path, NULL, NULL), 0);
        assert_int_equal(tcgetattr(slave, &raw), 0);
        cfmakeraw(&raw);
        assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
        snprintf(p->spec, sizeof p->spec, "%s:%s,speed=115200,flow=none", scheme, p->path);
        p->listen_fd = slave; /* keeps the master readable until the test is over */
    } else {
        listen_on(p, scheme);
    }
    assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static void with_timeout(struct peer *p) {
    size_t n = strlen(p->spec);

    snprintf(p->spec + n, sizeof p->spec - n, ",timeout=500");
}

static void stop(struct peer *p) {
    if (p->where == PTY)
        close(p->listen_fd); /* the master reads EIO */
    else
        shutdown(p->listen_fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    if (p->where == PTY)
        close(p->fd);
    else
        close(p->listen_fd);
    close(p->go[0]);
    close(p->go[1]);
    if (p->where == UNIX)
        unlink(p->path);
}

static struct iotsafe *open_spec(const char *spec) {
    struct iotsafe_transport *t = NULL;
    struct iotsafe *c;
    char err[200];

    if (iotsafe_transport_open(spec, &t, err, sizeof err) < 0)
        fail_msg("%s: %s", spec, err);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    return c;
}

static void expect_random(struct iotsafe *c, size_t n) {
    uint8_t buf[255];

    memset(buf, 0xEE, sizeof buf);
    assert_int_equal(iotsafe_random(c, buf, n), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf[i], i);
}

static uint64_t opens(const struct iotsafe *c) {
    struct iotsafe_stats stats;

    iotsafe_stats(c, &stats);
    return stats.opens;
}

/* ---- modem ---- */

static void at_on_every_kind_of_line_in_pieces_of_any_size(void **state) {
    static const char *const schemes[] = {"at", "cgla"};

    (void)state;
    for (int where = PTY; where <= TCP; where++) {
        for (size_t piece = 0; piece < 4; piece++) {
            struct peer p = {.where = (enum where)where, .piece = piece, .echo = piece % 2 != 0};
            struct iotsafe *c;

            start(&p, schemes[piece / 2]);
            c = open_spec(p.spec);
            expect_random(c, 100);
            expect_random(c, 255);
            iotsafe_close(c);
            stop(&p);
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
    start(&p, "at");
    with_timeout(&p);
    c = open_spec(p.spec);
    expect_random(c, 100);
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
    expect_random(c, 100);
    iotsafe_close(c);
    stop(&p);
}

static void a_late_answer_is_not_the_next_commands(void **state) {
    struct peer p = {.where = UNIX, .mute_at = 4};
    struct iotsafe *c;
    uint8_t buf[8];

    (void)state;
    start(&p, "at");
    with_timeout(&p);
    c = open_spec(p.spec);
    expect_random(c, 5);
    assert_int_equal(iotsafe_random(c, buf, 8), IOTSAFE_E_TIMEOUT);
    assert_int_equal(write(p.go[1], "", 1), 1);
    expect_random(c, 3);
    iotsafe_close(c);
    stop(&p);
}

static void a_broken_line_is_dialled_again(void **state) {
    static const char *const schemes[] = {"at", "cgla"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct peer p = {.where = i < 2 ? UNIX : TCP, .drop_at = i % 2 ? 2 : 4};
        struct iotsafe *c;

        start(&p, schemes[i % 2]);
        c = open_spec(p.spec);
        expect_random(c, 10);
        expect_random(c, 20);
        assert_int_equal(opens(c), 2);
        iotsafe_close(c);
        stop(&p);
        assert_int_equal(p.calls, 2);
    }
}

static void a_line_that_stays_away_is_told(void **state) {
    struct peer p = {.where = UNIX, .drop_at = 4};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    start(&p, "at");
    c = open_spec(p.spec);
    expect_random(c, 10);
    unlink(p.path);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK);
    iotsafe_close(c);
    stop(&p);
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
    start(&p, "at");
    mine.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(u.sun_path, sizeof u.sun_path, "%.100s", p.path);
    assert_int_equal(connect(mine.fd, (struct sockaddr *)&u, sizeof u), 0);
    assert_int_equal(iotsafe_transport_at(IOTSAFE_AT_CSIM, &io, &mine, 0, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    expect_random(c, 30);
    expect_random(c, 200);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_LINK); /* and cannot come back */
    iotsafe_close(c);
    assert_int_equal(mine.closed, 1);
    assert_int_equal(iotsafe_transport_at(IOTSAFE_AT_CGLA, &io, &mine, 0, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    iotsafe_abandon(c);
    assert_int_equal(mine.abandoned, 1);
    close(mine.fd);
    stop(&p);
}

/* ---- vpcd ---- */

static void dials_a_card(void **state) {
    (void)state;
    for (size_t piece = 0; piece < 4; piece++) {
        struct peer p = {.where = piece % 2 ? UNIX : TCP, .vpcd = true, .piece = piece};
        struct iotsafe *c;

        start(&p, "vpcd");
        c = open_spec(p.spec);
        expect_random(c, 100);
        expect_random(c, 255);
        iotsafe_close(c);
        stop(&p);
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
    start(&p, "vpcd");
    c = open_spec(p.spec);
    clock_gettime(CLOCK_MONOTONIC, &start_time);
    for (int i = 0; i < 50; i++)
        expect_random(c, 1);
    clock_gettime(CLOCK_MONOTONIC, &end_time);
    assert_true(end_time.tv_sec - start_time.tv_sec < 2);
    iotsafe_close(c);
    stop(&p);
}

static void a_card_that_was_away_is_opened_again(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true, .drop_at = 4};
    struct iotsafe *c;

    (void)state;
    start(&p, "vpcd");
    c = open_spec(p.spec);
    expect_random(c, 100);
    expect_random(c, 50);
    assert_int_equal(opens(c), 2);
    iotsafe_close(c);
    stop(&p);
    assert_int_equal(p.calls, 2);
}

static void an_ejected_card_is_absent_until_it_is_back(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true, .eject_at = 4};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    start(&p, "vpcd");
    c = open_spec(p.spec);
    expect_random(c, 100);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_ABSENT);
    expect_random(c, 50);
    iotsafe_close(c);
    stop(&p);
}

static void a_card_that_is_mute_times_out(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true, .mute_at = 4};
    struct iotsafe *c;
    uint8_t buf[4];

    (void)state;
    start(&p, "vpcd");
    with_timeout(&p);
    c = open_spec(p.spec);
    expect_random(c, 100);
    assert_int_equal(iotsafe_random(c, buf, 4), IOTSAFE_E_TIMEOUT);
    assert_int_equal(write(p.go[1], "", 1), 1);
    expect_random(c, 50); /* on a new connection */
    iotsafe_close(c);
    stop(&p);
    assert_int_equal(p.calls, 2);
}

static void can_reset_the_card(void **state) {
    struct peer p = {.where = UNIX, .vpcd = true};
    struct iotsafe_transport *t;
    struct iotsafe *c;

    (void)state;
    start(&p, "vpcd");
    c = open_spec(p.spec);
    t = iotsafe_transport_of(c);
    assert_int_equal(t->ops->reset(t), 0);
    iotsafe_close(c);
    stop(&p);
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
            serve_card(&c->peer);
        close(c->peer.fd);
    }
    return NULL;
}

static void waits_for_a_card_that_dials_in_and_for_the_next(void **state) {
    char unix_spec[300];
    const char *specs[] = {"vpcd-listen:127.0.0.1:0", unix_spec, "vpcd-listen:[::1]:0"};

    (void)state;
    snprintf(unix_spec, sizeof unix_spec, "vpcd-listen:unix:%s/reader", dir);
    for (size_t i = 0; i < 2; i++) {
        struct caller caller = {.peer = {.where = UNIX, .vpcd = true, .drop_at = 4}};
        struct iotsafe *c = open_spec(specs[i]);

        assert_int_equal(iotsafe_transport_describe(iotsafe_transport_of(c), caller.address, 4),
                         IOTSAFE_E_TOO_SMALL);
        assert_int_equal(iotsafe_transport_describe(iotsafe_transport_of(c), caller.address,
                                                    sizeof caller.address),
                         0);
        assert_int_equal(pthread_create(&caller.thread, NULL, caller_main, &caller), 0);
        expect_random(c, 10);
        expect_random(c, 20);
        assert_int_equal(opens(c), 2);
        iotsafe_close(c);
        pthread_join(caller.thread, NULL);
    }
    snprintf(unix_spec, sizeof unix_spec, "%s/reader", dir);
    assert_int_equal(access(unix_spec, F_OK), -1); /* taken away again */
}

static void nobody_dials_in(void **state) {
    struct iotsafe *c = open_spec("vpcd-listen:127.0.0.1:0,timeout=20");
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

        start(&p, schemes[i]);
        c = open_spec(p.spec);
        expect_random(c, 100);
        child = fork();
        if (child == 0) {
            iotsafe_abandon(c);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        expect_random(c, 50);
        assert_int_equal(opens(c), 1);
        iotsafe_close(c);
        stop(&p);
        assert_int_equal(p.calls, 1);
    }
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

static int setup(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_on_every_kind_of_line_in_pieces_of_any_size),
        cmocka_unit_test(a_port_that_another_keeps_is_busy),
        cmocka_unit_test(a_late_answer_is_not_the_next_commands),
        cmocka_unit_test(a_broken_line_is_dialled_again),
        cmocka_unit_test(a_line_that_stays_away_is_told),
        cmocka_unit_test(at_over_the_callers_bytes),
        cmocka_unit_test(dials_a_card),
        cmocka_unit_test(a_card_that_writes_in_pieces_is_not_kept_waiting),
        cmocka_unit_test(a_card_that_was_away_is_opened_again),
        cmocka_unit_test(an_ejected_card_is_absent_until_it_is_back),
        cmocka_unit_test(a_card_that_is_mute_times_out),
        cmocka_unit_test(can_reset_the_card),
        cmocka_unit_test(waits_for_a_card_that_dials_in_and_for_the_next),
        cmocka_unit_test(nobody_dials_in),
        cmocka_unit_test(a_child_forgets_the_link_and_the_parent_keeps_it),
        cmocka_unit_test(tells_what_is_wrong_with_a_text),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
