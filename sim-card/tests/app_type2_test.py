"""A card of Type II over its socket: pre-shared keys alone, with the tool and by APDU; a card for several sessions."""
import json

import cardtest
import tbtest

# Vectors: THALES' unit test (general), and own computations from RFC 4279, 5489 and 5869.
SECRET = "C0485B054863F6DFA458789768B9035C6CACB160DD1A01834811F5783309DB81"
EMS_SEED = "CE15B44D68440B652624244DB8D2FB7DD601C759E9EB627FB10529AB0DB76049"
EMS = "A1F02A766DA04C8FD83A40E358267528F8D815C48E3DC353D55FE3861C350622C78B48FE6F49F6E13E1B6B175CFE59FB"
PSK = "000102030405060708090A0B0C0D0E0F"
SEED = "AA" * 32 + "BB" * 32
PLAIN = "31A8C712D99801A3C857C87A5B6469FCB9634C1EF1811532B7C56B5406C7DAE20C407EF9F2B7F4C7A48BCE656F2A2431"
ECDHE = "94F28468490C7E7C62556732D2FE1493AC6A61D66B796AD7B241E51BE3B960148EE195F1E6A9D72CB604059599F95F5A"
EARLY = "33AD0A1C607EC03B09E6CD9893680CE210ADF300AA1F2660E1B22E10F170F92A"
PSK_EARLY = "D926952CA8B7EC4A95941D1ADA3A5203CEFF8CCEEE34F574D23909EB314C40C0"

KNOWN = """
[card]
iccid = 8988211000000000094
[applet]
aid = A0000005590010
profile = %s
[secret psk]
id = 06
label = psk
hex = 000102030405060708090A0B0C0D0E0F
"""


