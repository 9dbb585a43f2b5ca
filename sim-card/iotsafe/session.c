#include "iotsafe/session.h"

#include <stdlib.h>

static void clear(struct card_session *s) {
    tb_wipe(s->blocks, s->blocks_n);
    free(s->blocks);
    card_cmac_free(s->cmac);
    *s = (struct card_session){0};
}

static struct card_session *find(const struct card_channel *ch, enum card_session_op op,
                                 uint8_t number) {
    for (size_t i = 0; ch->sessions && i < CARD_MAX_SESSIONS; i++)
        if (ch->sessions[i].op == op && ch->sessions[i].number == number)
            return &ch->sessions[i];
    return NULL;
}

static size_t open_count(const struct card_channel *ch) {
    size_t n = 0;

    for (size_t i = 0; i < CARD_MAX_SESSIONS; i++)
        n += ch->sessions[i].open;
    return n;
}

/* A free place, else one whose operation is over. There is one: max_sessions limits the open ones.
 */
static struct card_session *place(struct card_channel *ch) {
    struct card_session *over = NULL;

    for (size_t i = 0; i < CARD_MAX_SESSIONS; i++) {
        if (ch->sessions[i].op == SESSION_NONE)
            return &ch->sessions[i];
        if (!ch->sessions[i].open && !over)
            over = &ch->sessions[i];
    }
    return over;
}

/* spec: IOTSAFE SESSIONS INIT; a session that is open already is restarted */
uint16_t card_session_begin(struct cmd *cmd, enum card_session_op op, struct card_session **ret) {
    struct card_channel *ch = cmd->ch;
    struct card_session *s;

    if (!ch->sessions) {
        ch->sessions = calloc(CARD_MAX_SESSIONS, sizeof *ch->sessions);
        if (!ch->sessions)
            return TB_SW_NO_SPACE;
    }
    s = find(ch, op, cmd->a.p2);
    if (s && s->open && !ch->app->profile.session_reopen)
        return TB_SW_CONDITIONS;
    if (!(s && s->open) && open_count(ch) >= ch->app->profile.max_sessions)
        return TB_SW_CAPACITY;
    if (!s)
        s = place(ch);
    clear(s);
    s->op = (uint8_t)op;
    s->number = cmd->a.p2;
    s->open = true;
    *ret = s;
    return TB_SW_OK;
}

uint16_t card_session_continue(struct cmd *cmd, enum card_session_op op,
                               struct card_session **ret) {
    struct card_session *s = find(cmd->ch, op, cmd->a.p2);

    if (!s || !s->open)
        return TB_SW_CONDITIONS;
    if (s->stale || s->object->locked) {
        uint16_t sw = s->stale ? TB_SW_CAPACITY : TB_SW_INVALIDATED;

        card_session_end(s);
        return sw;
    }
    if (s->object->generation != s->generation && op != SESSION_PUT) {
        card_session_end(s);
        return TB_SW_CONDITIONS; /* the key was replaced through another session */
    }
    *ret = s;
    return TB_SW_OK;
}

uint16_t card_session_keep(struct card_session *s, struct tb_span block, size_t max) {
    struct tb_buf b;

    if (s->blocks_n + block.n > max)
        return TB_SW_DATA;
    if (!s->blocks)
        s->blocks = malloc(CARD_SESSION_BLOCKS);
    if (!s->blocks)
        return TB_SW_NO_SPACE;
    b = (struct tb_buf){s->blocks, s->blocks_n, CARD_SESSION_BLOCKS, false};
    tb_put(&b, block);
    s->blocks_n = b.n;
    return TB_SW_OK;
}

void card_session_end(struct card_session *s) {
    uint8_t op = s->op, number = s->number;

    clear(s);
    s->op = op;
    s->number = number;
}

uint16_t card_session_close(struct cmd *cmd, enum card_session_op op) {
    struct card_session *s = find(cmd->ch, op, cmd->a.p2);

    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    if (!s)
        return TB_SW_CONDITIONS;
    clear(s);
    return TB_SW_OK;
}

void card_sessions_drop(struct card_channel *ch) {
    for (size_t i = 0; ch->sessions && i < CARD_MAX_SESSIONS; i++)
        clear(&ch->sessions[i]);
}

void card_sessions_lose_object(struct card *card, const struct card_object *o) {
    for (size_t c = 0; c < TB_CHANNELS; c++) {
        struct card_channel *ch = card->channels[c];

        for (size_t i = 0; ch && ch->sessions && i < CARD_MAX_SESSIONS; i++) {
            if (ch->sessions[i].object != o)
                continue;
            ch->sessions[i].stale = true;
            ch->sessions[i].object = NULL;
        }
    }
}
