"""What is installed can be used without the rest: pkg-config, CMake package, static and shared library, C and C++."""
import os
import re
import shutil
import subprocess

import tbtest

PROGRAM = r"""
#include <iotsafe/at.h>
#include <iotsafe/call.h>
#include <iotsafe/iotsafe.h>
#include <iotsafe/slots.h>
#include <iotsafe/transport.h>
#include <stdio.h>
static int card(void *user, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    (void)user; (void)n; (void)cap;
    rsp[0] = cmd[1] == 0x70 ? 1 : 0x90; rsp[1] = cmd[1] == 0x70 ? 0x90 : 0; rsp[2] = 0;
    return cmd[1] == 0x70 ? 3 : 2;
}
int main(void) {
    struct iotsafe_transport *t;
    struct iotsafe *c;
    if (iotsafe_transport_mem(card, NULL, &t) < 0 || iotsafe_open(t, NULL, &c) < 0) return 1;
    printf("%s\n", iotsafe_strerror(iotsafe_select(c)));
    iotsafe_close(c);
    return 0;
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(iotsafe REQUIRED)
add_executable(shared main.c)
target_link_libraries(shared iotsafe::iotsafe)
add_executable(static main.c)
target_link_libraries(static iotsafe::iotsafe_static)
"""


class Install(tbtest.Case):
    def setUp(self):
        self.prefix = self.path("root")
        self.check("cmake", "--install", tbtest.BUILD, "--component", "iotsafe", "--prefix", self.prefix)
        self.lib = os.path.dirname(self.find("libiotsafe.so"))
        self.write("main.c", PROGRAM)

    def check(self, *args, **env):
        done = subprocess.run(args, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=dict(os.environ, **env), check=False)
        self.assertEqual(done.returncode, 0, "%s: %s" % (args, done.stdout))
        return done.stdout

    def find(self, name):
        for folder, _, files in os.walk(self.prefix):
            if name in files:
                return os.path.join(folder, name)
        self.fail("not installed: " + name)

    def runs(self, path):
        # A sanitized library needs its runtime first; the program here has none.
        self.assertEqual(self.check(path, LD_LIBRARY_PATH=self.lib), "success\n")

    def pkg_config(self, *args):
        pc = os.path.dirname(self.find("iotsafe.pc"))
        text = self.check("pkg-config", "--define-prefix", *args, "iotsafe", PKG_CONFIG_PATH=pc,
                          PKG_CONFIG_SYSTEM_LIBRARY_PATH="/nowhere")
        return text.split()

    def test_a_program_links_with_pkg_config(self):
        self.check("cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", "user", "main.c",
                   *self.pkg_config("--cflags", "--libs"))
        self.runs("./user")

    def test_the_static_library_needs_nothing_else(self):
        self.check("cc", "-o", "user", "main.c", *self.pkg_config("--cflags"), self.find("libiotsafe.a"))
        self.assertEqual(self.check("./user"), "success\n")

    def test_a_cmake_project_finds_the_package(self):
        os.mkdir(self.path("project"))
        shutil.copy(self.path("main.c"), self.path("project"))
        self.write("project/CMakeLists.txt", CMAKE)
        self.check("cmake", "-G", "Ninja", "-S", "project", "-B", "project/build", "-DCMAKE_PREFIX_PATH=" + self.prefix)
        self.check("cmake", "--build", "project/build")
        self.runs("project/build/shared")
        self.runs("project/build/static")

    def test_the_headers_are_cxx(self):
        if not shutil.which("c++"):
            self.skipTest("no C++ compiler")
        self.check("c++", "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", "user", "main.c",
                   *self.pkg_config("--cflags"), "-x", "none", *self.pkg_config("--libs"))
        self.runs("./user")

    def test_nothing_but_the_interface_is_visible(self):
        shared = self.check("nm", "-D", "--defined-only", self.find("libiotsafe.so"))
        names = {line.split()[2].split("@")[0] for line in shared.splitlines()} - {"IOTSAFE_0"}
        static = {line.split()[2] for line in self.check("nm", "-g", "--defined-only", self.find("libiotsafe.a")).splitlines()
                  if len(line.split()) == 3}
        self.assertEqual(names, static)
        self.assertEqual([n for n in names if not n.startswith("iotsafe_")], [])
        declared = set()
        for header in ("at.h", "call.h", "iotsafe.h", "slots.h", "transport.h"):
            with open(os.path.join(self.prefix, "include", "iotsafe", header)) as f:
                text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
                declared |= set(re.findall(r"\b(iotsafe_\w+)\(", text))
        self.assertEqual(names, declared - {"iotsafe_mem_fn"})  # a type

    def test_the_library_has_a_name_and_few_needs(self):
        dynamic = self.check("readelf", "-d", self.find("libiotsafe.so"))
        self.assertIn("soname: [libiotsafe.so.0]", dynamic)
        needed = set(re.findall(r"NEEDED.*\[(.*)\]", dynamic))
        self.assertEqual(needed - {"libc.so.6", "libdl.so.2"}, set())

    def test_the_tool_is_there(self):
        self.assertIn("Usage: iotsafe", self.check(os.path.join(self.prefix, "bin", "iotsafe"), "--help"))


tbtest.main()
