#pragma once
/* The event loop of a program: signals, orderly end, deadlines, clock.
 *
 * A program makes one tb_loop, starts its parts on it and calls tb_loop_run(). SIGINT, SIGTERM or
 * tb_loop_stop() run the stop hooks in reverse order of registration, in a turn of the loop of
 * their own; each part closes its handles; tb_loop_run() returns when the last handle is closed and
 * asserts uv_loop_close() == 0. */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "tb/error.h"

struct tb_loop;
typedef void tb_stop_fn(void *arg);

/* Ignores SIGPIPE, catches SIGINT and SIGTERM (a second one ends the process at once with 128 +
 * signal), and, if die_with_parent, exchanges the signal that kills us when the parent dies for
 * SIGTERM: a parent that set none (a shell) is outlived. Aborts on out of memory. */
struct tb_loop *tb_loop_new(bool die_with_parent);
uv_loop_t *tb_loop_uv(struct tb_loop *l);

/* hook runs once when the loop is told to stop (at once, if that has happened); it must lead to the
 * closing of every handle of its part. */
void tb_loop_on_stop(struct tb_loop *l, tb_stop_fn *hook, void *arg);

/* Runs until everything is closed, then frees l. Returns the exit code given to tb_loop_stop(), 0
 * after a signal. */
int tb_loop_run(struct tb_loop *l);
void tb_loop_stop(struct tb_loop *l, int exit_code); /* idempotent; the first code wins */
/* The signal that told the loop to stop, or 0. */
int tb_loop_signal(const struct tb_loop *l);

/* ms times the environment's TB_TIMEOUT_FACTOR (0.001 … 1000, default 1), read once. */
uint64_t tb_timeout_ms(uint64_t ms);

/* One-shot deadline: a timer inside its owner. All waits of the project use it. */
struct tb_deadline {
    uv_timer_t timer;
    void (*fn)(void *arg);
    void *arg;
};
void tb_deadline_init(uv_loop_t *loop, struct tb_deadline *d, void (*fn)(void *), void *arg);
void tb_deadline_start(struct tb_deadline *d,
                       uint64_t ms); /* restarts; ms scaled by TB_TIMEOUT_FACTOR */
void tb_deadline_stop(struct tb_deadline *d);
void tb_deadline_close(struct tb_deadline *d,
                       uv_close_cb cb); /* d->timer.data is the owner's to use */

/* Wall clock in ms since 1970 plus the program's offset (scenarios move it), and monotonic ms. */
int64_t tb_clock_wall_ms(void);
void tb_clock_set_offset_ms(int64_t offset);
uint64_t tb_clock_mono_ms(void);
uint64_t tb_clock_mono_ns(void);
