/* +CPIN and friends: what the card keeps behind a PIN.
 * spec: TS27.007 7.4, 7.5, 8.3, 8.65; TS102.221 11.1.9-11.1.13 */
#include <stdio.h>

#include "cmd.h"
#include "core/modem_int.h"

enum {
    INS_VERIFY = 0x20,
    INS_CHANGE = 0x24,
    INS_DISABLE = 0x26,
    INS_ENABLE = 0x28,
    INS_UNBLOCK = 0x2C,
    PIN1 = 0x01
};
#define PIN_LEN ((size_t)8)

static bool take_secret(struct at_channel *ch, const char *digits) {
    size_t n = strlen(digits);

    if (n < 4 || n > PIN_LEN || ch->op.pin.n + PIN_LEN > sizeof ch->op.pin.data ||
        strspn(digits, "0123456789") != n)
        return false;
    memset(ch->op.pin.data + ch->op.pin.n, 0xFF, PIN_LEN);
    memcpy(ch->op.pin.data + ch->op.pin.n, digits, n);
    ch->op.pin.n = (uint8_t)(ch->op.pin.n + PIN_LEN);
    return true;
}

/* What it means for the state of the PIN has been seen already: sim_observe_pin(). */
static int pin_result(uint16_t sw) {
    if (tb_sw_success(sw) && sw != TB_SW_ADMIN_DONE)
        return AT_OK;
    if (sw == 0x63C0 || sw == TB_SW_BLOCKED)
        return AT_CME(CME_SIM_PUK);
    if ((sw & 0xFFF0) == 0x63C0)
        return AT_CME(CME_WRONG_PASSWORD);
    return AT_CME(CME_NOT_ALLOWED);
}

static void pin_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    int r;

    if (rsp.n == 0) {
        sim_build(m, 0x00, ch->op.pin.ins, 0x00, PIN1, tb_span(ch->op.pin.data, ch->op.pin.n), 0);
        tb_wipe(ch->op.pin.data, sizeof ch->op.pin.data);
        sim_send(m, 0);
        return;
    }
    tb_wipe(m->sim.cmd.p, m->sim.cmd.cap);
    r = pin_result(sim_sw(rsp));
    sim_release(m);
    at_finish(ch, r);
}

/* ins on PIN1 with one or two secrets, which are wiped. */
static int pin_command(struct at_channel *ch, uint8_t ins, char *first, char *second) {
    bool good;

    ch->op.pin.ins = ins;
    ch->op.pin.n = 0;
    good = take_secret(ch, first) && (!second || take_secret(ch, second));
    tb_wipe(first, strlen(first));
    if (second)
        tb_wipe(second, strlen(second));
    return good ? at_submit(ch, pin_run, "PIN") : AT_CME(CME_WRONG_PASSWORD);
}

int cmd_cpin(struct modem *m, struct at_channel *ch, struct at_args args) {
    static const char *const state[] = {"READY", "SIM PIN", "SIM PUK"};
    char first[16], second[16];
    int r, more;

    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CPIN: %s", state[m->sim.pin]);
        return AT_OK;
    }
    r = at_take_str(&args, first, sizeof first);
    if (r == 0 || r == AT_ERROR)
        return AT_ERROR;
    more = r < 0 ? r : at_take_str(&args, second, sizeof second);
    if (more < 0)
        return more;
    if (at_args_end(&args) != AT_OK)
        return AT_ERROR;
    switch (m->sim.pin) {
    case SIM_PIN_REQUIRED:
        return more ? AT_ERROR : pin_command(ch, INS_VERIFY, first, NULL);
    case SIM_PUK_REQUIRED:
        return more ? pin_command(ch, INS_UNBLOCK, first, second) : AT_CME(CME_SIM_PUK);
    default:
        return AT_CME(CME_NOT_ALLOWED); /* nothing is asked for */
    }
}

/* ---- +CPINR: VERIFY and UNBLOCK without data tell how many attempts are left ---- */

