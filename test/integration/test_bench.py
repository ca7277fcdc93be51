# SPDX-License-Identifier: Apache-2.0
"""The load generator against real servers: its books agree with the broker in every mode, also when the
broker is killed, and its exit status says what happened."""

import json
import subprocess
import time
import unittest

import cluster
import tap


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made = cluster.Cluster()
        cls.made.__enter__()
        cls.addClassCleanup(cls.made.__exit__, None, None, None)

    def bench(self, *arguments):
        return subprocess.run(
            [cluster.program_path("ternmq-bench"), *arguments],
            capture_output=True,
            timeout=120,
            check=False,
        )

    def figures(self, *arguments):
        done = self.bench("-n", self.made.nameserver_address, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode() + done.stdout.decode())
        figures = json.loads(done.stdout)
        self.assertTrue(figures["checked"])
        self.assertGreater(figures["acknowledged"], 0)
        self.assertEqual(figures["seen"], figures["acknowledged"])
        for wrong in ("missing", "repeated", "invented", "disordered", "errors"):
            self.assertEqual(figures[wrong], 0, wrong)
        return figures

    SHORT = ("--duration", "500ms", "--warmup", "200ms", "--size", "100")

    def test_produce(self):
        figures = self.figures("produce", *self.SHORT, "--batch", "50", "--connections", "3")
        self.assertGreater(figures["produced_per_s"], 0)
        self.assertLessEqual(figures["ack_us"]["p50"], figures["ack_us"]["max"])

    def test_consume(self):
        figures = self.figures("consume", *self.SHORT, "--messages", "20000")
        self.assertEqual(figures["acknowledged"], 20000)
        self.assertGreater(figures["consumed_per_s"], 0)

    def test_both_with_the_broker_s_processor_time(self):
        pid = str(self.made.broker.popen.pid)
        figures = self.figures("both", *self.SHORT, "--durability", "memory", "--pid", pid)
        self.assertIn("broker_cpu_us", figures)
        self.assertGreater(figures["end_to_end_us"]["max"], 0)

    def test_latency_at_a_rate(self):
        figures = self.figures("latency", *self.SHORT, "--rate", "500", "--queues", "1")
        self.assertEqual(figures["rate"], 500)
        self.assertGreaterEqual(figures["end_to_end_us"]["p50"], 1)

    def test_a_broker_that_is_killed_costs_errors_and_no_acknowledged_message(self):
        process = subprocess.Popen(
            [
                *(cluster.program_path("ternmq-bench"), "produce", "--json", "--size", "100"),
                *("--duration", "3s", "--batch", "10", "-n", self.made.nameserver_address),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2):
            time.sleep(1.0)
            self.made.broker.kill()
            self.made.start_broker()
        out, complaint = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, complaint.decode())
        figures = json.loads(out)
        self.assertEqual(figures["missing"], 0)
        self.assertEqual(figures["invented"], 0)
        self.assertGreater(figures["acknowledged"], 0)

    def test_mistakes_have_their_exit_status(self):
        self.assertEqual(self.bench().returncode, 2)
        self.assertEqual(self.bench("dance").returncode, 2)
        self.assertEqual(self.bench("produce", "--size", "1").returncode, 2)
        self.assertEqual(self.bench("produce", "--size", "1M", "--batch", "5").returncode, 2)
        self.assertEqual(self.bench("produce", "-n", cluster.free_address()).returncode, 3)
        self.assertEqual(self.bench("--version").returncode, 0)
        self.assertIn(b"ternmq-bench produce", self.bench("--help").stdout)


if __name__ == "__main__":
    tap.main(__name__)
