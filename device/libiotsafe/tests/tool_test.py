"""The command line tool, and with it the library, against the testbed's card: directly, and through its modem in the
manner of every model it has."""
import json
import os
import subprocess
import sys

import tbtest

sys.path.insert(0, os.path.join(tbtest.SOURCE, "sim-card", "tests"))
import cardtest  # noqa: E402

CERTIFICATE, ENDPOINT = "02", "label:endpoint"


class ToolCase(cardtest.CardCase):
    def tool(self, *args, status=0):
        done = tbtest.run("iotsafe", "--transport", self.transport, *args)
        self.assertEqual(done.returncode, status, "%s: %s%s" % (args, done.stdout, done.stderr))
        return done.stdout.strip()

    def commands(self, *args):
        """The commands that running the tool with these arguments costs, in hex."""
        done = tbtest.run("iotsafe", "--transport", self.transport, "-v", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line[2:] for line in done.stderr.splitlines() if line.startswith("> ")]

    def check_everything(self, power_stays=True):
        """What a device does, checked with OpenSSL from outside. Volatile keys need a card that keeps its power between
        two runs of the tool."""
        record = self.record["certificates"][0]
        self.assertIn("sign", self.tool("info"))
        objects = json.loads(self.tool("--json", "list"))["objects"]
        self.assertIn(("private", "01"), [(o["type"], o["id"]) for o in objects])
        self.tool("read", CERTIFICATE, "-o", self.path("cert.der"))
        with open(self.path("cert.der"), "rb") as f:
            self.assertEqual(cardtest.fingerprint(f.read()), record["fingerprint"])
        message = self.write("message", os.urandom(1000))
        self.write("public.pem", self.tool("--pem", "pubkey", "01") + "\n")
        self.tool("sign", "01", message, "-o", self.path("sig"))
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.path("public.pem"), "-signature",
                               self.path("sig"), message], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.tool("verify", "01", message, self.path("sig")), "valid")
        self.assertEqual(self.tool("verify", "01", self.path("public.pem"), self.path("sig"), status=1), "not valid")
        self.tool("generate", "04")
        self.tool("put", "05", self.tool("pubkey", "01"))
        if power_stays:
            self.assertEqual(len(self.tool("ecdh", "04", "05")), 64)
        self.assertEqual(len(self.tool("random", "300")), 600)


