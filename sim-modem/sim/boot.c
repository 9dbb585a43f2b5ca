/* What a modem does with a card before it says +CPIN: READY (TS 102 221 14.1, TS 31.102 5.1):
 * global files, the application, its PIN, TERMINAL PROFILE, the subscriber's files. Every step may
 * fail; a card without a USIM is still a card that +CSIM can talk to. */
#include "core/modem_int.h"
#include "sim.h"
#include "tb/tlv.h"

enum {
    CLA_ISO = 0x00,
    CLA_UICC = 0x80,
    RETURN_FCP = 0x04,
    RETURN_NOTHING = 0x0C,
    READ_BINARY = 0xB0,
    READ_RECORD = 0xB2
};
enum {
    INS_STATUS = 0xF2,
    INS_VERIFY = 0x20,
    INS_TERMINAL_PROFILE = 0x10,
    INS_TERMINAL_CAPABILITY = 0xAA,
    PIN1 = 0x01,
    MAX_DIR_RECORDS = 8
};

enum step {
    MF,
    CAPABILITY,
    ICCID,
    ICCID_READ,
    DIR,
    DIR_READ,
    USIM,
    PIN,
    PROFILE,
    IMSI,
    IMSI_READ,
    AD,
    AD_READ,
    SPN,
    SPN_READ,
    STATUS,
    CHANNELS,
    DONE,
};

/* Begin of every USIM's AID (TS 101 220 annex E): enough for a card without EF.DIR. */
static const uint8_t usim_prefix[] = {0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02};

static void select_file(struct modem *m, uint16_t fid, uint8_t p2) {
    uint8_t id[2] = {(uint8_t)(fid >> 8), (uint8_t)fid};

    sim_build(m, CLA_ISO, TB_INS_SELECT, 0x00, p2, tb_span(id, 2), p2 == RETURN_FCP ? 256 : 0);
}

static void select_usim(struct modem *m, uint8_t p2) {
    struct tb_span aid = m->sim.usim_n ? tb_span(m->sim.usim, m->sim.usim_n)
                                       : tb_span(usim_prefix, sizeof usim_prefix);

    sim_build(m, CLA_ISO, TB_INS_SELECT, 0x04, p2, aid, p2 == RETURN_FCP ? 256 : 0);
}

/* ---- What the answers say ---- */

static void digits(char *dst, size_t cap, struct tb_span bcd, bool skip_first) {
    size_t n = 0;

    for (size_t i = skip_first; i < 2 * bcd.n && n + 1 < cap; i++) {
        uint8_t d = i % 2 ? bcd.p[i / 2] >> 4 : bcd.p[i / 2] & 0x0F;

        if (d > 9)
            break;
        dst[n++] = (char)('0' + d);
    }
    dst[n] = '\0';
}

/* TS 31.102 4.2.2: length, then a parity nibble, then digits. */
static void learn_imsi(struct sim *s, struct tb_span data) {
    uint8_t n;

    if (tb_take_u8(&data, &n) && n <= data.n)
        digits(s->imsi, sizeof s->imsi, tb_span_sub(data, 0, n), true);
}

char sim_printable(uint8_t c) {
    if (c < ' ' || c >= 0x7F || c == '"' || c == '\\')
        c = '?';
    return (char)c;
}

static void learn_spn(struct sim *s, struct tb_span data) {
    size_t n = 0;

    for (size_t i = 1; i < data.n && n + 1 < sizeof s->spn && data.p[i] != 0xFF; i++) {
        s->spn[n++] = sim_printable(data.p[i]);
    }
    s->spn[n] = '\0';
}

/* A record of EF.DIR (TS 102 221 13.1): 61 { 4F AID … }. */
static void learn_application(struct sim *s, struct tb_span record) {
    struct tb_span app, aid;

    if (record.n == 0 || record.n > 255 || record.p[0] != 0x61 ||
        s->dir_n + 1 + record.n > sizeof s->dir)
        return;
    s->dir[s->dir_n] = (uint8_t)record.n;
    memcpy(s->dir + s->dir_n + 1, record.p, record.n);
    s->dir_n += 1 + record.n;
    if (tb_tlv_find(record, 0x61, &app) < 1 || tb_tlv_find(app, 0x4F, &aid) < 1 ||
        aid.n > SIM_AID_MAX || s->usim_n)
        return;
    if (!tb_span_starts(aid, tb_span(usim_prefix, sizeof usim_prefix)))
        return;
    memcpy(s->usim, aid.p, aid.n);
    s->usim_n = (uint8_t)aid.n;
}

