-- The process bed: each actor a daemon on loopback, each seam its real protocol. Here is what its parts
-- share, the operators and their SIMs; bed_hub.lua and bed_device.lua are the rest.
local kit = ...
local tb, options, milliseconds, class = kit.tb, kit.options, kit.milliseconds, kit.class

local count = {}
local function fresh_name(kind)
  count[kind] = (count[kind] or 0) + 1
  return count[kind] == 1 and kind or kind .. "-" .. count[kind]
end

-- Runs a tool to its end; what it printed is the error when it fails.
local function tool(name, program, args)
  local log = "log/" .. name .. ".log"
  local status = tb.wait(tb.start(name, program, args, nil, false, 30000), 60000)
  if status ~= 0 then
    tb.broke(("%s %s ended with %s:\n%s"):format(program, table.concat(args, " "), tostring(status),
      tb.read(tb.path(log)) or ""))
  end
end

kit.tool = tool

local function daemon(name, program, args)
  local started = tb.start(name, program, args, nil, true, 20000)
  return started.id, started.ready
end

-- One of the values that are allowed, or an error that lists them.
local function choice(verb, key, value, allowed)
  for _, one in ipairs(allowed) do
    if value == one then return value end
  end
  error(("%s: %s = '%s' is not built; there is: %s"):format(verb, key, tostring(value),
    table.concat(allowed, ", ")), 0)
end

local function running(id, what)
  return id or error(what .. " is not running", 0)
end

local function ask(id, what, request)
  running(id, what)
  local reply = tb.request(id, request, 20000)
  if not reply.ok then tb.broke(("%s: %s: %s"):format(what, request.verb, reply.error or "refused")) end
  return reply
end

local function wait_event(source, name, fields, timeout, fallback, never)
  return tb.expect(source, name, fields, milliseconds(timeout, fallback), never)
end

-- ---- operators: who issues SIMs. Each has a CA that signs the certificates of its cards ----

local state_dir
local function ca_state()
  if not state_dir then
    state_dir = tb.path("state/hub/.")
    state_dir = state_dir:sub(1, -3)
    tool("ca", "iot-hub", { "ca", "init", "--state", state_dir })
  end
  return state_dir
end

local operators = {}
local Operator, new_operator = class "operator"
local new_sim

local function operator(name)
  if operators[name] then return operators[name] end
  local state = ca_state()
  tool("ca-" .. name, "iot-hub", { "ca", "init", "--state", state, "--name", name })
  operators[name] = new_operator { name = name, cert = state .. "/ca/" .. name .. ".crt",
    key = state .. "/ca/" .. name .. ".key" }
  return operators[name]
end

local serial = 0
local function next_iccid()
  serial = serial + 1
  return ("8900010000000000%04d"):format(serial), ("00101000000%04d"):format(serial)
end

local sim_options = { profile = 1, register = 1, latency = 1 }

-- Where the card has its first certificate and the key that belongs to it: the factory's record tells.
local function identity(made)
  local certificate = (made.certificates or {})[1]
  local found = {}
  for _, credential in ipairs(made.credentials or {}) do
    if credential.kind == "psk" and not found.psk_id then
      found.psk_identity, found.psk_id = credential.identity, credential.id
    end
  end
  if not certificate then return found end
  found.certificate, found.fingerprint = certificate.pem, certificate.fingerprint
  found.cert_id = certificate.files[1].id
  for _, key in ipairs(made.keys or {}) do
    if key.name == certificate.key then found.key_id = key.id end
  end
  return found
end

-- A card as the factory delivers it. register = false: its certificate never reaches the hub's registry.
function Operator:sim(given)
  local o = options("sim", given, sim_options)
  if o.latency then choice("sim", "latency", o.latency, { "off", "se-fast", "uicc-mid", "sim-slow" }) end
  local name = fresh_name "card"
  local iccid, imsi = next_iccid()
  local profile = o.profile or "factory"
  if not profile:find "[/.]" then profile = tb.data("profiles/" .. profile .. ".card") end
  local store, out = tb.path("state/" .. name .. ".db"), tb.path("state/" .. name .. ".json")
  tool(name .. "-personalise", "sim-card", {
    "personalise", profile, "--store", store,
    "--issuer-cert", self.cert, "--issuer-key", self.key, "--server-ca", ca_state() .. "/ca/device.crt",
    "--iccid", iccid, "--imsi", imsi, "--export-secrets", "--out", out })
  local made = tb.decode(tb.read(out)).cards[1]
  local own = identity(made)
  return new_sim {
    name = name, iccid = iccid, imsi = imsi, id = iccid, store = store, file = out,
    register = o.register ~= false, certificate = own.certificate or false,
    fingerprint = own.fingerprint or "", cert_id = own.cert_id or "02", key_id = own.key_id or "01",
    psk_identity = own.psk_identity or false, psk_id = own.psk_id or false,
    card = false, link = false, ready = false, latency = o.latency or "off",
  }
end

-- ---- the card ----

local Sim, make_sim = class "sim"
new_sim = make_sim

-- link: which end of vpcd the card takes, e.g. { "--vpcd", reader } or { "--listen", "127.0.0.1:0" }.
local function sim_start(sim, link)
  sim.card, sim.ready = daemon(sim.name, "sim-card", { "--store", sim.store, link[1], link[2],
    "--latency", sim.latency, "--trace-apdu", tb.path("apdu.pcapng") })
  if sim.ready.listen then link = { link[1], sim.ready.listen } end -- it comes back where it was
  sim.link = link
end

function Sim:counters()
  if not self.card then return { sign = 0, apdus = 0 } end
  return ask(self.card, self.name, { verb = "counters" })
end

-- What its commands would have cost by each profile, waited for or not: modelled_us, operations …
function Sim:costs() return ask(self.card, self.name, { verb = "latency" }) end
function Sim:state() return ask(self.card, self.name, { verb = "state" }) end
function Sim:expect(name, fields, timeout) return wait_event(self.name, name, fields, timeout, 10000) end
function Sim:remove() ask(self.card, self.name, { verb = "remove" }) end
function Sim:insert() ask(self.card, self.name, { verb = "insert" }) end
function Sim:reset() ask(self.card, self.name, { verb = "reset" }) end

local fault_options = { kind = 1, operation = 1, after = 1, times = 1, write = 1, state = 1, executed = 1,
  sent = 1, ms = 1, sw = 1, how = 1, amount = 1, clear = 1 }
-- What the card does wrong from now on (docs/card.md, 1): { kind = "mute", operation = "get-random", … }.
function Sim:fault(given)
  local request = { verb = "fault" }
  for key, value in pairs(options("fault", given, fault_options)) do request[key] = value end
  ask(self.card, self.name, request)
end

-- Ends the card's process as a power cut does; start it again with restart().
function Sim:kill()
  tb.kill(running(self.card, self.name), 9)
  self.card = false
end
function Sim:restart() sim_start(self, self.link) end

local shared = {
  ca_state = ca_state, tool = tool, daemon = daemon, running = running, ask = ask, choice = choice,
  wait_event = wait_event, fresh_name = fresh_name, sim_start = sim_start, hub = false,
}
local hub = kit.part("bed_hub", shared)
local device = kit.part("bed_device", shared)
return { operator = operator, hub = hub, device = device }
