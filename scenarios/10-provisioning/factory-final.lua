-- A card that left the factory with its final credential. The device comes up and proves its identity with a
-- key that never leaves the card; its message reaches the broker under that identity, and a command finds the
-- way back.
scenario {
  name    = "factory-final",
  tags    = { "smoke", "provisioning" },
  timeout = "60s",
  matrix  = { tls = { "1.3", "1.2" }, link = { "csim", "cgla" } },
}

function run(case)
  local red = operator "red"
  local cloud = hub { mqtt = "tls", trust = { red } }
  local dev = device { tls = case.tls, link = case.link, sim = red:sim() }

  step "the card leaves the factory with a key pair made inside and a certificate; the registry knows it"
  check(dev.sim.fingerprint ~= "", "the factory reported no certificate")

  step "the device powers on: modem, card, then a mutual TLS handshake with the hub"
  dev:power_on()
  local mine = dev:expect("session", { version = "TLSv" .. case.tls }, "20s")
  local seen = cloud:expect("session", { device = dev.id, version = "TLSv" .. case.tls }, "10s")

  step "the hub saw the certificate of this card, and the signature was made in the card"
  check(seen.fingerprint == dev.sim.fingerprint, "the hub saw another certificate than the factory made")
  local counters = dev.sim:counters()
  check(counters.sign == 1, ("the card made %d signatures instead of 1"):format(counters.sign))

  step "a message reaches the broker under the identity of the card"
  dev:publish("telemetry", "23.5 C")
  cloud:expect("publish", { device = dev.id, topic = "devices/" .. dev.id .. "/telemetry" }, "10s")

  step "a command finds its way back to the device"
  cloud:command(dev, "blink")
  dev:expect("message", { topic = "devices/" .. dev.id .. "/command", payload = "blink" }, "10s")

  note("identity", seen.identity)
  note("handshake", {
    version = seen.version, cipher = seen.cipher, us = mine.handshake_us, signatures = counters.sign,
    apdus = mine.apdus, bytes_out = mine.bytes_out, bytes_in = mine.bytes_in,
  })
end
