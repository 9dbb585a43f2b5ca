/* Clocks, deadlines. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "tb/loop.h"

static _Atomic int64_t wall_offset_ms;

static uint64_t now_ns(clockid_t id) {
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t tb_clock_wall_ms(void) {
    return (int64_t)(now_ns(CLOCK_REALTIME) / 1000000u) + wall_offset_ms;
}

void tb_clock_set_offset_ms(int64_t offset) {
    wall_offset_ms = offset;
}

uint64_t tb_clock_mono_ms(void) {
    return now_ns(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t tb_clock_mono_ns(void) {
    return now_ns(CLOCK_MONOTONIC);
}

uint64_t tb_timeout_ms(uint64_t ms) {
    static _Atomic int factor_permille; /* 0: not yet read from the environment */
    int f = factor_permille;

    if (f == 0) {
        const char *text = getenv("TB_TIMEOUT_FACTOR");
        double d = text ? strtod(text, NULL) : 1.0;

        f = d >= 0.001 && d <= 1000.0 ? (int)(d * 1000.0) : 1000;
        factor_permille = f;
    }
    return f == 1000 ? ms : ms * (uint64_t)f / 1000u;
}

static void on_timer(uv_timer_t *timer) {
    struct tb_deadline *d = (struct tb_deadline *)timer; /* its first member */

    d->fn(d->arg);
}

void tb_deadline_init(uv_loop_t *loop, struct tb_deadline *d, void (*fn)(void *), void *arg) {
    uv_timer_init(loop, &d->timer); /* always 0 */
    d->fn = fn;
    d->arg = arg;
}

void tb_deadline_start(struct tb_deadline *d, uint64_t ms) {
    /* The loop's time stands still during a callback and before the loop runs: a deadline that
     * starts after slow work would otherwise end too early. */
    uv_update_time(d->timer.loop);
    uv_timer_start(&d->timer, on_timer, tb_timeout_ms(ms), 0);
}

void tb_deadline_stop(struct tb_deadline *d) {
    uv_timer_stop(&d->timer);
}

void tb_deadline_close(struct tb_deadline *d, uv_close_cb cb) {
    uv_close((uv_handle_t *)&d->timer, cb);
}
