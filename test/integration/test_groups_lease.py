# SPDX-License-Identifier: Apache-2.0
"""test_groups_lease.py - leases and large messages: RocketMQ's scenarios 42 to 44, by their numbers.

What RocketMQ calls POP is the only way here. There a pop writes a checkpoint and each ack a message, which a
service compares later; here a lease is a range, and ranges are what is settled.
"""

import socket
import time

import group_case
from group_case import LEASE_LOST
import tap
import wire

TOPIC_NOT_FOUND = 26
MESSAGE_BYTES_MAX = 4 << 20
# A poll that is woken takes less, on a machine that does other things as well.
WOKEN_S = 3.0


class Ack(group_case.GroupCase):
    def test_42_a_batch_of_receipts_settles_each_and_names_the_failed(self):
        """Ranges, parts of ranges, of several queues and shards in one call; only what cannot be is named."""
        self.make_topic(queues=4)
        self.produce_numbered(80, queues=4)
        self.put_group(lease_ms=600)
        member = self.member()
        answer = member.receive() + member.receive()
        self.assertEqual(len(answer), 80)
        good = [d.receipt for d in answer[:79]]
        other_lease = [*answer[79].receipt[:4], bytes(len(answer[79].lease))]
        batch = [
            *good[:40],
            good[0],  # twice
            ["%s-nowhere" % self.name, 0, 0, 1, answer[0].lease],
            [self.name, 4, 0, 1, answer[0].lease],  # there is no such queue
            other_lease,
            *good[40:],
        ]
        failed = member.ack(batch)
        codes = [LEASE_LOST, TOPIC_NOT_FOUND, TOPIC_NOT_FOUND, LEASE_LOST]
        self.assertEqual(failed, [[40 + i, code] for i, code in enumerate(codes)])
        again = member.receive_within(5)
        self.assertEqual([(d.place, d.attempt) for d in again], [(answer[79].place, 2)])

    def test_42_what_is_acked_never_returns(self):
        """Plain, durable, with the next receive; of groups in no order, in that of queues, in that of keys:
        neither when the leases would be over, nor after a kill."""
        self.make_topic(queues=2, route="key", durability="disk")
        for number in range(60):
            self.produce([[None, [f"k{number % 7}"], None, b"%d" % number]], queue=None)
        came = {}
        for order in ("none", "queue", "key"):
            group = self.put_group(f"-{order}", topics=self.name, order=order, lease_ms=500)
            member = self.member(group)
            got = []
            answer = member.receive(max=5)
            got += answer
            self.assertEqual(member.ack(answer), [])
            answer = member.receive(max=5)
            got += answer
            self.assertEqual(member.ack(answer, durable=True), [])
            answer = member.receive(max=5)
            got += answer
            last = member.receive(max=5, ack=answer.receipts)
            self.assertEqual(last.failed, [])
            came[group] = {d.place for d in got}
            self.assertEqual(len(got), 15)
        time.sleep(0.6)
        self.kill_broker()
        for group, settled in came.items():
            member = self.member(group)
            rest = []
            while len(rest) < 45:
                answer = member.receive_within(5)
                self.assertTrue(answer, group)
                self.assertEqual(member.ack(answer), [])
                rest += answer
            self.assertEqual(len({d.place for d in rest}), 45)
            self.assertEqual({d.place for d in rest} & settled, set())
            self.assertEqual(member.receive(wait_ms=100), [])

    def test_42_an_ack_of_a_range_with_holes(self):
        """A range of a filtered group holds what nobody wanted: one receipt settles both."""
        self.make_topic()
        self.produce([["A" if n % 3 == 0 else "B", None, None, b"%d" % n] for n in range(30)])
        self.put_group(topics={self.name: "A"}, lease_ms=300)
        member = self.member()
        answer = member.receive()
        self.assertEqual(len(answer), 10)
        self.assertLess(len(answer.parts), 10)
        self.assertEqual(member.ack(answer), [])
        self.assertEqual(member.receive(wait_ms=500), [])

    def test_42_receipts_of_a_topic_or_a_group_that_was_made_anew(self):
        """The name is the same and nothing else: what was given out before settles nothing."""
        self.make_topic()
        self.produce([b"old"] * 3)
        self.put_group()
        member = self.member()
        old = member.receive(max=2)
        self.client.call("topic.delete", name=self.name)
        self.assertEqual(member.ack(old), [[0, TOPIC_NOT_FOUND]])
        self.make_topic()
        self.produce([b"new"] * 3)
        for method in (member.ack, member.nack, member.extend):
            self.assertEqual(method(old), [[0, LEASE_LOST]])
        old = member.receive(max=2, wait_ms=5000)
        self.assertEqual(old.bodies, [b"new"] * 2)
        self.client.call("group.delete", name=self.name)
        self.refused("GROUP_NOT_FOUND", member.ack, old)
        self.put_group()
        for method in (member.ack, member.nack, member.extend):
            self.assertEqual(method(old), [[0, LEASE_LOST]])
        self.assertEqual([(d.body, d.attempt) for d in member.drain()], [(b"new", 1)] * 3)


