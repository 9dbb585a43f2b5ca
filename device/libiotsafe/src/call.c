/* The engine: one call at a time, APDU by APDU. It opens what is not open, fetches what waits, and
 * decides on what the card's refusals mean; what a command says is the operations' matter. */
#include "call.h"

#include <assert.h>

enum {
    CLA_CHAINING = 0x10,
    LE_MISSING = 0x6C, /* SW1: repeat with that Le */
    UNCUT = 240,       /* bytes of an answer that every modem passes on whole */
    UPDATE_MAX = 640,  /* data field of all UPDATE commands together */
};

/* ---- building commands ---- */

static uint8_t class_byte(const struct call *k) {
    return tb_cla_on_channel(k->c->interindustry ? 0x00 : 0x80, k->c->channel);
}

void command_begin(const struct call *k, struct tb_buf *out, uint8_t ins, uint8_t p1, uint8_t p2) {
    tb_put_u8(out, class_byte(k));
    tb_put_u8(out, ins);
    tb_put_u8(out, p1);
    tb_put_u8(out, p2);
    tb_put_u8(out, 0); /* Lc */
}

void command_end(const struct call *k, struct tb_buf *out, bool answers) {
    const struct iotsafe *c = k->c;
    bool le = c->le > 0 || (c->le == 0 && !c->no_le &&
                            ((c->t->flags & IOTSAFE_TRANSPORT_LE) != 0 || c->max_answer < 256));

    if (!tb_buf_ok(out) || out->n - 5 > LC_MAX) {
        out->overflow = true;
        return;
    }
    out->p[4] = (uint8_t)(out->n - 5);
    if (answers && le)
        tb_put_u8(out, (uint8_t)c->max_answer); /* 256 becomes 00 */
}

void command_get(const struct call *k, struct tb_buf *out, uint8_t ins, uint8_t p1, uint8_t p2,
                 unsigned ne) {
    command_begin(k, out, ins, p1, p2);
    if (ne > k->c->max_answer)
        ne = k->c->max_answer;
    if (tb_buf_ok(out))
        out->p[4] = (uint8_t)ne;
}

/* spec: TS102221 11.1.2 commands for the card go over the basic channel; where the link has one of
 * its own, they go there, and the application is opened for that. */
static bool needs_application(const struct call *k) {
    if (k->op->flags & OP_PLATFORM)
        return (k->c->t->flags & IOTSAFE_TRANSPORT_OWNS_CHANNEL) != 0;
    return !(k->op->flags & OP_RELEASE);
}

static void build_get_response(struct call *k, struct tb_buf *out) {
    const bool platform = k->phase == PHASE_OPERATION && (k->op->flags & OP_PLATFORM) != 0;
    unsigned n = k->fetch < k->c->max_answer ? k->fetch : k->c->max_answer;

    tb_put_u8(out, tb_cla_on_channel(0x00, platform ? 0 : k->c->channel));
    tb_put_u8(out, TB_INS_GET_RESPONSE);
    tb_put_u8(out, 0);
    tb_put_u8(out, 0);
    tb_put_u8(out, (uint8_t)n);
}

/* P1 = 01 ends a session. Case 1: over T=0 the fifth byte is there anyway. */
static void build_session_close(struct call *k, struct tb_buf *out) {
    command_begin(k, out, k->op->init_ins, 0x01, k->c->session);
    if ((k->c->t->flags & IOTSAFE_TRANSPORT_LE) != 0 && tb_buf_ok(out))
        out->n = 4;
}

/* INIT is one command. UPDATE is as many as its data field needs: by P1 (80 marks the last) where
 * IoT.05 has blocks, by command chaining (ISO/IEC 7816-4 5.3.3) elsewhere. The field is put
 * together anew for each, which only ever happens with RSA. */
static int build_session(struct call *k, struct tb_buf *out) {
    uint8_t bytes[UPDATE_MAX];
    struct tb_buf field = TB_BUF(bytes);
    struct tb_span part;
    bool update = k->step == STEP_UPDATE, chains = (k->op->flags & OP_CHAINS) != 0;
    int r;

    if (k->step == STEP_CLOSE || k->step == STEP_CLOSE_FIRST) {
        build_session_close(k, out);
        return 0;
    }
    r = k->op->build(k, &field);
    if (r < 0)
        return r;
    if (!tb_buf_ok(&field))
        return IOTSAFE_E_ARGUMENT;
    part = tb_span_sub(tb_buf_span(&field), update ? k->sent : 0, LC_MAX);
    k->updating = update && k->sent + part.n < field.n;
    command_begin(k, out, update ? k->op->update_ins : k->op->init_ins,
                  update && !(k->updating && !chains) ? 0x80 : 0x00, k->c->session);
    if (k->updating && chains && tb_buf_ok(out))
        out->p[0] |= CLA_CHAINING;
    tb_put(out, part);
    command_end(k, out, update && !k->updating && (k->op->flags & OP_ANSWERS) != 0);
    return 0;
}

