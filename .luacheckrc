-- Scenarios see the verbs of the runner and nothing else.
std = "lua54"
max_line_length = 110
