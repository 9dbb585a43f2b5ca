"""What a run leaves for Wireshark: the APDUs, decoded right; the TLS key log, which opens a capture of the network."""
import ctypes
import fcntl
import os
import select
import shutil
import socket
import struct
import subprocess
import time

import rundir
import tbtest

TESTBED = tbtest.program("testbed")
SCENARIO = os.path.join(tbtest.SOURCE, "scenarios", "10-provisioning", "factory-final.lua")


def tshark(capture, *fields, display="", options=()):
    """Lines of tab-separated fields of the packets that pass the display filter."""
    argv = ["tshark", "-r", capture, "-T", "fields", *options]
    for field in fields:
        argv += ["-e", field]
    p = subprocess.run(argv + (["-Y", display] if display else []), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=tbtest.WAIT * 3)
    assert p.returncode == 0, p.stderr
    return [line.split("\t") for line in p.stdout.splitlines()]


def enter_own_network():
    """Into a network of our own, of loopback alone: nobody else's packets in the capture, and the right to capture comes with
    it. False when this kernel does not let us."""
    new_user, new_net, ioctl_set_flags, flag_up = 0x10000000, 0x40000000, 0x8914, 1
    libc = ctypes.CDLL(None, use_errno=True)
    ids = os.geteuid(), os.getegid()
    if libc.unshare(new_net) != 0:
        if libc.unshare(new_user | new_net) != 0:
            return False
        for file, line in (("setgroups", "deny"), ("uid_map", "0 %d 1" % ids[0]), ("gid_map", "0 %d 1" % ids[1])):
            with open("/proc/self/" + file, "w") as f:
                f.write(line)
    with socket.socket() as s:
        fcntl.ioctl(s, ioctl_set_flags, struct.pack("16sH14x", b"lo", flag_up))
    return True


class LoopbackCapture:
    """Captures TCP on the loopback interface. None in file: it may not."""

    def __init__(self, file):
        self.file = file
        self.messages = open(file + ".log", "w+")
        self.process = subprocess.Popen(["tshark", "-i", "lo", "-f", "tcp", "-w", file, "-P", "-l", "-T", "fields", "-e", "tcp.srcport",
                                         "-e", "tcp.dstport"], stdout=subprocess.PIPE,
                                        stderr=self.messages, stdin=subprocess.DEVNULL, preexec_fn=tbtest.with_parent_dies(os.getpid()))
        os.set_blocking(self.process.stdout.fileno(), False)
        self.unread = b""
        if not self.is_seen():
            self.stop()
            self.file = None

    def is_seen(self):
        """Makes a connection, and another, until one shows up: then the capture has begun, and has all that came before."""
        deadline = time.monotonic() + tbtest.WAIT
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(8)
            while self.process.poll() is None and time.monotonic() < deadline:
                with socket.create_connection(listener.getsockname()) as client, listener.accept()[0]:
                    ours = b"%d\t%d" % (client.getsockname()[1], listener.getsockname()[1])
                select.select([self.process.stdout], [], [], 0.1)
                *packets, self.unread = (self.unread + (self.process.stdout.read() or b"")).split(b"\n")
                if ours in packets:
                    return True
        return False

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.stdout.close()
        self.process.wait(tbtest.WAIT)
        with self.messages as log:
            log.seek(0)
            self.said = log.read()


class Traces(tbtest.Case):
    def run_testbed(self, *argv):
        p = subprocess.run([TESTBED, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=tbtest.WAIT * 3,
                           env=dict(os.environ, NO_COLOR="1", XDG_RUNTIME_DIR=self.dir))
        self.assertEqual(p.returncode, 0, p.stdout)

    def test_apdus_of_the_demo(self):
        run = self.path("run")
        self.run_testbed("demo", "--out", run)
        capture = run + "/apdu.pcapng"
        rows = tshark(capture, "gsm_sim.apdu.ins", "gsm_sim.apdu.cla.log_chan", "gsm_sim.apdu.p1", "gsm_sim.apdu.sw", "gsm_sim.aid",
                      "udp.payload")
        # The device: a channel, the applet on it, the certificate, one signature in two commands.
        applet = [row for row in rows if row[1] != "0"]
        self.assertEqual([row[0] for row in applet if row[0] != "0xb0"], ["0xa4", "0x2a", "0x2b"])
        self.assertEqual(applet[0][4], "a0000005590010")
        self.assertEqual({row[3] for row in applet[:-1]}, {"0x9000"})
        self.assertIn("0x70", [row[0] for row in rows])
        # tshark does not know that there is an answer to the last: header, data, answer, status as bytes behind 16 of GSMTAP.
        sign = bytes.fromhex(applet[-1][5])[16:]
        self.assertEqual(sign[:7].hex(), "812b8001229e20")
        self.assertEqual(sign[39:42].hex(), "330040")
        self.assertEqual(len(sign), 39 + 3 + 64 + 2)
        self.assertEqual(sign[-2:].hex(), "9000")
        # The modem: its SIM's ICCID and IMSI were read.
        self.assertIn("0xf2", [row[0] for row in rows if row[1] == "0"])

    def test_key_log_has_what_wireshark_wants(self):
        self.run_testbed("run", "--out", self.path("run"), "--set", "link=csim", SCENARIO)
        runs = rundir.runs(self.path("run"))
        wanted = ({"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0",
                   "SERVER_TRAFFIC_SECRET_0"}, {"CLIENT_RANDOM"})  # TLS 1.3, 1.2
        self.assertEqual(len(runs), 2)
        for run, labels in zip(runs, wanted):
            with open(run + "/tls.keys") as f:
                lines = [line.split() for line in f]
            self.assertLessEqual(labels, {line[0] for line in lines}, run)
            for line in lines:
                self.assertEqual(len(line[1]), 64, run)
                self.assertGreaterEqual(len(bytes.fromhex(line[2])), 32, run)

    def test_key_log_opens_a_capture_of_the_network(self):
        if not OWN_NETWORK:
            self.skipTest("no network of our own to capture on: others' packets would be in the way")
        capture = LoopbackCapture(self.path("lo.pcapng"))
        if not capture.file:
            self.skipTest("no right to capture on the loopback interface: " + capture.said)
        self.run_testbed("run", "--out", self.path("run"), "--set", "link=csim", SCENARIO)
        self.assertTrue(capture.is_seen())
        capture.stop()
        runs = rundir.runs(self.path("run"))
        self.assertEqual(len(runs), 2)
        for run, version in zip(runs, ("0x0304", "0x0303")):  # TLS 1.3, 1.2
            port = rundir.hub_port(run)
            options = ["-d", "tcp.port==%d,tls" % port, "-d", "tls.port==%d,mqtt" % port, "-o", "tls.keylog_file:%s/tls.keys" % run]
            hello = tshark(capture.file, "tls.handshake.extensions.supported_version", "tls.handshake.version", options=options,
                           display="tls.handshake.type == 2 && tcp.srcport == %d" % port)
            self.assertEqual(hello[0][0] or hello[0][1], version, run)
            mqtt = [t for row in tshark(capture.file, "mqtt.msgtype", options=options, display="mqtt && tcp.port == %d" % port)
                    for t in row[0].split(",")]
            # CONNECT, CONNACK, SUBSCRIBE, SUBACK, PUBLISH both ways
            for kind in ("1", "2", "8", "9", "3"):
                self.assertIn(kind, mqtt, "%s; tshark said: %s" % (run, capture.said))


if __name__ == "__main__":
    if not shutil.which("tshark"):
        tbtest.skip("tshark is not installed")
    OWN_NETWORK = enter_own_network()
    tbtest.main()
