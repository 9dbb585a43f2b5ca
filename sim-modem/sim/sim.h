#pragma once
/* The card as the modem sees it: power, one APDU under way, whose turn it is, what is open on it.
 * Internal to the core.
 *
 * A task (a pending AT command, or the modem's own business) waits in a queue, then owns the card
 * until it calls sim_release(): its run function is called once without an answer when its turn
 * comes, builds a command in m->sim.cmd, calls sim_send() and returns; it is called again with the
 * answer, and so on. */
#include <stdbool.h>
#include <stdint.h>

#include "t0.h"
#include "tb/apdu.h"
#include "tb/span.h"

struct modem;
struct at_channel;

enum sim_state {
    SIM_ABSENT,
    SIM_OFF,     /* there, powered down (+CFUN=0) */
    SIM_BOOTING, /* powered, the modem reads its files; commands wait */
    SIM_READY,
    SIM_FAILED, /* mute; nothing is sent until it is inserted again */
};

enum sim_pin { SIM_PIN_READY, SIM_PIN_REQUIRED, SIM_PUK_REQUIRED };

struct sim_task {
    struct sim_task *next;
    /* rsp: the answer, at least SW1 SW2, borrowed for the call; empty when the task's turn begins.
     */
    void (*run)(struct modem *m, struct sim_task *t, struct tb_span rsp);
    struct at_channel *ch; /* NULL: the modem's own */
    const char *what;      /* for traces; static */
    int step;
    bool active; /* waiting or running */
};

enum sim_send_flags {
    SIM_TE = 1, /* the TE's command: its selection on channel 0 is restored first, what it opens is
                   its own */
    SIM_FETCH =
        2, /* follow 61xx, 9Fxx and 6Cxx; the answer is the whole data and the final status word */
    SIM_NO_6C = 4,   /* …but do not repeat after 6Cxx */
    SIM_NO_MARK = 8, /* quirk me-ch0-poll: disturbs the TE's selection and does not mend it */
};

/* One logical channel of the card. */
struct sim_lchan {
    bool open;
    bool session; /* opened by +CCHO */
    bool orphan;  /* its TE is gone: to be closed */
    struct at_channel
        *owner;      /* the TE port that opened it; NULL: the modem, or kept after hang-up */
    uint64_t handle; /* what +CCHO told the TE */
};

/* What a TE selected on the basic channel since the last reset: replayed after the modem used that
 * channel itself. */
enum { SIM_SELECTS = 6, SIM_SELECT_MAX = 32 };
struct sim_selection {
    struct {
        uint8_t n, cmd[SIM_SELECT_MAX];
    } at[SIM_SELECTS];
    unsigned n;
    bool lost;  /* too long to remember */
    bool dirty; /* the modem has selected something else meanwhile */
    bool usim;  /* the current application of channel 0 is the USIM, whoever selected it */
};

enum sim_power { SIM_POWER_KEEP, SIM_POWER_OFF, SIM_POWER_ON, SIM_POWER_RESET };

enum { SIM_DIR_MAX = 512, SIM_AID_MAX = 16 };

struct sim {
    enum sim_state state;
    enum sim_power want; /* power change as soon as nothing is under way */
    bool awaiting;       /* card_command() or card_power() is to be answered */
    bool awaiting_atr;
    bool delayed;  /* quirk latency-card: the command is still here */
    bool orphans;  /* channels wait to be closed */
    bool extended; /* the ATR announces extended length */
    struct sim_task *task, *queue, **queue_end;
    struct sim_task boot, closer, poll;

    unsigned flags; /* of the exchange under way */
    enum { SIM_X_RESTORE, SIM_X_MAIN, SIM_X_RETRY, SIM_X_FETCH } stage;
    unsigned restore_at;      /* next entry of selection to replay */
    struct at_channel *owner; /* who opens what this exchange opens */
    bool abandoned;           /* …and it is gone */
    const char *origin;       /* for traces: the AT port's name, NULL: the modem */
    const char *what;
    struct tb_buf cmd; /* the command being built or under way; grows: core/room.h */
    struct tb_buf got; /* data gathered over several answers; the same */
    uint8_t small[8];  /* GET RESPONSE */
    struct tb_span sent;

    struct sim_lchan chan[TB_CHANNELS];
    struct t0_hold hold[TB_CHANNELS];
    uint64_t next_handle;
    struct sim_selection sel;