static int build(struct call *k) {
    struct iotsafe *c = k->c;
    struct tb_buf out = TB_BUF(c->cmd);
    int r = 0;

    if (k->fetch)
        build_get_response(k, &out);
    else {
        if (k->phase != PHASE_OPERATION || !k->op->data)
            c->acc_len = 0;
        if (k->phase != PHASE_OPERATION)
            open_build(k, &out);
        else if (k->op->flags & OP_SESSION)
            r = build_session(k, &out);
        else
            r = k->op->build(k, &out);
    }
    if (r < 0)
        return r;
    if (!tb_buf_ok(&out))
        return IOTSAFE_E_ARGUMENT; /* more than a short APDU carries */
    c->cmd_len = out.n;
    return 0;
}

/* ---- life of a call ---- */

void call_finish(struct call *k, int result) {
    struct iotsafe *c = k->c;

    if (k->op->flags & OP_SECRET) {
        tb_wipe(c->acc, sizeof c->acc);
        tb_wipe(c->cmd, sizeof c->cmd);
    }
    c->acc_len = 0;
    k->phase = PHASE_DONE;
    k->result = result;
    k->built = false;
    c->busy = NULL;
}

/* The operation under way from its first step. */
static void restart(struct call *k, bool close_first) {
    k->step = 0;
    if (k->op->flags & OP_SESSION)
        k->step = close_first || k->c->close_sessions ? STEP_CLOSE_FIRST : STEP_INIT;
    k->sent = 0;
    k->c->acc_len = 0;
    if (k->op->restart)
        k->op->restart(k);
}

/* All that the call is made of, from the beginning. */
static void begin_again(struct call *k) {
    k->op = k->first;
    restart(k, false);
}

void call_enter_operation(struct call *k) {
    if (k->op->flags & OP_NOTHING) {
        call_finish(k, 0);
        return;
    }
    k->phase = PHASE_OPERATION;
    begin_again(k);
}

int call_begin(struct iotsafe_call *call, struct iotsafe *c, const struct operation *op,
               struct call **ret) {
    struct call *k = call_of(call);

    memset(call, 0, sizeof *call);
    k->result = !c ? IOTSAFE_E_ARGUMENT : c->busy ? IOTSAFE_E_BUSY : 0;
    if (k->result < 0)
        return k->result;
    k->c = c;
    k->op = k->first = op;
    c->busy = call;
    c->acc_len = 0;
    if (c->opened || !needs_application(k))
        k->phase = PHASE_OPERATION;
    else
        open_begin(k);
    if (c->opened && (op->flags & OP_NOTHING))
        call_finish(k, 0);
    if (op->flags & OP_SESSION)
        k->step = c->close_sessions ? STEP_CLOSE_FIRST : STEP_INIT;
    *ret = k;
    return 0;
}

void call_reset_seen(struct call *k) {
    if (k->phase != PHASE_OPERATION)
        return;
    k->c->opened = false;
    if (k->op->flags & OP_RELEASE)
        call_finish(k, 0);
    else if (needs_application(k))
        open_begin(k);
}

int iotsafe_call_next(struct iotsafe_call *call, const uint8_t **ret_cmd, size_t *ret_len) {
    struct call *k = call_of(call);

    if (k->phase == PHASE_DONE)
        return k->result;
    if (!k->built) {
        int r = build(k);

        if (r < 0) {
            call_finish(k, r);
            return r;
        }
        k->built = true;
    }
    *ret_cmd = k->c->cmd;
    *ret_len = k->c->cmd_len;
    return 1;
}

void iotsafe_call_cancel(struct iotsafe_call *call) {
    struct call *k = call_of(call);

    if (k->phase != PHASE_DONE)
        call_finish(k, IOTSAFE_E_LINK);
}

int iotsafe_call_is_long(const struct iotsafe_call *call) {
    const struct call *k = (const void *)call->opaque;

    if (k->phase == PHASE_DONE)
        return 0;
    return k->phase != PHASE_OPERATION || (k->op->flags & OP_LONG) != 0 || k->c->channel == 0;
}