/* PS template DO C6 of an FCP (TS 102 221 11.1.1.4.10): which PINs are enabled, in the order of the
 * key references. */
static void learn_pin(struct sim *s, struct tb_span fcp) {
    struct tb_span in, c6, bits;
    struct tb_tlv e;
    size_t i = 0;

    if (tb_tlv_find(fcp, 0x62, &in) < 1 || tb_tlv_find(in, 0xC6, &c6) < 1 ||
        tb_tlv_find(c6, 0x90, &bits) < 1)
        return;
    while (tb_tlv_next(&c6, &e) == 1) {
        if (e.tag != 0x83)
            continue;
        if (e.value.n == 1 && e.value.p[0] == PIN1 && i / 8 < bits.n) {
            s->pin_known = true;
            s->pin_enabled = bits.p[i / 8] >> (7 - i % 8) & 1;
        }
        i++;
    }
}

static void learn_pin_state(struct sim *s, uint16_t sw) {
    if (sw == 0x63C0 || sw == TB_SW_BLOCKED)
        s->pin = SIM_PUK_REQUIRED;
    else if ((sw & 0xFFF0) == 0x63C0)
        s->pin = SIM_PIN_REQUIRED;
}

/* Supported commands DO 87 in the proprietary DO of the MF's FCP (TS 102 221 11.1.1.4.6.7). */
static bool wants_capability(struct tb_span fcp) {
    struct tb_span in, own, commands;

    return tb_tlv_find(fcp, 0x62, &in) == 1 && tb_tlv_find(in, 0xA5, &own) == 1 &&
           tb_tlv_find(own, 0x87, &commands) == 1 && commands.n > 0 && (commands.p[0] & 0x01);
}

static uint8_t record_length(struct tb_span fcp) {
    struct tb_span in, d;

    if (tb_tlv_find(fcp, 0x62, &in) < 1 || tb_tlv_find(in, 0x82, &d) < 1 || d.n != 5 || d.p[2] != 0)
        return 0;
    return d.p[3];
}

/* Takes the answer of a step; returns the step that comes next. */
static enum step learn(struct sim *s, enum step at, struct tb_span rsp) {
    uint16_t sw = sim_sw(rsp);
    bool good = tb_sw_success(sw) || sw >> 8 == 0x62;
    struct tb_span data = sim_data(rsp);

    switch (at) {
    case MF:
        learn_pin(s, data);
        return wants_capability(data) ? CAPABILITY : ICCID;
    case ICCID_READ:
        if (good)
            digits(s->iccid, sizeof s->iccid, data, false);
        break;
    case DIR:
        s->record = 1;
        s->record_len = record_length(data);
        break;
    case DIR_READ:
        if (good)
            learn_application(s, data);
        return good && s->record++ < MAX_DIR_RECORDS ? DIR_READ : USIM;
    case USIM:
        learn_pin(s, data);
        if (good && !s->usim_n) {
            memcpy(s->usim, usim_prefix, sizeof usim_prefix);
            s->usim_n = sizeof usim_prefix;
        } else if (!good) {
            s->usim_n = 0;
        }
        /* The PIN that was just given is not asked for: many cards tell attempts left in any case.
         */
        return s->again ? IMSI : s->usim_n ? PIN : PROFILE;
    case PIN:
        learn_pin_state(s, sw);
        break;
    case IMSI_READ:
        if (good)
            learn_imsi(s, data);
        else if (sw == TB_SW_SECURITY && s->pin == SIM_PIN_READY)
            s->pin = SIM_PIN_REQUIRED;
        break;
    case AD_READ:
        if (good && data.n >= 4 && (data.p[3] & 0x0F) == 3)
            s->mnc_len = 3;
        break;
    case SPN_READ:
        if (good)
            learn_spn(s, data);
        break;
    case STATUS:
        s->record = 0;
        break;
    case CHANNELS:
        return good && ++s->record < TB_CHANNELS ? CHANNELS : DONE;
    default:
        break;
    }
    if (!good && (at == ICCID || at == DIR || at == IMSI || at == AD || at == SPN))
        at++; /* nothing to read */
    return at + 1;
}

