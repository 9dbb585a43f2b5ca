"""Who gets in, and what those hear who do not: TLS 1.2 and 1.3."""
import os
import socket
import ssl
import subprocess
import tbtest
from hubtest import HubCase, ICCID, Mqtt, connect


class Accepted(HubCase):
    def test_a_known_certificate_becomes_a_session(self):
        hub = self.hub()
        for version in ("1.2", "1.3"):
            self.device(hub, version=version).close()
            seen = self.events.expect("session", device=ICCID)
            self.assertEqual(seen["version"], "TLSv" + version)
            self.assertEqual(seen["identity"], "x509:" + ICCID)
            self.assertFalse(seen["resumed"])
            self.assertEqual(len(seen["fingerprint"]), 64)
            self.assertEqual(len(seen["spki"]), 64)
            self.events.expect("connect", device=ICCID, code=0)
            self.events.expect("closed", device=ICCID)
        counters = hub.ask("counters")
        self.assertEqual(counters["handshakes"]["TLSv1.2"], 1)
        self.assertEqual(counters["handshakes"]["TLSv1.3"], 1)
        self.assertEqual(counters["mqtt"]["connects"], 2)
        self.assertIn("active", self.cli("credential", "list"))
        self.assertEqual(hub.stop(), 0)

    def test_the_first_handshake_makes_a_pending_credential_active_once(self):
        self.assertIn("pending", self.cli("credential", "list"))
        hub = self.hub()
        for _ in range(2):
            self.device(hub).close()
        state = hub.ask("credentials", device=ICCID)["credentials"]
        self.assertEqual([c["state"] for c in state], ["active"])

    def test_groups_are_p256_by_default_without_a_second_round(self):
        hub = self.hub()
        done = subprocess.run(
            ["openssl", "s_client", "-connect", hub.ready["mqtts"], "-CAfile", self.ca, "-cert", self.red[0], "-key",
             self.red[1], "-groups", "P-256", "-verify_return_error", "-brief"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=tbtest.WAIT)
        self.assertIn("Verification: OK", done.stderr)
        self.assertIn("prime256v1", done.stderr)

    def test_the_hub_prefers_what_a_card_can(self):
        """Key agreement and HKDF may be done by a card, that knows P-256 and SHA-256 only, for a client that offers more (as
        wolfSSL's IoT SAFE port does)."""
        hub = self.hub()

        def connect_offering_more(*options):
            return subprocess.run(
                ["openssl", "s_client", "-connect", hub.ready["mqtts"], "-CAfile", self.ca, "-cert", self.red[0],
                 "-key", self.red[1], "-brief", *options],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=tbtest.WAIT).stderr
        self.assertIn("prime256v1", connect_offering_more("-tls1_2", "-groups", "P-384:P-256"))
        self.assertIn("TLS_AES_128_GCM_SHA256", connect_offering_more(
            "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"))

    def test_brainpool_keys_work_where_openssl_has_them(self):
        base = self.path("bp")
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1",
                        "-nodes", "-keyout", base + ".key", "-subj", "/CN=x", "-out", base + ".csr"], check=True,
                       capture_output=True, timeout=tbtest.WAIT)
        self.cli("ca", "issue", "--csr", base + ".csr", "--cn", "bp", "--out", base + ".crt")
        self.import_card("8988247000000000003", (base + ".crt", base + ".key"))
        hub = self.hub()
        subprocess.run(["openssl", "s_client", "-connect", hub.ready["mqtts"], "-tls1_2", "-CAfile", self.ca, "-cert",
                        base + ".crt", "-key", base + ".key", "-groups", "P-256:brainpoolP256r1"],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=tbtest.WAIT)
        self.events.expect("session", device="8988247000000000003", version="TLSv1.2")

    def test_the_key_log_opens_the_session(self):
        hub = self.hub("--keylog", self.path("keys"))
        self.device(hub)
        with open(self.path("keys")) as f:
            labels = {line.split()[0] for line in f}
        self.assertIn("CLIENT_TRAFFIC_SECRET_0", labels)
        self.assertEqual(os.stat(self.path("keys")).st_mode & 0o777, 0o600)

    def test_it_names_the_cas_it_trusts(self):
        hub = self.hub()
        done = subprocess.run(
            ["openssl", "s_client", "-connect", hub.ready["mqtts"], "-tls1_2", "-CAfile", self.ca],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=tbtest.WAIT)
        self.assertIn("Acceptable client certificate CA names\nCN = IoT SAFE testbed CA device", done.stdout)


