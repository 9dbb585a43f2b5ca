-- IoT SAFE #2: a card of Type II has pre-shared keys and nothing else. They never leave it, and are enough:
-- the hub knows the device by one, with either stack, and the card derives what TLS needs, by PRF or by HKDF.
scenario {
  name    = "psk-only",
  tags    = { "paths", "psk" },
  timeout = "60s",
  matrix  = {
    stack = { "openssl", "mbedtls" },
    path = { "mqtt 1.2", "mqtt 1.3", "coap 1.2" },
  },
}

function run(case)
  local protocol, tls = case.path:match "(%a+) (%g+)"
  local red = operator "red"
  local cloud = hub { mqtt = "psk", coap = "psk", trust = { red } }
  local dev = device {
    stack = case.stack, protocol = protocol, tls = tls, credential = "psk",
    sim = red:sim { profile = "type2" },
  }

  step "the device is known by the key in its card"
  dev:power_on()
  dev:expect("session", { protocol = protocol, credential = "psk" }, "20s")
  cloud:expect("session", { device = dev.id, kind = "psk" }, "10s")

  step "the card has derived, and has done nothing else: it cannot"
  local used = dev.sim:counters()
  check((tls == "1.3" and used.hkdf or used.prf) > 0, "the secret of the session is not from the card")
  check(used.sign + used.verify + used.ecdh + used.keygen == 0, "a Type II applet has no key pairs")
end
