# SPDX-License-Identifier: Apache-2.0
"""test_groups_seek.py - lag that is true, and going back and forth: RocketMQ's scenarios 29, 36 and 46, by their
numbers.

There a reset is told to each member, who may hold messages of before and commit over it. Here it is one
operation: leases and retries of before are void with it, whoever has them.
"""

import collections
import threading
import time

import group_case
from group_case import LEASE_LOST
import tap
import wire

ORDERS = ("none", "queue", "key")


class SeekCase(group_case.GroupCase):
    def seek(self, to, group=None, **more):
        """Rows by queue, of a group that reads one topic."""
        answer = self.client.call("group.seek", group=group or self.name, to=to, **more)
        return {row["queue"]: row for row in answer["rows"]}

    def show(self, group=None):
        return self.client.call("group.show", name=group or self.name)

    def queue_rows(self, group=None):
        return {row["queue"]: row for row in self.show(group)["queues"]}

    def each_order(self, count=12, **settings):
        """For each order a topic of one queue with messages of several keys, and a group with a member."""
        for self.order in ORDERS:
            topic = self.make_topic(f"-{self.order}", route="key", durability="disk")
            self.produce([[None, [f"k{n % 3}"], None, b"%d" % n] for n in range(count)], topic, queue=None)
            group = self.put_group(
                f"-{self.order}", topics=topic, order=self.order, backoff=[0], **settings
            )
            yield topic, group, self.member(group)

    def offsets(self, deliveries):
        return [delivery.offset for delivery in deliveries]

    def assert_from(self, member, first, count=12, attempt=1):
        """All from an offset on is delivered, once, as if for the first time; and settled."""
        came = member.drain()
        self.assertEqual(sorted(self.offsets(came)), list(range(first, count)))
        if self.order != "none":
            by_key = collections.defaultdict(list)
            for delivery in came:
                by_key[delivery.keys[0]].append(delivery.offset)
            for offsets in by_key.values():
                self.assertEqual(offsets, sorted(offsets))
        self.assertEqual({d.attempt for d in came}, {attempt} if came else set())

    def assert_void(self, member, old):
        """What was given out before the seek is nobody's."""
        for method in (member.extend, member.nack, member.ack):
            failed = method([delivery.receipt for delivery in old])
            self.assertEqual(failed, [[index, LEASE_LOST] for index in range(len(old))])


class Lag(SeekCase):
    def test_29_lag_and_in_flight_are_the_truth(self):
        """With a backlog, with what is out, with what waits for its retry: RocketMQ's numbers of a POP group are
        guesses between two checkpoints."""
        self.make_topic(queues=2)
        self.produce_numbered(100, queues=2)
        self.put_group(backoff=[60000])
        rows = self.queue_rows()
        self.assertEqual({(row["cursor"], row["end"], row["lag"]) for row in rows.values()}, {(0, 50, 50)})
        member = self.member(name="worker")
        answer = member.receive(max=30)
        queue = answer[0].queue
        self.assertEqual({d.queue for d in answer}, {queue})
        row = self.queue_rows()[queue]
        self.assertEqual((row["lag"], row["leased"], row["retrying"]), (50, 30, 0))
        self.assertEqual(member.ack(answer[:10]), [])
        self.assertEqual(member.nack(answer[10:15]), [])
        row = self.queue_rows()[queue]
        self.assertEqual((row["lag"], row["leased"], row["retrying"]), (40, 15, 5))
        shown = self.show()
        counters = [shown[name] for name in ("delivered", "acked", "nacked", "expired", "dead")]
        self.assertEqual(counters, [30, 10, 5, 0, 0])
        (known,) = [row for row in shown["members"] if row["member"] == "worker"]
        self.assertEqual((known["leased"], known["waiting"]), (15, 0))
        self.assertEqual(member.ack(answer[15:]), [])
        member.drain()
        rows = self.queue_rows()
        self.assertEqual({number: row["lag"] for number, row in rows.items()}, {queue: 5, 1 - queue: 0})
        self.assertEqual(sum(row["leased"] for row in rows.values()), 0)

    def test_29_a_filter_passes_what_it_does_not_want(self):
        """When all that is wanted is done the lag is 0, though most was never delivered."""
        self.make_topic()
        self.produce([["A" if n % 10 == 0 else "B", None, None, b"x"] for n in range(200)])
        self.put_group(topics={self.name: "A"})
        member = self.member()
        self.assertEqual(len(member.drain()), 20)
        row = self.queue_rows()[0]
        self.assertEqual((row["cursor"], row["end"], row["lag"], row["leased"]), (200, 200, 0, 0))

    def test_41_a_late_success_is_counted_once(self):
        """The counters say so: one expiry, one ack, whoever else said that he was done."""
        self.make_topic()
        self.produce([b"slow"])
        self.put_group(lease_ms=150)
        slow, other = self.member(name="slow"), self.member(name="other")
        first = slow.receive()
        second = other.receive_within(5, lease_ms=20000)
        self.assertEqual(slow.ack(first), [[0, LEASE_LOST]])
        self.assertEqual(other.ack(second), [])
        self.assertEqual(slow.ack(first), [[0, LEASE_LOST]])
        shown = self.show()
        counters = {name: shown[name] for name in ("delivered", "acked", "expired")}
        self.assertEqual(counters, {"delivered": 2, "acked": 1, "expired": 1})
        self.assertEqual(self.queue_rows()[0]["lag"], 0)


