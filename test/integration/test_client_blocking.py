# SPDX-License-Identifier: Apache-2.0
"""The functions of libternmq that block, against real servers: client_program.c has the scenarios."""

import subprocess
import unittest

import cluster
import tap


class Blocking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # One for all: a nameserver that has just started makes whoever asks for a new topic wait.
        cls.made = cluster.Cluster()
        cls.made.__enter__()
        cls.addClassCleanup(cls.made.__exit__, None, None, None)

    def run_scenario(self, scenario, nameservers):
        done = subprocess.run(
            [cluster.program_path("client_program"), scenario, nameservers],
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))

    def test_all_ways_to_produce_consume_and_administer(self):
        self.run_scenario("roundtrip", self.made.nameserver_address)

    def test_a_dead_nameserver_in_the_list_costs_nothing(self):
        dead = cluster.free_address()
        self.run_scenario("roundtrip", f"{dead};{self.made.nameserver_address}")

    def test_nobody_there_is_unreachable(self):
        self.run_scenario("unreachable", cluster.free_address())

    def test_an_unknown_topic_is_an_error(self):
        self.run_scenario("unknown_topic", self.made.nameserver_address)

    def test_an_interrupt_ends_what_blocks(self):
        self.run_scenario("interrupted", self.made.nameserver_address)

    def test_kills_of_the_broker_lose_and_double_nothing(self):
        program = subprocess.Popen(
            [cluster.program_path("client_program"), "restart", self.made.nameserver_address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for line in program.stdout:
            if int(line) in (200, 700, 1200, 1700):
                self.made.broker.kill()
                self.made.start_broker()
        _, complaint = program.communicate(timeout=120)
        self.assertEqual(program.returncode, 0, complaint.decode(errors="replace"))


if __name__ == "__main__":
    tap.main(__name__)
