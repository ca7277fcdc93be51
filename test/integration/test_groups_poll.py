# SPDX-License-Identifier: Apache-2.0
"""test_groups_poll.py - members that wait: RocketMQ's scenario 45, by its number.

There a service looks through all waiting requests every so often, beside being told of what arrives. Here a
call waits at its group's home, and one message wakes one call.
"""

import threading
import time

import group_case
import tap

# A poll that is woken takes less, on a machine that does other things as well.
WOKEN_S = 3.0


class LongPoll(group_case.GroupCase):
    def setUp(self):
        super().setUp()
        self.make_topic(queues=4)

    def timed(self, member, request):
        began = time.monotonic()
        answer = member.take_receive(request)
        return answer, time.monotonic() - began

    def test_45_returns_on_arrival_and_times_out_otherwise(self):
        """As with RocketMQ; whose parked pops are looked through by a thread, so that some wake late."""
        self.put_group()
        member = self.member()
        began = time.monotonic()
        self.assertEqual(member.receive(wait_ms=300), [])
        self.assertGreaterEqual(time.monotonic() - began, 0.295)
        self.assertLess(time.monotonic() - began, 0.3 + WOKEN_S)
        for queue in range(4):
            request = member.send_receive(wait_ms=30000)
            time.sleep(0.05)
            self.produce([b"%d" % queue], queue=queue)
            answer, took = self.timed(member, request)
            self.assertEqual(answer.bodies, [b"%d" % queue])
            self.assertLess(took, WOKEN_S)
            self.assertEqual(member.ack(answer), [])

    def test_45_one_message_wakes_one_member(self):
        """Whoever many wait, the first of them gets it, and the others go on waiting."""
        self.put_group()
        members = [self.member(name=f"m{number}") for number in range(5)]
        requests = []
        for member in members:
            requests.append(member.send_receive(wait_ms=1500))
            member.client.call("hello")
        self.produce([b"one"])
        answers = [member.take_receive(request) for member, request in zip(members, requests)]
        self.assertEqual([len(answer) for answer in answers], [1, 0, 0, 0, 0])

    def test_45_what_one_member_leaves_wakes_the_next(self):
        """Several messages come at once, each member takes one: all of them are answered, not the first alone."""
        self.put_group()
        members = [self.member(name=f"m{number}") for number in range(5)]
        requests = []
        for member in members:
            requests.append(member.send_receive(wait_ms=8000, max=1))
            member.client.call("hello")
        began = time.monotonic()
        self.produce([b"%d" % number for number in range(5)])
        bodies = [member.take_receive(request).bodies for member, request in zip(members, requests)]
        self.assertLess(time.monotonic() - began, WOKEN_S)
        self.assertEqual(sorted(bodies), [[b"%d" % number] for number in range(5)])

    def test_45_what_becomes_due_wakes(self):
        """A backoff that is over, a lease that is over, what is given back."""
        self.put_group(backoff=[300])
        self.produce([b"m"])
        one, two = self.member(name="one"), self.member(name="two", release_on_close=True)
        self.assertEqual(one.nack(one.receive()), [])
        request = two.send_receive(wait_ms=30000)
        answer, took = self.timed(two, request)
        self.assertEqual([d.attempt for d in answer], [2])
        self.assertLess(took, 0.3 + WOKEN_S)
        self.assertEqual(two.extend(answer, lease_ms=200), [])
        answer, took = self.timed(one, one.send_receive(wait_ms=30000))
        self.assertEqual([d.attempt for d in answer], [3])
        self.assertLess(took, 0.2 + WOKEN_S)
        self.assertEqual(one.nack(answer, delay_ms=0), [])
        held = two.receive_within(5)
        self.assertEqual([d.attempt for d in held], [4])
        request = one.send_receive(wait_ms=30000)
        two.leave()
        answer, took = self.timed(one, request)
        self.assertEqual([d.attempt for d in answer], [4])
        self.assertLess(took, WOKEN_S)

    def test_45_an_orderly_poll_returns_only_when_the_queue_is_not_blocked(self):
        self.put_group(order="queue")
        self.produce([b"0"])
        one, two = self.member(name="one"), self.member(name="two")
        held = one.receive()
        request = two.send_receive(wait_ms=600)
        self.produce([b"1"])
        self.assertEqual(two.take_receive(request), [], "the queue is blocked, though something came")
        request = two.send_receive(wait_ms=30000)
        time.sleep(0.1)
        self.assertEqual(one.ack(held), [])
        answer, took = self.timed(two, request)
        self.assertEqual(answer.bodies, [b"1"])
        self.assertLess(took, WOKEN_S)

    def test_45_a_poll_of_a_key_returns_when_the_key_is_free(self):
        topic = self.make_topic("-keyed", route="key")
        group = self.put_group(topics=topic, order="key")
        self.produce([[None, ["a"], None, b"a0"]], topic, queue=None)
        one, two = self.member(group, "one"), self.member(group, "two")
        held = one.receive()
        request = two.send_receive(wait_ms=600)
        self.produce([[None, ["a"], None, b"a1"]], topic, queue=None)
        self.assertEqual(two.take_receive(request), [])
        request = two.send_receive(wait_ms=30000)
        self.assertEqual(one.ack(held), [])
        self.assertEqual(two.take_receive(request).bodies, [b"a1"])
        # Another key does not wait for it.
        request = one.send_receive(wait_ms=30000)
        self.produce([[None, ["b"], None, b"b0"]], topic, queue=None)
        self.assertEqual(one.take_receive(request).bodies, [b"b0"])

    def test_45_a_poll_of_one_topic_does_not_take_the_turn_of_others(self):
        """Who waits for one topic is not woken for another, and who waits for all is, though he came later."""
        other = self.make_topic("-other")
        group = self.put_group(topics=[self.name, other])
        picky, any_of_them = self.member(group, "picky"), self.member(group, "any")
        first = picky.send_receive(topic=other, wait_ms=30000)
        picky.client.call("hello")
        second = any_of_them.send_receive(wait_ms=30000)
        any_of_them.client.call("hello")
        self.produce([b"plain"], queue=1)
        answer, took = self.timed(any_of_them, second)
        self.assertEqual(answer.bodies, [b"plain"])
        self.assertLess(took, WOKEN_S)
        self.produce([b"other"], other)
        answer, took = self.timed(picky, first)
        self.assertEqual(answer.bodies, [b"other"])
        self.assertLess(took, WOKEN_S)

    def test_45_polls_of_different_topics_each_wake_for_their_own(self):
        """None of them wants everything: whichever topic has something, the one who waits for it is answered."""
        topics = [self.make_topic(f"-{number}") for number in range(3)]
        group = self.put_group(topics=topics)
        members = [self.member(group, topic) for topic in topics]
        requests = []
        for member, topic in zip(members, topics):
            requests.append(member.send_receive(topic=topic, wait_ms=8000))
            member.client.call("hello")
        for member, topic, request in reversed(list(zip(members, topics, requests))):
            self.produce([topic.encode()], topic)
            answer, took = self.timed(member, request)
            self.assertEqual(answer.bodies, [topic.encode()])
            self.assertLess(took, WOKEN_S)

    def test_45_a_poll_is_cancelled(self):
        self.put_group()
        member = self.member()
        request = member.send_receive(wait_ms=30000)
        time.sleep(0.05)
        member.client.call("cancel", msgid=request)
        answer, took = self.timed(member, request)
        self.assertEqual(answer, [])
        self.assertLess(took, WOKEN_S)
        self.produce([b"m"])
        self.assertEqual(member.receive().bodies, [b"m"])

    def test_45_who_waits_hears_that_the_group_is_gone(self):
        self.put_group()
        member = self.member()
        request = member.send_receive(wait_ms=30000)
        member.client.call("hello")
        self.client.call("group.delete", name=self.name)
        self.refused("GROUP_NOT_FOUND", member.take_receive, request)

    def test_45_many_members_wait_and_each_message_is_delivered_once(self):
        """Members that poll, messages that come while they do, from two producers: no poll sleeps through."""
        self.put_group()
        total, lock, came = 400, threading.Lock(), []

        def work(member):
            while len(came) < total:
                answer = member.receive(wait_ms=300, max=3)
                with lock:
                    came.extend(d.body for d in answer)
                if answer:
                    member.ack(answer)

        threads = [
            threading.Thread(target=work, args=(self.member(name=f"m{number}"),), daemon=True)
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for number in range(total):
            self.produce([b"%d" % number], queue=number % 4)
        for thread in threads:
            thread.join(20)
            self.assertFalse(thread.is_alive(), f"{len(came)} of {total} came")
        self.assertEqual(sorted(came), sorted(b"%d" % number for number in range(total)))


if __name__ == "__main__":
    tap.main(__name__)
