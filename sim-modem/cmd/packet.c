/* spec: TS27.007 10.1 packet contexts: definitions, states, addresses. The data path (data/) asks
 * for attachment only */
#include <stdio.h>

#include "cmd.h"
#include "core/modem_int.h"

static int take_cid(struct at_args *args, unsigned *ret) {
    uint32_t cid = 0;
    int r = at_take_uint(args, 1, NET_CONTEXTS, &cid);

    if (r == 1)
        *ret = cid - 1;
    return r;
}

int cmd_cgatt(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t on = 0;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CGATT: %d", net_attached(&m->net));
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, 1, &on);
    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    if (on && !net_registered(&m->net))
        return AT_CME(CME_NO_NETWORK);
    if (!on)
        net_detach(m);
    m->net.detached = !on;
    return AT_OK;
}

static int list_contexts(const struct modem *m, struct at_channel *ch) {
    for (unsigned i = 0; i < NET_CONTEXTS; i++) {
        const struct net_context *c = &m->net.ctx[i];

        if (c->defined)
            at_info(ch, "+CGDCONT: %u,\"%s\",\"%s\",\"\",0,0", i + 1, c->type, c->apn);
    }
    return AT_OK;
}

static bool is_pdp_type(const char *type) {
    return strcmp(type, "IP") == 0 || strcmp(type, "IPV6") == 0 || strcmp(type, "IPV4V6") == 0;
}

int cmd_cgdcont(struct modem *m, struct at_channel *ch, struct at_args args) {
    struct net_context c = {.defined = true, .type = "IP"};
    char addr[64], type[8] = "IP";
    unsigned cid = 0;
    int r;

    if (ch->req.form == AT_FORM_READ)
        return list_contexts(m, ch);
    if (ch->req.form == AT_FORM_TEST) {
        at_info(ch, "+CGDCONT: (1-%d),\"IP\",,,(0),(0)", NET_CONTEXTS);
        at_info(ch, "+CGDCONT: (1-%d),\"IPV6\",,,(0),(0)", NET_CONTEXTS);
        at_info(ch, "+CGDCONT: (1-%d),\"IPV4V6\",,,(0),(0)", NET_CONTEXTS);
        return AT_OK;
    }
    r = take_cid(&args, &cid);
    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    if (m->net.ctx[cid].active)
        return AT_CME(CME_NOT_ALLOWED);
    if (!args.more) {
        m->net.ctx[cid] = (struct net_context){0};
        return AT_OK;
    }
    r = at_take_str(&args, type, sizeof type);
    if (r >= 0)
        r = at_take_str(&args, c.apn, sizeof c.apn);
    if (r >= 0)
        r = at_take_str(
            &args, addr,
            sizeof addr); /* the network gives addresses: a hint is allowed and ignored */
    while (r >= 0 && args.more)
        r = at_take_uint(&args, 0, 255,
                         &(uint32_t){0}); /* compression and what later releases add */
    if (r < 0)
        return r;
    if (!is_pdp_type(type))
        return AT_CME(CME_PARAMETERS);
    memcpy(c.type, type, sizeof c.type);
    m->net.ctx[cid] = c;
    return AT_OK;
}

static void report(struct modem *m, bool active, unsigned cid) {
    for (struct at_channel *ch = m->channels; ch; ch = ch->next)
        if (ch->set.cgerep)
            at_urc(ch, "+CGEV: ME PDN %s %u", active ? "ACT" : "DEACT", cid + 1);
}

static int activate(struct modem *m, unsigned cid, bool active) {
    struct net_context *c = &m->net.ctx[cid];

    if (!c->defined)
        return AT_CME(CME_PARAMETERS);
    if (active && !net_attached(&m->net))
        return AT_CME(CME_NO_NETWORK);
    if (c->active != active)
        report(m, active, cid);
    c->active = active;
    return AT_OK;
}

