# SPDX-License-Identifier: Apache-2.0
"""test_groups_balancing.py - members share, join, leave, die: RocketMQ's scenarios 23 to 28, by their numbers.

There each member computes which queues are its own, and a change of members moves queues. Here nothing is
owned and nothing is rebalanced: who asks gets what is next.
"""

import collections
import threading
import time

import group_case
import tap
import wire

# At equal demand nobody has more than twice what another one has.
FAIR = 2.0


class Worker(threading.Thread):
    """A member on a thread: receives and settles, until it is told to stop or to die."""

    def __init__(self, case, group=None, name=None, max_each=10, release_on_close=False):
        super().__init__(daemon=True)
        self.member = case.member(group, name, release_on_close)
        self.max_each = max_each
        self.settled = []
        self.held = []  # those that were not settled when it ended
        self.failed = []
        self.over = threading.Event()
        self.dies = False
        self.error = None

    def run(self):
        try:
            while not self.over.is_set():
                self.held = self.member.receive(max=self.max_each, wait_ms=200)
                if self.over.is_set() and self.dies:
                    self.member.die()
                    return
                if self.held:
                    self.failed += self.member.ack(self.held)
                self.settled += self.held
                self.held = []
        except (wire.CallFailed, wire.Lost, AssertionError) as error:
            self.error = error

    def stop(self):
        self.over.set()
        self.join(20)

    def kill(self):
        """Ends with what it has received last, and never says so."""
        self.dies = True
        self.stop()


