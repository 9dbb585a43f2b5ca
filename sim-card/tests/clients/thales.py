"""The Thales middleware and its PKCS#11 module: an AID of their own, class 0n, Le 00 with everything that may answer, session 0
that is never closed, blocks of 255 bytes."""
from client import Client, Refused, elements, key_data, point_of, prf_sha256, tlv

AID = "A00000003053F12401770101495341"
BLOCK = 255
PRF_SECRET = "C0485B054863F6DFA458789768B9035C6CACB160DD1A01834811F5783309DB81"
PRF_SEED = b"extended master secret".hex().upper() + "CE15B44D68440B652624244DB8D2FB7DD601C759E9EB627FB10529AB0DB76049"
PRF_START = "A1F02A766DA04C8FD83A40E358267528F8D815C48E3DC353D55FE3861C350622C78B48FE6F49F6E13E1B6B175CFE59FB"


class Thales(Client):
    name = "Thales"
    case3_le = False  # the PKCS#11 module pads a 00 after commands that have no answer

    def __init__(self, case, peer=None, cert=None, logical=False):
        super().__init__(case, peer)
        self.cert = cert
        self.logical = logical
        self.channel = 0
        self.certificate = None

    def command(self, ins, p1, p2, data="", answers=True):
        le = "00" if answers or self.case3_le else ""
        apdu = "%02X%s%02X%02X" % (self.channel, ins, p1, p2)
        apdu += "%02X%s%s" % (len(data) // 2, data, le) if data else le or "00"
        data, sw = yield from self.ask(apdu)
        if sw[:2] == "6C":
            data, sw = yield from self.ask(apdu[:8] + sw[2:] + apdu[10:])
        while sw[:2] in ("61", "9F"):
            more, sw = yield from self.ask("%02XC00000%s" % (self.channel & 3, sw[2:]))
            data += more
        if len(data) > 2 * BLOCK:
            raise Refused("%s: a buffer of 255 bytes overflows" % self.name)
        return data, sw

    def good(self, *args, **kwargs):
        data, sw = yield from self.command(*args, **kwargs)
        if sw not in ("9000", "6300") and sw[:2] != "91":
            raise Refused("%s: %r answered %s" % (self.name, args, sw))
        return data

    def select(self):
        return (yield from self.good("A4", 4, 0, AID))

    def random(self, n):
        data, sw = yield from self.ask("%02X840000%02X" % (self.channel, n))
        if sw[:2] == "61":
            data, sw = yield from self.ask("%02XC00000%s" % (self.channel, sw[2:]))
        self.check_equal((len(data), sw), (2 * n, "9000"))

    def read_blocks(self, file_id, size, count):
        """It moves on by exactly 255, whatever came back."""
        content = ""
        for block in range(count):
            at = block * BLOCK
            data = yield from self.good("B0", at >> 8, at & 0xFF, tlv(0x83, file_id))
            content = content[:2 * at] + data
        if len(content) != 2 * size:
            raise Refused("%s: %d bytes instead of %d" % (self.name, len(content) // 2, size))
        return content

    def read_file(self, file_id):
        info = yield from self.good("CB", 0xC3, 0, tlv(0x83, file_id))
        if len(info) > 2 * 50:
            raise Refused("%s: file information of %d bytes" % (self.name, len(info) // 2))
        fields = elements(info)
        size = int(dict(elements(fields[0][1]) if fields[0][0] == 0xC3 else fields)[0x20], 16)
        return (yield from self.read_blocks(file_id, size, (size + BLOCK - 1) // BLOCK))

    def sign(self, key="01"):
        digest = self.digest()
        yield from self.good("2A", 0, 0, tlv(0x84, key) + "A10103" + "91020001" + "920104", answers=False)
        answer = yield from self.good("2B", 0x80, 0, tlv(0x9E, digest.hex().upper()))
        raw = answer[6:] if answer.startswith("330040") else answer[4:]
        if answer[:2] != "33" or len(raw) != 128:
            raise Refused("%s: signature %s" % (self.name, answer))
        self.signed.append((digest, raw, self.cert))

    def generate(self):
        return point_of((yield from self.good("B9", 0, 0, tlv(0x84, "04"))))

    def agree(self, own):
        yield from self.good("24", 0, 0, tlv(0x85, "05"), answers=False)
        yield from self.good("D8", 0x80, 0, key_data(self.peer.point), answers=False)
        secret = yield from self.good("46", 0, 0, tlv(0x84, "04") + tlv(0x85, "05"))
        self.check_equal(secret, self.peer.derive(own))

    def prf(self):
        answer = yield from self.good("48", 0, 0, tlv(0xD1, PRF_SECRET) + tlv(0xD2, PRF_SEED) + "D301FF")
        self.check_equal(answer[:96], PRF_START)
        self.check_equal(bytes.fromhex(answer), prf_sha256(bytes.fromhex(PRF_SECRET), bytes.fromhex(PRF_SEED), 255))

    def run(self):
        if self.logical:
            self.channel = int((yield from self.expect("0070000001")), 16)
        yield from self.select()
        yield from self.good("CB", 0, 0)
        self.certificate = yield from self.read_file("02")
        yield from self.random(32)
        yield from self.prf()
        for _ in range(2):  # the session of the first signature is still there
            yield from self.sign()
        if self.peer:
            yield from self.agree((yield from self.generate()))
        if self.logical:
            yield from self.expect("%02X7080%02X00" % (self.channel, self.channel))  # its own channel's class


class Pkcs11(Thales):
    """The module on top: closes every channel it finds, selects three times, wants a label on everything."""
    name = "Thales PKCS#11"
    case3_le = True

    def __init__(self, case, peer=None, cert=None, close_all=True):
        super().__init__(case, peer, cert)
        self.close_all = close_all
        self.keys, self.files = {}, {}
        self.start_commands = self.list_blocks = 0

    def start(self):
        number = 1
        while self.close_all:
            _, sw = yield from self.ask("007080%02X00" % number)
            if sw != "9000":
                break
            number += 1
        self.channel = int((yield from self.expect("0070000001")), 16)
        for _ in range(3):
            yield from self.select()
        yield from self.load()

    def load(self):
        """Object list, public keys and certificates."""
        data, sw = yield from self.command("CB", 1, 0)
        self.list_blocks = 1
        while sw == "6300":
            more, sw = yield from self.command("CB", 1, 1)
            data += more
            self.list_blocks += 1
        if sw != "9000":
            raise Refused("%s: object list answered %s" % (self.name, sw))
        self.start_commands = self.commands
        for kind, body in elements(data):
            fields = dict(elements(body))
            label, ident = {0xC1: (0x74, 0x84), 0xC2: (0x75, 0x85), 0xC3: (0x73, 0x83), 0xC4: (0x76, 0x86)}[kind]
            if label not in fields:
                raise Refused("%s: an object without label: %s" % (self.name, body))
            if len(fields[ident]) != 2 or int(fields[ident], 16) > 15:
                continue  # ids of one byte below 16 only
            if kind == 0xC2:
                point, sw = yield from self.command("CD", 0, 0, tlv(0x85, fields[ident]))
                self.keys[fields[ident]] = (fields[0x4B], point_of(point) if sw == "9000" else None)
            elif kind == 0xC3 and fields[0x21] == "02":
                size = int(fields[0x20], 16)
                content = yield from self.read_blocks(fields[ident], size, (size + 255) // 256)
                der = bytes.fromhex(content)
                if der[0] != 0x30 or len(der) != 4 + int.from_bytes(der[2:4], "big"):
                    raise Refused("%s: something follows the certificate" % self.name)
                self.files[fields[ident]] = content

    def sign_with_token(self):
        yield from self.select()
        yield from self.sign()

    def generate(self):
        yield from self.select()
        answer = yield from self.good("B9", 0, 0, tlv(0x84, "04"))
        yield from self.good("CB", 1, 0)
        read = yield from self.good("CD", 0, 0, tlv(0x85, "04"))
        yield from self.good("CD", 0, 0, tlv(0x85, "04"))
        self.check_equal(point_of(read), point_of(answer))
        return point_of(read)

    def run(self):
        yield from self.start()
        self.check_equal(self.keys["01"][0], "13")
        yield from self.random(0x1C)
        for _ in range(2):
            yield from self.sign_with_token()
        if self.peer:
            yield from self.agree((yield from self.generate()))
