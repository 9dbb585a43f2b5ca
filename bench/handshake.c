/* bench handshake: TLS and DTLS with the secret in a card against the same with the secret in
 * software: stack by version by credential by transport by what else the card does. All else is
 * equal, and checked to be. A handshake counts when the client has read a byte that the server
 * sends after it accepted the client. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "hsbed.h"
#include "model.h"
#include "simcard/card.h"

enum {
    MAX_CASES = N_STACKS * N_VERSIONS * N_CREDENTIALS * N_TRANSPORTS * N_OFFLOADS,
    MAX_GROUP = N_TRANSPORTS * N_OFFLOADS,
    APDUS_SIGN = 5, /* promised when only the secret is in the card */
    COUNTED = 10    /* handshakes of which the cost is told */
};

/* ---- what is wanted ---- */

static void for_all(void (*fn)(const struct bench_case *c, void *arg), void *arg) {
    for (unsigned i = 0; i < MAX_CASES; i++) {
        unsigned rest = i;
        struct bench_case c;

        c.offload = (enum bench_offload)(rest % N_OFFLOADS);
        c.transport = (enum bench_transport)((rest /= N_OFFLOADS) % N_TRANSPORTS);
        c.credential = (enum bench_credential)((rest /= N_TRANSPORTS) % N_CREDENTIALS);
        c.version = (enum bench_version)((rest /= N_CREDENTIALS) % N_VERSIONS);
        c.stack = (enum bench_stack)(rest / N_VERSIONS);
        fn(&c, arg);
    }
}

struct selection {
    struct bench_wanted wanted;
    struct bench_case cases[MAX_CASES];
    size_t n;
    unsigned impossible;
};

static void select_case(const struct bench_case *c, void *arg) {
    struct selection *s = arg;

    s->impossible += bench_case_impossible(c) != NULL;
    if (bench_case_wanted(&s->wanted, c))
        s->cases[s->n++] = *c;
}

static bool same_group(const struct bench_case *a, const struct bench_case *b) {
    return a->stack == b->stack && a->version == b->version && a->credential == b->credential;
}

/* ---- costs ---- */

static int counters(const struct bench_place *p, struct card_counters *ret) {
    json_t *j = NULL;
    int r = 0;

    if (p->sim) {
        card_counters(p->sim->card, ret);
        return 0;
    }
    r = bench_card_counters(p->ctl, &j);
    if (r == 0)
        *ret = (struct card_counters){
            .apdus = (uint64_t)json_integer_value(json_object_get(j, "apdus")),
            .bytes_in = (uint64_t)json_integer_value(json_object_get(j, "bytes_in")),
            .bytes_out = (uint64_t)json_integer_value(json_object_get(j, "bytes_out")),
            .keygen = (uint64_t)json_integer_value(json_object_get(j, "keygen")),
            .sign = (uint64_t)json_integer_value(json_object_get(j, "sign")),
            .verify = (uint64_t)json_integer_value(json_object_get(j, "verify")),
            .ecdh = (uint64_t)json_integer_value(json_object_get(j, "ecdh")),
            .prf = (uint64_t)json_integer_value(json_object_get(j, "prf")),
            .hkdf = (uint64_t)json_integer_value(json_object_get(j, "hkdf")),
            .random = (uint64_t)json_integer_value(json_object_get(j, "random"))};
    json_decref(j);
    return r;
}

/* What one handshake costs on the card's interface, on average. */
struct interface_cost {
    double apdus, to_card, from_card, keygen, sign, verify, ecdh, derive, random;
};

static int count(struct bench_hsclient *h, const struct bench_place *p,
                 struct interface_cost *ret) {
    struct card_counters a = {0}, b = {0};
    int r = counters(p, &a);

    if (r == 0)
        r = bench_hsclient_connect(h, COUNTED);
    if (r == 0)
        r = counters(p, &b);
    if (r < 0)
        return r;
#define PER(field) ((double)(b.field - a.field) / COUNTED)
    *ret = (struct interface_cost){PER(apdus), PER(bytes_in), PER(bytes_out), PER(keygen),
                                   PER(sign),  PER(verify),   PER(ecdh),      PER(prf) + PER(hkdf),
                                   PER(random)};
#undef PER
    return 0;
}

