#include <assert.h>

#include "cmd.h"
#include "core/modem_int.h"

enum { X = AT_FORM_EXEC, S = AT_FORM_SET, R = AT_FORM_READ, T = AT_FORM_TEST };
enum {
    SIM = AT_NEEDS_SIM,
    PIN = AT_NEEDS_SIM | AT_NEEDS_PIN,
    GLA = AT_NEEDS_SIM | AT_NEEDS_CGLA,
    HID = AT_HIDDEN
};

/* spec: TS27.007 5-10, V.250 5-6. Sorted by strcmp() */
const struct at_command at_commands[] = {
    {"&C", X, 0, cmd_amp_c, NULL},
    {"&D", X, 0, cmd_amp_d, NULL},
    {"&F", X, 0, cmd_amp_f, NULL},
    {"&K", X, 0, cmd_accept, NULL},
    {"&S", X, 0, cmd_amp_s, NULL},
    {"&V", X, 0, cmd_amp_v, NULL},
    {"&W", X, 0, cmd_amp_w, NULL},
    {"&Y", X, 0, cmd_amp_y, NULL},
    {"+CBC", X | T, 0, cmd_cbc, "(0-2),(0-100)"},
    {"+CCHC", S | T, GLA, cmd_cchc, ""},
    {"+CCHO", S | T, GLA, cmd_ccho, ""},
    {"+CCID", X | R | T, SIM, cmd_ccid, ""},
    {"+CCLK", S | R | T, 0, cmd_cclk, ""},
    {"+CEER", X | T, 0, cmd_ceer, ""},
    {"+CEREG", S | R | T, 0, cmd_cereg, "(0-5)"},
    {"+CESQ", X | T, 0, cmd_cesq, "(0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)"},
    {"+CFUN", S | R | T, 0, cmd_cfun, "(0,1,4),(0,1)"},
    {"+CGACT", S | R | T, 0, cmd_cgact, "(0,1)"},
    {"+CGATT", S | R | T, 0, cmd_cgatt, "(0,1)"},
    {"+CGAUTH", S | T, 0, cmd_cgauth, "(1-8),(0-2),(64),(64)"},
    {"+CGCONTRDP", X | S | T, 0, cmd_cgcontrdp, NULL},
    {"+CGDATA", X | S | T, 0, cmd_cgdata, "\"PPP\""},
    {"+CGDCONT", S | R | T, 0, cmd_cgdcont, NULL},
    {"+CGEREP", S | R | T, 0, cmd_cgerep, "(0-2),(0,1)"},
    {"+CGLA", S | T, GLA, cmd_cgla, ""},
    {"+CGMI", X | T, 0, cmd_gmi, ""},
    {"+CGMM", X | T, 0, cmd_gmm, ""},
    {"+CGMR", X | T, 0, cmd_gmr, ""},
    {"+CGPADDR", X | S | T, 0, cmd_cgpaddr, NULL},
    {"+CGREG", S | R | T, 0, cmd_cgreg, "(0-5)"},
    {"+CGSMS", S | R | T, HID, cmd_no_sms, NULL},
    {"+CGSN", X | S | T, 0, cmd_cgsn, "(0-3)"},
    {"+CIMI", X | T, PIN, cmd_cimi, ""},
    {"+CLAC", X | T, 0, cmd_clac, ""},
    {"+CLCK", S | T, SIM, cmd_clck, "(\"SC\",\"FD\",\"PN\",\"PU\",\"PP\",\"PC\",\"PF\")"},
    {"+CMEE", S | R | T, 0, cmd_cmee, "(0-2)"},
    {"+CMGC", S | T, HID, cmd_no_sms, NULL},
    {"+CMGD", S | T, HID, cmd_no_sms, NULL},
    {"+CMGF", S | R | T, HID, cmd_no_sms, NULL},
    {"+CMGL", X | S | T, HID, cmd_no_sms, NULL},
    {"+CMGR", S | T, HID, cmd_no_sms, NULL},
    {"+CMGS", S | T, HID, cmd_no_sms, NULL},
    {"+CMGW", X | S | T, HID, cmd_no_sms, NULL},
    {"+CMMS", S | R | T, HID, cmd_no_sms, NULL},
    {"+CMSS", S | T, HID, cmd_no_sms, NULL},
    {"+CMUX", S | R | T, HID, cmd_cmux, NULL},
    {"+CNMA", X | S | T, HID, cmd_no_sms, NULL},
    {"+CNMI", S | R | T, HID, cmd_no_sms, NULL},
    {"+CNUM", X | T, PIN, cmd_cnum, ""},
    {"+COPN", X | T, 0, cmd_copn, ""},
    {"+COPS", S | R | T, 0, cmd_cops, NULL},
    {"+CPAS", X | T, 0, cmd_cpas, "(0,2-4)"},
    {"+CPIN", S | R | T, SIM, cmd_cpin, ""},
    {"+CPINR", X | S | T, SIM, cmd_cpinr, ""},
    {"+CPMS", S | R | T, HID, cmd_no_sms, NULL},
    {"+CPWD", S | T, SIM, cmd_cpwd, "(\"SC\",8)"},
    {"+CREG", S | R | T, 0, cmd_creg, "(0-3)"},
    {"+CRLA", S | T, GLA, cmd_crla, ""},
    {"+CRSM", S | T, SIM, cmd_crsm, ""},
    {"+CSCA", S | R | T, HID, cmd_no_sms, NULL},
    {"+CSCB", S | R | T, HID, cmd_no_sms, NULL},
    {"+CSCON", S | R | T, 0, cmd_cscon, "(0)"},
    {"+CSCS", S | R | T, 0, cmd_cscs, "(\"IRA\",\"GSM\")"},
    {"+CSDH", S | R | T, HID, cmd_no_sms, NULL},
    {"+CSIM", S | T, SIM, cmd_csim, ""},
    {"+CSMP", S | R | T, HID, cmd_no_sms, NULL},
    {"+CSMS", S | R | T, HID, cmd_no_sms, NULL},
    {"+CSQ", X | T, 0, cmd_csq, "(0-31,99),(0-7,99)"},
    {"+CSUS", S | R | T, 0, cmd_csus, "(0)"},
    {"+CTZR", S | R | T, 0, cmd_ctzr, "(0)"},
    {"+CTZU", S | R | T, 0, cmd_ctzu, "(0,1)"},
    {"+CUAD", X | T, SIM, cmd_cuad, ""},
    {"+FCLASS", S | R | T, 0, cmd_fclass, "0"},
    {"+GCAP", X | T, 0, cmd_gcap, ""},
    {"+GMI", X | T, 0, cmd_gmi, ""},
    {"+GMM", X | T, 0, cmd_gmm, ""},
    {"+GMR", X | T, 0, cmd_gmr, ""},
    {"+GOI", X | T, 0, cmd_goi, ""},
    {"+GSN", X | T, 0, cmd_gsn, ""},
    {"+ICCID", X | R | T, SIM, cmd_iccid, ""},
    {"+ICF", S | R | T, 0, cmd_icf, "(3),(3)"},
    {"+IFC", S | R | T, 0, cmd_ifc, "(0,2),(0,2)"},
    {"+ILRR", S | R | T, 0, cmd_ilrr, "(0)"},
    {"+IPR", S | R | T, 0, cmd_ipr, "(0,9600,19200,38400,57600,115200,230400,460800,921600)"},
    {"+QCCID", X | R | T, SIM, cmd_qccid, ""},
    {"+QFUPL", S | T, HID, cmd_no_tls, NULL},
    {"+QGMR", X | T, 0, cmd_gmr, ""},
    {"+QMTCFG", S | T, HID, cmd_no_tls, NULL},
    {"+QMTOPEN", S | R | T, HID, cmd_no_tls, NULL},
    {"+QPOWD", X | S, 0, cmd_qpowd, NULL},
    {"+QSIMSTAT", S | R | T, 0, cmd_qsimstat, "(0,1)"},
    {"+QSSLCFG", S | T, HID, cmd_no_tls, NULL},
    {"+QSSLOPEN", S | T, HID, cmd_no_tls, NULL},
    {"+WS46", S | R | T, 0, cmd_ws46, "(25,28)"},
    {"A", X, 0, cmd_no_carrier, NULL},
    {"B", X, 0, cmd_accept, NULL},
    {"D", X, 0, cmd_d, NULL},
    {"E", X, 0, cmd_e, NULL},
    {"H", X, 0, cmd_h, NULL},
    {"I", X, 0, cmd_i, NULL},
    {"L", X, 0, cmd_accept, NULL},
    {"M", X, 0, cmd_accept, NULL},
    {"N", X, 0, cmd_accept, NULL},
    {"O", X, 0, cmd_no_carrier, NULL},
    {"P", X, 0, cmd_accept, NULL},
    {"Q", X, 0, cmd_q, NULL},
    {"S", X | S | R, 0, cmd_s, NULL},
    {"T", X, 0, cmd_accept, NULL},
    {"V", X, 0, cmd_v, NULL},
    {"X", X, 0, cmd_x, NULL},
    {"Z", X, 0, cmd_z, NULL},
    {"\\Q", X, 0, cmd_slash_q, NULL},
    {NULL, 0, 0, NULL, NULL},
};
const size_t at_commands_n = sizeof at_commands / sizeof *at_commands - 1;

