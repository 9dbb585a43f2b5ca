/* Any bytes as a control connection. The first byte says how large the pieces are in which the rest
 * arrives. */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl_internal.h"
#include "json_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tb_ctl_call *parked;

static int echo(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                void *user) {
    (void)call;
    (void)user;
    if (!json_object_get(request, "text"))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "no text");
    json_object_set(reply, "text", json_object_get(request, "text"));
    return 0;
}

static int park(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                void *user) {
    (void)request;
    (void)reply;
    (void)e;
    (void)user;
    if (parked)
        tb_ctl_reply(parked, json_object(), 0, NULL);
    parked = call;
    return TB_CTL_LATER;
}

static const struct tb_ctl_verb verbs[] = {
    {"echo", "text: answers with it", echo},
    {"park", "answers when the next one is parked", park},
    {0},
};

static void drain(uv_loop_t *loop, int fd) {
    static char buf[65536];

    do
        uv_run(loop, UV_RUN_NOWAIT);
    while (recv(fd, buf, sizeof buf, MSG_DONTWAIT) > 0);
}

static void serve(const uint8_t *data, size_t size, size_t piece) {
    struct tb_ctl *ctl;
    uv_loop_t loop;
    int fds[2], r;

    uv_loop_init(&loop);
    r = tb_ctl_open(&loop, NULL, "fuzz", verbs, NULL, NULL, &ctl, NULL);
    assert(r == 0);
    r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
    assert(r == 0);
    r = tb_ctl_adopt(ctl, fds[0]);
    assert(r == 0);
    for (size_t at = 0; at < size;) {
        size_t n = size - at < piece ? size - at : piece;
        ssize_t w = send(fds[1], data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        drain(&loop, fds[1]);
        if (w <= 0 && size - at > 0)
            break; /* it has hung up */
        at += (size_t)w;
        tb_ctl_event(ctl, "tick", NULL);
    }
    shutdown(fds[1], SHUT_WR);
    drain(&loop, fds[1]);
    close(fds[1]);
    if (parked)
        tb_ctl_reply(parked, NULL, TB_ECLOSED, NULL);
    parked = NULL;
    tb_ctl_close(ctl);
    uv_run(&loop, UV_RUN_DEFAULT);
    r = uv_loop_close(&loop);
    assert(r == 0);
}

/* Sum over the lines; the same however they arrive. */
static bool add_line(struct tb_span line, void *user) {
    uint64_t *sum = user;
    char error[64];
    json_t *o = tb_json_object(line, error, sizeof error);

    *sum = *sum * 31 + line.n + (o ? 7 : 0);
    for (size_t i = 0; i < line.n; i++)
        *sum = *sum * 31 + line.p[i];
    json_decref(o);
    return true;
}

static uint64_t ask(const uint8_t *data, size_t size, size_t piece) {
    struct tb_outbuf partial = {0};
    uint64_t sum = 0;

    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;

        if (!tb_each_line(&partial, tb_span(data + at, n), 1 << 20, add_line, &sum))
            break;
    }
    tb_outbuf_done(&partial);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t piece;

    if (size < 1)
        return 0;
    piece = (size_t)data[0] * 16 + 1;
    serve(data + 1, size - 1, piece);
    if (ask(data + 1, size - 1, piece) != ask(data + 1, size - 1, size))
        abort();
    return 0;
}
