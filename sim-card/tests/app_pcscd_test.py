"""The card behind real PC/SC: a private pcscd with Debian's vpcd driver, in namespaces of its own, so that neither
the system's daemon nor other tests are touched."""
import os
import re
import shutil
import signal
import subprocess
import time

import cardtest
import gphost
import lpa
import pcscbed
import tbtest


class PcscLink(cardtest.Link):
    """A card's commands over PC/SC."""

    def __init__(self, pcsc):
        self.transmit = pcsc.transmit


class Bed(cardtest.CardCase):
    card_file = "factory.card"

    def setUp(self):
        pcscbed.Pcscd(self)
        self.record = self.make(self.card_file)
        self.daemon = self.run_card("--vpcd", "127.0.0.1:%d" % pcscbed.PORT)
        self.pcsc = pcscbed.Pcsc()
        self.addCleanup(self.pcsc.close)
        self.reader = self.pcsc.readers()[0]
        self.pcsc.wait(self.reader, pcscbed.Pcsc.PRESENT)

    def link(self):
        self.pcsc.connect(self.reader)
        return PcscLink(self.pcsc)


class Euicc(Bed):
    card_file = "euicc.card"

    def test_an_lpa_insists_on_t0_and_takes_the_power_away_at_the_end(self):
        red, blue = (s["iccid"] for s in self.record["subscriptions"])
        for iccid, other in ((blue, red), (red, blue)):
            self.pcsc.connect(self.reader, pcscbed.Pcsc.T0)
            lpac = lpa.Lpac(PcscLink(self.pcsc))
            self.assertEqual(lpac.profiles(), {lpa.bcd(iccid): "00", lpa.bcd(other): "01"})
            self.assertEqual(lpac.switch("BF31", iccid), 0)
            lpac.close()
            self.pcsc.disconnect(pcscbed.Pcsc.UNPOWER)
            card = self.link()
            card.ok("00A4000C022FE2")
            self.assertEqual(card.ok("00B000000A"), lpa.bcd(iccid))
            self.pcsc.disconnect(pcscbed.Pcsc.UNPOWER)


class Pcscd(Bed):
    def test_reads_iccid_and_atr(self):
        self.assertEqual(self.pcsc.wait(self.reader, pcscbed.Pcsc.PRESENT)[0], cardtest.ATR_DEFAULT)
        card = self.link()
        card.ok("00A40004023F00")
        card.ok("00A40004022FE2")
        self.assertEqual(card.ok("00B000000A"), cardtest.swapped("8988211000000000011F"))

    def test_selects_and_signs_over_either_protocol(self):
        for protocol in (pcscbed.Pcsc.T1, pcscbed.Pcsc.T0):
            self.pcsc.connect(self.reader, protocol)
            card = PcscLink(self.pcsc)
            card.select()
            digest = os.urandom(32)
            cert = self.write("cert.pem", self.record["certificates"][0]["pem"])
            self.assertTrue(cardtest.verifies(self, cert, digest, card.sign(digest)))
            self.assertEqual(cardtest.fingerprint(card.read_file("02")), self.record["certificates"][0]["fingerprint"])
            self.pcsc.disconnect(pcscbed.Pcsc.UNPOWER)  # else the next one would find the protocol chosen

    def test_is_managed_by_a_host_over_either_protocol(self):
        for number, protocol in enumerate((pcscbed.Pcsc.T1, pcscbed.Pcsc.T0)):
            self.pcsc.connect(self.reader, protocol)
            applet = bytes((0xF0, 0, 0, 0, number))
            host = gphost.Host(self.pcsc.transmit)
            host.select()
            host.open(0x33)
            host.install_applet(applet)
            host.personalize(applet)
            host.store(0x74, bytes.fromhex("83010220022000"))
            content = os.urandom(3000)
            for size in (1 + number, 16, 200, 231):  # what fits with MAC and padding
                host.store(0x77, content[:100 if size < 16 else 3000], size)
            card = PcscLink(self.pcsc)
            card.select(applet.hex())
            self.assertEqual(card.read_file("02"), content)
            self.pcsc.disconnect(pcscbed.Pcsc.UNPOWER)

    def test_costs_no_delayed_acknowledgements(self):
        # Debian's driver sends length and body in two segments: without TCP_QUICKACK each command takes 40 ms or more.
        card = self.link()
        count = 200
        start = time.monotonic()
        for _ in range(count):
            card.apdu("00A40004023F00")
        took = time.monotonic() - start
        print("%d exchanges in %.1f ms, %.2f ms each" % (count, took * 1000, took * 1000 / count), end=" ", flush=True)
        self.assertLess(took, count * 0.020 * tbtest.FACTOR)

    def test_is_waited_for_when_it_is_slow(self):
        card = self.link()  # and pcscd asks meanwhile whether the card is there
        card.select()
        self.daemon.ask("latency", profile="sim-slow")
        start = time.monotonic()
        self.assertEqual(len(card.ok("80B9000003840104")), 2 * 77)
        self.assertGreaterEqual(time.monotonic() - start, 0.865 + 0.010)
        self.daemon.ask("latency", profile="off")
        self.assertEqual(len(card.ok("8084000020")), 64)

    def test_sees_removal_insertion_and_reset(self):
        with self.daemon.ctl().subscribe() as ctl:
            ctl.ok("remove")
            self.pcsc.wait(self.reader, pcscbed.Pcsc.EMPTY)
            ctl.ok("insert")
            _, changes = self.pcsc.wait(self.reader, pcscbed.Pcsc.PRESENT)
            self.link().select()
            ctl.ok("reset")
            ctl.expect("card-unlinked", reason="card reset")
            ctl.expect("card-linked")
            self.pcsc.wait(self.reader, pcscbed.Pcsc.PRESENT, changes + 2)
            self.link().select()

    def test_survives_unpowering_by_the_host(self):
        card = self.link()
        card.select()
        self.pcsc.disconnect(pcscbed.Pcsc.UNPOWER)
        card = self.link()
        self.assertNotEqual(card.apdu("8084000008")[1], "9000")  # the selection went with the power
        card.select()
        self.assertEqual(len(card.ok("8084000008")), 16)

    def test_works_with_tools_of_the_field(self):
        tool = shutil.which("opensc-tool")
        if not tool:
            self.skipTest("no opensc-tool")
        done = subprocess.run([tool, "-s", "00A4040007A0000005590010", "-s", "8084000010"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60 * tbtest.FACTOR, check=False)
        self.assertEqual(len(re.findall(r"SW1=0x90, SW2=0x00", done.stdout)), 2, done.stdout)


pcscbed.enter()
tbtest.main()