/* ---- what a status word means ---- */

int error_of_sw(uint16_t sw) {
    switch (sw) {
    case TB_SW_NOT_FOUND:
    case TB_SW_REF_NOT_FOUND:
        return IOTSAFE_E_NOT_FOUND;
    case TB_SW_VERIFY_FAILED:
        return IOTSAFE_E_SIGNATURE;
    case TB_SW_INVALIDATED:
    case TB_SW_CAPACITY:
        return IOTSAFE_E_ADMIN;
    default:
        return IOTSAFE_E_CARD;
    }
}

/* Carried out, possibly with a remark. Session commands say so without remarks: there a warning is
 * no success. */
static bool accepted(const struct call *k, uint16_t sw) {
    if (tb_sw_success(sw))
        return true;
    return !(k->op->flags & OP_SESSION) && (sw == TB_SW_MORE_LIST || (sw >> 8) == 0x62);
}

static bool is_closing(const struct call *k) {
    return k->phase == PHASE_OPERATION && (k->op->flags & OP_SESSION) != 0 &&
           (k->step == STEP_CLOSE || k->step == STEP_CLOSE_FIRST);
}

/* op is over with r. */
static void finish_or_go_on(struct call *k, int r) {
    if (r < 0 || !k->next || k->op != k->first) {
        call_finish(k, r);
        return;
    }
    k->op = k->next;
    restart(k, false);
}

static void closing_done(struct call *k) {
    if (k->step == STEP_CLOSE_FIRST)
        k->step = STEP_INIT;
    else
        finish_or_go_on(k, k->pending);
}

static bool on_shared_basic_channel(const struct iotsafe *c) {
    return c->channel == 0 && !(c->t->flags & IOTSAFE_TRANSPORT_OWNS_CHANNEL);
}

/* The class byte is wrong, or nobody is there any more: another class, another channel, or open
 * again, each once. False when sw is to be taken at its word. */
static bool try_elsewhere(struct call *k, uint16_t sw) {
    struct iotsafe *c = k->c;
    bool class_at_fault = (sw == TB_SW_CLA || sw == TB_SW_INS) && !c->proven;

    if (class_at_fault && !c->interindustry) {
        c->interindustry = true;
        return true;
    }
    if (class_at_fault) /* neither: the next command begins with the usual one again */
        c->interindustry = c->interindustry_first;
    if (k->reopened)
        return false;
    if (k->opened_here && !c->proven) { /* a modem or card that gives channels which do not work */
        if (sw == TB_SW_INS || !open_can_fall_back(k))
            return false;
        open_fall_back(k);
        return true;
    }
    if (sw == TB_SW_INS && !on_shared_basic_channel(c))
        return false; /* the application is there, it does not know this command */
    k->reopened = true;
    open_begin(k);
    return true;
}

/* Data and Le in one command, ISO/IEC 7816-3 case 4. */
static bool had_le(const struct iotsafe *c) {
    return c->cmd_len > 5 && c->cmd_len == 6U + c->cmd[4];
}

/* A card that only ever met T=0 may count the Le of a case 4 command as a byte too many. Once for a
 * card: without it, the answer is fetched. */
static bool try_without_le(struct call *k, uint16_t sw) {
    struct iotsafe *c = k->c;

    if (accepted(k, sw) && had_le(c))
        c->le_proven = true;
    if (sw != TB_SW_LENGTH || !had_le(c) || c->le != 0 || c->le_proven)
        return false;
    c->no_le = true;
    restart(k, false);
    return true;
}

/* Refusals that a second attempt may cure. True when one was begun. */
static bool try_again(struct call *k, uint16_t sw) {
    struct iotsafe *c = k->c;

    if (try_without_le(k, sw))
        return true;
    if (sw == TB_SW_CHANNEL || sw == TB_SW_CLA || sw == TB_SW_INS)
        return try_elsewhere(k, sw);
    if (sw == TB_SW_ADMIN_DONE || sw == TB_SW_INVALIDATED || sw == TB_SW_CAPACITY) {
        c->stats.refreshes++;
        if (k->admin_retried || (sw == TB_SW_ADMIN_DONE && (k->op->flags & OP_ONCE)))
            return false;
        k->admin_retried = true;
        if (sw == TB_SW_CAPACITY)
            restart(k, true);
        else
            begin_again(k);
        return true;
    }
    if (sw == TB_SW_CONDITIONS && (k->op->flags & OP_SESSION) && !k->session_retried) {
        k->session_retried = true; /* a session that somebody left open */
        restart(k, true);
        return true;
    }
    if (!accepted(k, sw) && sw != TB_SW_VERIFY_FAILED && on_shared_basic_channel(c) &&
        !k->opened_here && !k->reopened && k->done == 0) {
        k->reopened =
            true; /* the modem itself works on this channel: it may have selected something else */
        open_begin(k);
        return true;
    }
    return false;
}

