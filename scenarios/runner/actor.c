#include "actor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scn_actor {
    char *name;
    int source;
    struct scn_events *events;
    struct tb_child *child; /* NULL once the process has ended */
    struct tb_ctl_client *ctl;
    json_t *ready;
    char log[SCN_PATH];
    uv_loop_t *loop;
    const struct scn_actor_ops *ops;
    scn_actor_started_fn *started; /* NULL once called */
    scn_actor_ended_fn *ended;
    void *user, *ended_user;
    bool end_expected, exited;
    int status;
};

char *scn_status_text(int status, char *dst, size_t cap) {
    if (status > 128)
        snprintf(dst, cap, "signal %d, %s", status - 128, strsignal(status - 128));
    else
        snprintf(dst, cap, "exit code %d", status);
    return dst;
}

static void free_actor(struct scn_actor *a) {
    json_decref(a->ready);
    free(a->name);
    free(a);
}

/* The object lives until both the process and its control connection are gone. */
static void maybe_gone(struct scn_actor *a) {
    if (!a->exited || a->ctl)
        return;
    if (a->end_expected) {
        if (a->ended)
            a->ended(a->status, a->ended_user);
    } else {
        a->ops->on_died(a, a->status, a->user);
    }
    free_actor(a);
}

static void tell_started(struct scn_actor *a, int status, const struct tb_error *e) {
    scn_actor_started_fn *fn = a->started;

    a->started = NULL;
    if (fn)
        fn(a, status, a->ready, e, a->user);
}

static void on_event(struct tb_ctl_client *c, const json_t *event, void *user) {
    struct scn_actor *a = user;

    (void)c;
    scn_events_add(a->events, a->source, event);
}

static void on_ctl_closed(int why, void *user) {
    struct scn_actor *a = user;

    (void)why;
    a->ctl = NULL;
    maybe_gone(a);
}

static const struct tb_ctl_client_ops ctl_ops = {.on_event = on_event, .on_closed = on_ctl_closed};

static void on_subscribed(const json_t *reply, void *arg) {
    struct scn_actor *a = arg;
    struct tb_error e = {0};

    if (reply && json_is_true(json_object_get(reply, "ok"))) {
        tell_started(a, 0, NULL);
        return;
    }
    if (a->exited || a->end_expected)
        return; /* its end tells the story */
    tb_error_set(&e, TB_EPROTO, NULL, 0, "%s does not answer on its control socket", a->name);
    tell_started(a, TB_EPROTO, &e);
}

static void on_ready(struct tb_child *c, const char *line, void *user) {
    struct scn_actor *a = user;
    struct tb_error e = {0};
    struct tb_addr at;
    const char *ctl;
    int r;

    (void)c;
    a->ready = json_loads(line, 0, NULL);
    ctl = json_string_value(json_object_get(a->ready, "ctl"));
    if (!ctl || tb_addr_parse(ctl, &at, &e) < 0) {
        tb_error_set(&e, TB_EPROTO, NULL, 0, "%s: its ready line has no control address: %s",
                     a->name, line);
        tell_started(a, TB_EPROTO, &e);
        return;
    }
    r = tb_ctl_client_open(a->loop, &at, &ctl_ops, a, &a->ctl);
    if (r < 0) {
        a->ctl = NULL;
        tb_error_set(&e, r, NULL, 0, "%s: cannot reach its control socket %s: %s", a->name, ctl,
                     tb_strerror(r));
        tell_started(a, r, &e);
        return;
    }
    tb_ctl_client_send(a->ctl, json_pack("{s:s}", "verb", "subscribe"), on_subscribed, a);
}

static void on_exit_(struct tb_child *c, int status, void *user) {
    struct scn_actor *a = user;

    (void)c;
    a->child = NULL;
    a->exited = true;
    a->status = status;
    if (a->started) {
        struct tb_error e = {0};
        char tail[400], how[64];

        a->end_expected = true; /* told here, not as a death */
        tb_error_set(&e, TB_ECLOSED, NULL, 0, "%s ended before it was ready (%s):\n%s", a->name,
                     scn_status_text(status, how, sizeof how),
                     scn_actor_log_tail(a, tail, sizeof tail));
        tell_started(a, TB_ECLOSED, &e);
    }
    if (a->ctl)
        tb_ctl_client_close(a->ctl);
    else
        maybe_gone(a);
}

static const struct tb_child_ops child_ops = {.on_ready = on_ready, .on_exit = on_exit_};

enum { MAX_ARGS = 128 };

