# SPDX-License-Identifier: Apache-2.0
"""test_group_broadcast.py - broadcast groups: every member gets every message; and groups that go when nobody asks.

Scenario 27 of what RocketMQ's own tests show: members each get all, a late one only what is new, and none is
the others' concern. There the client keeps offsets in a file; here a member is a group of its own.
"""

import time
import unittest

import cluster
import tap
import wire


class BroadcastCase(unittest.TestCase):
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
        self.client.call("topic.put", name=self.topic, queues=3, settings={"route": "key"})

    def put(self, group=None, **settings):
        settings = {"topics": {self.topic: None}, "broadcast": True, **settings}
        self.client.call("group.put", name=group or self.group, settings=settings)

    def produce(self, *bodies):
        for body in bodies:
            self.client.call(
                "produce", topic=self.topic, messages=[["tag", [body], None, body.encode()]]
            )

    def receive(self, member, group=None, client=None, **arguments):
        return (client or self.client).call(
            "receive", group=group or self.group, member=member, **arguments
        )

    def settle(self, method, answer, group=None, **arguments):
        receipts = [[*r[:4], r[6]] for r in answer["ranges"]]
        done = self.client.call(
            method, group=group or self.group, receipts=receipts, **arguments
        )
        self.assertEqual(done["failed"], [])

    def take(self, member, group=None, count=None):
        """Bodies of all that the member has now, acked; waits for `count`."""
        bodies = []
        end = time.monotonic() + 15
        while True:
            answer = self.receive(member, group)
            if answer["ranges"]:
                self.settle("ack", answer, group)
                bodies += [wire.record_body(record).decode() for record in answer["messages"]]
            elif count is None or len(bodies) >= count or time.monotonic() > end:
                return sorted(bodies)
            else:
                time.sleep(0.02)

    def groups(self, prefix=None):
        rows = self.client.call("group.list", prefix=prefix or self.group)["rows"]
        return [row["name"] for row in rows]

    def wait_for_groups(self, expected, timeout_s=15):
        end = time.monotonic() + timeout_s
        while self.groups() != expected and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(self.groups(), expected)

    def log_lines(self, *parts):
        text = self.cluster.broker.log.read_text(errors="replace")
        return [line for line in text.splitlines() if all(part in line for part in parts)]


class Broadcast(BroadcastCase):
    def test_27_each_member_gets_all(self):
        self.put()
        for member in "abc":
            self.assertEqual(self.take(member), [])
        bodies = sorted(str(i) for i in range(20))
        self.produce(*bodies)
        for member in "abc":
            self.assertEqual(self.take(member, count=20), bodies)
            self.assertEqual(self.take(member), [])
        self.assertEqual(self.groups(), [self.group, *(f"{self.group}@{m}" for m in "abc")])

    def test_27_a_late_one_gets_only_what_is_new(self):
        self.put()
        self.take("early")
        self.produce("1", "2")
        self.assertEqual(self.take("late"), [])
        self.produce("3")
        self.assertEqual(self.take("late", count=1), ["3"])
        self.assertEqual(self.take("early", count=3), ["1", "2", "3"])

    def test_27_one_that_crashed_does_not_affect_others(self):
        self.put(lease_ms=1000)
        other = self.cluster.broker_client()
        for member in "ab":
            self.take(member)
        self.produce("1", "2", "3")
        crashed = self.receive("a", client=other, max=2)
        self.assertTrue(crashed["ranges"])
        other.close()
        self.assertEqual(self.take("b", count=3), ["1", "2", "3"])
        # And when it comes back it goes on where it was, with what it had not acked once more.
        self.assertEqual(self.take("a", count=3), ["1", "2", "3"])

    def test_27_one_that_fails_does_not_affect_others(self):
        self.put(attempts=2, backoff=[0])
        for member in "ab":
            self.take(member)
        self.produce("bad")
        for attempt in (1, 2):
            answer = self.receive("a", wait_ms=10000)
            self.assertEqual([r[5] for r in answer["ranges"]], [attempt])
            self.settle("nack", answer, reason="no")
        self.assertEqual(self.take("b", count=1), ["bad"])
        self.assertEqual(self.take("a"), [])
        # The dead letters are the whole group's, and say so.
        letters = f"%DLQ%{self.group}"
        end = time.monotonic() + 10
        found = []
        while not found and time.monotonic() < end:
            time.sleep(0.05)
            for queue in range(3):
                try:
                    found += self.client.call(
                        "pull", topic=letters, queue=queue, first=True
                    )["messages"]
                except wire.CallFailed:
                    pass
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0][11]["dead"][0], self.group)
        self.assertEqual(found[0][11]["dead"][4:], [2, "no"])

    def test_27_two_groups_are_independent(self):
        other = self.group + "-other"
        self.put()
        self.put(other, topics={self.topic: "tag"})
        self.take("a")
        self.take("a", other)
        self.produce("1", "2")
        self.assertEqual(self.take("a", count=2), ["1", "2"])
        self.assertEqual(self.take("a", other, count=2), ["1", "2"])
        self.client.call("group.delete", name=other)
        self.produce("3")
        self.assertEqual(self.take("a", count=1), ["3"])

    def test_27_order_is_kept_for_each_member(self):
        self.put(order="key", backoff=[300])
        for member in "ab":
            self.take(member)
        for i in range(3):
            self.client.call(
                "produce", topic=self.topic, messages=[["tag", ["k"], None, b"%d" % i]]
            )
        first = self.receive("a", max=1, wait_ms=5000)
        self.assertEqual([wire.record_body(r) for r in first["messages"]], [b"0"])
        # What one has failed holds up nothing of the other's.
        self.settle("nack", first)
        bodies = []
        for member in "ba":
            end = time.monotonic() + 10
            while len(bodies) < 3 and time.monotonic() < end:
                answer = self.receive(member, max=1, wait_ms=1000)
                bodies += [wire.record_body(record) for record in answer["messages"]]
                if answer["ranges"]:
                    self.settle("ack", answer)
            self.assertEqual(bodies, [b"0", b"1", b"2"])
            bodies = []

    def test_members_survive_a_kill(self):
        self.put()
        for member in "ab":
            self.take(member)
        self.produce("1", "2")
        self.assertEqual(self.take("a", count=2), ["1", "2"])
        self.client.call("stats")
        self.client.close()
        time.sleep(0.3)  # what was acked is written with its turn
        self.cluster.broker.kill()
        self.cluster.start_broker()
        self.client = self.cluster.broker_client()
        self.assertEqual(self.take("b", count=2), ["1", "2"])
        self.assertEqual(self.take("a"), [])

    def test_a_member_needs_a_name(self):
        self.put()
        with self.assertRaises(wire.CallFailed) as caught:
            self.client.call("receive", group=self.group)
        self.assertEqual(caught.exception.name, "BAD_ARGUMENT")


