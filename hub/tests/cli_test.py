"""The commands beside the daemon, and what it says when something is missing."""
import json
import os
import subprocess
import tbtest
from hubtest import HubCase, ICCID

NEW = "8988247000000000007"


class Commands(HubCase):
    def fails(self, *args, status=1):
        done = tbtest.run("iot-hub", *args)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done.stderr

    def verify(self, *args):
        done = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", self.ca, *args], capture_output=True,
                              text=True, timeout=tbtest.WAIT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_certificates_are_good_for_what_they_are(self):
        server = os.path.join(self.state, "server.crt")
        for name in ("-verify_hostname", "localhost"), ("-verify_ip", "127.0.0.1"), ("-verify_ip", "::1"):
            self.verify("-purpose", "sslserver", *name, server)
        self.verify("-purpose", "sslclient", self.red[0])
        for key in ("ca/device.key", "server.key"):
            self.assertEqual(os.stat(os.path.join(self.state, key)).st_mode & 0o777, 0o600)

    def test_a_csr_is_signed(self):
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", self.path("k"), "-subj", "/CN=ignored", "-out", self.path("csr")], check=True,
                       capture_output=True, timeout=tbtest.WAIT)
        self.cli("ca", "issue", "--csr", self.path("csr"), "--cn", NEW, "--out", self.path("c"))
        self.verify("-purpose", "sslclient", self.path("c"))
        self.import_card(NEW, (self.path("c"), self.path("k")))
        hub = self.hub()
        self.device(hub, (self.path("c"), self.path("k")))
        self.events.expect("session", device=NEW, subject="CN=" + NEW)

    def test_nothing_is_overwritten(self):
        with open(self.ca) as f:
            before = f.read()
        self.assertIn("device", self.fails("ca", "init", "--state", self.state))
        with open(self.ca) as f:
            self.assertEqual(f.read(), before)

    def test_show_tells_names_and_trust(self):
        self.cli("ca", "init", "--name", "other")
        shown = [json.loads(line) for line in self.cli("ca", "show", "--json").splitlines()]
        self.assertEqual([(c["name"], c["trusted"]) for c in shown], [("device", True), ("other", False)])
        self.assertEqual(shown[0]["cert"], self.ca)

    def test_a_foreign_ca_is_added_without_its_key(self):
        elsewhere = self.path("elsewhere")
        self.assertEqual(tbtest.run("iot-hub", "ca", "init", "--state", elsewhere).returncode, 0)
        self.cli("ca", "add", "blue", os.path.join(elsewhere, "ca/device.crt"), "--trust")
        self.assertIn("blue             trusted", self.cli("ca", "show"))
        self.assertIn("not the certificate of a CA", self.fails("ca", "add", "leaf", self.red[0], "--state", self.state))

    def test_import_reports_and_repeats(self):
        fresh = self.issue(NEW)
        self.write("b.json", json.dumps(self.batch((ICCID, self.red), (NEW, fresh))))
        self.assertIn("2 cards, 1 credentials added, 1 known already", self.cli("import", self.path("b.json")))
        self.assertEqual(json.loads(self.cli("import", self.path("b.json"), "--json"))["unchanged"], 2)
        listed = [json.loads(line) for line in self.cli("credential", "list", "--json").splitlines()]
        self.assertEqual({c["device"] for c in listed}, {ICCID, NEW})

    def test_import_says_what_is_wrong(self):
        self.write("bad.json", '{"cards":[\n{"iccid": 5}]}')
        self.assertIn("bad.json: cards[0]", self.fails("import", self.path("bad.json"), "--state", self.state))
        self.write("no.json", '{"cards":[\n')
        self.assertIn("no.json: ", self.fails("import", self.path("no.json"), "--state", self.state))
        self.assertIn("absent", self.fails("import", self.path("absent"), "--state", self.state))
        self.cli("ca", "init", "--name", "other")
        stranger = self.issue(NEW, "other")
        self.write("s.json", json.dumps(self.batch((NEW, stranger))))
        done = tbtest.run("iot-hub", "import", self.path("s.json"), "--state", self.state)
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: 1 certificates", done.stderr)

    def test_credentials_change_state_by_any_name(self):
        fp = json.loads(self.cli("credential", "show", ICCID, "--json"))["fingerprint"]
        self.assertIn("can become suspended", self.fails("credential", "suspend", ICCID, "--state", self.state))
        self.assertEqual(self.cli("credential", "revoke", fp[:12], "--reason", "lost"), "1 changed\n")
        self.assertIn("revoked", self.cli("credential", "show", fp))
        self.assertIn("can become active", self.fails("credential", "resume", ICCID, "--state", self.state))
        self.assertIn("no credential of nobody", self.fails("credential", "revoke", "nobody", "--state", self.state))

    def test_usage(self):
        self.assertIn("--state DIR is wanted", self.fails(status=2))
        self.assertIn("did you mean credential", self.fails("credentail", status=2))
        for args in (["ca"], ["ca", "make"], ["ca", "add", "x"], ["import"], ["credential", "revoke"]):
            self.fails(*args, "--state", self.state, status=2)
        for program in ([], ["ca"], ["import"], ["credential"]):
            done = tbtest.run("iot-hub", *program, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("--state", done.stdout)

    def test_a_hub_without_a_ca_says_what_to_do(self):
        self.assertIn('run "iot-hub ca init --state DIR" first', self.fails("--state", self.path("empty")))
        self.cli("ca", "distrust", "device")
        self.assertIn("no CA is trusted", self.fails("--state", self.state))

    def test_a_hub_without_a_broker_says_what_to_do(self):
        self.assertIn("install mosquitto", self.fails("--state", self.state, "--mqtts", "127.0.0.1:0", "--broker",
                                                      "no-such-broker"))

    def test_options_are_checked(self):
        base = ("--state", self.state, "--mqtts", "127.0.0.1:0")
        self.assertIn("--tls-min", self.fails(*base, "--tls-min", "1.1", status=2))
        self.assertIn("nobody could connect", self.fails(*base, "--tls-min", "1.3", "--tls-max", "1.2", status=2))
        self.assertIn("nobody could connect", self.fails(*base, "--max-connections", "0", status=2))
        self.assertIn("--groups", self.fails(*base, "--groups", "P-999", status=2))
        self.assertIn("--ciphers", self.fails(*base, "--ciphers", "NONSENSE", status=2))
        self.assertIn("'nowhere' is no address", self.fails("--state", self.state, "--mqtts", "nowhere", status=2))
        deep = os.path.join(self.dir, "d" * 120)
        self.cli("ca", "show")
        self.assertEqual(tbtest.run("iot-hub", "ca", "init", "--state", deep).returncode, 0)
        self.assertIn("--ctl", self.fails("--state", deep, "--mqtts", "127.0.0.1:0"))
        self.assertIn("--broker-socket", self.fails("--state", deep, "--mqtts", "127.0.0.1:0", "--ctl",
                                                    self.socket("ctl")))

    def test_files_that_cannot_be_used_are_named_with_the_cause(self):
        base = ("--state", self.state, "--mqtts", "127.0.0.1:0")
        self.assertIn("/dev/null: the hub's certificate cannot be used: no start line", self.fails(*base, "--cert", "/dev/null"))
        self.assertIn("none: the hub's key cannot be used: No such file", self.fails(*base, "--key", "none"))
        self.assertIn("key values mismatch", self.fails(*base, "--key", self.red[1]))
        self.assertIn("install mosquitto", self.fails(*base, "--broker", "/dev/null/mosquitto"))

    def test_a_damaged_registry_is_not_served(self):
        path = os.path.join(self.state, "registry.db")
        with open(path, "r+b") as f:
            f.seek(4096 + 100)
            f.write(b"\xff" * 8000)
        self.assertIn("registry.db: ", self.fails("--state", self.state, "--mqtts", "127.0.0.1:0"))
        with open(path, "wb") as f:
            f.write(b"no data base" * 1000)
        self.assertIn("registry.db: registry: file is not a database", self.fails("--state", self.state, "--mqtts", "127.0.0.1:0"))

    def test_a_port_that_is_taken_is_named(self):
        hub = self.hub()
        other = self.path("other")
        self.assertEqual(tbtest.run("iot-hub", "ca", "init", "--state", other).returncode, 0)
        self.assertIn("cannot listen at " + hub.ready["mqtts"],
                      self.fails("--state", other, "--mqtts", hub.ready["mqtts"]))
        self.device(hub)

    def test_a_state_folder_has_one_hub(self):
        hub = self.hub()
        for args in ([], ["--ctl", self.socket("second")]):
            self.assertIn("another iot-hub serves this state folder",
                          self.fails("--state", self.state, "--mqtts", "127.0.0.1:0", *args))
        self.device(hub)
        hub.kill()
        self.device(self.hub())


class Control(HubCase):
    def test_add_lets_a_device_in(self):
        hub = self.hub()
        fresh = self.issue(NEW)
        self.assertEqual(self.alert_of(hub, fresh, "1.3"), 46)
        with open(fresh[0]) as f:
            pem = f.read()
        self.assertTrue(self.events.ok("add", device="pump-7", iccid=NEW, certificate=pem)["added"])
        self.assertFalse(self.events.ok("add", device="pump-7", iccid=NEW, certificate=pem)["added"])
        self.assertIn("pump-7", self.events.request("add", device="pump-8", certificate=pem)["error"])
        self.device(hub, fresh)
        self.events.expect("session", device="pump-7")
        self.assertEqual(self.events.ok("sessions")["sessions"][0]["device"], "pump-7")

    def test_import_takes_a_file_or_the_cards_themselves(self):
        hub = self.hub()
        fresh = self.issue(NEW)
        batch = self.batch((NEW, fresh))
        self.assertEqual(self.events.ok("import", **batch)["added"], 1)
        self.write("b.json", json.dumps(batch))
        self.assertEqual(self.events.ok("import", file=self.path("b.json"))["unchanged"], 1)
        self.assertFalse(self.events.request("import", file=self.path("none"))["ok"])
        self.device(hub, fresh)

    def test_bad_requests_are_answered(self):
        self.hub()
        for verb, members in (("add", {}), ("add", {"device": "x", "certificate": "y"}), ("import", {}), ("revoke", {}),
                              ("revoke", {"device": "nobody"}), ("publish", {}), ("clock", {}),
                              ("publish", {"device": 5, "payload": []})):
            self.assertFalse(self.events.request(verb, **members)["ok"], verb)
        self.assertTrue(self.events.ok("state")["broker_up"])


tbtest.main()
