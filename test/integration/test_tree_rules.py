# SPDX-License-Identifier: Apache-2.0
"""Tests of scripts/tree_rules.py and scripts/count_results.py: each rule complains of a tree that breaks
it, and holds its peace about one that does not; a crash is never counted as a success."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n\n/* what it is */\n"


class TreeRules(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ternmq-rules-")
        self.root = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def complaints(self, rule):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts/tree_rules.py", "--root", self.root, rule],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 1 if "  " in done.stdout else 0, done.stdout)
        return done.stdout

    def test_an_include_up_the_stack_is_complained_of(self):
        self.write("broker/shard.h", SPDX)
        self.write("storage/log.c", SPDX + '#include "broker/shard.h"\n')
        self.assertIn("storage/log.c: storage may not include broker/shard.h", self.complaints("includes"))

    def test_an_include_down_the_stack_is_fine(self):
        self.write("storage/log.h", SPDX)
        self.write("net/reactor.h", SPDX)
        self.write("storage/log.c", SPDX + '#include "storage/log.h"\n#include "net/reactor.h"\n')
        self.write("broker/shard.c", SPDX + '#include "storage/log.h"\n#include <stdint.h>\n')
        self.assertEqual(self.complaints("includes"), "")

    def test_storage_has_of_net_the_reactor_alone(self):
        self.write("net/connection.h", SPDX)
        self.write("storage/log.c", SPDX + '#include "net/connection.h"\n')
        self.assertIn("storage may not include net/connection.h", self.complaints("includes"))

    def test_only_inspect_of_the_tools_reads_storage(self):
        self.write("storage/log.h", SPDX)
        self.write("tools/inspect/inspect.c", SPDX + '#include "storage/log.h"\n')
        self.write("tools/command/produce.c", SPDX + '#include "storage/log.h"\n')
        found = self.complaints("includes")
        self.assertIn("tools/command/produce.c: tools may not include storage/log.h", found)
        self.assertNotIn("inspect.c", found)

    def test_a_foreign_header_has_its_one_user(self):
        self.write("broker/shard.c", SPDX + "#include <liburing.h>\n")
        self.write("net/reactor_uring.c", SPDX + "#include <liburing.h>\n")
        found = self.complaints("includes")
        self.assertIn("broker/shard.c: may not include <liburing.h>", found)
        self.assertNotIn("net/reactor_uring.c: may", found)

    def test_a_file_without_its_head_is_complained_of(self):
        self.write("proto/bare.c", "int x;\n")
        self.write("proto/licensed.c", "/* SPDX-License-Identifier: Apache-2.0 */\n\nint x;\n")
        self.write("proto/good.c", SPDX)
        found = self.complaints("heads")
        self.assertIn("proto/bare.c: the first line is not the SPDX comment", found)
        self.assertIn("proto/licensed.c: no head comment", found)
        self.assertNotIn("good.c", found)

    def test_a_function_beyond_the_limit_is_complained_of(self):
        body = "    x++;\n" * 130
        self.write("proto/long.c", SPDX + f"static int\nrun(int x)\n{{\n{body}}}\n")
        self.assertIn("run: a function of 13", self.complaints("sizes"))

    def test_a_name_that_says_nothing_is_complained_of(self):
        self.write("proto/string_util.c", SPDX)
        self.write("extra/thing.c", SPDX)
        found = self.complaints("names")
        self.assertIn("'util' says nothing", found)
        self.assertIn("extra/: no new folder at the root", found)

    def test_a_path_out_of_the_tree_is_complained_of(self):
        inside, outside = "../proto/README.md", "../" * 4 + "elsewhere/page.md"
        self.write("broker/README.md", f"See {inside} and {outside}.\n")
        self.write("scripts/run", "# SPDX\ncp /ho" + "me/somebody/file /tmp/there/is\n")
        found = self.complaints("paths")
        self.assertIn("elsewhere/page.md is outside of the tree", found)
        self.assertNotIn("proto/README.md", found)
        self.assertIn("scripts/run:2: an absolute path into /home/", found)
        self.assertNotIn("/tmp/", found)

    def test_a_folder_without_a_readme_is_complained_of(self):
        self.write("README.md", "x\n")
        self.write("proto/a.c", SPDX)
        self.assertIn("proto/: has no README.md", self.complaints("readmes"))

    def test_a_file_that_no_build_names_is_complained_of(self):
        self.write("proto/meson.build", "sources = files('named.c')\n")
        self.write("proto/named.c", SPDX)
        self.write("proto/dead.c", SPDX)
        found = self.complaints("listed")
        self.assertIn("proto/dead.c: no meson.build names it", found)
        self.assertNotIn("named.c:", found)


class CountResults(unittest.TestCase):
    """count_results.py over a record made by hand; a `meson` in PATH says which tests speak TAP."""

    def count(self, results):
        with tempfile.TemporaryDirectory(prefix="ternmq-count-") as name:
            folder = pathlib.Path(name)
            (folder / "meson-logs").mkdir()
            lines = []
            listed = []
            for number, (protocol, result, stdout) in enumerate(results):
                command = [f"/bin/test{number}"]
                listed.append({"cmd": command, "protocol": protocol})
                entry = {"name": f"t{number}", "command": command, "result": result}
                lines.append(json.dumps({**entry, "stdout": stdout, "returncode": 1}))
            (folder / "meson-logs" / "testlog.json").write_text("\n".join(lines))
            (folder / "listed").write_text(json.dumps(listed))
            (folder / "meson").write_text(f"#!/bin/sh\ncat {folder}/listed\n")
            (folder / "meson").chmod(0o755)
            done = subprocess.run(
                [sys.executable, ROOT / "scripts/count_results.py", folder],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            )
        return done.returncode, done.stdout.splitlines()[-1]

    def test_cases_are_counted_one_by_one(self):
        tap_text = "ok 1 - a\nok 2 - b\nok 3 - c # SKIP not here\n1..3\n"
        self.assertEqual(
            self.count([("tap", "OK", tap_text), ("exitcode", "OK", "")]),
            (0, "3 passed, 0 failed, 1 skipped"),
        )

    def test_cases_that_never_came_have_failed(self):
        self.assertEqual(
            self.count([("tap", "ERROR", "1..4\nok 1 - a\n")]), (1, "1 passed, 3 failed")
        )

    def test_a_crash_behind_the_last_good_case_has_failed(self):
        self.assertEqual(
            self.count([("tap", "ERROR", "1..1\nok 1 - a\n")]), (1, "1 passed, 1 failed")
        )

    def test_a_timeout_has_failed(self):
        self.assertEqual(
            self.count([("exitcode", "TIMEOUT", ""), ("exitcode", "OK", "")]),
            (1, "1 passed, 1 failed"),
        )

    def test_nothing_run_is_no_success(self):
        self.assertEqual(self.count([]), (1, "0 passed, 1 failed"))


if __name__ == "__main__":
    tap.main(__name__)
