"""MQTT with pre-shared keys: who gets in, and what those hear who do not; resumption; what is never said."""
import json
import os
import re
import socket
import subprocess
import tbtest
from hubtest import HubCase, ICCID, Mqtt

SECRET = "5eC4e7a0112233445566778899aabbccddeeff0123456789abcdef0123456789"
VERSIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
ALL = "ALL:PSK:@SECLEVEL=0"  # OpenSSL's own list has no CCM_8


class PskCase(HubCase):
    def setUp(self):
        super().setUp()
        self.cli("add-psk", "kettle", "--secret", SECRET)

    def hub(self, *args, psk="", **kwargs):
        return super().hub("--mqtts-psk", "127.0.0.1:0" + psk, *args, **kwargs)

    def command(self, hub, version, identity, secret, *more, at=None):
        return ["openssl", "s_client", "-connect", at or hub.ready["mqtts_psk"], VERSIONS[version], "-psk_identity",
                identity, "-psk", secret, *(() if "-cipher" in more else ("-cipher", ALL)), *more]

    def shake(self, hub, version, identity="kettle", secret=SECRET, *more, at=None):
        """A handshake and nothing else: the alert's number, or "in"; and what s_client said."""
        done = subprocess.run(self.command(hub, version, identity, secret, *more, at=at), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=tbtest.WAIT)
        said = done.stdout + done.stderr
        alert = re.search(r"SSL alert number (\d+)", said)
        return int(alert[1]) if alert else "in" if re.search(r"Cipher is [A-Z]", said) else said, said

    def device(self, hub, version="1.3", identity="kettle", secret=SECRET, *more, **kwargs):
        """A device that is connected, s_client between us and the hub."""
        ours, its = socket.socketpair()
        client = subprocess.Popen(self.command(hub, version, identity, secret, "-quiet", *more), stdin=its, stdout=its,
                                  stderr=subprocess.DEVNULL)
        its.close()
        m = Mqtt(ours)

        def close():  # with -quiet it does not end with its input
            ours.close()
            client.kill()
            client.wait()
        m.close = close
        self.addCleanup(close)
        m.join(**kwargs)
        return m


