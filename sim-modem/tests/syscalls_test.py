"""An exchange costs the modem six system calls: wait, read from the TE, write to the card, wait, read, write."""
import re
import shutil
import subprocess

import tbtest
from modemtest import ModemCase

STRACE = shutil.which("strace")
if not STRACE:
    tbtest.skip("no strace")
if subprocess.run([STRACE, "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
    tbtest.skip("tracing is not permitted here")

ROUNDS = 50
COMMAND = "81840000" + "20"
LINE = '+CSIM=10,"%s"' % COMMAND


class SystemCalls(ModemCase):
    def trace(self, kind):
        """Numbers of system calls in ROUNDS exchanges over a port of that kind."""
        log = self.path("strace")
        m = self.start("sim-modem", "--at-pty", self.path("tty"), "--at-tcp", "127.0.0.1:0", "--at-unix",
                       self.path("at.sock"), "--ctl", self.socket("ctl"), prefix=(STRACE, "-f", "-o", log),
                       env={"ASAN_OPTIONS": "detect_leaks=0"})
        self.m = m
        self.ctl = m.ctl().subscribe()
        self.addCleanup(self.ctl.close)
        self.card({COMMAND: "A5" * 32 + "9000"})
        te = self.te(kind)
        te.at(LINE)
        te.at("+MARKONE")
        for _ in range(ROUNDS):
            te.at(LINE)
        te.at("+MARKTWO")
        m.ask("quit")  # a signal would reach strace
        self.assertEqual(m.wait(), 0)
        with open(log) as f:
            text = f.read()
        part = text[text.index("MARKONE"):text.index("MARKTWO")].split("\n")[1:]
        calls = [c.group(1) for c in (re.match(r"\d+ +(\w+)\(", row) for row in part) if c]
        return {name: calls.count(name) for name in set(calls)}

    def check(self, calls):
        def count(*names):
            return sum(calls.get(name, 0) for name in names)
        waits = count("epoll_wait", "epoll_pwait")
        reads = count("read", "recvfrom", "recvmsg")
        writes = count("write", "writev", "sendto", "sendmsg")
        slack = 6  # the marks
        self.assertLessEqual(waits, 2 * ROUNDS + slack, calls)
        self.assertLessEqual(reads, 2 * ROUNDS + slack, calls)
        self.assertLessEqual(writes, 2 * ROUNDS + slack, calls)
        self.assertGreaterEqual(writes, 2 * ROUNDS, calls)
        self.assertLessEqual(sum(calls.values()) - waits - reads - writes, slack, calls)

    def test_unix(self):
        self.check(self.trace("unix"))

    def test_tcp(self):
        self.check(self.trace("tcp"))


if __name__ == "__main__":
    tbtest.main()
