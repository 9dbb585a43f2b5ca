/* The verbs for actors: start daemons and tools, ask them, stop them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_internal.h"
#include "luajson.h"
#include "prims.h"

/* A request under way: outlives the branch that asked. */
struct scn_ticket {
    struct scn_branch *branch; /* NULL: nobody wants the answer any more */
    bool asking;               /* still inside the verb: the branch cannot be woken yet */
    bool answered;
    json_t *reply;
};

void scn_ticket_void(struct scn_ticket *t) {
    t->branch = NULL;
}

static struct scn_slot *check_slot(lua_State *L, int index) {
    struct scn_host *h = scn_branch_of(L)->host;
    lua_Integer id = luaL_checkinteger(L, index);

    if (id < 0 || id >= h->n_slots)
        scn_raise(L, "no such actor");
    return &h->slots[id];
}

/* The strings of the table at index as a NULL-terminated vector, or NULL when it is nil. Free with
 * free(). */
static const char **check_strings(lua_State *L, int index) {
    size_t n, i;
    const char **v;

    if (lua_isnoneornil(L, index))
        return NULL;
    luaL_checktype(L, index, LUA_TTABLE);
    n = lua_rawlen(L, index);
    for (i = 0; i < n; i++) { /* raise before there is anything to free */
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING)
            scn_raise(L, "argument %d is not a string", (int)i + 1);
        lua_pop(L, 1);
    }
    v = calloc(n + 1, sizeof *v);
    if (!v)
        abort();
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        v[i] = lua_tostring(L, -1); /* stays alive: the table holds it */
        lua_pop(L, 1);
    }
    return v;
}

static void on_started(struct scn_actor *a, int status, const json_t *ready,
                       const struct tb_error *e, void *user) {
    struct scn_slot *s = user;
    struct scn_branch *b = scn_slot_waiter(s, SCN_WAIT_START);

    if (status == 0) {
        if (b)
            scn_branch_wake(b, json_pack("{s:i,s:O}", "id", s->id, "ready", ready));
        return;
    }
    scn_actor_stop(a, 1000, scn_slot_ended, s);
    if (b)
        scn_branch_wake_error(b, SCN_BROKE, "%s", e->message);
}

/* start(name, program, {arg…}, {KEY=VALUE…}|nil, daemon, ms) -> {id=, ready=} (daemon) or id (tool)
 */
static int p_start(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);
    struct scn_host *h = b->host;
    struct scn_actor_spec spec = {.name = luaL_checkstring(L, 1),
                                  .program = luaL_checkstring(L, 2),
                                  .daemon = lua_toboolean(L, 5)};
    uint64_t ms = scn_check_ms(L, 6);
    const char **argv, **env;
    struct scn_slot *s;
    int r;

    if (h->n_slots == SCN_ACTORS)
        return scn_raise(L, "more than %d processes in one scenario", SCN_ACTORS);
    argv = check_strings(L, 3);
    env = check_strings(L, 4);
    spec.argv_rest = argv;
    spec.env = env;
    s = &h->slots[h->n_slots];
    *s = (struct scn_slot){.host = h, .id = h->n_slots};
    snprintf(s->name, sizeof s->name, "%s", spec.name);
    r = scn_actor_start(tb_loop_uv(h->cfg.loop), h->cfg.folder, h->events, &spec, &scn_slot_ops,
                        spec.daemon ? on_started : NULL, s, &s->actor);
    free(argv);
    free(env);
    if (r < 0) {
        h->result.status = SCN_BROKE;
        return scn_raise(L, "%s cannot be started: %s", spec.program, tb_strerror(r));
    }
    h->n_slots++;
    if (spec.daemon) {
        b->slot = s->id;
        return scn_branch_wait(L, SCN_WAIT_START, ms);
    }
    lua_pushinteger(L, s->id);
    return 1;
}

static void on_reply(const json_t *reply, void *arg) {
    struct scn_ticket *t = arg;
    struct scn_branch *b = t->branch;

    if (t->asking) {
        t->answered = true;
        t->reply = reply ? json_deep_copy(reply) : NULL;
        return;
    }
    free(t);
    if (!b)
        return;
    b->ticket = NULL;
    if (reply)
        scn_branch_wake(b, json_deep_copy(reply));
    else
        scn_branch_wake_error(b, SCN_BROKE, "%s has closed its control connection",
                              b->host->slots[b->slot].name);
}

/* request(id, {verb=…}, ms) -> reply table with ok */
static int p_request(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);
    struct scn_slot *s = check_slot(L, 1);
    json_t *request = scn_check_json(L, 2);
    uint64_t ms = scn_check_ms(L, 3);
    struct scn_ticket *t;

    if (!s->actor) {
        json_decref(request);
        return scn_raise(L, "%s is not running", s->name);
    }
    t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->branch = b;
    t->asking = true;
    scn_actor_request(s->actor, request, on_reply, t);
    t->asking = false;
    if (t->answered) { /* the connection is gone already */
        json_decref(t->reply);
        free(t);
        b->host->result.status = SCN_BROKE;
        return scn_raise(L, "%s has closed its control connection", s->name);
    }
    b->ticket = t;
    b->slot = s->id;
    return scn_branch_wait(L, SCN_WAIT_REPLY, ms);
}

static int wait_exit(lua_State *L, struct scn_slot *s, uint64_t ms) {
    scn_branch_of(L)->slot = s->id;
    return scn_branch_wait(L, SCN_WAIT_EXIT, ms);
}

/* stop(id, ms) -> status; an actor that has ended already: nil */
static int p_stop(lua_State *L) {
    struct scn_slot *s = check_slot(L, 1);
    uint64_t ms = scn_check_ms(L, 2);

    if (!s->actor)
        return 0;
    scn_actor_stop(s->actor, (unsigned)ms, scn_slot_ended, s);
    return wait_exit(L, s, ms + 5000);
}

/* kill(id, signal) -> status */
static int p_kill(lua_State *L) {
    struct scn_slot *s = check_slot(L, 1);
    int signum = (int)luaL_checkinteger(L, 2);

    if (!s->actor)
        return 0;
    scn_actor_kill(s->actor, signum, scn_slot_ended, s);
    return wait_exit(L, s, 10000);
}

/* wait(id, ms) -> exit status */
static int p_wait(lua_State *L) {
    struct scn_slot *s = check_slot(L, 1);
    uint64_t ms = scn_check_ms(L, 2);

    if (!s->actor)
        return 0;
    scn_actor_wait(s->actor, scn_slot_ended, s);
    return wait_exit(L, s, ms);
}

/* kill_pid(pid): SIGKILL for a process that an actor started, such as the broker behind the hub */
static int p_kill_pid(lua_State *L) {
    lua_Integer pid = luaL_checkinteger(L, 1);

    if (pid <= 1 || kill((pid_t)pid, SIGKILL) < 0)
        return scn_raise(L, "process %d cannot be killed", (int)pid);
    return 0;
}

/* pid(id) -> integer */
static int p_pid(lua_State *L) {
    struct scn_slot *s = check_slot(L, 1);

    lua_pushinteger(L, s->actor ? scn_actor_pid(s->actor) : -1);
    return 1;
}

const luaL_Reg scn_actor_prims[] = {
    {"start", p_start},       {"request", p_request}, {"stop", p_stop}, {"kill", p_kill},
    {"kill_pid", p_kill_pid}, {"wait", p_wait},       {"pid", p_pid},   {NULL, NULL}};
