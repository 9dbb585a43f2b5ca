/* ES10: what the eUICC tells about itself. spec: SGP.22 5.7.3 5.7.7 5.7.8 5.7.20 5.7.22 */
#include "crypto/crypto.h"
#include "euicc/euicc.h"
#include "tb/tlv.h"

static const uint8_t svn[] = {0x02, 0x05, 0x00};

uint16_t euicc_get_eid(struct card *card, struct cmd *cmd, struct tb_span value) {
    struct tb_span tags;
    size_t mark;

    if (tb_tlv_find(value, 0x5C, &tags) <= 0 || !tb_span_eq(tags, TB_BYTES(0x5A)))
        return TB_SW_DATA;
    mark = tb_tlv_open(cmd->out, 0xBF3E);
    tb_put_tlv(cmd->out, 0x5A, tb_span(card->euicc->state.eid, EUICC_EID));
    tb_tlv_close(cmd->out, mark);
    return TB_SW_OK;
}

/* Keys of certificate issuers, for verification and for signature. */
static void put_issuers(const struct card *card, struct tb_buf *out) {
    for (uint32_t tag = 0xA9; tag <= 0xAA; tag++) {
        size_t mark = tb_tlv_open(out, tag);

        if (card->euicc->state.has_ci)
            tb_put_tlv(out, 0x04, tb_span(card->euicc->state.ci, EUICC_CI));
        tb_tlv_close(out, mark);
    }
}

uint16_t euicc_get_info1(struct card *card, struct cmd *cmd, struct tb_span value) {
    size_t mark;

    if (value.n)
        return TB_SW_DATA;
    mark = tb_tlv_open(cmd->out, 0xBF20);
    tb_put_tlv(cmd->out, 0x82, tb_span(svn, sizeof svn));
    put_issuers(card, cmd->out);
    tb_tlv_close(cmd->out, mark);
    return TB_SW_OK;
}

/* spec: SGP.22 4.3 TS102226 8.2.1.7.2 applications that are installed, memory: there is no limit,
 * and what is said is 256 KiB. */
static void put_resources(const struct card *card, struct tb_buf *out) {
    static const uint8_t free_memory[] = {0x00, 0x04, 0x00, 0x00};
    size_t mark = tb_tlv_open(out, 0x84);
    unsigned n = 0;

    for (size_t i = 0; i < card->apps_n; i++)
        n += card->apps[i]->kind == CARD_APP_SAFE && card_app_present(card, card->apps[i]);
    tb_put_tlv_u8(out, 0x81, (uint8_t)n);
    tb_put_tlv(out, 0x82, tb_span(free_memory, sizeof free_memory));
    tb_put_tlv(out, 0x83, tb_span(free_memory, sizeof free_memory));
    tb_tlv_close(out, mark);
}

uint16_t euicc_get_info2(struct card *card, struct cmd *cmd, struct tb_span value) {
    static const uint8_t profile_version[] = {0x02, 0x03, 0x01}, firmware[] = {0x01, 0x00, 0x00},
                         /* USIM, Milenage; more than one profile: behind the unused bits */
        uicc[] = {0x03, 0x48}, rsp[] = {0x07, 0x80}, pp_version[] = {0x01, 0x00, 0x00};
    struct tb_buf *out = cmd->out;
    size_t mark;

    if (value.n)
        return TB_SW_DATA;
    mark = tb_tlv_open(out, 0xBF22);
    tb_put_tlv(out, 0x81, tb_span(profile_version, sizeof profile_version));
    tb_put_tlv(out, 0x82, tb_span(svn, sizeof svn));
    tb_put_tlv(out, 0x83, tb_span(firmware, sizeof firmware));
    put_resources(card, out);
    tb_put_tlv(out, 0x85, tb_span(uicc, sizeof uicc));
    tb_put_tlv(out, 0x88, tb_span(rsp, sizeof rsp));
    put_issuers(card, out);
    tb_put_tlv_u8(out, 0x8B, 1); /* basic eUICC */
    tb_put_tlv(out, 0x04, tb_span(pp_version, sizeof pp_version));
    tb_put_tlv(out, 0x0C, tb_span_str("none"));
    tb_tlv_close(out, mark);
    return TB_SW_OK;
}

uint16_t euicc_get_challenge(struct card *card, struct cmd *cmd, struct tb_span value) {
    size_t outer, inner;

    (void)card;
    if (value.n)
        return TB_SW_DATA;
    cmd->work = TB_CARD_RANDOM;
    outer = tb_tlv_open(cmd->out, 0xBF2E);
    inner = tb_tlv_open(cmd->out, 0x80);
    if (card_random(cmd->out, 16) < 0) {
        cmd->out->n = 0;
        return TB_SW_UNKNOWN;
    }
    tb_tlv_close(cmd->out, inner);
    tb_tlv_close(cmd->out, outer);
    return TB_SW_OK;
}

uint16_t euicc_get_addresses(struct card *card, struct cmd *cmd, struct tb_span value) {
    const struct euicc_state *s = &card->euicc->state;
    size_t mark;

    if (value.n)
        return TB_SW_DATA;
    mark = tb_tlv_open(cmd->out, 0xBF3C);
    if (s->dp[0])
        tb_put_tlv(cmd->out, 0x80, tb_span_str(s->dp));
    tb_put_tlv(cmd->out, 0x81, tb_span_str(s->ds));
    tb_tlv_close(cmd->out, mark);
    return TB_SW_OK;
}

/* An empty address takes the default away. */
uint16_t euicc_set_dp(struct card *card, struct cmd *cmd, struct tb_span value) {
    enum { UNDEFINED = 127 };
    struct euicc_change c;
    struct tb_span dp;
    uint16_t sw;

    if (tb_tlv_find(value, 0x80, &dp) <= 0)
        return TB_SW_DATA;
    if (dp.n > EUICC_ADDRESS_MAX || !euicc_is_text(dp)) {
        euicc_put_result(cmd, 0xBF3F, 0x80, UNDEFINED);
        return TB_SW_OK;
    }
    euicc_begin(&c, card);
    memset(c.state.dp, 0, sizeof c.state.dp);
    if (dp.n)
        memcpy(c.state.dp, dp.p, dp.n);
    sw = euicc_commit(&c);
    if (sw != 0)
        return sw;
    euicc_put_result(cmd, 0xBF3F, 0x80, 0);
    return TB_SW_OK;
}

/* No rule authorises a profile's policies: they come from the factory only. */
uint16_t euicc_get_rat(struct card *card, struct cmd *cmd, struct tb_span value) {
    size_t mark;

    (void)card;
    if (value.n)
        return TB_SW_DATA;
    mark = tb_tlv_open(cmd->out, 0xBF43);
    tb_put_tlv(cmd->out, 0xA0, TB_SPAN_NONE);
    tb_tlv_close(cmd->out, mark);
    return TB_SW_OK;
}
