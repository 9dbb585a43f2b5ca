"""From the factory to the hub: sim-card makes a batch, openssl and the hub accept its signed output file, a card of it connects."""
import base64
import csv
import glob
import json
import os
import signal
import sqlite3
import subprocess

import tbtest

CARD = os.path.join(tbtest.SOURCE, "sim-card", "profiles", "factory.card")
ORDER = """[batch]
order = PO-1
vendor = Example SIM
card = %s
count = %d
iccid = 898821100000000010x
imsi = 001010000000100
msisdn = 882360000000100
issuer-cert = %s
issuer-key = %s
server-ca = %s
%s"""


class BatchCase(tbtest.Case):
    def setUp(self):
        self.state = self.path("hub")
        self.assertEqual(self.cli("ca", "init").returncode, 0)
        self.ca = os.path.join(self.state, "ca", "device.crt")
        self.vendor = self.signer("vendor")
        self.kek = "t1=" + self.write("t1.key", "00112233445566778899AABBCCDDEEFF\n")

    def cli(self, *args):
        return tbtest.run("iot-hub", *args, "--state", self.state)

    def signer(self, name):
        """(certificate, key)"""
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        key, "-out", cert, "-subj", "/O=Example SIM/CN=" + name, "-days", "30"], check=True, capture_output=True)
        return cert, key

    def order(self, count, more="", iccid=None):
        text = ORDER % (CARD, count, self.ca, self.ca.replace(".crt", ".key"), self.ca, more)
        return self.write("order.ini", text.replace("898821100000000010x", iccid or "898821100000000010x"))

    def make(self, count, more="", out="out.csv", args=(), iccid=None):
        """The output file."""
        out = self.path(out)
        stores = [] if "--stores" in args else ["--no-stores"]
        done = tbtest.run("sim-card", "personalise", "--batch", self.order(count, more, iccid), "--out", out, "--kek", self.kek,
                          "--signer-cert", self.vendor[0], "--signer-key", self.vendor[1], *stores, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out

    def imported(self, out, *args):
        done = self.cli("import", out, "--unsigned", "--kek", self.kek, "--json", *args)
        return done.returncode, json.loads(done.stdout)

    def rows(self, out):
        with open(out, newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))

    def count(self, table):
        with sqlite3.connect(os.path.join(self.state, "registry.db")) as db:
            return db.execute("SELECT count(*) FROM " + table).fetchone()[0]


