/* The control socket: connections, events. */
#include "tb/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl_internal.h"
#include "json_line.h"
#include "mem.h"
#include "tb/log.h"
#include "tb/loop.h"

static void free_if_unused(struct tb_ctl *c) {
    if (!c->closing || c->peers)
        return;
    if (c->event_fd >= 0)
        close(c->event_fd);
    free(c->program);
    free(c);
}

static size_t on_data(struct tb_conn *conn, struct tb_span data, void *user) {
    (void)conn;
    return tb_ctl_requests(user, data);
}

static void on_closed(int why, void *user) {
    struct tb_ctl_peer *peer = user;
    struct tb_ctl *c = peer->ctl;

    if (why == UV_ENOBUFS)
        tb_warn("ctl", "a subscriber that does not read was dropped");
    tb_ctl_forget_calls(peer);
    *peer->prev = peer->next;
    if (peer->next)
        peer->next->prev = peer->prev;
    free(peer);
    free_if_unused(c);
}

static void on_drain(struct tb_conn *conn, void *user) {
    struct tb_ctl_peer *peer = user;

    peer->blocked = false;
    tb_conn_resume(conn);
}

static const struct tb_conn_ops conn_ops = {
    .on_data = on_data, .on_drain = on_drain, .on_closed = on_closed};

static struct tb_ctl_peer *new_peer(struct tb_ctl *c) {
    struct tb_ctl_peer *peer = tb_xcalloc(1, sizeof *peer);

    peer->ctl = c;
    return peer;
}

static void link_peer(struct tb_ctl_peer *peer) {
    struct tb_ctl *c = peer->ctl;

    peer->next = c->peers;
    peer->prev = &c->peers;
    if (c->peers)
        c->peers->prev = &peer->next;
    c->peers = peer;
}

static void on_connection(struct tb_listener *l, void *user) {
    struct tb_ctl_peer *peer = new_peer(user);

    if (tb_listener_accept(l, &conn_ops, peer, &peer->conn) < 0)
        free(peer);
    else
        link_peer(peer);
}

int tb_ctl_adopt(struct tb_ctl *c, int fd) {
    struct tb_ctl_peer *peer = new_peer(c);
    int r = tb_conn_open_fd(c->loop, fd, &conn_ops, peer, &peer->conn);

    if (r < 0)
        free(peer);
    else
        link_peer(peer);
    return r;
}

int tb_ctl_open(uv_loop_t *loop, const struct tb_addr *at, const char *program,
                const struct tb_ctl_verb *verbs, void (*on_quit)(void *), void *user,
                struct tb_ctl **ret, struct tb_error *e) {
    struct tb_ctl *c = tb_xcalloc(1, sizeof *c);
    char text[300];
    int r = 0;

    *c = (struct tb_ctl){.loop = loop,
                         .program = tb_xstrdup(program),
                         .verbs = verbs,
                         .on_quit = on_quit,
                         .user = user,
                         .event_fd = -1};
    if (at)
        r = tb_listener_open(loop, at, on_connection, c, &c->listener);
    if (r < 0) {
        tb_error_set(e, r, NULL, 0, "cannot listen for control connections at %s: %s",
                     tb_addr_str(at, text, sizeof text), tb_strerror(r));
        c->closing = true;
        free_if_unused(c);
        return r;
    }
    *ret = c;
    return 0;
}

const struct tb_addr *tb_ctl_addr(const struct tb_ctl *c) {
    return c->listener ? tb_listener_addr(c->listener) : NULL;
}

int tb_ctl_event_file(struct tb_ctl *c, const char *path, struct tb_error *e) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return tb_error_set(e, -errno, path, 0, "cannot write events: %s", strerror(errno));
    if (c->event_fd >= 0)
        close(c->event_fd);
    c->event_fd = fd;
    return 0;
}

/* One write per line: several programs may append to one file. */
static void write_event(struct tb_ctl *c, const char *line, size_t n) {
    ssize_t r = write(c->event_fd, line, n);

    if (r >= 0 && (size_t)r == n)
        return;
    tb_error_log("ctl", "the event file is given up: %s", r < 0 ? strerror(errno) : "disk full");
    close(c->event_fd);
    c->event_fd = -1;
}

bool tb_ctl_listening(const struct tb_ctl *c) {
    if (!c || c->closing)
        return false;
    if (c->event_fd >= 0)
        return true;
    for (const struct tb_ctl_peer *peer = c->peers; peer; peer = peer->next)
        if (peer->subscribed)
            return true;
    return false;
}

void tb_ctl_event(struct tb_ctl *c, const char *name, json_t *members) {
    struct tb_span line;
    json_t *event;
    char *text;
    size_t n;

    if (!tb_ctl_listening(c)) {
        json_decref(members);
        return;
    }
    event = json_pack("{s:s, s:I, s:s}", "event", name, "ts", (json_int_t)tb_clock_wall_ms(),
                      "from", c->program);
    if (!event)
        abort();
    if (members)
        json_object_update_missing(event, members);
    text = tb_json_line(event, &n);
    line = tb_span(text, n);
    for (struct tb_ctl_peer *peer = c->peers; peer; peer = peer->next)
        if (peer->subscribed)
            (void)tb_conn_write(peer->conn, &line, 1); /* closes itself when it does not fit */
    if (c->event_fd >= 0)
        write_event(c, text, n);
    free(text);
    json_decref(event);
    json_decref(members);
}

void tb_ctl_close(struct tb_ctl *c) {
    if (c->closing)
        return;
    c->closing = true;
    if (c->listener)
        tb_listener_close(c->listener);
    for (struct tb_ctl_peer *peer = c->peers; peer; peer = peer->next) {
        peer->ended = true;
        /* The last reply, to "quit" for example, is not thrown away. */
        if (tb_conn_queued(peer->conn) > 0)
            tb_conn_finish(peer->conn);
        else
            tb_conn_close(peer->conn, 0);
    }
    free_if_unused(c);
}
