"""The table of handshake paths: stack x version x credential x protocol x link to the card, each against iot-hub over real
sockets, with the secret in the card: its own counters prove what it did. What cannot be is listed with its reason."""
import collections
import itertools
import json
import threading

import cardbed
import hubbed
import tbtest

STACKS = ("openssl", "mbedtls")
VERSIONS = ("TLS 1.2", "TLS 1.3", "DTLS 1.2")
CREDENTIALS = ("certificate", "PSK", "ECDHE-PSK")
PROTOCOLS = ("mqtt", "coap", "http")
LINKS = ("csim", "cgla", "pcsc", "vpcd")
Path = collections.namedtuple("Path", "stack version credential protocol link")
ALL = [Path(*axes) for axes in itertools.product(STACKS, VERSIONS, CREDENTIALS, PROTOCOLS, LINKS)]

IMPOSSIBLE = {"MQTT needs a stream: there is no MQTT over DTLS": 24, "HTTP needs a stream: there is no HTTP/1.1 over DTLS": 24,
              "the hub's HTTPS listeners take certificates only": 32,
              "OpenSSL offers psk_ke together with psk_dhe_ke only, and then servers take the latter": 8}


def reason(path):
    """Why it cannot be, or None."""
    if path.version == "DTLS 1.2" and path.protocol == "mqtt":
        return "MQTT needs a stream: there is no MQTT over DTLS"
    if path.version == "DTLS 1.2" and path.protocol == "http":
        return "HTTP needs a stream: there is no HTTP/1.1 over DTLS"
    if path.protocol == "http" and path.credential != "certificate":
        return "the hub's HTTPS listeners take certificates only"
    if path.stack == "openssl" and path.version == "TLS 1.3" and path.credential == "PSK":
        return "OpenSSL offers psk_ke together with psk_dhe_ke only, and then servers take the latter"
    return None


class Device:
    """One iot-device at one card; it goes through its rows one after the other."""

    def __init__(self, case, hub, link, number):
        self.link, self.hub, self.failures, self.done = link, hub, [], 0
        self.iccid = "898821100000000%02d0" % number
        store = hub.personalise(link, self.iccid)
        args, spec = [], None
        if link == "vpcd":
            vpcd = ["--listen", case.socket("vpcd")]
            spec = "vpcd:" + case.socket("vpcd")
        elif link == "pcsc":
            import pcscbed
            pcscbed.Pcscd(case)
            vpcd = ["--vpcd", "127.0.0.1:%d" % pcscbed.PORT]
            spec = "pcsc:Test"
        else:
            vpcd = ["--vpcd", case.socket("reader-" + link)]
            spec = {"csim": "at:", "cgla": "cgla:"}[link] + case.socket("at-" + link)
            args = ["--vpcd", case.socket("reader-" + link), "--at-unix", case.path("at-%s.sock" % link)]
        self.card = case.start("sim-card", "--store", store, *vpcd, "--ctl", case.socket("card-" + link))
        if args:
            modem = case.start("sim-modem", *args, "--ctl", case.socket("modem-" + link))
            with modem.ctl().subscribe() as ctl:
                if not ctl.ok("state").get("iccid"):
                    ctl.expect("card-inserted")
        elif link == "pcsc":
            pcsc = pcscbed.Pcsc()
            pcsc.wait(pcsc.readers()[0], pcscbed.Pcsc.PRESENT)
            pcsc.close()
        self.daemon = case.start("iot-device", "--link", spec, "--hub", "localhost:1", "--server-name", "localhost",
                                 "--no-connect", "--no-reconnect", "--timeout", "20000", "--ctl", case.socket("device-" + link))
        self.ctl = self.daemon.ctl().subscribe()
        case.addCleanup(self.ctl.close)

    def options(self, path):
        psk = path.credential != "certificate"
        version = path.version.split()[1]
        o = {"stack": path.stack, "tls": version, "psk": None, "psk_identity": None,
             "hub": self.hub.url(path.protocol, "psk" if psk else "certificate",
                                 tcp=path.protocol == "coap" and path.version.startswith("TLS"))}
        if psk:
            o.update(psk="card:06", psk_identity=self.iccid, psk_exchange="plain" if path.credential == "PSK" else "ecdhe")
        return o

    def check_session(self, path, session):
        """What was agreed on is what the row says."""
        version = {"TLS 1.2": "TLSv1.2", "TLS 1.3": "TLSv1.3", "DTLS 1.2": "DTLSv1.2"}[path.version]
        kind = "certificate" if path.credential == "certificate" else "psk"
        got = {k: session[k] for k in ("version", "stack", "protocol", "credential")}
        assert got == {"version": version, "stack": path.stack, "protocol": path.protocol, "credential": kind}, got
        ecdhe = session["group"] != "" if path.version == "TLS 1.3" else "ECDHE" in session["cipher"]
        assert ecdhe == (path.credential != "PSK"), (session["cipher"], session["group"])

    def exchange(self, path):
        """Something goes to the hub, and something of the hub comes back."""
        if path.protocol == "mqtt":
            command = "devices/%s/command" % self.iccid
            self.ctl.ok("mqtt-subscribe", topic=command)
            self.ctl.ok("publish", topic="devices/%s/telemetry" % self.iccid, payload="21")
            self.hub.daemon.ask("publish", topic=command, payload=str(self.done))
            self.ctl.expect("message", topic=command, payload=str(self.done))
            return
        sent = self.ctl.ok("request", method="POST", path="telemetry", payload="21", content_type="text/plain")
        assert sent["code"] in (204, "2.04"), sent
        who = self.ctl.ok("request", method="GET", path="whoami")
        assert who["code"] in (200, "2.05"), who
        assert json.loads(who["payload"])["device"] == self.iccid, who

    def work(self, path):
        """What the card did, and nothing else of its kind."""
        if path.credential == "certificate":
            return {"sign": 1}
        return {"hkdf": "some"} if path.version == "TLS 1.3" else {"prf": 1}

    def run_row(self, path):
        before = self.card.ask("counters")
        self.ctl.ok("connect", **self.options(path))
        while True:
            event = self.ctl.message()
            if event.get("event") == "session":
                break
            assert event.get("event") != "session-failed", event
        self.check_session(path, event)
        self.exchange(path)
        self.ctl.ok("disconnect")
        self.ctl.expect("disconnected")
        while self.ctl.ok("state")["state"] != "idle":
            pass
        after = self.card.ask("counters")
        work = {k: after[k] - before[k] for k in ("sign", "prf", "hkdf", "keygen", "ecdh", "verify", "random")}
        wanted = self.work(path)
        for what, n in work.items():
            good = n > 0 if wanted.get(what) == "some" else n == wanted.get(what, 0)
            assert good, "the card did %r, wanted %r" % (work, wanted)
        assert after["refused"] == before["refused"], "the card refused something"

    def run(self, paths):
        for path in paths:
            try:
                self.run_row(path)
                self.done += 1
            except Exception as e:  # the other rows are of interest too
                self.failures.append("%s: %s: %s" % (" / ".join(path), type(e).__name__, e))
                self.ctl.ok("disconnect")
                while self.ctl.ok("state")["state"] != "idle":
                    pass
                self.ctl.events.clear()


