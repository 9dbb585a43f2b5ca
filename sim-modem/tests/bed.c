#include "bed.h"

#include <stdio.h>
#include <stdlib.h>

#include "tb/hex.h"

const struct bed_pair bed_usim[] = {
    {"00A40004023F0000", "621D8202782183023F00A5038001718A01058B032F0601C606900100830101 9000"},
    {"00A4000C022FE2", "9000"},
    {"00B000000A", "98001032547698103254 9000"},
    {"00A40004022F0000", "620B8205422100260183022F00 9000"},
    {"00B2010426",
     "6118 4F10A0000000871002FFFFFFFF8907090000 5004 5553494D FFFFFFFFFFFFFFFFFFFFFFFF 9000"},
    {"00B2020426", "6A83"},
    {"00A4040410A0000000871002FFFFFFFF890709000000",
     "6216820278218410A0000000871002FFFFFFFF8907090000 9000"},
    {"00A404*", "9000"},
    {"80100000*", "9000"},
    {"00A4000C026F07", "9000"},
    {"00B0000009", "080910101032547698 9000"},
    {"00A4000C026FAD", "9000"},
    {"00B0000004", "00000002 9000"},
    {"00A4000C026F46", "9000"},
    {"00B0000011", "01 5265644F70 FFFFFFFFFFFFFFFFFFFFFF 9000"},
    {"80F2000000", "620482027821 9000"},
    {"80F2010000", "620482027821 9000"},
    {"80F2010C", "9000"},
    {"00A4000C023F00", "9000"},
    {"0070000001", "01 9000"},
    {"007080*", "9000"},
    {"01A404*", "9000"},
    {NULL, NULL},
};

static struct tb_span decode(const char *hex, uint8_t *mem, size_t cap) {
    struct tb_buf b = tb_buf(mem, cap);

    assert_int_equal(tb_hex_decode_loose(tb_span_str(hex), &b), 0);
    return tb_buf_span(&b);
}

/* ---- What the modem calls ---- */

static void card_command(struct tb_span cmd, void *user) {
    struct bed *b = user;
    char *at = b->log + b->log_n;

    assert_false(b->pending);
    assert_true(cmd.n >= 4);
    b->pending = true;
    b->pending_atr = false;
    b->cmd.n = 0;
    tb_put(&b->cmd, cmd);
    b->apdus++;
    tb_hex_str(at, sizeof b->log - b->log_n - 1, cmd);
    b->log_n += strlen(at);
    b->log[b->log_n++] = '\n';
    b->log[b->log_n] = '\0';
    if (b->log_n > sizeof b->log / 2)
        b->log_n = 0;
}

static void card_power(enum modem_card_power what, void *user) {
    struct bed *b = user;

    assert_false(b->pending);
    if (what == MODEM_CARD_OFF) {
        b->offs++;
        return;
    }
    b->resets += what == MODEM_CARD_RESET;
    b->pending = b->pending_atr = true;
}

static void set_timer(uint64_t ms, void *user) {
    struct bed *b = user;

    b->due = ms ? b->now + ms : 0;
}

static uint64_t now_ms(void *user) {
    return ((struct bed *)user)->now;
}

static int64_t wall_ms(void *user) {
    return 1753963200000 + (int64_t)((struct bed *)user)->now; /* 2025-07-31 12:00:00 UTC */
}

static void on_event(const char *name, const char *text, void *user) {
    struct bed *b = user;
    size_t n = strlen(b->events);

    snprintf(b->events + n, sizeof b->events - n, "%s %s\n", name, text);
}

static const struct modem_ops ops = {
    .card_command = card_command,
    .card_power = card_power,
    .set_timer = set_timer,
    .now_ms = now_ms,
    .wall_ms = wall_ms,
    .on_event = on_event,
};

static int port_write(struct tb_span bytes, void *user) {
    struct bed_port *p = user;

    assert_true(p->n + bytes.n < sizeof p->out);
    memcpy(p->out + p->n, bytes.p, bytes.n);
    p->n += bytes.n;
    p->writes++;
    return p->room;
}