const struct at_command *at_command_find(const char *name) {
    size_t lo = 0, hi = at_commands_n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(name, at_commands[mid].name);

        if (c == 0)
            return &at_commands[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static int check_needs(struct modem *m, struct at_channel *ch, unsigned needs) {
    int r;

    if (!(needs & AT_NEEDS_SIM))
        return AT_OK;
    r = sim_check(m);
    if (r == AT_OK && (needs & AT_NEEDS_PIN) && m->sim.boot.active) /* a PIN was just given */
        r = m->quirks.sim_busy_error ? AT_CME(CME_SIM_BUSY) : AT_PENDING;
    ch->waits_for_sim = r == AT_PENDING;
    if (r == AT_OK && (needs & AT_NEEDS_PIN) && m->sim.pin != SIM_PIN_READY)
        r = AT_CME(m->sim.pin == SIM_PIN_REQUIRED ? CME_SIM_PIN : CME_SIM_PUK);
    return r;
}

static int run_test(struct modem *m, struct at_channel *ch, const struct at_command *c) {
    if ((c->needs & AT_NEEDS_SIM) && !m->quirks.sim_test_forms)
        return AT_ERROR;
    if (*c->test)
        at_info(ch, "%s: %s", c->name, c->test);
    return AT_OK;
}

int at_dispatch(struct at_channel *ch) {
    struct modem *m = ch->m;
    const struct at_command *c = at_command_find(ch->req.name);
    int r;

    if (!c || !(c->forms & (unsigned)ch->req.form) ||
        ((c->needs & AT_NEEDS_CGLA) && !m->quirks.cgla))
        return AT_ERROR;
    if (ch->req.form == AT_FORM_TEST && c->test)
        return run_test(m, ch, c);
    r = check_needs(m, ch, c->needs);
    if (r != AT_OK)
        return r;
    return c->run(m, ch, at_args(ch->req.args));
}

int cmd_clac(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    for (const struct at_command *c = at_commands; c->name; c++)
        if (!(c->needs & AT_HIDDEN) && (m->quirks.cgla || !(c->needs & AT_NEEDS_CGLA)))
            at_info(ch, "%s", c->name);
    return AT_OK;
}
