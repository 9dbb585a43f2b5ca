-- The counterpart of factory-final: the same card from the same factory, but its certificate never reached
-- the registry. The hub refuses it inside the handshake and says why; the device reports it with one clear
-- error and does not get through.
scenario {
  name    = "unregistered",
  tags    = { "smoke", "provisioning", "negative" },
  timeout = "60s",
  matrix  = { tls = { "1.3", "1.2" } },
}

function run(case)
  local red = operator "red"
  local cloud = hub { mqtt = "tls", trust = { red } }
  local dev = device { tls = case.tls, sim = red:sim { register = false } }

  step "the device tries to join with a certificate nobody told the hub about"
  dev:power_on()

  step "the hub refuses it inside the handshake, and names the reason"
  local refused = cloud:expect("refused", { reason = "unknown-credential" }, "20s")
  check(refused.fingerprint == dev.sim.fingerprint, "another certificate was refused")

  step "the device says what happened and never had a session"
  dev:expect("session-failed", {}, "10s")
  cloud:never("session", { device = dev.id }, "300ms")

  step "once the registry knows the card, the same device joins without being touched"
  cloud:import(dev.sim)
  cloud:expect("session", { device = dev.id }, "20s")
end
