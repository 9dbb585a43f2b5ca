#include "os/fs_cmd.h"

#include "os/fs.h"
#include "tb/tlv.h"

enum { SW_END = 0x6282 /* fewer bytes than asked for */, FCP_MAX = 96 };

/* spec: TS102221 11.1.2 also where an applet is current: the terminal polls by it */
uint16_t card_cmd_status(struct card *card, struct cmd *cmd) {
    struct card_channel *ch = cmd->ch;
    struct tb_buf fcp;
    uint8_t store[FCP_MAX];
    uint16_t sw;

    if (cmd->a.p1 > 0x02)
        return TB_SW_P1P2;
    fcp = tb_buf(store, sizeof store);
    switch (cmd->a.p2) {
    case 0x0C:
        return TB_SW_OK;
    case 0x01:
        if (ch->app)
            tb_put_tlv(&fcp, 0x84, tb_span(ch->app->aid, ch->app->aid_len));
        else if (ch->usim)
            tb_put_tlv(&fcp, 0x84, tb_span(fs_usim_aid, sizeof fs_usim_aid));
        else
            return TB_SW_CONDITIONS; /* no application is current */
        break;
    case 0x00:
        fs_put_fcp(card, ch->app ? fs_mf() : ch->df, 0x62, &fcp);
        break;
    default:
        return TB_SW_P1P2;
    }
    sw = card_wrong_le(cmd, fcp.n);
    if (sw)
        return sw;
    if (!card_out_room(cmd, fcp.n))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, tb_buf_span(&fcp));
    return TB_SW_OK;
}

/* The EF a command is about: by short id, else the current one. It has to be transparent, or have
 * records, and allow the command. */
static uint16_t target(struct card *card, const struct cmd *cmd, bool by_sfi, uint8_t sfi,
                       bool records, bool update, const struct fs_node **ret) {
    const struct fs_node *ef = by_sfi ? fs_by_sfi(card, cmd->ch->df, sfi) : cmd->ch->ef;

    if (!ef)
        return by_sfi ? TB_SW_NOT_FOUND : TB_SW_NO_EF;
    if (records != (ef->kind == FS_LINEAR || ef->kind == FS_CYCLIC))
        return TB_SW_FILE_TYPE;
    if (!fs_allowed(card, update ? ef->update : ef->read))
        return TB_SW_SECURITY;
    *ret = ef;
    return TB_SW_OK;
}

/* A short id makes its EF the current one, with no current record, when the command succeeds. */
static void addressed(struct cmd *cmd, bool by_sfi, const struct fs_node *ef) {
    if (!by_sfi)
        return;
    cmd->ch->ef = ef;
    cmd->ch->record = 0;
}

static bool transparent_by_sfi(const struct cmd *cmd) {
    return (cmd->a.p1 & 0x80) != 0;
}

/* spec: TS102221 11.1.3 P1 P2: b8 set, short id and 8-bit offset; else 15-bit offset */
static uint16_t transparent(struct card *card, const struct cmd *cmd, bool update,
                            const struct fs_node **ret_ef, size_t *ret_offset) {
    bool by_sfi = transparent_by_sfi(cmd);
    const struct fs_node *ef;
    uint16_t sw;

    if (by_sfi && (cmd->a.p1 & 0x60))
        return TB_SW_P1P2;
    sw = target(card, cmd, by_sfi, cmd->a.p1 & 0x1F, false, update, &ef);
    if (sw != TB_SW_OK)
        return sw;
    *ret_ef = ef;
    *ret_offset = by_sfi ? cmd->a.p2 : (size_t)(cmd->a.p1 << 8 | cmd->a.p2);
    return *ret_offset < fs_size(card, ef) ? TB_SW_OK : TB_SW_OFFSET;
}

uint16_t card_cmd_read_binary(struct card *card, struct cmd *cmd) {
    uint8_t store[FS_CONTENT_MAX];
    struct tb_buf content = TB_BUF(store);
    struct tb_span part;
    const struct fs_node *ef;
    size_t offset, want = cmd->a.le_present ? cmd->a.ne : 256;
    uint16_t sw;

    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    sw = transparent(card, cmd, false, &ef, &offset);
    if (sw != TB_SW_OK)
        return sw;
    fs_content(card, ef, &content);
    part = tb_span_sub(tb_buf_span(&content), offset, want);
    if (!card_out_room(cmd, part.n))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, part);
    addressed(cmd, transparent_by_sfi(cmd), ef);
    /* Le = 00 asks for what there is, any other Le for that many bytes */
    return part.n < want && want != 256 && !cmd->a.extended ? SW_END : TB_SW_OK;
}

