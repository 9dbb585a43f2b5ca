"""Programs that know nothing of IoT SAFE use a key in the card, with a configuration and a key reference alone."""
import os
import shutil
import ssl
import subprocess

import cardbed
import tbtest
from cardbed import wait_for_line
from provider_bed import KIND, PLAIN, PYTHON, Bed


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
                         env=PLAIN)
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
