"""Captures as Wireshark reads them."""
import os
import shutil
import subprocess

import tbtest

WRITER = os.path.join(tbtest.BUILD, "tests", "test_unit_run_trace")


class Captures(tbtest.Case):
    def fields(self, *names):
        options = [o for name in names for o in ("-e", name)]
        done = subprocess.run(["tshark", "-r", self.path("a.pcapng"), "-T", "fields", *options], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=True, text=True, timeout=tbtest.WAIT)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    def test_tshark_decodes_command_and_response(self):
        if not shutil.which("tshark"):
            self.skipTest("tshark is not installed")
        for program in ("sim-card", "sim-modem"):
            subprocess.run([WRITER, self.path("a.pcapng"), program], check=True, timeout=tbtest.WAIT)
        self.assertEqual(
            self.fields("frame.comment", "gsm_sim.apdu.ins", "gsm_sim.apdu.sw", "ip.checksum.status", "udp.dstport"),
            [(comment % program, ins, sw, "2", "4729")  # 2: not verified, tshark's default
             for program in ("sim-card", "sim-modem")
             for comment, ins, sw in (("%s: csim", "0xa4", "0x6110"), ("%s", "0xb0", "0x9000"),
                                      ("%s: get random", "0x84", "0x6a82"))])

    def test_tshark_finds_no_fault(self):
        if not shutil.which("tshark"):
            self.skipTest("tshark is not installed")
        subprocess.run([WRITER, self.path("a.pcapng"), "x"], check=True, timeout=tbtest.WAIT)
        done = subprocess.run(["tshark", "-r", self.path("a.pcapng"), "-o", "ip.check_checksum:TRUE", "-q", "-z", "expert"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, text=True, timeout=tbtest.WAIT)
        for word in ("Errors", "Warns", "malformed"):
            self.assertNotIn(word, done.stdout + done.stderr)


if __name__ == "__main__":
    tbtest.main()
