"""What a run leaves for Wireshark: the APDUs, decoded right; the TLS key log."""
import os
import shutil
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


if __name__ == "__main__":
    if not shutil.which("tshark"):
        tbtest.skip("tshark is not installed")
    tbtest.main()
