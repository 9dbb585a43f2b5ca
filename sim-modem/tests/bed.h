#pragma once
/* A modem on the bench: a scripted card, a clock, what each TE has read. */
#include <stdbool.h>

#include "simmodem/modem.h"
#include "tb/test.h"

struct bed_pair { /* command → answer, both hex; the first match wins; a command ending in '*'
                     matches by its beginning */
    const char *cmd, *rsp;
};

enum { BED_PORTS = 3, BED_OUT = 1 << 20, BED_CMD = 65536 };

struct bed {
    struct modem *m;
    struct bed_port {
        struct bed *bed;
        struct at_channel *ch;
        size_t n;
        int room; /* what write answers */
        unsigned writes;
        bool ready; /* was called */
        char out[BED_OUT];
    } port[BED_PORTS];
    const struct bed_pair *card, *extra; /* extra is looked at first; NULL allowed */
    bool hold;                           /* the card thinks until bed_answer() or bed_mute() */
    bool pending, pending_atr;
    struct tb_buf cmd;
    uint8_t cmd_mem[BED_CMD];
    const char *atr;
    char log[1 << 16]; /* commands the card got, in hex, one a line */
    size_t log_n;
    unsigned apdus, resets, offs;
    uint64_t now, due; /* due 0: no timer */
    char events[4096];
};

extern const struct bed_pair bed_usim[]; /* a card with ICCID, EF.DIR, USIM, IMSI, one applet */

struct bed *
bed_new(const struct modem_quirks *q); /* with one port and the USIM card inserted and read */
struct bed *bed_bare(const struct modem_quirks *q); /* no port, no card */
void bed_free(struct bed *b);
struct bed_port *bed_attach(struct bed *b, unsigned i, unsigned flags);
void bed_insert(struct bed *b);
/* Answers all that the card is asked, until nothing is. */
void bed_run(struct bed *b);
void bed_answer(struct bed *b, const char *hex); /* one answer by hand */
void bed_advance(struct bed *b, uint64_t ms);
/* Types text into port 0 (or i) and lets everything happen; returns what the TE read since. */
const char *bed_at(struct bed *b, const char *text);
const char *bed_type(struct bed *b, unsigned i, const char *text, size_t n);
const char *bed_read(struct bed *b, unsigned i); /* NUL-terminated; forgets it */

struct modem_quirks bed_quirks(const char *const *pairs); /* key, value, …, NULL over generic */
