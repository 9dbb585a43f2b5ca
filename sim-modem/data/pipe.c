#include "pipe.h"

#include <stdlib.h>
#include <string.h>

#include "tb/loop.h"

struct chunk {
    struct chunk *next;
    uint64_t due;
    size_t n;
    uint8_t bytes[];
};

uint64_t pipe_now_us(void) {
    return tb_clock_mono_ns() / 1000;
}

uint64_t pipe_timeout_ms(uv_loop_t *loop, uint64_t due) {
    uint64_t now = pipe_now_us();

    uv_update_time(loop);
    return due > now ? (due - now + 999) / 1000 : 0;
}

void pipe_init(struct pipe *p, uv_loop_t *loop, struct radio *radio, struct radio_flow *flow,
               enum radio_dir dir) {
    *p = (struct pipe){.radio = radio, .flow = flow, .dir = dir};
    p->last = &p->first;
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
}

static void drop_first(struct pipe *p) {
    struct chunk *c = p->first;

    p->first = c->next;
    if (!p->first)
        p->last = &p->first;
    p->queued -= c->n;
    free(c);
}

static void tell_end(struct pipe *p) {
    if (!p->ended || p->first || p->done || !p->to)
        return;
    p->done = true;
    tb_conn_end(p->to);
}

static void pump(uv_timer_t *t) {
    struct pipe *p = t->data;
    uint64_t now = pipe_now_us();

    while (p->first && p->first->due <= now && p->to && !p->blocked) {
        int r = tb_conn_write(p->to, &(struct tb_span){p->first->bytes, p->first->n}, 1);

        if (r < 0)
            return; /* it is about to close, which ends us */
        p->blocked = r == 0;
        drop_first(p);
    }
    if (p->first && p->to && !p->blocked)
        uv_timer_start(t, pump, pipe_timeout_ms(t->loop, p->first->due), 0);
    tell_end(p);
    if (p->from && !p->ended && !p->blocked && p->queued < PIPE_MAX / 2)
        tb_conn_resume(p->from);
}

void pipe_put_at(struct pipe *p, struct tb_span bytes, uint64_t due) {
    struct chunk *c = malloc(sizeof *c + bytes.n);

    if (!c)
        abort();
    *c = (struct chunk){.due = due, .n = bytes.n};
    memcpy(c->bytes, bytes.p, bytes.n);
    if (!p->first)
        uv_timer_start(&p->timer, pump, pipe_timeout_ms(p->timer.loop, due), 0);
    *p->last = c;
    p->last = &c->next;
    p->queued += bytes.n;
}

void pipe_put(struct pipe *p, struct tb_span bytes) {
    uint64_t now = pipe_now_us(), due = radio_stream(p->radio, p->flow, p->dir, now, bytes.n);
    bool full;

    if (due <= now && !p->first && !p->blocked) { /* without a radio nothing is copied */
        int r = tb_conn_write(p->to, &bytes, 1);

        p->blocked = r == 0;
        full = p->blocked;
    } else {
        pipe_put_at(p, bytes, due);
        full = p->queued >= PIPE_MAX;
    }
    if (full)
        tb_conn_pause(p->from);
}

void pipe_drained(struct pipe *p) {
    p->blocked = false;
    pump(&p->timer);
}

void pipe_end(struct pipe *p) {
    p->ended = true;
    tell_end(p);
}

void pipe_close(struct pipe *p, uv_close_cb cb) {
    while (p->first)
        drop_first(p);
    p->from = p->to = NULL;
    uv_close((uv_handle_t *)&p->timer, cb);
}
