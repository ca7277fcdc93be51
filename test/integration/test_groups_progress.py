# SPDX-License-Identifier: Apache-2.0
"""test_groups_progress.py - where a group begins, what counts as done, what a crash leaves: RocketMQ's scenarios
35, 39 and 41, by their numbers.

There a group's progress in a queue is one offset, the smallest that is not done. Here it is every offset that is
not. Scenario 40, offsets on a replica, needs replicas, which there are not yet.
"""

import random
import time

import group_case
from group_case import LEASE_LOST
import tap

TRUNCATED = 61
SEED = 20261129


def now_ms():
    return time.time_ns() // 1_000_000


class Start(group_case.GroupCase):
    def test_35_first_last_and_a_time(self):
        """A new group's start. The same as RocketMQ's FIRST, LAST and TIMESTAMP, but that LAST is the last also in
        a topic that is young: there such a group begins with the first message."""
        self.make_topic(queues=2)
        for queue in range(2):
            self.produce([b"old"] * 3, queue=queue)
        time.sleep(0.02)
        between = now_ms()
        time.sleep(0.02)
        for queue in range(2):
            self.produce([b"mid"] * 2, queue=queue)
        later = now_ms() + 3_600_000
        starts = {"first": 0, "last": 5, between: 3, 0: 0, later: 5}
        groups = {
            start: self.put_group(f"-{number}", topics=self.name, **{"from": start})
            for number, start in enumerate(starts)
        }
        for queue in range(2):
            self.produce([b"new"], queue=queue)
        for start, first in starts.items():
            came = self.member(groups[start]).drain()
            offsets = sorted((d.queue, d.offset) for d in came)
            wanted = [(queue, offset) for queue in range(2) for offset in range(first, 6)]
            if start == later:
                # It begins when it is received from, and then the new ones are there, too old for it.
                wanted = []
            self.assertEqual(offsets, wanted, start)

    def test_35_a_queue_that_comes_later_is_read_from_its_first_message(self):
        """RocketMQ's consumers find a new queue after up to 30 s and may begin at its end. Here nothing of it is
        missed, whatever the group's start."""
        self.make_topic(queues=1)
        self.produce([b"old"])
        self.put_group(**{"from": "last"})
        member = self.member()
        self.assertEqual(member.receive(), [])
        request = member.send_receive(wait_ms=20000)
        self.client.call("topic.put", name=self.name, queues=4)
        for queue in range(1, 4):
            self.produce([b"in %d" % queue], queue=queue)
        answer = member.take_receive(request)
        self.assertEqual(member.ack(answer), [])
        bodies = answer.bodies + [d.body for d in member.drain()]
        self.assertEqual(sorted(bodies), [b"in 1", b"in 2", b"in 3"])

    def test_35_a_start_is_kept_through_a_kill(self):
        """`last` is where the queues ended when the group was put, not when somebody received first, and not
        where they end after a crash."""
        self.make_topic(durability="disk")
        self.produce([b"old"])
        self.put_group(**{"from": "last"})
        self.produce([b"new"])
        self.kill_broker()
        self.produce([b"newer"])
        self.assertEqual([d.body for d in self.member().drain()], [b"new", b"newer"])

    def test_35_a_group_that_there_is_not(self):
        """RocketMQ makes the group with its first request, if it may. Here it is an entity: GROUP_NOT_FOUND."""
        member = self.member("nobody")
        self.refused("GROUP_NOT_FOUND", member.receive)
        self.refused("GROUP_NOT_FOUND", member.ack, [["t", 0, 0, 1, None]])


