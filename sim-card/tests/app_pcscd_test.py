"""The card behind real PC/SC: a private pcscd with Debian's vpcd driver, in namespaces of its own, so that neither
the system's daemon nor other tests are touched."""
import ctypes
import ctypes.util
import fcntl
import glob
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import cardtest
import tbtest

INSIDE = "TB_INSIDE_NAMESPACE"
PORT = 35963  # any will do: the network is ours alone


def need(what, found):
    if not found:
        tbtest.skip("no " + what)
    return found


PCSCD = need("pcscd", shutil.which("pcscd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"))
DRIVER = need("vpcd driver", glob.glob("/usr/lib/pcsc/drivers/serial/libifdvpcd.so*"))
LIBRARY = need("libpcsclite", ctypes.util.find_library("pcsclite"))


def enter_namespaces():
    """Runs this script again with its own mounts, network and processes; the latter end with it."""
    if os.environ.get(INSIDE):
        return
    command = [need("unshare", shutil.which("unshare")), "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc"]
    if os.getuid() != 0:
        command += ["-U", "-r"]
    if subprocess.run(command + ["true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        tbtest.skip("namespaces are not permitted here")
    os.environ[INSIDE] = "1"
    os.execvp(command[0], command + [sys.executable, *sys.argv])


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        flags = struct.unpack("16sh", fcntl.ioctl(s, 0x8913, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", flags | 1))


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


class PcscLink(cardtest.Link):
    """A card's commands over PC/SC."""

    def __init__(self, pcsc):
        self.transmit = pcsc.transmit


class Pcscd(cardtest.CardCase):
    def setUp(self):
        self.start_pcscd()
        self.record = self.make("factory.card")
        self.daemon = self.run_card("--vpcd", "127.0.0.1:%d" % PORT)
        self.pcsc = Pcsc()
        self.addCleanup(self.pcsc.close)
        self.reader = self.pcsc.readers()[0]
        self.pcsc.wait(self.reader, Pcsc.PRESENT)

    def start_pcscd(self):
        config = self.path("reader.conf.d")
        os.mkdir(config)
        driver = self.path("libifdvpcd.so")  # a copy of its own: the driver's state is per file (docs/card.md)
        shutil.copy(DRIVER[0], driver)
        with open(os.path.join(config, "card"), "w") as f:
            f.write('FRIENDLYNAME "Test"\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n' %
                    (PORT, driver, PORT))
        log = self.path("pcscd.log")
        with open(log, "wb") as out:
            self.pcscd = subprocess.Popen([PCSCD, "-f", "-i", "-c", config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=out)
        self.addCleanup(self.stop_pcscd)
        self.read_pcscd(b"daemon ready")

    def read_pcscd(self, wanted):
        seen = []
        for line in self.pcscd.stdout:
            seen.append(line)
            if wanted in line:
                break
        else:
            self.fail("pcscd ended: %r" % seen)
        # From here on nobody reads: its log must not fill the pipe.
        self.drain = subprocess.Popen(["cat"], stdin=self.pcscd.stdout, stdout=subprocess.DEVNULL)

    def stop_pcscd(self):
        os.kill(self.pcscd.pid, signal.SIGTERM)
        self.pcscd.wait(tbtest.WAIT)
        self.pcscd.stdout.close()
        self.drain.wait(tbtest.WAIT)

    def link(self):
        self.pcsc.connect(self.reader)
        return PcscLink(self.pcsc)

    def test_reads_iccid_and_atr(self):
        self.assertEqual(self.pcsc.wait(self.reader, Pcsc.PRESENT)[0], cardtest.ATR_DEFAULT)
        card = self.link()
        card.ok("00A40004023F00")
        card.ok("00A40004022FE2")
        self.assertEqual(card.ok("00B000000A"), cardtest.swapped("8988211000000000011F"))

    def test_selects_and_signs_over_either_protocol(self):
        for protocol in (Pcsc.T1, Pcsc.T0):
            self.pcsc.connect(self.reader, protocol)
            card = PcscLink(self.pcsc)
            card.select()
            digest = os.urandom(32)
            cert = self.write("cert.pem", self.record["certificates"][0]["pem"])
            self.assertTrue(cardtest.verifies(self, cert, digest, card.sign(digest)))
            self.assertEqual(cardtest.fingerprint(card.read_file("02")), self.record["certificates"][0]["fingerprint"])
            self.pcsc.disconnect(Pcsc.UNPOWER)  # else the next one would find the protocol chosen

    def test_costs_no_delayed_acknowledgements(self):
        # Debian's driver sends length and body in two segments: without TCP_QUICKACK each command takes 40 ms or more.
        card = self.link()
        count = 200
        start = time.monotonic()
        for _ in range(count):
            card.apdu("00A40004023F00")
        took = time.monotonic() - start
        print("%d exchanges in %.1f ms, %.2f ms each" % (count, took * 1000, took * 1000 / count), end=" ", flush=True)
        self.assertLess(took, count * 0.020 * tbtest.FACTOR)

    def test_sees_removal_insertion_and_reset(self):
        with self.daemon.ctl().subscribe() as ctl:
            ctl.ok("remove")
            self.pcsc.wait(self.reader, Pcsc.EMPTY)
            ctl.ok("insert")
            _, changes = self.pcsc.wait(self.reader, Pcsc.PRESENT)
            self.link().select()
            ctl.ok("reset")
            ctl.expect("card-unlinked", reason="card reset")
            ctl.expect("card-linked")
            self.pcsc.wait(self.reader, Pcsc.PRESENT, changes + 2)
            self.link().select()

    def test_survives_unpowering_by_the_host(self):
        card = self.link()
        card.select()
        self.pcsc.disconnect(Pcsc.UNPOWER)
        card = self.link()
        self.assertNotEqual(card.apdu("8084000008")[1], "9000")  # the selection went with the power
        card.select()
        self.assertEqual(len(card.ok("8084000008")), 16)

    def test_works_with_tools_of_the_field(self):
        tool = shutil.which("opensc-tool")
        if not tool:
            self.skipTest("no opensc-tool")
        done = subprocess.run([tool, "-s", "00A4040007A0000005590010", "-s", "8084000010"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60 * tbtest.FACTOR, check=False)
        self.assertEqual(len(re.findall(r"SW1=0x90, SW2=0x00", done.stdout)), 2, done.stdout)


enter_namespaces()
loopback_up()
os.makedirs("/run/pcscd", exist_ok=True)
if subprocess.run(["mount", "-t", "tmpfs", "none", "/run/pcscd"], check=False).returncode != 0:
    tbtest.skip("mounts are not permitted here")
tbtest.main()
