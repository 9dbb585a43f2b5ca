#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "tb/hex.h"

char peer_dir[] = "/tmp/iotsafe-transports-XXXXXX";

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

static void peer_say(struct peer *p, const void *bytes, size_t n) {
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
        peer_say(p, line, strlen(line));
        peer_say(p, "\r", 1);
    }
    if (strncmp(line, "AT+CMEE?", 8) == 0) {
        peer_say(p, "\r\n+CMEE: 1\r\n\r\nOK\r\n", 19);
        return false;
    }
    if (strncmp(line, "AT+CCHO=", 8) == 0) {
        peer_say(p, "\r\n+CCHO: 7\r\n\r\nOK\r\n", 19);
        return false;
    }
    if (!hex) {
        peer_say(p, "\r\nOK\r\n", 6);
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
    peer_say(p, answer, strlen(answer));
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

void peer_serve_card(struct peer *p) {
    uint8_t head[2], body[300], answer[300];

    while (read_all(p->fd, head, 2) && read_all(p->fd, body, (size_t)(head[0] << 8 | head[1]))) {
        size_t n = (size_t)(head[0] << 8 | head[1]), len;

        if (n == 1) {
            if (p->power_n < sizeof p->power)
                p->power[p->power_n++] = body[0];
            if (body[0] == 4)
                peer_say(p, "\x00\x04\x3B\x02\x01\x02", 6);
            continue;
        }
        if (apdu_event(p))
            return;
        len = p->apdus == p->eject_at ? 0 : card(body, n, answer + 2);
        answer[0] = (uint8_t)(len >> 8);
        answer[1] = (uint8_t)len;
        peer_say(p, answer, len + 2);
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
            peer_serve_card(p);
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
        snprintf(p->path, sizeof p->path, "%s/peer", peer_dir);
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

void peer_start(struct peer *p, const char *scheme) {
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

void peer_with_timeout(struct peer *p) {
    size_t n = strlen(p->spec);

    snprintf(p->spec + n, sizeof p->spec - n, ",timeout=500");
}

void peer_stop(struct peer *p) {
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

struct iotsafe *peer_open(const char *spec) {
    struct iotsafe_transport *t = NULL;
    struct iotsafe *c;
    char err[200];

    if (iotsafe_transport_open(spec, &t, err, sizeof err) < 0)
        fail_msg("%s: %s", spec, err);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    return c;
}

void peer_expect_random(struct iotsafe *c, size_t n) {
    uint8_t buf[255];

    memset(buf, 0xEE, sizeof buf);
    assert_int_equal(iotsafe_random(c, buf, n), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf[i], i);
}

uint64_t peer_opens(const struct iotsafe *c) {
    struct iotsafe_stats stats;

    iotsafe_stats(c, &stats);
    return stats.opens;
}

int peer_setup(void **state) {
    (void)state;
    return mkdtemp(peer_dir) ? 0 : -1;
}

int peer_teardown(void **state) {
    (void)state;
    return rmdir(peer_dir);
}
