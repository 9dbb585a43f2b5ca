/* Output of AT ports: gathered, framed as V, S3 and S4 want it, written once. */
#include <stdarg.h>
#include <stdio.h>

#include "channel.h"
#include "core/modem_int.h"
#include "core/room.h"

void at_flush(struct modem *m) {
    struct at_channel *ch = m->out_ch;
    size_t n = m->out.n;

    m->out_ch = NULL;
    m->out.n = 0;
    if (ch && n && ch->ops->write(tb_span(m->out.p, n), ch->user) < 1)
        ch->stalled = true;
}

struct tb_buf *at_room(struct at_channel *ch, size_t n) {
    struct modem *m = ch->m;

    if (m->out_ch != ch || AT_OUT_MAX - m->out.n < n)
        at_flush(m);
    m->out_ch = ch;
    modem_room(&m->out, m->out.n + n);
    return &m->out;
}

void at_put(struct at_channel *ch, struct tb_span s) {
    struct tb_span piece;

    while (s.n) {
        piece = tb_span_sub(s, 0, AT_OUT_MAX);
        tb_put(at_room(ch, piece.n), piece);
        s = tb_span_sub(s, piece.n, s.n);
    }
}

void at_put_str(struct at_channel *ch, const char *s) {
    at_put(ch, tb_span_str(s));
}

void at_put_uint(struct at_channel *ch, uint64_t n) {
    uint8_t digits[20];
    size_t i = sizeof digits;

    do
        digits[--i] = (uint8_t)('0' + n % 10);
    while (n /= 10);
    at_put(ch, tb_span(digits + i, sizeof digits - i));
}

__attribute__((format(printf, 2, 0))) static void put_formatted(struct at_channel *ch,
                                                                const char *fmt, va_list ap) {
    char text[512];
    int n = vsnprintf(text, sizeof text, fmt, ap);

    if (n > 0)
        at_put(ch, tb_span(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}

void at_printf(struct at_channel *ch, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    put_formatted(ch, fmt, ap);
    va_end(ap);
}

static void put_crlf(struct at_channel *ch) {
    at_put(ch, tb_span((const uint8_t[]){ch->set.s[3], ch->set.s[4]}, 2));
}

void at_info_begin(struct at_channel *ch) {
    if (ch->set.verbose)
        put_crlf(ch);
}

void at_info_end(struct at_channel *ch) {
    put_crlf(ch);
}

void at_info(struct at_channel *ch, const char *fmt, ...) {
    va_list ap;

    at_info_begin(ch);
    va_start(ap, fmt);
    put_formatted(ch, fmt, ap);
    va_end(ap);
    at_info_end(ch);
}

/* ---- Unsolicited ---- */

static bool may_speak(const struct at_channel *ch) {
    if (ch->stalled)
        return false;
    return ch->m->quirks.urc_interleave || (!ch->busy && !at_line_typing(&ch->line));
}

static void speak(struct at_channel *ch) {
    size_t at = 0;

    at_timer_stop(ch->m, &ch->typing);
    while (at < ch->urc_n) {
        at_info(ch, "%s", ch->urc + at);
        at += strlen(ch->urc + at) + 1;
    }
    ch->urc_n = 0;
}

void at_urc_flush(struct at_channel *ch) {
    if (ch->urc_n && may_speak(ch))
        speak(ch);
}

/* The TE stopped in the middle of a line: it has had its time. */
static void typed_too_slowly(void *arg) {
    struct at_channel *ch = arg;

    if (!ch->busy && !ch->stalled)
        speak(ch);
}

void at_urc(struct at_channel *ch, const char *fmt, ...) {
    enum { TYPING_MS = 2000 };
    size_t room = sizeof ch->urc - ch->urc_n;
    va_list ap;
    int n;

    if (!ch->attached)
        return;
    va_start(ap, fmt);
    n = vsnprintf(ch->urc + ch->urc_n, room, fmt, ap);
    va_end(ap);
    if (n < 0 ||
        (size_t)n >=
            room) { /* the TE does not listen: what it has not read stays, the new line is lost */
        ch->m->counters.urcs_dropped++;
        return;
    }
    ch->urc_n += (size_t)n + 1;
    if (may_speak(ch))
        speak(ch);
    else if (!ch->busy && !ch->stalled && !ch->typing.armed)
        at_timer_start(ch->m, &ch->typing, TYPING_MS, typed_too_slowly, ch);
}
