/* +CSIM and +CGLA: an APDU from hex to the card and back. The path that counts: no copy but hex to
 * bytes and bytes to hex, no allocation, one write each way. spec: TS27.007 8.17, 8.45 */
#include <stdio.h>

#include "cmd.h"
#include "core/modem_int.h"
#include "tb/hex.h"

enum { APDU_HEX_MIN = 2 * 4, INS_AUTHENTICATE = 0x88, INS_AUTHENTICATE_BER = 0x89 };

/* <length>,<hex>: the length counts characters. */
static int take_apdu(struct modem *m, struct at_args *args, struct tb_span *ret_hex) {
    uint32_t length = 0;
    struct tb_span hex = {0};
    int r = at_take_uint(args, 0, UINT32_MAX, &length);

    if (r == 1)
        r = at_take_text(args, &hex);
    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    if (at_args_end(args) != AT_OK)
        return AT_ERROR;
    if (hex.n < APDU_HEX_MIN || hex.n % 2 || (length != hex.n && !m->quirks.csim_trust_string))
        return AT_CME(CME_PARAMETERS);
    if (hex.n > 2 * (size_t)(m->sim.extended ? TB_APDU_MAX_CMD : TB_APDU_MAX_SHORT_CMD))
        return AT_CME(CME_PARAMETERS);
    *ret_hex = hex;
    return AT_OK;
}

/* The quirk csim-stale: what the module said last time comes once more, in front. */
static void put_stale(struct modem *m, struct at_channel *ch, struct tb_span rsp) {
    struct tb_buf b = tb_buf(m->stale, sizeof m->stale - 1);

    if (m->stale[0])
        at_info(ch, "%s", m->stale);
    b.n = (size_t)snprintf(m->stale, sizeof m->stale, "+CSIM: %zu,", 2 * rsp.n);
    tb_put_hex(&b, tb_span_sub(rsp, 0, 64), TB_HEX_UPPER);
    m->stale[b.n] = '\0';
}

static void put_answer(struct modem *m, struct at_channel *ch, struct tb_span rsp) {
    bool gla = ch->op.apdu.cgla, quote = gla || m->quirks.csim_quote;
    enum tb_hex_case c = !gla && m->quirks.csim_lower ? TB_HEX_LOWER : TB_HEX_UPPER;

    if (!gla && m->quirks.csim_stale)
        put_stale(m, ch, rsp);
    at_info_begin(ch);
    at_put_str(ch, gla ? "+CGLA: " : "+CSIM: ");
    at_put_uint(ch, 2 * rsp.n);
    at_put_str(ch, quote ? ",\"" : ",");
    tb_put_hex(at_room(ch, 2 * rsp.n), rsp, c);
    if (quote)
        at_put_str(ch, "\"");
    at_info_end(ch);
}

static struct t0_hold *hold_of(struct modem *m, struct tb_span cmd) {
    struct tb_cla c;

    return &m->sim.hold[tb_cla_parse(cmd.p[0], &c) ? c.channel : 0];
}

static void finish(struct modem *m, struct at_channel *ch, struct tb_span rsp) {
    sim_release(m);
    put_answer(m, ch, rsp);
    at_finish(ch, AT_OK);
}

static void fail(struct modem *m, struct at_channel *ch, int result) {
    sim_release(m);
    at_finish(ch, result);
}

/* spec: TS27.007 8.45 +CGLA never runs the authentication of the network in GSM context */
static bool is_gsm_authentication(struct tb_span cmd) {
    return (cmd.p[1] == INS_AUTHENTICATE || cmd.p[1] == INS_AUTHENTICATE_BER) &&
           (cmd.p[3] & 0x07) == 0;
}

static int prepare(struct modem *m, struct at_channel *ch) {
    struct tb_buf *cmd = sim_command_of(m, ch->op.apdu.hex.n / 2);
    struct tb_cla c;
    unsigned n;

    if (tb_hex_decode(ch->op.apdu.hex, cmd) < 0)
        return AT_CME(CME_PARAMETERS);
    if (!ch->op.apdu.cgla) {
        if (m->quirks.csim_basic_only && cmd->p[1] != TB_INS_MANAGE_CHANNEL &&
            tb_cla_parse(cmd->p[0], &c) && c.channel)
            return AT_CME(CME_NOT_ALLOWED);
        return AT_OK;
    }
    n = cmd_session(m, ch->op.apdu.session);
    if (n == 0)
        return AT_CME(CME_PARAMETERS);
    if (is_gsm_authentication(tb_buf_span(cmd)))
        return AT_CME(CME_NOT_ALLOWED);
    /* spec: TS102.221 10.1.1 the channel in the class byte is the session's, whatever the TE put
     * there */
    cmd->p[0] = tb_cla_on_channel(cmd->p[0], n);
    return AT_OK;
}

static void apdu_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    enum modem_t0 t0 = ch->op.apdu.cgla ? m->quirks.cgla_t0 : m->quirks.t0;
    unsigned trunc = ch->op.apdu.cgla ? m->quirks.cgla_trunc : m->quirks.trunc;
    struct tb_span cmd = tb_buf_span(&m->sim.cmd);
    struct tb_buf made = TB_BUF(m->made);
    int r;

    if (rsp.n == 0) {
        r = prepare(m, ch);
        cmd = tb_buf_span(&m->sim.cmd);
        if (r != AT_OK)
            fail(m, ch, r);
        else if (t0 == MODEM_T0_RAW && t0_before(hold_of(m, cmd), cmd, &made))
            finish(m, ch, tb_buf_span(&made));
        else
            sim_send(m, SIM_TE | (t0 == MODEM_T0_AUTO || t0 == MODEM_T0_TRUNC ? SIM_FETCH : 0U));
        return;
    }
    if (t0 == MODEM_T0_RAW && rsp.n <= made.cap) {
        t0_after(hold_of(m, cmd), cmd, rsp, &made);
        rsp = tb_buf_span(&made);
    } else if (t0 == MODEM_T0_TRUNC) {
        rsp = tb_span_sub(rsp, 0, trunc);
    }
    finish(m, ch, rsp);
}

int cmd_csim(struct modem *m, struct at_channel *ch, struct at_args args) {
    int r = take_apdu(m, &args, &ch->op.apdu.hex);

    if (r != AT_OK)
        return r;
    if (m->quirks.csim_max && ch->op.apdu.hex.n > m->quirks.csim_max)
        return AT_CME(CME_PARAMETERS);
    ch->op.apdu.cgla = false;
    return at_submit(ch, apdu_run, "+CSIM");
}

int cmd_cgla(struct modem *m, struct at_channel *ch, struct at_args args) {
    int r = at_take_text(&args, &ch->op.apdu.session);

    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    r = take_apdu(m, &args, &ch->op.apdu.hex);
    if (r != AT_OK)
        return r;
    if (cmd_session(m, ch->op.apdu.session) == 0)
        return AT_CME(CME_PARAMETERS);
    ch->op.apdu.cgla = true;
    return at_submit(ch, apdu_run, "+CGLA");
}
