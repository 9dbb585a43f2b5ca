/* From bytes to a handler and back: class and channel, chaining, routing, and the ways an answer is
 * delivered (at once, or by 61xx and GET RESPONSE). */
#include <stdlib.h>

#include "euicc/euicc.h"
#include "gp/gp.h"
#include "iotsafe/applet.h"
#include "os/fs_cmd.h"
#include "os/os.h"
#include "os/pin.h"
#include "os/platform.h"
#include "ota/ota.h"
#include "toolkit/toolkit.h"
#include "usim/aka.h"

static const struct card_ins general[] = {
    {TB_INS_SELECT, CARD_CLA_INTER, CARD_ON_CLOSED, "select", card_cmd_select},
    {TB_INS_MANAGE_CHANNEL, CARD_CLA_INTER, 0, "manage-channel", card_cmd_manage_channel},
    {0xF2, CARD_CLA_PROP, 0, "status", card_cmd_status},
    {0x10, CARD_CLA_PROP, 0, "terminal-profile", card_cmd_terminal_profile},
    {0x12, CARD_CLA_PROP, 0, "fetch", card_cmd_fetch},
    {0x14, CARD_CLA_PROP, 0, "terminal-response", card_cmd_terminal_response},
    {0xC2, CARD_CLA_PROP, 0, "envelope", card_cmd_envelope},
    {0xAA, CARD_CLA_PROP, 0, "terminal-capability", card_cmd_terminal_capability},
    {0x20, CARD_CLA_INTER, CARD_SECRET_IN, "verify-pin", card_cmd_verify_pin},
    {0x24, CARD_CLA_INTER, CARD_SECRET_IN, "change-pin", card_cmd_change_pin},
    {0x26, CARD_CLA_INTER, CARD_SECRET_IN, "disable-pin", card_cmd_disable_pin},
    {0x28, CARD_CLA_INTER, CARD_SECRET_IN, "enable-pin", card_cmd_enable_pin},
    {0x2C, CARD_CLA_INTER, CARD_SECRET_IN, "unblock-pin", card_cmd_unblock_pin},
};

static const struct card_ins files[] = {
    {0xB0, CARD_CLA_INTER, 0, "read-binary", card_cmd_read_binary},
    {0xD6, CARD_CLA_INTER, 0, "update-binary", card_cmd_update_binary},
    {0xB2, CARD_CLA_INTER, 0, "read-record", card_cmd_read_record},
    {0xDC, CARD_CLA_INTER, 0, "update-record", card_cmd_update_record},
    {0x84, CARD_CLA_INTER, 0, "get-challenge", card_cmd_get_challenge},
    {0x88, CARD_CLA_INTER, 0, "authenticate", card_cmd_authenticate},
};

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

const struct card_ins *card_ins_find(const struct card_ins *table, size_t n, uint8_t ins) {
    for (size_t i = 0; i < n; i++)
        if (table[i].ins == ins)
            return &table[i];
    return NULL;
}

bool card_out_room(struct cmd *cmd, size_t n) {
    struct tb_buf *out = cmd->out;
    size_t want = out->n + n;
    uint8_t *p;

    if (out->cap >= want)
        return true;
    if (want < CARD_OUT_KEEP)
        want = CARD_OUT_KEEP;
    p = realloc(out->p, want);
    if (!p)
        return false;
    out->p = p;
    out->cap = want;
    return true;
}

bool card_delivery_t0(const struct cmd *cmd) {
    return cmd->ch && cmd->ch->app && cmd->ch->app->profile.delivery_t0;
}

uint16_t card_wrong_le(const struct cmd *cmd, size_t n) {
    bool case2 = cmd->a.data.n == 0 && cmd->a.le_present && !cmd->a.extended;

    if (!case2 || card_delivery_t0(cmd) || cmd->a.ne >= n || n > 256)
        return 0;
    return (uint16_t)(0x6C00 | (n & 0xFF));
}