class Accepted(PskCase):
    def test_a_session_says_who_it_is_and_is_like_any_other(self):
        hub = self.hub()
        seen = self.spectator(hub)
        for version in VERSIONS:
            m = self.device(hub, version, client_id="whatever", user="mallory", password="x")
            session = self.events.expect("session", device="kettle")
            self.assertEqual(session["listener"], "mqtts-psk")
            self.assertEqual(session["protocol"], "mqtt")
            self.assertEqual(session["kind"], "psk")
            self.assertEqual(session["identity"], "psk:kettle")
            self.assertEqual(session["version"], "TLSv" + version)
            self.assertFalse(session["resumed"])
            self.assertNotIn("subject", session)
            self.events.expect("connect", device="kettle", identity="psk:kettle", code=0, client_id="whatever")
            m.publish("devices/kettle/telemetry", b"21.5")
            self.assertIn(b"21.5", seen.packet()[1])
            m.publish("devices/%s/telemetry" % ICCID, b"not mine")
            self.events.expect("publish-denied", device="kettle")
            m.close()
            self.events.expect("closed", device="kettle")
        self.assertEqual([(c["kind"], c["state"], c["identity"]) for c in
                          hub.ask("credentials", identity="kettle")["credentials"]], [("psk", "active", "kettle")])
        self.assertEqual(hub.ask("counters")["handshakes"]["psk"], 2)

    def test_commands_reach_it(self):
        hub = self.hub()
        m = self.device(hub)
        self.assertEqual(m.subscribe("devices/kettle/command"), 0)
        self.assertTrue(hub.ask("publish", device="kettle", payload="boil")["subscribed"])
        self.assertIn(b"boil", m.packet()[1])

    def test_an_ordinary_mqtt_client_gets_in(self):
        hub = self.hub()
        host, port = hub.ready["mqtts_psk"].rsplit(":", 1)
        done = subprocess.run(["mosquitto_pub", "-h", host, "-p", port, "--psk", SECRET, "--psk-identity", "kettle", "-q",
                               "1", "-t", "devices/kettle/telemetry", "-m", "hot"], timeout=tbtest.WAIT)
        self.assertEqual(done.returncode, 0)
        self.events.expect("publish", device="kettle", payload="hot")

    def test_every_suite_and_both_exchanges(self):
        hub = self.hub()
        for suite in ("PSK-AES128-GCM-SHA256", "PSK-AES128-CCM", "PSK-AES128-CCM8", "PSK-AES128-CBC-SHA256",
                      "PSK-CHACHA20-POLY1305", "ECDHE-PSK-AES128-CBC-SHA256", "ECDHE-PSK-CHACHA20-POLY1305"):
            self.assertEqual(self.shake(hub, "1.2", "kettle", SECRET, "-cipher", suite + ":@SECLEVEL=0")[0], "in", suite)
            self.events.expect("session", cipher=suite)
        self.assertEqual(self.shake(hub, "1.2", "kettle", SECRET, "-cipher", "DHE-PSK-AES128-GCM-SHA256")[0], 40)
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256",
                      "TLS_CHACHA20_POLY1305_SHA256"):
            self.assertEqual(self.shake(hub, "1.3", "kettle", SECRET, "-ciphersuites", suite)[0], "in", suite)
            self.events.expect("session", cipher=suite)
        # A PSK belongs to one hash, and this hub's is SHA-256.
        self.assertEqual(self.shake(hub, "1.3", "kettle", SECRET, "-ciphersuites", "TLS_AES_256_GCM_SHA384")[0], 40)

    def test_tls_13_with_and_without_a_key_exchange(self):
        hub = self.hub()
        self.assertIn("Server Temp Key", self.shake(hub, "1.3", "kettle", SECRET, "-allow_no_dhe_kex")[1])
        alone = self.shake(hub, "1.3", "kettle", SECRET, "-allow_no_dhe_kex", "-groups", "P-521")
        self.assertEqual(alone[0], "in")
        self.assertNotIn("Server Temp Key", alone[1])

    def test_identities_may_hold_what_brokers_dislike_in_names(self):
        identity = "3GPP-bootstrapping;aG/k+#%=@bsf é"
        self.cli("add-psk", identity, "--secret", "00ff", "--device", "phone")
        hub = self.hub()
        seen = self.spectator(hub)
        m = self.device(hub, "1.2", identity, "00ff")
        self.events.expect("session", device="phone", identity="psk:" + identity)
        m.publish("devices/phone/x", b"through")
        self.assertIn(b"through", seen.packet()[1])

    def test_secrets_come_from_the_card_factory(self):
        made = tbtest.run("sim-card", "personalise", os.path.join(tbtest.SOURCE, "sim-card/profiles/factory.card"),
                          "--store", self.path("card.db"), "--export-secrets", "--issuer-cert", self.ca, "--issuer-key",
                          self.ca.replace(".crt", ".key"))
        self.assertEqual(made.returncode, 0, made.stderr)
        self.write("cards.json", made.stdout)
        card = json.loads(made.stdout)["cards"][0]
        secrets = {c["identity"]: c["secret"] for c in card["credentials"] if c["kind"] == "psk"}
        self.assertTrue(secrets)
        self.cli("import", self.path("cards.json"))
        hub = self.hub()
        for identity, secret in secrets.items():
            self.device(hub, "1.3", identity, secret)
            self.events.expect("session", device=card["iccid"], kind="psk", identity="psk:" + identity)


