#pragma once
/* One AT port: its settings, the line under way, its output. Internal to the core. */
#include <stdbool.h>
#include <stdint.h>

#include "core/timer.h"
#include "lex.h"
#include "line.h"
#include "result.h"
#include "sim/sim.h"
#include "simmodem/modem.h"

enum { AT_URC_MAX = 2048, AT_SREG_COUNT = 13 };

/* What V.250 and 27.007 keep per port; &W stores it, Z brings it back. */
struct at_settings {
    bool echo, quiet, verbose;
    uint8_t x, cmee, cops_format;
    uint8_t dcd, dtr, dsr, flow; /* &C &D &S \Q: accepted, of no effect without the wires */
    uint8_t creg, cgreg, cereg;  /* unsolicited registration, n */
    uint8_t cgerep, cgerep_bfr, ctzr, ctzu;
    bool qsimstat;
    char charset[8];
    uint8_t s[AT_SREG_COUNT];
};

struct at_channel {
    struct at_channel *next;
    struct modem *m;
    char name[32];
    unsigned flags;
    const struct at_channel_ops *ops;
    void *user;

    struct at_settings set;
    struct at_line line;
    struct tb_buf line_mem; /* grows: core/room.h */
    struct at_timer typing; /* a half-typed line holds unsolicited text back only so long */

    struct at_request req; /* the command being executed */
    struct tb_span body;   /* what follows it in the line */
    bool attached;         /* there is a TE */
    bool busy;             /* a line is being executed */
    bool on_card;          /* …and its command waits for the card */
    bool waits_for_sim;    /* …which has to be ready first */
    bool restart;          /* the modem starts again when the line is done */
    bool stalled;          /* the TE does not read */
    bool refused;          /* input was left with the caller */
    bool ended;            /* the TE sends nothing more; ops->done is due */
    struct at_timer delay; /* quirk latency-at */

    struct sim_task task; /* the pending command's turn at the card */
    union {               /* its variables */
        struct {
            struct tb_span hex;
            struct tb_span session;
            bool cgla;
        } apdu;
        struct {
            uint8_t aid[16], aid_len, channel;
            int failure;
        } open;
        struct {
            uint8_t channel;
        } close;
        struct sim_file file;
        struct {
            uint8_t ins, p1, n;
            uint8_t data[16];
        } pin;
    } op;

    uint8_t op_records; /* +CNUM: how many there are */

    uint8_t typed[AT_TYPED_AHEAD_MAX]; /* ring of input that came while busy */
    size_t typed_at, typed_n;
    char urc[AT_URC_MAX]; /* unsolicited texts, each ended by NUL, until the TE may see them */
    size_t urc_n;
};

/* Output. Everything is gathered in the modem's buffer and leaves as one write when the modem is
 * left. */
void at_put(struct at_channel *ch, struct tb_span s);
void at_put_str(struct at_channel *ch, const char *s);
void at_printf(struct at_channel *ch, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One line of information text (V.250 5.7.1): what is put between the two is framed as V wants it.
 */
void at_info_begin(struct at_channel *ch);
void at_info_end(struct at_channel *ch);
void at_info(struct at_channel *ch, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void at_put_uint(struct at_channel *ch, uint64_t n);
/* The output buffer with room for n more bytes (n at most AT_OUT_MAX), to build in place. */
enum { AT_OUT_MAX = 1 << 18 };
struct tb_buf *at_room(struct at_channel *ch, size_t n);
void at_flush(struct modem *m);

/* A line the TE did not ask for. Waits for a pause unless the profile interleaves. */
void at_urc(struct at_channel *ch, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void at_urc_flush(struct at_channel *ch);

/* Ends the pending command of ch; a good result lets the rest of the line run. */
void at_finish(struct at_channel *ch, int result);
void at_resume(struct at_channel *ch);
/* Lets the command that waits for the card start now that it is ready. */
void at_sim_ready(struct at_channel *ch);
/* Queues the channel's task: for handlers that need the card; returns AT_PENDING. */
int at_submit(struct at_channel *ch, void (*run)(struct modem *, struct sim_task *, struct tb_span),
              const char *what);

void at_settings_factory(const struct at_channel *ch, struct at_settings *ret);
/* As stored by &W, or else factory settings; echo stays off where it starts off. */
void at_settings_restore(struct at_channel *ch);

/* Parameter helpers for handlers. All return 1 when the parameter was there, 0 when it was left out
 * (*ret untouched), or the result to end the command with. */
int at_take_uint(struct at_args *a, uint32_t min, uint32_t max, uint32_t *ret);
int at_take_str(struct at_args *a, char *dst, size_t cap); /* string, quotes required */
int at_take_text(struct at_args *a, struct tb_span *ret);  /* quoted or not: hex and handles */
int at_args_end(const struct at_args *a); /* AT_OK, or AT_ERROR when more follows */
/* A command with one optional number, min..max. */
int at_only_uint(struct tb_span args, uint32_t min, uint32_t max, uint32_t *ret);