class Invisible(group_case.GroupCase):
    def setUp(self):
        super().setUp()
        self.make_topic()
        self.produce_numbered(8)

    def take_ordered(self, lease_ms, **settings):
        self.put_group(order="queue", **settings)
        member = self.member()
        batch = member.receive(max=4, lease_ms=lease_ms)
        self.assertEqual([d.offset for d in batch], [0, 1, 2, 3])
        return member, batch, time.monotonic()

    def come_again(self, member, began, offsets, at_s):
        """What comes next is of these offsets, in order, tried before, and not before its moment; settled."""
        came = []
        while len(came) < len(offsets):
            answer = member.receive_within(at_s + WOKEN_S, max=len(offsets) - len(came))
            self.assertTrue(answer, came)
            if not came:
                self.assertGreater(time.monotonic() - began, at_s - 0.01)
            self.assertEqual(member.ack(answer), [])
            came += [(d.offset, d.attempt) for d in answer]
        self.assertEqual(came, [(offset, 2) for offset in offsets])

    def test_43_what_is_not_acked_comes_again_before_what_is_next(self):
        """As with RocketMQ: the same messages after the invisible time, and none of the next before."""
        member, batch, began = self.take_ordered(500)
        self.assertEqual(self.member(name="other").receive(), [])
        self.come_again(member, began, [0, 1, 2, 3], 0.5)
        self.assertEqual([d.offset for d in member.receive()], [4, 5, 6, 7])
        self.assertEqual(member.ack(batch), [[0, LEASE_LOST]])

    def test_43_the_first_message_is_extended(self):
        """The queue waits for it: all comes again at its new moment, in order."""
        member, batch, began = self.take_ordered(300)
        self.assertEqual(member.extend(batch[:1], lease_ms=900), [])
        self.come_again(member, began, [0, 1, 2, 3], 0.9)

    def test_43_a_middle_message_is_extended(self):
        """The queue waits for that one, too."""
        member, batch, began = self.take_ordered(300)
        self.assertEqual(member.extend(batch[2:3], lease_ms=900), [])
        self.come_again(member, began, [0, 1, 2, 3], 0.9)

    def test_43_the_messages_are_shortened(self):
        """Another moment may be a sooner one."""
        member, batch, began = self.take_ordered(20000)
        self.assertEqual(member.extend(batch, lease_ms=200), [])
        self.come_again(member, began, [0, 1, 2, 3], 0.2)
        self.assertLess(time.monotonic() - began, 10)

    def test_43_a_part_is_acked_and_the_rest_comes_again(self):
        member, batch, began = self.take_ordered(400)
        self.assertEqual(member.ack(batch[1:3]), [])
        self.come_again(member, began, [0, 3], 0.4)

    def test_43_a_message_is_extended_in_a_group_without_order(self):
        """It alone waits; what was given out with it comes at its own moment."""
        self.put_group()
        member = self.member()
        batch = member.receive(lease_ms=300)
        began = time.monotonic()
        self.assertEqual(member.extend(batch[3:4], lease_ms=1000), [])
        others = []
        while len(others) < 7:
            answer = member.receive_within(5)
            self.assertTrue(answer)
            others += answer
        self.assertEqual(sorted(d.offset for d in others), [0, 1, 2, 4, 5, 6, 7])
        (last,) = member.receive_within(5)
        self.assertEqual((last.offset, last.attempt), (3, 2))
        self.assertGreater(time.monotonic() - began, 0.99)

    def test_43_who_goes_gives_back_what_he_has_settled_in_part(self):
        """The pieces of ranges that were acked, failed or extended in part are his as before: what is left of
        them is given back when he closes, if he wished so; what failed keeps its moment."""
        self.put_group(backoff=[0])
        leaver = self.member(name="leaver", release_on_close=True)
        other = self.member(name="other")
        batch = leaver.receive(lease_ms=60000)
        self.assertEqual(leaver.ack(batch[2:4]), [])
        self.assertEqual(leaver.extend(batch[5:6], lease_ms=90000), [])
        self.assertEqual(leaver.nack(batch[7:8], reason="no"), [])
        leaver.leave()
        came = []
        while len(came) < 6:
            answer = other.receive_within(5)
            self.assertTrue(answer, came)
            came += answer
        tried = {d.offset: d.attempt for d in came}
        self.assertEqual(tried, {0: 1, 1: 1, 4: 1, 5: 1, 6: 1, 7: 2})

    def test_43_the_same_receipt_is_not_another_lease(self):
        """RocketMQ lets the same attempt id in again. Here an answer that could not be sent is given back, and
        nothing that was sent is given out twice: a lease is good once."""
        self.put_group(lease_ms=300)
        one, two = self.member(name="one"), self.member(name="two")
        first = one.receive(max=1)
        second = two.receive_within(5, max=1, lease_ms=10000)
        while second[0].offset != first[0].offset:
            second = two.receive_within(5, max=1, lease_ms=10000)
        self.assertNotEqual(first[0].lease, second[0].lease)
        self.assertEqual(one.extend(first, lease_ms=10000), [[0, LEASE_LOST]])
        self.assertEqual(two.extend(second, lease_ms=10000), [])


