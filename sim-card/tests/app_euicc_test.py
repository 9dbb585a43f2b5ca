"""An eUICC from its card file, used as LPAs and SIM tools use it: lpac's and pySim's APDUs, swaps, what survives them."""
import hashlib

import cardtest
import tbtest
from lpa import ISDR, Lpac, bcd, parse, tlv

ECASD = "A0000005591010FFFFFFFF8900000200"
EID = "89049032123451234512345678901235"
RED, BLUE = "8988211000000001019", "8988247000000001024"
RED_APPLET, BLUE_APPLET = "A000000559001001", "A000000559001002"
REFRESH_PROFILE = "000080"  # TERMINAL PROFILE of a terminal that knows REFRESH and nothing else


class OtherChannel:
    """The link, each command of which comes on a channel opened for it."""

    def __init__(self, link):
        self.link = link

    def apdu(self, command):
        n = int(self.link.ok("0070000001"), 16)
        try:
            return self.link.apdu("%02X%s" % (int(command[:2], 16) | n, command[2:]))
        finally:
            self.link.ok("007080%02X" % n)


class Euicc(cardtest.CardCase):
    def up(self):
        daemon = self.run_card("--vpcd", self.reader.address)
        link = self.reader.accept()
        self.addCleanup(link.close)
        link.power_on()
        return daemon, link

    def setUp(self):
        super().setUp()
        self.record = self.make("euicc.card")
        self.reader = cardtest.Reader()
        self.addCleanup(self.reader.close)
        self.daemon, self.link = self.up()

    def iccid(self, link):
        link.ok("00A4000C022FE2")
        return link.ok("00B000000A")

    def present(self, link, aid):
        return link.apdu("00A40400%02X%s" % (len(aid) // 2, aid))[1] == "9000"

    def test_the_record_tells_what_the_network_and_the_owner_have_to_know(self):
        self.assertEqual(self.record["eid"].upper(), EID)
        self.assertEqual([(s["name"], s["iccid"], s["enabled"]) for s in self.record["subscriptions"]],
                         [("red", RED, True), ("blue", BLUE, False)])
        self.assertNotIn("k", self.record["subscriptions"][0]["usim"])
        with_secrets = self.make("euicc.card", "--export-secrets", store="other.db")
        self.assertEqual(len(with_secrets["subscriptions"][1]["usim"]["k"]), 32)
        shown = tbtest.run("sim-card", "inspect", "--store", self.path("other.db")).stdout
        self.assertIn("profile 2  ICCID %s" % BLUE, shown)

    def test_chip_information(self):
        lpac = Lpac(self.link)
        self.assertEqual(lpac.store("BF3E035C015A"), [("5A", EID)])
        addresses = {tag: bytes.fromhex(value).decode() for tag, value in lpac.store("BF3C00")}
        self.assertEqual(addresses, {"80": "smdp.example.com", "81": "smds.example.com"})
        info = dict(lpac.store("BF2200"))
        self.assertEqual([info[tag] for tag in ("81", "82", "83")], ["020301", "020500", "010000"])
        self.assertEqual((info["A9"], info["AA"]), ([], []))
        self.assertEqual(len(dict(lpac.store("BF2E00"))["80"]), 32)
        lpac.close()

    def test_a_command_in_several_blocks(self):
        lpac, address = Lpac(self.link), b"a" * 128
        self.assertEqual(lpac.result(tlv("BF3F", tlv("80", address.hex()))), 0)
        self.assertEqual(dict(lpac.store("BF3C00"))["80"], address.hex().upper())
        lpac.close()

    def test_enable_and_reset(self):
        lpac = Lpac(self.link)
        self.assertEqual(lpac.profiles(), {bcd(RED): "01", bcd(BLUE): "00"})
        self.assertEqual(lpac.switch("BF31", RED), 2)
        self.assertEqual(lpac.switch("BF31", BLUE), 0)
        self.assertEqual(self.iccid(self.link), bcd(RED))  # in force with the reset
        lpac.close()
        self.link.reset()
        self.assertEqual(self.iccid(self.link), bcd(BLUE))
        lpac = Lpac(self.link)
        self.assertEqual(lpac.profiles(), {bcd(RED): "00", bcd(BLUE): "01"})
        told = lpac.notifications()
        self.assertEqual(told, [(1, "0520", "smdp.red.example", bcd(RED)), (2, "0640", "smdp.blue.example", bcd(BLUE))])
        self.assertEqual(lpac.result("BF3003800101"), 0)
        self.assertEqual([n[0] for n in lpac.notifications()], [2])
        lpac.close()

    def test_refresh_is_announced_to_a_terminal_that_knows_it(self):
        self.link.ok("8010000003" + REFRESH_PROFILE)
        lpac = Lpac(self.link)
        self.assertEqual(lpac.switch("BF31", BLUE), 0)
        self.assertEqual(lpac.announced, 11)
        command = self.link.transmit(bytes.fromhex("801200000B"))
        self.assertEqual(command.hex().upper(), "D009810301010482028182" + "9000")
        self.link.reset()
        self.assertEqual(self.iccid(self.link), bcd(BLUE))

    def test_a_client_that_died_leaves_nothing_in_the_way(self):
        for _ in range(2):
            lpac = Lpac(self.link)
            self.link.transmit(bytes.fromhex("%02XE2110003BF3E03" % (0x80 | lpac.channel)))
        lpac = Lpac(self.link)
        self.assertEqual(lpac.store("BF3E035C015A"), [("5A", EID)])
        lpac.close()

    def test_a_kill_keeps_what_was_answered(self):
        self.assertEqual(Lpac(self.link).switch("BF31", BLUE), 0)
        self.daemon.kill()
        self.daemon, self.link = self.up()
        self.assertEqual(self.iccid(self.link), bcd(BLUE))
        self.assertEqual(len(Lpac(self.link).notifications()), 2)

    def test_credentials_of_the_platform_survive_a_swap_and_a_profiles_come_and_go(self):
        cert = {c["key"]: self.write(c["key"] + ".pem", c["pem"]) for c in self.record["certificates"]}
        digest = hashlib.sha256(b"swap").digest()
        self.link.select()
        self.link.ok("802A00000D" "840101" "A10103" "91020001" "920104")  # a session that stays open
        self.assertTrue(self.present(OtherChannel(self.link), RED_APPLET))
        self.assertFalse(self.present(OtherChannel(self.link), BLUE_APPLET))
        lpac = Lpac(self.link)
        self.assertEqual(lpac.switch("BF31", BLUE, refresh=False), 0)
        answer = self.link.ok("802B8000229E20" + digest.hex())
        self.assertTrue(cardtest.verifies(self, cert["client"], digest, bytes.fromhex(answer[6:])))
        self.assertFalse(self.present(self.link, RED_APPLET))
        self.link.select(BLUE_APPLET)
        self.assertTrue(cardtest.verifies(self, cert["blue-client"], digest, self.link.sign(digest)))

        self.assertEqual(lpac.result(tlv("BF33", tlv("5A", bcd(RED)))), 0)
        self.assertEqual(lpac.profiles(), {bcd(BLUE): "01"})
        self.assertEqual(lpac.switch("BF32", BLUE, refresh=False), 0)
        lpac.close()
        self.assertFalse(self.present(self.link, BLUE_APPLET))
        self.link.select()
        self.assertTrue(cardtest.verifies(self, cert["client"], digest, self.link.sign(digest)))

    def test_notifications_are_signed(self):
        lpac = Lpac(self.link)
        self.assertEqual(lpac.switch("BF31", BLUE), 0)
        (_, entries), = lpac.store("BF2B05A003800102")
        (_, (metadata, signature, certificate, maker)), = entries
        self.assertEqual((metadata[0], signature[0], certificate[0], maker[0]), ("BF2F", "5F37", "30", "30"))
        told = tlv("BF2F", "".join(tlv(tag, value) for tag, value in metadata[1]))
        digest = hashlib.sha256(bytes.fromhex(told)).digest()
        cert = self.write("euicc.pem", self.record["euicc_certificate"])
        self.assertTrue(cardtest.verifies(self, cert, digest, bytes.fromhex(signature[1])))
        self.assertIn(EID, cardtest.openssl("x509", "-in", cert, "-noout", "-subject").decode())
        lpac.close()

    def test_rollback(self):
        lpac = Lpac(self.link)
        self.assertEqual(lpac.result("BF58038001FF"), 1)  # nothing to go back to
        self.assertEqual(lpac.switch("BF31", BLUE), 0)
        self.assertEqual(lpac.result("BF58038001FF"), 0)
        self.link.reset()
        self.assertEqual(self.iccid(self.link), bcd(RED))

    def test_pysim_finds_out_what_card_it_is(self):
        link = self.link
        for fid, sw in (("3F00", "9000"), ("2F00", "9000"), ("7F20", "6A82"), ("7FE0", "6A82"), ("7F25", "6A82")):
            data, answered = link.apdu("00A4000402" + fid)
            if fid not in ("3F00", "2F00") and answered == "9000":
                continue  # a directory that this card has
            self.assertEqual(answered, sw, fid)
            self.assertEqual(data[:2], "62" if sw == "9000" else "", fid)
        link.ok("00A40004022F00")
        self.assertEqual(link.ok("00B2010426")[:2], "61")
        for aid, sw in ((ECASD, "9000"), ("A000000003000000", "9000"), (ISDR, "9000"), ("A00000015141434C00", "6A82"),
                        ("A000000087100A", "6A82"), ("A0000000871004", "6A82"), ("A000000087100B", "6A82")):
            self.assertEqual(link.apdu("00A40404%02X%s" % (len(aid) // 2, aid))[1], sw, aid)
        link.ok("00A4040010" + ISDR)
        self.assertEqual(link.apdu("80E2910003BF560000")[1], "6A88")  # not of SGP.32
        self.assertEqual(link.ok("80E2910006BF3E035C015A00"), "BF3E125A10" + EID)
        self.assertEqual(parse(link.ok("80E29100" "0D" "BF2D0A5C085A4F9F70909192" "95" "00"))[0][0], "BF2D")


if __name__ == "__main__":
    tbtest.main()
