#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocking.h"
#include "iotsafe/at.h"
#include "iotsafe/iotsafe.h"
#include "stream.h"
#include "tb/vpcd.h"

enum { DEFAULT_TIMEOUT_MS = 30000, DIAL_TIMEOUT_MS = 5000, ATR_MAX = 33, PCSC_MAX = 255 };

struct link {
    struct iotsafe_transport t;
    uv_loop_t *loop;
    bool vpcd, tty;
    char where[280]; /* address or path */
    unsigned speed, timeout_ms;
    struct dev_stream *stream; /* NULL: to be dialled */
    struct iotsafe_at at;
    char why[400];
};

static int fail(struct link *l, int err, const char *what, int cause) {
    snprintf(l->why, sizeof l->why, "%s: %s: %s", l->where, what, tb_strerror(cause));
    return err;
}

static void hang_up(struct link *l) {
    dev_stream_reset(l->stream);
    l->stream = NULL;
    if (!l->vpcd)
        iotsafe_at_reset(&l->at);
}

/* ---- vpcd: we are the reader ---- */

static int put_frame(struct link *l, struct tb_span body) {
    uint8_t room[TB_VPCD_HEADER + IOTSAFE_AT_MAX_COMMAND];
    struct tb_buf out = TB_BUF(room);

    tb_put_vpcd(&out, body);
    if (!tb_buf_ok(&out))
        return IOTSAFE_E_ARGUMENT;
    return dev_stream_write(l->stream, out.p, out.n);
}

/* The next frame, at most cap bytes: its size. */
static int take_frame(struct link *l, uint8_t *buf, size_t cap, uint64_t until) {
    for (;;) {
        struct tb_span data = dev_stream_data(l->stream), rest = data, body;
        int r = tb_vpcd_next(&rest, &body);

        if (r == 1) {
            if (body.n > cap)
                return TB_ESPACE;
            memcpy(buf, body.p, body.n);
            dev_stream_eat(l->stream, data.n - rest.n);
            return (int)body.n;
        }
        r = dev_stream_wait(l->stream, data.n, until);
        if (r < 0)
            return r;
    }
}

static int vpcd_power_up(struct link *l, uint64_t until) {
    uint8_t atr[ATR_MAX];
    int r = put_frame(l, TB_BYTES(TB_VPCD_POWER_ON));

    if (r >= 0)
        r = put_frame(l, TB_BYTES(TB_VPCD_GET_ATR));
    if (r >= 0)
        r = take_frame(l, atr, sizeof atr, until);
    return r < 0 ? r : 0;
}

static int vpcd_exchange(struct link *l, struct tb_span cmd, uint8_t *rsp, size_t cap,
                         uint64_t until) {
    int r = put_frame(l, cmd);

    if (r >= 0)
        r = take_frame(l, rsp, cap, until);
    if (r >= 2)
        return r;
    /* Which answer belongs to which command cannot be told any more. */
    if (r >= 0 || r == TB_ESPACE)
        r = fail(l, IOTSAFE_E_FORMAT, "card", TB_EPROTO);
    else if (r == TB_ETIMEOUT || r == UV_ECANCELED)
        r = fail(l, IOTSAFE_E_TIMEOUT, "card", r);
    else
        r = fail(l, IOTSAFE_E_LINK, "card", r);
    hang_up(l);
    return r;
}

/* ---- AT ---- */

static int at_exchange(struct link *l, struct tb_span cmd, uint8_t *rsp, size_t cap,
                       uint64_t until) {
    struct tb_span data = dev_stream_data(l->stream);
    const char *out;
    size_t n;
    int r;

    if (data.n) { /* what the modem said on its own */
        (void)iotsafe_at_input(&l->at, data.p, data.n);
        dev_stream_eat(l->stream, data.n);
    }
    r = iotsafe_at_command(&l->at, cmd.p, cmd.n, rsp, cap);
    if (r < 0)
        return r;
    while (iotsafe_at_busy(&l->at)) {
        while ((n = iotsafe_at_output(&l->at, &out)) > 0) {
            r = dev_stream_write(l->stream, out, n);
            if (r < 0)
                break;
        }
        if (r >= 0 && iotsafe_at_busy(&l->at))
            r = dev_stream_wait(l->stream, 0, until);
        if (r == TB_ETIMEOUT || r == UV_ECANCELED) {
            iotsafe_at_timeout(&l->at);
            return fail(l, IOTSAFE_E_TIMEOUT, "modem", r);
        }
        if (r < 0) {
            r = fail(l, IOTSAFE_E_LINK, "modem", r);
            hang_up(l);
            return r;
        }
        data = dev_stream_data(l->stream);
        (void)iotsafe_at_input(&l->at, data.p, data.n);
        dev_stream_eat(l->stream, data.n);
    }
    r = iotsafe_at_result(&l->at);
    if (r == IOTSAFE_E_LINK)
        hang_up(l);
    if (r < 0)
        snprintf(l->why, sizeof l->why, "%s: %s", l->where, iotsafe_strerror(r));
    return r;
}

/* ---- transport ---- */

