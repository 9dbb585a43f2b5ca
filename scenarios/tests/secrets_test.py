"""No secret of a card or a CA in anything that the runs of all scenarios have told: logs, events, captures. The scenario tests
leave their folders below TB_RUNS; a demo of our own is there in any case."""
import os
import stat
import subprocess

import rundir
import tbtest

TESTBED = tbtest.program("testbed")
KEEPERS = (".db", ".db-wal", ".key")  # stores and private keys: where secrets belong
RECORD = "/state/card.json"  # the SIM maker's output, with what the hub has to know: its owner's alone


class Secrets(tbtest.Case):
    def setUp(self):
        run = self.path("run")
        p = subprocess.run([TESTBED, "demo", "--out", run], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=tbtest.WAIT * 3, env=dict(os.environ, XDG_RUNTIME_DIR=self.dir))
        self.assertEqual(p.returncode, 0, p.stdout)
        with open(run + "/log/output", "w") as f:
            f.write(p.stdout)
        self.own = run

    def test_the_search_finds_what_it_looks_for(self):
        found = rundir.secrets(self.own)
        # client key in three instances, ZARIOT's key, PSK, NTT's provisioning secret; CA "device", CA "red", the hub's key
        self.assertGreaterEqual(len(found), 8, sorted(found))
        for name, secret in found.items():
            self.assertTrue(rundir.files_with(secret, self.own), name)
            for form in rundir.spellings(secret):
                self.write("leak", b"before" + form + b"after")
                self.assertEqual(rundir.files_with(secret, self.dir, KEEPERS + (RECORD,)), [self.path("leak")], (name, form))
        os.unlink(self.path("leak"))

    def test_no_run_has_told_a_secret(self):
        folders = rundir.runs(os.environ.get("TB_RUNS", self.own)) + [self.own]
        known = 0
        for folder in folders:
            for name, secret in rundir.secrets(folder).items():
                known += 1
                told = [p for p in rundir.files_with(secret, folder, KEEPERS)
                        # What only its owner can read, in the part of the run that is state, may hold it, too.
                        if not (p.startswith(folder + "/state/") and stat.S_IMODE(os.stat(p).st_mode) & 0o077 == 0)]
                self.assertEqual(told, [], name)
        print("%d secrets in %d runs" % (known, len(folders)))
        self.assertGreater(known, 0)

    def test_only_the_owner_can_read_secrets(self):
        for name, secret in rundir.secrets(self.own).items():
            for path in rundir.files_with(secret, self.own):
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o077, 0, (name, path))


if __name__ == "__main__":
    tbtest.main()
