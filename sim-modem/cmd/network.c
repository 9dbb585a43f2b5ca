/* spec: TS27.007 7.2, 7.3, 8.5, 8.69, 10.1.20, 10.1.22 the network as far as it shows */
#include "cmd.h"
#include "core/modem_int.h"

/* n is the channel's; location is shown from 2 on, causes (3, 5) have nothing to say while
 * registered or not. */
static int registration(struct modem *m, struct at_channel *ch, struct at_args args, uint32_t max,
                        uint8_t *n) {
    uint32_t v = 0;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        if (*n >= 2 && net_registered(&m->net))
            at_info(ch, "%s: %u,%d,\"%04X\",\"%08X\",%d", ch->req.name, *n, m->net.stat, NET_LAC,
                    NET_CI, NET_ACT_EUTRAN);
        else
            at_info(ch, "%s: %u,%d", ch->req.name, *n, m->net.stat);
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, max, &v);
    if (r < 0)
        return r;
    *n = (uint8_t)v;
    return AT_OK;
}

int cmd_creg(struct modem *m, struct at_channel *ch, struct at_args args) {
    return registration(m, ch, args, 3, &ch->set.creg);
}

int cmd_cgreg(struct modem *m, struct at_channel *ch, struct at_args args) {
    return registration(m, ch, args, 5, &ch->set.cgreg);
}

int cmd_cereg(struct modem *m, struct at_channel *ch, struct at_args args) {
    return registration(m, ch, args, 5, &ch->set.cereg);
}

/* ---- +COPS ---- */

static int show_operator(struct modem *m, struct at_channel *ch) {
    char plmn[7];

    net_plmn(m, plmn);
    if (!net_registered(&m->net))
        at_info(ch, "+COPS: %u", m->net.mode);
    else
        at_info(ch, "+COPS: %u,%u,\"%s\",%d", m->net.mode, ch->set.cops_format,
                ch->set.cops_format == 2 ? plmn : net_name(m), NET_ACT_EUTRAN);
    return AT_OK;
}

static int list_operators(struct modem *m, struct at_channel *ch) {
    int stat = net_registered(&m->net) ? 2 : m->net.answer == MODEM_REG_DENIED ? 3 : 1;
    char plmn[7];

    if (m->fun != 1)
        return AT_CME(CME_NO_NETWORK);
    net_plmn(m, plmn);
    at_info(ch, "+COPS: (%d,\"%s\",\"%.8s\",\"%s\",%d),,(0-4),(0-2)", stat, net_name(m),
            net_name(m), plmn, NET_ACT_EUTRAN);
    return AT_OK;
}

/* Is that text the network we have, in the given format? */
static bool is_ours(const struct modem *m, const char *oper, uint32_t format) {
    char plmn[7];

    net_plmn(m, plmn);
    return strcmp(oper, format == 2 ? plmn : net_name(m)) == 0 ||
           (format == 1 && strncmp(oper, net_name(m), 8) == 0);
}

int cmd_cops(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t mode = 0, format = ch->set.cops_format, act;
    char oper[32] = "";
    int r;

    if (ch->req.form == AT_FORM_READ)
        return show_operator(m, ch);
    if (ch->req.form == AT_FORM_TEST)
        return list_operators(m, ch);
    r = at_take_uint(&args, 0, 4, &mode);
    if (r >= 0)
        r = at_take_uint(&args, 0, 2, &format);
    if (r >= 0)
        r = at_take_str(&args, oper, sizeof oper);
    if (r >= 0)
        r = at_take_uint(&args, 0, 13, &act);
    if (r < 0 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    if ((mode == 1 || mode == 4) && !oper[0])
        return AT_CME(CME_PARAMETERS);
    if (mode == 1 && !is_ours(m, oper, format))
        return AT_CME(CME_NO_NETWORK);
    ch->set.cops_format = (uint8_t)format;
    if (mode != 3)
        m->net.mode = mode == 4 && !is_ours(m, oper, format) ? 0 : mode;
    net_update(m);
    return AT_OK;
}

int cmd_copn(struct modem *m, struct at_channel *ch, struct at_args args) {
    char plmn[7];

    (void)args;
    net_plmn(m, plmn);
    at_info(ch, "+COPN: \"%s\",\"%s\"", plmn, net_name(m));
    return AT_OK;
}

/* ---- Signal ---- */

static bool hears(const struct modem *m) {
    return m->fun == 1 && m->net.rssi <= 31;
}

int cmd_csq(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    at_info(ch, "+CSQ: %u,99", hears(m) ? m->net.rssi : 99);
    return AT_OK;
}

/* E-UTRAN: only rsrq and rsrp mean something; rsrp follows rssi (dBm = -113 + 2 rssi, about 20 dB
 * above rsrp). */
int cmd_cesq(struct modem *m, struct at_channel *ch, struct at_args args) {
    unsigned rsrp = m->net.rssi > 31 ? 255 : 8 + 2 * m->net.rssi;

    (void)args;
    if (hears(m))
        at_info(ch, "+CESQ: 99,99,255,255,20,%u", rsrp);
    else
        at_info(ch, "+CESQ: 99,99,255,255,255,255");
    return AT_OK;
}

/* The connection state is not modelled: idle, and no reports. */
int cmd_cscon(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t n = 0;
    int r;

    (void)m;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CSCON: 0,0");
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, 0, &n);
    return r < 0 ? r : AT_OK;
}
