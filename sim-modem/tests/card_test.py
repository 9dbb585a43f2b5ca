"""The testbed's own card behind the modem: what independent clients do over AT, by hand."""
import hashlib
import os
import sys

import tbtest
from modemtest import ModemCase, Te

sys.path.append(os.path.join(tbtest.SOURCE, "sim-card", "tests"))
import cardtest  # noqa: E402

GSMA = cardtest.GSMA


class RealCard(ModemCase, cardtest.CardCase):
    def bed(self, *args, card="factory.card"):
        self.record = self.make(card)
        self.modem(*args)
        self.run_card("--vpcd", self.m.ready["vpcd"])
        self.ctl.expect("card-inserted")

    def test_identity(self):
        self.bed()
        te = self.te()
        self.assertEqual(te.at("+CCID"), "\r\n+CCID: %s\r\n\r\nOK\r\n" % self.record["iccid"])
        self.assertEqual(te.at("+CIMI"), "\r\n%s\r\n\r\nOK\r\n" % self.record["imsi"])
        self.assertIn(",2,\"%s\"" % self.record["imsi"][:5], te.at("+COPS=3,2;+COPS?"))
        self.assertIn("+CREG: 0,1\r\n", te.at("+CREG?"))
        self.assertRegex(te.at("+CUAD"), r"^\r\n\+CUAD: 61[0-9A-F]*A0000000871002[0-9A-F]*%s[0-9A-F]*\r\n\r\nOK" % GSMA)
        self.assertIn("+CPIN: READY", te.at("+CPIN?"))

    def sign_by_hand(self, te, transmit):
        """Hash-and-sign with key 01 through transmit(apdu) → (data, sw); checked by OpenSSL."""
        digest = hashlib.sha256(b"to be signed").digest()
        data, sw = transmit("802A00000D840101A1010391020001920104")
        self.assertEqual(sw, "9000")
        data, sw = transmit("802B8000229E20" + digest.hex().upper())
        self.assertEqual((sw, data[:6]), ("9000", "330040"))
        cert = self.write("cert.pem", self.record["certificates"][0]["pem"] if "certificates" in self.record
                          else self.record["certificate"])
        self.assertTrue(cardtest.verifies(self, cert, digest, bytes.fromhex(data[6:])))

    def test_sign_by_hand_on_the_pty(self):
        self.bed()
        te = self.te("pty")
        channel, sw = te.csim("0070000001")
        self.assertEqual((channel, sw), ("01", "9000"))
        self.assertEqual(te.csim("01A4040007" + GSMA), ("", "9000"))
        self.sign_by_hand(te, lambda apdu: te.csim("81" + apdu[2:]))
        self.assertEqual(te.csim("0070800100"), ("", "9000"))

    def test_sign_by_hand_through_a_session(self):
        self.bed()
        te = self.te("tcp")
        self.assertEqual(te.at('+CCHO="%s"' % GSMA), "\r\n+CCHO: 1\r\n\r\nOK\r\n")

        def transmit(apdu):
            answer = te.at('+CGLA=1,%d,"%s"' % (len(apdu), apdu))
            rsp = answer.split('"')[1]
            return rsp[:-4], rsp[-4:]
        self.sign_by_hand(te, transmit)
        self.assertEqual(te.at("+CCHC=1"), "\r\nOK\r\n")

    def t0_face(self, card, model):
        """A client that follows 61xx, as all do, gets its signature whoever fetches."""
        self.bed("--model", model, card=card)
        te = self.te()
        words = []

        def transmit(apdu):
            data, sw = te.csim("81" + apdu[2:])
            words.append(sw[:2])
            while sw[:2] == "61":
                more, sw = te.csim("01C00000" + sw[2:])
                data += more
            return data, sw
        te.csim("0070000001")
        te.csim("01A4040007" + GSMA)
        self.sign_by_hand(te, transmit)
        # Who has to fetch: with a module that does it, never the TE; behind a raw one, always.
        fetched = {"generic": card == "t0.card", "quectel-bg95": False, "ublox-sara": True}[model]
        self.assertEqual("61" in words, fetched)

    def test_t0_direct_card_generic(self):
        self.t0_face("factory.card", "generic")

    def test_t0_direct_card_auto(self):
        self.t0_face("factory.card", "quectel-bg95")

    def test_t0_direct_card_raw(self):
        self.t0_face("factory.card", "ublox-sara")

    def test_t0_card_generic(self):
        self.t0_face("t0.card", "generic")

    def test_t0_card_auto(self):
        self.t0_face("t0.card", "quectel-bg95")

    def test_t0_card_raw(self):
        self.t0_face("t0.card", "ublox-sara")

    def test_wolfssl_opening(self):
        self.bed()
        te = self.te("unix", echo=True)
        te.send("ATE0\r\n")
        self.assertEqual(te.final(), "ATE0\r\r\nOK\r\n")
        te.send('AT+CSIM=24,"01A4040007A0000005590010"\r\n')
        self.assertEqual(te.final(), '\r\n+CSIM: 4,"9000"\r\n\r\nOK\r\n')  # without opening the channel first
        te.send('AT+CSIM= 10,"8184000020"\r\n')
        answer = te.final()
        self.assertRegex(answer, r'^\r\n\+CSIM: 68,"[0-9A-F]{64}9000"\r\n\r\nOK\r\n$')
        te.send("AT\r\n")
        self.assertEqual(te.final(), "\r\nOK\r\n")

    def test_lpac_opening(self):
        self.bed()
        te = self.te()
        for probe in ("", "+CCHO=?", "+CCHC=?", "+CGLA=?", "+CSIM=?"):
            self.assertEqual(te.at(probe), "\r\nOK\r\n")
        te.at("+CMEE=1")
        self.assertEqual(te.at('+CCHO="a0000005591010ffffffff8900000100"'), "\r\n+CME ERROR: 22\r\n")  # no eUICC
        self.assertEqual(te.csim("0070000001"), ("01", "9000"))  # exactly three bytes

    def test_pysim_way(self):
        self.bed()
        te = self.te()
        self.assertEqual(te.at("Z"), "\r\nOK\r\n")
        te.at("E0")
        answer = te.at('+CSIM=14,"00A40004023F00"')
        self.assertEqual(len(answer.split("\r\n\r\n")), 2)
        self.assertRegex(answer, r'^\r\n\+CSIM: [0-9]+,"[0-9A-F]+"\r\n\r\nOK\r\n$')

    def test_files_by_crsm(self):
        self.bed()
        te = self.te()
        iccid = cardtest.swapped(self.record["iccid"] + "F" * (len(self.record["iccid"]) % 2))
        self.assertEqual(te.at("+CRSM=176,12258,0,0,10"), '\r\n+CRSM: 144,0,"%s"\r\n\r\nOK\r\n' % iccid)
        self.assertRegex(te.at("+CRSM=192,28423"), r'\+CRSM: 144,0,"62')
        self.assertRegex(te.at("+CRSM=176,28423"), r'\+CRSM: 144,0,"08')
        self.assertIn("+CRSM: 106,130", te.at("+CRSM=176,20256"))
        # ofono's and ModemManager's mixture with a TE on channel 0
        self.assertEqual(te.csim("00A4040007" + GSMA)[1], "9000")
        self.assertIn("+CRSM: 144,0", te.at("+CRSM=176,28589,0,0,4"))
        data, sw = te.csim("8084000008")
        self.assertEqual((len(data), sw), (16, "9000"))  # the applet is selected again

    def test_two_clients_on_two_channels(self):
        self.bed()
        tes = [self.te("tcp") for _ in range(2)]
        for i, te in enumerate(tes, 1):
            self.assertIn("+CCHO: %d" % i, te.at('+CCHO="%s"' % GSMA))
        for _ in range(20):
            for i, te in enumerate(tes, 1):
                te.send('AT+CGLA=%d,10,"8084000010"\r' % i)
            for te in tes:
                self.assertRegex(te.final(), r'\+CGLA: 36,"[0-9A-F]{32}9000"')
        tes[0].close()
        self.ctl.expect("at-client", state="gone")
        self.assertIn("+CCHO: 1", self.te().at('+CCHO="%s"' % GSMA))  # its channel is free again

    def test_a_card_with_a_pin(self):
        with open(os.path.join(cardtest.PROFILES, "factory.card"), encoding="utf-8") as f:
            card = f.read() + "\n[pin pin1]\npin = 1234\npuk = 12345678\nenabled = yes\n"
        self.bed(card=self.write("locked.card", card))
        te = self.te()
        te.at("+CMEE=1")
        pin = lambda: te.at("+CPIN?").split("\r\n")[1]  # noqa: E731
        self.assertEqual(pin(), "+CPIN: SIM PIN")
        self.assertEqual(te.at("+CIMI"), "\r\n+CME ERROR: 11\r\n")
        self.assertEqual(te.csim("0020000100"), ("", "63C3"))
        self.assertEqual(te.at('+CPIN="9999"'), "\r\n+CME ERROR: 16\r\n")
        self.assertEqual(te.csim("0020000100"), ("", "63C2"))
        imsi = "\r\n%s\r\n\r\nOK\r\n" % self.record["imsi"]
        te.send('AT+CPIN="1234"\rAT+CIMI\r')  # typed ahead: read from the card only now
        self.assertEqual((te.final(), te.final()), ("\r\nOK\r\n", imsi))
        self.assertEqual(pin(), "+CPIN: READY")
        self.assertIn("+CREG: 0,1", te.at("+CREG?"))
        self.assertEqual(te.at('+CFUN=0;+CFUN=1'), "\r\nOK\r\n")  # the power was off: it is asked for again
        self.assertEqual(pin(), "+CPIN: SIM PIN")
        self.assertEqual([te.at('+CPIN="9999"') for _ in range(3)],
                         ["\r\n+CME ERROR: %d\r\n" % n for n in (16, 16, 12)])
        self.assertEqual(pin(), "+CPIN: SIM PUK")
        self.assertEqual(te.at('+CPIN="12345678","4321"'), "\r\nOK\r\n")
        self.assertEqual((pin(), te.at("+CIMI")), ("+CPIN: READY", imsi))

    def test_removed_and_inserted(self):
        self.bed()
        te = self.te()
        te.at("+CMEE=1")
        card = self._daemons[-1]
        card.ask("remove")
        self.ctl.expect("card-removed")
        self.assertEqual(te.at("+CCID"), "\r\n+CME ERROR: 10\r\n")
        card.ask("insert")
        self.ctl.expect("card-inserted")
        self.assertIn(self.record["iccid"], te.at("+CCID"))
        card.kill()
        self.ctl.expect("card-removed")


if __name__ == "__main__":
    tbtest.main()
