#!/usr/bin/env python3
"""Breaks the product on purpose and looks whether the scenarios notice.

sabotage.py --check SOURCE            every scenario is listed, every entry finds its place
sabotage.py SOURCE FOLDER [WORD...]   breaks a copy in FOLDER by each entry that has WORD in it
"""
import configparser
import os
import pathlib
import shutil
import subprocess
import sys
import time

FAILED = 1  # of `testbed run`: the scenario noticed; anything else did not come from a check


def entries(source):
    """The list, with what is wrong with it."""
    ini = configparser.ConfigParser(interpolation=None, comment_prefixes=(";",), strict=True)
    ini.optionxform = str
    ini.read(source / "scenarios/sabotage.ini", encoding="utf-8")
    wrong = []
    for name in ini.sections():
        e = ini[name]
        odd = set(e) - {"scenario", "file", "find", "put", "set"}
        missing = {"scenario", "file", "find", "put"} - set(e)
        if odd or missing:
            wrong.append(f"[{name}]: {'unknown' if odd else 'missing'} {', '.join(odd or missing)}")
            continue
        if not (source / "scenarios" / (e["scenario"] + ".lua")).is_file():
            wrong.append(f"[{name}]: no scenario {e['scenario']}")
        try:
            n = (source / e["file"]).read_text(encoding="utf-8").count(e["find"])
        except OSError as error:
            n = 0
            wrong.append(f"[{name}]: {error}")
        if n != 1:
            wrong.append(f"[{name}]: the text to break stands {n} times in {e['file']}, not once")
        if e["find"] == e["put"]:
            wrong.append(f"[{name}]: breaks nothing")
    listed = {ini[n].get("scenario") for n in ini.sections()}
    for story in sorted(source.glob("scenarios/[0-9][0-9]-*/*.lua")):
        topic = str(story.relative_to(source / "scenarios").with_suffix(""))
        if topic not in listed:
            wrong.append(f"scenario {topic} is not in the list: what would turn it red?")
    return ini, wrong


def copy_tree(source, to):
    """The files of the project as they are now; what has not changed keeps its time, so that the next build is short."""
    names = subprocess.run(["git", "-C", source, "ls-files", "-z", "-co", "--exclude-standard"], check=True, capture_output=True).stdout.decode().split("\0")[:-1]
    for name in names:
        a, b = source / name, to / name
        if not a.is_file() or (b.is_file() and b.read_bytes() == a.read_bytes()):
            continue
        b.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(a, b)
        os.utime(b)
    kept = set(names)
    for b in [b for b in to.rglob("*") if b.is_file() and "build" not in b.relative_to(to).parts]:
        if str(b.relative_to(to)) not in kept:
            b.unlink()


def build(tree):
    done = subprocess.run(["cmake", "--build", tree / "build", "-j", str(os.cpu_count())], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout[-2000:]


def run(tree, scenario, cases):
    command = [tree / "build/bin/testbed", "run", f"scenarios/{scenario}.lua"]
    for case in cases.split():
        command += ["--set", case.replace("_", " ")]
    env = {**os.environ, "TESTBED_SOURCE": str(tree)}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    why = [line.strip() for line in (done.stdout + done.stderr).splitlines() if ".lua:" in line]
    return done.returncode, (why or ["no reason given"])[0]


def main():
    args = sys.argv[1:]
    check = args[:1] == ["--check"]
    source = pathlib.Path(args[1 if check else 0]).resolve()
    ini, wrong = entries(source)
    for w in wrong:
        print(f"scenarios/sabotage.ini: {w}", file=sys.stderr)
    if wrong or check:
        return 1 if wrong else 0
    tree = pathlib.Path(args[1]).resolve()
    words = args[2:]
    chosen = [n for n in ini.sections() if not words or any(w in n or w in ini[n]["scenario"] for w in words)]
    if not chosen:
        print(f"no entry has any of: {' '.join(words)}", file=sys.stderr)
        return 2
    copy_tree(source, tree)
    if not (tree / "build/build.ninja").is_file():
        subprocess.run(["cmake", "-S", tree, "-B", tree / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                        "-DTB_WERROR=OFF", "-DTB_TESTS=OFF"], check=True, stdout=subprocess.DEVNULL)
    good, said = build(tree)
    if not good:
        print(said, file=sys.stderr)
        return 3
    for scenario, cases in sorted({(ini[n]["scenario"], ini[n].get("set", "")) for n in chosen}):
        code, why = run(tree, scenario, cases)
        if code != 0:
            print(f"{scenario} is not green before anything is broken (exit {code}): {why}", file=sys.stderr)
            return 3
    unnoticed = 0
    for n, name in enumerate(chosen, 1):
        e = ini[name]
        path = tree / e["file"]
        whole = path.read_text(encoding="utf-8")
        began = time.monotonic()
        try:
            path.write_text(whole.replace(e["find"], e["put"]), encoding="utf-8")
            good, said = build(tree)
            code, why = run(tree, e["scenario"], e.get("set", "")) if good else (-1, "does not build: " + said[-300:])
        finally:
            path.write_text(whole, encoding="utf-8")
        verdict = "red" if code == FAILED else "GREEN" if code == 0 else f"exit {code}"
        unnoticed += code != FAILED
        print(f"{n}/{len(chosen)}  {verdict:7} {time.monotonic() - began:5.0f} s  {e['scenario']}: {name}\n         {why}", flush=True)
    build(tree)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
