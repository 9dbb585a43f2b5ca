"""A private pcscd with Debian's vpcd driver, in namespaces of its own, so that neither the system's daemon nor other tests
are touched. A test calls enter() before anything else."""
import ctypes
import ctypes.util
import fcntl
import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import tbtest

INSIDE = "TB_INSIDE_NAMESPACE"
PORT = 35963  # any will do: the network is ours alone
SOCKET = "/run/pcscd/pcscd.comm"


def need(what, found):
    if not found:
        tbtest.skip("no " + what)
    return found


PCSCD = need("pcscd", shutil.which("pcscd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"))
DRIVER = need("vpcd driver", glob.glob("/usr/lib/pcsc/drivers/serial/libifdvpcd.so*"))
LIBRARY = need("libpcsclite", ctypes.util.find_library("pcsclite"))


def enter():
    """Runs this script again with its own mounts, network and processes; the latter end with it."""
    if not os.environ.get(INSIDE):
        command = [need("unshare", shutil.which("unshare")), "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc"]
        if os.getuid() != 0:
            command += ["-U", "-r"]
        if subprocess.run(command + ["true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            tbtest.skip("namespaces are not permitted here")
        os.environ[INSIDE] = "1"
        os.execvp(command[0], command + [sys.executable, *sys.argv])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        flags = struct.unpack("16sh", fcntl.ioctl(s, 0x8913, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", flags | 1))
    os.makedirs("/run/pcscd", exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "none", "/run/pcscd"], check=False).returncode != 0:
        tbtest.skip("mounts are not permitted here")


class Pcscd:
    """The daemon with one reader, "Test Reader", on PORT. Its socket is ours and handed over, as systemd does it: clients can
    connect from the start, whenever the daemon gets to it."""

    def __init__(self, case):
        config = case.path("reader.conf.d")
        os.mkdir(config)
        driver = case.path("libifdvpcd.so")  # a copy of its own: the driver's state is per file (docs/card.md)
        shutil.copy(DRIVER[0], driver)
        with open(os.path.join(config, "card"), "w") as f:
            f.write('FRIENDLYNAME "Test Reader"\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n' % (PORT, driver, PORT))
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(SOCKET)
            listener.listen(16)
            start = 'exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"' % listener.fileno()
            self.process = subprocess.Popen(["bash", "-c", start, "bash", PCSCD, "-f", "-i", "-c", config], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(listener.fileno(),))
        case.addCleanup(self.stop)
        self._wait_for(b"daemon ready")
        # From here on nobody reads: its log must not fill the pipe.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)

    def _wait_for(self, wanted):
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if wanted in line:
                return
        raise AssertionError("pcscd ended: %r" % seen[-20:])

    def stop(self):
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(tbtest.WAIT)
        self.process.stdout.close()
        self.drain.wait(tbtest.WAIT)


class Pcsc:
    """The little of PC/SC that the tests need, straight from libpcsclite."""

    class IoRequest(ctypes.Structure):
        _fields_ = [("protocol", ctypes.c_ulong), ("length", ctypes.c_ulong)]

    class ReaderState(ctypes.Structure):
        _fields_ = [("reader", ctypes.c_char_p), ("user", ctypes.c_void_p), ("current", ctypes.c_ulong),
                    ("event", ctypes.c_ulong), ("atr_length", ctypes.c_ulong), ("atr", ctypes.c_ubyte * 33)]

    PRESENT, EMPTY = 0x20, 0x10
    SHARED, LEAVE, UNPOWER = 2, 0, 2
    T0, T1 = 1, 2

    def __init__(self):
        self.library = ctypes.CDLL(LIBRARY)
        self.context = ctypes.c_long()
        self.card = ctypes.c_long()
        self.call("SCardEstablishContext", ctypes.c_ulong(2), None, None, ctypes.byref(self.context))

    def call(self, name, *args):
        result = getattr(self.library, name)(*args) & 0xFFFFFFFF
        if result:
            raise OSError("%s: %08X" % (name, result))

    def readers(self):
        size = ctypes.c_ulong(1024)
        names = ctypes.create_string_buffer(size.value)
        self.call("SCardListReaders", self.context, None, names, ctypes.byref(size))
        return [name for name in names.raw[:size.value].split(b"\0") if name]

    def wait(self, reader, wanted, changes=0):
        """Blocks until the reader's state has one of the wanted bits and cards have come or gone at least that often
        since pcscd's start; the ATR in hex and that number."""
        state = self.ReaderState(reader=reader)
        deadline = time.monotonic() + tbtest.WAIT
        while True:
            self.call("SCardGetStatusChange", self.context, ctypes.c_ulong(int(tbtest.WAIT * 1000)),
                      ctypes.byref(state), ctypes.c_ulong(1))
            if state.event & wanted and state.event >> 16 & 0xFFFF >= changes:
                return bytes(state.atr[:state.atr_length]).hex().upper(), state.event >> 16 & 0xFFFF
            if time.monotonic() > deadline:
                raise TimeoutError("reader state %X" % state.event)
            state.current = state.event

    def connect(self, reader, protocols=T0 | T1):
        protocol = ctypes.c_ulong()
        self.call("SCardConnect", self.context, reader, ctypes.c_ulong(self.SHARED), ctypes.c_ulong(protocols),
                  ctypes.byref(self.card), ctypes.byref(protocol))
        self.request = self.IoRequest(protocol.value, ctypes.sizeof(self.IoRequest))
        return protocol.value

    def transmit(self, command):
        answer = ctypes.create_string_buffer(65538)
        size = ctypes.c_ulong(len(answer))
        self.call("SCardTransmit", self.card, ctypes.byref(self.request), command, ctypes.c_ulong(len(command)), None,
                  answer, ctypes.byref(size))
        return answer.raw[:size.value]

    def disconnect(self, disposition=LEAVE):
        self.call("SCardDisconnect", self.card, ctypes.c_ulong(disposition))

    def close(self):
        self.call("SCardReleaseContext", self.context)
