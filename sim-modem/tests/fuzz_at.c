/* Fuzz target: TEs, the card and the clock are all in the hands of the input.
 *
 * The first byte picks the model. Then come characters that the TE types, except FE, which is
 * followed by an event: 0 1 the port that types from here on, A n … the card answers with n bytes,
 * C it answers all it is asked with what a good card says, M it goes mute, R I it is removed,
 * inserted, Z it is reset, T n time passes, H the TE hangs up, B D the TE reads slowly, or again, N
 * registration changes. */
#include <assert.h>
#include <stdlib.h>

#include "simmodem/modem.h"

enum { PORTS = 2, EVENT = 0xFE };

struct host {
    struct modem *m;
    struct at_channel *ch[PORTS];
    bool pending, pending_atr;
    uint8_t ins;
    uint64_t now, due;
    int room;
    size_t written;
};

static void card_command(struct tb_span cmd, void *user) {
    struct host *h = user;
    volatile uint8_t sum = 0;

    assert(!h->pending && cmd.n >= 4 && cmd.n <= 65535);
    for (size_t i = 0; i < cmd.n; i++) /* every byte can be read */
        sum = (uint8_t)(sum + cmd.p[i]);
    h->pending = true;
    h->pending_atr = false;
    h->ins = cmd.p[1];
}

static void card_power(enum modem_card_power what, void *user) {
    struct host *h = user;

    assert(!h->pending);
    h->pending = h->pending_atr = what != MODEM_CARD_OFF;
}

static void set_timer(uint64_t ms, void *user) {
    struct host *h = user;

    h->due = ms ? h->now + ms : 0;
}

static uint64_t now_ms(void *user) {
    return ((struct host *)user)->now;
}

static int64_t wall_ms(void *user) {
    return 1700000000000 + (int64_t)((struct host *)user)->now;
}

static void on_apdu(struct tb_span cmd, struct tb_span rsp, const char *origin, void *user) {
    (void)cmd, (void)user;
    assert(rsp.n >= 2 && strlen(origin) < 64);
}

static int te_write(struct tb_span bytes, void *user) {
    struct host *h = user;

    h->written += bytes.n;
    return h->room;
}

static void te_ready(void *user) {
    (void)user;
}

static const struct modem_ops ops = {
    .card_command = card_command,
    .card_power = card_power,
    .set_timer = set_timer,
    .now_ms = now_ms,
    .wall_ms = wall_ms,
    .on_apdu = on_apdu,
};
static const struct at_channel_ops te_ops = {.write = te_write, .ready = te_ready};

static void answer(struct host *h, struct tb_span rsp) {
    if (!h->pending)
        return;
    h->pending = false;
    modem_card_answer(h->m, rsp);
}

static void answer_well(struct host *h) {
    for (int i = 0; h->pending && i < 100; i++) {
        if (h->pending_atr)
            answer(h, TB_BYTES(0x3B, 0x00));
        else if (h->ins == 0x70)
            answer(h, TB_BYTES(0x01, 0x90, 0x00));
        else if (h->ins == 0xB2) /* no more records */
            answer(h, TB_BYTES(0x6A, 0x83));
        else
            answer(h, TB_BYTES(0x08, 0x09, 0x10, 0x10, 0x10, 0x32, 0x54, 0x76, 0x98, 0x90, 0x00));
    }
}

static void pass_time(struct host *h, uint64_t ms) {
    h->now += ms;
    if (h->due && h->due <= h->now) {
        h->due = 0;
        modem_timer(h->m);
    }
}

static void event(struct host *h, unsigned *port, struct tb_span *in) {
    uint8_t what = 0, n = 0;
    struct tb_span data = TB_SPAN_NONE;

    tb_take_u8(in, &what);
    switch (what) {
    case '0':
    case '1':
        *port = what - '0';
        break;
    case 'A':
        tb_take_u8(in, &n);
        data = tb_span_sub(*in, 0, n);
        *in = tb_span_sub(*in, n, in->n);
        answer(h, data);
        break;
    case 'C':
        answer_well(h);
        break;
    case 'M':
        answer(h, TB_SPAN_NONE);
        break;
    case 'R':
        h->pending = false;
        modem_card_removed(h->m, "");
        break;
    case 'I':
        h->pending = false;
        modem_card_inserted(h->m);
        break;
    case 'Z':
        if (modem_card_reset(h->m) < 0)
            break;
        break;
    case 'T':
        tb_take_u8(in, &n);
        pass_time(h, n * 50U);
        break;
    case 'H':
        at_channel_hangup(h->ch[*port]);
        at_channel_attached(h->ch[*port]);
        break;
    case 'B':
        h->room = 0;
        break;
    case 'D':
        h->room = 1;
        for (unsigned i = 0; i < PORTS; i++)
            at_channel_drained(h->ch[i]);
        break;
    case 'N':
        tb_take_u8(in, &n);
        modem_set_registration(h->m, (enum modem_registration)(n % 6));
        break;
    default:
        break;
    }
}

static void type(struct host *h, unsigned port, struct tb_span text) {
    size_t n = at_channel_input(h->ch[port], text);

    assert(n <= text.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size);
    struct host h = {.room = 1, .now = 1};
    struct modem_config cfg = {.ops = &ops, .user = &h};
    struct modem_quirks quirks;
    unsigned port = 0, model;
    uint8_t first = 0;

    tb_take_u8(&in, &first);
    for (model = 0; modem_quirks_names()[model + 1] && model < first % 16U;)
        model++;
    if (modem_quirks_find(modem_quirks_names()[model], &quirks) < 0)
        abort();
    quirks.line_max = 2000; /* long lines are for the unit tests */
    quirks.urc_interleave = first & 0x10;
    quirks.latency_card = first & 0x20 ? 30 : 0;
    quirks.me_ch0_poll = first & 0x40 ? 1 : 0;
    quirks.hangup_keeps_channels = first & 0x80;
    cfg.quirks = &quirks;
    h.m = modem_new(&cfg, NULL);
    for (unsigned i = 0; i < PORTS; i++)
        h.ch[i] = at_channel_new(h.m, i ? "one" : "zero", 0, &te_ops, &h);
    modem_card_inserted(h.m);
    answer_well(&h);
    while (in.n) {
        size_t n = 0;

        while (n < in.n && in.p[n] != EVENT)
            n++;
        type(&h, port, tb_span_sub(in, 0, n));
        in = tb_span_sub(in, n, in.n);
        if (in.n) {
            in = tb_span_sub(in, 1, in.n);
            event(&h, &port, &in);
        }
    }
    at_channel_free(h.ch[1]);
    answer_well(&h);
    modem_free(h.m);
    return 0;
}
