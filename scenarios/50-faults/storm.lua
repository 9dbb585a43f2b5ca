-- Parts die at random moments, one after the other, and come back. After each death the device gets through
-- again, and at the end nothing has leaked on the card. `--seed N` repeats a storm.
scenario {
  name    = "storm",
  tags    = { "faults" },
  timeout = "180s",
}

function run()
  local red = operator "red"
  local cloud = hub { mqtt = "tls", trust = { red } }
  local dev = device { sim = red:sim() }

  local function any_moment() cloud:never("refused", {}, math.random(0, 250) .. "ms") end

  -- How each part dies and comes back. A session outlives card and modem: there a new one is asked for.
  local deaths = {
    card = function()
      dev.sim:kill()
      any_moment()
      dev.sim:restart()
      dev:reconnect()
    end,
    modem = function()
      dev:kill_modem()
      any_moment()
      dev:modem_on()
      dev:reconnect()
    end,
    hub = function()
      cloud:kill()
      any_moment()
      cloud:restart()
    end,
    broker = function() cloud:kill_broker() end,
    device = function()
      dev:kill()
      any_moment()
      dev:restart()
    end,
  }
  local names = { "card", "modem", "hub", "broker", "device" }

  step "a session is up"
  dev:power_on()
  dev:expect("session", {}, "20s")
  for i = 1, 10 do
    local victim = names[math.random(#names)]
    step(("death %d: the %s"):format(i, victim))
    any_moment()
    deaths[victim]()
    dev:expect("session", {}, "40s")
    dev:publish("telemetry", "alive " .. i)
    cloud:expect("publish", { device = dev.id, payload = "alive " .. i }, "10s")
  end

  step "the card has one channel open, the device's"
  check(#dev.sim:state().channels == 2, "logical channels leak")
end