class Balancing(group_case.GroupCase):
    def start(self, count, **more):
        workers = [Worker(self, name=f"worker-{number}", **more) for number in range(count)]
        for worker in workers:
            worker.start()
        return workers

    def finish(self, workers, bodies, seconds=20):
        """When all messages are settled: stops all, and gives how often each body was settled."""

        def is_done():
            return len({d.body for worker in workers for d in worker.settled}) >= len(bodies)

        try:
            self.wait_for(is_done, seconds)
        finally:
            for worker in workers:
                worker.stop()
        for worker in workers:
            self.assertIsNone(worker.error)
            self.assertEqual(worker.failed, [])
        counts = collections.Counter(d.body for worker in workers for d in worker.settled)
        self.assertEqual(set(counts), set(bodies))
        return counts

    def assert_fair(self, counts):
        self.assertGreater(min(counts), 0, counts)
        self.assertLessEqual(max(counts) / min(counts), FAIR, counts)

    def take_turns(self, members, max_each=5):
        """Members that ask one after the other until there is nothing: what each got."""
        got = [[] for _ in members]
        while True:
            answers = [member.receive(max=max_each) for member in members]
            if not any(answers):
                return got
            for mine, member, answer in zip(got, members, answers):
                self.assertEqual(member.ack(answer), [])
                mine += answer

    def test_23_two_and_three_members_share_eight_queues(self):
        """RocketMQ: the numbers of queues differ by at most one, each has one owner. Here no queue has an owner;
        all is consumed once, and at equal demand nobody gets twice as much as another."""
        self.make_topic(queues=8)
        bodies = self.produce_numbered(1200, queues=8)
        for count in (2, 3):
            group = self.put_group(f"-{count}", topics=self.name)
            members = [self.member(group, f"m{number}") for number in range(count)]
            got = self.take_turns(members)
            self.assertEqual(sorted(d.body for mine in got for d in mine), sorted(bodies))
            self.assert_fair([len(mine) for mine in got])

    def test_24_a_member_joins_during_load(self):
        """RocketMQ: load is divided anew, nothing is lost, some is delivered twice while queues move. Here the
        one who joins gets its part with its first receive, and nothing is delivered twice."""
        self.make_topic(queues=4)
        self.put_group()
        bodies = []
        workers = self.start(2, max_each=5)
        for round_number in range(60):
            batch = [b"%d.%d" % (round_number, number) for number in range(40)]
            self.produce(batch, queue=round_number % 4)
            bodies += batch
            if round_number == 20:
                joined = Worker(self, name="joined", max_each=5)
                joined.start()
                workers.append(joined)
        counts = self.finish(workers, bodies)
        self.assertEqual(set(counts.values()), {1})
        self.assertGreater(len(joined.settled), 0)

    def test_25_a_member_that_closes_orderly_leaves_at_once(self):
        """The survivors take over what it had: at once, since it asked for that (RocketMQ: unregisters)."""
        self.make_topic(queues=2)
        bodies = self.produce_numbered(100, queues=2)
        self.put_group(lease_ms=60000)
        leaver = self.member(name="leaver", release_on_close=True)
        survivor = self.member(name="survivor")
        held = leaver.receive(max=30)
        self.assertEqual(len(held), 30)
        rest = survivor.drain()
        self.assertEqual(len(rest), 70)
        request = survivor.send_receive(wait_ms=20000)
        leaver.leave()
        again = survivor.take_receive(request)
        self.assertEqual(survivor.ack(again), [])
        again += survivor.drain()
        self.assertEqual(sorted(d.body for d in [*rest, *again]), sorted(bodies))
        # What was given back was not tried: it does not count.
        self.assertEqual({d.attempt for d in again}, {1})

    def test_25_a_member_that_is_killed_is_succeeded_when_its_lease_is_over(self):
        """RocketMQ: within the session's timeout of 120 s if the connection does not end. Here when the lease
        is over, whatever the connection does, and then it was an attempt."""
        self.make_topic(queues=2)
        bodies = self.produce_numbered(100, queues=2)
        self.put_group(lease_ms=500)
        killed, survivor = self.member(name="killed"), self.member(name="survivor")
        held = killed.receive(max=30)
        began = time.monotonic()
        killed.die()
        rest = survivor.drain()
        self.assertEqual(len(rest), 70)
        again = []
        while len(again) < 30:
            answer = survivor.receive_within(5)
            self.assertTrue(answer, "what the killed one had does not come back")
            self.assertEqual(survivor.ack(answer), [])
            again += answer
        self.assertGreater(time.monotonic() - began, 0.4)
        self.assertEqual(sorted(d.place for d in again), sorted(d.place for d in held))
        self.assertEqual({(d.attempt, d.reason) for d in again}, {(2, "lease expired")})
        self.assertEqual(sorted(d.body for d in [*rest, *again]), sorted(bodies))

    def test_26_members_join_leave_and_are_killed(self):
        """The union is what was sent; twice is only what a killed one had, at most one answer each."""
        self.make_topic(queues=4)
        self.put_group(lease_ms=1500)
        bodies = []

        def load(number):
            batch = [b"%d.%d" % (number, each) for each in range(50)]
            self.produce(batch, queue=number % 4)
            bodies.extend(batch)

        workers = self.start(3, max_each=7)
        alive = list(workers)
        killed = []
        for number in range(40):
            load(number)
            if number % 8 == 3:
                killed.append(alive.pop(0))
                killed[-1].kill()
            elif number % 8 == 5:
                alive.pop(0).stop()
            if number % 8 in (3, 5, 6):
                fresh = Worker(self, name=f"fresh-{number}", max_each=7)
                fresh.start()
                workers.append(fresh)
                alive.append(fresh)
        counts = self.finish(workers, bodies)
        twice = {body for body, count in counts.items() if count > 1}
        self.assertLessEqual(twice, {d.body for worker in killed for d in worker.held})

    def test_28_equal_demand_is_served_equally_whatever_the_numbers(self):
        """RocketMQ has six functions that give queues to members. None is needed here: for no member, as many
        as queues, fewer and more, all is delivered once and at equal demand the shares are within 2 to 1.
        With more members than queues the surplus ones of RocketMQ get nothing."""
        self.make_topic(queues=4)
        bodies = self.produce_numbered(960, queues=4)
        for count in (1, 3, 4, 16):
            group = self.put_group(f"-{count}", topics=self.name)
            # Unsorted names, one of them never seen before by anybody.
            names = [f"{(number * 7) % count:02}" for number in range(count)]
            members = [self.member(group, name) for name in names]
            got = self.take_turns(members)
            self.assertEqual(sorted(d.body for mine in got for d in mine), sorted(bodies))
            self.assert_fair([len(mine) for mine in got])

    def test_28_waiting_members_are_served_in_turn(self):
        """All wait, messages come one by one: each of them gets the same."""
        self.make_topic(queues=4)
        self.put_group()
        members = [self.member(name=f"m{number}") for number in range(6)]
        requests = [member.send_receive(wait_ms=20000, max=1) for member in members]
        got = collections.Counter()
        for number in range(60):
            self.produce([b"%d" % number], queue=number % 4)
        while sum(got.values()) < 60:
            for number, member in enumerate(members):
                answer = member.take_receive(requests[number])
                self.assertEqual(len(answer), 1)
                self.assertEqual(member.ack(answer), [])
                got[number] += 1
                requests[number] = member.send_receive(wait_ms=20000, max=1)
        self.assertEqual(set(got.values()), {10})

    def test_28_a_slow_member_does_not_hold_back_a_fast_one(self):
        """Work goes by demand: in RocketMQ the queues of a slow member lag alone."""
        self.make_topic(queues=4)
        bodies = self.produce_numbered(400, queues=4)
        self.put_group()
        slow, fast = self.member(name="slow"), self.member(name="fast")
        held = slow.receive(max=1)
        came = fast.drain(max=20)
        self.assertEqual(len(came), 399)
        self.assertEqual(slow.ack(held), [])
        self.assertEqual(sorted(d.body for d in [*held, *came]), sorted(bodies))

    def test_28_without_members_messages_wait(self):
        """No member at all: nothing is lost, and the first one gets everything."""
        self.make_topic(queues=3)
        self.put_group(**{"from": "last"})
        bodies = self.produce_numbered(90, queues=3)
        self.assertEqual(sorted(d.body for d in self.member().drain()), sorted(bodies))


