/* Requests and replies of the control protocol. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_internal.h"
#include "json_line.h"
#include "mem.h"
#include "tb/cli.h"

struct tb_ctl_call {
    struct tb_ctl_peer *peer; /* NULL when the connection is gone */
    json_t *id;               /* NULL when the request had none */
    struct tb_ctl_call *next, **prev;
};

static const struct tb_ctl_verb builtins[] = {
    {"help", "lists the verbs", NULL},
    {"quit", "ends the program", NULL},
    {"subscribe", "events are sent on this connection from now on", NULL},
    {"version", "name and version of the program", NULL},
    {0},
};

static void send_reply(struct tb_ctl_peer *peer, json_t *id, bool ok, const json_t *members,
                       const char *error) {
    json_t *o = json_object();
    struct tb_span line;
    char *text;
    size_t n;

    if (id)
        json_object_set(o, "id", id);
    json_object_set_new(o, "ok", json_boolean(ok));
    if (error)
        json_object_set_new(o, "error", json_string(error));
    if (members)
        json_object_update_missing(o, tb_unconst(members));
    text = tb_json_line(o, &n);
    json_decref(o);
    if (n > TB_CTL_REPLY_MAX) {
        free(text);
        send_reply(peer, id, false, NULL, "the reply is too large");
        return;
    }
    line = tb_span(text, n);
    if (tb_conn_write(peer->conn, &line, 1) == 0) /* a failure closes the connection */
        peer->blocked = true;
    free(text);
}

static void end_with_error(struct tb_ctl_peer *peer, const char *error) {
    peer->ended = true;
    send_reply(peer, NULL, false, NULL, error);
    tb_conn_finish(peer->conn);
}

static void unlink_call(struct tb_ctl_call *call) {
    assert(call->peer);
    *call->prev = call->next;
    if (call->next)
        call->next->prev = call->prev;
    call->peer->n_calls--;
    call->peer = NULL;
}

void tb_ctl_forget_calls(struct tb_ctl_peer *peer) {
    while (peer->calls)
        unlink_call(peer->calls);
}

static struct tb_ctl_call *new_call(struct tb_ctl_peer *peer, json_t *id) {
    struct tb_ctl_call *call = tb_xcalloc(1, sizeof *call);

    *call = (struct tb_ctl_call){peer, json_incref(id), peer->calls, &peer->calls};
    if (peer->calls)
        peer->calls->prev = &call->next;
    peer->calls = call;
    peer->n_calls++;
    return call;
}

void tb_ctl_reply(struct tb_ctl_call *call, json_t *reply, int status, const char *error) {
    struct tb_ctl_peer *peer = call->peer;

    if (peer) {
        unlink_call(call);
        if (status < 0)
            send_reply(peer, call->id, false, reply, error ? error : tb_strerror(status));
        else
            send_reply(peer, call->id, true, reply, NULL);
    }
    json_decref(call->id);
    json_decref(reply);
    free(call);
}

static void call_verb(struct tb_ctl_peer *peer, const struct tb_ctl_verb *verb,
                      const json_t *request) {
    struct tb_ctl *c = peer->ctl;
    json_t *reply = json_object();
    struct tb_error e = {0};
    struct tb_ctl_call *call;
    int r;

    if (peer->n_calls >= TB_CTL_CALLS_MAX) {
        send_reply(peer, json_object_get(request, "id"), false, NULL,
                   "too many requests are under way on this connection");
        json_decref(reply);
        return;
    }
    call = new_call(peer, json_object_get(request, "id"));
    r = verb->fn(call, request, reply, &e, c->user);
    if (r == TB_CTL_LATER)
        json_decref(reply); /* call may be gone already: it belongs to the verb now */
    else
        tb_ctl_reply(call, reply, r, e.message[0] ? e.message : NULL);
}

static json_t *help(const struct tb_ctl *c) {
    const struct tb_ctl_verb *const tables[] = {builtins, c->verbs};
    json_t *verbs = json_object();

    for (unsigned t = 0; t < 2; t++)
        for (const struct tb_ctl_verb *v = tables[t]; v && v->name; v++)
            json_object_set_new(verbs, v->name, json_string(v->help));
    return json_pack("{s:o}", "verbs", verbs);
}

static void call_builtin(struct tb_ctl_peer *peer, const char *verb, json_t *id) {
    struct tb_ctl *c = peer->ctl;
    json_t *members = NULL;

    if (strcmp(verb, "help") == 0)
        members = help(c);
    else if (strcmp(verb, "version") == 0)
        members = json_pack("{s:s, s:s}", "program", c->program, "version", TB_VERSION);
    else if (strcmp(verb, "subscribe") == 0)
        peer->subscribed = true;
    send_reply(peer, id, true, members, NULL);
    json_decref(members);
    if (strcmp(verb, "quit") == 0 && c->on_quit)
        c->on_quit(c->user);
}

static void refuse_verb(struct tb_ctl_peer *peer, const char *verb, json_t *id) {
    const struct tb_ctl_verb *const tables[] = {builtins, peer->ctl->verbs};
    const char *names[256], *near;
    unsigned n = 0;
    char text[256];

    for (unsigned t = 0; t < 2; t++)
        for (const struct tb_ctl_verb *v = tables[t]; v && v->name && n < 255; v++)
            names[n++] = v->name;
    names[n] = NULL;
    near = tb_nearest(verb, names);
    snprintf(text, sizeof text, "unknown verb '%.64s'%s%s%s", verb, near ? ": did you mean '" : "",
             near ? near : "", near ? "'?" : "");
    send_reply(peer, id, false, NULL, text);
}

static const struct tb_ctl_verb *find_verb(const struct tb_ctl_verb *v, const char *name) {
    for (; v && v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static void handle_line(struct tb_ctl_peer *peer, struct tb_span line) {
    const struct tb_ctl_verb *own;
    json_t *request, *id;
    const char *verb;
    char error[256];

    if (line.n == 0) /* a person pressed Enter */
        return;
    request = tb_json_object(line, error, sizeof error);
    if (!request) {
        end_with_error(peer, error);
        return;
    }
    id = json_object_get(request, "id");
    verb = json_string_value(json_object_get(request, "verb"));
    own = verb ? find_verb(peer->ctl->verbs, verb) : NULL;
    if (!verb)
        send_reply(peer, id, false, NULL, "a member \"verb\" with a text is wanted");
    else if (own)
        call_verb(peer, own, request);
    else if (find_verb(builtins, verb))
        call_builtin(peer, verb, id);
    else
        refuse_verb(peer, verb, id);
    json_decref(request);
}

size_t tb_ctl_requests(struct tb_ctl_peer *peer, struct tb_span data) {
    struct tb_span rest = data, line;

    while (!peer->ended && !peer->blocked && tb_take_line(&rest, &line)) {
        if (line.n > TB_CTL_LINE_MAX)
            end_with_error(peer, "the line is longer than 64 KiB");
        else
            handle_line(peer, line);
    }
    if (peer->blocked)
        tb_conn_pause(peer->conn);
    else if (!peer->ended && rest.n > TB_CTL_LINE_MAX)
        end_with_error(peer, "the line is longer than 64 KiB");
    return data.n - rest.n;
}
