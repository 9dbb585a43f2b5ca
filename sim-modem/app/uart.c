#include "uart.h"

#include <stdlib.h>
#include <string.h>

#include "tb/loop.h"

enum { OUT_MAX = 1 << 16, NS_PER_US = 1000 };

struct chunk {
    struct chunk *next;
    uint64_t due; /* ns */
    size_t n;
    uint8_t bytes[];
};

struct uart_line {
    struct uart *u;
    const struct uart_ops *ops;
    void *user;
    uv_timer_t rx, tx;
    bool rx_waits;    /* pass characters are on the line */
    bool rx_passes;   /* … have come: the modem may have them */
    size_t pass;      /* of what the caller keeps */
    uint64_t rx_due;  /* ns */
    uint64_t rx_free; /* the direction is busy until then */
    uint64_t tx_free;
    uint64_t pause_end; /* before that the host begins no command */
    size_t echo;        /* characters that come back without cost */
    struct chunk *first, **last;
    size_t queued;
    bool blocked;  /* ops->output is full */
    unsigned open; /* handles */
};

static uint64_t chars_ns(const struct uart_line *l, size_t n) {
    return tb_latency_uart_chars_us(l->u->profile, n) * NS_PER_US;
}

/* Not before due: the loop's clock is cut to milliseconds. */
static void arm(uv_timer_t *t, uv_timer_cb cb, uint64_t due) {
    uint64_t now = tb_clock_mono_ns();

    uv_update_time(t->loop);
    uv_timer_start(t, cb, due > now ? (due - now + 999999) / 1000000 : 0, 0);
}

static bool too_early(uv_timer_t *t, uv_timer_cb cb, uint64_t due) {
    if (tb_clock_mono_ns() >= due)
        return false;
    arm(t, cb, due);
    return true;
}

struct uart_line *uart_line_new(uv_loop_t *loop, struct uart *u, const struct uart_ops *ops,
                                void *user) {
    struct uart_line *l = calloc(1, sizeof *l);

    if (!l)
        abort();
    *l = (struct uart_line){.u = u, .ops = ops, .user = user, .open = 2};
    l->last = &l->first;
    uv_timer_init(loop, &l->rx);
    uv_timer_init(loop, &l->tx);
    l->rx.data = l->tx.data = l;
    return l;
}

static void drop_output(struct uart_line *l) {
    while (l->first) {
        struct chunk *c = l->first;

        l->first = c->next;
        free(c);
    }
    l->last = &l->first;
    l->queued = 0;
}

static void on_timer_closed(uv_handle_t *h) {
    struct uart_line *l = h->data;

    if (--l->open == 0)
        free(l);
}

void uart_line_close(struct uart_line *l) {
    if (!l)
        return;
    drop_output(l);
    uv_close((uv_handle_t *)&l->rx, on_timer_closed);
    uv_close((uv_handle_t *)&l->tx, on_timer_closed);
}

void uart_forget(struct uart_line *l) {
    uv_timer_stop(&l->rx);
    uv_timer_stop(&l->tx);
    drop_output(l);
    l->rx_waits = l->rx_passes = l->blocked = false;
    l->pass = l->echo = 0;
}

/* ---- Towards the modem ---- */

static void on_received(uv_timer_t *t) {
    struct uart_line *l = t->data;

    if (too_early(t, on_received, l->rx_due))
        return;
    l->rx_waits = false;
    l->rx_passes = true;
    l->ops->offer(l->user);
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Characters up to the end of a command are on the line; that one the modem starts after its own
 * time. */
static void receive(struct uart_line *l, struct tb_span bytes) {
    const struct tb_uart *p = tb_latency_uart(l->u->profile);
    const uint8_t *cr = memchr(bytes.p, '\r', bytes.n);
    uint64_t now = tb_clock_mono_ns();

    l->pass = cr ? (size_t)(cr - bytes.p) + 1 : bytes.n;
    l->rx_free = later(now, later(l->rx_free, l->pause_end)) + chars_ns(l, l->pass);
    l->rx_due = l->rx_free;
    if (cr)
        l->rx_due +=
            (uint64_t)NS_PER_US * tb_latency_jitter_us(&l->u->random, p->latency_us, p->jitter_us);
    l->u->waited_us += (l->rx_due - now) / NS_PER_US;
    l->rx_waits = true;
    arm(&l->rx, on_received, l->rx_due);
}

static size_t give(struct uart_line *l, struct tb_span bytes) {
    size_t credit = l->ops->echoes(l->user) ? bytes.n : 0, n;

    l->echo += credit; /* before: the echo comes from inside */
    n = l->ops->input(bytes, l->user);
    if (credit)
        l->echo = l->echo > bytes.n - n ? l->echo - (bytes.n - n) : 0;
    l->u->chars_in += n;
    return n;
}

size_t uart_input(struct uart_line *l, struct tb_span bytes) {
    size_t n = 0;

    if (l->rx_waits)
        return 0;
    if (l->rx_passes) {
        n = give(l, tb_span_sub(bytes, 0, l->pass));
        l->pass -= n;
        l->rx_passes = l->pass > 0;
        if (l->rx_passes || n == bytes.n)
            return n; /* the modem is busy, or has it all */
    }
    if (l->u->profile == TB_UART_OFF)
        return n + give(l, tb_span_sub(bytes, n, bytes.n));
    receive(l, tb_span_sub(bytes, n, bytes.n));
    return n;
}

/* ---- Towards the TE ---- */

static void on_sent(uv_timer_t *t) {
    struct uart_line *l = t->data;

    if (too_early(t, on_sent, l->first->due))
        return;
    while (l->first && !l->blocked && l->first->due <= tb_clock_mono_ns()) {
        struct chunk *c = l->first;

        l->first = c->next;
        if (!l->first)
            l->last = &l->first;
        l->queued -= c->n;
        l->blocked = l->ops->output(tb_span(c->bytes, c->n), l->user) == 0;
        free(c);
    }
    if (l->blocked)
        return;
    if (l->first)
        arm(t, on_sent, l->first->due);
    else
        l->ops->flushed(l->user);
}

int uart_output(struct uart_line *l, struct tb_span bytes) {
    size_t echo = bytes.n < l->echo ? bytes.n : l->echo;
    uint64_t now;
    struct chunk *c;

    l->echo -= echo;
    l->u->chars_out += bytes.n - echo;
    if (l->u->profile == TB_UART_OFF && !l->first)
        return l->ops->output(bytes, l->user);
    c = malloc(sizeof *c + bytes.n);
    if (!c)
        abort();
    now = tb_clock_mono_ns();
    l->tx_free = later(now, l->tx_free) + chars_ns(l, bytes.n - echo);
    l->pause_end = l->tx_free + (uint64_t)NS_PER_US * tb_latency_uart(l->u->profile)->pause_us;
    l->u->waited_us += (l->tx_free - now) / NS_PER_US;
    *c = (struct chunk){.due = l->tx_free, .n = bytes.n};
    memcpy(c->bytes, bytes.p, bytes.n);
    if (!l->first && !l->blocked)
        arm(&l->tx, on_sent, c->due);
    *l->last = c;
    l->last = &c->next;
    l->queued += bytes.n;
    return l->queued < OUT_MAX;
}

bool uart_pending(const struct uart_line *l) {
    return l->first != NULL;
}

void uart_drained(struct uart_line *l) {
    l->blocked = false;
    if (l->first)
        arm(&l->tx, on_sent, l->first->due);
    else
        l->ops->flushed(l->user);
}
