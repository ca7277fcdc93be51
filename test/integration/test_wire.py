# SPDX-License-Identifier: Apache-2.0
"""test_wire.py - a real broker under more than its limits: what it refuses, whom it slows, whom it serves.

What single calls answer is tested in the simulated world (test/unit/broker); here are real sockets,
threads and a kernel that takes as much as it likes.
"""

import os
import signal
import threading
import time
import unittest

import cluster
import msgpack
import tap
import wire

UNANSWERED = 256
PARKED = 64
PATIENCE_S = 10.0


class Wire(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(["--shards", "2", "--durability", "memory"])
        cls.cluster.__enter__()
        cls.client = cls.cluster.broker_client()

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.cluster.__exit__(None, None, None)

    def connect(self):
        client = self.cluster.broker_client()
        self.addCleanup(client.close)
        return client

    def make_topic(self, name, queues=2, **settings):
        self.client.call("topic.put", name=name, queues=queues, settings=settings)

    def counter(self, name):
        return sum(core[name] for core in self.client.call("stats")["cores"])

    def pipeline(self, client, topic, count, body):
        """Sends on a thread of its own, so that a broker that stops reading stops only it."""
        ids = []

        def send():
            for _ in range(count):
                ids.append(client.send("produce", topic=topic, queue=0, messages=[body]))

        thread = threading.Thread(target=send)
        thread.start()
        return thread, ids

    def test_far_more_than_the_window_is_answered_in_order(self):
        self.make_topic("window", durability="disk")
        client = self.connect()
        count = 20 * UNANSWERED
        thread, ids = self.pipeline(client, "window", count, b"x" * 200)
        answers = [client.take() for _ in range(count)]
        thread.join()
        self.assertEqual([request for request, _, _ in answers], ids)
        self.assertEqual([result["offset"] for _, _, result in answers], list(range(count)))

    def test_large_messages_stop_the_reading_and_all_are_stored(self):
        self.make_topic("large")
        client = self.connect()
        count = 40
        thread, ids = self.pipeline(client, "large", count, b"y" * (1 << 20))
        answers = [client.take() for _ in range(count)]
        thread.join()
        self.assertEqual([request for request, _, _ in answers], ids)
        self.assertTrue(all(error is None for _, error, _ in answers))
        end = self.client.call("pull", topic="large", queue=0, last=True)["end"]
        self.assertEqual(end, count)

    def test_the_largest_message_goes_through_and_comes_back(self):
        self.make_topic("largest")
        body = os.urandom((4 << 20) - 5)
        self.client.call("produce", topic="largest", queue=1, messages=[body])
        answer = self.client.call("pull", topic="largest", queue=1, first=True, max_bytes=1)
        self.assertEqual(wire.record_body(answer["messages"][0]), body)
        with self.assertRaises(wire.CallFailed) as refused:
            self.client.call("produce", topic="largest", queue=1, messages=[body + b"x"])
        self.assertEqual(refused.exception.name, "TOO_LARGE")
        self.assertEqual(refused.exception.error["limit"], 4 << 20)

    def test_polls_beyond_their_limit_are_refused_and_the_others_served(self):
        self.make_topic("polls", queues=1)
        client = self.connect()
        ids = [
            client.send("pull", topic="polls", queue=0, offset=0, wait_ms=60000)
            for _ in range(PARKED + 1)
        ]
        error, _ = client.take_for(ids[-1])
        self.assertEqual(error["name"], "TOO_MANY_WAITING")
        self.assertEqual((error["limit"], error["usage"]), (PARKED, PARKED))
        self.client.call("produce", topic="polls", queue=0, messages=[b"for all"])
        for request in ids[:-1]:
            error, answer = client.take_for(request)
            self.assertIsNone(error)
            self.assertEqual(len(answer["messages"]), 1)

    def test_polls_of_connections_that_go_away_are_forgotten(self):
        self.make_topic("gone")
        for _ in range(20):
            client = self.connect()
            for queue in (0, 1):
                client.send("pull", topic="gone", queue=queue, last=True, wait_ms=60000)
            client.call("hello")
            client.close()
        give_up_at = time.monotonic() + PATIENCE_S
        while self.counter("parked") > 0 and time.monotonic() < give_up_at:
            time.sleep(0.01)
        self.assertEqual(self.counter("parked"), 0)

    def test_a_reader_that_stops_holds_up_nobody_and_loses_nothing(self):
        self.make_topic("slow", queues=1)
        for _ in range(10):
            self.client.call("produce", topic="slow", queue=0, messages=[b"z" * 400000])
        slow = self.connect()
        pulls = 30
        ids = [
            slow.send("pull", topic="slow", queue=0, first=True, max_bytes=4 << 20)
            for _ in range(pulls)
        ]
        began = time.monotonic()
        for _ in range(100):
            self.client.call("produce", topic="slow", queue=0, messages=[b"small"])
        self.assertLess(time.monotonic() - began, PATIENCE_S)
        for request in ids:
            error, answer = slow.take_for(request)
            self.assertIsNone(error)
            self.assertEqual(answer["messages"][0][wire.RECORD_OFFSET], 0)

    def test_errors_come_as_text_where_a_library_wants_that(self):
        client = self.connect()
        client.call("hello", errors="text")
        client.send("produce", topic="nowhere", messages=[b"x"])
        _, error, _ = client.take()
        self.assertTrue(error.startswith("TOPIC_NOT_FOUND: "), error)

    def test_one_way_produces_are_stored(self):
        self.make_topic("one-way")
        client = self.connect()
        arguments = {"topic": "one-way", "queue": 1, "messages": [b"a", b"b"]}
        for _ in range(1000):
            client.socket.sendall(msgpack.packb([2, "produce", [arguments]]))
        client.call("hello")
        give_up_at = time.monotonic() + PATIENCE_S
        end = 0
        while end < 2000 and time.monotonic() < give_up_at:
            end = self.client.call("pull", topic="one-way", queue=1, last=True)["end"]
        self.assertEqual(end, 2000)

    def test_a_reader_of_another_epoch_learns_what_is_still_true(self):
        self.make_topic("epochs", queues=1)
        answer = self.client.call("produce", topic="epochs", queue=0, messages=[b"a", b"b"])
        epoch = answer["epoch"]
        answer = self.client.call("pull", topic="epochs", queue=0, offset=1, epoch=epoch)
        self.assertEqual(len(answer["messages"]), 1)
        with self.assertRaises(wire.CallFailed) as refused:
            self.client.call("pull", topic="epochs", queue=0, offset=2, epoch=epoch - 1)
        self.assertEqual(refused.exception.name, "TRUNCATED")
        self.assertLessEqual(refused.exception.error["resume"], 2)


class Ends(unittest.TestCase):
    def test_sigterm_answers_polls_and_what_is_under_way(self):
        with cluster.Cluster(["--durability", "disk"]) as running:
            client = running.broker_client()
            client.call("topic.put", name="t", queues=1)
            poll = client.send("pull", topic="t", queue=0, last=True, wait_ms=60000)
            client.call("hello")
            running.broker.popen.send_signal(signal.SIGTERM)
            error, answer = client.take_for(poll)
            self.assertIsNone(error)
            self.assertEqual(answer["messages"], [])
            self.assertEqual(running.broker.popen.wait(PATIENCE_S), 0)
            client.close()


if __name__ == "__main__":
    tap.main(__name__)
