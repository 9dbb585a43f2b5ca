"""The CoAP endpoints: who gets in, and what the device API looks like from there."""
import os
import resource
import signal
import socket
import struct
import subprocess
import time
import tbtest
from coaptest import (ACCEPT, BLOCK1, BLOCK2, CON, CONTENT_FORMAT, DELETE, ETAG, GET, NON, OBSERVE, POST, PSK_ID, PUT, RST,
                      SECRET, SIZE1, CoapCase, block, path_options, whoami)
from hubtest import ICCID

BLUE = "8988247000000000002"
PSK = (PSK_ID, SECRET)
COMMAND = "devices/%s/command" % ICCID


class Accepted(CoapCase):
    def test_libcoaps_client_with_a_certificate_and_with_a_pre_shared_key(self):
        hub = self.coap_hub()
        for address, scheme, kind, identity, version, options in (
                ("coaps", "coaps", "x509", "x509:" + ICCID, "DTLSv1.2", {}),
                ("coaps_tcp", "coaps+tcp", "x509", "x509:" + ICCID, "TLSv1.3", {}),
                ("coaps_psk", "coaps", "psk", "psk:" + PSK_ID, "DTLSv1.2", {"psk": PSK}),
                ("coaps_psk_tcp", "coaps+tcp", "psk", "psk:" + PSK_ID, "TLSv1.2", {"psk": PSK})):
            with self.subTest(address):
                url = "%s://%s/whoami" % (scheme, hub.ready[address].replace("127.0.0.1", "localhost"))
                seen = self.client(url, "-m", "get", **options).decode()
                for part in ('"identity":"%s"' % identity, '"kind":"%s"' % kind, '"version":"%s"' % version,
                             '"protocol":"coap"', '"device":"%s"' % ICCID):
                    self.assertIn(part, seen)
                event = self.events.expect("session", device=ICCID)
                self.assertEqual((event["protocol"], event["kind"], event["version"], event["identity"]),
                                 ("coap", kind, version, identity))
                self.assertEqual(event["listener"], "coaps" if kind == "x509" else "coaps-psk")
                self.events.expect("closed", device=ICCID, reason="device")
        state = hub.ask("credentials", device=ICCID)["credentials"]
        self.assertEqual([c["state"] for c in state], ["active", "active"])
        self.assertEqual(hub.stop(), 0)

    def test_suites_of_rfc_7252_and_others(self):
        hub = self.coap_hub()
        for suite in ("ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-GCM-SHA256"):
            with self.subTest(suite):
                with self.dtls(hub, "--ciphers", suite) as s:
                    self.assertEqual(whoami(s.ask(GET, "whoami"))["cipher"], suite)
        self.assertIn("New, TLSv1.3, Cipher is TLS_AES_128_CCM_8_SHA256",
                      self.s_client(hub.ready["coaps_tcp"], *self.cert_options(), "-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256", dtls=False))
        for suite in ("PSK-AES128-CCM8", "PSK-AES128-CCM", "PSK-AES128-GCM-SHA256", "ECDHE-PSK-AES128-CBC-SHA256"):
            with self.subTest(suite):
                with self.dtls_psk(hub, "--ciphers", suite) as s:
                    self.assertEqual(whoami(s.ask(GET, "whoami"))["cipher"], suite)

    def test_versions_over_tcp_and_a_pin(self):
        hub = self.coap_hub("--coaps", "127.0.0.1:0,tls=1.2,name=pinned")
        for version in ("1.2", "1.3"):
            self.assertEqual(whoami(self.tcp(hub, version).ask(GET, "whoami"))["version"], "TLSv" + version)
        at = [x["at"] for x in hub.ready["listeners"] if x["name"] == "pinned" and x["kind"] == "coaps_tcp"][0]
        self.assertIn("alert number 70", self.s_client(at, *self.cert_options(), "-tls1_3", dtls=False))
        self.events.expect("refused", listener="pinned", reason="protocol", alert=70)

    def test_versions_over_tcp_with_a_pre_shared_key(self):
        hub = self.coap_hub()
        for version in ("1.2", "1.3"):
            self.s_client(hub.ready["coaps_psk_tcp"], "-psk_identity", PSK_ID, "-psk", SECRET.encode().hex(),
                          "-tls" + version.replace(".", "_"), dtls=False)
            seen = self.events.expect("session", listener="coaps-psk", kind="psk", protocol="coap")
            self.assertEqual((seen["version"], seen["identity"]), ("TLSv" + version, "psk:" + PSK_ID))

    def test_dtls_1_3_is_not_promised(self):
        done = tbtest.run("iot-hub", "--state", self.state, "--mqtts", "127.0.0.1:0", "--coaps", "127.0.0.1:0,tls=1.3")
        self.assertEqual(done.returncode, 2)
        self.assertIn("DTLS", done.stderr)

    def test_the_key_log_has_dtls(self):
        hub = self.coap_hub("--keylog", self.path("keys"))
        self.dtls(hub).ask(GET, "whoami")
        with open(self.path("keys")) as f:
            self.assertIn("CLIENT_RANDOM", f.read())

    def test_all_listeners_at_once_and_an_end_with_live_sessions(self):
        hub = self.coap_hub("--mqtts-psk", "127.0.0.1:0", "--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
        dtls, tcp, psk = self.dtls(hub), self.tcp(hub), self.dtls_psk(hub)
        for s in (dtls, tcp, psk):
            self.assertEqual(whoami(s.ask(GET, "whoami"))["device"], ICCID)
            self.assertEqual(s.ask(GET, "command", b"", (OBSERVE, 0)).number(OBSERVE), 1)
        self.device(hub)
        dtls.ask(PUT, "state", b"by CoAP", (CONTENT_FORMAT, 0))
        url = "https://localhost:%s/state" % hub.ready["https"].split(":")[1]
        done = subprocess.run(["curl", "-s", "--cacert", self.ca, "--cert", self.red[0], "--key", self.red[1], url],
                              capture_output=True, timeout=tbtest.WAIT)
        self.assertEqual(done.stdout, b"by CoAP")
        self.events.expect("session", protocol="http")
        self.events.expect("closed", device=ICCID)
        self.assertEqual(sorted(x["protocol"] for x in hub.ask("sessions")["sessions"]), ["coap"] * 3 + ["mqtt"])
        self.assertEqual(hub.stop(), 0)
        for _ in range(3):
            self.events.expect("closed", device=ICCID, reason="shutdown")
        self.assertTrue(tcp.ended())

    def test_a_device_behind_a_new_address_gets_a_new_session(self):
        hub = self.coap_hub()
        old, new = self.dtls(hub), self.dtls(hub)
        old.ask(GET, "whoami")
        self.assertEqual(new.ask(PUT, "state", b"x").code, "2.01")
        self.assertEqual(hub.ask("state")["sessions"], 2)


class Restarted(CoapCase):
    def test_a_device_that_lost_its_session_gets_a_new_one_from_the_same_port(self):
        hub = self.coap_hub()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            port = str(s.getsockname()[1])
        old = self.dtls(hub, "--from", port)
        self.assertEqual(old.ask(GET, "command", b"", (OBSERVE, 0)).number(OBSERVE), 1)
        old.process.kill()
        old.process.wait()
        new = self.dtls(hub, "--from", port)
        self.assertEqual(new.ask(GET, "whoami").code, "2.05")
        self.events.expect("closed", device=ICCID, reason="replaced")

    def test_but_nobody_else_can_end_a_session_that_lives(self):
        hub = self.coap_hub()
        live = self.dtls(hub)
        live.ask(GET, "whoami")
        hello = b"\x16\xfe\xff" + b"\0" * 8 + b"\x00\x40\x01" + b"\0" * 63
        live.raw(hello)  # as if from its address
        self.assertEqual((m := live.message()).code, "0.00")  # are you there?
        live.acknowledge(m, RST)
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            live.raw(hello)
            self.assertEqual(live.ask(GET, "whoami").code, "2.05")
        self.assertEqual(hub.ask("state")["sessions"], 1)


class Refused(CoapCase):
    """As at the TLS front: the table in docs/hub.md."""

    def check(self, hub, options, reason, alert, listener="coaps", **fields):
        with self.subTest(reason=reason, listener=listener):
            said = self.s_client(hub.ready["coaps" if listener == "coaps" else "coaps_psk"], *options)
            if alert is not None:
                self.assertIn("alert number %d" % alert, said)
            seen = self.events.expect("refused", reason=reason, **fields)
            self.assertEqual((seen["alert"], seen["version"], seen["listener"]), (alert, "DTLSv1.2", listener))

    def test_certificates(self):
        self.cli("ca", "init", "--name", "other")
        old = self.issue(BLUE, "device", "--expired")
        self.import_card(BLUE, old)
        hub = self.coap_hub()
        self.check(hub, [], "no-certificate", 40)
        self.check(hub, self.cert_options(self.issue("stranger", "other")), "wrong-ca", 48, subject="CN=stranger")
        self.check(hub, self.cert_options(self.issue("guest")), "unknown-credential", 46, subject="CN=guest")
        self.check(hub, self.cert_options(old), "expired", 45, subject="CN=" + BLUE)
        self.dtls(hub).ask(GET, "whoami")
        self.cli("credential", "suspend", ICCID)
        self.check(hub, self.cert_options(), "suspended", 46, device=ICCID)
        self.cli("credential", "revoke", ICCID)
        self.check(hub, self.cert_options(), "revoked", 44, device=ICCID)
        counters = hub.ask("counters")["handshakes"]["refused"]
        for reason in ("no-certificate", "wrong-ca", "unknown-credential", "expired", "suspended", "revoked"):
            self.assertEqual(counters[reason], 1, reason)

    def test_certificates_over_tcp(self):
        hub = self.coap_hub()
        for version, alert in (("-tls1_2", 40), ("-tls1_3", 116)):
            self.s_client(hub.ready["coaps_tcp"], version, "-ign_eof", dtls=False)
            self.events.expect("refused", reason="no-certificate", alert=alert, listener="coaps")

    def test_pre_shared_keys(self):
        hub = self.coap_hub("--deadline", "1500")
        key = ["-psk", SECRET.encode().hex(), "-psk_identity"]
        self.check(hub, [*key, "nobody"], "unknown-psk-identity", 115, "coaps-psk", identity="psk:nobody")
        self.dtls_psk(hub, secret="00" * 16)  # which hears nothing: DTLS drops what it cannot decrypt
        seen = self.events.expect("refused", reason="wrong-psk", device=ICCID)
        self.assertEqual((seen["alert"], seen["listener"]), (None, "coaps-psk"))
        for version in ("-tls1_2", "-tls1_3"):
            said = self.s_client(hub.ready["coaps_psk_tcp"], "-psk", "00" * 16, "-psk_identity", PSK_ID, version, dtls=False)
            self.assertIn("alert number %d" % (20 if version == "-tls1_2" else 47), said)
            self.events.expect("refused", reason="wrong-psk", device=ICCID)
        self.cli("credential", "revoke", PSK_ID)
        self.check(hub, [*key, PSK_ID], "revoked", 115, "coaps-psk", device=ICCID)

    def test_a_device_that_does_not_trust_the_hub(self):
        self.cli("ca", "init", "--name", "other")
        hub = self.coap_hub()
        self.s_client(hub.ready["coaps"], *self.cert_options(), "-CAfile", os.path.join(self.state, "ca/other.crt"),
                      "-verify_return_error")
        self.events.expect("refused", reason="peer-alert", alert=48)

    def test_too_many_and_too_slow(self):
        hub = self.coap_hub("--max-connections", "1", "--deadline", "500")
        with self.dtls(hub) as s:
            s.ask(GET, "whoami")
            self.s_client(hub.ready["coaps"], *self.cert_options())
            self.events.expect("refused", reason="full")
        self.events.expect("closed", device=ICCID)
        raw = tbtest.connect(hub.ready["coaps_tcp"])
        self.addCleanup(raw.close)
        raw.sendall(b"\x16\x03\x01\x00\x05\x01")
        self.events.expect("refused", reason="timeout", listener="coaps")
        self.assertEqual(raw.recv(100), b"")

    def test_a_live_session_ends_at_once(self):
        hub = self.coap_hub()
        for make, reason, which in ((self.dtls_psk, "revoked", PSK_ID), (self.tcp, "suspended", ICCID)):
            s = make(hub)
            s.ask(GET, "command", b"", (OBSERVE, 0))
            self.events.ok("revoke" if reason == "revoked" else "suspend", device=which)
            self.events.expect("closed", device=ICCID, reason=reason)
            self.assertEqual(s.ended(), 0 if make == self.dtls_psk else True)  # with close_notify

    def test_other_cas_are_noticed(self):
        self.cli("ca", "init", "--name", "other")
        new = self.issue(BLUE, "other")
        self.import_card(BLUE, new)
        hub = self.coap_hub()
        self.check(hub, self.cert_options(new), "wrong-ca", 48)
        self.cli("ca", "trust", "other")
        hub.ask("reload")
        self.assertEqual(whoami(self.dtls(hub, cert=new).ask(GET, "whoami"))["device"], BLUE)


class Resumption(CoapCase):
    def resume(self, hub, *options, address="coaps", dtls=True):
        session = self.path("session")
        common = [*self.cert_options(), *options]
        self.s_client(hub.ready[address], *common, "-sess_out", session, dtls=dtls)
        first = self.events.expect("session", device=ICCID)
        self.assertFalse(first["resumed"])
        return lambda: self.s_client(hub.ready[address], *common, "-sess_in", session, dtls=dtls)

    def test_off_a_ticket_leads_to_a_full_handshake_and_no_alert(self):
        """libcoap by itself would answer with a fatal internal_error, whose ticket ever it is."""
        on = self.coap_hub("--coaps", "127.0.0.1:0,resumption=on,name=on")
        at = {x["name"]: x["at"] for x in on.ready["listeners"] if x["kind"] == "coaps"}
        on.ready["coaps_on"] = at["on"]
        self.resume(on, address="coaps_on")
        said = self.s_client(on.ready["coaps"], *self.cert_options(), "-sess_in", self.path("session"))
        self.assertNotIn("alert", said)
        self.assertFalse(self.events.expect("session", listener="coaps")["resumed"])

    def test_on_the_registry_is_asked(self):
        hub = self.coap_hub("--resumption")
        for options, dtls, address in (((), True, "coaps"), (("-tls1_2",), False, "coaps_tcp")):
            again = self.resume(hub, *options, dtls=dtls, address=address)
            again()
            seen = self.events.expect("session", device=ICCID)
            self.assertTrue(seen["resumed"])
            self.assertEqual(seen["identity"], "x509:" + ICCID)
            self.cli("credential", "suspend", ICCID)
            self.assertIn("alert number 46", again())
            self.events.expect("refused", reason="suspended", device=ICCID)
            self.cli("credential", "resume", ICCID)


class Api(CoapCase):
    def test_telemetry_reaches_the_broker(self):
        hub = self.coap_hub()
        spectator = self.spectator(hub)
        for s in (self.dtls(hub), self.tcp(hub)):
            for method in (POST, PUT):
                self.assertEqual(s.ask(method, "telemetry", b"21.5").code, "2.04")
                self.events.expect("publish", device=ICCID, payload="21.5", qos=1)
                kind, body = spectator.packet()
                self.assertTrue(body.endswith(b"devices/%s/telemetry21.5" % ICCID.encode()), body)
        url = "coaps://%s/telemetry" % hub.ready["coaps"].replace("127.0.0.1", "localhost")
        self.client(url, "-m", "post", "-e", "by-libcoap", "-N")  # not confirmable
        self.events.expect("publish", payload="by-libcoap")

    def test_bodies_in_blocks(self):
        hub = self.coap_hub()
        for s in (self.dtls(hub), self.tcp(hub)):
            for size, szx in ((4096, 6), (65536, 6), (1000, 2), (0, 6), (1024, 6), (1025, 6)):
                with self.subTest(size=size, szx=szx, over=type(s).__name__):
                    body = os.urandom(size)
                    self.assertIn(s.upload(PUT, "state", body, szx).code, ("2.01", "2.04"))
                    got = s.whole("state", szx)
                    self.assertEqual(got.payload, body)
                    self.assertTrue(got.options[ETAG])
            self.assertEqual(s.ask(DELETE, "state").code, "2.02")
            self.assertEqual(s.ask(DELETE, "state").code, "4.04")
            self.assertEqual(s.ask(GET, "state").code, "4.04")
            self.assertEqual(s.upload(POST, "telemetry", b"x" * 5000).code, "2.04")
            self.assertEqual(self.events.expect("publish", device=ICCID)["bytes"], 5000)

    def test_libcoaps_client_sends_and_fetches_large_bodies(self):
        hub = self.coap_hub()
        with open(self.path("body"), "wb") as f:
            f.write(bytes(range(256)) * 256)
        for address, scheme in (("coaps", "coaps"), ("coaps_tcp", "coaps+tcp")):
            url = "%s://%s/state" % (scheme, hub.ready[address].replace("127.0.0.1", "localhost"))
            self.client(url, "-m", "put", "-f", self.path("body"), "-t", "binary")
            got = self.client(url, "-m", "get", "-o", self.path("got"))
            with open(self.path("got"), "rb") as f:
                self.assertEqual(f.read(), bytes(range(256)) * 256, got)
            os.unlink(self.path("got"))

    def test_what_is_too_large_is_refused(self):
        s = self.dtls(self.coap_hub())
        m = s.upload(PUT, "state", b"x" * 65537)
        self.assertEqual((m.code, m.number(SIZE1)), ("4.13", 65536))
        m = s.ask(PUT, "state", b"x" * 1024, (BLOCK1, block(0, True)), (SIZE1, 1 << 20))
        self.assertEqual(m.code, "4.13")
        self.assertEqual(s.ask(GET, "state").code, "4.04")

    def test_blocks_out_of_order(self):
        s = self.dtls(self.coap_hub())
        self.assertEqual(s.ask(PUT, "state", b"x" * 1024, (BLOCK1, block(1, True))).code, "4.08")
        self.assertEqual(s.ask(PUT, "state", b"a" * 1024, (BLOCK1, block(0, True))).code, "2.31")
        self.assertEqual(s.ask(PUT, "state", b"a" * 1024, (BLOCK1, block(0, True))).code, "2.31")  # again
        self.assertEqual(s.ask(PUT, "state", b"b" * 1024, (BLOCK1, block(1, True))).code, "2.31")
        self.assertEqual(s.ask(PUT, "state", b"b" * 1024, (BLOCK1, block(1, True))).code, "2.31")  # again
        self.assertEqual(s.ask(PUT, "state", b"c", (BLOCK1, block(2, False))).code, "2.01")
        self.assertEqual(s.whole("state").payload, b"a" * 1024 + b"b" * 1024 + b"c")
        self.assertEqual(s.ask(PUT, "state", b"a" * 1024, (BLOCK1, block(0, True))).code, "2.31")
        self.assertEqual(s.ask(PUT, "state", b"b" * 1024, (BLOCK1, block(2, True))).code, "4.08")
        self.assertEqual(s.ask(PUT, "state", b"short", (BLOCK1, block(0, True))).code, "4.00")
        self.assertEqual(s.ask(GET, "state", b"", (BLOCK2, block(9, False))).code, "4.00")
        self.assertEqual(s.ask(GET, "state", b"", (BLOCK2, block(0, False, 7))).code, "4.02")

    def test_formats(self):
        s = self.dtls(self.coap_hub())
        self.assertEqual(s.ask(PUT, "state", b"{}", (CONTENT_FORMAT, 50)).code, "2.01")
        self.assertEqual(s.ask(GET, "state").number(CONTENT_FORMAT), 50)
        self.assertEqual(s.ask(GET, "state", b"", (ACCEPT, 50)).code, "2.05")
        self.assertEqual(s.ask(GET, "state", b"", (ACCEPT, 60)).code, "4.06")
        self.assertEqual(s.ask(PUT, "state", b"{}", (CONTENT_FORMAT, 65000)).code, "4.15")
        core = s.ask(GET, ".well-known/core")
        self.assertEqual((core.code, core.number(CONTENT_FORMAT)), ("2.05", 40))
        self.assertIn(b"</command>;obs", core.payload)

    def test_names_and_methods_that_are_not_there(self):
        s = self.dtls(self.coap_hub())
        for path in ("nothing", "", "state/x", "x" * 200, "command/.."):
            self.assertEqual(s.ask(GET, path).code, "4.04", path)
        self.assertEqual(s.ask(GET, "", b"", (11, "a/b")).code, "4.04")
        self.assertEqual(s.ask(GET, "telemetry").code, "4.05")
        self.assertEqual(s.ask(5, "state").code, "4.05")  # FETCH
        self.assertEqual(s.ask(DELETE, "nothing").code, "4.04")
        self.assertEqual(s.ask(GET, "whoami", b"", (9, b"")).code, "4.02")  # an unknown critical option
        self.assertEqual(s.ask(PUT, "state", b"x", (1, b"abc")).code, "4.02")  # If-Match

    def test_a_command_by_whoever_publishes_it(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        m = s.ask(GET, "command")
        self.assertEqual((m.code, m.payload), ("2.05", b""))
        self.assertFalse(self.events.ok("publish", device=ICCID, payload="by the verb")["subscribed"])
        self.assertEqual(s.ask(GET, "command").payload, b"by the verb")
        after = int.from_bytes(s.ask(GET, "command").options[ETAG], "big")
        self.spectator(hub).publish(COMMAND, b"by somebody at the broker")
        m = s.ask(GET, "command?wait=60&after=%d" % after)
        self.assertEqual((m.code, m.payload), ("2.05", b"by somebody at the broker"))
        self.assertEqual(s.ask(GET, "command?wait=x").code, "4.00")

    def test_a_repeated_request_is_done_once(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        for _ in range(3):
            s.send(POST, b"t", path_options("telemetry"), b"once", mid=7)
        self.assertEqual(s.ask(POST, "telemetry", b"twice").code, "2.04")
        self.assertEqual(s.answer(b"t").code, "2.04")
        self.events.expect("publish", payload="once")
        self.assertEqual(self.events.expect("publish")["payload"], "twice")
        for _ in range(2):
            s.send(DELETE, b"u", path_options("state"), mid=8)
            self.assertEqual(s.answer(b"u").code, "4.04")

    def test_while_the_broker_is_down(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        s.ask(GET, "whoami")
        os.kill(hub.ask("state")["broker_pid"], 9)
        self.events.expect("broker-down")
        m = s.ask(POST, "telemetry", b"x")
        self.assertEqual((m.code, m.payload), ("5.03", b"the broker is down"))
        self.events.expect("broker-up")
        self.assertEqual(s.ask(POST, "telemetry", b"x").code, "2.04")


class Observe(CoapCase):
    def observe(self, s, path="command", token=b"o"):
        m = s.ask(GET, path, b"", (OBSERVE, 0), token=token)
        self.assertEqual(m.code, "2.05")
        self.assertIsNotNone(m.number(OBSERVE))
        return m

    def test_every_session_of_the_device_and_no_other(self):
        cert = self.issue(BLUE)
        self.import_card(BLUE, cert)
        hub = self.coap_hub()
        red = [self.dtls(hub), self.tcp(hub), self.dtls_psk(hub)]
        blue = self.dtls(hub, cert=cert)
        for s in (*red, blue):
            self.observe(s)
        self.assertTrue(self.events.ok("publish", device=ICCID, payload="open")["subscribed"])
        for s in red:
            m = s.answer(b"o")
            self.assertEqual((m.code, m.payload), ("2.05", b"open"))
            self.assertGreater(m.number(OBSERVE), 1)
        self.spectator(hub).publish(COMMAND, b"x" * 3000)
        for s in red:
            m = s.answer(b"o")
            self.assertEqual(m.payload, b"x" * len(m.payload))
            self.assertEqual(s.whole("command").payload, b"x" * 3000)
        self.events.ok("publish", device=BLUE, payload="for blue")
        self.assertEqual(blue.answer(b"o").payload, b"for blue")
        self.assertEqual(blue.later, [])

    def test_libcoaps_client_observes(self):
        hub = self.coap_hub()
        url = "coaps://%s/command" % hub.ready["coaps"].replace("127.0.0.1", "localhost")
        p = subprocess.Popen(["coap-client-openssl", "-c", self.red[0], "-j", self.red[1], "-C", self.ca, "-s", "20", "-w",
                              url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(p.communicate)
        self.addCleanup(p.kill)
        self.events.expect("session", device=ICCID)
        while not self.events.ok("publish", device=ICCID, payload="open")["subscribed"]:
            pass
        for n in range(5):
            self.events.ok("publish", device=ICCID, payload="number %d" % n)
        seen = b""
        while b"number 4" not in seen:
            seen += os.read(p.stdout.fileno(), 4096)

    def test_it_ends_when_told_by_reset_and_when_the_state_goes(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        self.observe(s, token=b"a")
        self.assertIsNone(s.ask(GET, "command", b"", (OBSERVE, 1), token=b"a").number(OBSERVE))
        self.assertFalse(self.events.ok("publish", device=ICCID, payload="1")["subscribed"])
        self.observe(s, token=b"b")
        self.events.ok("publish", device=ICCID, payload="2")
        m = s.message()
        self.assertEqual((m.kind, m.token, m.payload), (CON, b"b", b"2"))
        s.acknowledge(m, RST)
        s.ask(GET, "whoami")
        self.assertFalse(self.events.ok("publish", device=ICCID, payload="3")["subscribed"])
        # a state that is not there cannot be observed; one that goes ends it
        self.assertEqual(s.ask(GET, "state", b"", (OBSERVE, 0)).code, "4.04")
        s.ask(PUT, "state", b"x")
        self.observe(s, "state", token=b"c")
        s.ask(PUT, "state", b"y")
        self.assertEqual(s.answer(b"c").payload, b"y")
        s.ask(DELETE, "state")
        m = s.answer(b"c")
        self.assertEqual((m.code, m.number(OBSERVE)), ("4.04", None))

    def test_the_hubs_operator_and_the_device_share_a_document(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        self.assertFalse(self.events.request("document", device=ICCID)["ok"])
        s.ask(PUT, "state", b"{}", (CONTENT_FORMAT, 50))
        seen = self.events.ok("document", device=ICCID)
        self.assertEqual((seen["payload"], seen["content_type"], seen["bytes"]), ("{}", "application/json", 2))
        self.observe(s, "state")
        self.events.ok("document", device=ICCID, payload="interval = 60")
        m = s.answer(b"o")
        self.assertEqual((m.payload, m.number(CONTENT_FORMAT)), (b"interval = 60", 0))
        for wrong in ({}, {"device": "a/b"}, {"device": ICCID, "payload": 1}):
            self.assertFalse(self.events.request("document", **wrong)["ok"])

    def test_bursts_are_overtaken_but_the_last_arrives(self):
        hub = self.coap_hub()
        s = self.tcp(hub)
        self.observe(s)
        for n in range(40):
            self.events.ok("publish", device=ICCID, payload=str(n))
        seen = [s.answer(b"o").payload]
        while seen[-1] != b"39":
            seen.append(s.answer(b"o").payload)
        self.assertEqual(seen[:16], [str(n).encode() for n in range(16)])
        self.assertLess(len(seen), 20)

    def test_who_takes_nothing_over_tcp_is_given_up(self):
        hub = self.coap_hub()
        deaf, awake = self.tcp(hub), self.tcp(hub)
        for s in (deaf, awake):
            for n in range(8):
                self.observe(s, token=bytes([n]))
        for n in range(9):  # 72 notifications for each of them
            self.events.ok("publish", device=ICCID, payload=str(n))
            for token in range(8):
                self.assertEqual(awake.answer(bytes([token])).payload, str(n).encode())
        self.events.expect("closed", device=ICCID, reason="timeout")
        self.assertTrue(deaf.ended())
        self.assertEqual(awake.ask(GET, "whoami").code, "2.05")

    def test_many_sessions_of_every_kind_and_an_orderly_end(self):
        hub = self.coap_hub()
        all_of_them = [make(hub) for _ in range(12) for make in (self.dtls, self.dtls_psk, self.tcp)]
        for s in all_of_them:
            self.observe(s)
        for n in range(10):
            self.events.ok("publish", device=ICCID, payload=str(n))
        for s in all_of_them:
            self.assertEqual([s.answer(b"o").payload for _ in range(10)], [str(n).encode() for n in range(10)])
        self.events.ok("revoke", device=PSK_ID)
        self.assertEqual(hub.ask("state")["sessions"], 24)
        self.assertEqual(hub.stop(), 0)

    def test_who_changes_what_it_observes_and_is_gone_harms_nobody(self):
        """The session ends while its own request is being answered: its observers are told first, and cannot be."""
        hub = self.coap_hub()
        awake = self.tcp(hub)
        self.assertEqual(awake.ask(PUT, "state", b"0").code, "2.01")
        for version in ("1.2", "1.3"):
            s = self.tcp(hub, version)
            for n in range(1, 9):  # told in reverse: each message is shorter than the one before
                self.observe(s, "state", token=bytes([n]) * n)
            self.observe(awake, "state", token=b"s")
            os.kill(hub.pid, signal.SIGSTOP)  # both are there when it looks
            s.send(PUT, b"last", path_options("state"), version.encode())
            s.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()  # by a reset
            os.kill(hub.pid, signal.SIGCONT)
            self.events.expect("closed", device=ICCID)
            self.assertEqual(awake.ask(GET, "whoami").code, "2.05")

    def test_observers_of_a_session_are_bounded(self):
        s = self.dtls(self.coap_hub())
        for n in range(8):
            self.observe(s, token=bytes([n]))
        m = s.ask(GET, "command", b"", (OBSERVE, 0), token=b"more")
        self.assertEqual((m.code, m.number(OBSERVE)), ("2.05", None))

    def test_over_a_restart_of_the_broker(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        self.observe(s)
        os.kill(hub.ask("state")["broker_pid"], 9)
        self.events.expect("broker-down")
        self.events.expect("broker-up")
        self.spectator(hub).publish(COMMAND, b"after")
        self.assertEqual(s.answer(b"o").payload, b"after")


class Hostile(CoapCase):
    def test_without_descriptors_connections_are_turned_away(self):
        hub = self.coap_hub("--deadline", "60000")
        good = self.tcp(hub)
        have = max(int(fd) for fd in os.listdir("/proc/%d/fd" % hub.pid))
        resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (have + 10, 4096))
        waiting = [tbtest.connect(hub.ready["coaps_tcp"]) for _ in range(40)]
        for s in waiting:
            self.addCleanup(s.close)
        for s in waiting[20:]:
            try:
                self.assertEqual(s.recv(1), b"")
            except ConnectionError:
                pass
        self.assertEqual(good.ask(GET, "whoami").code, "2.05")
        resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (1024, 4096))
        self.assertEqual(self.tcp(hub).ask(GET, "whoami").code, "2.05")

    def test_many_may_wait_to_be_accepted(self):
        hub = self.coap_hub()
        os.kill(hub.pid, signal.SIGSTOP)
        try:
            waiting = [tbtest.connect(hub.ready["coaps_tcp"]) for _ in range(100)]
        finally:
            os.kill(hub.pid, signal.SIGCONT)
        for s in waiting:
            self.addCleanup(s.close)
        self.assertEqual(self.tcp(hub).ask(GET, "whoami").code, "2.05")

    def test_rubbish_on_all_ports_harms_nobody(self):
        hub = self.coap_hub()
        good = self.dtls(hub)
        good.ask(GET, "whoami")
        host, port = hub.ready["coaps"].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect((host, int(port)))
            for data in (b"", b"\x16", b"\x40\x01\x00\x01", b"\x16\xfe\xfd" + b"\0" * 8 + b"\x00\x20" + os.urandom(32),
                         b"\x16\xfe\xff" + b"\0" * 8 + b"\x00\x40\x01" + os.urandom(63), os.urandom(1400)):
                udp.send(data)
        for address in ("coaps_tcp", "coaps_psk_tcp"):
            for data in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(500)):
                with tbtest.connect(hub.ready[address]) as raw:
                    raw.sendall(data)
                    raw.settimeout(tbtest.WAIT)
                    try:
                        while raw.recv(1000):
                            pass
                    except ConnectionError:
                        pass
                self.events.expect("refused", reason="protocol")
        self.assertEqual(good.ask(GET, "whoami").code, "2.05")

    def test_malformed_messages_inside_the_session(self):
        hub = self.coap_hub()
        s = self.dtls(hub)
        s.ask(GET, "whoami")
        for data in (b"\x40", b"\x00\x01\x00\x01", b"\x4f\x01\x00\x01" + b"t" * 15, b"\x41\x01\x00\x01", b"\xc0\x01\x00\x01",
                     b"\x40\x01\x00\x02\xff", b"\x40\x01\x00\x03\xbf", b"\x40\x01\x00\x04\xf0", b"\x40\xff\x00\x05",
                     b"\x60\x00\x00\x06", b"\x70\x00\x00\x07", b"\x60\x45\x00\x08", os.urandom(1000)):
            s.raw(data)
            self.assertEqual(s.ask(GET, "whoami").code, "2.05", data)
        for data in (b"\xff" * 20, b"\xf0\xff\xff\xff\xff\x01" + b"x" * 100, b"\xe1\x10\x00\x01t" + b"x" * 2000):
            t = self.tcp(hub)
            t.stream.sendall(data)
            self.assertTrue(t.ended())
        self.assertEqual(s.ask(GET, "whoami").code, "2.05")

    def test_one_session_has_a_bounded_number_of_requests_under_way(self):
        s = self.dtls(self.coap_hub())
        for n in range(8):
            self.assertEqual(s.ask(GET, "whoami").code, "2.05")
            s.send(GET, bytes([n]), path_options("command?wait=60"))
            self.assertEqual(s.message().code, "0.00")  # acknowledged, to be answered later
        self.assertEqual(s.ask(GET, "whoami").code, "5.03")


tbtest.main()
