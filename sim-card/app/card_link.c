#include "card_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tb/apdu.h"
#include "tb/log.h"
#include "tb/loop.h"
#include "tb/vpcd.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, WAITING_MAX = 16 };

/* A reader that came while another one is served: its bytes are kept until its turn. */
struct waiter {
    struct card_link *link;
    struct tb_conn *conn;
    bool dismissed; /* being closed */
    struct waiter *next;
};

struct card_link {
    uv_loop_t *loop;
    struct card *card;
    const struct card_link_ops *ops;
    void *user;
    enum card_link_mode mode;
    struct tb_addr addr;

    bool inserted, closing, powered;
    bool warned; /* that the reader cannot be reached: once per outage */
    struct tb_connect *dialing;
    struct tb_listener *listener;
    struct waiter *waiting; /* first come, first served */
    struct tb_conn *conn;   /* until its on_closed() */
    bool replacing;         /* conn is being closed in order to come back at once */
    struct tb_deadline retry;
    unsigned timers_closed;
    uv_timer_t busy; /* while a command's end is held back; the card's own time, never scaled */
    size_t answer;   /* bytes of it in out, after the header; 0: no command is under way */
    struct card_link_turn turn; /* of that command */
    uint64_t answer_ns;         /* when it may end */
    const char *gone;           /* why the card has left the reader; NULL: it was told to */
    unsigned backoff_ms;
    uint8_t out[TB_VPCD_HEADER +
                TB_VPCD_MAX]; /* one reply frame: header and body go out in one write */
};

/* Without an answer from us the reader's kernel may hold back its next segment until it sees an ACK
 * (Nagle against delayed ACK, 40 ms). A reply carries the ACK; where no reply follows a read, we
 * ask the kernel to send it now. */
