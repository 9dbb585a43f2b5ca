"""A living bed as its users meet it: unmodified programs with the card's key, a terminal on the pty, the small tools, the end."""
import json
import os
import re
import select
import signal
import ssl
import subprocess
import termios
import time
import tty

import tbtest

TESTBED = tbtest.program("testbed")
WAIT = 60


class Terminal:
    """A person at a serial terminal: types lines, reads until the final result."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd, termios.TCSANOW)

    def at(self, line):
        os.write(self.fd, line.encode() + b"\r")
        answer, deadline = b"", time.monotonic() + WAIT
        while not re.search(rb"\r\n(OK|ERROR|\+CME ERROR: [^\r]*)\r\n$", answer):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no final result to {line}: {answer}"
            answer += os.read(self.fd, 4096)
        return answer.decode()

    def apdu(self, text):
        text = text.replace(" ", "")
        answer = self.at(f'AT+CSIM={len(text)},"{text}"')
        return re.search(r'\+CSIM: \d+,"([0-9A-F]+)"', answer).group(1)

    def close(self):
        os.close(self.fd)


class Up(tbtest.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tbtest.temp_dir()
        cls.run_dir = os.path.join(cls.folder.__enter__(), "run")
        cls.env = dict(os.environ, XDG_RUNTIME_DIR=cls.folder.name, NO_COLOR="1")
        cls.up = subprocess.Popen([TESTBED, "up", "--json", "--out", cls.run_dir], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=cls.env, preexec_fn=tbtest.with_parent_dies(os.getpid()))
        line = cls.up.stdout.readline()
        if not line:
            raise AssertionError("testbed up: " + cls.up.stderr.read())
        cls.bed = json.loads(line)
        cls.clients = dict(os.environ, OPENSSL_CONF=cls.bed["openssl_conf"])
        if os.environ.get("TB_PRELOAD"):
            # A sanitizer build: foreign programs load our module only with the sanitizer's library, and leak by themselves.
            cls.clients.update(LD_PRELOAD=os.environ["TB_PRELOAD"], ASAN_OPTIONS="detect_leaks=0")

    @classmethod
    def tearDownClass(cls):
        pids = children(cls.up.pid)
        cls.up.send_signal(signal.SIGINT)
        try:
            code = cls.up.wait(30)
            left = [p for p in pids if os.path.exists(f"/proc/{p}")]
            assert code == 0, f"Ctrl-C gives exit code {code}"
            assert not left, f"processes left over: {left}"
            assert not os.path.exists(os.path.dirname(cls.bed["ctl"]["hub"].replace("unix:", ""))), "sockets left over"
        finally:
            cls.up.kill()
            cls.up.stdout.close()
            cls.up.stderr.close()
            cls.folder.__exit__(None, None, None)

    def signatures(self):
        with tbtest.Ctl(self.bed["ctl"]["card"]) as card:
            return card.ok("counters")["sign"]

    def with_card(self, *argv, **kwargs):
        """Runs a program with OPENSSL_CONF; the hub has to see the card's identity and the card has to have signed."""
        before = self.signatures()
        with tbtest.Ctl(self.bed["ctl"]["hub"]) as hub:
            hub.subscribe()
            p = subprocess.run(argv, env=self.clients, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT, **kwargs)
            hub.expect("session", device=self.bed["device_id"])
        self.assertGreater(self.signatures(), before, p.stdout)
        return p.returncode, p.stdout.decode(errors="replace")

    def test_json_has_what_the_contract_promises(self):
        bed = self.bed
        for group, keys in (("at", ("pty", "tcp", "unix")), ("ctl", ("card", "modem", "device", "hub")), ("hub", ("mqtts",))):
            for key in keys:
                self.assertIn(key, bed[group])
        for key in ("vpcd", "openssl_conf", "key_ref", "client_cert", "ca", "run_dir"):
            self.assertIn(key, bed)
        for key in ("openssl_conf", "key_ref", "client_cert", "ca", "run_dir"):
            self.assertTrue(os.path.exists(bed[key]), key)

    def test_provider_is_loaded(self):
        p = subprocess.run(["openssl", "list", "-providers"], env=self.clients, stdout=subprocess.PIPE, text=True, timeout=WAIT)
        self.assertIn("iotsafe", p.stdout)

    def test_the_card_holds_the_ca_of_the_hub(self):
        """File 03: devices that read their trust anchor from the card, as wolfSSL's do, reach the hub."""
        der = subprocess.run([tbtest.program("iotsafe"), "-t", "at:unix:" + self.bed["at"]["unix"], "read", "03", "-o", "-"],
                             stdout=subprocess.PIPE, timeout=WAIT, check=True).stdout
        with open(self.bed["ca"]) as f:
            self.assertEqual(der, ssl.PEM_cert_to_DER_cert(f.read()))

    def test_openssl_s_client(self):
        for version in ("-tls1_3", "-tls1_2"):
            code, out = self.with_card("openssl", "s_client", version, "-cert", self.bed["client_cert"], "-key", self.bed["key_ref"], "-CAfile",
                                       self.bed["ca"], "-connect", self.bed["hub"]["mqtts"], stdin=subprocess.DEVNULL)
            self.assertEqual(code, 0, out)
            self.assertIn("Verify return code: 0 (ok)", out)

    def test_curl(self):
        if os.environ.get("TB_PRELOAD"):
            self.skipTest("curl hangs with a preloaded address sanitizer, provider or not")
        code, out = self.with_card("curl", "-v", "-sS", "--max-time", "30", "--cert", self.bed["client_cert"], "--key", self.bed["key_ref"],
                                   "--cacert", self.bed["ca"], "https://" + self.bed["hub"]["mqtts"] + "/")
        # The hub speaks MQTT there: what counts is that the handshake was done with the card's key.
        self.assertIn("SSL certificate verify ok", out)
        self.assertIn(code, (1, 52, 56), out)

    def test_mosquitto_pub(self):
        host, port = self.bed["hub"]["mqtts"].rsplit(":", 1)
        topic = "devices/" + self.bed["device_id"] + "/telemetry"
        code, out = self.with_card("mosquitto_pub", "-h", host, "-p", port, "--cafile", self.bed["ca"], "--cert", self.bed["client_cert"],
                                   "--key", self.bed["key_ref"], "-t", topic, "-m", "21", "-q", "1")
        self.assertEqual(code, 0, out)

    def test_python_ssl(self):
        program = """
import socket, ssl, sys
host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context(cafile=sys.argv[2])
context.load_cert_chain(sys.argv[3], sys.argv[4])
with context.wrap_socket(socket.create_connection((host, int(port)), 30), server_hostname="localhost") as s:
    s.sendall(bytes.fromhex("101000044d5154540402003c000474657374"))
    print(s.recv(4).hex(), s.version())
"""
        code, out = self.with_card("python3", "-c", program, self.bed["hub"]["mqtts"], self.bed["ca"], self.bed["client_cert"], self.bed["key_ref"])
        self.assertEqual((code, out.strip()), (0, "20020000 TLSv1.3"))

    def test_a_terminal_on_the_pty_does_everything_the_applet_can(self):
        t = Terminal(self.bed["at"]["pty"])
        try:
            self.assertIn("OK", t.at("ATE0"))
            channel = t.apdu("00 70 00 00 01")
            self.assertRegex(channel, "^..9000$")
            n = int(channel[:2], 16)
            cla, own = ("%02X" % (n if n < 4 else 0x40 | n - 4)), ("%02X" % (0x80 | n if n < 4 else 0xC0 | n - 4))
            self.assertEqual(t.apdu(cla + "A4 04 00 07 A0000005590010"), "9000")
            head = t.apdu(own + "B0 00 00 03 830102 04")
            self.assertRegex(head, "^3082....9000$")
            pair = t.apdu(own + "B9 00 00 03 840104")
            point = re.search("8641(04[0-9A-F]{128})9000$", pair).group(1)
            self.assertEqual(t.apdu(own + "2A 00 01 0D 840101 A10103 91020001 920104"), "9000")
            digest = "00" * 31 + "01"
            signature = re.match("^330040([0-9A-F]{128})9000$", t.apdu(own + "2B 80 01 22 9E20" + digest)).group(1)
            self.assertEqual(t.apdu(own + "2A 01 01 00"), "9000")
            self.assertEqual(t.apdu(own + "2C 00 01 0D 850101 A10103 91020001 920104"), "9000")
            self.assertEqual(t.apdu(own + "2D 80 01 65 9E20" + digest + "330040" + signature), "9000")
            self.assertEqual(t.apdu(own + "2C 00 01 0D 850101 A10103 91020001 920104"), "9000")
            self.assertEqual(t.apdu(own + "2D 80 01 65 9E20" + digest[:-2] + "02" + "330040" + signature), "6D01")
            self.assertEqual(t.apdu(own + "24 00 02 03 850105"), "9000")
            self.assertEqual(t.apdu(own + "D8 80 02 47 344549438641" + point), "9000")
            self.assertRegex(t.apdu(own + "46 00 00 06 840104 850105"), "^[0-9A-F]{64}9000$")
            self.assertEqual(t.apdu("00 70 80 %02X 00" % n), "9000")
        finally:
            t.close()

    def test_small_tools(self):
        def tool(*argv):
            p = subprocess.run([TESTBED, *argv], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT)
            return p.returncode, p.stdout

        code, out = tool("at", "AT+CCID", "AT+CIMI")
        self.assertEqual(code, 0, out)
        self.assertIn(self.bed["device_id"][:18], out)
        self.assertEqual(tool("at", "AT+NOPE")[0], 1)
        code, out = tool("apdu", "00A40004023F00", "00 70 00 00 01")
        self.assertEqual(code, 0, out)
        self.assertRegex(out, "(?m)^..9000$")
        self.assertEqual(tool("apdu", "zz")[0], 2)
        for daemon in ("card", "modem", "device", "hub"):
            self.assertEqual(tool("ctl", daemon)[0], 0, daemon)
        self.assertEqual(tool("ctl", "card", "nonsense")[0], 1)
        self.assertEqual(tool("ctl", "toaster")[0], 2)
        code, out = tool("trace")
        self.assertEqual(code, 0, out)
        self.assertIn("card-inserted", out)

    def test_the_device_of_the_bed_connects_when_told(self):
        with tbtest.Ctl(self.bed["ctl"]["device"]) as device:
            device.subscribe()
            device.ok("connect")
            device.expect("session")
            device.ok("disconnect")


def children(pid):
    """The processes below pid."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(entry)] + children(int(entry))
    return found


if __name__ == "__main__":
    tbtest.main()
