/* Transports over a modem: the AT codec, blocking, over bytes of whoever has them. */
#include <stdlib.h>

#include "link.h"
#include "transports.h"

struct at_transport {
    struct iotsafe_transport base;
    const struct iotsafe_io *io;
    void *user;
    int timeout_ms;
    bool broken; /* the link failed; reopen it before the next command */
    struct iotsafe_at at;
};

static struct at_transport *at_of(struct iotsafe_transport *t) {
    return (struct at_transport *)(void *)t;
}

enum { READ_MAX = 1024 };

static int reopen(struct at_transport *a) {
    int r = a->io->reopen ? a->io->reopen(a->user) : IOTSAFE_E_LINK;

    if (r < 0)
        return r;
    a->broken = false;
    iotsafe_at_reset(&a->at);
    return 0;
}

/* Milliseconds until the deadline; without a clock each wait has all of them. */
static int time_left(const struct at_transport *a, uint64_t end) {
    uint64_t now;

    if (!a->io->now_ms)
        return a->timeout_ms;
    now = a->io->now_ms(a->user);
    return now < end ? (int)(end - now) : 0;
}

static int exchange(struct at_transport *a) {
    uint64_t end = a->io->now_ms ? a->io->now_ms(a->user) + (uint64_t)a->timeout_ms : 0;
    int left = a->timeout_ms;
    char buf[READ_MAX];

    while (iotsafe_at_busy(&a->at)) {
        const char *line;
        size_t n = iotsafe_at_output(&a->at, &line);
        int r = n ? a->io->write(a->user, line, n) : 0;

        if (r < 0)
            return r;
        r = a->io->read(a->user, buf, sizeof buf, left);
        if (r <= 0 || (size_t)r > sizeof buf)
            return r < 0 ? r : IOTSAFE_E_TIMEOUT;
        if (iotsafe_at_input(&a->at, buf, (size_t)r))
            left = time_left(a, end);
    }
    return iotsafe_at_result(&a->at);
}

static int at_transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len,
                       uint8_t *rsp, size_t rsp_cap) {
    struct at_transport *a = at_of(t);
    int r = a->broken ? reopen(a) : 0;

    if (r == 0)
        r = iotsafe_at_command(&a->at, cmd, cmd_len, rsp, rsp_cap);
    if (r < 0)
        return r;
    r = exchange(a);
    if (iotsafe_at_busy(&a->at)) { /* no answer, or no link: what is late is not to be mistaken */
        iotsafe_at_timeout(&a->at);
        a->broken = r != IOTSAFE_E_TIMEOUT;
    } else if (r == IOTSAFE_E_LINK && iotsafe_at_cme(&a->at) < 0) {
        a->broken = true; /* the codec cannot tell the modem's answers apart any more */
    }
    return r;
}

static int at_lock(struct iotsafe_transport *t) {
    struct at_transport *a = at_of(t);
    int r = a->broken ? reopen(a) : 0;

    return r < 0 ? r : a->io->lock(a->user);
}

static void at_unlock(struct iotsafe_transport *t) {
    at_of(t)->io->unlock(at_of(t)->user);
}

static void at_abandon(struct iotsafe_transport *t) {
    struct at_transport *a = at_of(t);

    if (a->io->abandon)
        a->io->abandon(a->user);
    else if (a->io->close)
        a->io->close(a->user);
    free(a);
}

static void at_close(struct iotsafe_transport *t) {
    struct at_transport *a = at_of(t);

    if (a->io->close)
        a->io->close(a->user);
    free(a);
}

/* Two tables: without a lock there is nothing to call. */
static const struct iotsafe_transport_ops at_ops = {
    .transmit = at_transmit, .abandon = at_abandon, .close = at_close};
static const struct iotsafe_transport_ops at_locked_ops = {.transmit = at_transmit,
                                                           .lock = at_lock,
                                                           .unlock = at_unlock,
                                                           .abandon = at_abandon,
                                                           .close = at_close};

int iotsafe_transport_at(enum iotsafe_at_mode mode, const struct iotsafe_io *io, void *user,
                         int timeout_ms, struct iotsafe_transport **ret) {
    struct at_transport *a = calloc(1, sizeof *a);

    if (!a)
        return IOTSAFE_E_NO_MEMORY;
    a->base.ops = io->lock && io->unlock ? &at_locked_ops : &at_ops;
    a->base.flags = (mode == IOTSAFE_AT_CGLA ? IOTSAFE_TRANSPORT_OWNS_CHANNEL : 0U) |
                    (io->lock && io->unlock ? IOTSAFE_TRANSPORT_SHARED : 0U);
    a->io = io;
    a->user = user;
    a->timeout_ms = timeout_ms > 0 ? timeout_ms : LINK_TIMEOUT_MS;
    iotsafe_at_init(&a->at, mode);
    *ret = &a->base;
    return IOTSAFE_OK;
}

/* ---- over a serial port or socket of this machine ---- */

static int io_write(void *user, const void *bytes, size_t n) {
    return link_write(user, bytes, n);
}

static int io_read(void *user, void *buf, size_t cap, int timeout_ms) {
    return link_read(user, buf, cap, timeout_ms);
}

static int io_reopen(void *user) {
    link_drop(user);
    return link_connect(user);
}

static uint64_t io_now_ms(void *user) {
    (void)user;
    return link_now_ms();
}

static int io_lock(void *user) {
    return link_lock(user);
}

static void io_unlock(void *user) {
    link_unlock(user);
}

static void io_close(void *user) {
    link_done(user);
    free(user);
}

static void io_abandon(void *user) {
    link_abandon(user);
    free(user);
}

static const struct iotsafe_io socket_io = {.write = io_write,
                                            .read = io_read,
                                            .reopen = io_reopen,
                                            .now_ms = io_now_ms,
                                            .abandon = io_abandon,
                                            .close = io_close};
static const struct iotsafe_io tty_io = {.write = io_write,
                                         .read = io_read,
                                         .reopen = io_reopen,
                                         .now_ms = io_now_ms,
                                         .lock = io_lock,
                                         .unlock = io_unlock,
                                         .abandon = io_abandon,
                                         .close = io_close};

int transport_at(const char *spec, enum iotsafe_at_mode mode, struct iotsafe_transport **ret,
                 char *err, size_t err_cap) {
    struct link_config config;
    struct link *l;
    int r = link_parse(spec, &config, err, err_cap);

    if (r < 0)
        return r;
    l = calloc(1, sizeof *l);
    if (!l)
        return IOTSAFE_E_NO_MEMORY;
    link_init(l, &config);
    r = link_connect(l);
    if (r < 0)
        snprintf(err, err_cap, "%s", l->why[0] ? l->why : iotsafe_strerror(r));
    else
        r = iotsafe_transport_at(mode, l->tty ? &tty_io : &socket_io, l, config.timeout_ms, ret);
    if (r < 0)
        io_abandon(l);
    return r;
}
