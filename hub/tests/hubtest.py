"""What the hub's component tests share: a hub with a CA and devices with software keys, and a small MQTT client."""
import json
import os
import socket
import ssl
import struct
import subprocess
import tbtest

ICCID = "8988247000000000001"
ALERTS = {"SSLV3_ALERT_HANDSHAKE_FAILURE": 40, "SSLV3_ALERT_BAD_CERTIFICATE": 42, "SSLV3_ALERT_CERTIFICATE_REVOKED": 44,
          "SSLV3_ALERT_CERTIFICATE_EXPIRED": 45, "SSLV3_ALERT_CERTIFICATE_UNKNOWN": 46, "TLSV1_ALERT_UNKNOWN_CA": 48,
          "TLSV1_ALERT_PROTOCOL_VERSION": 70, "TLSV13_ALERT_CERTIFICATE_REQUIRED": 116}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def varint(n):
    out = b""
    while True:
        n, low = n >> 7, n & 0x7F
        out += bytes([low | 0x80 if n else low])
        if not n:
            return out


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack(">H", len(s)) + s


def packet(type_and_flags, body=b""):
    return bytes([type_and_flags]) + varint(len(body)) + body


def connect(client_id="", level=4, clean=True, keep_alive=60, user=None, password=None, will=None, properties=b""):
    """A CONNECT packet; will is (topic, payload)."""
    flags = 2 * clean + (4 if will else 0) + (0x80 if user is not None else 0) + (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([level, flags]) + struct.pack(">H", keep_alive)
    if level == 5:
        body += varint(len(properties)) + properties
    body += text(client_id)
    if will:
        body += (b"\0" if level == 5 else b"") + text(will[0]) + text(will[1])
    for part in (user, password):
        if part is not None:
            body += text(part)
    return packet(0x10, body)


def publish(topic, payload, level=4, retain=False):
    return packet(0x31 if retain else 0x30, text(topic) + (b"\0" if level == 5 else b"") + payload)


def subscribe(topic, level=4):
    return packet(0x82, b"\0\1" + (b"\0" if level == 5 else b"") + text(topic) + b"\0")


class Mqtt:
    """Packets over a socket."""

    def __init__(self, stream):
        self.stream = stream
        self.stream.settimeout(tbtest.WAIT)
        self.buffer = b""

    def send(self, data):
        self.stream.sendall(data)

    def _need(self, n):
        while len(self.buffer) < n:
            data = self.stream.recv(1 << 16)
            if not data:
                raise EOFError
            self.buffer += data

    def packet(self):
        """(type and flags, body)"""
        length, shift, at = 0, 0, 1
        while True:
            self._need(at + 1)
            b = self.buffer[at]
            length |= (b & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not b & 0x80:
                break
        self._need(at + length)
        result = self.buffer[0], self.buffer[at:at + length]
        self.buffer = self.buffer[at + length:]
        return result

    def join(self, **kwargs):
        """CONNECT, which has to be accepted; the body of CONNACK."""
        self.level = kwargs.get("level", 4)
        self.send(connect(**kwargs))
        kind, body = self.packet()
        assert kind == 0x20 and body[1] == 0, "CONNACK %#x %s" % (kind, body.hex())
        return body

    def subscribe(self, topic):
        """The granted QoS, or the failure code."""
        self.send(subscribe(topic, self.level))
        kind, body = self.packet()
        assert kind == 0x90, kind
        return body[-1]

    def publish(self, topic, payload, **kwargs):
        self.send(publish(topic, payload, self.level, **kwargs))

    def ended(self):
        """Reads to the end; what came before it."""
        seen = []
        try:
            while True:
                seen.append(self.packet())
        except (EOFError, ConnectionError, ssl.SSLError):
            return seen

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class HubCase(tbtest.Case):
    def setUp(self):
        self.state = self.path("hub")
        self.cli("ca", "init")
        self.ca = os.path.join(self.state, "ca/device.crt")
        self.red = self.issue(ICCID)
        self.import_card(ICCID, self.red)

    def cli(self, *args):
        done = tbtest.run("iot-hub", *args, "--state", self.state)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def issue(self, cn, name="device", *extra):
        """(certificate file, key file)"""
        base = self.path("%s-%s%s" % (name, cn, "".join(extra)))
        self.cli("ca", "issue", "--name", name, "--cn", cn, "--out", base + ".crt", "--key-out", base + ".key", *extra)
        return base + ".crt", base + ".key"

    def batch(self, *cards):
        """An import file for (iccid, (certificate file, key file)) pairs."""
        def pem(file):
            with open(file) as f:
                return f.read()
        return {"cards": [{"iccid": iccid, "imsi": iccid[-15:], "credentials": [
            {"kind": "x509", "certificate": pem(cert[0])}]} for iccid, cert in cards]}

    def import_card(self, iccid, cert):
        self.write("cards.json", json.dumps(self.batch((iccid, cert))))
        return self.cli("import", self.path("cards.json"))

    def hub(self, *args, **kwargs):
        hub = self.start("iot-hub", "--state", self.state, "--mqtts", "127.0.0.1:0", *args, **kwargs)
        self.events = hub.ctl().subscribe()
        self.addCleanup(self.events.close)
        return hub

    def context(self, cert=None, version="1.3"):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.load_verify_locations(self.ca)
        ctx.minimum_version = ctx.maximum_version = VERSIONS[version]
        if cert:
            ctx.load_cert_chain(*cert)
        return ctx

    def tls(self, hub, cert=None, version="1.3", ctx=None, **kwargs):
        """A TLS socket; with TLS 1.3 the hub may still refuse it."""
        raw = tbtest.connect(hub.ready["mqtts"])
        try:
            return (ctx or self.context(cert, version)).wrap_socket(raw, server_hostname="localhost", **kwargs)
        except BaseException:
            raw.close()
            raise

    def device(self, hub, cert=None, version="1.3", **kwargs):
        """A device that is connected."""
        m = Mqtt(self.tls(hub, cert or self.red, version))
        self.addCleanup(m.close)
        m.join(**kwargs)
        return m

    def alert_of(self, hub, cert, version):
        """The alert that ends the handshake or, in TLS 1.3, comes right after it."""
        try:
            with self.tls(hub, cert, version) as s:
                s.send(connect())
                if s.recv(1):
                    return "accepted"
                return "closed"
        except ssl.SSLError as e:
            return ALERTS.get(e.reason, e.reason)
        except ConnectionError:
            return "reset"

    def spectator(self, hub):
        """Sees what the broker carries, as the hub's own client could."""
        m = Mqtt(tbtest.connect(hub.ready["broker"]))
        self.addCleanup(m.close)
        m.join(client_id="spectator", user="$hub")
        self.assertEqual(m.subscribe("#"), 0)
        return m
