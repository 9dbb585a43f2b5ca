/* spec: TS27.007 5.8, 8.2, 8.4, 8.5, 8.15, 8.37, 9.1; V.250 6.2 the equipment itself */
#include <stdio.h>

#include "cmd.h"
#include "core/modem_int.h"

/* A setting with one number: SET keeps it, READ shows it. */
static int setting(struct at_channel *ch, struct at_args args, uint32_t max, uint8_t *value) {
    uint32_t v = 0;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "%s: %u", ch->req.name, *value);
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, max, &v);
    if (r < 0)
        return r;
    *value = (uint8_t)v;
    return AT_OK;
}

int cmd_cmee(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return setting(ch, args, 2, &ch->set.cmee);
}

int cmd_ctzu(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return setting(ch, args, 1, &ch->set.ctzu);
}

/* No network time reaches us: only "off" can be promised. */
int cmd_ctzr(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return setting(ch, args, 0, &ch->set.ctzr);
}

int cmd_qsimstat(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t v = 0;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+QSIMSTAT: %d,%d", ch->set.qsimstat, m->sim.state != SIM_ABSENT);
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, 1, &v);
    if (r < 0)
        return r;
    ch->set.qsimstat = v;
    return AT_OK;
}

int cmd_cfun(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t fun = 1, reset = 0;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CFUN: %u", m->fun);
        return AT_OK;
    }
    r = at_take_uint(&args, 0, 4, &fun);
    if (r >= 0)
        r = at_take_uint(&args, 0, 1, &reset);
    if (r >= 0)
        r = at_args_end(&args);
    if (r < 0)
        return r;
    if (fun != 0 && fun != 1 && fun != 4)
        return AT_CME(CME_PARAMETERS);
    m->fun = fun;
    if (fun == 0)
        sim_set_power(m, SIM_POWER_OFF);
    else if (reset)
        ch->restart = true; /* after OK, which still comes in the old settings */
    else
        sim_set_power(m, SIM_POWER_ON);
    net_update(m);
    return AT_OK;
}

/* Quectel: powers the module down. Ours starts again at once, as if someone pressed the button. */
int cmd_qpowd(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t how = 1;
    int r = at_only_uint(args.rest, 0, 1, &how);

    (void)m;
    if (r < 0)
        return r;
    at_urc(ch, "POWERED DOWN");
    ch->restart = true;
    return AT_OK;
}

int cmd_cpas(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    at_info(ch, "+CPAS: 0");
    return AT_OK;
}

int cmd_cbc(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    at_info(ch, "+CBC: 0,100");
    return AT_OK;
}

int cmd_ceer(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    at_info(ch, "+CEER: No cause information available");
    return AT_OK;
}

/* ---- +CCLK: "yy/MM/dd,hh:mm:ss±zz", zz in quarters of an hour; the offset to real time is what is
 * kept ---- */

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar, and back. */
static int64_t days_from_civil(int64_t y, unsigned month, unsigned day) {
    int64_t era;
    unsigned yoe, doy;

    y -= month <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = (unsigned)(y - era * 400);
    doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, unsigned *month, unsigned *day) {
    int64_t era;
    unsigned doe, yoe, doy, mp;

    z += 719468;
    era = (z >= 0 ? z : z - 146096) / 146097;
    doe = (unsigned)(z - era * 146097);
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *y = (int64_t)yoe + era * 400 + (*month <= 2);
}

static const int64_t QUARTER = 900; /* seconds of a quarter of an hour, the unit of time zones */

static void show_clock(struct modem *m, struct at_channel *ch) {
    int64_t s = (m->ops->wall_ms(m->user) + m->clock_offset) / 1000 + QUARTER * m->zone, y;
    int64_t days = s / 86400 - (s % 86400 < 0);
    unsigned of_day = (unsigned)(s - days * 86400), month, day;
    int zone = m->zone < 0 ? -m->zone : m->zone;

    civil_from_days(days, &y, &month, &day);
    at_info(ch, "+CCLK: \"%02d/%02u/%02u,%02u:%02u:%02u%c%02d\"", (int)(y % 100), month, day,
            of_day / 3600, of_day / 60 % 60, of_day % 60, m->zone < 0 ? '-' : '+', zone);
}

