#include "task.h"

#include <assert.h>

#include "tb/loop.h"

static void on_timer_closed(uv_handle_t *h) {
    struct dev_task *t = h->data;

    t->on_end(t, t->arg);
}

static void body(void *arg) {
    struct dev_task *t = arg;

    t->fn(t, t->arg);
}

static void run(struct dev_task *t) {
    dev_fiber_resume(t->fiber);
    if (!dev_fiber_ended(t->fiber))
        return;
    dev_fiber_free(t->fiber);
    t->fiber = NULL;
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

static void on_timer(uv_timer_t *timer) {
    dev_task_wake(timer->data);
}

int dev_task_start(struct dev_task *t, uv_loop_t *loop, dev_task_fn *fn, dev_task_fn *on_end,
                   void *arg) {
    *t = (struct dev_task){.loop = loop, .fn = fn, .on_end = on_end, .arg = arg};
    int r = dev_fiber_new(DEV_FIBER_STACK, body, t, &t->fiber);

    if (r < 0)
        return r;
    uv_timer_init(loop, &t->timer);
    t->timer.data = t;
    run(t);
    return 0;
}

int dev_task_wait(struct dev_task *t, uint64_t until) {
    uint64_t now;

    assert(dev_task_current() == t);
    if (t->cancelled)
        return UV_ECANCELED;
    if (t->limit && (!until || t->limit < until))
        until = t->limit;
    if (until) {
        now = dev_now();
        if (now >= until)
            return TB_ETIMEOUT;
        if (!t->woken) {
            uv_update_time(t->loop); /* the loop's time stands still during a callback */
            uv_timer_start(&t->timer, on_timer, until - now, 0);
        }
    }
    if (!t->woken)
        dev_fiber_park();
    t->woken = false;
    if (until)
        uv_timer_stop(&t->timer);
    return t->cancelled ? UV_ECANCELED : 0;
}

void dev_task_wake(struct dev_task *t) {
    struct dev_task *current = dev_task_current();

    if (!t->fiber)
        return;
    t->woken = true;
    if (!current)
        run(t);
    else if (current != t)
        uv_timer_start(&t->timer, on_timer, 0, 0); /* also where it waits with a deadline */
}

void dev_task_cancel(struct dev_task *t) {
    t->cancelled = true;
    dev_task_wake(t);
}

struct dev_task *dev_task_current(void) {
    struct dev_fiber *f = dev_fiber_current();

    return f ? dev_fiber_arg(f) : NULL;
}

uint64_t dev_now(void) {
    return tb_clock_mono_ms();
}

uint64_t dev_after(uint64_t ms) {
    return dev_now() + tb_timeout_ms(ms);
}

/* ---- lock ---- */

int dev_lock(struct dev_lock *l, uint64_t until) {
    struct dev_task *me = dev_task_current(), **at = &l->first;
    int r;

    assert(me && l->owner != me);
    if (!l->owner) {
        l->owner = me;
        return 0;
    }
    while (*at)
        at = &(*at)->next;
    me->next = NULL;
    *at = me;
    while (l->owner != me) {
        r = dev_task_wait(me, until);
        if (r < 0 && l->owner != me) {
            for (at = &l->first; *at != me; at = &(*at)->next)
                ;
            *at = me->next;
            return r;
        }
    }
    return 0;
}

void dev_unlock(struct dev_lock *l) {
    assert(l->owner && l->owner == dev_task_current());
    l->owner = l->first;
    if (l->first) {
        l->first = l->first->next;
        dev_task_wake(l->owner);
    }
}
