"""The benchmarks in their shortest form: what they count and how they report, never how long anything took."""
import json
import os
import shutil
import signal
import subprocess
import time
import unittest
import xml.etree.ElementTree

import tbtest

ROW = {"name": str, "per_second": float, "min": float, "max": float, "cpu_us": float, "cpu_all_us": float}
SANITIZED = bool(os.environ.get("TB_PRELOAD"))  # memory is then the sanitizer's
AXES = ("stack", "version", "credential", "transport", "offload")
PCSC = "PC/SC: pcscd, Debian's vpcd, sim-card"


def members(value, types):
    """Whether an object has these members, of these types."""
    return all(isinstance(value.get(name), kind) for name, kind in types.items())


class Bench(tbtest.Case):
    def bench(self, *args):
        done = tbtest.run("iot-bench", *args, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def report(self, name, *args, seconds=0.02):
        """The JSON of a short run, whose general form is checked."""
        file = self.path(name + ".json")
        done = self.bench(name, "--rounds", "1", "--seconds", str(seconds), *args, "--json", file, "--html", self.path("pages"))
        with open(file) as f:
            report = json.load(f)
        self.assertTrue(members(report, {"schema": int, "benchmark": str, "version": str, "time": int, "machine": dict, "options": dict,
                                         "tables": list, "costs": list, "modelled": list, "sizes": list, "promises": list, "missing": list}), report)
        self.assertEqual((report["schema"], report["benchmark"]), (1, name))
        self.assertTrue(members(report["machine"], {"cpu": str, "cpus": int, "kernel": str, "openssl": str}))
        self.assertEqual(report["options"], {"seconds": seconds, "rounds": int(name != "fleet"), "cpus": "free" if name in ("fleet", "hub") else "one"})
        for table in report["tables"]:
            self.check_rows(table["rows"], done.stdout)
        for promise in report["promises"]:
            self.assertTrue(members(promise, {"promise": str, "kept": bool}), promise)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 150)
        self.check_page(self.path("pages") + "/" + name + ".html", report)
        return report

    def check_page(self, file, report):
        """Well-formed, complete, and a reader needs nothing else."""
        with open(file) as f:
            text = f.read()
        for outside in "http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link":
            self.assertFalse(outside in text, outside)
        page = xml.etree.ElementTree.fromstring(text)
        cells = {"".join(cell.itertext()) for cell in page.iter("td")}
        lines = {"".join(line.itertext()) for line in page.iter("li")}
        drawn = {"".join(label.itertext()) for label in page.iter("text")}
        for table in report["tables"]:
            names = {row["name"] for row in table["rows"]}
            self.assertLessEqual(names, cells)
            self.assertLessEqual(names, drawn)
        self.assertLessEqual({size["name"] for size in report["sizes"]}, cells & drawn)
        self.assertLessEqual({row["group"] + ": " + row["name"] for row in report["modelled"]}, drawn)
        self.assertLessEqual({row["reason"] for row in report["missing"]} | {row["name"] for row in report["costs"]}, cells)
        self.assertEqual({promise["promise"] for promise in report["promises"]}, lines)
        self.assertIn(report["command"], {"".join(code.itertext()) for code in page.iter("code")})
        self.assertIn("iot-bench " + report["benchmark"], report["command"])

    def check_rows(self, rows, text):
        names = [row["name"] for row in rows]
        self.assertEqual(len(set(names)), len(names))
        for row in rows:
            self.assertTrue(members(row, ROW), row)
            self.assertGreater(row["per_second"], 0)
            self.assertLessEqual(row["cpu_us"], row["cpu_all_us"])
            self.assertIn(row["name"], text)
            if "against" in row:
                self.assertIn(row["against"], names)
                self.assertGreater(row["ratio"], 0)

    def check_axes(self, row):
        for axis in AXES:
            self.assertIsInstance(row[axis], str)
        return tuple(row[axis] for axis in AXES)

    def test_handshakes_cost_what_the_card_was_asked_for(self):
        report = self.report("handshake")
        cases = [self.check_axes(row) for table in report["tables"] for row in table["rows"]]
        self.assertEqual(len(set(cases)), len(cases))
        for stack in "openssl", "mbedtls", "module":
            wanted = (stack, "1.3", "cert", "csim", "sign")
            self.assertTrue(wanted in cases or report["missing"], wanted)
        for cost in report["costs"]:
            self.assertIn(self.check_axes(cost), cases)
            self.check_cost(cost)
        self.assertEqual(len(report["costs"]), sum(case[3] != "software" for case in cases))
        for row in report["modelled"]:
            self.check_axes(row)
            self.assertEqual(len(row["profiles"]), 4)
            for profile in row["profiles"]:
                self.assertEqual(profile["card_ms"] > 0, row["offload"] != "none", row)
                self.assertGreater(profile["radio_ms"], 0)

    def check_cost(self, cost):
        full = cost["offload"] == "full"
        counts = [cost[name] for name in ("key_pairs", "agreements", "signatures")]
        if cost["credential"] == "cert":
            self.assertEqual(counts, [int(full), int(full), 1], cost)
            self.assertEqual(cost["apdus"] - cost["randoms"], 14 if full else 2, cost)
            self.assertEqual(cost["verifications"], 2 if full else 0, cost)
        else:
            self.assertEqual(counts, [int(full), int(full), 0], cost)
            self.assertGreaterEqual(cost["derivations"], 1, cost)
        self.assertGreater(min(cost["bytes_to_card"], cost["bytes_from_card"]), 0)

    def test_filters(self):
        report = self.report("handshake", "--filter", "stack=openssl,version=1.2,credential=psk|ecdhe-psk,transport=memory,offload=sign")
        self.assertEqual([[row["name"] for row in table["rows"]] for table in report["tables"]],
                         [["software key", "in memory, key in the card"]] * 2)
        self.assertEqual(report["missing"], [])

    def test_apdus_over_every_link(self):
        report = self.report("apdu")
        exchanges, signatures = ([row["name"] for row in table["rows"]] for table in report["tables"])
        missing = [row["name"] for row in report["missing"]]
        for name in ("vpcd TCP: sim-card", "AT Unix socket: sim-modem, sim-card"):
            self.assertIn(name, exchanges)
            self.assertIn(name, signatures)
        self.assertIn("AT pty: sim-modem, sim-card", exchanges)
        # PC/SC is measured, or it is said why not.
        self.assertEqual([PCSC in exchanges, PCSC in signatures, PCSC in missing],
                         [False, False, True] if missing else [True, True, False])

    def test_connections_to_the_hub(self):
        if not shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"):
            self.skipTest("no mosquitto")
        names = [row["name"] for row in self.report("hub")["tables"][0]["rows"]]
        self.assertEqual(names, ["%s, %s" % (tls, server) for tls in ("TLS 1.3", "TLS 1.2")
                                 for server in ("bare OpenSSL", "mosquitto", "iot-hub, mosquitto behind")])

    def test_fleet_in_one_process(self):
        report = self.report("fleet", "--devices", "100")
        sizes = {size["name"]: size["kib"] for size in report["sizes"]}
        self.assertEqual(len(sizes), 9)
        self.assertGreater(sizes["together, not connected"], 1)
        self.assertEqual([row["name"].split()[0] for row in report["tables"][0]["rows"]], ["cards", "modems", "devices", "sessions"])
        self.assertEqual(len(report["promises"]), 1)
        self.assertTrue(SANITIZED or report["promises"][0]["kept"], sizes)

    def test_concurrent_sessions_of_slow_cards(self):
        report = self.report("concurrency", "--sessions", "10", seconds=0.25)
        rows = report["tables"][0]["rows"]
        self.assertEqual([row["name"] for row in rows], ["1 session, card 0 ms", "1 session, card 100 ms",
                                                         "10 sessions, card 0 ms", "10 sessions, card 100 ms"])
        for row in rows:
            self.assertGreaterEqual(row["p99_us"], row["p50_us"])
            self.assertEqual("against" in row, "100 ms" in row["name"])
        for slow in rows[1], rows[3]:
            self.assertGreater(slow["p50_us"], 99000)
        if not SANITIZED:
            self.assertTrue(all(promise["kept"] for promise in report["promises"]), report["promises"])

    def test_nothing_stays(self):
        before = set(os.listdir("/tmp"))
        args = [tbtest.program("iot-bench"), "apdu", "--rounds", "64", "--seconds", "60"]
        with subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=tbtest.with_parent_dies(os.getpid())) as process:
            process.stdout.readline()
            children = self.wait_for_children(process.pid)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(tbtest.WAIT), 128 + signal.SIGTERM)
        for child in children:
            self.assertFalse(os.path.exists("/proc/%d" % child), child)
        self.assertEqual([name for name in set(os.listdir("/tmp")) - before if name.startswith("tb-bench-")], [])

    def wait_for_children(self, pid):
        deadline = time.monotonic() + tbtest.WAIT
        while time.monotonic() < deadline:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                children = [int(child) for child in f.read().split()]
            if len(children) > 2:
                return children
        self.fail("no children")

    def test_help_names_the_benchmarks(self):
        text = self.bench("--help").stdout
        self.assertIn("apdu|handshake|concurrency|fleet|hub", text)
        self.assertIn("--json", text)