static void end_operation(struct call *k, int r) {
    if ((k->op->flags & OP_SESSION) && k->c->close_sessions) {
        k->pending = r;
        k->step = STEP_CLOSE;
        return;
    }
    finish_or_go_on(k, r);
}

static void operation_done(struct call *k, uint16_t sw) {
    struct iotsafe *c = k->c;
    int r;

    if (is_closing(k)) {
        closing_done(k);
        return;
    }
    if (k->op->flags & OP_RELEASE) {
        call_finish(k, k->op->answer(k, sw, TB_SPAN_NONE));
        return;
    }
    if ((!(k->op->flags & OP_PLATFORM) || sw == TB_SW_CHANNEL) && try_again(k, sw))
        return;
    if (accepted(k, sw))
        c->proven = true;
    if (accepted(k, sw) && k->updating) {
        k->sent += LC_MAX;
        return;
    }
    if (accepted(k, sw) || (k->op->flags & OP_OWN_ERRORS))
        r = k->op->answer(k, sw, tb_span(c->acc, c->acc_len));
    else
        r = error_of_sw(sw);
    if (r <= 0)
        end_operation(k, r);
}

static void command_done(struct call *k, uint16_t sw) {
    k->fetch = 0;
    k->stalls = 0;
    k->le_corrected = false;
    if (k->phase == PHASE_OPERATION)
        operation_done(k, sw);
    else
        open_done(k, sw);
}

/* ---- responses ---- */

/* 6Cxx: the same command with this Le. */
static bool correct_le(struct call *k, uint8_t le) {
    struct iotsafe *c = k->c;
    struct tb_buf cmd = {c->cmd, c->cmd_len, sizeof c->cmd, false};

    if (k->le_corrected)
        return false;
    k->le_corrected = true;
    if (cmd.n == 5 || (cmd.n > 5 && cmd.n == 6U + cmd.p[4]))
        cmd.p[cmd.n - 1] = le;
    else
        tb_put_u8(&cmd, le);
    if (!tb_buf_ok(&cmd))
        return false;
    c->cmd_len = cmd.n;
    k->built = true;
    return true;
}

static int take_data(struct call *k, struct tb_span data) {
    struct iotsafe *c = k->c;
    struct tb_buf acc = {c->acc, c->acc_len, sizeof c->acc, false};

    if (data.n == 0)
        return 0;
    if (k->phase == PHASE_OPERATION && k->op->data && !is_closing(k))
        return k->op->data(k, data);
    tb_put(&acc, data);
    if (!tb_buf_ok(&acc))
        return IOTSAFE_E_FORMAT;
    c->acc_len = acc.n;
    return 0;
}

/* The link said "done" and nothing else. That is believed where the card has nothing to say but
 * 9000, and where a wrong belief does no harm: what follows fails then. */
static void response_missing(struct call *k) {
    bool harmless = k->phase != PHASE_OPERATION || is_closing(k) ||
                    (k->op->flags & OP_RELEASE) != 0 ||
                    ((k->op->flags & OP_SESSION) != 0 && k->step == STEP_INIT);

    if (harmless && !k->fetch)
        command_done(k, TB_SW_OK);
    else
        call_finish(k, IOTSAFE_E_FORMAT);
}

static void raw_response(struct call *k, struct tb_span rsp, uint16_t sw) {
    if (sw == TB_SW_CHANNEL)
        k->c->opened = false;
    call_finish(k, k->op->answer(k, sw, rsp));
}

/* Status words that can follow data. Anything else is the rest of an answer that the modem cut off:
 * a module with 256 bytes of room for 258 is known. */
static bool ends_data(uint16_t sw) {
    switch (sw >> 8) {
    case 0x90:
        return sw == TB_SW_OK;
    case 0x63:
        return sw == TB_SW_MORE_LIST || sw == TB_SW_ADMIN_DONE;
    case 0x61:
    case 0x62:
    case LE_MISSING:
    case 0x91:
    case 0x9F:
        return true;
    default:
        return false;
    }
}

/* The operation again, in smaller answers. The cut may look like 61xx, and is then found when
 * nothing waits. */
