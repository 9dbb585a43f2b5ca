#include "host_internal.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luajson.h"

struct scn_branch *scn_branch_of(lua_State *L) {
    return *(struct scn_branch **)lua_getextraspace(L);
}

/* ---- failure texts ---- */

int scn_raise(lua_State *L, const char *fmt, ...) {
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    lua_pushstring(L, text);
    return lua_error(L);
}

/* The line of the innermost frame that lies in file, or 0. */
static int line_in(lua_State *L, const char *file) {
    lua_Debug ar;

    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && strcmp(ar.source + 1, file) == 0)
            return ar.currentline;
    }
    return 0;
}

/* Where in the scenario: that line is what its author wants to see. */
static void locate(struct scn_host *h, lua_State *L, struct scn_result *r) {
    snprintf(r->file, sizeof r->file, "%s", h->cfg.file);
    r->line = line_in(L, h->cfg.file);
}

/* Lua puts "file:line: " in front of its own errors; the location is told separately. */
static const char *without_location(const char *message, const char *file) {
    size_t n = strlen(file);
    const char *p;

    if (strncmp(message, file, n) != 0 || message[n] != ':')
        return message;
    p = strchr(message + n + 1, ':');
    return p && p[1] == ' ' ? p + 2 : message;
}

/* ---- the end of a case ---- */

static void maybe_done(struct scn_host *h) {
    if (!h->ending || h->done || h->open > 0)
        return;
    for (int i = 0; i < h->n_slots; i++)
        if (h->slots[i].actor)
            return;
    h->done = true;
    h->result.duration_ms = tb_clock_mono_ms() - h->started_ms;
    h->cfg.on_done(h, h->cfg.user);
}

static void on_branch_closed(uv_handle_t *handle) {
    struct scn_branch *b = handle->data;
    struct scn_host *h = b->host;

    json_decref(b->fields);
    json_decref(b->value);
    free(b->event_name);
    free(b);
    h->open--;
    maybe_done(h);
}

/* The branch will not run again. Its memory goes when its timer is closed. */
static void branch_end(struct scn_branch *b) {
    struct scn_host *h = b->host;
    struct scn_branch **at = &h->branches;

    if (b->dead)
        return;
    b->dead = true;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    if (b->ticket)
        scn_ticket_void(b->ticket);
    b->ticket = NULL;
    luaL_unref(h->L, LUA_REGISTRYINDEX, b->ref);
    b->deadline.timer.data = b;
    tb_deadline_close(&b->deadline, on_branch_closed);
}

static void on_case_deadline_closed(uv_handle_t *handle) {
    struct scn_host *h = handle->data;

    h->open--;
    maybe_done(h);
}

static void end_actors(struct scn_host *h) {
    /* Last started, first stopped: a device before its hub, a modem before its card. */
    for (int i = h->n_slots - 1; i >= 0; i--)
        if (h->slots[i].actor)
            scn_actor_stop(h->slots[i].actor, 5000, scn_slot_ended, &h->slots[i]);
}

void scn_host_end(struct scn_host *h, enum scn_status status, struct scn_branch *where,
                  const char *message) {
    if (h->ending)
        return;
    h->ending = true;
    h->result.status = status;
    if (where) {
        locate(h, where->co, &h->result);
        snprintf(h->result.step, sizeof h->result.step, "%s", where->step);
    }
    if (message)
        snprintf(h->result.message, sizeof h->result.message, "%s",
                 without_location(message, h->cfg.file));
    while (h->branches)
        branch_end(h->branches);
    h->case_deadline.timer.data = h;
    tb_deadline_close(&h->case_deadline, on_case_deadline_closed);
    end_actors(h);
}

struct scn_branch *scn_slot_waiter(const struct scn_slot *s, enum scn_wait what) {
    struct scn_branch *b = s->host->branches;

    while (b && (b->wait != what || b->slot != s->id))
        b = b->next;
    return b;
}

void scn_slot_ended(int status, void *user) {
    struct scn_slot *s = user;
    struct scn_branch *b;

    s->actor = NULL;
    /* Several branches may have asked for its end. */
    while ((b = scn_slot_waiter(s, SCN_WAIT_EXIT)))
        scn_branch_wake(b, json_integer(status));
    maybe_done(s->host);
}

static void on_died(struct scn_actor *a, int status, void *user) {
    struct scn_slot *s = user;
    struct scn_host *h = s->host;
    char text[3000], tail[2000], how[64];

    snprintf(text, sizeof text, "%s ended unexpectedly (%s); its log ends with:\n%s",
             scn_actor_name(a), scn_status_text(status, how, sizeof how),
             scn_actor_log_tail(a, tail, sizeof tail));
    s->actor = NULL;
    scn_host_end(h, SCN_BROKE, h->main, text);
    maybe_done(h);
}

const struct scn_actor_ops scn_slot_ops = {.on_died = on_died};

/* ---- branches ---- */

