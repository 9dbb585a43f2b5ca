#include <stdlib.h>

#include "gp/scp03.h"
#include "iotsafe/session.h"
#include "os/fs.h"
#include "os/os.h"

enum { SW_ALREADY = 0x6200 }; /* warning: nothing to close */

void card_channel_drop_pending(struct card_channel *ch) {
    struct card_pending *p = &ch->pending;

    if (!p->p)
        return;
    if (p->secret)
        tb_wipe(p->p, p->n);
    free(p->p);
    *p = (struct card_pending){0};
}

void card_channel_drop_chain(struct card_channel *ch) {
    tb_wipe(ch->chain.p, ch->chain.n); /* may have been a secret */
    free(ch->chain.p);
    ch->chain = (struct card_chain){0};
}

void card_channel_drop_es10(struct card_channel *ch) {
    free(ch->es10.p);
    ch->es10 = (struct card_es10){0};
}

void card_channel_leave_app(struct card_channel *ch) {
    card_channel_drop_es10(ch);
    card_sessions_drop(ch);
    card_scp03_free(ch->scp);
    ch->scp = NULL;
    ch->list_offset = 0;
    ch->admin_done = false;
    ch->app = NULL;
}

struct card_channel *card_channel_open(struct card *card, unsigned n) {
    struct card_channel *ch = calloc(1, sizeof *ch);

    if (!ch)
        return NULL;
    ch->df = fs_mf();
    card->channels[n] = ch;
    return ch;
}

void card_channel_close(struct card *card, unsigned n) {
    struct card_channel *ch = card->channels[n];

    if (!ch)
        return;
    card_channel_drop_pending(ch);
    card_channel_drop_chain(ch);
    card_channel_leave_app(ch);
    free(ch->sessions);
    free(ch);
    card->channels[n] = NULL;
}

/* spec: TS102221 11.1.17 a channel opened from the basic channel begins in the MF, one opened from
 * another channel with that channel's current directory and application. */
static uint16_t open_from(struct card *card, const struct card_channel *from, unsigned n,
                          bool from_basic) {
    struct card_channel *ch = card_channel_open(card, n);

    if (!ch)
        return TB_SW_NO_SPACE;
    if (!from_basic) {
        ch->app = from->app;
        ch->df = from->df;
        ch->usim = from->usim;
    }
    return TB_SW_OK;
}

static uint16_t open_channel(struct card *card, struct cmd *cmd) {
    bool from_basic = cmd->cla.channel == 0;
    unsigned n = cmd->a.p2;
    uint16_t sw;

    if (n > 0) {
        if (n >= TB_CHANNELS)
            return TB_SW_P1P2;
        return card->channels[n] ? TB_SW_FUNCTION : open_from(card, cmd->ch, n, from_basic);
    }
    for (n = 1; n < TB_CHANNELS && card->channels[n]; n++)
        ;
    if (n == TB_CHANNELS)
        return TB_SW_FUNCTION;
    if (!card_out_room(cmd, 1))
        return TB_SW_NO_SPACE;
    cmd->direct = true;
    sw = open_from(card, cmd->ch, n, from_basic);
    if (sw == TB_SW_OK)
        tb_put_u8(cmd->out, (uint8_t)n);
    return sw;
}

static uint16_t close_channel(struct card *card, struct cmd *cmd) {
    unsigned n = cmd->a.p2 ? cmd->a.p2 : cmd->cla.channel; /* P2 = 00: the one it came on */

    if (n == 0)
        return TB_SW_FUNCTION; /* the basic channel cannot be closed */
    if (n >= TB_CHANNELS)
        return TB_SW_P1P2;
    if (!card->channels[n])
        return SW_ALREADY;
    card_channel_close(card, n);
    if (n == cmd->cla.channel)
        cmd->ch = NULL;
    return TB_SW_OK;
}

uint16_t card_cmd_manage_channel(struct card *card, struct cmd *cmd) {
    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    switch (cmd->a.p1) {
    case 0x00:
        return open_channel(card, cmd);
    case 0x80:
        return close_channel(card, cmd);
    default:
        return TB_SW_P1P2;
    }
}
