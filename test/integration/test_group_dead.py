# SPDX-License-Identifier: Apache-2.0
"""test_group_dead.py - dead letters on the command line: listed, shown, redriven to where they were, discarded."""

import json
import os
import pty
import signal
import subprocess
import time
import unittest

import cluster
import tap
import wire

DONE, FAILED, USAGE = 0, 1, 2


class DeadLetters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(["--shards", "3"])
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        self.client = self.cluster.broker_client()
        self.addCleanup(lambda: self.client.close())
        self.topic = "t-" + self._testMethodName[-60:]
        self.group = "g-" + self._testMethodName[-60:]
        self.letters = f"%DLQ%{self.group}"
        self.client.call("topic.put", name=self.topic, queues=3)
        self.client.call(
            "group.put", name=self.group, settings={"topics": {self.topic: None}, "from": "first"}
        )

    def produce(self, messages, queue=0):
        self.client.call("produce", topic=self.topic, queue=queue, messages=messages)

    def receive(self, group=None, **arguments):
        """Everything that there is at once: ranges and records."""
        ranges, records = [], []
        while True:
            answer = self.client.call("receive", group=group or self.group, **arguments)
            if not answer["ranges"]:
                return ranges, records
            ranges += answer["ranges"]
            records += answer["messages"]

    def kill_all(self, reason="it is broken", count=None):
        """Every message that is there becomes a dead letter."""
        ranges, records = self.receive()
        receipts = [[*r[:4], r[6]] for r in ranges]
        failed = self.client.call(
            "nack", group=self.group, receipts=receipts, dead=True, reason=reason
        )
        self.assertEqual(failed["failed"], [])
        self.wait_for_letters(count if count is not None else len(records))

    def wait_for_letters(self, count):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.letter_count() >= count:
                return
            time.sleep(0.05)
        self.fail(f"{self.letter_count()} dead letters, not {count}")

    def letter_count(self):
        total = 0
        for queue in range(3):
            try:
                total += self.client.call(
                    "pull", topic=self.letters, queue=queue, first=True, max=1
                )["end"]
            except wire.CallFailed:
                return 0
        return total

    def dead(self, *arguments, check=True):
        return self.cluster.ternmq("group", "dead", self.group, *arguments, check=check)

    def rows(self):
        lines = self.dead("list", "--json").stdout.decode().splitlines()
        return [json.loads(line) for line in lines]

    def counts(self, *arguments, status=DONE):
        done = self.dead(*arguments, "--json", check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout)

    def bodies_from(self, queue, offset):
        answer = self.client.call("pull", topic=self.topic, queue=queue, offset=offset)
        return [wire.record_body(record) for record in answer["messages"]]

    def test_redrive_goes_back_to_the_exact_origin_once(self):
        message = ["paid", ["k1", "k2"], {"region": "EU", "x": ""}, b"\x00body"]
        self.produce([message, b"plain"], queue=2)
        self.produce([b"other"], queue=1)
        self.kill_all()
        self.assertEqual(self.counts("redrive")["redriven"], 3)
        answer = self.client.call("pull", topic=self.topic, queue=2, offset=2)
        self.assertEqual([r[wire.RECORD_MESSAGE] for r in answer["messages"]], [message, b"plain"])
        self.assertEqual([r[wire.RECORD_EXTRA] for r in answer["messages"]], [None, None])
        self.assertEqual(self.bodies_from(1, 1), [b"other"])
        # Once redriven they are not again, and the group gets each once more.
        self.assertEqual(self.counts("redrive")["redriven"], 0)
        self.assertEqual(len(self.receive()[1]), 3)
        self.assertEqual(self.rows(), [])

    def test_list_says_what_is_open(self):
        self.produce([b"one", b"two"], queue=1)
        self.kill_all("no such customer")
        rows = self.rows()
        self.assertEqual([row["origin_offset"] for row in rows], [0, 1])
        for row in rows:
            self.assertEqual(row["group"], self.group)
            self.assertEqual((row["origin_topic"], row["origin_queue"]), (self.topic, 1))
            self.assertEqual((row["attempts"], row["reason"]), (1, "no such customer"))
            self.assertLess(row["age_ms"], 60000)
            self.assertTrue(row["id"].startswith(self.letters + "/"))
        # Listing takes nothing away, and counts no attempt.
        again = self.rows()
        for row in rows + again:
            del row["age_ms"]
        self.assertEqual(again, rows)
        text = self.dead("list").stdout.decode()
        self.assertIn("no such customer", text)
        self.assertIn(f"{self.topic}/1/0", text)
        limited = self.dead("list", "--json", "--limit", "1")
        self.assertEqual(len(limited.stdout.splitlines()), 1)
        self.assertIn(b"--limit", limited.stderr)

    def test_show_has_the_whole_message(self):
        self.produce([["tag", ["key"], {"p": "q"}, b"hello"]])
        self.kill_all()
        (row,) = self.rows()
        shown = json.loads(self.dead("show", row["id"], "--json").stdout)
        self.assertEqual(shown["body"], "hello")
        self.assertEqual((shown["tag"], shown["keys"], shown["properties"]), ("tag", ["key"], {"p": "q"}))
        self.assertEqual(shown["reason"], "it is broken")
        text = self.dead("show", row["id"].split("/", 1)[1]).stdout.decode()
        for part in ("hello", "tag", "key", "property p  q", "it is broken", self.topic):
            self.assertIn(part, text)
        gone = self.dead("show", "0/99", check=False)
        self.assertEqual(gone.returncode, FAILED)
        self.assertEqual(self.dead("show", "nonsense", check=False).returncode, USAGE)

    def test_a_filter_leaves_the_rest(self):
        self.produce([["eu", None, {"n": str(i)}, b"%d" % i] for i in range(10)])
        self.kill_all()
        counts = self.counts("redrive", "--filter", "n >= 7")
        self.assertEqual((counts["redriven"], counts["unwanted"]), (3, 7))
        self.assertEqual(self.bodies_from(0, 10), [b"7", b"8", b"9"])
        # What was given back is there at once, and no attempt was counted.
        ranges, records = self.receive(self.letters)
        self.assertEqual(len(records), 7)
        self.assertEqual({r[5] for r in ranges}, {1})

    def test_discard_settles_without_producing(self):
        self.produce([["keep" if i % 2 else "drop", None, None, b"%d" % i] for i in range(6)])
        self.kill_all()
        self.assertEqual(self.counts("discard", "--filter", "drop")["discarded"], 3)
        self.assertEqual([row["origin_offset"] for row in self.rows()], [1, 3, 5])
        self.assertEqual(self.counts("discard")["discarded"], 3)
        self.assertEqual(self.rows(), [])
        self.assertEqual(self.bodies_from(0, 6), [])

    def test_a_dry_run_changes_nothing(self):
        self.produce([b"%d" % i for i in range(5)])
        self.kill_all()
        counts = self.counts("redrive", "--dry-run")
        self.assertEqual((counts["redriven"], counts["dry_run"]), (5, True))
        self.assertEqual(self.counts("discard", "--dry-run")["discarded"], 5)
        self.assertEqual(self.bodies_from(0, 5), [])
        self.assertEqual(len(self.rows()), 5)

    def test_what_cannot_go_back_stays_and_is_said(self):
        self.produce([b"lost"])
        self.kill_all()
        self.client.call("topic.delete", name=self.topic)
        done = self.dead("redrive", check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"TOPIC_NOT_FOUND", done.stderr)
        self.assertIn(b"0 messages redriven, 1 kept", done.stdout)
        self.assertEqual(len(self.rows()), 1)

    def test_a_rate_is_kept_and_ctrl_c_ends_between_two(self):
        self.produce([b"%d" % i for i in range(400)])
        self.kill_all()
        began = time.monotonic()
        redrive = subprocess.Popen(
            [
                cluster.program_path("ternmq"),
                *("-n", self.cluster.nameserver_address, "group", "dead", self.group),
                *("redrive", "--rate", "50/s", "--json"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(3)
        redrive.send_signal(signal.SIGINT)
        out, error = redrive.communicate(timeout=30)
        took = time.monotonic() - began
        counts = json.loads(out)
        self.assertEqual(redrive.returncode, FAILED, error)
        self.assertGreater(counts["redriven"], 0)
        self.assertLessEqual(counts["redriven"], 50 * took + 20)
        self.assertEqual(counts["uncertain"], 0)
        # Each is back, or still a dead letter: none is both.
        back = len(self.bodies_from(0, 400))
        self.assertEqual(back, counts["redriven"])
        self.assertEqual(self.counts("redrive")["redriven"], 400 - back)
        bodies = self.bodies_from(0, 400)
        self.assertEqual(sorted(bodies), sorted(b"%d" % i for i in range(400)))

    def redrive_slowly(self, stderr):
        """It takes seven seconds."""
        self.produce([b"%d" % i for i in range(8)])
        self.kill_all()
        command = [cluster.program_path("ternmq"), "-n", self.cluster.nameserver_address]
        return subprocess.run(
            [*command, "group", "dead", self.group, "redrive", "--rate", "1/s"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=60,
            check=True,
        )

    def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(self):
        said = self.redrive_slowly(subprocess.PIPE).stderr.decode()
        self.assertRegex(said, r"\A[56] redriven, 0 kept\n\Z")

    def test_progress_on_a_terminal_is_one_line_that_changes(self):
        near, far = pty.openpty()
        self.addCleanup(os.close, near)
        try:
            self.redrive_slowly(far)
        finally:
            os.close(far)
        said = os.read(near, 65536).decode()
        self.assertNotIn("\n", said)
        self.assertIn("\r\x1b[K7 redriven, 0 kept", said)
        self.assertTrue(said.endswith("\r\x1b[K"), said)  # gone before the result is written

    def test_thousands_in_large_batches(self):
        self.produce([b"x" * 1000 for _ in range(3000)], queue=1)
        self.kill_all(count=3000)
        self.assertEqual(self.counts("redrive")["redriven"], 3000)
        end = self.client.call("pull", topic=self.topic, queue=1, last=True)["end"]
        self.assertEqual(end, 6000)

    def test_a_dead_letter_never_dies_again(self):
        self.produce([b"stubborn"])
        self.kill_all()
        self.rows()  # makes the group of dead letters
        for _ in range(20):
            ranges, _ = self.receive(self.letters)
            self.assertEqual(len(ranges), 1)
            (one,) = ranges
            self.client.call(
                "nack",
                group=self.letters,
                receipts=[[*one[:4], one[6]]],
                dead=True,
                delay_ms=0,
            )
            end = time.monotonic() + 10
            while not self.rows() and time.monotonic() < end:
                time.sleep(0.1)
        self.assertEqual(len(self.rows()), 1)
        names = self.client.call("topic.list", prefix="%DLQ%%DLQ%")["rows"]
        self.assertEqual(names, [])
        self.assertEqual(self.letter_count(), 1)

    def test_a_restart_forgets_nothing(self):
        self.produce([["a" if i < 2 else "b", None, None, b"%d" % i] for i in range(4)])
        self.kill_all()
        self.counts("redrive", "--filter", "a")
        self.client.close()
        self.cluster.broker.kill()
        self.cluster.start_broker()
        self.client = self.cluster.broker_client()
        self.assertEqual([row["origin_offset"] for row in self.rows()], [2, 3])
        self.assertEqual(self.counts("redrive")["redriven"], 2)

    def test_mistakes_are_said(self):
        for words in (
            ["list", "--rate", "1/s"],
            ["show"],
            ["redrive", "now"],
            ["explode"],
            ["redrive", "--filter", "a ="],
            ["redrive", "--rate", "fast"],
            ["redrive", "--limit", "1"],
        ):
            done = self.dead(*words, check=False)
            self.assertEqual(done.returncode, USAGE, words)
            self.assertTrue(done.stderr)
        empty = self.dead("list")
        self.assertEqual(empty.stdout, b"")
        self.assertIn(b"no open dead letters", empty.stderr)
        self.assertEqual(self.counts("redrive")["redriven"], 0)


if __name__ == "__main__":
    tap.main(__name__)
