#include <stdio.h>
#include <stdlib.h>

#include "modem_int.h"
#include "room.h"

static const char default_imei[] = "490154203237518";

static bool imei_ok(const char *s) {
    return strlen(s) == 15 && strspn(s, "0123456789") == 15;
}

struct modem *modem_new(const struct modem_config *cfg, int *ret_err) {
    const char *imei = cfg->imei ? cfg->imei : default_imei;
    struct modem *m = NULL;
    int err = TB_EPARSE;

    if (imei_ok(imei)) {
        m = calloc(1, sizeof *m);
        err = m ? 0 : TB_ENOMEM;
    }
    if (ret_err)
        *ret_err = err;
    if (!m)
        return NULL;
    if (cfg->quirks)
        m->quirks = *cfg->quirks;
    else
        modem_quirks_default(&m->quirks);
    m->ops = cfg->ops;
    m->user = cfg->user;
    memcpy(m->imei, imei, sizeof m->imei);
    m->fun = 1;
    m->channels_end = &m->channels;
    net_init(&m->net);
    sim_init(m);
    return m;
}

void modem_free(struct modem *m) {
    if (!m)
        return;
    m->depth++; /* nothing is sent any more */
    while (m->channels)
        at_channel_free(m->channels);
    modem_room_free(&m->out);
    modem_room_free(&m->sim.cmd);
    modem_room_free(&m->sim.got);
    tb_wipe(&m->sim, sizeof m->sim);
    free(m);
}

void modem_enter(struct modem *m) {
    m->depth++;
}

void modem_leave(struct modem *m) {
    if (m->depth == 1) {
        sim_kick(m);
        at_flush(m);
        at_timers_arm(m);
    }
    m->depth--;
    if (m->depth > 0)
        return;
    if (m->packet_told != net_attached(&m->net)) {
        m->packet_told = !m->packet_told;
        if (m->ops->on_packet_service)
            m->ops->on_packet_service(m->packet_told, m->user);
    }
    for (struct at_channel *ch = m->channels; ch; ch = ch->next) {
        if (ch->ended && !ch->busy && !ch->stalled && !ch->typed_n) {
            ch->ended = false;
            if (ch->ops->done)
                ch->ops->done(ch->user);
        }
        if (!ch->refused || ch->typed_n == AT_TYPED_AHEAD_MAX)
            continue;
        ch->refused = false;
        ch->ops->ready(ch->user);
    }
}

void modem_event(struct modem *m, const char *name, const char *text) {
    if (m->ops->on_event)
        m->ops->on_event(name, text, m->user);
}

/* ---- Card ---- */

/* What +CPIN has to say unasked. While a card is being read, that it is not ready. */
static const char *pin_text(const struct modem *m) {
    static const char *const state[] = {"READY", "SIM PIN", "SIM PUK"};
    static const char absent[] = "NOT INSERTED";
    bool by_name = m->quirks.sim_urc == MODEM_SIM_URC_CPIN;

    if (m->sim.state == SIM_READY)
        return state[m->sim.pin];
    if (by_name && (m->sim.state == SIM_ABSENT || m->pin_told == absent))
        return absent;
    return "NOT READY";
}

/* Lines about the card that nobody asked for, by profile; after power-up also the last of the boot
 * messages. */
static void sim_urcs(struct modem *m) {
    bool present = m->sim.state != SIM_ABSENT, slot_news = present != m->slot_told;
    const char *pin = pin_text(m);
    bool pin_news = !m->pin_told || strcmp(pin, m->pin_told) != 0;
    bool boot = m->boot_pin && m->sim.state == SIM_READY;

    m->slot_told = present;
    m->pin_told = pin;
    if (boot && m->sim.pin == SIM_PIN_READY)
        m->boot_pin = false;
    for (struct at_channel *ch = m->channels; ch; ch = ch->next) {
        bool wanted = m->quirks.sim_urc == MODEM_SIM_URC_QUECTEL && ch->set.qsimstat;

        if (slot_news && wanted)
            at_urc(ch, "+QSIMSTAT: 1,%d", present);
        if (pin_news && (wanted || boot || m->quirks.sim_urc == MODEM_SIM_URC_CPIN))
            at_urc(ch, "+CPIN: %s", pin);
    }
}

