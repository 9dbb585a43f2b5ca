/* Listening sockets. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn_internal.h"
#include "mem.h"
#include "tb/conn.h"

enum { BACKLOG = 1024 };

struct tb_listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    struct tb_addr at;
    dev_t dev; /* of the socket file */
    ino_t ino;
    tb_accept_fn *fn;
    void *user;
    bool accepted, closing;
};

static void on_handle_closed(uv_handle_t *h) {
    free(h->data);
}

static void remove_file(struct tb_listener *l) {
    struct stat st;

    if (l->ino && lstat(l->at.host, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->at.host);
}

void tb_listener_close(struct tb_listener *l) {
    if (l->closing)
        return;
    l->closing = true;
    remove_file(l);
    uv_close(&l->u.handle, on_handle_closed);
}

static struct tb_conn *new_conn(struct tb_listener *l) {
    return l->at.is_unix ? tb_conn_new_pipe(l->u.handle.loop) : tb_conn_new_tcp(l->u.handle.loop);
}

static void on_connection(uv_stream_t *s, int status) {
    struct tb_listener *l = s->data;

    if (status < 0) /* e.g. the peer left before we looked */
        return;
    l->accepted = false;
    l->fn(l, l->user);
    if (!l->accepted && !l->closing) {
        /* libuv accepts the next one only when this one is taken. */
        struct tb_conn *c = new_conn(l);

        (void)uv_accept(s, &c->u.stream);
        tb_conn_close(c, 0);
    }
}

int tb_listener_accept(struct tb_listener *l, const struct tb_conn_ops *ops, void *user,
                       struct tb_conn **ret) {
    struct tb_conn *c = new_conn(l);
    int r = uv_accept(&l->u.stream, &c->u.stream);

    if (r < 0) {
        tb_conn_close(c, r);
        return r;
    }
    l->accepted = true;
    tb_conn_begin(c, ops, user);
    *ret = c;
    return 0;
}

/* True when something accepts connections there, or may: only a clear refusal makes a socket file
 * stale. */
static bool answers(const struct sockaddr_un *sa) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused;

    if (fd < 0)
        return true;
    refused = connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* Binds by hand: libuv would neither tell a stale file from a live one nor look whose file it
 * removes at close. */
static int bind_unix(struct tb_listener *l) {
    struct sockaddr_un sa;
    struct stat st;
    int fd, r = tb_addr_sockaddr_un(&l->at, &sa);

    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    r = bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
    if (r == -EADDRINUSE && lstat(l->at.host, &st) == 0 && S_ISSOCK(st.st_mode) && !answers(&sa) &&
        unlink(l->at.host) == 0)
        r = bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
    if (r == 0 && lstat(l->at.host, &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    if (r == 0)
        r = uv_pipe_open(&l->u.pipe, fd);
    if (r < 0)
        close(fd);
    return r;
}

static int bind_tcp(struct tb_listener *l) {
    struct sockaddr_storage sa;
    int r = tb_addr_sockaddr(&l->at, &sa);

    return r < 0 ? r : uv_tcp_bind(&l->u.tcp, (struct sockaddr *)&sa, 0);
}

static int real_addr(struct tb_listener *l) {
    struct sockaddr_storage sa;
    int n = sizeof sa, r = uv_tcp_getsockname(&l->u.tcp, (struct sockaddr *)&sa, &n);

    if (r == 0)
        tb_addr_from_sockaddr(&sa, &l->at);
    return r;
}

int tb_listener_open(uv_loop_t *loop, const struct tb_addr *at, tb_accept_fn *fn, void *user,
                     struct tb_listener **ret) {
    struct tb_listener *l = tb_xcalloc(1, sizeof *l);
    int r;

    l->at = *at;
    l->fn = fn;
    l->user = user;
    if (at->is_unix) {
        uv_pipe_init(loop, &l->u.pipe, 0); /* always 0 */
        r = bind_unix(l);
    } else {
        uv_tcp_init(loop, &l->u.tcp); /* cannot fail: no socket is made yet */
        r = bind_tcp(l);
    }
    l->u.handle.data = l;
    if (r == 0)
        r = uv_listen(&l->u.stream, BACKLOG, on_connection);
    if (r == 0 && !at->is_unix)
        r = real_addr(l);
    if (r < 0) {
        tb_listener_close(l);
        return r;
    }
    *ret = l;
    return 0;
}

const struct tb_addr *tb_listener_addr(const struct tb_listener *l) {
    return &l->at;
}