static void ack_now(struct tb_conn *c) {
    int on = 1;

    /* Fails on a Unix socket, which has no such trap. */
    (void)setsockopt(tb_conn_fd(c), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static void reply(struct card_link *l, struct tb_conn *c, size_t n) {
    struct tb_buf header = tb_buf(l->out, TB_VPCD_HEADER);
    struct tb_span frame = tb_span(l->out, TB_VPCD_HEADER + n);

    tb_put_be16(&header, (uint16_t)n);
    /* A negative answer means that the reader took nothing for a megabyte; the connection closes by
     * itself. */
    (void)tb_conn_write(c, &frame, 1);
}

static int power_on(struct card_link *l, bool cold) {
    struct tb_span atr;
    int r = cold || !l->powered ? card_power_on(l->card, &atr) : card_reset(l->card);

    if (r < 0) {
        tb_error_log("link", "the card does not start: %s", tb_strerror(r));
        return r;
    }
    l->powered = true;
    l->ops->on_reset(cold, l->user);
    return 0;
}

static void power_off(struct card_link *l) {
    if (l->powered)
        card_power_off(l->card);
    l->powered = false;
}

static void forget_answer(struct card_link *l) {
    if (l->answer)
        uv_timer_stop(&l->busy);
    l->answer = 0;
}

/* The link breaks while the command is under way: the reader sees at most the beginning of an
 * answer. */
static void vanish(struct card_link *l, struct tb_conn *c, size_t n) {
    struct tb_buf header = tb_buf(l->out, TB_VPCD_HEADER);
    struct tb_span piece = tb_span(l->out, TB_VPCD_HEADER + l->turn.sent);

    if (l->turn.sent) {
        tb_put_be16(&header, (uint16_t)n);
        (void)tb_conn_write(c, &piece, 1);
    }
    l->gone = l->turn.reason;
    card_link_remove(l);
}

/* True when an answer is out. */
static bool end_command(struct card_link *l, struct tb_conn *c, size_t n) {
    if (l->turn.end == CARD_LINK_MUTE) {
        l->answer = n; /* and no timer */
        return false;
    }
    if (l->turn.end == CARD_LINK_GONE) {
        vanish(l, c, n);
        return false;
    }
    reply(l, c, n);
    return true;
}

static void on_busy_end(uv_timer_t *t) {
    struct card_link *l = t->data;
    struct tb_conn *c = l->conn;
    size_t n = l->answer;

    if (tb_clock_mono_ns() < l->answer_ns) { /* the loop's clock is cut to milliseconds */
        uv_timer_start(&l->busy, on_busy_end, 1, 0);
        return;
    }
    l->answer = 0;
    if (end_command(l, c, n))
        tb_conn_resume(c); /* what came meanwhile */
}

static void hold_back(struct card_link *l, size_t n, uint64_t us) {
    l->answer = n;
    l->answer_ns = tb_clock_mono_ns() + us * 1000;
    uv_update_time(l->loop);
    uv_timer_start(&l->busy, on_busy_end, (us + 999) / 1000, 0);
}

/* True when the answer is out already. */
static bool transact(struct card_link *l, struct tb_conn *c, struct tb_span command) {
    struct tb_buf rsp = tb_buf(l->out + TB_VPCD_HEADER, TB_VPCD_MAX);
    int r;

    if (!l->powered) {
        /* Card emulators of the field answer all the same, and readers have been written against
         * them. */
        tb_debug("link", "command without power: switching on");
        (void)power_on(l, true);
    }
    l->turn = (struct card_link_turn){0};
    r = l->ops->run(command, &rsp, &l->turn, l->user);
    if (r < 0 || rsp.n == 0) {
        /* A reply of length 0 would make the reader eject the card: whatever happens, a status word
         * goes out. */
        tb_error_log("link", "the card failed on a command: %s", tb_strerror(r));
        rsp.n = 0;
        tb_put_be16(&rsp, TB_SW_UNKNOWN);
    }
    if (!l->turn.wait_us)
        return end_command(l, c, rsp.n);
    hold_back(l, rsp.n, l->turn.wait_us);
    return false;
}

static void send_atr(struct card_link *l, struct tb_conn *c) {
    struct tb_span atr = card_atr(l->card);
    struct tb_buf body = tb_buf(l->out + TB_VPCD_HEADER, TB_VPCD_MAX);

    tb_put(&body, atr);
    reply(l, c, body.n);
}

/* True when the frame was answered. */
static bool on_frame(struct card_link *l, struct tb_conn *c, struct tb_span body) {
    if (body.n > 1)
        return transact(l, c, body);
    if (body.n == 0)
        return false; /* means nothing on the way from reader to card */
    forget_answer(l); /* here it can only be a frame that ends the command */
    switch (body.p[0]) {
    case TB_VPCD_POWER_ON:
        (void)power_on(l, true);
        return false;
    case TB_VPCD_POWER_OFF:
        power_off(l);
        return false;
    case TB_VPCD_RESET:
        (void)power_on(l, false);
        return false;
    case TB_VPCD_GET_ATR:
        send_atr(l, c);
        return true;
    default:
        tb_debug("link", "unknown control frame %02X ignored", body.p[0]);
        return false;
    }
}

/* A card that computes sees its supply and its reset line, nothing else. */
static bool may_interrupt(struct tb_span body) {
    return body.n == 1 && (body.p[0] == TB_VPCD_POWER_ON || body.p[0] == TB_VPCD_POWER_OFF ||
                           body.p[0] == TB_VPCD_RESET);
}

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct card_link *l = user;
    struct tb_span in = data, next = data, body;
    bool answered = false;

    while (l->inserted && tb_vpcd_next(&next, &body) > 0) {
        if (!l->answer || may_interrupt(body))
            answered = on_frame(l, c, body);
        else if (l->turn.end != CARD_LINK_MUTE) /* to whom a card is mute, it is deaf as well */
            break;
        in = next;
    }
    if (!l->inserted)
        return data.n; /* it is being closed */
    if (l->answer && in.n > TB_VPCD_HEADER + TB_VPCD_MAX)
        tb_conn_pause(c); /* enough for now; less than this, and the reader's end is still seen */
    if (!answered || in.n > 0)
        ack_now(c);
    else
        l->backoff_ms = BACKOFF_MIN_MS; /* this was a reader: when it goes, look for it soon */
    return data.n - in.n;
}

static void finish_close(struct card_link *l) {
    if (!l->closing || l->conn || l->dialing || l->waiting || l->timers_closed < 2)
        return;
    l->ops->on_closed(l->user);
    free(l);
}

static void linked(struct card_link *l, struct tb_conn *c);
static void dial(struct card_link *l);

/* The reader that has waited longest gets the card. */
static void serve_next(struct card_link *l) {
    struct waiter **at = &l->waiting, *w;

    while (*at && (*at)->dismissed)
        at = &(*at)->next;
    w = *at;
    if (!w)
        return;
    *at = w->next;
    linked(l, w->conn);
    free(w);
}

/* The next attempt to have a reader, unless the card is out. */
static void come_back(struct card_link *l) {
    bool at_once = l->replacing;

    l->replacing = false;
    if (l->closing || !l->inserted)
        return;
    if (l->mode == CARD_LINK_LISTEN) {
        serve_next(l);
    } else if (at_once) {
        dial(l);
    } else {
        tb_deadline_start(&l->retry, l->backoff_ms);
        l->backoff_ms = l->backoff_ms * 2 < BACKOFF_MAX_MS ? l->backoff_ms * 2 : BACKOFF_MAX_MS;
    }
}

static void on_conn_closed(int why, void *user) {
    struct card_link *l = user;
    const char *reason = "card reset";

    if (why)
        reason = tb_strerror(why);
    else if (l->closing)
        reason = "card stopped";
    else if (l->gone)
        reason = l->gone;
    else if (!l->inserted)
        reason = "card removed";
    l->gone = NULL;
    l->conn = NULL;
    forget_answer(l);
    power_off(l);
    tb_info("link", "reader lost: %s", reason);
    l->ops->on_unlinked(reason, l->user);
    come_back(l);
    finish_close(l);
}

static const struct tb_conn_ops conn_ops = {.on_data = on_data, .on_closed = on_conn_closed};

static void linked(struct card_link *l, struct tb_conn *c) {
    l->conn = c;
    l->warned = false;
    tb_conn_set_ops(c, &conn_ops, l);
    l->ops->on_linked(l->user);
    tb_conn_resume(c);
}

static size_t on_waiting_data(struct tb_conn *c, struct tb_span data, void *user) {
    (void)c;
    (void)data;
    (void)user;
    return 0;
}

static void on_waiting_closed(int why, void *user) {
    struct waiter *w = user, **at = &w->link->waiting;
    struct card_link *l = w->link;

    (void)why;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    free(w);
    finish_close(l);
}

static const struct tb_conn_ops waiting_ops = {.on_data = on_waiting_data,
                                               .on_closed = on_waiting_closed};

static void dismiss_waiting(struct card_link *l) {
    for (struct waiter *w = l->waiting; w; w = w->next) {
        w->dismissed = true;
        tb_conn_close(w->conn, 0);
    }
}

static void no_reader(struct card_link *l, int why) {
    char text[300];

    if (!l->warned && why != UV_ECANCELED)
        tb_info("link", "no reader at %s yet (%s); waiting for it",
                tb_addr_str(&l->addr, text, sizeof text), tb_strerror(why));
    l->warned = true;
    come_back(l);
}

static void on_connected(int status, struct tb_conn *c, void *user) {
    struct card_link *l = user;

    l->dialing = NULL;
    if (status < 0) {
        no_reader(l, status);
        finish_close(l);
        return;
    }
    linked(l, c);
    if (l->closing || !l->inserted)
        tb_conn_close(c, 0);
}

static void dial(struct card_link *l) {
    int r;

    if (l->dialing || l->conn)
        return; /* on its way; come_back() follows */
    r = tb_conn_connect(l->loop, &l->addr, &conn_ops, l, on_connected, &l->dialing);
    if (r < 0)
        no_reader(l, r);
}

static void on_retry(void *arg) {
    dial(arg);
}

static void on_reader(struct tb_listener *listener, void *user) {
    struct card_link *l = user;
    struct waiter *w = calloc(1, sizeof *w), **at = &l->waiting;
    unsigned ahead = 0;
    int r;

    if (!w)
        abort();
    r = tb_listener_accept(listener, &waiting_ops, w, &w->conn);
    if (r < 0) {
        tb_warn("link", "cannot accept a reader: %s", tb_strerror(r));
        free(w);
        return;
    }
    for (w->link = l; *at; at = &(*at)->next)
        ahead += !(*at)->dismissed;
    *at = w;
    if (!l->conn) {
        serve_next(l);
    } else if (ahead == WAITING_MAX) {
        tb_warn("link", "%u readers wait already: one more is turned away", ahead);
        w->dismissed = true;
        tb_conn_close(w->conn, 0);
    } else {
        tb_info("link", "another reader waits until the present one leaves");
    }
}

static int start_listening(struct card_link *l) {
    int r = tb_listener_open(l->loop, &l->addr, on_reader, l, &l->listener);

    if (r == 0)
        l->addr = *tb_listener_addr(l->listener); /* keep the port for the next time */
    return r;
}

static void stop_listening(struct card_link *l) {
    if (l->listener)
        tb_listener_close(l->listener);
    l->listener = NULL;
    dismiss_waiting(l);
}

int card_link_open(uv_loop_t *loop, struct card *card, enum card_link_mode mode,
                   const struct tb_addr *at, bool inserted, const struct card_link_ops *ops,
                   void *user, struct card_link **ret) {
    struct card_link *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        abort();
    l->loop = loop;
    l->card = card;
    l->mode = mode;
    l->addr = *at;
    l->ops = ops;
    l->user = user;
    l->backoff_ms = BACKOFF_MIN_MS;
    if (mode == CARD_LINK_LISTEN) {
        /* Also when removed: the address is claimed and its port known from the start. */
        r = start_listening(l);
        if (r < 0) {
            free(l);
            return r;
        }
        if (!inserted)
            stop_listening(l);
    }
    tb_deadline_init(loop, &l->retry, on_retry, l);
    uv_timer_init(loop, &l->busy);
    l->busy.data = l;
    l->inserted = inserted;
    if (inserted && mode == CARD_LINK_DIAL)
        dial(l);
    *ret = l;
    return 0;
}

void card_link_remove(struct card_link *l) {
    l->inserted = false;
    l->replacing = false;
    tb_deadline_stop(&l->retry);
    stop_listening(l);
    if (l->dialing)
        tb_conn_cancel(l->dialing);
    if (l->conn)
        tb_conn_close(l->conn, 0);
}

int card_link_insert(struct card_link *l) {
    int r;

    if (l->inserted)
        return 0;
    if (l->mode == CARD_LINK_LISTEN) {
        r = start_listening(l);
        if (r < 0)
            return r;
    }
    l->inserted = true;
    l->backoff_ms = BACKOFF_MIN_MS;
    l->warned = false;
    if (l->mode == CARD_LINK_DIAL) {
        /* A connection that is still closing comes back by itself, and then at once. */
        l->replacing = l->conn != NULL;
        dial(l);
    }
    return 0;
}

int card_link_replace(struct card_link *l) {
    if (!l->inserted)
        return TB_ESTATE;
    if (l->conn) {
        l->replacing = true;
        tb_conn_close(l->conn, 0);
    }
    return 0;
}

void card_link_set_card(struct card_link *l, struct card *card) {
    l->card = card;
    l->powered = false;
}

bool card_link_inserted(const struct card_link *l) {
    return l->inserted;
}

bool card_link_linked(const struct card_link *l) {
    return l->conn != NULL;
}

bool card_link_powered(const struct card_link *l) {
    return l->powered;
}

const struct tb_addr *card_link_addr(const struct card_link *l) {
    return &l->addr;
}

static void on_timer_closed(uv_handle_t *h) {
    struct card_link *l = h->data;

    l->timers_closed++;
    finish_close(l);
}

void card_link_close(struct card_link *l) {
    if (l->closing)
        return;
    card_link_remove(l);
    l->closing = true;
    l->retry.timer.data = l;
    tb_deadline_close(&l->retry, on_timer_closed);
    forget_answer(l);
    uv_close((uv_handle_t *)&l->busy, on_timer_closed);
}
