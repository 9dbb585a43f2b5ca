/* Shows what passes through a transport. */
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

struct trace {
    struct iotsafe_transport base;
    struct iotsafe_transport *inner;
};

static struct iotsafe_transport *inner(struct iotsafe_transport *t) {
    return ((struct trace *)(void *)t)->inner;
}

static void show(const char *mark, const uint8_t *p, size_t n) {
    fprintf(stderr, "%s ", mark);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%02X", p[i]);
    fprintf(stderr, "\n");
}

static int transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                    size_t rsp_cap) {
    int r;

    show(">", cmd, cmd_len);
    r = inner(t)->ops->transmit(inner(t), cmd, cmd_len, rsp, rsp_cap);
    if (r > 0)
        show("<", rsp, (size_t)r);
    else
        fprintf(stderr, "< %s\n", r ? iotsafe_strerror(r) : "(confirmed without an answer)");
    t->flags = inner(t)->flags;
    return r;
}

static int lock(struct iotsafe_transport *t) {
    int r = inner(t)->ops->lock ? inner(t)->ops->lock(inner(t)) : 0;

    t->flags = inner(t)->flags;
    return r;
}

static void unlock(struct iotsafe_transport *t) {
    if (inner(t)->ops->unlock)
        inner(t)->ops->unlock(inner(t));
}

static int reset(struct iotsafe_transport *t) {
    return inner(t)->ops->reset ? inner(t)->ops->reset(inner(t)) : IOTSAFE_E_UNSUPPORTED;
}

static void end(struct iotsafe_transport *t) {
    iotsafe_transport_close(inner(t));
    free(t);
}

static const struct iotsafe_transport_ops ops = {
    .transmit = transmit, .lock = lock, .unlock = unlock, .reset = reset, .close = end};

struct iotsafe_transport *tool_trace(struct iotsafe_transport *t) {
    struct trace *trace = calloc(1, sizeof *trace);

    if (!trace)
        return NULL;
    *trace = (struct trace){.base = {&ops, t->flags}, .inner = t};
    return &trace->base;
}
