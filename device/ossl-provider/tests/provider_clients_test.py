"""Programs that know nothing of IoT SAFE use a key in the card, with a configuration and a key reference alone.

argv[1] is the bed: fake (a card process of the provider's own tests), vpcd (sim-card), unix, pty, cgla (sim-card behind
sim-modem). Every test looks at the card's count of signatures: a key that is not in the card would pass without."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys

import cardbed
import tbtest
from cardbed import wait_for_line

KIND = sys.argv.pop(1) if len(sys.argv) > 1 else "fake"
MODULE = os.environ["ISP_MODULE"]
CONF_IN = os.path.join(tbtest.SOURCE, "device", "ossl-provider", "openssl.cnf.in")
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


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

    def setUp(self):
        self.conf_of = {}
        self.bed = cardbed.open_bed(self, KIND)
        self.environ = self.env(self.bed.transport)
        self.key = self.path("card.key")
        done = tbtest.run("iotsafe-keyref", "--id", "01", "--cert", self.bed.cert, "--out", self.key)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.before = self.bed.signatures()

    # ---- helpers ----

    def conf(self, transport):
        """A configuration from the sample that users get."""
        if transport not in self.conf_of:
            with open(CONF_IN) as f:
                text = f.read().replace("@ISP_MODULE@", MODULE).replace("@ISP_TRANSPORT@", transport)
            self.conf_of[transport] = self.write("openssl%d.cnf" % len(self.conf_of), text)
        return self.conf_of[transport]

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

    def assert_signed(self, n=1):
        """The card has made n signatures since the last look, at least."""
        now = self.bed.signatures()
        self.assertGreaterEqual(now - self.before, n)
        self.before = now

    def assert_not_signed(self):
        self.assertEqual(self.bed.signatures(), self.before)

    def software_key(self, name="server"):
        """A server's certificate (for localhost) with an ordinary key: (certificate, key)."""
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        if not os.path.exists(cert):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                         key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                         "-days", "30", env=dict(os.environ, OPENSSL_CONF="/etc/ssl/openssl.cnf"))
        return cert, key

    def server(self, *args, env=None, cert=None, key=None):
        """openssl s_server that insists on a client certificate; its port. It is killed with the test."""
        c, k = self.software_key()
        process = subprocess.Popen(["stdbuf", "-oL", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert",
                                    cert or c, "-key", key or k, *args],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=env or dict(os.environ, OPENSSL_CONF="/etc/ssl/openssl.cnf"))
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


class Operations(Bed):
    def test_is_listed_without_the_card(self):
        env = self.env("vpcd:unix:" + self.path("nobody.sock"))
        self.assertIn(b"iotsafe", self.openssl("list", "-providers", env=env).stdout)
        self.openssl("version", env=env)
        done = self.openssl("dgst", "-sha256", "-sign", self.key, "-out", self.path("sig"), self.key, ok=False, env=env)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"transport cannot be opened", done.stderr)
        self.assertIn(b"COMPUTE SIGNATURE", done.stderr)

    def test_missing_transport_is_told(self):
        done = self.openssl("dgst", "-sha256", "-sign", self.key, self.key, ok=False, env=self.env(""))
        self.assertIn(b"no transport configured", done.stderr)

    def test_public_key_comes_without_the_card(self):
        env = self.env("vpcd:unix:" + self.path("nobody.sock"))
        public = self.openssl("pkey", "-in", self.key, "-pubout", env=env).stdout
        self.assertEqual(public, self.openssl("x509", "-in", self.bed.cert, "-noout", "-pubkey").stdout)

    def verify_file(self, public, signature, *args):
        return self.openssl("dgst", *args, "-verify", public, "-signature", signature, self.key).stdout

    def public(self):
        return self.write("public.pem", self.openssl("x509", "-in", self.bed.cert, "-noout", "-pubkey").stdout)

    def test_dgst_signs(self):
        for digest in ("-sha256", "-sha384", "-sha512"):
            self.openssl("dgst", digest, "-sign", self.key, "-out", self.path("sig"), self.key)
            self.assertIn(b"Verified OK", self.verify_file(self.public(), self.path("sig"), digest))
            self.assert_signed()

    def test_pkeyutl_signs_a_digest(self):
        digest = self.write("digest", bytes(range(32)))
        self.openssl("pkeyutl", "-sign", "-inkey", self.key, "-in", digest, "-out", self.path("sig"))
        self.assert_signed()
        self.openssl("pkeyutl", "-verify", "-pubin", "-inkey", self.public(), "-in", digest, "-sigfile",
                     self.path("sig"))

    def test_certificate_request(self):
        request = self.openssl("req", "-new", "-key", self.key, "-subj", "/CN=device", "-sha256").stdout
        self.assert_signed()
        self.openssl("req", "-verify", "-noout", data=request)

    def test_key_by_uri(self):
        self.openssl("dgst", "-sha256", "-sign", "iotsafe:id=01", "-out", self.path("sig"), self.key)
        self.assert_signed()
        self.assertIn(b"Verified OK", self.verify_file(self.public(), self.path("sig"), "-sha256"))

    def test_store_lists_keys_and_certificates(self):
        text = self.openssl("storeutl", "-noout", "iotsafe:").stdout.decode()
        self.assertRegex(text, "Pkey")
        self.assertRegex(text, "Certificate")
        text = self.openssl("storeutl", "-noout", "-certs", "iotsafe:").stdout.decode()
        self.assertRegex(text, "Certificate")
        self.assertNotRegex(text, "Pkey")
        der = self.openssl("x509", "-in", self.bed.cert, "-outform", "DER").stdout
        self.assertEqual(self.openssl("x509", "-in", "iotsafe:id=02", "-outform", "DER").stdout, der)

    def test_keyref_reads_the_card(self):
        done = tbtest.run("iotsafe-keyref", "--id", "01", "--transport", self.bed.transport)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.key) as f:
            self.assertEqual(done.stdout, f.read())
        done = tbtest.run("iotsafe-keyref", "--id", "7f", "--transport", self.bed.transport)
        self.assertEqual(done.returncode, 1)
        self.assertIn("READ PUBLIC KEY", done.stderr)
        self.assertEqual(tbtest.run("iotsafe-keyref", "--id", "xy").returncode, 2)
        self.assertEqual(tbtest.run("iotsafe-keyref").returncode, 2)

    def test_reference_without_public_key(self):
        bare = self.path("bare.key")
        self.assertEqual(tbtest.run("iotsafe-keyref", "--id", "01", "--out", bare).returncode, 0)
        self.openssl("dgst", "-sha256", "-sign", bare, "-out", self.path("sig"), self.key)
        self.assert_signed()

    def test_private_key_does_not_come_out(self):
        done = self.openssl("pkey", "-in", self.key, "-outform", "DER", ok=False)
        self.assertNotEqual(done.returncode, 0)
        done = self.openssl("pkey", "-in", self.key, ok=False)
        self.assertNotIn(b"PRIVATE KEY", done.stdout)


