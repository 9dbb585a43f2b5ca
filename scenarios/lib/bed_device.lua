-- A device of the process bed: modem, card and device program. link = "vpcd" is a device without a modem.
local kit, bed = ...
local tb, options = kit.tb, kit.options
local daemon, running, ask, wait_event = bed.daemon, bed.running, bed.ask, bed.wait_event

local Device, new_device = kit.class "device"
local App, new_app = kit.class "application"

local choices = {
  stack = { "openssl", "mbedtls" }, link = { "csim", "cgla", "vpcd" }, tls = { "1.2", "1.3", "any" },
  port = { "unix", "pty", "tcp" }, protocol = { "mqtt", "coap", "http" },
  uart = { "off", "usb", "uart-115k", "uart-9k6" },
  radio = { "off", "lte-m", "nb-iot-good", "nb-iot-deep" },
  credential = { "certificate", "psk" }, psk_exchange = { "plain", "ecdhe", "any" }, mqtt = { "3.1.1", "5" },
}
-- What an application of the device may have of its own, and what only the device has.
local app_options = {
  stack = 1, tls = 1, protocol = 1, credential = 1, psk_exchange = 1, mqtt = 1, offload = 1, resume = 1,
}
local device_options = { link = 1, port = 1, sim = 1, model = 1, apps = 1, uart = 1, radio = 1 }
for key in pairs(app_options) do device_options[key] = 1 end

local function checked(verb, given, allowed)
  local o = options(verb, given, allowed)
  for key, values in pairs(choices) do
    if o[key] ~= nil then bed.choice(verb, key, o[key], values) end
  end
  return o
end

local function with_defaults(o, defaults)
  local all = {}
  for key in pairs(app_options) do
    if o[key] ~= nil then all[key] = o[key] else all[key] = defaults[key] end
  end
  return all
end

local function device(given)
  local o = checked("device", given, device_options)
  if not o.sim then error("device: it needs a sim", 0) end
  local n = bed.fresh_name "device"
  local main = with_defaults(o, {
    stack = "openssl", tls = "any", protocol = "mqtt", credential = "certificate",
  })
  if o.protocol == "coap" and not o.tls then main.tls = "1.2" end
  if o.link == "vpcd" and (o.uart or o.radio) then
    error("device: without a modem there is neither uart nor radio", 0)
  end
  local self = new_device {
    name = n, modem_name = n:gsub("device", "modem"), sim = o.sim, id = o.sim.id, apps = { main = main },
    link = o.link or "csim", port = o.port or "unix", model = o.model or "generic",
    uart = o.uart or "off", radio = o.radio or false,
    modem = false, agent = false, modem_ready = false, vpcd_port = "0",
    data_port = "0",
  }
  if o.apps then
    self.apps = {}
    for name, app in pairs(o.apps) do
      self.apps[name] = with_defaults(checked("device: apps." .. name, app, app_options), main)
    end
  end
  if self.sim.register and bed.hub then bed.hub:import(self.sim) end
  return self
end

-- ---- power ----

