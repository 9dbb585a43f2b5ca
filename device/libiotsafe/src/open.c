/* Opening: a logical channel, the application by one of its AIDs; and giving the channel back.
 *
 * spec: IOTSAFE SELECT the applet is selected by name; which AID it has differs between issuers. */
#include "call.h"

/* ---- candidates: 0 is the caller's AID, 1 … are the well-known ones ---- */

static struct tb_span aid_at(const struct iotsafe *c, unsigned i) {
    if (i == 0)
        return tb_span(c->aid, c->aid_len);
    return tb_span(tb_safe_aids[i - 1].aid, tb_safe_aids[i - 1].len);
}

/* Puts the first candidate at or after i into k->aid, skipping the one that was tried out of turn.
 */
static bool next_aid(struct call *k, unsigned i) {
    const struct iotsafe *c = k->c;

    for (;; i++) {
        struct tb_span aid;

        if (i > 0 && (c->only_this_aid || tb_safe_aids[i - 1].len == 0))
            return false;
        aid = aid_at(c, i);
        if (aid.n == 0 || i + 1 == k->aid_tried)
            continue;
        if (i > 0 && tb_span_eq(aid, aid_at(c, 0)))
            continue;
        k->aid = (uint8_t)i;
        return true;
    }
}

/* The one that was found last time comes first: the card is probably the same. */
static void first_aid(struct call *k) {
    k->phase = PHASE_SELECT;
    k->aid_tried = k->c->aid_found;
    if (k->aid_tried)
        k->aid = (uint8_t)(k->aid_tried - 1);
    else
        (void)next_aid(k, 0); /* there is always one */
}

static bool following_aid(struct call *k) {
    return next_aid(k, k->aid + 1U == k->aid_tried ? 0 : k->aid + 1U);
}

/* ---- phases ---- */

void open_begin(struct call *k) {
    struct iotsafe *c = k->c;

    c->opened = false;
    c->proven = false;
    c->no_le = false;
    c->le_proven = false;
    c->interindustry = c->interindustry_first;
    c->channel = 0;
    k->opened_here = true;
    if (c->basic_channel || c->no_channels || (c->t->flags & IOTSAFE_TRANSPORT_OWNS_CHANNEL))
        first_aid(k);
    else
        k->phase = PHASE_CHANNEL;
}

static void put_channel_close(const struct iotsafe *c, struct tb_buf *out) {
    tb_put(out, TB_BYTES(0x00, TB_INS_MANAGE_CHANNEL, 0x80));
    tb_put_u8(out, c->channel);
    if (!(c->t->flags & IOTSAFE_TRANSPORT_LE))
        tb_put_u8(out, 0); /* T=0 has five bytes */
}

void open_build(struct call *k, struct tb_buf *out) {
    const struct iotsafe *c = k->c;

    switch (k->phase) {
    case PHASE_CHANNEL: /* the card chooses the number */
        tb_put(out, TB_BYTES(0x00, TB_INS_MANAGE_CHANNEL, 0x00, 0x00, 0x01));
        break;
    case PHASE_SELECT:
        tb_put_u8(out, tb_cla_on_channel(0x00, c->channel));
        tb_put(out, TB_BYTES(TB_INS_SELECT, 0x04, 0x00));
        tb_put_u8(out, (uint8_t)aid_at(c, k->aid).n);
        tb_put(out, aid_at(c, k->aid));
        break;
    default:
        put_channel_close(c, out);
        break;
    }
}

static void channel_done(struct call *k, uint16_t sw) {
    struct iotsafe *c = k->c;
    bool given = tb_sw_success(sw) && c->acc_len >= 1 && c->acc[0] >= 1 && c->acc[0] <= CHANNEL_MAX;

    if (given)
        c->channel = c->acc[0];
    else if (sw == TB_SW_INS || sw == TB_SW_CLA || sw == TB_SW_CHANNEL)
        c->no_channels = true; /* never; 6A81 only means: none is free now */
    first_aid(k);
}

/* After a failed opening, a channel that we had is given back first. */
static void give_up(struct call *k, int result) {
    k->pending = result;
    if (k->c->channel)
        k->phase = PHASE_UNDO;
    else
        call_finish(k, result);
}

bool open_can_fall_back(const struct call *k) {
    return k->c->channel != 0;
}

void open_fall_back(struct call *k) {
    k->c->opened = false;
    k->fallback_basic = true;
    k->phase = PHASE_UNDO;
}

static void select_done(struct call *k, uint16_t sw) {
    struct iotsafe *c = k->c;

    /* 62xx are remarks on a selected application, but 6283: selected and deactivated. */
    if (tb_sw_success(sw) || tb_sw_more(sw) || ((sw >> 8) == 0x62 && sw != 0x6283)) {
        c->opened = true;
        c->aid_found = (uint8_t)(k->aid + 1);
        c->stats.opens++;
        k->refused = false;
        call_enter_operation(k);
        return;
    }
    if ((sw == TB_SW_CHANNEL || sw == TB_SW_CLA || sw == TB_SW_INS) && open_can_fall_back(k)) {
        open_fall_back(k);
        return;
    }
    if (following_aid(k))
        return;
    /* A modem that opens channels itself hands on what MANAGE CHANNEL answered: all are taken. */
    if (sw == TB_SW_FUNCTION && (c->t->flags & IOTSAFE_TRANSPORT_OWNS_CHANNEL))
        give_up(k, IOTSAFE_E_BUSY);
    else
        give_up(k, k->refused ? IOTSAFE_E_REFUSED : IOTSAFE_E_NO_APPLET);
}

static void undo_done(struct call *k) {
    if (!k->fallback_basic) {
        call_finish(k, k->pending);
        return;
    }
    k->fallback_basic = false;
    k->c->no_channels = true;
    open_begin(k);
}

void open_done(struct call *k, uint16_t sw) {
    switch (k->phase) {
    case PHASE_CHANNEL:
        channel_done(k, sw);
        break;
    case PHASE_SELECT:
        select_done(k, sw);
        break;
    default:
        undo_done(k);
        break;
    }
}

/* ---- operations: select, release ---- */

/* Selecting is what happens before any operation; this one has nothing to add. */
static const struct operation op_select = {.flags = OP_NOTHING};

int iotsafe_select_start(struct iotsafe_call *call, struct iotsafe *c) {
    struct call *k;

    return call_begin(call, c, &op_select, &k);
}

int iotsafe_select(struct iotsafe *c) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_select_start(&call, c));
}

static int release_build(struct call *k, struct tb_buf *out) {
    put_channel_close(k->c, out);
    return 0;
}

static int release_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw; /* closed, or closed already */
    (void)data;
    k->c->opened = false;
    return 0;
}

static const struct operation op_release = {
    .flags = OP_RELEASE | OP_ONCE, .build = release_build, .answer = release_answer};

int iotsafe_release_start(struct iotsafe_call *call, struct iotsafe *c) {
    struct call *k;
    int r = call_begin(call, c, &op_release, &k);

    if (r < 0)
        return r;
    if (!c->opened || (c->channel == 0 && !(c->t->flags & IOTSAFE_TRANSPORT_OWNS_CHANNEL))) {
        c->opened = false;
        call_finish(k, 0);
    }
    return 0;
}

int iotsafe_release(struct iotsafe *c) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_release_start(&call, c));
}