class Broadcast(group_case.GroupCase):
    """Scenario 27. RocketMQ keeps the offsets of a broadcast in a file on each client; here each member is a
    group of its own at the broker, so that a member may go on from another machine."""

    def broadcast(self, *names, **settings):
        """Members of one broadcast group, each of which has been there once: a new one begins where the queues
        end."""
        self.make_topic(queues=3)
        self.put_group(broadcast=True, **{"from": "last"}, **settings)
        return [self.join(name) for name in names]

    def join(self, name, group=None):
        member = self.member(group, name)
        self.assertEqual(member.receive(), [])
        return member

    def bodies_of(self, deliveries):
        return sorted(delivery.body for delivery in deliveries)

    def test_27_each_member_gets_all(self):
        members = self.broadcast("x", "y", "z")
        bodies = self.produce_numbered(90, queues=3)
        for member in members:
            self.assertEqual(self.bodies_of(member.drain(max=20)), sorted(bodies))
        # Settled is settled, also on another connection.
        self.join("y")

    def test_27_what_one_member_fails_at_is_no_matter_of_the_others(self):
        """RocketMQ logs a failure in a broadcast and drops it. Here it is tried again, by that member."""
        failing, other = self.broadcast("failing", "other", backoff=[100])
        self.produce([b"poison"])
        self.assertEqual(failing.nack(failing.receive(), reason="cannot"), [])
        self.assertEqual(other.receive().bodies, [b"poison"])
        again = failing.receive_within(5)
        self.assertEqual([(d.body, d.attempt, d.reason) for d in again], [(b"poison", 2, "cannot")])
        self.assertEqual(other.receive(), [])

    def test_27_a_late_starter_gets_only_what_is_new(self):
        (early,) = self.broadcast("early")
        self.produce([b"old"])
        late = self.join("late")
        self.produce([b"new"])
        self.assertEqual(late.receive_within(5).bodies, [b"new"])
        self.assertEqual(self.bodies_of(early.drain()), [b"new", b"old"])

    def test_27_a_crashed_member_does_not_hold_the_others(self):
        crashed, other = self.broadcast("crashed", "other", lease_ms=300)
        bodies = self.produce_numbered(30, queues=3)
        held = crashed.receive(max=10)
        crashed.die()
        self.assertEqual(self.bodies_of(other.drain()), sorted(bodies))
        # It comes back under its name and goes on where it was.
        came = []
        back = self.member(name="crashed")
        while len(came) < 30:
            answer = back.receive_within(5)
            self.assertTrue(answer)
            self.assertEqual(back.ack(answer), [])
            came += answer
        self.assertEqual(self.bodies_of(came), sorted(bodies))
        self.assertEqual({d.place for d in came if d.attempt == 2}, {d.place for d in held})

    def test_27_two_groups_and_their_filters_are_independent(self):
        """Different tags per member are two groups here, since a filter is the group's."""
        self.make_topic(queues=3)
        wanted = {"A": [b"A"], "A || B": [b"A", b"B"]}
        members = []
        for number, text in enumerate(wanted):
            group = self.put_group(
                f"-{number}", broadcast=True, topics={self.name: text}, **{"from": "last"}
            )
            members += [(self.join(name, group), wanted[text]) for name in ("x", "y")]
        self.produce([["A", None, None, b"A"], ["B", None, None, b"B"]])
        for member, bodies in members:
            self.assertEqual(self.bodies_of(member.drain()), bodies)

    def test_27_a_member_without_a_name_is_refused(self):
        """Who it is has to outlive the connection; RocketMQ's is an address and a process id."""
        self.broadcast()
        self.refused("BAD_ARGUMENT", self.member().receive)

    def test_27_an_ordered_broadcast_keeps_the_order_of_queues(self):
        members = self.broadcast("x", "y", order="queue")
        self.produce_numbered(90, queues=3)
        for member in members:
            queues = collections.defaultdict(list)
            ahead = member.receive(max=5)
            self.assertEqual(ahead[0].offset, 0)
            self.assertEqual(member.ack(ahead), [])
            for delivery in [*ahead, *member.drain(max=7)]:
                queues[delivery.queue].append(delivery.offset)
            self.assertEqual(dict(queues), {queue: list(range(30)) for queue in range(3)})


if __name__ == "__main__":
    tap.main(__name__)
