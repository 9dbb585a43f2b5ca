"""The APDU capture: complete, readable by Wireshark, and without a secret."""
import os
import shutil
import subprocess

import cardtest
import tbtest

PSK = "5ec7e7" * 8


class Trace(cardtest.CardCase):
    def setUp(self):
        self.capture = self.path("apdu.pcapng")
        path = self.write("psk.card", """
            [card]
            iccid = 8988211000000000011
            imsi = 001010000000001
            [pin pin1]
            pin = 13572468
            [applet]
            aid = A0000005590010
            [applet]
            aid = A0000002480400
            profile = t0
            [key ecdhe]
            id = 04
            type = p256-volatile
            [public peer]
            id = 05
            [secret psk]
            id = 06
            hex = %s
            """ % PSK)
        self.make(path)
        self.reader = cardtest.Reader()
        self.addCleanup(self.reader.close)

    def up(self, *args):
        daemon = self.run_card("--vpcd", self.reader.address, "--log-level", "debug", *args)
        link = self.reader.accept()
        self.addCleanup(link.close)
        link.power_on()
        return daemon, link

    def bytes(self):
        with open(self.capture, "rb") as f:
            return f.read()

    def agree(self, link):
        """ECDH and all that follows from it, and the PIN; all secrets seen, as bytes."""
        own = link.ok("80B9000003840104")[-130:]
        link.ok("8024000003850105")
        link.ok("80D880004734454943864104" + own[2:])
        z = link.ok("8046000006840104850105")
        salt = "00" * 32
        early = link.ok("804A0000" + "48" + "D120" + z + "D520" + salt + "91020001")
        by_psk = link.ok("804A0000" + "29" + "860106" + "D520" + salt + "91020001")
        master = link.ok("80480100" + "12" + "860106" + "D20A" + "6D617374657220736563" + "D30130")
        hybrid = link.ok("80480200" + "34" + "860106" + "D420" + z + "D20A" + "6D617374657220736563" + "D30130")
        self.assertEqual(link.apdu("0020000108" + b"13572468".hex())[1], "9000")
        return [bytes.fromhex(s) for s in (z, early, by_psk, master, hybrid, PSK)] + [b"13572468"]

    def check_masked(self, aid):
        daemon, link = self.up("--trace-apdu", self.capture)
        link.select(aid)
        secrets = self.agree(link)
        self.assertEqual(daemon.stop(), 0)
        captured, log = self.bytes(), self.log_of(daemon)
        self.assertIn(bytes.fromhex("00A4040007" + aid), captured)
        for secret in secrets:
            self.assertEqual(len(secret) >= 8, True)
            self.assertNotIn(secret, captured)
            self.assertNotIn(secret.hex(), log.lower())
            self.assertNotIn(secret[:8], captured)

    def test_masks_secrets(self):
        self.check_masked(cardtest.GSMA)

    def test_masks_secrets_that_are_fetched_by_get_response(self):
        self.check_masked(cardtest.ORANGE)

    def test_can_be_switched_while_running_and_is_appended(self):
        daemon, link = self.up()
        link.apdu("00FE000000")
        daemon.ask("trace", file=self.capture)
        self.assertTrue(daemon.ask("state")["tracing"])
        link.apdu("00FD000000")
        daemon.ask("trace", file=None)
        link.apdu("00FC000000")
        daemon.ask("trace", file=self.capture)
        link.apdu("00FB000000")
        daemon.ask("trace")
        captured = self.bytes()
        for ins, there in ((0xFE, False), (0xFD, True), (0xFC, False), (0xFB, True)):
            self.assertEqual(bytes((0, ins, 0, 0, 0, 0x6D, 0)) in captured, there, hex(ins))
        with daemon.ctl() as ctl:
            self.assertFalse(ctl.request("trace", file=self.path("absent/x"))["ok"])
            self.assertFalse(ctl.request("trace", file=7)["ok"])

    def test_is_decoded_by_wireshark(self):
        tshark = shutil.which("tshark")
        if not tshark:
            self.skipTest("no tshark")
        daemon, link = self.up("--trace-apdu", self.capture)
        link.select()
        link.apdu("8084000008")
        daemon.stop()
        shown = subprocess.run([tshark, "-r", self.capture, "-T", "fields", "-e", "gsm_sim.apdu.ins", "-e",
                                "gsm_sim.apdu.sw"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=dict(os.environ, HOME=self.dir), check=False)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("0xa4", shown.stdout)
        self.assertIn("0x9000", shown.stdout)


tbtest.main()
