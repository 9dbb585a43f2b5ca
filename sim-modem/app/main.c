/* sim-modem: a cellular modem whose SIM is a card on a vpcd socket. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "tb/child.h"
#include "tb/log.h"

static const struct tb_opt options[] = {
    {"vpcd", 0, "ADDR", "Where cards dial in (we are the vpcd reader)", TB_OPT_STRING,
     offsetof(struct options, vpcd), "127.0.0.1:0"},
    {"at-pty", 0, "LINK", "A pseudo terminal, found under this symbolic link; repeatable",
     TB_OPT_LIST, offsetof(struct options, at_pty), NULL},
    {"at-tcp", 0, "ADDR", "A TCP listener, one AT port per connection; repeatable", TB_OPT_LIST,
     offsetof(struct options, at_tcp), NULL},
    {"at-unix", 0, "PATH", "A Unix socket, one AT port per connection; repeatable", TB_OPT_LIST,
     offsetof(struct options, at_unix), NULL},
    {"model", 'm', "NAME|FILE", "Whose behaviour to show", TB_OPT_STRING,
     offsetof(struct options, model), "generic"},
    {"quirk", 'q', "KEY=VALUE", "One deviation on top of the model; repeatable", TB_OPT_LIST,
     offsetof(struct options, quirk), NULL},
    {"imei", 0, "DIGITS", "15 digits", TB_OPT_STRING, offsetof(struct options, imei), NULL},
    {"data", 0, "ADDR",
     "Packet service for programs: a SOCKS5 proxy there (CONNECT, UDP ASSOCIATE), which works "
     "while "
     "the modem is registered and attached",
     TB_OPT_STRING, offsetof(struct options, data), NULL},
    {"uart", 0, "PROFILE", "How slow the AT ports are: off, usb, uart-115k or uart-9k6",
     TB_OPT_STRING, offsetof(struct options, uart), "off"},
    {"radio", 0, "PROFILE",
     "How slow the packet service is: off, lte-m, nb-iot-good or nb-iot-deep", TB_OPT_STRING,
     offsetof(struct options, radio), "off"},
    {"seed", 0, "N", "Of the jitter and loss of these profiles: same seed, same run", TB_OPT_UINT,
     offsetof(struct options, seed), "1"},
    {"card-timeout", 0, "MS", "A card that takes longer to answer is mute; 0: wait for ever",
     TB_OPT_UINT, offsetof(struct options, card_timeout), "60000"},
    {"trace-apdu", 0, "FILE", "Capture APDUs (pcapng, GSMTAP), secrets zeroed", TB_OPT_STRING,
     offsetof(struct options, trace_apdu), NULL},
    {0},
};

static const struct tb_cli cli = {
    .program = "sim-modem",
    .doc = "A cellular modem in software: AT commands on one side, a SIM card on a vpcd socket on "
           "the other."
           "\vModels: generic csim-only fibocom-fm350 nrf91 quectel-bg95 sequans-gms01q "
           "sierra-mc74 ublox-sara, or a "
           "file of quirks (key = value).",
    .opts = options,
};

/* ---- What the core wants from the world ---- */

static void card_command(struct tb_span cmd, void *user) {
    reader_command(((struct app *)user)->reader, cmd);
}

static void card_power(enum modem_card_power what, void *user) {
    reader_power(((struct app *)user)->reader, what);
}

static void on_timer(uv_timer_t *t) {
    modem_timer(((struct app *)t->data)->modem);
}

static void set_timer(uint64_t ms, void *user) {
    struct app *app = user;

    if (!app->timer_open)
        return;
    if (ms)
        uv_timer_start(&app->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&app->timer);
}

static uint64_t now_ms(void *user) {
    (void)user;
    return tb_clock_mono_ms();
}

static int64_t wall_ms(void *user) {
    (void)user;
    return tb_clock_wall_ms();
}

