"""MQTT through the hub: identity in CONNECT, access rules, back-pressure, the broker's life."""
import os
import select
import signal
import subprocess
import time
import tbtest
from hubtest import HubCase, ICCID, Mqtt, connect, packet, publish, subscribe, text

OTHER = "8988247000000000002"


class Identity(HubCase):
    def test_client_id_and_user_are_what_the_certificate_says(self):
        hub = self.hub()
        for level in (4, 5):
            device = self.device(hub, level=level, client_id="admin", user="$hub", password="secret")
            seen = self.events.expect("connect", device=ICCID)
            self.assertEqual(seen["client_id"], "admin")
            self.assertEqual(seen["identity"], "x509:" + ICCID)
            # The broker's rules know the device by its client id: it cannot be admin, nor the hub.
            self.assertEqual(device.subscribe("devices/%s/command" % ICCID), 0)
            spectator = self.spectator(hub)
            device.publish("devices/%s/telemetry" % ICCID, b"mine")
            device.publish("devices/admin/telemetry", b"not mine")
            device.publish("devices/%s/last" % ICCID, b"mine")
            self.assertIn(b"/telemetry", spectator.packet()[1])
            self.assertIn(b"/last", spectator.packet()[1])
            self.events.expect("publish", topic="devices/%s/telemetry" % ICCID, payload="mine", device=ICCID)
            self.events.expect("publish-denied", topic="devices/admin/telemetry", device=ICCID)

    def test_events_agree_with_the_broker_on_what_is_a_devices_own(self):
        hub = self.hub()
        spectator = self.spectator(hub)
        with self.device(hub) as m:
            for topic in ("devices/%s0/x" % ICCID, "devices/" + ICCID[:-1], "$share/g/devices/%s/x" % ICCID):
                m.publish(topic, b"not mine")
                self.events.expect("publish-denied", topic=topic)
            for topic in ("devices/" + ICCID, "devices/%s/" % ICCID, "devices/%s/x" % ICCID):
                m.publish(topic, b"mine")
                self.events.expect("publish", topic=topic)
                self.assertTrue(spectator.packet()[1].endswith(topic.encode() + b"mine"))

    def test_a_shared_subscription_takes_nothing_from_another_device(self):
        other = self.issue(OTHER)
        self.import_card(OTHER, other)
        hub = self.hub()
        red = self.device(hub)
        theirs, mine = "$share/g/devices/%s/command" % ICCID, "$share/g/devices/%s/#" % OTHER
        self.assertEqual(red.subscribe(theirs), 0)
        packet = subscribe(theirs)
        for level, cut in ((4, len(packet)), (4, 4), (4, len(packet) - 1), (5, 20)):
            blue = self.device(hub, other, level=level)
            self.assertEqual(blue.subscribe(mine), 0)
            packet = subscribe(theirs, level)
            blue.send(packet[:cut])
            blue.send(packet[cut:])
            self.assertEqual(blue.ended(), [])
            self.events.expect("closed", device=OTHER, reason="protocol")
            for i in range(2):
                self.events.ok("publish", device=ICCID, payload=str(i))
                self.assertTrue(red.packet()[1].endswith(b"%d" % i))

    def test_one_device_does_not_hear_another(self):
        other = self.issue(OTHER)
        self.import_card(OTHER, other)
        hub = self.hub()
        red, blue = self.device(hub), self.device(hub, other)
        blue.subscribe("devices/%s/#" % ICCID)
        blue.subscribe("devices/%s/#" % OTHER)
        self.assertTrue(self.events.ok("publish", device=ICCID, payload="for red")["ok"])
        self.assertTrue(self.events.ok("publish", device=OTHER, payload="for blue")["subscribed"])
        self.assertTrue(blue.packet()[1].endswith(b"for blue"))
        red.publish("devices/%s/x" % OTHER, b"forged")
        red.publish("devices/%s/x" % ICCID, b"end")
        self.events.expect("publish", payload="end")
        self.assertTrue(self.events.ok("publish", device=OTHER, payload="again")["subscribed"])
        self.assertTrue(blue.packet()[1].endswith(b"again"))

    def test_an_id_left_to_the_hub_is_told(self):
        hub = self.hub()
        m = Mqtt(self.tls(hub, self.red))
        ack = m.join(level=5)
        self.assertIn(b"\x12" + text(ICCID), ack)
        m.close()
        m = Mqtt(self.tls(hub, self.red))
        self.assertNotIn(b"\x12" + text(ICCID), m.join(level=5, client_id="mine"))
        m.close()

    def test_the_newer_connection_of_a_device_wins(self):
        hub = self.hub()
        first = self.device(hub, client_id="a")
        second = self.device(hub, client_id="b")
        first.ended()
        self.events.expect("closed", device=ICCID, reason="taken-over")
        self.assertEqual(second.subscribe("devices/%s/command" % ICCID), 0)
        self.assertEqual(hub.ask("counters")["mqtt"]["taken_over"], 1)
        self.assertEqual(hub.ask("sessions")["count"], 1)

    def test_a_will_is_kept_within_the_devices_topics(self):
        hub = self.hub()
        spectator = self.spectator(hub)
        for topic in ("devices/%s/gone" % OTHER, "devices/%s/gone" % ICCID):
            device = self.device(hub, will=(topic, "bye"))
            device.stream.shutdown(2)
            device.close()
            self.events.expect("closed", device=ICCID, reason="device")
        self.assertIn(b"devices/%s/gone" % ICCID.encode(), spectator.packet()[1])

    def test_a_goodbye_suppresses_the_will(self):
        hub = self.hub()
        spectator = self.spectator(hub)
        device = self.device(hub, will=("devices/%s/gone" % ICCID, "bye"))
        device.send(packet(0xE0))
        self.events.expect("closed", device=ICCID, reason="disconnect")
        self.device(hub).publish("devices/%s/x" % ICCID, b"after")
        self.assertIn(b"/x", spectator.packet()[1])


