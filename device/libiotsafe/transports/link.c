#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "iotsafe/iotsafe.h"

uint64_t link_now_ms(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000U + (uint64_t)ts.tv_nsec / 1000000U;
}

static int fail(struct link *l, const char *what, const char *why) {
    snprintf(l->why, sizeof l->why, "%s: %s", what, why);
    return IOTSAFE_E_LINK;
}

/* ---- options ---- */

static bool number(const char *text, unsigned max, unsigned *ret) {
    char *end;
    unsigned long v;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    v = strtoul(text, &end, 10);
    if (errno || *end || v > max)
        return false;
    *ret = (unsigned)v;
    return true;
}

static bool set_option(struct link_config *c, const char *key, const char *value) {
    unsigned v;

    if (strcmp(key, "timeout") == 0 && number(value, 3600000, &v) && v > 0)
        c->timeout_ms = (int)v;
    else if (strcmp(key, "speed") == 0 && number(value, 4000000, &v) && v > 0)
        c->speed = v;
    else if (strcmp(key, "flow") == 0 && strcmp(value, "hw") == 0)
        c->hw_flow = true;
    else if (strcmp(key, "flow") == 0 && strcmp(value, "none") == 0)
        c->hw_flow = false;
    else
        return false;
    return true;
}

int link_parse(const char *spec, struct link_config *ret, char *err, size_t err_cap) {
    struct link_config c = {.timeout_ms = LINK_TIMEOUT_MS};
    size_t n = strcspn(spec, ",");
    char option[64], *value;

    if (n == 0 || n >= sizeof c.address) {
        snprintf(err, err_cap, "'%s': no address", spec);
        return IOTSAFE_E_ARGUMENT;
    }
    memcpy(c.address, spec, n);
    for (spec += n; *spec == ','; spec += n) {
        n = strcspn(++spec, ",");
        snprintf(option, sizeof option, "%.*s", (int)(n < 63 ? n : 63), spec);
        value = strchr(option, '=');
        if (value)
            *value++ = 0;
        if (!value || !set_option(&c, option, value)) {
            snprintf(err, err_cap,
                     "option '%.*s': known are speed=BAUD, flow=hw|none, timeout=MILLISECONDS",
                     (int)(n < 63 ? n : 63), spec);
            return IOTSAFE_E_ARGUMENT;
        }
    }
    *ret = c;
    return 0;
}

/* ---- serial ports ---- */

static bool speed_code(unsigned speed, speed_t *ret) {
    static const struct {
        unsigned speed;
        speed_t code;
    } table[] = {
        {9600, B9600},       {19200, B19200},     {38400, B38400},     {57600, B57600},
        {115200, B115200},   {230400, B230400},   {460800, B460800},   {500000, B500000},
        {576000, B576000},   {921600, B921600},   {1000000, B1000000}, {1152000, B1152000},
        {1500000, B1500000}, {2000000, B2000000}, {2500000, B2500000}, {3000000, B3000000},
        {3500000, B3500000}, {4000000, B4000000},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].speed == speed) {
            *ret = table[i].code;
            return true;
        }
    }
    return false;
}

/* Raw bytes, 8N1, no modem lines: a modem does not hang up because we go. What the driver holds is
 * of another client. */
static int setup_tty(struct link *l, int fd) {
    struct termios t;
    speed_t code;

    if (tcgetattr(fd, &t) < 0)
        return fail(l, l->config.address, strerror(errno));
    cfmakeraw(&t);
    t.c_cflag |= CLOCAL | CREAD;
    t.c_cflag &= ~(tcflag_t)(CSTOPB | HUPCL);
    t.c_cflag = l->config.hw_flow ? t.c_cflag | CRTSCTS : t.c_cflag & ~(tcflag_t)CRTSCTS;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    if (l->config.speed) {
        if (!speed_code(l->config.speed, &code))
            return fail(l, l->config.address, "serial ports do not have this speed");
        cfsetispeed(&t, code);
        cfsetospeed(&t, code);
    }
    if (tcsetattr(fd, TCSANOW, &t) < 0)
        return fail(l, l->config.address, strerror(errno));
    tcflush(fd, TCIFLUSH);
    return 0;
}

/* flock() knows no deadline, and a program may keep a port for ever: asked again after 1, 2, 4 … 16
 * ms. The first try is good unless somebody else is at work. */
static int lock_in_time(struct link *l, int fd) {
    uint64_t end = 0, now;
    int pause_ms = 1;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return fail(l, l->config.address, strerror(errno));
        now = link_now_ms();
        if (end == 0)
            end = now + (uint64_t)l->config.timeout_ms;
        if (now >= end) {
            fail(l, l->config.address, "another program has it");
            return IOTSAFE_E_BUSY;
        }
        (void)poll(NULL, 0, pause_ms);
        pause_ms = pause_ms < 16 ? 2 * pause_ms : 16;
    }
    return 0;
}

