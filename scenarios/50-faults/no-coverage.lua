-- A device in the field: a slow card, a serial line, LTE-M. Its TLS goes through its modem, so it is cut off
-- where the modem loses the network, says so, and is back by itself when the network is.
scenario {
  name    = "no-coverage",
  tags    = { "faults", "field" },
  timeout = "120s",
  matrix  = { protocol = { "mqtt", "coap" } },
}

function run(case)
  local red = operator "red"
  local cloud = hub { mqtt = "tls", coap = "dtls", trust = { red } }
  local dev = device {
    protocol = case.protocol, sim = red:sim { latency = "se-fast" }, uart = "usb", radio = "lte-m",
  }

  step "the handshake takes its time, and gets through"
  dev:power_on()
  local mine = dev:expect("session", {}, "60s")
  cloud:expect("session", { device = dev.id }, "10s")
  check(mine.handshake_us > 50000 + 33000, "faster than one round trip and one signature")

  step "the account of the same handshake with everything slower"
  local card, way = dev.sim:costs(), dev:costs()
  check(card.operations.sign == 1, "one signature")
  check(way.radio.round_trips >= 3, "fewer round trips than a handshake has")
  note("sim-slow, ms", card.modelled_us["sim-slow"].total // 1000)
  note("uart-9k6, ms", way.uart.modelled_us["uart-9k6"].total // 1000)
  note("nb-iot-good, ms", way.radio.modelled_us["nb-iot-good"].total // 1000)

  step "the network is lost: connections end, and there are no new ones"
  dev:registration "denied"
  dev:expect_modem("registration", { state = "denied" }, "10s")
  dev:expect("disconnected", {}, "20s")
  dev:expect("session-failed", {}, "20s")

  step "the network is back: so is the device"
  dev:registration "home"
  dev:expect("session", {}, "60s")
  cloud:expect("session", { device = dev.id }, "10s")
end
