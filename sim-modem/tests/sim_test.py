"""The card behind the modem, played by a script: exchange, removal, muteness, several TEs at once."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import tbtest
from modemtest import Card, ModemCase, Te

CSIM = '+CSIM=10,"8184000002"'
ANSWER = '\r\n+CSIM: 8,"AABB9000"\r\n\r\nOK\r\n'
RANDOM = {"8184000002": "AABB9000"}


class Exchange(ModemCase):
    def test_boot_and_exchange_on_every_port(self):
        self.modem()
        card = self.card(RANDOM, booted=False)
        self.assertEqual(self.ctl.expect("card-inserted")["iccid"], "89000123456789012345")
        self.ctl.expect("registration", state="home")
        self.assertEqual(card.log[0], "00A40004023F0000")
        for kind in ("unix", "tcp", "pty"):
            te = self.te(kind)
            self.assertEqual(te.at(CSIM), ANSWER)
            self.assertEqual(te.at("+CIMI"), "\r\n001010123456789\r\n\r\nOK\r\n")

    def test_state_and_counters(self):
        self.modem()
        self.card(RANDOM)
        te = self.te()
        te.at(CSIM)
        te.at("+NOSUCH")
        state = self.m.ask("state")
        self.assertEqual((state["card"], state["iccid"], state["imsi"], state["registration"]),
                         ("ready", "89000123456789012345", "001010123456789", "home"))
        counters = self.m.ask("counters")
        self.assertEqual((counters["at_lines"], counters["at_errors"], counters["apdus_te"]), (3, 1, 1))

    def test_two_tes_at_once(self):
        self.modem()
        card = self.card({"8184000002": "AABB9000", "8284000002": "CCDD9000"})
        one, two = self.te("unix"), self.te("tcp")
        card.hold()
        one.send("AT%s\r" % CSIM)
        card.wait_for("8184000002")
        two.send('AT+CSIM=10,"8284000002"\r')
        self.assertEqual(self.te().at("+GMM"), "\r\nsim-modem\r\n\r\nOK\r\n")  # a third needs no card
        self.assertEqual(card.log, ["8184000002"])  # never two at a time
        card.release()
        self.assertEqual(one.final(), ANSWER)
        self.assertEqual(two.final(), '\r\n+CSIM: 8,"CCDD9000"\r\n\r\nOK\r\n')

    def test_answers_in_pieces(self):
        self.modem()
        card = self.card(RANDOM)
        te = self.te()
        card.hold()
        te.send("AT%s\r" % CSIM)
        card.wait_for("8184000002")
        for byte in b"\0\4\xAA\xBB\x90\0":
            card.socket.sendall(bytes((byte,)))
        self.assertEqual(te.final(), ANSWER)

    def fastest(self, exchange):
        """Seconds of the fastest of some exchanges: with a stall in each of them even that one is slow."""
        best = None
        for _ in range(10):
            start = time.monotonic()
            exchange()
            best = min(best or tbtest.WAIT, time.monotonic() - start)
        return best

    def test_no_stall_with_peers_that_write_in_pieces(self):
        # With Nagle's algorithm on, the second piece waits for the acknowledgement of the first: 40 ms if nobody cares.
        self.modem()
        card = self.card(RANDOM)
        te = self.te("tcp")
        card.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        card.in_pieces = True
        self.assertLess(self.fastest(lambda: te.at(CSIM)), 0.02)
        te.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)

        def pieces():
            te.send("AT" + CSIM[:9])
            te.send(CSIM[9:])
            te.send("\r\n")
            te.final()
        self.assertLess(self.fastest(pieces), 0.02)

    def test_extended_apdus_both_ways(self):
        self.modem()
        command = "80DA0000000FA0" + "5A" * 4000
        self.card({command: "A5" * 30000 + "9000"}, atr="3B9F9680B1FE451FC78031E073FE2153494F545341464501B7")
        te = self.te()
        self.assertEqual(te.csim(command), ("A5" * 30000, "9000"))


class Trouble(ModemCase):
    def test_removed_in_mid_command_and_back(self):
        self.modem()
        card = self.card(RANDOM)
        te = self.te("pty")
        te.at("+CMEE=1;+QSIMSTAT=1")
        card.hold()
        te.send("AT%s\r" % CSIM)
        card.wait_for("8184000002")
        card.remove()
        self.assertEqual(te.final(), "\r\n+CME ERROR: 13\r\n")
        self.assertEqual(te.until("NOT READY\r\n"), "\r\n+QSIMSTAT: 1,0\r\n\r\n+CPIN: NOT READY\r\n")
        self.ctl.expect("card-removed")
        self.assertEqual(te.at("+CPIN?"), "\r\n+CME ERROR: 10\r\n")
        self.card(RANDOM)
        self.assertIn("+QSIMSTAT: 1,1", te.until("READY\r\n"))
        self.assertEqual(te.at(CSIM), ANSWER)

    def test_mute_card(self):
        self.modem("--card-timeout", "300")
        card = self.card(RANDOM)
        te = self.te()
        te.at("+CMEE=1")
        card.hold()
        te.send("AT%s\r" % CSIM)
        self.assertEqual(te.final(), "\r\n+CME ERROR: 13\r\n")
        self.ctl.expect("card-removed", reason="no answer")
        self.assertEqual(te.at(CSIM), "\r\n+CME ERROR: 13\r\n")
        card.release()  # too late: that link is gone
        self.card({"8184000002": "CCDD9000"})
        self.assertEqual(te.at(CSIM), '\r\n+CSIM: 8,"CCDD9000"\r\n\r\nOK\r\n')

    def test_a_card_that_never_shows_an_atr(self):
        self.modem("--card-timeout", "300")
        te = self.te()
        te.at("+CMEE=1")
        with tbtest.connect(self.m.ready["vpcd"]):
            self.ctl.expect("card-removed", reason="no answer")
            self.assertEqual(te.at("+CPIN?"), "\r\n+CME ERROR: 13\r\n")
        self.card(RANDOM)
        self.assertEqual(te.at("+CPIN?"), "\r\n+CPIN: READY\r\n\r\nOK\r\n")

    def test_a_short_answer_ejects(self):
        self.modem()
        card = self.card(RANDOM)
        te = self.te()
        te.at("+CMEE=1")
        card.hold()
        te.send("AT%s\r" % CSIM)
        card.wait_for("8184000002")
        card.socket.sendall(b"\0\0")
        self.assertEqual(te.final(), "\r\n+CME ERROR: 13\r\n")
        card.thread.join(tbtest.WAIT)  # the link was closed
        self.assertFalse(card.thread.is_alive())

    def test_a_second_card_is_turned_away(self):
        self.modem()
        self.card(RANDOM)
        with tbtest.connect(self.m.ready["vpcd"]) as second:
            self.assertEqual(second.recv(1), b"")
        self.assertEqual(self.te().at(CSIM), ANSWER)

    def test_a_card_out_of_step_is_ejected(self):
        self.modem()
        card = self.card(RANDOM)
        card.socket.sendall(b"\0\3\x11\x90\0")  # nobody asked
        self.ctl.expect("card-removed", reason="protocol error")
        card.thread.join(tbtest.WAIT)
        self.card(RANDOM)
        self.assertEqual(self.te().at(CSIM), ANSWER)

    def test_reset_by_the_control_socket(self):
        self.modem()
        card = self.card(RANDOM)
        te = self.te()
        te.at("+CMEE=1")
        self.assertIn("+CCHO: 1", te.at('+CCHO="A0000005590010"'))
        card.forget()
        self.ctl.ok("card-reset")
        self.assertEqual(te.at('+CGLA=1,8,"80CB0000"'), "\r\n+CME ERROR: 50\r\n")
        self.assertEqual(card.log[0], "00A40004023F0000")
        card.remove()
        self.ctl.expect("card-removed")
        self.assertIn("no powered card", self.ctl.request("card-reset")["error"])

    def test_killed_te_leaves_no_channel(self):
        self.modem()
        card = self.card(dict(RANDOM, **{"0070000001": "029000"}))
        script = ("import os,signal,sys;sys.path[:0]=%r;from modemtest import Te;t=Te(%r);t.at('E0');"
                  "print(t.at('+CCHO=\"A0000005590010\"'),flush=True);os.kill(os.getpid(),signal.SIGKILL)")
        for kind in ("unix", "tcp", "pty"):
            card.forget()
            done = subprocess.run([sys.executable, "-c", script % (sys.path, self.m.ready["at"][kind])],
                                  stdout=subprocess.PIPE, text=True, timeout=tbtest.WAIT)
            self.assertEqual(done.returncode, -signal.SIGKILL)
            self.assertIn("+CCHO: 2", done.stdout)
            card.wait_for("00708002")

    def test_killed_in_mid_command(self):
        self.modem()
        card = self.card(RANDOM)
        for kind in ("unix", "tcp", "pty"):
            te, other = self.te(kind), self.te()
            self.ctl.events.clear()
            card.hold()
            card.forget()
            te.send("AT%s\r" % CSIM)
            card.wait_for("8184000002")
            other.send("AT%s\r" % CSIM)
            te.close()
            if kind == "tcp":  # may still want its answer: only when that is sent the modem knows
                card.release()
            self.ctl.expect("at-client", state="gone")
            if kind != "tcp":
                card.release()
            self.assertEqual(other.final(), ANSWER)
            other.close()

    def test_channels_survive_by_profile(self):
        self.modem("--quirk", "hangup-keeps-channels=1")
        card = self.card(RANDOM)
        with Te(self.m.ready["at"]["tcp"]) as te:
            self.assertIn("+CCHO: 1", te.at('+CCHO="A0000005590010"'))
        self.ctl.expect("at-client", state="gone")
        self.assertEqual(self.te().at('+CGLA=1,10,"8184000002"'), '\r\n+CGLA: 8,"AABB9000"\r\n\r\nOK\r\n')
        self.assertNotIn("00708001", card.log)

    def test_trace(self):
        self.modem("--trace-apdu", self.path("apdu.pcapng"))
        self.card(RANDOM)
        te = self.te()
        te.at(CSIM)
        self.m.stop()
        with open(self.path("apdu.pcapng"), "rb") as f:
            capture = f.read()
        self.assertIn(bytes.fromhex("8184000002AABB9000"), capture)
        self.assertIn(b"at:unix#", capture)
        self.assertIn(b"modem boot", capture)


    def test_the_trace_keeps_no_secrets(self):
        self.modem("--trace-apdu", self.path("apdu.pcapng"))
        secret = "C0FFEE" * 8
        prf = "81480000" + "18" + secret
        self.card({prf: "6118", "81C0000018": secret + "9000", "8146000003850105": secret + "9000",
                   "00B0000018": secret[:-2] + "AA9000"})
        te = self.te()
        te.at('+CSIM=26,"002000010831323334FFFFFFFF"')
        te.csim(prf)
        te.csim("81C0000018")
        te.csim("8146000003850105")
        self.assertIn("6D00", te.at('+CSIM=10,"81FF000000"'))
        self.m.stop()
        with open(self.path("apdu.pcapng"), "rb") as f:
            capture = f.read()
        self.assertNotIn(bytes.fromhex("C0FFEE"), capture)
        self.assertNotIn(b"1234", capture)
        self.assertIn(bytes.fromhex("0020000108" + "00" * 8 + "6D00"), capture)
        self.assertIn(bytes.fromhex("8148000018" + "00" * 24 + "6118"), capture)
        self.assertIn(bytes.fromhex("81C0000018" + "00" * 24 + "9000"), capture)
        self.assertIn(bytes.fromhex("8146000003850105" + "00" * 24 + "9000"), capture)


class Network(ModemCase):
    def test_registration_and_signal_by_the_control_socket(self):
        self.modem()
        self.card()
        te = self.te()
        te.at("+CREG=1")
        self.ctl.ok("registration", state="denied")
        self.assertEqual(te.until("+CREG: 3\r\n"), "\r\n+CREG: 3\r\n")
        self.ctl.expect("registration", state="denied")
        self.ctl.ok("signal", rssi=7)
        self.assertEqual(te.at("+CSQ"), "\r\n+CSQ: 7,99\r\n\r\nOK\r\n")
        self.assertFalse(self.ctl.request("signal", rssi=32)["ok"])
        self.assertFalse(self.ctl.request("signal")["ok"])
        self.assertFalse(self.ctl.request("registration", state="lost")["ok"])

    def test_boot_messages_for_a_driver_that_waits(self):
        self.modem("--model", "quectel-bg95")
        self.card()
        with Te(self.m.ready["at"]["tcp"]) as te:  # Zephyr blocks until RDY
            self.assertEqual(te.until("+CPIN: READY\r\n"),
                             "\r\nRDY\r\n\r\nAPP RDY\r\n\r\n+CFUN: 1\r\n\r\n+CPIN: READY\r\n")
            self.assertIn("Quectel", te.at("+CGMI"))

    def test_events_go_to_a_file(self):
        self.modem("--event-file", self.path("events"))
        self.card()
        self.m.stop()
        with open(self.path("events")) as f:
            names = [json.loads(line)["event"] for line in f]
        self.assertEqual(names[:2], ["card-inserted", "registration"])


if __name__ == "__main__":
    tbtest.main()
