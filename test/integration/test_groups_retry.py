# SPDX-License-Identifier: Apache-2.0
"""test_groups_retry.py - what fails is tried again, then it is a dead letter: RocketMQ's scenarios 37 and 38, by
their numbers.

There a failed message is copied into a retry topic, waits as a delayed message, and its offset counts as done.
Here it stays where it is, and the group knows how often it was tried.
"""

import time

import group_case
import tap
import wire

# How much later than its moment something may come, on a machine that does other things as well.
LATE_S = 3.0


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
            letter[wire.RECORD_EXTRA]["dead"],
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
            tuple(letter[wire.RECORD_EXTRA]["dead"][:4]) for letter in self.dead_letters(self.name)
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
        dead = letter[wire.RECORD_EXTRA]["dead"]
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
        origins = {tuple(letter[wire.RECORD_EXTRA]["dead"][2:4]) for letter in letters}
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
        dead = letter[wire.RECORD_EXTRA]["dead"]
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


if __name__ == "__main__":
    tap.main(__name__)