class Paths(tbtest.Case):
    def test_impossible_ones_are_known(self):
        self.assertEqual(len(ALL), 216)
        self.assertEqual(collections.Counter(filter(None, map(reason, ALL))), IMPOSSIBLE)

    def test_device_and_hub_refuse_the_impossible(self):
        for args in (["--hub", "coaps://h", "--publish", "t=x"], ["--hub", "coaps://h", "--tls", "1.3"],
                     ["--hub", "https://h", "--observe", "x"]):
            done = tbtest.run("iot-device", "--link", "vpcd:h:1", *args)
            self.assertEqual(done.returncode, 2, done.stderr)

    def test_every_valid_path(self):
        hub = hubbed.Hub(self)
        valid = [p for p in ALL if not reason(p)]
        links = [link for link in LINKS if link != "pcsc" or PCSC is None]
        devices = [Device(self, hub, link, n) for n, link in enumerate(links)]
        rows = {d.link: [p for p in valid if p.link == d.link] for d in devices}
        threads = [threading.Thread(target=d.run, args=(rows[d.link],)) for d in devices]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        failures = [f for d in devices for f in d.failures]
        self.assertFalse(failures, "%d rows failed:\n%s" % (len(failures), "\n".join(failures)))
        self.assertEqual([d.done for d in devices], [32] * len(devices))
        self.assertEqual(len(valid), 128)
        if PCSC:
            print("32 rows with pcsc were not run: " + PCSC)
        for d in devices:
            self.assertEqual(d.daemon.stop(), 0)


def enter():
    """Into namespaces of our own, for a pcscd of our own; the reason why not, or None."""
    try:
        import pcscbed
        pcscbed.enter()
    except SystemExit:
        return "no pcscd with vpcd driver, or no namespaces, here"
    return None


if __name__ == "__main__":
    cardbed.need("unix")
    PCSC = enter()
    tbtest.main()
