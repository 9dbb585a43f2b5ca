"""Clients of which a few commands are known: atsign's on ZARIOT SIMs, those in NTT's documents, quantag's iotsafetool."""
import re

from client import Client, Line, Refused, elements, key_data, point_of, prf_sha256, tlv


class AtSign(Client):
    """A channel around every operation, class 8n, and status words compared to the letter: 6147 after READ PUBLIC KEY, 6151
    after GENERATE KEY PAIR, 6143 after a signature, 6110 after a PRF. Session 1 is never closed."""
    name = "atsign"
    aid = "A0000005590010"
    key, peer_key = "303036", "303037"

    def __init__(self, case, peer=None, secret=None):
        super().__init__(case, peer)
        self.secret = secret  # id of a secret key; the card's owner knows its value
        self.derived = None

    def answer(self, text):
        found = re.search(r"\+CSIM: [0-9]+,\"([0-9A-F]+)\"", text)
        if not found:
            raise Refused("atsign: %r" % text)
        return found[1]

    def operation(self, *commands):
        """commands: (apdu from the instruction on, exact status word). Answers in order."""
        channel = int((yield from self.expect("0070000000")), 16)
        yield from self.expect("%02XA40400%02X%s" % (channel, len(self.aid) // 2, self.aid))
        answers = []
        for apdu, sw in commands:
            data = yield from self.expect("%02X%s" % (0x80 | channel, apdu), sw)
            if sw[:2] == "61":
                data = yield from self.expect("%02XC00000%s" % (0x80 | channel, sw[2:]))
            answers.append(data)
        yield from self.expect("007080%02X00" % channel)
        return answers

    def sign(self, public):
        digest = self.digest()
        init = tlv(0x84, self.key) + "A10103" + "91020001" + "920104"
        answers = yield from self.operation(("2A00010F" + init, "9000"),
                                            ("2B800122" + tlv(0x9E, digest.hex().upper()), "6143"))
        if not answers[1].startswith("330040"):
            raise Refused("atsign: signature %s" % answers[1])
        self.signed.append((digest, answers[1][6:], public))

    def run(self):
        made = yield from self.operation(("B9000005" + tlv(0x84, self.key), "6151"))
        read = yield from self.operation(("CD000005" + tlv(0x85, self.key), "6147"))
        self.check_equal(point_of(read[0]), point_of(made[0]))
        for _ in range(2):
            yield from self.sign(point_of(read[0]))
        yield from self.operation(("24000005" + tlv(0x85, self.peer_key), "9000"),
                                  ("D8800047" + key_data(self.peer.point), "9000"))
        digest = self.digest("peer's")
        init = tlv(0x85, self.peer_key) + "A10103" + "91020001" + "920104"
        yield from self.operation(("2C00010F" + init, "9000"),
                                  ("2D800165" + tlv(0x9E, digest.hex().upper()) + "330040" + self.peer.sign(digest),
                                   "9000"))
        if self.secret:
            body = tlv(0x86, self.secret) + tlv(0xD2, b"label".hex() + "5A" * 35) + "D30110"
            answers = yield from self.operation(("480000%02X%s" % (len(body) // 2, body), "6110"))
            self.derived = answers[0]


class Ntt(Client):
    """AT+CCHO, AT+CGLA with class 00 whatever the channel, AT+CCHC. The certificate is a PEM file found by its label; a
    signature arrives after 6142, fetched with P3 00."""
    name = "NTT"
    aid = "A0000001157000000000000049534102"
    label = b"iotsafe_client_keypair_cert".hex().upper()

    def __init__(self, case, peer=None, exact=True):
        super().__init__(case, peer)
        self.exact = exact  # the modem shows 61xx
        self.session = None
        self.certificate = None

    def line(self, apdu):
        return 'AT+CGLA=%s,%d,"%s"\r' % (self.session, len(apdu), apdu)

    def answer(self, text):
        found = re.search(r'\+CGLA: ([0-9]+),"([0-9A-F]+)"\r\n\r\nOK\r\n$', text)
        if not found or int(found[1]) != len(found[2]):
            raise Refused("NTT: %r" % text)
        return found[2]

    def good(self, apdu, sw=None):
        data, got = yield from self.ask(apdu)
        if sw and self.exact:
            self.check_equal(got, sw)
        while got[:2] == "61":
            more, got = yield from self.ask("00C0000000")
            data += more
        if got != "9000":
            raise Refused("NTT: %s answered %s" % (apdu, got))
        return data

    def sign(self, reference):
        digest = self.digest(reference)
        init = reference + "A10103" + "91020001" + "920104"
        yield from self.good("002A0001%02X%s" % (len(init) // 2, init))
        answer = yield from self.good("002B800122" + tlv(0x9E, digest.hex().upper()), "6142")
        if not answer.startswith("3340") or len(answer) != 132:
            raise Refused("NTT: signature %s" % answer)
        self.signed.append((digest, answer[4:], self.certificate.decode()))

    def open(self):
        answer = yield Line('AT+CCHO="%s"\r' % self.aid)
        found = re.search(r"\+CCHO: (\w+)\r\n\r\nOK\r\n$", answer)
        if not found:
            raise Refused("NTT: +CCHO answered %r" % answer)
        self.session = found[1]

    def run(self):
        if not self.session:
            yield from self.open()
        name = tlv(0x73, self.label)
        info = yield from self.good("00CBC300%02X%s" % (len(name) // 2, name))
        fields = elements(info)
        size = int(dict(elements(fields[0][1]) if fields[0][0] == 0xC3 else fields)[0x20], 16)
        content = ""
        while len(content) < 2 * size:
            at = len(content) // 2
            content += yield from self.good("00B0%04X%02X%s" % (at, len(name) // 2, name))
        self.certificate = bytes.fromhex(content)
        yield from self.sign(tlv(0x84, "01"))
        yield from self.sign(tlv(0x74, "31"))  # by label
        answer = yield Line("AT+CCHC=%s\r" % self.session)
        if not answer.endswith("OK\r\n"):
            raise Refused("NTT: +CCHC answered %r" % answer)


class QTool(Client):
    """A tool for PC/SC: basic channel, class 80, close in four bytes, the full text to the card, signatures behind one byte of
    length, structures without wrapper."""
    name = "iotsafetool"
    aid = "A00000003053F12401770101495341"

    def __init__(self, case, peer=None, cert=None, key="01"):
        super().__init__(case, peer)
        self.cert = cert
        self.key = key
        self.tags = []

    def run(self):
        yield from self.expect("00A40400%02X%s" % (len(self.aid) // 2, self.aid))
        info = yield from self.expect("80CB000044")
        tags = [tag for tag, _ in elements(info)]
        self.check_equal([t for t in tags if t in (0x61, 0x6F)], [0x61, 0x6F])
        objects, sw = yield from self.ask("80CB010000")
        while sw == "6300":
            more, sw = yield from self.ask("80CB010100")
            objects += more
        self.check_equal(sw, "9000")
        self.check_equal("920204" in objects, True)  # its card declares two bytes and sends one
        self.tags = [tag for tag, _ in elements(objects.replace("920204", "920104"))]
        yield from self.expect("8084000008")
        init = tlv(0x84, self.key) + "A10101" + "91020001" + "920104"
        yield from self.expect("802A0001%02X%s" % (len(init) // 2, init))
        text = (self.name + "full text").encode().hex().upper()
        answer = yield from self.expect("802B8001%02X%s" % (len(text) // 2 + 2, tlv(0x9B, text)))
        if not answer.startswith("3340"):
            raise Refused("iotsafetool: signature %s" % answer)
        self.signed.append((self.digest("full text"), answer[4:], self.cert))
        yield from self.ask("802A0101")
        yield from self.expect("8024000103850105")
        yield from self.expect("80D8800147" + key_data(self.peer.point))
        yield from self.ask("80240101")
        init = tlv(0x85, "05") + "A10103" + "91020001" + "920104"
        yield from self.expect("802C0001%02X%s" % (len(init) // 2, init))
        digest = self.digest("peer's")
        body = tlv(0x9E, digest.hex().upper()) + "3340" + self.peer.sign(digest)
        yield from self.expect("802D8001%02X%s" % (len(body) // 2, body))
        yield from self.ask("802C0101")