/* What the full sequences of a deployed client take, TLS 1.3 and 1.2: it pins the server's key,
 * where ours has its certificate's signature verified as well, and has its random from elsewhere.
 */
static unsigned apdus_full(const struct bench_case *c) {
    return c->version == VERSION_TLS13 ? 17 : 14;
}

static unsigned apdus_promised(const struct bench_case *c) {
    return c->offload == OFFLOAD_SIGN ? (unsigned)APDUS_SIGN : apdus_full(c);
}

/* The card did what it should have done: software did not take over. */
static bool as_asked(const struct bench_case *c, const struct interface_cost *k) {
    bool cert = c->credential == CREDENTIAL_CERT, full = c->offload == OFFLOAD_FULL;
    bool secret = cert ? k->sign == 1.0 : k->derive >= 1.0;

    return secret && k->keygen == (full ? 1.0 : 0) && k->ecdh == (full ? 1.0 : 0) &&
           (full && cert ? k->verify >= 1.0 : k->verify == 0);
}

static void tell_cost(json_t *report, const struct bench_case *c, const char *name,
                      const struct interface_cost *k) {
    json_t *row =
        json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "name", name, "apdus", k->apdus,
                  "bytes_to_card", k->to_card, "bytes_from_card", k->from_card, "signatures",
                  k->sign, "key_pairs", k->keygen, "verifications", k->verify, "agreements",
                  k->ecdh, "derivations", k->derive, "randoms", k->random);

    for (unsigned i = 0; i < BENCH_AXES; i++)
        json_object_set_new(row, bench_axis_name(i), json_string(bench_axis_value(c, i)));
    json_array_append_new(json_object_get(report, "costs"), row);
    printf("      %-*s %6.1f %8.1f %8.1f %6.1f %5.1f %6.1f %5.1f %6.1f %6.1f\n", BENCH_NAME_MAX,
           name, k->apdus, k->to_card, k->from_card, k->keygen, k->ecdh, k->verify, k->sign,
           k->derive, k->random);
}

static int tell_costs(json_t *report, const char *group, struct bench_hsclient *clients,
                      const struct bench_variant *v, size_t n) {
    bool kept = true;

    printf("  On the card's interface, per handshake once the channel is open\n%*s\n",
           6 + BENCH_NAME_MAX + 65,
           "APDUs  to card     from keygen  ecdh verify  sign derive random");
    for (size_t i = 0; i < n; i++) {
        const struct bench_case *c = clients[i].is;
        struct bench_place *p = bench_hsbed_place(clients[i].bed, c);
        struct interface_cost k = {0};
        int r;

        if (c->transport == TRANSPORT_SOFTWARE)
            continue;
        r = count(&clients[i], p, &k);
        if (r < 0)
            return r;
        tell_cost(report, c, v[i].name, &k);
        if (!as_asked(c, &k)) {
            fprintf(stderr, "iot-bench: %s: %s: the card did not do what it was asked for\n", group,
                    v[i].name);
            return TB_EPROTO;
        }
        if (k.apdus - k.random > apdus_promised(c)) {
            bench_report_promise(report, false, "%s: %s: at most %u APDUs, GET RANDOM apart", group,
                                 v[i].name, apdus_promised(c));
            kept = false;
        }
    }
    if (kept)
        bench_report_promise(report, true,
                             "%s: at most %d APDUs for the secret, %u for full offload, GET RANDOM "
                             "apart",
                             group, APDUS_SIGN, apdus_full(clients->is));
    return 0;
}

/* ---- modelled time ---- */

struct asking {
    struct bench_client *client;
    unsigned long long up, down;
};

