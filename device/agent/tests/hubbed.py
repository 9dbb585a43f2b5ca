"""A hub with a listener of each kind, and cards that it knows: certificates and pre-shared keys."""
import json
import os

import cardbed
import tbtest


class Hub:
    """iot-hub on free ports. at: its ready line."""

    def __init__(self, case, *extra):
        self.case, self.state = case, case.path("hub")
        self.cli("ca", "init")
        self.daemon = case.start(
            "iot-hub", "--state", self.state, "--mqtts", "127.0.0.1:0", "--mqtts-psk", "127.0.0.1:0", "--coaps", "127.0.0.1:0",
            "--coaps-psk", "127.0.0.1:0", "--https", "127.0.0.1:0", "--event-file", case.path("hub-events"), *extra)
        self.at = self.daemon.ready

    def cli(self, *args):
        done = tbtest.run("iot-hub", *args, "--state", self.state)
        if done.returncode:
            raise AssertionError(done.stderr)

    def ca(self, name):
        return os.path.join(self.state, "ca", name)

    def url(self, protocol, credential="certificate", tcp=False):
        """mqtt, coap (tcp: over TLS) or http for that kind of credential."""
        key = {"mqtt": "mqtts", "coap": "coaps", "http": "https"}[protocol] + ("_psk" if credential == "psk" else "")
        if tcp:
            key += "_tcp"
        scheme = {"mqtt": "mqtts", "coap": "coaps+tcp" if tcp else "coaps", "http": "https"}[protocol]
        return "%s://%s" % (scheme, self.at[key])

    def personalise(self, name, iccid, profile=cardbed.PROFILE):
        """A factory card in the hub's registry: its store. The record goes to NAME.json."""
        store, record = self.case.path(name + ".db"), self.case.path(name + ".json")
        done = tbtest.run("sim-card", "personalise", "--store", store, "--issuer-cert", self.ca("device.crt"), "--issuer-key",
                          self.ca("device.key"), "--server-ca", self.ca("device.crt"), "--iccid", iccid, "--out", record,
                          "--export-secrets", profile)
        if done.returncode:
            raise AssertionError(done.stderr)
        reply = self.daemon.ask("import", file=record)
        if reply.get("bad") or reply.get("skipped"):
            raise AssertionError(reply)
        return store

    def events(self, name):
        with open(self.case.path("hub-events")) as f:
            return [e for e in map(json.loads, f) if e["event"] == name]
