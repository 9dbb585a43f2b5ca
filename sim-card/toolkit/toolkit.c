#include "toolkit/toolkit.h"

#include <stdlib.h>

#include "tb/tlv.h"

enum { PROFILE_MAX = 40, UICC = 0x81, TERMINAL = 0x82 };

struct proactive {
    size_t n;
    uint8_t number, type, qualifier;
    uint8_t p[TOOLKIT_COMMAND_MAX];
};

struct card_toolkit {
    uint8_t profile[PROFILE_MAX];
    size_t profile_n;
    struct proactive *queue[TOOLKIT_PENDING_MAX];
    size_t n;
    bool fetched; /* the first of the queue: TERMINAL RESPONSE is awaited */
    uint8_t last_number;
};

void card_toolkit_free(struct card_toolkit *t) {
    for (size_t i = 0; t && i < t->n; i++)
        free(t->queue[i]);
    free(t);
}

static struct card_toolkit *toolkit_of(struct card *card) {
    if (!card->toolkit)
        card->toolkit = calloc(1, sizeof *card->toolkit);
    return card->toolkit;
}

/* spec: TS102221 11.2.1 which proactive commands the terminal knows, a bit for each */
uint16_t card_cmd_terminal_profile(struct card *card, struct cmd *cmd) {
    struct card_toolkit *t;

    if (cmd->a.data.n == 0)
        return TB_SW_LENGTH;
    t = toolkit_of(card);
    if (!t)
        return TB_SW_NO_SPACE;
    t->profile_n = cmd->a.data.n < PROFILE_MAX ? cmd->a.data.n : PROFILE_MAX;
    memcpy(t->profile, cmd->a.data.p, t->profile_n);
    return TB_SW_OK;
}

/* spec: TS102223 5.2 the bit of a command type, numbered from b1 of the first byte */
static bool terminal_can(const struct card_toolkit *t, uint8_t type) {
    unsigned bit;

    switch (type) {
    case TOOLKIT_REFRESH:
        bit = 8 * 2 + 7;
        break;
    case TOOLKIT_SEND_SMS:
        bit = 8 * 3 + 1;
        break;
    default:
        return false;
    }
    return bit / 8 < t->profile_n && t->profile[bit / 8] & 1u << bit % 8;
}

static void build(struct proactive *p, uint8_t to, struct tb_span data) {
    const uint8_t details[] = {p->number, p->type, p->qualifier}, devices[] = {UICC, to};
    struct tb_buf out = tb_buf(p->p, sizeof p->p);
    size_t mark = tb_tlv_open(&out, 0xD0);

    tb_put_tlv(&out, 0x81, tb_span(details, sizeof details));
    tb_put_tlv(&out, 0x82, tb_span(devices, sizeof devices));
    tb_put(&out, data);
    tb_tlv_close(&out, mark);
    p->n = tb_buf_ok(&out) ? out.n : 0;
}

int card_toolkit_ask(struct card *card, uint8_t type, uint8_t qualifier, uint8_t to,
                     struct tb_span data) {
    struct card_toolkit *t = card->toolkit;
    struct proactive *p;

    if (!t || !terminal_can(t, type))
        return TB_EUNSUP;
    if (t->n == TOOLKIT_PENDING_MAX)
        return TB_ESPACE;
    p = calloc(1, sizeof *p);
    if (!p)
        return TB_ENOMEM;
    t->last_number = (uint8_t)(t->last_number % 254 + 1);
    p->number = t->last_number;
    p->type = type;
    p->qualifier = qualifier;
    build(p, to, data);
    if (p->n == 0) {
        free(p);
        return TB_ESPACE;
    }
    t->queue[t->n++] = p;
    return 0;
}

int card_toolkit_refresh(struct card *card, enum toolkit_refresh how) {
    struct card_toolkit *t = card->toolkit;

    for (size_t i = t && t->fetched ? 1 : 0; t && i < t->n; i++)
        if (t->queue[i]->type == TOOLKIT_REFRESH) {
            t->queue[i]->qualifier = (uint8_t)how;
            build(t->queue[i], TERMINAL, TB_SPAN_NONE);
            return 0;
        }
    return card_toolkit_ask(card, TOOLKIT_REFRESH, (uint8_t)how, TERMINAL, TB_SPAN_NONE);
}

bool card_toolkit_busy(const struct card *card) {
    return card->toolkit && card->toolkit->n > 0;
}

uint16_t card_toolkit_announce(const struct card *card, uint16_t sw) {
    const struct card_toolkit *t = card->toolkit;

    if (sw != TB_SW_OK || !t || t->n == 0 || t->fetched)
        return sw;
    return (uint16_t)(0x9100 | (t->queue[0]->n & 0xFF));
}

/* spec: TS102221 11.2.3 */
uint16_t card_cmd_fetch(struct card *card, struct cmd *cmd) {
    struct card_toolkit *t = card->toolkit;

    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (!t || t->n == 0)
        return TB_SW_CONDITIONS; /* nothing was announced */
    if (cmd->a.le_present && cmd->a.ne != t->queue[0]->n && cmd->a.ne != 256)
        return (uint16_t)(0x6C00 | (t->queue[0]->n & 0xFF));
    if (!card_out_room(cmd, t->queue[0]->n))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, tb_span(t->queue[0]->p, t->queue[0]->n));
    cmd->direct = true;
    t->fetched = true;
    return TB_SW_OK;
}

/* spec: TS102221 11.2.4 the command details say what is answered. Whatever the result, it is done
 * with: nobody asks again by himself. */
uint16_t card_cmd_terminal_response(struct card *card, struct cmd *cmd) {
    struct card_toolkit *t = card->toolkit;
    struct tb_span details, result;
    struct proactive *p;

    if (!t || !t->fetched)
        return TB_SW_CONDITIONS;
    p = t->queue[0];
    if ((tb_tlv_find(cmd->a.data, 0x81, &details) <= 0 &&
         tb_tlv_find(cmd->a.data, 0x01, &details) <= 0) ||
        details.n != 3 ||
        (tb_tlv_find(cmd->a.data, 0x83, &result) <= 0 &&
         tb_tlv_find(cmd->a.data, 0x03, &result) <= 0) ||
        result.n == 0)
        return TB_SW_DATA;
    if (details.p[0] != p->number || details.p[1] != p->type)
        return TB_SW_DATA;
    free(p);
    t->n--;
    memmove(&t->queue[0], &t->queue[1], t->n * sizeof t->queue[0]);
    t->fetched = false;
    return TB_SW_OK;
}
