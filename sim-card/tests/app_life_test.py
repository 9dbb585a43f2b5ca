"""What survives: restarts, kill -9, and which keys do not outlive the power."""
import os
import threading

import cardtest
import tbtest

VOLATILE, CLIENT, ZARIOT = "04", "01", "303036"


def generate(link, key):
    """GENERATE KEY PAIR; the new public point."""
    answer = bytes.fromhex(link.ok("80B90000%02X84%02X%s" % (2 + len(key) // 2, len(key) // 2, key)))
    return answer[-65:]


class Life(cardtest.CardCase):
    def setUp(self):
        self.reader = cardtest.Reader()
        self.addCleanup(self.reader.close)
        self.record = self.make("factory.card")
        self.cert = self.write("cert.pem", self.record["certificates"][0]["pem"])

    def up(self):
        """Runs the card; (daemon, link with the applet selected)."""
        daemon = self.run_card("--vpcd", self.reader.address)
        link = self.reader.accept()
        self.addCleanup(link.close)
        link.power_on()
        link.select()
        return daemon, link

    def signs(self, link):
        digest = os.urandom(32)
        return cardtest.verifies(self, self.cert, digest, link.sign(digest))

    def test_restart_keeps_the_persistent_key_and_loses_the_volatile_one(self):
        daemon, link = self.up()
        self.assertTrue(self.signs(link))
        point = generate(link, VOLATILE)
        self.assertEqual(link.public_key(VOLATILE), point)
        made_by_device = generate(link, ZARIOT)
        self.assertEqual(daemon.stop(), 0)

        daemon, link = self.up()
        self.assertTrue(self.signs(link))
        self.assertEqual(link.apdu("80CD0000038501" + VOLATILE)[1], "6985")
        self.assertEqual(link.public_key(ZARIOT), made_by_device)

    def test_kill_keeps_what_was_answered(self):
        daemon, link = self.up()
        point = generate(link, ZARIOT)
        daemon.kill()
        daemon, link = self.up()
        self.assertEqual(link.public_key(ZARIOT), point)
        self.assertTrue(self.signs(link))

    def test_kill_in_a_storm_of_writes_leaves_the_old_or_the_new_key(self):
        daemon, link = self.up()
        for round_ in range(6):
            known = [link.public_key(ZARIOT)]
            ready = threading.Event()

            def storm():
                try:
                    while True:
                        known.append(generate(link, ZARIOT))
                        if len(known) > 2 + round_:
                            ready.set()
                except (ConnectionError, OSError):
                    ready.set()

            thread = threading.Thread(target=storm)
            thread.start()
            self.assertTrue(ready.wait(tbtest.WAIT))
            daemon.kill()
            thread.join()
            daemon, link = self.up()
            point = link.public_key(ZARIOT)
            # The last one answered, or the one being made when the power went, which nobody has seen yet.
            self.assertNotIn(point, known[:-1])
            digest = os.urandom(32)
            signature = link.sign(digest, ZARIOT)
            self.assertTrue(self.point_verifies(point, digest, signature))  # both halves are of one pair

    def point_verifies(self, point, digest, raw):
        spki = bytes.fromhex("3059301306072A8648CE3D020106082A8648CE3D030107034200") + point
        public = self.write("point.pem", cardtest.openssl("pkey", "-pubin", "-inform", "DER", data=spki))
        signature = self.write("signature", cardtest.der_signature(raw))
        return b"Success" in cardtest.openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-sigfile", signature,
                                              "-in", self.write("digest", digest))

    def test_power_off_loses_the_volatile_key_too(self):
        daemon, link = self.up()
        generate(link, VOLATILE)
        link.power_off()
        link.power_on()
        link.select()
        self.assertEqual(link.apdu("80CD0000038501" + VOLATILE)[1], "6985")

    def test_reader_lost_is_as_power_off(self):
        daemon, link = self.up()
        generate(link, VOLATILE)
        link.close()
        link = self.reader.accept()
        self.addCleanup(link.close)
        link.power_on()
        self.assertNotEqual(link.apdu("8084000008")[1], "9000")  # no applet is selected
        link.select()
        self.assertEqual(link.apdu("80CD0000038501" + VOLATILE)[1], "6985")

    def test_events_and_counters_tell_crypto_operations_and_no_secret(self):
        daemon, link = self.up()
        with daemon.ctl().subscribe() as ctl:
            link.sign(bytes(32))
            event = ctl.expect("card-op")
            self.assertEqual((event["operation"], event["sw"], event["channel"]),
                             ("compute-signature-update", "9000", 0))
            generate(link, VOLATILE)
            self.assertEqual(ctl.expect("card-op")["operation"], "generate-key-pair")
            self.assertEqual(link.apdu("8046000006840104850105")[1], "6985")  # no peer key yet
            self.assertEqual(ctl.expect("card-op", operation="compute-dh")["sw"], "6985")
            self.assertEqual(set(event), {"event", "ts", "from", "operation", "sw", "channel"})
        counters = daemon.ask("counters")
        self.assertEqual((counters["sign"], counters["keygen"], counters["ecdh"]), (1, 1, 0))


tbtest.main()
