#pragma once
/* What a handshake would cost on real hardware: counted once on a device in memory, then multiplied
 * by the latency profiles. */
#include <jansson.h>

#include "device.h"
#include "tb/latency.h"

struct bench_cost { /* of one handshake */
    struct bench_trace trace;
    uint64_t ops[TB_CARD_OPS]; /* by enum tb_card_op; TB_CARD_APDU: commands */
    uint64_t bytes_up, bytes_down;
    unsigned round_trips;
};

struct card;
/* Starts and ends the counting of what d does; bytes and round trips are the caller's. */
void bench_cost_begin(struct bench_device *d, struct bench_cost *c);
void bench_cost_end(struct bench_device *d, struct bench_cost *c);

/* A device in the field, by profiles of card, UART and radio. */
struct bench_field {
    const char *name;
    enum tb_card_profile card;
    enum tb_uart_profile uart;
    enum tb_radio_profile radio;
};
enum { BENCH_FIELDS = 4 };
extern const struct bench_field bench_fields[BENCH_FIELDS];

struct bench_modelled {
    double card_ms, link_ms, uart_ms, radio_ms;
};
struct bench_modelled bench_model(const struct bench_cost *c, const struct bench_field *f);
