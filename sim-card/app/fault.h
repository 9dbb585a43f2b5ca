#pragma once
/* Faults on purpose: what the card does wrong, for which commands and how often. The card itself is
 * never asked to misbehave: its memory fails, its answer is changed on the way, or its link ends.
 */
#include <jansson.h>

#include "card_link.h"
#include "simcard/nvm.h"

enum { CARD_FAULTS = 16, CARD_FAULT_OPERATION = 32 };

enum card_fault_kind {
    CARD_FAULT_POWER_CUT, /* at the write-th write of the memory from now on */
    CARD_FAULT_REMOVE,    /* the link ends in mid-APDU */
    CARD_FAULT_MUTE,
    CARD_FAULT_SLOW,
    CARD_FAULT_STATUS, /* another status word; the command is not carried out */
    CARD_FAULT_CORRUPT,
    CARD_FAULT_MEMORY_FULL, /* the card answers 6A84 */
    CARD_FAULT_KINDS
};

struct card_fault {
    enum card_fault_kind kind;
    char operation[CARD_FAULT_OPERATION]; /* "": any */
    unsigned after;                       /* so many of those commands are let through first */
    unsigned times;                       /* left; 0: until cleared */
    unsigned write;                       /* POWER_CUT: writes left until it happens */
    bool new_state;                       /* POWER_CUT: what was begun is completed */
    bool executed;                        /* REMOVE, MUTE: the command was carried out */
    unsigned sent;                        /* REMOVE: bytes of the answer that still go out */
    unsigned ms;                          /* SLOW */
    uint16_t sw;                          /* STATUS */
    int how;                              /* CORRUPT: flip, truncate, extend */
    unsigned amount;                      /* CORRUPT: bits, or bytes */
};

struct card_faults {
    struct card_fault list[CARD_FAULTS];
    unsigned n;
    uint64_t fired;                             /* all in all */
    struct card_fault *armed[CARD_FAULT_KINDS]; /* for the command under way; NULL: not */
    bool full;        /* memory-full has refused a write of this command */
    bool dying, dead; /* the power: goes when the transaction is complete, is gone */
};

/* Adds what a request asks for. TB_EPARSE or TB_ERANGE with a message; nothing is changed then. */
int card_faults_add(struct card_faults *f, const json_t *request, struct tb_error *e) TB_CHECKED;
void card_faults_clear(struct card_faults *f);
json_t *card_faults_list(const struct card_faults *f); /* a new reference */

/* A command begins: arms what is for it. False: none of the faults is. */
bool card_faults_begin(struct card_faults *f, const char *operation);
/* Is the armed command one that is not carried out? Then its answer is the status word of the
 * fault, or none. */
bool card_faults_skip(const struct card_faults *f, uint16_t *ret_sw);
/* It has ended with rsp: changes that and *turn. Returns a set of kinds that happened, one bit
 * each. */
unsigned card_faults_end(struct card_faults *f, struct tb_buf *rsp, struct card_link_turn *turn);
const char *card_fault_name(unsigned kind);

/* For card_nvm_guard_new(), user: the faults. */
int card_faults_may_write(enum card_nvm_write what, void *user);
