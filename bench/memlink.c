/* libiotsafe's transport to a device in memory. A slow card parks the task that waits for it; its
 * timer is the task's own. */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "iotsafe/at.h"
#include "iotsafe/iotsafe.h"
#include "simcard/card.h"
#include "task.h"

struct memlink {
    struct iotsafe_transport t;
    struct bench_device *d;
    struct bench_slowness *slow;
    enum bench_path path;
    struct iotsafe_at at;
};

/* ---- time ---- */

static uint64_t operations(const struct bench_device *d) {
    struct card_counters c;

    card_counters(d->card, &c);
    return c.keygen + c.sign + c.verify + c.ecdh + c.prf + c.hkdf + c.random;
}

static int wait_until(struct dev_task *task, uint64_t until) {
    int r = 0;

    while (r == 0 && dev_now() < until)
        r = dev_task_wait(task, until);
    return r == UV_ECANCELED ? IOTSAFE_E_TIMEOUT : 0;
}

/* The card has answered in no time; the device hears of it when a slow one would have. */
static int take_time(struct bench_slowness *slow, uint64_t done) {
    struct dev_task *task = dev_task_current();
    int r = 0;

    if (done == 0)
        return 0;
    if (slow->operation_ms)
        r = wait_until(task, dev_now() + slow->operation_ms * done);
    if (r == 0 && slow->hold) {
        slow->held++;
        while (slow->hold && r == 0)
            r = dev_task_wait(task, 0);
        slow->held--;
        r = r < 0 ? IOTSAFE_E_TIMEOUT : 0;
    }
    return r;
}

/* ---- ways ---- */

static int direct(struct memlink *l, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    struct tb_buf out = tb_buf(rsp, cap);
    int r = bench_device_exchange(l->d, tb_span(cmd, n), &out);

    return r < 0 ? IOTSAFE_E_LINK : (int)out.n;
}

static void on_te_output(struct tb_span text, void *arg) {
    struct memlink *l = arg;

    (void)iotsafe_at_input(&l->at, text.p, text.n);
}

static int by_modem(struct memlink *l, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    const char *out;
    size_t length;
    int r = iotsafe_at_command(&l->at, cmd, n, rsp, cap);

    if (r < 0)
        return r;
    while (iotsafe_at_busy(&l->at)) {
        length = iotsafe_at_output(&l->at, &out);
        if (length == 0)
            return IOTSAFE_E_LINK; /* this modem answers at once or never */
        r = bench_device_say(l->d, tb_span(out, length));
        if (r < 0)
            return IOTSAFE_E_LINK;
    }
    return iotsafe_at_result(&l->at);
}

static int transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t n, uint8_t *rsp,
                    size_t cap) {
    struct memlink *l = (struct memlink *)t;
    uint64_t before = l->slow ? operations(l->d) : 0;
    int r = l->path == BENCH_DIRECT ? direct(l, cmd, n, rsp, cap) : by_modem(l, cmd, n, rsp, cap);
    int late = l->slow ? take_time(l->slow, operations(l->d) - before) : 0;

    return late < 0 ? late : r;
}

static void close_link(struct iotsafe_transport *t) {
    struct memlink *l = (struct memlink *)t;

    l->d->te_output = NULL;
    free(l);
}

int bench_link_memory(struct bench_device *d, enum bench_path path, struct bench_slowness *slow,
                      struct iotsafe_transport **ret) {
    static const struct iotsafe_transport_ops ops = {.transmit = transmit, .close = close_link};
    struct memlink *l = calloc(1, sizeof *l);

    if (!l)
        return TB_ENOMEM;
    l->t.ops = &ops;
    l->t.flags = path == BENCH_DIRECT ? IOTSAFE_TRANSPORT_LE
                 : path == BENCH_CGLA ? IOTSAFE_TRANSPORT_OWNS_CHANNEL
                                      : 0;
    l->d = d;
    l->path = path;
    l->slow = slow;
    iotsafe_at_init(&l->at, path == BENCH_CGLA ? IOTSAFE_AT_CGLA : IOTSAFE_AT_CSIM);
    if (path != BENCH_DIRECT) {
        d->te_output = on_te_output;
        d->te_arg = l;
    }
    *ret = &l->t;
    return 0;
}