class Refused(PskCase):
    """Reference values are those of the table in docs/hub.md."""

    def check(self, hub, reason, tls12, tls13, who="kettle", secret=SECRET, **fields):
        for version, alert in (("1.2", tls12), ("1.3", tls13)):
            with self.subTest(reason=reason, version=version):
                self.assertEqual(self.shake(hub, version, who, secret)[0], alert)
                seen = self.events.expect("refused", reason=reason, listener="mqtts-psk", **fields)
                self.assertEqual((seen["alert"], seen["version"]), (alert, "TLSv" + version))
        self.assertEqual(hub.ask("counters")["listeners"]["mqtts-psk"]["refused"][reason], 2)

    def test_alerts(self):
        hub = self.hub()
        self.check(hub, "unknown-psk-identity", 115, 40, "teapot", identity="psk:teapot")
        self.check(hub, "wrong-psk", 20, 47, secret="00" * 32, device="kettle")
        self.assertEqual(hub.ask("credentials", device="kettle")["credentials"][0]["state"], "pending")
        self.device(hub).close()
        hub.ask("suspend", identity="kettle")
        self.check(hub, "suspended", 115, 40, device="kettle")
        hub.ask("resume", identity="kettle")
        self.device(hub).close()
        hub.ask("revoke", device="kettle")
        self.check(hub, "revoked", 115, 40, device="kettle")
        self.assertEqual(hub.stop(), 0)

    def test_who_has_no_psk_is_refused(self):
        hub = self.hub()
        for version in VERSIONS:
            done = subprocess.run(["openssl", "s_client", "-connect", hub.ready["mqtts_psk"], VERSIONS[version], "-cert",
                                   self.red[0], "-key", self.red[1]], stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=tbtest.WAIT)
            self.assertIn("SSL alert number 40", done.stderr)
            self.events.expect("refused", reason="protocol", alert=40)

    def test_a_psk_is_nothing_at_a_certificate_listener(self):
        hub = self.hub()
        self.assertEqual(self.shake(hub, "1.2", at=hub.ready["mqtts"], identity="kettle")[0], 40)
        self.events.expect("refused", reason="no-certificate", listener="mqtts")

    def test_a_secret_that_cannot_be_unwrapped_lets_nobody_in(self):
        os.unlink(os.path.join(self.state, "psk.key"))
        hub = self.hub()
        self.assertEqual(self.shake(hub, "1.3")[0], 40)
        self.events.expect("refused", reason="unknown-psk-identity", detail="its secret cannot be read")
        refused = hub.ctl()
        self.addCleanup(refused.close)
        self.assertIn("put it back", refused.request("add", identity="new", secret="00")["error"])

    def test_revocation_ends_a_live_session(self):
        hub = self.hub()
        m = self.device(hub, level=5)
        self.assertEqual(hub.ask("revoke", identity="kettle")["kicked"], 1)
        self.assertEqual([kind for kind, _ in m.ended()], [0xE0])
        self.events.expect("closed", device="kettle", reason="revoked")

    def test_revocation_by_another_process_ends_a_live_session(self):
        hub = self.hub()
        m = self.device(hub)
        self.cli("credential", "revoke", "kettle")
        m.ended()
        self.events.expect("closed", device="kettle", reason="revoked")


class Resumption(PskCase):
    def first(self, hub, version):
        file = self.path("session-" + version)
        m = self.device(hub, version, "kettle", SECRET, "-sess_out", file)
        self.events.expect("session", device="kettle", resumed=False)
        m.close()
        self.events.expect("closed", device="kettle")
        return file

    def test_works_where_it_is_asked_for(self):
        hub = self.hub(psk=",resumption=on")
        for version in VERSIONS:
            file = self.first(hub, version)
            self.assertEqual(self.shake(hub, version, "kettle", SECRET, "-sess_in", file)[0], "in")
            again = self.events.expect("session", device="kettle")
            self.assertTrue(again["resumed"], version)
            self.assertEqual(again["identity"], "psk:kettle")

    def test_is_off_by_default(self):
        hub = self.hub()
        said = self.shake(hub, "1.2")[1]
        self.assertNotIn("TLS session ticket:", said)
        self.assertTrue(re.search(r"Session-ID: *\n", said), said)

    def test_does_not_get_a_revoked_device_in(self):
        hub = self.hub(psk=",resumption=on")
        files = {version: self.first(hub, version) for version in VERSIONS}
        hub.ask("revoke", identity="kettle")
        for version, file in files.items():
            self.assertEqual(self.shake(hub, version, "kettle", SECRET, "-sess_in", file)[0],
                             115 if version == "1.2" else 40)
            self.events.expect("refused", reason="revoked", device="kettle", version="TLSv" + version)

    def test_a_ticket_of_another_listener_is_worth_nothing(self):
        hub = self.hub("--mqtts-psk", "127.0.0.1:0,resumption=on,name=second", psk=",resumption=on")
        file = self.first(hub, "1.2")
        second = next(l["at"] for l in hub.ready["listeners"] if l["name"] == "second")
        self.assertEqual(self.shake(hub, "1.2", "kettle", SECRET, "-sess_in", file, at=second)[0], "in")
        self.assertFalse(self.events.expect("session", listener="second")["resumed"])


