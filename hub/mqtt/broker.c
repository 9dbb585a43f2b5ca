#include "mqtt/broker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mqtt/broker_config.h"
#include "mqtt/client.h"
#include "tb/child.h"
#include "tb/log.h"
#include "tb/loop.h"

enum {
    RESTART_MIN_MS = 100,
    RESTART_MAX_MS = 5000,
    PROBE_MIN_MS = 2, /* mosquitto needs some ten milliseconds to listen; the wait doubles */
    PROBE_MAX_MS = 500,
    STEADY_MS = 10000, /* who lived that long is started again at once */
    STOP_GRACE_MS = 2000,
};

struct hub_broker {
    uv_loop_t *loop;
    struct hub_broker_config cfg;
    char *program, *dir, *conf, *log_file, *filter;
    struct tb_addr addr;
    struct tb_child *child;
    struct hub_client *client;
    struct tb_deadline wait; /* for the next start, or the next attempt to connect */
    uint64_t started_ms;
    unsigned restart_ms, probe_ms, lives;
    bool up, closing, wait_closed, warned;
};

static void start(struct hub_broker *b);
static void probe(struct hub_broker *b);

static void maybe_gone(struct hub_broker *b) {
    if (!b->closing || b->child || b->client || !b->wait_closed)
        return;
    unlink(b->addr.host); /* mosquitto leaves it behind */
    b->cfg.on_closed(b->cfg.user);
    free(b->program);
    free(b->dir);
    free(b->conf);
    free(b->log_file);
    free(b->filter);
    free(b);
}

static void down(struct hub_broker *b, const char *why) {
    if (!b->up)
        return;
    b->up = false;
    b->lives++;
    if (!b->closing)
        b->cfg.on_down(b, why, b->cfg.user);
}

static void on_client_up(void *user) {
    struct hub_broker *b = user;

    b->up = true;
    b->warned = false;
    b->probe_ms = PROBE_MIN_MS;
    b->cfg.on_up(b, b->cfg.user);
}

static void on_client_closed(int why, void *user) {
    struct hub_broker *b = user;

    b->client = NULL;
    down(b, tb_strerror(why));
    if (b->closing)
        maybe_gone(b);
    else if (b->child) { /* not listening yet, or it threw us out */
        if (b->probe_ms == PROBE_MAX_MS && !b->warned) {
            b->warned = true;
            tb_warn("broker", "%s runs, but does not serve %s yet: %s", b->program, b->addr.host,
                    tb_strerror(why));
        }
        tb_deadline_start(&b->wait, b->probe_ms);
        b->probe_ms = 2 * b->probe_ms > PROBE_MAX_MS ? PROBE_MAX_MS : 2 * b->probe_ms;
    }
}

static void on_client_message(struct tb_span topic, struct tb_span payload, bool retained,
                              void *user) {
    struct hub_broker *b = user;

    if (!b->closing)
        b->cfg.on_message(topic, payload, retained, b->cfg.user);
}

static const struct hub_client_ops client_ops = {on_client_up, on_client_message, on_client_closed};

static void probe(struct hub_broker *b) {
    int err = hub_client_open(b->loop, &b->addr, b->filter, &client_ops, b, &b->client);

    if (err < 0)
        on_client_closed(err, b);
}

static void schedule_start(struct hub_broker *b) {
    if (tb_clock_mono_ms() - b->started_ms > STEADY_MS)
        b->restart_ms = RESTART_MIN_MS;
    tb_deadline_start(&b->wait, b->restart_ms);
    b->restart_ms = 2 * b->restart_ms > RESTART_MAX_MS ? RESTART_MAX_MS : 2 * b->restart_ms;
}

static void on_child_exit(struct tb_child *c, int status, void *user) {
    struct hub_broker *b = user;

    (void)c;
    b->child = NULL;
    if (b->closing) {
        maybe_gone(b);
        return;
    }
    tb_warn("broker", "%s ended with status %d, next start in %u ms", b->program, status,
            b->restart_ms);
    down(b, "the broker's process has ended");
    if (b->client)
        hub_client_close(b->client);
    schedule_start(b);
}

static const struct tb_child_ops child_ops = {NULL, on_child_exit};

