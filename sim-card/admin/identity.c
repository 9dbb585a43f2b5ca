#include "admin/identity.h"

#include "tb/tlv.h"

enum {
    TAG_ICCID = 0xC0,
    TAG_IMSI = 0xC1,
    TAG_SPN = 0xC2,
    TAG_MSISDN = 0xC3,
    TAG_SMSC = 0xC4,
    TAG_MNC_DIGITS = 0xC5,
    TAG_ATR = 0xC9,
};

void card_identity_encode(const struct card_subscriber *sub, struct tb_buf *out) {
    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv(out, TAG_ICCID, tb_span_str(sub->iccid));
    tb_put_tlv(out, TAG_IMSI, tb_span_str(sub->imsi));
    tb_put_tlv(out, TAG_SPN, tb_span_str(sub->spn));
    tb_put_tlv(out, TAG_MSISDN, tb_span_str(sub->msisdn));
    tb_put_tlv(out, TAG_SMSC, tb_span_str(sub->smsc));
    tb_put_tlv_u8(out, TAG_MNC_DIGITS, sub->mnc_digits);
    if (sub->atr_len)
        tb_put_tlv(out, TAG_ATR, tb_span(sub->atr, sub->atr_len));
}

bool card_take_text(struct tb_span v, bool free, char *to, size_t cap) {
    if (v.n >= cap)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (free ? v.p[i] < 0x20 || v.p[i] > 0x7E : v.p[i] < '0' || v.p[i] > '9')
            return false;
    if (v.n)
        memcpy(to, v.p, v.n);
    to[v.n] = '\0';
    return true;
}

static bool take_identity(struct tb_tlv e, struct card_subscriber *s) {
    switch (e.tag) {
    case TAG_ICCID:
        return card_take_text(e.value, false, s->iccid, sizeof s->iccid);
    case TAG_IMSI:
        return card_take_text(e.value, false, s->imsi, sizeof s->imsi) &&
               (e.value.n == 0 || e.value.n >= 6);
    case TAG_SPN:
        return card_take_text(e.value, true, s->spn, sizeof s->spn);
    case TAG_MSISDN:
        return card_take_text(e.value, false, s->msisdn, sizeof s->msisdn);
    case TAG_SMSC:
        return card_take_text(e.value, false, s->smsc, sizeof s->smsc);
    case TAG_MNC_DIGITS:
        if (e.value.n != 1 || (e.value.p[0] != 2 && e.value.p[0] != 3))
            return false;
        s->mnc_digits = e.value.p[0];
        return true;
    case TAG_ATR:
        if (e.value.n < 2 || e.value.n > sizeof s->atr)
            return false;
        memcpy(s->atr, e.value.p, e.value.n);
        s->atr_len = (uint8_t)e.value.n;
        return true;
    default:
        return true;
    }
}

int card_identity_decode(struct tb_span record, struct card_subscriber *ret) {
    struct card_subscriber s = {.mnc_digits = 2};
    struct tb_tlv e;
    int r = card_record_open(&record);

    while (r == 0 && (r = tb_tlv_next(&record, &e)) > 0)
        r = take_identity(e, &s) ? 0 : TB_EPARSE;
    if (r == 0)
        *ret = s;
    return r;
}
