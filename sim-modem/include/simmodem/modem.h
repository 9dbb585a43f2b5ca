#pragma once
/* A modem in memory: AT characters in, AT characters out, APDUs to a card and back. No I/O, no clock of its own:
 * the app moves bytes, APDUs and time. Several AT channels share one modem and one card. */
#include <stdbool.h>

#include "tb/error.h"
#include "tb/span.h"

struct modem;
struct at_channel;

/* Named deviations of real modules; "generic" is strict. Data, read from models/NAME.model (docs/modem.md). */
struct modem_quirks;
const struct modem_quirks *modem_quirks_find(const char *name); /* built in; NULL when unknown */
const char *const *modem_quirks_names(void);

enum modem_card_power { MODEM_CARD_OFF, MODEM_CARD_ON, MODEM_CARD_RESET };

struct modem_ops { /* calls out of the modem; all must return at once */
    /* Send one command APDU to the card; answer later with modem_card_response(). Never called while one is under way. */
    void (*card_command)(struct tb_span cmd, void *user);
    void (*card_power)(enum modem_card_power what, void *user);
    /* One-shot timer; modem_timer() is to be called after ms. A new call replaces the old; 0 stops it. */
    void (*set_timer)(uint64_t ms, void *user);
    uint64_t (*now_ms)(void *user);
    /* For traces: an APDU exchange and who wanted it ("at:pty CSIM", "modem"). NULL: none. */
    void (*on_apdu)(struct tb_span cmd, struct tb_span rsp, const char *origin, void *user);
    /* For events: name and a short text. NULL: none. */
    void (*on_event)(const char *name, const char *text, void *user);
};

struct modem_config {
    const struct modem_quirks *quirks; /* NULL: generic */
    const char *imei;                  /* 15 digits; copied; NULL: a default */
    const struct modem_ops *ops;       /* borrowed */
    void *user;
};

/* NULL when out of memory or a value is malformed (*ret_err). The modem starts with radio on and without a card. */
struct modem *modem_new(const struct modem_config *cfg, int *ret_err);
void modem_free(struct modem *m); /* NULL is a no-op */

/* The card came or went (vpcd link), and its answers. atr is borrowed for the call. rsp of zero length: the card went
 * mute; the command fails with +CME ERROR 13. */
void modem_card_inserted(struct modem *m, struct tb_span atr);
void modem_card_removed(struct modem *m);
void modem_card_response(struct modem *m, struct tb_span rsp);
void modem_timer(struct modem *m);

/* An AT port. write sends characters to the TE; it returns 1 while there is room, 0 when the TE reads too slowly: the
 * channel then stops executing until at_channel_drained(). name is for traces; copied. */
struct at_channel_ops {
    int (*write)(struct tb_span bytes, void *user);
};
struct at_channel *at_channel_new(struct modem *m, const char *name, const struct at_channel_ops *ops, void *user);
void at_channel_free(struct at_channel *ch); /* cancels what is under way; NULL is a no-op */
/* Characters from the TE: returns how many were taken; 0 … n. Not all are taken while a command executes and the
 * channel's own queue (4 KiB) is full: offer the rest again after at_channel_ops.write of the final result code. */
size_t at_channel_input(struct at_channel *ch, struct tb_span bytes);
void at_channel_drained(struct at_channel *ch);

/* Network model, as far as it looks alive: used by the control socket. */
void modem_set_signal(struct modem *m, int rssi /* 0..31, 99 unknown */);
enum modem_registration { MODEM_REG_NONE, MODEM_REG_HOME, MODEM_REG_SEARCHING, MODEM_REG_DENIED, MODEM_REG_UNKNOWN, MODEM_REG_ROAMING };
void modem_set_registration(struct modem *m, enum modem_registration stat);

struct modem_counters {
    uint64_t at_lines, at_errors, apdus_te, apdus_own, card_resets;
};
void modem_counters(const struct modem *m, struct modem_counters *ret);