static int dial(struct link *l, struct dev_task *task) {
    uint64_t until = dev_after(DIAL_TIMEOUT_MS);
    int r;

    if (l->tty)
        r = dev_stream_tty(l->loop, l->where, l->speed, &l->stream);
    else
        r = dev_stream_connect(task, l->where, until, &l->stream);
    if (r < 0) {
        l->stream = NULL;
        return fail(l, IOTSAFE_E_LINK, "cannot be reached", r);
    }
    dev_stream_owner(l->stream, task);
    r = l->vpcd ? vpcd_power_up(l, until) : 0;
    if (r < 0) {
        r = fail(l, r == TB_ETIMEOUT ? IOTSAFE_E_ABSENT : IOTSAFE_E_LINK, "no answer to reset", r);
        hang_up(l);
    }
    return r;
}

static int transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                    size_t rsp_cap) {
    struct link *l = (struct link *)t;
    struct dev_task *task = dev_task_current();
    uint64_t until;
    int r;

    if (!task)
        return IOTSAFE_E_LINK;
    l->why[0] = 0;
    if (l->stream && dev_stream_status(l->stream) < 0) {
        /* Broken since the last command: the client must know that its channel is gone. */
        r = fail(l, IOTSAFE_E_LINK, "lost", dev_stream_status(l->stream));
        hang_up(l);
        return r;
    }
    if (!l->stream) {
        r = dial(l, task);
        if (r < 0)
            return r;
    }
    dev_stream_owner(l->stream, task);
    until = dev_after(l->timeout_ms);
    if (l->vpcd)
        r = vpcd_exchange(l, tb_span(cmd, cmd_len), rsp, rsp_cap, until);
    else
        r = at_exchange(l, tb_span(cmd, cmd_len), rsp, rsp_cap, until);
    if (l->stream)
        dev_stream_owner(l->stream, NULL);
    return r;
}

static void close_link(struct iotsafe_transport *t) {
    struct link *l = (struct link *)t;

    dev_stream_close(l->stream);
    free(l);
}

static const struct iotsafe_transport_ops ops = {.transmit = transmit, .close = close_link};

/* ---- the text ---- */

static int bad(struct tb_error *e, const char *spec, const char *what) {
    return tb_error_set(e, TB_EPARSE, NULL, 0, "link %s: %s", spec, what);
}

static int set_option(struct link *l, const char *name, const char *value) {
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (*value == 0 || *end || n == 0 || n > 10000000)
        return TB_EPARSE;
    if (strcmp(name, "speed") == 0 && l->tty)
        l->speed = (unsigned)n;
    else if (strcmp(name, "timeout") == 0)
        l->timeout_ms = (unsigned)n;
    else
        return TB_EPARSE;
    return 0;
}

static int parse(struct link *l, const char *spec, struct tb_error *e) {
    static const struct {
        const char *prefix;
        bool vpcd;
        enum iotsafe_at_mode mode;
    } kinds[] = {{"at:", false, IOTSAFE_AT_CSIM},
                 {"cgla:", false, IOTSAFE_AT_CGLA},
                 {"vpcd:", true, IOTSAFE_AT_CSIM}};
    char text[256], *option, *next, *value;
    const char *where = NULL;

    if (strlen(spec) >= sizeof text)
        return bad(e, "…", "too long");
    snprintf(text, sizeof text, "%s", spec);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].prefix);

        if (strncmp(text, kinds[i].prefix, n) == 0) {
            where = text + n;
            l->vpcd = kinds[i].vpcd;
            l->t.flags = l->vpcd                            ? IOTSAFE_TRANSPORT_LE
                         : kinds[i].mode == IOTSAFE_AT_CGLA ? IOTSAFE_TRANSPORT_OWNS_CHANNEL
                                                            : 0;
            iotsafe_at_init(&l->at, kinds[i].mode);
        }
    }
    if (!where)
        return bad(e, spec, "begins with none of at: cgla: pcsc: vpcd:");
    option = strchr(text, ',');
    if (option)
        *option++ = 0;
    if (!l->vpcd && strncmp(where, "tcp:", 4) == 0)
        where += 4;
    else
        l->tty = !l->vpcd && where[0] == '/';
    if (!*where)
        return bad(e, spec, "no place");
    snprintf(l->where, sizeof l->where, "%s", where);
    for (; option; option = next) {
        next = strchr(option, ',');
        if (next)
            *next++ = 0;
        value = strchr(option, '=');
        if (!value)
            return bad(e, spec, "options are name=value");
        *value++ = 0;
        if (set_option(l, option, value) < 0)
            return bad(e, spec, "options are speed=BAUD (serial ports) and timeout=MS");
    }
    return 0;
}

int dev_link_new(uv_loop_t *loop, const char *spec, struct iotsafe_transport **ret,
                 struct tb_error *e) {
    struct link *l;
    struct tb_addr a;
    int r;

    if (strncmp(spec, "pcsc:", 5) == 0) {
        if (strlen(spec) > PCSC_MAX)
            return bad(e, "pcsc:…", "too long");
        *ret = dev_blocking_new(loop, spec);
        return 0;
    }
    l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->t.ops = &ops;
    l->loop = loop;
    l->timeout_ms = DEFAULT_TIMEOUT_MS;
    r = parse(l, spec, e);
    if (r == 0 && !l->tty)
        r = tb_addr_parse(l->where, &a, e);
    if (r < 0) {
        free(l);
        return r;
    }
    *ret = &l->t;
    return 0;
}

const char *dev_link_why(const struct iotsafe_transport *t) {
    return dev_is_blocking(t) ? dev_blocking_why(t) : ((const struct link *)t)->why;
}