void modem_boot_messages(struct modem *m) {
    if (m->boot_shown || !m->quirks.boot_urc_quectel)
        return;
    for (struct at_channel *ch = m->channels; ch; ch = ch->next) {
        m->boot_shown |= ch->attached;
        at_urc(ch, "RDY");
        at_urc(ch, "APP RDY");
        at_urc(ch, "+CFUN: %u", m->fun);
        if (m->sim.state == SIM_READY)
            at_urc(ch, "+CPIN: %s", pin_text(m));
    }
    m->boot_pin = m->boot_shown && (m->sim.state != SIM_READY || m->sim.pin != SIM_PIN_READY);
}

void modem_restart(struct modem *m) {
    net_detach(m);
    m->net.mode = 0;
    m->net.detached = false;
    for (struct at_channel *ch = m->channels; ch; ch = ch->next) {
        bool echo =
            ch->set.echo; /* the port's own; a TE that turned it off would not understand itself */

        at_settings_restore(ch);
        ch->set.echo = echo;
    }
    m->boot_shown = false;
    sim_set_power(m, m->sim.state == SIM_OFF ? SIM_POWER_ON : SIM_POWER_RESET);
    net_update(m);
    modem_boot_messages(m);
}

void modem_sim_changed(struct modem *m) {
    bool usable = m->sim.state == SIM_READY;

    sim_urcs(m);
    if (usable && !m->announced) {
        m->announced = true;
        modem_event(m, "card-inserted", m->sim.iccid);
    }
    net_update(m);
    for (struct at_channel *ch = m->channels; usable && ch; ch = ch->next)
        if (ch->waits_for_sim)
            at_sim_ready(ch);
}

void modem_card_inserted(struct modem *m) {
    modem_enter(m);
    m->announced = false;
    sim_inserted(m);
    modem_leave(m);
}

void modem_card_removed(struct modem *m, const char *why) {
    modem_enter(m);
    if (m->sim.state != SIM_ABSENT) {
        bool told = m->sim.state == SIM_FAILED;

        sim_removed(m);
        if (!told)
            modem_event(m, "card-removed", why);
    }
    modem_leave(m);
}

void modem_card_answer(struct modem *m, struct tb_span rsp) {
    modem_enter(m);
    sim_answer(m, rsp);
    modem_leave(m);
}

int modem_card_reset(struct modem *m) {
    if (m->sim.state != SIM_READY && m->sim.state != SIM_BOOTING)
        return TB_ESTATE;
    modem_enter(m);
    sim_set_power(m, SIM_POWER_RESET);
    modem_leave(m);
    return 0;
}

void modem_timer(struct modem *m) {
    modem_enter(m);
    at_timers_run(m);
    modem_leave(m);
}

/* ---- Network, counters, status ---- */

int modem_set_signal(struct modem *m, unsigned rssi) {
    if (rssi > 31 && rssi != 99)
        return TB_ERANGE;
    m->net.rssi = rssi;
    return 0;
}

void modem_set_registration(struct modem *m, enum modem_registration stat) {
    modem_enter(m);
    m->net.answer = stat;
    net_update(m);
    modem_leave(m);
}

void modem_counters(const struct modem *m, struct modem_counters *ret) {
    *ret = m->counters;
}

void modem_status(const struct modem *m, struct modem_status *ret) {
    static const char *const card[] = {"absent", "off", "booting", "ready", "failed"};

    *ret = (struct modem_status){
        .card = card[m->sim.state],
        .registration = m->net.stat,
        .fun = m->fun,
        .rssi = m->net.rssi,
        .sessions = sim_open_count(m),
        .packet_service = net_attached(&m->net),
    };
    memcpy(ret->iccid, m->sim.iccid, sizeof ret->iccid);
    memcpy(ret->imsi, m->sim.imsi, sizeof ret->imsi);
    for (struct at_channel *ch = m->channels; ch; ch = ch->next)
        ret->at_channels++;
}
