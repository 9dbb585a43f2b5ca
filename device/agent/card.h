#pragma once
/* A device's card: a client of libiotsafe over a link, used by one task at a time; and the program
 * as host of the TLS libraries' card operations. Any number of cards in one process. */
#include <uv.h>

#include "failure.h"
#include "iotsafe/iotsafe.h"
#include "task.h"
#include "tb/error.h"

struct dev_card;

/* Opens nothing yet. link: see link.h. aid: hex, NULL for the well-known ones. */
int dev_card_new(uv_loop_t *loop, const char *link, const char *aid, struct dev_card **ret,
                 struct tb_error *e) TB_CHECKED;
/* The same over a transport that is there already (a card in memory); given to the card when this
 * succeeds. */
int dev_card_new_on(struct iotsafe_transport *t, const char *aid, struct dev_card **ret,
                    struct tb_error *e) TB_CHECKED;
/* From the loop's stack: without a word to the card. NULL is a no-op. */
void dev_card_free(struct dev_card *card);

/* For tasks: the client, for this task alone until dev_card_put(). IOTSAFE_E_TIMEOUT when the
 * task's limit is over or it is called off. */
int dev_card_take(struct dev_card *card, struct iotsafe **ret) TB_CHECKED;
/* result: 0 or the IOTSAFE_E… code of what was done; remembered as trouble when it is one. */
void dev_card_put(struct dev_card *card, int result);

/* For tasks: a whole file. The result is an IOTSAFE_E… code, with *why filled; *ret is allocated.
 * What was read once is not asked for again, whoever wants it, until an operation of the card
 * fails, the card tells of remote administration, or somebody has reason for dev_card_forget(). */
int dev_card_read_file(struct dev_card *card, const struct iotsafe_ref *file, uint8_t **ret,
                       size_t *ret_len, struct dev_failure *why) TB_CHECKED;

void dev_card_forget(struct dev_card *card); /* and what containers it has */

/* Gives the logical channel back, for tasks; not while a handshake of anybody is under way, whose
 * ephemeral key would go with it. */
void dev_card_release(struct dev_card *card);
/* A handshake begins, ends. */
void dev_card_hold(struct dev_card *card);
void dev_card_unhold(struct dev_card *card);

/* What all users of the card together asked of it. */
void dev_card_stats(const struct dev_card *card, struct iotsafe_stats *ret);

/* ---- who asks ---- */

struct dev_card_trouble { /* the first operation that failed; text "" when none did */
    int error;            /* IOTSAFE_E… */
    uint16_t sw;          /* 0 when the card did not answer */
    char text[480];
};

/* One user of a card: a channel, or whoever reads files. Zeroed to begin with, but for card. */
struct dev_card_use {
    struct dev_card *card; /* NULL: none, every operation fails */
    struct dev_card_trouble trouble;
    struct iotsafe_stats stats; /* what was asked of the card for it: apdus, bytes_out, bytes_in */
    uint16_t slots;             /* containers it has taken */
};

/* From now on the running task (or the loop's own stack) asks the card for use (borrowed; NULL: for
 * nobody). Returns who it was before. Operations that name no card are of use->card. */
struct dev_card_use *dev_card_enter(struct dev_card_use *use);
struct dev_card_use *dev_card_current(void);

/* What it has taken of the card is free for others: when a handshake is over, whatever the TLS
 * library still believes to have. */
void dev_card_use_done(struct dev_card_use *use);

/* ---- the host of a TLS library's card operations: the provider's and the PSA driver's ----
 * For tasks but for slot_put. All of the current user's card, dev_card_current(); text for a person
 * in err on failure. */

struct dev_card_slot { /* container for an ephemeral key */
    struct iotsafe_ref own, peer;
    struct dev_card *card;
};

/* The client, exclusively, until dev_card_host_release(). card: NULL for the current user's. */
int dev_card_host_acquire(struct dev_card *card, struct iotsafe **ret, char *err,
                          size_t cap) TB_CHECKED;
void dev_card_host_release(int result);
/* Parks until a container is free, unless it is this user itself who has one: IOTSAFE_E_BUSY. */
int dev_card_slot_take(struct dev_card_slot *ret, char *err, size_t cap) TB_CHECKED;
/* From anywhere. A slot that was given back already, or with dev_card_use_done(), is no matter. */
void dev_card_slot_put(const struct dev_card_slot *slot);
/* The card's container for a peer's key in iotsafe_verify_by(). */
int dev_card_verifier(struct iotsafe_ref *ret, char *err, size_t cap) TB_CHECKED;
