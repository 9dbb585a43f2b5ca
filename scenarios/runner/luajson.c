#include "luajson.h"

enum { MAX_DEPTH = 32 };

static json_t *unconst(const json_t *j) {
    return (json_t *)(uintptr_t)j; /* jansson iterates over non-const only */
}

void scn_push_json(lua_State *L, const json_t *value) {
    const char *key;
    json_t *item;
    size_t i;

    lua_checkstack(L, 8);
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        lua_newtable(L);
        json_object_foreach(unconst(value), key, item) {
            scn_push_json(L, item);
            lua_setfield(L, -2, key);
        }
        break;
    case JSON_ARRAY:
        lua_newtable(L);
        json_array_foreach(unconst(value), i, item) {
            scn_push_json(L, item);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(value));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(value));
        break;
    default:
        lua_pushnil(L);
    }
}

static json_t *to_json(lua_State *L, int index, const char **ret_why, int depth);

static json_t *table_to_array(lua_State *L, int index, const char **ret_why, int depth) {
    json_t *array = json_array();

    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, index); i++) {
        json_t *item;

        lua_rawgeti(L, index, i);
        item = to_json(L, -1, ret_why, depth);
        lua_pop(L, 1);
        if (!item) {
            json_decref(array);
            return NULL;
        }
        json_array_append_new(array, item);
    }
    return array;
}

static json_t *table_to_object(lua_State *L, int index, const char **ret_why, int depth) {
    json_t *object = json_object();

    lua_pushnil(L);
    while (lua_next(L, index)) {
        json_t *item = NULL;

        if (lua_type(L, -2) == LUA_TSTRING)
            item = to_json(L, -1, ret_why, depth);
        else
            *ret_why = "a key that is not a string";
        if (!item) {
            lua_pop(L, 2);
            json_decref(object);
            return NULL;
        }
        json_object_set_new(object, lua_tostring(L, -2), item);
        lua_pop(L, 1);
    }
    return object;
}

static json_t *to_json(lua_State *L, int index, const char **ret_why, int depth) {
    const char *text;
    size_t n;
    int first;

    index = lua_absindex(L, index);
    if (depth > MAX_DEPTH || !lua_checkstack(L, 8)) {
        *ret_why = "a table nested too deeply";
        return NULL;
    }
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return json_null();
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, index));
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? json_integer(lua_tointeger(L, index))
                                       : json_real(lua_tonumber(L, index));
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &n);
        return json_stringn(text, n);
    case LUA_TTABLE:
        first = lua_rawgeti(L, index, 1);
        lua_pop(L, 1);
        return first == LUA_TNIL ? table_to_object(L, index, ret_why, depth + 1)
                                 : table_to_array(L, index, ret_why, depth + 1);
    default:
        *ret_why = lua_typename(L, lua_type(L, index));
        return NULL;
    }
}

json_t *scn_to_json(lua_State *L, int index, const char **ret_why) {
    *ret_why = "text that is not UTF-8";
    return to_json(L, index, ret_why, 0);
}
