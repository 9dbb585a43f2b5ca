"""The card against a reader that speaks vpcd over a plain socket: framing, power, removal, reconnection."""
import os
import struct

import cardtest
import tbtest

SELECT_MF = bytes.fromhex("00A40004023F00")
UNKNOWN = bytes.fromhex("00FF000000")  # an instruction that no card has


class Vpcd(cardtest.CardCase):
    def setUp(self):
        self.reader = cardtest.Reader()
        self.addCleanup(lambda: (self.link.close(), self.reader.close()))
        self.make("bare.card")
        self.daemon = self.run_card("--vpcd", self.reader.address)
        self.link = self.reader.accept()

    def test_ready_line_tells_card_and_control_address(self):
        self.assertEqual(self.daemon.ready, {"iccid": "8988211000000000060", "ctl": self.socket("card")})

    def test_answers_atr_at_any_time(self):
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)
        self.link.power_on()
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)
        self.link.power_off()
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_control_frames_are_never_answered(self):
        for code in (1, 2, 0, 1, 3, 5, 0x80, 0xFF):
            self.link.control(code)
        self.link.send(b"\0\0")  # an empty frame
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)  # the first answer is the one to this
        self.assertTrue(self.link.silent())

    def test_frames_in_one_segment_are_all_served_in_order(self):
        frame = struct.pack(">H", len(SELECT_MF)) + SELECT_MF
        self.link.send(b"\0\1\1" + b"\0\1\2\0\1\4" + frame + b"\0\1\4" + frame)
        self.assertEqual(self.link.frame().hex().upper(), cardtest.ATR_DEFAULT)
        first = self.link.frame()
        self.assertIn(first[-2], (0x90, 0x61))
        self.assertEqual(self.link.frame().hex().upper(), cardtest.ATR_DEFAULT)
        self.assertEqual(self.link.frame(), first)
        self.assertTrue(self.link.silent())

    def test_frames_may_be_split_at_every_byte(self):
        stream = b"\0\1\1" + struct.pack(">H", len(SELECT_MF)) + SELECT_MF + b"\0\1\4"
        for at in range(1, len(stream)):
            self.link.send(stream[:at])
            self.assertTrue(self.daemon.ask("state")["linked"])  # a round trip: the first part has been read
            self.link.send(stream[at:])
            self.assertIn(self.link.frame()[-2], (0x90, 0x61))
            self.assertEqual(self.link.frame().hex().upper(), cardtest.ATR_DEFAULT)
        self.assertTrue(self.link.silent())

    def test_frames_may_come_byte_by_byte(self):
        for byte in b"\0\1\1" + struct.pack(">H", len(SELECT_MF)) + SELECT_MF:
            self.link.send(bytes((byte,)))
        self.assertIn(self.link.frame()[-2], (0x90, 0x61))

    def test_takes_commands_up_to_the_limit_of_the_frame(self):
        self.link.power_on()
        for length in (5, 261, 262, 4096, 65534, 65535):
            answer = self.link.transmit(UNKNOWN[:4] + bytes(length - 4))
            self.assertEqual(len(answer), 2, length)
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_garbage_gets_a_status_word(self):
        self.link.power_on()
        for body in (b"\0\0", b"\0\0\0", b"\xFF" * 4, os.urandom(700)):
            answer = self.link.transmit(body)
            self.assertGreaterEqual(len(answer), 2)
            self.assertNotEqual(answer[-2:], b"\x90\x00")
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_serves_a_command_that_comes_without_power(self):
        self.assertIn(self.link.transmit(SELECT_MF)[-2], (0x90, 0x61))
        self.assertTrue(self.daemon.ask("state")["powered"])

    def test_goes_back_to_a_reader_that_vanished(self):
        with self.daemon.ctl().subscribe() as ctl:
            for _ in range(3):
                self.link.power_on()
                ctl.expect("card-reset", kind="cold")
                self.link.send(b"\0")  # half a frame is lost with the connection
                self.link.close()
                ctl.expect("card-unlinked")
                self.link = self.reader.accept()
                ctl.expect("card-linked", reader=self.reader.address)
                self.assertFalse(ctl.ok("state")["powered"])
                self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_finds_a_reader_that_comes_later(self):
        address = self.reader.address
        self.reader.close()
        with self.daemon.ctl().subscribe() as ctl:
            self.link.close()
            ctl.expect("card-unlinked")
            self.assertFalse(ctl.ok("state")["linked"])
            self.reader = cardtest.Reader(address)
            self.link = self.reader.accept()
            ctl.expect("card-linked")
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_remove_closes_the_link_until_insert(self):
        with self.daemon.ctl().subscribe() as ctl:
            ctl.ok("remove")
            self.assertTrue(self.link.closed())
            ctl.expect("card-unlinked", reason="card removed")
            state = ctl.ok("state")
            self.assertEqual((state["inserted"], state["linked"], state["powered"]), (False, False, False))
            self.assertEqual(ctl.request("reset")["ok"], False)
            with self.assertRaises(TimeoutError):
                self.reader.accept(timeout=0.3)  # longer than the first back-offs
            ctl.ok("insert")
            self.link = self.reader.accept()
            ctl.expect("card-linked")
            ctl.ok("insert")  # already in
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_remove_and_insert_in_one_go(self):
        with self.daemon.ctl() as ctl:
            ids = [ctl.send(verb) for verb in ("remove", "insert", "remove", "insert")]
            for id_ in ids:
                self.assertTrue(ctl.reply(id_)["ok"])
            self.assertTrue(self.link.closed())
            for _ in range(2):  # the first insertion may have got as far as a connection
                self.link = self.reader.accept()
                try:
                    return self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)
                except ConnectionError:
                    self.link.close()
            self.fail("the card did not stay in")

    def test_reset_shows_the_reader_a_new_card(self):
        with self.daemon.ctl().subscribe() as ctl:
            self.link.power_on()
            ctl.expect("card-reset")
            ctl.ok("reset")
            self.assertTrue(self.link.closed())
            self.link = self.reader.accept()
            ctl.expect("card-unlinked", reason="card reset")
            ctl.expect("card-linked")
            self.assertFalse(ctl.ok("state")["powered"])

    def test_state_and_counters(self):
        self.link.power_on()
        self.link.transmit(SELECT_MF)
        self.link.transmit(UNKNOWN)
        state = self.daemon.ask("state")
        self.assertEqual(state["iccid"], "8988211000000000060")
        self.assertEqual(state["atr"], cardtest.ATR_DEFAULT)
        self.assertEqual(state["reader"], self.reader.address)
        counters = self.daemon.ask("counters")
        self.assertEqual((counters["apdus"], counters["refused"], counters["resets"]), (2, 1, 1))
        self.assertEqual(counters["bytes_in"], len(SELECT_MF) + len(UNKNOWN))

    def test_state_shows_open_channels(self):
        self.link.power_on()
        self.link.atr()
        self.assertEqual(self.daemon.ask("state")["channels"], [0])
        self.assertEqual(self.link.ok("0070000001"), "01")
        self.assertEqual(self.daemon.ask("state")["channels"], [0, 1])
        self.link.power_off()
        self.link.atr()
        self.assertEqual(self.daemon.ask("state")["channels"], [])

    def test_a_reader_that_reads_nothing_is_dropped(self):
        self.link.power_on()
        frame = struct.pack(">H", len(UNKNOWN)) + UNKNOWN
        self.link.socket.settimeout(tbtest.WAIT)
        with self.assertRaises(ConnectionError):
            while True:  # answers that nobody takes fill the kernel's buffers, then the card's queue
                self.link.send(frame * 10000)
        self.link.close()
        self.link = self.reader.accept()
        self.assertEqual(self.link.atr(), cardtest.ATR_DEFAULT)

    def test_sigterm_ends_it_in_every_state(self):
        self.assertEqual(self.daemon.stop(), 0)  # linked
        self.assertTrue(self.link.closed())
        self.assertFalse(os.path.exists(self.path("card.sock")))
        dark = tbtest.free_tcp_address()
        self.assertEqual(self.run_card("--vpcd", dark).stop(), 0)  # dialling
        self.assertEqual(self.run_card("--vpcd", dark, "--removed").stop(), 0)
        daemon = self.run_card("--vpcd", self.reader.address)
        with daemon.ctl() as ctl:
            ctl.ok("quit")
        self.assertEqual(daemon.wait(), 0)

    def test_starts_removed_when_told(self):
        self.daemon.stop()
        daemon = self.run_card("--vpcd", self.reader.address, "--removed")
        with self.assertRaises(TimeoutError):
            self.reader.accept(timeout=0.1)
        daemon.ask("insert")
        with self.reader.accept() as link:
            self.assertEqual(link.atr(), cardtest.ATR_DEFAULT)

    def test_speaks_over_a_unix_socket(self):
        self.daemon.stop()
        reader = cardtest.Reader(self.socket("reader"))
        self.addCleanup(reader.close)
        self.run_card("--vpcd", reader.address)
        with reader.accept() as link:
            self.assertEqual(link.atr(), cardtest.ATR_DEFAULT)

    def test_writes_events_to_a_file(self):
        self.daemon.stop()
        events = self.path("events.jsonl")
        daemon = self.run_card("--vpcd", self.reader.address, "--event-file", events)
        with self.reader.accept() as link:
            link.power_on()
            link.atr()
            daemon.stop()
        with open(events) as f:
            text = f.read()
        for name in ("card-linked", "card-reset", "card-unlinked"):
            self.assertIn('"%s"' % name, text)

    def test_a_second_card_on_the_store_is_refused(self):
        done = tbtest.run("sim-card", "--store", self.path("card.db"), "--vpcd", self.reader.address)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another sim-card runs on this card store", done.stderr)