class Tls(Bed):
    def test_tls_client(self):
        for version in ("-tls1_3", "-tls1_2"):
            _, port = self.server(*self.verifying(), version)
            out = self.client(port, version).stdout
            self.assertIn(b"Verify return code: 0", out)
            self.assert_signed()

    def test_tls_12_with_sha512(self):
        _, port = self.server(*self.verifying(), "-tls1_2")
        self.client(port, "-tls1_2", "-sigalgs", "ECDSA+SHA512")
        self.assert_signed()

    def test_everything_by_uri(self):
        _, port = self.server(*self.verifying(), "-tls1_3")
        self.openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-CAfile", self.software_key()[0],
                     "-verify_return_error", "-cert", "iotsafe:id=02", "-key", "iotsafe:id=01", data=b"Q\n")
        self.assert_signed()

    def test_dtls_client(self):
        server, port = self.server(*self.verifying(), "-dtls1_2")
        self.assertIn(b"Verify return code: 0", self.client(port, "-dtls1_2").stdout)
        self.assert_signed()
        del server

    def test_tls_server_key_in_the_card(self):
        _, port = self.server(env=self.environ, cert=self.bed.cert, key=self.key)
        for version in ("-tls1_3", "-tls1_2"):
            self.openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-CAfile", self.bed.ca,
                         "-verify_return_error", "-purpose", "any", version, data=b"Q\n",
                         env=dict(os.environ, OPENSSL_CONF="/etc/ssl/openssl.cnf"))
            self.assert_signed()

    def test_key_for_another_certificate_is_refused(self):
        cert, _ = self.software_key("other")
        done = self.openssl("s_client", "-connect", "127.0.0.1:1", "-cert", cert, "-key", self.key, ok=False)
        self.assertIn(b"key values mismatch", done.stderr)
        self.assert_not_signed()

    def test_removed_card_fails_the_handshake_and_no_more(self):
        _, port = self.server(*self.verifying())
        self.bed.remove()
        done = self.client(port, ok=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"COMPUTE SIGNATURE", done.stderr)
        self.openssl("version")