/* Two digits and, unless last, the separator after them. */
static bool take_two(const char **s, char separator, unsigned *ret) {
    const char *p = *s;

    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9' || (separator && p[2] != separator))
        return false;
    *ret = (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
    *s += separator ? 3 : 2;
    return true;
}

int cmd_cclk(struct modem *m, struct at_channel *ch, struct at_args args) {
    unsigned yy, mm, dd, h, min, sec, zz = 0;
    char text[32];
    const char *s = text;
    int64_t local;
    int zone, r;

    if (ch->req.form == AT_FORM_READ) {
        show_clock(m, ch);
        return AT_OK;
    }
    r = at_take_str(&args, text, sizeof text);
    if (r < 1 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    if (!take_two(&s, '/', &yy) || !take_two(&s, '/', &mm) || !take_two(&s, ',', &dd) ||
        !take_two(&s, ':', &h) || !take_two(&s, ':', &min) || !take_two(&s, 0, &sec))
        return AT_CME(CME_PARAMETERS);
    zone = *s == '-' ? -1 : 1;
    if (*s && ((*s != '+' && *s != '-') || (s++, !take_two(&s, 0, &zz)) || *s))
        return AT_CME(CME_PARAMETERS);
    if (mm < 1 || mm > 12 || dd < 1 || dd > 31 || h > 23 || min > 59 || sec > 59 || zz > 96)
        return AT_CME(CME_PARAMETERS);
    m->zone = zone * (int)zz;
    local = days_from_civil(2000 + yy, mm, dd) * 86400 + (int64_t)((h * 60 + min) * 60 + sec);
    m->clock_offset = (local - QUARTER * m->zone) * 1000 - m->ops->wall_ms(m->user);
    return AT_OK;
}

int cmd_cscs(struct modem *m, struct at_channel *ch, struct at_args args) {
    char name[8];
    int r;

    (void)m;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CSCS: \"%s\"", ch->set.charset);
        return AT_OK;
    }
    r = at_take_str(&args, name, sizeof name);
    if (r < 1 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    if (strcmp(name, "IRA") != 0 && strcmp(name, "GSM") != 0)
        return AT_CME(CME_PARAMETERS);
    memcpy(ch->set.charset, name, sizeof name);
    return AT_OK;
}

/* ---- Of the serial line: what is set has no effect here, and only what has none is accepted ----
 */

int cmd_ipr(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t rate = 0;
    int r;

    (void)m;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+IPR: 115200");
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, 4000000, &rate);
    return r < 0 ? r : AT_OK;
}

static int pair(struct at_channel *ch, struct at_args args, uint32_t max, const char *shown) {
    uint32_t unused;
    int r;

    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "%s: %s", ch->req.name, shown);
        return AT_OK;
    }
    r = at_take_uint(&args, 0, max, &unused);
    if (r >= 0)
        r = at_take_uint(&args, 0, max, &unused);
    return r < 0 ? r : at_args_end(&args);
}

int cmd_icf(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return pair(ch, args, 6, "3,3");
}

int cmd_ifc(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return pair(ch, args, 3, "0,0");
}

int cmd_ilrr(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return pair(ch, args, 0, "0");
}

int cmd_fclass(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m;
    return pair(ch, args, 0, "0");
}

/* 28 E-UTRAN only, 25 any; both mean what we are. */
int cmd_ws46(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t n = 28;
    int r;

    (void)m;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+WS46: 28");
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, 31, &n);
    return r < 0 ? r : n == 25 || n == 28 ? AT_OK : AT_CME(CME_PARAMETERS);
}
