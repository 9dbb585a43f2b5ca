/* The verbs the prelude is made of: waiting for events, steps, files. Actors are in prims_actor.c.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_internal.h"
#include "living.h"
#include "luajson.h"
#include "prims.h"

json_t *scn_check_json(lua_State *L, int index) {
    const char *why;
    json_t *j = scn_to_json(L, index, &why);

    if (!j)
        scn_raise(L, "a table holds %s", why);
    return j;
}

uint64_t scn_check_ms(lua_State *L, int index) {
    lua_Integer ms = luaL_checkinteger(L, index);

    if (ms < 0)
        scn_raise(L, "a time cannot be negative");
    return ms > 0 ? (uint64_t)ms : 1; /* 0 would be no deadline at all */
}

/* ---- events ---- */

int scn_event_ready(struct scn_branch *b) {
    struct scn_events *ev = b->host->events;
    size_t index;

    if (!scn_events_find(ev, b->source, b->cursor[b->source], b->event_name, b->fields, &index))
        return 0;
    if (!b->never)
        b->cursor[b->source] = index + 1;
    json_decref(b->value);
    b->value = json_deep_copy(scn_events_at(ev, index, NULL));
    return 1;
}

static void describe(const struct scn_branch *b, char *dst, size_t cap) {
    char *fields = b->fields ? json_dumps(b->fields, JSON_SORT_KEYS) : NULL;

    snprintf(dst, cap, "%s %s %s", scn_events_source_name(b->host->events, b->source),
             b->event_name, fields ? fields : "");
    free(fields);
}

static void unexpected(struct scn_branch *b) {
    char want[1024], *got = json_dumps(b->value, JSON_SORT_KEYS);

    describe(b, want, sizeof want);
    json_decref(b->value);
    b->value = NULL;
    scn_branch_wake_error(b, SCN_FAIL, "this should not have happened: %s\n  seen: %s", want,
                          got ? got : "?");
    free(got);
}

void scn_event_timeout(struct scn_branch *b) {
    struct scn_events *ev = b->host->events;
    char want[1024], *near = NULL;
    long i;

    if (b->never) {
        scn_branch_wake(b, NULL);
        return;
    }
    describe(b, want, sizeof want);
    i = scn_events_nearest(ev, b->source, b->cursor[b->source], b->event_name, b->fields);
    if (i >= 0)
        near = json_dumps(scn_events_at(ev, (size_t)i, NULL), JSON_SORT_KEYS);
    scn_branch_wake_error(
        b, SCN_FAIL, "waited %.1f s in vain\n  wanted:       %s\n  nearest seen: %s",
        (double)tb_timeout_ms(b->deadline_ms) / 1e3, want, near ? near : "nothing from it");
    free(near);
}

void scn_host_on_event(size_t index, void *user) {
    struct scn_host *h = user;
    struct scn_branch *b = h->branches;
    int source;

    scn_events_at(h->events, index, &source);
    while (b) {
        /* Waking one may end others: begin anew after each. */
        if (b->wait == SCN_WAIT_EVENT && b->source == source && scn_event_ready(b)) {
            json_t *value = json_incref(b->value);

            if (b->never)
                unexpected(b);
            else
                scn_branch_wake(b, json_incref(value));
            json_decref(value);
            b = h->branches;
            continue;
        }
        b = b->next;
    }
}

/* expect(source, name, fields, ms, never) -> event */
static int p_expect(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);

    b->source = scn_events_source(b->host->events, luaL_checkstring(L, 1));
    if (b->source < 0)
        return scn_raise(L, "too many actors in one scenario");
    free(b->event_name);
    b->event_name = strdup(luaL_checkstring(L, 2));
    json_decref(b->fields);
    b->fields = lua_isnoneornil(L, 3) ? NULL : scn_check_json(L, 3);
    b->never = lua_toboolean(L, 5);
    if (scn_event_ready(b)) {
        json_t *value = b->value;

        if (b->never) {
            char want[1024], *got = json_dumps(value, JSON_SORT_KEYS);

            describe(b, want, sizeof want);
            lua_pushfstring(L, "this should not have happened: %s\n  seen: %s", want,
                            got ? got : "?");
            free(got);
            return lua_error(L);
        }
        b->value = NULL;
        scn_push_json(L, value);
        json_decref(value);
        return 1;
    }
    return scn_branch_wait(L, SCN_WAIT_EVENT, scn_check_ms(L, 4));
}

/* ---- the test plan ---- */

static int p_step(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);
    const char *text = luaL_checkstring(L, 1);

    snprintf(b->step, sizeof b->step, "%s", text);
    b->host->result.steps++;
    if (b->host->cfg.on_step)
        b->host->cfg.on_step(text, b->host->cfg.user);
    return 0;
}

/* note(key, value): shown with the result */
static int p_note(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);

    json_object_set_new(b->host->result.notes, luaL_checkstring(L, 1), scn_check_json(L, 2));
    return 0;
}

