#include "fiber.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

struct dev_fiber {
    ucontext_t self, resumer;
    uint8_t *map; /* guard page, then stack */
    size_t map_size, guard;
    dev_fiber_fn *fn;
    void *arg;
    struct dev_fiber *outer; /* the fiber that resumed this one, or NULL */
    bool begun, ended;
#ifdef WITH_ASAN
    void *fake_stack; /* the fiber's, while it is parked */
    const void *resumer_stack;
    size_t resumer_stack_size;
#endif
};

static _Thread_local struct dev_fiber *running;

/* The address sanitizer must know which stack is in use, or it takes the other one for an overflow.
 */
#ifdef WITH_ASAN
static void leave_for_fiber(struct dev_fiber *f, void **ret_mine) {
    __sanitizer_start_switch_fiber(ret_mine, f->map + f->guard, f->map_size - f->guard);
}
static void back_in_resumer(void *mine) {
    __sanitizer_finish_switch_fiber(mine, NULL, NULL);
}
static void leave_for_resumer(struct dev_fiber *f) {
    __sanitizer_start_switch_fiber(f->ended ? NULL : &f->fake_stack, f->resumer_stack,
                                   f->resumer_stack_size);
}
static void back_in_fiber(struct dev_fiber *f) {
    __sanitizer_finish_switch_fiber(f->fake_stack, &f->resumer_stack, &f->resumer_stack_size);
}
#else
static void leave_for_fiber(struct dev_fiber *f, void **ret_mine) {
    (void)f;
    *ret_mine = NULL;
}
static void back_in_resumer(void *mine) {
    (void)mine;
}
static void leave_for_resumer(struct dev_fiber *f) {
    (void)f;
}
static void back_in_fiber(struct dev_fiber *f) {
    (void)f;
}
#endif

static void body(void) {
    struct dev_fiber *f = running;

    back_in_fiber(f);
    f->fn(f->arg);
    f->ended = true;
    leave_for_resumer(f);
    setcontext(&f->resumer); /* never returns */
    abort();
}

int dev_fiber_new(size_t stack, dev_fiber_fn *fn, void *arg, struct dev_fiber **ret) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct dev_fiber *f = calloc(1, sizeof *f);
    void *map;

    if (!f)
        return -ENOMEM;
    f->guard = page;
    f->map_size = page + (stack + page - 1) / page * page;
    f->fn = fn;
    f->arg = arg;
    map = mmap(NULL, f->map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (map == MAP_FAILED) {
        free(f);
        return -ENOMEM;
    }
    f->map = map;
    if (mprotect(f->map + f->guard, f->map_size - f->guard, PROT_READ | PROT_WRITE) < 0 ||
        getcontext(&f->self) < 0) {
        dev_fiber_free(f);
        return -ENOMEM;
    }
    f->self.uc_stack.ss_sp = f->map + f->guard;
    f->self.uc_stack.ss_size = f->map_size - f->guard;
    f->self.uc_link = NULL; /* body() never returns */
    makecontext(&f->self, body, 0);
    *ret = f;
    return 0;
}

void dev_fiber_free(struct dev_fiber *f) {
    if (!f)
        return;
    assert(!f->begun || f->ended);
    munmap(f->map, f->map_size);
    free(f);
}

void dev_fiber_resume(struct dev_fiber *f) {
    void *mine;

    /* A fiber that itself resumed another is below it on the resumer's path: not to be entered
     * twice. */
    for (struct dev_fiber *up = running; up; up = up->outer) {
        if (up == f)
            return;
    }
    if (f->ended)
        return;
    f->begun = true;
    f->outer = running;
    running = f;
    leave_for_fiber(f, &mine);
    swapcontext(&f->resumer, &f->self);
    back_in_resumer(mine);
    running = f->outer;
}

void dev_fiber_park(void) {
    struct dev_fiber *f = running;

    assert(f);
    leave_for_resumer(f);
    swapcontext(&f->self, &f->resumer);
    back_in_fiber(f);
}

struct dev_fiber *dev_fiber_current(void) {
    return running;
}

bool dev_fiber_ended(const struct dev_fiber *f) {
    return f->ended;
}

void *dev_fiber_arg(const struct dev_fiber *f) {
    return f->arg;
}
