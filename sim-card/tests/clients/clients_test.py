"""Deployed clients with the habits they have, against one running card behind the modem: alone, all at the same time on channels of their own,
and dying without a word."""
import os
import socket
import ssl
import struct
import sys

import tbtest
from client import AtPort, CardPort, Peer, cardtest, prf_sha256, together
from orange import Orange, OrangePcsc
from others import AtSign, Ntt, QTool
from thales import Pkcs11, Thales
from wolfssl import WolfSsl, WolfSslTwoBytes

sys.path.append(os.path.join(tbtest.SOURCE, "sim-modem", "tests"))
from modemtest import ModemCase, Te  # noqa: E402

for program in ("sim-card", "sim-modem"):
    if not os.access(tbtest.program(program), os.X_OK):
        tbtest.skip(program + " is not built")

TLS13, TLS12 = (17, 619, 306), (14, 420, 204)  # commands, bytes out, bytes in: counted with wolfSSL 5.5.4


class Cards(cardtest.CardCase):
    def certificate(self, index=0):
        return self.record["certificates"][index]["pem"]

    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.certificate())

    def profile(self, card, knob):
        """A variation of a shipped card: another profile under the AID of the GSMA."""
        with open(os.path.join(cardtest.PROFILES, card)) as f:
            text = f.read()
        head = "[profile variation]\nbase = gsma\n%s\n\n" % knob
        changed = text.replace("[applet gsma]\naid = A0000005590010\nprofile = gsma",
                               head + "[applet gsma]\naid = A0000005590010\nprofile = variation")
        self.assertNotEqual(changed, text)
        return self.write("variation.card", changed)


class Bed(ModemCase, Cards):
    def bed(self, *args, card="factory.card"):
        self.record = self.make(card)
        self.modem(*args)
        self.sim = self.run_card("--vpcd", self.m.ready["vpcd"])
        self.ctl.expect("card-inserted")

    def port(self, kind="unix", echo=False):
        return AtPort(self.te(kind, echo))

    def alone(self, client, kind="unix", echo=False):
        together((client, self.port(kind, echo)))
        return client


class Wolfssl(Bed):
    def wolfssl(self, **kwargs):
        return WolfSsl(self, Peer(self), self.certificate(), **kwargs)

    def test_wolfssl_tls13_on_the_pty(self):
        self.bed()
        client = self.alone(self.wolfssl(rounds=2), "pty", echo=True)
        self.assertEqual(client.handshakes, [TLS13, TLS13])
        self.assertEqual(bytes.fromhex(client.files["02"]), self.der())

    def test_wolfssl_tls12(self):
        self.bed()
        self.assertEqual(self.alone(self.wolfssl(version=12)).handshakes, [TLS12])

    def test_wolfssl_with_signature_lengths_of_one_byte(self):
        self.bed(card=self.profile("factory.card", "sig_len = 8"))
        n, out, into = TLS13
        self.assertEqual(self.alone(self.wolfssl(sig_len=8)).handshakes, [(n, out - 1, into - 1)])

    def test_wolfssl_with_ids_of_two_bytes(self):
        self.bed(card="wolfssl-stm32.card")
        client = WolfSslTwoBytes(self, Peer(self), self.certificate(1))
        self.assertEqual(self.alone(client).handshakes[0][0], 17)

    def test_wolfssl_without_file_information(self):
        """IOTSAFE_NO_GETDATA: files are read until the padding shows."""
        self.bed(card=self.profile("factory.card", "file_padding = padded"))
        te = self.te()
        te.csim("01A4040007A0000005590010")
        content = ""
        while not content.endswith("0000"):
            at = len(content) // 2
            data, sw = te.csim("81B0%04X03830102" % at)
            self.assertEqual(sw, "9000")
            content += data
        self.assertEqual(bytes.fromhex(content).rstrip(b"\0"), self.der().rstrip(b"\0"))

    def test_wolfssl_on_a_card_that_makes_slots_when_they_are_used(self):
        """As M33MU's emulator: class 81 and no other, no container for the ephemeral keys."""
        self.bed(card=self.write("m33mu.card", "[card]\niccid = 8988211000000000086\n\n[applet]\naid = A0000005590010\n"
                                 "profile = m33mu\n\n[key client]\nid = 01\n\n[certificate client]\nkey = client\n"))

        class WithoutFiles(WolfSsl):
            def read_file(self, file_id):
                yield from ()
        client = WithoutFiles(self, Peer(self), self.certificate())
        n, out, back = TLS13
        self.assertEqual(self.alone(client).handshakes, [(n, out, back - 6)])  # B9 answers no identifiers
        self.assertEqual(self.te().csim("0184000008"), ("", "6E00"))  # wolfSSL's channel is open

    def test_wolfssl_fetches_over_t0(self):
        self.bed("--model", "ublox-sara")
        n, _, _ = TLS13
        fetches = 6  # key pair, secret, three extractions, signature
        self.assertEqual(self.alone(self.wolfssl()).handshakes[0][0], n + fetches)