static int fill_argv(const struct scn_actor_spec *spec, const char *program, const char *ctl,
                     const char **argv) {
    int n = 0;

    argv[n++] = program;
    for (int i = 0; spec->argv_rest && spec->argv_rest[i]; i++) {
        if (n > MAX_ARGS - 8)
            return TB_ERANGE;
        argv[n++] = spec->argv_rest[i];
    }
    if (spec->daemon) {
        argv[n++] = "--ready-fd";
        argv[n++] = "3";
        argv[n++] = "--ctl";
        argv[n++] = ctl;
    }
    argv[n] = NULL;
    return 0;
}

int scn_actor_start(uv_loop_t *loop, const struct scn_folder *folder, struct scn_events *events,
                    const struct scn_actor_spec *spec, const struct scn_actor_ops *ops,
                    scn_actor_started_fn *started, void *user, struct scn_actor **ret) {
    const char *argv[MAX_ARGS];
    char program[SCN_PATH + 64], ctl[128], rel[128];
    struct tb_child_spec child = {.argv = argv, .stdin_fd = -1, .ready_fd = spec->daemon ? 3 : -1};
    struct scn_actor *a;
    int r;

    if (strchr(spec->program, '/'))
        snprintf(program, sizeof program, "%s", spec->program);
    else
        snprintf(program, sizeof program, "%s/%s", scn_bin_dir(), spec->program);
    snprintf(ctl, sizeof ctl, "unix:%s/%s.ctl", folder->sock, spec->name);
    r = fill_argv(spec, program, ctl, argv);
    if (r < 0)
        return r;
    a = calloc(1, sizeof *a);
    if (!a || !(a->name = strdup(spec->name)))
        abort();
    a->source = scn_events_source(events, spec->name);
    a->loop = loop;
    a->events = events;
    a->ops = ops;
    a->started = spec->daemon ? started : NULL;
    a->user = user;
    snprintf(rel, sizeof rel, "log/%s.log", spec->name);
    scn_folder_path(folder, rel, a->log, sizeof a->log);
    child.name = spec->name;
    child.env = spec->env;
    child.log_file = a->log;
    r = a->source < 0 ? a->source : tb_child_start(loop, &child, &child_ops, a, &a->child);
    if (r < 0) {
        free_actor(a);
        return r;
    }
    *ret = a;
    if (!spec->daemon && started)
        started(a, 0, NULL, NULL, user);
    return 0;
}

const char *scn_actor_name(const struct scn_actor *a) {
    return a->name;
}

int scn_actor_source(const struct scn_actor *a) {
    return a->source;
}

int scn_actor_pid(const struct scn_actor *a) {
    return a->child ? tb_child_pid(a->child) : -1;
}

char *scn_actor_log_tail(const struct scn_actor *a, char *dst, size_t cap) {
    FILE *f = fopen(a->log, "re");
    size_t n = 0;
    char *line;

    dst[0] = 0;
    if (!f)
        return dst;
    if (fseek(f, -(long)(cap - 1), SEEK_END) < 0)
        rewind(f);
    n = fread(dst, 1, cap - 1, f);
    dst[n] = 0;
    fclose(f);
    /* Begin with a whole line when the file is longer than dst. */
    line = n == cap - 1 ? strchr(dst, '\n') : NULL;
    if (line)
        memmove(dst, line + 1, strlen(line));
    return dst;
}

void scn_actor_request(struct scn_actor *a, json_t *request, tb_ctl_done_fn *done, void *arg) {
    if (a->ctl) {
        tb_ctl_client_send(a->ctl, request, done, arg);
        return;
    }
    json_decref(request);
    done(NULL, arg);
}

void scn_actor_wait(struct scn_actor *a, scn_actor_ended_fn *ended, void *user) {
    a->end_expected = true;
    a->ended = ended;
    a->ended_user = user;
}

void scn_actor_stop(struct scn_actor *a, unsigned grace_ms, scn_actor_ended_fn *ended, void *user) {
    scn_actor_wait(a, ended, user);
    if (a->child)
        tb_child_stop(a->child, grace_ms);
}

void scn_actor_kill(struct scn_actor *a, int signum, scn_actor_ended_fn *ended, void *user) {
    scn_actor_wait(a, ended, user);
    if (a->child)
        tb_child_kill(a->child, signum);
}

void scn_actor_forget(struct scn_actor *a, void *user) {
    if (a->ended_user == user)
        a->ended = NULL;
    if (a->user == user)
        a->started = NULL;
}
