"""How runs end when things go wrong: signals, programs that crash or never get ready. Nothing is left behind."""
import glob
import json
import os
import shutil
import signal
import stat
import subprocess
import time
import xml.etree.ElementTree as xml

import tbtest

TESTBED = tbtest.program("testbed")
WAITING = """scenario { name = "waiting", timeout = "100s" }
function run()
  local red = operator "red"
  local cloud = hub { trust = { red } }
  local dev = device { sim = red:sim() }
  dev:power_on()
  cloud:expect("session", { device = dev.id }, "60s")
  step "all of it is up"
  cloud:expect("session", { device = "nobody" }, "90s")
end
"""


def descendants(pid):
    """Processes below pid, those below them, and so on."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            own = [int(p) for p in f.read().split()]
    except OSError:
        return []
    return own + [d for p in own for d in descendants(p)]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def socket_folders(pids):
    """The folders of sockets that these processes were told of."""
    found = set()
    for pid in pids:
        with open(f"/proc/{pid}/cmdline") as f:
            for arg in f.read().split("\0"):
                if "/tmp/tb-sock-" in arg:
                    found.add("/tmp/" + arg.partition("/tmp/")[2].split("/")[0])
    return found


class Ends(tbtest.Case):
    def setUp(self):
        self.env = dict(os.environ, NO_COLOR="1", XDG_RUNTIME_DIR=self.dir)
        self.scenario = self.write("waiting.lua", WAITING)

    def launch(self, *argv, program=TESTBED):
        p = subprocess.Popen([program, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env,
                             preexec_fn=tbtest.with_parent_dies(os.getpid()))
        self.addCleanup(lambda: (p.kill(), p.wait(), p.stdout.close(), p.stderr.close()))
        return p

    def run_it(self, *argv, program=TESTBED, **env):
        p = subprocess.run([program, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=tbtest.WAIT * 3,
                           env=dict(self.env, **env))
        return p.returncode, p.stdout

    def in_full_flight(self, *argv):
        """A run of the waiting scenario, its processes, and its socket folders, when everything is up."""
        p = self.launch("run", "-v", *argv, self.scenario)
        line = "?"
        while line and "all of it is up" not in line:
            line = p.stdout.readline()
        self.assertTrue(line, p.stderr)
        pids = descendants(p.pid)
        self.assertGreaterEqual(len(pids), 5)  # hub, mosquitto, modem, card, device
        folders = socket_folders(pids)
        self.assertEqual(len(folders), 1)
        return p, pids, folders.pop()

    def gone(self, pids):
        deadline = time.monotonic() + tbtest.WAIT
        while any(is_alive(p) for p in pids) and time.monotonic() < deadline:
            os.sched_yield()
        return not any(is_alive(p) for p in pids)

    def test_an_interrupt_ends_everything_and_tells(self):
        for signum in (signal.SIGINT, signal.SIGTERM):
            junit = self.path("junit.xml")
            p, pids, folder = self.in_full_flight("--repeat", "3", "--junit", junit)
            p.send_signal(signum)
            out, err = p.communicate(timeout=tbtest.WAIT)
            self.assertEqual(p.returncode, 128 + signum, err)
            self.assertIn("interrupted", out)
            self.assertIn("0 passed, 0 failed, 1 broken", out)
            self.assertTrue(self.gone(pids))
            self.assertFalse(os.path.exists(folder))
            suite = xml.parse(junit).getroot()
            self.assertEqual((suite.get("tests"), suite.get("errors"), suite.get("skipped")), ("3", "1", "2"))

    def test_killed_by_force_takes_its_processes_along(self):
        p, pids, folder = self.in_full_flight()
        p.kill()
        p.wait()
        self.assertTrue(self.gone(pids))
        # What it could not remove is removed by the next run that starts after a minute.
        self.assertTrue(os.path.exists(folder))
        os.utime(folder, (0, 0))
        code, out = self.run_it("run", self.write("empty.lua", 'scenario { name = "e" }\nfunction run() end\n'))
        self.assertEqual(code, 0, out)
        self.assertFalse(os.path.exists(folder))

    def test_an_interrupt_before_up_is_up(self):
        p = self.launch("up")
        while not descendants(p.pid) and p.poll() is None:
            os.sched_yield()
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=tbtest.WAIT)
        self.assertEqual((p.returncode, out), (130, ""), err)
        self.assertEqual(glob.glob(self.path("iotsafe-testbed/2*")), [])

    # ---- programs that do not do what they should ----

    def bin_with(self, name, script):
        """A folder of our programs, in which one is replaced by a shell script; the testbed in it."""
        folder = self.path("bin")
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for program in os.listdir(tbtest.BIN):
            if program not in (name, "testbed"):
                os.symlink(os.path.join(tbtest.BIN, program), os.path.join(folder, program))
        shutil.copy2(TESTBED, folder)
        self.write("bin/" + name, "#!/bin/sh\n" + script)
        os.chmod(os.path.join(folder, name), 0o755 if script else 0o644)
        return os.path.join(folder, "testbed")

    def broken(self, name, script, *texts, **env):
        code, out = self.run_it("run", self.scenario, program=self.bin_with(name, script), **env)
        self.assertEqual(code, 3, out)
        for text in (*texts, "waiting.lua:6", "traces and logs: "):
            self.assertIn(text, out)
        return out

    def test_a_program_that_crashes_at_its_start(self):
        self.broken("sim-modem", "echo boom >&2; kill -SEGV $$", "modem ended before it was ready (signal 11, Segmentation fault)", "boom")
        self.broken("sim-modem", "exit 5", "modem ended before it was ready (exit code 5)")

    def test_a_program_that_cannot_be_started(self):
        self.broken("sim-modem", "", "      sim-modem cannot be started: ")

    def test_a_program_that_never_gets_ready(self):
        self.broken("sim-modem", "exec sleep 1000", "modem did not become ready within 1.0 s", TB_TIMEOUT_FACTOR="0.05")
        self.broken("sim-modem", "trap '' TERM; while :; do sleep 1000; done", "modem did not become ready within 1.0 s",
                    TB_TIMEOUT_FACTOR="0.05")

    def test_a_ready_line_that_makes_no_sense(self):
        self.broken("sim-modem", "echo nonsense >&3; exec sleep 1000", "modem: its ready line has no control address: nonsense")
        self.broken("sim-modem", "echo '{\"ctl\":\"unix:/nonexistent\"}' >&3; exec sleep 1000", "modem does not answer on its control socket")

    def test_a_program_that_dies_later(self):
        out = self.broken("sim-card", 'case $1 in personalise) exec %s/sim-card "$@" ;; esac; echo "I am off" >&2; exit 9' % tbtest.BIN,
                          "card ended before it was ready (exit code 9)", "I am off")
        self.assertIn("0 passed, 0 failed, 1 broken", out)

    def test_branches_that_stop_the_same_program(self):
        s = self.write("stop.lua", """scenario { name = "stop" }
