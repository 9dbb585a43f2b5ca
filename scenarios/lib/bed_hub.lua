-- The hub of the process bed, and its listeners.
local kit, bed = ...
local tb, options = kit.tb, kit.options
local tool, daemon, running, ask, wait_event = bed.tool, bed.daemon, bed.running, bed.ask, bed.wait_event

local Hub, new_hub = kit.class "hub"
local hub_options = { mqtt = 1, coap = 1, http = 1, metrics = 1, trust = 1, resumption = 1, tls = 1 }

-- What can be asked for, and the listeners it means: option of iot-hub, member of its ready line.
local endpoints = {
  mqtt = { tls = { "mqtts" }, psk = { "mqtts-psk" } },
  coap = { dtls = { "coaps" }, psk = { "coaps-psk" } },
  http = { tls = { "https" } },
}

local function names(t)
  local list = {}
  for name in pairs(t) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The kinds of listener that hub { mqtt = "tls", coap = { "dtls", "psk" } } asks for.
local function kinds_of(o)
  local kinds = {}
  for _, protocol in ipairs { "mqtt", "coap", "http" } do
    local wanted = o[protocol] or {}
    for _, value in ipairs(type(wanted) == "table" and wanted or { wanted }) do
      bed.choice("hub", protocol, value, names(endpoints[protocol]))
      kinds[#kinds + 1] = endpoints[protocol][value][1]
    end
  end
  if #kinds == 0 then kinds[1] = "mqtts" end
  if o.metrics then kinds[#kinds + 1] = "metrics" end
  return kinds
end

-- Addresses are chosen at the first start and kept: a hub that comes back is where its devices know it.
local function start(self)
  local args = { "--state", self.state, "--broker-socket", tb.sock("broker") }
  local told = self.ready
  for _, kind in ipairs(self.kinds) do
    local at = told and told[kind:gsub("-", "_")] or "127.0.0.1:0"
    local policy = kind ~= "metrics" and self.policy or ""
    args[#args + 1], args[#args + 2] = "--" .. kind, at .. policy
  end
  if not told and self.kinds[1] ~= "mqtts" then
    args[#args + 1], args[#args + 2] = "--mqtts", "127.0.0.1:0"
  end
  self.id, self.ready = daemon("hub", "iot-hub", args)
end

local function hub(given)
  local o = options("hub", given, hub_options)
  if bed.hub then error("one hub per scenario", 0) end
  local self = new_hub {
    name = "hub", ready = false, id = false, trust = o.trust or {}, state = bed.ca_state(),
    kinds = kinds_of(o),
    policy = (o.tls and ",tls=" .. o.tls or "") .. (o.resumption and ",resumption=on" or ""),
  }
  for _, op in ipairs(self.trust) do
    tool("ca-trust-" .. op.name, "iot-hub", { "ca", "trust", op.name, "--state", self.state })
  end
  start(self)
  bed.hub = self
  return self
end

-- Where a device finds protocol with that kind of credential, as a URL.
function Hub:url(protocol, credential)
  local kind = ({
    mqtt = { certificate = "mqtts", psk = "mqtts_psk" }, coap = { certificate = "coaps", psk = "coaps_psk" },
    http = { certificate = "https" },
  })[protocol][credential]
  local scheme = ({ mqtt = "mqtts", coap = "coaps", http = "https" })[protocol]
  if not kind or not self.ready[kind] then
    error(("the hub serves no %s with a %s"):format(protocol, credential), 0)
  end
  return scheme .. "://" .. self.ready[kind]
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
function Hub:restart() start(self) end
function Hub:kill_broker() tb.kill_pid(ask(self.id, "hub", { verb = "state" }).broker_pid) end

return hub
