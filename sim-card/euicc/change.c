#include <stdlib.h>

#include "euicc/euicc.h"

void euicc_begin(struct euicc_change *c, struct card *card) {
    *c = (struct euicc_change){.card = card, .state = card->euicc->state};
    c->added_tail = &c->added;
}

void euicc_put_profile(struct euicc_change *c, const struct euicc_profile *as) {
    const uint8_t key[] = {CARD_REC_EUICC, as->number};
    uint8_t record[EUICC_RECORD_MAX];
    struct tb_buf b = TB_BUF(record);

    euicc_profile_encode(as, &b);
    gp_change_put(&c->writes, tb_span(key, sizeof key), tb_buf_span(&b));
}

static struct tb_span notification_key(uint32_t seq, struct tb_buf *key) {
    key->n = 0;
    tb_put_u8(key, CARD_REC_NOTIFICATION);
    tb_put_be(key, 4, seq);
    return tb_buf_span(key);
}

void euicc_notification_gone(struct euicc_change *c, uint32_t seq) {
    uint8_t key[5];
    struct tb_buf k = TB_BUF(key);

    gp_change_del(&c->writes, notification_key(seq, &k));
}

/* spec: SGP.22 3.5 */
void euicc_notify(struct euicc_change *c, const struct euicc_profile *p, enum euicc_operation op) {
    uint8_t record[EUICC_RECORD_MAX], key[5];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);
    struct euicc_notification *n;

    if (!p->address[0])
        return;
    n = calloc(1, sizeof *n);
    if (!n) {
        c->writes.failed = true;
        return;
    }
    n->seq = c->state.next_seq++;
    n->operation = (uint8_t)op;
    euicc_profile_iccid(c->card, p, n->iccid);
    memcpy(n->address, p->address, sizeof n->address);
    euicc_notification_encode(n, &b);
    gp_change_put(&c->writes, notification_key(n->seq, &k), tb_buf_span(&b));
    *c->added_tail = n;
    c->added_tail = &n->next;
    c->added_n++;
}

static size_t waiting(const struct card_euicc *e) {
    size_t n = 0;

    for (const struct euicc_notification *at = e->notifications; at; at = at->next)
        n++;
    return n;
}

static void forget(struct card_euicc *e, size_t n) {
    while (n-- > 0) {
        struct euicc_notification *first = e->notifications;

        e->notifications = first->next;
        free(first);
    }
}

static void append(struct card_euicc *e, struct euicc_notification *added) {
    struct euicc_notification **at = &e->notifications;

    while (*at)
        at = &(*at)->next;
    *at = added;
}

void euicc_drop(struct euicc_change *c) {
    gp_change_drop(&c->writes);
    while (c->added) {
        struct euicc_notification *n = c->added;

        c->added = n->next;
        free(n);
    }
}

uint16_t euicc_commit(struct euicc_change *c) {
    static const uint8_t key = CARD_REC_EUICC;
    struct card_euicc *e = c->card->euicc;
    const struct euicc_notification *old = e->notifications;
    size_t all = waiting(e) + c->added_n, excess;
    uint8_t record[EUICC_RECORD_MAX];
    struct tb_buf b = TB_BUF(record);
    uint16_t sw;

    excess = c->added_n && all > EUICC_NOTIFICATIONS_MAX ? all - EUICC_NOTIFICATIONS_MAX : 0;
    for (size_t i = 0; i < excess; i++, old = old->next)
        euicc_notification_gone(c, old->seq);
    euicc_state_encode(&c->state, &b);
    gp_change_put(&c->writes, tb_span(&key, 1), tb_buf_span(&b));
    sw = gp_change_commit(c->card, &c->writes);
    if (sw != 0) {
        euicc_drop(c);
        return sw;
    }
    e->state = c->state;
    forget(e, excess);
    append(e, c->added);
    c->added = NULL;
    return 0;
}
