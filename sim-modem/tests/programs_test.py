"""Programs that were written for real modems, unmodified: what is not installed is skipped."""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import tty
import unittest

import tbtest
from modemtest import ModemCase, Te

sys.path.append(os.path.join(tbtest.SOURCE, "sim-card", "tests"))
import cardtest  # noqa: E402


def needs(*programs):
    missing = [p for p in programs if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    return unittest.skipIf(missing, "not installed: " + ", ".join(missing))


def which(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class Programs(ModemCase, cardtest.CardCase):
    def bed(self, *args, locked=False):
        self.record = self.make(self.locked_card() if locked else "factory.card")
        self.modem(*args)
        self.run_card("--vpcd", self.m.ready["vpcd"])
        self.ctl.expect("card-inserted")
        self.device = self.m.ready["at"]["pty"]

    def locked_card(self):
        with open(os.path.join(cardtest.PROFILES, "factory.card"), encoding="utf-8") as f:
            return self.write("locked.card", f.read() + "\n[pin pin1]\npin = 1234\npuk = 12345678\nenabled = yes\n")

    def spawn(self, *argv, **kwargs):
        """A program that is killed at the end of the test."""
        process = subprocess.Popen(argv, preexec_fn=tbtest.with_parent_dies(os.getpid()), **kwargs)

        def end():
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()
        self.addCleanup(end)
        return process

    def output(self, *argv, env=None):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60 * tbtest.FACTOR, env={**os.environ, "LC_ALL": "C", **(env or {})})
        return done.returncode, done.stdout

    def line(self, process, pattern):
        """Reads lines until one matches."""
        deadline = time.monotonic() + tbtest.WAIT
        seen = []
        fd = process.stdout.fileno()
        process.unread = getattr(process, "unread", b"")
        while True:
            while b"\n" in process.unread:
                line, process.unread = process.unread.split(b"\n", 1)
                seen.append(line.decode(errors="replace"))
                found = re.search(pattern, seen[-1])
                if found:
                    return found
            if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError("nothing like %r in %r" % (pattern, seen))
            piece = os.read(fd, 65536)
            if not piece:
                raise AssertionError("ended without %r in %r" % (pattern, seen))
            process.unread += piece

    # ---- Tools ----

    @needs("gammu")
    def test_gammu(self):
        self.bed()
        rc = self.write("gammurc", "[gammu]\ndevice = %s\nconnection = at115200\n" % self.device)
        status, text = self.output("gammu", "-c", rc, "identify")
        self.assertEqual(status, 0, text)
        self.assertIn(self.record["imsi"], text)
        self.assertIn("490154203237518", text)
        status, text = self.output("gammu", "-c", rc, "networkinfo")
        self.assertEqual(status, 0, text)
        self.assertIn("home network", text)

    @needs("gammu")
    def test_gammu_gives_the_pin(self):
        self.bed(locked=True)
        rc = self.write("gammurc", "[gammu]\ndevice = %s\nconnection = at115200\n" % self.device)
        self.assertIn("PIN", self.output("gammu", "-c", rc, "getsecuritystatus")[1])
        status, text = self.output("gammu", "-c", rc, "entersecuritycode", "PIN", "1234")
        self.assertEqual(status, 0, text)
        self.assertIn("Nothing to enter", self.output("gammu", "-c", rc, "getsecuritystatus")[1])
        self.assertIn(self.record["imsi"], self.output("gammu", "-c", rc, "identify")[1])

    @needs("gnokii")
    def test_gnokii(self):
        self.bed()
        rc = self.write("gnokiirc", "[global]\nport = %s\nmodel = AT\nconnection = serial\n" % self.device)
        status, text = self.output("gnokii", "--config", rc, "--identify")
        self.assertEqual(status, 0, text)
        self.assertIn("490154203237518", text)
        self.assertIn("sim-modem", text)

    @needs("comgt")
    def test_comgt(self):
        self.bed()
        status, text = self.output("comgt", "-d", self.device, "reg")
        self.assertEqual(status, 0, text)
        self.assertIn("Registered on Home network", text)
        self.assertIn("Signal Quality: 24,99", self.output("comgt", "-d", self.device, "sig")[1])

    @needs("socat")
    def test_socat(self):
        self.bed()
        for port in ("file:%s,raw,echo=0" % self.device, "UNIX-CONNECT:" + self.path("at.sock"),
                     "TCP:" + self.m.ready["at"]["tcp"]):
            p = self.spawn("socat", "-", port, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            p.stdin.write(b"AT+CCID\r")
            p.stdin.flush()
            self.line(p, r"^\+CCID: %s" % self.record["iccid"])
            self.line(p, "^OK")

    def person(self, *argv, ready=b""):
        """A terminal program with a person in front of it, who waits for its greeting (keys before that are flushed away),
        types, and reads what the modem says."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        tty.setraw(slave)  # as the program will: what is typed before that must not be cooked
        p = self.spawn(*argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.ctl.expect("at-client", state="connected")
        screen, deadline = b"", time.monotonic() + tbtest.WAIT

        def shows(*texts):
            nonlocal screen
            while not all(text in screen for text in texts):
                if not select.select([master], [], [], max(0, deadline - time.monotonic()))[0]:
                    raise AssertionError("the screen shows %r" % screen)
                screen += os.read(master, 4096)

        shows(ready)
        for c in b"AT+GSN\r":
            os.write(master, bytes((c,)))
        shows(b"490154203237518", b"OK")
        return p, master

    @needs("picocom")
    def test_picocom(self):
        self.bed()
        p, keys = self.person("picocom", "--nolock", "-b", "115200", self.device, ready=b"Terminal ready")
        os.write(keys, b"\x01\x18")
        p.wait(tbtest.WAIT)
        self.ctl.expect("at-client", state="gone")

    @needs("microcom")
    def test_microcom(self):
        self.bed()
        p, _ = self.person("microcom", "-f", "-p", self.device)
        p.terminate()
        p.wait(tbtest.WAIT)
        self.ctl.expect("at-client", state="gone")

    # ---- Managers on a bus of their own ----

    def bus(self):
        daemon = self.spawn("dbus-daemon", "--session", "--nofork", "--nosyslog", "--print-address=1",
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        address = self.line(daemon, r"\S+").group(0)
        return {"DBUS_SESSION_BUS_ADDRESS": address, "DBUS_SYSTEM_BUS_ADDRESS": address, "LC_ALL": "C"}

    def managed(self):
        """Gives the modem to a ModemManager; its bus."""
        bus = self.bus()
        env = dict(os.environ, **bus)
        name = "org.freedesktop.ModemManager1"
        log = self.path("mm.log")
        self.spawn(which("ModemManager"), "--test-session", "--test-enable", "--test-no-udev",
                   "--test-no-suspend-resume", "--test-no-qrtr", "--debug", "--log-file", log, env=env,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(self.output("gdbus", "wait", "--session", "--timeout", "20", name, env=bus)[0], 0)
        news = self.spawn("mmcli", "-M", env=env, stdout=subprocess.PIPE)
        self.line(news, "No modems were found")
        status, text = self.output("gdbus", "call", "--session", "-d", name, "-o", "/org/freedesktop/ModemManager1",
                                   "-m", name + ".Test.SetProfile", "testbed", "generic",
                                   "['%s']" % self.path("at.sock"), env=bus)
        self.assertEqual(status, 0, text)
        self.line(news, r"\(\+\) /org/freedesktop/ModemManager1/Modem/")
        return bus

    @needs("ModemManager", "mmcli", "gdbus", "dbus-daemon")
    def test_modemmanager_gives_the_pin(self):
        self.bed(locked=True)
        bus = self.managed()
        watch = self.spawn("mmcli", "-m", "any", "-w", env=dict(os.environ, **bus), stdout=subprocess.PIPE)
        self.line(watch, "Initial state, 'locked'")
        text = self.output("mmcli", "-m", "any", env=bus)[1]
        self.assertRegex(text, r"lock: sim-pin\b")
        self.assertRegex(text, r"unlock retries: .*sim-pin \(3\)")
        status, text = self.output("mmcli", "-i", "any", "--pin=1234", env=bus)
        self.assertEqual(status, 0, text)
        self.line(watch, r"--> 'disabled'")
        self.assertIn(self.record["imsi"], self.output("mmcli", "-m", "any", "-i", "any", env=bus)[1])

    @needs("ModemManager", "mmcli", "gdbus", "dbus-daemon")
    def test_modemmanager(self):
        self.bed()
        bus = self.managed()
        env = dict(os.environ, **bus)
        watch = self.spawn("mmcli", "-m", "any", "-w", env=env, stdout=subprocess.PIPE)
        self.line(watch, "Initial state")
        status, text = self.output("mmcli", "-m", "any", "--enable", env=bus)
        self.assertEqual(status, 0, text)
        self.line(watch, r"--> 'registered'")
        text = self.output("mmcli", "-m", "any", "-K", env=bus)[1]
        facts = dict((k.strip(), v.strip()) for k, v in (row.split(":", 1) for row in text.splitlines() if ":" in row))
        self.assertEqual(facts["modem.generic.equipment-identifier"], "490154203237518")
        self.assertEqual(facts["modem.3gpp.operator-code"], self.record["imsi"][:5])
        self.assertEqual(facts["modem.3gpp.registration-state"], "home")
        self.assertIn("lte", text)
        text = self.output("mmcli", "-m", "any", "-i", "any", env=bus)[1]
        self.assertIn(self.record["imsi"], text)
        self.assertIn(self.record["iccid"], text)

    def ofono(self):
        """Gives the modem to an ofono; what calls it, and its news."""
        bus = self.bus()
        host, port = self.m.ready["at"]["tcp"].split(":")
        bus["OFONO_PHONESIM_CONFIG"] = self.write("phonesim.conf", "[phonesim]\nDriver=phonesim\nAddress=%s\nPort=%s\n"
                                                  % (host, port))
        env = dict(os.environ, **bus)
        self.spawn(which("ofonod"), "-n", env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(self.output("gdbus", "wait", "--session", "--timeout", "20", "org.ofono", env=bus)[0], 0)

        def call(path, method, *args):
            status, text = self.output("gdbus", "call", "--session", "-d", "org.ofono", "-o", path, "-m",
                                       "org.ofono." + method, *args, env=bus)
            self.assertEqual(status, 0, text)
            return text
        if "/phonesim" not in call("/", "Manager.GetModems"):
            self.skipTest("this ofono has no phonesim driver")
        news = self.spawn("gdbus", "monitor", "--session", "-d", "org.ofono", env=env, stdout=subprocess.PIPE)
        self.line(news, "The name org.ofono is owned")
        call("/phonesim", "Modem.SetProperty", "Powered", "<true>")
        return call, news

    @needs("ofonod", "gdbus", "dbus-daemon")
    def test_ofono_gives_the_pin(self):
        self.bed(locked=True)
        call, news = self.ofono()
        self.line(news, r"SimManager.PropertyChanged \('PinRequired', <'pin'>")
        call("/phonesim", "SimManager.EnterPin", "pin", "1234")
        # Its driver for the phonesim then waits for that program's own message; the card is open all the same.
        self.ctl.expect("registration", state="home")
        self.assertIn("+CPIN: READY", self.te().at("+CPIN?"))

    @needs("ofonod", "gdbus", "dbus-daemon")
    def test_ofono(self):
        self.bed()
        call, news = self.ofono()
        call("/phonesim", "Modem.SetProperty", "Online", "<true>")
        self.line(news, r"NetworkRegistration.PropertyChanged \('Name', <'[^']")
        self.assertIn("'registered'", call("/phonesim", "NetworkRegistration.GetProperties"))
        sim = call("/phonesim", "SimManager.GetProperties")
        self.assertIn(self.record["imsi"], sim)
        self.assertIn(self.record["iccid"], sim)
        self.assertIn("'PinRequired': <'none'>", sim)


if __name__ == "__main__":
    tbtest.main()