class Others(Bed):
    def test_orange(self):
        self.bed()
        client = self.alone(Orange(self, cert=self.certificate()))
        self.assertEqual(client.certificate, self.der().rstrip(b"\0"))
        files = {fields[0x83] for kind, fields in client.objects if kind == 0xC3}
        self.assertTrue({b"\2", b"\3"} <= files)

    def test_orange_over_t0(self):
        self.bed("--model", "ublox-sara")
        self.assertEqual(self.alone(Orange(self, cert=self.certificate())).certificate, self.der().rstrip(b"\0"))

    def test_thales(self):
        self.bed()
        client = self.alone(Thales(self, Peer(self), self.certificate()))
        self.assertEqual(bytes.fromhex(client.certificate), self.der())

    def test_thales_on_a_logical_channel_over_t0(self):
        self.bed("--model", "ublox-sara")
        self.alone(Thales(self, Peer(self), self.certificate(), logical=True), "tcp")
        self.assertEqual(self.te().csim("0070000001"), ("01", "9000"))  # closed with its own class

    def test_thales_pkcs11(self):
        self.bed()
        client = self.alone(Pkcs11(self, Peer(self), self.certificate()))
        self.assertEqual(client.start_commands, 5 + client.list_blocks)  # one close that fails, open, three selects
        self.assertEqual(client.keys["04"][0], "14")
        self.assertEqual(bytes.fromhex(client.files["02"]), self.der())

    def test_thales_pkcs11_reads_the_list_in_blocks(self):
        self.bed(card=self.write("blocks.card", self.blocks_card()))
        client = self.alone(Pkcs11(self, Peer(self), self.certificate()))
        self.assertGreater(client.list_blocks, 3)
        self.assertEqual(bytes.fromhex(client.files["02"]), self.der())

    def blocks_card(self):
        with open(os.path.join(cardtest.PROFILES, "factory.card")) as f:
            return f.read().replace("[applet thales]\naid = A00000003053F12401770101495341\nprofile = thales",
                                    "[profile blocks]\nbase = thales\nobject_list_limit = 100\n\n[applet thales]\n"
                                    "aid = A00000003053F12401770101495341\nprofile = blocks")

    def test_atsign_on_a_t0_card(self):
        self.bed(card="zariot.card")
        self.alone(AtSign(self, Peer(self), secret="303038"))

    def test_atsign_derives_from_a_secret_of_the_card(self):
        with open(os.path.join(cardtest.PROFILES, "zariot.card")) as f:
            text = f.read().replace("label = activation\nrandom = 32", "label = activation\nhex = %s" % ("A5" * 32))
        self.bed(card=self.write("known.card", text))
        client = self.alone(AtSign(self, Peer(self), secret="303038"))
        self.assertEqual(bytes.fromhex(client.derived), prf_sha256(b"\xA5" * 32, b"label" + b"\x5A" * 35, 16))

    def test_atsign_behind_a_t0_modem(self):
        self.bed("--model", "ublox-sara")
        self.alone(AtSign(self, Peer(self)))

    def test_ntt(self):
        self.bed()
        client = self.alone(Ntt(self))
        self.assertEqual(client.certificate.decode(), self.certificate())

    def test_ntt_behind_a_modem_that_fetches(self):
        self.bed("--model", "sierra-mc74")
        self.assertEqual(self.alone(Ntt(self, exact=False)).certificate.decode(), self.certificate())


