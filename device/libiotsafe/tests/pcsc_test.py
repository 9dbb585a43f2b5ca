"""The PC/SC transport on a real pcscd with Debian's vpcd driver, in namespaces of their own."""
import ctypes
import os
import subprocess
import sys

import pcscbed
import tbtest

sys.path.insert(0, os.path.join(tbtest.SOURCE, "sim-card", "tests"))
import cardtest  # noqa: E402


ABSENT = -4
RESET = 1  # SCARD_RESET_CARD


class Client:
    """The shared library in this process, for what takes longer than one run of the tool."""

    def __init__(self, case):
        path = os.environ.get("IOTSAFE_SHARED")
        if not path:
            case.skipTest("no shared library that this interpreter can load")
        self.library = ctypes.CDLL(path)
        self.library.iotsafe_close.argtypes = [ctypes.c_void_p]
        transport, self.client, error = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.create_string_buffer(200)
        if self.library.iotsafe_transport_open(b"pcsc:", ctypes.byref(transport), error, ctypes.c_size_t(200)) < 0:
            raise AssertionError(error.value)
        self.library.iotsafe_open(transport, None, ctypes.byref(self.client))
        case.addCleanup(self.library.iotsafe_close, self.client)

    def random(self, n):
        buf = ctypes.create_string_buffer(n)
        return self.library.iotsafe_random(self.client, buf, ctypes.c_size_t(n))

    def opens(self):
        stats = (ctypes.c_uint64 * 5)()
        self.library.iotsafe_stats(self.client, stats)
        return stats[3]


class Pcsc(cardtest.CardCase):
    def setUp(self):
        pcscbed.Pcscd(self)

    def tool(self, *args, transport="pcsc:", status=0):
        done = tbtest.run("iotsafe", "-v", "-t", transport, *args)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def insert(self, card_file="factory.card"):
        self.record = self.make(card_file)
        self.card = self.run_card("--vpcd", "127.0.0.1:%d" % pcscbed.PORT)
        self.pcsc = pcscbed.Pcsc()
        self.addCleanup(self.pcsc.close)
        self.reader = self.pcsc.readers()[0]
        self.pcsc.wait(self.reader, pcscbed.Pcsc.PRESENT)

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

    def test_finds_back_when_another_program_has_reset_the_card(self):
        self.insert()
        client = Client(self)
        opens = 1
        for disposition in (RESET, pcscbed.Pcsc.UNPOWER):
            for n in (8, 300):  # the second is long: it meets the reset when it locks
                self.assertEqual(client.random(8), 0)
                self.pcsc.connect(self.reader)  # ours has left the card with power
                self.pcsc.disconnect(disposition)
                self.assertEqual(client.random(n), 0)
                opens += 1
                self.assertEqual(client.opens(), opens)

    def test_finds_back_when_the_card_was_away(self):
        self.insert()
        client = Client(self)
        self.assertEqual(client.random(8), 0)
        self.card.ask("remove")
        self.pcsc.wait(self.reader, pcscbed.Pcsc.EMPTY)
        self.assertEqual(client.random(8), ABSENT)
        self.card.ask("insert")
        self.pcsc.wait(self.reader, pcscbed.Pcsc.PRESENT)
        self.assertEqual(client.random(8), 0)
        self.assertEqual(client.opens(), 2)

    def test_says_that_the_reader_is_empty(self):
        self.assertIn("no card", self.tool("info", status=1).stderr)


pcscbed.enter()
tbtest.main()
