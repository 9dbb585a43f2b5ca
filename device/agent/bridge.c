#include "bridge.h"

#include <stdlib.h>
#include <string.h>

#include "mqtt.h"
#include "tb/mqtt.h"

enum { CANDIDATES = 4, BLOCK = 16384 };

struct dev_bridge {
    struct dev_task *task;
    struct dev_bridge_config cfg;
    struct tb_listener *listener;
    struct dev_stream
        *candidate[CANDIDATES]; /* came, but have not said CONNECT yet; oldest first */
    struct dev_stream *local;   /* paho */
    size_t connect_n;           /* bytes of the CONNECT at the front of local */
};

/* The i-th is none any more: taken, or to be dropped. */
static struct dev_stream *take_candidate(struct dev_bridge *b, size_t i) {
    struct dev_stream *s = b->candidate[i];

    for (; i + 1 < CANDIDATES; i++)
        b->candidate[i] = b->candidate[i + 1];
    b->candidate[i] = NULL;
    return s;
}

static void drop_candidate(struct dev_bridge *b, size_t i) {
    dev_stream_reset(take_candidate(b, i));
}

static void on_accept(struct tb_listener *l, void *user) {
    struct dev_bridge *b = user;
    struct dev_stream *s;
    size_t i = 0;

    if (dev_stream_accept(l, &s) < 0)
        return;
    if (b->candidate[CANDIDATES - 1])
        drop_candidate(b, 0); /* silent for the longest time */
    while (b->candidate[i])
        i++;
    b->candidate[i] = s;
    dev_stream_owner(s, b->task);
    dev_task_wake(b->task);
}

int dev_bridge_open(struct dev_task *t, const struct dev_bridge_config *cfg, uint16_t *ret_port,
                    struct dev_bridge **ret) {
    const struct tb_addr at = {.host = "127.0.0.1"};
    struct dev_bridge *b = calloc(1, sizeof *b);
    int r;

    if (!b)
        abort();
    b->task = t;
    b->cfg = *cfg;
    r = tb_listener_open(t->loop, &at, on_accept, b, &b->listener);
    if (r < 0) {
        free(b);
        return r;
    }
    *ret_port = tb_listener_addr(b->listener)->port;
    *ret = b;
    return 0;
}

static void stop_listening(struct dev_bridge *b) {
    if (b->listener)
        tb_listener_close(b->listener);
    b->listener = NULL;
    while (b->candidate[0])
        drop_candidate(b, 0);
}

void dev_bridge_close(struct dev_bridge *b) {
    if (!b)
        return;
    stop_listening(b);
    dev_stream_close(b->local);
    free(b);
}

/* ---- CONNECT ---- */

/* In time that does not depend on where the two differ. */
static bool same_token(const char *want, struct tb_span have) {
    unsigned diff = have.n != strlen(want);

    for (size_t i = 0; i < have.n && want[i]; i++)
        diff |= (unsigned)(have.p[i] ^ (uint8_t)want[i]);
    return diff == 0;
}

/* 1: it is paho. 0: not known yet. Negative: somebody else. */
static int judge(const struct dev_bridge *b, const struct dev_stream *s, size_t *ret_n) {
    struct tb_mqtt_connect c;
    struct tb_mqtt_refusal refusal;
    int n = tb_mqtt_connect_parse(dev_stream_data(s), &c, &refusal);

    if (n == TB_EMORE)
        return dev_stream_status(s);
    if (n < 0)
        return n;
    if (!c.has_password || !same_token(b->cfg.token, c.password))
        return TB_EPROTO;
    *ret_n = (size_t)n;
    return 1;
}

int dev_bridge_wait(struct dev_bridge *b, uint64_t until) {
    size_t i = 0;
    int r;

    for (;;) {
        for (i = 0; i < CANDIDATES && b->candidate[i];) {
            r = judge(b, b->candidate[i], &b->connect_n);
            if (r == 1) {
                b->local = take_candidate(b, i);
                stop_listening(b);
                return 0;
            }
            if (r < 0)
                drop_candidate(b, i);
            else
                i++;
        }
        r = dev_task_wait(b->task, until);
        if (r < 0)
            return r;
    }
}

/* The CONNECT goes on with the hub's user and password in place of paho's. */
static int send_connect(struct dev_bridge *b, struct dev_channel *ch, struct dev_failure *why) {
    struct tb_mqtt_connect c;
    struct tb_mqtt_refusal refusal;
    struct tb_buf out;
    size_t size;
    uint8_t *room;
    int r = tb_mqtt_connect_parse(dev_stream_data(b->local), &c, &refusal);

    if (r < 0)
        return r;
    c.has_user = b->cfg.user != NULL;
    c.user = c.has_user ? tb_span_str(b->cfg.user) : TB_SPAN_NONE;
    c.has_password = b->cfg.user && b->cfg.password;
    c.password = c.has_password ? tb_span_str(b->cfg.password) : TB_SPAN_NONE;
    size = tb_mqtt_connect_size(&c);
    room = malloc(size);
    if (!room)
        abort();
    out = tb_buf(room, size);
    tb_mqtt_put_connect(&out, &c);
    r = tb_buf_ok(&out) ? ch->ops->write(ch, out.p, out.n, why) : TB_ESPACE;
    if (r < 0)
        r = dev_channel_last_words(ch, r, why);
    tb_wipe(room, size);
    free(room);
    dev_stream_eat(b->local, b->connect_n);
    b->connect_n = 0;
    return r;
}

/* ---- both ways ---- */

static int run_up(struct dev_bridge *b, struct dev_channel *ch, struct dev_failure *why) {
    struct tb_span data = dev_stream_data(b->local);
    int r;

    if (data.n == 0 || (ch->stream && dev_stream_full(ch->stream)))
        return 0;
    r = ch->ops->write(ch, data.p, data.n, why);
    if (r < 0)
        return dev_channel_last_words(ch, r, why);
    dev_stream_eat(b->local, data.n);
    return 1;
}

static int run_down(struct dev_bridge *b, struct dev_channel *ch, struct dev_failure *why) {
    uint8_t block[BLOCK];
    int r;

    if (dev_stream_full(b->local))
        return 0;
    r = ch->ops->read(ch, block, sizeof block, why);
    if (r == UV_EAGAIN)
        return 0;
    if (r == TB_ECLOSED)
        return UV_EOF;
    if (r < 0)
        return r;
    /* When paho is gone nobody wants these bytes; that it is gone is noticed by the caller. */
    (void)dev_stream_write(b->local, block, (size_t)r);
    return 1;
}

int dev_bridge_run(struct dev_bridge *b, struct dev_channel *ch, struct dev_failure *why) {
    int up, down;

    if (b->connect_n) {
        up = send_connect(b, ch, why);
        if (up < 0)
            return up;
    }
    up = run_up(b, ch, why);
    if (up < 0)
        return up;
    down = run_down(b, ch, why);
    if (down < 0)
        return down;
    if (up == 0 && dev_stream_status(b->local) < 0 && dev_stream_data(b->local).n == 0)
        return TB_ECLOSED;
    return up || down;
}