function run()
  local red = operator "red"
  local cloud = hub { trust = { red } }
  local dev = device { sim = red:sim() }
  dev:power_on()
  parallel(function() dev:power_off() end, function() dev:power_off() end, function() cloud:kill() end)
end
""")
        code, out = self.run_it("run", s)
        self.assertEqual(code, 0, out)

    def test_a_branch_that_fails_while_others_start_programs(self):
        s = self.write("mid.lua", """scenario { name = "mid" }
function run()
  local red = operator "red"
  local cloud = hub { trust = { red } }
  parallel(
    function() device { sim = red:sim() }:power_on() end,
    function() red:sim() end,
    function() cloud:expect("nothing", {}, "20ms") end)
end
""")
        for _ in range(5):
            code, out = self.run_it("run", s)
            self.assertEqual(code, 1, out)
            self.assertIn("mid.lua:8", out)

    # ---- living beds ----

    def test_tools_find_the_bed_that_lives(self):
        def up(*argv):
            p = self.launch("up", "--json", *argv)
            line = p.stdout.readline()
            self.assertTrue(line)
            return p, json.loads(line)

        def run_dir():
            code, out = self.run_it("ctl", "card", "state")
            return (code, json.loads(out)["iccid"]) if code == 0 else (code, out)

        first, bed = up("--out", self.path("first"))
        self.assertEqual(run_dir()[0], 0)
        code, out = self.run_it("run", "--out", self.path("first"), self.scenario)
        self.assertEqual(code, 3)
        self.assertIn("in use by another run", out)
        second, _ = up("--profile", "bare")
        self.assertEqual(self.run_it("ctl", "card", "counters")[0], 0)
        second.send_signal(signal.SIGINT)
        self.assertEqual(second.wait(tbtest.WAIT), 0)
        self.assertEqual(run_dir()[0], 0)  # the first is still there
        first.kill()
        first.wait()
        for argv in (("ctl", "card"), ("at", "AT"), ("apdu", "00A40000"), ("trace",)):
            code, out = self.run_it(*argv)
            self.assertEqual(code, 3, out)
            self.assertIn("no living bed", out)
            code, out = self.run_it(*argv, "--run", bed["run_dir"])
            self.assertEqual(code, 3, out)
            self.assertIn("this bed has ended", out)
        code, out = self.run_it("trace", bed["run_dir"])  # its story can still be read
        self.assertEqual(code, 0, out)
        self.assertIn("card-inserted", out)

    def test_a_trace_that_follows_a_bed_to_its_end(self):
        up = self.launch("up", "--json")
        bed = json.loads(up.stdout.readline())
        trace = self.launch("trace", "--follow")
        while "card-inserted" not in trace.stdout.readline():
            self.assertIsNone(trace.poll())
        with tbtest.Ctl(bed["ctl"]["device"]) as device:
            device.ok("connect")
        line = "?"
        while line and "iot-device" not in line and " session " not in line:
            line = trace.stdout.readline()
        self.assertTrue(line)
        up.send_signal(signal.SIGINT)
        self.assertEqual(up.wait(tbtest.WAIT), 0)
        trace.communicate(timeout=tbtest.WAIT)
        self.assertEqual(trace.returncode, 0)

    def test_folders_that_cannot_be_used(self):
        code, out = self.run_it("run", "--out", "/dev/null/x", self.scenario)
        self.assertEqual(code, 3)
        self.assertIn("/dev/null/x: cannot be used: Not a directory", out)
        code, out = self.run_it("run", "--out", self.path("x" * 200 + "/" + "y" * 200 + "/" + "z" * 200 + "/" + "z" * 200 + "/" + "z" * 200),
                                self.scenario)
        self.assertEqual(code, 3)
        self.assertIn("too long a path", out)
        foreign = self.path("iotsafe-testbed")
        os.symlink("/tmp", foreign)
        code, out = self.run_it("run", self.scenario)
        self.assertEqual(code, 3)
        self.assertIn("is not a folder of yours", out)

    def test_a_long_path(self):
        out = self.path("x" * 120 + "/" + "y" * 120)
        s = self.write("one.lua", WAITING.replace("expect(\"session\", { device = \"nobody\" }", "never(\"session\", {}"
                                                  ).replace('"90s"', '"1ms"'))
        code, text = self.run_it("run", "--out", out, s)
        self.assertEqual(code, 0, text)
        self.assertTrue(stat.S_ISREG(os.stat(out + "/apdu.pcapng").st_mode))


if __name__ == "__main__":
    tbtest.main()
