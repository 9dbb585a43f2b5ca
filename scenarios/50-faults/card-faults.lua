-- The card fails in the middle of a handshake, each time in another way. The device says so, and is back in
-- service with the next session: a signature too many or too few never locks anything up.
scenario {
  name    = "card-faults",
  tags    = { "faults" },
  timeout = "120s",
  matrix  = { fault = { "status", "corrupt", "remove", "mute" } },
}

function run(case)
  local red = operator "red"
  hub { mqtt = "tls", trust = { red } }
  local dev = device { sim = red:sim() }

  step "a session is up"
  dev:power_on()
  dev:expect("session", {}, "20s")

  step "the next signature goes wrong"
  dev.sim:fault { kind = case.fault, operation = "compute-signature-update",
    sw = case.fault == "status" and "6F00" or nil }
  dev:reconnect()
  dev.sim:expect("card-fault", { kind = case.fault }, "20s")
  if case.fault == "mute" then dev.sim:remove() end -- nobody waits for ever
  dev:expect("session-failed", {}, "60s")

  step "the card is whole again: so is the device"
  dev.sim:insert()
  dev:expect("session", {}, "60s")
  check(#dev.sim:state().faults == 0, "a fault is left")
end