function Device:modem_on()
  local sock = tb.sock(self.modem_name .. ".at")
  local args = {
    "--vpcd", "127.0.0.1:" .. self.vpcd_port, "--at-pty", tb.sock(self.modem_name .. ".pty"),
    "--at-tcp", "127.0.0.1:0", "--at-unix", sock, "--model", self.model, "--uart", self.uart }
  if self.radio then -- its TLS goes through the modem
    local data = { "--data", "127.0.0.1:" .. self.data_port, "--radio", self.radio }
    table.move(data, 1, #data, #args + 1, args)
  end
  self.modem, self.modem_ready = daemon(self.modem_name, "sim-modem", args)
  -- A modem that comes back is found where it was.
  self.vpcd_port = self.modem_ready.vpcd:match(":(%d+)$")
  if self.radio then self.data_port = self.modem_ready.data:match(":(%d+)$") end
end

function Device:sim_on()
  if self.link == "vpcd" then
    bed.sim_start(self.sim, { "--listen", "127.0.0.1:0" })
    return
  end
  bed.sim_start(self.sim, { "--vpcd", self.modem_ready.vpcd })
  wait_event(self.modem_name, "card-inserted", nil, nil, 15000)
end

local function link_spec(self)
  if self.link == "vpcd" then return "vpcd:" .. self.sim.ready.listen end
  local at = self.modem_ready.at
  local place = ({ unix = at.unix, tcp = "tcp:" .. tostring(at.tcp), pty = at.pty })[self.port]
  return (self.link == "cgla" and "cgla:" or "at:") .. place
end

-- Options of iot-device for one application.
local function app_args(self, app)
  local args = { hub = bed.hub:url(app.protocol, app.credential), tls = app.tls, stack = app.stack }
  if app.credential == "psk" then
    if not self.sim.psk_id then error(self.sim.name .. " holds no pre-shared key", 0) end
    args.psk, args["psk-identity"] = "card:" .. self.sim.psk_id, self.sim.psk_identity
    args["psk-exchange"] = app.psk_exchange
  else
    args.ca = bed.hub.state .. "/ca/device.crt"
    args.cert, args.key = "card:" .. self.sim.cert_id, "card:" .. self.sim.key_id
  end
  if app.protocol == "mqtt" then
    args["client-id"], args.subscribe = self.id, ("devices/%s/command"):format(self.id)
    args.mqtt = app.mqtt
  end
  args.offload = type(app.offload) == "table" and table.concat(app.offload, ",") or app.offload
  args.resume = app.resume
  return args
end

-- As text of a configuration file: what is common, then a section for each application.
local function config(self)
  local lines = {
    "link = " .. link_spec(self), "server-name = localhost", "keylog = " .. tb.path("tls.keys"),
    "reconnect-min = 200", "reconnect-max = 2000",
  }
  if self.radio then lines[#lines + 1] = "via = socks5://" .. self.modem_ready.data end
  local single = self.apps.main and next(self.apps, next(self.apps)) == nil
  for name, app in pairs(self.apps) do
    if not single then lines[#lines + 1] = ("[%s]"):format(name) end
    for key, value in pairs(app_args(self, app)) do
      lines[#lines + 1] = ("%s = %s"):format(key, value == true and "yes" or tostring(value))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- connect = false: the device program is up, but does not open its session yet.
function Device:agent_on(connect)
  local file = tb.path("state/" .. self.name .. ".conf")
  tb.write(file, config(self))
  local args = { "--config", file }
  if connect == false then args[#args + 1] = "--no-connect" end
  self.agent = daemon(self.name, "iot-device", args)
end

function Device:power_on()
  if not self.modem and self.link ~= "vpcd" then self:modem_on() end
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
  if sim.register and bed.hub then bed.hub:import(sim) end
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

-- What the network answers from now on: "home", "denied", "searching", …
function Device:registration(state)
  ask(running(self.modem, self.modem_name), self.modem_name, { verb = "registration", state = state })
end
-- What AT port and radio would have cost by each profile, waited for or not.
function Device:costs()
  return ask(running(self.modem, self.modem_name), self.modem_name, { verb = "latency" })
end

function Device:expect_modem(name, fields, timeout)
  return wait_event(self.modem_name, name, fields, timeout, 10000)
end

-- ---- applications ----
-- dev:app "name" has the verbs below for one of several; the device itself has them for its only one.

function Device:app(name)
  if not self.apps[name] then error(("%s has no application '%s'"):format(self.name, name), 0) end
  return new_app { device = self, app = name, id = self.id, name = self.name }
end

local function of(self) return rawget(self, "device") or self end

local function verb(self, request)
  request.app = rawget(self, "app")
  local dev = of(self)
  return ask(dev.agent, dev.name, request)
end

local function subset(self, fields)
  local wanted = { app = rawget(self, "app") }
  for key, value in pairs(fields or {}) do wanted[key] = value end
  return wanted
end

local both = {}
function both:expect(name, fields, timeout)
  return wait_event(of(self).name, name, subset(self, fields), timeout, 10000)
end
function both:never(name, fields, timeout)
  wait_event(of(self).name, name, subset(self, fields), timeout, 1000, true)
end
function both:connect() verb(self, { verb = "connect" }) end
function both:disconnect() verb(self, { verb = "disconnect" }) end
-- Ends the session; the device opens a new one.
function both:reconnect()
  self:disconnect()
  self:expect("disconnected", {}, "10s")
  self:connect()
end
-- MQTT: to devices/<id>/<topic>.
function both:publish(topic, payload)
  topic = ("devices/%s/%s"):format(self.id, topic)
  verb(self, { verb = "publish", topic = topic, payload = payload })
end
-- CoAP and HTTP: answers with code, payload …
function both:request(method, path, payload)
  return verb(self, { verb = "request", method = method, path = path, payload = payload })
end
-- CoAP: what changes arrives as event notification.
function both:observe(path)
  return verb(self, { verb = "request", method = "GET", path = path, observe = true })
end
for name, f in pairs(both) do Device[name], App[name] = f, f end

return device
