#pragma once
/* A fiber that waits: for callbacks of the loop, with a deadline, and until somebody calls it off.
 *
 *     while (!condition)
 *         if ((r = dev_task_wait(t, until)) < 0) return r;
 *
 * Callbacks change the condition and call dev_task_wake(); a wake for nothing does no harm. */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "fiber.h"
#include "tb/error.h"
#include "tb/loop.h"

struct dev_task;
struct dev_card_use;
typedef void dev_task_fn(struct dev_task *t, void *arg);

struct dev_task {
    uv_loop_t *loop;
    struct dev_fiber *fiber; /* NULL before start and after the end */
    uv_timer_t timer;
    uint64_t limit; /* no wait of this task lasts longer, ms of dev_now(); 0: no limit */
    bool cancelled;
    bool woken;                    /* since the last wait */
    struct dev_task *next;         /* in the queue of the lock it waits for */
    struct dev_card_use *card_use; /* for whom it asks the card now: dev_card_enter() */
    dev_task_fn *fn, *on_end;
    void *arg;
};

/* Starts fn(t, arg) on a fiber of its own; it runs until its first wait before this returns. on_end
 * is called from the loop when fn has returned and every handle is closed: t may be freed or
 * started again there. */
int dev_task_start(struct dev_task *t, uv_loop_t *loop, dev_task_fn *fn, dev_task_fn *on_end,
                   void *arg) TB_CHECKED;

/* Parks the running task until it is woken. 0, TB_ETIMEOUT when until (ms of dev_now(), 0: never)
 * or the task's limit has passed, or UV_ECANCELED after dev_task_cancel(): then at once and each
 * time. */
int dev_task_wait(struct dev_task *t, uint64_t until) TB_CHECKED;

/* Wakes t if it waits; for callbacks, where it runs at once. From another task: it runs when the
 * loop comes round, since whoever wakes it may be deep inside a library whose state is the
 * thread's. From the task itself: no-op. */
void dev_task_wake(struct dev_task *t);

/* Every wait of t fails from now on. */
void dev_task_cancel(struct dev_task *t);

/* The task that is running, NULL on the loop's own stack. */
struct dev_task *dev_task_current(void);

/* The time waits are measured in: monotonic milliseconds, and that time ms from now. */
uint64_t dev_now(void);
uint64_t dev_after(uint64_t ms);

/* One owner at a time, in order of arrival; for tasks of one loop. Zeroed to begin with. */
struct dev_lock {
    struct dev_task *owner, *first;
};
int dev_lock(struct dev_lock *l, uint64_t until) TB_CHECKED; /* as dev_task_wait() */
void dev_unlock(struct dev_lock *l);
