/* Outgoing connections. */
#include <stdlib.h>

#include "conn_internal.h"
#include "mem.h"
#include "tb/conn.h"

struct tb_connect {
    uv_connect_t req;
    struct tb_conn *conn;
    const struct tb_conn_ops *ops;
    void *user;
    tb_connected_fn *cb;
};

/* A TCP socket that dials a port of the ephemeral range where nobody listens may be given that very
 * port and meet itself; whoever redials a vanished peer runs into it sooner or later. */
static bool met_itself(const struct tb_conn *c) {
    struct sockaddr_storage here = {0}, there = {0};
    int n = sizeof here, m = sizeof there;

    return c->u.handle.type == UV_TCP &&
           uv_tcp_getsockname(&c->u.tcp, (struct sockaddr *)&here, &n) == 0 &&
           uv_tcp_getpeername(&c->u.tcp, (struct sockaddr *)&there, &m) == 0 && n == m &&
           memcmp(&here, &there, (size_t)n) == 0;
}

static void on_connect(uv_connect_t *req, int status) {
    struct tb_connect *t = req->data;
    struct tb_conn *c = t->conn;

    if (status == 0 && met_itself(c))
        status = UV_ECONNREFUSED;
    if (status < 0) {
        tb_conn_close(c, status); /* it has no ops: nobody hears of it */
        c = NULL;
    } else {
        tb_conn_begin(c, t->ops, t->user);
    }
    t->cb(status, c, t->user);
    free(t);
}

int tb_conn_connect(uv_loop_t *loop, const struct tb_addr *to, const struct tb_conn_ops *ops,
                    void *user, tb_connected_fn *cb, struct tb_connect **ret) {
    struct sockaddr_storage tcp;
    struct sockaddr_un un;
    struct tb_connect *t;
    int r;

    r = to->is_unix ? tb_addr_sockaddr_un(to, &un) : tb_addr_sockaddr(to, &tcp);
    if (r < 0)
        return r;
    t = tb_xcalloc(1, sizeof *t);
    *t = (struct tb_connect){.ops = ops, .user = user, .cb = cb};
    t->req.data = t;
    if (to->is_unix) {
        t->conn = tb_conn_new_pipe(loop);
        /* Failures come to on_connect(). */
        uv_pipe_connect(&t->req, &t->conn->u.pipe, to->host, on_connect);
    } else {
        t->conn = tb_conn_new_tcp(loop);
        r = uv_tcp_connect(&t->req, &t->conn->u.tcp, (struct sockaddr *)&tcp, on_connect);
        if (r < 0) {
            tb_conn_close(t->conn, r);
            free(t);
            return r;
        }
    }
    if (ret)
        *ret = t;
    return 0;
}

void tb_conn_cancel(struct tb_connect *t) {
    tb_conn_close(t->conn, UV_ECANCELED); /* libuv ends the request: on_connect() */
}