class Directly(ToolCase):
    def setUp(self):
        self.record = self.make("factory.card")

    def listening(self):
        card = self.run_card("--listen", self.socket("reader"))
        self.transport = "vpcd:" + card.ready["listen"]
        return card

    def test_does_what_a_device_does(self):
        self.listening()
        self.check_everything(power_stays=False)

    def test_takes_the_reader_role(self):
        self.transport = "vpcd-listen:" + self.socket("reader")
        self.run_card("--vpcd", self.socket("reader"))
        self.check_everything(power_stays=False)

    def test_a_signature_is_two_commands_and_a_certificate_its_blocks(self):
        self.listening()
        opening, closing = 2, 1
        message = self.write("message", "x")
        self.assertEqual(len(self.commands("sign", "01", message)), opening + 2 + closing)
        self.tool("read", CERTIFICATE, "-o", self.path("cert"))
        blocks = -(-os.path.getsize(self.path("cert")) // 255)
        self.assertEqual(len(self.commands("read", CERTIFICATE)), opening + blocks + closing)

    def test_leaves_no_channel_behind(self):
        card = self.listening()
        for _ in range(25):  # more than the card has
            self.assertEqual(len(self.tool("random", "8")), 16)
        self.assertEqual(card.stop(), 0)

    def test_exits_with_one_when_the_card_says_no(self):
        self.listening()
        message = self.write("message", "x")
        done = tbtest.run("iotsafe", "-t", self.transport, "sign", "7E", message)
        self.assertEqual(done.returncode, 1)
        self.assertIn("SW 6A82", done.stderr)
        self.tool("read", "7E", status=1)
        self.tool("--aid", "A00000000000", "--only-aid", "info", status=1)
        self.assertEqual(self.tool("apdu", "80CB000000", "0084000004").splitlines()[1][-4:], "9000")
        self.tool("reset")

    def test_exits_with_one_when_there_is_no_card(self):
        for transport in ("vpcd:" + self.socket("nobody"), "at:" + self.path("nothing"),
                          "vpcd-listen:%s,timeout=10" % self.socket("nobody")):
            self.transport = transport
            self.tool("info", status=1)

    def test_exits_with_two_on_wrong_usage(self):
        self.transport = "vpcd:" + self.socket("nobody")
        for args in ((), ("--nonsense",), ("nonsense",), ("read",), ("read", "1"), ("read", "1", "2"), ("--aid", "xyz", "info"),
                     ("--only-aid", "info"), ("info", "1")):
            if args not in (("read", "1"),):  # that one would need the card first
                self.tool(*args, status=2)
        self.listening()
        for args in (("read", "0"), ("read", "label:"), ("random", "x"), ("object", "thing", "01"), ("apdu", "80"),
                     ("put", "05", "zz")):
            self.tool(*args, status=2)
        self.transport = "serial:port"
        self.tool("info", status=2)

    def test_says_how_it_is_used(self):
        done = tbtest.run("iotsafe", "--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--transport", "generate ID", "pcsc:", "Exit status"):
            self.assertIn(word, done.stdout)


class ThroughAModem(ToolCase):
    def setUp(self):
        self.record = self.make("factory.card")

    def modem(self, *args):
        modem = self.start("sim-modem", "--ctl", self.socket("modem"), "--vpcd", self.socket("vpcd"), "--at-unix",
                           self.path("at"), *args)
        with modem.ctl().subscribe() as ctl:
            self.run_card("--vpcd", self.socket("vpcd"))
            ctl.expect("card-inserted")
        return modem

    def over(self, scheme):
        self.transport = "%s:%s" % (scheme, self.path("at"))
        self.check_everything()

    def test_generic(self):
        self.modem()
        self.over("at")
        self.over("cgla")

    def test_quectel_bg95(self):
        self.modem("--model", "quectel-bg95")
        self.over("at")
        self.over("cgla")

    def test_ublox_sara(self):
        self.modem("--model", "ublox-sara")
        self.over("at")
        self.over("cgla")

    def test_sequans_gms01q(self):
        self.modem("--model", "sequans-gms01q")
        self.over("at")

    def test_sierra_mc74(self):
        self.modem("--model", "sierra-mc74")
        self.over("cgla")

    def test_fibocom_fm350(self):
        self.modem("--model", "fibocom-fm350")
        self.over("at")
        self.over("cgla")

    def test_csim_only(self):
        self.modem("--model", "csim-only")
        self.over("at")
        self.transport = "cgla:" + self.path("at")
        done = tbtest.run("iotsafe", "-t", self.transport, "info")
        self.assertEqual(done.returncode, 1)
        self.assertIn("refused", done.stderr)

    def test_nrf91(self):
        self.modem("--model", "nrf91")
        self.over("at")

    def test_tells_a_modem_without_card(self):
        self.start("sim-modem", "--ctl", self.socket("modem"), "--vpcd", self.socket("vpcd"), "--at-unix", self.path("at"))
        for scheme in ("at", "cgla"):
            done = tbtest.run("iotsafe", "-t", "%s:%s" % (scheme, self.path("at")), "info")
            self.assertEqual(done.returncode, 1)
            self.assertIn("no card", done.stderr)

    def test_on_a_terminal_and_on_tcp(self):
        modem = self.modem("--at-pty", self.path("tty"), "--at-tcp", "127.0.0.1:0")
        self.transport = "at:%s,speed=115200" % self.path("tty")
        self.check_everything()
        self.transport = "cgla:tcp:" + modem.ready["at"]["tcp"]
        self.check_everything()


tbtest.main()