class Large(group_case.GroupCase):
    def test_44_bodies_near_the_limit(self):
        """Each arrives whole, also one that is larger than the bytes that were asked for; the same as RocketMQ,
        whose pop loses such a message when the retry topic takes less than the topic did."""
        sizes = [MESSAGE_BYTES_MAX - 5, 10, MESSAGE_BYTES_MAX - 5, 300000, 300001, 0]
        for order in ("none", "queue", "key"):
            topic = self.make_topic(f"-{order}", route="key")
            bodies = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
            for number, body in enumerate(bodies):
                self.produce([body], topic, queue=None if order == "key" else 0)
            group = self.put_group(f"-{order}", topics=topic, order=order, backoff=[0])
            member = self.member(group)
            came = []
            for number, max_bytes in enumerate([1, 1, 1000, 300000, 4 << 20, 4 << 20]):
                answer = member.receive(max_bytes=max_bytes)
                self.assertGreaterEqual(len(answer), 1, number)
                if number < 3:
                    self.assertEqual(len(answer), 1)
                came += answer.bodies
                self.assertEqual(member.ack(answer), [])
                if len(came) == len(sizes):
                    break
            self.assertTrue(came == bodies, [len(body) for body in came])

    def test_44_a_large_message_fails_and_is_a_dead_letter(self):
        """Retries copy nothing; the dead letter is the whole message."""
        body = b"x" * (MESSAGE_BYTES_MAX - 5)
        self.make_topic()
        self.produce([body])
        self.put_group(attempts=2, backoff=[0])
        member = self.member()
        for attempt in (1, 2):
            answer = member.receive_within(10, max_bytes=1)
            self.assertEqual([d.attempt for d in answer], [attempt])
            self.assertEqual(member.nack(answer, reason="r" * 120), [])
        self.wait_for(lambda: self.dead_letters(self.name))
        (letter,) = self.dead_letters(self.name)
        self.assertTrue(wire.record_body(letter) == body)

    def test_44_a_group_that_does_not_read_the_topic(self):
        """RocketMQ: SUBSCRIPTION_NOT_EXIST. Here: the topic is none of the group's."""
        self.make_topic()
        other = self.make_topic("-other")
        self.put_group()
        self.refused("BAD_ARGUMENT", self.member().receive, topic=other)
        self.assertEqual(
            self.member().ack([[other, 0, 0, 1, None]]), [[0, TOPIC_NOT_FOUND]]
        )

    def test_44_an_answer_that_was_not_sent_is_given_back(self):
        """The connection ends while its answer is on the way: others get what was in it at once, uncounted.
        RocketMQ's pop has handed it out, and it waits for its invisible time."""
        self.make_topic()
        bodies = [bytes([97 + n]) * (MESSAGE_BYTES_MAX - 5) for n in range(3)]
        for body in bodies:
            self.produce([body])
        self.put_group(lease_ms=60000)
        deaf = self.member(name="deaf")
        deaf.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in bodies:
            deaf.send_receive(max=1)
        other = self.member(name="other")
        # What the socket does not take is not even taken from the queue, but for the first answer.
        came = []
        while answer := other.receive_within(1, max=1):
            came += answer
        self.assertLess(len(came), 3)
        deaf.die()
        while len(came) < 3:
            answer = other.receive_within(10, max=1)
            self.assertTrue(answer, "it is not given back")
            came += answer
        self.assertEqual(sorted(d.offset for d in came), [0, 1, 2])
        self.assertEqual({d.attempt for d in came}, {1})
        self.assertTrue(all(d.body == bodies[d.offset] for d in came))


if __name__ == "__main__":
    tap.main(__name__)
