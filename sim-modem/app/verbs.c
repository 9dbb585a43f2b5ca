/* Control verbs: what a scenario does to the modem from outside. */
#include <string.h>

#include "app.h"

static int state(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                 void *user) {
    struct app *app = user;
    struct modem_status s;

    (void)call, (void)request, (void)e;
    modem_status(app->modem, &s);
    json_object_set_new(reply, "card", json_string(s.card));
    json_object_set_new(reply, "iccid", json_string(s.iccid));
    json_object_set_new(reply, "imsi", json_string(s.imsi));
    json_object_set_new(reply, "registration", json_string(modem_registration_str(s.registration)));
    json_object_set_new(reply, "fun", json_integer(s.fun));
    json_object_set_new(reply, "rssi", json_integer(s.rssi));
    json_object_set_new(reply, "at_channels", json_integer(s.at_channels));
    json_object_set_new(reply, "sessions", json_integer(s.sessions));
    json_object_set_new(reply, "packet_service", json_boolean(s.packet_service));
    return 0;
}

static json_t *data_counters(const struct data_service *s) {
    struct data_counters c;

    data_service_counters(s, &c);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:i}", "clients", (json_int_t)c.clients, "connects",
                     (json_int_t)c.connects, "associations", (json_int_t)c.associations, "refused",
                     (json_int_t)c.refused, "cut", (json_int_t)c.cut, "open", (int)c.open);
}

static int latency(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                   struct tb_error *e, void *user) {
    const json_t *uart = json_object_get(request, "uart"),
                 *radio = json_object_get(request, "radio");
    struct app *app = user;
    int r;

    (void)call;
    if ((uart && !json_is_string(uart)) || (radio && !json_is_string(radio)))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "uart and radio: want a name");
    r = latency_set(app, json_string_value(uart), json_string_value(radio), e);
    if (r == 0)
        latency_describe(app, reply);
    return r;
}

static int counters(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                    struct tb_error *e, void *user) {
    struct app *app = user;
    struct modem_counters c;

    (void)call, (void)request, (void)e;
    modem_counters(app->modem, &c);
    json_object_set_new(reply, "at_lines", json_integer((json_int_t)c.at_lines));
    json_object_set_new(reply, "at_errors", json_integer((json_int_t)c.at_errors));
    json_object_set_new(reply, "apdus_te", json_integer((json_int_t)c.apdus_te));
    json_object_set_new(reply, "apdus_own", json_integer((json_int_t)c.apdus_own));
    json_object_set_new(reply, "card_resets", json_integer((json_int_t)c.card_resets));
    json_object_set_new(reply, "urcs_dropped", json_integer((json_int_t)c.urcs_dropped));
    if (app->data)
        json_object_set_new(reply, "data", data_counters(app->data));
    return 0;
}

static int signal_(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                   struct tb_error *e, void *user) {
    struct app *app = user;
    const json_t *rssi = json_object_get(request, "rssi");

    (void)call, (void)reply;
    if (!json_is_integer(rssi) || json_integer_value(rssi) < 0 || json_integer_value(rssi) > 99 ||
        modem_set_signal(app->modem, (unsigned)json_integer_value(rssi)) < 0)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "rssi is 0..31, or 99 for unknown");
    return 0;
}

static int registration(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    static const char *const names[] = {"none",    "home",    "searching", "denied",
                                        "unknown", "roaming", NULL};
    const char *wanted = json_string_value(json_object_get(request, "state"));
    struct app *app = user;
    int i = 0;

    (void)call, (void)reply;
    while (names[i] && (!wanted || strcmp(names[i], wanted) != 0))
        i++;
    if (!names[i])
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "state is none, home, searching, denied, unknown or roaming");
    modem_set_registration(app->modem, (enum modem_registration)i);
    return 0;
}

static int card_reset(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct app *app = user;

    (void)call, (void)request, (void)reply;
    if (modem_card_reset(app->modem) < 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "there is no powered card");
    return 0;
}

const struct tb_ctl_verb app_verbs[] = {
    {"state", "card, subscriber, registration, radio, open sessions", state},
    {"counters", "lines, errors, APDUs, resets since the start", counters},
    {"latency", "uart, radio: be that slow from now on; answers what was modelled", latency},
    {"signal", "rssi (0..31, 99): what +CSQ and +CESQ say from now on", signal_},
    {"registration", "state (none home searching denied unknown roaming): what the network answers",
     registration},
    {"card-reset", "resets the card warm: sessions and channels end", card_reset},
    {NULL, NULL, NULL},
};
