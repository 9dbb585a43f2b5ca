#pragma once
/* What the card's commands would have cost on real silicon, accounted for every profile at any
 * time, and how long an answer is held back for the one that was chosen. */
#include <jansson.h>

#include "simcard/card.h"
#include "tb/latency.h"

struct card_latency {
    enum tb_card_profile profile;
    uint8_t link_ta1;          /* 0: the card link costs nothing */
    uint64_t ops[TB_CARD_OPS]; /* TB_CARD_APDU: all commands; the others within them */
    uint64_t link_bytes;       /* that T=0 would have carried, GET RESPONSE included */
    uint64_t waited_us;        /* answers were held back, all in all */
};

/* Sets profile or link from their names, NULL: leaves it. Link: "off", or a TA1 in hex ("95") whose
 * rate at 3.25 MHz counts. TB_EPARSE with the nearest name; nothing is changed then. */
int card_latency_set(struct card_latency *l, const char *profile, const char *link,
                     struct tb_error *e) TB_CHECKED;

/* Counts a command. Returns the microseconds its answer has to wait; 0 with profile and link off.
 */
uint64_t card_latency_note(struct card_latency *l, const struct card_event *event);

/* Adds "profile", "link", "operations", "modelled_us", "link_bytes", "link_us", "waited_us". */
void card_latency_describe(const struct card_latency *l, json_t *reply);
