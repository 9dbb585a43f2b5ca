"""A device whose TLS and DTLS go through its own modem's packet service, to the hub and back: with the card's key, by a
slow radio, and only while the modem is registered."""
import os
import sys

import tbtest

sys.path.insert(0, os.path.join(tbtest.SOURCE, "device", "agent", "tests"))
import hubbed  # noqa: E402

ICCID = "8988211000000000011"


class Bed(tbtest.Case):
    def setUp(self):
        self.hub = hubbed.Hub(self)
        store = self.make_card()
        self.modem = self.start("sim-modem", "--vpcd", self.socket("vpcd"), "--at-unix", self.path("at.sock"), "--data",
                                "127.0.0.1:0", "--ctl", self.socket("modem"))
        with self.modem.ctl().subscribe() as ctl:
            self.card = self.start("sim-card", "--store", store, "--vpcd", self.socket("vpcd"), "--ctl", self.socket("card"))
            ctl.expect("card-inserted")

    def make_card(self):
        return self.hub.personalise("card", ICCID)

    def device(self, *args):
        daemon = self.start("iot-device", "--link", "at:" + self.socket("at"), "--server-name", "localhost", "--via",
                            "socks5://" + self.modem.ready["data"], "--ctl", self.socket("device"), *args)
        ctl = daemon.ctl().subscribe()
        self.addCleanup(ctl.close)
        return ctl

    def counters(self):
        return self.modem.ask("counters")["data"]


class Device(Bed):
    def test_tls_and_dtls_go_through_the_modem(self):
        ctl = self.device("--hub", "localhost:1", "--no-connect", "--no-reconnect")
        for protocol, tls in (("mqtt", "1.3"), ("http", "1.2"), ("coap", "1.2")):
            ctl.ok("connect", hub=self.hub.url(protocol), tls=tls)
            self.assertEqual(ctl.expect("session")["protocol"], protocol)
            ctl.ok("disconnect")
            ctl.expect("disconnected")
            while ctl.ok("state")["state"] != "idle":
                pass
        counters = self.counters()
        self.assertEqual((counters["connects"], counters["associations"]), (2, 1))
        radio = self.modem.ask("latency")["radio"]
        # TLS 1.3 takes 2 round trips, 1.2 takes 3, DTLS with its cookie 3; protocols add theirs
        self.assertGreaterEqual(radio["round_trips"], 2 + 3 + 3)
        self.assertGreater(radio["bytes_up"], 1000)
        self.assertGreater(radio["datagrams_up"], 3)
        self.assertEqual(self.card.ask("counters")["sign"], 3)

    def test_the_session_ends_with_the_registration_and_comes_back_with_it(self):
        ctl = self.device("--hub", self.hub.url("mqtt"))
        ctl.expect("session")
        self.modem.ask("registration", state="denied")
        ctl.expect("disconnected")
        self.assertEqual(self.counters()["cut"], 1)
        ctl.expect("reconnecting")
        self.modem.ask("registration", state="home")
        ctl.expect("session", timeout=3 * tbtest.WAIT)

    def test_a_handshake_by_slow_radio_and_card_takes_at_least_theirs(self):
        self.modem.ask("latency", radio="lte-m", uart="usb")
        self.card.ask("latency", profile="se-fast")
        ctl = self.device("--hub", self.hub.url("mqtt"))
        session = ctl.expect("session", timeout=3 * tbtest.WAIT)
        # one round trip behind that of TCP, three APDUs and a signature
        self.assertGreaterEqual(session["handshake_us"], 50000 + 3 * 2000 + 33000)

    def test_the_card_path_dominates_by_lte_m_and_the_radio_by_nb_iot(self):
        ctl = self.device("--hub", "localhost:1", "--no-connect", "--no-reconnect")
        ctl.ok("connect", hub=self.hub.url("mqtt"), tls="1.3", offload="ecdhe,verify,random")
        ctl.expect("session")
        card, modem = self.card.ask("latency"), self.modem.ask("latency")
        path = (card["modelled_us"]["uicc-mid"]["total"] + card["link_us"]["95"] +
                modem["uart"]["modelled_us"]["uart-115k"]["total"])
        radio = {name: cost["total"] for name, cost in modem["radio"]["modelled_us"].items()}
        self.assertLess(radio["lte-m"], path)
        self.assertGreater(radio["nb-iot-good"], path)


class Several(Bed):
    """Four applications at once on one slow card that has a credential and containers for each. One of them by MQTT: to
    its broker the device is one client."""

    def make_card(self):
        store, record = self.path("card.db"), self.path("card.json")
        done = tbtest.run("sim-card", "personalise", os.path.join(tbtest.SOURCE, "sim-card", "profiles", "multi.card"), "--store",
                          store, "--issuer-cert", self.hub.ca("device.crt"), "--issuer-key", self.hub.ca("device.key"),
                          "--server-ca", self.hub.ca("device.crt"), "--iccid", ICCID, "--out", record, "--export-secrets")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.hub.daemon.ask("import", file=record)
        return store

    def test_each_application_has_its_credential(self):
        text = "offload = ecdhe\n"
        for name, url, options in (
                ("one", self.hub.url("mqtt"), "stack = openssl\nkey = card:01\ncert = card:02\n"),
                ("two", self.hub.url("http"), "stack = mbedtls\nkey = card:11\ncert = card:12\n"),
                ("three", self.hub.url("coap", "psk", tcp=True),
                 "stack = openssl\npsk = card:06\npsk-identity = card:07\npsk-exchange = ecdhe\n"),
                ("four", self.hub.url("coap", "psk"),
                 "stack = mbedtls\ntls = 1.2\npsk = card:16\npsk-identity = card:17\npsk-exchange = ecdhe\n")):
            text += "[%s]\nhub = %s\n%s" % (name, url, options)
        self.card.ask("latency", profile="se-fast")
        ctl = self.device("--config", self.write("apps.conf", text), "--no-connect")
        hub = self.hub.daemon.ctl().subscribe()
        self.addCleanup(hub.close)
        for name in ("one", "two", "three", "four"):
            ctl.ok("connect", app=name)
        sessions = {}
        while len(sessions) < 4:
            session = ctl.expect("session", timeout=3 * tbtest.WAIT)
            sessions[session["app"]] = (session["credential"], session["protocol"], session["stack"])
        self.assertEqual(sessions, {"one": ("certificate", "mqtt", "openssl"), "two": ("certificate", "http", "mbedtls"),
                                    "three": ("psk", "coap", "openssl"), "four": ("psk", "coap", "mbedtls")})
        seen = {(e["identity"], e["fingerprint"]) for e in (hub.expect("session") for _ in sessions)}
        self.assertEqual(len(seen), 4, seen)
        self.assertEqual({identity for identity, _ in seen}, {"x509:" + ICCID, "psk:" + ICCID, "psk:" + ICCID + "-2"})
        counters = self.card.ask("counters")
        self.assertEqual((counters["sign"], counters["keygen"], counters["ecdh"]), (2, 4, 4))
        data = self.counters()
        self.assertEqual((data["connects"], data["associations"], data["open"]), (3, 1, 4))


if __name__ == "__main__":
    tbtest.main()
