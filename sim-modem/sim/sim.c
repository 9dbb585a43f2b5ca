#include "sim.h"

#include <assert.h>
#include <stdio.h>

#include "core/modem_int.h"
#include "core/room.h"

static void fail_users(struct modem *m, int result);

void sim_init(struct modem *m) {
    struct sim *s = &m->sim;

    s->queue_end = &s->queue;
    s->next_handle = 0x385A7CF;
}

struct tb_buf *sim_command_of(struct modem *m, size_t n) {
    m->sim.cmd.n = 0;
    m->sim.cmd.overflow = false;
    modem_room(&m->sim.cmd, n + 1); /* a Le may be added */
    return &m->sim.cmd;
}

struct tb_buf *sim_command(struct modem *m) {
    return sim_command_of(m, TB_APDU_MAX_SHORT_CMD);
}

void sim_build(struct modem *m, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
               struct tb_span data, unsigned ne) {
    struct tb_apdu a = {.cla = cla, .ins = ins, .p1 = p1, .p2 = p2, .data = data, .ne = ne};

    tb_put_apdu(sim_command(m), &a);
}

uint16_t sim_sw(struct tb_span rsp) {
    struct tb_span data;
    uint16_t sw;

    return tb_rapdu_parse(rsp, &data, &sw) == 0 ? sw : 0;
}

struct tb_span sim_data(struct tb_span rsp) {
    struct tb_span data;
    uint16_t sw;

    return tb_rapdu_parse(rsp, &data, &sw) == 0 ? data : TB_SPAN_NONE;
}

int sim_check(const struct modem *m) {
    switch (m->sim.state) {
    case SIM_READY:
        return AT_OK;
    case SIM_BOOTING:
        return m->quirks.sim_busy_error ? AT_CME(CME_SIM_BUSY) : AT_PENDING;
    case SIM_ABSENT:
        return AT_CME(CME_NO_SIM);
    default:
        return AT_CME(CME_SIM_FAILURE);
    }
}

/* ---- Turns ---- */

void sim_submit(struct modem *m, struct sim_task *t) {
    assert(!t->active);
    t->next = NULL;
    t->step = 0;
    t->active = true;
    *m->sim.queue_end = t;
    m->sim.queue_end = &t->next;
}

void sim_submit_first(struct modem *m, struct sim_task *t) {
    assert(!t->active);
    t->next = m->sim.queue;
    t->step = 0;
    t->active = true;
    m->sim.queue = t;
    if (!t->next)
        m->sim.queue_end = &t->next;
}

void sim_release(struct modem *m) {
    m->sim.task->active = false;
    m->sim.task = NULL;
}

static void dequeue(struct modem *m, struct sim_task *t) {
    struct sim_task **at = &m->sim.queue;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (!t->next)
        m->sim.queue_end = at;
    t->active = false;
}

void sim_forget(struct modem *m, struct at_channel *ch) {
    struct sim *s = &m->sim;
    bool keep = m->quirks.hangup_keeps_channels;

    if (s->task == &ch->task)
        sim_release(m); /* the answer under way is still observed: see sim_answer() */
    else if (ch->task.active)
        dequeue(m, &ch->task);
    if (s->owner == ch) {
        s->owner = NULL;
        s->abandoned = !keep;
    }
    if (s->origin == ch->name)
        s->origin = "gone";
    for (unsigned i = 1; i < TB_CHANNELS; i++) {
        if (!s->chan[i].open || s->chan[i].owner != ch)
            continue;
        s->chan[i].owner = NULL;
        s->chan[i].orphan = !keep;
        s->orphans |= !keep;
    }
}

static void switch_power(struct modem *m) {
    struct sim *s = &m->sim;
    enum sim_power want = s->want;

    s->want = SIM_POWER_KEEP;
    sim_channels_clear(m);
    if (want == SIM_POWER_OFF) {
        m->ops->card_power(MODEM_CARD_OFF, m->user);
        return;
    }
    s->awaiting = s->awaiting_atr = true;
    m->counters.card_resets += want == SIM_POWER_RESET;
    m->ops->card_power(want == SIM_POWER_ON ? MODEM_CARD_ON : MODEM_CARD_RESET, m->user);
}

void sim_kick(struct modem *m) {
    struct sim *s = &m->sim;

    while (!s->awaiting && !s->task) {
        if (s->want != SIM_POWER_KEEP) {
            switch_power(m);
            continue;
        }
        if (s->state != SIM_READY)
            return;
        sim_close_orphans(m);
        if (!s->queue)
            return;
        s->task = s->queue;
        s->queue = s->task->next;
        if (!s->queue)
            s->queue_end = &s->queue;
        s->task->run(m, s->task, TB_SPAN_NONE);
    }
}