static uint16_t more(size_t n) {
    return (uint16_t)(0x6100 | (n < 256 ? n : 0));
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* --- routing --- */

static const struct card_ins *general_ins(uint8_t ins) {
    return card_ins_find(general, ROWS(general), ins);
}

/* Whether a command may be logged is decided before anything else: a PIN is one in a block of a
 * chain, on a closed channel and in a malformed command too. */
static bool is_secret(const struct card_channel *ch, uint8_t ins) {
    bool safe = !ch || (ch->app && ch->app->kind == CARD_APP_SAFE);
    const struct card_ins *applet = safe ? card_applet_ins(ins)
                                    : ch && ch->app && ch->app->kind == CARD_APP_DOMAIN
                                        ? card_domain_ins(ins)
                                        : NULL;
    const struct card_ins *platform = ch && applet ? NULL : general_ins(ins);

    return (applet && (applet->flags & CARD_SECRET_IN)) ||
           (platform && (platform->flags & CARD_SECRET_IN));
}

/* The applet's own table; its profile decides on class and stray bytes. */
static const struct card_ins *route_applet(const struct cmd *cmd, struct tb_span raw,
                                           uint16_t *ret_sw) {
    const struct card_profile *p = &cmd->ch->app->profile;
    const struct card_ins *row = card_applet_ins(cmd->a.ins);
    struct tb_apdu strict;

    if (!row)
        return NULL;
    if (p->type2 && (row->flags & CARD_TYPE_1))
        *ret_sw = TB_SW_INS; /* and not what a PIN command of that number would be */
    else if (p->cla_8n_only && !cmd->cla.proprietary)
        *ret_sw = TB_SW_CLA;
    else if (!p->tolerate_trailing && tb_apdu_parse(raw, 0, &strict) < 0)
        *ret_sw = TB_SW_LENGTH;
    return row;
}

/* The handler for a command, or NULL with the status word that refuses it. */
static const struct card_ins *route(const struct cmd *cmd, struct tb_span raw, uint16_t *ret_sw) {
    const struct card_ins *row = NULL;
    uint16_t sw = 0;

    if (cmd->ch && cmd->ch->app)
        row = cmd->ch->app->kind == CARD_APP_DOMAIN ? card_domain_ins(cmd->a.ins)
              : cmd->ch->app->kind == CARD_APP_SAFE ? route_applet(cmd, raw, &sw)
                                                    : card_euicc_ins(cmd->ch->app, cmd->a.ins);
    else if (cmd->ch)
        row = card_ins_find(files, ROWS(files), cmd->a.ins);
    if (!row)
        row = general_ins(cmd->a.ins);
    if (!cmd->ch && (!row || !(row->flags & CARD_ON_CLOSED)))
        sw = TB_SW_CHANNEL;
    else if (!row)
        sw = TB_SW_INS;
    else if (sw == 0 && !(row->classes & (cmd->cla.proprietary ? CARD_CLA_PROP : CARD_CLA_INTER)))
        sw = TB_SW_CLA;
    else if (sw == 0 && cmd->cla.secure && !(row->flags & CARD_OF_DOMAIN))
        sw = TB_SW_SM;
    if (sw == 0)
        return row;
    *ret_sw = sw;
    return NULL;
}

/* --- command chaining --- */

static bool continues(const struct card_chain *c, const struct cmd *cmd) {
    return c->active && c->ins == cmd->a.ins && c->p1 == cmd->a.p1 && c->p2 == cmd->a.p2 &&
           c->proprietary == cmd->cla.proprietary;
}

static uint16_t chain_append(struct card_chain *c, struct tb_span block) {
    size_t want = c->n + block.n;
    struct tb_buf b;

    if (want > CARD_CHAIN_MAX)
        return TB_SW_NO_SPACE;
    if (want > c->cap) {
        uint8_t *p = malloc(2 * want); /* not realloc: what moves has to be wiped */

        if (!p)
            return TB_SW_NO_SPACE;
        if (c->n)
            memcpy(p, c->p, c->n);
        tb_wipe(c->p, c->n);
        free(c->p);
        c->p = p;
        c->cap = 2 * want;
    }
    b = (struct tb_buf){c->p, c->n, c->cap, false};
    tb_put(&b, block);
    c->n = b.n;
    return TB_SW_OK;
}

/* spec: ISO7816-4 5.3.3 blocks of one command have the same header except for the chaining bit; the
 * card answers 9000 to each but the last. Returns 0 to go on with the whole command. */
static uint16_t take_block(struct cmd *cmd) {
    struct card_channel *ch = cmd->ch;
    uint16_t sw;

    if (cmd->a.ins == TB_INS_MANAGE_CHANNEL && cmd->cla.chaining)
        return TB_SW_CHAINING;
    if (!ch)
        return cmd->cla.chaining ? TB_SW_CHANNEL : 0;
    if (ch->chain.active && !continues(&ch->chain, cmd)) {
        /* A client that died in a chain is followed by one that begins anew. */
        bool begins = cmd->a.ins == TB_INS_SELECT || cmd->a.ins == TB_INS_MANAGE_CHANNEL;

        card_channel_drop_chain(ch);
        if (!begins)
            return TB_SW_LAST_EXPECTED;
    }
    if (!cmd->cla.chaining && !ch->chain.active)
        return 0;
    ch->chain.active = true;
    ch->chain.ins = cmd->a.ins;
    ch->chain.p1 = cmd->a.p1;
    ch->chain.p2 = cmd->a.p2;
    ch->chain.proprietary = cmd->cla.proprietary;
    sw = chain_append(&ch->chain, cmd->a.data);
    if (sw != TB_SW_OK) {
        card_channel_drop_chain(ch);
        return sw;
    }
    if (cmd->cla.chaining)
        return TB_SW_OK;
    cmd->a.data = tb_span(ch->chain.p, ch->chain.n);
    return 0;
}

/* --- delivery --- */

static bool carries_data(uint16_t sw) {
    return sw == TB_SW_OK || (sw >> 8) == 0x62 || (sw >> 8) == 0x63;
}

/* The answer's own memory is kept: what has been carried out cannot fail for want of some. */
static uint16_t keep_rest(struct cmd *cmd, size_t sent, uint16_t sw) {
    struct card_pending *p = &cmd->ch->pending;

    p->p = cmd->out->p;
    p->n = cmd->out->n;
    p->off = sent;
    p->sw = sw;
    p->secret = cmd->secret_out;
    *cmd->out = (struct tb_buf){0};
    return more(p->n - sent);
}

/* spec: ISO7816-4 5.3.4 TS102221 7.3.1.1 How much goes out now: nothing where the client fetches
 * (T=0 profiles; platform commands without Le), else what Le, or 256 without one, allows. */
static uint16_t deliver(struct cmd *cmd, uint16_t sw, struct tb_buf *rsp) {
    struct tb_span data = tb_buf_span(cmd->out);
    bool applet = cmd->ch && cmd->ch->app && cmd->ch->app->kind == CARD_APP_SAFE;
    bool fetch = card_delivery_t0(cmd) || (cmd->ch && !applet && !cmd->a.le_present);
    size_t room = rsp->cap - rsp->n - 2, n;

    if (!carries_data(sw) || data.n == 0)
        return sw;
    n = smaller(smaller(data.n, room), cmd->a.le_present ? cmd->a.ne : 256);
    if (fetch && !cmd->direct)
        n = 0;
    if (n < data.n)
        sw = keep_rest(cmd, n, sw);
    tb_put(rsp, tb_span_sub(data, 0, n));
    return sw;
}

/* spec: ISO7816-4 11.7.1 GET RESPONSE: any class, P3 = 00 or beyond the end takes all. */
static uint16_t get_response(struct cmd *cmd, struct tb_buf *rsp) {
    struct card_pending *p;
    size_t n;
    uint16_t sw;

    cmd->operation = "get-response";
    if (!cmd->ch)
        return TB_SW_CHANNEL;
    if (cmd->cla.chaining)
        return TB_SW_CHAINING;
    p = &cmd->ch->pending;
    if (!p->p)
        return TB_SW_CONDITIONS;
    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    cmd->secret_out = p->secret;
    n = smaller(p->n - p->off, cmd->a.le_present ? cmd->a.ne : 256);
    n = smaller(n, rsp->cap - rsp->n - 2);
    tb_put(rsp, tb_span_sub(tb_span(p->p, p->n), p->off, n));
    p->off += n;
    if (p->off < p->n)
        return more(p->n - p->off);
    sw = p->sw;
    card_channel_drop_pending(cmd->ch);
    return sw;
}

/* --- one command --- */

static uint16_t execute(struct card *card, struct cmd *cmd, struct tb_span raw) {
    const struct card_ins *row;
    uint16_t sw = TB_SW_UNKNOWN;

    if (cmd->ch)
        card_channel_drop_pending(cmd->ch);
    row = route(cmd, raw, &sw);
    if (!row) {
        if (cmd->ch)
            card_channel_drop_chain(cmd->ch);
        return sw;
    }
    cmd->operation = row->operation;
    sw = take_block(cmd);
    if (sw != 0)
        return sw;
    sw = row->flags & CARD_OF_APPLET   ? card_applet_run(card, cmd, row)
         : row->flags & CARD_OF_DOMAIN ? card_domain_run(card, cmd, row)
                                       : row->run(card, cmd);
    if (cmd->ch && cmd->ch->chain.active)
        card_channel_drop_chain(cmd->ch);
    return sw;
}

/* 91xx on what the terminal itself asks: see toolkit/toolkit.h. */
static uint16_t announce(const struct card *card, const struct cmd *cmd, uint16_t sw) {
    bool safe = cmd->ch && cmd->ch->app && cmd->ch->app->kind == CARD_APP_SAFE;

    return safe || (cmd->ch && cmd->ch->pending.p) ? sw : card_toolkit_announce(card, sw);
}

/* cmd->ch is set: the channel that the class names, or one of our own. */
static uint16_t run(struct card *card, struct cmd *cmd, struct tb_span raw, struct tb_buf *rsp) {
    bool known = raw.n >= 1 && tb_cla_parse(raw.p[0], &cmd->cla);
    uint16_t sw;

    if (raw.n >= 2)
        cmd->secret_in = is_secret(cmd->ch, raw.p[1]);
    if (raw.n >= 1 && !known)
        return TB_SW_CLA;
    if (tb_apdu_parse(raw, TB_APDU_TRAILING, &cmd->a) < 0)
        return TB_SW_LENGTH;
    if (cmd->a.ne > CARD_RSP_MAX)
        cmd->a.ne = CARD_RSP_MAX;
    if (cmd->a.ins == TB_INS_GET_RESPONSE)
        return announce(card, cmd, get_response(cmd, rsp));
    sw = execute(card, cmd, raw);
    return announce(card, cmd, deliver(cmd, sw, rsp));
}

void card_run_on(struct card *card, struct card_channel *ch, struct tb_span raw,
                 struct tb_buf *rsp) {
    struct tb_buf kept = card->out;
    struct cmd cmd = {.ch = ch, .out = &card->out, .operation = "script"};
    uint16_t sw;

    card->out = (struct tb_buf){0}; /* the ENVELOPE around it has an answer of its own */
    sw = run(card, &cmd, raw, rsp);
    tb_put_be16(rsp, sw);
    tb_wipe(card->out.p, card->out.n);
    free(card->out.p);
    card->out = kept;
}

static struct card_channel *named_channel(const struct card *card, struct tb_span raw) {
    struct tb_cla cla;

    return raw.n >= 1 && tb_cla_parse(raw.p[0], &cla) ? card->channels[cla.channel] : NULL;
}

const char *card_operation(const struct card *card, struct tb_span raw) {
    struct cmd cmd = {.ch = named_channel(card, raw)};
    const struct card_ins *row;
    uint16_t sw;

    if (raw.n < 2 || !tb_cla_parse(raw.p[0], &cmd.cla) ||
        tb_apdu_parse(raw, TB_APDU_TRAILING, &cmd.a) < 0)
        return "unknown";
    if (cmd.a.ins == TB_INS_GET_RESPONSE)
        return "get-response";
    row = route(&cmd, raw, &sw);
    return row ? row->operation : "unknown";
}

static void release_out(struct card *card, const struct cmd *cmd) {
    if (cmd->secret_out)
        tb_wipe(card->out.p, card->out.n);
    if (card->out.cap <= CARD_OUT_KEEP)
        return;
    free(card->out.p);
    card->out = (struct tb_buf){0};
}

int card_transact(struct card *card, struct tb_span raw, struct tb_buf *rsp) {
    struct cmd cmd = {.out = &card->out, .operation = "unknown", .work = TB_CARD_APDU};
    size_t start = rsp->n;
    uint16_t sw;

    if (!card->powered)
        return TB_ESTATE;
    if (rsp->overflow || rsp->cap - rsp->n < TB_APDU_MAX_SHORT_RSP)
        return TB_ESPACE;
    card->out.n = 0;
    card->out.overflow = false;
    cmd.ch = named_channel(card, raw);
    sw = run(card, &cmd, raw, rsp);
    tb_put_be16(rsp, sw);
    release_out(card, &cmd);

    card->counters.apdus++;
    card->counters.bytes_in += raw.n;
    card->counters.bytes_out += rsp->n - start;
    if (sw != TB_SW_OK && (sw >> 8) != 0x61 && sw != TB_SW_MORE_LIST && sw != TB_SW_ADMIN_DONE)
        card->counters.refused++;
    if (card->on_command) {
        const struct card_event event = {
            .command = raw,
            .response = tb_span_sub(tb_buf_span(rsp), start, rsp->n - start),
            .sw = sw,
            .channel = cmd.cla.channel,
            .operation = cmd.operation,
            .work = cmd.work,
            .secret_command = cmd.secret_in,
            .secret_response = cmd.secret_out,
        };
        card->on_command(&event, card->user);
    }
    return 0;
}