static int p_skip(lua_State *L) {
    scn_branch_of(L)->host->result.status = SCN_SKIP;
    lua_settop(L, 1);
    luaL_checkstring(L, 1);
    return lua_error(L);
}

/* broke(message): the bed, not the scenario, is at fault */
static int p_broke(lua_State *L) {
    scn_branch_of(L)->host->result.status = SCN_BROKE;
    lua_settop(L, 1);
    luaL_checkstring(L, 1);
    return lua_error(L);
}

static int p_parallel(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);
    int n = lua_gettop(L);

    for (int i = 1; i <= n; i++)
        luaL_checktype(L, i, LUA_TFUNCTION);
    for (int i = 1; i <= n && !b->dead; i++) {
        lua_pushvalue(L, i);
        scn_branch_spawn(b, L);
    }
    if (b->dead || b->running == 0)
        return 0;
    return scn_branch_wait(L, SCN_WAIT_BRANCHES, 0);
}

static int p_wait_quit(lua_State *L) {
    return scn_branch_wait(L, SCN_WAIT_QUIT, 0);
}

static int p_line(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);

    if (b->host->cfg.on_line)
        b->host->cfg.on_line(luaL_checkstring(L, 1), b->host->cfg.user);
    return 0;
}

/* ---- files of the run ---- */

static int p_path(lua_State *L) {
    struct scn_branch *b = scn_branch_of(L);
    const char *rel = luaL_checkstring(L, 1);
    char path[2 * SCN_PATH];

    if (rel[0] == '/' || strstr(rel, ".."))
        return scn_raise(L, "a path of the run folder is relative: %s", rel);
    lua_pushstring(L, scn_folder_path(b->host->cfg.folder, rel, path, sizeof path));
    return 1;
}

static int p_sock(lua_State *L) {
    lua_pushfstring(L, "%s/%s", scn_branch_of(L)->host->cfg.folder->sock, luaL_checkstring(L, 1));
    return 1;
}

/* data(rel): of a file that comes with the project */
static int p_data(lua_State *L) {
    char path[2 * SCN_PATH];

    lua_pushstring(L, scn_data_path(luaL_checkstring(L, 1), path, sizeof path));
    return 1;
}

static int p_program(lua_State *L) {
    lua_pushfstring(L, "%s/%s", scn_bin_dir(), luaL_checkstring(L, 1));
    return 1;
}

/* read(path) -> text, or nil and why */
static int p_read(lua_State *L) {
    FILE *f = fopen(luaL_checkstring(L, 1), "re");
    luaL_Buffer buf;
    size_t n;

    if (!f)
        return luaL_fileresult(L, 0, lua_tostring(L, 1));
    luaL_buffinit(L, &buf);
    do {
        char *at = luaL_prepbuffer(&buf);

        n = fread(at, 1, LUAL_BUFFERSIZE, f);
        luaL_addsize(&buf, n);
    } while (n > 0);
    fclose(f);
    luaL_pushresult(&buf);
    return 1;
}

static int p_write(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    FILE *f = fopen(path, "we");
    int bad;

    if (!f)
        return scn_raise(L, "%s cannot be written", path);
    bad = fwrite(text, 1, n, f) != n;
    if (fclose(f) != 0 || bad)
        return scn_raise(L, "%s cannot be written", path);
    return 0;
}

static int p_json_decode(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    json_error_t je;
    json_t *j = json_loadb(text, n, JSON_DECODE_ANY, &je);

    if (!j)
        return scn_raise(L, "not JSON: %s (line %d)", je.text, je.line);
    scn_push_json(L, j);
    json_decref(j);
    return 1;
}

static int p_json_encode(lua_State *L) {
    json_t *j = scn_check_json(L, 1);
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    json_decref(j);
    lua_pushstring(L, text);
    free(text);
    return 1;
}

static int p_now_ms(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)tb_clock_mono_ms());
    return 1;
}

static int p_living(lua_State *L) {
    struct tb_error e = {0};

    if (scn_living_bed_tell(scn_branch_of(L)->host->cfg.folder->dir, &e) < 0)
        return scn_raise(L, "%s: %s", e.file, e.message);
    return 0;
}

void scn_push_prims(lua_State *L) {
    static const luaL_Reg prims[] = {{"expect", p_expect},
                                     {"step", p_step},
                                     {"note", p_note},
                                     {"skip", p_skip},
                                     {"broke", p_broke},
                                     {"parallel", p_parallel},
                                     {"wait_quit", p_wait_quit},
                                     {"line", p_line},
                                     {"path", p_path},
                                     {"sock", p_sock},
                                     {"data", p_data},
                                     {"program", p_program},
                                     {"read", p_read},
                                     {"write", p_write},
                                     {"decode", p_json_decode},
                                     {"encode", p_json_encode},
                                     {"now_ms", p_now_ms},
                                     {"living", p_living},
                                     {NULL, NULL}};

    luaL_newlib(L, prims);
    luaL_setfuncs(L, scn_actor_prims, 0);
}
