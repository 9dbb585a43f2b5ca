"""MQTT 5, CoAP and HTTP of iot-device against servers of others, servers that misbehave, and iot-hub."""
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import cardbed
import hubbed
import tbtest
from peers import PLAIN, Broker, Scripted, server_key


class Case(tbtest.Case):
    def replies(self, ctl, ids):
        """Replies to what was sent, in whatever order they come."""
        found = {}
        while len(found) < len(ids):
            message = ctl.message()
            if message.get("id") in ids:
                found[message["id"]] = message
        return [found[i] for i in ids]


class Bed(Case):
    """A card, and devices at it."""

    def setUp(self):
        self.bed = cardbed.open_bed(self, "vpcd")

    def device(self, hub, *args, start=True):
        daemon = self.start("iot-device", "--link", self.bed.transport, "--hub", hub, "--ca", server_key(self)[0],
                            "--reconnect-min", "50", "--reconnect-max", "200", *args, "--no-connect", "--ctl", self.socket("device"))
        ctl = daemon.ctl().subscribe()
        self.addCleanup(ctl.close)
        if start:
            ctl.ok("connect")
        return daemon, ctl

    def once(self, hub, *args):
        return tbtest.run("iot-device", "--link", self.bed.transport, "--hub", hub, "--ca", server_key(self)[0], *args, "--once",
                          "--event-file", self.path("events"))

    def events(self):
        with open(self.path("events")) as f:
            return [json.loads(line) for line in f]

    def until_idle(self, ctl):
        while ctl.ok("state")["state"] != "idle":
            pass


# ---- MQTT ----


def connack5(reason):
    def script(server, tls):
        server.heard = tls.recv(4096)
        tls.sendall(bytes((0x20, 3, 0, reason, 0)))
        while tls.recv(4096):
            pass
    return script


def dismiss(server, tls):
    """Accepts, then DISCONNECT with reason 0x98 when something is published."""
    tls.recv(4096)
    tls.sendall(bytes((0x20, 3, 0, 0, 0)))
    tls.recv(4096)
    tls.sendall(bytes((0xE0, 2, 0x98, 0)))
    while tls.recv(4096):
        pass


class Mqtt5(Bed):
    def test_mosquitto_and_its_reason_codes(self):
        acl = self.write("acl", "pattern readwrite t/#\n")
        os.chmod(acl, 0o600)
        broker = Broker(self, self.bed.ca, "acl_file " + acl)
        _, ctl = self.device(broker.hub, "--mqtt", "5")
        self.assertEqual(ctl.expect("session")["mqtt"], "5")
        self.assertIn(ctl.ok("publish", topic="t/a", payload="x")["reason"], (0, 16))  # 16: no matching subscribers
        self.assertIn("reason", ctl.expect("published"))
        ctl.ok("mqtt-subscribe", topic="t/+")
        self.assertEqual(ctl.ok("publish", topic="t/a", payload="y", qos=2)["reason"], 0)
        self.assertEqual(ctl.expect("message")["payload"], "y")
        refused = ctl.request("publish", topic="other", payload="z")
        self.assertFalse(refused["ok"])
        self.assertIn("reason code 135", refused["error"])
        ctl.ok("disconnect")
        self.assertEqual(ctl.expect("disconnected")["reason"], "by request")

    def test_session_that_is_kept(self):
        broker = Broker(self, self.bed.ca)
        _, ctl = self.device(broker.hub, "--mqtt", "5", "--keep-session", "--subscribe", "t")
        self.assertFalse(ctl.expect("session")["session_present"])
        ctl.ok("publish", topic="t", payload="")
        ctl.ok("disconnect")
        self.until_idle(ctl)
        ctl.ok("connect")
        self.assertTrue(ctl.expect("session")["session_present"])

    def test_refused_connect(self):
        server = Scripted(self, self.bed.ca, connack5(0x87))
        done = self.once(server.hub, "--mqtt", "5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("CONNECT refused, reason code 135 (Not authorized)", done.stderr)
        self.assertEqual(server.heard[8], 5)

    def test_server_says_why_it_ends(self):
        server = Scripted(self, self.bed.ca, dismiss)
        _, ctl = self.device(server.hub, "--mqtt", "5", "--no-reconnect")
        ctl.expect("session")
        self.assertFalse(ctl.request("publish", topic="t", payload="x")["ok"])
        self.assertIn("reason code 152 (Administrative action)", ctl.expect("disconnected")["reason"])


# ---- CoAP ----


def free_pair():
    """A port that is free together with the next one, for UDP and TCP."""
    while True:
        port = int(tbtest.free_tcp_address().rpartition(":")[2])
        with contextlib.ExitStack() as stack:
            try:
                for p in (port, port + 1):
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", p))
                return port
            except OSError:
                continue


class CoapServer:
    """libcoap's example server, which wants a client certificate."""

    def __init__(self, case, ca, *extra):
        if not shutil.which("coap-server-openssl"):
            case.skipTest("no coap-server-openssl")
        cert, key = server_key(case)
        self.case, self.port = case, free_pair()
        self.command = ["coap-server-openssl", "-A", "127.0.0.1", "-p", str(self.port), "-v", "7", "-d", "10", "-c", cert, "-j",
                        key, "-C", ca, *extra]
        self.process = self.drain = None
        case.addCleanup(self.stop)
        self.start()
        self.hub = "coaps://localhost:%d" % (self.port + 1)
        self.tcp = "coaps+tcp://localhost:%d" % (self.port + 1)

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=PLAIN)
        cardbed.wait_for_line(self.process.stdout, [b"created TLS"], "coap-server")
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        if self.drain:
            self.drain.wait()
        self.process = self.drain = None


