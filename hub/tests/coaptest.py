"""CoAP for tests: messages by hand, over TLS (TCP) by Python and over DTLS by dtls_pipe; libcoap's own client."""
import json
import socket
import ssl
import struct
import subprocess
import tbtest
from hubtest import HubCase, ICCID

GET, POST, PUT, DELETE = 1, 2, 3, 4
CON, NON, ACK, RST = range(4)
ETAG, OBSERVE, URI_PATH, CONTENT_FORMAT, URI_QUERY, ACCEPT, BLOCK2, BLOCK1, SIZE2, SIZE1 = \
    4, 6, 11, 12, 15, 17, 23, 27, 28, 60
SECRET = "0123456789abcdef"  # printable: coap-client takes no other
PSK_ID = "urn:imei:red"


def uint(n):
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def block(num, more, szx=6):
    return uint(num << 4 | more << 3 | szx)


def code(c):
    return "%d.%02d" % (c >> 5, c & 31)


def extended(n):
    return (n, b"") if n < 13 else (13, bytes([n - 13])) if n < 269 else (14, struct.pack(">H", n - 269))


def put_options(options, payload):
    out, last = b"", 0
    for number, value in sorted(options, key=lambda o: o[0]):
        value = value.encode() if isinstance(value, str) else uint(value) if isinstance(value, int) else value
        (d, dx), (n, nx) = extended(number - last), extended(len(value))
        out += bytes([d << 4 | n]) + dx + nx + value
        last = number
    return out + (b"\xff" + payload if payload else b"")


def take_options(data):
    """[(number, value)], payload"""
    options, number, at = [], 0, 0

    def more(n):
        nonlocal at
        if n == 13:
            at += 1
            return 13 + data[at - 1]
        if n == 14:
            at += 2
            return 269 + struct.unpack(">H", data[at - 2:at])[0]
        return n
    while at < len(data):
        b, at = data[at], at + 1
        if b == 0xFF:
            return options, data[at:]
        number += more(b >> 4)
        n = more(b & 15)
        options.append((number, data[at:at + n]))
        at += n
    return options, b""


class Message:
    def __init__(self, kind, c, mid, token, options, payload):
        self.kind, self.code, self.mid, self.token, self.payload = kind, code(c), mid, token, payload
        self.options = dict(options)

    def number(self, option):
        return int.from_bytes(self.options[option], "big") if option in self.options else None


def path_options(path):
    path, _, query = path.partition("?")
    return [(URI_PATH, p) for p in path.strip("/").split("/") if p] + [(URI_QUERY, q) for q in query.split("&") if q]


