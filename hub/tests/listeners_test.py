"""Listeners and their policies; the metrics."""
import json
import os
import re
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
import tbtest
from hubtest import HubCase, ICCID, Mqtt, connect

SAMPLE = re.compile(r'^([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="[^"\\\n]*",?)*)\})? (-?[0-9.e+-]+|\+Inf|NaN)$', re.I)


def parse(text):
    """{name: {labels: value}} of Prometheus' text format; complains about what is not it."""
    types, samples, last = {}, {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE") and rest, line
            if what == "TYPE":
                assert name not in types and rest in ("counter", "gauge", "histogram"), line
                types[name] = rest
                last = name
            continue
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        family = re.sub(r"_(bucket|sum|count)$", "", name) if types.get(last) == "histogram" else name
        assert family == last, "%s is not under its TYPE" % line
        key = tuple(sorted(re.findall(r'([a-z_]+)="([^"]*)"', labels or "")))
        assert key not in samples.setdefault(name, {}), line
        samples[name][key] = float(value)
    for name, kind in types.items():
        if kind == "histogram":
            check_histogram(name, samples)
        if kind == "counter":
            assert name.endswith("_total"), name
    return samples


def check_histogram(name, samples):
    by_rest = {}
    for key, value in samples[name + "_bucket"].items():
        labels = dict(key)
        le = float(labels.pop("le").replace("Inf", "inf"))
        by_rest.setdefault(tuple(sorted(labels.items())), []).append((le, value))
    for rest, buckets in by_rest.items():
        buckets.sort()
        assert [v for _, v in buckets] == sorted(v for _, v in buckets), buckets
        assert buckets[-1] == (float("inf"), samples[name + "_count"][rest]), buckets
        assert rest in samples[name + "_sum"]


class Listeners(HubCase):
    def fails(self, *args):
        done = tbtest.run("iot-hub", "--state", self.state, "--mqtts", "127.0.0.1:0", *args)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_what_makes_no_sense_is_named(self):
        for args, words in ((("--mqtts-psk", "127.0.0.1:0,tls=1.1"), "--mqtts-psk: tls=: 1.2, 1.3 or 1.2-1.3 is wanted"),
                            (("--mqtts-psk", "127.0.0.1:0,resumption"), "on or off is wanted"),
                            (("--mqtts-psk", "127.0.0.1:0,tsl=1.2"), "no option \"tsl\", did you mean tls"),
                            (("--mqtts-psk", "127.0.0.1:0,client-cert=optional"), "no option \"client-cert\""),
                            (("--https", "127.0.0.1:0,tcp=on"), "no option \"tcp\""),
                            (("--metrics", "127.0.0.1:0,tls=1.2"), "no option \"tls\""),
                            (("--https", "127.0.0.1:0,name=a b"), "letters, digits"),
                            (("--https", "127.0.0.1:0,name=x", "--metrics", "127.0.0.1:0,name=x"), "two listeners"),
                            (("--https", "127.0.0.1:0,groups=P-1"), "groups"),
                            (("--mqtts-psk", "127.0.0.1:0,ciphers=NONE"), "ciphers"),
                            (("--https", "nowhere"), "nowhere"),
                            (("--tls-min", "1.2-1.3"), "--tls-min")):
            self.assertIn(words, self.fails(*args), args)

    def test_each_has_its_own_policy(self):
        hub = self.hub("--mqtts", "127.0.0.1:0,tls=1.2,name=old,resumption=on", "--mqtts", "127.0.0.1:0,tls=1.3",
                       "--mqtts", "127.0.0.1:0,ciphers=ECDHE-ECDSA-AES128-CCM,groups=P-384:P-256")
        self.assertEqual([(l["name"], l["kind"], l["tls"]) for l in hub.ready["listeners"]],
                         [("mqtts", "mqtts", "1.2-1.3"), ("old", "mqtts", "1.2"), ("mqtts-3", "mqtts", "1.3"),
                          ("mqtts-4", "mqtts", "1.2-1.3")])
        at = {l["name"]: l["at"] for l in hub.ready["listeners"]}
        self.assertEqual(hub.ready["mqtts"], at["mqtts"])
        self.assertEqual(hub.ask("state")["listeners"], hub.ready["listeners"])

        def shake(name, *args):
            done = subprocess.run(["openssl", "s_client", "-connect", at[name], "-CAfile", self.ca, "-cert", self.red[0],
                                   "-key", self.red[1], *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=tbtest.WAIT)
            return done.stdout + done.stderr
        self.assertIn("alert number 70", shake("old", "-tls1_3"))
        self.assertIn("alert number 70", shake("mqtts-3", "-tls1_2"))
        said = shake("old", "-tls1_2")
        self.assertIn("TLS session ticket:", said)
        self.assertNotIn("TLS session ticket:", shake("mqtts", "-tls1_2"))
        said = shake("mqtts-4", "-tls1_2", "-groups", "P-256:P-384", "-cipher", "ALL")
        self.assertIn("Cipher is ECDHE-ECDSA-AES128-CCM\n", said)
        self.assertIn("ECDH, secp384r1", said)
        self.events.expect("session", listener="mqtts-4")
        counters = hub.ask("counters")
        self.assertEqual(counters["listeners"]["old"]["TLSv1.2"], 1)
        self.assertEqual(counters["listeners"]["old"]["refused"]["protocol"], 1)
        self.assertEqual(counters["handshakes"]["TLSv1.2"], 3)

    def test_none_is_not_opened(self):
        hub = self.start("iot-hub", "--state", self.state, "--mqtts", "none", "--metrics", "127.0.0.1:0")
        self.assertEqual([l["kind"] for l in hub.ready["listeners"]], ["metrics"])
        self.assertNotIn("mqtts", hub.ready)
        self.assertEqual(hub.stop(), 0)
        done = tbtest.run("iot-hub", "--state", self.state, "--mqtts", "none")
        self.assertIn("no listener", done.stderr)


class Metrics(HubCase):
    def fetch(self, hub, path="/metrics"):
        try:
            with urllib.request.urlopen("http://%s%s" % (hub.ready["metrics"], path), timeout=tbtest.WAIT) as r:
                return r.status, r.headers["Content-Type"], r.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.headers["Content-Type"], e.read().decode()

    def test_they_are_what_happened(self):
        self.cli("add-psk", "kettle", "--secret", "00ff")
        hub = self.hub("--mqtts-psk", "127.0.0.1:0", "--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
        parse(self.fetch(hub)[2])  # also when nothing has happened
        self.device(hub, version="1.3").close()
        self.events.expect("closed")
        m = self.device(hub, version="1.2")
        m.publish("devices/%s/telemetry" % ICCID, b"1")
        m.publish("devices/other/telemetry", b"1")
        self.events.expect("publish-denied")
        self.alert_of(hub, None, "1.3")
        subprocess.run(["openssl", "s_client", "-connect", hub.ready["mqtts_psk"], "-psk", "00ff", "-psk_identity", "kettle",
                        "-tls1_3"], stdin=subprocess.DEVNULL, capture_output=True, timeout=tbtest.WAIT)
        self.events.expect("session", listener="mqtts-psk")
        status, kind, text = self.fetch(hub)
        self.assertEqual((status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"))
        got = parse(text)

        def value(name, **labels):
            return got["iot_hub_" + name][tuple(sorted(labels.items()))]
        self.assertEqual(value("handshakes_total", listener="mqtts", version="TLSv1.2", kind="x509", resumed="false"), 1)
        self.assertEqual(value("handshakes_total", listener="mqtts", version="TLSv1.3", kind="x509", resumed="false"), 1)
        self.assertEqual(value("handshakes_total", listener="mqtts-psk", version="TLSv1.3", kind="psk", resumed="false"), 1)
        self.assertEqual(value("refused_total", listener="mqtts", reason="no-certificate"), 1)
        self.assertEqual(value("handshake_seconds_count", listener="mqtts"), 2)
        self.assertGreater(value("handshake_seconds_sum", listener="mqtts"), 0)
        self.assertGreater(value("handshake_seconds_max", listener="mqtts"), 0)
        self.assertEqual(value("messages_total", by="mqtt", result="passed"), 1)
        self.assertEqual(value("messages_total", by="mqtt", result="denied"), 1)
        self.assertGreater(value("bytes_total", protocol="mqtt", direction="up"), 20)
        self.assertEqual(value("sessions", protocol="mqtt"), 1)
        self.assertEqual(value("broker_up"), 1)
        self.assertEqual(self.fetch(hub, "/")[0], 404)
        self.assertEqual(self.fetch(hub, "/whoami")[0], 404)
        self.assertEqual(hub.stop(), 0)

    def test_healthz_says_whether_devices_can_be_served(self):
        # A broker that comes up once only.
        once = self.write("once", "#!/bin/sh\nmkdir %s || exit 1\nPATH=$PATH:/usr/sbin exec mosquitto \"$@\"\n" % self.path("x"))
        os.chmod(once, 0o755)
        hub = self.hub("--metrics", "127.0.0.1:0", "--broker", once)
        self.assertEqual(self.fetch(hub, "/healthz")[::2], (200, "ok\n"))
        os.kill(hub.ask("state")["broker_pid"], signal.SIGKILL)
        self.events.expect("broker-down")
        self.assertEqual(self.fetch(hub, "/healthz")[::2], (503, "the broker is down\n"))
        self.assertEqual(parse(self.fetch(hub)[2])["iot_hub_broker_up"][()], 0)


tbtest.main()
