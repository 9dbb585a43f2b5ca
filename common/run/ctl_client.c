/* Control protocol, the asking side, on the loop. */
#include <stdlib.h>

#include "ctl_internal.h"
#include "json_line.h"
#include "mem.h"
#include "tb/ctl.h"

struct pending {
    json_int_t id;
    tb_ctl_done_fn *done;
    void *arg;
    struct pending *next;
};

struct tb_ctl_client {
    const struct tb_ctl_client_ops *ops;
    void *user;
    struct tb_connect *connect; /* while connecting */
    struct tb_conn *conn;       /* then */
    struct tb_outbuf early;     /* requests made while connecting */
    struct tb_outbuf partial;   /* a reply may be longer than a connection keeps */
    struct pending *first, **last;
    json_int_t next_id;
    bool closing;
};

static void end(struct tb_ctl_client *c, int why) {
    c->closing = true;
    while (c->first) {
        struct pending *p = c->first;

        c->first = p->next;
        if (!c->first)
            c->last = &c->first;
        p->done(NULL, p->arg);
        free(p);
    }
    if (c->ops->on_closed)
        c->ops->on_closed(why, c->user);
    tb_outbuf_done(&c->early);
    tb_outbuf_done(&c->partial);
    free(c);
}

static void answer(struct tb_ctl_client *c, const json_t *reply) {
    json_int_t id = json_integer_value(json_object_get(reply, "id"));
    struct pending **at = &c->first, *p;

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    p = *at;
    if (!p)
        return; /* e.g. an error without id: the connection's end follows */
    *at = p->next;
    if (!p->next)
        c->last = at;
    p->done(reply, p->arg);
    free(p);
}

static bool on_line(struct tb_span line, void *user) {
    struct tb_ctl_client *c = user;
    char error[256];
    json_t *o = tb_json_object(line, error, sizeof error);

    if (!o) {
        tb_conn_close(c->conn, TB_EPROTO);
        return false;
    }
    if (!json_object_get(o, "event"))
        answer(c, o);
    else if (c->ops->on_event)
        c->ops->on_event(c, o, c->user);
    json_decref(o);
    return !c->closing;
}

static size_t on_data(struct tb_conn *conn, struct tb_span data, void *user) {
    struct tb_ctl_client *c = user;

    if (!tb_each_line(&c->partial, data, TB_CONN_OUT_MAX, on_line, c))
        tb_conn_close(conn, TB_ERANGE); /* without effect when on_line() has closed it */
    return data.n;
}

static void on_conn_closed(int why, void *user) {
    end(user, why);
}

static const struct tb_conn_ops conn_ops = {.on_data = on_data, .on_closed = on_conn_closed};

static void on_connected(int status, struct tb_conn *conn, void *user) {
    struct tb_ctl_client *c = user;
    struct tb_span early = tb_span(c->early.p, c->early.n);

    c->connect = NULL;
    if (status < 0) {
        end(c, c->closing ? 0 : status);
        return;
    }
    c->conn = conn;
    (void)tb_conn_write(conn, &early, 1); /* a failure closes it: on_conn_closed() */
    tb_outbuf_done(&c->early);
}

int tb_ctl_client_open(uv_loop_t *loop, const struct tb_addr *at,
                       const struct tb_ctl_client_ops *ops, void *user,
                       struct tb_ctl_client **ret) {
    struct tb_ctl_client *c = tb_xcalloc(1, sizeof *c);
    int r;

    *c = (struct tb_ctl_client){.ops = ops, .user = user, .last = &c->first};
    r = tb_conn_connect(loop, at, &conn_ops, c, on_connected, &c->connect);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void tb_ctl_client_send(struct tb_ctl_client *c, json_t *request, tb_ctl_done_fn *done, void *arg) {
    struct pending *p = tb_xcalloc(1, sizeof *p);
    struct tb_span line;
    char *text;
    size_t n;

    *p = (struct pending){++c->next_id, done, arg, NULL};
    *c->last = p;
    c->last = &p->next;
    json_object_set_new(request, "id", json_integer(p->id));
    text = tb_json_line(request, &n);
    json_decref(request);
    line = tb_span(text, n);
    if (c->conn)
        (void)tb_conn_write(c->conn, &line, 1);
    else if (!c->closing && c->early.n + n <= TB_CONN_OUT_MAX)
        tb_outbuf_append(&c->early, &line, 1, 0);
    else
        tb_ctl_client_close(c); /* done(NULL) follows from the loop */
    free(text);
}

void tb_ctl_client_close(struct tb_ctl_client *c) {
    if (c->closing)
        return;
    c->closing = true;
    if (c->conn)
        tb_conn_close(c->conn, 0);
    else if (c->connect)
        tb_conn_cancel(c->connect);
}
