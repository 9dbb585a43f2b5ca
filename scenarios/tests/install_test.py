"""The testbed as it is installed: everything it needs comes along, and nothing of the sources or the build is asked for."""
import json
import os
import shutil
import signal
import subprocess

import tbtest

CMAKE = os.environ.get("TB_CMAKE", "cmake")


class Installed(tbtest.Case):
    def setUp(self):
        self.prefix = self.path("a prefix")
        done = subprocess.run([CMAKE, "--install", tbtest.BUILD, "--prefix", self.prefix], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=tbtest.WAIT * 3)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.env = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": self.dir, "NO_COLOR": "1"}
        self.env.update((k, v) for k, v in os.environ.items() if k in ("ASAN_OPTIONS", "TB_TIMEOUT_FACTOR"))
        self.testbed = self.prefix + "/bin/testbed"

    def run_it(self, *argv, **env):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=tbtest.WAIT * 3, cwd="/",
                              env=dict(self.env, **env), stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_what_is_installed(self):
        programs = os.listdir(self.prefix + "/bin")
        for name in ("testbed", "sim-card", "sim-modem", "iot-device", "iot-hub", "iotsafe", "iotsafe-keyref"):
            self.assertIn(name, programs)
            self.assertIn(name, self.run_it(self.prefix + "/bin/" + name, "--version"))
        share = self.prefix + "/share/iotsafe-testbed"
        for name in ("openssl.cnf", "openssl-offload.cnf"):
            with open(share + "/" + name) as f:
                conf = f.read()
            module = [line.partition("=")[2].strip() for line in conf.splitlines() if line.startswith("module")]
            self.assertEqual([os.path.exists(m) for m in module], [True], conf)
            self.assertTrue(module[0].startswith(self.prefix))
        self.assertTrue(os.path.exists(self.prefix + "/share/man/man7/iotsafe-provider.7"))
        self.assertTrue(os.path.exists(share + "/profiles/factory.card"))
        self.assertFalse([f for f in os.listdir(share + "/scenarios") if not f[0].isdigit()])

    def test_scenarios_run_from_there(self):
        listed = self.run_it(self.testbed, "list")
        self.assertIn(self.prefix, listed)
        self.assertNotIn(tbtest.SOURCE, listed)
        self.assertIn("identity the hub saw", self.run_it(self.testbed, "demo"))

    def test_a_living_bed_and_the_installed_provider(self):
        up = subprocess.Popen([self.testbed, "up", "--json"], stdout=subprocess.PIPE, text=True, env=self.env, cwd="/",
                              preexec_fn=tbtest.with_parent_dies(os.getpid()))
        try:
            bed = json.loads(up.stdout.readline())
            with open(bed["openssl_conf"]) as f:
                self.assertIn(self.prefix, f.read())
            if not os.environ.get("TB_PRELOAD") and shutil.which("openssl"):
                self.assertIn("iotsafe", self.run_it("openssl", "list", "-providers", OPENSSL_CONF=bed["openssl_conf"]))
                out = self.run_it("openssl", "s_client", "-cert", bed["client_cert"], "-key", bed["key_ref"], "-CAfile", bed["ca"],
                                  "-connect", bed["hub"]["mqtts"], OPENSSL_CONF=bed["openssl_conf"])
                self.assertIn("Verify return code: 0 (ok)", out)
        finally:
            up.send_signal(signal.SIGINT)
            status = up.wait(tbtest.WAIT)
            up.stdout.close()
        self.assertEqual(status, 0)


if __name__ == "__main__":
    tbtest.main()
