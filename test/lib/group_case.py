# SPDX-License-Identifier: Apache-2.0
"""group_case.py - what tests of consumer groups begin with: a broker, topics, groups, members, and a kill.

Topics and groups are named after the test that makes them, so that all tests of a class share one broker.
"""

import time
import unittest

import cluster
import group_member
import wire

LEASE_LOST = 63


class GroupCase(unittest.TestCase):
    shards = 2

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(["--shards", str(cls.shards)])
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        self.name = self.id().rpartition(".")[2].removeprefix("test_")[:60]
        self.client = self.cluster.broker_client()
        self.addCleanup(lambda: self.client.close())

    # ---------------------------------------------------------------- entities

    def make_topic(self, suffix="", queues=1, route="any", durability="memory"):
        name = self.name + suffix
        settings = {"route": route, "durability": durability}
        self.client.call("topic.put", name=name, queues=queues, settings=settings)
        return name

    def put_group(self, suffix="", **settings):
        """The group, from the first message on unless told otherwise; `topics` may be a list, or a name."""
        topics = settings.pop("topics", self.name)
        topics = [topics] if isinstance(topics, str) else topics
        if isinstance(topics, list):
            topics = dict.fromkeys(topics)
        settings = {"from": "first", **settings, "topics": topics}
        name = self.name + suffix
        self.client.call("group.put", name=name, settings=settings)
        return name

    def produce(self, messages, topic=None, queue=0):
        """The offset of the first."""
        place = {} if queue is None else {"queue": queue}
        answer = self.client.call("produce", topic=topic or self.name, messages=messages, **place)
        return answer["offset"]

    def produce_numbered(self, count, topic=None, queues=1):
        """Messages 0 .. count - 1, one queue after the other; their bodies."""
        bodies = [b"%d" % number for number in range(count)]
        for queue in range(queues):
            self.produce(bodies[queue::queues], topic, queue)
        return bodies

    def member(self, group=None, name=None, release_on_close=False):
        member = group_member.Member(
            self.cluster.broker_address, group or self.name, name, release_on_close
        )
        self.addCleanup(member.leave)
        return member

    def pull_all(self, topic, queue=0):
        """All records of a queue."""
        records, offset, end = [], 0, None
        while end is None or offset < end:
            result = self.client.call("pull", topic=topic, queue=queue, offset=offset)
            records += result["messages"]
            offset, end = result["next"], result["end"]
        return records

    def dead_letters(self, group, queues=None):
        """The records of the topic of a group's dead letters; none where it is not there."""
        topic = f"%DLQ%{group}"
        try:
            shown = self.client.call("topic.show", name=topic)
        except wire.CallFailed as failed:
            if failed.name != "TOPIC_NOT_FOUND":
                raise
            return []
        return [
            record
            for queue in range(len(shown["queues"]))
            for record in self.pull_all(topic, queue)
        ]

    # ------------------------------------------------------------------- claims

    def refused(self, error, call, *arguments, **more):
        with self.assertRaises(wire.CallFailed) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.name, error, caught.exception.error)
        return caught.exception.error

    def wait_for(self, claim, seconds=10.0):
        """Until it is true, or the test has failed."""
        until = time.monotonic() + seconds
        while not claim():
            self.assertLess(time.monotonic(), until, "it did not come true")
            time.sleep(0.01)

    def kill_broker(self):
        """SIGKILL, and started again; members of before have lost their connections."""
        self.client.close()
        self.cluster.broker.kill()
        self.cluster.start_broker()
        self.client = self.cluster.broker_client()