class Factory(BatchCase):
    def test_openssl_accepts_the_signature_and_every_certificate_belongs_to_its_key(self):
        out = self.make(50)
        verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", out + ".p7s", "-content", out, "-CAfile",
                  self.vendor[0], "-out", os.devnull]
        self.assertEqual(subprocess.run(verify, capture_output=True, check=False).returncode, 0)
        done = tbtest.run("sim-card", "verify-output", out, "--signer", self.vendor[0], "--kek", self.kek)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("100 rows, 50 certificates", done.stdout)
        rows = self.rows(out)
        self.assertEqual(len({r["ICCID"] for r in rows}), 50)
        self.assertEqual(rows[0]["IMSI"], "001010000000100")
        self.assertEqual(rows[-1]["MSISDN"], "882360000000149")
        with open(out, "ab") as f:
            f.write(b"8988211000000000011\r\n")
        self.assertNotEqual(subprocess.run(verify, capture_output=True, check=False).returncode, 0)
        self.assertEqual(tbtest.run("sim-card", "verify-output", out, "--signer", self.vendor[0]).returncode, 1)

    def test_cards_are_complete_and_a_batch_is_made_once(self):
        self.make(3, args=("--stores", self.path("cards"), "--operator-file", self.path("op.csv")))
        cards = sorted(glob.glob(self.path("cards") + "/*.db"))
        self.assertEqual(len(cards), 3)
        self.assertFalse(glob.glob(self.path("*.part")))
        shown = tbtest.run("sim-card", "inspect", "--store", cards[1], "--json")
        self.assertEqual(json.loads(shown.stdout)["iccid"], "8988211000000000110")
        self.assertEqual(os.stat(self.path("op.csv")).st_mode & 0o777, 0o600)
        self.assertEqual(len(self.rows(self.path("op.csv"))[0]["KI"]), 32)
        done = tbtest.run("sim-card", "personalise", "--batch", self.path("order.ini"), "--out", self.path("out.csv"), "--no-stores",
                          "--kek", self.kek)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is there already", done.stderr)

    def test_containers_are_filled_as_ordered(self):
        role = "[container 01:02]\nrole = bootstrap\nfill = %s\n"
        whole = self.rows(self.make(1, role % "certificate", "a.csv"))[0]
        bare = self.rows(self.make(1, role % "key", "b.csv"))[0]
        self.assertEqual((whole["CONTAINER"], whole["ROLE"], bare["CONTAINER"], bare["ROLE"]),
                         ("01:02", "bootstrap", "01:02", "bootstrap"))
        self.assertTrue(whole["CERT_B64"] and bare["SPKI_B64"] and not bare["CERT_B64"])

    def test_an_order_that_cannot_be_carried_out_leaves_nothing(self):
        for text, why in (("iccid = 8988211000000000101", "check digit has to be 2"), ("count = 0", "1 to 100000"),
                          ("cuont = 2", "did you mean 'count'"), ("imsi = 999999999999999", "there are no 50 numbers")):
            with self.subTest(text):
                with open(self.order(50), encoding="utf-8") as f:
                    lines = [l for l in f.read().split("\n") if l.split(" ")[0] != text.split(" ")[0]]
                lines.insert(1, text)
                done = tbtest.run("sim-card", "personalise", "--batch", self.write("bad.ini", "\n".join(lines)), "--out",
                                  self.path("out.csv"), "--no-stores", "--kek", self.kek)
                self.assertEqual(done.returncode, 1)
                self.assertIn(why, done.stderr)
                self.assertFalse(os.path.exists(self.path("out.csv")))

    def test_secrets_are_in_no_file_in_clear(self):
        out = self.make(1, args=("--stores", self.path("cards")))
        card = glob.glob(self.path("cards") + "/*.db")[0]
        with sqlite3.connect(card) as db:
            secret = next(v for k, v in db.execute("SELECT key, value FROM nvm") if k[:3] == b"O\0\2")
        with open(out, "rb") as f:
            text = f.read()
        for raw in (secret[-32:], secret[-32:-16]):
            self.assertNotIn(raw.hex().encode(), text.lower())
        for shift in range(3):  # Base64 of any alignment
            self.assertNotIn(base64.b64encode(secret[-32 + shift:])[:16], text)