class Coap(Bed):
    def test_every_method_and_both_transports(self):
        server = CoapServer(self, self.bed.ca)
        _, ctl = self.device(server.hub)
        for hub, version in ((server.hub, "DTLSv1.2"), (server.tcp, "TLSv1.3")):
            if hub != server.hub:
                ctl.ok("disconnect")
                self.until_idle(ctl)
                ctl.ok("connect", hub=hub)
            self.assertEqual(ctl.expect("session")["version"], version)
            put = ctl.ok("request", method="PUT", path="/a%2Fb/c", payload="eins", content_type="text/plain")
            self.assertEqual(put["code"], "2.01")
            got = ctl.ok("request", path="/a%2Fb/c", accept="text/plain")
            self.assertEqual((got["code"], got["payload"], got["bytes"]), ("2.05", "eins", 4))
            self.assertEqual(ctl.ok("request", method="PUT", path="/a%2Fb/c", payload_hex="00ff")["code"], "2.04")
            self.assertEqual(ctl.ok("request", path="/a%2Fb/c")["payload_hex"], "00ff")
            self.assertEqual(ctl.ok("request", method="DELETE", path="a%2Fb/c")["code"], "2.02")
            self.assertEqual(ctl.ok("request", path="a%2Fb/c")["code"], "4.04")
            core = ctl.ok("request", path="/.well-known/core?rt=ticks")
            self.assertEqual(core["content_type"], "application/link-format")

    def test_bodies_in_blocks(self):
        server = CoapServer(self, self.bed.ca, "-L", "3")
        _, ctl = self.device(server.hub)
        ctl.expect("session")
        body = os.urandom(1 << 20)
        sent = self.write("body", body)
        self.assertEqual(ctl.ok("request", method="PUT", path="big", payload_file=sent, content_type="42")["code"], "2.01")
        got = ctl.ok("request", path="big", save=self.path("back"))
        self.assertEqual((got["code"], got["bytes"]), ("2.05", len(body)))
        with open(self.path("back"), "rb") as f:
            self.assertTrue(f.read() == body)
        too_large = ctl.request("request", path="big")
        self.assertIn('with "save"', too_large["error"])

    def test_observation(self):
        server = CoapServer(self, self.bed.ca)
        _, ctl = self.device(server.hub, "--ack-timeout", "1000", "--max-retransmit", "1")
        ctl.expect("session")
        ctl.ok("request", method="PUT", path="obs", payload="0")
        first = ctl.ok("request", path="obs", observe=True)
        self.assertEqual((first["payload"], first["observing"]), ("0", True))
        self.assertIn("observed already", ctl.request("request", path="obs", observe=True)["error"])
        ctl.ok("request", method="PUT", path="obs", payload="1")
        one = ctl.expect("notification", path="obs")
        self.assertEqual((one["payload"], one["code"]), ("1", "2.05"))
        server.stop()  # and forgets: the observation is made anew
        server.start()
        ctl.request("request", path="x")  # at the latest now it is noticed
        ctl.expect("disconnected")
        ctl.expect("session")
        ended = ctl.expect("notification", path="obs")
        self.assertEqual(ended["code"], "4.04")
        self.assertIn("not observed", ctl.request("cancel", path="obs")["error"])

    def test_hub_that_says_nothing_any_more(self):
        server = CoapServer(self, self.bed.ca)
        _, ctl = self.device(server.hub, "--ack-timeout", "1000", "--max-retransmit", "1")
        ctl.expect("session")
        os.kill(server.process.pid, signal.SIGSTOP)
        lost = ctl.request("request", path="time")
        self.assertIn("no answer from the hub after 1 retransmission(s)", lost["error"])
        self.assertIn("no answer from the hub", ctl.expect("disconnected")["reason"])
        os.kill(server.process.pid, signal.SIGCONT)
        ctl.expect("session")
        self.assertEqual(ctl.ok("request", path="time")["code"], "2.05")

    def test_hub_that_is_asked_whether_it_is_there(self):
        server = CoapServer(self, self.bed.ca)
        _, ctl = self.device(server.hub, "--ack-timeout", "1000", "--max-retransmit", "1", "--coap-ping", "1")
        ctl.expect("session")
        try:  # a hub that answers keeps its session
            self.fail(ctl.message(timeout=3))
        except TimeoutError:
            pass
        os.kill(server.process.pid, signal.SIGSTOP)
        self.assertIn("no answer from the hub", ctl.expect("disconnected")["reason"])
        os.kill(server.process.pid, signal.SIGCONT)
        ctl.expect("session")

    def test_end_of_an_observation(self):
        server = CoapServer(self, self.bed.ca)
        _, ctl = self.device(server.hub, "--observe", "time")
        ctl.expect("session")
        ctl.expect("notification", path="time")  # every second
        ctl.ok("cancel", path="time")
        ctl.ok("request", path="time", observe=True)
        ctl.ok("cancel", path="time")


