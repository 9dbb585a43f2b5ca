"""Content management as a service provider does it: a GlobalPlatform host, the card's owner and the device."""
import os

import cardtest
import gphost
import tbtest

PROVIDER = bytes.fromhex("F000000050524F56")
APPLET = bytes.fromhex("F0000000415050")
KEYS = [bytes(range(i, i + 16)) for i in (0x10, 0x60, 0xB0)]
SCALAR = bytes.fromhex("5ec7e7") * 10 + b"\x5e\xc7"


def tlv(tag, value):
    return bytes((tag,)) + gphost.lv(value)


class GlobalPlatform(cardtest.CardCase):
    def setUp(self):
        self.record = self.make("factory.card", "--export-secrets")
        self.reader = cardtest.Reader()
        self.addCleanup(self.reader.close)
        self.capture = self.path("apdu.pcapng")
        self.daemon = self.run_card("--vpcd", self.reader.address, "--trace-apdu", self.capture, "--log-level", "debug")
        self.link = self.reader.accept()
        self.addCleanup(self.link.close)
        self.link.power_on()
        self.host = gphost.Host(self.link.transmit)

    def applet_of_a_provider(self, level=0x33):
        self.host.select()
        self.host.open()
        self.host.install_domain(PROVIDER)
        self.host.select(PROVIDER)
        self.host.open(level)
        self.host.put_keys(0x30, KEYS)
        self.host.open(level, KEYS)
        self.host.install_applet(APPLET)
        self.host.personalize(APPLET)

    def device(self):
        """The device's view, on channel 1."""
        self.link.ok("00700001")
        self.link.ok("01A40400%02X%s" % (len(APPLET), APPLET.hex()))
        return self.link

    def test_gives_an_applet_a_key_a_certificate_and_a_secret(self):
        for level in (0x00, 0x01, 0x03, 0x11, 0x13, 0x33):
            with self.subTest(level="%02x" % level):
                self.applet_of_a_provider(level)
                point = self.host.store(0x71, bytes.fromhex("840101850101480113"), answer=True)
                self.assertEqual((len(point), point[0]), (65, 4))
                name = bytes.fromhex("300D310B300906035504030C026430")
                self.host.store(0x7D, tlv(0x84, b"\1") + tlv(0x50, name), answer=True)
                request = self.host.store(0x7E, tlv(0x83, bytes.fromhex("80000000")), answer=True)
                n = 1
                while more := self.host.command(0xE2, 0x01, n):
                    request, n = request + more, n + 1
                der = self.write("csr.der", request)
                said = cardtest.openssl("req", "-inform", "DER", "-in", der, "-noout", "-verify", "-pubkey", "-subject")
                self.assertIn(b"CN = d0", said)
                certificate = os.urandom(700)
                self.host.store(0x74, bytes.fromhex("830102200203E8"))
                self.host.store(0x77, certificate)
                self.host.store(0x7C, tlv(0x86, b"\6") + tlv(0x47, bytes.fromhex("5ec7e7") * 8))
                self.device()
                self.assertEqual(self.link.apdu("81CD000003850101")[0], "344549438641" + point.hex().upper())
                self.link.ok("00708001")
                self.link.reset()
                self.link.select(APPLET.hex())
                self.assertEqual(self.link.read_file("02"), certificate)
                self.host.select()
                self.host.open()
                self.host.command(0xE4, 0, 0x80, tlv(0x4F, PROVIDER))

    def test_takes_slices_of_every_size(self):
        self.applet_of_a_provider(0x01)
        self.host.store(0x74, bytes.fromhex("830102200203E8"))
        device = self.device()
        for size in range(1, 248):
            content = os.urandom(max(2, min(size + 7, 256)))
            self.host.store(0x77, content, size)
            data, sw = device.apdu("81B0000003830102")
            self.assertEqual((bytes.fromhex(data), sw), (content, "63CF"), size)

    def test_the_device_goes_on_meanwhile(self):
        self.applet_of_a_provider()
        self.host.store(0x74, bytes.fromhex("830102200203E8"))
        self.host.store(0x77, b"old", 200)
        device = self.device()
        self.assertEqual(device.ok("81B0000003830102"), b"old".hex().upper())
        self.host.command(0xE2, 0x00, 0, b"\x77\x03n")
        self.assertEqual(device.apdu("81B0000003830102")[1], "6984")
        self.assertEqual(len(device.ok("8184000008")), 16)
        self.host.command(0xE2, 0x80, 1, b"ew")
        self.assertEqual(device.apdu("81B0000003830102"), (b"new".hex().upper(), "63CF"))
        self.assertEqual(device.ok("81B0000003830102"), b"new".hex().upper())

    def test_a_host_that_died_is_in_nobodys_way(self):
        self.applet_of_a_provider()
        self.host.store(0x74, bytes.fromhex("830102200203E8"))
        self.host.command(0xE2, 0x00, 0, b"\x77\x03n")
        device = self.device()
        self.assertEqual(device.apdu("81B0000003830102")[1], "6984")
        other = gphost.Host(self.link.transmit)  # the same channel, nothing said before
        other.select(PROVIDER)
        other.open(0x33, KEYS)
        self.assertEqual(device.apdu("81B0000003830102")[1], "6985")  # empty, as before
        other.personalize(APPLET)
        other.store(0x75, tlv(0x83, b"\2"))
        other.store(0x77, b"new")
        self.assertEqual(device.apdu("81B0000003830102"), (b"new".hex().upper(), "63CF"))

    def test_keys_of_all_sizes_and_of_other_owners(self):
        self.applet_of_a_provider()
        for n, size in ((0x31, 24), (0x32, 32)):
            keys = [os.urandom(size) for _ in range(3)]
            self.host.put_keys(n, keys)
            self.host.open(0x33, keys, n)
        self.host.select()
        with self.assertRaises(AssertionError):
            self.host.open(0x33, KEYS)
        factory = next(d for d in self.record["domains"] if d["name"] == "provider")
        keys = next(k for k in factory["keys"] if k["version"] == 0x30)
        self.host.select(bytes.fromhex(factory["aid"]))
        self.host.open(0x33, [bytes.fromhex(keys[k]) for k in ("enc", "mac", "dek")])
        self.host.personalize(bytes.fromhex(cardtest.GSMA))
        self.host.store(0x74, bytes.fromhex("830155200203E8"))
        with self.assertRaises(gphost.Refused) as refused:
            self.host.personalize(APPLET)
        self.assertEqual(refused.exception.sw, 0x6A88)

    def test_who_loses_an_applet_personalises_it_no_more(self):
        self.applet_of_a_provider()
        self.host.store(0x74, bytes.fromhex("830102200203E8"))
        self.link.ok("00700001")
        other = gphost.Host(self.link.transmit, channel=1)
        other.select(PROVIDER)
        other.open(0x33, KEYS)
        other.personalize(APPLET)
        other.store(0x75, tlv(0x83, b"\2"))
        issuer = self.host.ISSUER
        self.host.select()
        self.host.open()
        self.host.command(0xE6, 0x10, 0, gphost.lv(issuer) + b"\0" + gphost.lv(APPLET) + b"\0\0\0")
        with self.assertRaises(gphost.Refused) as refused:
            other.store(0x77, b"stolen")
        self.assertEqual(refused.exception.sw, 0x6A80)
        self.link.select(APPLET.hex())
        self.assertEqual(self.link.apdu("80B0000003830102")[1], "6985")  # empty, as it was left

    def test_a_locked_card_is_opened_by_its_issuer(self):
        self.applet_of_a_provider()
        self.host.select()
        self.host.open()
        self.host.command(0xF0, 0x80, 0x7F)
        for aid in (APPLET, PROVIDER, bytes.fromhex(cardtest.GSMA)):
            self.assertEqual(self.link.apdu("00A4040C%02X%s" % (len(aid), aid.hex()))[1], "6A82")
        self.link.reset()
        self.host.select()
        self.host.open()
        with self.assertRaises(gphost.Refused):
            self.host.install_applet(APPLET + b"2")
        self.host.command(0xF0, 0x80, 0x0F)
        self.host.install_applet(APPLET + b"2")
        self.link.select(APPLET.hex())

    def test_no_secret_leaves_the_card(self):
        self.applet_of_a_provider(0x00)  # nothing on the wire is ciphered
        self.host.store(0x72, tlv(0x84, b"\1") + tlv(0x47, SCALAR))
        self.host.store(0x7C, tlv(0x86, b"\6") + tlv(0x47, SCALAR))
        shown = tbtest.run("sim-card", "inspect", "--store", self.path("card.db"), "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn(PROVIDER.hex().upper(), shown.stdout)
        self.daemon.stop()
        with open(self.capture, "rb") as f:
            trace = f.read()
        secrets = [SCALAR, *KEYS, gphost.Host.TEST_KEY]
        secrets += [bytes.fromhex(k[n]) for d in self.record["domains"] for k in d["keys"] for n in ("enc", "mac", "dek")]
        for secret in secrets:
            self.assertNotIn(secret, trace)
            self.assertNotIn(secret.hex(), (shown.stdout + self.log_of(self.daemon)).lower())


if __name__ == "__main__":
    tbtest.main()
