-- The process bed: each actor a daemon on loopback, each seam its real protocol. Gives the verbs operator,
-- hub, device and sim.
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

local sim_options = { profile = 1, register = 1 }

-- Where the card has its first certificate and the key that belongs to it: the factory's record tells.
local function identity(made)
  local certificate = (made.certificates or {})[1]
  if not certificate then return {} end
  local found = {
    certificate = certificate.pem, fingerprint = certificate.fingerprint, cert_id = certificate.files[1].id,
  }
  for _, key in ipairs(made.keys or {}) do
    if key.name == certificate.key then found.key_id = key.id end
  end
  return found
end

-- A card as the factory delivers it. register = false: its certificate never reaches the hub's registry.
function Operator:sim(given)
  local o = options("sim", given, sim_options)
  local name = fresh_name "card"
  local iccid, imsi = next_iccid()
  local profile = o.profile or "factory"
  if not profile:find "[/.]" then profile = tb.data("profiles/" .. profile .. ".card") end
  local store, out = tb.path("state/" .. name .. ".db"), tb.path("state/" .. name .. ".json")
  tool(name .. "-personalise", "sim-card", {
    "personalise", profile, "--store", store,
    "--issuer-cert", self.cert, "--issuer-key", self.key, "--server-ca", ca_state() .. "/ca/device.crt",
    "--iccid", iccid, "--imsi", imsi, "--out", out })
  local made = tb.decode(tb.read(out)).cards[1]
  local own = identity(made)
  return new_sim {
    name = name, iccid = iccid, imsi = imsi, id = iccid, store = store, file = out,
    register = o.register ~= false, certificate = own.certificate or false,
    fingerprint = own.fingerprint or "", cert_id = own.cert_id or "02", key_id = own.key_id or "01",
    card = false, vpcd = false,
  }
end

-- ---- the card ----

local Sim, make_sim = class "sim"
new_sim = make_sim

local function sim_start(sim, vpcd)
  sim.card = daemon(sim.name, "sim-card", { "--store", sim.store, "--vpcd", vpcd,
    "--trace-apdu", tb.path("apdu.pcapng") })
  sim.vpcd = vpcd
end

function Sim:counters()
  if not self.card then return { sign = 0, apdus = 0 } end
  return ask(self.card, self.name, { verb = "counters" })
end

function Sim:state() return ask(self.card, self.name, { verb = "state" }) end
function Sim:expect(name, fields, timeout) return wait_event(self.name, name, fields, timeout, 10000) end
function Sim:remove() ask(self.card, self.name, { verb = "remove" }) end
function Sim:insert() ask(self.card, self.name, { verb = "insert" }) end
function Sim:reset() ask(self.card, self.name, { verb = "reset" }) end

-- Ends the card's process as a power cut does; start it again with restart().
function Sim:kill()
  tb.kill(running(self.card, self.name), 9)
  self.card = false
end
function Sim:restart() sim_start(self, self.vpcd) end

-- ---- the hub ----

local Hub, new_hub = class "hub"
local hub_options = { mqtt = 1, trust = 1, resumption = 1 }
local the_hub

