"""wolfSSL's IoT SAFE port: AT+CSIM with lengths padded to three characters, ATE0 first, no channel opened, class 01 for
SELECT and GET RESPONSE and 81 for the rest, bare AT between commands, ids of one byte, pad-and-sign."""
import hashlib
import re

from client import Client, Line, Refused, elements, hkdf_extract, key_data, point_of, tlv

ZEROS = "00" * 32


class WolfSsl(Client):
    name = "wolfSSL"
    key, cert_file, ca_file, own, peer_slot = "01", "02", "03", "04", "05"

    def __init__(self, case, peer=None, cert=None, sig_len=16, version=13, rounds=1):
        super().__init__(case, peer)
        self.cert = cert
        self.sig_len = sig_len
        self.version = version
        self.rounds = rounds
        self.files = {}
        self.handshakes = []

    def line(self, apdu):
        return 'AT+CSIM=%3d,"%s"\r\n' % (len(apdu), apdu)

    def answer(self, text):
        found = re.search(r'\+CSIM:[^"]*"([^"]*)"', text)
        if not found:
            raise Refused("wolfSSL: no quoted answer in %r" % text)
        return found[1]

    def poll(self):
        answer = yield Line("AT\r\n")
        if "OK" not in answer:
            raise Refused("wolfSSL: AT answered %r" % answer)

    def command(self, ins, p1, p2, *tlvs):
        """Data of the answer, fetched over T=0 when it has to be."""
        body = "".join(tlvs)
        data, sw = yield from self.ask("81%s%02X%02X%02X%s" % (ins, p1, p2, len(body) // 2, body))
        if sw[:2] == "61":
            data, sw = yield from self.ask("01C00000" + sw[2:])
        return data, sw

    def good(self, *args):
        data, sw = yield from self.command(*args)
        if sw != "9000":
            raise Refused("wolfSSL: %r answered %s" % (args, sw))
        return data

    def opening(self):
        answer = yield Line("ATE0\r\n")
        if "OK" not in answer:
            raise Refused("wolfSSL: ATE0 answered %r" % answer)
        answer = yield Line('AT+CSIM=24,"01A4040007A0000005590010"\r\n')
        self.check_equal(self.answer(answer), "9000")

    def random(self, n):
        data, sw = yield from self.ask("81840000%02X" % n)
        if sw[:2] == "61":
            data, sw = yield from self.ask("01C00000" + sw[2:])
        self.check_equal((len(data), sw), (2 * n, "9000"))

    def read_file(self, file_id):
        info = yield from self.good("CB", 0xC3, 0, tlv(0x83, file_id))
        size = int(dict(elements(info[4:]))[0x20], 16)  # the first two bytes are skipped unseen
        content = ""
        while len(content) < 2 * size:
            block = yield from self.good("B0", len(content) // 2 >> 8, len(content) // 2 & 0xFF, tlv(0x83, file_id))
            content += block
        self.files[file_id] = content

    def put_key(self, point):
        yield from self.good("24", 0, 2, tlv(0x85, self.peer_slot))
        yield from self.poll()
        yield from self.good("D8", 0x80, 2, key_data(point))
        yield from self.good("24", 1, 2)
        yield from self.poll()

    def generate(self):
        answer = yield from self.good("B9", 0, 0, tlv(0x84, self.own))
        return point_of(answer)

    def agree(self, own_point):
        yield from self.poll()
        secret = yield from self.good("46", 0, 0, tlv(0x84, self.own), tlv(0x85, self.peer_slot))
        self.check_equal(secret, self.peer.derive(own_point))
        return secret

    def extract(self, salt, secret):
        prk = yield from self.good("4A", 0, 0, tlv(0xD1, secret), tlv(0xD5, salt), "91020001")
        self.check_equal(bytes.fromhex(prk), hkdf_extract(bytes.fromhex(salt), bytes.fromhex(secret)))
        return prk

    def signature_tlv(self, raw):
        return "330040" + raw if self.sig_len == 16 else "3340" + raw

    def verify(self, digest, raw):
        """The status word is the verdict."""
        yield from self.put_key(self.peer.point)
        yield from self.good("2C", 0, 1, tlv(0x85, self.peer_slot), "A10103", "91020001", "920104")
        yield from self.poll()
        _, sw = yield from self.command("2D", 0x80, 1, tlv(0x9E, digest.hex().upper()), self.signature_tlv(raw))
        yield from self.good("2C", 1, 1)
        yield from self.poll()
        return sw

    def sign(self, digest):
        yield from self.good("2A", 0, 1, tlv(0x84, self.key), "A10103", "91020001", "920104")
        yield from self.poll()
        answer = yield from self.good("2B", 0x80, 1, tlv(0x9E, digest.hex().upper()))
        head = self.signature_tlv("")
        if not answer.startswith(head) or len(answer) != len(head) + 128:
            raise Refused("wolfSSL: invalid signature %s" % answer)
        yield from self.good("2A", 1, 1)
        yield from self.poll()
        self.signed.append((digest, answer[len(head):], self.cert))

    def server_signature(self, digest):
        sw = yield from self.verify(digest, self.peer.sign(digest))
        self.check_equal(sw, "9000")

    def tls13(self):
        own = yield from self.generate()
        yield from self.put_key(self.peer.point)
        secret = yield from self.agree(own)
        early = yield from self.extract(ZEROS, ZEROS)
        self.check_equal(early, "33AD0A1C607EC03B09E6CD9893680CE210ADF300AA1F2660E1B22E10F170F92A")
        handshake = yield from self.extract(self.digest("derived").hex().upper(), secret)
        yield from self.server_signature(self.digest("server"))
        yield from self.extract(handshake, ZEROS)
        yield from self.sign(self.digest("client"))

    def tls12(self):
        # OpenSSL's servers sign the key exchange with SHA-512, and SHA-256 is declared all the same.
        yield from self.server_signature(hashlib.sha512(b"ServerKeyExchange").digest())
        own = yield from self.generate()
        yield from self.put_key(self.peer.point)
        yield from self.agree(own)
        yield from self.sign(self.digest("client"))

    def run(self):
        yield from self.opening()
        yield from self.random(0x34)
        yield from self.read_file(self.cert_file)
        yield from self.read_file(self.ca_file)
        for _ in range(self.rounds):
            before = (self.commands, self.bytes_out, self.bytes_in)
            yield from self.tls13() if self.version == 13 else self.tls12()
            self.handshakes.append(tuple(now - then for now, then in
                                         zip((self.commands, self.bytes_out, self.bytes_in), before)))
        sw = yield from self.verify(self.digest("server"), "11" * 64)
        self.check_equal(sw, "6D01")


class WolfSslTwoBytes(WolfSsl):
    """IOTSAFE_ID_SIZE 2: identifiers of two characters, as in the STM32 demo. Peer key and verification have slots of their own."""
    name = "wolfSSL with ids of two bytes"
    key, cert_file, ca_file, own, peer_slot = "3032", "3034", "3033", "3033", "3037"
    verify_slot = "3034"

    def verify(self, digest, raw):
        agreement, self.peer_slot = self.peer_slot, self.verify_slot
        sw = yield from super().verify(digest, raw)
        self.peer_slot = agreement
        return sw
