-- One factory card, every way to use it: either TLS stack, certificate or pre-shared key, MQTT, CoAP or HTTP.
-- The secret stays in the card in each of them; the hub knows the device by it.
scenario {
  name    = "every-path",
  tags    = { "smoke", "paths" },
  timeout = "60s",
  matrix  = {
    stack = { "openssl", "mbedtls" },
    path = { "mqtt certificate", "mqtt psk", "coap certificate", "coap psk", "http certificate" },
  },
}

function run(case)
  local protocol, credential = case.path:match "(%a+) (%a+)"
  local red = operator "red"
  local cloud = hub { mqtt = { "tls", "psk" }, coap = { "dtls", "psk" }, http = "tls", trust = { red } }
  local dev = device {
    stack = case.stack, protocol = protocol, credential = credential, sim = red:sim(),
  }

  step "the device proves who it is with the secret in its card"
  dev:power_on()
  local mine = dev:expect("session", { protocol = protocol, credential = credential }, "20s")
  local seen = cloud:expect("session", { device = dev.id, protocol = protocol }, "10s")
  local used = dev.sim:counters()
  check(used.sign + used.prf + used.hkdf > 0, "the card was not asked")
  check(mine.apdus > 0, "the handshake cost no APDU")

  step "what it sends reaches the broker under its identity"
  if protocol == "mqtt" then
    dev:publish("telemetry", "23.5 C")
  else
    local answer = dev:request("POST", "/telemetry", "23.5 C")
    check(answer.code == 204 or answer.code == "2.04", "refused with " .. tostring(answer.code))
  end
  cloud:expect("publish", { device = dev.id, payload = "23.5 C" }, "10s")
  note("handshake", {
    version = seen.version, cipher = seen.cipher, apdus = mine.apdus, us = mine.handshake_us,
  })
end
