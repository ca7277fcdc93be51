#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""count_results.py - counts single test cases in what meson recorded, and says which failed.

  scripts/count_results.py [--broken WHAT]... FOLDER[:LOG]...

FOLDER is a build folder in which `meson test` ran, LOG its log's base name (testlog). A test that
speaks TAP counts once for each of its cases; cases that its plan promised and that never came, and a
program that ended badly after its last good case, count as failed. --broken counts WHAT (a build that
did not come to its tests) as one failure. The last line is 'N passed, N failed[, N skipped]'; the exit
status is 1 if anything failed or nothing ran.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

LINE = re.compile(r"^(ok|not ok)\b\s*(\d+)?\s*-?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)\s*(#.*)?$")
SKIPPED = re.compile(r"#\s*skip", re.IGNORECASE)
GOOD = {"OK", "EXPECTEDFAIL"}
# With these a program says as a whole that it had nothing to do (exit status 77).
SKIPPING = {"SKIP"}
TAIL_LINES = 40


class Count:
    """What was seen so far; `failures` are pairs of a name and the text that explains it."""

    def __init__(self):
        self.passed = 0
        self.skipped = 0
        self.failures = []

    def add_failure(self, name, text):
        self.failures.append((name, "\n".join(text.splitlines()[-TAIL_LINES:])))


def count_tap(count, name, result):
    """Counts the cases of one program's TAP output."""
    planned = None
    seen = 0
    bad_before = len(count.failures)
    lines = result.get("stdout", "").splitlines()
    for line in lines:
        plan = PLAN.match(line)
        if plan:
            planned = int(plan[1])
        case = LINE.match(line)
        if not case:
            continue
        seen += 1
        if SKIPPED.search(case[3]):
            count.skipped += 1
        elif case[1] == "ok":
            count.passed += 1
        else:
            count.add_failure(f"{name}: {case[3]}", "")
    rest = result.get("stderr", "")
    if planned is not None and planned > seen:
        for number in range(seen + 1, planned + 1):
            count.add_failure(f"{name}: case {number} of {planned} never came", "")
    good = result["result"] in GOOD or (result["result"] in SKIPPING and planned == 0)
    if not good and len(count.failures) == bad_before:
        count.add_failure(f"{name}: {result['result']}, exit status {result['returncode']}", rest)
    elif seen == 0 and planned != 0 and len(count.failures) == bad_before:
        count.add_failure(f"{name}: not one case ran", rest)
    elif len(count.failures) > bad_before and rest:
        last, text = count.failures[-1]
        count.failures[-1] = (last, text or "\n".join(rest.splitlines()[-TAIL_LINES:]))


def count_program(count, name, result):
    """Counts a program whose exit status is its only answer."""
    if result["result"] in GOOD:
        count.passed += 1
    elif result["result"] in SKIPPING:
        count.skipped += 1
    else:
        text = result.get("stdout", "") + result.get("stderr", "")
        count.add_failure(f"{name}: {result['result']}, exit status {result['returncode']}", text)


def count_folder(count, folder, log):
    """Counts everything that one run of `meson test` recorded in `folder`."""
    path = pathlib.Path(folder, "meson-logs", log + ".json")
    if not path.exists():
        count.add_failure(f"{folder}: its tests did not run", "")
        return
    listed = json.loads(
        subprocess.run(
            ["meson", "introspect", "--tests", folder], check=True, capture_output=True
        ).stdout
    )
    speaks_tap = {tuple(test["cmd"]) for test in listed if test["protocol"] == "tap"}
    ran = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        result = json.loads(line)
        ran += 1
        name = f"{folder}: {result['name']}"
        if tuple(result["command"]) in speaks_tap:
            count_tap(count, name, result)
        else:
            count_program(count, name, result)
    if ran == 0:
        count.add_failure(f"{folder}: its log is empty", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broken", action="append", default=[], metavar="WHAT")
    parser.add_argument("folders", nargs="*", metavar="FOLDER[:LOG]")
    arguments = parser.parse_args()

    count = Count()
    for what in arguments.broken:
        count.add_failure(what, "")
    for folder in arguments.folders:
        name, _, log = folder.partition(":")
        count_folder(count, name, log or "testlog")

    for name, text in count.failures:
        print(f"FAILED {name}")
        if text:
            print("\n".join("    " + line for line in text.splitlines()))
    line = f"{count.passed} passed, {len(count.failures)} failed"
    if count.skipped > 0:
        line += f", {count.skipped} skipped"
    print(line)
    return 0 if not count.failures and count.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
