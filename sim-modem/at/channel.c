/* An AT port: from characters to executed lines to final result codes. */
#include "channel.h"

#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "core/modem_int.h"
#include "core/room.h"

enum { FLUSH_AT = 1 << 14 };

static void run_line(struct at_channel *ch);

/* ---- Settings ---- */

void at_settings_factory(const struct at_channel *ch, struct at_settings *ret) {
    *ret = (struct at_settings){
        .echo = !(ch->flags & AT_CHANNEL_NO_ECHO),
        .verbose = true,
        .x = 4,
        .dcd = 1,
        .dtr = 2,
        .charset = "IRA",
        .s = {[2] = 43,
              [3] = 13,
              [4] = 10,
              [5] = 8,
              [6] = 2,
              [7] = 60,
              [8] = 2,
              [10] = 15,
              [12] = 50},
    };
}

void at_settings_restore(struct at_channel *ch) {
    if (!ch->m->has_stored) {
        at_settings_factory(ch, &ch->set);
        return;
    }
    ch->set = ch->m->stored;
    ch->set.echo = ch->set.echo && !(ch->flags & AT_CHANNEL_NO_ECHO);
}

/* ---- Results ---- */

static void put_final(struct at_channel *ch, const char *text) {
    if (ch->set.quiet)
        return;
    at_info_begin(ch);
    at_put_str(ch, text);
    at_info_end(ch);
}

static void put_basic(struct at_channel *ch, enum at_result r) {
    if (ch->set.quiet)
        return;
    if (ch->set.verbose) {
        put_final(ch, at_result_text(r));
        return;
    }
    at_put_uint(ch, (unsigned)at_result_number(r));
    at_put(ch, tb_span(&ch->set.s[3], 1));
}

static void put_error(struct at_channel *ch, int result) {
    char text[96];
    const char *words;

    if (result <= AT_CMS_BASE) {
        snprintf(text, sizeof text, "+CMS ERROR: %d", AT_CMS_BASE - result);
    } else if (ch->set.cmee == 0) {
        put_basic(ch, AT_ERROR);
        return;
    } else {
        int n = AT_CME_BASE - result;

        words = ch->set.cmee == 2 ? at_cme_text(n) : NULL;
        if (words)
            snprintf(text, sizeof text, "+CME ERROR: %s", words);
        else
            snprintf(text, sizeof text, "+CME ERROR: %d", n);
    }
    put_final(ch, text);
}

static void restart_if_due(struct at_channel *ch) {
    if (!ch->restart)
        return;
    ch->restart = false;
    modem_restart(ch->m);
}

static void final(struct at_channel *ch, int result) {
    ch->busy = false;
    if (result != AT_OK)
        ch->m->counters.at_errors++;
    if (result > AT_CME_BASE)
        put_basic(ch, (enum at_result)result);
    else
        put_error(ch, result);
    at_urc_flush(ch);
    restart_if_due(ch);
}

/* ---- Execution ---- */

static int execute(struct at_channel *ch) {
    int r = at_dispatch(ch);

    ch->on_card = r == AT_PENDING;
    return r;
}

/* Left to right; the first command that fails ends the line (V.250 5.2.4). */
static void run_line(struct at_channel *ch) {
    while (!ch->stalled) {
        int r = at_lex_next(&ch->body, &ch->req);

        if (r == 0) {
            final(ch, AT_OK);
            return;
        }
        r = r < 0 ? AT_ERROR : execute(ch);
        if (r == AT_PENDING)
            return;
        if (r != AT_OK) {
            final(ch, r);
            return;
        }
        if (ch->m->out.n > FLUSH_AT) /* a TE that does not read stops a long line here */
            at_flush(ch->m);
    }
}

static void delay_over(void *arg) {
    struct at_channel *ch = arg;

    run_line(ch);
    at_resume(ch);
}

static void start_line(struct at_channel *ch) {
    struct modem *m = ch->m;

    m->counters.at_lines++;
    m->lines++;
    if (m->quirks.drop_every && m->lines % m->quirks.drop_every == 0)
        return;
    ch->busy = true;
    ch->body = tb_span(ch->line.p, ch->line.n);
    if (m->quirks.latency_at)
        at_timer_start(m, &ch->delay, m->quirks.latency_at, delay_over, ch);
    else
        run_line(ch);
}