class Usage(cardtest.CardCase):
    def refused(self, *args, status=2):
        done = tbtest.run("sim-card", *args)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def test_says_what_is_wrong(self):
        store = ("--store", self.path("card.db"))
        self.assertIn("--store is missing", self.refused("--vpcd", "127.0.0.1:1"))
        self.assertIn("either --vpcd or --listen", self.refused(*store))
        self.assertIn("either --vpcd or --listen", self.refused(*store, "--vpcd", "[::1]:1", "--listen", "[::1]:2"))
        self.assertIn("did you mean 'personalise'?", self.refused("personalis"))
        self.assertIn("unknown command", self.refused("frobnicate"))
        self.refused(*store, "--vpcd", "no address")
        self.assertIn("no such card", self.refused(*store, "--vpcd", "127.0.0.1:1", status=1))
        self.assertFalse(os.path.exists(self.path("card.db")))

    def test_refuses_a_file_that_is_no_card(self):
        self.write("card.db", "hello" * 100)
        self.assertIn("not a card store",
                      self.refused("--store", self.path("card.db"), "--vpcd", "127.0.0.1:1", status=1))
        self.write("empty.db", "")
        for path in (self.path("empty.db"), "/dev/null"):
            self.assertIn(path + ": this is no card, it is empty", self.refused("--store", path, "--vpcd", "127.0.0.1:1", status=1))
        self.assertEqual(os.path.getsize(self.path("empty.db")), 0)

    def test_help_is_complete(self):
        for command, words in (((), ("--vpcd", "--listen", "--removed", "--trace-apdu", "personalise", "inspect")),
                               (("personalise",), ("--issuer-cert", "--set", "--force", "--out")),
                               (("inspect",), ("--store", "--json"))):
            done = tbtest.run("sim-card", *command, "--help")
            self.assertEqual(done.returncode, 0)
            for word in words + ("Exit status",):
                self.assertIn(word, done.stdout)


tbtest.main()
