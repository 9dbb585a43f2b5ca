"""What re-implementations of deployed IoT SAFE clients share. A client is a generator of what it sends: it yields an APDU
as hex, or a Line of AT text, and gets back what the card (hex, status word included) or the modem (text) has answered.
So one test can run a client alone, or many at the same time on one card: see together().

The clients were written from byte streams that were published or recorded, not from their sources. What one does that
the others do not (class bytes, Le, stray bytes, the exact answers it insists on) is the point of having it."""
import hashlib
import hmac
import os
import re
import subprocess
import sys

import tbtest

sys.path[:0] = [os.path.join(tbtest.SOURCE, folder, "tests") for folder in ("sim-card", "sim-modem")]
import cardtest  # noqa: E402

SPKI_P256 = bytes.fromhex("3059301306072A8648CE3D020106082A8648CE3D030107034200")


class Line(str):
    """AT text instead of an APDU; the whole answer comes back."""


class Refused(AssertionError):
    """The client gives up, as the real one would."""


def tlv(tag, value):
    """One byte tag, one byte length; value as hex."""
    return "%02X%02X%s" % (tag, len(value) // 2, value)


def elements(data):
    """Hex to a list of (tag, hex value), short lengths."""
    found, at = [], 0
    while at < len(data):
        end = at + 4 + 2 * int(data[at + 2:at + 4], 16)
        if end > len(data):
            raise Refused("an element reaches beyond the end: %s" % data[at:])
        found.append((int(data[at:at + 2], 16), data[at + 4:end]))
        at = end
    return found


def point_of(data):
    """The EC point in 34 {49 {86}}, wherever it stands in data."""
    for tag, value in elements(data):
        if tag == 0x34:
            return dict(elements(dict(elements(value))[0x49]))[0x86]
    raise Refused("no public key in %s" % data)


def key_data(point):
    return tlv(0x34, tlv(0x49, tlv(0x86, point)))


def prf_sha256(secret, label_and_seed, n):
    """spec: RFC5246 5."""
    a, out = label_and_seed, b""
    while len(out) < n:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + label_and_seed, "sha256")
    return out[:n]


def hkdf_extract(salt, secret):
    """spec: RFC5869 2.2."""
    return hmac.digest(salt, secret, "sha256")


class Peer:
    """The other side of a key agreement, or the maker of a signature; OpenSSL does the work."""

    def __init__(self, case, name="peer"):
        self.case = case
        self.key = case.path(name + ".key")
        cardtest.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        self.point = cardtest.openssl("ec", "-in", self.key, "-pubout", "-outform", "DER")[-65:].hex().upper()

    def sign(self, digest):
        """r || s as hex."""
        der = cardtest.openssl("pkeyutl", "-sign", "-inkey", self.key, "-in", self.case.write("to-sign", digest))
        return raw_signature(der).hex().upper()

    def derive(self, point):
        """The shared secret with the owner of point, hex."""
        public = self.case.write("other.der", SPKI_P256 + bytes.fromhex(point))
        return cardtest.openssl("pkeyutl", "-derive", "-inkey", self.key, "-peerkey", public, "-peerform",
                                "DER").hex().upper()


def raw_signature(der):
    """r || s of an ECDSA-Sig-Value."""
    r_len = der[3]
    r, s = der[4:4 + r_len], der[6 + r_len:]
    return r.lstrip(b"\0").rjust(32, b"\0") + s.lstrip(b"\0").rjust(32, b"\0")


class Client:
    """A client of the card. Subclasses have run(), a generator. What they sign is judged by OpenSSL in check()."""

    name = "?"

    def __init__(self, case, peer=None):
        self.case = case
        self.peer = peer
        self.signed = []  # (digest, raw signature hex, public key: a certificate in PEM or a point in hex)
        self.commands = self.bytes_out = self.bytes_in = 0

    def line(self, apdu):
        """The AT command that carries an APDU."""
        return 'AT+CSIM=%d,"%s"\r' % (len(apdu), apdu)

    def answer(self, text):
        """The response APDU in what the modem answered."""
        found = re.search(r'\+CSIM: ([0-9]+),"([0-9A-F]+)"\r\n\r\nOK\r\n$', text)
        if not found or int(found[1]) != len(found[2]):
            raise Refused("%s: the modem answered %r" % (self.name, text))
        return found[2]

    def ask(self, apdu):
        """One exchange as it is."""
        response = yield apdu
        self.commands += 1
        self.bytes_out += len(apdu) // 2
        self.bytes_in += len(response) // 2
        return response[:-4], response[-4:]

    def expect(self, apdu, sw="9000"):
        data, got = yield from self.ask(apdu)
        if got != sw:
            raise Refused("%s: %s answered %s%s, not %s" % (self.name, apdu, data, got, sw))
        return data

    def check_equal(self, a, b):
        self.case.assertEqual(a, b, self.name)

    def check(self):
        for digest, raw, public in self.signed:
            if public.startswith("-----"):
                good = cardtest.verifies(self.case, self.case.write("signer.pem", public), digest, bytes.fromhex(raw))
            else:
                good = self._point_verifies(digest, bytes.fromhex(raw), public)
            self.case.assertTrue(good, "%s: signature %s over %s" % (self.name, raw, digest.hex()))

    def _point_verifies(self, digest, raw, point):
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey",
             self.case.write("signer.der", SPKI_P256 + bytes.fromhex(point)), "-sigfile",
             self.case.write("signature", cardtest.der_signature(raw)), "-in", self.case.write("digest", digest)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def digest(self, text="to be signed"):
        return hashlib.sha256((self.name + text).encode()).digest()


class AtPort:
    """Carries a client's words over a port of the modem (modemtest.Te)."""

    def __init__(self, te):
        self.te = te

    def send(self, client, item):
        self.te.send(item if isinstance(item, Line) else client.line(item))

    def receive(self, client, item):
        text = self.te.final()
        return text if isinstance(item, Line) else client.answer(text)


class CardPort:
    """Carries APDUs to the card directly, as PC/SC does (cardtest.Link). One client at a time."""

    def __init__(self, link):
        self.link = link

    def send(self, client, item):
        command = bytes.fromhex(item)
        self.link.send(len(command).to_bytes(2, "big") + command)

    def receive(self, client, item):
        return self.link.frame().hex().upper()


def together(*pairs):
    """Runs (client, port) pairs at the same time: in each round every client has a command under way."""
    running = []
    for client, port in pairs:
        program = client.run()
        running.append((client, port, program, next(program)))
    while running:
        for client, port, _, item in running:
            port.send(client, item)
        answers = [port.receive(client, item) for client, port, _, item in running]
        still = []
        for (client, port, program, _), answer in zip(running, answers):
            try:
                still.append((client, port, program, program.send(answer)))
            except StopIteration:
                pass
        running = still
    for client, _ in pairs:
        client.check()