static void on_apdu(struct tb_span cmd, struct tb_span rsp, const char *origin, void *user) {
    struct app *app = user;

    capture_apdu(app, cmd, rsp, origin);
}

static void on_packet_service(bool attached, void *user) {
    struct app *app = user;

    if (app->data)
        data_service_attach(app->data, attached);
}

void app_event(struct app *app, const char *name, json_t *members) {
    if (app->ctl)
        tb_ctl_event(app->ctl, name, members);
    else /* we are about to end */
        json_decref(members);
}

static void on_event(const char *name, const char *text, void *user) {
    static const char *const members[][2] = {
        {"card-inserted", "iccid"}, {"card-removed", "reason"}, {"registration", "state"}};
    struct app *app = user;
    const char *member = "text";

    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (strcmp(members[i][0], name) == 0)
            member = members[i][1];
    tb_info("modem", "%s %s=%s", name, member, text);
    app_event(app, name, json_pack("{s:s}", member, text));
}

/* ---- Start and stop ---- */

static int open_all(struct app *app, enum endpoint_kind kind, const struct tb_strv *texts,
                    struct tb_error *e) {
    int r = 0;

    for (size_t i = 0; i < texts->n && r == 0; i++)
        r = endpoint_open(app, kind, texts->v[i], e);
    return r;
}

static int make_modem(struct app *app, struct tb_error *e) {
    /* The core builds trace texts only for someone who wants them. */
    static struct modem_ops ops = {
        .card_command = card_command,
        .card_power = card_power,
        .set_timer = set_timer,
        .now_ms = now_ms,
        .wall_ms = wall_ms,
        .on_event = on_event,
        .on_packet_service = on_packet_service,
    };
    struct modem_quirks quirks;
    struct modem_config cfg = {.quirks = &quirks, .imei = app->opt.imei, .ops = &ops, .user = app};
    int r = model_load(app->opt.model, &app->opt.quirk, &quirks, e);

    if (r < 0)
        return r;
    if (app->trace)
        ops.on_apdu = on_apdu;
    app->modem = modem_new(&cfg, &r);
    if (!app->modem && r == TB_ENOMEM)
        abort();
    return app->modem
               ? 0
               : tb_error_set(e, r, NULL, 0, "--imei wants 15 digits, not \"%s\"", app->opt.imei);
}

static int open_data(struct app *app, struct tb_error *e) {
    struct tb_addr at;
    int r;

    if (!app->opt.data)
        return 0;
    r = tb_addr_parse(app->opt.data, &at, e);
    return r < 0 ? r : data_service_open(app->uv, &at, &app->radio, &app->data, e);
}

static void on_quit(void *user) {
    tb_loop_stop(((struct app *)user)->loop, 0);
}

static int open_ctl(struct app *app, struct tb_error *e) {
    struct tb_addr at;
    int r = 0;

    if (app->opt.common.ctl)
        r = tb_addr_parse(app->opt.common.ctl, &at, e);
    if (r == 0)
        r = tb_ctl_open(app->uv, app->opt.common.ctl ? &at : NULL, "sim-modem", app_verbs, on_quit,
                        app, &app->ctl, e);
    if (r == 0 && app->opt.common.event_file)
        r = tb_ctl_event_file(app->ctl, app->opt.common.event_file, e);
    return r;
}