def coap_tcp(code, token=b"", options=b"", payload=b""):
    """A message of CoAP over TCP (RFC 8323 3.2)."""
    body = options + (b"\xff" + payload if payload else b"")
    n = len(body)
    if n < 13:
        head = bytes([n << 4 | len(token)])
    elif n < 269:
        head = bytes([13 << 4 | len(token), n - 13])
    else:
        head = bytes([14 << 4 | len(token)]) + struct.pack(">H", n - 269)
    return head + bytes([code]) + token + body


CSM = coap_tcp(0xE1)


def read_coap(tls):
    """(code, token, all of it) of one short message."""
    head = b""
    while len(head) < 2:
        head += tls.recv(2 - len(head))
    n, token = head[0] >> 4, head[0] & 15
    extended = tls.recv(1) if n == 13 else b""
    n = 13 + extended[0] if extended else n
    code = (head[1:2] + extended)[-1] if extended else head[1]
    rest = b""
    while len(rest) < token + n:
        rest += tls.recv(token + n - len(rest))
    return code if not extended else None, rest[:token], rest


def coap_script(answer):
    """CSM, then answer(token) to the first request."""
    def script(server, tls):
        tls.sendall(CSM)
        read_coap(tls)  # CSM of the device
        _, token, _ = read_coap(tls)
        tls.sendall(answer(token))
        while tls.recv(4096):
            pass
    return script


class HostileCoap(Bed):
    def ask(self, script, *args):
        server = Scripted(self, self.bed.ca, script)
        return self.once("coaps+tcp://" + server.hub, "--request", "GET x", "--timeout", "1000", *args)

    def test_answers(self):
        good = self.ask(coap_script(lambda token: coap_tcp(0x45, token, payload=b"ja")))
        self.assertEqual(good.returncode, 0, good.stderr)
        error = self.ask(coap_script(lambda token: coap_tcp(0xA0, token)))
        self.assertEqual(error.returncode, 1)
        self.assertIn('code="5.00"', error.stderr)
        for name, script in (
                ("another token", coap_script(lambda token: coap_tcp(0x45, b"zzzz", payload=b"x"))),
                ("never", coap_script(lambda token: b"")),
                ("a request", coap_script(lambda token: coap_tcp(1, token))),
                ("token of 15 bytes", coap_script(lambda token: b"\x0f\x45" + b"x" * 15)),
                ("huge length", coap_script(lambda token: b"\xf0\xff\xff\xff\xff\x45")),
                ("option beyond the end", coap_script(lambda token: coap_tcp(0x45, token, b"\xc9"))),
                ("block with a gap", coap_script(lambda token: coap_tcp(0x45, token, bytes([0xD1, 10, 0x5E]), b"x" * 1024))),
                ("abort", coap_script(lambda token: coap_tcp(0xE5)))):
            with self.subTest(name):
                done = self.ask(script)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn('error="', done.stderr)

    def test_no_csm(self):
        def silent(server, tls):
            while tls.recv(4096):
                pass
        done = self.ask(silent)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no CSM in time", done.stderr)
        self.assertNotIn(": session identity", done.stderr)

    def test_no_coap_at_all(self):
        def http(server, tls):
            tls.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 50)
            while tls.recv(4096):
                pass
        done = self.ask(http)
        self.assertEqual(done.returncode, 1)


# ---- HTTP ----


def http_answer(text, end=False):
    """That, to the first request; then the end, or nothing more."""
    def script(server, tls):
        while b"\r\n\r\n" not in server.heard:
            server.heard += tls.recv(65536)
        tls.sendall(text)
        while not end and tls.recv(65536):
            pass
    return script


