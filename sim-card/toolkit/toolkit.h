#pragma once
/* The card asks the terminal: proactive commands, announced by 91xx, fetched and answered. spec:
 * TS102223, TS102221 7.4.2
 *
 * 91xx stands in for 9000 on answers to the terminal's own commands only: what a client of an IoT
 * SAFE applet gets is not touched, since deployed ones take 91xx for a failure. */
#include "os/os.h"

enum {
    TOOLKIT_PENDING_MAX = 8,
    TOOLKIT_COMMAND_MAX = 255,
    TOOLKIT_REFRESH = 0x01,
    TOOLKIT_SEND_SMS = 0x13,
};

enum toolkit_refresh { /* spec: TS102223 8.6 qualifiers of REFRESH */
                       REFRESH_FILE_CHANGE = 0x01,
                       REFRESH_INIT_FILE_CHANGE = 0x02,
                       REFRESH_UICC_RESET = 0x04,
                       REFRESH_PROFILE_STATE = 0x09, /* eUICC: another profile has been enabled */
};

struct card_toolkit; /* of one card, without power there is none */

/* Queues a proactive command; data: the TLVs behind command details and device identities, copied.
 * to: device identity, 82 terminal, 83 network. TB_ENOMEM, TB_ESPACE when too many wait, TB_EUNSUP
 * when the terminal has not said that it can. */
int card_toolkit_ask(struct card *card, uint8_t type, uint8_t qualifier, uint8_t to,
                     struct tb_span data) TB_CHECKED;

/* REFRESH replaces one that waits. file_list: for file changes, empty: none. */
int card_toolkit_refresh(struct card *card, enum toolkit_refresh how) TB_CHECKED;

/* True when a proactive command is under way or waits: 9300, "CAT busy". */
bool card_toolkit_busy(const struct card *card);

/* sw, or 91xx in its place when something waits to be fetched. */
uint16_t card_toolkit_announce(const struct card *card, uint16_t sw);
void card_toolkit_free(struct card_toolkit *t); /* NULL is a no-op */

card_handler card_cmd_terminal_profile, card_cmd_fetch, card_cmd_terminal_response;
