#pragma once
/* The control socket every daemon has (--ctl): one JSON object per line, both ways.
 *
 *   → {"id": 1, "verb": "insert", …}          id is optional and echoed
 *   ← {"id": 1, "ok": true, …}                 or {"id": 1, "ok": false, "error": "…"}
 *   → {"verb": "subscribe"}                    from then on events are sent too
 *   ← {"event": "signed", "ts": 12345, …}
 *
 * "help" lists the verbs; "version" and "quit" exist in every daemon. A line above 64 KiB, or not a
 * JSON object, is answered with an error and the connection is closed. */
#include <jansson.h>
#include <uv.h>

#include "tb/conn.h"
#include "tb/error.h"

struct tb_ctl;

/* Answers one request. Put members into *reply and return 0, or return a negative code after
 * tb_error_set(e, …). A verb that needs time returns TB_CTL_LATER after keeping call, and answers
 * with tb_ctl_reply() once. */
struct tb_ctl_call;
enum { TB_CTL_LATER = 1 };
typedef int tb_ctl_fn(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                      struct tb_error *e, void *user);

struct tb_ctl_verb {
    const char *name;
    const char *help; /* one line: parameters and effect */
    tb_ctl_fn *fn;
};

/* verbs: borrowed, ends with a NULL name. on_quit: called for verb "quit". at: NULL for no socket
 * (events then only go to the event file). */
int tb_ctl_open(uv_loop_t *loop, const struct tb_addr *at, const char *program,
                const struct tb_ctl_verb *verbs, void (*on_quit)(void *), void *user,
                struct tb_ctl **ret, struct tb_error *e) TB_CHECKED;
const struct tb_addr *tb_ctl_addr(const struct tb_ctl *c);
void tb_ctl_reply(struct tb_ctl_call *call, json_t *reply /* given */, int status,
                  const char *error);

/* Sends {"event": name, "ts": wall ms, "from": program, …members} to all subscribers and to the
 * event file. members: given to the call, NULL for none. A subscriber that does not read (1 MiB
 * queued) is dropped. */
void tb_ctl_event(struct tb_ctl *c, const char *name, json_t *members);
/* Would an event reach anybody? For events of a hot path: saves making their members. */
bool tb_ctl_listening(const struct tb_ctl *c);
/* Events are also appended to this file as JSON lines. */
int tb_ctl_event_file(struct tb_ctl *c, const char *path, struct tb_error *e) TB_CHECKED;
void tb_ctl_close(struct tb_ctl *c);

/* Client side, blocking, for tools: one request, one reply (events in between are skipped). Returns
 * a new reference or NULL with *e filled. timeout_ms scaled by TB_TIMEOUT_FACTOR. */
json_t *tb_ctl_request(const struct tb_addr *at, const json_t *request, unsigned timeout_ms,
                       struct tb_error *e);

/* Client side on the loop: connect, send requests, receive replies by id and events. */
struct tb_ctl_client;
struct tb_ctl_client_ops {
    void (*on_event)(struct tb_ctl_client *c, const json_t *event, void *user);
    void (*on_closed)(int why, void *user);
};
int tb_ctl_client_open(uv_loop_t *loop, const struct tb_addr *at,
                       const struct tb_ctl_client_ops *ops, void *user,
                       struct tb_ctl_client **ret) TB_CHECKED;
/* request: given; an id is added. done is called exactly once; reply is borrowed, NULL when the
 * connection ended. */
typedef void tb_ctl_done_fn(const json_t *reply, void *arg);
void tb_ctl_client_send(struct tb_ctl_client *c, json_t *request, tb_ctl_done_fn *done, void *arg);
void tb_ctl_client_close(struct tb_ctl_client *c);
