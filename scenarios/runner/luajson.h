#pragma once
/* Values between Lua and JSON. */
#include <jansson.h>
#include <lua.h>

/* Pushes value: objects and arrays become tables, null becomes nil. NULL pushes nil. */
void scn_push_json(lua_State *L, const json_t *value);

/* The value at index as a new reference: a table with [1] is an array, any other table an object.
 * NULL when it holds what JSON cannot (functions, a key that is no string): *ret_why then names it.
 */
json_t *scn_to_json(lua_State *L, int index, const char **ret_why);
