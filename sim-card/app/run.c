/* The card as a daemon: engine, store, reader link, control verbs, events, capture. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card_link.h"
#include "commands.h"
#include "fault.h"
#include "latency.h"
#include "simcard/list.h"
#include "tb/apdu.h"
#include "tb/child.h"
#include "tb/cli.h"
#include "tb/ctl.h"
#include "tb/hex.h"
#include "tb/log.h"
#include "tb/loop.h"
#include "tb/trace.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
    struct tb_cli_common common;
    char *store, *vpcd, *listen, *trace, *latency, *link;
    bool removed;
};

static const struct tb_opt opts[] = {
    {"store", 's', "FILE", "The card: its store, made by 'sim-card personalise'", TB_OPT_STRING,
     offsetof(struct options, store), NULL},
    {"vpcd", 0, "ADDR",
     "Dial the reader there (pcscd's vpcd driver, or a modem): host:port or unix:/path",
     TB_OPT_STRING, offsetof(struct options, vpcd), NULL},
    {"listen", 0, "ADDR",
     "Wait there for a reader that dials the card (vpcd's reversed mode); port 0 picks one",
     TB_OPT_STRING, offsetof(struct options, listen), NULL},
    {"removed", 0, NULL, "Start with the card outside the reader; verb 'insert' puts it in",
     TB_OPT_FLAG, offsetof(struct options, removed), NULL},
    {"trace-apdu", 0, "FILE", "Append all APDUs to this pcapng capture (GSMTAP), secrets masked",
     TB_OPT_STRING, offsetof(struct options, trace), NULL},
    {"latency", 0, "PROFILE",
     "Take as long as such a card would: off, se-fast, uicc-mid or sim-slow", TB_OPT_STRING,
     offsetof(struct options, latency), "off"},
    {"link", 0, "TA1", "… and as the contacts would at this rate: off, 11, 94, 95, 96 or 97",
     TB_OPT_STRING, offsetof(struct options, link), "off"},
    {0},
};

static const struct tb_cli cli = {
    .program = "sim-card",
    .doc =
        "A SIM card with the GSMA IoT SAFE applet, behind a virtual smart card reader.\v"
        "Commands:\n"
        "  sim-card [run] --store FILE (--vpcd ADDR | --listen ADDR)   runs a card\n"
        "  sim-card personalise CARD-FILE --store FILE                 makes a card\n"
        "  sim-card inspect --store FILE                               shows what is on a card\n"
        "\n"
        "The card speaks the socket protocol of vsmartcard's vpcd. With --vpcd it connects to a "
        "reader and "
        "reconnects by itself, 50 ms after the first failure and never later than after 2 s. With "
        "--listen it serves one reader at a time. Its state is on the disk before it answers: "
        "killed at any moment, it comes back as after a power cut.\n"
        "\n"
        "Control verbs (--ctl, one JSON object per line): insert, remove, reset, state, counters, "
        "latency, fault, trace.\n"
        "Events: card-linked, card-unlinked, card-reset, card-op, card-fault.\n"
        "\n"
        "Examples:\n"
        "  sim-card personalise factory.card --store card.db --issuer-cert ca.pem --issuer-key "
        "ca.key\n"
        "  sim-card --store card.db --vpcd 127.0.0.1:35963\n"
        "\n"
        "Exit status: 0 ended by SIGTERM or verb 'quit', 1 the card could not start, 2 usage.",
    .opts = opts,
};

struct app {
    struct options opt;
    struct tb_loop *loop;
    struct card_nvm *nvm;
    struct card *card;
    struct card_link *link;
    struct tb_ctl *ctl;
    struct tb_trace *trace;
    struct card_latency latency;
    struct card_faults faults;
    struct card_counters lived;         /* of cards whose power was cut */
    uint64_t wait_us;                   /* for the command that has just run */
    uint8_t masked[2][TB_APDU_MAX_RSP]; /* command and response as they may be captured */
};