static void port_ready(void *user) {
    struct bed_port *p = user;

    p->ready = true;
}

static const struct at_channel_ops port_ops = {.write = port_write, .ready = port_ready};

/* ---- Bench ---- */

struct bed *bed_bare(const struct modem_quirks *q) {
    struct bed *b = calloc(1, sizeof *b);
    struct modem_config cfg = {.quirks = q, .ops = &ops, .user = b};

    assert_non_null(b);
    b->now = 1000;
    b->cmd = TB_BUF(b->cmd_mem);
    b->card = bed_usim;
    b->atr = "3B9F9680B1FE451FC78031E073FE2153494F545341464501B7";
    b->m = modem_new(&cfg, NULL);
    assert_non_null(b->m);
    return b;
}

struct bed_port *bed_attach(struct bed *b, unsigned i, unsigned flags) {
    struct bed_port *p = &b->port[i];
    char name[16];

    snprintf(name, sizeof name, "test#%u", i);
    p->bed = b;
    p->room = 1;
    p->ch = at_channel_new(b->m, name, flags, &port_ops, p);
    assert_non_null(p->ch);
    return p;
}

void bed_insert(struct bed *b) {
    modem_card_inserted(b->m);
    bed_run(b);
}

struct bed *bed_new(const struct modem_quirks *q) {
    struct bed *b = bed_bare(q);

    bed_attach(b, 0, AT_CHANNEL_NO_ECHO);
    bed_insert(b);
    b->apdus = 0;
    b->log_n = 0;
    b->log[0] = '\0';
    b->port[0].n = 0;
    return b;
}

void bed_free(struct bed *b) {
    modem_free(b->m);
    free(b);
}

static const char *find(const struct bed_pair *p, const char *cmd) {
    for (; p && p->cmd; p++) {
        size_t n = strlen(p->cmd);

        if (p->cmd[n - 1] == '*' ? strncmp(p->cmd, cmd, n - 1) == 0 : strcmp(p->cmd, cmd) == 0)
            return p->rsp;
    }
    return NULL;
}

void bed_answer(struct bed *b, const char *hex) {
    uint8_t mem[BED_CMD];

    assert_true(b->pending);
    b->pending = false;
    modem_card_answer(b->m, decode(hex, mem, sizeof mem));
}

void bed_run(struct bed *b) {
    static char cmd[2 * BED_CMD + 1];
    const char *rsp;

    while (b->pending && !b->hold) {
        if (b->pending_atr) {
            bed_answer(b, b->atr);
            continue;
        }
        tb_hex_str(cmd, sizeof cmd, tb_buf_span(&b->cmd));
        rsp = find(b->extra, cmd);
        if (!rsp)
            rsp = find(b->card, cmd);
        bed_answer(b, rsp ? rsp : "6A82");
    }
}

void bed_advance(struct bed *b, uint64_t ms) {
    uint64_t end = b->now + ms;

    while (b->due && b->due <= end) {
        b->now = b->due;
        b->due = 0;
        modem_timer(b->m);
        bed_run(b);
    }
    b->now = end;
}

const char *bed_read(struct bed *b, unsigned i) {
    b->port[i].out[b->port[i].n] = '\0';
    b->port[i].n = 0;
    return b->port[i].out;
}

const char *bed_type(struct bed *b, unsigned i, const char *text, size_t n) {
    size_t taken = at_channel_input(b->port[i].ch, tb_span(text, n));

    assert_int_equal(taken, n);
    bed_run(b);
    return bed_read(b, i);
}

const char *bed_at(struct bed *b, const char *text) {
    return bed_type(b, 0, text, strlen(text));
}

struct modem_quirks bed_quirks(const char *const *pairs) {
    struct modem_quirks q;

    modem_quirks_default(&q);
    for (; *pairs; pairs += 2)
        assert_int_equal(modem_quirks_set(&q, pairs[0], pairs[1]), 0);
    return q;
}