uint16_t card_cmd_update_binary(struct card *card, struct cmd *cmd) {
    const struct fs_node *ef;
    size_t offset;
    uint16_t sw = transparent(card, cmd, true, &ef, &offset);

    if (sw != TB_SW_OK)
        return sw;
    if (cmd->a.data.n == 0 || cmd->a.data.n > fs_size(card, ef) - offset)
        return TB_SW_LENGTH;
    sw = fs_write(card, ef, offset, cmd->a.data);
    if (sw == TB_SW_OK)
        addressed(cmd, transparent_by_sfi(cmd), ef);
    return sw;
}

enum { MODE_NEXT = 2, MODE_PREVIOUS = 3, MODE_ABSOLUTE = 4 };

/* spec: TS102221 11.1.5 the record that P1 and P2 mean; *ret_current: it becomes the current one */
static uint16_t record_number(const struct cmd *cmd, uint8_t now, uint8_t count,
                              unsigned *ret_number, bool *ret_current) {
    unsigned n = cmd->a.p1;

    *ret_current = true;
    switch (cmd->a.p2 & 0x07) {
    case MODE_NEXT:
        n = now + 1U;
        break;
    case MODE_PREVIOUS:
        n = now ? now - 1U : count;
        break;
    case MODE_ABSOLUTE:
        *ret_current = false;
        if (n == 0)
            n = now;
        break;
    default:
        return TB_SW_P1P2;
    }
    if (n == 0 || n > count)
        return TB_SW_NO_RECORD;
    *ret_number = n;
    return TB_SW_OK;
}

static bool record_by_sfi(const struct cmd *cmd) {
    return cmd->a.p2 >> 3 != 0;
}

static uint16_t record(struct card *card, const struct cmd *cmd, bool update,
                       const struct fs_node **ret_ef, unsigned *ret_number, bool *ret_current) {
    bool by_sfi = record_by_sfi(cmd);
    const struct fs_node *ef;
    uint16_t sw = target(card, cmd, by_sfi, cmd->a.p2 >> 3, true, update, &ef);

    if (sw != TB_SW_OK)
        return sw;
    *ret_ef = ef;
    return record_number(cmd, by_sfi ? 0 : cmd->ch->record, fs_records(card, ef), ret_number,
                         ret_current);
}

static void record_done(struct cmd *cmd, const struct fs_node *ef, unsigned n, bool current) {
    addressed(cmd, record_by_sfi(cmd), ef);
    if (current)
        cmd->ch->record = (uint8_t)n;
}

uint16_t card_cmd_read_record(struct card *card, struct cmd *cmd) {
    uint8_t store[FS_CONTENT_MAX];
    struct tb_buf content = TB_BUF(store);
    const struct fs_node *ef;
    unsigned n;
    bool current;
    uint16_t sw;

    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    sw = record(card, cmd, false, &ef, &n, &current);
    if (sw != TB_SW_OK)
        return sw;
    if (cmd->a.le_present && !cmd->a.extended && cmd->a.ne != 256 && cmd->a.ne != ef->size)
        return (uint16_t)(0x6C00 | ef->size); /* records are at most 255 bytes */
    fs_content(card, ef, &content);
    if (!card_out_room(cmd, ef->size))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, tb_span_sub(tb_buf_span(&content), (n - 1) * (size_t)ef->size, ef->size));
    record_done(cmd, ef, n, current);
    return TB_SW_OK;
}

uint16_t card_cmd_update_record(struct card *card, struct cmd *cmd) {
    const struct fs_node *ef;
    unsigned n;
    bool current;
    uint16_t sw = record(card, cmd, true, &ef, &n, &current);

    if (sw != TB_SW_OK)
        return sw;
    if (cmd->a.data.n != ef->size)
        return TB_SW_LENGTH;
    sw = fs_write(card, ef, (n - 1) * (size_t)ef->size, cmd->a.data);
    if (sw == TB_SW_OK)
        record_done(cmd, ef, n, current);
    return sw;
}
