#pragma once
/* Shared by the two files of verbs. */
#include <jansson.h>
#include <lauxlib.h>
#include <stdint.h>

extern const luaL_Reg scn_actor_prims[];

/* The argument as JSON (new reference) or milliseconds; raises a Lua error otherwise. */
json_t *scn_check_json(lua_State *L, int index);
uint64_t scn_check_ms(lua_State *L, int index);