/* The whole file, or what it has to have. */
static void read_binary(struct modem *m, unsigned ne) {
    sim_build(m, CLA_ISO, READ_BINARY, 0, 0, TB_SPAN_NONE, m->quirks.me_read_all ? 256 : ne);
}

/* P1 01 tells the USIM that its initialisation is complete (TS 31.102 5.1.1). */
static void ask_status(struct modem *m, bool initialised) {
    uint8_t p1 = initialised ? 0x01 : 0x00;

    if (m->quirks.me_status == MODEM_STATUS_EXTENDED)
        tb_put(sim_command(m), TB_BYTES(CLA_UICC, INS_STATUS, p1, 0, 0x00, 0x01, 0x68));
    else if (m->quirks.me_status == MODEM_STATUS_CASE1)
        sim_build(m, CLA_UICC, INS_STATUS, p1, RETURN_NOTHING, TB_SPAN_NONE, 0);
    else
        sim_build(m, CLA_UICC, INS_STATUS, p1, 0, TB_SPAN_NONE, 256);
}

/* Builds the command of a step; false when the step has none. */
static bool ask(struct modem *m, enum step at) {
    static const uint8_t profile[] = {0x01}; /* profile download; no toolkit yet */
    static const uint8_t capability[] = {0xA9, 0x02, 0x81, 0x00}; /* logical channels up to 19 */
    struct sim *s = &m->sim;

    switch (at) {
    case MF:
        select_file(m, 0x3F00, RETURN_FCP);
        return true;
    case CAPABILITY:
        sim_build(m, CLA_UICC, INS_TERMINAL_CAPABILITY, 0, 0,
                  tb_span(capability, sizeof capability), 0);
        return true;
    case ICCID:
        select_file(m, 0x2FE2, RETURN_NOTHING);
        return true;
    case ICCID_READ:
        read_binary(m, 10);
        return true;
    case DIR:
        select_file(m, 0x2F00, RETURN_FCP);
        return true;
    case DIR_READ:
        sim_build(m, CLA_ISO, READ_RECORD, s->record, 0x04, TB_SPAN_NONE,
                  s->record_len ? s->record_len : 256);
        return true;
    case USIM:
        select_usim(m, RETURN_FCP);
        return true;
    case PIN:
        if (s->pin_enabled)
            tb_put(sim_command(m), TB_BYTES(CLA_ISO, INS_VERIFY, 0x00, PIN1, 0x00));
        return s->pin_enabled;
    case PROFILE:
        sim_build(m, CLA_UICC, INS_TERMINAL_PROFILE, 0, 0, tb_span(profile, sizeof profile), 0);
        return true;
    case IMSI:
        select_file(m, 0x6F07, RETURN_NOTHING);
        return s->usim_n;
    case IMSI_READ:
        read_binary(m, 9);
        return s->usim_n;
    case AD:
        select_file(m, 0x6FAD, RETURN_NOTHING);
        return s->usim_n;
    case AD_READ:
        read_binary(m, 4);
        return s->usim_n;
    case SPN:
        select_file(m, 0x6F46, RETURN_NOTHING);
        return s->usim_n;
    case SPN_READ:
        read_binary(m, 17);
        return s->usim_n;
    case STATUS:
        ask_status(m, s->usim_n && s->pin == SIM_PIN_READY);
        return true;
    case CHANNELS:
        sim_build(m, CLA_ISO, TB_INS_MANAGE_CHANNEL, 0, 0, TB_SPAN_NONE, 1);
        for (unsigned i = 1; i <= m->quirks.preopen_channel; i++)
            if (i < TB_CHANNELS && !s->chan[i].open)
                return true;
        return false;
    case DONE:
        break;
    }
    return false;
}

