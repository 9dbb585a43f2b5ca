#pragma once
/* Named deviations of real modules, as data. models/NAME.model lists "key = value" pairs; the build
 * turns them into a table, a user's file is read by the app: both go through modem_quirks_set().
 * docs/modem.md explains every key. */
#include <stdbool.h>
#include <stdint.h>

#include "tb/error.h"

/* How the modem treats the T=0 procedure bytes of the card, and a card that does without
 * (docs/modem.md, "T=0"). */
enum modem_t0 {
    MODEM_T0_PASS,  /* the TE sees exactly what the card answered */
    MODEM_T0_RAW,   /* the TE always sees 61xx/6Cxx, made up when the card answered directly */
    MODEM_T0_AUTO,  /* the modem fetches; the TE sees data and the final status word */
    MODEM_T0_TRUNC, /* as AUTO, but the answer is cut after trunc bytes */
};

enum modem_sim_urc { MODEM_SIM_URC_QUECTEL, MODEM_SIM_URC_CPIN, MODEM_SIM_URC_NONE };

/* The modem's own STATUS: with Le, as four bytes, with an extended Le. */
enum modem_status_form { MODEM_STATUS_NORMAL, MODEM_STATUS_CASE1, MODEM_STATUS_EXTENDED };

struct modem_quirks {
    char manufacturer[32], model[32], revision[48];
    enum modem_t0 t0, cgla_t0;
    unsigned trunc, cgla_trunc;  /* bytes, for MODEM_T0_TRUNC */
    bool csim_quote, csim_lower; /* answer in quotes; lower-case hex */
    bool csim_stale;             /* the previous +CSIM answer is repeated in front */
    unsigned csim_max;           /* characters of a command, 0: no limit of its own */
    bool csim_trust_string;      /* the announced <length> is ignored */
    bool csim_basic_only;        /* +CSIM refuses logical channels other than 0 */
    bool cgla, ccho_prefix;      /* +CCHO family exists; its answer carries "+CCHO: " */
    bool session_opaque;         /* 16-digit handles instead of channel numbers */
    bool sim_test_forms;         /* =? of the SIM access commands is answered */
    unsigned preopen_channel;    /* channels 1..n are open after power-up */
    unsigned me_ch0_poll;        /* s; the modem selects MF on channel 0 that often; 0: never */
    enum modem_status_form me_status;
    bool me_read_all;    /* own READ BINARY with Le 00 */
    bool me_retry_6c;    /* own commands are repeated after 6Cxx */
    bool sim_busy_error; /* a second SIM command gets CME 14 instead of waiting */
    bool urc_interleave; /* unsolicited lines do not wait for a pause */
    enum modem_sim_urc sim_urc;
    bool boot_urc_quectel;
    bool hangup_keeps_channels;
    unsigned latency_card, latency_at; /* ms before each TE command APDU, before each line */
    unsigned drop_every; /* each n-th command line is swallowed without an answer; 0: none */
    unsigned line_max;   /* characters after "AT" */
};

void modem_quirks_default(struct modem_quirks *ret); /* generic */

/* Sets one key from text. TB_ENOTFOUND for an unknown key, TB_EPARSE for a value it cannot have; *q
 * then untouched. */
int modem_quirks_set(struct modem_quirks *q, const char *key, const char *value) TB_CHECKED;

/* The built-in bundle of that name. TB_ENOTFOUND. */
int modem_quirks_find(const char *name, struct modem_quirks *ret) TB_CHECKED;
const char *const *modem_quirks_names(void); /* built-in bundles, NULL-terminated */
const char *const *modem_quirks_keys(void);  /* all keys, NULL-terminated */