class Http(Bed):
    def nginx(self):
        if not shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"):
            self.skipTest("no nginx")
        cert, key = server_key(self)
        port = int(tbtest.free_tcp_address().rpartition(":")[2])
        os.mkdir(self.path("www"))
        self.write("www/page", "hello")
        conf = self.write("nginx.conf", """
            daemon off; master_process off; pid %(dir)s/nginx.pid; error_log stderr notice; %(user)s
            events {}
            http { access_log off; client_body_temp_path %(dir)s/body; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
              uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s; client_max_body_size 2m;
              server { listen 127.0.0.1:%(port)d ssl; ssl_certificate %(cert)s; ssl_certificate_key %(key)s;
                ssl_protocols TLSv1.2 TLSv1.3; ssl_client_certificate %(ca)s; ssl_verify_client on; root %(dir)s/www; default_type text/plain;
                location /who { return 200 "$ssl_client_s_dn $connection_requests"; }
                location /close { keepalive_timeout 0; return 200 "bye"; }
                location /put { dav_methods PUT DELETE; } } }""" % {
                    "dir": self.dir, "port": port, "cert": cert, "key": key, "ca": self.bed.ca,
                    "user": "user root;" if os.geteuid() == 0 else ""})
        process = subprocess.Popen(["nginx", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(
            PLAIN, PATH=os.environ["PATH"] + ":/usr/sbin"))
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        cardbed.wait_for_line(process.stderr, [b"event method"], "nginx")
        return "https://localhost:%d" % port

    def test_nginx(self):
        _, ctl = self.device(self.nginx())
        ctl.expect("session")
        one = ctl.ok("request", path="/who")
        self.assertEqual((one["code"], one["content_type"]), (200, "text/plain"))
        self.assertIn("CN=8988211000000000011", one["payload"])
        self.assertTrue(one["payload"].endswith(" 1"))
        self.assertTrue(ctl.ok("request", path="who")["payload"].endswith(" 2"))  # on the same connection
        ids = [ctl.send("request", path="/page") for _ in range(5)]  # one after the other
        self.assertEqual([r["payload"] for r in self.replies(ctl, ids)], ["hello"] * 5)
        self.assertEqual(ctl.ok("request", path="/nothing")["code"], 404)
        self.assertEqual(ctl.ok("request", method="HEAD", path="/page")["bytes"], 0)
        body = os.urandom(1 << 20)
        os.mkdir(self.path("www/put"))
        put = ctl.ok("request", method="PUT", path="/put/big", payload_file=self.write("big", body))
        self.assertEqual(put["code"], 201)
        got = ctl.ok("request", path="/put/big", save=self.path("back"))
        self.assertEqual(got["bytes"], len(body))
        with open(self.path("back"), "rb") as f:
            self.assertTrue(f.read() == body)
        self.assertEqual(ctl.ok("request", method="DELETE", path="/put/big")["code"], 204)
        self.assertEqual(ctl.ok("request", path="/close")["payload"], "bye")
        self.assertIn("ended the connection", ctl.expect("disconnected")["reason"].replace("closed", "ended"))
        ctl.expect("session")
        self.assertTrue(ctl.ok("request", path="who")["payload"].endswith(" 1"))

    def ask(self, script, *args):
        server = Scripted(self, self.bed.ca, script)
        done = self.once("https://" + server.hub, "--request", "GET /x?a=b", "--timeout", "1000", *args)
        return done, server.heard

    def test_a_server_with_an_rsa_key(self):
        """As many clouds have it: its suites of TLS 1.2 are others, the device's own key is on P-256 all the same."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path("server.key"),
                        "-out", self.path("server.pem"), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-days", "30"], check=True, capture_output=True, env=PLAIN)
        hub = self.nginx()
        for stack in ("openssl", "mbedtls"):
            for version in ("1.2", "1.3"):
                for offload in ([], ["--offload", "ecdhe,verify"]):
                    with self.subTest(stack=stack, version=version, offload=offload):
                        done = self.once(hub, "--stack", stack, "--tls", version, *offload, "--request", "GET who")
                        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_request_as_it_is(self):
        done, heard = self.ask(http_answer(b"HTTP/1.1 204 No Content\r\n\r\n"))
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = heard.decode().split("\r\n")
        self.assertEqual(lines[0], "GET /x?a=b HTTP/1.1")
        self.assertRegex(lines[1], r"^Host: localhost:\d+$")
        self.assertIn("User-Agent: iot-device/", heard.decode())

    def test_answers(self):
        for text, end, code in (
                (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", True, 0),
                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False, 0),
                (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", False, 1),
                (b"HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", False, 1),
                (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", True, 1),
                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False, 1),
                (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * (17 << 20), False, 1),
                (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200000 + b"\r\n\r\n", False, 1),
                (b"\0\1\2\3" * 100, False, 1), (b"", True, 1), (b"", False, 1)):
            with self.subTest(text[:60]):
                done, _ = self.ask(http_answer(text, end))
                self.assertEqual(done.returncode, code, done.stderr)

    def test_unasked_bytes(self):
        def early(server, tls):
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while tls.recv(4096):
                pass
        server = Scripted(self, self.bed.ca, early)
        _, ctl = self.device("https://" + server.hub, "--no-reconnect")
        ctl.expect("session")
        self.assertIn("nobody asked for", ctl.expect("disconnected")["reason"])

    def test_refused_certificate_is_a_failed_session(self):
        server = Scripted(self, server_key(self)[0], http_answer(b""))
        _, ctl = self.device("https://" + server.hub, "--tls", "1.3", "--no-reconnect")
        self.assertIn("alert 48", ctl.expect("session-failed")["reason"])
        self.assertEqual(ctl.ok("counters")["failures"], 1)


# ---- iot-hub, several applications ----


class HubBed(Case):
    """A hub, and a card that it knows."""
    ICCID = "8988211000000000011"

    def setUp(self):
        self.hub = hubbed.Hub(self, "--resumption")
        store = self.hub.personalise("card", self.ICCID)
        self.card = self.start("sim-card", "--store", store, "--listen", self.socket("vpcd"), "--ctl", self.socket("card"))
        self.link = "vpcd:" + self.socket("vpcd")

    def device(self, *args):
        daemon = self.start("iot-device", "--link", self.link, *args, "--ctl", self.socket("device"))
        ctl = daemon.ctl().subscribe()
        self.addCleanup(ctl.close)
        return daemon, ctl


class Hub(HubBed):
    def test_state_and_commands_over_coap(self):
        _, ctl = self.device("--hub", self.hub.url("coap"), "--server-name", "localhost", "--no-connect")
        ctl.ok("connect")
        ctl.expect("session")
        ctl.ok("request", path="command", observe=True)
        body = "x" * 60000
        ctl.ok("request", method="PUT", path="state", payload=body, content_type="text/plain")
        self.assertEqual(ctl.ok("request", path="state")["payload"], body)
        self.assertEqual(ctl.ok("request", method="PUT", path="state", payload_file=self.write("big", b"y" * 70000))["code"], "4.13")
        self.assertEqual(ctl.ok("request", method="DELETE", path="state")["code"], "2.02")
        self.assertEqual(ctl.ok("request", path="elsewhere")["code"], "4.04")
        self.assertEqual(ctl.ok("request", method="DELETE", path="whoami")["code"], "4.05")
        for n in range(3):
            self.hub.daemon.ask("publish", topic="devices/%s/command" % self.ICCID, payload="blink %d" % n)
            seen = ctl.expect("notification", path="command", payload="blink %d" % n)
            self.assertGreaterEqual(seen["sequence"], 0)
        ctl.ok("cancel", path="command")

    def config(self, **sections):
        text = ["server-name = localhost", "reconnect-min = 50", "reconnect-max = 200"]
        for name, keys in sections.items():
            text += ["[%s]" % name] + ["%s = %s" % (k.replace("_", "-"), v) for k, v in keys.items()]
        return self.write("device.conf", "\n".join(text) + "\n")

    PSK = {"psk": "card:06", "psk_identity": HubBed.ICCID}

    def test_applications_with_different_credentials_on_one_card(self):
        conf = self.config(telemetry={"hub": self.hub.url("mqtt")},
                           control=dict(self.PSK, hub=self.hub.url("coap", "psk"), stack="mbedtls"),
                           web={"hub": self.hub.url("http")},
                           broken={"hub": "https://" + tbtest.free_tcp_address(), "reconnect_min": 1, "reconnect_max": 5})
        daemon, ctl = self.device("--config", conf)
        up = {}
        while len(up) < 3:
            event = ctl.expect("session")
            up[event["app"]] = (event["protocol"], event["credential"], event["stack"])
        self.assertEqual(up, {"telemetry": ("mqtt", "certificate", "openssl"), "control": ("coap", "psk", "mbedtls"),
                              "web": ("http", "certificate", "openssl")})
        ctl.expect("session-failed", app="broken")
        self.assertEqual({a["app"]: a["protocol"] for a in ctl.ok("apps")["apps"]},
                         {"telemetry": "mqtt", "control": "coap", "web": "http", "broken": "http"})
        for request in ({}, {"app": "nobody"}):
            self.assertIn("telemetry, control, web, broken", ctl.request("state", **request)["error"])
        ctl.ok("publish", app="telemetry", topic="devices/%s/t" % self.ICCID, payload="1")
        for app in ("control", "web"):
            who = json.loads(ctl.ok("request", app=app, path="whoami")["payload"])
            self.assertEqual(who["device"], self.ICCID)
        self.assertIn("speaks mqtt", ctl.request("request", app="telemetry", path="x")["error"])
        self.assertIn("speaks coap", ctl.request("publish", app="control", topic="x", payload="")["error"])
        ctl.ok("disconnect", app="control")
        ctl.expect("disconnected", app="control")
        ctl.ok("publish", app="telemetry", topic="devices/%s/t" % self.ICCID, payload="2")
        self.assertEqual(self.card.ask("counters")["sign"], 2)
        ctl.close()
        self.assertEqual(daemon.stop(), 0)

    def test_once_with_applications(self):
        topic = "devices/%s/t=1" % self.ICCID
        sections = {"telemetry": {"hub": self.hub.url("mqtt"), "publish": topic},
                    "control": dict(self.PSK, hub=self.hub.url("coap", "psk"), request="GET whoami")}
        done = tbtest.run("iot-device", "--link", self.link, "--config", self.config(**sections), "--once")
        self.assertEqual(done.returncode, 0, done.stderr)
        sections["web"] = {"hub": self.hub.url("http"), "request": "GET nothing"}
        done = tbtest.run("iot-device", "--link", self.link, "--config", self.config(**sections), "--once")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("code=404", done.stderr)

    def test_where_a_pre_shared_key_may_be(self):
        """In a file, and its identity in a file on the card; neither is asked for as a secret."""
        with open(cardbed.PROFILE) as f:
            profile = f.read() + "\n[file psk-identity]\nid = 09\nlabel = psk id\ntext = ${iccid}\ncapacity = 64\n"
        store = self.hub.personalise("second", "8988211000000000029", self.write("second.card", profile))
        with open(self.path("second.json")) as f:
            credentials = json.load(f)["cards"][0]["credentials"]
        secret = self.write("secret", next(c["secret"] for c in credentials if c["kind"] == "psk") + "\n")
        card = self.start("sim-card", "--store", store, "--listen", self.socket("vpcd2"), "--ctl", self.socket("card2"))
        for psk, derived in (("card:06", True), (secret, False)):
            for stack in ("openssl", "mbedtls"):
                before = card.ask("counters")["prf"]
                done = tbtest.run("iot-device", "--link", "vpcd:" + self.socket("vpcd2"), "--hub", self.hub.url("coap", "psk"), "--stack",
                                  stack, "--psk", psk, "--psk-identity", "card:label=psk id", "--request", "GET whoami", "--once")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn('identity="8988211000000000029"', done.stderr)
                self.assertEqual(card.ask("counters")["prf"] - before, derived)
        wrong = tbtest.run("iot-device", "--link", "vpcd:" + self.socket("vpcd2"), "--hub", self.hub.url("coap", "psk"), "--psk",
                           self.write("short", "no hex"), "--psk-identity", "x", "--once")
        self.assertIn("not 1 to 64 bytes in hex", wrong.stderr)

    def test_costs_nothing_while_idle(self):
        conf = self.config(telemetry={"hub": self.hub.url("mqtt")}, web={"hub": self.hub.url("http")},
                           control=dict(self.PSK, hub=self.hub.url("coap", "psk"), observe="command"))
        daemon, ctl = self.device("--config", conf)
        for _ in range(3):
            ctl.expect("session")
        ctl.ok("request", app="web", path="whoami")
        before = self.switches(daemon.pid)
        self.wait(ctl, 1.5)
        self.assertLess(self.switches(daemon.pid) - before, 60)  # paho's threads look around now and then

    @staticmethod
    def switches(pid):
        total = 0
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/status" % (pid, task)) as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary"))
        return total

    @staticmethod
    def wait(ctl, seconds):
        try:
            ctl.message(timeout=seconds)
        except TimeoutError:
            pass

    def test_resumption(self):
        """A second session without the card, in every protocol and with both stacks."""
        _, ctl = self.device("--hub", self.hub.url("mqtt"), "--server-name", "localhost", "--resume", "--no-connect")
        signed = 0
        for stack in ("openssl", "mbedtls"):
            for hub in (self.hub.url("mqtt"), self.hub.url("coap"), self.hub.url("coap", tcp=True), self.hub.url("http")):
                for tls in ("1.2",) if hub == self.hub.url("coap") else ("1.2", "1.3"):
                    for again in (False, True):
                        ctl.ok("connect", **({} if again else {"hub": hub, "tls": tls, "stack": stack}))
                        session = ctl.expect("session")
                        self.assertEqual(session["resumed"], again, session)
                        if session["protocol"] != "mqtt":  # tickets of TLS 1.3 come with or before the answer
                            ctl.ok("request", path="whoami")
                        ctl.ok("disconnect")
                        ctl.expect("disconnected")
                    signed += 1
        self.assertEqual(self.card.ask("counters")["sign"], signed)

    def test_options_that_change(self):
        _, ctl = self.device("--hub", self.hub.url("mqtt"), "--server-name", "localhost", "--no-connect")
        for wrong, text in (({"hubb": "x"}, "did you mean 'hub'"), ({"hub": "ftp://x"}, "mqtts://, coaps://"),
                            ({"link": "vpcd:x:1"}, "device as a whole"), ({"keep_alive": "soon"}, "a number is wanted"),
                            ({"hub": self.hub.url("coap"), "tls": "1.3"}, "DTLS 1.3"), ({"psk": "card:06"}, "psk-identity"),
                            ({"hub": {}}, "a text, number, bool or list")):
            reply = ctl.request("connect", **wrong)
            self.assertFalse(reply["ok"])
            self.assertIn(text, reply["error"])
        ctl.ok("connect", tls="1.2", client_id="other", keep_session=True, subscribe=["devices/%s/x" % self.ICCID])
        self.assertEqual(ctl.expect("session")["version"], "TLSv1.2")
        self.assertIn("disconnect first", ctl.request("connect", tls="1.3")["error"])
        ctl.ok("disconnect")  # what comes next may be said at once
        ctl.ok("connect", hub=self.hub.url("http"), tls="1.2", subscribe=None)
        self.assertEqual(ctl.expect("session")["version"], "TLSv1.2")  # for what follows
        self.assertEqual(ctl.ok("state")["protocol"], "http")

    def test_revoked_while_connected(self):
        """Each protocol notices that the hub ends the session."""
        for protocol in ("mqtt", "coap", "http"):
            self.hub.daemon.ask("resume", iccid=self.ICCID) if protocol != "mqtt" else None
            daemon, ctl = self.device("--hub", self.hub.url(protocol), "--server-name", "localhost", "--no-reconnect", "--no-connect")
            ctl.ok("connect")
            ctl.expect("session")
            if protocol == "http":
                ctl.ok("request", path="whoami")
            self.hub.daemon.ask("suspend", iccid=self.ICCID)
            ctl.expect("disconnected")
            ctl.close()
            self.assertEqual(daemon.stop(), 0)


class Ends(HubBed):
    """SIGTERM in every state."""

    def test_ends_at_once(self):
        hubs = [(self.hub.url(p), "up") for p in ("coap", "http")] + [(self.hub.url("coap", tcp=True), "up")]
        hubs += [("https://" + tbtest.free_tcp_address(), "waiting"), ("coaps://" + tbtest.free_tcp_address(), "handshake")]
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hubs.append(("https://127.0.0.1:%d" % silent.getsockname()[1], "handshake"))
            for hub, state in hubs:
                with self.subTest(hub=hub, state=state):
                    daemon, ctl = self.device("--hub", hub, "--server-name", "localhost", "--reconnect-min", "60000")
                    while ctl.ok("state")["state"] != state:
                        pass
                    ctl.close()
                    self.assertEqual(daemon.stop(timeout=3 * tbtest.FACTOR), 0)

    def test_ends_with_requests_under_way(self):
        for protocol in ("coap", "http"):
            daemon, ctl = self.device("--hub", self.hub.url(protocol), "--server-name", "localhost", "--no-connect")
            ctl.ok("connect")
            ctl.expect("session")
            os.kill(self.hub.daemon.pid, signal.SIGSTOP)
            ids = [ctl.send("request", path="whoami") for _ in range(3)]
            ctl.ok("state")
            daemon.signal(signal.SIGTERM)
            self.assertEqual([r["ok"] for r in self.replies(ctl, ids)], [False] * 3)
            self.assertEqual(daemon.wait(3 * tbtest.FACTOR), 0)
            os.kill(self.hub.daemon.pid, signal.SIGCONT)
            ctl.close()


class Files(tbtest.Case):
    def complaint(self, text, *args):
        done = tbtest.run("iot-device", "--config", self.write("device.conf", text), *args)
        self.assertEqual(done.returncode, 2)
        return done.stderr.splitlines()[0].replace(self.dir + "/", "")

    def test_what_a_file_may_say(self):
        head = "link = vpcd:h:1\n"
        for text, wanted in (
                (head + "[a]\nhub = h:1\ntls = 1.4\n", "device.conf:2: [a]: --tls is 1.2, 1.3 or any"),
                (head + "[a]\ntls = 1.2\n", "device.conf:2: [a]: --hub is needed"),
                (head + "[a]\nhubb = h:1\n", "device.conf:3: unknown option 'hubb': did you mean 'hub'?"),
                (head + "[a]\nlink = vpcd:h:2\n", "device.conf:3: link is for the program as a whole: it stands before the first section"),
                (head + "[a]\nhub = h:1\n[a]\nhub = h:2\n", "device.conf:4: [a]: there is one already, in line 2"),
                (head + "[a b]\n", "device.conf:2: [a b]: a name is 1 to 32 letters, digits, '-' and '_'"),
                (head + "[a]\nhub = coaps://h\npublish = t=x\n",
                 "device.conf:2: [a]: --publish and --subscribe are MQTT's; here it is --request and --observe"),
                (head + "[a]\nhub = coaps://h\nrequest = FLY x\n",
                 "device.conf:2: [a]: CoAP's methods are GET, POST, PUT, DELETE, FETCH, PATCH and iPATCH, not \"FLY\""),
                ("[a]\nhub = h:1\n", "--link is needed")):
            self.assertEqual(self.complaint(text), "iot-device: " + wanted)
            self.assertEqual(self.complaint(text, "--check-config"), "iot-device: " + wanted)

    def test_a_file_that_is_printed_is_read_again(self):
        conf = self.write("device.conf", "link = vpcd:h:1\ntls = 1.2\n[a]\nhub = coaps://h\nrequest = GET x\nrequest = GET y\n"
                          "tls = any\n[b]\nhub = h:1\nresume = yes\n")
        one = tbtest.run("iot-device", "--config", conf, "--print-config", "--timeout", "5")
        self.assertEqual(one.returncode, 0, one.stderr)
        self.assertIn("[a]", one.stdout)
        two = tbtest.run("iot-device", "--config", self.write("again.conf", one.stdout), "--print-config")
        self.assertEqual(two.stdout, one.stdout)

    def test_cipher_suites_that_cannot_be_offered(self):
        secret = self.write("secret", "00112233445566778899aabbccddeeff")
        psk = ["--psk", secret, "--psk-identity", "x"]
        for args, name in ((["--stack", "openssl"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
                           (["--stack", "openssl", "--psk-exchange", "ecdhe"], "PSK-AES128-GCM-SHA256"),
                           (["--stack", "mbedtls"], "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
                           (["--stack", "mbedtls"], "TLS_AES_128_GCM_SHA256"),
                           (["--stack", "mbedtls", "--psk-exchange", "ecdhe"], "TLS_PSK_WITH_AES_128_GCM_SHA256")):
            done = tbtest.run("iot-device", "--link", "vpcd:h:1", "--hub", "localhost:1", "--once", "--tls", "1.2", *psk, *args,
                              "--ciphers", name)
            self.assertEqual(done.returncode, 1, args)
            self.assertIn("ciphers: none of %s goes with the other options" % name, done.stderr)

    def test_options_that_do_not_fit(self):
        psk = ["--psk", "card:06", "--psk-identity", "x"]
        for args, text in ((["--hub", "https://h/path"], "a path belongs to a request"), (["--hub", "coap://h"], "always with TLS"),
                           (["--hub", "coaps://unix:/x"], "DTLS goes over UDP only"), (["--hub", "h:1", "--request", "GET x"], "not for MQTT"),
                           (["--hub", "h:1", "--mqtt", "4"], "3.1.1 or 5"), (["--hub", "h:1", "--psk-identity", "x"], "needs --psk"),
                           (["--hub", "h:1", "--psk", "card:06"], "--psk needs --psk-identity"),
                           (["--hub", "h:1", "--psk", "card:06", "--psk-identity", "x", "--psk-exchange", "dhe"], "plain, ecdhe or any"),
                           (["--hub", "h:1", "--offload", "sign"], "ecdhe, verify, random, derive"),
                           (["--hub", "h:1", "--offload", "derive"], "only with --stack mbedtls"),
                           (["--hub", "h:1", "--stack", "mbedtls", "--offload", "derive"], "needs ecdhe"),
                           (["--hub", "h:1", *psk, "--offload", "verify"], "no signatures to verify"),
                           (["--hub", "h:1", *psk, "--psk-exchange", "plain", "--offload", "ecdhe"], "no key agreement"),
                           (["--hub", "h:1", *psk, "--psk-exchange", "plain"], "cannot offer TLS 1.3 psk_ke"), (["--hub", "h:1", "--stack", "x"], "openssl or mbedtls"),
                           (["--hub", "h:1", "--via", "http://p:1"], "socks5://"), (["--hub", "coaps://h", "--request", "GET"], "METHOD PATH"),
                           (["--hub", "coaps://h", "--request", "GET " + "x" * 300], "segments of 1 to 255"),
                           (["--hub", "https://h", "--request", "GET a b"], "visible ASCII"),
                           (["--hub", "https://h", "--observe", "x"], "--observe is CoAP's")):
            done = tbtest.run("iot-device", "--link", "vpcd:h:1", *args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(text, done.stderr.splitlines()[0])


if __name__ == "__main__":
    cardbed.need("vpcd")
    tbtest.main()
