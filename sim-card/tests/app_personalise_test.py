"""The factory: every shipped *.card file becomes a card that works; the record tells the truth; what is wrong is said."""
import hashlib
import json
import os
import sqlite3

import cardtest
import gphost
import tbtest


class Made(cardtest.CardCase):
    """A card from a shipped file, checked through its reader."""

    def up(self, card_file, *args):
        self.record = self.make(card_file, *args)
        self.reader = cardtest.Reader()
        self.addCleanup(self.reader.close)
        self.daemon = self.run_card("--vpcd", self.reader.address)
        link = self.reader.accept()
        self.addCleanup(link.close)
        link.power_on()
        return link

    def key(self, name):
        return next(key for key in self.record["keys"] if key["name"] == name)

    def check_certificate(self, cert, key):
        """Issued by the CA for the key, with the record's subject and fingerprint; a PEM file of it."""
        pem = self.write("%s.pem" % cert["name"], cert["pem"])
        ca, _ = self.ca()
        cardtest.openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", ca, pem)
        der = cardtest.openssl("x509", "-in", pem, "-outform", "DER")
        self.assertEqual(cardtest.fingerprint(der), cert["fingerprint"])
        spki = cardtest.openssl("pkey", "-pubin", "-outform", "DER",
                                data=cardtest.openssl("x509", "-in", pem, "-noout", "-pubkey"))
        self.assertEqual(hashlib.sha256(spki).hexdigest(), key["spki_sha256"])
        self.assertTrue(spki.hex().endswith(key["public"]))
        subject = cardtest.openssl("x509", "-in", pem, "-noout", "-subject", "-nameopt", "RFC2253").decode().strip()
        self.assertEqual(subject, "subject=" + cert["subject"])
        return pem, der

    def check_identity(self, link, key_id, cert_file, ca_file, key_name="client", cert_name="client", algorithm="04",
                       options=()):
        """The key signs what the certificate in the file verifies."""
        cert = next(c for c in self.record["certificates"] if c["name"] == cert_name)
        pem, der = self.check_certificate(cert, self.key(key_name))
        self.assertEqual(link.read_file(cert_file), der)
        self.assertEqual(link.read_file(ca_file), cardtest.openssl("x509", "-in", self.ca()[0], "-outform", "DER"))
        digest = os.urandom(32)
        self.assertTrue(cardtest.verifies(self, pem, digest, link.sign(digest, key_id, algorithm), *options))
        self.assertFalse(cardtest.verifies(self, pem, os.urandom(32), link.sign(digest, key_id, algorithm), *options))

    def test_devices_may_verify_servers_with_another_ca(self):
        other = self.path("other.pem")
        cardtest.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                         self.path("other.key"), "-out", other, "-subj", "/CN=Service CA", "-days", "30")
        link = self.up("factory.card", "--server-ca", other)
        link.select(cardtest.GSMA)
        self.assertEqual(link.read_file("03"), cardtest.openssl("x509", "-in", other, "-outform", "DER"))
        self.check_certificate(self.record["certificates"][0], self.key("client"))

    def test_factory_card_serves_every_well_known_aid(self):
        link = self.up("factory.card")
        self.assertEqual([(a["aid"], a["profile"]) for a in self.record["applets"]], [
            (cardtest.GSMA, "gsma"), (cardtest.THALES, "thales"), (cardtest.ORANGE, "orange"), (cardtest.NTT, "ntt")])
        for aid in (cardtest.GSMA, cardtest.THALES):
            link.select(aid)
            self.check_identity(link, "01", "02", "03")

    def check_signs_as_client(self, link):
        """Key 01 of this instance is the same identity."""
        digest = os.urandom(32)
        self.assertTrue(cardtest.verifies(self, self.write("client.pem", self.record["certificates"][0]["pem"]), digest,
                                          link.sign(digest)))

    def test_factory_card_is_one_identity_for_orange_and_relatives(self):
        link = self.up("factory.card")
        link.select(cardtest.ORANGE)
        self.check_signs_as_client(link)
        der = link.read_file("02")  # padded to its container, as these clients want it
        self.assertEqual(len(der), 1024)
        end = 4 + int.from_bytes(der[2:4], "big")  # the certificate itself may end with a zero
        self.assertEqual(der[end:].strip(b"\0"), b"")
        self.assertEqual(cardtest.fingerprint(der[:end]), self.record["certificates"][0]["fingerprint"])
        self.assertEqual(link.read_file("04").rstrip(b"\0"), b"localhost:8883")
        self.assertEqual(link.transmit(bytes.fromhex("80CB010000"))[-2:].hex(), "9000")  # the list in one block

    def test_factory_card_is_one_identity_for_ntt(self):
        link = self.up("factory.card")
        link.select(cardtest.NTT)
        link.ok("802A00000D740131A1010391020001920104")  # key by label "1"
        self.check_signs_as_client(link)
        self.assertEqual(bytes.fromhex(link.ok("80B00000157313" + b"provisioning_secret".hex())), b"0123456789")
        self.assertEqual(link.read_file("02").decode(), self.record["certificates"][0]["pem"])
        label = b"iotsafe_client_keypair_cert".hex()
        self.assertEqual(bytes.fromhex(link.ok("80B000001D731B" + label))[:27], b"-----BEGIN CERTIFICATE-----")

    def test_factory_card_has_what_single_clients_want(self):
        link = self.up("factory.card")
        link.select()
        for slot in ("04", "05"):  # ephemeral and peer key wait to be filled
            self.assertEqual(link.apdu("80CD0000038501" + slot)[1], "6985")
        own = link.ok("80B90000038401" + "04")[-130:]
        link.ok("80240000" + "03" + "850105")
        link.ok("80D8800047" + "34454943864104" + own[2:])
        self.assertEqual(len(link.ok("8046000006" + "840104" + "850105")), 64)
        link.ok("8024010000")
        link.ok("804801000F" + "860106" + "D20701020304050607" + "D30130")  # PRF with the PSK by reference
        link.ok("80B90000058403303036")  # ZARIOT's key may be made by the device

    def test_wolfssl_stm32_card_serves_both_layouts(self):
        link = self.up("wolfssl-stm32.card")
        link.select()
        self.check_identity(link, "02", "03", "04")
        self.check_identity(link, "3032", "3034", "3033", "client2", "client2")

    def test_zariot_card_waits_for_get_response(self):
        link = self.up("zariot.card")
        link.select()
        self.assertEqual(link.transmit(bytes.fromhex("80B90000058403303036")).hex(), "6151")
        link.select()
        digest = os.urandom(32)
        link.ok("802A00000F8403303036A1010391020001920104")
        self.assertEqual(link.transmit(bytes.fromhex("802B8000229E20" + digest.hex())).hex(), "6143")
        self.check_identity(link, "303031", "303032", "303033")

    def test_rsa_card(self):
        link = self.up("rsa.card")
        link.select()
        self.check_identity(link, "01", "02", "03", algorithm="01",
                            options=("-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pkcs1"))
        self.check_identity(link, "01", "02", "03", algorithm="02",
                            options=("-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pss"))

    def test_brainpool_card(self):
        link = self.up("brainpool.card")
        link.select()
        self.check_identity(link, "01", "02", "03")

    def test_t0_card_answers_by_get_response(self):
        link = self.up("t0.card")
        self.assertEqual(link.atr(), "3B9F96801FC78031E073FE2153494F545341464501BD")
        self.assertEqual(self.record["atr"], link.atr())
        link.select()
        self.assertEqual(link.transmit(bytes.fromhex("8084000010"))[0:1].hex(), "61")
        self.check_identity(link, "01", "02", "03")

    def test_owners_card_has_two_owners(self):
        link = self.up("owners.card", "--export-secrets")
        link.select()
        self.check_identity(link, "01", "02", "03")
        link.select("F0495341464501")
        self.assertEqual(link.apdu("80CD000003850101")[1], "6D00")
        domains = {d["name"]: d for d in self.record["domains"]}
        own = {"first": cardtest.GSMA, "second": "F0495341464501"}
        for name, applet in own.items():
            host = gphost.Host(link.transmit)
            host.select(bytes.fromhex(domains[name]["aid"]))
            keys = domains[name]["keys"][0]
            host.open(0x33, [bytes.fromhex(keys[k]) for k in ("enc", "mac", "dek")])
            for other in own.values():
                if other == applet:
                    host.personalize(bytes.fromhex(other))
                else:
                    with self.assertRaises(gphost.Refused):
                        host.personalize(bytes.fromhex(other))
            with self.assertRaises(AssertionError):
                host.open()

    def test_bare_card_has_no_applet(self):
        link = self.up("bare.card")
        self.assertEqual(link.apdu("00A4040007" + cardtest.GSMA)[1], "6A82")
        self.assertEqual(self.record["applets"], [])
        self.assertEqual(self.record["credentials"], [])
        link.ok("00A40004023F00")
        link.ok("00A40004022FE2")
        self.assertEqual(link.ok("00B000000A"), cardtest.swapped("8988211000000000060F"))