class Protocol(HubCase):
    def answer(self, hub, data):
        """What comes before the end."""
        m = Mqtt(self.tls(hub, self.red))
        m.send(data)
        seen = m.ended()
        m.close()
        self.events.expect("closed", device=ICCID, reason="protocol")
        return seen

    def test_refusals_have_the_right_codes(self):
        hub = self.hub()
        old = packet(0x10, text("MQIsdp") + b"\3\2\0\x3c" + text("x"))
        new = packet(0x10, text("MQTT") + b"\6\2\0\x3c\0" + text("x"))
        self.assertEqual(self.answer(hub, old), [(0x20, b"\0\1")])
        self.assertEqual(self.answer(hub, new), [(0x20, b"\0\x84\0")])
        self.assertEqual(self.answer(hub, connect("", clean=False)), [(0x20, b"\0\2")])
        self.assertEqual(self.answer(hub, connect("x", 5, properties=b"\x7f")), [(0x20, b"\0\x81\0")])
        self.assertEqual(self.answer(hub, packet(0x10, text("MQTT") + b"\4\3\0\x3c" + text("x"))), [])
        self.assertEqual(self.answer(hub, publish("a", b"x")), [])
        self.assertEqual(self.answer(hub, b"\x10\xff\xff\xff\x7f"), [])
        self.assertEqual(self.answer(hub, b"GET / HTTP/1.1\r\n\r\n"), [])
        self.device(hub)

    def test_a_second_connect_ends_the_session(self):
        hub = self.hub()
        device = self.device(hub)
        device.send(connect("again"))
        device.ended()
        self.events.expect("closed", device=ICCID, reason="protocol")

    def test_connect_may_come_in_crumbs_and_with_company(self):
        hub = self.hub()
        m = Mqtt(self.tls(hub, self.red))
        for b in connect("crumbs", user="u", password="p"):
            m.send(bytes([b]))
        self.assertEqual(m.packet(), (0x20, b"\0\0"))
        m.close()
        m = Mqtt(self.tls(hub, self.red))
        m.send(connect("company") + publish("devices/%s/x" % ICCID, b"early") + packet(0xC0))
        self.assertEqual(m.packet(), (0x20, b"\0\0"))
        self.assertEqual(m.packet(), (0xD0, b""))
        self.events.expect("publish", payload="early")
        m.close()

    def test_topic_aliases_are_followed(self):
        hub = self.hub()
        device = self.device(hub, level=5)
        device.send(packet(0x30, text("devices/%s/a" % ICCID) + b"\3\x23\0\1" + b"one"))
        device.send(packet(0x30, text("") + b"\3\x23\0\1" + b"two"))
        device.send(packet(0x30, text("devices/%s/b" % OTHER) + b"\3\x23\0\1" + b"three"))
        self.events.expect("publish", topic="devices/%s/a" % ICCID, payload="one")
        self.events.expect("publish", topic="devices/%s/a" % ICCID, payload="two")
        self.events.expect("publish-denied", topic="devices/%s/b" % OTHER)


