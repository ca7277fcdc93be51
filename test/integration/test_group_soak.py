# SPDX-License-Identifier: Apache-2.0
"""test_group_soak.py - the soak of groups (test/torture/groups.py) for 20 seconds, and what its judge finds.

The judge is told short histories: of those that are wrong in one way it has to say so, of the others nothing.
"""

import pathlib
import subprocess
import sys
import unittest

import tap

TORTURE = pathlib.Path(__file__).resolve().parent.parent / "torture"
sys.path.insert(0, str(TORTURE))

import groups_judge  # noqa: E402 - found through the line above
import groups_plan  # noqa: E402

SECONDS = 20
# Less than it does by itself: servers with sanitizers, beside other tests.
RATE = 100
# Of the histories; what is told of later than this is over.
BEGAN_MS = 1_000_000.0
MUCH_LATER_MS = BEGAN_MS + 600_000.0
LEASE_MS = 1500


def run_soak(*arguments):
    return subprocess.run(
        [sys.executable, str(TORTURE / "groups.py"), *arguments],
        capture_output=True,
        check=False,
        text=True,
    )


class Soak(unittest.TestCase):
    def test_a_short_soak_finds_nothing(self):
        minutes = str(SECONDS / 60)
        done = run_soak("--minutes", minutes, "--seed", "1", "--rate", str(RATE))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("everything delivered, settled once and in order", done.stdout)
        for group in groups_plan.GROUPS.values():
            for name in group.names():
                self.assertIn(f"\n{name} ", done.stdout)

    def test_the_same_seed_is_the_same_plan(self):
        plans = [run_soak("--plan", "--seed", seed).stdout for seed in ("5", "5", "6")]
        self.assertIn("ends='kill'", plans[0])
        self.assertEqual(plans[0], plans[1])
        self.assertNotEqual(plans[0].splitlines()[1:], plans[2].splitlines()[1:])

    def test_the_members_are_fifty(self):
        self.assertEqual(sum(group.members for group in groups_plan.GROUPS.values()), 50)


class History:
    """What some members of one group tell the judge, by the ms since the beginning."""

    def __init__(self, group, topic, messages):
        self.told = []
        self.judge = groups_judge.Judge(self.told.append, [groups_plan.GROUPS[group]])
        self.group = group
        self.topic = topic
        self.keys = messages
        self.members = {}
        self.calls = 0
        for offset, key in enumerate(messages):
            message = groups_plan.Message(0, offset, key, "red", 99)
            self.judge.read(topic, 0, offset, message)

    def at(self, ms):
        self.judge.now = BEGAN_MS + ms
        return self.judge.now

    def join(self, slot, release=False):
        life = groups_plan.Life(self.group, slot, 0, 0.0, 9.0, "kill", release, "each", False, 0)
        self.members[slot] = self.judge.join(life)
        self.tell(slot, "open", 1, release)

    def tell(self, slot, *event):
        self.judge.member_event(self.members[slot], list(event))

    def give(self, ms, slot, *offsets, attempt=1):
        """One answer; deliveries are numbered by their offsets."""
        if slot not in self.members:
            self.join(slot)
        until = self.at(ms) + LEASE_MS
        ranges = [
            [offset, self.topic, 0, until, LEASE_MS, attempt, None, [[offset, self.keys[offset]]]]
            for offset in offsets
        ]
        self.tell(slot, "given", 1, ranges)

    def settle(self, ms, slot, verb, offset, argument=None, code=None, answered=True):
        self.calls += 1
        self.tell(slot, "settle", self.calls, verb, self.at(ms), [[offset]], argument)
        if answered:
            failed = {} if code is None else {0: code}
            self.tell(slot, "settled", self.calls, self.at(ms + 1), failed)

    def ack(self, ms, slot, offset, **how):
        self.settle(ms, slot, "ack", offset, **how)

    def letter(self, ms, offset, attempts):
        dead = [self.group, self.topic, 0, offset, attempts, "a reason"]
        message = self.judge.messages[self.topic, 0][1][offset]
        self.judge.dead_letter(self.group, dead, self.at(ms), message)

    def found(self):
        """The first finding, or None."""
        self.judge.now = MUCH_LATER_MS
        self.judge.finish()
        return self.told[0] if self.told else None


