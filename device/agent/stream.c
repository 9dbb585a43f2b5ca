#include "stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

#include "stream_internal.h"
#include "tb/span.h"

struct bytes {
    struct dev_stream s;
    struct tb_conn *conn; /* NULL when closed */
    bool let_go;          /* nobody holds it any more: freed with the connection */
};

/* ---- what has arrived ---- */

enum { KEPT = 1024 }; /* so much memory is kept while nothing is there */

size_t dev_stream_space(const struct dev_stream *s) {
    return DEV_STREAM_IN - s->n;
}

uint8_t *dev_stream_room(struct dev_stream *s, size_t n) {
    size_t cap = s->cap ? s->cap : 512;

    if (n > dev_stream_space(s))
        return NULL;
    if (s->off && s->cap - s->off - s->n < n) {
        memmove(s->in, s->in + s->off, s->n);
        s->off = 0;
    }
    while (cap < s->n + n)
        cap *= 2;
    if (cap > s->cap) {
        s->in = realloc(s->in, cap);
        if (!s->in)
            abort();
        s->cap = cap;
    }
    return s->in + s->off + s->n;
}

void dev_stream_wake(struct dev_stream *s) {
    if (s->owner)
        dev_task_wake(s->owner);
}

void dev_stream_ended(struct dev_stream *s, int status) {
    if (s->status >= 0)
        s->status = status;
    dev_stream_wake(s);
}

static void bytes_free(struct bytes *b) {
    free(b->s.in);
    free(b);
}

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct bytes *b = user;
    struct dev_stream *s = &b->s;
    size_t room = dev_stream_space(s), n = data.n < room ? data.n : room;

    if (b->let_go)
        return data.n;
    if (n > 0) {
        memcpy(dev_stream_room(s, n), data.p, n);
        s->n += n;
    }
    if (n < data.n && !s->paused) {
        s->paused = true;
        tb_conn_pause(c);
    }
    dev_stream_wake(s);
    return n;
}

static void on_drain(struct tb_conn *c, void *user) {
    struct bytes *b = user;

    (void)c;
    b->s.full = false;
    dev_stream_wake(&b->s);
}

static void on_closed(int why, void *user) {
    struct bytes *b = user;

    b->conn = NULL;
    if (b->let_go)
        bytes_free(b);
    else
        dev_stream_ended(&b->s, why ? why : TB_ECLOSED);
}

static const struct tb_conn_ops conn_ops = {
    .on_data = on_data, .on_drain = on_drain, .on_closed = on_closed};

static int bytes_write(struct dev_stream *s, const void *p, size_t n) {
    const struct tb_span piece = tb_span(p, n);
    int r = tb_conn_write(((struct bytes *)s)->conn, &piece, 1);

    if (r == 0)
        s->full = true;
    return r;
}

static void bytes_taken(struct dev_stream *s) {
    struct bytes *b = (struct bytes *)s;

    if (s->paused && s->n < DEV_STREAM_IN / 2 && b->conn) {
        s->paused = false;
        tb_conn_resume(b->conn);
    }
}

static void bytes_let_go(struct dev_stream *s, bool finish) {
    struct bytes *b = (struct bytes *)s;

    if (!b->conn) {
        bytes_free(b);
        return;
    }
    b->let_go = true;
    if (finish)
        tb_conn_finish(b->conn);
    else
        tb_conn_close(b->conn, 0);
}

static const struct stream_kind bytes_kind = {bytes_write, bytes_taken, bytes_let_go};

static struct bytes *bytes_new(void) {
    struct bytes *b = calloc(1, sizeof *b);

    if (!b)
        abort();
    b->s.kind = &bytes_kind;
    return b;
}

/* ---- opening ---- */

