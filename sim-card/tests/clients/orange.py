"""Orange's APDU library: a channel opened and closed around every operation, class 0n, session 1 closed before and after use,
files in chunks of 50 bytes, a parser that knows one order. Over PC/SC it appends one stray 00 to every command with data
and connects for each APDU; its AT variant does neither."""
from client import Client, Refused, tlv

CHUNK = 50


class Orange(Client):
    name = "Orange (AT)"
    aid = "A0000002480400"
    pcsc = False

    def __init__(self, case, peer=None, cert=None, cert_size=1024):
        super().__init__(case, peer)
        self.cert = cert
        self.cert_size = cert_size  # the caller's guess: the size of the container
        self.certificate = None
        self.objects = []

    def command(self, channel, ins, p1, p2, data="", le=None):
        body = "%02X%s" % (len(data) // 2, data) if data else "" if self.pcsc or le is not None else "00"
        if data and self.pcsc:
            body += "00"
        return "%02X%s%02X%02X%s%s" % (channel, ins, p1, p2, body, "" if le is None else "%02X" % le)

    def open(self):
        channel = yield from self.expect("0070000001")
        number = int(channel, 16)
        # Exactly 9000: anything else is a failure for it.
        yield from self.expect(self.command(number, "A4", 4, 0, self.aid))
        return number

    def close(self, channel):
        yield from self.expect("007080%02X" % channel if self.pcsc else "007080%02X00" % channel)

    def fetch(self, channel, data, sw):
        while sw[:2] == "61":
            more, sw = yield from self.ask("%02XC00000%s" % (channel, sw[2:]))
            data += more
        return data, sw

    def read_file(self, file_id):
        channel = yield from self.open()
        content = ""
        while len(content) < 2 * self.cert_size:
            n = min(CHUNK, self.cert_size - len(content) // 2)
            at = len(content) // 2
            data, sw = yield from self.ask(self.command(channel, "B0", at >> 8, at & 0xFF, tlv(0x83, file_id), n))
            data, sw = yield from self.fetch(channel, data, sw)
            if sw != "9000" or len(data) != 2 * n:
                raise Refused("Orange: chunk at %d: %s %s" % (at, data, sw))
            content += data
        yield from self.close(channel)
        return bytes.fromhex(content).rstrip(b"\0")

    def list(self):
        channel = yield from self.open()
        data, sw = yield from self.ask(self.command(channel, "CB", 1, 0, le=0))
        if sw[:2] == "6C":
            data, sw = yield from self.ask(self.command(channel, "CB", 1, 0, le=int(sw[2:], 16)))
        if sw != "9000":
            raise Refused("Orange: object list answered %s" % sw)
        yield from self.close(channel)
        return data

    # Its parser: the kinds of structure in the order C1 C2 C4 C3, each field at its place or not there.
    FIELDS = {
        0xC1: ((0x74, False), (0x84, True), (0x60, True), (0x4A, True), (0x4B, True), (0x4E, True), (0x61, True),
               (0x92, False), (0x91, False), (0x6F, False)),
        0xC2: ((0x75, False), (0x85, True), (0x60, True), (0x4A, True), (0x4B, True), (0x4E, True), (0x61, True),
               (0x92, False), (0x91, False), (0x6F, False)),
        0xC4: ((0x76, False), (0x86, True), (0x60, True), (0x4A, True), (0x4B, True)),
        0xC3: ((0x73, False), (0x83, True), (0x60, True), (0x4A, True), (0x20, True)),
    }

    def parse(self, data):
        content, at = bytes.fromhex(data), 0
        for kind in (0xC1, 0xC2, 0xC4, 0xC3):
            while at < len(content) and content[at] == kind:
                end = at + 2 + content[at + 1]
                at += 2
                fields = {}
                for tag, mandatory in self.FIELDS[kind]:
                    if at < end and content[at] == tag:
                        fields[tag] = content[at + 2:at + 2 + content[at + 1]]
                        at += 2 + content[at + 1]
                    elif mandatory:
                        raise Refused("Orange: wrong tag %02X in %s, not %02X" % (content[at], data, tag))
                at = end
                self.objects.append((kind, fields))
        if at != len(content):
            raise Refused("Orange: does not understand %s" % data[2 * at:])

    def sign(self, mode, data_tag, data, digest):
        """One operation with a channel of its own: seven commands."""
        before = self.commands
        channel = yield from self.open()
        yield from self.ask(self.command(channel, "2A", 1, 1))  # whatever the answer
        yield from self.expect(self.command(channel, "2A", 0, 1,
                                            tlv(0x84, "01") + tlv(0xA1, mode) + "91020001" + "920104"))
        answer, sw = yield from self.ask(self.command(channel, "2B", 0x80, 1, tlv(data_tag, data)))
        answer, sw = yield from self.fetch(channel, answer, sw)
        if sw != "9000" or not answer.startswith("3340") or len(answer) != 4 + 128:
            raise Refused("Orange: signature %s %s" % (answer, sw))
        yield from self.ask(self.command(channel, "2A", 1, 1))
        yield from self.close(channel)
        if "61" not in sw:
            self.case.assertGreaterEqual(self.commands - before, 7)
        self.signed.append((digest, answer[4:], self.cert))

    def run(self):
        self.parse((yield from self.list()))
        self.certificate = yield from self.read_file("02")
        yield from self.sign("03", 0x9E, self.digest("tls").hex().upper(), self.digest("tls"))
        text = self.name + "basic test"
        yield from self.sign("01", 0x9B, text.encode().hex().upper(), self.digest("basic test"))


class OrangePcsc(Orange):
    name = "Orange (PC/SC)"
    pcsc = True