#define CARD_COUNTERS(x)                                                                           \
    x(apdus), x(bytes_in), x(bytes_out), x(resets), x(keygen), x(sign), x(verify), x(ecdh),        \
        x(prf), x(hkdf), x(random), x(authenticate), x(refused), x(writes)

/* What the card does. */

/* Operations with keys; the rest would drown them. */
static bool is_crypto(const char *operation) {
    static const char *const crypto[] = {
        "generate-key-pair",
        "compute-signature-update",
        "verify-signature-update",
        "compute-dh",
        "compute-prf",
        "compute-hkdf",
    };

    for (size_t i = 0; i < sizeof crypto / sizeof *crypto; i++)
        if (strcmp(crypto[i], operation) == 0)
            return true;
    return false;
}

static void capture(struct app *a, const struct card_event *event) {
    struct tb_buf command = TB_BUF(a->masked[0]), response = TB_BUF(a->masked[1]);

    card_event_mask(event, &command, &response);
    if (tb_buf_ok(&command) && tb_buf_ok(&response))
        tb_trace_apdu(a->trace, tb_buf_span(&command), tb_buf_span(&response), event->operation);
}

static void on_command(const struct card_event *event, void *user) {
    struct app *a = user;
    char sw[8];

    a->wait_us = card_latency_note(&a->latency, event);
    if (a->trace)
        capture(a, event);
    tb_debug("apdu", "%s channel=%u sw=%04X", event->operation, event->channel, event->sw);
    if (!is_crypto(event->operation) || !tb_ctl_listening(a->ctl))
        return;
    snprintf(sw, sizeof sw, "%04X", event->sw);
    tb_ctl_event(a->ctl, "card-op",
                 json_pack("{s:s, s:s, s:i}", "operation", event->operation, "sw", sw, "channel",
                           (int)event->channel));
}

/* The reader. */

static void on_linked(void *user) {
    struct app *a = user;
    char text[300];

    tb_addr_str(card_link_addr(a->link), text, sizeof text);
    tb_info("link", "in the reader at %s", text);
    tb_ctl_event(a->ctl, "card-linked", json_pack("{s:s}", "reader", text));
}

static void on_unlinked(const char *reason, void *user) {
    struct app *a = user;

    tb_ctl_event(a->ctl, "card-unlinked", json_pack("{s:s}", "reason", reason));
}

static void on_reset(bool cold, void *user) {
    struct app *a = user;

    tb_debug("link", "%s reset", cold ? "cold" : "warm");
    if (tb_ctl_listening(a->ctl))
        tb_ctl_event(a->ctl, "card-reset", json_pack("{s:s}", "kind", cold ? "cold" : "warm"));
}

static void tell_faults(struct app *a, unsigned happened, const char *operation) {
    for (unsigned k = 0; k < CARD_FAULT_KINDS; k++)
        if (happened & 1u << k) {
            tb_info("fault", "%s during %s", card_fault_name(k), operation);
            tb_ctl_event(
                a->ctl, "card-fault",
                json_pack("{s:s, s:s}", "kind", card_fault_name(k), "operation", operation));
        }
}

static int run_command(struct tb_span command, struct tb_buf *rsp, struct card_link_turn *turn,
                       void *user) {
    struct app *a = user;
    const char *operation = a->faults.n ? card_operation(a->card, command) : NULL;
    uint16_t sw;
    int r = 0;

    a->wait_us = 0;
    if (!operation || !card_faults_begin(&a->faults, operation)) {
        r = card_transact(a->card, command, rsp);
        turn->wait_us = a->wait_us;
        return r;
    }
    if (card_faults_skip(&a->faults, &sw))
        tb_put_be16(rsp, sw);
    else
        r = card_transact(a->card, command, rsp);
    turn->wait_us = a->wait_us;
    if (r == 0)
        tell_faults(a, card_faults_end(&a->faults, rsp, turn), operation);
    return r;
}

