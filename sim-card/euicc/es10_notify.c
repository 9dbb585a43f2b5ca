/* ES10b: notifications that wait for their servers. spec: SGP.22 5.7.9 5.7.10 5.7.11 */
#include <stdlib.h>

#include "euicc/euicc.h"
#include "tb/tlv.h"

enum { NOTIFICATION_MAX = 192, OVERHEAD = 16, ANSWER_MAX = 60000 };

/* The operation as a BIT STRING whose unused bits are told. */
static void put_operation(struct tb_buf *out, uint8_t operation) {
    uint8_t bits[2] = {0, operation};

    while (!(operation >> bits[0] & 1))
        bits[0]++;
    tb_put_tlv(out, 0x81, tb_span(bits, sizeof bits));
}

static void put_metadata(struct tb_buf *out, const struct euicc_notification *n) {
    size_t mark = tb_tlv_open(out, 0xBF2F), seq = tb_tlv_open(out, 0x80);
    unsigned bytes = 1;

    while (bytes < 5 && n->seq >> (8 * bytes - 1))
        bytes++; /* an INTEGER: the sign needs a bit */
    if (bytes == 5) {
        tb_put_u8(out, 0);
        bytes = 4;
    }
    tb_put_be(out, bytes, n->seq);
    tb_tlv_close(out, seq);
    put_operation(out, n->operation);
    tb_put_tlv(out, 0x0C, tb_span_str(n->address));
    tb_put_tlv(out, 0x5A, tb_span(n->iccid, sizeof n->iccid));
    tb_tlv_close(out, mark);
}

/* The operations asked for; no list: all. */
static bool take_operations(struct tb_span bits, uint8_t *ret) {
    if (bits.n < 2 || bits.p[0] > 7)
        return false;
    *ret = bits.p[1];
    return true;
}

uint16_t euicc_list_notifications(struct card *card, struct cmd *cmd, struct tb_span value) {
    uint8_t wanted = 0xFF;
    struct tb_span bits;
    size_t outer, list, n = 0;
    int r = tb_tlv_find(value, 0x81, &bits);

    if (r < 0 || (r > 0 && !take_operations(bits, &wanted)))
        return TB_SW_DATA;
    for (const struct euicc_notification *at = card->euicc->notifications; at; at = at->next)
        n++;
    if (!card_out_room(cmd, n * NOTIFICATION_MAX + OVERHEAD))
        return TB_SW_NO_SPACE;
    outer = tb_tlv_open(cmd->out, 0xBF28);
    list = tb_tlv_open(cmd->out, 0xA0);
    for (const struct euicc_notification *at = card->euicc->notifications; at; at = at->next)
        if (at->operation & wanted)
            put_metadata(cmd->out, at);
    tb_tlv_close(cmd->out, list);
    tb_tlv_close(cmd->out, outer);
    return TB_SW_OK;
}

static bool take_seq(struct tb_span v, uint32_t *ret) {
    uint8_t zero;

    if (v.n == 5 && v.p[0] == 0)
        (void)tb_take_u8(&v, &zero);
    return v.n >= 1 && v.n <= 4 && tb_take_be(&v, v.n, ret);
}

/* spec: SGP.22 2.5.6 OtherSignedNotification: what is told, signature over it, both certificates */
static int put_signed(struct card_euicc *e, const struct euicc_notification *n,
                      struct tb_buf *out) {
    const struct euicc_credential *c = &e->credential;
    size_t mark = tb_tlv_open(out, 0x30), start = out->n, inner;
    uint8_t digest[CARD_HASH_MAX];
    struct card_hash h;
    size_t len;
    int r;

    put_metadata(out, n);
    card_hash_init(&h, TB_SAFE_SHA256);
    card_hash_update(&h, tb_span_sub(tb_buf_span(out), start, out->n - start));
    len = card_hash_final(&h, digest);
    inner = tb_tlv_open(out, 0x5F37);
    r = card_key_sign(c->key, TB_SAFE_ECDSA, TB_SAFE_SHA256, tb_span(digest, len), out);
    tb_tlv_close(out, inner);
    tb_put(out, tb_span(c->certificate, c->certificate_n));
    tb_put(out, tb_span(c->eum, c->eum_n));
    tb_tlv_close(out, mark);
    return r;
}

