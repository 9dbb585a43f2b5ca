"""The ordinary exchange costs the card three system calls: wait, read, write."""
import re
import shutil
import subprocess

import cardtest
import tbtest

STRACE = shutil.which("strace")
if not STRACE:
    tbtest.skip("no strace")
if subprocess.run([STRACE, "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
    tbtest.skip("tracing is not permitted here")

ROUNDS = 50
UNKNOWN = bytes.fromhex("00FF000000")


class SystemCalls(cardtest.CardCase):
    def trace(self, work):
        """The names of the system calls that the card makes during work, between two others that mark it."""
        log = self.path("strace")
        with cardtest.Reader() as reader:
            self.make("factory.card")
            # A sanitizer that looks for leaks needs to trace the process itself.
            daemon = self.run_card("--vpcd", reader.address, prefix=(STRACE, "-f", "-o", log),
                                   env={"ASAN_OPTIONS": "detect_leaks=0"})
            with reader.accept() as link:
                link.power_on()
                link.select()
                link.sign(bytes(32))  # what is done once is done
                link.send(b"\0\1\x05" * 3)  # mark: an unknown control frame
                link.atr()
                work(link)
                link.send(b"\0\1\x05" * 3)
                link.atr()
            daemon.ask("quit")  # a signal would reach strace
            self.assertEqual(daemon.wait(), 0)
        with open(log) as f:
            lines = f.read().split("\n")
        marks = [i for i, line in enumerate(lines) if r'"\0\1\5\0\1\5\0\1\5' in line]
        self.assertEqual(len(marks), 2, "marks not found")
        calls = [re.match(r"\d+ +(\w+)\(", line) for line in lines[marks[0] + 1:marks[1]]]
        return [call.group(1) for call in calls if call]

    def count(self, calls, *names):
        return sum(calls.count(name) for name in names)

    def check(self, calls, exchanges):
        calls = [call for call in calls if call != "getpid"]  # OpenSSL's random generator looks whether we forked
        waits = self.count(calls, "epoll_wait", "epoll_pwait")
        reads = self.count(calls, "read", "recvfrom", "recvmsg")
        writes = self.count(calls, "write", "writev", "sendto", "sendmsg")
        # The marks add a few: their own answer, and a reading that ended without an answer asks for an ACK.
        slack = 8
        self.assertLessEqual(waits, exchanges + slack)
        self.assertLessEqual(reads, exchanges + slack)
        self.assertLessEqual(writes, exchanges + slack)
        self.assertGreaterEqual(writes, exchanges)
        self.assertLessEqual(len(calls) - waits - reads - writes, slack, sorted(set(calls)))
        self.assertEqual(self.count(calls, "fsync", "fdatasync", "pwrite64"), 0)

    def test_plain_commands(self):
        def work(link):
            for _ in range(ROUNDS):
                link.transmit(UNKNOWN)
        self.check(self.trace(work), ROUNDS)

    def test_signatures_touch_no_disk(self):
        def work(link):
            for _ in range(ROUNDS):
                link.sign(bytes(range(32)))
        self.check(self.trace(work), 2 * ROUNDS)


tbtest.main()