/* After a power cut nothing is left but what the memory holds. */
static int power_back(struct app *a, struct tb_error *e) {
    struct card_config cfg = {.on_command = on_command, .user = a, .nvm = a->nvm};
    struct card_counters c;
    struct card *card;
    int r;

    if (!a->faults.dead)
        return 0;
    card = card_new(&cfg, &r);
    if (!card)
        return tb_error_set(e, r, NULL, 0, "the card does not start: %s", tb_strerror(r));
    card_counters(a->card, &c);
#define LIVED(name) a->lived.name += c.name
    CARD_COUNTERS(LIVED);
#undef LIVED
    card_link_set_card(a->link, card);
    card_free(a->card);
    a->card = card;
    a->faults.dead = a->faults.dying = false;
    return 0;
}

static void on_link_closed(void *user) {
    struct app *a = user;

    a->link = NULL;
    tb_ctl_close(a->ctl);
}

static const struct card_link_ops link_ops = {.run = run_command,
                                              .on_linked = on_linked,
                                              .on_unlinked = on_unlinked,
                                              .on_reset = on_reset,
                                              .on_closed = on_link_closed};

/* Control verbs. */

static int verb_insert(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    struct app *a = user;
    int r = power_back(a, e);

    (void)call;
    (void)request;
    (void)reply;
    if (r < 0)
        return r;
    r = card_link_insert(a->link);
    return r < 0 ? tb_error_set(e, r, NULL, 0, "cannot listen again: %s", tb_strerror(r)) : 0;
}

static int verb_remove(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                       struct tb_error *e, void *user) {
    struct app *a = user;

    (void)call;
    (void)request;
    (void)reply;
    (void)e;
    card_link_remove(a->link);
    return 0;
}

static int verb_reset(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct app *a = user;
    int r = card_link_replace(a->link);

    (void)call;
    (void)request;
    (void)reply;
    return r < 0 ? tb_error_set(e, r, NULL, 0, "the card is removed: insert it first") : 0;
}

static json_t *open_channels(const struct card *card) {
    uint32_t open = card_channels(card);
    json_t *list = json_array();

    for (int n = 0; n < TB_CHANNELS; n++)
        if (open & UINT32_C(1) << n)
            json_array_append_new(list, json_integer(n));
    return list;
}

static int verb_state(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct app *a = user;
    char iccid[21], atr[2 * CARD_ATR_MAX + 1], reader[300];

    (void)call;
    (void)request;
    (void)e;
    card_iccid(a->card, iccid);
    tb_addr_str(card_link_addr(a->link), reader, sizeof reader);
    json_object_set_new(reply, "iccid", json_string(iccid));
    json_object_set_new(reply, "atr", json_string(tb_hex_str(atr, sizeof atr, card_atr(a->card))));
    json_object_set_new(reply, a->opt.listen ? "listen" : "reader", json_string(reader));
    json_object_set_new(reply, "inserted", json_boolean(card_link_inserted(a->link)));
    json_object_set_new(reply, "linked", json_boolean(card_link_linked(a->link)));
    json_object_set_new(reply, "powered", json_boolean(card_link_powered(a->link)));
    json_object_set_new(reply, "channels", open_channels(a->card));
    json_object_set_new(reply, "tracing", json_boolean(a->trace != NULL));
    json_object_set_new(reply, "faults", card_faults_list(&a->faults));
    json_object_set_new(reply, "faults_fired", json_integer((json_int_t)a->faults.fired));
    return 0;
}

static int verb_fault(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct app *a = user;
    int r = 0;

    (void)call;
    if (json_is_true(json_object_get(request, "clear")))
        card_faults_clear(&a->faults);
    if (json_object_get(request, "kind") || !json_object_get(request, "clear"))
        r = card_faults_add(&a->faults, request, e);
    if (r == 0)
        json_object_set_new(reply, "faults", card_faults_list(&a->faults));
    return r;
}

