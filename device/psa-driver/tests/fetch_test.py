"""cmake/get-mbedtls.sh with an apt-get and a dpkg-source of the test's own in its path: no network is used."""
import hashlib
import os
import subprocess

import tbtest

SCRIPT = os.path.join(tbtest.SOURCE, "cmake", "get-mbedtls.sh")
APT = r"""#!/bin/sh
echo "apt-get $*" >>"$LOG"
case "$*" in
indextargets*)
    echo "http://one/ main bookworm-updates"; echo "http://one/ main bookworm"; echo "http://two/ main bookworm" ;;
*update*)
    # only the second mirror has sources
    test "$MIRRORS" = none && exit 100
    grep -q 'URIs: http://two/' "$(sed -n 's/^Dir::Etc::sourcelist "\(.*\)";/\1/p' "$APT_CONFIG")" ;;
*source*)
    printf 'Format: 3.0\nVersion: %s\n' "$PACKAGE" >mbedtls_x.dsc
    printf '%s' "$ARCHIVE" >mbedtls_x.orig.tar.bz2
    echo signature >mbedtls_x.orig.tar.bz2.asc ;;
esac
"""
DPKG = r"""#!/bin/sh
echo "dpkg-source $*" >>"$LOG"
for dest; do :; done
mkdir -p "$dest/include/mbedtls" "$dest/library" "$dest/tests/data"
touch "$dest/include/mbedtls/build_info.h" "$dest/library/psa_crypto.c"
"""


class Fetch(tbtest.Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("bin"))
        for name, text in (("apt-get", APT), ("dpkg-source", DPKG)):
            os.chmod(self.write("bin/" + name, text), 0o755)
        self.log = self.path("log")
        self.dest = self.path("cache/mbedtls-3.6")

    def fetch(self, version="3.6.99-1", archive="x", mirrors="two", wait=True):
        env = dict(os.environ, PATH=self.path("bin") + ":" + os.environ["PATH"], LOG=self.log, PACKAGE=version, ARCHIVE=archive,
                   MIRRORS=mirrors)
        child = subprocess.Popen([SCRIPT, self.dest], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self.result(child) if wait else child

    @staticmethod
    def result(child):
        out, err = child.communicate(timeout=tbtest.WAIT)
        return child.returncode, out, err

    def calls(self, what):
        with open(self.log) as f:
            return sum(what in line for line in f)

    def is_clean(self):
        return sorted(os.listdir(self.path("cache")))

    def test_fetches_from_the_first_mirror_that_has_it(self):
        status, out, err = self.fetch()
        self.assertEqual(status, 0, err)
        self.assertIn("3.6.99-1", out)
        self.assertIn(hashlib.sha256(b"x").hexdigest(), out)
        self.assertEqual(self.calls("update"), 2)
        self.assertFalse(os.path.exists(self.dest + "/tests"))
        self.assertEqual(self.is_clean(), ["mbedtls-3.6", "mbedtls-3.6.lock"])

    def test_what_is_there_is_left_alone(self):
        self.assertEqual(self.fetch()[0], 0)
        os.remove(self.log)
        self.assertEqual(self.fetch(), (0, "", ""))
        self.assertFalse(os.path.exists(self.log))

    def test_of_several_at_once_one_fetches(self):
        children = [self.fetch(wait=False) for _ in range(4)]
        self.assertEqual([self.result(c)[0] for c in children], [0, 0, 0, 0])
        self.assertEqual(self.calls("dpkg-source"), 1)

    def refused(self, *wanted, **how):
        status, _, err = self.fetch(**how)
        self.assertEqual(status, 1)
        for text in (*wanted, "-DMBEDTLS_SOURCE_DIR="):
            self.assertIn(text, err)
        self.assertFalse(os.path.exists(self.dest))
        self.assertEqual(self.is_clean(), ["mbedtls-3.6.lock"])

    def test_another_archive_of_a_known_version_is_refused(self):
        self.refused("is wanted", version="3.6.6-0.1~deb13u1")

    def test_another_version_is_refused(self):
        self.refused("4.0.0", version="4.0.0-1")

    def test_no_mirror_is_told(self):
        self.refused("no source of this machine", mirrors="none")


if __name__ == "__main__":
    tbtest.main()
