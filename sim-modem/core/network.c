#include "network.h"

#include <stdio.h>

#include "modem_int.h"

static const char *const registration_names[] = {"none",   "home",    "searching",
                                                 "denied", "unknown", "roaming"};

const char *modem_registration_str(enum modem_registration stat) {
    return (unsigned)stat < sizeof registration_names / sizeof *registration_names
               ? registration_names[stat]
               : "?";
}

void net_init(struct net *n) {
    n->answer = MODEM_REG_HOME;
    n->rssi = 24;
    snprintf(n->ctx[0].type, sizeof n->ctx[0].type, "IP");
    n->ctx[0].defined = true;
}

void net_plmn(const struct modem *m, char dst[static 7]) {
    size_t n = m->sim.mnc_len == 3 ? 6 : 5;

    if (strlen(m->sim.imsi) < n)
        snprintf(dst, 7, "00101");
    else
        snprintf(dst, 7, "%.*s", (int)n, m->sim.imsi);
}

const char *net_name(const struct modem *m) {
    return m->sim.spn[0] ? m->sim.spn : "Testbed";
}

static void urc_registration(struct at_channel *ch, const char *name, unsigned n,
                             enum modem_registration stat) {
    if (n == 0)
        return;
    if (n == 1 || (stat != MODEM_REG_HOME && stat != MODEM_REG_ROAMING))
        at_urc(ch, "%s: %d", name, stat);
    else
        at_urc(ch, "%s: %d,\"%04X\",\"%08X\",%d", name, stat, NET_LAC, NET_CI, NET_ACT_EUTRAN);
}

/* The network ends every active context. */
static void drop_contexts(struct modem *m) {
    for (unsigned i = 0; i < NET_CONTEXTS; i++) {
        if (!m->net.ctx[i].active)
            continue;
        m->net.ctx[i].active = false;
        for (struct at_channel *ch = m->channels; ch; ch = ch->next)
            if (ch->set.cgerep)
                at_urc(ch, "+CGEV: NW PDN DEACT %u", i + 1);
    }
}

static void tell_detached(struct modem *m) {
    for (unsigned i = 0; i < NET_CONTEXTS; i++)
        m->net.ctx[i].active = false;
    for (struct at_channel *ch = m->channels; ch; ch = ch->next)
        if (ch->set.cgerep)
            at_urc(ch, "+CGEV: ME DETACH");
}

void net_detach(struct modem *m) {
    if (net_attached(&m->net))
        tell_detached(m);
}

void net_update(struct modem *m) {
    enum modem_registration stat = m->net.answer;
    bool attached = net_attached(&m->net);
    bool able = m->fun == 1 && m->sim.state == SIM_READY && m->sim.pin == SIM_PIN_READY &&
                m->sim.imsi[0] && m->net.mode != 2;

    if (!able)
        stat = MODEM_REG_NONE;
    if (stat == m->net.stat)
        return;
    m->net.stat = stat;
    for (struct at_channel *ch = m->channels; ch; ch = ch->next) {
        urc_registration(ch, "+CREG", ch->set.creg, stat);
        urc_registration(ch, "+CGREG", ch->set.cgreg, stat);
        urc_registration(ch, "+CEREG", ch->set.cereg, stat);
    }
    if (attached && !able)
        tell_detached(m);
    else if (!net_registered(&m->net))
        drop_contexts(m);
    modem_event(m, "registration", modem_registration_str(stat));
}
