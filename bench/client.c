#include "client.h"

#include <stdio.h>

#include "bench.h"

enum { PATIENCE_MS = 60000 };

static void note(struct bench_client *c, const struct dev_channel *ch) {
    struct dev_channel_info info = {0};

    ch->ops->info(ch, &info);
    snprintf(c->negotiated, sizeof c->negotiated, "%s, %s%s%s%s", info.version, info.cipher,
             *info.group ? ", " : "", info.group, info.resumed ? ", resumed" : "");
}

/* The server says a byte when it has accepted the handshake. */
static int wait_for_byte(struct dev_channel *ch, uint64_t until, struct dev_failure *why) {
    uint8_t byte;
    int r;

    for (;;) {
        r = ch->ops->read(ch, &byte, sizeof byte, why);
        if (r != UV_EAGAIN)
            return r > 0 ? 0 : r;
        r = dev_stream_wait(ch->stream, 0, until);
        if (r < 0 && r != TB_ECLOSED) {
            dev_fail(why, "no word from the server: %s", tb_strerror(r));
            return r;
        }
    }
}

static int open_channel(struct bench_client *c, struct dev_task *t, struct dev_channel **ret,
                        struct dev_failure *why) {
    uint64_t until = dev_after(PATIENCE_MS);
    struct dev_stream *s;
    struct dev_channel *ch;
    int r = c->datagrams ? dev_stream_connect_udp(t, c->server, until, &s)
                         : dev_stream_connect(t, c->server, until, &s);

    if (r < 0) {
        dev_fail(why, "%s: %s", c->server, tb_strerror(r));
        return r;
    }
    dev_stream_owner(s, t);
    r = dev_channel_open(c->tls, s, &ch, why);
    if (r < 0) {
        dev_stream_close(s);
        return r;
    }
    r = ch->ops->handshake(ch, until, why);
    if (r == 0)
        r = wait_for_byte(ch, until, why);
    if (r < 0) {
        ch->ops->close(ch, false);
        return r;
    }
    if (!c->negotiated[0])
        note(c, ch);
    *ret = ch;
    return 0;
}

int bench_client_open(struct bench_client *c, struct dev_task *t, struct dev_channel **ret) {
    struct dev_failure why = {0};
    uint64_t began = tb_clock_mono_ns();
    int r = open_channel(c, t, ret, &why);

    if (r < 0 && !t->cancelled)
        fprintf(stderr, "iot-bench: %s\n", why.reason);
    if (r == 0 && c->times)
        bench_hist_add(c->times, tb_clock_mono_ns() - began);
    return r;
}

int bench_client_once(struct bench_client *c, struct dev_task *t) {
    struct dev_channel *ch;
    int r = bench_client_open(c, t, &ch);

    if (r == 0)
        ch->ops->close(ch, true);
    return r;
}

/* ---- a task to its end ---- */

struct job {
    struct dev_task task;
    int (*fn)(struct dev_task *t, void *arg);
    void *arg;
    int result;
    bool over;
};

static void job_body(struct dev_task *t, void *arg) {
    struct job *j = arg;

    j->result = j->fn(t, j->arg);
}

static void job_end(struct dev_task *t, void *arg) {
    struct job *j = arg;

    j->over = true;
    uv_stop(t->loop);
}

int bench_run_task(uv_loop_t *loop, int (*fn)(struct dev_task *t, void *arg), void *arg) {
    struct job j = {.fn = fn, .arg = arg};
    int r = dev_task_start(&j.task, loop, job_body, job_end, &j);

    if (r < 0)
        return r;
    while (!j.over)
        uv_run(loop, UV_RUN_DEFAULT);
    return j.result;
}