class Volume(HubCase):
    def test_large_messages_pass_both_ways(self):
        hub = self.hub()
        device = self.device(hub)
        topic = "devices/%s/echo" % ICCID
        device.subscribe(topic)
        payload = os.urandom(1 << 20)
        device.publish(topic, payload)
        kind, body = device.packet()
        self.assertEqual((kind, body), (0x30, text(topic) + payload))
        self.events.expect("publish", topic=topic, bytes=1 << 20)

    def test_a_device_that_does_not_read_is_waited_for(self):
        hub = self.hub()
        device = self.device(hub)
        topic = "devices/%s/echo" % ICCID
        device.subscribe(topic)
        sender = self.spectator(hub)
        count, piece = 48, os.urandom(1 << 17)  # 6 MiB: far above every buffer on the way
        for _ in range(count):
            sender.send(publish(topic, piece))
        sender.send(packet(0xC0))
        while sender.packet()[0] != 0xD0:
            pass
        self.assertLess(hub_rss(hub), 200 << 20)
        for _ in range(count):
            self.assertEqual(device.packet()[1][-len(piece):], piece)

    def test_two_hundred_at_once(self):
        made = tbtest.run("make_devices", self.ca, self.ca.replace(".crt", ".key"), self.dir, 200)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("200 credentials added", self.cli("import", self.path("devices.json")))
        iccids = ["89882470000001%05d" % i for i in range(200)]
        hub = self.hub("--deadline", "60000")
        devices = []
        for iccid in iccids:
            ctx = self.context((self.path(iccid + ".crt"), self.path("devices.key")))
            devices.append(Mqtt(ctx.wrap_socket(tbtest.connect(hub.ready["mqtts"]), server_hostname="localhost",
                                                do_handshake_on_connect=False)))
        for device in devices:
            device.stream.do_handshake()
        for device in devices:
            device.join()
        self.assertEqual(hub.ask("state")["sessions"], 200)
        for device, iccid in zip(devices, iccids):
            device.publish("devices/%s/telemetry" % iccid, b"x")
        for _ in range(200):
            self.events.expect("publish")
        for device in devices:
            device.close()
        self.assertEqual(hub.stop(), 0)