static void done(struct modem *m) {
    struct sim *s = &m->sim;

    sim_release(m);
    if (s->state == SIM_BOOTING && s->want == SIM_POWER_KEEP) {
        s->state = SIM_READY;
        if (s->usim_n)
            select_usim(m, RETURN_NOTHING);
        else
            select_file(m, 0x3F00, RETURN_NOTHING);
        sim_select_reset(m, tb_buf_span(&s->cmd));
        sim_poll_start(m);
    }
    modem_sim_changed(m);
}

static void run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    if (rsp.n)
        t->step = (int)learn(&m->sim, (enum step)t->step, rsp);
    while (t->step < DONE && !ask(m, (enum step)t->step))
        t->step++;
    if (t->step < DONE)
        sim_send(m, SIM_FETCH | (m->quirks.me_retry_6c ? 0U : SIM_NO_6C));
    else
        done(m);
}

void sim_boot(struct modem *m, struct tb_span atr) {
    struct sim *s = &m->sim;

    s->extended = sim_atr_extended(atr);
    s->iccid[0] = s->imsi[0] = s->spn[0] = '\0';
    s->mnc_len = 2;
    s->dir_n = 0;
    s->usim_n = 0;
    s->pin = SIM_PIN_READY;
    s->pin_enabled = s->pin_known = s->again = false;
    s->boot = (struct sim_task){.run = run, .what = "boot", .active = true};
    s->task = &s->boot;
    run(m, s->task, TB_SPAN_NONE);
}

static void run_again(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    if (rsp.n == 0 && t->step == 0)
        t->step = USIM;
    run(m, t, rsp);
}

void sim_boot_again(struct modem *m) {
    struct sim_task *t = &m->sim.boot;

    if (t->active)
        return;
    m->sim.again = true;
    t->run = run_again;
    sim_submit_first(m, t);
}

/* Third software function byte of the card capabilities (ISO/IEC 7816-4 8.1.1.2.7), in the
 * historical bytes. */
bool sim_atr_extended(struct tb_span atr) {
    uint8_t ts, t0, follows, skipped, category;
    struct tb_span hist, value;

    if (!tb_take_u8(&atr, &ts) || !tb_take_u8(&atr, &t0))
        return false;
    for (follows = t0 >> 4; follows;) {
        uint8_t td = 0;

        for (unsigned i = 0; i < 4; i++)
            if ((follows >> i & 1) && !tb_take_u8(&atr, i == 3 ? &td : &skipped))
                return false;
        follows = td >> 4;
    }
    if (!tb_take(&atr, t0 & 0x0F, &hist) || !tb_take_u8(&hist, &category) || category != 0x80)
        return false;
    while (tb_take_u8(&hist, &t0)) { /* compact TLV: tag and length share a byte */
        if (!tb_take(&hist, t0 & 0x0F, &value))
            return false;
        if (t0 >> 4 == 7 && value.n == 3)
            return value.p[2] & 0x40;
    }
    return false;
}

/* ---- Quirk me-ch0-poll ---- */

static void poll_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    switch (rsp.n ? ++t->step : t->step) {
    case 0:
        select_file(m, 0x3F00, RETURN_NOTHING);
        sim_send(m, SIM_FETCH | SIM_NO_MARK);
        break;
    case 1:
        ask_status(m, false);
        sim_send(m, SIM_FETCH | SIM_NO_MARK);
        break;
    default:
        sim_release(m);
        sim_poll_start(m);
    }
}

static void poll_due(void *arg) {
    struct modem *m = arg;
    struct sim_task *t = &m->sim.poll;

    if (t->active || m->sim.state != SIM_READY)
        return;
    t->run = poll_run;
    t->what = "poll";
    sim_submit(m, t);
}

void sim_poll_start(struct modem *m) {
    if (m->quirks.me_ch0_poll)
        at_timer_start(m, &m->poll, 1000ULL * m->quirks.me_ch0_poll, poll_due, m);
}