/* As setup_tty(), between two operations of other processes: throwing away what the driver holds in
 * the middle of one would take its answer from it. */
static int setup_tty_in_turn(struct link *l, int fd) {
    int r = lock_in_time(l, fd);

    if (r < 0)
        return r;
    r = setup_tty(l, fd);
    (void)flock(fd, LOCK_UN);
    return r;
}

static int open_tty(struct link *l, const char *path) {
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), r;

    if (fd < 0)
        return fail(l, path, strerror(errno));
    if (!isatty(fd)) {
        close(fd);
        return fail(l, path, "neither a terminal nor a socket");
    }
    r = setup_tty_in_turn(l, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    l->tty = true; /* it stays non-blocking: flow control may hold a write for ever */
    l->tcp = false;
    l->fd = fd;
    return 0;
}

/* ---- sockets ---- */

/* One read is one system call: the socket itself has the deadline. Nagle's algorithm would hold
 * back the second of two writes; there is only ever one, but the other side's stack does not know.
 */
static void setup_socket(struct link *l, int fd) {
    struct timeval tv = {l->config.timeout_ms / 1000, l->config.timeout_ms % 1000 * 1000L};
    int one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    l->tcp = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
    l->tty = false;
}

static bool unix_address(struct link *l, const char *path, struct sockaddr_un *ret) {
    size_t n = strlen(path);

    memset(ret, 0, sizeof *ret);
    ret->sun_family = AF_UNIX;
    if (n >= sizeof ret->sun_path) {
        fail(l, path, "path too long for a socket");
        return false;
    }
    memcpy(ret->sun_path, path, n);
    return true;
}

/* connect() with the link's timeout. */
static int connect_in_time(struct link *l, int fd, const struct sockaddr *a, socklen_t n) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int err = 0, r;
    socklen_t len = sizeof err;

    if (connect(fd, a, n) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    do
        r = poll(&p, 1, l->config.timeout_ms);
    while (r < 0 && errno == EINTR);
    if (r <= 0)
        return r < 0 ? -errno : -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return -errno;
    return -err;
}

