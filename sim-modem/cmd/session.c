/* +CCHO and +CCHC: a logical channel with an application on it, under a handle.
 * spec: TS27.007 8.43, 8.44; TS102.221 11.1.17 */
#include <stdio.h>

#include "cmd.h"
#include "core/modem_int.h"
#include "tb/hex.h"

enum step { OPEN, SELECT, CLOSE };
enum { BY_AID = 0x04, AID_MIN = 5, P1_CLOSE = 0x80 };

static void print_handle(const struct modem *m, uint64_t handle, char dst[static 24]) {
    snprintf(dst, 24, m->quirks.session_opaque ? "%016llx" : "%llu", (unsigned long long)handle);
}

unsigned cmd_session(const struct modem *m, struct tb_span handle) {
    char text[24];

    for (unsigned i = 1; i < TB_CHANNELS; i++) {
        if (!m->sim.chan[i].session)
            continue;
        print_handle(m, m->sim.chan[i].handle, text);
        if (tb_span_eq(handle, tb_span_str(text)))
            return i;
    }
    return 0;
}

static void send_close(struct modem *m, unsigned channel) {
    sim_build(m, 0x00, TB_INS_MANAGE_CHANNEL, P1_CLOSE, (uint8_t)channel, TB_SPAN_NONE, 0);
    sim_send(m, SIM_TE);
}

static void finish(struct modem *m, struct at_channel *ch, int result) {
    sim_release(m);
    at_finish(ch, result);
}

/* ---- +CCHO ---- */

static void select_application(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    struct tb_span data = sim_data(rsp);
    uint16_t sw = sim_sw(rsp);

    if (!tb_sw_success(sw) || data.n != 1 || data.p[0] == 0 || data.p[0] >= TB_CHANNELS) {
        finish(m, ch, AT_CME(sw == TB_SW_FUNCTION ? CME_MEMORY_FULL : CME_UNKNOWN));
        return;
    }
    ch->op.open.channel = data.p[0];
    t->step = SELECT;
    sim_build(m, tb_cla_on_channel(0x00, data.p[0]), TB_INS_SELECT, BY_AID, 0x00,
              tb_span(ch->op.open.aid, ch->op.open.aid_len), 0);
    sim_send(m, SIM_TE | SIM_FETCH);
}

static void selected(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    unsigned n = ch->op.open.channel;
    uint16_t sw = sim_sw(rsp);
    struct sim_lchan *l = &m->sim.chan[n];
    char handle[24];

    if (!tb_sw_success(sw) && sw >> 8 != 0x62) {
        ch->op.open.failure = AT_CME(sw == TB_SW_NOT_FOUND ? CME_NOT_FOUND : CME_UNKNOWN);
        t->step = CLOSE;
        send_close(m, n);
        return;
    }
    l->session = true;
    l->handle = m->quirks.session_opaque ? m->sim.next_handle++ : n;
    print_handle(m, l->handle, handle);
    at_info(ch, "%s%s", m->quirks.ccho_prefix ? "+CCHO: " : "", handle);
    finish(m, ch, AT_OK);
}

static void ccho_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    if (rsp.n == 0) {
        t->step = OPEN;
        sim_build(m, 0x00, TB_INS_MANAGE_CHANNEL, 0x00, 0x00, TB_SPAN_NONE, 1);
        sim_send(m, SIM_TE | SIM_FETCH);
        return;
    }
    switch ((enum step)t->step) {
    case OPEN:
        select_application(m, t, rsp);
        break;
    case SELECT:
        selected(m, t, rsp);
        break;
    case CLOSE:
        finish(m, t->ch, t->ch->op.open.failure);
        break;
    }
}

int cmd_ccho(struct modem *m, struct at_channel *ch, struct at_args args) {
    struct tb_buf aid = TB_BUF(ch->op.open.aid);
    struct tb_span hex = {0};
    int r = at_take_text(&args, &hex);

    (void)m;
    if (r < 1 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    if (tb_hex_decode(hex, &aid) < 0 || aid.n < AID_MIN)
        return AT_CME(CME_PARAMETERS);
    ch->op.open.aid_len = (uint8_t)aid.n;
    return at_submit(ch, ccho_run, "+CCHO");
}

/* ---- +CCHC ---- */

static void cchc_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    unsigned n = ch->op.close.channel;

    if (rsp.n) { /* whatever the card says, for us the session has ended */
        m->sim.chan[n] = (struct sim_lchan){0};
        finish(m, ch, AT_OK);
    } else if (!m->sim.chan[n].session) { /* it ended while we waited */
        finish(m, ch, AT_CME(CME_PARAMETERS));
    } else {
        send_close(m, n);
    }
}

int cmd_cchc(struct modem *m, struct at_channel *ch, struct at_args args) {
    struct tb_span handle = {0};
    int r = at_take_text(&args, &handle);
    unsigned n;

    if (r < 1 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    n = cmd_session(m, handle);
    if (n == 0)
        return AT_CME(CME_PARAMETERS);
    ch->op.close.channel = (uint8_t)n;
    return at_submit(ch, cchc_run, "+CCHC");
}
