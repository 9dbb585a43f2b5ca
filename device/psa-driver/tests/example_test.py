"""docs/mbedtls.md: its command builds the example, its code is the example's, and the example does what the page says."""
import os
import re
import shlex
import ssl
import subprocess
import threading

import cardbed
import tbtest

cardbed.need("vpcd")
DOC = os.path.join(tbtest.SOURCE, "docs", "mbedtls.md")
EXAMPLE = os.path.join(tbtest.SOURCE, "device", "psa-driver", "examples", "client.c")


def blocks(language):
    with open(DOC) as f:
        return re.findall(r"^```%s\n(.*?)^```$" % language, f.read(), re.S | re.M)


class Example(tbtest.Case):
    def build(self):
        """Runs the page's command in a copy of the folder's layout."""
        command, = blocks("sh")
        env = dict(os.environ, IOTSAFE=os.environ["TB_IOTSAFE"], MBEDTLS=os.environ["TB_MBEDTLS"])
        command = command.replace("-o client", "-o " + shlex.quote(self.path("client")))
        command = command.replace("cc ", os.environ["TB_CC"] + " ", 1)
        done = subprocess.run(["sh", "-euc", command], cwd=tbtest.SOURCE, env=env, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.path("client")

    def serve(self, bed):
        key, request, cert = self.path("server.key"), self.path("server.csr"), self.path("server.pem")
        names = self.write("names", "subjectAltName=DNS:localhost\n")
        for arguments in (["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request,
                           "-subj", "/CN=localhost"],
                          ["x509", "-req", "-in", request, "-CA", bed.ca, "-CAkey", self.path("ca.key"), "-out", cert, "-extfile", names]):
            subprocess.run(["openssl", *arguments], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.load_verify_locations(bed.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def test_the_pages_code_is_the_examples(self):
        with open(EXAMPLE) as f:
            example = f.read()
        self.assertGreater(len(blocks("c")), 2)
        for block in blocks("c"):
            self.assertIn(block, example)

    def test_the_example_connects(self):
        client = self.build()
        bed = cardbed.open_bed(self, "vpcd")
        context = self.serve(bed)
        seen = []

        def serve_one(listener):
            with listener.accept()[0] as raw, context.wrap_socket(raw, server_side=True) as tls:
                seen.append(tls.getpeercert()["subject"])
                tls.sendall(tls.recv(100))
                tls.recv(1)

        with tbtest.socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(tbtest.WAIT)
            thread = threading.Thread(target=serve_one, args=(listener,))
            thread.start()
            done = subprocess.run([client, bed.transport, "localhost", str(listener.getsockname()[1])], capture_output=True,
                                  text=True, timeout=tbtest.WAIT, check=False)
            thread.join(tbtest.WAIT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(seen), 1)
        self.assertIn("TLSv1.3 TLS1-3-AES-128-GCM-SHA256: hello", done.stdout)
        self.assertIn("1 key pairs, 1 shared secrets, 1 signatures, 2 verifications, 1 derivations, 1 random; software: 0",
                      done.stdout)
        self.assertEqual(bed.signatures(), 1)
        bed.remove()
        done = subprocess.run([client, bed.transport, "localhost", "1"], capture_output=True, timeout=tbtest.WAIT, check=False)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    tbtest.main()
