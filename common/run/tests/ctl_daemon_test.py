"""The control socket and the life of a daemon, seen from outside."""
import json
import os
import signal
import socket

import tbtest


class ControlSocket(tbtest.Case):
    def demo(self, *args, ctl=None):
        return self.start("tb-demo", "--ctl", ctl or self.socket("demo"), *args)

    def refused(self, *args):
        """What it says when it cannot start."""
        done = tbtest.run("tb-demo", *args)
        assert done.returncode == 1, done
        return done.stderr

    def test_answers_over_unix_and_tcp(self):
        for ctl in (self.socket("demo"), "127.0.0.1:0", "[::1]:0"):
            demo = self.demo(ctl=ctl)
            assert demo.ask("greet", name="Ann")["text"] == "hello, Ann"
            assert demo.stop() == 0
        assert not os.path.exists(self.path("demo.sock"))

    def test_ready_line_names_the_real_address(self):
        demo = self.demo(ctl=":0")
        host, port = demo.ready["ctl"].rsplit(":", 1)
        assert host == "127.0.0.1" and int(port) > 0

    def test_id_is_echoed_whatever_it_is(self):
        demo = self.demo()
        with demo.ctl() as c:
            for request_id in (7, "seven", 1.5, None, [1]):
                c.socket.sendall(json.dumps({"id": request_id, "verb": "version"}).encode() + b"\n")
                reply = c.message()
                assert reply == {"id": request_id, "ok": True, "program": "tb-demo", "version": reply["version"]}

    def test_help_lists_own_and_common_verbs(self):
        verbs = self.demo().ask("help")["verbs"]
        assert set(verbs) == {"help", "quit", "subscribe", "version", "greet", "park", "unpark"}

    def test_errors_keep_the_connection(self):
        demo = self.demo()
        with demo.ctl() as c:
            for request, error in (
                ({"verb": "gret"}, "unknown verb 'gret': did you mean 'greet'?"),
                ({"verb": "nothing-like-it"}, "unknown verb 'nothing-like-it'"),
                ({"verb": 5}, 'a member "verb" with a text is wanted'),
                ({}, 'a member "verb" with a text is wanted'),
                ({"verb": "greet"}, "greet wants a name"),
            ):
                c.socket.sendall(json.dumps(request).encode() + b"\n")
                assert c.message() == {"ok": False, "error": error}
            c.ok("version")

    def test_garbage_is_answered_and_ends_the_connection(self):
        demo = self.demo()
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"[1]\n", b"\x00\xff\n", b"{\n", b'{"verb":"a","verb":"b"}\n'):
            with demo.ctl() as c:
                c.socket.sendall(garbage)
                reply = c.message()
                assert reply["ok"] is False and "not " in reply["error"], reply
                assert c.ended()
        demo.ask("version")

    def test_overlong_lines_are_answered_and_end_the_connection(self):
        demo = self.demo(ctl="127.0.0.1:0")
        for line in (b"x" * 70000, b'{"verb":"version","x":"' + b"y" * 70000 + b'"}\n'):
            with demo.ctl() as c:
                c.socket.sendall(line)
                assert "64 KiB" in c.message()["error"]
                assert c.ended()

    def test_long_line_within_the_limit_in_small_pieces(self):
        demo = self.demo()
        with demo.ctl() as c:
            line = json.dumps({"id": 1, "verb": "greet", "name": "n" * 65000}).encode() + b"\r\n"
            for at in range(0, len(line), 1000):
                c.socket.sendall(line[at : at + 1000])
            assert len(c.reply(1)["text"]) == 65000 + len("hello, ")

    def test_many_requests_in_one_write_are_answered_in_order(self):
        demo = self.demo()
        with demo.ctl() as c:
            c.socket.sendall(b"".join(b'{"id":%d,"verb":"version"}\n' % i for i in range(500)))
            assert [c.message()["id"] for _ in range(500)] == list(range(500))

    def test_half_closed_client_gets_its_replies(self):
        demo = self.demo()
        with demo.ctl() as c:
            c.socket.sendall(b'{"verb":"help"}\n' * 2000)
            c.socket.shutdown(socket.SHUT_WR)
            for _ in range(2000):
                assert c.message()["ok"]
            assert c.ended()

    def test_late_replies_reach_the_right_request(self):
        demo = self.demo()
        with demo.ctl() as c:
            parked = c.send("park")
            c.ok("version")
            demo.ask("unpark")
            assert c.reply(parked)["was_parked"] is True

    def test_late_reply_to_a_client_that_left(self):
        demo = self.demo()
        with demo.ctl() as c:
            c.send("park")
            c.ok("version")
        with demo.ctl() as c:
            c.ok("unpark")
            assert c.request("unpark") == {"id": 2, "ok": False, "error": "nobody is parked"}

    def test_too_many_requests_under_way(self):
        demo = self.demo()
        with demo.ctl() as c:
            c.send("park")
            for _ in range(100):  # refused by the verb: none of them stays under way
                c.send("park")
            assert "already" in c.reply(101)["error"]

    def test_events_reach_subscribers_and_the_event_file(self):
        demo = self.demo("--event-file", self.path("events.jsonl"))
        with demo.ctl().subscribe() as a, demo.ctl().subscribe() as b, demo.ctl() as quiet:
            quiet.ok("greet", name="Ann")
            quiet.ok("greet", name="Ben")
            for c in (a, b):
                event = c.expect("greeted", name="Ben")
                assert event["from"] == "tb-demo" and isinstance(event["ts"], int)
            assert quiet.events == []
        assert demo.stop() == 0
        with open(self.path("events.jsonl")) as f:
            assert [json.loads(line)["name"] for line in f] == ["Ann", "Ben"]

    def test_subscriber_that_does_not_read_is_dropped(self):
        demo = self.demo()
        with demo.ctl().subscribe() as lazy, demo.ctl() as busy:
            name = "n" * 60000
            for _ in range(40):
                busy.ok("greet", name=name)
            busy.ok("version")
            assert lazy.ended(), "what the kernel holds can still be read, then comes the end"
        assert "dropped" in self.log_of(demo)

    def test_stale_socket_is_replaced_and_a_live_one_refused(self):
        first = self.demo()
        assert "address already in use" in self.refused("--ctl", self.socket("demo")).lower()
        assert first.ask("version")["ok"], "the refused one must not harm the first"
        first.kill()
        assert os.path.exists(self.path("demo.sock"))
        second = self.demo()
        second.ask("version")

    def test_a_file_that_is_no_socket_is_left_alone(self):
        path = self.write("demo.sock", "precious")
        self.refused("--ctl", path)
        with open(path) as f:
            assert f.read() == "precious"

    def test_socket_of_a_successor_is_not_removed(self):
        first = self.demo()
        os.unlink(self.path("demo.sock"))
        second = self.demo()
        assert first.stop() == 0
        second.ask("version")

    def test_overlong_socket_path_is_a_clear_error(self):
        assert "longer than 107 bytes" in self.refused("--ctl", "unix:/" + "p" * 200)

    def test_quit_is_answered_before_the_end(self):
        demo = self.demo()
        demo.ask("quit")
        assert demo.wait() == 0

    def test_sigterm_and_sigint_end_in_order_with_clients_connected(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            demo = self.demo()
            with demo.ctl().subscribe(), demo.ctl() as parked:
                parked.send("park")
                parked.ok("version")
                demo.signal(number)
                assert demo.wait() == 0, self.log_of(demo)

    def test_socket_file_vanishes_at_the_end(self):
        assert self.demo().stop() == 0
        assert not os.path.exists(self.path("demo.sock"))


if __name__ == "__main__":
    tbtest.main()