class CommandLine(PskCase):
    def add(self, *args, **kwargs):
        return subprocess.run([tbtest.program("iot-hub"), "add-psk", *args, "--state", self.state], capture_output=True,
                              text=True, timeout=tbtest.WAIT, **kwargs)

    def test_a_key_comes_from_the_line_a_file_or_the_input(self):
        file = self.write("key", "00:11:22:33 44 55 66 77\n8899aabbccddeeff\n")
        self.assertEqual(self.add("pot", "--secret-file", file).stdout, "pot: added\n")
        same = self.add("pot", "--secret-file", "-", input="00112233445566778899AABBCCDDEEFF")
        self.assertEqual((same.stdout, same.stderr), ("pot: known already\n", ""))
        self.assertIn("can be guessed", self.add("pan", "--secret", "00ff").stderr)
        self.assertIn("psk  pending", self.cli("credential", "list", "pan"))

    def test_what_cannot_be_is_said(self):
        for args, status, words in (
                ((), 2, "IDENTITY"), (("x",), 2, "--secret"), (("x", "--secret", "00", "--secret-file", "y"), 2, "one of"),
                (("x", "--secret", "0"), 1, "hex"), (("x", "--secret", "00" * 65), 1, "1 to 64 bytes"),
                (("x", "--secret", ""), 1, "1 to 64 bytes"), (("a b", "--secret", "00"), 1, "device:"),
                (("x" * 129, "--device", "d", "--secret", "00"), 1, "identity:"),
                (("kettle", "--secret", "00"), 1, "another secret"),
                (("kettle", "--secret", SECRET, "--device", "d"), 1, "belongs to device kettle"),
                (("x", "--secret-file", self.path("none")), 1, "No such file")):
            done = self.add(*args, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, status, (args, done.stderr))
            self.assertIn(words, done.stderr)


class Silence(PskCase):
    def test_the_secret_is_never_said(self):
        """Not in events, logs, replies, lists, nor in any file of the hub's folder."""
        hub = self.hub("--log-level", "debug", "--event-file", self.path("events.jsonl"))
        self.cli("add-psk", "pot", "--secret", SECRET)
        with hub.ctl() as ctl:
            replies = [ctl.request("add", identity="pan", secret=SECRET), ctl.request("add", identity="pan", secret="00"),
                       ctl.request("add", identity="bad", secret=SECRET + SECRET + "00"), ctl.ok("credentials"),
                       ctl.ok("sessions"), ctl.ok("state"), ctl.ok("counters")]
        self.device(hub).close()
        self.shake(hub, "1.2", "kettle", "00")
        listed = self.cli("credential", "list") + self.cli("credential", "list", "--json")
        self.assertEqual(hub.stop(), 0)
        secret = SECRET.lower()
        needles = (secret.encode(), bytes.fromhex(secret), secret[:16].encode())
        files = [os.path.join(d, f) for top in (self.state, self.path("")) for d, _, fs in os.walk(top) for f in fs]
        self.assertTrue(any(f.endswith("events.jsonl") for f in files), files)
        texts = [json.dumps(replies).encode(), listed.encode()]
        for file in files:
            with open(file, "rb") as f:
                texts.append(f.read())
        for text in texts:
            for needle in needles:
                self.assertNotIn(needle, text)
                self.assertNotIn(needle, text.lower())


tbtest.main()
