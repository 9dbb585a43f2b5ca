"""A stock mosquitto with the hub's plugin, by the configuration that docs/mosquitto-plugin.md shows."""
import getpass
import os
import re
import select
import shutil
import ssl
import subprocess
import cardbed
import tbtest
from coaptest import PSK_ID, SECRET
from hubtest import ICCID, HubCase, Mqtt, connect

BLUE = "8988247000000000002"
PLUGIN = os.path.join(tbtest.BUILD, "lib/mosquitto/iot_hub_mosquitto.so")
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
HEX = SECRET.encode().hex()


def block(kind):
    with open(os.path.join(tbtest.SOURCE, "docs/mosquitto-plugin.md")) as f:
        return re.search("```%s\n(.*?)```" % kind, f.read(), re.S).group(1)


class Log:
    """The messages of a process, waited for in order."""

    def __init__(self, stream):
        self.stream = stream
        self.buffer = b""
        self.seen = []

    def _line(self):
        while b"\n" not in self.buffer:
            ready = select.select([self.stream], [], [], tbtest.WAIT)[0]
            data = os.read(self.stream.fileno(), 1 << 16) if ready else b""
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.seen.append(line.decode(errors="replace"))
        return self.seen[-1]

    def expect(self, *parts):
        while (line := self._line()) is not None:
            if all(part in line for part in parts):
                return line
        raise AssertionError("no line with %r; seen:\n%s" % (parts, "\n".join(self.seen[-30:])))


