# SPDX-License-Identifier: Apache-2.0
"""Tests of a real broker by Python's msgpack package alone: a client is a page of code, whatever its encoder."""

import pathlib
import subprocess
import sys
import time
import unittest

import msgpack

import cluster
import tap
import wire

SCRIPT = pathlib.Path(__file__).with_name("thirty_lines.py")
WORKER = pathlib.Path(__file__).with_name("worker.py")
README = pathlib.Path(__file__).parents[2] / "README.md"


class PythonClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        self.client = self.cluster.broker_client()
        self.addCleanup(self.client.close)

    def make_topic(self, name, queues=1):
        self.client.call("topic.put", name=name, queues=queues)

    def run_script(self, *arguments):
        return subprocess.run(
            [sys.executable, SCRIPT, self.cluster.broker_address, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_thirty_lines_produce_and_consume(self):
        self.make_topic("thirty")
        self.assertEqual(self.run_script("thirty", "first", "second").stdout, "first\nsecond\n")
        self.assertEqual(self.run_script("thirty", "third").stdout, "first\nsecond\nthird\n")

    def test_thirty_lines_say_what_is_wrong(self):
        done = self.run_script("no-such-topic", "first")
        self.assertEqual(done.returncode, 1)
        self.assertIn("TOPIC_NOT_FOUND", done.stderr)

    def start_worker(self, group, command):
        worker = subprocess.Popen(
            [sys.executable, WORKER, self.cluster.broker_address, group, *command],
            stdout=subprocess.PIPE,
        )
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        self.addCleanup(worker.stdout.close)
        return worker

    def test_a_worker_of_forty_lines_runs_a_command_on_each_message(self):
        self.make_topic("work")
        self.client.call("group.put", name="workers", settings={"topics": {"work": None}})
        worker = self.start_worker("workers", ["cat"])
        self.client.call("produce", topic="work", queue=0, messages=[b"one\n", [None, None, None, b"two\n"]])
        self.assertEqual([worker.stdout.readline(), worker.stdout.readline()], [b"one\n", b"two\n"])
        self.client.call("produce", topic="work", queue=0, messages=[b"three\n"])
        self.assertEqual(worker.stdout.readline(), b"three\n")
        # All was acknowledged before the next one was asked for.
        worker.kill()
        empty = self.client.call("receive", group="workers", wait_ms=200)
        self.assertLessEqual([r[2] for r in empty["ranges"]], [2])

    def test_a_worker_of_forty_lines_has_what_failed_tried_again(self):
        self.make_topic("fails")
        self.client.call(
            "group.put", name="failing", settings={"topics": {"fails": None}, "backoff": [50], "attempts": 2}
        )
        worker = self.start_worker("failing", ["sh", "-c", "cat; exit 3"])
        self.client.call("produce", topic="fails", queue=0, messages=[b"again\n"])
        self.assertEqual([worker.stdout.readline(), worker.stdout.readline()], [b"again\n"] * 2)
        dead = self.dead_letter_of("failing")
        self.assertEqual(dead[12], b"again\n")
        self.assertEqual(dead[11]["dead"], ["failing", "fails", 0, 0, 2, "exit status 3, attempt 2"])

    def test_a_worker_goes_on_when_the_broker_is_there_again(self):
        self.make_topic("restarted")
        self.client.call("group.put", name="patient", settings={"topics": {"restarted": None}})
        worker = self.start_worker("patient", ["cat"])
        for number, end in enumerate(("stop", "kill", None)):
            body = b"%d\n" % number
            self.client.call("produce", topic="restarted", queue=0, messages=[body])
            line = worker.stdout.readline()
            while line not in (body, b""):  # one that was not acknowledged yet comes again
                line = worker.stdout.readline()
            self.assertEqual(line, body)
            if end is not None:
                getattr(self.cluster.broker, end)()
                time.sleep(0.5)  # so that it finds nobody there
                self.cluster.start_broker()
                self.client = self.cluster.broker_client()
                self.addCleanup(self.client.close)
        self.assertIsNone(worker.poll())

    def test_a_worker_that_is_not_told_enough_says_how_it_is_used(self):
        address = self.cluster.broker_address
        for arguments in ([], [address], [address, "g"], ["nowhere", "g", "cat"], [address, "g", "no-such-program"]):
            done = subprocess.run(
                [sys.executable, WORKER, *arguments], capture_output=True, text=True, timeout=60, check=False
            )
            self.assertEqual(done.returncode, 1, arguments)
            self.assertRegex(done.stderr, r"\Ausage: worker\.py HOST:PORT GROUP COMMAND\.\.\. - [^\n]*\n\Z")

    def dead_letter_of(self, group):
        """The first dead letter of a group, in whichever shard it lies; waits for it."""
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            for queue in (0, 1):
                try:
                    answer = self.client.call("pull", topic=f"%DLQ%{group}", queue=queue, first=True)
                except wire.CallFailed:
                    continue
                if answer["messages"]:
                    return answer["messages"][0]
            time.sleep(0.02)
        self.fail("no dead letter came")

    def test_the_worker_is_what_its_name_says(self):
        self.assertLessEqual(len(WORKER.read_text().splitlines()), 40)
        self.assertIn("test/integration/worker.py", README.read_text())

    def test_a_produce_answers_exactly_five_things(self):
        self.make_topic("five")
        answer = self.client.call("produce", topic="five", messages=[b"a", b"b"], queue=0)
        self.assertEqual(set(answer), {"queue", "offset", "count", "epoch", "reached"})
        self.assertEqual((answer["queue"], answer["offset"], answer["count"]), (0, 0, 2))
        self.assertEqual(answer["reached"], "disk")

    def test_what_was_produced_comes_back_as_it_was(self):
        self.make_topic("same")
        messages = [
            b"",
            b"\x00\xff" * 300,
            ["tag", ["key-1", "key-2"], {"name": "v\u00e4lue", "other": ""}, b"body"],
            [None, None, None, b"only a body"],
            b"x" * 70000,
        ]
        self.client.call("produce", topic="same", messages=messages, queue=0)
        found = []
        while len(found) < len(messages):
            answer = self.client.call("pull", topic="same", queue=0, offset=len(found))
            found += [record[wire.RECORD_MESSAGE] for record in answer["messages"]]
        self.assertEqual(found, messages)

    def test_a_body_sent_as_text_is_stored_as_bytes(self):
        self.make_topic("text")
        self.client.call("produce", topic="text", messages=["plain", [None, None, None, "inside"]])
        answer = self.client.call("pull", topic="text", queue=0, offset=0)
        bodies = [wire.record_body(record) for record in answer["messages"]]
        self.assertEqual(bodies, [b"plain", b"inside"])

    def test_an_old_encoder_that_knows_no_bytes_is_served(self):
        self.make_topic("old")
        request = [0, 0, b"produce", [{b"topic": b"old", b"queue": 0, b"messages": [b"body"]}]]
        self.client.socket.sendall(msgpack.packb(request, use_bin_type=False))
        _, error, answer = self.client.take()
        self.assertIsNone(error)
        self.assertEqual(answer["count"], 1)

    def test_arguments_may_be_absent_or_nil(self):
        for arguments in ([{}], [], [None], [[]]):
            self.client.socket.sendall(msgpack.packb([0, 9, "hello", arguments]))
            _, error, answer = self.client.take()
            self.assertIsNone(error, arguments)
            self.assertEqual(answer["protocol"], 1)

    def test_an_unknown_argument_is_refused_by_its_name(self):
        self.make_topic("strict")
        with self.assertRaises(wire.CallFailed) as refused:
            self.client.call("produce", topic="strict", messages=[b"x"], at=1)
        self.assertEqual(refused.exception.name, "UNKNOWN_ARGUMENT")
        self.assertEqual(refused.exception.error["key"], "at")
        self.assertEqual(refused.exception.error["stored"], "no")

    def test_an_unknown_method_is_refused(self):
        with self.assertRaises(wire.CallFailed) as refused:
            self.client.call("replicate", shard=0)
        self.assertEqual(refused.exception.name, "UNKNOWN_METHOD")

    def test_pipelined_produces_are_answered_in_their_order(self):
        self.make_topic("pipe")
        sent = [
            self.client.send("produce", topic="pipe", queue=0, messages=[b"%d" % number])
            for number in range(200)
        ]
        answers = [self.client.take() for _ in sent]
        self.assertEqual([request for request, _, _ in answers], sent)
        self.assertEqual([result["offset"] for _, _, result in answers], list(range(200)))

    def test_a_poll_waits_for_the_next_message(self):
        self.make_topic("poll")
        other = self.cluster.broker_client()
        self.addCleanup(other.close)
        request = other.send("pull", topic="poll", queue=0, offset=0, wait_ms=20000)
        self.client.call("produce", topic="poll", queue=0, messages=[b"now"])
        error, answer = other.take_for(request)
        self.assertIsNone(error)
        self.assertEqual([wire.record_body(r) for r in answer["messages"]], [b"now"])

    def test_a_poll_that_times_out_answers_with_nothing(self):
        self.make_topic("quiet")
        answer = self.client.call("pull", topic="quiet", queue=0, offset=0, wait_ms=50)
        self.assertEqual((answer["first"], answer["next"], answer["end"]), (0, 0, 0))
        self.assertEqual(answer["messages"], [])

    def test_a_cancelled_poll_answers_at_once(self):
        self.make_topic("cancelled")
        request = self.client.send("pull", topic="cancelled", queue=0, offset=0, wait_ms=60000)
        self.client.socket.sendall(msgpack.packb([2, "cancel", [{"msgid": request}]]))
        error, answer = self.client.take_for(request)
        self.assertIsNone(error)
        self.assertEqual(answer["messages"], [])

    def test_asking_beyond_the_end_says_where_to_resume(self):
        self.make_topic("short")
        self.client.call("produce", topic="short", queue=0, messages=[b"one"])
        with self.assertRaises(wire.CallFailed) as refused:
            self.client.call("pull", topic="short", queue=0, offset=5)
        self.assertEqual(refused.exception.name, "TRUNCATED")
        self.assertEqual(refused.exception.error["resume"], 1)


if __name__ == "__main__":
    tap.main(__name__)
