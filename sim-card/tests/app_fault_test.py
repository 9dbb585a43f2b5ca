"""Faults on purpose, told to the card by its control socket."""
import cardtest
import tbtest

USIM = "00A4040C07A0000000871002"
WRITE, READ = "00D68B000B1122334400F11012340000", "00B08B000B"
OLD, NEW = "FFFFFFFFFFFFFF0000FF01", "1122334400F11012340000"


class Fault(cardtest.CardCase):
    def setUp(self):
        self.reader = cardtest.Reader()
        self.addCleanup(lambda: (self.link.close(), self.reader.close()))
        self.make("factory.card")
        self.daemon = self.run_card("--vpcd", self.reader.address)
        self.link = self.reader.accept()
        self.link.power_on()
        self.ctl = self.daemon.ctl().subscribe()
        self.addCleanup(self.ctl.close)

    def fault(self, **members):
        self.ctl.ok("fault", **members)

    def send(self, command):
        command = bytes.fromhex(command)
        self.link.send(len(command).to_bytes(2, "big") + command)

    def again(self):
        """The card is put back."""
        self.ctl.ok("insert")
        self.link = self.reader.accept()
        self.link.power_on()

    def files(self):
        self.link.ok(USIM)

    def test_power_goes_at_each_write_and_leaves_the_old_state_or_the_new(self):
        for write, state, found in ((1, "old", OLD), (2, "old", OLD), (3, "old", OLD), (1, "new", NEW)):
            self.files()
            self.fault(kind="power-cut", write=write, state=state, operation="update-binary")
            self.send(WRITE)
            self.assertTrue(self.link.closed())
            self.ctl.expect("card-fault", kind="power-cut", operation="update-binary")
            self.ctl.expect("card-unlinked", reason="power cut")
            self.assertFalse(self.ctl.ok("state")["inserted"])
            self.again()
            self.files()
            self.assertEqual(self.link.ok(READ), found)
        self.link.ok(WRITE)
        self.assertEqual(self.ctl.ok("state")["faults"], [])
        self.assertEqual(self.ctl.ok("counters")["resets"], 5)

    def test_stays_mute_until_it_is_reset(self):
        self.fault(kind="mute", operation="get-random")
        self.link.select()
        self.send("8084000008")
        self.ctl.expect("card-fault", kind="mute")
        self.link.control(4)  # nor does it tell its ATR
        self.ctl.ok("state")
        self.assertTrue(self.link.silent())
        self.link.reset()
        self.link.control(4)
        self.assertEqual(self.link.frame().hex().upper(), cardtest.ATR_DEFAULT)
        self.link.select()
        self.assertEqual(len(self.link.ok("8084000008")), 16)

    def test_is_slow(self):
        self.link.select()
        self.fault(kind="slow", ms=50)
        self.assertEqual(len(self.link.ok("8084000008")), 16)
        self.assertEqual(self.ctl.ok("state")["faults_fired"], 1)

    def test_answers_another_status_after_n_commands_and_so_many_times(self):
        self.link.select()
        self.fault(kind="status", sw="6F42", operation="get-random", after=1, times=2)
        seen = [self.link.apdu("8084000008")[1] for _ in range(4)]
        self.assertEqual(seen, ["9000", "6F42", "6F42", "9000"])

    def test_goes_on_until_cleared(self):
        self.fault(kind="status", sw="6581", times=0)
        for _ in range(3):
            self.assertEqual(self.link.transmit(bytes.fromhex("00A4000C023F00")), b"\x65\x81")
        self.ctl.ok("fault", clear=True)
        self.link.ok("00A4000C023F00")

    def test_corrupts_answers(self):
        self.files()
        want = bytes.fromhex(self.link.ok(READ)) + b"\x90\0"
        for how, amount in (("flip", 1), ("flip", 5), ("truncate", 3), ("truncate", 100), ("extend", 4)):
            self.fault(kind="corrupt", how=how, amount=amount, operation="read-binary")
            got = self.link.transmit(bytes.fromhex(READ))
            if how == "flip":
                self.assertEqual(bin(int.from_bytes(got, "big") ^ int.from_bytes(want, "big")).count("1"), amount)
            elif how == "truncate":
                self.assertEqual(got, want[:max(1, len(want) - amount)])
            else:
                self.assertEqual(got, want + b"\xA5" * amount)
        self.assertEqual(self.link.transmit(bytes.fromhex(READ)), want)

    def test_is_full(self):
        self.files()
        self.fault(kind="memory-full")
        self.link.ok(READ)  # writes nothing: the fault waits
        self.assertEqual(self.link.apdu(WRITE)[1], "6A84")
        self.ctl.expect("card-fault", kind="memory-full", operation="update-binary")
        self.assertEqual(self.link.ok(READ), OLD)
        self.link.ok(WRITE)

    def test_leaves_in_mid_apdu(self):
        for executed, sent in ((False, 0), (True, 0), (True, 5)):
            self.files()
            self.fault(kind="remove", executed=executed, sent=sent, operation="read-binary")
            self.send(READ)
            got = b""
            while True:
                try:
                    piece = self.link.socket.recv(100)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                got += piece
            self.assertEqual(got, b"\0\x0D" + bytes.fromhex(OLD)[:5] if sent else b"")
            self.link.close()
            self.ctl.expect("card-unlinked", reason="card removed")
            self.again()

    def test_says_what_is_wrong(self):
        for members, text in (({"kind": "mut"}, "did you mean 'mute'"), ({}, "kind"),
                              ({"kind": "mute", "opposition": "x"}, "opposition"),
                              ({"kind": "status"}, "sw"), ({"kind": "status", "sw": "60Z0"}, "sw"),
                              ({"kind": "slow", "ms": 0}, "ms"), ({"kind": "corrupt", "how": "burn"}, "how")):
            reply = self.ctl.request("fault", **members)
            self.assertFalse(reply["ok"])
            self.assertIn(text, reply["error"])
        self.assertEqual(self.ctl.ok("state")["faults"], [])


tbtest.main()