struct lookup {
    uv_getaddrinfo_t req;
    struct dev_task *task; /* NULL: it gave up, the answer is only thrown away */
    bool done;
    int status;
    char host[64]; /* numeric */
};

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *res) {
    struct lookup *l = req->data;

    l->done = true;
    l->status = status;
    if (status == 0 && getnameinfo(res->ai_addr, res->ai_addrlen, l->host, sizeof l->host, NULL, 0,
                                   NI_NUMERICHOST) != 0)
        l->status = UV_EAI_FAIL;
    uv_freeaddrinfo(res);
    if (l->task)
        dev_task_wake(l->task);
    else
        free(l);
}

bool dev_stream_numeric(const char *host) {
    struct in6_addr a;

    return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

int dev_stream_resolve(struct dev_task *t, struct tb_addr *a, uint64_t until) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct lookup *l;
    int r;

    if (a->is_unix || dev_stream_numeric(a->host) || strcmp(a->host, "localhost") == 0)
        return 0;
    l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->task = t;
    l->req.data = l;
    r = uv_getaddrinfo(t->loop, &l->req, on_lookup, a->host, NULL, &hints);
    if (r < 0) {
        free(l);
        return r;
    }
    while (!l->done) {
        r = dev_task_wait(t, until);
        if (r < 0 && !l->done) {
            l->task = NULL; /* on_lookup() frees */
            uv_cancel((uv_req_t *)&l->req);
            return r;
        }
    }
    r = l->status;
    if (r == 0)
        snprintf(a->host, sizeof a->host, "%s", l->host);
    free(l);
    return r;
}

static void on_connected(int status, struct tb_conn *c, void *user) {
    struct bytes *b = user;

    if (status < 0) {
        b->s.status = status;
        if (b->let_go) {
            bytes_free(b);
            return;
        }
    } else {
        b->conn = c;
        b->s.status = 0;
        if (b->let_go) {
            tb_conn_close(c, 0);
            return;
        }
    }
    dev_task_wake(b->s.owner);
}

enum { CONNECTING = 1 };

int dev_stream_connect(struct dev_task *t, const char *address, uint64_t until,
                       struct dev_stream **ret) {
    struct tb_connect *pending;
    struct bytes *b;
    struct tb_error e;
    struct tb_addr a;
    int r;

    r = tb_addr_parse(address, &a, &e);
    if (r == 0)
        r = dev_stream_resolve(t, &a, until);
    if (r < 0)
        return r;
    b = bytes_new();
    b->s.status = CONNECTING;
    b->s.owner = t;
    r = tb_conn_connect(t->loop, &a, &conn_ops, b, on_connected, &pending);
    if (r < 0) {
        bytes_free(b);
        return r;
    }
    while (b->s.status == CONNECTING) {
        r = dev_task_wait(t, until);
        if (r < 0 && b->s.status == CONNECTING) {
            b->let_go = true;
            tb_conn_cancel(pending);
            return r;
        }
    }
    if (b->s.status < 0 && !b->conn) {
        r = b->s.status;
        bytes_free(b);
        return r;
    }
    *ret = &b->s;
    return 0;
}

int dev_stream_connect_udp(struct dev_task *t, const char *address, uint64_t until,
                           struct dev_stream **ret) {
    struct tb_error e;
    struct tb_addr a;
    int r = tb_addr_parse(address, &a, &e);

    if (r == 0 && a.is_unix)
        r = TB_EPARSE;
    if (r == 0)
        r = dev_stream_resolve(t, &a, until);
    return r < 0 ? r : dev_dgram_open(t, &a, tb_span(NULL, 0), NULL, ret);
}

static speed_t speed_of(unsigned baud) {
    static const struct {
        unsigned baud;
        speed_t speed;
    } table[] = {{9600, B9600},     {19200, B19200},   {38400, B38400},   {57600, B57600},
                 {115200, B115200}, {230400, B230400}, {460800, B460800}, {921600, B921600}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].baud == baud)
            return table[i].speed;
    }
    return B0;
}

