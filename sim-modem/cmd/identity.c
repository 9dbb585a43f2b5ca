/* spec: V.250 6.1.4-6.1.9, TS27.007 5.1-5.4, 7.1, 8.62, 8.66 who the modem and its card are */
#include "cmd.h"
#include "core/modem_int.h"
#include "tb/hex.h"
#include "tb/tlv.h"

int cmd_gmi(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    at_info(ch, "%s", m->quirks.manufacturer);
    return AT_OK;
}

int cmd_gmm(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    at_info(ch, "%s", m->quirks.model);
    return AT_OK;
}

int cmd_gmr(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    at_info(ch, "%s", m->quirks.revision);
    return AT_OK;
}

int cmd_gsn(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    at_info(ch, "%s", m->imei);
    return AT_OK;
}

int cmd_gcap(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    at_info(ch, "+GCAP: +CGSM");
    return AT_OK;
}

int cmd_goi(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    at_info(ch, "%s", m->quirks.model);
    return AT_OK;
}

/* snt 0: serial number, 1: IMEI, 2: IMEISV (IMEI without check digit, then the version), 3:
 * version. */
int cmd_cgsn(struct modem *m, struct at_channel *ch, struct at_args args) {
    static const char version[] = "01";
    uint32_t snt = 0;
    int r;

    if (ch->req.form == AT_FORM_EXEC) {
        at_info(ch, "%s", m->imei);
        return AT_OK;
    }
    r = at_only_uint(args.rest, 0, 3, &snt);
    if (r < 0)
        return r;
    if (snt == 0)
        at_info(ch, "%s", m->imei);
    else if (snt == 1)
        at_info(ch, "+CGSN: \"%s\"", m->imei);
    else if (snt == 2)
        at_info(ch, "+CGSN: \"%.14s%s\"", m->imei, version);
    else
        at_info(ch, "+CGSN: \"%s\"", version);
    return AT_OK;
}

int cmd_cimi(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    if (!m->sim.imsi[0])
        return AT_CME(CME_SIM_FAILURE); /* no USIM on the card */
    at_info(ch, "%s", m->sim.imsi);
    return AT_OK;
}

static int iccid(struct modem *m, struct at_channel *ch, const char *name) {
    if (!m->sim.iccid[0])
        return AT_CME(CME_SIM_FAILURE);
    at_info(ch, "%s: %s", name, m->sim.iccid);
    return AT_OK;
}

int cmd_ccid(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    return iccid(m, ch, "+CCID");
}

int cmd_iccid(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    return iccid(m, ch, "+ICCID");
}

int cmd_qccid(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)args;
    return iccid(m, ch, "+QCCID");
}

/* The applications of the card: the records of EF.DIR as read at power-up, one string (ofono reads
 * no second line). */
int cmd_cuad(struct modem *m, struct at_channel *ch, struct at_args args) {
    struct tb_span dir = {m->sim.dir, m->sim.dir_n}, record;
    uint8_t n;

    (void)args;
    if (dir.n == 0)
        return AT_OK;
    at_info_begin(ch);
    at_put_str(ch, "+CUAD: ");
    while (tb_take_u8(&dir, &n) && tb_take(&dir, n, &record))
        tb_put_hex(at_room(ch, 2 * record.n), record, TB_HEX_UPPER);
    at_info_end(ch);
    return AT_OK;
}

/* One slot, always selected. */
int cmd_csus(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t slot = 0;

    (void)m;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "+CSUS: 0");
        return AT_OK;
    }
    return at_only_uint(args.rest, 0, 0, &slot) < 0 ? AT_CME(CME_PARAMETERS) : AT_OK;
}

/* ---- +CNUM: the records of EF.MSISDN (TS 31.102 4.2.26): alpha X, then length, TON, ten octets
 * BCD, … ---- */

enum { MSISDN_TAIL = 14 };

static void put_number(struct at_channel *ch, struct tb_span record) {
    static const char symbols[] = "0123456789*#abc";
    char alpha[33], number[21];
    size_t n = 0, a = 0;
    struct tb_span tail;
    uint8_t len, ton;

    if (record.n < MSISDN_TAIL)
        return;
    tail = tb_span_sub(record, record.n - MSISDN_TAIL, MSISDN_TAIL);
    if (!tb_take_u8(&tail, &len) || len < 2 || len > 11 || !tb_take_u8(&tail, &ton))
        return; /* an empty record */
    for (size_t i = 0; i < 2 * ((size_t)len - 1); i++) {
        uint8_t d = i % 2 ? tail.p[i / 2] >> 4 : tail.p[i / 2] & 0x0F;

        if (d == 0x0F)
            break;
        number[n++] = symbols[d];
    }
    number[n] = '\0';
    for (; a < record.n - MSISDN_TAIL && a + 1 < sizeof alpha && record.p[a] != 0xFF; a++)
        alpha[a] = sim_printable(record.p[a]);
    alpha[a] = '\0';
    at_info(ch, "+CNUM: \"%s\",\"%s%s\",%d", alpha, ton == 145 ? "+" : "", number, ton);
}

static void read_number(struct modem *m, struct sim_task *t, uint8_t record, uint8_t length) {
    struct sim_file *f = &t->ch->op.file;
    struct tb_span unused;

    *f = (struct sim_file){.cmd = SIM_READ_RECORD,
                           .has_fid = true,
                           .fid = 0x6F40,
                           .p1 = record,
                           .p2 = 4,
                           .p3 = length};
    (void)sim_file_step(m, t, f, TB_SPAN_NONE, &unused); /* the first step always sends */
}

static void cnum_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    struct sim_file *f = &ch->op.file;
    struct tb_span answer, fcp, d;
    uint16_t sw;

    if (rsp.n == 0) { /* the FCP tells record length and count */
        *f = (struct sim_file){.cmd = SIM_GET_RESPONSE, .has_fid = true, .fid = 0x6F40};
        ch->op_records = 0;
    }
    if (!sim_file_step(m, t, f, rsp, &answer))
        return;
    sw = sim_sw(answer);
    if (tb_sw_success(sw) && f->cmd == SIM_GET_RESPONSE &&
        tb_tlv_find(sim_data(answer), 0x62, &fcp) == 1 && tb_tlv_find(fcp, 0x82, &d) == 1 &&
        d.n == 5 && d.p[4] > 0) {
        ch->op_records = d.p[4];
        read_number(m, t, 1, d.p[3]);
        return;
    }
    if (tb_sw_success(sw) && f->cmd == SIM_READ_RECORD) {
        put_number(ch, sim_data(answer));
        if (f->p1 < ch->op_records) {
            read_number(m, t, (uint8_t)(f->p1 + 1), f->p3);
            return;
        }
    }
    sim_release(m);
    at_finish(ch, AT_OK);
}

int cmd_cnum(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return at_submit(ch, cnum_run, "+CNUM");
}