class Programs(Bed):
    def test_curl(self):
        if not shutil.which("curl"):
            self.skipTest("no curl")
        if os.environ.get("TB_PRELOAD"):
            self.skipTest("curl hangs with a preloaded address sanitizer, provider or not")
        _, port = self.server(*self.verifying(), "-www")
        for version in ("1.3", "1.2"):
            done = subprocess.run(["curl", "-sS", "--cacert", self.software_key()[0], "--cert", self.bed.cert, "--key",
                                   self.key, "--tls-max", version, "--tlsv1.2", "--resolve",
                                   "localhost:%d:127.0.0.1" % port, "https://localhost:%d/" % port], env=self.environ,
                                  capture_output=True, text=True, timeout=60 * tbtest.FACTOR, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("TLSv" + version, done.stdout)
            self.assert_signed()

    def python(self, port, *chain):
        done = subprocess.run([PYTHON, "-c", self.PYTHON_CLIENT, str(port), self.software_key()[0], *chain],
                              env=self.environ, capture_output=True, text=True, timeout=60 * tbtest.FACTOR, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("HTTP/1.0 200", done.stdout)
        self.assert_signed()

    def test_python_with_every_form_of_key_file(self):
        _, port = self.server(*self.verifying(), "-www")
        with open(self.bed.cert) as f:
            cert = f.read()
        with open(self.key) as f:
            key = f.read()
        self.python(port, self.bed.cert, self.key)
        self.python(port, self.write("a.pem", key + cert))
        self.python(port, self.write("b.pem", cert + key))
        self.python(port, self.write("c.pem", cert + key + cert))

    def test_mosquitto_pub(self):
        if not shutil.which("mosquitto") or not shutil.which("mosquitto_pub"):
            self.skipTest("no mosquitto")
        cert, key = self.software_key()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        conf = self.write("mosquitto.conf", """
listener %d 127.0.0.1
cafile %s
certfile %s
keyfile %s
require_certificate true
use_identity_as_username true
set_tcp_nodelay true
%s
""" % (port, self.bed.ca, cert, key, "user root" if os.geteuid() == 0 else ""))
        broker = subprocess.Popen(["mosquitto", "-v", "-c", conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=dict(os.environ, OPENSSL_CONF="/etc/ssl/openssl.cnf"))
        self.addCleanup(self.end, broker)
        wait_for_line(broker.stdout, [b"running"], "mosquitto")
        done = subprocess.run(["mosquitto_pub", "-h", "localhost", "-p", str(port), "--cafile", cert, "--cert",
                               self.bed.cert, "--key", self.key, "-t", "t", "-m", "hello", "-q", "1"],
                              env=self.environ, capture_output=True, text=True, timeout=60 * tbtest.FACTOR, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_signed()


class Processes(Bed):
    def test_two_processes_at_once(self):
        _, port = self.server(*self.verifying(), "-www")
        many = [subprocess.Popen([PYTHON, "-c", self.PYTHON_CLIENT, str(port), self.software_key()[0], self.bed.cert,
                                  self.key], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(12)]
        for process in many:
            out, err = process.communicate(timeout=60 * tbtest.FACTOR)
            self.assertEqual(process.returncode, 0, err)
            self.assertIn("HTTP/1.0 200", out)
        self.assert_signed(12)

    def many(self, how):
        env = dict(self.environ)
        env.pop("LD_PRELOAD", None)  # a program of ours brings its sanitizer along
        done = subprocess.run([tbtest.program("isp_many"), how, self.key, "4", "5"], env=env, capture_output=True,
                              text=True, timeout=60 * tbtest.FACTOR, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assert_signed(2 + 4 * 5)

    def test_forked_child_has_a_connection_of_its_own(self):
        if KIND == "vpcd":
            self.skipTest("the link has one owner at a time")
        self.many("fork")

    def test_threads_share_the_card(self):
        self.many("thread")

    def test_nginx_workers(self):
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if not nginx:
            self.skipTest("no nginx")
        if KIND == "vpcd":
            self.skipTest("the link has one owner at a time")
        port = int(tbtest.free_tcp_address().rpartition(":")[2])
        conf = self.write("nginx.conf", """
daemon off;
worker_processes 2;
%s
pid %s;
error_log stderr notice;
events {}
http {
    access_log off;
    client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;
    ssl_session_cache off;
    ssl_session_tickets off;
    server {
        listen 127.0.0.1:%d ssl;
        ssl_certificate %s;
        ssl_certificate_key %s;
        return 200 "served by $pid\n";
    }
}
""" % ("user root;" if os.geteuid() == 0 else "", self.path("nginx.pid"), *[self.path("t%d" % i) for i in range(5)],
            port, self.bed.cert, self.key))
        process = subprocess.Popen([nginx, "-e", "stderr", "-c", conf], env=self.environ, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        self.addCleanup(self.end, process)
        wait_for_line(process.stdout, [b"start worker process"], "nginx")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(6):
            with tbtest.connect("127.0.0.1:%d" % port) as plain, context.wrap_socket(plain) as tls:
                tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertIn(b"200", tls.recv(4096))
        self.assert_signed(6)
        process.terminate()
        process.wait(tbtest.WAIT)


if __name__ == "__main__":
    cardbed.need(KIND)
    tbtest.main()