class Import(BatchCase):
    def test_a_card_of_the_batch_connects(self):
        out = self.make(3, args=("--stores", self.path("cards")))
        done = self.cli("import", out, "--signer", self.vendor[0], "--kek", self.kek)
        self.assertEqual(done.returncode, 0, done.stderr)
        hub = self.start("iot-hub", "--state", self.state, "--mqtts", "127.0.0.1:0")
        self.start("sim-card", "--store", self.path("cards") + "/8988211000000000128.db", "--listen", self.socket("card"))
        port = hub.ready["mqtts"].rsplit(":", 1)[1]
        done = tbtest.run("iot-device", "--link", "vpcd:" + self.socket("card"), "--hub", "localhost:" + port, "--ca", self.ca,
                          "--client-id", "8988211000000000128", "--once")
        self.assertEqual(done.returncode, 0, done.stderr)
        with sqlite3.connect(os.path.join(self.state, "registry.db")) as db:
            states = dict(db.execute("SELECT device_id, state FROM credential WHERE kind = 'x509'"))
        self.assertEqual(states["8988211000000000128"], "active")
        self.assertEqual(states["8988211000000000110"], "pending")

    def test_again_changes_nothing(self):
        out = self.make(5)
        self.assertEqual(self.imported(out)[1]["added"], 10)
        code, report = self.imported(out)
        self.assertEqual((code, report["added"], report["unchanged"]), (0, 0, 10))

    def test_a_public_key_alone_is_certified_once(self):
        out = self.make(4, "[container 01:02]\nfill = key\n")
        code, report = self.imported(out)
        self.assertEqual((code, report["issued"], report["added"]), (0, 4, 8))
        code, report = self.imported(out)
        self.assertEqual((code, report["issued"], report["unchanged"]), (0, 0, 8))

    def test_one_bad_row_fails_the_batch_or_is_left_out(self):
        out = self.make(4)
        with open(out, newline="", encoding="utf-8") as f:
            lines = f.read().split("\r\n")
        lines[3] = lines[3].replace("8988211000000000110", "8988211000000000111", 1)
        bad = self.write("bad.csv", "\r\n".join(lines))
        code, report = self.imported(bad)
        self.assertEqual((code, report["rejected"], report["complaints"][0]["line"], report["complaints"][0]["column"]),
                         (1, 1, 4, "ICCID"))
        self.assertIn("has to be 0", report["complaints"][0]["reason"])
        self.assertEqual((self.count("card"), self.count("credential")), (0, 0))
        code, report = self.imported(bad, "--partial")
        self.assertEqual((code, report["rejected"], report["added"]), (0, 1, 7))
        lines[3] = lines[1]
        code, report = self.imported(self.write("twice.csv", "\r\n".join(lines[:2] + lines[3:])), "--partial")
        self.assertEqual(code, 0)

    def test_a_row_that_is_there_twice_is_refused(self):
        with open(self.make(2), newline="", encoding="utf-8") as f:
            lines = f.read().split("\r\n")
        code, report = self.imported(self.write("twice.csv", "\r\n".join(lines[:2] + lines[1:])))
        self.assertEqual((code, report["complaints"][0]["line"], report["complaints"][0]["column"]), (1, 3, "CERT_B64"))
        self.assertEqual(self.count("credential"), 0)

    def test_signature_and_transport_key_are_asked_for(self):
        out = self.make(1)
        other = self.signer("other")
        for args, why in ((("--kek", self.kek), "--signer CERT"), (("--signer", other[0], "--kek", self.kek), "not by the trusted"),
                          (("--signer", self.vendor[0]), "--kek t1=FILE"),
                          (("--signer", self.vendor[0], "--kek", "t1=" + self.write("t2.key", "F" * 32)), "not wrapped under")):
            with self.subTest(why):
                done = self.cli("import", out, *args)
                self.assertEqual(done.returncode, 1)
                self.assertIn(why, done.stderr)
        self.assertEqual(self.count("card"), 0)

    def test_bootstrap_credentials_do_not_become_final_ones(self):
        out = self.make(1, "[container 01:02]\nrole = bootstrap\n")
        code, report = self.imported(out)
        self.assertEqual((code, report["complaints"][0]["column"]), (1, "ROLE"))

    def test_pysims_csv_makes_cards_known(self):
        out = self.write("pysim.csv", "ICCID,IMSI,PIN1,ADM1,KI\n8988211000000000011,001010000000001,0000,1234,00\n")
        done = self.cli("import", out, "--unsigned")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 columns are passed over", done.stderr)
        self.assertEqual((self.count("card"), self.count("credential")), (1, 0))

    def test_killed_in_the_middle_leaves_nothing_or_all(self):
        out = self.make(400)
        killed = 0
        for delay in (0.02, 0.05, 0.1):
            child = subprocess.Popen([tbtest.program("iot-hub"), "import", out, "--unsigned", "--kek", self.kek, "--state",
                                      self.state], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                child.wait(delay)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                killed += 1
            child.wait()
            self.assertIn((self.count("card"), self.count("credential")), ((0, 0), (400, 800)))
        self.assertTrue(killed)
        code, report = self.imported(out)
        self.assertEqual((code, report["added"] + report["unchanged"]), (0, 800))
        self.assertEqual(self.count("credential"), 800)


if __name__ == "__main__":
    tbtest.main()
