/* What AT ports and packet service cost, by profile: names in, accounts out. */
#include <stdio.h>

#include "app.h"
#include "tb/cli.h"

static int find(const char *what, const char *const *names, const char *text, struct tb_error *e) {
    int i = tb_latency_find(names, text);
    const char *near = i < 0 ? tb_nearest(text, names) : NULL;
    char all[128];
    size_t n = 0;

    if (i >= 0)
        return i;
    for (; *names && n < sizeof all; names++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", *names);
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: no '%s'%s%s%s; there are %s", what, text,
                        near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", all);
}

int latency_set(struct app *app, const char *uart, const char *radio, struct tb_error *e) {
    int u = uart ? find("uart", tb_latency_uart_names, uart, e) : 0;
    int r = u >= 0 && radio ? find("radio", tb_latency_radio_names, radio, e) : 0;

    if (u < 0 || r < 0)
        return TB_EPARSE;
    if (uart)
        app->uart.profile = (enum tb_uart_profile)u;
    if (radio)
        app->radio.profile = (enum tb_radio_profile)r;
    return 0;
}

static json_t *number(uint64_t n) {
    return json_integer((json_int_t)n);
}

/* All of a profile's uarts: characters, the modem's own time, the host's pauses. */
static json_t *uart_cost(enum tb_uart_profile p, uint64_t chars, uint64_t commands) {
    const struct tb_uart *u = tb_latency_uart(p);
    json_t *cost = json_object();

    json_object_set_new(cost, "chars", number(tb_latency_uart_chars_us(p, chars)));
    json_object_set_new(cost, "commands", number(commands * u->latency_us));
    json_object_set_new(cost, "pauses", number(commands * u->pause_us));
    json_object_set_new(cost, "total", number(tb_latency_uart_us(p, chars, commands)));
    return cost;
}

static json_t *radio_cost(enum tb_radio_profile p, const struct radio *r) {
    json_t *cost = json_object();

    json_object_set_new(cost, "round_trips", number(tb_latency_radio_us(p, r->round_trips, 0, 0)));
    json_object_set_new(cost, "bytes_up", number(tb_latency_radio_us(p, 0, r->bytes[RADIO_UP], 0)));
    json_object_set_new(cost, "bytes_down",
                        number(tb_latency_radio_us(p, 0, 0, r->bytes[RADIO_DOWN])));
    json_object_set_new(
        cost, "total",
        number(tb_latency_radio_us(p, r->round_trips, r->bytes[RADIO_UP], r->bytes[RADIO_DOWN])));
    return cost;
}

void latency_describe(const struct app *app, json_t *reply) {
    const struct radio *r = &app->radio;
    json_t *uart = json_object(), *radio = json_object();
    json_t *uart_us = json_object(), *radio_us = json_object();
    struct modem_counters c;

    modem_counters(app->modem, &c);
    json_object_set_new(uart, "profile", json_string(tb_latency_uart_names[app->uart.profile]));
    json_object_set_new(uart, "chars_in", number(app->uart.chars_in));
    json_object_set_new(uart, "chars_out", number(app->uart.chars_out));
    json_object_set_new(uart, "commands", number(c.at_lines));
    json_object_set_new(uart, "waited_us", number(app->uart.waited_us));
    for (unsigned p = TB_UART_OFF + 1; p < TB_UART_PROFILES; p++)
        json_object_set_new(uart_us, tb_latency_uart_names[p],
                            uart_cost((enum tb_uart_profile)p,
                                      app->uart.chars_in + app->uart.chars_out, c.at_lines));
    json_object_set_new(uart, "modelled_us", uart_us);

    json_object_set_new(radio, "profile", json_string(tb_latency_radio_names[r->profile]));
    json_object_set_new(radio, "round_trips", number(r->round_trips));
    json_object_set_new(radio, "bytes_up", number(r->bytes[RADIO_UP]));
    json_object_set_new(radio, "bytes_down", number(r->bytes[RADIO_DOWN]));
    json_object_set_new(radio, "datagrams_up", number(r->datagrams[RADIO_UP]));
    json_object_set_new(radio, "datagrams_down", number(r->datagrams[RADIO_DOWN]));
    json_object_set_new(radio, "lost", number(r->lost));
    json_object_set_new(radio, "resent", number(r->resent));
    json_object_set_new(radio, "waited_us", number(r->waited_us));
    for (unsigned p = TB_RADIO_OFF + 1; p < TB_RADIO_PROFILES; p++)
        json_object_set_new(radio_us, tb_latency_radio_names[p],
                            radio_cost((enum tb_radio_profile)p, r));
    json_object_set_new(radio, "modelled_us", radio_us);

    json_object_set_new(reply, "uart", uart);
    json_object_set_new(reply, "radio", radio);
    json_object_set_new(reply, "seed", json_integer(app->opt.seed));
}