static int bind_and_listen(int fd, const struct sockaddr *a, socklen_t n) {
    int one = 1;

    if (a->sa_family == AF_UNIX) {
        const struct sockaddr_un *u = (const void *)a;
        struct stat st;

        if (stat(u->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
            unlink(u->sun_path); /* of a process that ended */
    } else {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    }
    return bind(fd, a, n) < 0 || listen(fd, 1) < 0 ? -errno : 0;
}

/* Dials, or starts to listen on, one address. 0 or -errno. */
static int try_address(struct link *l, const struct sockaddr *a, socklen_t n) {
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int fd = socket(a->sa_family, type, 0), r;

    if (fd < 0)
        return -errno;
    r = l->config.listen ? bind_and_listen(fd, a, n) : connect_in_time(l, fd, a, n);
    if (r == 0 && !l->config.listen && fcntl(fd, F_SETFL, 0) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    if (l->config.listen) {
        l->listen_fd = fd;
    } else {
        setup_socket(l, fd);
        l->fd = fd;
    }
    return 0;
}

static int open_unix(struct link *l, const char *path) {
    struct sockaddr_un a;
    int r;

    if (!unix_address(l, path, &a))
        return IOTSAFE_E_LINK;
    r = try_address(l, (const struct sockaddr *)&a, sizeof a);
    return r < 0 ? fail(l, path, strerror(-r)) : 0;
}

/* host:port, [host]:port. The port is what follows the last colon. */
static bool split_host(const char *text, char *host, size_t cap, const char **ret_port) {
    const char *colon = strrchr(text, ':');
    size_t n;

    if (!colon || !colon[1])
        return false;
    n = (size_t)(colon - text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n == 0 || n >= cap)
        return false;
    memcpy(host, text, n);
    host[n] = 0;
    *ret_port = colon + 1;
    return true;
}

static int open_tcp(struct link *l, const char *text) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
    char host[LINK_ADDRESS_MAX];
    const char *port;
    int r = -EADDRNOTAVAIL;

    if (!split_host(text, host, sizeof host, &port))
        return fail(l, text, "not HOST:PORT");
    if (l->config.listen)
        hints.ai_flags = AI_PASSIVE;
    r = getaddrinfo(host, port, &hints, &list);
    if (r != 0)
        return fail(l, text, gai_strerror(r));
    for (a = list; a; a = a->ai_next) {
        r = try_address(l, a->ai_addr, a->ai_addrlen);
        if (r == 0)
            break;
    }
    freeaddrinfo(list);
    return r < 0 ? fail(l, text, strerror(-r)) : 0;
}

static int open_path(struct link *l, const char *path) {
    struct stat st;

    if (!l->config.listen && stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return open_tty(l, path);
    return open_unix(l, path);
}

/* ---- life ---- */

void link_init(struct link *l, const struct link_config *config) {
    *l = (struct link){.config = *config, .fd = -1, .listen_fd = -1};
}

int link_prepare(struct link *l) {
    const char *a = l->config.address;

    if (l->fd >= 0 || l->listen_fd >= 0)
        return 0;
    if (strncmp(a, "unix:", 5) == 0)
        return open_unix(l, a + 5);
    if (strncmp(a, "tcp:", 4) == 0)
        return open_tcp(l, a + 4);
    if (strchr(a, '/') || access(a, F_OK) == 0)
        return open_path(l, a);
    return open_tcp(l, a);
}

static int accept_in_time(struct link *l) {
    struct pollfd p = {.fd = l->listen_fd, .events = POLLIN};
    uint64_t end = link_now_ms() + (uint64_t)l->config.timeout_ms, now;
    int fd, r;

    for (;;) {
        fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            break;
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            return fail(l, "accept", strerror(errno));
        now = link_now_ms();
        if (now >= end) {
            fail(l, l->config.address, "nobody called");
            return IOTSAFE_E_ABSENT;
        }
        r = poll(&p, 1, (int)(end - now));
        if (r < 0 && errno != EINTR)
            return fail(l, "poll", strerror(errno));
    }
    setup_socket(l, fd);
    l->fd = fd;
    return 0;
}

int link_connect(struct link *l) {
    int r = link_prepare(l);

    if (r < 0 || l->fd >= 0)
        return r;
    return accept_in_time(l);
}

void link_drop(struct link *l) {
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

void link_abandon(struct link *l) {
    link_drop(l);
    if (l->listen_fd >= 0)
        close(l->listen_fd);
    l->listen_fd = -1;
}

void link_done(struct link *l) {
    const char *a = l->config.address;

    if (l->listen_fd >= 0 && strncmp(a, "unix:", 5) == 0)
        unlink(a + 5);
    link_abandon(l);
}

/* ---- bytes ---- */

/* True when a terminal that is held by flow control takes bytes again. */
static bool wait_writable(struct link *l) {
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};
    int r;

    do
        r = poll(&p, 1, l->config.timeout_ms);
    while (r < 0 && errno == EINTR);
    return r > 0;
}

int link_write(struct link *l, const void *bytes, size_t n) {
    const uint8_t *p = bytes;

    if (l->fd < 0)
        return IOTSAFE_E_LINK;
    l->answered = false;
    while (n > 0) {
        ssize_t w = l->tty ? write(l->fd, p, n) : send(l->fd, p, n, MSG_NOSIGNAL);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && errno == EAGAIN) { /* a socket has waited already */
            if (l->tty && wait_writable(l))
                continue;
            return IOTSAFE_E_TIMEOUT;
        }
        if (w <= 0) {
            link_drop(l);
            return fail(l, l->config.address, strerror(errno));
        }
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* An answer in pieces: the other side may write header and body separately, and its stack then
 * holds the second until we acknowledge the first, which ours does 40 ms later. Asked for only
 * here: the ordinary answer comes in one read and is acknowledged by the next command. */
static void acknowledge_at_once(const struct link *l) {
    int one = 1;

    if (l->tcp && l->answered)
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

/* TCP waits inside read() when the whole timeout is meant: one system call less. On a Unix socket
 * that would be two wake-ups for one answer, since the kernel wakes a sleeping reader as well when
 * the other side takes the command out of the socket; poll() sleeps through that. */
int link_read(struct link *l, void *buf, size_t cap, int timeout_ms) {
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    bool wait = !l->tcp || timeout_ms != l->config.timeout_ms;
    ssize_t n;

    if (l->fd < 0)
        return IOTSAFE_E_LINK;
    acknowledge_at_once(l);
    for (;;) {
        if (wait) {
            int r = poll(&p, 1, timeout_ms);

            if (r < 0 && errno == EINTR)
                continue;
            if (r == 0)
                return 0;
        }
        n = read(l->fd, buf, cap < INT16_MAX ? cap : INT16_MAX);
        if (n > 0) {
            l->answered = true;
            return (int)n;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (l->tty)
                continue; /* another process with the same terminal was faster */
            return 0;
        }
        link_drop(l);
        return fail(l, l->config.address, n == 0 ? "closed" : strerror(errno));
    }
}

int link_lock(struct link *l) {
    return l->tty && l->fd >= 0 ? lock_in_time(l, l->fd) : 0;
}

void link_unlock(struct link *l) {
    if (l->tty && l->fd >= 0)
        (void)flock(l->fd, LOCK_UN);
}

int link_describe(const struct link *l, char *buf, size_t cap) {
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    char host[64], port[16];
    int w;

    if (l->listen_fd >= 0 && getsockname(l->listen_fd, (struct sockaddr *)&a, &n) == 0 &&
        a.ss_family != AF_UNIX &&
        getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        w = snprintf(buf, cap, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    else
        w = snprintf(buf, cap, "%s", l->config.address);
    return w < 0 || (size_t)w >= cap ? IOTSAFE_E_TOO_SMALL : 0;
}