static bool answer_was_cut(struct call *k, size_t n, uint16_t sw) {
    struct iotsafe *c = k->c;
    bool cut = n > 0 ? !ends_data(sw) : k->fetch_after_data && !tb_sw_more(sw) && sw != TB_SW_OK;

    if (n > 0)
        k->fetch_after_data = tb_sw_more(sw);
    if (!cut || k->phase != PHASE_OPERATION || (k->op->flags & OP_ONCE) || c->max_answer <= UNCUT)
        return false;
    c->max_answer = UNCUT;
    k->fetch = 0;
    k->le_corrected = false;
    restart(k, false);
    return true;
}

void iotsafe_call_response(struct iotsafe_call *call, const uint8_t *rsp, size_t rsp_len) {
    struct call *k = call_of(call);
    struct iotsafe *c = k->c;
    struct tb_span data;
    uint16_t sw;
    int r;

    if (k->phase == PHASE_DONE || !k->built)
        return;
    k->built = false;
    c->mute = false;
    c->stats.apdus++;
    c->stats.bytes_out += c->cmd_len;
    c->stats.bytes_in += rsp_len;
    if (rsp_len == 0) {
        response_missing(k);
        return;
    }
    if (++k->exchanges > EXCHANGES_MAX || tb_rapdu_parse(tb_span(rsp, rsp_len), &data, &sw) < 0) {
        call_finish(k, IOTSAFE_E_FORMAT);
        return;
    }
    /* Tidying up after a failure does not hide what failed. */
    if (k->phase != PHASE_UNDO && !(is_closing(k) && k->step == STEP_CLOSE && k->pending < 0))
        c->sw = sw;
    if (k->phase == PHASE_OPERATION && (k->op->flags & OP_RAW)) {
        raw_response(k, tb_span(rsp, rsp_len), sw);
        return;
    }
    if (answer_was_cut(k, data.n, sw))
        return;
    if ((sw >> 8) == LE_MISSING && correct_le(k, (uint8_t)sw))
        return;
    r = take_data(k, data);
    if (r < 0) {
        call_finish(k, r);
        return;
    }
    if (tb_sw_more(sw) && k->phase != PHASE_SELECT) { /* the selection's FCI is of no interest */
        k->le_corrected = false;
        k->fetch = sw & 0xFF ? sw & 0xFF : 256;
        k->stalls = data.n ? 0 : k->stalls + 1;
        if (k->stalls > STALLS_MAX)
            call_finish(k, IOTSAFE_E_FORMAT);
        return;
    }
    command_done(k, sw);
}

void iotsafe_call_failed(struct iotsafe_call *call, int err) {
    struct call *k = call_of(call);
    struct iotsafe *c = k->c;
    bool link = err == IOTSAFE_E_LINK || err == IOTSAFE_E_ABSENT || err == IOTSAFE_E_RESET;
    bool once = k->phase == PHASE_OPERATION && (k->op->flags & OP_ONCE) != 0;

    if (k->phase == PHASE_DONE || !k->built)
        return;
    k->built = false;
    k->fetch = 0;
    k->le_corrected = false;
    c->mute = err == IOTSAFE_E_TIMEOUT;
    if (link)
        c->opened = false;
    if (k->op->flags & OP_RELEASE) {
        c->opened = false;
        call_finish(k, 0);
    } else if (is_closing(k) && k->step == STEP_CLOSE) {
        finish_or_go_on(k, k->pending); /* the result is in hand */
    } else if (err == IOTSAFE_E_REFUSED && k->phase != PHASE_OPERATION) {
        k->refused = true;
        open_done(k, TB_SW_CLA);
    } else if (err == IOTSAFE_E_REFUSED && is_closing(k)) {
        closing_done(k);
    } else if (err == IOTSAFE_E_REFUSED && !(k->op->flags & OP_RAW) &&
               try_elsewhere(k, TB_SW_CLA)) {
        k->refused = true;
    } else if (err == IOTSAFE_E_RESET && !k->reset_seen) {
        k->reset_seen =
            true; /* it got nothing of what we sent, so that anything may be sent again */
        c->opened = false;
        if (needs_application(k))
            open_begin(k);
    } else if (err == IOTSAFE_E_LINK && !k->reopened && !once) {
        k->reopened = true; /* the transport dials again */
        open_begin(k);
    } else {
        call_finish(k, err < 0 && err != IOTSAFE_E_RESET ? err : IOTSAFE_E_LINK);
    }
}
