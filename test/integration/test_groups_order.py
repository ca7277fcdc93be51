# SPDX-License-Identifier: Apache-2.0
"""test_groups_order.py - groups that keep the order of queues or of keys: RocketMQ's scenarios 30 to 34.

There order is made by three locks, of which the one at the broker is renewed by clients. Here what is leased
of a queue (or of a key) is the lock, and it is in the log before its messages leave. Scenario 33, locks that
a replica grants, needs replicas, which there are not yet.
"""

import collections
import threading
import time

import group_case
from group_case import LEASE_LOST
import tap
import wire


def keyed(key, body):
    return [None, [key], None, body]


class Order(group_case.GroupCase):
    def by_queue(self, deliveries):
        queues = collections.defaultdict(list)
        for delivery in deliveries:
            queues[delivery.queue].append(delivery.offset)
        return dict(queues)

    def make_keyed(self, keys, each, **settings):
        """A topic and a group that keeps the order of keys, and messages key/0 .. key/each-1 in turns."""
        self.make_topic(queues=1, route="key")
        self.put_group(order="key", **settings)
        messages = [keyed(key, f"{key}/{number}".encode()) for number in range(each) for key in keys]
        if messages:
            self.produce(messages, queue=None)

    def test_30_strict_order_in_each_queue(self):
        """Three queues, one member: each in its order, as with RocketMQ's orderly listener."""
        self.make_topic(queues=3)
        self.produce_numbered(600, queues=3)
        self.put_group(order="queue")
        came = self.member().drain(max=17)
        self.assertEqual(self.by_queue(came), {queue: list(range(200)) for queue in range(3)})

    def test_30_a_queue_is_nobodys_until_all_that_is_out_is_settled(self):
        """A part that is settled does not free the queue; the last one does."""
        self.make_topic(queues=1)
        self.produce_numbered(10)
        self.put_group(order="queue")
        one, two = self.member(name="one"), self.member(name="two")
        held = one.receive(max=4)
        self.assertEqual([d.offset for d in held], [0, 1, 2, 3])
        for delivery in held:
            self.assertEqual(two.receive(), [])
            self.assertEqual(one.receive(), [])
            self.assertEqual(one.ack([delivery]), [])
        self.assertEqual([d.offset for d in two.receive()], list(range(4, 10)))

    def test_30_strict_order_of_each_key(self):
        """RocketMQ's order is that of queues; keys that share one wait for each other. Here also by key."""
        keys = [f"k{number}" for number in range(20)]
        self.make_keyed(keys, 30)
        came = collections.defaultdict(list)
        for delivery in self.member().drain(max=13):
            came[delivery.keys[0]].append(delivery.body)
        self.assertEqual(
            dict(came), {key: [f"{key}/{n}".encode() for n in range(30)] for key in keys}
        )

    def test_30_an_answer_says_which_order_it_is_of(self):
        """So a member can keep it who has several messages in hand."""
        topic = self.make_topic(route="key")
        for order in ("none", "queue", "key"):
            group = self.put_group(f"-{order}", topics=topic, order=order)
            self.assertEqual(self.member(group).receive().order, None if order == "none" else order)

    def test_30_keys_do_not_wait_for_each_other(self):
        """What is out of one key keeps that key alone."""
        self.make_keyed(["a", "b", "c"], 4)
        one, two = self.member(name="one"), self.member(name="two")
        (held,) = one.receive(max=1)
        self.assertEqual(held.body, b"a/0")
        others = two.drain()
        self.assertEqual({d.keys[0] for d in others}, {"b", "c"})
        self.assertEqual(len(others), 8)
        self.assertEqual(one.ack([held]), [])
        self.assertEqual([d.body for d in two.drain()], [b"a/1", b"a/2", b"a/3"])

    def parallel(self, count, place_of, total, churn):
        """Members on threads, some of which leave, or die with what they have; asserts that nobody has
        anything of a place while another one has, and gives the deliveries in the order they were settled.
        """
        lock = threading.Lock()
        busy, trouble, settled = {}, [], []
        over = threading.Event()

        def enter(name, answer):
            with lock:
                for place in {place_of(d) for d in answer}:
                    holder, until_ms = busy.get(place, (None, 0))
                    if holder not in (None, name) and until_ms > time.time() * 1000:
                        trouble.append(f"{name} has {place} of {holder}")
                    busy[place] = (name, answer[0].until)

        def leave(answer):
            with lock:
                settled.extend(answer)
                for place in {place_of(d) for d in answer}:
                    busy[place] = (None, 0)

        def work(member, name, lives):
            try:
                while not over.is_set() and lives > 0:
                    answer = member.receive(max=6, wait_ms=200)
                    if not answer:
                        continue
                    enter(name, answer)
                    lives -= 1
                    if lives == 0:
                        member.die()  # with what it has; it comes back when the lease is over
                        return
                    leave(answer)
                    if failed := member.ack(answer):
                        trouble.append(f"{name} could not settle {failed}")
            except (wire.CallFailed, wire.Lost, AssertionError) as error:
                trouble.append(f"{name}: {error!r}")

        threads = []

        def join(name, lives):
            thread = threading.Thread(target=work, args=(self.member(name=name), name, lives), daemon=True)
            thread.start()
            threads.append(thread)

        for number in range(count):
            join(f"stays-{number}", 1 << 30)
        for number in range(churn):
            join(f"dies-{number}", 3)
            time.sleep(0.05)
        try:
            self.wait_for(lambda: len({d.place for d in settled}) >= total or trouble, 20)
        finally:
            over.set()
            for thread in threads:
                thread.join(20)
        self.assertEqual(trouble, [])
        return settled

    def assert_in_order(self, settled, place_of):
        last = collections.defaultdict(lambda: -1)
        for delivery in settled:
            place = place_of(delivery)
            self.assertLess(last[place], delivery.offset, f"{place} goes back")
            last[place] = delivery.offset

    def test_31_members_join_and_die_and_queues_keep_their_order(self):
        """No queue is ever in two hands, and its order is kept through every change of members. RocketMQ lets
        two members hold one queue for a while, which its locks then settle."""
        self.make_topic(queues=4)
        self.put_group(order="queue", lease_ms=1500)
        self.produce_numbered(400, queues=4)
        settled = self.parallel(3, lambda d: d.queue, 400, churn=4)
        self.assert_in_order(settled, lambda d: d.queue)

    def test_31_members_join_and_die_and_keys_keep_their_order(self):
        keys = [f"k{number}" for number in range(12)]
        self.make_keyed(keys, 30, lease_ms=1500)
        settled = self.parallel(3, lambda d: d.keys[0], 360, churn=4)
        self.assert_in_order(settled, lambda d: d.keys[0])

    def test_31_order_is_kept_through_a_kill_of_the_broker(self):
        """What was out before the kill stays out until its lease is over, with the same receipt: RocketMQ's
        locks are in memory, and a restart hands every queue to whoever is first."""
        self.make_topic(queues=1, durability="disk")
        self.put_group(order="queue", lease_ms=4000)
        self.produce_numbered(6)
        held = self.member(name="before").receive(max=2)
        until = held[0].until
        self.kill_broker()
        other = self.member(name="after")
        if time.time() * 1000 < until - 200:
            self.assertEqual(other.receive(), [])
        self.assertEqual(self.member(name="before").ack(held), [])
        self.assertEqual([d.offset for d in other.receive()], [2, 3, 4, 5])

    def test_31_what_is_out_at_a_kill_of_the_broker_expires_at_its_moment(self):
        """It comes again then, first, as an attempt that failed; in a group without order at once, uncounted."""
        topics = {order: self.make_topic(f"-{order}", route="key", durability="disk") for order in ("queue", "key")}
        groups, until = {}, 0
        for order, topic in topics.items():
            groups[order] = self.put_group(f"-{order}", topics=topic, order=order, lease_ms=1500)
            self.produce([keyed("a", b"%d" % n) for n in range(4)], topic, queue=None)
            held = self.member(groups[order]).receive(max=2)
            until = held[0].until
        self.kill_broker()
        for group in groups.values():
            member, came = self.member(group), []
            while len(came) < 4:
                answer = member.receive_within(5)
                self.assertTrue(answer, came)
                self.assertGreaterEqual(time.time() * 1000, until - 200)
                self.assertEqual(member.ack(answer), [])
                came += [(d.offset, d.attempt) for d in answer]
            self.assertEqual(came, [(0, 2), (1, 2), (2, 1), (3, 1)])

    def test_31_a_key_is_in_one_hand_whatever_its_messages_are_told(self):
        """Two messages of a key are out; one is extended and the other one's lease ends: the key is still in the
        same hands, until both are settled or over."""
        self.make_keyed(["a"], 3)
        one, two = self.member(name="one"), self.member(name="two")
        held = one.receive(max=2, lease_ms=200)
        self.assertEqual(one.extend(held[1:], lease_ms=1500), [])
        extended_at = time.monotonic()
        came = two.receive_within(5)
        if time.monotonic() - extended_at < 1.4:
            # It may be given out sooner only if it was taken from its holder first.
            self.assertEqual(one.ack(held[1:]), [[0, LEASE_LOST]])
        self.assertEqual(came[0].body, b"a/0")

    def test_32_what_one_has_another_cannot_take_renew_or_give_back(self):
        """RocketMQ's lock table: A has the lock, B is refused, A renews it, B's unlock of it is ignored, and after
        it has expired B gets it. The lease does the same here."""
        self.make_topic(queues=2)
        self.produce_numbered(8, queues=2)
        self.put_group(order="queue", lease_ms=1000)
        a, b = self.member(name="a"), self.member(name="b")
        of_a = a.receive(max=4)
        self.assertEqual({d.queue for d in of_a}, {of_a[0].queue})
        # B gets only what is its own: the other queue.
        of_b = b.receive()
        self.assertEqual({d.queue for d in of_b}, {1 - of_a[0].queue})
        self.assertEqual(b.receive(), [])
        # With another lease, as good as it may look, it can neither renew A's nor give it back.
        forged = [
            [*place, lease[:-1] + bytes([lease[-1] ^ bit])]
            for *place, lease in of_a.receipts
            for bit in (1, 2, 128)
        ]
        for method in (b.extend, b.nack, b.ack):
            self.assertEqual(method(forged), [[index, LEASE_LOST] for index in range(len(forged))])
        self.assertEqual(b.ack(of_b), [])
        # A renews, so that B does not have it when the first lease would have been over.
        self.assertEqual(a.extend(of_a, lease_ms=1500), [])
        extended_at = time.time()
        request = b.send_receive(wait_ms=20000)
        again = b.take_receive(request)
        self.assertGreater(time.time() - extended_at, 1.45)
        self.assertEqual([d.place for d in again], [d.place for d in of_a])
        # What A says now is of no effect.
        for method in (a.ack, a.extend, a.nack):
            self.assertEqual(method(of_a), [[0, LEASE_LOST]])
        self.assertEqual(b.ack(again), [])
        self.assertEqual(b.receive(), [])

    def test_34_a_queue_goes_on_when_its_first_message_is_dead(self):
        """Fails until it is exhausted; the next message comes only after the first is a dead letter. RocketMQ
        sends it to the dead letters as well, if the group has a maximum, which it does not by itself."""
        self.make_topic(queues=1)
        self.produce([b"poison", b"next", b"last"])
        self.put_group(order="queue", attempts=3, backoff=[100])
        member = self.member()
        for attempt in (1, 2, 3):
            answer = member.receive_within(5, max=3)
            self.assertEqual([(answer[0].body, answer[0].attempt)], [(b"poison", attempt)])
            self.assertEqual(self.dead_letters(self.name), [])
            self.assertEqual(member.nack(answer[:1], reason="poisoned"), [])
            if attempt < 3:
                self.assertEqual(member.receive(), [], "what is behind it does not come before it")
        came = member.receive_within(5)
        self.assertEqual([(d.body, d.attempt) for d in came], [(b"next", 1), (b"last", 1)])
        # It is in the log before the next one is out, and can be read when the disk has it.
        self.wait_for(lambda: self.dead_letters(self.name))
        (letter,) = self.dead_letters(self.name)
        self.assertEqual(wire.record_body(letter), b"poison")

    def test_34_a_queue_goes_on_when_its_first_message_succeeds(self):
        self.make_topic(queues=1)
        self.produce([b"slow", b"next"])
        self.put_group(order="queue", attempts=3, backoff=[100])
        member = self.member()
        self.assertEqual(member.nack(member.receive(max=1)), [])
        self.assertEqual(member.receive(), [])
        answer = member.receive_within(5, max=1)
        self.assertEqual([(d.body, d.attempt) for d in answer], [(b"slow", 2)])
        self.assertEqual(member.ack(answer), [])
        self.assertEqual(member.receive().bodies, [b"next"])
        self.assertEqual(self.dead_letters(self.name), [])

    def test_34_exhausted_stay_keeps_the_queue(self):
        """RocketMQ's default for orderly listeners: for ever. Here by wish: the attempts go on beyond their
        number, and nothing is a dead letter."""
        self.make_topic(queues=1)
        self.produce([b"poison", b"next"])
        self.put_group(order="queue", attempts=2, backoff=[100], exhausted="stay")
        member = self.member()
        for attempt in (1, 2, 3, 4):
            answer = member.receive_within(5)
            self.assertEqual((answer[0].body, answer[0].attempt), (b"poison", attempt))
            self.assertEqual(member.nack(answer[:1]), [])
        self.assertEqual(self.dead_letters(self.name), [])
        self.assertEqual(member.receive_within(5, max=1)[0].body, b"poison")

    def test_34_a_failing_key_parks_itself_alone(self):
        """RocketMQ parks the queue, with all keys in it. Here the others go on, and the key when it is dead."""
        self.make_keyed(["bad", "good", "fine"], 3, attempts=2, backoff=[300])
        member = self.member()
        first = member.receive(max=1)
        self.assertEqual(first.bodies, [b"bad/0"])
        self.assertEqual(member.nack(first), [])
        others = member.drain()
        self.assertEqual(len(others), 6)
        self.assertEqual({d.keys[0] for d in others}, {"good", "fine"})
        again = member.receive_within(5, max=1)
        self.assertEqual([(d.body, d.attempt) for d in again], [(b"bad/0", 2)])
        self.assertEqual(member.nack(again), [])
        came = member.receive_within(5)
        self.assertEqual(came.bodies[:1], [b"bad/1"])
        self.wait_for(lambda: len(self.dead_letters(self.name)) == 1)

    def test_34_a_message_without_a_key_fails_as_any_other(self):
        """In an order of keys it has none to keep, but its attempts count, and it becomes a dead letter."""
        self.make_topic(queues=1, route="key")
        self.put_group(order="key", attempts=3, backoff=[0])
        self.produce([[None, None, None, b"keyless"], keyed("a", b"a/0")], queue=None)
        member = self.member()
        for attempt in (1, 2, 3):
            answer = member.receive_within(5, max=1)
            self.assertEqual([(d.body, d.attempt) for d in answer], [(b"keyless", attempt)])
            self.assertEqual(answer[0].reason, None if attempt == 1 else "no")
            self.assertEqual(member.nack(answer, reason="no"), [])
        self.wait_for(lambda: self.dead_letters(self.name))
        self.assertEqual([d.body for d in member.drain()], [b"a/0"])

    def test_34_what_was_out_behind_a_failure_comes_again_in_order(self):
        """A batch of one queue whose second message fails: the first is done, what is behind it is given back
        uncounted and comes after it."""
        self.make_topic(queues=1)
        self.produce_numbered(5)
        self.put_group(order="queue", backoff=[100])
        member = self.member()
        batch = member.receive(max=4)
        self.assertEqual(member.ack(batch[:1]), [])
        self.assertEqual(member.nack(batch[1:2]), [])
        self.assertEqual(member.receive(), [])
        came = []
        while len(came) < 4:
            answer = member.receive_within(5)
            self.assertTrue(answer)
            self.assertEqual(member.ack(answer), [])
            came += [(d.offset, d.attempt) for d in answer]
        self.assertEqual(came, [(1, 2), (2, 1), (3, 1), (4, 1)])


if __name__ == "__main__":
    tap.main(__name__)