class Record(cardtest.CardCase):
    def test_is_what_the_registry_imports(self):
        done = self.personalise("factory.card", "--iccid", "8988211000000000219", "--imsi", "001010000000021")
        self.assertEqual(done.returncode, 0, done.stderr)
        record = json.loads(done.stdout)
        self.assertEqual(list(record), ["cards"])
        card = record["cards"][0]
        self.assertEqual((card["iccid"], card["imsi"]), ("8988211000000000219", "001010000000021"))
        self.assertEqual(card["atr"], cardtest.ATR_DEFAULT)
        x509 = [c for c in card["credentials"] if c["kind"] == "x509"]
        self.assertEqual(len(x509), 1)
        self.assertEqual(x509[0]["certificate"], card["certificates"][0]["pem"])
        self.assertEqual(x509[0]["fingerprint"], card["certificates"][0]["fingerprint"])
        self.assertIn("CN=8988211000000000219", card["certificates"][0]["subject"])
        self.assertRegex(card["certificates"][0]["not_after"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(card["certificates"][0]["files"], [{"instance": 0, "id": "02", "format": "der"},
                                                            {"instance": 1, "id": "02", "format": "der"},
                                                            {"instance": 2, "id": "02", "format": "pem"}])

    def test_goes_to_a_file(self):
        out = self.path("card.json")
        done = self.personalise("factory.card", "--out", out)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        with open(out) as f:
            self.assertEqual(json.load(f)["cards"][0]["iccid"], "8988211000000000011")
        self.assertEqual(os.stat(out).st_mode & 0o777, 0o600)
        self.assertEqual(sorted(n for n in os.listdir(self.dir) if "json" in n), ["card.json"])

    def test_goes_through_links_and_devices(self):
        out = self.write("real.json", "")
        os.symlink("real.json", self.path("link.json"))
        done = self.personalise("bare.card", "--out", self.path("link.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.islink(self.path("link.json")))
        self.assertGreater(os.path.getsize(out), 0)
        done = self.personalise("bare.card", "--out", "/dev/stdout", store="2.db")
        self.assertEqual(json.loads(done.stdout)["cards"][0]["imsi"], "001010000000006")
        done = self.personalise("bare.card", "--out", "/dev/full", store="3.db")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the card is made, but its record cannot be written", done.stderr)

    def test_has_secrets_only_on_demand(self):
        secret = "ab" * 32
        path = self.write("psk.card", "[card]\niccid=8988211000000000011\n[applet]\naid=A0000005590010\n"
                                      "[secret psk]\nid=06\nhex=%s\npsk_identity=${iccid}\n" % secret)
        done = self.personalise(path, "--out", self.path("1.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("1.json")) as f:
            text = f.read()
        self.assertNotIn(secret, text)
        self.assertEqual(json.loads(text)["cards"][0]["credentials"],
                         [{"kind": "psk", "identity": "8988211000000000011", "id": "06", "instance": 0}])
        done = self.personalise(path, "--export-secrets", store="2.db")
        self.assertEqual(json.loads(done.stdout)["cards"][0]["credentials"],
                         [{"kind": "psk", "identity": "8988211000000000011", "id": "06", "instance": 0, "secret": secret}])

    def test_makes_the_key_of_a_usim(self):
        """What is not given is made up; who exports it can be the network."""
        path = self.write("usim.card", "[card]\niccid=8988211000000000011\nimsi=001010000000001\n[usim]\n")
        first = json.loads(self.personalise(path, "--export-secrets").stdout)["cards"][0]["usim"]
        other = json.loads(self.personalise(path, "--export-secrets", store="2.db").stdout)["cards"][0]["usim"]
        self.assertEqual([len(first["k"]), len(first["opc"]), first["sqn"]], [32, 32, "000000000000"])
        self.assertEqual(len({first["k"], first["opc"], other["k"], other["opc"]}), 4)
        silent = json.loads(self.personalise(path, store="3.db").stdout)["cards"][0]["usim"]
        self.assertEqual(silent, {"sqn": "000000000000"})

    def test_a_usim_authenticates_with_the_key_that_was_given(self):
        """Test set 1 of TS 35.208: RES is the published one, and SQN 000000000120 is behind what the file begins with."""
        path = self.write("usim.card", "[card]\niccid=8988211000000000011\nimsi=001010000000001\n[usim]\n"
                                       "k=465b5ce8b199b49faa5f0a2ee238a6bc\nop=cdc202d5123e20f62b6d676ac72cb318\nsqn=000000000120\n")
        self.make(path)
        with cardtest.Reader() as reader:
            self.run_card("--vpcd", reader.address)
            with reader.accept() as link:
                link.power_on()
                link.apdu("00A4040C07A0000000871002")
                rand = "23553cbe9637a89d218ae64dae47bf35"
                old, new = "aa689c6482508000caf78ba0c43fa8fd", "aa689c64823080000301bb6ed0d0adb9"
                answers = [link.apdu("0088008122" "10" + rand + "10" + autn + "00")[0].lower() for autn in (old, new)]
                self.assertEqual(answers[0][:4], "dc0e")
                self.assertEqual(answers[1][:20], "db08a54211d5e3ba50bf")

    def test_makes_a_key_for_cmac(self):
        """RFC 4493, example 2, with the commands of the applet that has such keys."""
        path = self.write("cmac.card", "[card]\niccid=8988211000000000011\n[applet]\naid=A0000005590010\n"
                                       "[secret cmac]\nid=06\ntype=aes\nhex=2b7e151628aed2a6abf7158809cf4f3c\n")
        self.make(path)
        with cardtest.Reader() as reader:
            self.run_card("--vpcd", reader.address)
            with reader.accept() as link:
                link.power_on()
                link.select()
                link.ok("802A000009860106A10101920108")
                self.assertEqual(link.ok("802B8000129F106BC1BEE22E409F96E93D7E117393172A"),
                                 "3310070A16B46B4D4144F79BDD9DD04A287C")
                self.assertEqual(link.ok("80CBC40003860106"), "C412860106" "600100" "4A0101" "4B01B0" "610101" "920108")

    def test_keys_differ_from_card_to_card(self):
        first, second = self.make(store="1.db"), self.make(store="2.db")
        self.assertNotEqual(first["keys"][0]["spki_sha256"], second["keys"][0]["spki_sha256"])

    def test_copies_of_a_key_sign_alike(self):
        for type_, algorithm, options in (("p256", "04", ()), ("rsa2048", "01", ("-pkeyopt", "digest:sha256"))):
            path = self.write("copy.card", """
                [card]
                iccid = 8988211000000000011
                [applet]
                aid = A0000005590010
                [applet]
                aid = A0000002480400
                instance = 1
                [key copy]
                instance = 1
                id = 07
                type = %s
                copy_of = original
                [key original]
                id = 01
                type = %s
                [certificate c]
                key = copy
                """ % (type_, type_))
            record = self.make(path, store=type_ + ".db")
            self.assertEqual(*(key["spki_sha256"] for key in record["keys"]))
            cert = self.write("cert.pem", record["certificates"][0]["pem"])
            digest = os.urandom(32)
            with cardtest.Reader() as reader:
                daemon = self.run_card("--vpcd", reader.address, store=type_ + ".db")
                with reader.accept() as link:
                    link.power_on()
                    for aid, key in ((cardtest.GSMA, "01"), (cardtest.ORANGE, "07")):
                        link.select(aid)
                        self.assertTrue(cardtest.verifies(self, cert, digest, link.sign(digest, key, algorithm), *options))
            daemon.stop()

    def test_takes_keys_and_certificates_of_a_person(self):
        for curve, type_ in (("P-256", "p256"), ("brainpoolP256r1", "brainpool256")):
            key = self.path(type_ + ".key")
            cardtest.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + curve, "-out", key)
            cert = self.path(type_ + ".pem")
            cardtest.openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=mine", "-out", cert)
            path = self.write(type_ + ".card", """
                [card]
                iccid = 8988211000000000011
                [applet]
                aid = A0000005590010
                [key k]
                id = 01
                type = %s
                from = %s.key
                [certificate c]
                key = k
                from = %s
                [file f]
                id = 02
                certificate = c
                """ % (type_, type_, cert))
            record = self.make(path, store=type_ + ".db")
            reader = cardtest.Reader()
            daemon = self.run_card("--vpcd", reader.address, store=type_ + ".db")
            with reader, reader.accept() as link:
                link.power_on()
                link.select()
                digest = os.urandom(32)
                self.assertTrue(cardtest.verifies(self, cert, digest, link.sign(digest)))
                self.assertEqual(cardtest.fingerprint(link.read_file("02")), record["certificates"][0]["fingerprint"])
            daemon.stop()
        self.write("rsa.key", cardtest.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
        path = self.write("rsa.card", "[card]\niccid=8988211000000000011\n[applet]\naid=A0000005590010\n"
                                      "[key k]\nid=01\ntype=rsa2048\nfrom=rsa.key\n")
        self.make(path, store="rsa.db")


class Refused(cardtest.CardCase):
    def refused(self, text, words, *args, issuer=True):
        done = self.personalise(self.write("bad.card", text), *args, issuer=issuer)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertFalse(os.path.exists(self.path("card.db")), "a part of a card was left")
        return done.stderr

    CARD = "[card]\niccid = 8988211000000000011\n[applet]\naid = A0000005590010\n"

    def test_errors_name_file_line_and_remedy(self):
        self.assertIn("bad.card:5: ", self.refused(self.CARD + "[kei x]\n", "did you mean 'key'?"))
        self.refused(self.CARD + "[file f]\nid=01\ntext=abc\ncapacity=2\n", "do not fit into its capacity")
        self.refused(self.CARD + "[file f]\nid=01\nfrom=absent.bin\n", "absent.bin: No such file")
        self.refused(self.CARD + "[key k]\nid=01\nfrom=absent.pem\n", "absent.pem: No such file")
        self.write("ca.txt", "nothing")
        self.refused(self.CARD + "[key k]\nid=01\nfrom=ca.txt\n", "holds no private key")
        self.refused(self.CARD + "[secret a]\nid=01\nlabel=x\nrandom=5\n[secret b]\nid=02\nlabel=x\nrandom=5\n",
                     "id or label")

    def test_key_and_certificate_have_to_fit(self):
        self.write("bp.key", cardtest.openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
                                              "ec_paramgen_curve:brainpoolP256r1"))
        self.refused(self.CARD + "[key k]\nid=01\nfrom=bp.key\n", "not of the type")
        self.ca()
        self.refused(self.CARD + "[key k]\nid=01\n[certificate c]\nkey=k\nfrom=ca.pem\n", "for another key")

    def test_the_server_ca_has_to_be_a_certificate(self):
        self.refused(self.CARD + "[file f]\nid=01\ncertificate=ca\n", "nothing-here.pem", "--server-ca",
                     "nothing-here.pem")

    def test_issuing_needs_an_issuer(self):
        text = self.CARD + "[key k]\nid=01\n[certificate c]\nkey=k\n"
        self.refused(text, "--issuer-cert", issuer=False)
        self.refused(self.CARD + "[file f]\nid=01\ncertificate=ca\n", "--issuer-cert", issuer=False)
        done = tbtest.run("sim-card", "personalise", self.path("bad.card"), "--store", self.path("card.db"),
                          "--issuer-cert", "x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("belong together", done.stderr)

    def test_a_card_is_never_overwritten(self):
        first = self.make("factory.card")
        before = self.inspect()
        done = self.personalise("factory.card")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--force", done.stderr)
        self.assertEqual(self.inspect(), before)
        second = self.make("bare.card", "--force")
        self.assertNotEqual(first["iccid"], second["iccid"])
        after = json.loads(self.inspect())
        self.assertEqual((after["iccid"], after["objects"], after["applets"]), (second["iccid"], [], []))

    def inspect(self):
        done = tbtest.run("sim-card", "inspect", "--json", "--store", self.path("card.db"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_a_running_card_is_not_replaced(self):
        self.make("bare.card")
        self.run_card("--listen", "127.0.0.1:0")
        done = self.personalise("bare.card", "--force")
        self.assertEqual(done.returncode, 1)
        self.assertIn("another sim-card runs", done.stderr)

    def test_other_data_bases_are_left_alone(self):
        db = sqlite3.connect(self.path("card.db"))
        db.execute("CREATE TABLE precious(x)")
        db.commit()
        db.close()
        done = self.personalise("bare.card", "--force")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not a card store", done.stderr)

    def test_record_that_cannot_be_written_makes_no_card(self):
        done = self.personalise("bare.card", "--out", self.path("absent/card.json"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write", done.stderr)
        self.assertFalse(os.path.exists(self.path("card.db")))


class Inspect(cardtest.CardCase):
    def inspect(self, *args):
        done = tbtest.run("sim-card", "inspect", "--store", self.path("card.db"), *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_shows_what_is_on_the_card(self):
        record = self.make("factory.card")
        text = self.inspect()
        for words in ("8988211000000000011", "001010000000001", cardtest.ATR_DEFAULT, "AID of GSMA", "client key",
                      "CA cert", "p256-volatile, generate+agree, device may update, empty",
                      record["certificates"][0]["subject"]):
            self.assertIn(words, text)
        r = json.loads(self.inspect("--json"))
        self.assertEqual([a["profile"] for a in r["applets"]], ["gsma", "thales", "orange", "ntt"])
        self.assertEqual(r["applets"][0]["knobs"]["sig_len"], "16")
        objects = {(o["class"], o["id"]): o for o in r["objects"] if o["instance"] == 0}
        self.assertEqual(objects["public", "01"]["value"], record["keys"][0]["public"])
        self.assertEqual(objects["file", "02"]["certificate"]["fingerprint"],
                         record["certificates"][0]["fingerprint"])
        self.assertNotIn("value", objects["private", "01"])
        self.assertNotIn("value", objects["secret", "06"])
        self.assertFalse(objects["public", "05"]["active"])
        for o in r["objects"]:
            self.assertTrue(o["label"])  # one deployed client finds nothing without

    def test_shows_no_secret(self):
        secret = "5ec7e7" * 8
        path = self.write("psk.card", "[card]\niccid=8988211000000000011\n[applet]\naid=A0000005590010\n"
                                      "[secret psk]\nid=06\nhex=%s\n[pin adm1]\npin=13571357\n" % secret)
        self.make(path)
        for text in (self.inspect(), self.inspect("--json")):
            self.assertNotIn(secret, text.lower())
            self.assertNotIn("13571357", text)

    def test_works_while_the_card_runs_and_after_it_was_killed(self):
        self.make("bare.card")
        daemon = self.run_card("--listen", "127.0.0.1:0")
        self.assertIn("8988211000000000060", self.inspect())
        daemon.kill()
        self.assertIn("8988211000000000060", self.inspect())

    def test_says_when_there_is_no_card(self):
        done = tbtest.run("sim-card", "inspect", "--store", self.path("absent.db"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such card store", done.stderr)
        self.assertFalse(os.path.exists(self.path("absent.db")))


tbtest.main()
