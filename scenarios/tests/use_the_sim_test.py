"""docs/use-the-sim.md: its commands are taken from the page and run against a living bed, and the card has to have done what they say.

A block ```sh runs in bash, after bed.env. In front of it may stand what the card is to do: <!-- no card -->, <!-- sign -->, <!-- server -->,
<!-- psk -->; otherwise it is a client with a certificate. Those run a second time with everything offloaded."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import tbtest

PAGE = os.path.join(tbtest.SOURCE, "docs", "use-the-sim.md")
TESTBED = tbtest.program("testbed")
PROGRAMS = ("openssl", "curl", "mosquitto_pub", "paho_c_pub", "paho_cs_pub", "coap-client-openssl", "nginx", "iotsafe-keyref", "python3")
PATH = os.pathsep.join([tbtest.BIN, os.environ["PATH"], "/usr/sbin"])
WAIT = 60 * tbtest.FACTOR


def blocks():
    """(kind, commands, what to call it) of each block."""
    with open(PAGE) as f:
        text = f.read()
    heading = ""
    for m in re.finditer(r"^## (?P<heading>[^\n]*)$|(^<!-- (?P<kind>[a-z ]+) -->\n)?^```sh\n(?P<code>.*?)^```$", text, re.M | re.S):
        if m["heading"]:
            heading = m["heading"]
        else:
            yield m["kind"] or "client", m["code"], heading


class UseTheSim(tbtest.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tbtest.temp_dir()
        cls.run_dir = os.path.join(cls.folder.__enter__(), "run")
        cls.up = subprocess.Popen([TESTBED, "up", "--json", "--out", cls.run_dir], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=dict(os.environ, XDG_RUNTIME_DIR=cls.folder.name, NO_COLOR="1"),
                                  preexec_fn=tbtest.with_parent_dies(os.getpid()))
        line = cls.up.stdout.readline()
        if not line:
            raise AssertionError("testbed up: " + cls.up.stderr.read())
        cls.bed = json.loads(line)

    @classmethod
    def tearDownClass(cls):
        cls.up.send_signal(signal.SIGINT)
        try:
            cls.up.wait(WAIT)
        finally:
            cls.up.kill()
            cls.up.stdout.close()
            cls.up.stderr.close()
            cls.folder.__exit__(None, None, None)

    def counters(self):
        with tbtest.Ctl(self.bed["ctl"]["card"]) as card:
            return card.ok("counters")

    def run_block(self, code, offload):
        """What it printed, and what the card did meanwhile."""
        missing = [p for p in PROGRAMS if re.search(r"^\s*(env \S+ \S+ )?%s " % re.escape(p), code, re.M) and not shutil.which(p, path=PATH)]
        if missing:
            raise unittest.SkipTest("no " + missing[0])
        if os.environ.get("TB_PRELOAD") and re.search(r"\bcurl ", code):
            raise unittest.SkipTest("curl hangs with a preloaded address sanitizer, provider or not")
        env = dict(os.environ, PATH=PATH, PORT=tbtest.free_tcp_address().rpartition(":")[2])
        if os.environ.get("TB_PRELOAD"):
            env.update(LD_PRELOAD=os.environ["TB_PRELOAD"], ASAN_OPTIONS="detect_leaks=0")
        stop = "trap 'kill $(cat nginx.pid 2>/dev/null) 2>/dev/null || true' EXIT\n"  # when curl failed
        if os.environ.get("TB_PRELOAD"):  # our own program has a sanitizer of its own
            stop += "iotsafe-keyref() { env -u LD_PRELOAD iotsafe-keyref \"$@\"; }\n"
        script = ". %s/bed.env\n%s%s%s" % (self.run_dir, "OPENSSL_CONF=$OFFLOAD_CONF\n" if offload else "", stop, code)
        before = self.counters()
        folder = tempfile.mkdtemp(dir=self.dir)
        done = subprocess.run(["bash", "-eu", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=WAIT)
        self.assertEqual(done.returncode, 0, code + done.stdout)
        after = self.counters()
        return done.stdout, {k: after[k] - before[k] for k in ("sign", "keygen", "ecdh", "verify", "random", "prf", "hkdf")}

    def check(self, kind, code, offload):
        said, did = self.run_block(code, offload)
        offload = offload or "OFFLOAD_CONF" in code
        client = kind == "client"
        self.assertEqual(did["sign"], {"no card": 0, "psk": 0}.get(kind, 1), (code, said))
        self.assertEqual(did["prf"] + did["hkdf"], 1 if kind == "psk" else 0, (code, said))
        if kind != "psk":
            self.assertEqual(did["ecdh"], 1 if offload and kind in ("client", "server") else 0, (code, said))
        if kind != "sign":
            self.assertEqual(did["verify"] > 0, offload and client, (code, did, said))
        if "whoami" in code and kind != "server":
            self.assertIn(self.bed["device_id"], said, code)

    def test_every_command(self):
        all_blocks = list(blocks())
        self.assertGreater(len(all_blocks), 20)
        for kind, code, heading in all_blocks:
            for offload in (False, True) if kind in ("client", "server", "sign") else (False,):
                with self.subTest(heading=heading, code=code, offload=offload):
                    self.check(kind, code, offload)


if __name__ == "__main__":
    tbtest.main()