/* ---- One exchange ---- */

static void put_on_wire(struct modem *m, struct tb_span cmd) {
    m->sim.sent = cmd;
    m->sim.awaiting = true;
    m->sim.awaiting_atr = false;
    m->ops->card_command(cmd, m->user);
}

static void send_main(struct modem *m) {
    m->sim.stage = SIM_X_MAIN;
    put_on_wire(m, tb_buf_span(&m->sim.cmd));
}

static void send_delayed(void *arg) {
    struct modem *m = arg;

    m->sim.delayed = false;
    send_main(m);
}

/* The selection that the TE had on channel 0 is replayed command by command; answers do not matter,
 * a file that vanished meanwhile is noticed by the TE's own command. */
static bool send_restore(struct modem *m) {
    struct sim *s = &m->sim;

    if (s->restore_at == s->sel.n) {
        s->sel.dirty = false;
        return false;
    }
    s->stage = SIM_X_RESTORE;
    put_on_wire(m, tb_span(s->sel.at[s->restore_at].cmd, s->sel.at[s->restore_at].n));
    s->restore_at++;
    return true;
}

static void send_or_delay(struct modem *m) {
    struct sim *s = &m->sim;

    if ((s->flags & SIM_TE) && m->quirks.latency_card) {
        s->delayed = s->awaiting = true;
        s->awaiting_atr = false;
        at_timer_start(m, &m->latency, m->quirks.latency_card, send_delayed, m);
        return;
    }
    send_main(m);
}

void sim_send(struct modem *m, unsigned flags) {
    struct sim *s = &m->sim;

    assert(s->task && !s->awaiting && !s->cmd.overflow && s->cmd.n >= 4);
    s->flags = flags;
    s->owner = flags & SIM_TE ? s->task->ch : NULL;
    s->abandoned = false;
    s->origin = s->task->ch ? s->task->ch->name : NULL;
    s->what = s->task->what;
    s->got.n = 0;
    s->got.overflow = false;
    if (flags & SIM_TE)
        m->counters.apdus_te++;
    else
        m->counters.apdus_own++;
    if ((flags & SIM_TE) && sim_select_stale(m, tb_buf_span(&s->cmd))) {
        s->restore_at = 0;
        if (send_restore(m))
            return;
    }
    send_or_delay(m);
}

static void trace(struct modem *m, struct tb_span rsp) {
    char origin[64];

    if (!m->ops->on_apdu)
        return;
    snprintf(origin, sizeof origin, "%s%s %s", m->sim.origin ? "at:" : "",
             m->sim.origin ? m->sim.origin : "modem",
             m->sim.stage == SIM_X_RESTORE ? "restore" : m->sim.what);
    m->ops->on_apdu(m->sim.sent, rsp, origin, m->user);
}

/* GET RESPONSE on the channel of the command under way. */
static void send_fetch(struct modem *m, uint8_t le) {
    struct sim *s = &m->sim;
    struct tb_cla c;
    uint8_t cla = s->cmd.p[0];

    cla = tb_cla_parse(cla, &c) ? tb_cla_on_channel(0x00, c.channel) : cla; /* A0 fetches with A0 */
    s->small[0] = cla;
    s->small[1] = TB_INS_GET_RESPONSE;
    s->small[2] = s->small[3] = 0;
    s->small[4] = le;
    s->stage = SIM_X_FETCH;
    put_on_wire(m, tb_span(s->small, 5));
}

/* 6Cxx: the same command with the Le that the card wants. False when the command has no place for
 * it. */
static bool send_retry(struct modem *m, uint8_t le) {
    struct sim *s = &m->sim;
    struct tb_apdu a;

    if (tb_apdu_parse(tb_buf_span(&s->cmd), 0, &a) < 0 || a.extended ||
        (a.data.n > 0 && !a.le_present))
        return false;
    if (a.le_present)
        s->cmd.p[s->cmd.n - 1] = le;
    else
        tb_put_u8(&s->cmd, le);
    if (!tb_buf_ok(&s->cmd))
        return false;
    s->stage = SIM_X_RETRY;
    put_on_wire(m, tb_buf_span(&s->cmd));
    return true;
}

/* More than a response can hold is marked as overflow. */
static void gather(struct sim *s, struct tb_span data) {
    size_t n = s->got.n + data.n;

    if (n > TB_APDU_MAX_RSP + 2)
        s->got.overflow = true;
    else
        modem_room(&s->got, n);
    tb_put(&s->got, data);
}

