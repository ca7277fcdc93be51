# SPDX-License-Identifier: Apache-2.0
"""What is installed of libternmq works by itself: the examples are compiled with pkg-config's flags against a
copy of what `meson install` would put in place, with the shared and with the static library, and run."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cluster
import tap

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "tools" / "client"


def build_option(name):
    options = cluster.build_folder() / "meson-info" / "intro-buildoptions.json"
    return next(o["value"] for o in json.loads(options.read_text()) if o["name"] == name)


def compiler():
    """The compiler that made the library, since a sanitizer's run time is its own."""
    commands = json.loads((cluster.build_folder() / "compile_commands.json").read_text())
    return [word for word in commands[0]["command"].split()[:2] if not word.startswith("-")][-1:]


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="ternmq-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.root = cls.folder / "root"
        subprocess.run(
            [
                *("meson", "install", "-C", str(cluster.build_folder()), "--no-rebuild", "--quiet"),
                *("--tags", "devel,runtime", "--destdir", str(cls.root)),
            ],
            check=True,
            capture_output=True,
        )
        found = list(cls.root.rglob("ternmq.pc"))
        assert len(found) == 1, found
        cls.pkgconfig = found[0].parent
        cls.libraries = cls.pkgconfig.parent
        cls.made = cluster.Cluster()
        cls.made.__enter__()
        cls.addClassCleanup(cls.made.__exit__, None, None, None)

    def flags(self, *wanted):
        environment = dict(
            os.environ,
            PKG_CONFIG_PATH=str(self.pkgconfig),
            PKG_CONFIG_SYSROOT_DIR=str(self.root),
        )
        done = subprocess.run(
            ["pkg-config", *wanted, "ternmq"], check=True, capture_output=True, env=environment
        )
        return done.stdout.decode().split()

    def compile(self, name, libraries, source=SOURCE / "example.c"):
        sanitizers = build_option("b_sanitize")
        sanitize = [] if sanitizers == "none" else [f"-fsanitize={sanitizers}"]
        program = self.folder / name
        subprocess.run(
            [
                *(*compiler(), "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *sanitize),
                *(str(source), *self.flags("--cflags"), "-o", str(program)),
                *libraries,
            ],
            check=True,
        )
        return program

    def run_program(self, program):
        done = subprocess.run(
            [str(program)],
            env=dict(
                os.environ,
                TERNMQ_NAMESERVER=self.made.nameserver_address,
                LD_LIBRARY_PATH=str(self.libraries),
            ),
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode().splitlines()

    def run_example(self, program):
        lines = self.run_program(program)
        self.assertRegex(lines[0], r"^stored at example/\d+/\d+/\d+$")
        self.assertEqual(lines[1], "1000 more stored")
        self.assertIn("three in EUR", lines[2])
        self.assertEqual(lines[3], "1003 consumed")

    def test_the_example_runs_with_the_shared_library(self):
        program = self.compile("shared", self.flags("--libs"))
        needed = subprocess.run(
            ["readelf", "-d", str(program)], check=True, capture_output=True
        ).stdout.decode()
        self.assertIn("libternmq.so.0", needed)
        self.run_example(program)

    def test_the_example_runs_with_the_static_library(self):
        archive = self.libraries / "libternmq.a"
        system = [word for word in self.flags("--libs", "--static") if word != "-lternmq"]
        program = self.compile("static", [str(archive), *system])
        self.run_example(program)

    def test_the_example_of_groups_runs(self):
        source = SOURCE / "example_group.c"
        lines = self.run_program(self.compile("group", self.flags("--libs"), source))
        self.assertEqual([line for line in lines if "again" not in line], ["10 received", "90 pushed"])

    def test_the_program_at_the_head_of_the_header_does_what_it_says(self):
        """Its lines are the comment's that are indented by five, from the first #include to `}`."""
        text = (SOURCE / "ternmq.h").read_text()
        lines = [line[7:] for line in text.splitlines() if line.startswith(" *     ")]
        begin = lines.index("#include <ternmq.h>")
        end = lines.index("}", begin)
        source = self.folder / "head.c"
        source.write_text("\n".join(line for line in lines[begin : end + 1]) + "\n")
        self.made.ternmq("topic", "create", "orders", "--queues", "2")
        said = self.run_program(self.compile("head", self.flags("--libs"), source))
        self.assertRegex(said[0], r"^stored in queue \d at offset 0$")
        self.assertEqual(said[1:], ["hello"])

    def test_the_libraries_export_what_the_header_declares_and_nothing_else(self):
        for options, library in (
            (["-D"], self.libraries / "libternmq.so"),
            (["-g"], self.libraries / "libternmq.a"),
        ):
            symbols = subprocess.run(
                ["nm", *options, "--defined-only", str(library)], check=True, capture_output=True
            ).stdout.decode()
            names = {line.split()[2] for line in symbols.splitlines() if len(line.split()) == 3}
            header = "".join(
                (SOURCE / name).read_text()
                for name in ("ternmq.h", "ternmq_explain.h", "ternmq_groups.h")
            )
            for name in names:
                if name.startswith(("__asan", "__odr_asan", "__ubsan", "__tsan")):
                    continue
                self.assertTrue(name.startswith("ternmq_"), f"{library}: {name}")
                self.assertIn(f"{name}(", header)
            self.assertIn("ternmq_open", names)


if __name__ == "__main__":
    tap.main(__name__)