class Found(unittest.TestCase):
    """History by history; `shared` has no order and four attempts."""

    def setUp(self):
        self.history = History("shared", "plain", [None, None])
        self.history.give(0, 0, 0, 1)
        self.history.ack(10, 0, 1)

    def assert_found(self, text):
        self.assertIn(text, self.history.found() or "nothing")

    def test_nothing_where_all_is_right(self):
        self.history.ack(20, 0, 0)
        self.assertIsNone(self.history.found())
        self.assertEqual(self.history.judge.groups["shared"].counts["settled"], 2)

    def test_what_is_not_settled(self):
        self.assert_found("shared: plain/0/0 is not settled")

    def test_what_was_acknowledged_to_a_producer_and_is_not_there(self):
        self.history.ack(20, 0, 0)
        self.history.judge.producer_event(0, ["stored", "plain", 0, 2, 2, 1])
        self.assert_found("is not there, acknowledged was 0.2")

    def test_another_message_than_was_acknowledged(self):
        self.history.ack(20, 0, 0)
        self.history.judge.producer_event(0, ["stored", "plain", 0, 0, 7, 1])
        self.assert_found("acknowledged was 0.7")

    def test_two_holders_at_a_time(self):
        self.history.give(100, 1, 0)
        self.history.ack(200, 1, 0)
        self.assert_found("was delivered again without a cause")

    def test_no_cause_in_an_extended_lease(self):
        self.history.settle(1000, 0, "extend", 0, argument=LEASE_MS)
        self.history.give(1600, 1, 0, attempt=2)
        self.history.ack(1700, 1, 0)
        self.assert_found("was delivered again without a cause")

    def test_a_cause_in_each_end_of_a_lease(self):
        history = self.history
        history.judge.kills.append((BEGAN_MS + 100, BEGAN_MS + 101))
        history.give(150, 1, 0)  # the broker was killed
        history.settle(200, 1, "nack", 0, argument="count")
        history.join(2, release=True)
        history.give(300, 2, 0, attempt=2)
        history.tell(2, "close", 1, history.at(400))
        history.give(500, 3, 0, attempt=2)
        history.give(2100, 4, 0, attempt=3)  # the lease is over
        history.ack(2200, 4, 0)
        self.assertIsNone(history.found())
        counts = history.judge.groups["shared"].counts
        for cause in ("broker killed", "nack", "given back", "expiry"):
            self.assertEqual(counts["again after " + cause], 1, cause)

    def test_a_delivery_of_what_was_acknowledged(self):
        self.history.ack(20, 0, 0)
        self.history.give(2000, 1, 0, attempt=2)
        self.assert_found("was settled at 1000021, and is delivered")

    def test_the_same_long_afterwards(self):
        self.history.ack(20, 0, 0)
        self.history.at(100_000)
        self.assertEqual(self.history.judge.look(), 0)
        self.history.give(100_001, 1, 0, attempt=2)
        self.assert_found("delivered long after it was settled")

    def test_an_acknowledgement_without_an_answer_may_have_counted_or_not(self):
        for again in (False, True):
            self.setUp()
            self.history.ack(20, 0, 0, answered=False)
            self.history.tell(0, "close", 1, self.history.at(30))
            if again:
                self.history.give(1600, 1, 0, attempt=2)
                self.history.ack(1700, 1, 0)
            self.assertIsNone(self.history.found())

    def test_two_acknowledgements_that_count(self):
        self.history.ack(20, 0, 0)
        self.history.ack(1600, 0, 0)
        self.assert_found("two acknowledgements count")

    def test_a_second_one_that_does_not(self):
        self.history.ack(20, 0, 0)
        self.history.ack(1600, 0, 0, code=groups_judge.LEASE_LOST)
        self.assertIsNone(self.history.found())

    def test_an_error_that_no_member_may_see(self):
        self.history.ack(20, 0, 0, code=26)
        self.assert_found("ack was refused with 26")

    def test_attempts_that_go_back(self):
        self.history.settle(20, 0, "nack", 0, argument="count")
        self.history.give(400, 1, 0, attempt=1)
        self.history.ack(500, 1, 0)
        self.assert_found("its attempts go back")

    def test_attempts_of_what_was_given_back(self):
        """It counts none; but before the next delivery that is known another lease can have run out."""
        for ms, attempt, found in ((40, 1, None), (1600, 2, None), (40, 2, "an attempt too many")):
            self.setUp()
            self.history.settle(20, 0, "nack", 0, argument="back")
            self.history.give(ms, 1, 0, attempt=attempt)
            self.history.ack(ms + 20, 1, 0)
            if found is None:
                self.assertIsNone(self.history.found())
            else:
                self.assert_found(found)

    def test_a_dead_letter_too_early(self):
        self.history.settle(20, 0, "nack", 0, argument="count")
        self.history.letter(30, 0, attempts=1)
        self.assert_found("is a dead letter after 1 attempts")

    def test_a_dead_letter_of_what_was_given_up(self):
        self.history.settle(20, 0, "nack", 0, argument="dead")
        self.history.letter(30, 0, attempts=1)
        self.assertIsNone(self.history.found())

    def fail_until(self, attempts):
        for attempt in range(1, attempts + 1):
            if attempt > 1:
                self.history.give(attempt * 1000, 0, 0, attempt=attempt)
            self.history.settle(attempt * 1000 + 20, 0, "nack", 0, argument="count")

    def test_a_dead_letter_at_the_last_attempt(self):
        self.fail_until(4)
        self.history.letter(5000, 0, attempts=4)
        self.assertIsNone(self.history.found())

    def test_no_dead_letter_after_the_last_attempt(self):
        self.fail_until(4)
        self.history.give(5000, 0, 0, attempt=5)
        self.history.ack(5020, 0, 0)
        self.assert_found("has used up its attempts, and is no dead letter")

    def test_a_dead_letter_twice(self):
        self.fail_until(4)
        self.history.letter(5000, 0, attempts=4)
        self.history.letter(5001, 0, attempts=4)
        self.assert_found("has two dead letters")

    def test_a_dead_letter_of_what_was_acknowledged(self):
        self.history.ack(20, 0, 0)
        self.history.letter(5000, 0, attempts=4)
        self.assert_found("was acknowledged, and is a dead letter")

    def test_attempts_that_nobody_knows_of(self):
        self.history.give(5000, 1, 0, attempt=4)
        self.history.ack(5020, 1, 0)
        self.assert_found("2 attempts that no member knows of")

    def test_a_connection_that_was_lost_for_nothing(self):
        self.history.ack(20, 0, 0)
        self.history.tell(0, "lost", 1, BEGAN_MS + 30, "closed by the server")
        self.assert_found("nobody killed the broker")