class Reset(SeekCase):
    def test_36_to_a_time_while_two_members_run(self):
        """Both go on from the target; nothing behind the target is lost; the same reset again does the same
        again. RocketMQ's members drop what they have when they are told, if they are."""
        self.make_topic(queues=4)
        for queue in range(4):
            self.produce([b"old"] * 50, queue=queue)
        time.sleep(0.02)
        target = time.time_ns() // 1_000_000
        time.sleep(0.02)
        for queue in range(4):
            self.produce([b"new"] * 50, queue=queue)
        self.put_group(**{"from": "first"})
        wanted = {(queue, offset) for queue in range(4) for offset in range(50, 100)}
        lock, settled_at, trouble, over = threading.Lock(), {}, [], threading.Event()

        def work(member):
            try:
                while not over.is_set():
                    answer = member.receive(max=7, wait_ms=100)
                    void = {i for i, _ in member.ack(list(answer))} if answer else ()
                    with lock:
                        for i, d in enumerate(answer):
                            if i not in void:
                                settled_at[d.queue, d.offset] = time.monotonic()
            except (wire.CallFailed, wire.Lost, AssertionError) as error:
                trouble.append(error)

        threads = [
            threading.Thread(target=work, args=(self.member(name=name),), daemon=True)
            for name in ("one", "two")
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                began = time.monotonic()
                rows = self.seek({"at_time": target})
                self.assertEqual({row["now"] for row in rows.values()}, {50})
                self.wait_for(lambda: all(settled_at.get(place, 0) > began for place in wanted) or trouble)
        finally:
            over.set()
            for thread in threads:
                thread.join(20)
        self.assertEqual(trouble, [])
        self.assertEqual(self.member().receive(), [])

    def test_36_the_same_reset_again_changes_nothing(self):
        """Idempotent: the second one finds what the first one made."""
        for topic, group, member in self.each_order():
            self.assert_from(member, 0)
            first = self.seek({"offset": 5}, group, topic=topic, queue=0)[0]
            self.assertEqual((first["was"], first["now"], first["again"], first["skipped"]), (12, 5, 7, 0))
            second = self.seek({"offset": 5}, group, topic=topic, queue=0)[0]
            self.assertEqual((second["was"], second["now"], second["skipped"]), (5, 5, 0))
            self.assert_from(member, 5)

    def test_36_what_it_would_do_is_said_without_doing_it(self):
        """A dry run: the same row, and nothing else; leases stay good."""
        for topic, group, member in self.each_order():
            settled = member.receive(max=4)
            self.assertEqual(member.ack(settled), [])
            held = member.receive(max=2)
            would = self.seek("first", group, dry_run=True)[0]
            self.assertEqual((would["was"], would["now"]), (4, 0))
            self.assertGreaterEqual(would["again"], 4)
            self.assertEqual(member.ack(held), [])
            self.assert_from(member, 6)
            would = self.seek("first", group, dry_run=True)[0]
            self.assertEqual(self.seek("first", group)[0], would)
            self.assert_from(member, 0)

    def test_36_to_where_another_group_stands(self):
        """A clone of a position, queue by queue."""
        self.make_topic(queues=3)
        self.produce_numbered(90, queues=3)
        ahead = self.put_group("-ahead", topics=self.name)
        self.put_group()
        for queue, end in enumerate([10, 0, 30]):
            if end > 0:
                receipt = [self.name, queue, 0, end, None]
                self.assertEqual(self.member(ahead).ack([receipt]), [])
        rows = self.seek({"group": ahead})
        self.assertEqual({queue: row["now"] for queue, row in rows.items()}, {0: 10, 1: 0, 2: 30})
        self.assertEqual({queue: row["skipped"] for queue, row in rows.items()}, {0: 10, 1: 0, 2: 30})
        came = sorted((d.queue, d.offset) for d in self.member().drain())
        wanted = [(0, n) for n in range(10, 30)] + [(1, n) for n in range(30)]
        self.assertEqual(came, wanted)

    def test_36_what_cannot_be_is_refused(self):
        self.make_topic()
        self.produce_numbered(5)
        self.put_group()
        call = self.client.call
        self.refused("GROUP_NOT_FOUND", call, "group.seek", group="nobody", to="first")
        self.refused("BAD_ARGUMENT", call, "group.seek", group=self.name, to={"offset": 1})
        self.refused("BAD_ARGUMENT", call, "group.seek", group=self.name, to="middle")
        self.refused("GROUP_NOT_FOUND", call, "group.seek", group=self.name, to={"group": "nobody"})
        self.refused(
            "TRUNCATED", call, "group.seek", group=self.name, topic=self.name, queue=0, to={"offset": 6}
        )
        self.refused("TOPIC_NOT_FOUND", call, "group.seek", group=self.name, topic="nowhere", to="first")
        self.assertEqual(len(self.member().drain()), 5)


class Pop(SeekCase):
    """RocketMQ has a case for each of these, with and without its buffer; here each for three orders."""

    def test_46_back_after_all_was_acked(self):
        for topic, group, member in self.each_order():
            self.assert_from(member, 0)
            self.seek({"offset": 3}, group, topic=topic, queue=0)
            self.assert_from(member, 3)
            self.seek("first", group)
            self.assert_from(member, 0)

    def test_46_back_while_unacked(self):
        """Late acks of the old leases do not touch the new position."""
        for topic, group, member in self.each_order():
            settled = member.receive(max=5)
            self.assertEqual(member.ack(settled), [])
            held = member.receive(max=4)
            self.seek({"offset": 2}, group, topic=topic, queue=0)
            self.assert_void(member, held)
            self.assert_void(member, settled)
            self.assert_from(member, 2)
            self.assert_void(member, held)

    def test_46_back_and_the_old_acks_come_while_the_same_is_out_again(self):
        """The same offsets are out in the new generation: an old receipt neither settles them nor gives them
        back, and the new one does."""
        for topic, group, member in self.each_order():
            old = member.receive(max=6)
            self.seek("first", group)
            new = member.receive(max=6)
            self.assertEqual(self.offsets(new), self.offsets(old))
            self.assertEqual({d.attempt for d in new}, {1})
            self.assert_void(member, old)
            self.assertEqual(member.extend(new), [])
            self.assertEqual(member.ack(new), [])
            self.assert_from(member, 6)

    def test_46_forward_before_anything_was_received(self):
        for topic, group, member in self.each_order():
            row = self.seek({"offset": 7}, group, topic=topic, queue=0)[0]
            self.assertEqual((row["was"], row["now"], row["again"], row["skipped"]), (0, 7, 0, 7))
            self.assert_from(member, 7)

    def test_46_forward_while_unacked(self):
        for topic, group, member in self.each_order():
            held = member.receive(max=4)
            self.seek({"offset": 9}, group, topic=topic, queue=0)
            self.assert_void(member, held)
            self.assert_from(member, 9)
            self.assert_void(member, held)
            self.assertEqual(member.receive(), [])

    def test_46_to_the_last_while_unacked(self):
        for topic, group, member in self.each_order():
            held = member.receive(max=4)
            row = self.seek("last", group)[0]
            self.assertEqual((row["now"], row["skipped"]), (12, 12))
            self.assert_void(member, held)
            self.assertEqual(member.receive(), [])
            self.produce([[None, ["k0"], None, b"new"]], topic, queue=None)
            self.assertEqual([d.body for d in member.drain()], [b"new"])

    def test_46_repeatedly_back_and_forward_while_unacked(self):
        """Each seek leaves leases of its own behind; none of them is ever good again."""
        for topic, group, member in self.each_order():
            held = []
            for target in (0, 8, 3, 11, 0, 5, 5, 1):
                self.seek({"offset": target}, group, topic=topic, queue=0)
                held.append(member.receive(max=3))
                self.assertEqual(self.offsets(held[-1])[0], target)
                for old in held[:-1]:
                    self.assert_void(member, old)
            self.seek({"offset": 4}, group, topic=topic, queue=0)
            for old in held:
                self.assert_void(member, old)
            self.assert_from(member, 4)

    def test_46_what_waited_for_a_retry_is_void(self):
        """A message that failed before is new after the seek, if it is behind the target, and gone if not."""
        for topic, group, member in self.each_order(attempts=5):
            failed = member.receive(max=2)
            self.assertEqual(member.nack(failed, delay_ms=300, reason="no"), [])
            self.seek("first", group)
            self.assert_from(member, 0)
            self.seek("first", group)
            failed = member.receive(max=2)
            self.assertEqual(member.nack(failed, delay_ms=300, reason="no"), [])
            self.seek({"offset": 10}, group, topic=topic, queue=0)
            self.assert_from(member, 10)
            self.assertEqual(member.receive(wait_ms=500), [])
            self.assertEqual(self.dead_letters(group), [])

    def test_46_back_while_messages_become_dead_letters(self):
        """Their topic is being made for the first time when the seek comes: whatever becomes of the letters, all
        behind the target is delivered."""
        for _, group, member in self.each_order():
            held = member.receive(max=6)
            failed = member.client.send("nack", group=group, receipts=held.receipts, dead=True)
            seek = member.client.send("group.seek", group=group, to="first")
            self.assertEqual(member.client.take_for(failed), (None, {"failed": []}))
            self.assertIsNone(member.client.take_for(seek)[0])
            time.sleep(0.2)
            self.assert_from(member, 0)
            self.assertLessEqual(len(self.dead_letters(group)), 6)

    def test_46_a_lease_of_before_does_not_expire_after(self):
        """Its moment comes and nothing happens: neither an attempt nor a second delivery."""
        for topic, group, member in self.each_order():
            member.receive(max=4, lease_ms=200)
            self.seek({"offset": 1}, group, topic=topic, queue=0)
            new = member.receive(max=4, lease_ms=20000)
            self.assertEqual(self.offsets(new)[0], 1)
            time.sleep(0.35)
            self.assertEqual(member.ack(new), [])
            self.assertEqual(self.show(group)["expired"], 0)
            self.assertEqual({d.attempt for d in member.drain()}, {1})

    def test_46_a_waiting_member_gets_what_comes_again(self):
        for _, group, member in self.each_order():
            self.assert_from(member, 0)
            request = member.send_receive(wait_ms=30000)
            time.sleep(0.05)
            began = time.monotonic()
            self.seek("first", group)
            answer = member.take_receive(request)
            self.assertLess(time.monotonic() - began, 5)
            self.assertEqual(self.offsets(answer)[0], 0)

    def test_46_one_queue_leaves_the_others(self):
        """Leases of other queues stay good."""
        self.make_topic(queues=2)
        self.produce_numbered(20, queues=2)
        self.put_group()
        member = self.member()
        held = member.receive() + member.receive()
        self.assertEqual(len(held), 20)
        self.seek("first", topic=self.name, queue=1)
        of_queue = {number: [d for d in held if d.queue == number] for number in range(2)}
        self.assert_void(member, of_queue[1])
        self.assertEqual(member.ack(of_queue[0]), [])
        self.assertEqual({d.queue for d in member.drain()}, {1})

    def test_46_a_seek_survives_a_kill_and_so_does_the_end_of_old_leases(self):
        """The position, and that what was given out before is void: an old ack after the kill moves nothing."""
        held = {}
        for topic, group, member in self.each_order():
            settled = member.receive(max=8)
            self.assertEqual(member.ack(settled), [])
            old = member.receive(max=2)
            self.seek({"offset": 3}, group, topic=topic, queue=0)
            held[group] = (self.order, old)
        self.kill_broker()
        for group, (self.order, old) in held.items():
            member = self.member(group)
            self.assert_void(member, old)
            self.assert_from(member, 3)

    def test_46_with_a_filter(self):
        """What the group does not want is passed again, not delivered."""
        self.make_topic()
        self.produce([["A" if n % 3 == 0 else "B", None, None, b"x"] for n in range(30)])
        self.put_group(topics={self.name: "A"})
        member = self.member()
        held = member.receive(max=4)
        self.seek({"offset": 2}, topic=self.name, queue=0)
        self.assertEqual(
            member.ack(held), [[index, LEASE_LOST] for index in range(len(held.receipts))]
        )
        self.assertEqual(self.offsets(member.drain()), list(range(3, 30, 3)))


if __name__ == "__main__":
    tap.main(__name__)
