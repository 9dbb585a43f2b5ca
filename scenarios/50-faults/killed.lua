-- One part after the other dies without warning in the middle of a run. The others say what happened, keep
-- their own service, and the device is back as soon as the part is: nobody has to be restarted by hand.
scenario {
  name    = "killed",
  tags    = { "faults" },
  timeout = "120s",
  matrix  = { victim = { "card", "modem", "hub", "broker" } },
}

function run(case)
  local red = operator "red"
  local cloud = hub { mqtt = "tls", trust = { red } }
  local dev = device { sim = red:sim() }

  step "a session is up"
  dev:power_on()
  dev:expect("session", {}, "20s")

  if case.victim == "card" then
    step "the card loses power; the modem notices"
    dev.sim:kill()
    dev:expect_modem("card-removed", {}, "10s")
    step "an established session needs no card, a new one does: the failure is clear"
    dev:reconnect()
    dev:expect("session-failed", {}, "20s")
    step "the card is back: so is the device"
    dev.sim:restart()
  elseif case.victim == "modem" then
    step "the modem dies; the card says that it lost its reader"
    dev:kill_modem()
    dev.sim:expect("card-unlinked", {}, "10s")
    dev:reconnect()
    dev:expect("session-failed", {}, "20s")
    step "another modem on the same port: the card finds it, the device too"
    dev:modem_on()
    dev.sim:expect("card-linked", {}, "20s")
  elseif case.victim == "hub" then
    step "the hub dies; the device says so and keeps trying"
    cloud:kill()
    dev:expect("disconnected", {}, "10s")
    dev:expect("reconnecting", {}, "10s")
    cloud:restart()
  else
    step "the broker dies; the hub says so, ends the sessions and starts it again"
    cloud:kill_broker()
    cloud:expect("broker-down", {}, "10s")
    dev:expect("disconnected", {}, "10s")
    cloud:expect("broker-up", {}, "20s")
  end

  step "the device is back in service"
  dev:expect("session", {}, "40s")
  dev:publish("telemetry", "alive")
  cloud:expect("publish", { device = dev.id, topic = "devices/" .. dev.id .. "/telemetry" }, "10s")
end
