#include "usim/aka.h"

#include "os/fs.h"
#include "tb/tlv.h"

enum { TAG_K = 0xC0, TAG_OPC = 0xC1, TAG_DELTA = 0xC2, TAG_SEQ = 0xC3 };
enum { IND_BITS = 5, SEQ_BYTES = 6 };

static void put_be48(struct tb_buf *out, uint64_t v) {
    for (int shift = 40; shift >= 0; shift -= 8)
        tb_put_u8(out, (uint8_t)(v >> shift));
}

static uint64_t get_be48(const uint8_t *p) {
    uint64_t v = 0;

    for (size_t i = 0; i < SEQ_BYTES; i++)
        v = v << 8 | p[i];
    return v;
}

/* ---- record ---- */

void card_aka_encode(const struct card_aka *aka, struct tb_buf *out) {
    size_t mark;

    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv(out, TAG_K, tb_span(aka->keys.k, sizeof aka->keys.k));
    tb_put_tlv(out, TAG_OPC, tb_span(aka->keys.opc, sizeof aka->keys.opc));
    mark = tb_tlv_open(out, TAG_DELTA);
    put_be48(out, aka->delta);
    tb_tlv_close(out, mark);
    mark = tb_tlv_open(out, TAG_SEQ);
    for (size_t i = 0; i < CARD_AKA_SLOTS; i++)
        put_be48(out, aka->seq[i]);
    tb_tlv_close(out, mark);
}

static bool take(struct tb_tlv e, struct card_aka *aka, unsigned *seen) {
    static const size_t lengths[] = {CARD_MILENAGE_KEY, CARD_MILENAGE_KEY, SEQ_BYTES,
                                     CARD_AKA_SLOTS * SEQ_BYTES};

    if (e.tag < TAG_K || e.tag > TAG_SEQ)
        return true;
    if (e.value.n != lengths[e.tag - TAG_K])
        return false;
    *seen |= 1u << (e.tag - TAG_K);
    if (e.tag == TAG_K)
        memcpy(aka->keys.k, e.value.p, e.value.n);
    else if (e.tag == TAG_OPC)
        memcpy(aka->keys.opc, e.value.p, e.value.n);
    else if (e.tag == TAG_DELTA)
        aka->delta = get_be48(e.value.p);
    else
        for (size_t i = 0; i < CARD_AKA_SLOTS; i++)
            aka->seq[i] = get_be48(e.value.p + SEQ_BYTES * i);
    return true;
}

int card_aka_decode(struct tb_span record, struct card_aka *ret) {
    struct card_aka aka = {0};
    unsigned seen = 0;
    struct tb_tlv e;
    int r = card_record_open(&record);

    while (r == 0 && (r = tb_tlv_next(&record, &e)) > 0)
        r = take(e, &aka, &seen) ? 0 : TB_EPARSE;
    if (r == 0 && seen != 0x0F)
        r = TB_EPARSE;
    if (r == 0)
        *ret = aka;
    tb_wipe(&aka, sizeof aka);
    return r;
}

/* ---- sequence numbers ---- */

static size_t highest_slot(const struct card_aka *aka) {
    size_t best = 0;

    for (size_t i = 1; i < CARD_AKA_SLOTS; i++)
        if (aka->seq[i] > aka->seq[best])
            best = i;
    return best;
}

uint64_t card_aka_highest(const struct card_aka *aka) {
    size_t ind = highest_slot(aka);

    return aka->seq[ind] << IND_BITS | ind;
}

/* spec: TS33102 C.2.2 C.2.3 */
bool card_aka_is_fresh(const struct card_aka *aka, uint64_t sqn, struct card_aka *ret) {
    uint64_t seq = sqn >> IND_BITS, top = aka->seq[highest_slot(aka)];
    size_t ind = sqn & (CARD_AKA_SLOTS - 1);

    if (seq <= aka->seq[ind] || (aka->delta && seq > top && seq - top >= aka->delta))
        return false;
    *ret = *aka;
    ret->seq[ind] = seq;
    return true;
}

/* ---- the command ---- */

enum { P2_GSM = 0x80, P2_3G = 0x81, RAND = 16, AUTN = 16 };

struct challenge {
    const uint8_t *rand, *autn;
};

/* Each value with its length before it. The GSM context has no AUTN, and what follows RAND there is
 * an error as well. */
static uint16_t parse(struct tb_span data, bool with_autn, struct challenge *ret) {
    struct tb_span rand, autn = TB_SPAN_NONE;
    uint8_t n;

    if (data.n != (with_autn ? 2 + RAND + AUTN : 1 + RAND))
        return TB_SW_LENGTH;
    if (!tb_take_u8(&data, &n) || n != RAND || !tb_take(&data, n, &rand))
        return TB_SW_DATA;
    if (with_autn && (!tb_take_u8(&data, &n) || n != AUTN || !tb_take(&data, n, &autn)))
        return TB_SW_DATA;
    *ret = (struct challenge){rand.p, autn.p};
    return TB_SW_OK;
}

static void put_lv(struct tb_buf *out, const uint8_t *p, size_t n) {
    tb_put_u8(out, (uint8_t)n);
    tb_put(out, tb_span(p, n));
}