def hub_rss(hub):
    with open("/proc/%d/statm" % hub.pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Broker(HubCase):
    def test_it_comes_back_after_a_kill(self):
        hub = self.hub()
        device = self.device(hub, level=5)
        os.kill(hub.ask("state")["broker_pid"], signal.SIGKILL)
        self.events.expect("broker-down")
        device.ended()
        device.close()
        self.events.expect("closed", device=ICCID, reason="broker-down")
        self.events.expect("broker-up")
        self.device(hub)
        self.assertEqual(hub.ask("counters")["broker_starts"], 2)

    def test_meanwhile_devices_are_told(self):
        program = self.write("broken", "#!/bin/sh\nexit 3\n")
        os.chmod(program, 0o755)
        hub = self.start("iot-hub", "--state", self.state, "--mqtts", "127.0.0.1:0", "--broker", program,
                         "--ctl", self.socket("ctl"), wait=False)
        mqtts = self.wait_for_ctl()
        for level, code in ((4, b"\0\3"), (5, b"\0\x88\0")):
            raw = tbtest.connect(mqtts)
            m = Mqtt(self.context(self.red).wrap_socket(raw, server_hostname="localhost"))
            m.send(connect("x", level))
            self.assertEqual(m.ended(), [(0x20, code)])
            m.close()
        with tbtest.Ctl(self.socket("ctl")) as ctl:
            self.assertIn("down", ctl.request("publish", device=ICCID, payload="x")["error"])
        self.assertEqual(hub.stop(), 0)

    def wait_for_ctl(self):
        """The address for devices, of a hub that does not become ready: its control socket is there before."""
        deadline = time.monotonic() + tbtest.WAIT
        while time.monotonic() < deadline:
            try:
                with tbtest.Ctl(self.socket("ctl")) as ctl:
                    reply = ctl.request("state")
                    if reply.get("ok"):
                        return reply["mqtts"]
            except OSError:
                pass
        self.fail("no control socket")

    def test_it_dies_with_the_hub(self):
        hub = self.hub()
        pid = hub.ask("state")["broker_pid"]
        self.assertTrue(os.path.exists("/proc/%d" % pid))
        fd = os.pidfd_open(pid)
        hub.kill()
        self.assertTrue(select.select([fd], [], [], tbtest.WAIT)[0])
        os.close(fd)
        again = self.hub()  # over what the dead one has left
        self.device(again)

    def test_an_end_with_live_sessions_is_clean(self):
        hub = self.hub()
        device = self.device(hub, level=5)
        pid = hub.ask("state")["broker_pid"]
        self.assertEqual(hub.stop(), 0)
        self.assertEqual(device.ended(), [(0xE0, b"\x8b\0")])
        self.assertFalse(os.path.exists("/proc/%d" % pid))
        self.assertFalse(os.path.exists(os.path.join(self.state, "broker/mqtt")))
        self.assertFalse(os.path.exists(os.path.join(self.state, "ctl")))
        self.events.expect("closed", device=ICCID, reason="shutdown")
        self.device(self.hub())

    def test_its_configuration_has_no_door_but_the_socket(self):
        hub = self.hub()
        with open(os.path.join(self.state, "broker/mosquitto.conf")) as f:
            conf = f.read()
        self.assertEqual(conf.count("listener"), conf.count("listener 0 /") + conf.count("per_listener"))
        self.assertEqual(os.stat(os.path.join(self.state, "broker")).st_mode & 0o777, 0o700)


class Revocation(HubCase):
    def test_ends_live_sessions_at_once(self):
        hub = self.hub()
        device = self.device(hub, level=5)
        reply = hub.ask("revoke", device=ICCID, reason="stolen")
        self.assertEqual((reply["changed"], reply["kicked"]), (1, 1))
        self.assertEqual(device.ended(), [(0xE0, b"\x98\0")])
        self.events.expect("credential", device=ICCID, state="revoked")
        self.events.expect("closed", device=ICCID, reason="revoked")
        self.assertEqual(self.alert_of(hub, self.red, "1.3"), 44)
        self.assertFalse(self.events.request("resume", device=ICCID)["ok"])

    def test_by_the_command_line_ends_them_too(self):
        hub = self.hub()
        device = self.device(hub)
        self.cli("credential", "revoke", ICCID)
        self.assertEqual(device.ended(), [])
        self.events.expect("closed", device=ICCID, reason="revoked")

    def test_in_the_middle_of_a_message_nothing_foreign_is_put_into_it(self):
        hub = self.hub()
        device = self.device(hub, level=5)
        topic = "devices/%s/x" % ICCID
        device.subscribe(topic)
        sender = self.spectator(hub)
        for _ in range(40):
            sender.send(publish(topic, b"z" * (1 << 17)))
        sender.send(packet(0xC0))
        while sender.packet()[0] != 0xD0:
            pass
        hub.ask("revoke", device=ICCID)
        seen = device.ended()
        for kind, body in seen[:-1]:
            self.assertEqual((kind, len(body)), (0x30, len(text(topic)) + 1 + (1 << 17)))
        if seen and seen[-1][0] != 0x30:
            self.assertEqual(seen[-1], (0xE0, b"\x98\0"))


class Publish(HubCase):
    def test_says_whether_anybody_listens(self):
        hub = self.hub()
        self.assertFalse(self.events.ok("publish", device=ICCID, payload="x")["subscribed"])
        device = self.device(hub)
        device.subscribe("devices/%s/command" % ICCID)
        self.assertTrue(self.events.ok("publish", device=ICCID, payload="grün")["subscribed"])
        self.assertEqual(device.packet(), (0x30, text("devices/%s/command" % ICCID) + "grün".encode()))

    def test_refuses_what_cannot_be_sent(self):
        hub = self.hub("--max-message", "10000")
        for bad in ({"device": "a/b", "payload": "x"}, {"topic": "a/#", "payload": "x"}, {"device": ICCID},
                    {"topic": "a", "payload": "x" * 20000}):
            self.assertFalse(self.events.request("publish", **bad)["ok"])

    def test_stock_clients_work_both_ways(self):
        hub = self.hub()
        host, port = hub.ready["mqtts"].split(":")
        common = ["-h", "localhost", "-p", port, "--cafile", self.ca, "--cert", self.red[0], "--key", self.red[1]]
        sub = subprocess.Popen(["mosquitto_sub", *common, "-t", "devices/%s/command" % ICCID, "-C", "1", "-W", "20"],
                               stdout=subprocess.PIPE, text=True)
        self.events.expect("connect", device=ICCID)
        while not self.events.ok("publish", device=ICCID, payload="hello")["subscribed"]:
            pass
        self.assertEqual(sub.communicate()[0], "hello\n")
        done = subprocess.run(["mosquitto_pub", *common, "-q", "1", "-t", "devices/%s/telemetry" % ICCID, "-m", "21.5"],
                              timeout=tbtest.WAIT)
        self.assertEqual(done.returncode, 0)
        self.events.expect("publish", topic="devices/%s/telemetry" % ICCID, payload="21.5", qos=1)


tbtest.main()
