#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""suite_targets.py FOLDER SUITE - prints the ninja targets that the tests of one suite need.

So that a second sanitizer builds only what it is going to run.
"""

import json
import pathlib
import subprocess
import sys


def introspect(folder, what):
    """What meson knows of the build in `folder`."""
    answer = subprocess.run(
        ["meson", "introspect", what, folder], check=True, capture_output=True
    )
    return json.loads(answer.stdout)


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder, suite = sys.argv[1:]
    files = {target["id"]: target["filename"] for target in introspect(folder, "--targets")}
    needed = set()
    for test in introspect(folder, "--tests"):
        if any(name.split(":")[-1] == suite for name in test["suite"]):
            for target in test["depends"]:
                needed.update(files.get(target, []))
    root = pathlib.Path(folder).resolve()
    for file in sorted(needed):
        print(pathlib.Path(file).relative_to(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
