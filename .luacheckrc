std = "lua54"
max_line_length = 110
self = false -- a method may do without it

-- Scenarios see the verbs of the runner and nothing else; what they define is run().
files["scenarios/[0-9]*/*.lua"] = {
  globals = { "run" },
  read_globals = { "scenario", "step", "check", "skip", "note", "parallel", "each", "operator", "hub", "device", "clock" },
}
