#pragma once
/* The card's side of a vpcd reader: dials the reader or listens for it (vpcd's reversed mode),
 * answers its frames with the card, and comes back by itself when the reader vanishes. */
#include <stdbool.h>
#include <uv.h>

#include "simcard/card.h"
#include "tb/conn.h"

struct card_link;

/* How a command ends. */
enum card_link_end {
    CARD_LINK_ANSWER,
    CARD_LINK_MUTE, /* no answer, until the reader resets the card or takes its power */
    CARD_LINK_GONE, /* the card leaves the reader, as by card_link_remove() */
};

struct card_link_turn {
    enum card_link_end end;
    uint64_t wait_us;   /* the end is held back that long */
    size_t sent;        /* GONE: bytes of the answer that still go out */
    const char *reason; /* GONE: for on_unlinked(); static text */
};

struct card_link_ops { /* all called from the loop */
    /* A command: puts the answer into rsp, which has room for any, and may change *turn (zeros: an
     * answer, at once). A card that waits is one that computes: a frame that powers it off or
     * resets it ends that, and no answer comes; other frames wait their turn. Negative: no card can
     * have answered so; a status word goes out. */
    int (*run)(struct tb_span command, struct tb_buf *rsp, struct card_link_turn *turn, void *user);
    void (*on_linked)(void *user);
    void (*on_unlinked)(const char *reason, void *user);
    void (*on_reset)(bool cold, void *user); /* power on, or warm reset */
    void (*on_closed)(void *user);           /* after card_link_close(): the link is gone */
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

/* Another card in the place of the present one, which is not in the reader. Borrowed as that was.
 */
void card_link_set_card(struct card_link *l, struct card *card);

bool card_link_inserted(const struct card_link *l);
bool card_link_linked(const struct card_link *l);
bool card_link_powered(const struct card_link *l);
/* Where the reader is, or, listening, where it finds us (the real port). */
const struct tb_addr *card_link_addr(const struct card_link *l);

void card_link_close(struct card_link *l);
