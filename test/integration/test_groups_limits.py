# SPDX-License-Identifier: Apache-2.0
"""test_groups_limits.py - bounds of a group, and how it recovers from them: RocketMQ's scenario 47, by its number.

There a pop beyond the in-flight limit comes back empty, as if there were nothing. Here the bound has a name,
a number and what is used of it.
"""

import collections
import time

import group_case
import group_member
import tap

PARKED_MAX = 64
MESSAGES_PER_CALL_MAX = 65535
OPEN_MAX = 1 << 20
RETRIES_MAX = 65536
BLOCKED_MAX = 65536
MEMBERS_MAX = 16384
AT_ONCE = 128  # calls of a connection under way, of which a broker reads 256


class Limits(group_case.GroupCase):
    shards = 1

    def fill(self, count, element=b"x", queue=0):
        """So many times the same message."""
        for first in range(0, count, MESSAGES_PER_CALL_MAX):
            batch = [element] * min(MESSAGES_PER_CALL_MAX, count - first)
            self.produce(batch, queue=queue)

    def receive_ranges(self, member, **more):
        """Ranges alone: messages are not looked at, of which there are many."""
        result = member.client.call("receive", group=member.group, max_bytes=4 << 20, **more)
        return [group_member.Part(fields) for fields in result["ranges"]]

    def full(self, member, limit, what):
        error = self.refused("GROUP_FULL", member.receive, max=10)
        self.assertEqual(error["limit"], limit, error)
        self.assertGreaterEqual(error["usage"], limit)
        self.assertIn(what, error["message"])
        self.assertGreater(error["retry_after_ms"], 0)
        self.assertTrue(error["retryable"])

    def test_47_polls_of_a_connection_that_wait(self):
        """RocketMQ: POLLING_FULL. Here TOO_MANY_WAITING, with its number, and there is room again when one of them
        is answered."""
        self.make_topic(queues=2)
        self.put_group()
        member = self.member()
        requests = [member.send_receive(wait_ms=30000) for _ in range(PARKED_MAX)]
        error = self.refused("TOO_MANY_WAITING", member.receive, wait_ms=1000)
        self.assertEqual((error["limit"], error["usage"]), (PARKED_MAX, PARKED_MAX))
        # Who does not wait is not one of them.
        self.assertEqual(member.receive(), [])
        self.produce([b"m"])
        self.assertEqual(member.take_receive(requests[0]).bodies, [b"m"])
        self.assertEqual(member.receive(wait_ms=50), [])
        # Another connection has its own.
        self.assertEqual(self.member().receive(wait_ms=50), [])
        for request in requests[1:]:
            member.client.call("cancel", msgid=request)
            self.assertEqual(member.take_receive(request), [])

    def test_47_open_messages(self):
        """A million are out in a queue: nothing more is given, and it goes on with the first that is settled."""
        self.make_topic()
        self.put_group(lease_ms=600000)
        self.fill(OPEN_MAX + 100)
        member = self.member()
        parts = []
        while sum(part.span for part in parts) < OPEN_MAX:
            parts += self.receive_ranges(member)
        self.assertEqual(sum(part.span for part in parts), OPEN_MAX)
        for _ in range(3):
            self.full(member, OPEN_MAX, "open")
        # A poll waits through it, as through everything else.
        other = self.member()
        request = other.send_receive(wait_ms=30000)
        other.client.call("hello")
        topic, queue, first, _, lease = parts[3].receipt
        self.assertEqual(member.ack([[topic, queue, first + 5, 7, lease]]), [])
        answer = other.take_receive(request)
        self.assertEqual([d.offset for d in answer], list(range(OPEN_MAX, OPEN_MAX + 7)))
        self.full(member, OPEN_MAX, "open")
        self.assertEqual(member.ack([part.receipt for part in parts[:3]]), [])
        self.assertEqual(len(member.receive()), 93)

    def test_47_failed_messages(self):
        """So many have failed and wait that something is wrong with all: nothing new is tried, and nothing is
        thrown away. It goes on when they are due and done."""
        self.make_topic()
        self.put_group(attempts=3)
        self.fill(RETRIES_MAX + 10)
        member = self.member()
        failed = 0
        while failed < RETRIES_MAX:
            parts = self.receive_ranges(member, max=min(MESSAGES_PER_CALL_MAX, RETRIES_MAX - failed))
            self.assertEqual(member.nack([part.receipt for part in parts], delay_ms=3000), [])
            failed += sum(part.span for part in parts)
        self.full(member, RETRIES_MAX, "failed")
        by_attempt = collections.Counter()
        until = time.monotonic() + 20
        while by_attempt.total() < RETRIES_MAX + 10 and time.monotonic() < until:
            parts = self.receive_ranges(member, wait_ms=5000)
            for part in parts:
                by_attempt[part.attempt] += part.span
            if parts:
                self.assertEqual(member.ack([part.receipt for part in parts]), [])
        self.assertEqual(by_attempt, {1: 10, 2: RETRIES_MAX})
        self.assertEqual(self.dead_letters(self.name), [])

    def test_47_messages_behind_a_key(self):
        """One key is out and so many wait behind it that the group looks no further; when it is settled those
        come, and then the others."""
        self.make_topic(route="key")
        self.put_group(order="key")
        self.fill(BLOCKED_MAX + 2, [None, ["busy"], None, b"x"], queue=None)
        self.produce([[None, ["free"], None, b"free"]], queue=None)
        one, two = self.member(name="one"), self.member(name="two")
        held = one.receive(max=1)
        for _ in range(3):
            self.full(two, BLOCKED_MAX, "keys")
        self.assertEqual(one.ack(held), [])
        settled, bodies = 1, set()
        while b"free" not in bodies:
            answer = two.receive(max_bytes=4 << 20)
            self.assertTrue(answer, settled)
            self.assertEqual(two.ack(answer), [])
            settled += len(answer)
            bodies |= set(answer.bodies)
        settled += len(two.drain())
        self.assertEqual(settled, BLOCKED_MAX + 3)


class Members(group_case.GroupCase):
    shards = 1

    def test_47_members(self):
        """So many hold something, of whatever group, that no more are remembered: OVERLOADED, and those that are
        known go on."""
        self.make_topic()
        self.put_group()
        self.produce([b"x"] * MEMBERS_MAX)
        names = [f"m{number}" for number in range(MEMBERS_MAX)]
        self.assertEqual(self.ask(self.client, names), [])
        (error,) = self.ask(self.client, ["one more"])
        self.assertEqual((error["name"], error.get("limit")), ("OVERLOADED", MEMBERS_MAX), error)
        self.assertEqual(self.ask(self.client, names[:10]), [])

    def ask(self, client, names):
        """One receive of each name, many under way; the errors."""
        errors = []
        for first in range(0, len(names), AT_ONCE):
            requests = [
                client.send("receive", group=self.name, member=name, max=1)
                for name in names[first : first + AT_ONCE]
            ]
            errors += [client.take_for(request)[0] for request in requests]
        return [error for error in errors if error is not None]


if __name__ == "__main__":
    tap.main(__name__)
