#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""planted.py - plants each bug of test/planted/ into a copy of the tree: the test it names must fail.

  scripts/planted.py [PATCH...]

The lines of a patch before its first `diff` say what the bug is, and which tests must catch it:

  Bug: acknowledges before the sync has returned
  Caught-by: log_flush            a test of meson, by its name

A test of servers that is there a second time, on io_uring (NAME_uring), must catch it there, too.
A test that does not pass without the patch, or passes with it, is a failure. Exit status 1 then.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST_TIMEOUT_S = 900


def say(text):
    print(text, flush=True)


def run(command, folder, log):
    """Runs a command with its output in the log; True if it succeeded."""
    with open(log, "ab") as out:
        done = subprocess.run(
            command, cwd=folder, stdout=out, stderr=out, check=False, timeout=TEST_TIMEOUT_S
        )
    return done.returncode == 0


def read_patch(path):
    """(what the bug is, the tests that must catch it)."""
    head = path.read_text().split("\ndiff ", 1)[0]
    bug = re.search(r"^Bug:\s*(.+)$", head, re.MULTILINE)
    tests = re.findall(r"^Caught-by:\s*(\S+)", head, re.MULTILINE)
    if not bug or not tests:
        raise SystemExit(f"{path}: needs a line `Bug:` and a line `Caught-by:` before its first diff")
    return bug[1], tests


class Copy:
    """A copy of the tree with a build folder of its own; patches come and go in it."""

    def __init__(self, folder):
        self.tree = pathlib.Path(folder, "tree")
        self.build = pathlib.Path(folder, "build")
        self.log = pathlib.Path(folder, "log")
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
        ).stdout.decode()
        for name in filter(None, listed.split("\0")):
            target = self.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        if not run(["meson", "setup", str(self.build), str(self.tree)], folder, self.log):
            raise SystemExit(f"the copy cannot be configured:\n{self.tail()}")

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def apply(self, patch, back=False):
        flags = ["--reverse"] if back else []
        return run(["git", "apply", *flags, str(patch)], self.tree, self.log)

    def introspect(self):
        """What meson knows of tests and targets."""
        listed = subprocess.run(
            ["meson", "introspect", "--tests", "--targets", str(self.build)],
            check=True,
            capture_output=True,
        )
        return json.loads(listed.stdout)

    def on_both(self, tests):
        """The tests, each with its twin on io_uring if it has one."""
        known = {entry["name"] for entry in self.introspect()["tests"]}
        twins = [(test, f"{test}_uring") for test in tests]
        return [name for test, twin in twins for name in (test, twin) if name == test or name in known]

    def targets_of(self, test):
        """The build targets that a test needs; None if there is no such test."""
        known = self.introspect()
        files = {target["id"]: target["filename"] for target in known["targets"]}
        for entry in known["tests"]:
            if entry["name"] == test:
                if not entry["depends"] or "python" in pathlib.Path(entry["cmd"][0]).name:
                    return ["all"]
                names = [file for target in entry["depends"] for file in files.get(target, [])]
                return [str(pathlib.Path(name).relative_to(self.build)) for name in names]
        return None

    def passes(self, test):
        """True or False; None if what the test needs does not build."""
        targets = self.targets_of(test)
        if targets is None:
            say(f"    there is no test {test}")
            return None
        if not run(["ninja", "-C", str(self.build), "--quiet", *targets], self.tree, self.log):
            say(self.tail())
            return None
        command = ["meson", "test", "-C", str(self.build), "--no-rebuild", test]
        return run(command, self.tree, self.log)


def judge(copy, patch, tests):
    """What became of one planted bug: a word for each test, and if all is as it should be."""
    words = []
    for test in tests:
        if copy.passes(test) is not True:
            words.append(f"{test}: does not pass WITHOUT the bug")
            continue
        if not copy.apply(patch):
            words.append(f"{test}: the patch does not apply")
            continue
        with_bug = copy.passes(test)
        copy.apply(patch, back=True)
        if with_bug is None:
            words.append(f"{test}: the bug does not build")
        elif with_bug:
            words.append(f"{test}: NOT CAUGHT")
        else:
            words.append(f"{test}: caught")
    return words, all(word.endswith(": caught") for word in words)


def main():
    patches = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    if not patches:
        patches = sorted((ROOT / "test" / "planted").glob("*.patch"))
    if not patches:
        say("planted: there are no patches in test/planted/")
        return 1
    good = True
    rows = []
    with tempfile.TemporaryDirectory(prefix="ternmq-planted-") as folder:
        copy = Copy(folder)
        for patch in patches:
            bug, tests = read_patch(patch)
            say(f"planted: {patch.stem}: {bug}")
            words, caught = judge(copy, patch, copy.on_both(tests))
            good = good and caught
            rows += [(patch.stem, word) for word in words]
    width = max(len(name) for name, _ in rows)
    for name, word in rows:
        say(f"  {name:{width}}  {word}")
    say(f"planted: {len(patches)} bugs, {'each was caught' if good else 'NOT all were caught'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
