#include "model.h"

#include "simcard/card.h"

const struct bench_field bench_fields[BENCH_FIELDS] = {
    {"se-fast, usb, lte-m", TB_CARD_SE_FAST, TB_UART_USB, TB_RADIO_LTE_M},
    {"uicc-mid, 115k, lte-m", TB_CARD_UICC_MID, TB_UART_115K, TB_RADIO_LTE_M},
    {"sim-slow, 115k, nb-iot-good", TB_CARD_SIM_SLOW, TB_UART_115K, TB_RADIO_NB_IOT_GOOD},
    {"sim-slow, 9k6, nb-iot-deep", TB_CARD_SIM_SLOW, TB_UART_9K6, TB_RADIO_NB_IOT_DEEP},
};

static void count(const struct bench_device *d, uint64_t ops[TB_CARD_OPS]) {
    struct card_counters c;

    card_counters(d->card, &c);
    ops[TB_CARD_KEYGEN] = c.keygen;
    ops[TB_CARD_SIGN] = c.sign;
    ops[TB_CARD_VERIFY] = c.verify;
    ops[TB_CARD_ECDH] = c.ecdh;
    ops[TB_CARD_LOAD_PEER] = c.ecdh; /* each has a key of its own */
    ops[TB_CARD_PRF] = c.prf + c.hkdf;
    ops[TB_CARD_RANDOM] = c.random;
    ops[TB_CARD_APDU] = c.apdus;
}

void bench_cost_begin(struct bench_device *d, struct bench_cost *c) {
    *c = (struct bench_cost){0};
    count(d, c->ops);
    d->trace = &c->trace;
}

void bench_cost_end(struct bench_device *d, struct bench_cost *c) {
    uint64_t now[TB_CARD_OPS];

    d->trace = NULL;
    count(d, now);
    for (unsigned i = 0; i < TB_CARD_OPS; i++)
        c->ops[i] = now[i] - c->ops[i];
}

struct bench_modelled bench_model(const struct bench_cost *c, const struct bench_field *f) {
    uint64_t card_us = 0;

    for (unsigned i = 0; i < TB_CARD_OPS; i++)
        card_us += c->ops[i] * tb_latency_card_us(f->card, (enum tb_card_op)i);
    return (struct bench_modelled){
        .card_ms = (double)card_us / 1e3,
        .link_ms = (double)c->trace.link_us / 1e3,
        .uart_ms = (double)tb_latency_uart_us(f->uart, c->trace.chars, c->trace.commands) / 1e3,
        .radio_ms =
            (double)tb_latency_radio_us(f->radio, c->round_trips, c->bytes_up, c->bytes_down) /
            1e3};
}
