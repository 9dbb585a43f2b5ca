#include "device.h"

#include <string.h>

#include "simcard/card.h"
#include "simmodem/modem.h"
#include "tb/latency.h"

/* ---- a modem without a loop ---- */

static void card_command(struct tb_span cmd, void *user) {
    struct bench_device *d = user;

    d->command_n = (uint16_t)(cmd.n < sizeof d->command ? cmd.n : sizeof d->command);
    memcpy(d->command, cmd.p, d->command_n);
    d->pending = true;
    d->atr = false;
}

static void card_power(enum modem_card_power what, void *user) {
    struct bench_device *d = user;

    d->pending = d->atr = what != MODEM_CARD_OFF;
}

static void set_timer(uint64_t ms, void *user) {
    (void)ms;
    (void)user;
}

static uint64_t now_ms(void *user) {
    (void)user;
    return 0;
}

static int64_t wall_ms(void *user) {
    (void)user;
    return 0;
}

static int te_write(struct tb_span bytes, void *user) {
    struct bench_device *d = user;

    if (d->trace)
        d->trace->chars += bytes.n;
    if (d->te_output)
        d->te_output(bytes, d->te_arg);
    return 1;
}

static void te_ready(void *user) {
    (void)user;
}

static int serve_card(struct bench_device *d) {
    uint8_t room[TB_APDU_MAX_SHORT_RSP];
    int r = 0;

    while (d->pending && r == 0) {
        struct tb_buf rsp = TB_BUF(room);
        struct tb_span answer;

        d->pending = false;
        if (d->atr) {
            r = card_power_on(d->card, &answer);
        } else {
            r = bench_device_exchange(d, tb_span(d->command, d->command_n), &rsp);
            answer = tb_buf_span(&rsp);
        }
        if (r == 0)
            modem_card_answer(d->modem, answer);
    }
    return r;
}

int bench_device_say(struct bench_device *d, struct tb_span text) {
    size_t taken;
    int r;

    if (d->trace) {
        d->trace->commands++;
        d->trace->chars += text.n;
    }
    taken = at_channel_input(d->te, text);
    r = serve_card(d);

    return r < 0 ? r : taken == text.n ? 0 : TB_ESPACE;
}

/* ---- a device ---- */

int bench_device_card(struct bench_device *d, struct card_nvm *nvm) {
    struct tb_span atr;
    int r;

    d->nvm = nvm;
    d->card = card_new(&(struct card_config){.nvm = nvm}, &r);
    return d->card ? card_power_on(d->card, &atr) : r;
}

int bench_device_modem(struct bench_device *d) {
    static const struct modem_ops ops = {.card_command = card_command,
                                         .card_power = card_power,
                                         .set_timer = set_timer,
                                         .now_ms = now_ms,
                                         .wall_ms = wall_ms};
    static const struct at_channel_ops te_ops = {.write = te_write, .ready = te_ready};
    int r = 0;

    d->modem = modem_new(&(struct modem_config){.ops = &ops, .user = d}, &r);
    if (!d->modem)
        return r;
    d->te = at_channel_new(d->modem, "te", 0, &te_ops, d);
    if (!d->te)
        return TB_ENOMEM;
    modem_card_inserted(d->modem);
    return serve_card(d);
}

int bench_device_exchange(struct bench_device *d, struct tb_span cmd, struct tb_buf *rsp) {
    struct tb_apdu a;
    int r = card_transact(d->card, cmd, rsp);

    if (r == 0 && d->trace && tb_apdu_parse(cmd, 0, &a) == 0) {
        d->trace->apdus++;
        d->trace->bytes_to_card += cmd.n;
        d->trace->bytes_from_card += rsp->n;
        d->trace->link_us += tb_latency_link_us(TB_LINK_TA1, TB_LINK_HZ, (uint32_t)a.data.n,
                                                rsp->n > 2 ? (uint32_t)rsp->n - 2 : 0);
    }
    return r;
}

void bench_device_done(struct bench_device *d) {
    modem_free(d->modem); /* and its channel */
    card_free(d->card);
    card_nvm_free(d->nvm);
}
