#include "timer.h"

#include "modem_int.h"

static void unlink_timer(struct modem *m, struct at_timer *t) {
    struct at_timer **at = &m->timers;

    while (*at && *at != t)
        at = &(*at)->next;
    if (*at)
        *at = t->next;
    t->armed = false;
}

void at_timer_start(struct modem *m, struct at_timer *t, uint64_t ms, void (*fn)(void *),
                    void *arg) {
    if (t->armed)
        unlink_timer(m, t);
    t->due = m->ops->now_ms(m->user) + ms;
    t->fn = fn;
    t->arg = arg;
    t->armed = true;
    t->next = m->timers;
    m->timers = t;
    m->timers_changed = true;
}

void at_timer_stop(struct modem *m, struct at_timer *t) {
    if (!t->armed)
        return;
    unlink_timer(m, t);
    m->timers_changed = true;
}

static struct at_timer *earliest(struct modem *m) {
    struct at_timer *first = m->timers;

    for (struct at_timer *t = first; t; t = t->next)
        if (t->due < first->due)
            first = t;
    return first;
}

void at_timers_run(struct modem *m) {
    uint64_t now = m->ops->now_ms(m->user);
    struct at_timer *t;

    m->timers_changed = true; /* the app's timer has fired: it is to be set anew */
    while ((t = earliest(m)) && t->due <= now) {
        unlink_timer(m, t);
        t->fn(t->arg);
    }
}

void at_timers_arm(struct modem *m) {
    struct at_timer *t;
    uint64_t now;

    if (!m->timers_changed)
        return;
    m->timers_changed = false;
    t = earliest(m);
    if (!t) {
        m->ops->set_timer(0, m->user);
        return;
    }
    now = m->ops->now_ms(m->user);
    m->ops->set_timer(t->due > now ? t->due - now : 1, m->user);
}