    /* Read at power-up. */
    char iccid[24], imsi[16], spn[20];
    uint8_t mnc_len;
    uint8_t dir[SIM_DIR_MAX]; /* EF.DIR records as length byte + bytes */
    size_t dir_n;
    uint8_t usim[SIM_AID_MAX], usim_n; /* full AID, usim_n 0: no USIM */
    uint8_t record, record_len;        /* boot: where it reads */
    enum sim_pin pin;
    bool pin_enabled;
    bool pin_known; /* the card told about its PIN */
    bool again;     /* boot goes through the USIM once more, a PIN was given */
};

void sim_init(struct modem *m);

/* Card events, from modem.c. */
void sim_inserted(struct modem *m);
void sim_removed(struct modem *m);
void sim_answer(struct modem *m, struct tb_span rsp);
void sim_set_power(struct modem *m,
                   enum sim_power what); /* OFF and RESET drop sessions; no-op without a card */

/* Gives the card to whoever waits, as long as it is free; called when the modem is left. */
void sim_kick(struct modem *m);

/* Queues t; its storage belongs to the caller, who calls sim_forget() before it goes away. */
void sim_submit(struct modem *m, struct sim_task *t);
void sim_submit_first(struct modem *m, struct sim_task *t); /* …in front of everybody */
void sim_send(struct modem *m, unsigned flags);
/* Ends the turn of the running task. */
void sim_release(struct modem *m);
/* The TE behind ch is gone: its task is dropped, channels it opened become orphans. */
void sim_forget(struct modem *m, struct at_channel *ch);

/* Is the card usable for an AT command now? AT_OK, the CME error, or AT_PENDING while it boots. */
int sim_check(const struct modem *m);

/* Begins a new command in m->sim.cmd, which has room for a short APDU… */
struct tb_buf *sim_command(struct modem *m);
/* …or for n bytes. */
struct tb_buf *sim_command_of(struct modem *m, size_t n);
/* A short APDU; ne 0: no Le. */
void sim_build(struct modem *m, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
               struct tb_span data, unsigned ne);
/* A character of an alpha field as it may stand in an AT string: '?' for what the default alphabet
 * does not share. */
char sim_printable(uint8_t c);
uint16_t sim_sw(struct tb_span rsp);
struct tb_span sim_data(struct tb_span rsp);

/* boot.c: what the modem does when the ATR has come. */
void sim_boot(struct modem *m, struct tb_span atr);
void sim_boot_again(struct modem *m); /* after a PIN: reads what was refused before */
bool sim_atr_extended(struct tb_span atr);
void sim_poll_start(struct modem *m);

/* lchan.c: book-keeping of logical channels and selections. */
void sim_observe(struct modem *m, struct tb_span cmd, struct tb_span rsp);
void sim_channels_clear(struct modem *m);
void sim_close_orphans(struct modem *m); /* queues the closer if there are any */
unsigned sim_open_count(const struct modem *m);
void sim_select_reset(struct modem *m, struct tb_span select);
void sim_select_replayed(struct modem *m, struct tb_span cmd, struct tb_span rsp);
/* pin.c: the state of PIN1 after a command of one of its five instructions, whoever sent it. */
bool sim_is_pin_command(uint8_t ins);
void sim_observe_pin(struct modem *m, const struct tb_apdu *cmd, uint16_t sw);
/* True when the selection on channel 0 must be replayed before cmd. */
bool sim_select_stale(const struct modem *m, struct tb_span cmd);

/* file.c: select a file and run one command on it, as +CRSM wants. */
struct sim_file {
    uint8_t channel, cmd, p1, p2, p3;
    bool has_fid;
    uint16_t fid;
    uint8_t path[16], path_n; /* explicit path, without MF */
    struct tb_span data;      /* hex text */
    uint8_t attempt;
};
enum sim_file_cmd {
    SIM_READ_BINARY = 176,
    SIM_READ_RECORD = 178,
    SIM_GET_RESPONSE = 192,
    SIM_RETRIEVE_DATA = 203,
    SIM_UPDATE_BINARY = 214,
    SIM_SET_DATA = 219,
    SIM_UPDATE_RECORD = 220,
    SIM_STATUS = 242,
};
/* Runs one step of t's file command: sends something and returns false, or returns true with the
 * final answer in *ret_rsp (borrowed as rsp is). Starts when rsp is empty. */
bool sim_file_step(struct modem *m, struct sim_task *t, struct sim_file *f, struct tb_span rsp,
                   struct tb_span *ret_rsp);
