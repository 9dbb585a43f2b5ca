"""The PC/SC transport on a real pcscd with Debian's vpcd driver, in namespaces of their own."""
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

import tbtest

sys.path.insert(0, os.path.join(tbtest.SOURCE, "sim-card", "tests"))
import cardtest  # noqa: E402

INSIDE = "TB_INSIDE_NAMESPACE"
PORT = 35963  # any will do: the network is ours alone
ATR_T0_ONLY = "3B9F96801FC78031E073FE2153494F545341464501BD"


def need(what, found):
    if not found:
        tbtest.skip("no " + what)
    return found


PCSCD = need("pcscd", shutil.which("pcscd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"))
DRIVER = need("vpcd driver", glob.glob("/usr/lib/pcsc/drivers/serial/libifdvpcd.so*"))
need("libpcsclite", ctypes.util.find_library("pcsclite"))


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


class Pcsc(cardtest.CardCase):
    def setUp(self):
        config = self.path("reader.conf.d")
        os.mkdir(config)
        driver = self.path("libifdvpcd.so")  # a copy of its own: the driver's state is per file
        shutil.copy(DRIVER[0], driver)
        with open(os.path.join(config, "card"), "w") as f:
            f.write('FRIENDLYNAME "Test Reader"\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n' %
                    (PORT, driver, PORT))
        # Debug output is how it says that a card was seen: nothing else blocks until then.
        self.pcscd = subprocess.Popen([PCSCD, "-f", "-d", "-c", config], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(self.stop_pcscd)
        self.wait_for(b"daemon ready")

    def wait_for(self, wanted):
        seen = []
        for line in self.pcscd.stdout:
            seen.append(line)
            if wanted in line:
                return
        self.fail("pcscd ended: %r" % seen[-20:])

    def stop_pcscd(self):
        os.kill(self.pcscd.pid, signal.SIGTERM)
        self.pcscd.stdout.read()
        self.pcscd.wait(tbtest.WAIT)
        self.pcscd.stdout.close()

    def tool(self, *args, transport="pcsc:", status=0):
        drain = subprocess.Popen(["cat"], stdin=self.pcscd.stdout, stdout=subprocess.DEVNULL)
        try:
            done = tbtest.run("iotsafe", "-v", "-t", transport, *args)
        finally:
            os.kill(drain.pid, signal.SIGTERM)
            drain.wait()
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def insert(self, *args):
        self.record = self.make("factory.card")
        self.run_card("--vpcd", "127.0.0.1:%d" % PORT, *args)
        self.wait_for(b"Card ATR")

    def test_finds_the_card_by_part_of_the_readers_name(self):
        self.insert()
        for transport in ("pcsc:", "pcsc:Test", "pcsc:Test Reader 00 00"):
            self.assertEqual(len(self.tool("random", "8", transport=transport).stdout.strip()), 16)
        self.assertIn("no reader", self.tool("random", "8", transport="pcsc:Other", status=1).stderr)

    def test_does_what_a_device_does_with_le_over_t1(self):
        self.insert()
        message = self.write("message", "x")
        done = self.tool("sign", "01", message, "-o", self.path("sig"))
        self.assertRegex(done.stderr, r"> 812B8001229E20[0-9A-F]{64}00\n")
        self.write("public.pem", self.tool("--pem", "pubkey", "01").stdout)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.path("public.pem"), "-signature",
                               self.path("sig"), message], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.tool("read", "02", "-o", self.path("cert.der"))
        with open(self.path("cert.der"), "rb") as f:
            self.assertEqual(cardtest.fingerprint(f.read()), self.record["certificates"][0]["fingerprint"])
        self.tool("reset")

    def test_says_that_the_reader_is_empty(self):
        self.assertIn("no card", self.tool("info", status=1).stderr)


enter_namespaces()
loopback_up()
os.makedirs("/run/pcscd", exist_ok=True)
if subprocess.run(["mount", "-t", "tmpfs", "none", "/run/pcscd"], check=False).returncode != 0:
    tbtest.skip("mounts are not permitted here")
tbtest.main()