static int start(struct app *app, struct tb_error *e) {
    struct tb_addr vpcd;
    int r = 0;

    if (app->opt.at_pty.n + app->opt.at_tcp.n + app->opt.at_unix.n == 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "nobody could talk to it: give --at-pty, --at-tcp or --at-unix");
    app->uart.random = app->opt.seed;
    radio_init(&app->radio, TB_RADIO_OFF, ~(uint64_t)app->opt.seed);
    r = latency_set(app, app->opt.uart, app->opt.radio, e);
    if (r < 0)
        return r;
    if (app->radio.profile != TB_RADIO_OFF && !app->opt.data)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--radio is for what goes through the packet service: give --data");
    if (app->opt.trace_apdu)
        r = tb_trace_open(app->opt.trace_apdu, "sim-modem", &app->trace, e);
    if (r == 0)
        r = make_modem(app, e);
    if (r == 0)
        r = open_ctl(app, e);
    if (r < 0)
        return r;
    uv_timer_init(app->uv, &app->timer);
    app->timer.data = app;
    app->timer_open = true;
    r = tb_addr_parse(app->opt.vpcd, &vpcd, e);
    if (r == 0)
        r = reader_start(app, &vpcd, e);
    if (r == 0)
        r = open_data(app, e);
    if (r == 0)
        r = open_all(app, ENDPOINT_PTY, &app->opt.at_pty, e);
    if (r == 0)
        r = open_all(app, ENDPOINT_TCP, &app->opt.at_tcp, e);
    if (r == 0)
        r = open_all(app, ENDPOINT_UNIX, &app->opt.at_unix, e);
    return r;
}

static void on_stop(void *arg) {
    struct app *app = arg;

    endpoints_stop(app);
    reader_stop(app->reader);
    data_service_close(app->data);
    app->data = NULL;
    if (app->timer_open)
        uv_close((uv_handle_t *)&app->timer, NULL);
    app->timer_open = false;
    if (app->ctl)
        tb_ctl_close(app->ctl);
    app->ctl = NULL;
}

static void tell_ready(const struct app *app) {
    json_t *ready = json_object();
    char text[300], *line;

    if (tb_ctl_addr(app->ctl))
        json_object_set_new(ready, "ctl",
                            json_string(tb_addr_str(tb_ctl_addr(app->ctl), text, sizeof text)));
    json_object_set_new(ready, "vpcd",
                        json_string(tb_addr_str(reader_addr(app->reader), text, sizeof text)));
    endpoints_describe(app, ready);
    if (app->data)
        json_object_set_new(
            ready, "data",
            json_string(tb_addr_str(data_service_addr(app->data), text, sizeof text)));
    line = json_dumps(ready, JSON_COMPACT);
    tb_info("modem", "ready %s", line);
    if (app->opt.common.ready_fd != UINT_MAX &&
        tb_ready_tell((int)app->opt.common.ready_fd, line) < 0)
        tb_warn("modem", "nobody listens on the ready descriptor");
    free(line);
    json_decref(ready);
}

int main(int argc, char **argv) {
    static struct app app; /* too large for a stack */
    struct tb_error e = {0};
    struct tb_strv args;
    int code, r;

    tb_cli_parse(&cli, argc, argv, &app.opt, &args);
    if (args.n > 0) {
        fprintf(stderr, "sim-modem: \"%s\" is one word too many\n", args.v[0]);
        return 2;
    }
    if (tb_log_setup(app.opt.common.log_level,
                     app.opt.common.log_format && strcmp(app.opt.common.log_format, "json") == 0,
                     &e) < 0) {
        fprintf(stderr, "sim-modem: %s\n", e.message);
        return 2;
    }
    app.loop = tb_loop_new(true);
    app.uv = tb_loop_uv(app.loop);
    tb_loop_on_stop(app.loop, on_stop, &app);
    r = start(&app, &e);
    if (r < 0) {
        if (e.file[0] && e.line)
            fprintf(stderr, "sim-modem: %s:%d: %s\n", e.file, e.line, e.message);
        else if (e.file[0])
            fprintf(stderr, "sim-modem: %s: %s\n", e.file, e.message);
        else
            fprintf(stderr, "sim-modem: %s\n", e.message);
        tb_loop_stop(app.loop, r == TB_EPARSE || r == TB_ENOTFOUND ? 2 : 1);
    } else {
        tell_ready(&app);
    }
    code = tb_loop_run(app.loop);
    modem_free(app.modem);
    endpoints_free(&app);
    reader_free(app.reader);
    tb_trace_close(app.trace);
    tb_cli_done(&cli, &app.opt);
    return code;
}
