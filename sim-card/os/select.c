/* SELECT. spec: TS102221 11.1.1 8.4 ISO7816-4 11.2.2 */
#include "euicc/euicc.h"
#include "gp/registry.h"
#include "iotsafe/session.h"
#include "os/fs.h"
#include "os/os.h"
#include "tb/tlv.h"

enum { FCP_MAX = 96 };

static struct tb_span aid_at(const struct card *card, int i) {

    if (i == 0)
        return fs_has_usim(card) ? tb_span(fs_usim_aid, sizeof fs_usim_aid) : TB_SPAN_NONE;
    return card_app_selectable(card, card->apps[i - 1]) ? card_app_aid(card->apps[i - 1])
                                                        : TB_SPAN_NONE;
}

int card_aid_find(const struct card *card, struct tb_span prefix, int start) {
    if (prefix.n == 0)
        return -1;
    for (int i = start; i <= (int)card->apps_n; i++)
        if (tb_span_starts(aid_at(card, i), prefix))
            return i;
    return -1;
}

/* Index of the channel's application as card_aid_find() counts, -1 for none. */
static int current_app(const struct card *card, const struct card_channel *ch) {
    for (size_t i = 0; ch && ch->app && i < card->apps_n; i++)
        if (card->apps[i] == ch->app)
            return (int)i + 1;
    return ch && ch->usim ? 0 : -1;
}

static void to_directory(struct card_channel *ch, const struct fs_node *df) {
    if (ch->app)
        card_channel_leave_app(ch);
    ch->df = df;
    ch->ef = NULL;
    ch->record = 0;
}

/* P2: what to answer. 04 FCP; 00 FCI, which is the same under its own tag; 0C nothing. */
static uint16_t answer(const struct card *card, struct cmd *cmd, const struct fs_node *node) {
    struct tb_buf *out = cmd->out;

    switch (cmd->a.p2 & 0x0C) {
    case 0x0C:
        return TB_SW_OK;
    case 0x04:
    case 0x00:
        if (!card_out_room(cmd, FCP_MAX))
            return TB_SW_NO_SPACE;
        fs_put_fcp(card, node, cmd->a.p2 & 0x04 ? 0x62 : 0x6F, out);
        return TB_SW_OK;
    default:
        return TB_SW_P1P2;
    }
}

/* An application begins anew whether or not it was selected before: sessions and lists are gone. */
static void enter_app(struct card_channel *ch, struct card_app *app) {
    card_channel_leave_app(ch);
    ch->df = fs_mf();
    ch->ef = NULL;
    ch->usim = false;
    ch->app = app;
}

static uint16_t select_usim(struct card *card, struct cmd *cmd) {
    uint16_t sw = answer(card, cmd, fs_adf_usim());

    if (sw != TB_SW_OK)
        return sw;
    to_directory(cmd->ch, fs_adf_usim());
    cmd->ch->usim = true;
    return sw;
}

/* P2 b7 b6 = 10: end the application's session. The channel falls back to the MF. */
static uint16_t terminate(struct cmd *cmd, bool is_current) {
    if (!cmd->ch || !is_current)
        return TB_SW_CONDITIONS;
    to_directory(cmd->ch, fs_mf());
    cmd->ch->usim = false;
    return TB_SW_OK;
}

/* A closed channel is opened by selecting an applet that has it so (ISO/IEC 7816-4 5.4.2). */
static bool open_implicitly(struct card *card, struct cmd *cmd, int app) {
    if (cmd->ch)
        return true;
    if (app > 0 && card->apps[app - 1]->kind == CARD_APP_SAFE &&
        card->apps[app - 1]->profile.select_opens_channel)
        cmd->ch = card_channel_open(card, cmd->cla.channel);
    return cmd->ch != NULL;
}

/* spec: GPCS 11.9.3 FCI with the AID and the longest command the domain takes. Older hosts know the
 * issuer domain by another name; without any it is what an empty AID selects. */
static uint16_t select_domain(struct cmd *cmd, struct card_app *domain) {
    struct tb_buf *out = cmd->out;

    if (!(cmd->a.p2 & 0x08)) {
        size_t fci, proprietary;

        if (!card_out_room(cmd, FCP_MAX))
            return TB_SW_NO_SPACE;
        fci = tb_tlv_open(out, 0x6F);
        tb_put_tlv(out, 0x84, card_app_aid(domain));
        proprietary = tb_tlv_open(out, 0xA5);
        tb_put_tlv_u8(out, 0x9F65, 0xFF);
        tb_tlv_close(out, proprietary);
        tb_tlv_close(out, fci);
    }
    enter_app(cmd->ch, domain);
    return TB_SW_OK;
}

/* ISD-R and ECASD of an eUICC. */
static uint16_t select_euicc(struct cmd *cmd, struct card_app *app) {
    if (!(cmd->a.p2 & 0x08)) {
        if (!card_out_room(cmd, FCP_MAX))
            return TB_SW_NO_SPACE;
        card_euicc_put_fci(app, cmd->out);
    }
    enter_app(cmd->ch, app);
    return TB_SW_OK;
}

