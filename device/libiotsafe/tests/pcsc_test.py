"""The PC/SC transport on a real pcscd with Debian's vpcd driver, in namespaces of their own."""
import os
import subprocess
import sys

import pcscbed
import tbtest

sys.path.insert(0, os.path.join(tbtest.SOURCE, "sim-card", "tests"))
import cardtest  # noqa: E402


class Pcsc(cardtest.CardCase):
    def setUp(self):
        pcscbed.Pcscd(self)

    def tool(self, *args, transport="pcsc:", status=0):
        done = tbtest.run("iotsafe", "-v", "-t", transport, *args)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def insert(self, card_file="factory.card"):
        self.record = self.make(card_file)
        self.run_card("--vpcd", "127.0.0.1:%d" % pcscbed.PORT)
        pcsc = pcscbed.Pcsc()
        self.addCleanup(pcsc.close)
        pcsc.wait(pcsc.readers()[0], pcscbed.Pcsc.PRESENT)

    def test_finds_the_card_by_part_of_the_readers_name(self):
        self.insert()
        for transport in ("pcsc:", "pcsc:Test", "pcsc:Test Reader 00 00"):
            self.assertEqual(len(self.tool("random", "8", transport=transport).stdout.strip()), 16)
        self.assertIn("no reader", self.tool("random", "8", transport="pcsc:Other", status=1).stderr)

    def test_does_what_a_device_does_with_le_over_t1(self):
        self.insert()
        message = self.write("message", "x")
        done = self.tool("sign", "01", message, "-o", self.path("sig"))
        self.assertRegex(done.stderr, r"> 812B8001229E20[0-9A-F]{64}00\n")
        self.write("public.pem", self.tool("--pem", "pubkey", "01").stdout)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.path("public.pem"), "-signature",
                               self.path("sig"), message], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.tool("read", "02", "-o", self.path("cert.der"))
        with open(self.path("cert.der"), "rb") as f:
            self.assertEqual(cardtest.fingerprint(f.read()), self.record["certificates"][0]["fingerprint"])
        self.tool("reset")

    def test_fetches_its_answers_over_t0(self):
        self.insert("t0.card")
        done = self.tool("sign", "01", self.write("message", "x"))
        self.assertRegex(done.stderr, r"> 812B8001229E20[0-9A-F]{64}\n< 6143\n> 01C0000043\n")

    def test_says_that_the_reader_is_empty(self):
        self.assertIn("no card", self.tool("info", status=1).stderr)


pcscbed.enter()
tbtest.main()
