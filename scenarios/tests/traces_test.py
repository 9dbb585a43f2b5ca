"""What a run leaves for Wireshark: the APDUs, decoded right; the TLS key log, which opens a capture of the network."""
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess

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
    """What passes the loopback interface from now on; the kernel keeps it until it is written."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # all protocols
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(("lo", 0))
        self.socket.setblocking(False)

    def write(self, file):
        """As a pcap file. False when the kernel had to drop packets."""
        with open(file, "wb") as f:
            f.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
            while True:
                try:
                    packet, (_, _, kind, _, _) = self.socket.recvfrom(1 << 18)
                except BlockingIOError:
                    break
                if kind != socket.PACKET_OUTGOING:  # on loopback each is seen going and coming
                    f.write(struct.pack("=IIII", 0, 0, len(packet), len(packet)) + packet)
        _, dropped = struct.unpack("=II", self.socket.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
        self.socket.close()
        return dropped == 0


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
        capture, file = LoopbackCapture(), self.path("lo.pcap")
        self.run_testbed("run", "--out", self.path("run"), "--set", "link=csim", SCENARIO)
        self.assertTrue(capture.write(file))
        runs = rundir.runs(self.path("run"))
        self.assertEqual(len(runs), 2)
        for run, version in zip(runs, ("0x0304", "0x0303")):  # TLS 1.3, 1.2
            port = rundir.hub_port(run)
            options = ["-d", "tcp.port==%d,tls" % port, "-d", "tls.port==%d,mqtt" % port, "-o", "tls.keylog_file:%s/tls.keys" % run]
            hello = tshark(file, "tls.handshake.extensions.supported_version", "tls.handshake.version", options=options,
                           display="tls.handshake.type == 2 && tcp.srcport == %d" % port)
            self.assertEqual(hello[0][0] or hello[0][1], version, run)
            mqtt = [t for row in tshark(file, "mqtt.msgtype", options=options, display="mqtt && tcp.port == %d" % port)
                    for t in row[0].split(",")]
            # CONNECT, CONNACK, SUBSCRIBE, SUBACK, PUBLISH both ways
            for kind in ("1", "2", "8", "9", "3"):
                self.assertIn(kind, mqtt, run)


if __name__ == "__main__":
    if not shutil.which("tshark"):
        tbtest.skip("tshark is not installed")
    OWN_NETWORK = enter_own_network()
    tbtest.main()
