/* ISD-R: takes commands in STORE DATA and finds the function. ECASD: tells the EID. spec: SGP.22
 * 5.7.2 */
#include <stdlib.h>

#include "euicc/euicc.h"
#include "tb/tlv.h"

enum { LAST = 0x91, MORE = 0x11 };

static const struct {
    uint32_t tag;
    const char *operation;
    euicc_function *run;
} functions[] = {
    {0xBF20, "get-euicc-info", euicc_get_info1},
    {0xBF22, "get-euicc-info", euicc_get_info2},
    {0xBF28, "list-notifications", euicc_list_notifications},
    {0xBF29, "set-nickname", euicc_set_nickname},
    {0xBF2B, "retrieve-notifications", euicc_retrieve_notifications},
    {0xBF2D, "get-profiles", euicc_get_profiles},
    {0xBF2E, "get-euicc-challenge", euicc_get_challenge},
    {0xBF30, "notification-sent", euicc_notification_sent},
    {0xBF31, "enable-profile", euicc_enable},
    {0xBF32, "disable-profile", euicc_disable},
    {0xBF33, "delete-profile", euicc_delete},
    {0xBF34, "reset-euicc-memory", euicc_memory_reset},
    {0xBF3C, "get-configured-addresses", euicc_get_addresses},
    {0xBF3E, "get-eid", euicc_get_eid},
    {0xBF3F, "set-default-dp-address", euicc_set_dp},
    {0xBF43, "get-rat", euicc_get_rat},
    {0xBF58, "rollback-profile", euicc_rollback},
};

void euicc_put_result(struct cmd *cmd, uint32_t tag, uint32_t inner, uint8_t code) {
    size_t mark = tb_tlv_open(cmd->out, tag);

    tb_put_tlv_u8(cmd->out, inner, code);
    tb_tlv_close(cmd->out, mark);
}

static uint16_t run_function(struct card *card, struct cmd *cmd, struct tb_span command) {
    struct tb_tlv e;

    if (tb_tlv_next(&command, &e) <= 0 || command.n != 0)
        return TB_SW_DATA;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (functions[i].tag == e.tag) {
            cmd->operation = functions[i].operation;
            if (!card_out_room(cmd, EUICC_ANSWER)) /* before anything is changed */
                return TB_SW_NO_SPACE;
            return functions[i].run(card, cmd, e.value);
        }
    return TB_SW_REF_NOT_FOUND;
}

static uint16_t append(struct card_es10 *e, struct tb_span block) {
    struct tb_buf b;
    uint8_t *p;

    if (e->n + block.n > EUICC_COMMAND_MAX)
        return TB_SW_NO_SPACE;
    p = realloc(e->p, e->n + block.n);
    if (!p)
        return TB_SW_NO_SPACE;
    b = (struct tb_buf){p, e->n, e->n + block.n, false};
    tb_put(&b, block);
    e->p = p;
    e->n = b.n;
    e->next++;
    return TB_SW_OK;
}

/* Not that of a script over the air: what is current there could vanish under it. */
static bool is_of_the_card(const struct card *card, const struct card_channel *ch) {
    for (unsigned n = 0; n < TB_CHANNELS; n++)
        if (card->channels[n] == ch)
            return true;
    return false;
}

/* Block 0 begins anew: the client before may have died in the middle. */
static uint16_t store_data(struct card *card, struct cmd *cmd) {
    struct card_es10 *e = &cmd->ch->es10;
    uint16_t sw;

    if (!is_of_the_card(card, cmd->ch))
        return TB_SW_CONDITIONS;
    if (cmd->a.p1 != LAST && cmd->a.p1 != MORE)
        return TB_SW_P1P2;
    if (cmd->a.data.n == 0)
        return TB_SW_LENGTH;
    if (cmd->a.p2 == 0)
        card_channel_drop_es10(cmd->ch);
    if (cmd->a.p2 != e->next) {
        card_channel_drop_es10(cmd->ch);
        return TB_SW_P1P2;
    }
    if (cmd->a.p1 == LAST && cmd->a.p2 == 0) /* the usual: nothing to put together */
        return run_function(card, cmd, cmd->a.data);
    sw = append(e, cmd->a.data);
    if (sw == TB_SW_OK && cmd->a.p1 == MORE)
        return sw;
    if (sw == TB_SW_OK)
        sw = run_function(card, cmd, tb_span(e->p, e->n));
    card_channel_drop_es10(cmd->ch);
    return sw;
}

/* spec: SGP.02 2.2.1.2 the EID under tag 5A */
static uint16_t get_data(struct card *card, struct cmd *cmd) {
    uint16_t sw;

    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    if (cmd->a.p1 != 0x00 || cmd->a.p2 != 0x5A)
        return TB_SW_REF_NOT_FOUND;
    sw = card_wrong_le(cmd, 2 + EUICC_EID);
    if (sw != 0)
        return sw;
    if (!card_out_room(cmd, 2 + EUICC_EID))
        return TB_SW_NO_SPACE;
    tb_put_tlv(cmd->out, 0x5A, tb_span(card->euicc->state.eid, EUICC_EID));
    return TB_SW_OK;
}

static const struct card_ins isdr[] = {{0xE2, CARD_CLA_PROP, 0, "store-data", store_data}};
static const struct card_ins ecasd[] = {{0xCA, CARD_CLA_ANY, 0, "get-data", get_data}};

const struct card_ins *card_euicc_ins(const struct card_app *app, uint8_t ins) {
    return app->kind == CARD_APP_ISDR ? card_ins_find(isdr, 1, ins) : card_ins_find(ecasd, 1, ins);
}

void card_euicc_put_fci(const struct card_app *app, struct tb_buf *out) {
    static const uint8_t svn[] = {0x02, 0x05, 0x00};
    size_t fci = tb_tlv_open(out, 0x6F), inner;

    tb_put_tlv(out, 0x84, card_app_aid(app));
    inner = tb_tlv_open(out, 0xA5);
    tb_put_tlv_u8(out, 0x9F65, 0xFF);
    tb_tlv_close(out, inner);
    if (app->kind == CARD_APP_ISDR) {
        inner = tb_tlv_open(out, 0xE0);
        tb_put_tlv(out, 0x82, tb_span(svn, sizeof svn));
        tb_tlv_close(out, inner);
    }
    tb_tlv_close(out, fci);
}
