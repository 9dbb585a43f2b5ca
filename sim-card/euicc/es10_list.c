/* ES10c.GetProfilesInfo. spec: SGP.22 5.7.15 */
#include "euicc/euicc.h"
#include "simcard/personalise.h"
#include "tb/tlv.h"

enum { PROFILE_MAX = 512, OVERHEAD = 16 };

/* With what a request without a tag list gets. Icons, gid and proprietary data nobody has. */
static const struct {
    uint16_t tag;
    bool usual;
} known[] = {
    {0x5A, true}, {0x4F, true}, {0x9F70, true}, {0x90, true},  {0x91, true},
    {0x92, true}, {0x95, true}, {0xB6, false},  {0xB7, false}, {0x99, false},
};
enum { KNOWN = sizeof known / sizeof known[0] };

struct query {
    uint32_t by; /* tag of the criterion, 0: all */
    struct tb_span what;
    unsigned wanted; /* bits, in the order of the table */
};

static bool wants(const struct query *q, uint16_t tag) {
    for (unsigned i = 0; i < KNOWN; i++)
        if (known[i].tag == tag)
            return q->wanted & 1u << i;
    return false;
}

/* Tags we do not have are left out of the answer. */
static bool take_tags(struct tb_span list, unsigned *ret) {
    unsigned wanted = 0;
    uint8_t head, next;

    while (tb_take_u8(&list, &head)) {
        uint16_t tag = head;

        if ((head & 0x1F) == 0x1F) {
            if (!tb_take_u8(&list, &next))
                return false;
            tag = (uint16_t)(head << 8 | next);
        }
        for (unsigned i = 0; i < KNOWN; i++)
            if (known[i].tag == tag)
                wanted |= 1u << i;
    }
    *ret = wanted;
    return true;
}

static bool take_query(struct tb_span value, struct query *q) {
    struct tb_tlv e, criterion;
    int r;

    for (unsigned i = 0; i < KNOWN; i++)
        q->wanted |= known[i].usual ? 1u << i : 0;
    while ((r = tb_tlv_next(&value, &e)) > 0) {
        if (e.tag == 0x5C && !take_tags(e.value, &q->wanted))
            return false;
        if (e.tag != 0xA0)
            continue;
        if (tb_tlv_next(&e.value, &criterion) <= 0 || e.value.n != 0)
            return false;
        q->by = criterion.tag;
        q->what = criterion.value;
        if (q->by != 0x4F && q->by != 0x5A && (q->by != 0x95 || q->what.n != 1))
            return false;
    }
    return r == 0;
}

static bool matches(const struct card *card, const struct query *q, const struct euicc_profile *p) {
    if (q->by == 0)
        return true;
    if (q->by == 0x95)
        return q->what.p[0] == p->cls;
    return euicc_profile_named(card, q->by, q->what) == p;
}

static void put_text(struct tb_buf *out, const struct query *q, uint16_t tag, const char *text) {
    if (text[0] && wants(q, tag))
        tb_put_tlv(out, tag, tb_span_str(text));
}

/* spec: SGP.22 2.4a.1.1 whom to notify of what */
static void put_notified(struct tb_buf *out, const struct euicc_profile *p) {
    static const uint8_t all[] = {4, EUICC_INSTALL | EUICC_ENABLE | EUICC_DISABLE | EUICC_DELETE};
    size_t list = tb_tlv_open(out, 0xB6), one = tb_tlv_open(out, 0x30);

    tb_put_tlv(out, 0x80, tb_span(all, sizeof all));
    tb_put_tlv(out, 0x81, tb_span_str(p->address));
    tb_tlv_close(out, one);
    tb_tlv_close(out, list);
}

/* MCC and MNC of the IMSI. spec: SGP.22 2.4.4 TS24008 10.5.1.13 */
static void put_owner(const struct card *card, struct tb_buf *out, const struct euicc_profile *p) {
    const struct card_subscription *s = card->subs;
    const char *d;
    size_t mark;
    uint8_t plmn[3];

    while (s->number != p->number)
        s = s->next;
    d = s->id.imsi;
    if (!d[0])
        return;
    plmn[0] = (uint8_t)((d[1] - '0') << 4 | (d[0] - '0'));
    plmn[1] = (uint8_t)((s->id.mnc_digits == 3 ? d[5] - '0' : 0xF) << 4 | (d[2] - '0'));
    plmn[2] = (uint8_t)((d[4] - '0') << 4 | (d[3] - '0'));
    mark = tb_tlv_open(out, 0xB7);
    tb_put_tlv(out, 0x80, tb_span(plmn, sizeof plmn));
    tb_tlv_close(out, mark);
}

/* spec: SGP.22 2.4a.1.2 bit 1 disabling, bit 2 deleting is not allowed */
static void put_policy(struct tb_buf *out, const struct euicc_profile *p) {
    const uint8_t bits[] = {5, (uint8_t)((p->forbid & CARD_FORBID_DISABLE ? 0x40 : 0) |
                                         (p->forbid & CARD_FORBID_DELETE ? 0x20 : 0))};

    tb_put_tlv(out, 0x99, tb_span(bits, sizeof bits));
}

static void put_profile(const struct card *card, const struct query *q,
                        const struct euicc_profile *p, struct tb_buf *out) {
    uint8_t iccid[EUICC_ICCID], aid[16];
    size_t mark = tb_tlv_open(out, 0xE3);

    euicc_profile_iccid(card, p, iccid);
    euicc_profile_aid(p, aid);
    if (wants(q, 0x5A))
        tb_put_tlv(out, 0x5A, tb_span(iccid, sizeof iccid));
    if (wants(q, 0x4F))
        tb_put_tlv(out, 0x4F, tb_span(aid, sizeof aid));
    if (wants(q, 0x9F70))
        tb_put_tlv_u8(out, 0x9F70, p->enabled);
    put_text(out, q, 0x90, p->nickname);
    put_text(out, q, 0x91, p->provider);
    put_text(out, q, 0x92, p->name);
    if (wants(q, 0x95))
        tb_put_tlv_u8(out, 0x95, p->cls);
    if (p->address[0] && wants(q, 0xB6))
        put_notified(out, p);
    if (wants(q, 0xB7))
        put_owner(card, out, p);
    if (p->forbid && wants(q, 0x99))
        put_policy(out, p);
    tb_tlv_close(out, mark);
}

uint16_t euicc_get_profiles(struct card *card, struct cmd *cmd, struct tb_span value) {
    enum { INCORRECT = 1 };
    struct query q = {0};
    size_t outer, list, n = 0;

    if (!take_query(value, &q)) {
        euicc_put_result(cmd, 0xBF2D, 0x81, INCORRECT);
        return TB_SW_OK;
    }
    for (const struct euicc_profile *p = card->euicc->profiles; p; p = p->next)
        n++;
    if (!card_out_room(cmd, n * PROFILE_MAX + OVERHEAD))
        return TB_SW_NO_SPACE;
    outer = tb_tlv_open(cmd->out, 0xBF2D);
    list = tb_tlv_open(cmd->out, 0xA0);
    for (const struct euicc_profile *p = card->euicc->profiles; p; p = p->next)
        if (matches(card, &q, p))
            put_profile(card, &q, p, cmd->out);
    tb_tlv_close(cmd->out, list);
    tb_tlv_close(cmd->out, outer);
    return TB_SW_OK;
}
