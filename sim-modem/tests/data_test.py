"""The packet service: SOCKS 5 as RFC 1928 has it, hostile clients, and the modem's state above it."""
import shutil
import socket
import struct
import subprocess
import threading
import time

import tbtest
from modemtest import ModemCase

OK, FAILURE, NOT_ALLOWED, NO_NETWORK, NO_HOST, REFUSED, NO_COMMAND, NO_TYPE = 0, 1, 2, 3, 4, 5, 7, 8


def ipv4(host, port):
    return b"\1" + socket.inet_aton(host) + struct.pack(">H", port)


def ipv6(host, port):
    return b"\4" + socket.inet_pton(socket.AF_INET6, host) + struct.pack(">H", port)


def named(host, port):
    return b"\3" + bytes((len(host),)) + host.encode() + struct.pack(">H", port)


class Socks:
    """A client that says what it is told to."""

    def __init__(self, address, greet=True):
        self.socket = tbtest.connect(address)
        if greet:
            self.socket.sendall(b"\5\1\0")
            assert self.exactly(2) == b"\5\0"

    def exactly(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise ConnectionError("closed after %r" % data)
            data += piece
        return data

    def reply(self):
        """Code and bound address of a reply."""
        head = self.exactly(4)
        assert head[0] == 5 and head[2] == 0, head
        length = {1: 4, 4: 16}[head[3]]
        host = self.exactly(length)
        port = struct.unpack(">H", self.exactly(2))[0]
        return head[1], socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, host), port

    def ask(self, command, address):
        self.socket.sendall(bytes((5, command, 0)) + address)
        return self.reply()

    def connect(self, address):
        code = self.ask(1, address)[0]
        assert code == OK, code
        return self

    def closed(self):
        """The rest, up to the end of the connection."""
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
        return data

    def close(self):
        self.socket.close()


