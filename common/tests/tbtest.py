"""What component tests share: daemons with a ready line, control sockets, deadlines. Standard library only.

A test script defines tbtest.Case (or unittest.TestCase) classes and ends with tbtest.main(). Nothing here sleeps: every
wait is for a byte, an event or the end of a process, with a deadline.

    class Greeting(tbtest.Case):
        def test_greets(self):
            demo = self.start("sim-card", "--ctl", self.socket("card"))  # returns with the ready line read
            with demo.ctl().subscribe() as ctl:
                ctl.ok("insert")
                ctl.expect("card-linked")

Whatever a Case has started is killed at its end, its folder is removed, and the logs are shown when it failed."""
import ctypes
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
BUILD = os.environ.get("TB_BUILD", "build/release")
SOURCE = os.environ.get("TB_SOURCE", os.getcwd())
FACTOR = float(os.environ.get("TB_TIMEOUT_FACTOR", "1"))
WAIT = 20 * FACTOR  # seconds that a wait may take; far beyond what it should on a loaded machine


PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def program(name):
    """Path of a program of the testbed, or of one that only tests use."""
    for folder in (BIN, os.path.join(BUILD, "tests")):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return os.path.join(BIN, name)


def skip(reason):
    """Ends the whole script as skipped."""
    print("skipped: " + reason)
    sys.exit(77)


def temp_dir():
    """A context manager; short, since Unix socket paths are limited to 107 bytes."""
    return tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp")


def connect(address, timeout=WAIT):
    """A socket to "host:port", "[::1]:port", "unix:/path" or "/path"."""
    if address.startswith(("unix:", "/")):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            s.connect(address.removeprefix("unix:"))
        except OSError:
            s.close()
            raise
        return s
    host, _, port = address.rpartition(":")
    s = socket.create_connection((host.strip("[]"), int(port)), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def free_tcp_address():
    """A loopback address where nobody listens now, for refused connections."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % s.getsockname()[1]


def with_parent_dies(parent):
    """For Popen's preexec_fn: the child is killed when this test is."""
    def before_exec():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)
    return before_exec


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
        return self.reply(self.send(verb, **members), timeout)

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

    def message(self, timeout=WAIT):
        """The next line, reply or event."""
        return self._line(time.monotonic() + timeout)

    def send(self, verb, **members):
        """Sends a request without waiting; its id, for reply()."""
        self.next_id += 1
        self.socket.sendall(json.dumps(dict(members, id=self.next_id, verb=verb)).encode() + b"\n")
        return self.next_id

    def reply(self, id_, timeout=WAIT):
        """The reply to an earlier send()."""
        return self._reply(lambda message: message.get("id") == id_, timeout)

    def ended(self, timeout=WAIT):
        """Reads to the end of the connection, throwing away what comes; fails when it stays open."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self._line(deadline)
        except ConnectionError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


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
                env=dict(os.environ, **(env or {})), preexec_fn=with_parent_dies(os.getpid()))
        except BaseException:
            os.close(r)
            if self._log:
                self._log.close()
            raise
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

    def ask(self, verb, timeout=WAIT, **members):
        """One request, which has to be ok, on a connection of its own."""
        with self.ctl() as ctl:
            return ctl.ok(verb, timeout, **members)

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


class Case(unittest.TestCase):
    """A test with a temporary folder (self.dir) and daemons that do not outlive it."""

    def run(self, result=None):
        # Around setUp, test and cleanups: only here it is known whether the test has failed.
        result = result if result is not None else self.defaultTestResult()
        troubles = len(result.failures) + len(result.errors)
        self._daemons = []
        with temp_dir() as self.dir:
            try:
                return super().run(result)
            finally:
                self._end_daemons(show=len(result.failures) + len(result.errors) > troubles)

    def path(self, name):
        return os.path.join(self.dir, name)

    def socket(self, name):
        """Address of a Unix socket in the folder."""
        return "unix:" + self.path(name + ".sock")

    def write(self, name, text):
        """Makes a file; its path."""
        with open(self.path(name), "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        return self.path(name)

    def start(self, name, *args, **kwargs):
        """A Daemon whose output goes to a log in the folder."""
        log = self.path("%d-%s.log" % (len(self._daemons), os.path.basename(name)))
        wait = kwargs.pop("wait", True)
        daemon = Daemon(name, *args, log=log, wait=False, **kwargs)
        daemon.log_path = log
        self._daemons.append(daemon)
        if wait:
            daemon.wait_ready()
        return daemon

    def log_of(self, daemon):
        with open(daemon.log_path, errors="replace") as f:
            return f.read()

    def _end_daemons(self, show):
        for daemon in reversed(self._daemons):
            if daemon.process.poll() is None:
                daemon.signal(signal.SIGKILL)
            daemon.wait()
        for daemon in self._daemons if show else []:
            print("--- log of %s (status %s)\n%s" % (daemon.name, daemon.status, self.log_of(daemon)), flush=True)


def main():
    """Exit code 77 when every test was skipped. SIGTERM (ctest has ended) leaves no folders behind."""
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    result = unittest.main(verbosity=2, exit=False).result
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
