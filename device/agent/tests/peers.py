"""Servers for devices under test: mosquitto, and a TLS server that does what the test says."""
import os
import socket
import ssl
import subprocess
import threading

import cardbed
import tbtest

PLAIN = dict(os.environ, OPENSSL_CONF="/etc/ssl/openssl.cnf")


def server_key(case):
    """(certificate, key) of a server called localhost, self-signed; the same each time."""
    cert, key = case.path("server.pem"), case.path("server.key")
    if not os.path.exists(cert):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost", "-days", "30"], check=True, capture_output=True, env=PLAIN)
    return cert, key


class Broker:
    """mosquitto that wants a client certificate. It can be stopped and started at the same port."""

    def __init__(self, case, ca, *lines):
        self.case, self.port = case, int(tbtest.free_tcp_address().rpartition(":")[2])
        self.cert, self.key = server_key(case)
        self.conf = case.write("mosquitto.conf", "\n".join([
            "listener %d 127.0.0.1" % self.port, "cafile " + ca, "certfile " + self.cert, "keyfile " + self.key,
            "require_certificate true", "use_identity_as_username true", "set_tcp_nodelay true",
            "user root" if os.geteuid() == 0 else "", *lines]))
        self.process = None
        case.addCleanup(self.stop)
        self.start()

    def start(self):
        self.process = subprocess.Popen(["mosquitto", "-v", "-c", self.conf], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=PLAIN)
        cardbed.wait_for_line(self.process.stdout, [b"running"], "mosquitto")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        self.process = None

    @property
    def hub(self):
        return "localhost:%d" % self.port


class Scripted:
    """A TLS server for one connection that does what the test says: script(tls socket)."""

    def __init__(self, case, ca, script):
        cert, key = server_key(case)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(ca)
        self.script = script
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.hub = "localhost:%d" % self.listener.getsockname()[1]
        self.heard = b""
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        case.addCleanup(self.stop)

    def run(self):
        try:
            plain, _ = self.listener.accept()
        except OSError:
            return
        plain.settimeout(tbtest.WAIT)
        try:
            with self.context.wrap_socket(plain, server_side=True) as tls:
                self.script(self, tls)
        except OSError:
            pass
        plain.close()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join()


def connack(code):
    def script(server, tls):
        server.heard = tls.recv(4096)
        tls.sendall(bytes((0x20, 2, 0, code)))
        while tls.recv(4096):
            pass
    return script


def listen_only(server, tls):
    server.heard = tls.recv(4096)
    while tls.recv(4096):
        pass


def close_at_once(server, tls):
    server.heard = tls.recv(4096)
