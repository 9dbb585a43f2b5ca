"""Where TEs come in: pty, TCP, Unix; many at once; how they leave; what a program may type."""
import os
import select
import signal
import socket
import stat
import termios

import tbtest
from modemtest import ModemCase, Te


class Ports(ModemCase):
    def test_the_ready_line_says_where(self):
        ready = self.modem().ready
        self.assertEqual(sorted(ready), ["at", "ctl", "vpcd"])
        self.assertEqual(sorted(ready["at"]), ["pty", "pty_slave", "tcp", "unix"])
        self.assertEqual(os.readlink(ready["at"]["pty"]), ready["at"]["pty_slave"])
        self.assertEqual(ready["at"]["unix"], "unix:" + self.path("at.sock"))
        self.assertTrue(ready["at"]["tcp"].startswith("127.0.0.1:"))
        self.assertEqual(self.m.stop(), 0)
        self.assertFalse(os.path.lexists(ready["at"]["pty"]))
        self.assertFalse(os.path.exists(self.path("at.sock")))

    def test_several_of_a_kind_are_a_list(self):
        m = self.start("sim-modem", "--at-unix", self.path("a"), "--at-unix", self.path("b"), "--at-tcp", ":0")
        self.assertEqual(m.ready["at"]["unix"], ["unix:" + self.path("a"), "unix:" + self.path("b")])
        for address in (*m.ready["at"]["unix"], m.ready["at"]["tcp"]):
            with Te(address) as te:
                self.assertIn("sim-modem", te.at("+GMM"))

    def test_every_kind_answers(self):
        self.modem()
        self.assertEqual(self.te("tcp", echo=True).at(""), "\r\nOK\r\n")  # a program: no echo from the start
        for kind in ("pty", "unix"):
            te = self.te(kind, echo=True)
            self.assertEqual(te.at(""), "AT\r\r\nOK\r\n")
            self.assertEqual(te.at("E0"), "ATE0\r\r\nOK\r\n")
            self.assertEqual(te.at("+GSN"), "\r\n490154203237518\r\n\r\nOK\r\n")

    def test_settings_belong_to_a_port(self):
        self.modem("--imei", "123456789012345")
        one, two = self.te(), self.te()
        one.send("ATV0\r")
        one.until("0\r")
        self.assertEqual(two.at("+GSN"), "\r\n123456789012345\r\n\r\nOK\r\n")

    def test_the_pty_is_raw_before_anybody_makes_it_so(self):
        self.modem()
        with Te(self.m.ready["at"]["pty"]) as te:
            flags = termios.tcgetattr(te.fd)
            self.assertFalse(flags[3] & (termios.ECHO | termios.ICANON | termios.ISIG))
            self.assertFalse(flags[0] & (termios.ICRNL | termios.IXON))
            self.assertEqual(te.at(""), "AT\r\r\nOK\r\n")

    def test_the_pty_serves_one_client_after_the_other(self):
        self.modem()
        for i in range(5):
            with Te(self.m.ready["at"]["pty"]) as te:
                self.ctl.expect("at-client", state="connected")
                self.assertIn("\r\nsim-modem\r\n\r\nOK\r\n", te.at("E0+GMM"))
                te.send("AT+GM")  # half a line
            self.ctl.expect("at-client", state="gone")

    def test_typing_byte_by_byte(self):
        self.modem()
        te = self.te("pty", echo=True)
        for c in "AT+GSX\bN":
            te.send(c)
            self.assertEqual(te.until(c), c)  # as a person sees it
        te.send("\r")
        self.assertEqual(te.final(), "\r\r\n490154203237518\r\n\r\nOK\r\n")

    def test_a_te_that_has_said_all_still_gets_its_answers(self):
        self.modem()
        for kind in ("unix", "tcp"):
            with tbtest.connect(self.m.ready["at"][kind]) as s:
                s.sendall(b"ATE0\rAT+GSN\rAT+CSIM=10,\"00A4000000\"\rAT+CGM")
                s.shutdown(socket.SHUT_WR)
                heard = b""
                while chunk := s.recv(4096):
                    heard += chunk
            self.assertEqual(heard.replace(b"ATE0\r", b"").split()[:3], [b"OK", b"490154203237518", b"OK"])
            self.assertTrue(heard.endswith(b"ERROR\r\n"), heard)  # no card: the last whole line is answered, too

    def test_a_flood_of_lines_is_answered_in_order(self):
        self.modem()
        for kind in ("pty", "tcp", "unix"):
            te = self.te(kind)
            n = 3000
            text = "".join("ATS0=%d;S0?\r" % (i % 256) for i in range(n)).encode()
            got, sent = b"", 0
            expected = b"".join(b"\r\n%03d\r\n\r\nOK\r\n" % (i % 256) for i in range(n))
            os.set_blocking(te.fd, False)
            while len(got) < len(expected):
                r, w, _ = select.select([te.fd], [te.fd] if sent < len(text) else [], [], tbtest.WAIT)
                self.assertTrue(r or w, "stuck after %d bytes" % len(got))
                if w:
                    try:
                        sent += os.write(te.fd, text[sent:sent + 65536])
                    except BlockingIOError:
                        pass
                if r:
                    got += os.read(te.fd, 65536)
            self.assertEqual(got, expected)

    def test_a_te_that_does_not_read_hurts_only_itself(self):
        self.modem()
        for kind in ("pty", "tcp", "unix"):
            lazy, other = self.te(kind), self.te()
            os.set_blocking(lazy.fd, False)
            line = b"AT+CLAC;+CLAC;+CLAC;+CLAC\r" * 100
            sent = 0
            try:
                for _ in range(3000):  # until nobody takes more
                    sent += os.write(lazy.fd, line)
            except BlockingIOError:
                pass
            self.assertGreater(sent, 0)
            self.assertIn("OK", other.at("+GMM"))
            lazy.close()
            self.assertIn("OK", other.at("+GMM"))

    def test_hundred_clients(self):
        self.modem()
        tes = [self.te("unix") for _ in range(50)] + [self.te("tcp") for _ in range(50)]
        for te in tes:
            te.send("AT+GSN\r")
        for te in tes:
            self.assertEqual(te.final(), "\r\n490154203237518\r\n\r\nOK\r\n")
        self.assertEqual(self.m.ask("state")["at_channels"], 101)

    def test_events_name_the_port(self):
        self.modem()
        te = self.te()
        port = self.ctl.expect("at-client", state="connected")["port"]
        self.assertTrue(port.startswith("unix#"))
        te.close()
        self.ctl.expect("at-client", state="gone", port=port)