class Refused(HubCase):
    """One hub, every reason: reference values are those of the table in docs/hub.md."""

    def check(self, hub, cert, reason, tls12, tls13, **fields):
        for version, alert in (("1.2", tls12), ("1.3", tls13)):
            with self.subTest(reason=reason, version=version):
                self.assertEqual(self.alert_of(hub, cert, version), alert)
                seen = self.events.expect("refused", reason=reason, **fields)
                self.assertEqual(seen["alert"], alert)
                self.assertEqual(seen["version"], "TLSv" + version)
        self.assertEqual(hub.ask("counters")["handshakes"]["refused"][reason], 2)

    def test_alerts(self):
        self.cli("ca", "init", "--name", "other")
        hub = self.hub()
        self.check(hub, None, "no-certificate", 40, 116)
        self.check(hub, self.issue("stranger", "other"), "wrong-ca", 48, 48, subject="CN=stranger")
        self.check(hub, self.issue("guest"), "unknown-credential", 46, 46, subject="CN=guest")
        old = self.issue("8988247000000000009", "device", "--expired")
        self.import_card("8988247000000000009", old)
        self.check(hub, old, "expired", 45, 45)
        self.cli("credential", "revoke", ICCID)
        self.check(hub, self.red, "revoked", 44, 44, device=ICCID)
        self.assertEqual(hub.stop(), 0)

    def test_suspended_is_not_revoked(self):
        hub = self.hub()
        self.device(hub).close()
        self.cli("credential", "suspend", ICCID)
        self.check(hub, self.red, "suspended", 46, 46, device=ICCID)
        self.cli("credential", "resume", ICCID)
        self.device(hub)

    def test_versions_are_limited_both_ways(self):
        for limit, refused in ((("--tls-min", "1.3"), "1.2"), (("--tls-max", "1.2"), "1.3")):
            with self.subTest(limit=limit):
                hub = self.hub(*limit)
                self.assertEqual(self.alert_of(hub, self.red, refused), 70)
                self.events.expect("refused", reason="protocol", alert=70)
                self.device(hub, version="1.2" if refused == "1.3" else "1.3")
                self.assertEqual(hub.stop(), 0)

    def test_a_ca_can_be_trusted_while_it_runs(self):
        hub = self.hub()
        self.cli("ca", "init", "--name", "blue")
        blue = self.issue("8988247000000000002", "blue")
        report = self.import_card("8988247000000000002", blue)
        self.assertEqual(self.alert_of(hub, blue, "1.3"), 48)
        self.cli("ca", "trust", "blue")
        hub.ask("reload")
        self.device(hub, blue)
        self.cli("ca", "distrust", "blue")
        hub.ask("reload")
        self.assertEqual(self.alert_of(hub, blue, "1.3"), 48)

    def test_the_clock_can_be_moved_past_the_end_of_a_certificate(self):
        hub = self.hub()
        session = self.device(hub)
        self.assertEqual(hub.ask("clock", offset_ms=400 * 86400 * 1000)["kicked"], 1)
        session.ended()
        self.events.expect("closed", device=ICCID, reason="expired")
        self.check(hub, self.red, "expired", 45, 45)

    def test_garbage_is_not_tls(self):
        hub = self.hub()
        for junk in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(3000), b"\x16\x03\x01\xff\xff" + b"x" * 200, connect()):
            with tbtest.connect(hub.ready["mqtts"]) as s:
                s.sendall(junk)
                try:
                    while s.recv(4096):
                        pass
                except ConnectionError:
                    pass
            self.events.expect("refused", reason="protocol")
        self.device(hub)

    def test_renegotiation_is_refused(self):
        hub = self.hub()
        done = subprocess.run(["openssl", "s_client", "-connect", hub.ready["mqtts"], "-tls1_2", "-CAfile", self.ca,
                               "-cert", self.red[0], "-key", self.red[1]], input="R\n", capture_output=True, text=True,
                              timeout=tbtest.WAIT)
        self.assertIn("no renegotiation", done.stderr)
        self.assertEqual(hub.ask("counters")["handshakes"]["TLSv1.2"], 1)

    def test_who_closes_in_the_middle_is_counted(self):
        hub = self.hub()
        with tbtest.connect(hub.ready["mqtts"]) as s:
            s.sendall(b"\x16\x03\x01")
        self.events.expect("refused", reason="aborted", alert=None)

    def test_a_device_may_refuse_the_hub(self):
        hub = self.hub()
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.tls(hub, ctx=ctx)
        self.events.expect("refused", reason="peer-alert", alert=48)

    def test_the_slow_are_cut_off(self):
        hub = self.hub("--deadline", "1000")
        silent = tbtest.connect(hub.ready["mqtts"])
        mute = self.tls(hub, self.red)  # handshake, then no CONNECT
        half = self.tls(hub, self.red)
        half.send(connect("x")[:5])
        for s in (silent, mute, half):
            s.settimeout(tbtest.WAIT)
            try:
                self.assertEqual(s.recv(100), b"")
            except (ConnectionError, ssl.SSLError):
                pass
            s.close()
        self.events.expect("refused", reason="timeout")
        self.assertEqual(hub.ask("counters")["handshakes"]["refused"]["timeout"], 1)
        self.assertEqual(hub.ask("state")["connections"], 0)

    def test_more_than_allowed_are_turned_away(self):
        hub = self.hub("--max-connections", "2")
        keep = [tbtest.connect(hub.ready["mqtts"]) for _ in range(2)]
        with tbtest.connect(hub.ready["mqtts"]) as third:
            try:
                self.assertEqual(third.recv(1), b"")
            except ConnectionError:
                pass
        self.events.expect("refused", reason="full")
        for s in keep:
            s.close()


