#pragma once
/* One direction of a relayed connection: what is read from one side reaches the other when the
 * radio has carried it. Bounded: beyond PIPE_MAX bytes on the way the sender is not read. */
#include "radio.h"
#include "tb/conn.h"

enum { PIPE_MAX = 1 << 15 };

struct chunk;

struct pipe {
    struct radio *radio;
    struct radio_flow *flow; /* of both directions */
    enum radio_dir dir;
    struct tb_conn *from, *to; /* NULL: not there yet, or not any more */
    uv_timer_t timer;
    struct chunk *first, **last;
    size_t queued;
    bool blocked; /* the receiver does not read */
    bool ended;   /* the sender has said all */
    bool done;    /* … and the receiver has been told */
};

void pipe_init(struct pipe *p, uv_loop_t *loop, struct radio *radio, struct radio_flow *flow,
               enum radio_dir dir);
/* Bytes that arrive at due (microseconds of tb_clock_mono_ns()), as they are. */
void pipe_put_at(struct pipe *p, struct tb_span bytes, uint64_t due);
/* Bytes from the sender: all are taken; from is paused until they have gone on. */
void pipe_put(struct pipe *p, struct tb_span bytes);
/* The receiver has room again. */
void pipe_drained(struct pipe *p);
/* The sender has said all. After the last byte the receiver is told. */
void pipe_end(struct pipe *p);
/* Throws away what is on the way, and closes the timer; cb comes once. timer.data is the caller's
 * from then on. */
void pipe_close(struct pipe *p, uv_close_cb cb);

uint64_t pipe_now_us(void);
/* Milliseconds for a timer that must not come before due. */
uint64_t pipe_timeout_ms(uv_loop_t *loop, uint64_t due);
