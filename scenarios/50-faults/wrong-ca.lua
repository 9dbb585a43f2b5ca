-- A card of a factory whose CA the hub does not trust is refused inside the handshake, with the alert for an
-- unknown CA.
scenario {
  name    = "wrong-ca",
  tags    = { "faults", "negative" },
  timeout = "60s",
  matrix  = { tls = { "1.3", "1.2" } },
}

function run(case)
  local red, blue = operator "red", operator "blue"
  local cloud = hub { mqtt = "tls", trust = { red } }
  local dev = device { tls = case.tls, sim = blue:sim { register = false } }

  step "a blue card tries to join a hub that trusts red only"
  dev:power_on()
  cloud:expect("refused", { reason = "wrong-ca" }, "20s")

  step "the device reports it, and the trusted red device beside it is not bothered"
  dev:expect("session-failed", {}, "10s")
  local other = device { sim = red:sim() }
  other:power_on()
  cloud:expect("connect", { device = other.id }, "20s")
end