class Resumption(HubCase):
    def resume(self, hub, version):
        """(first, second) sockets, the second with the first one's session."""
        ctx = self.context(self.red, version)
        first = Mqtt(self.tls(hub, ctx=ctx))
        first.join()  # in TLS 1.3 the ticket comes before CONNACK
        session = first.stream.session
        first.close()
        return ctx, session

    def test_is_off_unless_asked_for(self):
        hub = self.hub()
        for version in ("1.2", "1.3"):
            ctx, session = self.resume(hub, version)
            if session and session.has_ticket:
                self.fail("a ticket was issued")
            with self.tls(hub, ctx=ctx, session=session) as s:
                self.assertFalse(s.session_reused)

    def test_works_when_asked_for(self):
        hub = self.hub("--resumption")
        for version in ("1.2", "1.3"):
            ctx, session = self.resume(hub, version)
            self.assertTrue(session.has_ticket)
            with Mqtt(self.tls(hub, ctx=ctx, session=session)) as again:
                again.join()
                self.assertTrue(again.stream.session_reused)
            self.events.expect("session", device=ICCID, resumed=True)

    def test_does_not_get_a_revoked_device_in(self):
        hub = self.hub("--resumption")
        sessions = [self.resume(hub, version) for version in ("1.2", "1.3")]
        hub.ask("revoke", device=ICCID)
        for ctx, session in sessions:
            with self.assertRaises(ssl.SSLError) as seen:
                with self.tls(hub, ctx=ctx, session=session) as s:
                    s.send(connect())
                    self.assertEqual(s.recv(1), b"")
            self.assertEqual(seen.exception.reason, "SSLV3_ALERT_CERTIFICATE_REVOKED")
            self.events.expect("refused", reason="revoked", alert=44)


tbtest.main()