class Start(tbtest.Case):
    def fails(self, status, message, *args):
        done = tbtest.run("sim-modem", *args)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(message, done.stderr)

    def test_mistakes_are_named(self):
        unix = ("--at-unix", self.path("at"))
        self.fails(2, "--at-pty, --at-tcp or --at-unix")
        self.fails(2, 'did you mean "generic"', *unix, "--model", "genric")
        self.fails(2, "15 digits", *unix, "--imei", "1234")
        self.fails(2, 'did you mean "csim-quote"', *unix, "--quirk", "csim-qote=1")
        self.fails(2, '"maybe" is no value for csim-quote', *unix, "--quirk", "csim-quote=maybe")
        self.fails(2, "KEY=VALUE", *unix, "--quirk", "csim-quote")
        self.fails(2, "unexpected argument 'extra'", *unix, "extra")
        self.fails(2, "--at-tcp wants host:port", "--at-tcp", "unix:/tmp/x")
        self.fails(1, "cannot listen for AT clients", "--at-unix", self.path("no/such/folder"))
        self.fails(1, "", *unix, "--model", self.path("missing.model"))

    def test_a_model_file_says_where_it_is_wrong(self):
        model = self.write("my.model", "manufacturer = ACME\nt0 = rwa\n")
        self.fails(2, "my.model:2: \"rwa\" is no value for t0", "--at-unix", self.path("at"), "--model", model)
        model = self.write("my.model", "[section]\nt0 = raw\n")
        self.fails(2, "no sections", "--at-unix", self.path("at"), "--model", model)

    def test_a_model_file_is_used(self):
        model = self.write("my.model", "# ours\nmanufacturer = ACME\n")
        m = self.start("sim-modem", "--at-unix", self.path("at"), "--model", model, "--quirk", "model=Roadrunner")
        with Te(m.ready["at"]["unix"]) as te:
            te.at("E0")
            self.assertEqual(te.at("+CGMI;+CGMM"), "\r\nACME\r\n\r\nRoadrunner\r\n\r\nOK\r\n")

    def test_sockets_in_use_are_left_alone(self):
        m = self.start("sim-modem", "--at-unix", self.path("at"), "--at-pty", self.path("tty"))
        self.fails(1, "cannot listen for AT clients", "--at-unix", self.path("at"))
        with Te(m.ready["at"]["unix"]) as te:
            self.assertIn("OK", te.at(""))
        self.assertTrue(stat.S_ISSOCK(os.stat(self.path("at")).st_mode))

    def test_ends_with_clients_and_card_in_mid_command(self):
        m = self.start("sim-modem", "--at-unix", self.path("at"), "--at-pty", self.path("tty"))
        with tbtest.connect(m.ready["vpcd"]) as card, Te(m.ready["at"]["unix"]) as te, Te(m.ready["at"]["pty"]):
            te.send("AT+CIMI\r")
            self.assertEqual(card.recv(6), b"\0\1\1\0\1\4")
            self.assertEqual(m.stop(), 0)

    def test_ends_on_an_interrupt(self):
        m = self.start("sim-modem", "--at-unix", self.path("at"))
        m.signal(signal.SIGINT)
        self.assertEqual(m.wait(), 0)


if __name__ == "__main__":
    tbtest.main()