def prf(secret, form, label_seed, ecdhe=""):
    data = secret + ("D420" + ecdhe if ecdhe else "") + "D2%02X" % (len(label_seed) // 2) + label_seed + "D30130"
    return "8048%02X00%02X" % (form, len(data) // 2) + data


class Type2(cardtest.CardCase):
    def up(self, card_file, *args):
        self.record = self.make(card_file, *args)
        daemon = self.run_card("--listen", self.socket("reader"))
        self.transport = "vpcd:" + daemon.ready["listen"]
        return daemon

    def tool(self, *args, status=0):
        done = tbtest.run("iotsafe", "--transport", self.transport, *args)
        self.assertEqual(done.returncode, status, "%s: %s%s" % (args, done.stdout, done.stderr))
        return done.stdout.strip().upper()

    def failure(self, *args):
        return tbtest.run("iotsafe", "--transport", self.transport, *args).stderr

    def test_the_tool_derives_as_the_vectors_say(self):
        for profile in ("type2", "gsma"):  # and a pre-shared key of Type I just as well
            daemon = self.up(self.write("known.card", KNOWN % profile), "--force")
            self.assertEqual(self.tool("prf", "hex:" + SECRET, "extended master secret", EMS_SEED, "48"), EMS)
            self.assertEqual(self.tool("prf", "06", "master secret", SEED, "48"), PLAIN)
            self.assertEqual(self.tool("prf", "label:psk", "master secret", SEED, "48"), PLAIN)
            self.assertEqual(self.tool("prf", "06", "master secret", SEED, "48", "5A" * 32), ECDHE)
            self.assertEqual(self.tool("hkdf", "06"), PSK_EARLY)
            self.assertEqual(self.tool("hkdf", "06", "00" * 32), PSK_EARLY)
            self.assertEqual(self.tool("hkdf", "hex:" + "00" * 32), EARLY)
            counters = daemon.ask("counters")
            self.assertEqual((counters["prf"], counters["hkdf"]), (4, 3))
            daemon.stop()

    def test_the_same_vectors_by_apdu(self):
        daemon = self.up(self.write("known.card", KNOWN % "type2"))
        with cardtest.Link(tbtest.connect(daemon.ready["listen"])) as link:
            link.power_on()
            link.select()
            master = "master secret".encode().hex() + SEED
            extended = "extended master secret".encode().hex() + EMS_SEED
            self.assertEqual(link.ok(prf("D120" + SECRET, 0, extended)), EMS)
            # P1 = 00 with a key of the card: the PRF itself of the PSK, no premaster around it
            self.assertEqual(link.ok(prf("860106", 0, extended)), link.ok(prf("D110" + PSK, 0, extended)))
            self.assertEqual(link.ok(prf("860106", 1, master)), PLAIN)
            self.assertEqual(link.ok(prf("860106", 2, master, "5A" * 32)), ECDHE)
            # the extended master secret of a PSK session
            self.assertEqual(link.ok(prf("860106", 1, extended)),
                             link.ok(prf("D124" + "0010" + "00" * 16 + "0010" + PSK, 0, extended)))
            self.assertEqual(link.ok("804A000029860106D520" + "00" * 32 + "91020001"), PSK_EARLY)
            for command in ("802A00000D840101A1010391020001920104", "80B9000003840104", "8046000006840104850105",
                            "8024000003850105", "802C00000D850101A1010391020001920104", "80CD000003850101"):
                self.assertEqual(link.apdu(command), ("", "6D00"), command)

    def test_the_shipped_card_says_what_it_is(self):
        self.up("type2.card", "--export-secrets")
        self.assertEqual([(a["aid"], a["profile"]) for a in self.record["applets"]], [(cardtest.GSMA, "type2")])
        self.assertEqual((self.record["keys"], self.record["certificates"]), ([], []))
        iccid = self.record["iccid"]
        self.assertEqual([(c["kind"], c["identity"], len(c["secret"])) for c in self.record["credentials"]],
                         [("psk", iccid, 64), ("psk", iccid + "-2", 64)])
        info = json.loads(self.tool("--json", "info").lower())
        self.assertEqual((info["crypto"], info["sign"], info["agreement"], info["derivation"]), (8, 0, 0, 3))
        self.assertEqual((info["max"]["private"], info["max"]["public"], info["max"]["secret"]), (0, 0, 10))
        self.assertEqual(bytes.fromhex(info["applet"]), b"IoT SAFE testbed applet, Type II")
        objects = json.loads(self.tool("--json", "list").lower())["objects"]
        self.assertEqual([(o["type"], o["id"]) for o in objects],
                         [("secret", "06"), ("secret", "16"), ("file", "07"), ("file", "17")])
        self.assertEqual(bytes.fromhex(self.tool("read", "07")).decode(), iccid)
        secrets = [c["secret"] for c in self.record["credentials"]]
        for key, secret in zip(("06", "16"), secrets):
            self.assertEqual(self.tool("hkdf", key), self.tool("hkdf", "hex:" + secret))
        self.assertNotEqual(*secrets)
        for command in (("sign", "01", "/dev/null"), ("generate", "04"), ("pubkey", "01"), ("ecdh", "04", "05")):
            self.tool(*command, status=1)
            self.assertIn("not supported", self.failure(*command))

    def test_an_applet_of_type_ii_hides_the_keys_of_its_instance(self):
        text = (KNOWN % "gsma") + """
[applet two]
aid = A0000002480400
profile = type2
[key client]
id = 01
[certificate client]
key = client
[file cert]
id = 02
certificate = client
"""
        self.up(self.write("both.card", text))
        listed = []
        for aid in (cardtest.GSMA, cardtest.ORANGE):
            objects = json.loads(self.tool("--aid", aid, "--only-aid", "--json", "list").lower())["objects"]
            listed.append([(o["type"], o["id"]) for o in objects])
        self.assertEqual(listed, [[("private", "01"), ("public", "01"), ("secret", "06"), ("file", "02")],
                                  [("secret", "06")]])
        self.tool("--aid", cardtest.ORANGE, "--only-aid", "read", "02", status=1)

    def test_a_card_for_several_sessions_has_containers_for_them(self):
        daemon = self.up("multi.card", "--export-secrets")
        self.assertEqual([c["kind"] for c in self.record["credentials"]], ["x509", "x509", "psk", "psk"])
        self.assertEqual(len({json.dumps(c) for c in self.record["credentials"]}), 4)
        with cardtest.Link(tbtest.connect(daemon.ready["listen"])) as link:
            link.power_on()
            link.select()
            own = {key: bytes.fromhex(link.ok("80B90000038401" + key))[-65:] for key in ("04", "14", "24", "34")}
            self.assertEqual(len(set(own.values())), 4)
            shared = []
            for key, slot, peer in (("04", "05", "14"), ("14", "15", "04"), ("24", "25", "34"), ("34", "35", "24")):
                link.ok("802400010385" + "01" + slot)
                link.ok("80D8800147" + "34454943" + "8641" + own[peer].hex())
                link.ok("8024010100")
                shared.append(link.ok("804600000684" + "01" + key + "8501" + slot))
            self.assertEqual(shared[0], shared[1])
            self.assertEqual(shared[2], shared[3])
            self.assertNotEqual(shared[0], shared[2])
            first, second = link.sign(bytes(32), "01"), link.sign(bytes(32), "11")
        for n, raw in enumerate((first, second)):
            cert = self.write("cert.pem", self.record["certificates"][n]["pem"])
            self.assertTrue(cardtest.verifies(self, cert, bytes(32), raw))


if __name__ == "__main__":
    tbtest.main()
