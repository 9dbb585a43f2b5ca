"""What tests of the program sim-card share: a CA, cards from profiles, and a reader that speaks vpcd."""
import hashlib
import json
import os
import select
import socket
import struct
import subprocess

import tbtest

PROFILES = os.path.join(tbtest.SOURCE, "sim-card", "profiles")
GSMA = "A0000005590010"
THALES = "A00000003053F12401770101495341"
ORANGE = "A0000002480400"
NTT = "A0000001157000000000000049534102"
ATR_DEFAULT = "3B9F9680B1FE451FC78031E073FE21DF494F5453414645013B"


def openssl(*args, data=None):
    done = subprocess.run(["openssl", *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise AssertionError("openssl %s: %s" % (args, done.stderr.decode()))
    return done.stdout


def swapped(digits):
    """As EF.ICCID holds digits: the halves of each byte exchanged."""
    return "".join(digits[i + 1] + digits[i] for i in range(0, len(digits), 2))


def fingerprint(der):
    return hashlib.sha256(der).hexdigest()


def der_signature(raw):
    """r || s as ECDSA-Sig-Value."""
    def integer(b):
        b = b.lstrip(b"\0") or b"\0"
        b = b"\0" + b if b[0] & 0x80 else b
        return b"\x02" + bytes((len(b),)) + b
    body = integer(raw[:len(raw) // 2]) + integer(raw[len(raw) // 2:])
    return b"\x30" + bytes((len(body),)) + body


def verifies(case, cert, digest, raw, *options):
    """Does OpenSSL find that the key of the certificate (a PEM file) has signed digest? raw: r || s, or of RSA."""
    public = case.write("public.pem", openssl("x509", "-in", cert, "-noout", "-pubkey"))
    signature = case.write("signature", der_signature(raw) if len(raw) == 64 else raw)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-sigfile", signature, "-in",
                           case.write("digest", digest), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.returncode == 0


class Link:
    """The reader's end of a connection to a card. A context manager that closes it."""

    def __init__(self, sock):
        self.socket = sock
        sock.settimeout(tbtest.WAIT)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.socket.sendall(data)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise ConnectionError("the card closed the connection after %r" % data)
            data += piece
        return data

    def frame(self):
        return self._exactly(struct.unpack(">H", self._exactly(2))[0])

    def silent(self):
        """True when nothing has arrived. To be asked after an answer to something sent later."""
        return not select.select([self.socket], [], [], 0)[0]

    def closed(self):
        """Waits for the card's end of the connection, and ends ours."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        self.close()
        return True

    def control(self, code):
        self.send(bytes((0, 1, code)))

    def power_on(self):
        self.control(1)

    def power_off(self):
        self.control(0)

    def reset(self):
        self.control(2)

    def atr(self):
        self.control(4)
        return self.frame().hex().upper()

    def transmit(self, command):
        """One APDU as bytes, the response as bytes."""
        self.send(struct.pack(">H", len(command)) + command)
        return self.frame()

    def apdu(self, command):
        """Hex to (hex data, hex status), 61xx fetched."""
        command = bytes.fromhex(command)
        response = self.transmit(command)
        data, sw = response[:-2], response[-2:]
        while sw[0] == 0x61:
            response = self.transmit(bytes((command[0] & 0x03, 0xC0, 0, 0, sw[1])))
            data, sw = data + response[:-2], response[-2:]
        return data.hex().upper(), sw.hex().upper()

    def ok(self, command):
        data, sw = self.apdu(command)
        if sw != "9000":
            raise AssertionError("%s answered %s" % (command, sw))
        return data

    def select(self, aid=GSMA):
        return self.ok("00A40400%02X%s" % (len(aid) // 2, aid))

    def sign(self, digest, key="01", algorithm="04"):
        """The signature by key, whichever length form the card's profile has."""
        tlv = "84%02X%sA10103910200019201%s" % (len(key) // 2, key, algorithm)
        self.ok("802A0000%02X%s" % (len(tlv) // 2, tlv))
        answer = self.ok("802B8000%02X9E%02X%s" % (len(digest) + 2, len(digest), digest.hex()))
        assert answer[:2] == "33", answer
        return bytes.fromhex(answer[4:] if int(answer[2:4], 16) == len(answer) // 2 - 2 else answer[6:])

    def read_file(self, file_id):
        ref = "83%02X%s" % (len(file_id) // 2, file_id)
        info = bytes.fromhex(self.ok("80CBC300%02X%s" % (len(ref) // 2, ref)))
        size = int.from_bytes(info[info.rindex(b"\x20\x02") + 2:][:2], "big")
        data = b""
        while len(data) < size:
            piece = self.ok("80B0%04X%02X%s" % (len(data), len(ref) // 2, ref))
            data += bytes.fromhex(piece)
        return data

    def public_key(self, key_id):
        answer = self.ok("80CD0000%02X85%02X%s" % (len(key_id) // 2 + 2, len(key_id) // 2, key_id))
        return bytes.fromhex(answer)[6:]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Reader:
    """Waits for cards, as vpcd does."""

    def __init__(self, address=None):
        if address and address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(address[5:])
            self.address = address
        else:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host, _, port = (address or "127.0.0.1:0").rpartition(":")
            self.socket.bind((host, int(port)))
            self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.socket.listen(8)

    def accept(self, timeout=tbtest.WAIT):
        self.socket.settimeout(timeout)
        return Link(self.socket.accept()[0])

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class CardCase(tbtest.Case):
    """A test with cards: self.store(...) makes one, self.card(...) runs one."""

    def ca(self):
        """The files of a CA, made on first use."""
        cert, key = self.path("ca.pem"), self.path("ca.key")
        if not os.path.exists(cert):
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", cert, "-subj", "/O=Test/CN=Test CA", "-days", "30", "-addext",
                    "keyUsage=critical,keyCertSign,cRLSign")
        return cert, key

    def personalise(self, card_file, *args, store="card.db", issuer=True):
        """Runs the factory; the finished process."""
        if "/" not in card_file:
            card_file = os.path.join(PROFILES, card_file)
        cert, key = self.ca() if issuer else (None, None)
        ca = ("--issuer-cert", cert, "--issuer-key", key) if issuer else ()
        return tbtest.run("sim-card", "personalise", card_file, "--store", self.path(store), *ca, *args)

    def make(self, card_file="factory.card", *args, store="card.db"):
        """The record of a card that has to become one."""
        done = self.personalise(card_file, *args, store=store)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["cards"][0]

    def run_card(self, *args, store="card.db", **kwargs):
        return self.start("sim-card", "--store", self.path(store), "--ctl", self.socket("card"), *args, **kwargs)
