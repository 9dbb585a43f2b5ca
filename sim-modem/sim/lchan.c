#include "core/modem_int.h"
#include "sim.h"

enum { P1_OPEN = 0x00, P1_CLOSE = 0x80, BY_FID = 0x00, BY_AID = 0x04, BY_PATH = 0x08 };

void sim_channels_clear(struct modem *m) {
    struct sim *s = &m->sim;

    memset(s->chan, 0, sizeof s->chan);
    for (unsigned i = 0; i < TB_CHANNELS; i++)
        s->hold[i].kind = T0_NOTHING;
    s->sel = (struct sim_selection){0};
    s->orphans = false;
}

unsigned sim_open_count(const struct modem *m) {
    unsigned n = 0;

    for (unsigned i = 1; i < TB_CHANNELS; i++)
        n += m->sim.chan[i].open && m->sim.chan[i].owner;
    return n;
}

static bool carried_out(uint16_t sw) {
    return tb_sw_success(sw) || tb_sw_more(sw) || sw >> 8 == 0x62;
}

/* ---- Selection of TEs on channel 0 ---- */

static void remember(struct sim_selection *sel, struct tb_span select) {
    if (sel->n == SIM_SELECTS || select.n > SIM_SELECT_MAX) {
        sel->lost = true;
        return;
    }
    memcpy(sel->at[sel->n].cmd, select.p, select.n);
    sel->at[sel->n++].n = (uint8_t)select.n;
}

void sim_select_reset(struct modem *m, struct tb_span select) {
    m->sim.sel = (struct sim_selection){.usim = m->sim.sel.usim};
    remember(&m->sim.sel, select);
}

static bool is_usim(const struct sim *s, struct tb_span aid) {
    return s->usim_n && tb_span_eq(aid, tb_span(s->usim, s->usim_n));
}

static bool is_mf(const struct tb_apdu *a) {
    return a->p1 == BY_FID && tb_span_eq(a->data, TB_BYTES(0x3F, 0x00));
}

/* Where a selection starts does not depend on what was selected before it. */
static bool is_absolute(const struct tb_apdu *a) {
    return a->p1 == BY_AID || a->p1 == BY_PATH || is_mf(a);
}

bool sim_select_stale(const struct modem *m, struct tb_span cmd) {
    const struct sim_selection *sel = &m->sim.sel;
    struct tb_apdu a;
    struct tb_cla c;

    if (!sel->dirty || sel->lost || sel->n == 0)
        return false;
    if (!tb_cla_parse(cmd.p[0], &c))
        return true; /* class A0: the basic channel */
    if (c.channel != 0)
        return false;
    return !(tb_apdu_parse(cmd, TB_APDU_TRAILING, &a) == 0 && a.ins == TB_INS_SELECT &&
             a.p1 == BY_AID);
}

static void selected_basic(struct modem *m, struct tb_span cmd, const struct tb_apdu *a) {
    struct sim_selection *sel = &m->sim.sel;

    if (a->p1 == BY_AID)
        sel->usim = is_usim(&m->sim, a->data);
    if (!(m->sim.flags & SIM_TE)) {
        if (!(m->sim.flags & SIM_NO_MARK) && m->sim.state == SIM_READY)
            sel->dirty = true;
        return;
    }
    if (a->p1 == BY_AID) {
        sim_select_reset(m, cmd);
        return;
    }
    if (is_absolute(a)) { /* the application stays: 7FFF means its files */
        sel->n = sel->n > 0 && sel->at[0].cmd[2] == BY_AID ? 1 : 0;
        sel->lost = sel->dirty = false;
    }
    remember(sel, cmd);
}

void sim_select_replayed(struct modem *m, struct tb_span cmd, struct tb_span rsp) {
    struct tb_apdu a;

    if (tb_apdu_parse(cmd, TB_APDU_TRAILING, &a) == 0 && a.p1 == BY_AID && carried_out(sim_sw(rsp)))
        m->sim.sel.usim = is_usim(&m->sim, a.data);
}

/* ---- Logical channels ---- */

static void opened(struct modem *m, unsigned n) {
    struct sim *s = &m->sim;

    if (n == 0 || n >= TB_CHANNELS)
        return;
    s->chan[n] = (struct sim_lchan){
        .open = true,
        .owner = s->owner,
        .orphan = s->abandoned,
    };
    s->hold[n].kind = T0_NOTHING;
    s->orphans |= s->abandoned;
}

/* Some cards open a channel by this alone. On an open one, whoever selects has it from now on: it
 * is not closed when the TE goes that had it before. */
static void selected_logical(struct modem *m, unsigned n) {
    struct sim_lchan *l = &m->sim.chan[n];

    if (!l->open)
        opened(m, n);
    else if (l->owner && m->sim.owner && !l->session)
        l->owner = m->sim.owner;
}

static void closed(struct modem *m, unsigned n) {
    if (n > 0 && n < TB_CHANNELS)
        m->sim.chan[n] = (struct sim_lchan){0};
}

void sim_observe(struct modem *m, struct tb_span cmd, struct tb_span rsp) {
    struct tb_cla c = {0};
    struct tb_span data;
    struct tb_apdu a;
    uint16_t sw;

    if (cmd.p[1] != TB_INS_MANAGE_CHANNEL && cmd.p[1] != TB_INS_SELECT &&
        !sim_is_pin_command(cmd.p[1]))
        return;
    if (tb_apdu_parse(cmd, TB_APDU_TRAILING, &a) < 0 || tb_rapdu_parse(rsp, &data, &sw) < 0)
        return;
    if (a.cla != 0xA0 && !tb_cla_parse(a.cla, &c))
        return;
    if (sim_is_pin_command(a.ins)) {
        sim_observe_pin(m, &a, sw);
        return;
    }
    if (!carried_out(sw))
        return;
    if (a.ins == TB_INS_SELECT) {
        if (c.channel == 0)
            selected_basic(m, cmd, &a);
        else if (a.p1 == BY_AID)
            selected_logical(m, c.channel);
    } else if (a.p1 == P1_OPEN && (a.p2 || data.n == 1)) {
        opened(m, a.p2 ? a.p2 : data.p[0]);
    } else if (a.p1 == P1_CLOSE) {
        closed(m, a.p2 ? a.p2 : c.channel);
    }
}

/* ---- Channels whose TE is gone ---- */

static unsigned first_orphan(const struct modem *m) {
    for (unsigned i = 1; i < TB_CHANNELS; i++)
        if (m->sim.chan[i].open && m->sim.chan[i].orphan)
            return i;
    return 0;
}

static void closer_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    unsigned n;

    if (rsp.n) /* whatever the card said: it is not tried again */
        closed(m, (unsigned)t->step);
    n = first_orphan(m);
    if (!n) {
        sim_release(m);
        return;
    }
    t->step = (int)n;
    sim_build(m, 0x00, TB_INS_MANAGE_CHANNEL, P1_CLOSE, (uint8_t)n, TB_SPAN_NONE, 0);
    sim_send(m, 0);
}

void sim_close_orphans(struct modem *m) {
    struct sim_task *t = &m->sim.closer;

    if (!m->sim.orphans || t->active)
        return;
    m->sim.orphans = false;
    t->run = closer_run;
    t->what = "close";
    sim_submit_first(m, t);
}
