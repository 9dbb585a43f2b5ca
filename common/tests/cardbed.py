"""Cards for tests of what uses them: a small one in a process of the device's tests, or sim-card, alone or behind sim-modem."""
import json
import os
import select
import subprocess
import sys

import tbtest

PROFILE = os.path.join(tbtest.SOURCE, "sim-card", "profiles", "factory.card")
PSK = "0123456789abcdef" * 2  # text, for servers that take nothing else
KINDS = ("fake", "vpcd", "unix", "pty", "cgla")  # and "pcsc", in namespaces of its own


def need(kind):
    """Skips the script when the programs of this kind of bed are not built."""
    if kind == "pcsc":
        import pcscbed  # pylint: disable=import-outside-toplevel
        sys.argv.insert(1, kind)  # which the script has taken: it is run again
        pcscbed.enter()
        sys.argv.pop(1)
    for name in {"fake": ["fake-card"], "vpcd": ["sim-card"], "pcsc": ["sim-card"]}.get(kind, ["sim-card", "sim-modem"]):
        if not os.access(tbtest.program(name), os.X_OK):
            tbtest.skip(name + " is not built")


def open_bed(case, kind):
    """transport: spec for libiotsafe. cert: the card's certificate, ca: who issued it (PEM files)."""
    return FakeBed(case) if kind == "fake" else SimBed(case, kind)


def wait_for_line(stream, wanted, what):
    """Reads a child's output until a line holds one of the texts; returns all of it."""
    seen = b""
    fd = stream.fileno()
    while not any(w in seen for w in wanted):
        if not select.select([fd], [], [], tbtest.WAIT)[0]:
            raise AssertionError("%s: no %r in %r" % (what, wanted, seen))
        piece = os.read(fd, 65536)
        if not piece:
            raise AssertionError("%s ended: %r" % (what, seen))
        seen += piece
    return seen.decode(errors="replace")


class FakeBed:
    """id 01 key, 02 self-signed certificate, 06 pre-shared key."""

    def __init__(self, case):
        self.counter = case.path("counter")
        self.cert = case.path("card.pem")
        self.ca = self.cert
        self.card = case.start("fake-card", case.path("card.sock"), self.cert, self.counter)
        self.transport = "vpcd:unix:" + case.path("card.sock")
        self.psk, self.psk_identity = PSK, "device"

    def counters(self):
        with open(self.counter) as f:
            return dict(zip(("keygen", "ecdh", "verify", "prf", "hkdf", "random", "sign", "apdus"), map(int, f.read().split())))

    def signatures(self):
        return self.counters()["sign"]

    def remove(self):
        self.card.kill()


class SimBed:
    """A personalised card of the factory profile, directly or behind a modem: key 01, its certificate 02, CA 03, pre-shared
    key 06 (psk, psk_identity)."""

    def __init__(self, case, kind):
        ca_key, self.ca = case.path("ca.key"), case.path("ca.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", ca_key, "-out", self.ca, "-subj", "/CN=card issuer", "-days", "30"],
                       check=True, capture_output=True)
        store = case.path("card.db")
        record = case.path("record.json")
        with open(PROFILE) as f:
            profile = case.write("factory.card", f.read().replace("random = 32", "text = " + PSK))
        done = tbtest.run("sim-card", "personalise", "--export-secrets", "--store", store, "--issuer-cert", self.ca, "--issuer-key",
                          ca_key, "--out", record, profile)
        if done.returncode:
            raise AssertionError(done.stderr)
        self.modem = None
        self.modem_args = None
        if kind == "vpcd":
            self.card = case.start("sim-card", "--store", store, "--listen", case.socket("vpcd"), "--ctl",
                                   case.socket("card"))
            self.transport = "vpcd:" + case.socket("vpcd")
        elif kind == "pcsc":
            import pcscbed  # pylint: disable=import-outside-toplevel
            pcscbed.Pcscd(case)
            self.card = case.start("sim-card", "--store", store, "--vpcd", "127.0.0.1:%d" % pcscbed.PORT, "--ctl",
                                   case.socket("card"))
            reader = pcscbed.Pcsc()
            reader.wait(reader.readers()[0], reader.PRESENT)
            self.transport = "pcsc:Test Reader"
        else:
            at = ["--at-pty", case.path("ttyAT")] if kind == "pty" else ["--at-unix", case.path("at.sock")]
            self.modem_args = ["--vpcd", case.socket("vpcd"), *at, "--ctl", case.socket("modem")]
            self.card = case.start("sim-card", "--store", store, "--vpcd", case.socket("vpcd"), "--ctl",
                                   case.socket("card"))
            self.restart_modem(case)
            place = case.path("ttyAT") if kind == "pty" else "unix:" + case.path("at.sock")
            self.transport = ("cgla:" if kind == "cgla" else "at:") + place
        with open(record) as f:
            self.record = json.load(f)["cards"][0]
        self.cert = case.write("card.pem", self.record["certificates"][0]["pem"])
        self.psk = PSK
        self.psk_identity = [c for c in self.record["credentials"] if c["kind"] == "psk"][0]["identity"]

    def restart_modem(self, case):
        """The first one, or after it ended."""
        self.modem = case.start("sim-modem", *self.modem_args)
        with self.modem.ctl().subscribe() as ctl:
            if not ctl.ok("state").get("iccid"):
                ctl.expect("card-inserted")

    def counters(self):
        """keygen, ecdh, verify, prf, hkdf, random, sign: operations; apdus."""
        return {k: n for k, n in self.card.ask("counters").items() if isinstance(n, int) and not isinstance(n, bool)}

    def signatures(self):
        return self.counters()["sign"]

    def remove(self):
        self.card.ask("remove")
