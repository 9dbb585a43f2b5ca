/* bench concurrency: many handshakes at a time in one thread, each of a device with a card of its
 * own that needs 100 ms for an operation. What the CPU alone allows is the same with cards that
 * need no time, in turns in the same run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bed.h"
#include "bench.h"
#include "client.h"
#include "device.h"
#include "server.h"
#include "sizes.h"

enum {
    SLOW_MS = 100,
    PROMISED_KIB = 256,
    STEPS = 4, /* 1, 10, 100, 1000 */
    MANY = 1000,
    WORKERS = 1,
    PATIENCE_MS = 60000
};
static const double promised_ratio = 0.80;
static const char *const stack_names[] = {"OpenSSL", "Mbed TLS"};

struct session {
    struct bench_device sim;
    struct dev_card *card;
    struct bench_client client;
    struct dev_task task;
    struct crowd *crowd;
    bool once; /* has been connected since the crowd began */
};

/* Sessions under way at the same time. */
struct crowd {
    uv_loop_t loop;
    uv_timer_t clock;
    struct session *all;
    unsigned made, n; /* of all; that take part */
    struct bench_slowness slow;
    struct bench_hist times;
    unsigned warm, running; /* have been connected once; are not over */
    uint64_t handshakes, goal, not_before_ns;
    bool timed_out, leave;
    int result; /* the first failure */
};

/* ---- making ---- */

struct recipe {
    enum dev_stack stack;
    struct bench_factory *factory;
    struct tb_span ca;
    const char *server;
};

struct making {
    const struct recipe *recipe;
    struct session *s;
    struct dev_failure why;
};

static int tls_job(struct dev_task *t, void *arg) {
    const struct iotsafe_ref key = iotsafe_id1(1), certificate = iotsafe_id1(2);
    struct making *m = arg;
    uint8_t *der = NULL;
    size_t n = 0;
    int r = dev_card_read_file(m->s->card, &certificate, &der, &n, &m->why);

    (void)t;
    if (r == 0)
        r = dev_tls_new(&(struct dev_tls_config){.stack = m->recipe->stack,
                                                 .versions = DEV_TLS13,
                                                 .server_name = "localhost",
                                                 .ca = m->recipe->ca,
                                                 .cert = tb_span(der, n),
                                                 .key = &key,
                                                 .card = m->s->card},
                        &m->s->client.tls, &m->why);
    free(der);
    return r;
}

static int make_session(struct crowd *c, const struct recipe *recipe, struct dev_failure *why) {
    struct session *s = &c->all[c->made];
    struct making m = {.recipe = recipe, .s = s};
    struct iotsafe_transport *link;
    struct tb_error e = {0};
    struct card_nvm *nvm;
    int r = bench_factory_make(recipe->factory, c->made, &nvm);

    c->made++; /* what there is of it is unmade */
    if (r == 0)
        r = bench_device_card(&s->sim, nvm);
    if (r == 0)
        r = bench_link_memory(&s->sim, BENCH_DIRECT, &c->slow, &link);
    if (r == 0)
        r = dev_card_new_on(link, NULL, &s->card, &e);
    s->crowd = c;
    s->client.server = recipe->server;
    s->client.times = &c->times;
    if (r == 0)
        r = bench_run_task(&c->loop, tls_job, &m);
    *why = m.why;
    return r;
}

static void crowd_init(struct crowd *c, unsigned most) {
    memset(c, 0, sizeof *c);
    uv_loop_init(&c->loop);
    uv_timer_init(&c->loop, &c->clock);
    c->clock.data = c;
    c->all = calloc(most, sizeof *c->all);
    if (!c->all)
        abort();
}

