#pragma once
/* A UICC in memory: command APDU in, response APDU out. The card does no I/O, owns no thread and
 * never sleeps, so one process may hold many thousand of them. It is not reentrant: one caller at a
 * time. */
#include <stdbool.h>

#include "simcard/nvm.h"
#include "tb/error.h"
#include "tb/latency.h"
#include "tb/span.h"

struct card;

/* What the card did, counted since card_new(). Never goes back; the proof that no software took
 * over. */
struct card_counters {
    uint64_t apdus, bytes_in, bytes_out; /* as seen on the interface, GET RESPONSE included */
    uint64_t resets;
    uint64_t keygen, sign, verify, ecdh, prf, hkdf, random; /* successful operations */
    uint64_t authenticate; /* … of the USIM: challenges answered with RES or AUTS */
    uint64_t refused;      /* commands answered with neither 9000, 61xx, 6300 nor 63CF */
    uint64_t writes;       /* transactions committed to NVM */
};

/* One command as a trace sees it: what was asked on which channel and what came back. Borrowed for
 * the call. */
struct card_event {
    struct tb_span command, response; /* whole APDUs, response with SW1 SW2 */
    uint16_t sw;
    unsigned channel;
    const char *operation; /* "compute-signature-update", "select", … never NULL; static text */
    enum tb_card_op
        work;            /* what the card had to compute for it, also when it was refused in the end
                          * (a signature that does not match); TB_CARD_APDU: nothing that counts */
    bool secret_command; /* its data is key material or a PIN (PRF, HKDF, VERIFY PIN …) */
    bool secret_response; /* its data is key material (COMPUTE DH, PRF, HKDF) */
};

/* What may be logged of an event: appends command and response, secret data bytes replaced by 00.
 * Lengths stay, so that a dissector still understands the APDU. */
void card_event_mask(const struct card_event *event, struct tb_buf *command,
                     struct tb_buf *response);

enum { CARD_ATR_MAX = 33 }; /* ISO/IEC 7816-3 8.2.1: TS and at most 32 characters */

struct card_config {
    struct tb_span atr;   /* copied, at most CARD_ATR_MAX bytes; empty: the one of the NVM
                           * (struct card_identity), else the default, T=0 and T=1 */
    struct card_nvm *nvm; /* borrowed; must outlive the card, which reads it in card_new() only */
    void (*on_command)(const struct card_event *event, void *user); /* NULL: none */
    void *user;
};

/* Returns a card without power, or NULL with *ret_err: TB_ENOMEM, TB_ERANGE (ATR too long),
 * TB_ESTORE (NVM cannot be read), TB_EPARSE (its records are damaged), TB_EUNSUP (written by a
 * newer version). An empty NVM is a blank card: MF only, no applet. */
struct card *card_new(const struct card_config *cfg, int *ret_err);
void card_free(struct card *card); /* NULL is a no-op; wipes secrets */

/* Cold reset: channels, sessions, pending data and volatile keys are lost. *ret_atr borrows from
 * the card and stays valid until card_free(). */
int card_power_on(struct card *card, struct tb_span *ret_atr) TB_CHECKED;
void card_power_off(struct card *card);
int card_reset(struct card *card) TB_CHECKED;     /* warm reset; same effect, needs power */
struct tb_span card_atr(const struct card *card); /* at any time, also without power */

/* Runs one command to completion and puts data and SW1 SW2 into rsp, which needs room for
 * TB_APDU_MAX_SHORT_RSP bytes; what an extended Le asks for beyond the room is offered by 61xx. An
 * unhappy card is not an error but a status word, and so is a failing NVM (6581, or 6A84 when it is
 * full; the command then changed nothing). Negative means the harness is at fault: no power
 * (TB_ESTATE), rsp too small (TB_ESPACE). */
int card_transact(struct card *card, struct tb_span cmd, struct tb_buf *rsp) TB_CHECKED;

/* The operation that cmd would be now, as card_event names it; static text. Changes nothing. */
const char *card_operation(const struct card *card, struct tb_span cmd);

void card_counters(const struct card *card, struct card_counters *ret);

/* Identity for messages and control: ICCID digits (up to 20 + NUL), "" when the card has none. */
void card_iccid(const struct card *card, char ret[21]);