static void branch_resume(struct scn_branch *b, int nargs) {
    struct scn_host *h = b->host;
    int n = 0, r = lua_resume(b->co, NULL, nargs, &n);
    struct scn_branch *parent;

    if (r == LUA_YIELD)
        return;
    if (r != LUA_OK) {
        const char *message = lua_tostring(b->co, -1);

        /* A failing branch fails the case; the others are cancelled with it. */
        scn_host_end(h, h->result.status == SCN_PASS ? SCN_FAIL : h->result.status, b,
                     message ? message : "unknown error");
        return;
    }
    parent = b->parent;
    if (b == h->main) {
        scn_host_end(h, SCN_PASS, NULL, NULL);
        return;
    }
    branch_end(b);
    if (parent && --parent->running == 0 && parent->wait == SCN_WAIT_BRANCHES)
        scn_branch_wake(parent, NULL);
}

static void on_deadline(void *arg) {
    struct scn_branch *b = arg;
    const char *who = b->slot >= 0 ? b->host->slots[b->slot].name : "?";
    double s = (double)tb_timeout_ms(b->deadline_ms) / 1e3;

    switch (b->wait) {
    case SCN_WAIT_EVENT:
        scn_event_timeout(b);
        break;
    case SCN_WAIT_START:
        scn_branch_wake_error(b, SCN_BROKE, "%s did not become ready within %.1f s", who, s);
        break;
    case SCN_WAIT_REPLY:
        scn_branch_wake_error(b, SCN_BROKE, "%s did not answer on its control socket within %.1f s",
                              who, s);
        break;
    case SCN_WAIT_EXIT:
        scn_branch_wake_error(b, SCN_FAIL, "%s did not end within %.1f s", who, s);
        break;
    default:
        break;
    }
}

static struct scn_branch *branch_new(struct scn_host *h, struct scn_branch *parent,
                                     lua_State *from) {
    struct scn_branch *b = calloc(1, sizeof *b);

    if (!b)
        abort();
    b->host = h;
    b->parent = parent;
    b->slot = -1;
    if (parent) {
        memcpy(b->cursor, parent->cursor, sizeof b->cursor);
        snprintf(b->step, sizeof b->step, "%s", parent->step);
    }
    b->next = h->branches;
    h->branches = b;
    b->co = lua_newthread(from);
    b->ref = luaL_ref(from, LUA_REGISTRYINDEX);
    *(struct scn_branch **)lua_getextraspace(b->co) = b;
    tb_deadline_init(tb_loop_uv(h->cfg.loop), &b->deadline, on_deadline, b);
    h->open++;
    return b;
}

void scn_branch_spawn(struct scn_branch *b, lua_State *L) {
    struct scn_branch *child = branch_new(b->host, b, L);

    /* luaL_ref took the thread off the stack again: the function is on top. */
    b->running++;
    lua_xmove(L, child->co, 1);
    branch_resume(child, 0);
}

static int continue_verb(lua_State *L, int status, lua_KContext ctx) {
    struct scn_branch *b = scn_branch_of(L);
    json_t *value = b->value;

    (void)status;
    (void)ctx;
    b->value = NULL;
    if (b->error[0]) {
        lua_pushstring(L, b->error);
        b->error[0] = 0;
        json_decref(value);
        return lua_error(L);
    }
    scn_push_json(L, value);
    json_decref(value);
    return 1;
}

int scn_branch_wait(lua_State *L, enum scn_wait what, uint64_t timeout_ms) {
    struct scn_branch *b = scn_branch_of(L);

    b->wait = what;
    b->deadline_ms = timeout_ms;
    if (timeout_ms)
        tb_deadline_start(&b->deadline, timeout_ms);
    return lua_yieldk(L, 0, 0, continue_verb);
}

static void wake(struct scn_branch *b) {
    b->wait = SCN_WAIT_NONE;
    b->slot = -1;
    tb_deadline_stop(&b->deadline);
    if (b->ticket)
        scn_ticket_void(b->ticket);
    b->ticket = NULL;
    branch_resume(b, 0);
}

void scn_branch_wake(struct scn_branch *b, json_t *value) {
    json_decref(b->value);
    b->value = value;
    wake(b);
}

void scn_branch_wake_error(struct scn_branch *b, enum scn_status status, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(b->error, sizeof b->error, fmt, ap);
    va_end(ap);
    b->host->result.status = status;
    wake(b);
}

/* ---- loading ---- */