int cmd_cgact(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t on = 0;
    unsigned cid = 0;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        for (unsigned i = 0; i < NET_CONTEXTS; i++)
            if (m->net.ctx[i].defined)
                at_info(ch, "+CGACT: %u,%d", i + 1, m->net.ctx[i].active);
        return AT_OK;
    }
    r = at_take_uint(&args, 0, 1, &on);
    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    if (!args.more) { /* all that are defined */
        for (cid = 0, r = AT_OK; cid < NET_CONTEXTS && r == AT_OK; cid++)
            if (m->net.ctx[cid].defined)
                r = activate(m, cid, on);
        return r;
    }
    while (args.more) {
        r = take_cid(&args, &cid);
        if (r < 1)
            return r < 0 ? r : AT_ERROR;
        r = activate(m, cid, on);
        if (r != AT_OK)
            return r;
    }
    return AT_OK;
}

static void show_address(const struct modem *m, struct at_channel *ch, unsigned cid) {
    if (m->net.ctx[cid].active)
        at_info(ch, "+CGPADDR: %u,\"10.0.0.%u\"", cid + 1, cid + 2);
    else
        at_info(ch, "+CGPADDR: %u", cid + 1);
}

/* The TEST form of these two lists the contexts there are. */
static int list_cids(const struct modem *m, struct at_channel *ch, bool only_active) {
    bool any = false;

    at_info_begin(ch);
    at_printf(ch, "%s: (", ch->req.name);
    for (unsigned i = 0; i < NET_CONTEXTS; i++) {
        if (!m->net.ctx[i].defined || (only_active && !m->net.ctx[i].active))
            continue;
        at_printf(ch, "%s%u", any ? "," : "", i + 1);
        any = true;
    }
    at_put_str(ch, ")");
    at_info_end(ch);
    return AT_OK;
}

int cmd_cgpaddr(struct modem *m, struct at_channel *ch, struct at_args args) {
    unsigned cid = 0;
    int r;

    if (ch->req.form == AT_FORM_TEST)
        return list_cids(m, ch, false);
    if (!args.more) {
        for (; cid < NET_CONTEXTS; cid++)
            if (m->net.ctx[cid].defined)
                show_address(m, ch, cid);
        return AT_OK;
    }
    while (args.more) {
        r = take_cid(&args, &cid);
        if (r < 1)
            return r < 0 ? r : AT_ERROR;
        if (!m->net.ctx[cid].defined)
            return AT_CME(CME_PARAMETERS);
        show_address(m, ch, cid);
    }
    return AT_OK;
}

int cmd_cgcontrdp(struct modem *m, struct at_channel *ch, struct at_args args) {
    unsigned first = 0, last = NET_CONTEXTS - 1;
    int r;

    if (ch->req.form == AT_FORM_TEST)
        return list_cids(m, ch, true);
    r = take_cid(&args, &first);
    if (r < 0 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    if (r == 1)
        last = first;
    for (unsigned i = first; i <= last; i++)
        if (m->net.ctx[i].active)
            at_info(
                ch,
                "+CGCONTRDP: "
                "%u,5,\"%s\",\"10.0.0.%u.255.255.255.0\",\"10.0.0.1\",\"10.0.0.1\",\"10.0.0.1\"",
                i + 1, m->net.ctx[i].apn, i + 2);
    return AT_OK;
}

int cmd_cgerep(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t mode = 0, bfr = 0;
    int r;

    (void)m;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CGEREP: %u,%u", ch->set.cgerep, ch->set.cgerep_bfr);
        return AT_OK;
    }
    r = at_take_uint(&args, 0, 2, &mode);
    if (r >= 0)
        r = at_take_uint(&args, 0, 1, &bfr);
    if (r < 0 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    ch->set.cgerep = (uint8_t)mode;
    ch->set.cgerep_bfr = (uint8_t)bfr; /* our buffer is flushed in any case */
    return AT_OK;
}

/* Credentials for a network that wants none: checked for form, not kept. */
int cmd_cgauth(struct modem *m, struct at_channel *ch, struct at_args args) {
    char unused[65];
    unsigned cid;
    int r = take_cid(&args, &cid);

    (void)m, (void)ch;
    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    r = at_take_uint(&args, 0, 2, &(uint32_t){0});
    if (r >= 0)
        r = at_take_str(&args, unused, sizeof unused);
    if (r >= 0)
        r = at_take_str(&args, unused, sizeof unused);
    tb_wipe(unused, sizeof unused);
    return r < 0 ? r : at_args_end(&args);
}

/* PPP is not there: the call ends before it begins. */
int cmd_cgdata(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)ch, (void)args;
    return AT_NO_CARRIER;
}