int dev_stream_tty(uv_loop_t *loop, const char *path, unsigned speed, struct dev_stream **ret) {
    struct bytes *b;
    struct termios tio;
    int fd, r;

    if (speed && speed_of(speed) == B0)
        return TB_ERANGE;
    fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* Two programs on one port would read each other's answers. */
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = errno == EWOULDBLOCK ? UV_EBUSY : -errno;
        close(fd);
        return r;
    }
    if (tcgetattr(fd, &tio) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    cfmakeraw(&tio);
    tio.c_cflag |= CLOCAL | CREAD;
    if (speed)
        cfsetspeed(&tio, speed_of(speed));
    if (tcsetattr(fd, TCSANOW, &tio) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    b = bytes_new();
    r = tb_conn_open_fd(loop, fd, &conn_ops, b, &b->conn);
    if (r < 0) {
        bytes_free(b);
        return r;
    }
    *ret = &b->s;
    return 0;
}

int dev_stream_accept(struct tb_listener *l, struct dev_stream **ret) {
    struct bytes *b = bytes_new();
    int r = tb_listener_accept(l, &conn_ops, b, &b->conn);

    if (r < 0) {
        bytes_free(b);
        return r;
    }
    *ret = &b->s;
    return 0;
}

uint16_t dev_stream_peer_port(const struct dev_stream *s) {
    const struct bytes *b = (const struct bytes *)s;
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;

    if (s->kind != &bytes_kind || !b->conn ||
        getpeername(tb_conn_fd(b->conn), (struct sockaddr *)&a, &n) < 0)
        return 0;
    if (a.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&a)->sin_port);
    return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : 0;
}

void dev_stream_ack_now(struct dev_stream *s) {
    const struct bytes *b = (const struct bytes *)s;
    const int yes = 1;

    if (s->kind == &bytes_kind && b->conn)
        (void)setsockopt(tb_conn_fd(b->conn), IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
}

/* ---- use ---- */

void dev_stream_owner(struct dev_stream *s, struct dev_task *t) {
    s->owner = t;
}

bool dev_stream_datagrams(const struct dev_stream *s) {
    return s->datagrams;
}

static size_t first_length(const struct dev_stream *s) {
    return (size_t)s->in[s->off] << 8 | s->in[s->off + 1];
}

struct tb_span dev_stream_data(const struct dev_stream *s) {
    if (s->n == 0)
        return tb_span(NULL, 0);
    if (s->datagrams)
        return tb_span(s->in + s->off + 2, first_length(s));
    return tb_span(s->in + s->off, s->n);
}

void dev_stream_eat(struct dev_stream *s, size_t n) {
    if (s->datagrams && s->n > 0)
        n = 2 + first_length(s);
    assert(n <= s->n);
    s->off += n;
    s->n -= n;
    if (s->n == 0) {
        s->off = 0;
        if (s->cap > KEPT) {
            free(s->in);
            s->in = NULL;
            s->cap = 0;
        }
    }
    s->kind->taken(s);
}

int dev_stream_write(struct dev_stream *s, const void *p, size_t n) {
    return s->status < 0 ? s->status : s->kind->write(s, p, n);
}

bool dev_stream_full(const struct dev_stream *s) {
    return s->full && s->status == 0;
}

int dev_stream_status(const struct dev_stream *s) {
    return s->status;
}

int dev_stream_wait(struct dev_stream *s, size_t have, uint64_t until) {
    int r;

    while (s->n <= (s->datagrams ? 0 : have)) {
        if (s->status < 0)
            return s->status;
        r = dev_task_wait(s->owner, until);
        if (r < 0)
            return r;
    }
    return 0;
}

static void let_go(struct dev_stream *s, bool finish) {
    if (!s)
        return;
    s->owner = NULL;
    s->kind->let_go(s, finish);
}

void dev_stream_close(struct dev_stream *s) {
    let_go(s, true);
}

void dev_stream_reset(struct dev_stream *s) {
    let_go(s, false);
}
