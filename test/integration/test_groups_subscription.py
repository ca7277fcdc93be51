# SPDX-License-Identifier: Apache-2.0
"""test_groups_subscription.py - what a group subscribes to: RocketMQ's scenarios 16 to 22, by their numbers.

There a subscription is each consumer's, who says it anew with every heartbeat, so that two members who
disagree take turns in being right. Here it is the group's own, changed in one step with a version.
"""

import time

import group_case
import tap


def message(tag, body, **properties):
    return [tag, None, properties or None, body]


def bodies_of(deliveries):
    return sorted(delivery.body for delivery in deliveries)


class Subscription(group_case.GroupCase):
    def produce_tags(self, tags, count, topic=None, queues=1):
        """`count` messages whose tags take turns, one queue after the other: their bodies by tag."""
        bodies = {tag: [] for tag in tags}
        messages = []
        for number in range(count):
            tag = tags[number % len(tags)]
            body = b"%s %d" % ((tag or "none").encode(), number)
            bodies[tag].append(body)
            messages.append(message(tag, body))
        for queue in range(queues):
            self.produce(messages[queue::queues], topic, queue)
        return {tag: sorted(values) for tag, values in bodies.items()}

    def test_16_one_tag_and_the_offset_passes_the_others(self):
        """Tag A alone arrives, and the offset passes B. The same as RocketMQ, but the broker compares the
        tag itself, not its hash alone, so that nothing is left for the client to throw away."""
        self.make_topic(queues=3)
        bodies = self.produce_tags(["A", "B", "B"], 300, queues=3)
        self.put_group(topics={self.name: "A"})
        member = self.member()
        came = member.drain(max=7)
        self.assertEqual(bodies_of(came), bodies["A"])
        self.assertEqual({delivery.tag for delivery in came}, {"A"})
        # What was passed is settled: the group never sees it, even if it wants everything now.
        self.put_group(topics={self.name: None})
        self.assertEqual(member.drain(), [])
        self.produce([message("B", b"late")])
        self.assertEqual(bodies_of(member.receive(wait_ms=5000)), [b"late"])

    def test_16_what_no_member_has_been_asked_for_is_passed_too(self):
        """A queue of which the group wants nothing does not stay behind; RocketMQ moves the offset with the
        empty answer of a pull, here the receive that looked has settled it."""
        self.make_topic()
        self.produce_tags(["B"], 100)
        self.put_group(topics={self.name: "A"})
        member = self.member()
        self.assertEqual(member.receive(), [])
        self.put_group(topics={self.name: None})
        self.assertEqual(member.receive(), [])

    def test_16_what_was_passed_stays_passed_through_a_kill(self):
        """Passing is progress as any other: it is in the log."""
        self.make_topic(durability="disk")
        self.produce_tags(["B"], 100)
        self.put_group(topics={self.name: "A"})
        self.assertEqual(self.member().receive(), [])
        self.put_group(topics={self.name: None})
        self.kill_broker()
        self.assertEqual(self.member().drain(), [])

    def test_16_one_of_very_many_is_found_by_receives_that_do_not_wait(self):
        """A long backlog that the group does not want is passed piece by piece: each receive goes on where the one
        before ended, and none hangs."""
        self.make_topic()
        for _ in range(6):
            self.produce([message("B", b"", n="1")] * 50000)
        self.produce([message("A", b"here", n="2")])
        self.put_group(topics={self.name: "n > 1.5"})
        member = self.member()
        until = time.monotonic() + 15
        while not (answer := member.receive()):
            self.assertLess(time.monotonic(), until, "it is never found")
        self.assertEqual(answer.bodies, [b"here"])

    def test_17_several_tags_a_star_an_empty_text_and_none(self):
        """`A || B`, `*`, an empty text and no filter at all: the sets are RocketMQ's."""
        self.make_topic(queues=2)
        bodies = self.produce_tags(["A", "B", "C", None], 80, queues=2)
        everything = sorted(sum(bodies.values(), []))
        for number, (text, wanted) in enumerate(
            [
                ("A || B", bodies["A"] + bodies["B"]),
                ("A||C", bodies["A"] + bodies["C"]),
                ("*", everything),
                ("", everything),
                (None, everything),
                ("D", []),
            ]
        ):
            group = self.put_group(f"-{number}", topics={self.name: text})
            came = self.member(group).drain()
            self.assertEqual(bodies_of(came), sorted(wanted), text)

    def test_18_two_members_with_one_subscription_share_it(self):
        """Union complete, no overlap. RocketMQ gives each its queues; here who asks gets, so that two members
        share a single queue as well."""
        self.make_topic(queues=1)
        bodies = self.produce_tags(["A", "B"], 400)
        self.put_group(topics={self.name: "A"})
        members = [self.member(name=name) for name in ("one", "two")]
        came = [[], []]
        while True:
            answers = [member.receive(max=10) for member in members]
            if not any(answers):
                break
            for mine, member, answer in zip(came, members, answers):
                self.assertEqual(member.ack(answer), [])
                mine += answer
        self.assertEqual(bodies_of(came[0] + came[1]), bodies["A"])
        self.assertEqual(len(came[0]), len(came[1]))

    def test_19_groups_with_different_tags_do_not_touch_each_other(self):
        """Each group is complete and independent of the others, as with RocketMQ."""
        self.make_topic(queues=3)
        bodies = self.produce_tags(["A", "B", "C"], 300, queues=3)
        wanted = {"A": "A", "B": "B", "both": "A || B"}
        members = {}
        for suffix, text in wanted.items():
            group = self.put_group(f"-{suffix}", topics={self.name: text})
            members[suffix] = self.member(group)
        held = members["A"].receive(max=30)  # not settled while the others go on
        self.assertEqual(bodies_of(members["B"].drain()), bodies["B"])
        self.assertEqual(bodies_of(members["both"].drain()), sorted(bodies["A"] + bodies["B"]))
        rest = members["A"].drain()
        self.assertEqual(members["A"].ack(held), [])
        self.assertEqual(bodies_of([*held, *rest]), bodies["A"])

    def test_20_one_group_reads_three_topics_with_one_and_two_members(self):
        """All messages of all topics arrive. RocketMQ balances the queues of each topic apart; here a receive
        takes from whatever topic has something, and can ask for one of them."""
        topics = [self.make_topic(f"-{number}", queues=4) for number in range(3)]
        for count in (1, 2):
            group = self.put_group(f"-{count}", topics=topics)
            for number, topic in enumerate(topics):
                # The second group reads the first one's messages as well: it begins with the first.
                self.produce_tags([f"{count}.{number}"], 100, topic, queues=4)
            members = [self.member(group, f"m{number}") for number in range(count)]
            came = []
            while answers := [answer for member in members if (answer := member.receive(max=9))]:
                for answer in answers:
                    self.assertEqual(members[0].ack(answer), [])
                    came += answer
            for topic in topics:
                of_topic = [delivery.place for delivery in came if delivery.topic == topic]
                self.assertEqual(len(of_topic), 100 * count)
                self.assertEqual(len(set(of_topic)), 100 * count)

    def test_20_a_receive_of_one_topic_leaves_the_others(self):
        """A member may ask for one of the group's topics; RocketMQ's member subscribes to that one alone, and
        confuses the group by it."""
        topics = [self.make_topic(f"-{number}", queues=2) for number in range(3)]
        group = self.put_group(topics=topics)
        for topic in topics:
            self.produce_numbered(20, topic, queues=2)
        member = self.member(group)
        came = member.drain(topic=topics[1])
        self.assertEqual({delivery.topic for delivery in came}, {topics[1]})
        self.assertEqual(len(came), 20)
        rest = member.drain()
        self.assertEqual({delivery.topic for delivery in rest}, {topics[0], topics[2]})
        self.assertEqual(len(rest), 40)
        other = self.make_topic("-other")
        self.refused("BAD_ARGUMENT", member.receive, topic=other)
        self.refused("TOPIC_NOT_FOUND", member.receive, topic=self.name + "-nowhere")

    def test_21_sql(self):
        """BETWEEN, IS NULL, IS NOT NULL, texts, IN: matches only. With RocketMQ a broker refuses SQL unless it
        was configured; here it is always there."""
        self.make_topic(queues=2)
        messages = [message("A", b"%d" % n, a=str(n), city="Rome" if n % 2 else "Oslo") for n in range(10)]
        messages += [message("B", b"none"), message(None, b"odd", a="ten", city="O'Neil")]
        for queue in range(2):
            self.produce(messages[queue::2], queue=queue)
        numbers = [b"%d" % n for n in range(10)]
        for number, (text, wanted) in enumerate(
            [
                ("a BETWEEN 0 AND 3", numbers[:4]),
                ("a NOT BETWEEN 0 AND 3", numbers[4:]),
                ("a IS NULL", [b"none"]),
                ("a IS NOT NULL", [*numbers, b"odd"]),
                ("city = 'Rome'", numbers[1::2]),
                ("city = 'O''Neil'", [b"odd"]),
                ("city IN ('Oslo', 'Paris') AND a > 5", [b"6", b"8"]),
                ("TAGS = 'B' OR a = 7", [b"none", b"7"]),
                ("NOT (a >= 2)", [b"0", b"1"]),
            ]
        ):
            group = self.put_group(f"-{number}", topics={self.name: text})
            came = self.member(group).drain()
            self.assertEqual(bodies_of(came), sorted(wanted), text)

    def test_21_a_filter_that_cannot_be_read_is_refused_when_it_is_said(self):
        """The syntax error is answered with its column, and the group stays as it was. RocketMQ refuses the
        heartbeat, which the consumer learns from its log."""
        self.make_topic()
        error = self.refused("BAD_FILTER", self.put_group, topics={self.name: "a BETWEEN 0 AND"})
        self.assertEqual((error["key"], error["column"]), (self.name, 16))
        self.refused("GROUP_NOT_FOUND", self.member().receive)
        self.put_group(topics={self.name: "a = 1"})
        self.refused("BAD_FILTER", self.put_group, topics={self.name: "a = "})
        self.produce([message(None, b"1", a="1"), message(None, b"2", a="2")])
        self.assertEqual(bodies_of(self.member().drain()), [b"1"])

    def test_22_another_filter_counts_for_the_backlog(self):
        """What is not given out yet is asked by the new expression, what is out stays out. The same as
        RocketMQ, which precomputes bits of each filter that are wrong after a change; here there are none."""
        self.make_topic()
        self.produce_tags(["A", "B"], 200)
        self.put_group(topics={self.name: "A"})
        member = self.member()
        held = member.receive(max=10)
        self.assertEqual(bodies_of(held), sorted(b"A %d" % n for n in range(0, 20, 2)))
        (part,) = held.parts
        self.put_group(topics={self.name: "B"})
        came = member.drain()
        behind = range(part.first + part.span, 200)
        self.assertEqual(bodies_of(came), sorted(b"B %d" % n for n in behind if n % 2 == 1))
        self.assertEqual(member.ack(held), [])
        self.assertEqual(member.drain(), [])

    def test_22_a_waiting_member_gets_by_the_new_filter(self):
        """A long poll that began before the change is answered by what the group wants since."""
        self.make_topic()
        self.put_group(topics={self.name: "A"})
        member = self.member()
        request = member.send_receive(wait_ms=20000)
        self.produce([message("B", b"before")])
        self.client.call("stats")
        self.put_group(topics={self.name: "B"})
        self.produce([message("A", b"A"), message("B", b"B")])
        answer = member.take_receive(request)
        self.assertLessEqual(set(answer.bodies), {b"before", b"B"})
        self.assertEqual(member.ack(answer), [])
        came = answer.bodies + [delivery.body for delivery in member.drain()]
        self.assertIn(b"B", came)
        self.assertNotIn(b"A", came)

    def test_22_a_topic_is_taken_out_and_put_back(self):
        """What came meanwhile is delivered when the group reads the topic again; where it stood is kept. With
        RocketMQ so are offsets of topics that a group has not subscribed to for a while."""
        self.make_topic()
        other = self.make_topic("-other")
        self.put_group(topics=[self.name, other])
        self.produce([b"before"])
        member = self.member()
        self.assertEqual(bodies_of(member.drain()), [b"before"])
        self.put_group(topics=[other])
        self.produce([b"meanwhile"])
        self.assertEqual(member.drain(), [])
        self.put_group(topics=[self.name, other])
        self.assertEqual(bodies_of(member.drain()), [b"meanwhile"])
        self.produce([b"after"])
        self.assertEqual(bodies_of(member.receive(wait_ms=5000)), [b"after"])

    def test_22_an_older_version_is_refused(self):
        """RocketMQ: a subscription older than the broker's is ignored. Here: CONFLICT, with the version."""
        self.make_topic()
        self.put_group(topics={self.name: "A"})
        topics = {"topics": {self.name: "B"}}
        first = self.client.call("group.put", name=self.name, settings=topics)
        second = self.client.call("group.put", name=self.name, settings={"topics": {self.name: "C"}})
        self.assertGreater(second["version"], first["version"])
        error = self.refused(
            "CONFLICT",
            self.client.call,
            "group.put",
            name=self.name,
            settings=topics,
            version=first["version"],
        )
        self.assertEqual(error["version"], second["version"])
        self.produce([message("B", b"B"), message("C", b"C")])
        self.assertEqual(bodies_of(self.member().drain()), [b"C"])

    def test_22_a_filter_survives_a_kill(self):
        """RocketMQ writes consumerFilter.json every ten seconds. Here the change is in the log when it is
        answered."""
        self.make_topic(durability="disk")
        self.put_group(topics={self.name: "A"})
        self.put_group(topics={self.name: "B"})
        self.produce([message("A", b"A"), message("B", b"B")])
        self.kill_broker()
        self.assertEqual(bodies_of(self.member().drain()), [b"B"])


if __name__ == "__main__":
    tap.main(__name__)
