#pragma once
/* An actor of a run: one daemon as a child process, its control connection, its log file. */
#include <jansson.h>
#include <stdbool.h>

#include "env.h"
#include "events.h"
#include "tb/child.h"
#include "tb/ctl.h"

struct scn_actor;

struct scn_actor_ops {
    /* The actor ended although nobody asked it to: the bed is broken. */
    void (*on_died)(struct scn_actor *a, int status, void *user);
};

/* status: 0 and the ready line's object (borrowed), or negative with *e. */
typedef void scn_actor_started_fn(struct scn_actor *a, int status, const json_t *ready,
                                  const struct tb_error *e, void *user);
/* "exit code 1" or "signal 11, Segmentation fault" of a status as below. Returns dst. */
char *scn_status_text(int status, char *dst, size_t cap);

/* exit code, or 128 + signal; the actor is freed after this call. */
typedef void scn_actor_ended_fn(int status, void *user);

struct scn_actor_spec {
    const char *name;             /* "card-1": also its event source and log file */
    const char *program;          /* "sim-card", beside this program; or a path */
    const char *const *argv_rest; /* NULL-terminated arguments; --ready-fd, --ctl are added */
    const char *const *env;       /* NULL or KEY=VALUE list */
    bool daemon; /* false: a tool that just runs to its end; no ready line, no control */
};

/* started is called exactly once (daemons: when it is ready and subscribed; tools: at once after
 * the fork). */
int scn_actor_start(uv_loop_t *loop, const struct scn_folder *folder, struct scn_events *events,
                    const struct scn_actor_spec *spec, const struct scn_actor_ops *ops,
                    scn_actor_started_fn *started, void *user, struct scn_actor **ret) TB_CHECKED;

const char *scn_actor_name(const struct scn_actor *a);
int scn_actor_source(const struct scn_actor *a);
int scn_actor_pid(const struct scn_actor *a);
/* Reads the tail of its log into dst: what a person wants to see after an unexpected end. */
char *scn_actor_log_tail(const struct scn_actor *a, char *dst, size_t cap);

/* request: given. */
void scn_actor_request(struct scn_actor *a, json_t *request, tb_ctl_done_fn *done, void *arg);
/* From now on its end is expected: SIGTERM, SIGKILL after grace_ms. ended replaces any earlier one.
 */
void scn_actor_stop(struct scn_actor *a, unsigned grace_ms, scn_actor_ended_fn *ended, void *user);
/* Expects the end without causing it (a tool; or a daemon that was told to quit). */
void scn_actor_wait(struct scn_actor *a, scn_actor_ended_fn *ended, void *user);
void scn_actor_kill(struct scn_actor *a, int signum, scn_actor_ended_fn *ended, void *user);
/* Takes back ended: its user is going away. */
void scn_actor_forget(struct scn_actor *a, void *user);
