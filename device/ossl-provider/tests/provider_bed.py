"""What the tests with unmodified programs share: a card, a configuration, a key reference, servers with ordinary keys.

argv[1] of such a test is the bed: fake (a card process of the provider's own tests), vpcd (sim-card), unix, pty, cgla (sim-card
behind sim-modem). Every test looks at the card's counts: what is not done by the card would pass without."""
import os
import re
import subprocess
import sys

import cardbed
import tbtest
from cardbed import wait_for_line

KIND = sys.argv.pop(1) if len(sys.argv) > 1 else "fake"
MODULE = os.environ["ISP_MODULE"]
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
PLAIN = dict(os.environ, OPENSSL_CONF="/etc/ssl/openssl.cnf")  # a program that knows nothing of the card
ALL = "ecdhe,verify,psk,random"


class Bed(tbtest.Case):
    PYTHON_CLIENT = """
import socket, ssl, sys
port, ca, *chain = sys.argv[1:]
ctx = ssl.create_default_context(cafile=ca)
ctx.load_cert_chain(*chain)
with socket.create_connection(("127.0.0.1", int(port))) as s, ctx.wrap_socket(s, server_hostname="localhost") as t:
    t.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(t.version(), t.recv(4096)[:15])
"""

    OFFLOAD = ""  # none: the plain configuration

    def setUp(self):
        self.conf_of = {}
        self.bed = cardbed.open_bed(self, KIND)
        self.environ = self.env(self.bed.transport)
        self.key = self.path("card.key")
        done = tbtest.run("iotsafe-keyref", "--id", "01", "--cert", self.bed.cert, "--out", self.key)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.before = self.bed.counters()

    # ---- helpers ----

    def conf(self, transport, offload=None):
        """A configuration from the samples that users get."""
        offload = self.OFFLOAD if offload is None else offload
        name = "openssl-offload.cnf" if offload else "openssl.cnf"
        if (transport, offload) not in self.conf_of:
            with open(os.path.join(tbtest.SOURCE, "device", "ossl-provider", name + ".in")) as f:
                text = f.read().replace("@ISP_MODULE@", MODULE).replace("@ISP_TRANSPORT@", transport)
            text = re.sub("^offload = .*$", "offload = " + offload, text, flags=re.M)
            self.conf_of[transport, offload] = self.write("openssl%d.cnf" % len(self.conf_of), text)
        return self.conf_of[transport, offload]

    def env(self, transport):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        env["OPENSSL_CONF"] = self.conf(transport)
        if os.environ.get("TB_PRELOAD"):
            env["LD_PRELOAD"] = os.environ["TB_PRELOAD"]
            # Python's own leaks are its own affair, ours in it are not.
            env["LSAN_OPTIONS"] = "suppressions=%s:print_suppressions=0" % self.write("lsan", "leak:bin/python3\n")
        return env

    def openssl(self, *args, data=None, ok=True, env=None):
        done = subprocess.run(["openssl", *args], input=data, env=env or self.environ, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60 * tbtest.FACTOR, check=False)
        if ok:
            self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done

    def worked(self):
        """What the card has done since the last look: counts by operation."""
        before, self.before = self.before, self.bed.counters()
        return {k: n - before[k] for k, n in self.before.items() if n > before[k]}

    def assert_signed(self, n=1):
        """The card has made n signatures since the last look, at least, and with each done what is offloaded."""
        done = self.worked()
        wanted = ["sign"] + ["keygen", "ecdh"] * ("ecdhe" in self.OFFLOAD) + ["verify"] * ("verify" in self.OFFLOAD)
        for operation in wanted:
            self.assertGreaterEqual(done.get(operation, 0), n, done)
        self.assertEqual("random" in done, "random" in self.OFFLOAD, done)
        for operation in {"keygen", "ecdh", "verify", "prf", "hkdf"} - set(wanted):
            self.assertNotIn(operation, done)

    def assert_not_signed(self):
        self.assertNotIn("sign", self.worked())

    def software_key(self, name="server"):
        """A server's certificate (for localhost) with an ordinary key: (certificate, key)."""
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        if not os.path.exists(cert):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                         key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                         "-days", "30", env=PLAIN)
        return cert, key

    def server(self, *args, env=None, cert=None, key=None):
        """openssl s_server that insists on a client certificate; its port. It is killed with the test."""
        c, k = self.software_key()
        process = subprocess.Popen(["stdbuf", "-oL", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert",
                                    cert or c, "-key", key or k, *args],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=env or PLAIN)
        self.addCleanup(self.end, process)
        text = wait_for_line(process.stdout, [b"ACCEPT"], "s_server")
        while not re.search(r"ACCEPT .*?:(\d+)\n", text):
            text += wait_for_line(process.stdout, [b"\n"], "s_server")
        return process, int(re.search(r"ACCEPT .*?:(\d+)\n", text).group(1))

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        for f in (process.stdin, process.stdout):
            if f:
                f.close()

    def verifying(self):
        return ["-Verify", "1", "-verify_return_error", "-CAfile", self.bed.ca]

    def client(self, port, *args, ok=True, env=None):
        return self.openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-servername", "localhost", "-CAfile",
                            self.software_key()[0], "-verify_return_error", "-cert", self.bed.cert, "-key", self.key,
                            *args, data=b"Q\n", ok=ok, env=env)


