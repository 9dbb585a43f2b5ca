#include "stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

#include "tb/span.h"

struct dev_stream {
    struct tb_conn *conn; /* NULL when closed */
    struct dev_task *owner;
    int status;
    bool full, paused;
    bool let_go;   /* nobody holds it any more: freed with the connection */
    size_t off, n; /* of in, what is not eaten yet */
    uint8_t in[DEV_STREAM_IN];
};

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct dev_stream *s = user;
    size_t room, n;

    if (s->let_go)
        return data.n;
    if (s->off && (s->n == 0 || sizeof s->in - s->off - s->n < data.n)) {
        memmove(s->in, s->in + s->off, s->n);
        s->off = 0;
    }
    room = sizeof s->in - s->off - s->n;
    n = data.n < room ? data.n : room;
    memcpy(s->in + s->off + s->n, data.p, n);
    s->n += n;
    if (n < data.n && !s->paused) {
        s->paused = true;
        tb_conn_pause(c);
    }
    if (s->owner)
        dev_task_wake(s->owner);
    return n;
}

static void on_drain(struct tb_conn *c, void *user) {
    struct dev_stream *s = user;

    (void)c;
    s->full = false;
    if (s->owner)
        dev_task_wake(s->owner);
}

static void on_closed(int why, void *user) {
    struct dev_stream *s = user;

    s->conn = NULL;
    s->status = why ? why : TB_ECLOSED;
    if (s->let_go)
        free(s);
    else if (s->owner)
        dev_task_wake(s->owner);
}

static const struct tb_conn_ops conn_ops = {
    .on_data = on_data, .on_drain = on_drain, .on_closed = on_closed};

static struct dev_stream *stream_new(void) {
    struct dev_stream *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    return s;
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

static bool is_numeric(const char *host) {
    struct in6_addr a;

    return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

static int resolve(struct dev_task *t, struct tb_addr *a, uint64_t until) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct lookup *l;
    int r;

    if (a->is_unix || is_numeric(a->host) || strcmp(a->host, "localhost") == 0)
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
        if (r < 0) {
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
    struct dev_stream *s = user;

    if (status < 0) {
        s->status = status;
        if (s->let_go) {
            free(s);
            return;
        }
    } else {
        s->conn = c;
        s->status = 0;
        if (s->let_go) {
            tb_conn_close(c, 0);
            return;
        }
    }
    dev_task_wake(s->owner);
}

enum { CONNECTING = 1 };

int dev_stream_connect(struct dev_task *t, const char *address, uint64_t until,
                       struct dev_stream **ret) {
    struct dev_stream *s;
    struct tb_connect *pending;
    struct tb_error e;
    struct tb_addr a;
    int r;

    r = tb_addr_parse(address, &a, &e);
    if (r == 0)
        r = resolve(t, &a, until);
    if (r < 0)
        return r;
    s = stream_new();
    s->status = CONNECTING;
    s->owner = t;
    r = tb_conn_connect(t->loop, &a, &conn_ops, s, on_connected, &pending);
    if (r < 0) {
        free(s);
        return r;
    }
    while (s->status == CONNECTING) {
        r = dev_task_wait(t, until);
        if (r < 0 && s->status == CONNECTING) {
            s->let_go = true;
            tb_conn_cancel(pending);
            return r;
        }
    }
    if (s->status < 0 && !s->conn) {
        r = s->status;
        free(s);
        return r;
    }
    *ret = s;
    return 0;
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
    struct dev_stream *s;
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
    s = stream_new();
    r = tb_conn_open_fd(loop, fd, &conn_ops, s, &s->conn);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int dev_stream_accept(struct tb_listener *l, struct dev_stream **ret) {
    struct dev_stream *s = stream_new();
    int r = tb_listener_accept(l, &conn_ops, s, &s->conn);

    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* ---- use ---- */

void dev_stream_owner(struct dev_stream *s, struct dev_task *t) {
    s->owner = t;
}

struct tb_span dev_stream_data(const struct dev_stream *s) {
    return tb_span_sub(tb_span(s->in, sizeof s->in), s->off, s->n);
}

void dev_stream_eat(struct dev_stream *s, size_t n) {
    assert(n <= s->n);
    s->off += n;
    s->n -= n;
    if (s->n == 0)
        s->off = 0;
    if (s->paused && s->n < sizeof s->in / 2 && s->conn) {
        s->paused = false;
        tb_conn_resume(s->conn);
    }
}

int dev_stream_write(struct dev_stream *s, const void *p, size_t n) {
    const struct tb_span piece = tb_span(p, n);
    int r;

    if (s->status < 0)
        return s->status;
    r = tb_conn_write(s->conn, &piece, 1);
    if (r == 0)
        s->full = true;
    return r;
}

bool dev_stream_full(const struct dev_stream *s) {
    return s->full && s->status == 0;
}

int dev_stream_status(const struct dev_stream *s) {
    return s->status;
}

int dev_stream_wait(struct dev_stream *s, size_t have, uint64_t until) {
    int r;

    while (s->n <= have) {
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
    if (!s->conn) {
        free(s);
        return;
    }
    s->let_go = true;
    if (finish)
        tb_conn_finish(s->conn);
    else
        tb_conn_close(s->conn, 0);
}

void dev_stream_close(struct dev_stream *s) {
    let_go(s, true);
}

void dev_stream_reset(struct dev_stream *s) {
    let_go(s, false);
}
