"""The runner as its users meet it: texts of failures, exit codes, reports. No daemon is needed for these."""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

TESTBED = os.environ["TB_BIN"] + "/testbed"
failures = []


def run(*args, **kw):
    env = dict(os.environ, NO_COLOR="1", XDG_RUNTIME_DIR=folder)
    p = subprocess.run([TESTBED, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, env=env, **kw)
    return p.returncode, p.stdout


def scenario(name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def expect(what, got, code, *patterns):
    rc, out = got
    missing = [p for p in patterns if not re.search(p, out, re.M)]
    if rc != code or missing:
        failures.append(what)
        print(f"FAIL {what}: exit {rc} (wanted {code}), missing {missing}\n{out}")
    else:
        print(f"ok   {what}")


HEAD = 'scenario { name = "t", timeout = "5s" }\n'


def body(text):
    return HEAD + "function run(case)\n" + text + "\nend\n"


with tempfile.TemporaryDirectory() as folder:
    s = scenario("pass.lua", body('step "one"\nstep "two"\ncheck(true)'))
    expect("a scenario passes", run("run", s), 0, r"pass  t ", r"1 passed, 0 failed, 0 broken, 0 skipped")

    s = scenario("fail.lua", body('step "first"\nstep "second"\ncheck(1 == 2, "one is not two")'))
    expect("a failed check names file, line and step", run("run", s), 1, r"FAIL  t ", r"fail\.lua:5", r'in step "second"',
           r"one is not two", r"traces and logs: /")

    s = scenario("verb.lua", body('stpe "x"'))
    expect("an unknown verb is an error at its line, with the nearest name", run("run", s), 1, r"verb\.lua:3", r"unknown name 'stpe' \(did you mean 'step'\?\)")

    s = scenario("option.lua", 'scenario { name = "t", tiemout = "5s" }\nfunction run() end\n')
    expect("an unknown option is an error with the nearest name", run("run", s), 2, r"option\.lua:1: scenario: unknown option 'tiemout' \(did you mean 'timeout'\?\)")

    s = scenario("world.lua", body('os.execute("true")'))
    expect("a scenario does not reach the system", run("run", s), 1, r"unknown name 'os'")

    s = scenario("global.lua", body("x = 1"))
    expect("variables are local", run("run", s), 1, r"'x' must be local")

    s = scenario("syntax.lua", HEAD + "function run( end\n")
    expect("a syntax error names file and line", run("run", s), 2, r"syntax\.lua:2:")

    s = scenario("anonymous.lua", "function run() end\n")
    expect("a file without declaration is refused", run("run", s), 2, r"declares no scenario")

    s = scenario("skip.lua", body('skip "no such modem here"'))
    expect("everything skipped is exit code 77, with the reason", run("run", s), 77, r"skip  t ", r"no such modem here")

    s = scenario("broke.lua", body('tb = nil'))
    expect("assigning a new global is told", run("run", s), 1, r"'tb' must be local")

    s = scenario("parallel.lua", body('parallel(function() step "a" end, function() step "b" end)\neach({ 1, 2 }, function(x) check(x > 0) end)'))
    expect("branches run to their end", run("run", s), 0, r"pass  t")

    s = scenario("branch.lua", body('step "both"\nparallel(\n function() step "left" end,\n function() step "right"\n  check(false, "right broke") end)'))
    expect("a failing branch fails the case at its own line and step", run("run", s), 1, r"branch\.lua:7", r'in step "right"', r"right broke")

    s = scenario("matrix.lua", 'scenario { name = "m", tags = { "fast" }, matrix = { b = { "1", "2" }, a = { "x" } } }\n'
                 'function run(case) check(case.a == "x" and (case.b == "1" or case.b == "2")) end\n')
    expect("a matrix gives one case per combination, named in order", run("list", s), 0, r"m\[a=x,b=1\]", r"m\[a=x,b=2\]")
    expect("--set picks values", run("run", "--set", "b=2", s), 0, r"m\[a=x,b=2\]", r"1 passed")
    expect("--set with an unknown axis is a usage error", run("run", "--set", "c=2", s), 2, r"none of the scenarios has that axis")
    expect("--filter looks at tags", run("run", "--filter", "fast", s), 0, r"2 passed")
    expect("--filter that leaves nothing says so", run("run", "--filter", "nothing", s), 2, r"no scenario left")
    expect("--repeat", run("run", "--repeat", "2", s), 0, r"4 passed")

    junit = os.path.join(folder, "j.xml")
    bad = scenario("bad.lua", body('step "a <b>"\ncheck(false, "x < y & \\"z\\"")'))
    expect("JUnit is written on failure", run("run", "--junit", junit, s, bad), 1, r"2 passed, 1 failed")
    suite = xml.parse(junit).getroot()
    if (suite.get("tests"), suite.get("failures")) != ("3", "1") or suite.find(".//failure").get("message") != 'x < y & "z"':
        failures.append("junit content")
        print(open(junit).read())

    s = scenario("random.lua", body('note("x", 1)\ncheck(false, tostring(math.random(1000000)))'))
    same = [run("run", "--seed", "7", s)[1] for _ in range(2)]
    lucky = [re.search(r"^ +(\d+)$", text, re.M).group(1) for text in same]
    if lucky[0] != lucky[1] or "(seed 7)" not in same[0]:
        failures.append("seed")
        print("FAIL seed", same)

    code, text = run("run", bad, bad, bad)
    folders = re.findall("traces and logs: (.*)", text)
    if len(set(folders)) != 3 or not all(os.path.exists(f + "/.testbed-run") for f in folders):
        failures.append("each failed case keeps its folder")
        print(text)

    expect("a method before its time", run("run", scenario("early.lua", body('local o = operator "red"\nlocal d = device { sim = o:sim() }\nd.sim:remove()'))), 1,
           r"early\.lua:5", r"card is not running")

    expect("no time at all is still a deadline", run("run", scenario("zero.lua", body('local h = hub { trust = { operator "red" } }\nh:never("x", {}, "0ms")\nh:expect("x", {}, "0s")'))), 1,
           r"zero\.lua:5", r"waited 0\.0 s in vain")

    out = os.path.join(folder, "out")
    expect("--out that cannot be made", run("run", "--out", s + "/x", s), 3, r"random\.lua/x: cannot be used: Not a directory")
    expect("--out without a name", run("run", "--out", "", s), 2, r"--out needs the name of a folder")
    expect("--out keeps the folder", run("run", "--out", out, scenario("p.lua", body('step "x"'))), 0)
    if not os.path.isdir(out):
        failures.append("--out")
    expect("--out is used again", run("run", "--out", out, scenario("p.lua", body('step "x"'))), 0)
    expect("several cases get folders of their own", run("run", "--out", out, bad, bad), 1, r"out/01-t", r"out/02-t")
    expect("and give way to a single one", run("run", "--out", out, bad), 1, r"logs: [^ ]*/out$")
    if os.path.exists(os.path.join(out, "01-t")):
        failures.append("--out holds what an earlier run left")
    precious = os.path.join(folder, "precious")
    os.mkdir(precious)
    open(os.path.join(precious, "file"), "w").close()
    expect("--out with several cases never empties somebody's folder", run("run", "--out", precious, bad, bad), 3, r"not the folder of an earlier run")
    expect("--out never empties somebody's folder", run("run", "--out", precious, scenario("p.lua", body('step "x"'))), 3, r"not the folder of an earlier run")

    expect("no arguments: usage", run(), 2, r"Usage: testbed COMMAND")
    expect("an unknown command, with the nearest", run("dmeo"), 2, r"did you mean 'demo'")
    expect("an unknown option is a usage error", run("run", "--nope"), 2, r"unrecognized option")
    expect("an unknown bed is refused clearly", run("run", "--bed", "compose"), 2, r"not built yet")
    expect("matrix is refused clearly", run("matrix"), 2, r"not built yet")
    expect("tools need a living bed", run("at", "AT"), 3, r"no living bed")
    expect("a missing file", run("run", "/nonexistent.lua"), 2, r"No such file")

sys.exit(1 if failures else 0)