/* spec: TS33102 6.8.1.2 conversion functions c2 and c3 */
static void put_sres(struct tb_buf *out, const struct card_milenage *m) {
    tb_put_u8(out, 4);
    for (size_t i = 0; i < 4; i++)
        tb_put_u8(out, m->res[i] ^ m->res[i + 4]);
}

static void put_kc(struct tb_buf *out, const struct card_milenage *m) {
    tb_put_u8(out, 8);
    for (size_t i = 0; i < 8; i++)
        tb_put_u8(out, (uint8_t)(m->ck[i] ^ m->ck[i + 8] ^ m->ik[i] ^ m->ik[i + 8]));
}

/* spec: TS33102 6.3.3 AUTS = SQN_MS xor AK*, MAC-S over it with an AMF of zero */
static uint16_t out_of_step(const struct card_aka *aka, const struct challenge *c,
                            const struct card_milenage *m, struct tb_buf *out) {
    static const uint8_t no_amf[2];
    uint8_t sqn[6], mac[8];
    struct tb_buf b = TB_BUF(sqn);

    put_be48(&b, card_aka_highest(aka));
    if (card_milenage_mac(&aka->keys, c->rand, sqn, no_amf, NULL, mac) < 0)
        return TB_SW_UNKNOWN;
    tb_put_u8(out, 0xDC);
    tb_put_u8(out, sizeof sqn + sizeof mac);
    for (size_t i = 0; i < sizeof sqn; i++)
        tb_put_u8(out, sqn[i] ^ m->ak_star[i]);
    tb_put(out, tb_span(mac, sizeof mac));
    return TB_SW_OK;
}

/* The array goes to NVM before anything is answered: a number is accepted once. */
static uint16_t remember(struct card *card, const struct card_aka *next) {
    uint8_t record[CARD_AKA_RECORD_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);
    struct card_write w;
    uint16_t sw;

    card_subscription_key(card->cur, &k);
    tb_put_u8(&k, CARD_REC_AKA);
    card_aka_encode(next, &b);
    w = (struct card_write){tb_buf_span(&k), tb_buf_span(&b)};
    sw = tb_buf_ok(&b) ? card_store(card, &w, 1) : TB_SW_UNKNOWN;
    tb_wipe(record, sizeof record);
    if (sw == 0)
        *card->cur->aka = *next;
    return sw;
}

/* spec: TS31102 7.1.1.1 the order is MAC, then sequence number; RES, CK, IK, and Kc where service
 * 27 is on. */
static uint16_t mutual(struct card *card, const struct challenge *c, const struct card_milenage *m,
                       struct tb_buf *out) {
    struct card_aka next;
    uint8_t sqn[6], mac[8];
    uint16_t sw;

    for (size_t i = 0; i < sizeof sqn; i++)
        sqn[i] = c->autn[i] ^ m->ak[i];
    if (card_milenage_mac(&card->cur->aka->keys, c->rand, sqn, c->autn + 6, mac, NULL) < 0)
        return TB_SW_UNKNOWN;
    if (!card_equal(mac, c->autn + 8, sizeof mac))
        return TB_SW_AUTH_MAC;
    if (!card_aka_is_fresh(card->cur->aka, get_be48(sqn), &next))
        return out_of_step(card->cur->aka, c, m, out);
    sw = remember(card, &next);
    tb_wipe(&next, sizeof next);
    if (sw != 0)
        return sw;
    tb_put_u8(out, 0xDB);
    put_lv(out, m->res, sizeof m->res);
    put_lv(out, m->ck, sizeof m->ck);
    put_lv(out, m->ik, sizeof m->ik);
    if (fs_has_service(card, 27))
        put_kc(out, m);
    return TB_SW_OK;
}

/* What a client has to have done before. */
static uint16_t may_run(const struct card *card, const struct cmd *cmd) {
    if (cmd->a.p1 != 0)
        return TB_SW_P1P2;
    if (!cmd->ch->usim || !card->cur->aka)
        return TB_SW_CONDITIONS;
    if (!fs_allowed(card, FS_PIN1))
        return TB_SW_SECURITY;
    if (cmd->a.p2 != P2_GSM && cmd->a.p2 != P2_3G)
        return TB_SW_AUTH_CONTEXT;
    return TB_SW_OK;
}

uint16_t card_cmd_authenticate(struct card *card, struct cmd *cmd) {
    struct card_milenage m;
    struct challenge c;
    uint16_t sw = may_run(card, cmd);

    if (sw == TB_SW_OK)
        sw = parse(cmd->a.data, cmd->a.p2 == P2_3G, &c);
    if (sw != TB_SW_OK)
        return sw;
    if (!card_out_room(cmd, 64))
        return TB_SW_NO_SPACE;
    if (card_milenage(&card->cur->aka->keys, c.rand, &m) < 0)
        return TB_SW_UNKNOWN;
    cmd->secret_out = true;
    if (cmd->a.p2 == P2_3G) {
        sw = mutual(card, &c, &m, cmd->out);
    } else {
        put_sres(cmd->out, &m);
        put_kc(cmd->out, &m);
    }
    if (sw == TB_SW_OK)
        card->counters.authenticate++;
    tb_wipe(&m, sizeof m);
    return sw;
}
