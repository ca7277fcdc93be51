# SPDX-License-Identifier: Apache-2.0
"""Tests that every mistake of an operator gets one line, with what is wrong and its value, and the right exit
status: 1 failed, 2 wrong usage, 3 nobody reachable."""

import pathlib
import subprocess
import tempfile
import unittest

import cluster
import tap

FAILED, USAGE, UNREACHABLE = 1, 2, 3
DAEMONS = ["ternmq-broker", "ternmq-nameserver"]
PROGRAMS = [*DAEMONS, "ternmq", "ternmq-bench"]


def run(name, *arguments, stdin=b"", timeout_s=30):
    return subprocess.run(
        [cluster.program_path(name), *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )


class Mistakes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.cluster.ternmq("topic", "create", "t", "--queues", "1")

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ternmq-mistakes-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def assert_one_line(self, done, status, *parts):
        text = done.stderr.decode()
        self.assertEqual(done.returncode, status, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        for part in parts:
            self.assertIn(part, text)

    def test_help_and_version_are_answers_not_mistakes(self):
        for name in PROGRAMS:
            for flag in ("--help", "--version"):
                done = run(name, flag)
                self.assertEqual((done.returncode, done.stderr), (0, b""), f"{name} {flag}")
                self.assertIn(name.encode(), done.stdout)

    def test_an_unknown_flag_is_named(self):
        for name in PROGRAMS:
            self.assert_one_line(run(name, "--frobnicate"), USAGE, "--frobnicate")

    def test_an_unknown_command_is_named(self):
        self.assert_one_line(run("ternmq", "frobnicate"), USAGE, "frobnicate")

    def test_a_broker_without_a_store_is_refused(self):
        self.assert_one_line(run("ternmq-broker"), USAGE, "--store")

    def test_a_value_out_of_its_range_is_named(self):
        store = str(self.folder / "store")
        for flag, value in (
            ("--shards", "100000"),
            ("--shards", "many"),
            ("--segment-bytes", "1"),
            ("--durability", "hope"),
            ("--io", "magic"),
            ("--listen", "nowhere"),
        ):
            with self.subTest(flag=flag, value=value):
                done = run("ternmq-broker", "--store", store, flag, value)
                self.assert_one_line(done, USAGE, flag.lstrip("-"), value)

    def test_all_interfaces_need_an_address_to_advertise(self):
        store = str(self.folder / "store")
        done = run("ternmq-broker", "--store", store, "--listen", "0.0.0.0:10999")
        self.assert_one_line(done, USAGE, "0.0.0.0", "--advertise")

    def test_a_store_in_use_is_named(self):
        done = run(
            *("ternmq-broker", "--store", str(self.cluster.store)),
            *("--listen", cluster.free_address(), "--nameserver", self.cluster.nameserver_address),
        )
        self.assert_one_line(done, FAILED, str(self.cluster.store), "in use")

    def test_a_port_in_use_is_named(self):
        taken = self.cluster.broker_address
        store = self.folder / "store"
        done = run("ternmq-broker", "--store", str(store), "--listen", taken)
        self.assert_one_line(done, FAILED, taken, "in use", "another --listen")
        self.assertFalse(store.exists())
        # Where there is a store already it is opened first.
        store.mkdir()
        done = run("ternmq-broker", "--store", str(store), "--listen", taken)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(taken, done.stderr.decode().splitlines()[-1])
        done = run("ternmq-nameserver", "--listen", self.cluster.nameserver_address)
        self.assert_one_line(done, FAILED, self.cluster.nameserver_address, "in use")

    def test_a_store_that_cannot_be_made_is_named(self):
        file = self.folder / "file"
        file.write_bytes(b"")
        path = str(file / "store")
        done = run("ternmq-broker", "--store", path, "--listen", cluster.free_address())
        self.assert_one_line(done, FAILED, path)

    def test_an_unknown_topic_is_named(self):
        for arguments in (("produce", "absent", "body"), ("consume", "absent")):
            done = self.cluster.ternmq(*arguments, check=False)
            self.assert_one_line(done, FAILED, "absent")

    def test_a_body_over_the_limit_is_refused(self):
        body = self.folder / "body"
        body.write_bytes(b"x" * ((4 << 20) + 1))
        done = self.cluster.ternmq("produce", "t", "--file", str(body), check=False)
        self.assert_one_line(done, FAILED, "4194304")

    def test_no_nameserver_is_said(self):
        nobody = cluster.free_address()
        done = run("ternmq", "-n", nobody, "topic", "list")
        self.assert_one_line(done, UNREACHABLE, nobody)

    def test_no_broker_is_said(self):
        nobody = cluster.free_address()
        done = run("ternmq", "-b", nobody, "stats")
        self.assert_one_line(done, UNREACHABLE, nobody)

    def test_a_file_that_is_not_there_is_named(self):
        done = self.cluster.ternmq("produce", "t", "--file", "/tmp/no/such/file", check=False)
        self.assert_one_line(done, FAILED, "/tmp/no/such/file")

    def test_inspect_of_what_is_no_store_is_said(self):
        done = run("ternmq", "inspect", str(self.folder / "nothing"), "verify")
        self.assert_one_line(done, FAILED, str(self.folder / "nothing"))


if __name__ == "__main__":
    tap.main(__name__)