static void start(struct hub_broker *b) {
    const char *const argv[] = {b->program, "-c", b->conf, NULL};
    const struct tb_child_spec spec = {
        .name = "broker", .argv = argv, .log_file = b->log_file, .ready_fd = -1, .stdin_fd = -1};
    int err;

    unlink(b->addr.host);
    b->started_ms = tb_clock_mono_ms();
    err = tb_child_start(b->loop, &spec, &child_ops, b, &b->child);
    if (err < 0) {
        tb_error_log("broker", "%s cannot be started: %s", b->program, tb_strerror(err));
        b->child = NULL;
        schedule_start(b);
        return;
    }
    b->probe_ms = PROBE_MIN_MS;
    tb_deadline_start(&b->wait, b->probe_ms);
}

static void on_wait_over(void *arg) {
    struct hub_broker *b = arg;

    if (!b->child)
        start(b);
    else if (!b->client)
        probe(b);
}

/* Debian keeps mosquitto in /usr/sbin, which is not in everybody's PATH. */
static char *find_program(const char *name) {
    char *path = NULL, *dirs, *dir, *rest;

    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? strdup(name) : NULL;
    if (asprintf(&dirs, "%s:/usr/local/sbin:/usr/sbin", getenv("PATH") ? getenv("PATH") : "") < 0)
        abort();
    for (dir = strtok_r(dirs, ":", &rest); dir; dir = strtok_r(NULL, ":", &rest)) {
        if (asprintf(&path, "%s/%s", dir, name) < 0)
            abort();
        if (access(path, X_OK) == 0)
            break;
        free(path);
        path = NULL;
    }
    free(dirs);
    return path;
}

static char *copy(const char *text) {
    char *s = text ? strdup(text) : NULL;

    if (text && !s)
        abort();
    return s;
}

int hub_broker_open(uv_loop_t *loop, const struct hub_broker_config *cfg, struct hub_broker **ret,
                    struct tb_error *e) {
    struct hub_broker *b;
    char *program = find_program(cfg->program), *socket = NULL;
    int err;

    if (!program)
        return tb_error_set(e, TB_ENOTFOUND, NULL, 0,
                            "there is no program %s: install mosquitto, or name one with --broker",
                            cfg->program);
    if (cfg->socket)
        socket = copy(cfg->socket);
    else if (asprintf(&socket, "%s/mqtt", cfg->dir) < 0)
        abort();
    err = hub_broker_configure(cfg->dir, socket, cfg->max_message, e);
    if (err < 0) {
        free(program);
        free(socket);
        return err;
    }
    b = calloc(1, sizeof *b);
    if (!b || asprintf(&b->conf, "%s/mosquitto.conf", cfg->dir) < 0)
        abort();
    b->loop = loop;
    b->cfg = *cfg;
    b->program = program;
    b->dir = copy(cfg->dir);
    b->log_file = copy(cfg->log_file);
    b->filter = copy(cfg->filter);
    b->addr.is_unix = true;
    snprintf(b->addr.host, sizeof b->addr.host, "%s", socket);
    free(socket);
    b->restart_ms = RESTART_MIN_MS;
    tb_deadline_init(loop, &b->wait, on_wait_over, b);
    start(b);
    *ret = b;
    return 0;
}

bool hub_broker_is_up(const struct hub_broker *b) {
    return b->up;
}

unsigned hub_broker_lives(const struct hub_broker *b) {
    return b->lives;
}

int hub_broker_pid(const struct hub_broker *b) {
    return b->child ? tb_child_pid(b->child) : -1;
}

const struct tb_addr *hub_broker_addr(const struct hub_broker *b) {
    return &b->addr;
}

int hub_broker_publish(struct hub_broker *b, const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg) {
    if (!b->up || !b->client)
        return TB_ESTATE;
    return payload.n > b->cfg.max_message
               ? TB_ERANGE
               : hub_client_publish(b->client, topic, payload, retain, done, arg);
}

static void on_wait_closed(uv_handle_t *h) {
    struct hub_broker *b = h->data;

    b->wait_closed = true;
    maybe_gone(b);
}

void hub_broker_close(struct hub_broker *b) {
    if (b->closing)
        return;
    b->closing = true;
    b->wait.timer.data = b;
    tb_deadline_close(&b->wait, on_wait_closed);
    if (b->client)
        hub_client_close(b->client);
    if (b->child)
        tb_child_stop(b->child, STOP_GRACE_MS);
}
