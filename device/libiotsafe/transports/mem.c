/* A card in this process. */
#include <stdlib.h>

#include "iotsafe/iotsafe.h"

struct mem {
    struct iotsafe_transport base;
    iotsafe_mem_fn *fn;
    void *user;
};

static int mem_transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len,
                        uint8_t *rsp, size_t rsp_cap) {
    struct mem *m = (struct mem *)(void *)t;

    return m->fn(m->user, cmd, cmd_len, rsp, rsp_cap);
}

static void mem_close(struct iotsafe_transport *t) {
    free(t);
}

static const struct iotsafe_transport_ops mem_ops = {.transmit = mem_transmit, .close = mem_close};

int iotsafe_transport_mem(iotsafe_mem_fn *fn, void *user, struct iotsafe_transport **ret) {
    struct mem *m = calloc(1, sizeof *m);

    if (!m)
        return IOTSAFE_E_NO_MEMORY;
    *m = (struct mem){.base.ops = &mem_ops, .fn = fn, .user = user};
    *ret = &m->base;
    return IOTSAFE_OK;
}
