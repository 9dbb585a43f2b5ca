#pragma once
/* Sessions: what INIT promises and UPDATE carries out. A number (P2) names a session within its
 * channel and operation. An operation that has ended stays known until it is closed or its place is
 * needed, so that clients may close, or never close. */
#include "iotsafe/object.h"

enum card_session_op { SESSION_NONE, SESSION_SIGN, SESSION_VERIFY, SESSION_PUT };

struct card_session {
    uint8_t op, number;
    bool open;  /* UPDATE is expected */
    bool stale; /* remote administration took the object away: 6989 */
    uint8_t mode, alg;
    uint16_t hash_alg;
    struct card_object *object; /* borrowed; NULL when stale */
    uint32_t generation;        /* of the object at INIT */
    bool begun;                 /* a block has come */
    uint32_t missing;           /* bytes of a value that go on as raw blocks */
    struct card_hash hash;      /* full text so far */
    struct card_cmac *cmac;     /* instead of the hash, for a CMAC */
    uint8_t *blocks;            /* a public key or data field so far, from malloc */
    size_t blocks_n;
};

/* Finds a place for a new operation on the command's channel, *ret zeroed but for op, number and
 * open. 9000, 6985 (already open, and the profile wants it closed first), 6989 (too many), 6A84. */
uint16_t card_session_begin(struct cmd *cmd, enum card_session_op op, struct card_session **ret);

/* The open session an UPDATE belongs to: 9000, 6985 without INIT or when the object changed since,
 * 6989 when remote administration did that. */
uint16_t card_session_continue(struct cmd *cmd, enum card_session_op op, struct card_session **ret);

/* Keeps one block of a value or data field that is not complete, in s->blocks. Together at most max
 * bytes, itself at most CARD_SESSION_BLOCKS. 9000, 6A80, 6A84. */
enum { CARD_SESSION_BLOCKS = 640 };
uint16_t card_session_keep(struct card_session *s, struct tb_span block, size_t max);

void card_session_end(struct card_session *s); /* the operation is over, well or badly */
uint16_t card_session_close(struct cmd *cmd, enum card_session_op op); /* P1 = 01 */
void card_sessions_drop(struct card_channel *ch);

/* o is about to be replaced or deleted by remote administration. */
void card_sessions_lose_object(struct card *card, const struct card_object *o);