class Order(unittest.TestCase):
    """`by-key` keeps the order of keys: here the first and the last message are of one."""

    def setUp(self):
        self.history = History("by-key", "keyed", ["k1", "k2", "k1"])

        self.history.give(5, 8, 1)
        self.history.ack(15, 8, 1)

    def test_the_next_one_behind_an_acknowledgement(self):
        self.history.give(0, 0, 0)
        self.history.ack(10, 0, 0)
        self.history.give(30, 1, 2)
        self.history.ack(40, 1, 2)
        self.assertIsNone(self.history.found())

    def test_the_next_one_too_early(self):
        self.history.give(0, 0, 0)
        self.history.give(10, 1, 2)
        self.history.ack(40, 1, 2)
        self.history.ack(150, 0, 0)
        self.assertIn(
            "by-key: keyed/0/2 came before by-key: keyed/0/0 was settled",
            self.history.found() or "",
        )

    def test_both_in_one_answer(self):
        self.history.give(0, 0, 0, 2)
        self.history.ack(10, 0, 0)
        self.history.ack(20, 0, 2)
        self.assertIsNone(self.history.found())

    def test_one_answer_in_the_wrong_order(self):
        self.history.give(0, 0, 2, 0)
        self.history.ack(10, 0, 0)
        self.history.ack(20, 0, 2)
        self.assertIn("one answer has", self.history.found() or "")

    def test_what_is_behind_a_failed_one_is_given_back(self):
        self.history.give(0, 0, 0, 2)
        self.history.settle(10, 0, "nack", 0, argument="count")
        self.history.give(200, 1, 0, attempt=2)
        self.history.ack(210, 1, 0)
        self.history.give(230, 1, 2)
        self.history.ack(240, 1, 2)
        self.assertIsNone(self.history.found())
        self.assertEqual(self.history.judge.groups["by-key"].counts["again after behind"], 1)

    def test_a_kill_of_the_broker_frees_no_recorded_lease(self):
        self.history.give(0, 0, 0)
        self.history.judge.kills.append((BEGAN_MS + 5, BEGAN_MS + 6))
        self.history.give(100, 1, 0)
        self.history.ack(110, 1, 0)
        self.history.give(130, 1, 2)
        self.history.ack(140, 1, 2)
        self.assertIn("was delivered again without a cause", self.history.found() or "")


if __name__ == "__main__":
    tap.main(__name__)