/* A handshake of which the server tells the bytes. */
static int ask_job(struct dev_task *t, void *arg) {
    struct asking *a = arg;
    struct dev_failure why = {0};
    struct dev_channel *ch;
    char text[48], *rest;
    int r = bench_client_open(a->client, t, &ch), n = 0;

    if (r < 0)
        return r;
    r = ch->ops->write(ch, "?", 1, &why);
    while (r == 0 && n == 0) {
        n = ch->ops->read(ch, text, sizeof text - 1, &why);
        if (n == UV_EAGAIN) {
            n = 0;
            r = dev_stream_wait(ch->stream, 0, dev_after(10000));
        }
    }
    text[n > 0 ? n : 0] = 0;
    a->up = strtoull(text, &rest, 10);
    a->down = strtoull(rest, &rest, 10);
    if (r == 0 && (rest == text || *rest != '\n'))
        r = TB_EPROTO;
    ch->ops->close(ch, true);
    return r;
}

static int record(struct bench_hsbed *b, const struct bench_case *c, struct bench_cost *ret) {
    static const enum tb_handshake protocols[] = {TB_HANDSHAKE_TLS13, TB_HANDSHAKE_TLS12,
                                                  TB_HANDSHAKE_DTLS12};
    struct bench_device *d = b->recorder.sim;
    struct dev_failure why = {0};
    struct bench_hsclient h;
    struct asking a = {.client = &h.channel};
    int r = bench_hsclient_init(&h, b, c, &b->recorder, &why);

    if (r == 0)
        r = bench_hsclient_connect(&h, 1); /* channel and key are open from here on */
    bench_cost_begin(d, ret);
    if (r == 0)
        r = bench_run_task(&b->loop, ask_job, &a);
    bench_cost_end(d, ret);
    ret->bytes_up = a.up;
    ret->bytes_down = a.down;
    ret->round_trips = tb_latency_round_trips(protocols[c->version], false);
    bench_hsclient_done(&h);
    if (r < 0)
        fprintf(stderr, "iot-bench: modelled time: %s\n", why.reason);
    return r;
}

static void tell_model(json_t *report, const struct bench_case *c, const char *group,
                       const char *name, const struct bench_cost *cost) {
    json_t *row =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:i}", "group", group, "name", name, "uart_chars",
                  (json_int_t)cost->trace.chars, "commands", (json_int_t)cost->trace.commands,
                  "bytes_up", (json_int_t)cost->bytes_up, "bytes_down",
                  (json_int_t)cost->bytes_down, "round_trips", (int)cost->round_trips);
    json_t *profiles = json_array();

    printf("      %-16s", name);
    for (unsigned i = 0; i < BENCH_FIELDS; i++) {
        struct bench_modelled m = bench_model(cost, &bench_fields[i]);

        printf(" %6.0f %5.0f %5.0f %6.0f", m.card_ms, m.link_ms, m.uart_ms, m.radio_ms);
        json_array_append_new(profiles,
                              json_pack("{s:s,s:f,s:f,s:f,s:f}", "profile", bench_fields[i].name,
                                        "card_ms", m.card_ms, "link_ms", m.link_ms, "uart_ms",
                                        m.uart_ms, "radio_ms", m.radio_ms));
    }
    putchar('\n');
    for (unsigned i = 0; i < BENCH_AXES; i++)
        json_object_set_new(row, bench_axis_name(i), json_string(bench_axis_value(c, i)));
    json_object_set_new(row, "profiles", profiles);
    json_array_append_new(json_object_get(report, "modelled"), row);
}

/* What a handshake of this group would cost in the field, AT+CSIM to the modem: by what is in the
 * card. */
static int tell_models(json_t *report, struct bench_hsbed *b, const struct bench_case *group,
                       const char *label) {
    static const char *const names[N_OFFLOADS] = {"software key", "key in the card",
                                                  "full offload"};
    int r = 0;

    printf("  Modelled time in ms: card, its link, UART, radio\n      %-16s", "");
    for (unsigned i = 0; i < BENCH_FIELDS; i++)
        printf("  %-24.24s", bench_fields[i].name);
    putchar('\n');
    for (unsigned o = 0; o < N_OFFLOADS && r == 0; o++) {
        struct bench_case c = *group;
        struct bench_cost cost;

        c.offload = (enum bench_offload)o;
        c.transport = o == OFFLOAD_NONE ? TRANSPORT_SOFTWARE : TRANSPORT_CSIM;
        if (bench_case_impossible(&c))
            continue;
        r = record(b, &c, &cost);
        if (r == 0)
            tell_model(report, &c, label, names[o], &cost);
    }
    return r;
}

