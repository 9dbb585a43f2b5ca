-- `testbed up`: a hub, a factory-personalised card behind a modem and an idle device, until the user ends it.
-- Prints where everything is.
local kit, bed = ...
local tb, settings = kit.tb, kit.settings

local maker = bed.operator "red"
local cloud = bed.hub {
  mqtt = { "tls", "psk" }, coap = { "dtls", "psk" }, http = "tls", metrics = true, trust = { maker },
}
local sim = maker:sim { profile = settings.profile }
local dev = bed.device { sim = sim, model = settings.model }
dev:modem_on()
dev:sim_on()
dev:agent_on(false)

local function write(name, text)
  local path = tb.path(name)
  tb.write(path, text)
  return path
end

-- A card without an identity (profile bare) has neither certificate nor key to refer to.
local cert, key
if sim.certificate then
  cert = write("client.pem", sim.certificate)
  key = tb.path("client-key.pem")
  kit.tool("keyref", "iotsafe-keyref", { "--id", sim.key_id, "--cert", cert, "--out", key })
end

-- The provider's own commented examples are what the bed uses.
local values = { ISP_MODULE = settings.module, ISP_TRANSPORT = "at:" .. dev.modem_ready.at.unix }
local function configure(name)
  return write(name, (tb.read(tb.data(name .. ".in")):gsub("@([A-Z_]+)@", values)))
end
local conf = configure "openssl.cnf"

-- For a shell.
local function quoted(text)
  return text:find "[^%w/._:-]" and "'" .. text:gsub("'", "'\\''") .. "'" or text
end

local at = dev.modem_ready.at
local listeners = {}
for _, kind in ipairs {
  "mqtts", "mqtts_psk", "coaps", "coaps_tcp", "coaps_psk", "coaps_psk_tcp", "https", "metrics",
} do
  listeners[kind] = cloud.ready[kind]
end
local bed_json = {
  at = { pty = at.pty, tcp = at.tcp, unix = at.unix:gsub("^unix:", "") },
  vpcd = dev.modem_ready.vpcd,
  ctl = {
    card = tb.sock(sim.name .. ".ctl"), modem = tb.sock(dev.modem_name .. ".ctl"),
    device = tb.sock(dev.name .. ".ctl"), hub = tb.sock("hub.ctl"),
  },
  hub = listeners,
  openssl_conf = conf, openssl_offload_conf = configure "openssl-offload.cnf", key_ref = key,
  client_cert = cert, ca = cloud.state .. "/ca/device.crt",
  psk_identity = sim.psk_identity or nil, psk_handle = sim.psk_id and "IOTSAFE:psk:" .. sim.psk_id or nil,
  device_id = dev.id, run_dir = tb.path("x"):sub(1, -3),
}
tb.write(tb.path("bed.json"), tb.encode(bed_json))

-- The same for a shell; docs/use-the-sim.md is written with it.
local variables = {
  { "OPENSSL_CONF", conf }, { "OFFLOAD_CONF", bed_json.openssl_offload_conf },
  { "CERT", cert }, { "KEY", key }, { "CA", bed_json.ca }, { "DEVICE", dev.id },
  { "PSK", bed_json.psk_handle }, { "PSK_IDENTITY", bed_json.psk_identity },
}
for kind, address in pairs(listeners) do
  table.insert(variables, { "HUB_" .. kind:upper(), address })
end
local env = {}
for _, v in ipairs(variables) do
  if v[2] then table.insert(env, ("export %s=%s\n"):format(v[1], quoted(v[2]))) end
end
table.sort(env)
local env_file = write("bed.env", table.concat(env))
tb.living()

if settings.json then
  tb.line(tb.encode(bed_json))
else
  local rows = {
    { "AT port", at.pty .. "   (any terminal: picocom " .. at.pty .. ")" },
    { "", "tcp:" .. at.tcp .. "   " .. at.unix },
    { "hub MQTT", listeners.mqtts .. "   with a PSK " .. listeners.mqtts_psk },
    { "hub CoAP", listeners.coaps .. "   with a PSK " .. listeners.coaps_psk .. "   (UDP)" },
    { "hub HTTPS", listeners.https }, { "hub metrics", "http://" .. listeners.metrics .. "/metrics" },
    { "device id", dev.id }, { "run folder", bed_json.run_dir },
    { "for a shell", ". " .. quoted(env_file) },
  }
  for _, row in ipairs(rows) do tb.line(("  %-14s %s"):format(row[1], row[2])) end
  tb.line("")
  if key then
    tb.line("Any OpenSSL program with the key in the card:")
    tb.line(("  OPENSSL_CONF=%s \\"):format(quoted(conf)))
    tb.line(("    openssl s_client -cert %s \\"):format(quoted(cert)))
    tb.line(("    -key %s \\"):format(quoted(key)))
    tb.line(("    -CAfile %s -connect %s"):format(quoted(bed_json.ca), cloud.ready.mqtts))
  end
  tb.line("Send an APDU, an AT command, ask a daemon:")
  tb.line("  ./testbed apdu 00A4040007A0000005590010")
  tb.line("  ./testbed at 'AT+CIMI'")
  tb.line("  ./testbed ctl card counters")
  tb.line("")
  tb.line("Ctrl-C ends it.")
end
tb.wait_quit()
