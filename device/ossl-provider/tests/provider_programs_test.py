"""The programs that people have, with the card's key: each with the plain configuration, and with everything from the card."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import unittest

import cardbed
import tbtest
from cardbed import PSK, wait_for_line
from provider_bed import ALL, KIND, PLAIN, PYTHON, Bed

HANDLE = "IOTSAFE:psk:06"


def need(*programs):
    for name in programs:
        if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin"):
            raise unittest.SkipTest("no " + name)


class Programs(Bed):
    def run_program(self, *argv, ok=True, **kwargs):
        done = subprocess.run(argv, env=self.environ, capture_output=True, text=True, timeout=60 * tbtest.FACTOR, check=False,
                              stdin=subprocess.DEVNULL, **kwargs)
        if ok:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def background(self, wanted, *argv, env=None):
        """A server, ready when it has said wanted; killed with the test."""
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=env or PLAIN)
        self.addCleanup(self.end, process)
        wait_for_line(process.stdout, [wanted], argv[0])
        return process

    # ---- servers ----

    def up_to(self, version):
        """Environment of a server that speaks nothing later: programs' own options are often a minimum."""
        return dict(PLAIN, OPENSSL_CONF=self.write(version + ".cnf", """
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
MaxProtocol = %s
""" % version))

    def broker(self, *lines, version="TLSv1.3"):
        """mosquitto; its port."""
        need("mosquitto")
        port = free_port()
        user = ["user root"] if os.geteuid() == 0 else []
        conf = self.write("mosquitto.conf", "\n".join(["listener %d 127.0.0.1" % port, "set_tcp_nodelay true", *lines, *user, ""]))
        self.background(b"running", "mosquitto", "-v", "-c", conf, env=self.up_to(version))
        return port

    def certificate_broker(self, version="TLSv1.3"):
        cert, key = self.software_key()
        return self.broker("cafile " + self.bed.ca, "certfile " + cert, "keyfile " + key, "require_certificate true",
                           "use_identity_as_username true", version=version)

    def coap_server(self, *args):
        """libcoap's; the port of its DTLS and TLS."""
        need("coap-server-openssl")
        port = free_port()
        self.background(b"created DTLS endpoint", "coap-server-openssl", "-v", "7", "-A", "127.0.0.1", "-p", str(port - 1), *args)
        return port

    def nginx(self, http, env=None):
        need("nginx")
        temp = "; ".join("%s_temp_path %s" % (k, self.path("temp-" + k)) for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = self.write("nginx%d.conf" % len(os.listdir(self.dir)), """
daemon off;
worker_processes 1;
%s
pid %s;
error_log stderr notice;
events {}
http {
    access_log off;
    %s;
    ssl_session_cache off;
    ssl_session_tickets off;
    %s
}
""" % ("user root;" if os.geteuid() == 0 else "", self.path("nginx%d.pid" % len(os.listdir(self.dir))), temp, http))
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.background(b"start worker process", nginx, "-e", "stderr", "-c", conf, env=env)


def free_port():
    """One that TCP and UDP have free, and the one before it as well."""
    while True:
        with socket.socket() as a, socket.socket() as b, socket.socket(type=socket.SOCK_DGRAM) as c, \
                socket.socket(type=socket.SOCK_DGRAM) as d:
            a.bind(("127.0.0.1", 0))
            port = a.getsockname()[1]
            try:
                b.bind(("127.0.0.1", port - 1))
                c.bind(("127.0.0.1", port))
                d.bind(("127.0.0.1", port - 1))
            except OSError:
                continue
            return port


class Certificate(Programs):
    def test_s_client(self):
        for version in ("-tls1_3", "-tls1_2", "-dtls1_2"):
            _, port = self.server(*self.verifying(), version)
            self.assertIn(b"Verify return code: 0", self.client(port, version).stdout)
            self.assert_signed()

    def test_curl(self):
        need("curl")
        if os.environ.get("TB_PRELOAD"):
            self.skipTest("curl hangs with a preloaded address sanitizer, provider or not")
        _, port = self.server(*self.verifying(), "-www")
        for version in ("1.3", "1.2"):
            done = self.run_program("curl", "-sS", "--cacert", self.software_key()[0], "--cert", self.bed.cert, "--key", self.key,
                                    "--tls-max", version, "--tlsv1.2", "--resolve", "localhost:%d:127.0.0.1" % port,
                                    "https://localhost:%d/" % port)
            self.assertIn("TLSv" + version, done.stdout)
            self.assert_signed()

    def python(self, port, *chain):
        done = self.run_program(PYTHON, "-c", self.PYTHON_CLIENT, str(port), self.software_key()[0], *chain)
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
        need("mosquitto_pub")
        for version in ("TLSv1.3", "TLSv1.2"):
            port = self.certificate_broker(version)
            self.run_program("mosquitto_pub", "-h", "localhost", "-p", str(port), "--cafile", self.software_key()[0], "--cert",
                             self.bed.cert, "--key", self.key, "-t", "t", "-m", "hello", "-q", "1")
            self.assert_signed()

    def test_paho(self):
        port = self.certificate_broker()
        for program in ("paho_c_pub", "paho_cs_pub"):
            need(program)
            self.run_program(program, "-t", "t", "-m", "hello", "-q", "1", "-c", "ssl://localhost:%d" % port, "--cafile",
                             self.software_key()[0], "--cert", self.bed.cert, "--key", self.key)
            self.assert_signed()

    def test_coap_client(self):
        need("coap-client-openssl")
        cert, key = self.software_key()
        port = self.coap_server("-c", cert, "-j", key, "-C", self.bed.ca)
        for scheme in ("coaps", "coaps+tcp"):
            done = self.run_program("coap-client-openssl", "-c", self.bed.cert, "-j", self.key, "-C", cert, "-B", "20",
                                    "%s://localhost:%d/" % (scheme, port))
            self.assertIn("libcoap", done.stdout)
            self.assert_signed()

    def test_nginx_server(self):
        port = free_port()
        self.nginx("""
    server {
        listen 127.0.0.1:%d ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve prime256v1;
        ssl_certificate %s;
        ssl_certificate_key %s;
        return 200 "served by $ssl_protocol\\n";
    }""" % (port, self.bed.cert, self.key), env=self.environ)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = context.maximum_version = version
            with tbtest.connect("127.0.0.1:%d" % port) as plain, context.wrap_socket(plain) as tls:
                tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertIn(b"200", tls.recv(4096))
            done = self.worked()
            self.assertEqual(done.get("sign"), 1, done)
            self.assertEqual(done.get("ecdh", 0), 1 if self.OFFLOAD else 0, done)

    def test_nginx_as_client_of_an_upstream(self):
        _, upstream = self.server(*self.verifying(), "-www")
        port = free_port()
        self.nginx("""
    server {
        listen 127.0.0.1:%d;
        location / {
            proxy_pass https://127.0.0.1:%d;
            proxy_ssl_certificate %s;
            proxy_ssl_certificate_key %s;
            proxy_ssl_trusted_certificate %s;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_session_reuse off;
        }
    }""" % (port, upstream, self.bed.cert, self.key, self.software_key()[0]), env=self.environ)
        with tbtest.connect("127.0.0.1:%d" % port) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertIn(b"200", s.recv(4096))
        self.assert_signed()


class CertificateOffload(Certificate):
    OFFLOAD = ALL

    def test_the_sample_with_its_comments_taken_away_is_the_other_one(self):
        """What openssl.cnf has commented out, switched on as its comments say, does what openssl-offload.cnf does."""
        with open(self.conf(self.bed.transport, "")) as f:
            text = f.read()
        for line in ("alg_section = algorithms", "ssl_conf = ssl", "random = random", "offload = ecdhe,verify,psk,random", "[algorithms]",
                     "default_properties = ?iotsafe.offload=yes", "[ssl]", "system_default = ssl_defaults", "[ssl_defaults]",
                     "Groups = P-256", "[random]", "seed = IOTSAFE-SEED"):
            self.assertEqual(text.count("\n# %s\n" % line), 1, line)
            text = text.replace("\n# %s\n" % line, "\n%s\n" % line)
        _, port = self.server(*self.verifying(), "-tls1_3")
        self.client(port, "-tls1_3", env=dict(self.environ, OPENSSL_CONF=self.write("uncommented.cnf", text)))
        self.assert_signed()

    def test_costs_no_more_than_it_must(self):
        """Sign 2, key pair 1, secret 3, one verification 4, seed 1; for the process: the channel 2 and its end 1, the list."""
        for version in ("-tls1_3", "-tls1_2", "-dtls1_2"):
            _, port = self.server(*self.verifying(), version)
            self.client(port, version)
            done = self.worked()
            self.assertEqual({k: done.get(k) for k in ("sign", "keygen", "ecdh", "verify", "random")},
                             dict.fromkeys(("sign", "keygen", "ecdh", "verify", "random"), 1))
            # through a modem a channel may have been left to be found, and the list may need more than one answer
            self.assertLessEqual(done["apdus"], 10 + 1 + 3 + 4)

    def shake(self, conf, how, n, times, ok=True):
        env = dict(PLAIN)
        env.pop("LD_PRELOAD", None)  # a program of ours brings its sanitizer along
        done = subprocess.run([tbtest.program("isp_shake"), conf, self.key, self.bed.cert, how, str(n), str(times)], env=env,
                              capture_output=True, text=True, timeout=60 * tbtest.FACTOR, check=False)
        self.assertEqual(done.returncode == 0, ok, done.stdout + done.stderr)
        return done.stderr

    def test_threads_share_the_card(self):
        n = 2 if KIND == "fake" else 1  # containers of the card
        self.shake(self.conf(self.bed.transport), "threads", n, 5)
        self.assert_signed(n * 5)

    def test_forked_children(self):
        if KIND == "vpcd":
            self.skipTest("the link has one owner at a time")
        # The child uses the only container of sim-card while the parent's is half done: it needs one of its own.
        conf = self.conf(self.bed.transport, "ecdhe,verify,psk,random" if KIND == "fake" else "verify,psk,random")
        self.shake(conf, "fork", 2, 2)
        self.assertGreaterEqual(self.worked()["sign"], 1 + 2 * 2 + 2)

    def test_containers_are_given_out_one_by_one(self):
        n = 2 if KIND == "fake" else 1
        self.shake(self.conf(self.bed.transport), "hold", n, 1)
        text = self.shake(self.conf(self.bed.transport), "hold", n + 1, 1, ok=False)
        self.assertIn("all %d containers for ephemeral keys are in use" % n, text)

    def test_containers_by_name(self):
        own = "10" if KIND == "fake" else "04"
        with open(self.conf(self.bed.transport)) as f:
            text = f.read()
        for keys, good in (("ecdhe-keys = %s\npeer-keys = 05\n" % own, True), ("ecdhe-keys = 7e\npeer-keys = 05\n", False)):
            conf = self.write("named.cnf", text.replace("offload = ", keys + "offload = "))
            _, port = self.server(*self.verifying())
            done = self.client(port, ok=good, env=dict(self.environ, OPENSSL_CONF=conf))
            if good:
                self.assert_signed()
            else:
                self.assertIn(b"GENERATE KEY PAIR iotsafe:id=7e", done.stderr)

    def test_unknown_words_are_told(self):
        with open(self.conf(self.bed.transport)) as f:
            text = f.read()
        for wrong, says in (("offload = ecdh\n", b"known are ecdhe, verify, psk, random"), ("ecdhe-keys = x\noffload = ecdhe\n", b"in hex")):
            conf = self.write("wrong.cnf", re.sub("^offload = .*\n", wrong, text, flags=re.M))
            done = self.openssl("dgst", "-sha256", "-sign", self.key, self.key, ok=False, env=dict(self.environ, OPENSSL_CONF=conf))
            self.assertIn(says, done.stderr)

    def test_keys_for_files_are_made_in_software(self):
        """The key exchange is the card's; a key that a program wants to write is not."""
        pem = self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256").stdout
        self.assertIn(b"PRIVATE KEY", pem)
        request = self.openssl("req", "-new", "-key", self.write("soft.key", pem), "-subj", "/CN=x").stdout
        self.openssl("req", "-verify", "-noout", data=request)
        self.assertIn(b"P-384", self.openssl("ecparam", "-name", "secp384r1", "-genkey", "-noout").stdout and
                      self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-text").stdout)
        done = self.worked()
        self.assertNotIn("keygen", done)
        self.assertNotIn("sign", done)


class Psk(Programs):
    OFFLOAD = "psk"
    HEX = HANDLE.encode().hex()

    def assert_derived(self, operation, dh):
        """Master or early secret once; a key exchange when there is one and it is offloaded."""
        done = self.worked()
        self.assertEqual(done.get(operation), 1, done)
        self.assertEqual(done.get("ecdh", 0), 1 if dh and "ecdhe" in self.OFFLOAD else 0, done)
        self.assertNotIn("sign", done)

    def test_s_client(self):
        for version, cipher, operation, dh in (
                ("-tls1_3", None, "hkdf", True),
                ("-tls1_2", "PSK-AES128-GCM-SHA256", "prf", False),
                ("-tls1_2", "ECDHE-PSK-AES128-CBC-SHA256", "prf", True),
                ("-dtls1_2", "PSK-AES128-GCM-SHA256", "prf", False),
                ("-dtls1_2", "ECDHE-PSK-AES128-CBC-SHA256", "prf", True)):
            choice = [version] + (["-cipher", cipher] if cipher else ["-ciphersuites", "TLS_AES_128_GCM_SHA256"])
            _, port = self.server("-nocert", "-psk", PSK.encode().hex(), "-psk_identity", self.bed.psk_identity, *choice)
            out = self.openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-psk", self.HEX, "-psk_identity", self.bed.psk_identity,
                               *choice, data=b"Q\n").stdout
            self.assertIn((cipher or "TLS_AES_128_GCM_SHA256").encode(), out)
            self.assert_derived(operation, dh)

    def test_dhe_psk_is_refused(self):
        cipher = ["-tls1_2", "-cipher", "DHE-PSK-AES128-GCM-SHA256"]
        _, port = self.server("-nocert", "-psk", PSK.encode().hex(), "-psk_identity", self.bed.psk_identity, *cipher)
        done = self.openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-psk", self.HEX, "-psk_identity", self.bed.psk_identity,
                            *cipher, data=b"Q\n", ok=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"no DHE-PSK", done.stderr)
        self.assertNotIn("prf", self.worked())

    def test_a_key_that_is_not_there(self):
        _, port = self.server("-nocert", "-psk", PSK.encode().hex(), "-psk_identity", self.bed.psk_identity, "-tls1_3")
        done = self.openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-psk", b"IOTSAFE:psk:7e".hex(), "-psk_identity",
                            self.bed.psk_identity, data=b"Q\n", ok=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"COMPUTE HKDF iotsafe:id=7e", done.stderr)
        self.assertRegex(done.stderr, b"SW 6A8[28]")

    def test_mosquitto_pub(self):
        need("mosquitto_pub")
        keys = self.write("keys", "%s:%s\n" % (self.bed.psk_identity, PSK.encode().hex()))
        for version, ciphers, operation, dh in (("TLSv1.3", None, "hkdf", True), ("TLSv1.2", "PSK-AES128-GCM-SHA256", "prf", False),
                                                ("TLSv1.2", "ECDHE-PSK-AES128-CBC-SHA256", "prf", True)):
            port = self.broker("psk_hint testbed", "psk_file " + keys, "use_identity_as_username true",
                               "ciphers %s" % (ciphers or "PSK"), "allow_anonymous false", version=version)
            self.run_program("mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "--psk", self.HEX, "--psk-identity",
                             self.bed.psk_identity, "-t", "t", "-m", "hello", "-q", "1")
            self.assert_derived(operation, dh)

    def test_coap_client(self):
        need("coap-client-openssl")
        port = self.coap_server("-h", "testbed", "-k", PSK)
        done = self.run_program("coap-client-openssl", "-k", HANDLE, "-u", self.bed.psk_identity, "-B", "20",
                                "coaps://127.0.0.1:%d/" % port)
        self.assertIn("libcoap", done.stdout)
        self.assertIn("prf", self.worked())


class PskOffload(Psk):
    OFFLOAD = ALL


if __name__ == "__main__":
    cardbed.need(KIND)
    tbtest.main()
