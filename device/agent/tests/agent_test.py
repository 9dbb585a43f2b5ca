"""iot-device as a program: a card in front of it, an MQTT server with TLS behind it.

argv[1] is the bed of the card, see cardbed.py; classes to run may follow."""
import fcntl
import os
import shutil
import signal
import sys

import cardbed
import tbtest
from peers import Broker, Scripted, close_at_once, connack, listen_only, server_key

KIND = sys.argv.pop(1) if len(sys.argv) > 1 else "fake"


class Device(tbtest.Case):
    def setUp(self):
        self.bed = cardbed.open_bed(self, KIND)
        self.signed = self.bed.signatures()

    # ---- helpers ----

    def server_key(self):
        return server_key(self)

    def options(self, hub, *args):
        return ["--link", self.bed.transport, "--hub", hub, "--ca", self.server_key()[0], "--reconnect-min", "50",
                "--reconnect-max", "200", *args]

    def broker(self):
        if not shutil.which("mosquitto"):
            self.skipTest("no mosquitto")
        return Broker(self, self.bed.ca)

    def device(self, hub, *args):
        """A device whose events are followed from the beginning: (daemon, control connection)."""
        daemon = self.start("iot-device", *self.options(hub, *args), "--no-connect", "--ctl", self.socket("device"))
        ctl = daemon.ctl().subscribe()
        self.addCleanup(ctl.close)
        ctl.ok("connect")
        return daemon, ctl

    def once(self, hub, *args):
        return tbtest.run("iot-device", *self.options(hub, *args), "--once", "--event-file", self.path("events"))

    def events(self):
        import json
        with open(self.path("events")) as f:
            return [json.loads(line) for line in f]

    def assert_signed(self, n=1):
        self.assertEqual(self.bed.signatures() - self.signed, n)

    def failure(self, ctl):
        event = ctl.expect("session-failed")
        return event["reason"], event.get("sw")