class Expiry(BroadcastCase):
    def test_idle_members_go_and_others_stay(self):
        self.put(idle_expire_ms=1500)
        for member in ("busy", "idle"):
            self.take(member)
        self.produce("1")
        end = time.monotonic() + 15
        names = [self.group, f"{self.group}@busy"]
        while self.groups() != names and time.monotonic() < end:
            self.take("busy")
            time.sleep(0.2)
        self.assertEqual(self.groups(), names)
        self.assertTrue(self.log_lines(f"'{self.group}@idle'", "deleted", "nobody has used"))
        # Who comes back begins anew.
        self.assertEqual(self.take("idle"), [])
        self.produce("2")
        self.assertEqual(self.take("idle", count=1), ["2"])
        # When the last member has gone the group goes.
        self.wait_for_groups([])

    def test_members_of_a_deleted_group_go(self):
        self.put()
        members = [f"m{i}" for i in range(20)]
        for member in members:
            self.take(member)
        self.assertEqual(len(self.groups()), 21)
        self.client.call("group.delete", name=self.group)
        self.wait_for_groups([])
        # Made anew nobody goes on where one of that name was.
        self.put()
        self.produce("1")
        self.assertEqual(self.take("m0"), [])

    def test_a_group_that_waits_or_works_is_not_idle(self):
        self.put(broadcast=False, idle_expire_ms=1000, lease_ms=60000)
        waiting = self.receive("m", wait_ms=3500)
        self.assertEqual(waiting["ranges"], [])
        self.assertEqual(self.groups(), [self.group])
        self.produce("1")
        held = self.receive("m", wait_ms=5000)
        self.assertTrue(held["ranges"])
        time.sleep(3.5)
        self.assertEqual(self.groups(), [self.group])
        self.settle("ack", held)
        self.wait_for_groups([])
        with self.assertRaises(wire.CallFailed) as caught:
            self.receive("m")
        self.assertEqual(caught.exception.name, "GROUP_NOT_FOUND")

    def test_never_received_from_counts_from_the_start(self):
        self.put(broadcast=False, idle_expire_ms=4000)
        self.client.close()
        self.cluster.broker.stop()
        self.cluster.start_broker()
        self.client = self.cluster.broker_client()
        began = time.monotonic()
        self.assertEqual(self.groups(), [self.group])
        self.wait_for_groups([])
        self.assertGreater(time.monotonic() - began, 2)

    def test_without_the_setting_nothing_goes(self):
        self.put(broadcast=False)
        time.sleep(2.5)
        self.assertEqual(self.groups(), [self.group])


if __name__ == "__main__":
    tap.main(__name__)