static int verb_counters(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                         struct tb_error *e, void *user) {
    struct app *a = user;
    struct card_counters c;

    (void)call;
    (void)request;
    (void)e;
    card_counters(a->card, &c);
#define COUNTER(name)                                                                              \
    json_object_set_new(reply, #name, json_integer((json_int_t)(a->lived.name + c.name)))
    CARD_COUNTERS(COUNTER);
#undef COUNTER
    return 0;
}

static int verb_latency(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                        struct tb_error *e, void *user) {
    struct app *a = user;
    const json_t *profile = json_object_get(request, "profile");
    const json_t *link = json_object_get(request, "link");
    int r;

    (void)call;
    if ((profile && !json_is_string(profile)) || (link && !json_is_string(link)))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "profile and link: want a name");
    r = card_latency_set(&a->latency, json_string_value(profile), json_string_value(link), e);
    if (r == 0)
        card_latency_describe(&a->latency, reply);
    return r;
}

static int verb_trace(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user) {
    struct app *a = user;
    const json_t *file = json_object_get(request, "file");
    struct tb_trace *trace = NULL;
    int r;

    (void)call;
    (void)reply;
    if (file && !json_is_string(file) && !json_is_null(file))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "file: want a path, or null to stop");
    if (json_is_string(file)) {
        r = tb_trace_open(json_string_value(file), "sim-card", &trace, e);
        if (r < 0)
            return r;
    }
    tb_trace_close(a->trace);
    a->trace = trace;
    return 0;
}

static const struct tb_ctl_verb verbs[] = {
    {"insert", "put the card into the reader: dials it, or listens for it", verb_insert},
    {"remove", "take the card out; it stays out until 'insert'", verb_remove},
    {"reset", "out and in again: the reader sees a new card", verb_reset},
    {"state", "iccid, atr, reader, inserted, linked, powered, channels, tracing, faults",
     verb_state},
    {"counters", "APDUs, bytes and operations since the start", verb_counters},
    {"latency", "profile, link: be that slow from now on; answers what was modelled", verb_latency},
    {"fault", "kind, operation, after, times …: what goes wrong from now on; clear: nothing does",
     verb_fault},
    {"trace", "file: capture APDUs there (pcapng, appended); null or absent: stop", verb_trace},
    {NULL, NULL, NULL},
};

static void on_quit(void *user) {
    struct app *a = user;

    tb_loop_stop(a->loop, 0);
}

static void on_stop(void *arg) {
    struct app *a = arg;

    card_link_close(
        a->link); /* its end closes the control socket, so that the last events arrive */
}

/* Start and end. */

static bool complain(const struct tb_error *e) {
    if (e->file[0])
        tb_error_log("card", "%s: %s", e->file, e->message);
    else
        tb_error_log("card", "%s", e->message);
    return false;
}

static void usage(const char *text) {
    fprintf(stderr, "sim-card: %s\nTry 'sim-card --help' for more information.\n", text);
    exit(EXIT_USAGE);
}

static void parse_address(const char *text, struct tb_addr *ret) {
    struct tb_error e = {0};

    if (text && tb_addr_parse(text, ret, &e) < 0)
        usage(e.message);
}

static int any_entry(struct tb_span key, struct tb_span value, void *user) {
    (void)key, (void)value, (void)user;
    return 1;
}

static bool open_card(struct app *a) {
    struct card_config cfg = {.on_command = on_command, .user = a};
    struct tb_error e = {0};
    struct stat st;
    int r;

    /* Opening a store makes one when there is none: here that would be a card without anything. */
    if (stat(a->opt.store, &st) < 0 && errno == ENOENT)
        tb_error_set(&e, TB_ENOTFOUND, a->opt.store, 0,
                     "no such card; make one with 'sim-card personalise'");
    else if (st.st_size == 0 && !S_ISDIR(st.st_mode))
        tb_error_set(&e, TB_ESTORE, a->opt.store, 0,
                     "this is no card, it is empty; make one with 'sim-card personalise'");
    if (e.message[0])
        return complain(&e);
    if (card_nvm_sqlite_open(a->opt.store, &a->nvm, &e) < 0)
        return complain(&e);
    if (a->nvm->ops->each(a->nvm, any_entry, NULL) == 0) {
        tb_error_set(&e, TB_ESTORE, a->opt.store, 0,
                     "there is no card in it; make one with 'sim-card personalise'");
        return complain(&e);
    }
    a->nvm = card_nvm_guard_new(a->nvm, card_faults_may_write, &a->faults);
    if (!a->nvm)
        abort();
    cfg.nvm = a->nvm;
    a->card = card_new(&cfg, &r);
    if (!a->card) {
        tb_error_set(&e, r, a->opt.store, 0, "this card does not start: %s%s", tb_strerror(r),
                     r == TB_ESTORE ? "; its store is damaged: put back a copy, or make it anew "
                                      "with 'sim-card personalise --force'"
                                    : "");
        return complain(&e);
    }
    if (a->opt.trace && tb_trace_open(a->opt.trace, "sim-card", &a->trace, &e) < 0)
        return complain(&e);
    return true;
}

