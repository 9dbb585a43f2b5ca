"""AT ports that take their time: waits are at least what the profile says, and accounts are exact."""
import time

import tbtest
from modemtest import ModemCase, Te

IMSI = "\r\n001010123456789\r\n\r\nOK\r\n"
# latency (least), host pause, in s; characters per second
PROFILES = {"usb": (0.002, 0, 0), "uart-115k": (0.005, 0.020, 11520), "uart-9k6": (0.010, 0.100, 960)}
MEDIAN = {"usb": (3000, 0), "uart-115k": (10000, 20000), "uart-9k6": (15000, 100000)}


def seconds(chars, rate):
    return chars / rate if rate else 0


class Latency(ModemCase):
    def timed(self, te, line):
        start = time.monotonic()
        answer = te.at(line)
        return time.monotonic() - start, answer

    def test_each_profile_waits_at_least_its_time(self):
        for profile, (least, pause, rate) in PROFILES.items():
            m = self.modem("--uart", profile)
            for kind in ("tcp", "pty", "unix") if profile == "uart-115k" else ("tcp",):
                te = self.te(kind)
                start = time.monotonic()
                answer = te.at("+GSN")
                one = seconds(len("AT+GSN\r") + len(answer), rate) + least
                self.assertGreaterEqual(time.monotonic() - start, one, (profile, kind))
                te.at("+GSN")
                # the next command does not begin before the pause after the last answer is over
                self.assertGreaterEqual(time.monotonic() - start, 2 * one + pause, (profile, kind))
            self.ctl.close()
            self.assertEqual(m.stop(), 0)

    def test_off_accounts_all_the_same_and_exactly(self):
        self.modem()
        te = self.te("tcp")  # no echo; E0 sent all the same
        sent, got = len("ATE0\r"), len("\r\nOK\r\n")
        for line in ("+GSN", "+CSQ", "+NOSUCH", ""):
            got += len(te.at(line))
            sent += len("AT" + line + "\r")
        uart = self.m.ask("latency")["uart"]
        self.assertEqual((uart["profile"], uart["chars_in"], uart["chars_out"], uart["commands"], uart["waited_us"]),
                         ("off", sent, got, 5, 0))
        for profile, (least, pause, rate) in PROFILES.items():
            cost = uart["modelled_us"][profile]
            self.assertEqual(cost["chars"], round(seconds(sent + got, rate) * 1e6), profile)
            latency, host = MEDIAN[profile]
            self.assertEqual((cost["commands"], cost["pauses"]), (5 * latency, 5 * host))
            self.assertEqual(cost["total"], cost["chars"] + cost["commands"] + cost["pauses"])

    def test_an_apdu_exchange_has_the_characters_of_the_formula(self):
        self.modem()
        self.card({"8184000008": "00112233445566779000"})
        te = self.te("tcp")
        before = self.m.ask("latency")["uart"]
        self.assertEqual(te.csim("8184000008"), ("0011223344556677", "9000"))
        after = self.m.ask("latency")["uart"]
        self.assertEqual(after["chars_in"] - before["chars_in"], len('AT+CSIM=10,"8184000008"\r'))
        self.assertEqual(after["chars_out"] - before["chars_out"], len('\r\n+CSIM: 20,""\r\n\r\nOK\r\n') + 20)
        self.assertEqual(after["commands"] - before["commands"], 1)

    def test_echo_costs_nothing(self):
        self.modem()
        te = self.te("unix", echo=True)
        te.at("+GSN")
        uart = self.m.ask("latency")["uart"]
        self.assertEqual((uart["chars_in"], uart["chars_out"]), (7, len("\r\n490154203237518\r\n\r\nOK\r\n")))

    def test_the_same_seed_is_the_same_jitter(self):
        waited = []
        for seed in (5, 5, 6):
            m = self.modem("--uart", "usb", "--seed", str(seed))
            te = self.te("tcp")
            for _ in range(3):
                te.at("")
            waited.append(self.m.ask("latency")["uart"]["waited_us"])
            self.ctl.close()
            m.stop()
        # what was waited for is drawn from the seed; between draws and clock lies a rounding
        self.assertLess(abs(waited[0] - waited[1]), 20)
        self.assertGreater(abs(waited[0] - waited[2]), 20)
        self.assertGreaterEqual(waited[0], 4 * 2000)

    def test_lines_typed_ahead_keep_their_order(self):
        self.modem("--uart", "usb")
        te = self.te("unix")
        te.send("AT+GSN\rAT+CSQ\rAT+NOSUCH\rAT\r")
        answers = [te.final() for _ in range(4)]
        self.assertIn("490154203237518", answers[0])
        self.assertIn("+CSQ", answers[1])
        self.assertIn("ERROR", answers[2])
        self.assertEqual(answers[3], "\r\nOK\r\n")

    def test_a_slow_line_holds_back_only_itself(self):
        self.modem("--uart", "uart-9k6")
        slow = self.te("unix")
        slow.send('AT+CSIM=10,"' + "00" * 100)  # a long time on the line, and never a whole command
        self.assertEqual(self.te("tcp").at("+CSQ").count("+CSQ"), 1)
        self.assertTrue(slow.quiet())

    def test_who_leaves_takes_what_is_on_the_line_along(self):
        self.modem("--uart", "uart-9k6")
        for kind in ("unix", "pty"):
            for text in ("AT+GSN\r", "AT+GS", "AT" + "+GSN;" * 100 + "\r"):
                te = Te(self.m.ready["at"][kind])
                te.send(text)
                te.close()
        self.m.ask("latency", uart="off")
        te = self.te("pty", echo=True)
        te.send("\rATE0\r")  # a pty that is not empty yet goes on with what was typed
        te.send("AT+GSN\r")
        te.until("490154203237518\r\n\r\nOK")

    def test_a_client_that_said_all_still_gets_its_answers(self):
        self.modem("--uart", "uart-115k")
        with Te(self.m.ready["at"]["unix"]) as te:
            te.send("ATE0\rAT+GSN\r")
            te.socket.shutdown(1)
            self.assertIn("490154203237518", te.until("OK\r\n") + te.until("OK\r\n"))
            self.assertEqual(te.socket.recv(10), b"")

    def test_a_te_that_does_not_read_is_waited_for(self):
        self.modem("--uart", "usb")
        te = self.te("unix")
        n = 3000
        line = "AT" + ";".join(["+CGDCONT=?"] * 180) + "\r"  # 20 KiB of answer each
        te.send(line * 20)
        got = 0
        while got < 20:
            te.until("\r\nOK\r\n")
            got += 1
        self.assertEqual(te.at(""), "\r\nOK\r\n")
        self.assertGreater(self.m.ask("latency")["uart"]["chars_out"], 20 * n)

    def test_the_profile_changes_while_it_runs(self):
        self.modem()
        te = self.te("tcp")
        reply = self.m.ask("latency", uart="uart-9k6")
        self.assertEqual(reply["uart"]["profile"], "uart-9k6")
        took, answer = self.timed(te, "+GSN")
        self.assertGreaterEqual(took, seconds(7 + len(answer), 960) + 0.010)
        with self.m.ctl() as ctl:
            error = ctl.request("latency", uart="uart-9k")
            self.assertFalse(error["ok"])
            self.assertIn("'uart-9k6'", error["error"])
            self.assertFalse(ctl.request("latency", radio=1)["ok"])

    def test_an_unknown_profile_is_a_usage_error(self):
        done = tbtest.run("sim-modem", "--at-unix", self.path("at"), "--uart", "fast")
        self.assertEqual(done.returncode, 2)
        self.assertIn("uart-115k", done.stderr)
        done = tbtest.run("sim-modem", "--at-unix", self.path("at"), "--radio", "lte-m")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--data", done.stderr)

    def test_ends_at_once_with_a_line_full_of_characters(self):
        self.modem("--uart", "uart-9k6")
        te = self.te("unix")
        te.send("AT" + ";".join(["+CGDCONT=?"] * 100) + "\r" + "AT+GSN\r" * 100)
        self.assertEqual(self.m.stop(), 0)


if __name__ == "__main__":
    tbtest.main()