class Many(Bed):
    def crowd(self, exact=True):
        """(client, port) pairs. wolfSSL takes channel 1 without asking, so the modem keeps it for that. Class 0n has room for channels
        up to 3, and most clients do not look at the number they get: so the one whose modem knows better gets channel 4."""
        cert, peer = self.certificate(), Peer(self)
        wolfssl, wolfssl_port = WolfSsl(self, peer, cert, rounds=3), self.port(echo=True)
        ntt, ntt_port = Ntt(self, exact=exact), self.port("tcp")
        for n in (2, 3):
            self.assertEqual(wolfssl_port.te.csim("0070000001"), ("%02X" % n, "9000"))
        self.assertIn("+CCHO: 4", ntt_port.te.at('+CCHO="%s"' % Ntt.aid))
        ntt.session = "4"
        for n in (2, 3):
            self.assertEqual(wolfssl_port.te.csim("007080%02X00" % n), ("", "9000"))
        return [(wolfssl, wolfssl_port), (ntt, ntt_port),
                (Pkcs11(self, None, cert, close_all=False), self.port("pty"))]

    def test_all_at_the_same_time(self):
        self.bed("-q", "preopen-channel=1")
        crowd = self.crowd()
        together(*crowd, (Orange(self, cert=self.certificate()), self.port()),
                 (Thales(self, None, self.certificate()), self.port("tcp")))
        self.assertEqual(crowd[0][0].handshakes, [TLS13] * 3)
        self.assertEqual(self.sim.ask("counters")["sign"], 3 + 4 * 2)

    def test_all_at_the_same_time_behind_a_t0_modem(self):
        self.bed("--model", "ublox-sara", "-q", "preopen-channel=1")
        # Nobody on the basic channel: there MANAGE CHANNEL of the others throws away what waits to be fetched.
        together(*self.crowd(exact=False), (AtSign(self, Peer(self, "atsign")), self.port()))

    def test_the_start_of_pkcs11_ends_the_sessions_of_others(self):
        self.bed()
        first, second = self.te(), self.te()
        for te, channel in ((first, 1), (second, 2)):
            self.assertEqual(te.csim("0070000001"), ("%02X" % channel, "9000"))
            self.assertEqual(te.csim("%02XA4040007A0000005590010" % channel), ("", "9000"))
            self.assertEqual(te.csim("8%d2A00010D840101A1010391020001920104" % channel)[1], "9000")
        self.alone(Pkcs11(self, Peer(self), self.certificate()))
        # Both channels were closed; the module has opened the first again, and left its applet there.
        self.assertEqual(second.csim("822B8001229E20" + "11" * 32)[1], "6881")
        self.assertNotEqual(first.csim("812B8001229E20" + "11" * 32)[1], "9000")
        # They recover as after a reset.
        self.alone(Orange(self, cert=self.certificate()))

    def kill(self, te, how):
        if te.socket and how == "reset":
            te.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        te.close()

    def test_a_hundred_killed_clients_leave_no_channel(self):
        self.bed()
        for i in range(100):
            kind = ("unix", "tcp", "pty")[i % 3]
            te = Te(self.m.ready["at"][kind])
            te.at("E0")
            if i % 2:
                self.assertIn("OK", te.at('+CCHO="A0000005590010"'))
            else:
                self.assertEqual(te.csim("0070000001")[1], "9000")
            if i % 4 == 0:  # dies while the card works for it
                te.send('AT+CSIM=26,"80B900000384010400"\r' if i % 8 else 'AT+CCHO="A0000005590010"\r')
            self.kill(te, "reset" if kind == "tcp" else "close")
        last = self.te()
        channels = []
        while True:
            data, sw = last.csim("0070000001")
            if sw != "9000":
                break
            channels.append(data)
        self.assertEqual(sw, "6A81")
        self.assertEqual(len(channels), 19)


class Card(Cards):
    """Without a modem: the bytes arrive at the card as SCardTransmit() got them."""

    def alone(self, client_class, card="factory.card", **kwargs):
        self.record = self.make(card)
        with cardtest.Reader() as reader:
            self.run_card("--vpcd", reader.address)
            with reader.accept() as link:
                link.power_on()
                client = client_class(self, Peer(self), self.certificate(), **kwargs)
                together((client, CardPort(link)))
        return client

    def test_orange_with_a_stray_byte_in_every_command(self):
        client = self.alone(OrangePcsc)
        self.assertEqual(client.certificate, self.der().rstrip(b"\0"))

    def test_iotsafetool(self):
        with open(os.path.join(cardtest.PROFILES, "factory.card")) as f:
            text = f.read().replace("profile = thales", "profile = qtool")
        client = self.alone(QTool, card=self.write("qtool.card", text))
        self.assertIn(0x84, client.tags)
        self.assertNotIn(0xC1, client.tags)


if __name__ == "__main__":
    tbtest.main()
