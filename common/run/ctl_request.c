/* Control protocol, the asking side, blocking. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "conn_internal.h"
#include "json_line.h"
#include "mem.h"
#include "tb/ctl.h"

struct wait {
    int fd;
    uint64_t end_ms;
    unsigned timeout_ms;
    json_t *id;
    json_t *reply;
    char error[256];
};

/* Waits for events on the socket: 0, or negative. */
static int wait_for(const struct wait *w, short events) {
    struct pollfd p = {.fd = w->fd, .events = events};

    for (;;) {
        uint64_t now = tb_clock_mono_ms();
        int r;

        if (now >= w->end_ms)
            return TB_ETIMEOUT;
        r = poll(&p, 1, (int)(w->end_ms - now));
        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
    }
}

static int connect_to(struct wait *w, const struct tb_addr *at) {
    struct sockaddr_storage tcp;
    struct sockaddr_un un;
    const struct sockaddr *sa = (const struct sockaddr *)&tcp;
    socklen_t n = sizeof(struct sockaddr_in);
    int r, so_error = 0;

    r = at->is_unix ? tb_addr_sockaddr_un(at, &un) : tb_addr_sockaddr(at, &tcp);
    if (r < 0)
        return r;
    if (at->is_unix) {
        sa = (const struct sockaddr *)&un;
        n = sizeof un;
    } else if (tcp.ss_family == AF_INET6) {
        n = sizeof(struct sockaddr_in6);
    }
    w->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->fd < 0)
        return -errno;
    if (connect(w->fd, sa, n) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    n = sizeof so_error;
    r = wait_for(w, POLLOUT);
    if (r == 0 && getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &so_error, &n) < 0)
        r = -errno;
    return r < 0 ? r : -so_error;
}

static int send_all(struct wait *w, struct tb_span data) {
    struct tb_span sent;

    while (data.n > 0) {
        ssize_t n = send(w->fd, data.p, data.n, MSG_NOSIGNAL);
        int r = 0;

        if (n < 0 && errno == EAGAIN)
            r = wait_for(w, POLLOUT);
        else if (n < 0 && errno != EINTR)
            r = -errno;
        if (r < 0)
            return r;
        if (n > 0)
            (void)tb_take(&data, (size_t)n, &sent);
    }
    return 0;
}

/* Stops at our reply; an error without id is the answer to a request that was not understood. */
static bool on_line(struct tb_span line, void *user) {
    struct wait *w = user;
    json_t *o = tb_json_object(line, w->error, sizeof w->error), *id = json_object_get(o, "id");

    if (!o)
        return false;
    if (json_object_get(o, "event") || (id && !json_equal(id, w->id))) {
        json_decref(o);
        return true;
    }
    w->reply = o;
    return false;
}

static int receive(struct wait *w) {
    struct tb_outbuf partial = {0};
    uint8_t buf[16384];
    int r = 0;

    while (r == 0 && !w->reply) {
        ssize_t n;

        r = wait_for(w, POLLIN);
        if (r < 0)
            break;
        n = recv(w->fd, buf, sizeof buf, 0);
        if (n == 0)
            r = TB_ECLOSED;
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            r = -errno;
        else if (n > 0 &&
                 !tb_each_line(&partial, tb_span(buf, (size_t)n), TB_CONN_OUT_MAX, on_line, w) &&
                 !w->reply)
            r = TB_EPROTO;
    }
    tb_outbuf_done(&partial);
    return r;
}

static void explain(const struct wait *w, const struct tb_addr *at, const char *step, int r,
                    struct tb_error *e) {
    char text[300];

    tb_addr_str(at, text, sizeof text);
    if (r == TB_ETIMEOUT)
        tb_error_set(e, r, NULL, 0, "%s: no answer within %u ms", text, w->timeout_ms);
    else
        tb_error_set(e, r, NULL, 0, "%s: cannot %s: %s", text, step,
                     w->error[0] ? w->error : tb_strerror(r));
}

json_t *tb_ctl_request(const struct tb_addr *at, const json_t *request, unsigned timeout_ms,
                       struct tb_error *e) {
    struct wait w = {.fd = -1, .timeout_ms = (unsigned)tb_timeout_ms(timeout_ms)};
    json_t *copy = json_copy(tb_unconst(request)); /* shallow: only the id is ours */
    const char *step = "connect";
    char *text;
    size_t n;
    int r;

    if (!json_object_get(copy, "id"))
        json_object_set_new(copy, "id", json_integer(1));
    w.id = json_object_get(copy, "id");
    w.end_ms = tb_clock_mono_ms() + w.timeout_ms;
    text = tb_json_line(copy, &n);
    r = connect_to(&w, at);
    if (r == 0) {
        step = "send the request";
        r = send_all(&w, tb_span(text, n));
    }
    if (r == 0) {
        step = "receive the reply";
        r = receive(&w);
    }
    if (r < 0)
        explain(&w, at, step, r, e);
    if (w.fd >= 0)
        close(w.fd);
    free(text);
    json_decref(copy);
    return w.reply;
}