class PluginCase(HubCase):
    def setUp(self):
        super().setUp()
        self.cli("add-psk", PSK_ID, "--secret", HEX, "--device", ICCID)
        self.blue = self.issue(BLUE)
        self.import_card(BLUE, self.blue)
        self.certs, self.psks = tbtest.free_tcp_address(), tbtest.free_tcp_address()
        conf = block("conf")
        for old, new in (("user iot-hub", "user " + getpass.getuser()), ("/var/lib/iot-hub", self.state),
                         ("/usr/lib/mosquitto/iot_hub_mosquitto.so", PLUGIN),
                         ("/etc/mosquitto/iot-hub.acl", self.path("acl")),
                         ("listener 8883", "listener %s 127.0.0.1" % self.certs.split(":")[1]),
                         ("listener 8884", "listener %s 127.0.0.1" % self.psks.split(":")[1])):
            self.assertIn(old, conf)
            conf = conf.replace(old, new)
        self.write("acl", block("acl"))
        self.write("conf", conf)
        env = dict(os.environ, LD_PRELOAD=os.environ.get("TB_PRELOAD", ""))
        self.process = subprocess.Popen([MOSQUITTO, "-v", "-c", self.path("conf")], env=env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0,
                                        preexec_fn=tbtest.with_parent_dies(os.getpid()))
        self.addCleanup(self.process.communicate)
        self.addCleanup(self.process.kill)
        self.log = Log(self.process.stderr)
        self.log.expect("running")

    def mqtt(self, cert=None, version="1.3", **kwargs):
        """(MQTT client, CONNACK's code)"""
        raw = tbtest.connect(self.certs)
        m = Mqtt(self.context(cert or self.red, version).wrap_socket(raw, server_hostname="localhost"))
        self.addCleanup(m.close)
        m.level = kwargs.get("level", 4)
        m.send(connect(**kwargs))
        kind, body = m.packet()
        self.assertEqual(kind, 0x20)
        return m, body[1]

    def client(self, program, psk=None, *args):
        host = ["-h", "localhost"]
        who = (["-p", self.psks.split(":")[1], "--psk-identity", PSK_ID, "--psk", psk] if psk else
               ["-p", self.certs.split(":")[1], "--cafile", self.ca, "--cert", self.red[0], "--key", self.red[1]])
        return subprocess.run([program, *host, *who, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=tbtest.WAIT)


class Plugin(PluginCase):
    def test_stock_clients_with_certificate_and_pre_shared_key(self):
        watcher, code = self.mqtt(client_id="w")
        self.assertEqual(code, 0)
        watcher.subscribe("devices/%s/#" % ICCID)
        topic = "devices/%s/telemetry" % ICCID
        for psk in (None, HEX):
            for version in ("311", "5"):
                for tls in ("tlsv1.2", "tlsv1.3"):
                    if psk and tls == "tlsv1.3":
                        continue  # mosquitto_pub speaks TLS 1.2 with a PSK
                    done = self.client("mosquitto_pub", psk, "-V", version, "--tls-version", tls, "-q", "1", "-t", topic, "-m",
                                       "%s %s %s" % (psk, version, tls))
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertTrue(watcher.packet()[1].endswith(("%s %s %s" % (psk, version, tls)).encode()))

    def test_tls_1_3_with_a_pre_shared_key(self):
        done = subprocess.run(["openssl", "s_client", "-connect", self.psks, "-tls1_3", "-psk_identity", PSK_ID, "-psk", HEX,
                               "-brief"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=tbtest.WAIT)
        self.assertIn("TLSv1.3", done.stderr)

    def test_names_are_the_registrys(self):
        m, code = self.mqtt(client_id="a", user=BLUE, password="x")
        self.assertEqual(code, 0)
        m.subscribe("devices/%s/x" % ICCID)
        m.publish("devices/%s/x" % BLUE, b"not mine")
        m.publish("devices/%s/x" % ICCID, b"mine")
        self.assertTrue(m.packet()[1].endswith(b"mine"))

    def test_nobody_takes_over_the_connection_of_another_device(self):
        m, _ = self.mqtt(client_id="same")
        _, code = self.mqtt(cert=self.blue, client_id="same")
        self.assertEqual(code, 5)
        self.log.expect("refused reason=client-id-taken", BLUE)
        again, code = self.mqtt(client_id="same")
        self.assertEqual(code, 0)
        self.assertEqual(m.ended(), [])  # by the same device it is the usual thing

    def test_strangers_are_refused(self):
        guest = self.issue("guest")
        for version in ("1.2", "1.3"):
            for level, refused in ((4, 5), (5, 0x87)):
                self.assertEqual(self.mqtt(cert=guest, version=version, level=level)[1], refused)
                self.log.expect("refused reason=unknown-credential")
        for identity, psk in (("nobody", HEX), (PSK_ID, "00" * 16)):
            done = self.client("mosquitto_pub", psk, "--psk-identity", identity, "-t", "x", "-m", "x")
            self.assertNotEqual(done.returncode, 0)
        self.log.expect("refused reason=unknown-psk-identity")
        with self.assertRaises(ssl.SSLError):
            self.cli("ca", "init", "--name", "other")
            self.mqtt(cert=self.issue("stranger", "other"), version="1.2")

    def test_an_authentication_method_of_mqtt_5_is_no_way_around(self):
        """Trap: such a CONNECT does not ask the plugin."""
        self.cli("credential", "revoke", BLUE)
        method = b"\x15\x00\x01x"
        _, code = self.mqtt(cert=self.blue, level=5, properties=method)
        self.assertNotEqual(code, 0)

    def test_revocation_throws_out_and_keeps_out(self):
        five, _ = self.mqtt(cert=self.blue, level=5, client_id="five")
        three, _ = self.mqtt(client_id="three")
        self.cli("credential", "revoke", BLUE)
        self.log.expect("kicked reason=revoked", BLUE)
        self.assertEqual(five.ended(), [(0xE0, b"\x98")])
        self.assertEqual(self.mqtt(cert=self.blue)[1], 5)
        self.log.expect("refused reason=revoked", BLUE)
        three.send(b"\xc0\x00")  # the other one lives
        self.assertEqual(three.packet()[0], 0xD0)

    def test_suspended_and_resumed(self):
        self.cli("credential", "revoke", BLUE)
        hub = self.hub()  # makes red's certificate active
        self.device(hub).close()
        m, _ = self.mqtt(client_id="m")
        self.cli("credential", "suspend", ICCID)
        self.log.expect("kicked reason=suspended")
        self.assertEqual(m.ended(), [])
        self.assertEqual(self.mqtt()[1], 5)
        self.cli("credential", "resume", ICCID)
        self.assertEqual(self.mqtt()[1], 0)

    def test_a_revoked_key_is_refused_in_the_handshake_and_thrown_out(self):
        sub = subprocess.Popen(["mosquitto_sub", "-h", "localhost", "-p", self.psks.split(":")[1], "--psk-identity", PSK_ID,
                                "--psk", HEX, "-V", "5", "-t", "devices/%s/#" % ICCID], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(sub.communicate)
        self.addCleanup(sub.kill)
        self.log.expect("Sending SUBACK")
        self.cli("credential", "revoke", PSK_ID)
        self.log.expect("kicked reason=revoked", ICCID)
        done = self.client("mosquitto_pub", HEX, "-t", "x", "-m", "x")
        self.assertNotEqual(done.returncode, 0)
        self.log.expect("refused reason=revoked", PSK_ID)

    def test_reload_and_an_orderly_end(self):
        self.mqtt(client_id="m")
        self.process.send_signal(1)
        self.log.expect("Reloading")
        self.assertEqual(self.mqtt(client_id="n")[1], 0)
        self.process.terminate()
        self.assertEqual(self.process.wait(tbtest.WAIT), 0)


class Device(PluginCase):
    """iot-device with the keys in a card."""

    def test_it_makes_no_difference_to_the_device(self):
        iccid, record = "8988211000000000011", self.path("card.json")
        done = tbtest.run("sim-card", "personalise", "--store", self.path("card.db"), "--issuer-cert", self.ca, "--issuer-key",
                          self.ca.replace(".crt", ".key"), "--server-ca", self.ca, "--iccid", iccid, "--out", record,
                          "--export-secrets", cardbed.PROFILE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.cli("import", record)
        self.start("sim-card", "--store", self.path("card.db"), "--listen", self.socket("vpcd"))
        for at, args in ((self.certs, []), (self.psks, ["--psk", "card:06", "--psk-identity", iccid])):
            device = self.start("iot-device", "--link", "vpcd:" + self.socket("vpcd"), "--hub", "mqtts://" + at, "--server-name",
                                "localhost", "--ctl", self.socket("device"), "--no-connect", *args)
            with device.ctl().subscribe() as ctl:
                ctl.ok("connect")
                ctl.expect("session")
                ctl.ok("publish", topic="devices/%s/telemetry" % iccid, payload="21.5", qos=1)
            device.stop()


class Options(HubCase):
    def test_what_is_missing_is_named(self):
        for line, said in (("", "plugin_opt_state"), ("plugin_opt_state /nowhere", "/nowhere")):
            self.write("conf", "listener 0 %s\nplugin %s\n%s\n" % (self.path("sock"), PLUGIN, line))
            env = dict(os.environ, LD_PRELOAD=os.environ.get("TB_PRELOAD", ""))
            done = subprocess.run([MOSQUITTO, "-c", self.path("conf")], env=env, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=tbtest.WAIT)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stderr + done.stdout)


if not MOSQUITTO:
    tbtest.skip("no mosquitto")
tbtest.main()