class Coap:
    """One session; the tokens are its own."""

    def __init__(self):
        self.count = 0
        self.later = []  # messages with another token than the one that was waited for

    def next_token(self):
        self.count += 1
        return struct.pack(">H", self.count)

    def answer(self, token):
        for m in self.later:
            if m.token == token:
                self.later.remove(m)
                return m
        while True:
            m = self.receive()
            if m.token == token:
                return m
            self.later.append(m)

    def ask(self, method, path, payload=b"", *options, token=None):
        token = self.next_token() if token is None else token
        self.send(method, token, path_options(path) + list(options), payload)
        return self.answer(token)

    def whole(self, path, szx=6):
        """GET block by block."""
        body, num = b"", 0
        while True:
            m = self.ask(GET, path, b"", (BLOCK2, block(num, False, szx)))
            if m.code != "2.05":
                return m
            body += m.payload
            if not (m.number(BLOCK2) or 0) & 8:
                m.payload = body
                return m
            num += 1

    def upload(self, method, path, body, szx=6, *options):
        size = 16 << szx
        for num in range(max(1, (len(body) + size - 1) // size)):
            more = (num + 1) * size < len(body)
            m = self.ask(method, path, body[num * size:(num + 1) * size], (BLOCK1, block(num, more, szx)), *options)
            if m.code != "2.31":
                return m
        return m

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TcpCoap(Coap):
    """RFC 8323 over a TLS socket."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream
        self.stream.settimeout(tbtest.WAIT)
        self.buffer = b""
        self.send(0xE1, b"", [], b"")  # CSM
        while self.receive().code != "7.01":
            pass

    def send(self, method, token, options, payload=b""):
        body = put_options(options, payload)
        n = len(body)
        head = (bytes([n << 4 | len(token)]) if n < 13 else bytes([13 << 4 | len(token), n - 13]) if n < 269
                else bytes([14 << 4 | len(token)]) + struct.pack(">H", n - 269))
        self.stream.sendall(head + bytes([method]) + token + body)

    def _take(self, n):
        while len(self.buffer) < n:
            data = self.stream.recv(1 << 16)
            if not data:
                raise EOFError
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def receive(self):
        while True:
            m = self.message()
            if m.code != "7.02":
                return m
            self.send(0xE3, m.token, [])  # pong

    def message(self):
        """As it comes."""
        first = self._take(1)[0]
        n = first >> 4
        n = n if n < 13 else 13 + self._take(1)[0] if n == 13 else 269 + struct.unpack(">H", self._take(2))[0]
        c = self._take(1)[0]
        token = self._take(first & 15)
        options, payload = take_options(self._take(n))
        return Message(None, c, None, token, options, payload)

    def ended(self):
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError, ssl.SSLError):
            return True

    def close(self):
        self.stream.close()


class DtlsCoap(Coap):
    """RFC 7252 over DTLS, by dtls_pipe: a packet is a datagram."""

    def __init__(self, address, *options):
        super().__init__()
        self.mid = 1000
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(tbtest.WAIT)
        self.process = subprocess.Popen([tbtest.program("dtls_pipe"), *address.split(":"), *options], stdin=other,
                                        stderr=subprocess.PIPE)
        other.close()

    def send(self, method, token, options, payload=b"", kind=CON, mid=None):
        if mid is None:
            self.mid += 1
            mid = self.mid
        self.raw(bytes([0x40 | kind << 4 | len(token), method]) + struct.pack(">H", mid) + token +
                 put_options(options, payload))

    def raw(self, data):
        self.socket.send(data)

    def message(self):
        """As it comes; nothing is acknowledged."""
        d = self.socket.recv(1 << 16)
        if not d:
            raise EOFError
        n = d[0] & 15
        options, payload = take_options(d[4 + n:])
        return Message(d[0] >> 4 & 3, d[1], struct.unpack(">H", d[2:4])[0], d[4:4 + n], options, payload)

    def ended(self):
        """Its status, when the hub has ended the session."""
        return self.process.wait(tbtest.WAIT)

    def acknowledge(self, m, kind=ACK):
        self.raw(bytes([0x40 | kind << 4, 0]) + struct.pack(">H", m.mid))

    def receive(self):
        while True:
            m = self.message()
            if m.kind == CON:
                self.acknowledge(m)
            if m.code != "0.00":
                return m

    def close(self):
        """With close_notify, unless it is in the middle of something."""
        self.socket.close()
        try:
            self.process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class CoapCase(HubCase):
    def setUp(self):
        super().setUp()
        self.cli("add-psk", PSK_ID, "--secret", SECRET.encode().hex(), "--device", ICCID)

    def coap_hub(self, *args, **kwargs):
        return self.hub("--coaps", "127.0.0.1:0", "--coaps-psk", "127.0.0.1:0", *args, **kwargs)

    def cert_options(self, cert=None):
        cert = cert or self.red
        return ["-cert", cert[0], "-key", cert[1]]

    def dtls(self, hub, *options, cert=None):
        cert = cert or self.red
        s = DtlsCoap(hub.ready["coaps"], "--cert", cert[0], "--key", cert[1], *options)
        self.addCleanup(s.close)
        return s

    def dtls_psk(self, hub, *options, secret=SECRET.encode().hex()):
        s = DtlsCoap(hub.ready["coaps_psk"], "--psk", PSK_ID, secret, *options)
        self.addCleanup(s.close)
        return s

    def tcp(self, hub, version="1.3", cert=None):
        raw = tbtest.connect(hub.ready["coaps_tcp"])
        s = self.context(cert or self.red, version).wrap_socket(raw, server_hostname="localhost")
        self.addCleanup(s.close)
        return TcpCoap(s)

    def client(self, url, *args, cert=None, psk=None, **kwargs):
        """libcoap's client; its output."""
        who = (["-u", psk[0], "-k", psk[1]] if psk else
               ["-c", (cert or self.red)[0], "-j", (cert or self.red)[1], "-C", self.ca])
        done = subprocess.run(["coap-client-openssl", *who, *args, url], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=tbtest.WAIT, **kwargs)
        return done.stdout

    def s_client(self, address, *options, dtls=True):
        """What "openssl s_client" says about a handshake."""
        done = subprocess.run(["openssl", "s_client", *(["-dtls1_2"] if dtls else []), "-connect", address, *options],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=tbtest.WAIT)
        return done.stdout + done.stderr


def whoami(m):
    return json.loads(m.payload)
