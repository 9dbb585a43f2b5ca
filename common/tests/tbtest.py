"""What component tests share: daemons with a ready line, control sockets, deadlines. Standard library only.

A test script defines unittest.TestCase classes and ends with tbtest.main(). Nothing here sleeps: every wait is for a
byte, an event or the end of a process, with a deadline."""
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.environ.get("TB_BIN", "build/release/bin")
SOURCE = os.environ.get("TB_SOURCE", os.getcwd())
FACTOR = float(os.environ.get("TB_TIMEOUT_FACTOR", "1"))
WAIT = 20 * FACTOR  # seconds that a wait may take; far beyond what it should on a loaded machine


def program(name):
    return os.path.join(BIN, name)


def skip(reason):
    """Ends the whole script as skipped."""
    print("skipped: " + reason)
    sys.exit(77)


def temp_dir():
    """A context manager; short, since Unix socket paths are limited to 107 bytes."""
    return tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp")


def connect(address, timeout=WAIT):
    """A socket to "host:port" or "unix:/path"."""
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(timeout)
        s.connect(address[5:])
        return s
    host, _, port = address.rpartition(":")
    s = socket.create_connection((host.strip("[]"), int(port)), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Ctl:
    """A control connection: requests, and after subscribe() events in order of arrival."""

    def __init__(self, address):
        self.socket = connect(address)
        self.buffer = b""
        self.events = []
        self.next_id = 0

    def _line(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("nothing from the control socket; events so far: %r" % self.events)
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                continue
            if not data:
                raise ConnectionError("the control connection was closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def raw(self, text):
        """Sends text as it is and returns the next line that is no event."""
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())
        return self._reply(lambda message: True, WAIT)

    def _reply(self, mine, timeout):
        deadline = time.monotonic() + timeout
        while True:
            message = self._line(deadline)
            if "event" in message and "ok" not in message:
                self.events.append(message)
            elif mine(message):
                return message

    def request(self, verb, timeout=WAIT, **members):
        """The reply, whether ok or not."""
        self.next_id += 1
        id_ = self.next_id
        self.socket.sendall(json.dumps(dict(members, id=id_, verb=verb)).encode() + b"\n")
        return self._reply(lambda message: message.get("id") == id_, timeout)

    def ok(self, verb, timeout=WAIT, **members):
        """The reply, which has to be ok."""
        reply = self.request(verb, timeout, **members)
        if not reply.get("ok"):
            raise AssertionError("%s %r: %s" % (verb, members, reply.get("error")))
        return reply

    def subscribe(self):
        self.ok("subscribe")
        return self

    def expect(self, event, timeout=WAIT, **fields):
        """Takes the first event of that name with these fields; older ones are thrown away."""
        deadline = time.monotonic() + timeout
        seen = []
        while True:
            while self.events:
                message = self.events.pop(0)
                if message["event"] == event and all(message.get(k) == v for k, v in fields.items()):
                    return message
                seen.append(message)
            try:
                self.events.append(self._line(deadline))
            except TimeoutError:
                raise AssertionError("no event %s %r; seen: %r" % (event, fields, seen)) from None

    def close(self):
        self.socket.close()


class Daemon:
    """A program of the testbed with --ready-fd. ready: its ready line. A context manager that stops it."""

    def __init__(self, name, *args, env=None, log=None, prefix=(), wait=True):
        r, w = os.pipe()
        self.name = name
        self.status = None
        self.ready = None
        self._ready_fd = r
        self._log = open(log, "ab") if log else None
        try:
            self.process = subprocess.Popen(
                [*prefix, program(name), *map(str, args), "--ready-fd", str(w)],
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=[w],
                env=dict(os.environ, **(env or {})))
        finally:
            os.close(w)
        self.pid = self.process.pid
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=WAIT):
        data = b""
        deadline = time.monotonic() + timeout
        while not data.endswith(b"\n"):
            if not select.select([self._ready_fd], [], [], max(0, deadline - time.monotonic()))[0]:
                self.kill()
                raise TimeoutError("%s did not become ready" % self.name)
            piece = os.read(self._ready_fd, 65536)
            if not piece:
                raise AssertionError("%s ended before it was ready, status %s" % (self.name, self.wait()))
            data += piece
        os.close(self._ready_fd)
        self._ready_fd = None
        self.ready = json.loads(data)
        return self.ready

    def ctl(self):
        return Ctl(self.ready["ctl"])

    def wait(self, timeout=WAIT):
        """The exit status; minus the signal's number when one killed it."""
        if self.status is None:
            self.status = self.process.wait(timeout)
            if self._log:
                self._log.close()
            if self._ready_fd is not None:
                os.close(self._ready_fd)
                self._ready_fd = None
        return self.status

    def signal(self, signum):
        if self.status is None:
            os.kill(self.pid, signum)

    def stop(self, timeout=WAIT):
        """SIGTERM; returns the exit status, and fails when it does not end in time."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("%s did not end on SIGTERM" % self.name) from None

    def kill(self):
        """As a power cut: SIGKILL."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            status = self.stop()
            assert status == 0, "%s ended with status %s" % (self.name, status)
        else:
            self.kill()


def run(name, *args, timeout=60, **kwargs):
    """Runs a program of the testbed to its end; stdout and stderr as text."""
    return subprocess.run([program(name), *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout * FACTOR, **kwargs)


def main():
    unittest.main(verbosity=2)
