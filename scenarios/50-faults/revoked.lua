-- A credential is revoked while its device is connected: the session ends at once, and the device does not
-- come back, not even with the session it could resume.
scenario {
  name    = "revoked",
  tags    = { "smoke", "faults", "negative" },
  timeout = "60s",
  matrix  = { tls = { "1.3", "1.2" }, resumption = { "off", "on" } },
}

function run(case)
  local red = operator "red"
  local cloud = hub { mqtt = "tls", trust = { red }, resumption = case.resumption == "on" }
  local dev = device { tls = case.tls, sim = red:sim() }

  step "the device is in service"
  dev:power_on()
  cloud:expect("connect", { device = dev.id }, "20s")

  step "its credential is revoked: the live session ends"
  cloud:revoke(dev.sim.fingerprint)
  dev:expect("disconnected", {}, "10s")

  step "the device tries again by itself and is refused"
  cloud:expect("refused", { reason = "revoked", fingerprint = dev.sim.fingerprint }, "20s")
  cloud:never("connect", { device = dev.id }, "300ms")
end