class Usage(unittest.TestCase):
    def refused(self, says, *args):
        done = tbtest.run("iot-bench", *args)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_unknown_benchmark(self):
        self.refused("did you mean handshake", "handshakes")
        self.refused("there is: apdu, handshake, concurrency, fleet, hub", "storage")
        self.refused("there is: apdu, handshake, concurrency, fleet, hub")

    def test_unknown_options_and_values(self):
        self.refused("--nope", "--nope")
        self.refused("--rounds", "apdu", "--rounds", "0")
        self.refused("--rounds", "apdu", "--rounds", "65")
        self.refused("--rounds", "apdu", "--rounds", "2x")
        self.refused("--seconds", "apdu", "--seconds", "0")
        self.refused("--seconds", "apdu", "--seconds", "nan")
        self.refused("--cpus", "apdu", "--cpus", "two")
        self.refused("--stack", "fleet", "--stack", "gnutls")
        self.refused("--devices", "fleet", "--devices", "-1")
        self.refused("--sessions", "concurrency", "--sessions", "1001")
        self.refused("no value 'gnutls'", "handshake", "--filter", "stack=openssl|gnutls")
        self.refused("axes are stack, version", "handshake", "--filter", "colour=red")
        self.refused("one benchmark", "apdu", "handshake")

    def test_a_page_that_cannot_be_written(self):
        done = tbtest.run("iot-bench", "fleet", "--devices", "1", "--html", "/proc/nowhere", timeout=120)
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("/proc/nowhere/fleet.html cannot be written", done.stderr)


tbtest.main()
