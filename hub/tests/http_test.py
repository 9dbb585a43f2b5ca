"""HTTP: what devices get over it, what becomes of malformed requests and slow clients."""
import json
import os
import resource
import socket
import ssl
import subprocess
import tbtest
from hubtest import HubCase, ICCID, connect

GET = b"GET %s HTTP/1.1\r\nHost: hub\r\n\r\n"


class Web:
    """Requests over a socket."""

    def __init__(self, stream):
        self.stream = stream
        self.stream.settimeout(tbtest.WAIT)
        self.buffer = b""

    def send(self, data):
        self.stream.sendall(data)

    def _more(self):
        try:
            data = self.stream.recv(1 << 16)
        except (ConnectionError, ssl.SSLEOFError):
            data = b""
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    def answer(self, has_body=True):
        """(status, headers, body)"""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        status = int(lines[0].split()[1])
        n = int(headers.get("content-length", 0)) if has_body and status != 204 else 0
        while len(self.buffer) < n:
            self._more()
        body, self.buffer = self.buffer[:n], self.buffer[n:]
        return status, headers, body

    def get(self, path, **kwargs):
        self.send(GET % path.encode())
        return self.answer(**kwargs)

    def rest(self):
        """Whatever comes before the end."""
        try:
            while True:
                self._more()
        except EOFError as e:
            return e.args[0]


class HttpCase(HubCase):
    def hub(self, *args, https="", **kwargs):
        return super().hub("--https", "127.0.0.1:0" + https, "--metrics", "127.0.0.1:0", *args, **kwargs)

    def web(self, hub, cert=None, version="1.3", ctx=None, at=None, **kwargs):
        raw = tbtest.connect(at or hub.ready["https"])
        self.addCleanup(raw.close)
        stream = (ctx or self.context(cert or self.red, version)).wrap_socket(raw, server_hostname="localhost", **kwargs)
        self.addCleanup(stream.close)
        return Web(stream)

    def curl(self, hub, path, *args, at=None, cert=True):
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--cacert", self.ca, *(("--cert", self.red[0], "--key", self.red[1]) if
             cert else ()), "-w", "\n%{http_code}", *args, "https://%s%s" % (at or hub.ready["https"], path)],
            capture_output=True, text=True, timeout=tbtest.WAIT)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body, done.stderr


