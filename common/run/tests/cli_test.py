"""Options, configuration files, help: what a person types and reads."""
import re
import shutil
import subprocess

import tbtest

HELP = """\
Usage: tb-demo [OPTION...]
Answers control requests and does nothing else.

      --count=N              How often (default: 3)
  -g, --greeting=TEXT        What verb greet answers (default: hello)
      --loud                 Shout
  -l, --listen=ADDR          Addresses, any number of them (default:
                             localhost:1)

 Common options:
"""

CONFIG = """\
# What verb greet answers
greeting = hello

# Addresses, any number of them
listen = localhost:1

# How often
count = 3

# Shout
loud = no

# error, warn, info or debug; also by part, as in info,apdu=debug
log-level = info

# text or json (one object per line)
log-format = text

# Listen there for control connections: host:port or unix:/path
#ctl =

# Append events to FILE as JSON lines
#event-file =
"""


class Options(tbtest.Case):
    def ok(self, *args):
        done = tbtest.run("tb-demo", *args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def usage_error(self, *args):
        done = tbtest.run("tb-demo", *args)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        return done.stderr.splitlines()[0]

    def values(self, *args):
        """The values in force as --print-config tells them."""
        lines = [line for line in self.ok(*args, "--print-config").splitlines() if line and not line.startswith("#")]
        return [tuple(line.split(" = ", 1)) for line in lines]

    def test_version(self):
        self.assertRegex(self.ok("--version"), r"^tb-demo \d+\.\d+\.\d+\n$")

    def test_help(self):
        text = self.ok("--help")
        self.assertEqual(text[:len(HELP)], HELP)
        for option in ("config=FILE", "check-config", "print-config", "log-level=LEVEL", "log-format=FORMAT",
                       "ctl=ADDR", "ready-fd=N", "event-file=FILE", "version", "help"):
            self.assertIn("--" + option, text)
        self.assertTrue(text.endswith("It exists for tests.\n"), text)

    def test_help2man_makes_a_page(self):
        if not shutil.which("help2man"):
            self.skipTest("help2man is not installed")
        page = subprocess.run(["help2man", "--no-info", tbtest.program("tb-demo")], stdout=subprocess.PIPE, check=True,
                              text=True, timeout=tbtest.WAIT).stdout
        for part in (".SH SYNOPSIS", ".SH DESCRIPTION", r"\fB\-\-greeting\fR", "It exists for tests."):
            self.assertIn(part, page)

    def test_default_configuration(self):
        text = self.ok("--print-config")
        self.assertEqual(re.sub(r"^# tb-demo .*\n\n", "", text), CONFIG)

    def test_printed_configuration_can_be_read_back(self):
        first = self.ok("--greeting=hi; there", "-l", "a:1", "-l", "/b", "--loud", "--count=0", "--log-format=json",
                        "--log-level=warn,x=debug", "--ctl", ":0", "--print-config")
        self.assertEqual(self.ok("-c", self.write("a.conf", first), "--print-config"), first)
        self.assertIn("greeting = hi; there\n", first)

    def test_value_that_no_file_can_hold(self):
        for value in (" x", "x ", "a ;b", "a\nb", ";"):
            text = self.ok("--greeting", value, "--print-config")
            self.assertIn("#greeting = (this value can only be given on the command line)", text)
            self.ok("--check-config", "-c", self.write("a.conf", text))

    def test_command_line_beats_file_beats_default(self):
        conf = self.write("a.conf", "count = 7\nlisten = f:1\nlisten = f:2\nloud = yes\n")
        values = self.values("-c", conf, "-l", "c:1", "--greeting=x")
        self.assertEqual(values[:4], [("greeting", "x"), ("listen", "c:1"), ("count", "7"), ("loud", "yes")])
        values = self.values("-c", conf)
        self.assertEqual(values[:3], [("greeting", "hello"), ("listen", "f:1"), ("listen", "f:2")])

    def test_flags_in_files(self):
        for text, value in (("yes", "yes"), ("true", "yes"), ("1", "yes"), ("no", "no"), ("false", "no"), ("0", "no")):
            self.assertIn(("loud", value), self.values("-c", self.write("a.conf", "loud = %s\n" % text)))

    def test_mistakes_in_files(self):
        for text, complaint in (
            ("\ngretting = x\n", "2: unknown option 'gretting': did you mean 'greeting'?"),
            ("something-else = x\n", "1: unknown option 'something-else'"),
            ("count = -1\n", "1: count = -1: a number is wanted"),
            ("count = 1x\n", "1: count = 1x: a number is wanted"),
            ("count = 99999999999\n", "1: count = 99999999999: the number is too large"),
            ("loud = maybe\n", "1: loud = maybe: yes or no is wanted"),
            ("[tb-demo]\ncount = 1\n", "1: unexpected section [tb-demo]: this file has none"),
            ("config = other\n", "1: unknown option 'config'"),
            ("print-config = yes\n", "1: unknown option 'print-config'"),
            ("a=1\n", "1: unknown option 'a'"),
            ("count\n", "1: neither 'key = value' nor '[section]'"),
        ):
            conf = self.write("a.conf", text)
            self.assertEqual(self.usage_error("-c", conf), "tb-demo: %s:%s" % (conf, complaint))
            self.assertEqual(self.usage_error("-c", conf, "--check-config"), "tb-demo: %s:%s" % (conf, complaint))
        self.assertEqual(self.usage_error("-c", self.path("none")),
                         "tb-demo: %s: No such file or directory" % self.path("none"))

    def test_mistakes_on_the_command_line(self):
        self.assertEqual(self.usage_error("--count=x"), "tb-demo: --count=x: a number is wanted")
        self.assertEqual(self.usage_error("--count=4294967296"), "tb-demo: --count=4294967296: the number is too large")
        self.assertEqual(self.usage_error("operand"), "tb-demo: unexpected argument 'operand'")
        self.assertEqual(self.usage_error("--log-level=verbose"),
                         "tb-demo: unknown log level 'verbose' (error, warn, info, debug)")
        self.assertEqual(self.usage_error("--ready-fd=99"), "tb-demo: --ready-fd=99: this descriptor is not open")
        self.assertEqual(self.usage_error("--log-format=xml"), "tb-demo: --log-format is text or json")
        self.assertIn("unrecognized option '--no-such'", self.usage_error("--no-such"))
        self.assertIn("requires an argument", self.usage_error("--greeting"))

    def test_check_config_is_silent_when_all_is_well(self):
        self.assertEqual(self.ok("--check-config", "-c", self.write("a.conf", "count = 1\n")), "")

    def test_log_options_take_effect(self):
        demo = self.start("tb-demo", "--ctl", "127.0.0.1:0", "--log-format", "json", "--ready-fd", "99", wait=False)
        # The last --ready-fd wins: the one that start() added.
        demo.wait_ready()
        self.assertEqual(demo.stop(), 0)
        done = tbtest.run("tb-demo", "--ctl", "nonsense", "--log-format=json")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'^\{"ts":\d+,"mono":\d+,"level":"error","component":"demo","message":"')


if __name__ == "__main__":
    tbtest.main()