/* So that n more characters have their place in the line. */
static void line_room(struct at_channel *ch, size_t n) {
    struct at_line *l = &ch->line;

    n = n < l->limit - l->n ? l->n + n : l->limit;
    ch->line_mem.n = l->n;
    modem_room(&ch->line_mem, n);
    l->p = ch->line_mem.p;
}

/* Input up to the end of the first line whose execution does not end at once; returns what was
 * consumed. */
static size_t feed(struct at_channel *ch, struct tb_span in) {
    size_t n = in.n;

    while (in.n && !ch->busy && !ch->stalled) {
        struct tb_span before = in;
        enum at_line_event event;

        line_room(ch, in.n);
        event = at_line_take(&ch->line, ch->set.s[3], ch->set.s[5], &in);

        if (ch->set.echo)
            at_put(ch, tb_span_sub(before, 0, before.n - in.n));
        if (event == AT_LINE_READY || (event == AT_LINE_REPEAT && ch->line.whole))
            start_line(ch);
        else if (event != AT_LINE_MORE)
            final(ch, AT_ERROR);
    }
    return n - in.n;
}

/* What was typed ahead, as far as it goes. */
void at_resume(struct at_channel *ch) {
    while (ch->typed_n && !ch->busy && !ch->stalled) {
        size_t run = sizeof ch->typed - ch->typed_at, n = ch->typed_n < run ? ch->typed_n : run;

        n = feed(ch, tb_span(ch->typed + ch->typed_at, n));
        ch->typed_at = (ch->typed_at + n) % sizeof ch->typed;
        ch->typed_n -= n;
    }
}

void at_finish(struct at_channel *ch, int result) {
    ch->on_card = ch->waits_for_sim = false;
    if (result == AT_OK)
        run_line(ch);
    else
        final(ch, result);
    at_resume(ch);
}

void at_sim_ready(struct at_channel *ch) {
    int r;

    ch->waits_for_sim = false;
    r = execute(ch);
    if (r != AT_PENDING)
        at_finish(ch, r);
}

int at_submit(struct at_channel *ch, void (*run)(struct modem *, struct sim_task *, struct tb_span),
              const char *what) {
    struct modem *m = ch->m;

    if (m->quirks.sim_busy_error && m->sim.task)
        return AT_CME(CME_SIM_BUSY);
    ch->task.run = run;
    ch->task.ch = ch;
    ch->task.what = what;
    sim_submit(m, &ch->task);
    return AT_PENDING;
}

/* ---- Life ---- */

struct at_channel *at_channel_new(struct modem *m, const char *name, unsigned flags,
                                  const struct at_channel_ops *ops, void *user) {
    struct at_channel *ch = calloc(1, sizeof *ch);

    if (!ch)
        return NULL;
    ch->m = m;
    ch->flags = flags;
    ch->ops = ops;
    ch->user = user;
    snprintf(ch->name, sizeof ch->name, "%s", name);
    at_line_init(&ch->line, NULL, m->quirks.line_max);
    at_settings_restore(ch);
    *m->channels_end = ch;
    m->channels_end = &ch->next;
    if (!(flags & AT_CHANNEL_EMPTY))
        at_channel_attached(ch);
    return ch;
}

void at_channel_attached(struct at_channel *ch) {
    modem_enter(ch->m);
    ch->attached = true;
    modem_boot_messages(ch->m);
    modem_leave(ch->m);
}

static void abandon(struct at_channel *ch) {
    struct modem *m = ch->m;

    ch->attached = false;
    at_timer_stop(m, &ch->typing);
    at_timer_stop(m, &ch->delay);
    sim_forget(m, ch);
    at_line_abort(&ch->line);
    ch->busy = ch->on_card = ch->waits_for_sim = ch->stalled = ch->refused = false;
    ch->ended = false;
    ch->typed_n = ch->urc_n = 0;
    restart_if_due(ch);
    if (m->out_ch == ch) {
        m->out_ch = NULL;
        m->out.n = 0;
    }
}