/* As card_aid_find(), and the issuer domain under its other names. */
static int find_app(const struct card *card, struct tb_span prefix, int start) {
    static const uint8_t *const alias = gp_issuer_alias;
    int app = card_aid_find(card, prefix, start);

    if (app >= 0 || start > 0 || prefix.n > sizeof gp_issuer_alias ||
        (prefix.n > 0 && memcmp(prefix.p, alias, prefix.n) != 0))
        return app;
    for (size_t i = 0; i < card->apps_n; i++)
        if (card->apps[i] == card_registry_issuer(card) && card_app_selectable(card, card->apps[i]))
            return (int)i + 1;
    return app;
}

static uint16_t select_aid(struct card *card, struct cmd *cmd) {
    int now = current_app(card, cmd->ch), app;

    if (cmd->a.p2 & 0x91) /* bits without meaning, last and previous occurrence */
        return TB_SW_P1P2;
    app = find_app(card, cmd->a.data, cmd->a.p2 & 0x02 ? now + 1 : 0);
    if (app < 0)
        return cmd->ch ? TB_SW_NOT_FOUND : TB_SW_CHANNEL;
    if ((cmd->a.p2 & 0x60) == 0x40)
        return terminate(cmd, app == now);
    if ((cmd->a.p2 & 0x0C) == 0x08)
        return TB_SW_P1P2;
    if (!open_implicitly(card, cmd, app))
        return TB_SW_CHANNEL;
    if (app == 0)
        return select_usim(card, cmd);
    if (card->apps[app - 1]->kind == CARD_APP_DOMAIN)
        return select_domain(cmd, card->apps[app - 1]);
    if (card->apps[app - 1]->kind != CARD_APP_SAFE)
        return select_euicc(cmd, card->apps[app - 1]);
    enter_app(cmd->ch, card->apps[app - 1]);
    return TB_SW_OK; /* all traces: bare 9000, no FCI */
}

static uint16_t select_node(struct card *card, struct cmd *cmd, const struct fs_node *node) {
    uint16_t sw;

    if (!node)
        return TB_SW_NOT_FOUND;
    sw = answer(card, cmd, node);
    if (sw != TB_SW_OK)
        return sw;
    if (node->kind == FS_DF) {
        to_directory(cmd->ch, node);
    } else {
        to_directory(cmd->ch, node->df == FS_ADF ? fs_adf_usim() : fs_mf());
        cmd->ch->ef = node;
    }
    return sw;
}

/* One step of a path or a lone file id, seen from directory df. */
static const struct fs_node *step(const struct card *card, const struct card_channel *ch,
                                  const struct fs_node *df, uint16_t fid) {
    if (fid == FS_MF)
        return fs_mf();
    if (fid == FS_ADF)
        return ch->usim ? fs_adf_usim() : NULL;
    return fs_child(card, df, fid);
}

/* spec: TS102221 8.4.2 the path is at least one file id; an EF can only be its end */
static uint16_t select_path(struct card *card, struct cmd *cmd, const struct fs_node *from) {
    struct tb_span path = cmd->a.data;
    const struct fs_node *node = from;
    uint16_t fid;

    if (path.n == 0 || path.n % 2 != 0)
        return TB_SW_LENGTH;
    while (tb_take_be16(&path, &fid)) {
        if (!node || node->kind != FS_DF)
            return TB_SW_NOT_FOUND;
        node = step(card, cmd->ch, node, fid);
    }
    return select_node(card, cmd, node);
}

static uint16_t select_fid(struct card *card, struct cmd *cmd) {
    struct tb_span data = cmd->a.data;
    const struct fs_node *node = fs_mf(); /* without data: the MF */
    uint16_t fid;

    if (data.n != 0 && data.n != 2)
        return TB_SW_LENGTH;
    if (tb_take_be16(&data, &fid))
        node = step(card, cmd->ch, cmd->ch->df, fid);
    if (node && cmd->a.p1 == 0x01 && node->kind != FS_DF)
        node = NULL;
    return select_node(card, cmd, node);
}

uint16_t card_cmd_select(struct card *card, struct cmd *cmd) {
    if (cmd->a.p1 == 0x04)
        return select_aid(card, cmd);
    if (!cmd->ch)
        return TB_SW_CHANNEL;
    if (cmd->a.p2 & 0xF3)
        return TB_SW_P1P2;
    switch (cmd->a.p1) {
    case 0x00:
    case 0x01:
        return select_fid(card, cmd);
    case 0x03:
        return cmd->a.data.n ? TB_SW_LENGTH : select_node(card, cmd, fs_mf());
    case 0x08:
        return select_path(card, cmd, fs_mf());
    case 0x09:
        return select_path(card, cmd, cmd->ch->df);
    default:
        return TB_SW_P1P2;
    }
}