const struct scn_script *scn_script_find(const char *name) {
    for (const struct scn_script *s = scn_scripts; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static lua_State *lua_with_libraries(void) {
    /* No os, io, require, debug: a scenario reaches the world through its verbs only. */
    static const luaL_Reg libs[] = {
        {LUA_GNAME, luaopen_base},        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string}, {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8},  {NULL, NULL}};
    lua_State *L = luaL_newstate();

    if (!L)
        abort();
    for (const luaL_Reg *lib = libs; lib->func; lib++) {
        luaL_requiref(L, lib->name, lib->func, 1);
        lua_pop(L, 1);
    }
    return L;
}

/* Runs the prelude: prelude(prims, settings, scripts) returns load(path|nil, text|nil) and so on;
 * its result table is left on the stack. Negative with a message on the stack. */
static int load_prelude(lua_State *L, const json_t *settings) {
    const struct scn_script *s = scn_script_find("prelude");

    if (luaL_loadbuffer(L, (const char *)s->text, s->n, "@prelude.lua") != LUA_OK)
        return -1;
    scn_push_prims(L);
    scn_push_json(L, settings);
    lua_newtable(L);
    for (s = scn_scripts; s->name; s++) {
        lua_pushlstring(L, (const char *)s->text, s->n);
        lua_setfield(L, -2, s->name);
    }
    return lua_pcall(L, 3, 1, 0) == LUA_OK ? 0 : -1;
}

/* Message handler: puts the scenario's line in front of errors that its declaration raises. */
static int add_place(lua_State *L) {
    const char *file = lua_tostring(L, lua_upvalueindex(1)), *message = lua_tostring(L, 1);
    int line = line_in(L, file);

    if (line > 0 && message && without_location(message, file) == message)
        lua_pushfstring(L, "%s:%d: %s", file, line, message);
    return 1;
}

/* Leaves the scenario's main function (a function of the case) on the stack, or a message. */
static int load_scenario(lua_State *L, const char *file, const json_t *settings) {
    if (load_prelude(L, settings) < 0)
        return -1;
    lua_pushstring(L, file);
    lua_pushcclosure(L, add_place, 1);
    lua_getfield(L, -2, "load");
    lua_pushstring(L, file);
    return lua_pcall(L, 1, 1, -3) == LUA_OK ? 0 : -1;
}

json_t *scn_scenario_read(const char *file, struct tb_error *e) {
    lua_State *L = lua_with_libraries();
    json_t *settings = json_object(), *declared = NULL;
    const char *why;

    *(struct scn_branch **)lua_getextraspace(L) = NULL;
    if (load_scenario(L, file, settings) < 0) {
        tb_error_set(e, TB_EPARSE, NULL, 0, "%s", lua_tostring(L, -1));
    } else {
        lua_getfield(L, -1, "declared");
        declared = scn_to_json(L, -1, &why);
        if (!declared)
            tb_error_set(e, TB_EPARSE, file, 0, "scenario { … } holds %s", why);
    }
    lua_close(L);
    json_decref(settings);
    return declared;
}

static void on_case_timeout(void *arg) {
    struct scn_host *h = arg;

    scn_host_end(h, SCN_FAIL, h->main, "the scenario did not end within its timeout");
}

static void declare(struct scn_host *h, lua_State *L) {
    lua_Integer timeout;

    lua_getfield(L, -1, "declared");
    lua_getfield(L, -1, "timeout_ms");
    timeout = lua_tointeger(L, -1);
    lua_pop(L, 2);
    if (timeout > 0)
        tb_deadline_start(&h->case_deadline, (uint64_t)timeout);
}

struct scn_host *scn_host_start(const struct scn_host_config *cfg) {
    struct scn_host *h = calloc(1, sizeof *h);
    char path[SCN_PATH];
    struct tb_error e = {0};

    if (!h)
        abort();
    h->cfg = *cfg;
    h->result.notes = json_object();
    h->started_ms = tb_clock_mono_ms();
    h->L = lua_with_libraries();
    h->events = scn_events_new(scn_folder_path(cfg->folder, "events.jsonl", path, sizeof path),
                               scn_host_on_event, h, &e);
    tb_deadline_init(tb_loop_uv(cfg->loop), &h->case_deadline, on_case_timeout, h);
    h->open = 1;
    h->main = branch_new(h, NULL, h->L);
    if (!h->events) {
        scn_host_end(h, SCN_BROKE, h->main, e.message);
        return h;
    }
    /* The prelude runs in the main state, before there is a branch to suspend. */
    *(struct scn_branch **)lua_getextraspace(h->L) = h->main;
    if (load_scenario(h->L, cfg->file, cfg->settings) < 0) {
        scn_host_end(h, SCN_BROKE, h->main, lua_tostring(h->L, -1));
        return h;
    }
    declare(h, h->L);
    lua_getfield(h->L, -1, "main");
    lua_xmove(h->L, h->main->co, 1);
    scn_push_json(h->main->co, cfg->parameters);
    branch_resume(h->main, 1);
    return h;
}

void scn_host_free(struct scn_host *h) {
    if (!h)
        return;
    lua_close(h->L);
    scn_events_free(h->events);
    json_decref(h->result.notes);
    free(h);
}

const struct scn_result *scn_host_result(const struct scn_host *h) {
    return &h->result;
}

struct scn_events *scn_host_events(struct scn_host *h) {
    return h->events;
}

void scn_host_interrupt(struct scn_host *h) {
    if (!h->ending && h->main->wait == SCN_WAIT_QUIT)
        scn_branch_wake(h->main, NULL);
    else
        scn_host_end(h, SCN_BROKE, h->main, "interrupted");
}
