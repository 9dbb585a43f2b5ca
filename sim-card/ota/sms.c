#include "ota/sms.h"

#include "tb/tlv.h"

enum { SMS_PP_DOWNLOAD = 0xD1, IEI_CONCAT8 = 0x00, IEI_CONCAT16 = 0x08, IEI_COMMAND = 0x70 };

/* Both codings of a tag: with and without comprehension required. */
static bool find(struct tb_span in, uint8_t tag, struct tb_span *ret) {
    return tb_tlv_find(in, tag | 0x80, ret) > 0 || tb_tlv_find(in, tag & 0x7F, ret) > 0;
}

static int take_header(struct tb_span udh, struct sms_part *p) {
    uint8_t iei, n;
    struct tb_span v;

    while (udh.n > 0) {
        if (!tb_take_u8(&udh, &iei) || !tb_take_u8(&udh, &n) || !tb_take(&udh, n, &v))
            return TB_EPARSE;
        if (iei == IEI_COMMAND) {
            p->secured = true;
        } else if (iei == IEI_CONCAT8 && n == 3) {
            p->reference = v.p[0];
            p->total = v.p[1];
            p->number = v.p[2];
        } else if (iei == IEI_CONCAT16 && n == 4) {
            p->reference = (uint16_t)(v.p[0] << 8 | v.p[1]);
            p->total = v.p[2];
            p->number = v.p[3];
        }
    }
    return p->total == 0 || p->number == 0 || p->number > p->total ? TB_EPARSE : 0;
}

/* spec: TS23040 9.2.2.1 first octet, originating address, PID, DCS, time stamp of seven, UDL, UD */
static int take_deliver(struct tb_span t, struct sms_part *p) {
    struct tb_span sender, stamp, udh, start = t;
    uint8_t first, digits, udl, udhl;

    if (!tb_take_u8(&t, &first))
        return TB_EPARSE;
    if ((first & 0x03) != 0)
        return TB_EUNSUP;
    if (!tb_take_u8(&t, &digits) || digits > 20 || !tb_take(&t, 1 + (digits + 1U) / 2, &sender) ||
        !tb_take_u8(&t, &p->pid) || !tb_take_u8(&t, &p->dcs) || !tb_take(&t, 7, &stamp) ||
        !tb_take_u8(&t, &udl) || udl != t.n || udl > SMS_UD_MAX)
        return TB_EPARSE;
    p->sender = tb_span_sub(start, 1, 2 + (digits + 1U) / 2);
    if (first & 0x40) {
        if (!tb_take_u8(&t, &udhl) || !tb_take(&t, udhl, &udh) || take_header(udh, p) < 0)
            return TB_EPARSE;
    }
    p->data = t;
    return 0;
}

int sms_parse_envelope(struct tb_span envelope, struct sms_part *ret) {
    struct sms_part p = {.total = 1, .number = 1};
    struct tb_span tpdu, rest = envelope;
    struct tb_tlv e;
    int r = tb_tlv_next(&rest, &e);

    if (r <= 0 || rest.n != 0)
        return TB_EPARSE;
    if (e.tag != SMS_PP_DOWNLOAD)
        return TB_EUNSUP;
    if (!find(e.value, 0x0B, &tpdu))
        return TB_EPARSE;
    if (!find(e.value, 0x06, &p.smsc))
        p.smsc = TB_SPAN_NONE;
    r = take_deliver(tpdu, &p);
    if (r == 0)
        *ret = p;
    return r;
}

int sms_reassemble(struct sms_reassembly *r, const struct sms_part *part,
                   uint8_t whole[SMS_PACKET_MAX], struct tb_span *ret) {
    struct tb_buf out = tb_buf(whole, SMS_PACKET_MAX);
    size_t i = part->number - 1U;

    if (part->total > SMS_PARTS_MAX)
        return TB_ESPACE;
    if (part->data.n == 0)
        return TB_EPARSE;
    if (r->got == 0 || r->reference != part->reference || r->total != part->total) {
        memset(r, 0, sizeof *r);
        r->reference = part->reference;
        r->total = part->total;
    }
    if (r->n[i] == 0)
        r->got++;
    r->n[i] = (uint8_t)part->data.n; /* one that comes twice is taken twice */
    memcpy(r->part[i], part->data.p, part->data.n);
    if (r->got < r->total)
        return 0;
    for (i = 0; i < r->total; i++)
        tb_put(&out, tb_span(r->part[i], r->n[i]));
    *ret = tb_buf_span(&out);
    r->got = 0;
    return 1;
}

void sms_put_submit(struct tb_buf *out, struct tb_span to, struct tb_span ud) {
    /* SMS-SUBMIT with user data header; reference 0: the terminal sets it. PID and DCS as they
     * came: for the (U)SIM, 8 bits, class 2. */
    tb_put_u8(out, 0x41);
    tb_put_u8(out, 0x00);
    tb_put(out, to);
    tb_put_u8(out, 0x7F);
    tb_put_u8(out, 0xF6);
    tb_put_u8(out, (uint8_t)ud.n);
    tb_put(out, ud);
}
