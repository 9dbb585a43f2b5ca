#pragma once
/* The card's side of a vpcd reader: dials the reader or listens for it (vpcd's reversed mode),
 * answers its frames with the card, and comes back by itself when the reader vanishes. */
#include <stdbool.h>
#include <uv.h>

#include "simcard/card.h"
#include "tb/conn.h"

struct card_link;

struct card_link_ops { /* all called from the loop */
    void (*on_linked)(void *user);
    void (*on_unlinked)(const char *reason, void *user);
    void (*on_reset)(bool cold, void *user); /* power on, or warm reset */
    /* Asked after each command: microseconds for which its answer is held back, 0 for none. The
     * card is one that computes meanwhile: a frame that powers it off or resets it ends that, and
     * no answer comes; other frames wait their turn. NULL: never. */
    uint64_t (*wait_us)(void *user);
    void (*on_closed)(void *user); /* after card_link_close(): the link is gone */
};

enum card_link_mode { CARD_LINK_DIAL, CARD_LINK_LISTEN };

/* card: borrowed until on_closed(). Dialling starts at once and never gives up: 50 ms after the
 * first failure, doubling to 2 s. Listening serves one reader; up to 16 more wait for their turn.
 * inserted false: as after card_link_remove(). Fails only for a listening address that cannot be
 * used. */
int card_link_open(uv_loop_t *loop, struct card *card, enum card_link_mode mode,
                   const struct tb_addr *at, bool inserted, const struct card_link_ops *ops,
                   void *user, struct card_link **ret) TB_CHECKED;

/* Takes the card out of the reader: the link is closed, nothing dials or listens until it is
 * inserted again. */
void card_link_remove(struct card_link *l);
/* Puts it back. Fails when the listening address is taken meanwhile. */
int card_link_insert(struct card_link *l) TB_CHECKED;
/* Out and in again, so that the reader sees a new card. TB_ESTATE when it is removed. */
int card_link_replace(struct card_link *l) TB_CHECKED;

bool card_link_inserted(const struct card_link *l);
bool card_link_linked(const struct card_link *l);
bool card_link_powered(const struct card_link *l);
/* Where the reader is, or, listening, where it finds us (the real port). */
const struct tb_addr *card_link_addr(const struct card_link *l);

void card_link_close(struct card_link *l);
