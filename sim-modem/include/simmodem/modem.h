#pragma once
/* A modem in memory: AT characters in, AT characters out, APDUs to a card and back. No I/O, no
 * clock of its own: the app moves bytes, APDUs and time. Several AT channels share one modem and
 * one card.
 *
 * All functions are called from one thread. The modem calls out (modem_ops, at_channel_ops) only
 * from inside one of the functions below; such a call may not call back into the modem, except
 * where its comment allows it. */
#include <stdbool.h>
#include <stdint.h>

#include "simmodem/quirks.h"
#include "tb/error.h"
#include "tb/span.h"

struct modem;
struct at_channel;

enum modem_card_power { MODEM_CARD_OFF, MODEM_CARD_ON, MODEM_CARD_RESET };

struct modem_ops { /* calls out of the modem; all must return at once */
    /* Send one command APDU to the card; cmd is borrowed for the call. Answer later, from the loop,
     * with modem_card_answer(). Never called while an answer is outstanding. */
    void (*card_command)(struct tb_span cmd, void *user);
    /* Power the card down, up (cold reset) or reset it warm. ON and RESET are answered with
     * modem_card_answer() and the ATR; OFF is not answered. Never called while an answer is
     * outstanding. */
    void (*card_power)(enum modem_card_power what, void *user);
    /* One-shot timer: call modem_timer() after ms (at least 1). A new call replaces the old one; 0
     * stops it. */
    void (*set_timer)(uint64_t ms, void *user);
    uint64_t (*now_ms)(void *user); /* monotonic */
    int64_t (*wall_ms)(void *user); /* since 1970, UTC; for +CCLK */
    /* For traces: an APDU exchange with the card, and who wanted it ("at:unix#1 +CSIM", "modem
     * boot"). NULL: none. */
    void (*on_apdu)(struct tb_span cmd, struct tb_span rsp, const char *origin, void *user);
    /* For events: "card-inserted" (text: ICCID or ""), "card-removed" (reason), "registration"
     * (state). NULL: none. */
    void (*on_event)(const char *name, const char *text, void *user);
    /* The modem has packet service from now on (registered and attached), or has it no more. At
     * first it has none. NULL: not wanted. */
    void (*on_packet_service)(bool attached, void *user);
};

struct modem_config {
    const struct modem_quirks *quirks; /* copied; NULL: generic */
    const char *imei;                  /* 15 digits; copied; NULL: a default */
    const struct modem_ops *ops;       /* borrowed */
    void *user;
};

/* Returns a modem with radio on and without a card; NULL when out of memory (*ret_err TB_ENOMEM) or
 * when a value is malformed (TB_EPARSE). ret_err may be NULL. */
struct modem *modem_new(const struct modem_config *cfg, int *ret_err);
void modem_free(struct modem *m); /* frees its channels too; NULL is a no-op */

/* A card was put in: the modem powers it up (unless +CFUN=0) and reads what it needs. AT commands
 * that need the card wait for that. */
void modem_card_inserted(struct modem *m);
/* The card is gone, an outstanding answer will never come: the command under way ends with +CME
 * ERROR 13, sessions are dropped, later commands get +CME ERROR 10. why is for the event. No-op
 * without a card. */
void modem_card_removed(struct modem *m, const char *why);
/* The answer to card_command() or the ATR after card_power(). Empty: the card went mute; the
 * command ends with +CME ERROR 13 and the card counts as failed until modem_card_inserted() is
 * called again, so that an answer which comes too late cannot be taken for that of another command:
 * the caller drops the link. Without an outstanding request the call is ignored. */
void modem_card_answer(struct modem *m, struct tb_span rsp);
/* Resets the card warm as soon as the exchange under way has ended. TB_ESTATE without a powered
 * card. */
int modem_card_reset(struct modem *m) TB_CHECKED;
void modem_timer(struct modem *m);

struct at_channel_ops { /* an AT port */
    /* Characters for the TE, all of them taken. Returns 1 while there is room, 0 when the TE reads
     * too slowly: the channel then executes nothing more until at_channel_drained(). */
    int (*write)(struct tb_span bytes, void *user);
    /* Input that at_channel_input() did not take can be offered again, from inside this call or
     * later. */
    void (*ready)(void *user);
    /* After at_channel_end(): all that the TE had sent is answered. NULL: not wanted. */
    void (*done)(void *user);
};

enum at_channel_flags {
    AT_CHANNEL_NO_ECHO = 1, /* starts as after ATE0, and so does &F */
    AT_CHANNEL_EMPTY = 2,   /* a port that is there without a TE: see at_channel_attached() */
};

enum { AT_TYPED_AHEAD_MAX = 4096 }; /* bytes a channel keeps while a command executes */

/* name is for traces ("unix#1"), copied, cut at 31 bytes. NULL when out of memory. */
struct at_channel *at_channel_new(struct modem *m, const char *name, unsigned flags,
                                  const struct at_channel_ops *ops, void *user);
/* The TE vanished for good: as at_channel_hangup(), then the channel is gone. NULL is a no-op. */
void at_channel_free(struct at_channel *ch);
/* The TE vanished, the port stays (a pty) and is empty: what is under way is abandoned, a
 * half-typed line forgotten, logical channels that this TE opened are closed on the card (unless
 * quirk hangup-keeps-channels). Settings stay, as they do on a serial port. */
void at_channel_hangup(struct at_channel *ch);
/* A TE is there: the first client of a pty that was AT_CHANNEL_EMPTY or hung up; other channels
 * have theirs from the start. It is shown the boot messages of the profile if nobody saw them since
 * power-up. */
void at_channel_attached(struct at_channel *ch);
/* Characters from the TE: returns how many were taken. Fewer than bytes.n only when a command
 * executes and AT_TYPED_AHEAD_MAX bytes wait already: offer the rest when ops->ready is called. */
size_t at_channel_input(struct at_channel *ch, struct tb_span bytes);
/* The TE sends nothing more, but may still read: what it has sent whole is executed, then ops->done
 * is called once, maybe from inside this call. */
void at_channel_end(struct at_channel *ch);
void at_channel_drained(struct at_channel *ch);
/* True when the input so far ends inside a line: no answer is to be expected before more comes. */
bool at_channel_typing(const struct at_channel *ch);
bool at_channel_echoes(const struct at_channel *ch); /* ATE1 is in force */

/* The network as far as it looks alive; set by the control socket, told to channels that asked for
 * it. */
enum modem_registration {
    MODEM_REG_NONE,
    MODEM_REG_HOME,
    MODEM_REG_SEARCHING,
    MODEM_REG_DENIED,
    MODEM_REG_UNKNOWN,
    MODEM_REG_ROAMING,
};
int modem_set_signal(struct modem *m, unsigned rssi) TB_CHECKED; /* 0..31, 99 unknown; TB_ERANGE */
/* What the network answers to a modem with a working SIM and radio. */
void modem_set_registration(struct modem *m, enum modem_registration stat);
const char *modem_registration_str(enum modem_registration stat); /* "home"; "?" out of range */

struct modem_counters {
    uint64_t at_lines, at_errors, apdus_te, apdus_own, card_resets, urcs_dropped;
};
void modem_counters(const struct modem *m, struct modem_counters *ret);

struct modem_status { /* for control sockets; strings live in the struct */
    const char *card; /* "absent", "off", "booting", "ready", "failed" */
    char iccid[24], imsi[16];
    enum modem_registration registration;
    bool packet_service;
    unsigned fun, rssi, at_channels, sessions; /* sessions: logical channels open for TEs */
};
void modem_status(const struct modem *m, struct modem_status *ret);