void at_channel_hangup(struct at_channel *ch) {
    modem_enter(ch->m);
    abandon(ch);
    modem_leave(ch->m);
}

void at_channel_free(struct at_channel *ch) {
    struct at_channel **at;
    struct modem *m;

    if (!ch)
        return;
    m = ch->m;
    modem_enter(m);
    abandon(ch);
    for (at = &m->channels; *at != ch;)
        at = &(*at)->next;
    *at = ch->next;
    if (!ch->next)
        m->channels_end = at;
    modem_room_free(&ch->line_mem);
    tb_wipe(ch, sizeof *ch);
    free(ch);
    modem_leave(m);
}

/* ---- Input ---- */

size_t at_channel_input(struct at_channel *ch, struct tb_span bytes) {
    size_t taken = 0;

    modem_enter(ch->m);
    if (!ch->typed_n)
        taken = feed(ch, bytes);
    while (taken < bytes.n && ch->typed_n < sizeof ch->typed) {
        size_t end = (ch->typed_at + ch->typed_n) % sizeof ch->typed;
        size_t room = end < ch->typed_at ? ch->typed_at - end : sizeof ch->typed - end;
        struct tb_span part = tb_span_sub(bytes, taken, room);

        memcpy(ch->typed + end, part.p, part.n);
        ch->typed_n += part.n;
        taken += part.n;
    }
    ch->refused = taken < bytes.n;
    modem_leave(ch->m);
    return taken;
}

void at_channel_end(struct at_channel *ch) {
    modem_enter(ch->m);
    ch->ended = true;
    modem_leave(ch->m);
}

bool at_channel_typing(const struct at_channel *ch) {
    return !ch->busy && at_line_typing(&ch->line);
}

bool at_channel_echoes(const struct at_channel *ch) {
    return ch->set.echo;
}

void at_channel_drained(struct at_channel *ch) {
    if (!ch->stalled)
        return;
    modem_enter(ch->m);
    ch->stalled = false;
    if (ch->busy && !ch->on_card && !ch->delay.armed)
        run_line(ch);
    at_resume(ch);
    at_urc_flush(ch);
    modem_leave(ch->m);
}

/* ---- Parameters ---- */

int at_take_uint(struct at_args *a, uint32_t min, uint32_t max, uint32_t *ret) {
    struct at_arg arg;
    uint32_t v = 0;
    int r = at_args_next(a, &arg);

    if (r == 0 || (r == 1 && arg.kind == AT_ARG_OMITTED))
        return 0;
    if (r < 0 || arg.kind != AT_ARG_PLAIN)
        return AT_ERROR;
    r = at_parse_uint(arg.text, &v);
    if (r == TB_EPARSE)
        return AT_ERROR;
    if (r < 0 || v < min || v > max)
        return AT_CME(CME_PARAMETERS);
    *ret = v;
    return 1;
}

int at_take_str(struct at_args *a, char *dst, size_t cap) {
    struct at_arg arg;
    int r = at_args_next(a, &arg);

    if (r == 0 || (r == 1 && arg.kind == AT_ARG_OMITTED))
        return 0;
    if (r < 0 || arg.kind != AT_ARG_STRING)
        return AT_ERROR;
    r = at_unescape(arg.text, dst, cap);
    return r == TB_ESPACE ? AT_CME(CME_PARAMETERS) : r < 0 ? AT_ERROR : 1;
}

int at_take_text(struct at_args *a, struct tb_span *ret) {
    struct at_arg arg;
    int r = at_args_next(a, &arg);

    if (r == 0 || (r == 1 && arg.kind == AT_ARG_OMITTED))
        return 0;
    if (r < 0)
        return AT_ERROR;
    *ret = arg.text;
    return 1;
}

int at_args_end(const struct at_args *a) {
    return a->more ? AT_ERROR : AT_OK;
}

int at_only_uint(struct tb_span args, uint32_t min, uint32_t max, uint32_t *ret) {
    struct at_args a = at_args(args);
    int r = at_take_uint(&a, min, max, ret);

    return r < 0 ? r : at_args_end(&a) != AT_OK ? AT_ERROR : r;
}
