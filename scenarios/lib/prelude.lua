-- The verbs' Lua half. The runner calls this file once per case with the primitives written in C, the
-- settings of the run and the texts of the linked-in scripts; it returns load(file), which gives the
-- scenario's declaration and its main function.
local tb, settings, scripts = ...

-- ---- help for authors: errors at their line, with the nearest name ----

-- Edits between two words; two letters swapped count as one.
local function distance(a, b)
  local last, row, before = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    before, last, row = last, row, { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
  end
  return row[#b]
end

local function nearest(name, names)
  local best, best_distance
  for candidate in pairs(names) do
    local d = type(candidate) == "string" and distance(name, candidate) or 99
    if d <= math.max(1, #name // 3) and (not best_distance or d < best_distance) then
      best, best_distance = candidate, d
    end
  end
  return best and (" (did you mean '%s'?)"):format(best) or ""
end

-- Every table of options is checked: an unknown key is an error, never silently ignored.
local function options(verb, given, allowed)
  given = given or {}
  if type(given) ~= "table" then error(("%s takes a table of options"):format(verb), 0) end
  for key in pairs(given) do
    if allowed[key] == nil then
      error(("%s: unknown option '%s'%s"):format(verb, tostring(key), nearest(tostring(key), allowed)), 0)
    end
  end
  return given
end

local units = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
local function milliseconds(text, fallback)
  if text == nil then return fallback end
  if type(text) == "number" then return math.floor(text * 1000) end
  local number, unit = tostring(text):match("^(%d+%.?%d*)(%a+)$")
  if not number or not units[unit] then
    error(("'%s' is not a time: write 250ms, 10s, 2m"):format(tostring(text)), 0)
  end
  return math.floor(tonumber(number) * units[unit])
end

-- A class whose objects answer an unknown method or field with an error that names the nearest one.
local function class(name)
  local methods = {}
  local meta = {
    __name = name,
    __index = function(_, key)
      if methods[key] ~= nil then return methods[key] end
      error(("a %s has no '%s'%s"):format(name, tostring(key), nearest(tostring(key), methods)), 0)
    end,
  }
  return methods, function(fields) return setmetatable(fields, meta) end
end

-- --seed N gives the same random numbers again.
if settings.seed then math.randomseed(settings.seed) end

local kit = {
  tb = tb, settings = settings, options = options, milliseconds = milliseconds, class = class,
  nearest = nearest,
}

-- A script of lib/ by its name, run with kit and what else it wants.
function kit.part(name, ...) return assert(load(scripts[name], "@" .. name .. ".lua"))(kit, ...) end

local bed = kit.part "bed_procs"

-- ---- the verbs ----

local declared_keys = { name = 1, tags = 1, timeout = 1, matrix = 1, needs = 1 }

local function declare(into, given)
  options("scenario", given, declared_keys)
  if type(given.name) ~= "string" then error("scenario: a name is needed", 0) end
  into.name = given.name
  into.tags = given.tags or {}
  into.needs = given.needs or {}
  into.matrix = given.matrix or {}
  into.timeout_ms = milliseconds(given.timeout, 60000)
  for key, values in pairs(into.matrix) do
    if type(values) ~= "table" or #values == 0 then
      error(("scenario: matrix.%s must be a list of values"):format(key), 0)
    end
  end
end

local function verbs(declared)
  local v = {
    scenario = function(given) declare(declared, given) end,
    step = tb.step,
    skip = tb.skip,
    note = tb.note,
    parallel = tb.parallel,
    check = function(condition, text)
      if not condition then error(text or "a check failed", 0) end
      return condition
    end,
    each = function(list, f)
      local branches = {}
      for i, item in ipairs(list) do branches[i] = function() f(item, i) end end
      tb.parallel(table.unpack(branches))
    end,
  }
  for name, verb in pairs(bed) do v[name] = verb end
  return v
end

local harmless = {
  "assert", "ipairs", "math", "next", "pairs", "select", "string", "table", "tonumber", "tostring", "type",
  "utf8",
}

local function environment(declared)
  local env = verbs(declared)
  for _, name in ipairs(harmless) do env[name] = _G[name] end
  return setmetatable({}, {
    __index = function(_, key)
      if env[key] == nil then
        error(("unknown name '%s'%s"):format(tostring(key), nearest(tostring(key), env)), 0)
      end
      return env[key]
    end,
    __newindex = function(t, key, value)
      if key ~= "run" then error(("'%s' must be local"):format(tostring(key)), 0) end
      rawset(t, key, value)
    end,
  })
end

local function load_file(path)
  local declared = {}
  local text, why
  if path:sub(1, 1) == "@" then
    text = scripts[path:sub(2)]
    local chunk = assert(load(text, path .. ".lua"))
    return { declared = { timeout_ms = 0 }, main = function(case) chunk(kit, bed, case) end }
  end
  text, why = tb.read(path)
  if not text then error(why, 0) end
  local env = environment(declared)
  local chunk, message = load(text, "@" .. path, "t", env)
  if not chunk then error(message, 0) end
  chunk()
  if not declared.name then error(path .. ": it declares no scenario { name = … }", 0) end
  local run = rawget(env, "run")
  if type(run) ~= "function" then error(path .. ": it has no function run(case)", 0) end
  return { declared = declared, main = run }
end

return { load = load_file }