/* ---- groups: cases that are compared with one software key ---- */

static double promised_ratio(const struct bench_case *c) {
    if (c->version != VERSION_TLS13 || c->credential != CREDENTIAL_CERT)
        return 0;
    if (c->offload == OFFLOAD_SIGN &&
        (c->transport == TRANSPORT_CSIM || c->transport == TRANSPORT_VPCD))
        return 0.80;
    return c->offload == OFFLOAD_FULL && c->transport == TRANSPORT_CSIM ? 0.50 : 0;
}

static int measure_group(const struct bench_options *o, json_t *report,
                         struct bench_hsclient *clients, const char *label, size_t n) {
    struct bench_variant v[MAX_GROUP] = {0};
    const char *negotiated[MAX_GROUP];
    char names[MAX_GROUP][64];
    int r;

    for (size_t i = 0; i < n; i++)
        v[i] = (struct bench_variant){.name = bench_case_label(clients[i].is, names[i], 64),
                                      .fn = bench_hsclient_connect,
                                      .arg = &clients[i],
                                      .against = i ? 0 : -1,
                                      .floor = promised_ratio(clients[i].is),
                                      .is = clients[i].is,
                                      .times = &clients[i].times};
    r = bench_measure(o, v, n);
    if (r < 0)
        return r;
    bench_report_table(report, label, v, n);
    for (size_t i = 0; i < n; i++)
        negotiated[i] = bench_hsclient_negotiated(&clients[i]);
    r = bench_same("negotiated in each", negotiated, n);
    return r == 0 && n > 1 ? tell_costs(report, label, clients, v, n) : r;
}

static int run_group(const struct bench_options *o, json_t *report, struct bench_hsbed *b,
                     const struct bench_case *cases, size_t n) {
    struct bench_hsclient *clients = calloc(n, sizeof *clients);
    struct dev_failure why = {0};
    char label[96], name[64], text[170];
    size_t made = 0;
    int r = 0;

    if (!clients)
        abort();
    bench_group_label(cases, label, sizeof label);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = bench_hsclient_init(&clients[made], b, &cases[i], NULL, &why);
        if (r == 0) {
            made++;
            continue;
        }
        bench_hsclient_done(&clients[made]);
        if (r == TB_EUNSUP) {
            snprintf(text, sizeof text, "%s: %s", label,
                     bench_case_label(&cases[i], name, sizeof name));
            bench_report_missing(report, text, why.reason);
            r = 0;
        } else {
            fprintf(stderr, "iot-bench: %s: %s\n", label, why.reason);
        }
    }
    if (r == 0 && made)
        r = measure_group(o, report, clients, label, made);
    for (size_t i = 0; i < made; i++)
        bench_hsclient_done(&clients[i]);
    free(clients);
    if (r == 0 && made && cases->stack != STACK_MODULE)
        r = tell_models(report, b, cases, label);
    return r;
}

int bench_handshake(const struct bench_options *o, json_t *report) {
    static struct selection s;
    static struct bench_hsbed bed;
    struct tb_error e = {0};
    int r = 0;

    s.wanted.everything = o->everything;
    if (o->filter)
        r = bench_wanted_parse(&s.wanted, o->filter, &e); /* main has looked at it already */
    for_all(select_case, &s);
    printf("%zu of %u combinations, %u others cannot be\n", s.n, MAX_CASES - s.impossible,
           s.impossible);
    if (r == 0)
        r = bench_hsbed_start(&bed, s.cases, s.n);
    if (r < 0)
        fprintf(stderr, "iot-bench: the peers could not be set up: %s\n", tb_strerror(r));
    for (size_t i = 0, n; i < s.n && r == 0; i += n) {
        for (n = 1; i + n < s.n && same_group(&s.cases[i], &s.cases[i + n]); n++)
            ;
        r = run_group(o, report, &bed, &s.cases[i], n);
    }
    bench_hsbed_stop(&bed);
    return r;
}