local function hub(given)
  local o = options("hub", given, hub_options)
  if the_hub then error("one hub per scenario", 0) end
  local self = {
    name = "hub", ready = false, id = false, trust = o.trust or {}, state = ca_state(), args = false,
  }
  for _, op in ipairs(self.trust) do
    tool("ca-trust-" .. op.name, "iot-hub", { "ca", "trust", op.name, "--state", self.state })
  end
  local args = { "--state", self.state, "--mqtts", "127.0.0.1:0", "--broker-socket", tb.sock("broker") }
  if o.resumption then args[#args + 1] = "--resumption" end
  self.args = args
  self.id, self.ready = daemon("hub", "iot-hub", args)
  the_hub = new_hub(self)
  return the_hub
end

function Hub:expect(name, fields, timeout) return wait_event("hub", name, fields, timeout, 10000) end
function Hub:never(name, fields, timeout) wait_event("hub", name, fields, timeout, 1000, true) end
function Hub:counters() return ask(self.id, "hub", { verb = "counters" }) end

-- What the SIM maker's output file tells about this card goes into the registry.
function Hub:import(sim) ask(self.id, "hub", { verb = "import", file = sim.file }) end
function Hub:revoke(fingerprint)
  return ask(self.id, "hub", { verb = "revoke", fingerprint = fingerprint })
end

-- Sends a command to a device, as a cloud application would.
function Hub:command(device, payload)
  local topic = ("devices/%s/command"):format(device.id)
  ask(self.id, "hub", { verb = "publish", topic = topic, payload = payload })
end

function Hub:kill()
  tb.kill(running(self.id, "hub"), 9)
  self.id = false
end
function Hub:restart()
  self.args[4] = self.ready.mqtts -- the address the devices know
  self.id, self.ready = daemon("hub", "iot-hub", self.args)
end
function Hub:kill_broker() tb.kill_pid(ask(self.id, "hub", { verb = "state" }).broker_pid) end

-- ---- the device: modem, card and device program ----

local Device, new_device = class "device"
local device_options = {
  stack = { "openssl" }, link = { "csim", "cgla" }, tls = { "1.2", "1.3" }, port = { "unix", "pty", "tcp" },
  sim = 1, model = 1,
}

local function device(given)
  local o = options("device", given, device_options)
  for _, key in ipairs { "stack", "link", "tls", "port" } do
    local ok = o[key] == nil
    for _, value in ipairs(device_options[key]) do ok = ok or o[key] == value end
    if not ok then
      error(("device: %s = '%s' is not built; there is: %s"):format(key, tostring(o[key]),
        table.concat(device_options[key], ", ")), 0)
    end
  end
  if not o.sim then error("device: it needs a sim", 0) end
  local n = fresh_name "device"
  local self = new_device {
    name = n, modem_name = n:gsub("device", "modem"), sim = o.sim, id = o.sim.id, tls = o.tls or "1.3",
    link = o.link or "csim", port = o.port or "unix", model = o.model or "generic",
    modem = false, agent = false, modem_ready = false, vpcd_port = "0",
  }
  if self.sim.register and the_hub then the_hub:import(self.sim) end
  return self
end

function Device:modem_on()
  local sock = tb.sock(self.modem_name .. ".at")
  self.modem, self.modem_ready = daemon(self.modem_name, "sim-modem", {
    "--vpcd", "127.0.0.1:" .. self.vpcd_port, "--at-pty", tb.sock(self.modem_name .. ".pty"),
    "--at-tcp", "127.0.0.1:0", "--at-unix", sock, "--model", self.model })
  -- A modem that comes back is found where it was.
  self.vpcd_port = self.modem_ready.vpcd:match(":(%d+)$")
end

function Device:sim_on()
  sim_start(self.sim, self.modem_ready.vpcd)
  wait_event(self.modem_name, "card-inserted", nil, nil, 15000)
end

local function link_spec(self)
  local at = self.modem_ready.at
  local place = ({ unix = at.unix, tcp = "tcp:" .. tostring(at.tcp), pty = at.pty })[self.port]
  return (self.link == "cgla" and "cgla:" or "at:") .. place
end

-- connect = false: the device program is up, but does not open its session yet.
function Device:agent_on(connect)
  local args = {
    "--link", link_spec(self), "--hub", the_hub.ready.mqtts, "--server-name", "localhost",
    "--ca", the_hub.state .. "/ca/device.crt", "--cert", "card:" .. self.sim.cert_id,
    "--key", "card:" .. self.sim.key_id, "--client-id", self.id, "--tls", self.tls,
    "--subscribe", ("devices/%s/command"):format(self.id), "--keylog", tb.path("tls.keys"),
    "--reconnect-min", "200", "--reconnect-max", "2000",
  }
  if connect == false then args[#args + 1] = "--no-connect" end
  self.agent = daemon(self.name, "iot-device", args)
end

function Device:power_on()
  if not self.modem then self:modem_on() end
  if not self.sim.card then self:sim_on() end
  self:agent_on()
end

function Device:power_off()
  for _, part in ipairs { "agent", "modem" } do
    if self[part] then
      tb.stop(self[part], 5000)
      self[part] = false
    end
  end
  if self.sim.card then
    tb.stop(self.sim.card, 5000)
    self.sim.card = false
  end
end

function Device:insert(sim)
  self.sim, self.id = sim, sim.id
  if sim.register and the_hub then the_hub:import(sim) end
end

function Device:expect(name, fields, timeout) return wait_event(self.name, name, fields, timeout, 10000) end
function Device:never(name, fields, timeout) wait_event(self.name, name, fields, timeout, 1000, true) end
function Device:expect_modem(name, fields, timeout)
  return wait_event(self.modem_name, name, fields, timeout, 10000)
end

-- Ends the session; the device opens a new one.
function Device:reconnect()
  self:disconnect()
  self:expect("disconnected", {}, "10s")
  self:connect()
end
function Device:connect() ask(self.agent, self.name, { verb = "connect" }) end
function Device:disconnect() ask(self.agent, self.name, { verb = "disconnect" }) end
function Device:publish(topic, payload)
  topic = ("devices/%s/%s"):format(self.id, topic)
  ask(self.agent, self.name, { verb = "publish", topic = topic, payload = payload })
end
-- The device program, as by a power cut.
function Device:kill()
  tb.kill(running(self.agent, self.name), 9)
  self.agent = false
end
function Device:restart() self:agent_on() end
function Device:kill_modem()
  tb.kill(running(self.modem, self.modem_name), 9)
  self.modem = false
end

return { operator = operator, hub = hub, device = device }
