/* GET STATUS. spec: GPCS 11.4 */
#include "gp/gp.h"
#include "tb/tlv.h"

enum { SW_MORE = 0x6310, ANSWER_MAX = 231, ENTRY_MAX = 96 };

/* One entry of the answer, with what tag list 5C asks for, or without one the usual. */
static void put_entry(struct tb_buf *out, struct tb_span tags, struct tb_span aid, uint8_t life,
                      const uint8_t *privileges, struct tb_span domain, struct tb_span module) {
    size_t mark = tb_tlv_open(out, 0xE3);

    tb_put_tlv(out, 0x4F, aid);
    tb_put_tlv_u8(out, 0x9F70, life);
    if (privileges)
        tb_put_tlv(out, 0xC5, tb_span(privileges, 3));
    if (domain.n && (!tags.n || memchr(tags.p, 0xCC, tags.n)))
        tb_put_tlv(out, 0xCC, domain);
    if (module.n)
        tb_put_tlv(out, 0x84, module);
    tb_tlv_close(out, mark);
}

struct query {
    uint8_t p1;
    struct tb_span aid; /* begins like this; empty: all */
    struct tb_span tags;
    const struct card *card;
    const struct card_app *domain; /* that is asked: it tells of itself and what belongs to it */
};

/* Appends entry number i when it is wanted: applications first, then executable load files. False
 * behind the last. */
static bool put_nth(const struct query *q, size_t i, struct tb_buf *out) {
    if (i < q->card->apps_n) {
        const struct card_app *app = q->card->apps[i];
        bool issuer = app == card_registry_issuer(q->card);

        if (q->p1 == (issuer ? 0x80 : 0x40) && card_app_present(q->card, app) &&
            card_app_below(app, q->domain) && tb_span_starts(card_app_aid(app), q->aid))
            put_entry(out, q->tags, card_app_aid(app), app->life, app->privileges,
                      app->domain ? card_app_aid(app->domain) : TB_SPAN_NONE, TB_SPAN_NONE);
        return true;
    }
    i -= q->card->apps_n;
    if (i < GP_MODULES && (q->p1 == 0x20 || q->p1 == 0x10) &&
        tb_span_starts(gp_modules[i].file, q->aid))
        put_entry(out, q->tags, gp_modules[i].file, 0x01, NULL,
                  card_app_aid(card_registry_issuer(q->card)),
                  q->p1 == 0x10 ? gp_modules[i].module : TB_SPAN_NONE);
    return i < GP_MODULES;
}

static uint16_t take_search(struct tb_span data, struct query *q) {
    struct tb_tlv e;
    bool has_aid = false;
    int r;

    while ((r = tb_tlv_next(&data, &e)) > 0) {
        if (e.tag == 0x4F) {
            q->aid = e.value;
            has_aid = true;
        } else if (e.tag == 0x5C) {
            q->tags = e.value;
        }
    }
    return r < 0 || !has_aid || q->aid.n > CARD_AID_MAX ? TB_SW_DATA : TB_SW_OK;
}

/* P2 = 03 goes on where the answer before ended; the session remembers it. */
uint16_t card_cmd_get_status(struct card *card, struct cmd *cmd) {
    struct card_scp03 *s = gp_session(cmd);
    struct query q = {.p1 = cmd->a.p1, .card = card, .domain = cmd->ch->app};
    size_t i = cmd->a.p2 & 0x01 ? s->status_next : 0;
    bool found = false;
    uint16_t sw;

    if ((cmd->a.p2 & 0xFE) != 0x02 ||
        (q.p1 != 0x80 && q.p1 != 0x40 && q.p1 != 0x20 && q.p1 != 0x10))
        return TB_SW_P1P2;
    if (cmd->a.p2 & 0x01 && i == 0)
        return TB_SW_CONDITIONS;
    sw = take_search(cmd->a.data, &q);
    if (sw != TB_SW_OK)
        return sw;
    if (!card_out_room(cmd, ANSWER_MAX + ENTRY_MAX))
        return TB_SW_NO_SPACE;
    s->status_next = 0;
    for (;; i++) {
        size_t before = cmd->out->n;

        if (!put_nth(&q, i, cmd->out))
            break;
        found = found || cmd->out->n > before;
        if (cmd->out->n > ANSWER_MAX) { /* the next answer's */
            cmd->out->n = before;
            s->status_next = i;
            return SW_MORE;
        }
    }
    return found ? TB_SW_OK : TB_SW_REF_NOT_FOUND;
}
