#pragma once
/* One flow of control per session in one thread. Code that must wait in the middle of a call it
 * does not own (TLS wants a signature, the card is far away) parks its fiber; the loop goes on; a
 * callback resumes it where it was.
 *
 * A fiber belongs to the thread that made it. Its stack has a guard page below and is given back in
 * dev_fiber_free(). Parking says nothing about why: whoever parks in a loop checks its own
 * condition. */
#include <stdbool.h>
#include <stddef.h>

#include "tb/error.h"

struct dev_fiber;
typedef void dev_fiber_fn(void *arg);

enum { DEV_FIBER_STACK = 128 * 1024 };

/* A fiber that has not begun. stack: bytes, rounded up to pages. UV_ENOMEM-like negative errno when
 * there is no memory. */
int dev_fiber_new(size_t stack, dev_fiber_fn *fn, void *arg, struct dev_fiber **ret) TB_CHECKED;

/* Only when it has not begun or fn has returned. NULL is a no-op. */
void dev_fiber_free(struct dev_fiber *f);

/* Runs f until it parks or returns. Nothing happens when f is running (called from itself) or has
 * ended. */
void dev_fiber_resume(struct dev_fiber *f);

/* Back to whoever resumed the running fiber. */
void dev_fiber_park(void);

/* The running fiber, NULL outside of one. */
struct dev_fiber *dev_fiber_current(void);
bool dev_fiber_ended(const struct dev_fiber *f);
void *dev_fiber_arg(const struct dev_fiber *f); /* as given to dev_fiber_new() */