class Echo:
    """A TCP server that sends back what it gets, and after the end of that "bye"."""

    def __init__(self, family=socket.AF_INET):
        self.socket = socket.socket(family)
        self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.socket.listen(64)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                one = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._echo, args=(one,), daemon=True).start()

    @staticmethod
    def _echo(one):
        try:
            with one:
                while data := one.recv(65536):
                    one.sendall(data)
                one.sendall(b"bye")
        except OSError:
            pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Data(ModemCase):
    def begin(self, *args, card=True):
        self.modem("--data", "127.0.0.1:0", *args)
        self.address = self.m.ready["data"]
        if card:
            self.card()
            while not self.up():
                pass

    def up(self):
        return self.m.ask("state")["packet_service"]

    def echo(self, *args):
        server = Echo(*args)
        self.addCleanup(server.close)
        return server

    def socks(self, greet=True):
        client = Socks(self.address, greet)
        self.addCleanup(client.close)
        return client

    def data(self):
        return self.m.ask("counters")["data"]

    # --- the protocol ---

    def test_connects_to_every_kind_of_address(self):
        self.begin()
        server = self.echo()
        for address in (ipv4("127.0.0.1", server.port), named("127.0.0.1", server.port),
                        named("localhost", server.port)):
            client = self.socks()
            code, host, port = client.ask(1, address)
            self.assertEqual((code, host), (OK, "127.0.0.1"))
            self.assertNotIn(port, (0, server.port))
            client.socket.sendall(b"hello")
            self.assertEqual(client.exactly(5), b"hello")
        if socket.has_ipv6:
            try:
                six = self.echo(socket.AF_INET6)
            except OSError:
                return
            client = self.socks().connect(ipv6("::1", six.port))
            client.socket.sendall(b"six")
            self.assertEqual(client.exactly(3), b"six")

    def test_a_client_that_waits_for_nothing_is_served_all_the_same(self):
        self.begin()
        server = self.echo()
        client = self.socks(greet=False)
        client.socket.sendall(b"\5\2\2\0" + b"\5\1\0" + ipv4("127.0.0.1", server.port) + b"at once")
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.exactly(2), b"\5\0")
        self.assertEqual(client.reply()[0], OK)
        self.assertEqual(client.closed(), b"at oncebye")

    def test_a_message_may_come_byte_by_byte(self):
        self.begin()
        server = self.echo()
        client = self.socks(greet=False)
        for byte in b"\5\1\0":
            client.socket.sendall(bytes((byte,)))
        self.assertEqual(client.exactly(2), b"\5\0")
        for byte in b"\5\1\0" + named("localhost", server.port):
            client.socket.sendall(bytes((byte,)))
        self.assertEqual(client.reply()[0], OK)

    def test_half_a_close_leaves_the_other_half(self):
        self.begin()
        server = self.echo()
        client = self.socks().connect(ipv4("127.0.0.1", server.port))
        client.socket.sendall(b"last words")
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.closed(), b"last wordsbye")

    def test_much_passes_whole_with_back_pressure(self):
        self.begin()
        server = self.echo()
        client = self.socks().connect(ipv4("127.0.0.1", server.port))
        payload = bytes(range(256)) * (1 << 14)  # 4 MiB
        sender = threading.Thread(target=lambda: (client.socket.sendall(payload),
                                                  client.socket.shutdown(socket.SHUT_WR)))
        sender.start()
        self.assertEqual(client.closed(), payload + b"bye")
        sender.join()
        radio = self.m.ask("latency")["radio"]
        self.assertEqual((radio["bytes_up"], radio["bytes_down"]), (len(payload), len(payload) + 3))

    def test_the_far_side_ends_first(self):
        self.begin()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            client = self.socks().connect(ipv4("127.0.0.1", listener.getsockname()[1]))
            far = listener.accept()[0]
            far.sendall(b"all I know")
            far.close()
            self.assertEqual(client.closed(), b"all I know")

    def test_errors_have_their_codes(self):
        self.begin()
        nobody = int(tbtest.free_tcp_address().rpartition(":")[2])
        for command, address, code in (
                (1, ipv4("127.0.0.1", nobody), REFUSED),
                (1, named("localhost", nobody), REFUSED),
                (1, named("no-such-host.invalid", 80), NO_HOST),
                (2, ipv4("127.0.0.1", nobody), NO_COMMAND),
                (9, ipv4("127.0.0.1", nobody), NO_COMMAND),
                (1, b"\2" + bytes(6), NO_TYPE),
                (1, named("a b", 80), FAILURE),
                (1, b"\3\0\0\1", FAILURE)):
            client = self.socks()
            self.assertEqual(client.ask(command, address)[0], code, (command, address))
            self.assertEqual(client.closed(), b"")
        client = self.socks()
        client.socket.sendall(b"\5\1\1" + ipv4("127.0.0.1", nobody))  # the reserved byte
        self.assertEqual(client.reply()[0], FAILURE)
        self.assertEqual(self.data()["refused"], 9)

    def test_authentication_is_not_on_offer(self):
        self.begin()
        for greeting in (b"\5\1\2", b"\5\0", b"\5\3\1\2\3"):
            client = self.socks(greet=False)
            client.socket.sendall(greeting)
            self.assertEqual(client.exactly(2), b"\5\xFF")
            self.assertEqual(client.closed(), b"")

    def test_other_protocols_are_closed_without_a_word(self):
        self.begin()
        for hello in (b"\4\1\0\x50\x7F\0\0\1\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\3\1\0\1"):
            client = self.socks(greet=False)
            client.socket.sendall(hello)
            self.assertEqual(client.closed(), b"")
        self.assertTrue(self.up())

    def test_hostile_clients_leave_nothing_behind(self):
        self.begin()
        server = self.echo()
        halves = [b"", b"\5", b"\5\xFF\1", b"\5\1\0\5\1\0", b"\5\1\0\5\1\0\3\xFFabc"]
        for half in halves:
            client = self.socks(greet=False)
            client.socket.sendall(half)
            client.close()
        flood = self.socks(greet=False)
        flood.socket.sendall(b"\5\1\0" + b"\5\1\0" + named("no-such-host.invalid", 1) + bytes(1 << 16))
        self.assertEqual(flood.exactly(2), b"\5\0")
        flood.closed()
        crowd = [self.socks(greet=False) for _ in range(300)]
        turned_away = 0
        for client in crowd:
            try:
                client.socket.sendall(b"\5\1\0")
                client.exactly(2)
            except (ConnectionError, BrokenPipeError):
                turned_away += 1
        self.assertGreaterEqual(turned_away, 300 - 256)
        for client in crowd:
            client.close()
        self.wait_open(0)
        self.socks().connect(ipv4("127.0.0.1", server.port))

    def wait_open(self, n):
        deadline = time.monotonic() + tbtest.WAIT
        while self.data()["open"] != n:
            self.assertLess(time.monotonic(), deadline)

    # --- UDP ---

    def udp_server(self):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        server.settimeout(tbtest.WAIT)
        self.addCleanup(server.close)
        return server

    def associate(self, port=0):
        control = self.socks()
        code, host, at = control.ask(3, ipv4("0.0.0.0", port))
        self.assertEqual((code, host), (OK, "127.0.0.1"))
        mine = self.udp_server()
        mine.connect((host, at))
        return control, mine

    def test_datagrams_go_both_ways(self):
        self.begin()
        _, mine = self.associate()
        for address in (lambda p: ipv4("127.0.0.1", p), lambda p: named("localhost", p)):
            server = self.udp_server()
            to = address(server.getsockname()[1])
            for size in (0, 5, 1400, 9000):
                mine.send(b"\0\0\0" + to + bytes(size))
                data, relay = server.recvfrom(65536)
                self.assertEqual(len(data), size)
                server.sendto(b"answer" + data, relay)
                self.assertEqual(mine.recv(65536),
                                 b"\0\0\0" + ipv4("127.0.0.1", server.getsockname()[1]) + b"answer" + data)
        radio = self.m.ask("latency")["radio"]
        self.assertEqual((radio["datagrams_up"], radio["datagrams_down"], radio["lost"]), (8, 8, 0))

    def test_the_relay_is_for_its_client_and_its_peers(self):
        self.begin()
        server, stranger = self.udp_server(), self.udp_server()
        _, mine = self.associate()
        to = b"\0\0\0" + ipv4("127.0.0.1", server.getsockname()[1])
        mine.send(to + b"first")
        data, outside = server.recvfrom(100)
        self.assertEqual(data, b"first")
        stranger.sendto(to + b"not mine", mine.getpeername())  # another port of the same host
        stranger.sendto(b"unasked", outside)                   # nobody who was asked
        for bad in (b"", b"\0", b"\0\0\1" + to[3:] + b"fragment", b"\1\0\0" + to[3:] + b"x", b"\0\0\0\7\1\2",
                    to[:-1], b"\0\0\0" + ipv4("127.0.0.1", 0) + b"port 0"):
            mine.send(bad)
        mine.send(to + b"second")
        self.assertEqual(server.recv(100), b"second")
        server.sendto(b"asked", outside)
        self.assertTrue(mine.recv(100).endswith(b"asked"))

    def test_a_named_port_is_the_only_one(self):
        self.begin()
        mine, other, server = self.udp_server(), self.udp_server(), self.udp_server()
        control = self.socks()
        _, host, at = control.ask(3, ipv4("127.0.0.1", mine.getsockname()[1]))
        to = b"\0\0\0" + ipv4("127.0.0.1", server.getsockname()[1])
        other.sendto(to + b"no", (host, at))
        mine.sendto(to + b"yes", (host, at))
        self.assertEqual(server.recv(100), b"yes")
        self.assertEqual(self.socks().ask(3, ipv4("192.0.2.1", 1))[0], NOT_ALLOWED)

    def test_the_association_ends_with_its_connection(self):
        self.begin()
        control, mine = self.associate()
        self.assertEqual(self.data()["open"], 1)
        control.socket.sendall(b"noise")
        control.close()
        self.wait_open(0)
        mine.send(b"\0\0\0" + ipv4("127.0.0.1", 9) + b"x")
        with self.assertRaises(ConnectionRefusedError):  # the relay's socket is gone
            mine.recv(100)

    # --- the modem ---

    def test_without_registration_there_is_no_network(self):
        self.begin(card=False)
        server = self.echo()
        self.assertFalse(self.up())
        for command in (1, 3):
            self.assertEqual(self.socks().ask(command, ipv4("127.0.0.1", server.port))[0], NO_NETWORK)
        self.card()
        while not self.up():
            pass
        self.socks().connect(ipv4("127.0.0.1", server.port))

    def test_what_ends_the_packet_service_cuts_what_is_open(self):
        self.begin()
        server = self.echo()
        te = self.te()

        def verb(state):
            return lambda: self.m.ask("registration", state=state)
        for end, again in ((lambda: te.at("+CGATT=0"), lambda: te.at("+CGATT=1")),
                           (lambda: te.at("+CFUN=4"), lambda: te.at("+CFUN=1")),
                           (lambda: te.at("+CFUN=0"), lambda: te.at("+CFUN=1")),
                           (lambda: te.at("+COPS=2"), lambda: te.at("+COPS=0")),
                           (verb("denied"), verb("roaming"))):
            while not self.up():
                pass
            tcp = self.socks().connect(ipv4("127.0.0.1", server.port))
            udp, _ = self.associate()
            end()
            self.assertEqual(tcp.closed(), b"")
            self.assertEqual(udp.closed(), b"")
            self.assertEqual(self.socks().ask(1, ipv4("127.0.0.1", server.port))[0], NO_NETWORK)
            again()
        while not self.up():
            pass
        self.socks().connect(ipv4("127.0.0.1", server.port))
        self.assertEqual(self.data()["cut"], 10)

    def test_a_removed_card_takes_the_network_with_it(self):
        self.modem("--data", "127.0.0.1:0")
        self.address = self.m.ready["data"]
        card = self.card()
        while not self.up():
            pass
        client = self.socks().connect(ipv4("127.0.0.1", self.echo().port))
        card.remove()
        self.assertEqual(client.closed(), b"")

    # --- the radio ---

    def test_the_radio_costs_at_least_its_round_trips(self):
        self.begin("--radio", "lte-m", "--seed", "7")
        server = self.echo()
        start = time.monotonic()
        client = self.socks().connect(ipv4("127.0.0.1", server.port))
        self.assertGreaterEqual(time.monotonic() - start, 0.05)
        start = time.monotonic()
        client.socket.sendall(bytes(375))   # 8 ms up at 375 kbit/s, 10 ms down at 300
        client.exactly(375)
        self.assertGreaterEqual(time.monotonic() - start, 0.05 + 0.018)
        radio = self.m.ask("latency")["radio"]
        self.assertEqual((radio["round_trips"], radio["bytes_up"], radio["bytes_down"]), (2, 375, 375))
        self.assertEqual(radio["modelled_us"]["lte-m"],
                         {"round_trips": 200000, "bytes_up": 8000, "bytes_down": 10000, "total": 218000})
        self.assertGreaterEqual(radio["waited_us"], 118000)

    def test_datagrams_by_radio_are_late_or_lost(self):
        self.begin("--radio", "lte-m")
        server = self.udp_server()
        _, mine = self.associate()
        start = time.monotonic()
        mine.send(b"\0\0\0" + ipv4("127.0.0.1", server.getsockname()[1]) + b"ping")
        data, relay = server.recvfrom(100)
        server.sendto(data, relay)
        mine.recv(100)
        self.assertGreaterEqual(time.monotonic() - start, 0.05)
        self.assertEqual(self.m.ask("latency")["radio"]["round_trips"], 1)

    def test_order_is_kept_and_the_end_comes_last_by_radio(self):
        self.begin("--radio", "lte-m")
        server = self.echo()
        client = self.socks().connect(ipv4("127.0.0.1", server.port))
        payload = b"".join(struct.pack(">H", i) for i in range(2000))
        client.socket.sendall(payload)
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.closed(), payload + b"bye")

    def test_a_slow_radio_can_be_switched_off_and_cut(self):
        self.begin("--radio", "nb-iot-deep")
        server = self.echo()
        slow = self.socks()
        slow.socket.sendall(b"\5\1\0" + ipv4("127.0.0.1", server.port))
        self.m.ask("registration", state="denied")
        self.assertLessEqual(len(slow.closed()), 10)
        self.m.ask("registration", state="home")
        with self.m.ctl() as ctl:
            self.assertIn("nb-iot-deep", ctl.request("latency", radio="nb-iot")["error"])
            self.assertEqual(ctl.ok("latency", radio="off")["radio"]["profile"], "off")
        client = self.socks().connect(ipv4("127.0.0.1", server.port))
        client.socket.sendall(b"quick")
        self.assertEqual(client.exactly(5), b"quick")

    # --- unmodified clients ---

    def test_curl_comes_through(self):
        if not shutil.which("curl"):
            self.skipTest("no curl")
        self.begin()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(8)
            port = listener.getsockname()[1]

            def serve():
                for _ in range(3):
                    one = listener.accept()[0]
                    with one:
                        one.recv(4096)
                        one.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            threading.Thread(target=serve, daemon=True).start()
            for option, url in (("--socks5", "http://127.0.0.1:%d/"), ("--socks5", "http://localhost:%d/"),
                                ("--socks5-hostname", "http://localhost:%d/")):
                done = subprocess.run(["curl", "-sS", "-4", "--noproxy", "", option, self.address, url % port],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tbtest.WAIT, check=False)
                self.assertEqual((done.returncode, done.stdout), (0, b"hi"), done.stderr)

    def test_the_proxy_may_be_a_unix_socket(self):
        self.modem("--data", self.socket("data"))
        self.address = self.m.ready["data"]
        self.card()
        while not self.up():
            pass
        client = self.socks().connect(ipv4("127.0.0.1", self.echo().port))
        client.socket.sendall(b"unix")
        self.assertEqual(client.exactly(4), b"unix")
        server = self.udp_server()
        _, mine = self.associate()
        mine.send(b"\0\0\0" + ipv4("127.0.0.1", server.getsockname()[1]) + b"udp")
        self.assertEqual(server.recv(100), b"udp")

    def test_ends_cleanly_with_everything_open(self):
        self.begin("--radio", "lte-m")
        client = self.socks().connect(ipv4("127.0.0.1", self.echo().port))
        client.socket.sendall(bytes(100000))
        _, mine = self.associate()
        mine.send(b"\0\0\0" + ipv4("127.0.0.1", 9) + b"x")
        mine.send(b"\0\0\0" + named("no-such-host.invalid", 9) + b"x")
        pending = self.socks()
        pending.socket.sendall(b"\5\1\0" + named("no-such-host.invalid", 80))
        self.assertEqual(self.m.stop(), 0)
        client.closed()


if __name__ == "__main__":
    tbtest.main()