static const struct {
    const char *name;
    uint8_t ins, ref, fallback;
} counters[] = {
    {"SIM PIN", INS_VERIFY, 0x01, 3},
    {"SIM PUK", INS_UNBLOCK, 0x01, 10},
    {"SIM PIN2", INS_VERIFY, 0x81, 3},
    {"SIM PUK2", INS_UNBLOCK, 0x81, 10},
};
enum { COUNTERS = sizeof counters / sizeof *counters };

static void cpinr_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    uint16_t sw = sim_sw(rsp);
    unsigned left;

    if (rsp.n) {
        /* A PIN that is off or verified answers 9000: no attempt was ever lost that we know of. */
        left = (sw & 0xFFF0) == 0x63C0 ? sw & 0x0FU
               : tb_sw_success(sw)     ? counters[t->step].fallback
                                       : 0;
        if (left || (sw & 0xFFF0) == 0x63C0 || sw == TB_SW_BLOCKED)
            at_info(ch, "+CPINR: %s,%u,%u", counters[t->step].name, left,
                    counters[t->step].fallback);
        t->step++;
    } else {
        t->step = ch->op.pin.n;
    }
    if (t->step < COUNTERS && (ch->op.pin.p1 == 0 || t->step == ch->op.pin.n)) {
        tb_put(sim_command(m),
               TB_BYTES(0x00, counters[t->step].ins, 0x00, counters[t->step].ref, 0x00));
        sim_send(m, 0);
        return;
    }
    sim_release(m);
    at_finish(ch, AT_OK);
}

int cmd_cpinr(struct modem *m, struct at_channel *ch, struct at_args args) {
    char name[16];
    int r = at_take_str(&args, name, sizeof name);

    (void)m;
    if (r < 0 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    ch->op.pin.n = 0;
    ch->op.pin.p1 = r == 1; /* only the one named */
    for (; r == 1 && strcmp(counters[ch->op.pin.n].name, name) != 0; ch->op.pin.n++)
        if (ch->op.pin.n + 1 == COUNTERS)
            return AT_CME(CME_PARAMETERS);
    return at_submit(ch, cpinr_run, "+CPINR");
}

/* ---- +CLCK, +CPWD ---- */

int cmd_clck(struct modem *m, struct at_channel *ch, struct at_args args) {
    static const char *const others[] = {"FD", "PN", "PU", "PP", "PC", "PF"};
    char facility[8], secret[16] = "";
    uint32_t mode = 0;
    bool known = false, sc;
    int r = at_take_str(&args, facility, sizeof facility);

    if (r == 1)
        r = at_take_uint(&args, 0, 2, &mode);
    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    r = at_take_str(&args, secret, sizeof secret);
    if (r < 0)
        return r;
    r = at_take_uint(&args, 0, 255, &(uint32_t){0}); /* <class>: without meaning for these */
    if (r < 0 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    sc = strcmp(facility, "SC") == 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        known |= strcmp(facility, others[i]) == 0;
    if (!sc && !known)
        return AT_CME(CME_NOT_SUPPORTED);
    if (mode == 2) {
        at_info(ch, "+CLCK: %d", sc && m->sim.pin_enabled);
        return AT_OK;
    }
    if (!sc)
        return AT_CME(CME_NOT_SUPPORTED); /* a lock of the modem, which has none */
    return pin_command(ch, mode ? INS_ENABLE : INS_DISABLE, secret, NULL);
}

int cmd_cpwd(struct modem *m, struct at_channel *ch, struct at_args args) {
    char facility[8], old[16], fresh[16];
    int r = at_take_str(&args, facility, sizeof facility);

    (void)m;
    if (r == 1)
        r = at_take_str(&args, old, sizeof old);
    if (r == 1)
        r = at_take_str(&args, fresh, sizeof fresh);
    if (r < 1 || at_args_end(&args) != AT_OK)
        return r < 0 ? r : AT_ERROR;
    if (strcmp(facility, "SC") != 0)
        return AT_CME(CME_NOT_SUPPORTED);
    return pin_command(ch, INS_CHANGE, old, fresh);
}
