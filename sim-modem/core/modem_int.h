#pragma once
/* The whole modem. Internal to the core. */
#include "at/channel.h"
#include "network.h"
#include "sim/sim.h"
#include "simmodem/modem.h"
#include "timer.h"

struct modem {
    struct modem_quirks quirks;
    const struct modem_ops *ops;
    void *user;
    char imei[16];
    unsigned fun; /* +CFUN: 0, 1, 4 */
    int depth;    /* public functions on the stack */

    struct at_channel *channels, **channels_end;
    struct at_settings stored; /* &W */
    bool has_stored;
    bool announced;       /* this card's coming was */
    bool slot_told;       /* what +QSIMSTAT and… */
    const char *pin_told; /* …+CPIN said last, unasked; static */
    bool boot_shown;      /* somebody saw the boot messages since power-up */
    bool boot_pin;        /* …but for +CPIN: READY, the card was not that far */
    uint64_t lines;       /* quirk drop-every counts them */

    struct at_timer *timers;
    bool timers_changed;
    struct at_timer poll, latency;
    int64_t clock_offset; /* ms, set by +CCLK */
    int zone;             /* quarters of an hour */

    struct net net;
    bool packet_told; /* that there is packet service */
    struct sim sim;
    struct modem_counters counters;

    struct at_channel *out_ch;           /* whose output is in out */
    struct tb_buf out;                   /* grows: core/room.h */
    char stale[256];                     /* quirk csim-stale: the previous answer */
    uint8_t made[TB_APDU_MAX_SHORT_RSP]; /* quirk t0: the answer as the TE sees it */
};

/* Around every public function: the last one out gives the card to the next, flushes and arms the
 * timer. */
void modem_enter(struct modem *m);
void modem_leave(struct modem *m);

/* The card's state changed: registration, unsolicited lines, commands that wait. */
void modem_sim_changed(struct modem *m);
void modem_event(struct modem *m, const char *name, const char *text);
void modem_boot_messages(struct modem *m);
/* The module starts again: settings as stored, network from the beginning, card reset. */
void modem_restart(struct modem *m);
