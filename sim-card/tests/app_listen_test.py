"""The card waits for readers (vpcd's reversed mode)."""
import cardtest
import tbtest


class Listen(cardtest.CardCase):
    def setUp(self):
        self.make("bare.card")
        self.daemon = self.run_card("--listen", "127.0.0.1:0")
        self.address = self.daemon.ready["listen"]

    def dial(self):
        link = cardtest.Link(tbtest.connect(self.address))
        self.addCleanup(link.close)
        return link

    def test_ready_line_tells_the_real_port(self):
        self.assertRegex(self.address, r"^127\.0\.0\.1:[1-9]\d*$")
        self.assertEqual(self.daemon.ask("state")["listen"], self.address)

    def test_serves_a_reader_that_dials(self):
        link = self.dial()
        link.power_on()
        self.assertEqual(link.atr(), cardtest.ATR_DEFAULT)
        self.assertEqual(link.transmit(bytes.fromhex("00FF000000"))[-2:].hex(), "6d00")

    def test_second_reader_waits_until_the_first_one_leaves(self):
        with self.daemon.ctl().subscribe() as ctl:
            first = self.dial()
            first.power_on()
            first.atr()
            ctl.expect("card-reset")
            second = self.dial()
            second.control(4)
            for _ in range(3):  # the card is the first one's alone
                self.assertEqual(first.atr(), cardtest.ATR_DEFAULT)
            self.assertTrue(second.silent())
            first.close()
            self.assertEqual(second.frame().hex().upper(), cardtest.ATR_DEFAULT)
            ctl.expect("card-unlinked")
            ctl.expect("card-linked")
            self.assertFalse(ctl.ok("state")["powered"])

    def test_readers_are_served_in_the_order_they_came(self):
        links = [self.dial() for _ in range(5)]
        for link in links:
            link.control(4)
        for link in links:
            self.assertEqual(link.frame().hex().upper(), cardtest.ATR_DEFAULT)
            self.assertTrue(all(other.silent() for other in links if other is not link and other.socket.fileno() >= 0))
            link.close()

    def test_only_so_many_readers_wait(self):
        first = self.dial()
        first.atr()
        waiting = [self.dial() for _ in range(16)]
        self.assertTrue(self.dial().closed())
        self.assertEqual(first.atr(), cardtest.ATR_DEFAULT)
        first.close()
        waiting[0].control(4)
        self.assertEqual(waiting[0].frame().hex().upper(), cardtest.ATR_DEFAULT)

    def test_reader_that_left_while_waiting_does_no_harm(self):
        first = self.dial()
        first.atr()
        for _ in range(20):  # more than may wait
            second = self.dial()
            second.control(4)
            second.close()
            first.atr()
        third = self.dial()
        first.close()
        self.assertEqual(third.atr(), cardtest.ATR_DEFAULT)

    def test_removed_card_refuses_connections(self):
        with self.daemon.ctl() as ctl:
            link = self.dial()
            link.atr()
            waiting = self.dial()
            ctl.ok("remove")
            self.assertTrue(link.closed())
            self.assertTrue(waiting.closed())
            with self.assertRaises(ConnectionRefusedError):
                self.dial()
            ctl.ok("insert")
            self.assertEqual(self.dial().atr(), cardtest.ATR_DEFAULT)

    def test_starts_removed_and_listens_at_the_announced_port_later(self):
        self.daemon.stop()
        daemon = self.run_card("--listen", "127.0.0.1:0", "--removed")
        self.address = daemon.ready["listen"]
        with self.assertRaises(ConnectionRefusedError):
            self.dial()
        daemon.ask("insert")
        self.assertEqual(self.dial().atr(), cardtest.ATR_DEFAULT)

    def test_reset_drops_the_reader_who_may_come_back(self):
        link = self.dial()
        link.atr()
        self.daemon.ask("reset")
        self.assertTrue(link.closed())
        self.assertEqual(self.dial().atr(), cardtest.ATR_DEFAULT)

    def test_sigterm_ends_it_with_readers_present(self):
        link, waiting = self.dial(), self.dial()
        link.atr()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertTrue(waiting.closed())

    def test_address_that_is_taken_is_an_error(self):
        self.make("bare.card", store="other.db")
        done = tbtest.run("sim-card", "--store", self.path("other.db"), "--listen", self.address)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot listen at", done.stderr)

    def test_listens_on_a_unix_socket(self):
        self.daemon.stop()
        daemon = self.run_card("--listen", self.socket("reader"))
        self.address = daemon.ready["listen"]
        self.assertEqual(self.address, self.socket("reader"))
        self.assertEqual(self.dial().atr(), cardtest.ATR_DEFAULT)


tbtest.main()
