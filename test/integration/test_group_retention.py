# SPDX-License-Identifier: Apache-2.0
"""test_group_retention.py - retention meets groups: what is open becomes dead letters before its segment goes.

Segments are as small as they may be, so that a few hundred messages make retention come.
"""

import time
import unittest

import cluster
import tap
import wire

SHARDS = 2
# Each shard keeps so much, five segments.
KEEP = 5 * 64 * 1024
ARGUMENTS = ["--shards", str(SHARDS), "--segment-bytes", "64K", "--retain-bytes", str(SHARDS * KEEP)]


class Retention(unittest.TestCase):
    def setUp(self):
        self.cluster = cluster.Cluster(ARGUMENTS)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.client = self.cluster.broker_client()
        self.addCleanup(lambda: self.client.close())
        # Queue q of topic i lies in shard (i + q) modulo the shards: so "t" and "filler" are side by side.
        for name in ("t", "between", "filler"):
            self.client.call("topic.put", name=name, queues=SHARDS)

    def put(self, name, **settings):
        settings = {"topics": {"t": None}, "from": "first", **settings}
        self.client.call("group.put", name=name, settings=settings)

    def produce(self, count, topic="t", size=100, first=0):
        for queue in range(SHARDS):
            messages = [b"%08d" % (first + i) + b"x" * (size - 8) for i in range(count)]
            self.client.call("produce", topic=topic, queue=queue, messages=messages)

    def first_kept(self, topic="t", queue=0):
        return self.client.call("pull", topic=topic, queue=queue, first=True, max=1)["first"]

    def step(self, queue):
        self.client.call("produce", topic="filler", queue=queue, messages=[b"x" * 1000] * 5)
        time.sleep(0.01)

    def wait_until_gone(self, offset):
        """Fills each shard until what was before `offset` goes, and no more: dead letters go, too."""
        for queue in range(SHARDS):
            end = time.monotonic() + 30
            while self.first_kept("t", queue) < offset:
                self.step(queue)
                if time.monotonic() > end:
                    self.fail(f"queue {queue} stays\n{self.cluster.broker.log_tail()}")

    def letters(self, group):
        """[origin queue, origin offset, attempts, reason] of the group's dead letters that are kept."""
        found = []
        for queue in range(SHARDS):
            offset = self.first_kept(f"%DLQ%{group}", queue)
            while True:
                answer = self.client.call(
                    "pull", topic=f"%DLQ%{group}", queue=queue, offset=offset
                )
                if not answer["messages"]:
                    break
                found += [record[wire.RECORD_EXTRA]["dead"][2:] for record in answer["messages"]]
                offset = answer["next"]
        return sorted(found)

    def receive(self, group, **arguments):
        return self.client.call("receive", group=group, **arguments)

    def receive_all(self, group):
        answers = []
        while True:
            answer = self.receive(group)
            if not answer["ranges"]:
                return answers
            answers.append(answer)

    def nack(self, group, answers, **arguments):
        for answer in answers:
            receipts = [[*r[:4], r[6]] for r in answer["ranges"]]
            done = self.client.call("nack", group=group, receipts=receipts, **arguments)
            self.assertEqual(done["failed"], [])

    def test_leased_and_failed_messages_become_dead_letters(self):
        self.put("leased", lease_ms=3600000)
        self.put("failed")
        self.put("settled")
        self.put("unread")
        self.produce(50)
        self.receive_all("leased")
        self.nack("failed", self.receive_all("failed"), delay_ms=3600000, reason="broken")
        for answer in self.receive_all("settled"):
            receipts = [[*r[:4], r[6]] for r in answer["ranges"]]
            self.client.call("ack", group="settled", receipts=receipts)
        self.receive("unread", max=1)
        self.wait_until_gone(50)
        every = [[queue, offset] for queue in range(SHARDS) for offset in range(50)]
        for group, attempts in (("leased", 0), ("failed", 1)):
            letters = self.letters(group)
            self.assertEqual([letter[:2] for letter in letters], every, group)
            self.assertEqual({tuple(letter[2:]) for letter in letters}, {(attempts, "retention")})
        self.assertEqual(len(self.letters("unread")), 1)
        with self.assertRaises(wire.CallFailed):
            self.letters("settled")
        # Everybody goes on with what comes.
        self.produce(1, first=999)
        for group in ("leased", "failed", "settled", "unread"):
            got = []
            end = time.monotonic() + 10
            while len(got) < SHARDS and time.monotonic() < end:
                got += [wire.record_body(r)[:8] for r in self.receive(group, wait_ms=500)["messages"]]
            self.assertEqual(got, [b"00000999"] * SHARDS, group)

    def test_acks_of_what_is_gone_are_lost(self):
        self.put("g", lease_ms=3600000)
        self.produce(10)
        answers = self.receive_all("g")
        self.wait_until_gone(10)
        for answer in answers:
            receipts = [[*r[:4], r[6]] for r in answer["ranges"]]
            done = self.client.call("ack", group="g", receipts=receipts)
            self.assertEqual([code for _, code in done["failed"]], [63] * len(receipts))

    def test_ordered_groups_go_on(self):
        self.put("g", order="queue", lease_ms=3600000)
        self.produce(20)
        first = [self.receive("g", max=1) for _ in range(SHARDS)]
        self.nack("g", first, delay_ms=3600000, reason="broken")
        self.assertEqual(self.receive("g")["ranges"], [])
        self.wait_until_gone(20)
        self.assertEqual(
            self.letters("g"), [[queue, 0, 1, "retention"] for queue in range(SHARDS)]
        )
        self.produce(1, first=999)
        self.assertEqual(
            wire.record_body(self.receive("g", wait_ms=10000)["messages"][0])[:8], b"00000999"
        )

    def test_a_filter_makes_no_dead_letters_of_what_it_does_not_want(self):
        self.put("g", topics={"t": "yes"}, lease_ms=3600000)
        for queue in range(SHARDS):
            messages = [["yes" if i % 3 == 0 else "no", None, None, b"x" * 50] for i in range(30)]
            self.client.call("produce", topic="t", queue=queue, messages=messages)
        self.receive_all("g")
        self.wait_until_gone(30)
        wanted = [[q, o, 0, "retention"] for q in range(SHARDS) for o in range(0, 30, 3)]
        self.assertEqual(self.letters("g"), wanted)

    def test_kills_lose_nothing_and_double_nothing(self):
        self.put("g")
        self.produce(200, size=200)
        self.nack("g", self.receive_all("g"), delay_ms=3600000, reason="broken")
        seen = {}
        for round_number in range(30):
            for _ in range(8):
                for queue in range(SHARDS):
                    self.step(queue)
            if round_number % 4 == 3:
                self.client.close()
                self.cluster.broker.kill()
                self.cluster.start_broker()
                self.client = self.cluster.broker_client()
            letters = self.letters_or_none("g")
            places = [tuple(letter[:2]) for letter in letters]
            self.assertEqual(len(places), len(set(places)))
            seen.update(zip(places, (letter[2:] for letter in letters)))
            if min(self.first_kept("t", queue) for queue in range(SHARDS)) >= 200:
                break
        every = {(queue, offset) for queue in range(SHARDS) for offset in range(200)}
        self.assertEqual(set(seen), every)
        self.assertEqual({tuple(rest) for rest in seen.values()}, {(1, "retention")})

    def letters_or_none(self, group):
        try:
            return self.letters(group)
        except wire.CallFailed:
            return []


if __name__ == "__main__":
    tap.main(__name__)
