/* The reader side of vpcd: a card dials in, its connection is its presence. One card at a time;
 * answers come in order and each has a deadline. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "app.h"
#include "tb/log.h"
#include "tb/vpcd.h"

struct reader {
    struct app *app;
    struct tb_listener *listener;
    struct tb_conn *card; /* NULL: the slot is empty */
    struct tb_deadline mute;
    bool waiting; /* for an answer */
    bool mute_open;
};

static void drop_link(struct reader *r, const char *why) {
    struct tb_conn *c = r->card;

    tb_warn("reader", "card link closed: %s", why);
    r->card = NULL;
    r->waiting = false;
    tb_deadline_stop(&r->mute);
    tb_conn_close(c, TB_EPROTO);
}

/* The core hears of it first: an answer that comes now would belong to a command that has ended
 * already, so the link goes down with everything that is still on its way. The card dials again. */
static void on_mute(void *arg) {
    struct reader *r = arg;

    if (!r->card)
        return;
    drop_link(r, "the card did not answer in time");
    modem_card_answer(r->app->modem, TB_SPAN_NONE);
}

static void on_frame(struct reader *r, struct tb_span body) {
    if (!r->waiting) { /* question and answer are out of step: what came next would be taken for
                          another's */
        drop_link(r, "the card sent an answer that nobody asked for");
        modem_card_removed(r->app->modem, "protocol error");
        return;
    }
    r->waiting = false;
    tb_deadline_stop(&r->mute);
    if (body.n < 2) { /* neither an ATR nor an R-APDU; vpcd's reader ejects on an empty one */
        drop_link(r, "its answer has no status word");
        modem_card_answer(r->app->modem, TB_SPAN_NONE);
        return;
    }
    modem_card_answer(r->app->modem, body);
}

void ack_now(int fd) {
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
}

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct reader *r = user;
    struct tb_span in = data, body;

    while (r->card == c && tb_vpcd_next(&in, &body) == 1)
        on_frame(r, body);
    if (r->card != c)
        return data.n;
    if (in.n)
        ack_now(tb_conn_fd(c));
    return data.n - in.n;
}

static void on_closed(int why, void *user) {
    struct reader *r = user;

    if (!r->card)
        return; /* we dropped it, or it was never ours */
    r->card = NULL;
    r->waiting = false;
    tb_deadline_stop(&r->mute);
    tb_info("reader", "card removed");
    modem_card_removed(r->app->modem, tb_strerror(why));
}

static void on_turned_away(int why, void *user) {
    (void)why, (void)user;
}

static size_t ignore(struct tb_conn *c, struct tb_span data, void *user) {
    (void)c, (void)user;
    return data.n;
}

static const struct tb_conn_ops link_ops = {.on_data = on_data, .on_closed = on_closed};
static const struct tb_conn_ops away_ops = {.on_data = ignore, .on_closed = on_turned_away};

static void on_card(struct tb_listener *l, void *user) {
    struct reader *r = user;
    struct tb_conn *c;

    if (r->card) { /* it would take the second card for mute if we let it wait in the queue */
        tb_warn("reader", "the slot is taken: a second card is turned away");
        if (tb_listener_accept(l, &away_ops, r, &c) == 0)
            tb_conn_close(c, 0);
        return;
    }
    if (tb_listener_accept(l, &link_ops, r, &c) < 0)
        return;
    r->card = c;
    tb_info("reader", "card inserted");
    modem_card_inserted(r->app->modem);
}

static void send_frames(struct reader *r, const struct tb_span *pieces, unsigned n, bool answered) {
    if (!r->card)
        return; /* its end is on the way to us */
    if (answered) {
        r->waiting = true;
        if (r->app->opt.card_timeout)
            tb_deadline_start(&r->mute, r->app->opt.card_timeout);
    }
    (void)tb_conn_write(r->card, pieces, n); /* a failure closes the link, which we hear of */
}

void reader_command(struct reader *r, struct tb_span cmd) {
    uint8_t header[2] = {(uint8_t)(cmd.n >> 8), (uint8_t)cmd.n};

    send_frames(r, (struct tb_span[]){tb_span(header, 2), cmd}, 2, true);
}

void reader_power(struct reader *r, enum modem_card_power what) {
    static const uint8_t off[] = {0, 1, TB_VPCD_POWER_OFF};
    static const uint8_t on[] = {0, 1, TB_VPCD_POWER_ON, 0, 1, TB_VPCD_GET_ATR};
    static const uint8_t reset[] = {0, 1, TB_VPCD_RESET, 0, 1, TB_VPCD_GET_ATR};
    struct tb_span s;

    if (what == MODEM_CARD_OFF)
        s = tb_span(off, sizeof off);
    else
        s = what == MODEM_CARD_ON ? tb_span(on, sizeof on) : tb_span(reset, sizeof reset);
    send_frames(r, &s, 1, what != MODEM_CARD_OFF);
}

int reader_start(struct app *app, const struct tb_addr *at, struct tb_error *e) {
    struct reader *r = calloc(1, sizeof *r);
    char text[300];
    int err;

    if (!r)
        abort();
    r->app = app;
    app->reader = r;
    err = tb_listener_open(app->uv, at, on_card, r, &r->listener);
    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "cannot listen for cards on %s: %s",
                            tb_addr_str(at, text, sizeof text), tb_strerror(err));
    tb_deadline_init(app->uv, &r->mute, on_mute, r);
    r->mute_open = true;
    return 0;
}

const struct tb_addr *reader_addr(const struct reader *r) {
    return tb_listener_addr(r->listener);
}

void reader_stop(struct reader *r) {
    struct tb_conn *c;

    if (!r)
        return;
    c = r->card;
    r->card = NULL;
    if (c)
        tb_conn_close(c, 0);
    if (r->listener)
        tb_listener_close(r->listener);
    if (r->mute_open)
        tb_deadline_close(&r->mute, NULL);
    r->mute_open = false;
    r->listener = NULL;
}

void reader_free(struct reader *r) {
    free(r);
}