static void crowd_done(struct crowd *c) {
    for (unsigned i = 0; i < c->made; i++) {
        dev_tls_free(c->all[i].client.tls);
        dev_card_free(c->all[i].card);
        bench_device_done(&c->all[i].sim);
    }
    free(c->all);
    uv_close((uv_handle_t *)&c->clock, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
}

/* ---- running ---- */

static void session_body(struct dev_task *t, void *arg) {
    struct session *s = arg;
    struct crowd *c = s->crowd;

    while (!c->leave) {
        int r = bench_client_once(&s->client, t);

        if (r < 0) {
            if (!c->leave) {
                c->result = c->result ? c->result : r;
            }
            return;
        }
        c->handshakes++;
        if (!s->once) {
            s->once = true;
            c->warm++;
        }
    }
}

static void session_over(struct dev_task *t, void *arg) {
    struct session *s = arg;

    (void)t;
    if (--s->crowd->running == 0)
        uv_stop(&s->crowd->loop);
}

static void begin(struct crowd *c, unsigned n) {
    c->n = n;
    c->leave = false;
    c->warm = c->running = 0;
    c->result = 0;
    for (unsigned i = 0; i < n; i++) {
        struct session *s = &c->all[i];

        s->once = false;
        c->running++;
        if (dev_task_start(&s->task, &c->loop, session_body, session_over, s) < 0)
            abort(); /* out of memory */
    }
}

static void leave(struct crowd *c) {
    c->leave = true;
    c->slow.hold = false;
    for (unsigned i = 0; i < c->n; i++)
        dev_task_cancel(&c->all[i].task);
    while (c->running)
        uv_run(&c->loop, UV_RUN_DEFAULT);
}

static void on_clock(uv_timer_t *timer) {
    struct crowd *c = timer->data;

    c->timed_out = true;
}

/* Runs until done(c), or that many milliseconds. */
static int run_for(struct crowd *c, uint64_t ms, bool (*done)(struct crowd *c)) {
    c->timed_out = false;
    uv_update_time(&c->loop);
    uv_timer_start(&c->clock, on_clock, ms, 0);
    while (!c->timed_out && c->result == 0 && !(done && done(c))) {
        uv_run(&c->loop, UV_RUN_ONCE);
        if (bench_caught_signal())
            c->result = TB_ECLOSED;
    }
    uv_timer_stop(&c->clock);
    if (c->result == 0 && done && !done(c))
        c->result = TB_ETIMEOUT;
    return c->result;
}

static bool all_warm(struct crowd *c) {
    return c->warm == c->n;
}

static bool all_held(struct crowd *c) {
    return c->slow.held == c->n;
}

/* ---- measuring ---- */

/* A row of the table, and what its rounds gave. */
struct row {
    unsigned n, ms;
    char name[48];
    struct bench_hist times;
    struct bench_round rounds[BENCH_MAX_ROUNDS];
};

enum {
    SETTLE_MS = 300, /* everybody gets used to cards of another speed */
    CYCLES = 3,
};

/* A crowd tends to march in step: whole cycles are counted, in each of which everybody is connected
 * once. */
static bool whole_cycles(struct crowd *c) {
    if (c->handshakes < c->goal)
        return false;
    if (tb_clock_mono_ns() >= c->not_before_ns)
        return true;
    c->goal = (c->handshakes / c->n + 1) * c->n;
    return false;
}

static int measure_row(struct crowd *c, const struct bench_options *o, struct row *row,
                       unsigned round) {
    uint64_t ns, self, all;
    int r;

    c->slow.operation_ms = row->ms;
    r = run_for(c, SETTLE_MS + row->ms, NULL);
    bench_hist_clear(&c->times);
    c->handshakes = 0;
    self = bench_cpu_self();
    all = bench_cpu_all();
    ns = tb_clock_mono_ns();
    c->goal = (uint64_t)CYCLES * c->n;
    c->not_before_ns = ns + (uint64_t)(o->seconds * 1e9);
    if (r == 0)
        r = run_for(c, PATIENCE_MS, whole_cycles);
    row->rounds[round] = (struct bench_round){.operations = c->handshakes,
                                              .ns = tb_clock_mono_ns() - ns,
                                              .cpu_self = bench_cpu_self() - self,
                                              .cpu_all = bench_cpu_all() - all};
    bench_hist_merge(&row->times, &c->times);
    return r;
}

/* Two rows, the cards fast and slow in turns, by one crowd. */
static int measure_rows(struct crowd *c, const struct bench_options *o, struct row rows[2]) {
    int r;

    c->slow = (struct bench_slowness){0};
    begin(c, rows[0].n);
    r = run_for(c, PATIENCE_MS, all_warm);
    for (unsigned round = 0; round < o->rounds && r == 0; round++)
        for (unsigned i = 0; i < 2 && r == 0; i++)
            r = measure_row(c, o, &rows[round % 2 ? 1 - i : i], round);
    leave(c);
    return r;
}

/* Slow cards against cards without delay, of as many sessions and in turns with them; and what a
 * handshake costs the CPU at all, against the cheapest, whatever the number of sessions. */
static void tell_table(json_t *report, const struct bench_options *o, const char *stack,
                       struct row *rows, unsigned n) {
    struct bench_variant v[2 * STEPS] = {0};
    double least = 0;
    char title[100];

    for (unsigned i = 0; i < n; i++) {
        bool slow = rows[i].ms > 0;

        v[i] = (struct bench_variant){.name = rows[i].name,
                                      .times = &rows[i].times,
                                      .against = slow ? (int)i - 1 : -1,
                                      .floor = slow && rows[i].n == MANY ? promised_ratio : 0};
        bench_summarise(&v[i], rows[i].rounds, slow ? rows[i - 1].rounds : NULL, o->rounds);
        if (!slow && (least == 0 || v[i].cpu_us < least))
            least = v[i].cpu_us;
    }
    snprintf(title, sizeof title, "%s, TLS 1.3, the key in the card; all sessions in one thread",
             stack);
    bench_report_table(report, title, v, n);
    if (rows[n - 1].n == MANY)
        bench_report_promise(report, least / v[n - 1].cpu_us >= promised_ratio,
                             "%s, %s: the CPU allows at least %.2f of what it does at best", stack,
                             v[n - 1].name, promised_ratio);
}

/* ---- memory, in a process of its own: nobody has used its heap before ---- */

struct memory {
    double idle_kib, waiting_kib; /* per session */
    int result;
};

/* The libraries' tables are no session's: the first one is made, and connected, before. */
static int begin_crowd(struct crowd *c, const struct recipe *recipe, struct dev_failure *why) {
    int r = make_session(c, recipe, why);

    if (r < 0)
        return r;
    begin(c, 1);
    r = run_for(c, PATIENCE_MS, all_warm);
    leave(c);
    return r;
}

static int weigh(struct crowd *c, const struct recipe *recipe, unsigned n, struct memory *ret) {
    struct dev_failure why = {0};
    double before, made, waiting;
    int r = begin_crowd(c, recipe, &why);

    if (r == 0)
        r = bench_private_kib(getpid(), &before);
    for (unsigned i = 0; i < n && r == 0; i++)
        r = make_session(c, recipe, &why);
    if (r == 0)
        r = bench_private_kib(getpid(), &made);
    c->slow.hold = true;
    if (r == 0) {
        begin(c, c->made);
        r = run_for(c, PATIENCE_MS, all_held);
    }
    if (r == 0)
        r = bench_private_kib(getpid(), &waiting);
    if (r == 0)
        *ret = (struct memory){(made - before) / n, (waiting - made) / c->made, 0};
    return r;
}

struct weighing {
    const struct recipe *recipe;
    unsigned n;
};

static void weigh_child(int fd, void *arg) {
    struct weighing *w = arg;
    struct memory m = {0};
    struct crowd c;

    crowd_init(&c, w->n + 1);
    m.result = weigh(&c, w->recipe, w->n, &m);
    dprintf(fd, "%d %f %f\n", m.result, m.idle_kib, m.waiting_kib);
}

static int tell_memory(const struct bench_options *o, json_t *report, const struct recipe *recipe) {
    const char *stack = stack_names[recipe->stack];
    struct weighing w = {recipe, o->sessions};
    struct memory m = {0};
    char line[100], text[100], *rest;
    int r = bench_peer(weigh_child, &w, line, sizeof line);

    if (r < 0)
        return r;
    m.result = (int)strtol(line, &rest, 10);
    m.idle_kib = strtod(rest, &rest);
    m.waiting_kib = strtod(rest, &rest);
    if (rest == line || *rest)
        return TB_EPROTO;
    if (m.result < 0)
        return m.result;
    snprintf(text, sizeof text, "%s: card and device, not connected", stack);
    bench_tell_size(report, text, m.idle_kib);
    snprintf(text, sizeof text, "%s: a session that waits for its card", stack);
    bench_tell_size(report, text, m.waiting_kib);
    bench_report_promise(report, m.idle_kib + m.waiting_kib <= PROMISED_KIB,
                         "%s, %u sessions waiting: at most %d KiB each, card and device included",
                         stack, o->sessions, PROMISED_KIB);
    return 0;
}

/* ---- a stack ---- */

static void name_row(struct row *row, unsigned n, unsigned ms) {
    memset(row, 0, sizeof *row);
    row->n = n;
    row->ms = ms;
    snprintf(row->name, sizeof row->name, "%u session%s, card %u ms", n, n > 1 ? "s" : "", ms);
}

static int measure_crowd(const struct bench_options *o, json_t *report, const struct recipe *recipe,
                         struct crowd *c) {
    static struct row rows[2 * STEPS];
    struct dev_failure why = {0};
    unsigned n_rows = 0;
    int r = begin_crowd(c, recipe, &why);

    while (r == 0 && c->made < o->sessions)
        r = make_session(c, recipe, &why);
    for (unsigned n = 1; n <= o->sessions && r == 0; n *= 10) {
        name_row(&rows[n_rows], n, 0);
        name_row(&rows[n_rows + 1], n, SLOW_MS);
        bench_progress(n_rows / 2, STEPS);
        r = measure_rows(c, o, &rows[n_rows]);
        n_rows += 2;
    }
    bench_progress(0, 0);
    if (r == 0)
        tell_table(report, o, stack_names[recipe->stack], rows, n_rows);
    else if (*why.reason)
        fprintf(stderr, "iot-bench: %s\n", why.reason);
    return r;
}

static int measure_stack(const struct bench_options *o, json_t *report,
                         const struct recipe *recipe) {
    struct crowd c;
    int r = tell_memory(o, report, recipe);

    if (r == TB_EPARSE) {
        bench_report_missing(report, stack_names[recipe->stack], "not in this build");
        return 0;
    }
    if (r < 0)
        return r;
    crowd_init(&c, o->sessions + 1);
    r = measure_crowd(o, report, recipe, &c);
    crowd_done(&c);
    return r;
}

int bench_concurrency(const struct bench_options *o, json_t *report) {
    static struct bench_server server;
    static char address[64];
    struct recipe recipe = {.server = address};
    uint8_t *ca = NULL;
    int n, r = bench_factory_new(&recipe.factory);

    if (r == 0)
        r = bench_tls_issue("server", &bench_tls_localhost, &server.files);
    for (unsigned i = 0; i < WORKERS && r == 0; i++) {
        r = bench_peer(bench_server_run, &server, address, sizeof address);
        server.port = bench_port(address);
    }
    if (r == 0) {
        n = i2d_X509(bench_ca()->cert, &ca);
        recipe.ca = tb_span(ca, n > 0 ? (size_t)n : 0);
        bench_size_group("Memory per session, %u sessions in one process", o->sessions);
        for (unsigned i = 0; i < 2 && r == 0; i++) {
            recipe.stack = i ? DEV_MBEDTLS : DEV_OPENSSL;
            if (o->stack == BENCH_STACK_ANY || o->stack == (int)i)
                r = measure_stack(o, report, &recipe);
        }
    }
    OPENSSL_free(ca);
    bench_factory_free(recipe.factory);
    if (r < 0)
        fprintf(stderr, "iot-bench: %s\n", tb_strerror(r));
    return r;
}