class Devices(HttpCase):
    def test_curl_with_a_client_certificate(self):
        hub = self.hub()
        status, body, _ = self.curl(hub, "/whoami")
        self.assertEqual(status, 200)
        who = json.loads(body)
        self.assertEqual((who["device"], who["identity"], who["kind"], who["protocol"], who["version"]),
                         (ICCID, "x509:" + ICCID, "x509", "http", "TLSv1.3"))
        session = self.events.expect("session", listener="https")
        self.assertEqual((session["protocol"], session["device"], session["kind"]), ("http", ICCID, "x509"))
        self.events.expect("closed", device=ICCID)
        self.assertEqual(self.curl(hub, "/state")[0], 404)
        self.assertEqual(self.curl(hub, "/state", "-X", "PUT", "-d", '{"a":1}', "-H", "Content-Type: application/json")[0], 201)
        self.assertEqual(self.curl(hub, "/state", "-X", "PUT", "-d", '{"a":2}')[0], 204)
        self.assertEqual(self.curl(hub, "/state")[1], '{"a":2}')
        self.assertEqual(self.curl(hub, "/state", "-X", "DELETE")[0], 204)
        status, head, _ = self.curl(hub, "/whoami", "-I")
        self.assertEqual(status, 200)
        self.assertIn("application/json", head)

    def test_telemetry_goes_to_the_broker_before_it_is_acknowledged(self):
        hub = self.hub()
        seen = self.spectator(hub)
        self.assertEqual(self.curl(hub, "/telemetry", "-d", "21.5")[0], 204)
        self.assertIn(b"devices/%s/telemetry" % ICCID.encode(), seen.packet()[1])
        self.events.expect("publish", device=ICCID, payload="21.5")
        big = self.write("big", b"x" * 60000)
        self.assertEqual(self.curl(hub, "/telemetry", "-H", "Expect: 100-continue", "--data-binary", "@" + big)[0], 204)
        self.events.expect("publish", device=ICCID, bytes=60000)
        self.assertEqual(self.curl(hub, "/telemetry", "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + big)[0], 204)
        self.events.expect("publish", device=ICCID, bytes=60000)

    def test_refusals(self):
        hub = self.hub()
        web = self.web(hub)
        status, headers, _ = web.get("/nothing")
        self.assertEqual((status, headers["connection"]), (404, "close"))
        self.assertEqual(web.rest(), b"")
        for method, path, status in (("DELETE", "/whoami", 405), ("PATCH", "/state", 405), ("GET", "/telemetry", 405),
                                     ("GET", "/command?wait=never", 400), ("GET", "/metrics", 404)):
            self.assertEqual(self.curl(hub, path, "-X", method)[0], status, (method, path))
        web = self.web(hub)
        web.send(b"DELETE /whoami HTTP/1.1\r\nHost: hub\r\n\r\n")
        self.assertEqual(web.answer()[1]["allow"], "GET")
        big = self.write("big", b"x" * 65537)
        self.assertEqual(self.curl(hub, "/telemetry", "--data-binary", "@" + big)[0], 413)
        self.assertEqual(self.curl(hub, "/telemetry", "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + big)[0], 413)
        huge = self.write("huge", b"x" * (3 << 20))  # not even read to its end
        self.assertIn(self.curl(hub, "/telemetry", "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + huge)[0], (0, 100, 413))
        self.assertEqual(self.curl(hub, "/telemetry", "--data-binary", "@" + huge)[0], 413)
        self.assertEqual(self.curl(hub, "/whoami")[0], 200)

    def test_a_command_ends_a_long_poll(self):
        hub = self.hub()
        web = self.web(hub)
        web.send(GET % b"/command?wait=30")
        self.events.expect("session", device=ICCID)
        while not hub.ask("publish", device=ICCID, payload="on")["subscribed"]:
            pass  # the request is still on its way
        status, headers, body = web.answer()
        self.assertEqual((status, body), (200, b"on"))
        etag = int(headers["etag"].strip('"'))
        self.assertEqual(web.get("/command")[2], b"on")
        web.send(GET % (b"/command?wait=30&after=%d" % etag))
        while not hub.ask("publish", device=ICCID, payload="off")["subscribed"]:
            pass
        self.assertEqual(web.answer()[2], b"off")

    def test_a_long_poll_that_waits_costs_nothing(self):
        hub = self.hub()
        other = self.web(hub)
        other.send(GET % b"/command?wait=30" + GET % b"/whoami" + b"GET /who")
        half = self.web(hub)
        half.send(b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        self.web(hub).stream.unwrap()  # says goodbye and does not close
        web = self.web(hub)
        web.get("/whoami")
        before = hub.ask("counters")["cpu_us"]
        self.assertEqual(web.get("/command?wait=1")[0], 204)
        self.assertLess(hub.ask("counters")["cpu_us"] - before, 100000)

    def test_who_leaves_a_long_poll_is_noticed(self):
        hub = self.hub()
        for reset in (False, True):
            web = self.web(hub)
            web.send(GET % b"/command?wait=30")
            self.events.expect("session", device=ICCID)
            if reset:
                web.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            web.stream.close()
            self.events.expect("closed", device=ICCID, reason="device")
        self.assertFalse(hub.ask("publish", device=ICCID, payload="x")["subscribed"])
        self.assertEqual(hub.ask("state")["connections"], 0)
        self.assertEqual(hub.stop(), 0)

    def test_pipelined_requests_are_answered_in_order(self):
        hub = self.hub()
        web = self.web(hub)
        web.send(GET % b"/whoami" + b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + GET % b"/state"
                 + GET % b"/command?wait=1" + GET % b"/state")
        self.assertEqual([web.answer()[0] for _ in range(5)], [200, 201, 200, 204, 200])

    def test_one_byte_at_a_time_is_fine(self):
        hub = self.hub()
        web = self.web(hub, version="1.2")
        for b in b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
            web.send(bytes([b]))
        self.assertEqual(web.answer()[0], 201)
        self.assertEqual(web.get("/state")[2], b"abc")

    def test_an_http_10_client_is_served(self):
        hub = self.hub()
        web = self.web(hub)
        web.send(b"GET /whoami HTTP/1.0\r\n\r\n")
        self.assertEqual(web.answer()[0], 200)
        self.assertEqual(web.rest(), b"")


class Access(HttpCase):
    def test_who_may_not_is_refused_in_the_handshake(self):
        self.cli("ca", "init", "--name", "other")
        hub = self.hub("--https", "127.0.0.1:0,tls=1.2,name=old", "--https", "127.0.0.1:0,tls=1.3,name=new")
        at = {l["name"]: l["at"] for l in hub.ready["listeners"]}

        def alert(cert, version, listener):
            try:
                web = self.web(hub, ctx=self.context(cert, version), at=at[listener])
                web.send(GET % b"/whoami")
                return web.stream.recv(1) and "in"
            except ssl.SSLError as e:
                return e.reason
        self.assertEqual(alert(self.red, "1.2", "old"), "in")
        self.assertEqual(alert(self.red, "1.3", "new"), "in")
        self.assertEqual(alert(self.red, "1.3", "old"), "TLSV1_ALERT_PROTOCOL_VERSION")
        self.assertEqual(alert(self.red, "1.2", "new"), "TLSV1_ALERT_PROTOCOL_VERSION")
        self.assertEqual(alert(None, "1.3", "new"), "TLSV13_ALERT_CERTIFICATE_REQUIRED")
        self.assertEqual(alert(None, "1.2", "old"), "SSLV3_ALERT_HANDSHAKE_FAILURE")
        self.assertEqual(alert(self.issue("x", "other"), "1.3", "new"), "TLSV1_ALERT_UNKNOWN_CA")
        self.events.expect("refused", listener="new", reason="wrong-ca", alert=48)

    def test_without_a_certificate_where_it_is_optional(self):
        hub = self.hub(https=",client-cert=optional")
        self.assertEqual(self.curl(hub, "/whoami", cert=False)[0], 403)
        seen = self.events.expect("session", kind="none")
        self.assertEqual((seen["identity"], seen["device"]), ("anonymous", ""))
        self.assertEqual(self.curl(hub, "/whoami")[0], 200)
        self.cli("credential", "revoke", ICCID)
        self.assertEqual(self.curl(hub, "/whoami")[0], 0)  # a bad one is worse than none
        self.events.expect("refused", reason="revoked", alert=44)

    def test_revocation_ends_idle_and_waiting_connections(self):
        hub = self.hub()
        idle, waiting, half = self.web(hub), self.web(hub), self.web(hub)
        idle.get("/whoami")
        waiting.send(GET % b"/command?wait=30")
        half.send(b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc")
        while len(hub.ask("sessions")["sessions"]) < 3:
            pass
        self.assertEqual(hub.ask("revoke", device=ICCID)["kicked"], 3)
        for web in (idle, waiting, half):
            self.assertEqual(web.rest(), b"")
            self.events.expect("closed", device=ICCID, reason="revoked")
            web.stream.close()
        while hub.ask("state")["connections"]:
            pass

    def test_resumption_does_not_get_a_revoked_device_in(self):
        hub = self.hub(https=",resumption=on")
        for version in ("1.2", "1.3"):
            ctx = self.context(self.red, version)
            web = self.web(hub, ctx=ctx)
            web.get("/whoami")
            session = web.stream.session
            again = self.web(hub, ctx=ctx, session=session)
            self.assertEqual(again.get("/whoami")[0], 200)
            self.assertTrue(again.stream.session_reused)
            if version == "1.2":
                hub.ask("suspend", device=ICCID)
                with self.assertRaises(ssl.SSLError):
                    self.web(hub, ctx=ctx, session=session)
                hub.ask("resume", device=ICCID)
        hub.ask("revoke", device=ICCID)
        with self.assertRaises(ssl.SSLError):
            late = self.web(hub, ctx=ctx, session=session)
            late.get("/whoami")
        self.events.expect("refused", reason="revoked", alert=44)


class Malformed(HttpCase):
    """The table of framing: every case on its own connection; none may be answered as if it were fine, none may smuggle a
    second request, each ends the connection."""

    SMUGGLED = b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nsmuggled"
    CASES = {
        "garbage": (b"\x16\x03\x01 \x00\xff" * 20 + b"\r\n\r\n", 400),
        "TLS in TLS": (bytes(range(1, 32)) * 8 + b"\r\n\r\n", None),
        "no request line": (b"hello\r\n\r\n", None),
        "header of 64 KiB": (b"GET /whoami HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 65536 + b"\r\n\r\n", 431),
        "5000 headers": (b"GET /whoami HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431),
        "path of 40 KB": (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        "long query": (b"GET /command?wait=" + b"0" * 2000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        "no Host": (b"GET /whoami HTTP/1.1\r\n\r\n", 400),
        "two Hosts": (b"GET /whoami HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        "two lengths": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 90\r\n\r\nx" + SMUGGLED, 400),
        "the same length twice": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        "negative length": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\nx", 400),
        "length 4x": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 4x\r\n\r\nabcd", 400),
        "length beyond numbers": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\nx", 413),
        "length too large": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\nx", 413),
        "chunked and a length": (b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
                                 b"0\r\n\r\n" + SMUGGLED, 400),
        "unknown coding": (b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n" + SMUGGLED, 400),
        "two codings": (b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        "coding twice": (b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
                         b"\r\n0\r\n\r\n" + SMUGGLED, 400),
        "chunked in 1.0": (b"PUT /state HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
        "chunk size": (b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n", 400),
        "control character in a name": (b"GET /whoami HTTP/1.1\r\nHost: h\r\nX\x01Y: 1\r\n\r\n", 400),
        "space before colon": (b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length : 1\r\n\r\nx", 400),
        "version": (b"GET /whoami HTTP/3.7\r\nHost: h\r\n\r\n", 505),
    }

    def test_each_ends_the_connection_with_its_status(self):
        hub = self.hub()
        ctx = self.context(self.red, "1.3")
        for name, (data, want) in self.CASES.items():
            with self.subTest(name):
                web = self.web(hub, ctx=ctx)
                try:
                    web.send(data)
                except (ConnectionError, ssl.SSLError):
                    pass
                said = web.rest()
                self.assertEqual(said[9:12], str(want).encode() if want else b"", said[:200])
                # The library's own pages say their header twice.
                self.assertEqual({line[9:12] for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")},
                                 {str(want).encode()} if want else set(), said)
        web = self.web(hub, ctx=ctx)
        self.assertEqual(web.get("/state")[0], 404)  # nothing was smuggled in
        web.stream.close()
        self.assertEqual(hub.stop(), 0)

    def test_harmless_oddities_are_read_as_one_request(self):
        hub = self.hub()
        for data in (b"GET /whoami HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", b"GET /whoami HTTP/1.1\nHost: h\n\n"):
            web = self.web(hub)
            web.send(data)
            self.assertEqual(web.answer()[0], 200)
            self.assertEqual(web.get("/whoami")[0], 200)

    def test_who_closes_in_the_middle_is_forgotten(self):
        hub = self.hub()
        for part in (b"", b"GET /wh", b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n",
                     b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
                     b"PUT /state HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"):
            web = self.web(hub)
            web.send(part)
            web.stream.close()
            self.events.expect("closed", device=ICCID)
        self.assertEqual(hub.ask("state")["connections"], 0)
        self.assertEqual(hub.stop(), 0)

    def test_slow_headers_and_bodies_are_cut_off(self):
        hub = self.hub("--deadline", "700")
        silent, head, body = self.web(hub), self.web(hub), self.web(hub)
        body.send(b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        plain = tbtest.connect(hub.ready["metrics"])
        self.addCleanup(plain.close)
        plain.sendall(b"GET /metr")
        for b in b"GET /whoami HTTP/1.1\r\nX-Long: ":
            head.send(bytes([b]))
        for web in (silent, head, body, Web(plain)):
            self.assertEqual(web.rest(), b"")
        for _ in range(3):
            self.events.expect("closed", device=ICCID, reason="timeout")

    def test_dribbling_does_not_help(self):
        """Each byte is news to the library, whose own timeout would wait on; ours is from the first one."""
        hub = self.hub("--deadline", "600")
        web = self.web(hub)
        web.stream.settimeout(0.05)
        with self.assertRaises((OSError, EOFError)):
            for _ in range(400):
                web.send(b"x")
                try:
                    if web.stream.recv(1) == b"":
                        raise EOFError
                except TimeoutError:
                    pass
        self.events.expect("closed", device=ICCID, reason="timeout")


class Many(HttpCase):
    N = 1000

    def test_a_thousand_connections_at_once_and_an_orderly_end(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        hub = self.hub(https=",resumption=on")
        ctx = self.context(self.red, "1.2")
        web = self.web(hub, ctx=ctx)
        web.get("/whoami")
        many = [self.web(hub, ctx=ctx, session=web.stream.session) for _ in range(self.N)]
        for web in many:
            web.send(GET % b"/whoami")
        for web in many:
            self.assertEqual(web.answer()[0], 200)
        state = hub.ask("state")
        self.assertEqual((state["sessions"], state["connections"]), (self.N + 1, self.N + 1))
        for web in many[::2]:
            web.send(GET % b"/command?wait=30")
        self.assertEqual(hub.stop(), 0)
        for web in many[:10]:
            web.rest()


class Shutdown(HttpCase):
    def test_with_a_connection_of_every_kind(self):
        self.cli("add-psk", "kettle", "--secret", "00ff")
        hub = self.hub("--mqtts-psk", "127.0.0.1:0")
        mqtt = self.device(hub)
        self.device(hub, version="1.2", level=5)
        raw = [tbtest.connect(hub.ready[kind]) for kind in ("mqtts", "mqtts_psk", "https", "metrics")]
        hello = tbtest.connect(hub.ready["https"])
        hello.sendall(b"\x16\x03\x01\x01\x00")
        kept = tbtest.connect(hub.ready["metrics"])
        kept.sendall(GET % b"/healthz")
        self.assertEqual(Web(kept).answer()[0], 200)
        idle, waiting, half = self.web(hub), self.web(hub), self.web(hub)
        idle.get("/whoami")
        waiting.send(GET % b"/command?wait=30")
        half.send(b"PUT /state HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc")
        half.stream.settimeout(tbtest.WAIT)
        while len(hub.ask("sessions")["sessions"]) < 4:
            pass
        self.assertEqual(hub.stop(), 0)
        mqtt.ended()
        for web in (idle, waiting, half):
            self.assertEqual(web.rest(), b"")
        for s in (*raw, hello, kept):
            s.close()


tbtest.main()