static bool start(struct app *a, const struct tb_addr *ctl, const struct tb_addr *reader) {
    enum card_link_mode mode = a->opt.listen ? CARD_LINK_LISTEN : CARD_LINK_DIAL;
    struct tb_error e = {0};
    int r;

    if (tb_ctl_open(tb_loop_uv(a->loop), ctl, "sim-card", verbs, on_quit, a, &a->ctl, &e) < 0)
        return complain(&e);
    if (a->opt.common.event_file && tb_ctl_event_file(a->ctl, a->opt.common.event_file, &e) < 0) {
        tb_ctl_close(a->ctl);
        return complain(&e);
    }
    r = card_link_open(tb_loop_uv(a->loop), a->card, mode, reader, !a->opt.removed, &link_ops, a,
                       &a->link);
    if (r < 0) {
        tb_error_set(&e, r, NULL, 0, "cannot listen at %s: %s", a->opt.listen, tb_strerror(r));
        tb_ctl_close(a->ctl);
        return complain(&e);
    }
    tb_loop_on_stop(a->loop, on_stop, a);
    return true;
}

static void tell_ready(struct app *a) {
    char iccid[21], text[300];
    json_t *line = json_object();
    char *dump;

    card_iccid(a->card, iccid);
    json_object_set_new(line, "iccid", json_string(iccid));
    if (a->opt.common.ctl)
        json_object_set_new(line, "ctl",
                            json_string(tb_addr_str(tb_ctl_addr(a->ctl), text, sizeof text)));
    if (a->opt.listen)
        json_object_set_new(line, "listen",
                            json_string(tb_addr_str(card_link_addr(a->link), text, sizeof text)));
    dump = json_dumps(line, JSON_COMPACT);
    tb_ready_tell((int)a->opt.common.ready_fd, dump);
    free(dump);
    json_decref(line);
    tb_info("card", "card %s is ready", iccid);
}

int card_command_run(int argc, char **argv) {
    static struct app app; /* large, and there is one card in a process of this program */
    struct app *a = &app;
    struct tb_addr ctl, reader;
    struct tb_error e = {0};
    int code = EXIT_FAILED;

    tb_cli_parse(&cli, argc, argv, &a->opt, NULL);
    if (!a->opt.store)
        usage("--store is missing");
    if (!a->opt.vpcd == !a->opt.listen)
        usage("want either --vpcd or --listen");
    if (card_latency_set(&a->latency, a->opt.latency, a->opt.link, &e) < 0)
        usage(e.message);
    parse_address(a->opt.common.ctl, &ctl);
    parse_address(a->opt.vpcd ? a->opt.vpcd : a->opt.listen, &reader);
    if (tb_log_setup(a->opt.common.log_level, strcmp(a->opt.common.log_format, "json") == 0, &e) <
        0)
        usage(e.message);
    a->loop = tb_loop_new(true);
    if (open_card(a) && start(a, a->opt.common.ctl ? &ctl : NULL, &reader)) {
        tell_ready(a);
        code = tb_loop_run(a->loop);
    } else {
        tb_loop_stop(a->loop, EXIT_FAILED);
        (void)tb_loop_run(a->loop);
    }
    tb_trace_close(a->trace);
    card_free(a->card);
    card_nvm_free(a->nvm);
    tb_cli_done(&cli, &a->opt);
    return code;
}