struct wanted {
    bool by_seq;
    uint32_t seq;
    uint8_t operations;
};

static bool is_wanted(const struct wanted *w, const struct euicc_notification *n) {
    return (!w->by_seq || n->seq == w->seq) && n->operation & w->operations;
}

/* As many as an answer holds: the others are there when these have been told. */
static uint16_t put_all(struct card *card, struct cmd *cmd, const struct wanted *w) {
    struct card_euicc *e = card->euicc;
    size_t each = NOTIFICATION_MAX + e->credential.certificate_n + e->credential.eum_n, outer, list;

    outer = tb_tlv_open(cmd->out, 0xBF2B);
    list = tb_tlv_open(cmd->out, 0xA0);
    for (const struct euicc_notification *at = e->notifications; at; at = at->next) {
        if (!is_wanted(w, at) || cmd->out->n + each + OVERHEAD > ANSWER_MAX)
            continue;
        if (!card_out_room(cmd, each + OVERHEAD))
            return TB_SW_NO_SPACE;
        cmd->work = TB_CARD_SIGN;
        if (put_signed(e, at, cmd->out) < 0)
            return TB_SW_UNKNOWN;
        card->counters.sign++;
    }
    tb_tlv_close(cmd->out, list);
    tb_tlv_close(cmd->out, outer);
    return TB_SW_OK;
}

/* An eUICC without a key and certificates cannot sign: 127, undefined error. Where there are no
 * notifications the list is empty. */
uint16_t euicc_retrieve_notifications(struct card *card, struct cmd *cmd, struct tb_span value) {
    enum { UNDEFINED = 127 };
    struct wanted w = {.operations = 0xFF};
    struct tb_span criterion = TB_SPAN_NONE, v;

    if (tb_tlv_find(value, 0xA0, &criterion) < 0)
        return TB_SW_DATA;
    if (tb_tlv_find(criterion, 0x80, &v) > 0) {
        w.by_seq = true;
        if (!take_seq(v, &w.seq))
            return TB_SW_DATA;
    } else if (tb_tlv_find(criterion, 0x81, &v) > 0) {
        if (!take_operations(v, &w.operations))
            return TB_SW_DATA;
    } else if (criterion.n > 0) {
        return TB_SW_DATA;
    }
    for (const struct euicc_notification *at = card->euicc->notifications; at; at = at->next)
        if (is_wanted(&w, at) && !card->euicc->credential.key) {
            euicc_put_result(cmd, 0xBF2B, 0x81, UNDEFINED);
            return TB_SW_OK;
        }
    return put_all(card, cmd, &w);
}

uint16_t euicc_notification_sent(struct card *card, struct cmd *cmd, struct tb_span value) {
    enum { NOTHING = 1 };
    struct euicc_notification **at = &card->euicc->notifications, *gone;
    struct euicc_change c;
    struct tb_span v;
    uint32_t seq = 0;
    uint16_t sw;

    if (tb_tlv_find(value, 0x80, &v) <= 0 || !take_seq(v, &seq))
        return TB_SW_DATA;
    while (*at && (*at)->seq != seq)
        at = &(*at)->next;
    if (!*at) {
        euicc_put_result(cmd, 0xBF30, 0x80, NOTHING);
        return TB_SW_OK;
    }
    euicc_begin(&c, card);
    euicc_notification_gone(&c, seq);
    sw = euicc_commit(&c);
    if (sw != 0)
        return sw;
    gone = *at;
    *at = gone->next;
    free(gone);
    euicc_put_result(cmd, 0xBF30, 0x80, 0);
    return TB_SW_OK;
}
