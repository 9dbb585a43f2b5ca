"""Many clients that behave as they like, while the broker is killed and credentials come and go: nothing may crash, leak or stay. What it
finds, the sanitizer build tells; the seed is fixed, the interleaving is not."""
import os
import random
import signal
import threading
import time
import tbtest
from hubtest import HubCase, Mqtt, connect

CLIENTS, ROUNDS, DEVICES = 8, 15, 12


class Storm(HubCase):
    def round(self, hub, rnd):
        iccid = rnd.choice(self.iccids)
        if rnd.random() < 0.15:
            with tbtest.connect(hub.ready["mqtts"]) as s:
                s.send(rnd.randbytes(rnd.randrange(1, 400)))
            return
        cert = self.path(iccid + ".crt"), self.path("devices.key")
        with Mqtt(self.tls(hub, cert, rnd.choice(["1.2", "1.3"]))) as m:
            level = rnd.choice([4, 5])
            if rnd.random() < 0.2:
                m.send(rnd.choice([rnd.randbytes(50), connect("x", level)[:7]]))
                return
            m.join(level=level, will=("devices/%s/w" % iccid, "x") if rnd.random() < 0.5 else None)
            m.subscribe("devices/%s/#" % iccid)
            for _ in range(rnd.randrange(6)):
                m.publish("devices/%s/t" % iccid, bytes(rnd.choice([1, 100, 70000])))
            if rnd.random() < 0.3:
                m.send(b"\x30\xff\xff\xff\xff")
            if rnd.random() < 0.5:
                m.stream.shutdown(2)

    def client(self, hub, seed):
        rnd = random.Random(seed)
        for _ in range(ROUNDS):
            try:
                self.round(hub, rnd)
            except (OSError, EOFError, AssertionError):
                pass  # refused, thrown out, or the broker was gone

    def interfere(self, ctl, rnd):
        iccid, kind = rnd.choice(self.iccids), rnd.random()
        if kind < 0.05:
            pid = ctl.request("state").get("broker_pid", -1)
            if pid > 0:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        elif kind < 0.3:
            ctl.request("suspend", device=iccid)
        elif kind < 0.7:
            ctl.request("resume", device=iccid)
        else:
            ctl.request("publish", device=iccid, payload="x" * rnd.choice([10, 50000]))

    def test_the_hub_outlives_it(self):
        made = tbtest.run("make_devices", self.ca, self.ca.replace(".crt", ".key"), self.dir, DEVICES)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.cli("import", self.path("devices.json"))
        self.iccids = ["89882470000001%05d" % i for i in range(DEVICES)]
        hub = self.hub("--resumption", "--deadline", "1000")
        clients = [threading.Thread(target=self.client, args=(hub, seed)) for seed in range(CLIENTS)]
        for c in clients:
            c.start()
        rnd = random.Random(CLIENTS)
        with hub.ctl() as ctl:
            for c in clients:
                while c.is_alive():
                    self.interfere(ctl, rnd)
                    c.join(0.02)
            left = time.monotonic() + tbtest.WAIT
            while ctl.ok("sessions")["sessions"] and time.monotonic() < left:
                pass  # a close is on its way
            self.assertEqual(ctl.ok("sessions")["sessions"], [])
            counters = ctl.ok("counters")
        self.assertGreater(counters["handshakes"]["TLSv1.2"] + counters["handshakes"]["TLSv1.3"], 0)
        self.assertEqual(hub.stop(), 0)


tbtest.main()
