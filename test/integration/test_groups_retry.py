# SPDX-License-Identifier: Apache-2.0
"""test_groups_retry.py - where a group begins, what fails, what a crash leaves: RocketMQ's scenarios 35 and 37 to
41, by their numbers.

There a failed message is copied into a retry topic, waits as a delayed message, and its offset counts as done.
Here it stays where it is, and the group knows how often it was tried. Scenario 40, offsets on a replica,
needs replicas, which there are not yet.
"""

import random
import time
import unittest

import group_case
import group_member
import tap
import wire

from group_case import LEASE_LOST

TRUNCATED = 61
SEED = 20261129
# How much later than its moment something may come, on a machine that does other things as well.
LATE_S = 3.0


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


class Retry(group_case.GroupCase):
    def test_37_the_backoff_table_then_exactly_one_dead_letter(self):
        """Attempt n comes after the n-1st delay of the table; after the last one there is one message in the
        topic of dead letters, with its origin. RocketMQ names origin topic and id; here also the attempts
        and the last reason."""
        backoff = [100, 250, 400]
        self.make_topic(queues=3)
        self.put_group(attempts=4, backoff=backoff)
        self.produce([b"before"], queue=2)
        element = ["tagged", ["key", "word"], {"a": "1"}, b"poison"]
        offset = self.produce([element], queue=2)
        member = self.member()
        self.assertEqual(member.ack(member.receive(max=1)), [])
        answer = member.receive(wait_ms=5000)
        for attempt in range(1, 5):
            self.assertEqual([(d.body, d.attempt) for d in answer], [(b"poison", attempt)])
            self.assertEqual(answer[0].reason, None if attempt == 1 else f"failed {attempt - 1}")
            self.assertEqual(self.dead_letters(self.name), [])
            failed_at = time.monotonic()
            self.assertEqual(member.nack(answer, reason=f"failed {attempt}"), [])
            if attempt < 4:
                answer = member.receive_within(5)
                took = time.monotonic() - failed_at
                self.assertGreaterEqual(took, backoff[attempt - 1] / 1000 - 0.005)
                self.assertLess(took, backoff[attempt - 1] / 1000 + LATE_S)
        self.wait_for(lambda: self.dead_letters(self.name))
        self.assertEqual(member.receive(wait_ms=300), [])
        (letter,) = self.dead_letters(self.name)
        self.assertEqual(letter[wire.RECORD_MESSAGE], element)
        self.assertEqual(
            letter[group_member.RECORD_EXTRA]["dead"],
            [self.name, self.name, 2, offset, 4, "failed 4"],
        )

    def test_37_many_at_once_each_is_one_dead_letter(self):
        """Ranges that failed together, over two shards: each message once, none twice, none missing."""
        self.make_topic(queues=4)
        self.produce_numbered(400, queues=4)
        self.put_group(attempts=2, backoff=[100])
        members = [self.member(name=name) for name in ("one", "two")]
        tried = 0
        while tried < 800:
            for member in members:
                answer = member.receive_within(5, max=23)
                self.assertTrue(answer, tried)
                self.assertEqual(member.nack(answer), [])
                tried += len(answer)
        self.assertEqual(tried, 800)
        self.wait_for(lambda: len(self.dead_letters(self.name)) >= 400)
        origins = [
            tuple(letter[group_member.RECORD_EXTRA]["dead"][:4]) for letter in self.dead_letters(self.name)
        ]
        wanted = [(self.name, self.name, queue, offset) for queue in range(4) for offset in range(100)]
        self.assertEqual(sorted(origins), wanted)
        self.assertEqual(members[0].receive(), [])

    def test_37_a_lease_that_is_over_counts_as_an_attempt(self):
        """A worker that dies with its message each time: in RocketMQ such a message is never counted, and comes
        back for ever."""
        self.make_topic()
        self.produce([b"deadly"])
        self.put_group(attempts=3, lease_ms=150)
        for attempt in (1, 2, 3):
            victim = self.member()
            (delivery,) = victim.receive_within(5)
            self.assertEqual(delivery.attempt, attempt)
            victim.die()
        self.wait_for(lambda: self.dead_letters(self.name))
        (letter,) = self.dead_letters(self.name)
        dead = letter[group_member.RECORD_EXTRA]["dead"]
        self.assertEqual(dead, [self.name, self.name, 0, 0, 3, "lease expired"])

    def test_37_a_kill_behind_the_last_failure_makes_no_second_dead_letter(self):
        """The letter and the end of its origin are one record; RocketMQ writes the one and forgets the other."""
        self.make_topic(queues=2, durability="disk")
        self.produce_numbered(60, queues=2)
        self.put_group(attempts=1)
        member = self.member()
        while answer := member.receive(max=20):
            self.assertEqual(member.nack(answer, reason="no"), [])
        self.kill_broker()
        self.wait_for(lambda: len(self.dead_letters(self.name)) >= 60)
        self.kill_broker()
        self.assertEqual(self.member().receive(wait_ms=200), [])
        letters = self.dead_letters(self.name)
        self.assertEqual(len(letters), 60)
        origins = {tuple(letter[group_member.RECORD_EXTRA]["dead"][2:4]) for letter in letters}
        self.assertEqual(origins, {(queue, offset) for queue in range(2) for offset in range(30)})

    def test_37_a_message_may_be_given_up_at_once(self):
        """nack {dead}: RocketMQ's negative delay level."""
        self.make_topic()
        self.produce([b"hopeless", b"good"])
        self.put_group()
        member = self.member()
        answer = member.receive()
        self.assertEqual(member.nack(answer[:1], dead=True, reason="hopeless"), [])
        self.assertEqual(member.ack(answer[1:]), [])
        self.wait_for(lambda: self.dead_letters(self.name))
        (letter,) = self.dead_letters(self.name)
        dead = letter[group_member.RECORD_EXTRA]["dead"]
        self.assertEqual(dead, [self.name, self.name, 0, 0, 1, "hopeless"])

    def test_38_failures_are_retried_and_the_count_grows(self):
        """By nack, by a delay of its own, by expiry; what is given back does not count. No retry topic is made,
        so that there are no two names of it that a switch could lose messages between."""
        self.make_topic()
        self.produce([b"m"])
        self.put_group(backoff=[100], lease_ms=5000)
        member = self.member()

        def take(attempt, **more):
            (delivery,) = member.receive_within(5, **more)
            self.assertEqual((delivery.body, delivery.attempt), (b"m", attempt))
            return delivery

        self.assertEqual(member.nack([take(1)]), [])
        self.assertEqual(member.nack([take(2)], delay_ms=0), [])
        self.assertEqual(member.nack([take(3)], count=False), [])
        take(3, lease_ms=150)
        last = take(4)
        self.assertEqual(last.reason, "lease expired")
        asked_at = time.monotonic()
        self.assertEqual(member.nack([last], delay_ms=400, reason="busy"), [])
        again = take(5)
        self.assertGreaterEqual(time.monotonic() - asked_at, 0.395)
        self.assertEqual(again.reason, "busy")
        self.assertEqual(member.ack([again]), [])
        names = [row["name"] for row in self.client.call("topic.list")["rows"]]
        self.assertEqual([name for name in names if "RETRY" in name], [])

    def test_38_attempts_and_reasons_survive_a_kill(self):
        """RocketMQ's count travels in the copy; here it is in the log."""
        self.make_topic(durability="disk")
        self.produce([b"m", b"other"])
        self.put_group(backoff=[0])
        for attempt in (1, 2, 3):
            member = self.member()
            answer = member.receive_within(5, max=1)
            self.assertEqual([(d.body, d.attempt) for d in answer], [(b"m", attempt)])
            self.assertEqual(answer[0].reason, None if attempt == 1 else f"reason {attempt - 1}")
            self.assertEqual(member.nack(answer, reason=f"reason {attempt}"), [])
            self.kill_broker()
        came = {d.body: (d.attempt, d.reason) for d in self.member().drain()}
        self.assertEqual(came, {b"m": (4, "reason 3"), b"other": (1, None)})

    def test_38_a_retry_does_not_hold_what_is_behind_it(self):
        """What waits for its backoff lets everything else pass, and comes when it is due."""
        self.make_topic()
        bodies = self.produce_numbered(50)
        self.put_group(backoff=[300])
        member = self.member()
        failed = member.receive(max=5)
        self.assertEqual(member.nack(failed), [])
        came = member.drain(max=10)
        self.assertEqual([d.body for d in came], bodies[5:])
        again = member.receive_within(5)
        self.assertEqual([(d.body, d.attempt) for d in again], [(body, 2) for body in bodies[:5]])

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
