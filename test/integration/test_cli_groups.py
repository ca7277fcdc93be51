# SPDX-License-Identifier: Apache-2.0
"""test_cli_groups.py - what the command line says of groups where something is not as it should be."""

import contextlib
import json
import signal
import unittest

import cluster
import group_case
import tap

DONE, FAILED, USAGE, AWAY = 0, 1, 2, 3


class GroupCommandCase(group_case.GroupCase):
    def ternmq(self, *arguments, status=DONE):
        done = self.cluster.ternmq(*arguments, check=False)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode()


@contextlib.contextmanager
def stopped(process):
    """It holds its lease, and answers nothing."""
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)


class Away(unittest.TestCase):
    """A nameserver that knows brokers which do not answer, or none."""

    COMMANDS = (("group", "list"), *(("group", verb, "g") for verb in ("show", "members")), ("explain", "group", "g"))

    def setUp(self):
        self.cluster = cluster.Cluster()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)

    def ternmq(self, *arguments, status=DONE):
        return GroupCommandCase.ternmq(self, *arguments, status=status)

    def test_a_broker_that_is_down_is_not_a_group_that_is_not_there(self):
        self.ternmq("topic", "create", "t")
        self.ternmq("group", "create", "g", "--topic", "t")
        for command in self.COMMANDS:
            with stopped(self.cluster.broker):
                self.assertEqual(self.ternmq(*command, status=AWAY), "", command)
            self.assertIn("broker broker-a is passed over", self.said)
            self.assertIn("UNREACHABLE", self.said.splitlines()[-1])
            self.assertIn("is it running there?", self.said.splitlines()[-1])
            self.assertNotIn("GROUP_NOT_FOUND", self.said)

    def test_a_nameserver_without_brokers_is_said_to_be_that(self):
        self.cluster.broker.stop()
        for command in self.COMMANDS:
            self.assertEqual(self.ternmq(*command, status=AWAY), "", command)
            self.assertIn("knows no broker", self.said)

    def test_what_answers_is_shown_and_the_rest_is_named(self):
        self.cluster.start_other("broker-b")
        self.ternmq("topic", "create", "t", "--brokers", "broker-a,broker-b", "--queues", "2")
        self.ternmq("group", "create", "g", "--topic", "t")
        self.ternmq("group", "list")
        for command in self.COMMANDS:
            with stopped(self.cluster.others["broker-b"]):
                shown = self.ternmq(*command, "--json", status=FAILED)
            found = {json.loads(line)["broker"] for line in shown.splitlines()}
            self.assertEqual(found, set() if "members" in command else {"broker-a"}, command)
            self.assertIn("broker broker-b is passed over", self.said)
        with stopped(self.cluster.others["broker-b"]):
            self.ternmq("group", "show", "nobody", status=FAILED)
        self.assertIn("no broker that answers has a group nobody", self.said)
        self.assertNotIn("GROUP_NOT_FOUND", self.said)


if __name__ == "__main__":
    tap.main(__name__)
