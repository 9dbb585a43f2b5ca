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
    uint64_t handshakes;
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
static int run_for(struct crowd *c, uint64_t ms, bool (*done)(const struct crowd *c)) {
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

static bool all_warm(const struct crowd *c) {
    return c->warm == c->n;
}

static bool all_held(const struct crowd *c) {
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

static int measure_row(struct crowd *c, const struct bench_options *o, struct row *row,
                       unsigned round) {
    uint64_t ns, self, all;
    int r;

    c->slow = (struct bench_slowness){.operation_ms = row->ms};
    begin(c, row->n);
    r = run_for(c, PATIENCE_MS, all_warm);
    bench_hist_clear(&c->times);
    c->handshakes = 0;
    self = bench_cpu_self();
    all = bench_cpu_all();
    ns = tb_clock_mono_ns();
    if (r == 0)
        r = run_for(c, (uint64_t)(o->seconds * 1000), NULL);
    row->rounds[round] = (struct bench_round){.operations = c->handshakes,
                                              .ns = tb_clock_mono_ns() - ns,
                                              .cpu_self = bench_cpu_self() - self,
                                              .cpu_all = bench_cpu_all() - all};
    bench_hist_merge(&row->times, &c->times);
    leave(c);
    return r;
}

/* All sessions wait for their cards at the same time. */
static int tell_memory(struct crowd *c, json_t *report, const char *stack, double idle_kib) {
    double before, after;
    char text[100];
    int r = bench_private_kib(getpid(), &before);

    c->slow = (struct bench_slowness){.hold = true};
    begin(c, c->made);
    if (r == 0)
        r = run_for(c, PATIENCE_MS, all_held);
    if (r == 0)
        r = bench_private_kib(getpid(), &after);
    leave(c);
    if (r < 0)
        return r;
    snprintf(text, sizeof text, "%s: a session that waits for its card", stack);
    bench_tell_size(report, text, (after - before) / c->made);
    bench_report_promise(report, idle_kib + (after - before) / c->made <= PROMISED_KIB,
                         "%s, %u sessions waiting: at most %d KiB each, card and device included",
                         stack, c->made, PROMISED_KIB);
    return 0;
}

static int measure_rows(struct crowd *c, const struct bench_options *o, struct row *rows,
                        unsigned n) {
    int r = 0;

    for (unsigned round = 0; round < o->rounds && r == 0; round++)
        for (unsigned i = 0; i < n && r == 0; i++) {
            bench_progress(round * n + i, o->rounds * n);
            r = measure_row(c, o, &rows[round % 2 ? n - 1 - i : i], round);
        }
    bench_progress(0, 0);
    return r;
}

/* What a crowd of n reaches of what the CPU allows at all: the best that cards without delay did
 * with any number of sessions. */
static void tell_table(json_t *report, const struct bench_options *o, const char *stack,
                       struct row *rows, unsigned n) {
    struct bench_variant v[2 * STEPS] = {0};
    unsigned best = 0;
    char title[100];

    for (unsigned i = 0; i < n; i++) {
        v[i] = (struct bench_variant){.name = rows[i].name, .times = &rows[i].times, .against = -1};
        bench_summarise(&v[i], rows[i].rounds, NULL, o->rounds);
        if (rows[i].ms == 0 && v[i].rate > v[best].rate)
            best = i;
    }
    for (unsigned i = 0; i < n; i++)
        if (rows[i].ms) {
            v[i].against = (int)best;
            v[i].floor = rows[i].n == 1000 ? promised_ratio : 0;
            bench_summarise(&v[i], rows[i].rounds, rows[best].rounds, o->rounds);
        }
    snprintf(title, sizeof title, "%s, TLS 1.3, the key in the card; all sessions in one thread",
             stack);
    bench_report_table(report, title, v, n);
}

static int measure_stack(const struct bench_options *o, json_t *report, struct recipe *recipe) {
    const char *stack = stack_names[recipe->stack];
    static struct row rows[2 * STEPS];
    struct dev_failure why = {0};
    unsigned n_rows = 0;
    struct crowd c;
    double before = 0, made = 0;
    char text[100];
    int r;

    crowd_init(&c, o->sessions + 1);
    r = make_session(&c, recipe, &why); /* the libraries' tables are no session's */
    if (r < 0) {
        bench_report_missing(report, stack, why.reason);
        crowd_done(&c);
        return 0;
    }
    c.slow.operation_ms = 0;
    begin(&c, 1);
    r = run_for(&c, PATIENCE_MS, all_warm);
    leave(&c);
    if (r == 0)
        r = bench_private_kib(getpid(), &before);
    while (r == 0 && c.made < o->sessions)
        r = make_session(&c, recipe, &why);
    if (r == 0)
        r = bench_private_kib(getpid(), &made);
    made = c.made > 1 ? (made - before) / (c.made - 1) : 0;
    snprintf(text, sizeof text, "%s: card and device, not connected", stack);
    bench_tell_size(report, text, made);
    if (r == 0)
        r = tell_memory(&c, report, stack, made);
    memset(rows, 0, sizeof rows);
    for (unsigned n = 1; n <= o->sessions && n_rows < 2 * STEPS; n *= 10)
        for (unsigned slow = 0; slow < 2; slow++) {
            struct row *row = &rows[n_rows++];

            row->n = n;
            row->ms = slow * SLOW_MS;
            snprintf(row->name, sizeof row->name, "%u session%s, card %u ms", n, n > 1 ? "s" : "",
                     row->ms);
        }
    if (r == 0)
        r = measure_rows(&c, o, rows, n_rows);
    if (r == 0)
        tell_table(report, o, stack, rows, n_rows);
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
        printf("\nMemory, %u sessions in one process\n", o->sessions);
        for (recipe.stack = DEV_OPENSSL; recipe.stack <= DEV_MBEDTLS && r == 0; recipe.stack++)
            r = measure_stack(o, report, &recipe);
    }
    OPENSSL_free(ca);
    bench_factory_free(recipe.factory);
    if (r < 0)
        fprintf(stderr, "iot-bench: %s\n", tb_strerror(r));
    return r;
}