/* Follows procedure bytes; true when another command went out. */
static bool follow(struct modem *m, struct tb_span rsp) {
    struct sim *s = &m->sim;
    uint16_t sw = sim_sw(rsp);

    if (!(s->flags & SIM_FETCH))
        return false;
    if (tb_sw_more(sw) && s->got.n <= TB_APDU_MAX_RSP - 258 &&
        (s->stage != SIM_X_FETCH ||
         sim_data(rsp).n > 0)) { /* a card that only promises is not asked for ever */
        gather(s, sim_data(rsp));
        send_fetch(m, (uint8_t)sw);
        return true;
    }
    return sw >> 8 == 0x6C && s->stage == SIM_X_MAIN && !(s->flags & SIM_NO_6C) &&
           send_retry(m, (uint8_t)sw);
}

static void lost(struct modem *m, enum sim_state state) {
    struct sim *s = &m->sim;

    if (s->delayed)
        at_timer_stop(m, &m->latency);
    s->delayed = s->awaiting = false;
    s->want = SIM_POWER_KEEP;
    s->state = state;
    sim_channels_clear(m);
    s->iccid[0] = s->imsi[0] = s->spn[0] = '\0';
    s->dir_n = 0;
    s->usim_n = 0;
    at_timer_stop(m, &m->poll);
    fail_users(m, AT_CME(CME_SIM_FAILURE));
    modem_sim_changed(m);
}

void sim_answer(struct modem *m, struct tb_span rsp) {
    struct sim *s = &m->sim;
    struct sim_task *t;

    if (!s->awaiting || s->delayed)
        return; /* nobody asked: an answer that came too late */
    if (rsp.n < 2) {
        lost(m, SIM_FAILED);
        modem_event(m, "card-removed", "no answer");
        return;
    }
    s->awaiting = false;
    if (s->awaiting_atr) {
        if (s->want == SIM_POWER_KEEP)
            sim_boot(m, rsp);
        return;
    }
    trace(m, rsp);
    if (s->stage == SIM_X_RESTORE) {
        sim_select_replayed(m, s->sent, rsp);
        if (!send_restore(m))
            send_or_delay(m);
        return;
    }
    t = s->task;
    if (t && follow(m, rsp))
        return;
    if (s->got.n) {
        gather(s, rsp);
        if (tb_buf_ok(&s->got)) /* else the card sends more than any command can ask for: its last
                                   piece */
            rsp = tb_buf_span(&s->got);
    }
    sim_observe(m, tb_buf_span(&s->cmd), rsp);
    if (t)
        t->run(m, t, rsp);
}

/* ---- Power, coming and going ---- */

/* Every AT command that waits for the card ends with result. */
static void fail_users(struct modem *m, int result) {
    struct sim *s = &m->sim;

    if (s->task)
        sim_release(m);
    while (s->queue)
        dequeue(m, s->queue);
    for (struct at_channel *ch = m->channels; ch; ch = ch->next) {
        if (!ch->on_card)
            continue;
        ch->on_card = false;
        at_finish(ch, result);
    }
}

void sim_inserted(struct modem *m) {
    struct sim *s = &m->sim;

    if (s->state != SIM_ABSENT)
        lost(m, SIM_ABSENT);
    s->state = m->fun == 0 ? SIM_OFF : SIM_BOOTING;
    s->want = m->fun == 0 ? SIM_POWER_KEEP : SIM_POWER_ON;
    modem_sim_changed(m);
}

void sim_removed(struct modem *m) {
    if (m->sim.state != SIM_ABSENT)
        lost(m, SIM_ABSENT);
}

void sim_set_power(struct modem *m, enum sim_power what) {
    struct sim *s = &m->sim;
    bool awaiting = s->awaiting && !s->delayed;

    if (s->state == SIM_ABSENT || s->state == SIM_FAILED)
        return;
    if (what == SIM_POWER_OFF && s->state != SIM_OFF) {
        lost(m, SIM_OFF);
        s->awaiting = awaiting; /* its answer still comes, and belongs to nobody */
        s->want = SIM_POWER_OFF;
    } else if (what == SIM_POWER_ON && s->state == SIM_OFF) {
        s->state = SIM_BOOTING; /* a card that was not told of its power-down yet has to feel it */
        s->want = s->want == SIM_POWER_OFF ? SIM_POWER_RESET : SIM_POWER_ON;
    } else if (what == SIM_POWER_RESET && s->state != SIM_OFF) {
        if (s->task == &s->boot) /* begins anew after its present exchange */
            sim_release(m);
        else if (s->boot.active)
            dequeue(m, &s->boot);
        s->state = SIM_BOOTING;
        s->want = SIM_POWER_RESET;
        modem_sim_changed(m);
    }
}
