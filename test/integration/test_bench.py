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

    def figures(self, *arguments, poisoned=0):
        # A topic of its own: one that is deleted and made anew is waited for.
        topic = () if "--topic" in arguments else ("--topic", self._testMethodName[:100])
        done = self.bench("-n", self.made.nameserver_address, "--json", *arguments, *topic)
        self.assertEqual(done.returncode, 0, done.stderr.decode() + done.stdout.decode())
        figures = json.loads(done.stdout)
        self.assertTrue(figures["checked"])
        self.assertGreater(figures["acknowledged"], 0)
        self.assertEqual(figures["seen"], figures["acknowledged"] - poisoned)
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

    def test_a_rate_that_was_not_reached_is_said(self):
        slow = ("--rate", "100", "--duration", "2s", "--warmup", "200ms", "--durability", "memory")
        self.assertIs(self.figures("latency", *slow)["rate_reached"], True)
        fast = ("both", *self.SHORT, "--rate", "10000000", "--durability", "memory")
        self.assertIs(self.figures(*fast, "--topic", "bench-fast")["rate_reached"], False)
        done = self.bench(*fast, "-n", self.made.nameserver_address, "--topic", "bench-fast")
        self.assertIn(b"(asked for 10,000,000/s: not reached)", done.stdout)

    def test_quantiles_rise_to_four_nines(self):
        latency = self.figures("produce", *self.SHORT)["ack_us"]
        names = ("p50", "p99", "p99_9", "p99_99", "max")
        self.assertEqual([latency[name] for name in names], sorted(latency[name] for name in names))

    def test_a_number_of_messages_ends_the_producing(self):
        figures = self.figures("produce", "--messages", "12345", "--size", "100")
        self.assertEqual(figures["acknowledged"], 12345)

    def test_catch_up_reads_what_a_topic_holds_again_and_again(self):
        self.figures("produce", "--messages", "20000", "--size", "100", "--topic", "held")
        figures = self.read("--topic", "held")
        self.assertEqual((figures["read"], figures["passes"]), (20000, 1))
        self.assertNotIn("ack_us", figures)
        figures = self.read("--topic", "held", "--duration", "300ms")
        self.assertGreater(figures["passes"], 1)
        self.assertEqual(figures["read"], 20000 * figures["passes"])

    def test_somebody_s_topic_is_spared_unless_it_is_meant(self):
        self.made.ternmq("topic", "create", "payroll-0", "--queues", "1")
        self.made.ternmq("produce", "payroll-0", "salaries")
        at = ("-n", self.made.nameserver_address)
        for arguments in (
            ("produce", "--topic", "payroll-0"),
            ("consume", "--topic", "payroll", "--topics", "2"),
            ("both", "--topic", "payroll-0", "--keep-topic", "--queues", "1"),
            ("catch-up", "--topic", "payroll-0", "--rate", "10", "--queues", "1"),
        ):
            done = self.bench(*arguments, *at)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertEqual(done.stderr.count(b"\n"), 1)
            self.assertIn(b"topic payroll-0 exists", done.stderr)
            self.assertIn(b"--yes", done.stderr)
        self.assertEqual(self.made.ternmq("consume", "payroll-0").stdout, b"salaries\n")
        done = self.made.ternmq("topic", "show", "payroll-1", check=False)
        self.assertEqual(done.returncode, 1)  # a run that is refused makes nothing
        self.assertEqual(self.bench("catch-up", "--topic", "payroll-0", *at).returncode, 0)
        self.figures("produce", "--messages", "10", "--topic", "payroll-0", "--yes")
        self.assertNotIn(b"salaries", self.made.ternmq("consume", "payroll-0").stdout)

    def test_its_own_topics_are_made_anew_unasked(self):
        for _ in range(2):
            self.figures("produce", "--messages", "10", "--topic", "bench-own")

    def read(self, *arguments):
        done = self.bench("catch-up", "-n", self.made.nameserver_address, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode() + done.stdout.decode())
        figures = json.loads(done.stdout)
        self.assertEqual((figures["gaps"], figures["read_disordered"]), (0, 0))
        self.assertGreater(figures["read_per_s"], 0)
        return figures

    def test_catch_up_with_a_tail_measures_both(self):
        self.figures("produce", "--messages", "20000", "--size", "100", "--topic", "bench-tailed")
        pid = str(self.made.broker.popen.pid)
        figures = self.read(
            *("--topic", "bench-tailed", "--duration", "500ms", "--rate", "500", "--size", "100"),
            *("--warmup", "200ms", "--pid", pid),
        )
        self.assertGreaterEqual(figures["read"], 20000)
        self.assertEqual(figures["seen"], figures["acknowledged"])
        self.assertGreater(figures["end_to_end_us"]["p99"], 0)
        self.assertGreater(figures["broker_rss_bytes"], 1 << 20)

    def test_topics_and_queues_are_many_and_each_is_used(self):
        figures = self.figures(
            *("produce", "--messages", "600", "--size", "100", "--batch", "1", "--spread"),
            *("--topics", "3", "--queues", "100", "--topic", "many"),
        )
        self.assertEqual(figures["acknowledged"], 600)
        for number in range(3):
            done = self.made.ternmq("consume", f"many-{number}", "--json")
            queues = [json.loads(line)["queue"] for line in done.stdout.splitlines()]
            self.assertEqual(sorted(queues), sorted(list(range(100)) * 2))

    def settled(self, *arguments, poisoned=0):
        shape = ("--size", "100", "--queues", "1", "--messages", "5000", "--durability", "memory")
        topic = ("--topic", f"bench-{self._testMethodName[5:80]}")
        figures = self.figures("groups", *shape, *topic, *arguments, poisoned=poisoned)
        self.assertGreater(figures["consumed_per_s"], 0)
        return figures

    def test_members_settle_each_message_once(self):
        for settle in ("ack", "receive"):
            for most in ("1", "7"):
                figures = self.settled("--members", "8", "--max", most, "--settle", settle)
                self.assertEqual(figures["consumed"], 5000)
                self.assertGreaterEqual(figures["receives"], 5000 // int(most))
                self.assertLessEqual(figures["settle_us"]["p50"], figures["settle_us"]["max"])
                self.assertGreater(figures["log_bytes"], 0)

    def test_what_a_member_refuses_comes_again(self):
        for settle in ("ack", "receive"):
            words = ("--members", "8", "--sharing", "4", "--max", "16", "--nack", "10")
            figures = self.settled(*words, "--settle", settle)
            self.assertEqual(figures["consumed"], 5000)
            self.assertTrue(400 < figures["nacked"] < 600, figures["nacked"])

    def test_poisoned_keys_hold_up_nobody_else(self):
        words = ("--members", "8", "--order", "key", "--keys", "100")
        self.assertEqual(self.settled(*words)["consumed"], 5000)
        figures = self.settled(*words, "--poisoned", "3", poisoned=3 * 50)
        self.assertEqual(figures["consumed"], 5000 - 3 * 50)
        self.assertGreaterEqual(figures["nacked"], 3)

    def test_messages_that_stay_leased_take_memory(self):
        pid = str(self.made.broker.popen.pid)
        figures = self.settled("--members", "8", "--settle", "none", "--pid", pid)
        self.assertEqual(figures["receives"], 5000)
        self.assertEqual(figures["consumed"], 5000)
        self.assertIn("broker_own_growth_bytes", figures)

    def test_members_wait_for_what_comes_at_a_rate(self):
        words = ("groups", "--queues", "1", "--members", "4", "--rate", "500", "--topic", "bench-rate")
        figures = self.figures(*words, *self.SHORT, "--durability", "memory")
        self.assertGreater(figures["end_to_end_us"]["p50"], 0)

    def test_a_group_is_deleted_only_where_that_is_meant(self):
        at = ("-n", self.made.nameserver_address)
        done = self.bench("groups", "--topic", "somebody-s", *at)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--yes", done.stderr)

    def test_what_groups_cannot_do_is_wrong_usage(self):
        for words in (
            ("groups", "--poisoned", "1"),
            ("groups", "--order", "key", "--queues", "2"),
            ("groups", "--settle", "none", "--nack", "1"),
            ("groups", "--settle", "none", "--rate", "1"),
            ("groups", "--keep-topic"),
            ("consume", "--members", "2"),
        ):
            self.assertEqual(self.bench(*words).returncode, 2, words)

    def test_idle_connections_stay_open_beside_the_load(self):
        client = self.made.broker_client()
        try:
            process = subprocess.Popen(
                [
                    *(cluster.program_path("ternmq-bench"), "latency", "--rate", "100", "--idle", "200"),
                    *("-n", self.made.nameserver_address, "--duration", "2s", "--topic", "idle"),
                ],
                stdout=subprocess.PIPE,
            )
            most = 0
            while process.poll() is None:
                cores = client.call("stats")["cores"]
                most = max(most, sum(core["connections"] for core in cores))
                time.sleep(0.05)
            line = process.communicate()[0]
        finally:
            client.close()
        self.assertEqual(process.returncode, 0, line)
        self.assertIn(b"200 idle", line)
        self.assertGreaterEqual(most, 200)

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

    def test_wrong_usage_is_named_in_one_line(self):
        for said, *arguments in (
            ("'dance' is nothing to do", "dance"),
            ("'extra' is one word too many", "produce", "extra"),
            ("unknown option --nope", "produce", "--nope"),
            ("--unchecked means nothing to consume", "consume", "--unchecked"),
            ("--messages means nothing to both", "both", "--messages", "5"),
            ("--size means nothing to catch-up without --rate", "catch-up", "--size", "100"),
            ("--pid 999999999: there is no such process", "produce", "--pid", "999999999"),
        ):
            done = self.bench(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(said, done.stderr.decode())
            self.assertEqual(done.stderr.count(b"\n"), 1)
            self.assertEqual(done.stderr.count(b"--help"), 1, done.stderr)
        for option in ("--duration", "--warmup"):
            done = self.bench("produce", option, "5")
            self.assertEqual(done.returncode, 2, option)
            self.assertEqual(
                done.stderr.decode(), f"ternmq-bench: {option} 5 needs a unit, as in 5s or 5ms\n"
            )

    def test_mistakes_have_their_exit_status(self):
        self.assertEqual(self.bench().returncode, 2)
        self.assertEqual(self.bench("produce", "--size", "1").returncode, 2)
        self.assertEqual(self.bench("produce", "--size", "1M", "--batch", "5").returncode, 2)
        self.assertEqual(self.bench("produce", "-n", cluster.free_address()).returncode, 3)
        self.assertEqual(self.bench("consume", "--rate", "5").returncode, 2)
        self.assertEqual(self.bench("catch-up", "--topics", "2").returncode, 2)
        self.assertEqual(self.bench("produce", "--rate", "5", "--messages", "5").returncode, 2)
        long = ("--topic", "t" * 127, "--topics", "2")
        self.assertEqual(self.bench("produce", *long).returncode, 2)
        nothing = ("--topic", "nothing", "-n", self.made.nameserver_address)
        self.assertEqual(self.bench("catch-up", *nothing).returncode, 1)
        self.assertEqual(self.bench("--version").returncode, 0)
        self.assertIn(b"ternmq-bench produce", self.bench("--help").stdout)


if __name__ == "__main__":
    tap.main(__name__)