class Progress(group_case.GroupCase):
    def test_39_a_crash_with_gaps_replays_the_gaps_alone(self):
        """RocketMQ's offset is the smallest unfinished one, and after a crash everything from there comes again.
        Here only what was not settled does: never less, never more."""
        chance = random.Random(SEED)
        self.make_topic(queues=3, durability="disk")
        bodies = self.produce_numbered(600, queues=3)
        self.put_group()
        done = set()
        for _ in range(3):
            member = self.member()
            answer = member.receive(max=150)
            came = {d.body for d in answer}
            self.assertEqual(came & done, set())
            settled = [d for d in answer if chance.random() < 0.6]
            self.assertEqual(member.ack(settled), [])
            done |= {d.body for d in settled}
            self.kill_broker()
        rest = self.member().drain()
        self.assertEqual(sorted(d.body for d in rest), sorted(set(bodies) - done))
        # What the broker took back because it was killed is nobody's failure.
        self.assertEqual({d.attempt for d in rest}, {1})

    def test_39_a_consumer_that_crashes_with_gaps_leaves_the_gaps(self):
        """Not the broker but the member dies, between two acks of what it has done out of order."""
        self.make_topic(queues=2)
        self.produce_numbered(60, queues=2)
        self.put_group(lease_ms=400)
        member = self.member()
        held = member.receive() + member.receive()
        self.assertEqual(len(held), 60)
        self.assertEqual(member.ack(held[1::3]), [])
        member.die()
        gaps = {d.place for d in held} - {d.place for d in held[1::3]}
        other, came = self.member(), []
        while len(came) < len(gaps):
            answer = other.receive_within(5)
            self.assertTrue(answer, len(came))
            self.assertEqual(other.ack(answer), [])
            came += answer
        self.assertEqual(sorted(d.place for d in came), sorted(gaps))
        self.assertEqual(other.receive(wait_ms=500), [])

    def test_39_a_cursor_moves_forward_only(self):
        """The pull consumer's commit, without a lease: to the end of the receipt, never back, never beyond the
        end, and there after a kill."""
        self.make_topic(durability="disk")
        self.produce_numbered(10)
        self.put_group()
        member = self.member()
        self.assertEqual(member.ack([[self.name, 0, 0, 4, None]], durable=True), [])
        self.assertEqual(member.ack([[self.name, 0, 0, 2, None]]), [])
        self.assertEqual(member.ack([[self.name, 0, 0, 11, None]]), [[0, TRUNCATED]])
        self.kill_broker()
        member = self.member()
        held = member.receive(max=2)
        self.assertEqual([d.offset for d in held], [4, 5])
        # It passes what somebody has: his lease is void then.
        self.assertEqual(member.ack([[self.name, 0, 0, 8, None]]), [])
        self.assertEqual(member.nack(held), [[0, LEASE_LOST]])
        self.assertEqual([d.offset for d in member.drain()], [8, 9])

    def test_39_a_cursor_that_is_refused_begins_nothing(self):
        """Neither a commit beyond the end nor a failure without a lease moves where the group will begin."""
        self.make_topic()
        self.produce([b"old"])
        time.sleep(0.02)
        start = now_ms()
        time.sleep(0.02)
        self.produce([b"new"])
        self.put_group(**{"from": start})
        member = self.member()
        receipt = [self.name, 0, 0, 99, None]
        self.assertEqual(member.ack([receipt]), [[0, TRUNCATED]])
        self.assertEqual(member.nack([receipt]), [[0, LEASE_LOST]])
        self.assertEqual([d.body for d in member.drain()], [b"new"])

    def test_39_a_durable_ack_is_on_the_disk_when_it_is_answered(self):
        """Several at once, of ranges with gaps; the rest comes after the kill."""
        self.make_topic(queues=2, durability="disk")
        self.produce_numbered(40, queues=2)
        self.put_group()
        member = self.member()
        answer = member.receive() + member.receive()
        self.assertEqual(len(answer), 40)
        requests = [
            member.client.send("ack", group=self.name, receipts=[delivery.receipt], durable=True)
            for delivery in answer[::2]
        ]
        for request in requests:
            self.assertEqual(member.client.take_for(request), (None, {"failed": []}))
        self.kill_broker()
        rest = self.member().drain()
        self.assertEqual(sorted(d.place for d in rest), sorted(d.place for d in answer[1::2]))

    def test_41_a_late_success_of_what_another_has_is_refused(self):
        """RocketMQ hands a slow message back after 15 minutes, and the first to succeed moves the offset. Here the
        lease says whose it is: the late one gets LEASE_LOST, whatever he says, the other one settles it."""
        self.make_topic()
        self.produce([b"slow"])
        self.put_group(lease_ms=200)
        slow, other = self.member(name="slow"), self.member(name="other")
        first = slow.receive()
        second = other.receive_within(5, lease_ms=10000)
        self.assertEqual([(d.attempt, d.reason) for d in second], [(2, "lease expired")])
        for method in (slow.ack, slow.nack, slow.extend):
            self.assertEqual(method(first), [[0, LEASE_LOST]])
        self.assertEqual(other.ack(second), [])
        # And it is settled once: neither of them can again.
        self.assertEqual(slow.ack(first), [[0, LEASE_LOST]])
        self.assertEqual(other.ack(second), [[0, LEASE_LOST]])
        self.assertEqual(slow.receive(wait_ms=300), [])
        self.assertEqual(self.dead_letters(self.name), [])

    def test_41_a_late_success_that_nobody_contests_counts(self):
        """The lease is over, but nobody has the message: it is done, and does not come again. A failure that late
        is none: the expiry was counted already."""
        self.make_topic()
        self.produce([b"slow", b"slower"])
        self.put_group(lease_ms=150, attempts=2)
        member = self.member()
        first = member.receive()
        time.sleep(0.3)
        self.assertEqual(member.nack(first), [[0, LEASE_LOST]])
        self.assertEqual(member.ack(first[:1]), [])
        self.assertEqual(member.ack(first[:1]), [[0, LEASE_LOST]])
        again = member.receive_within(5)
        self.assertEqual([(d.body, d.attempt) for d in again], [(b"slower", 2)])
        self.assertEqual(member.ack(again), [])
        self.assertEqual(member.receive(wait_ms=300), [])

    def test_41_a_late_success_in_an_ordered_group_counts_from_the_first_on(self):
        """Behind something that is not done it is not known whether the order was kept: not before it is."""
        topic = self.make_topic("-keyed", route="key")
        self.produce([[None, ["k"], None, b"%d" % n] for n in range(4)], topic, queue=None)
        for order in ("queue", "key"):
            group = self.put_group(f"-{order}", topics=topic, order=order)
            member = self.member(group)
            held = member.receive(max=3, lease_ms=150)
            time.sleep(0.3)
            self.assertEqual(member.ack(held[2:]), [[0, LEASE_LOST]])
            self.assertEqual(member.ack(held[:1]), [])
            self.assertEqual(member.ack(held[1:2]), [])
            came = [(d.offset, d.attempt) for d in member.drain()]
            self.assertEqual(came, [(2, 2), (3, 1)], order)

    def test_41_a_late_success_behind_what_has_failed_does_not_count_in_an_ordered_group(self):
        """Both have failed and wait: the second is not done before the first."""
        topic = self.make_topic("-keyed", route="key")
        self.produce([[None, ["k"], None, b"%d" % n] for n in range(3)], topic, queue=None)
        for order in ("queue", "key"):
            group = self.put_group(f"-{order}", topics=topic, order=order, backoff=[300])
            member = self.member(group)
            held = member.receive(max=2)
            self.assertEqual(member.nack(held), [])
            self.assertEqual(member.ack(held[1:]), [[0, LEASE_LOST]])
            came = [(d.offset, d.attempt) for d in member.receive_within(5)]
            self.assertEqual(came[:2], [(0, 2), (1, 2)], order)

    def test_41_who_extends_keeps_his_message(self):
        """The consumer's own renewal instead of one timeout for all."""
        self.make_topic()
        self.produce([b"long"])
        self.put_group(lease_ms=900)
        worker, other = self.member(name="worker"), self.member(name="other")
        held = worker.receive()
        request = other.send_receive(wait_ms=1800)
        for _ in range(6):
            time.sleep(0.25)
            self.assertEqual(worker.extend(held), [])
        self.assertEqual(worker.ack(held), [])
        self.assertEqual(other.take_receive(request), [])


if __name__ == "__main__":
    tap.main(__name__)
