#pragma once
/* The modem's few timers over the one timer of the app. None of them runs in the path of an
 * ordinary exchange. */
#include <stdbool.h>
#include <stdint.h>

struct modem;

struct at_timer {
    struct at_timer *next;
    uint64_t due;
    bool armed;
    void (*fn)(void *arg);
    void *arg;
};

/* Storage is the caller's and must stay until the timer has fired or was stopped. Starting again
 * moves it. */
void at_timer_start(struct modem *m, struct at_timer *t, uint64_t ms, void (*fn)(void *),
                    void *arg);
void at_timer_stop(struct modem *m, struct at_timer *t);
/* Runs what is due. */
void at_timers_run(struct modem *m);
/* Tells the app when to come next; called when the modem is left. */
void at_timers_arm(struct modem *m);