class Sessions(Device):
    def test_once(self):
        broker = self.broker()
        for version in ("1.2", "1.3"):
            done = self.once(broker.hub, "--tls", version, "--subscribe", "t/#", "--publish", "t/a=one", "--publish",
                             "t/b=two", "--keylog", self.path("keys"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assert_signed(1 if version == "1.2" else 2)
        events = [e for e in self.events() if e["event"] == "session"]
        self.assertEqual([e["version"] for e in events], ["TLSv1.2", "TLSv1.3"])
        for e in events:
            self.assertIn("CN=", e["identity"])
            self.assertTrue(e["cipher"] and e["apdus"] >= 3 and e["handshake_us"] > 0)
            self.assertTrue(e["bytes_out"] > 0 and e["bytes_in"] > 0)
        self.assertEqual([e["topic"] for e in self.events() if e["event"] == "published"], ["t/a", "t/b"] * 2)
        with open(self.path("keys")) as f:
            keys = f.read()
        self.assertIn("CLIENT_RANDOM", keys)
        self.assertIn("CLIENT_TRAFFIC_SECRET_0", keys)

    def test_verbs(self):
        broker = self.broker()
        daemon, ctl = self.device(broker.hub)
        ctl.expect("session")
        self.assertEqual(ctl.ok("state")["state"], "up")
        self.assertFalse(ctl.request("connect")["ok"])
        ctl.ok("mqtt-subscribe", topic="x/+")
        for qos in (0, 1, 2):
            ctl.ok("publish", topic="x/%d" % qos, payload="gr\u00fc\u00dfe %d" % qos, qos=qos)
            self.assertEqual(ctl.expect("message", topic="x/%d" % qos)["payload"], "gr\u00fc\u00dfe %d" % qos)
        for bad in ({}, {"topic": "x"}, {"topic": "x", "payload": 1}, {"topic": "x", "payload": "", "qos": 3}):
            self.assertFalse(ctl.request("publish", **bad)["ok"])
        counters = ctl.ok("counters")
        self.assertEqual((counters["sessions"], counters["published"], counters["received"]), (1, 3, 3))
        ctl.ok("disconnect")
        self.assertEqual(ctl.expect("disconnected")["reason"], "by request")
        self.assertFalse(ctl.request("publish", topic="x", payload="y")["ok"])
        while ctl.ok("state")["state"] != "idle":
            pass
        ctl.ok("connect")
        ctl.expect("session")
        self.assert_signed(2)
        self.assertEqual(daemon.stop(), 0)

    def test_a_large_message_goes_both_ways(self):
        broker = self.broker()
        _, ctl = self.device(broker.hub)
        ctl.expect("session")
        ctl.ok("mqtt-subscribe", topic="big")
        payload = "0123456789abcdef" * 3000
        ctl.ok("publish", topic="big", payload=payload)
        self.assertEqual(ctl.expect("message", topic="big")["payload"], payload)

    def test_identity_by_label_and_key_in_file(self):
        broker = self.broker()
        done = self.once(broker.hub, "--key", "card:label=tls%20key" if KIND == "fake" else "card:label=client key")
        if KIND == "fake":  # labels are given as they are, not percent-encoded
            self.assertEqual(done.returncode, 1)
            done = self.once(broker.hub, "--key", "card:label=tls key")
        self.assertEqual(done.returncode, 0, done.stderr)


    def test_file_that_is_not_there(self):
        done = self.once(self.broker().hub, "--cert", self.path("nowhere.pem"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere.pem: No such file or directory", self.events()[-1]["reason"])


class Hubs(Device):
    def test_hub_that_comes_back(self):
        broker = self.broker()
        _, ctl = self.device(broker.hub)
        ctl.expect("session")
        broker.stop()
        self.assertIn("connection", ctl.expect("disconnected")["reason"])
        self.assertIn("connect to", self.failure(ctl)[0])
        self.assertTrue(25 <= ctl.expect("reconnecting")["in_ms"] <= 200)
        broker.start()
        ctl.expect("session")
        self.assert_signed(2)

    def test_hub_that_is_not_there(self):
        done = self.once(tbtest.free_tcp_address())
        self.assertEqual(done.returncode, 1)
        self.assertIn("Connection refused", done.stderr)

    def test_connack_is_the_proof(self):
        for script, reason in ((connack(5), "return code 5"), (close_at_once, "connection closed"),
                               (connack(2), "return code 2")):
            server = Scripted(self, self.bed.ca, script)
            done = self.once(server.hub, "--client-id", "device-7")
            self.assertEqual(done.returncode, 1)
            self.assertIn(reason, done.stderr)
            self.assertNotIn(": session identity=", done.stderr)
            self.assertIn(b"device-7", server.heard)

    def test_hub_that_never_answers_connect(self):
        server = Scripted(self, self.bed.ca, listen_only)
        done = self.once(server.hub, "--timeout", "700")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no CONNACK in time", done.stderr)

    def test_paho_token_stays_at_home(self):
        server = Scripted(self, self.bed.ca, connack(5))
        self.once(server.hub)
        self.assertNotIn(b"iot-device\x00\x20", server.heard)
        self.assertEqual(server.heard[9] & 0xC0, 0)  # no user name, no password
        server = Scripted(self, self.bed.ca, connack(5))
        self.once(server.hub, "--user", "me", "--password", "secret")
        self.assertTrue(server.heard.endswith(b"\x00\x02me\x00\x06secret"))

    def test_hub_that_does_not_know_the_issuer(self):
        server = Scripted(self, self.server_key()[0], close_at_once)
        done = self.once(server.hub, "--tls", "1.2")
        self.assertEqual(done.returncode, 1)
        self.assertIn("alert 48", done.stderr)
        server = Scripted(self, self.server_key()[0], close_at_once)
        done = self.once(server.hub, "--tls", "1.3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("alert 48", done.stderr)

    def test_hub_with_a_certificate_for_somebody_else(self):
        server = Scripted(self, self.bed.ca, close_at_once)
        done = self.once(server.hub, "--server-name", "elsewhere.example")
        self.assertEqual(done.returncode, 1)
        self.assertIn("hostname mismatch", done.stderr)
        self.assert_signed(0)


class Cards(Device):
    def test_card_that_is_not_there(self):
        self.bed.remove()
        broker = self.broker()
        done = self.once(broker.hub)
        self.assertEqual(done.returncode, 1)
        self.assertIn("card", done.stderr)
        self.assertEqual([e["event"] for e in self.events()], ["session-failed"])

    def test_object_that_is_not_there(self):
        broker = self.broker()
        done = self.once(broker.hub, "--cert", "card:7f")
        self.assertEqual(done.returncode, 1)
        event = self.events()[0]
        self.assertIn("certificate", event["reason"])
        self.assertRegex(event["sw"], "^6A8[28]$")
        done = self.once(broker.hub, "--key", "card:7f")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(self.events()[1]["sw"], "^6A8[0-9]$")

    def test_serial_port_of_another_program(self):
        if KIND != "pty":
            self.skipTest("no serial port")
        with open(self.bed.transport.removeprefix("at:"), "rb", buffering=0) as port:
            fcntl.flock(port, fcntl.LOCK_EX)
            done = self.once(tbtest.free_tcp_address())
        self.assertEqual(done.returncode, 1)
        self.assertIn("resource busy", done.stderr)

    def test_session_outlives_the_card_and_the_next_needs_it(self):
        if KIND == "fake":
            self.skipTest("the fake card cannot be put back")
        broker = self.broker()
        _, ctl = self.device(broker.hub)
        ctl.expect("session")
        self.bed.card.ask("remove")
        ctl.ok("publish", topic="t", payload="still here")
        broker.stop()
        ctl.expect("disconnected")
        broker.start()
        while "card" not in self.failure(ctl)[0]:
            pass
        self.bed.card.ask("insert")
        ctl.expect("session")

    def test_modem_that_is_restarted(self):
        if KIND not in ("unix", "pty", "cgla"):
            self.skipTest("no modem")
        broker = self.broker()
        _, ctl = self.device(broker.hub)
        ctl.expect("session")
        if KIND == "pty":
            self.bed.modem.stop()  # killed, its link would lead to a terminal that is somebody else's next
        else:
            self.bed.modem.kill()
        broker.stop()
        broker.start()
        while "card" not in self.failure(ctl)[0]:
            pass
        self.bed.restart_modem(self)
        ctl.expect("session")


class Ends(Device):
    def test_ends_in_every_state(self):
        broker = self.broker()
        silent = Scripted(self, self.bed.ca, listen_only)
        for hub, state in ((broker.hub, "up"), (silent.hub, "mqtt"), (tbtest.free_tcp_address(), "waiting")):
            daemon, ctl = self.device(hub, "--reconnect-min", "60000", "--reconnect-max", "60000")
            while ctl.ok("state")["state"] != state:
                pass
            ctl.close()
            self.assertEqual(daemon.stop(), 0)
            self.assertNotIn("rror", self.log_of(daemon))

    def test_waits_in_peace_after_an_attempt_that_took_all_its_time(self):
        silent = Scripted(self, self.bed.ca, listen_only)
        daemon, ctl = self.device(silent.hub, "--timeout", "500", "--reconnect-min", "600000", "--reconnect-max", "600000")
        ctl.expect("reconnecting")
        self.assertEqual(ctl.ok("state")["state"], "waiting")
        ctl.close()
        self.assertEqual(daemon.stop(), 0)

    def test_ends_while_the_card_is_silent(self):
        os.kill(self.bed.card.pid, signal.SIGSTOP)
        daemon, ctl = self.device(tbtest.free_tcp_address())
        self.assertEqual(ctl.ok("state")["state"], "card")
        ctl.close()
        status = daemon.stop()
        os.kill(self.bed.card.pid, signal.SIGCONT)
        self.assertEqual(status, 0)

    def test_usage(self):
        for args in ([], ["--link", "at:x"], ["--hub", "h:1"], ["--link", "smoke:x", "--hub", "h:1"],
                     ["--link", "vpcd:h:1", "--hub", "nonsense"],
                     ["--link", "vpcd:h:1", "--hub", "h:1", "--qos", "3"],
                     ["--link", "vpcd:h:1", "--hub", "h:1", "--tls", "1.1"],
                     ["--link", "vpcd:h:1", "--hub", "h:1", "--timeout", "0"],
                     ["--link", "vpcd:h:1", "--hub", "h:1", "--publish", "no-equals"],
                     ["--link", "vpcd:h:1,speed=9600", "--hub", "h:1"],
                     ["--link", "vpcd:h:1", "--hub", "h:1", "--cert", "card:xyz"]):
            done = tbtest.run("iot-device", *args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn("iot-device: ", done.stderr)

    def test_files_that_cannot_be_used_are_named(self):
        for option in ("--keylog", "--event-file"):
            done = tbtest.run("iot-device", "--link", "vpcd:h:1", "--hub", "h:1", option, self.path("no/x"))
            self.assertEqual(done.returncode, 1)
            self.assertIn("iot-device: %s: " % self.path("no/x"), done.stderr)
        broker = self.broker()
        for option, what in (("--ca", "CA certificate"), ("--cert", "own certificate"), ("--key", "private key")):
            done = self.once(broker.hub, option, self.path("none.pem"))
            self.assertEqual(done.returncode, 1)
            self.assertIn("%s %s: " % (what, self.path("none.pem")), done.stderr)


if __name__ == "__main__":
    cardbed.need(KIND)
    tbtest.main()
