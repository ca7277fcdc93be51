# SPDX-License-Identifier: Apache-2.0
"""test_filters.py - filters against a real broker: they agree with the reference, warm and cold, and are taught."""

import json
import os
import random
import subprocess
import time
import unittest

import cluster
import filter_reference
import tap
import wire

SEED = 20261127
MESSAGES = 500
FILTERS = 120
# What was written so lately is taken to be in memory without asking.
RECENT_S = 2.5


def element_of(message, body):
    return [message["tag"], None, message["properties"] or None, body]


class FilterCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(["--shards", "1"])
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        self.client = self.cluster.broker_client()
        self.addCleanup(self.client.close)

    def make_topic(self, name, queues=1):
        self.client.call("topic.put", name=name, queues=queues, settings={"durability": "memory"})
        return name

    def pull_all(self, topic, text, queue=0, **more):
        """The offsets of all messages that are wanted now."""
        offsets, next_offset, end = [], 0, None
        while end is None or next_offset < end:
            result = self.client.call(
                "pull", topic=topic, queue=queue, offset=next_offset, filter=text, **more
            )
            self.assertEqual(result["first"], next_offset)
            offsets += [record[wire.RECORD_OFFSET] for record in result["messages"]]
            self.assertGreater(result["next"], next_offset, text)
            next_offset, end = result["next"], result["end"]
        return offsets

    def ternmq(self, *arguments, status=0):
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode()


class Reference(FilterCase):
    def test_random_filters_want_of_random_messages_what_the_reference_wants(self):
        source = random.Random(SEED)
        topic = self.make_topic("random")
        messages = [filter_reference.random_message(source) for _ in range(MESSAGES)]
        for first in range(0, MESSAGES, 100):
            batch = messages[first : first + 100]
            elements = [element_of(message, b"x" * source.choice([0, 10, 300])) for message in batch]
            self.client.call("produce", topic=topic, queue=0, messages=elements)
        seen = {True: 0, False: 0, None: 0}
        for number in range(FILTERS):
            tree = filter_reference.random_tree(source)
            text = filter_reference.text_of(source, tree)
            truths = [filter_reference.truth(tree, message) for message in messages]
            for truth in truths:
                seen[truth] += 1
            wanted = [offset for offset, truth in enumerate(truths) if truth]
            found = self.pull_all(topic, text, max=source.choice([7, 100, 65535]))
            self.assertEqual(found, wanted, f"seed {SEED}, filter {number}: {text!r}")
        self.assertGreaterEqual(sum(seen.values()), 20000)
        self.assertGreater(min(seen.values()), 2000, seen)

    def test_random_tags(self):
        source = random.Random(SEED + 1)
        topic = self.make_topic("tags")
        messages = [filter_reference.random_message(source) for _ in range(MESSAGES)]
        elements = [element_of(message, b"x") for message in messages]
        self.client.call("produce", topic=topic, queue=0, messages=elements)
        for _ in range(30):
            tags = source.sample([*filter_reference.TAGS, "none"], source.randint(1, 4))
            text = source.choice([" || ", "||"]).join(tags)
            wanted = [i for i, message in enumerate(messages) if message["tag"] in tags]
            self.assertEqual(self.pull_all(topic, text), wanted, text)


class Pull(FilterCase):
    def test_a_filter_that_cannot_be_read_is_refused_with_its_column(self):
        topic = self.make_topic("refused")
        with self.assertRaises(wire.CallFailed) as caught:
            self.client.call("pull", topic=topic, queue=0, offset=0, filter="a = 'x' AND b =")
        self.assertEqual(caught.exception.name, "BAD_FILTER")
        self.assertEqual(caught.exception.error["column"], 16)
        self.assertIn("column 16: expected", caught.exception.error["message"])

    def test_a_poll_goes_on_behind_what_it_has_looked_at(self):
        topic = self.make_topic("polled")
        poller = self.cluster.broker_client()
        self.addCleanup(poller.close)
        request = poller.send(
            "pull", topic=topic, queue=0, offset=0, filter="n = 29", wait_ms=30000
        )
        for number in range(30):
            element = [None, None, {"n": str(number)}, b"x"]
            self.client.call("produce", topic=topic, queue=0, messages=[element])
        error, result = poller.take_for(request)
        self.assertIsNone(error)
        self.assertEqual(result["first"], 0)
        self.assertEqual([record[wire.RECORD_OFFSET] for record in result["messages"]], [29])
        self.assertEqual(result["next"], 30)

    def drop_cache(self):
        os.sync()
        for path in [*self.cluster.store.glob("*/*.log"), *self.cluster.store.glob("*/*.idx")]:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def test_what_has_left_the_page_cache_is_found_too(self):
        count, body = 2000, b"x" * 20000  # 40 MB, so that segments are sealed
        topic = self.make_topic("cold")
        for first in range(0, count, 100):
            elements = [
                ["few" if i % 100 == 7 else "many", None, {"n": str(i)}, body]
                for i in range(first, first + 100)
            ]
            self.client.call("produce", topic=topic, queue=0, messages=elements)
        time.sleep(RECENT_S)
        few = [i for i in range(count) if i % 100 == 7]
        for text, wanted in [("few", few), ("n BETWEEN 700 AND 899", list(range(700, 900)))]:
            self.drop_cache()
            self.assertEqual(self.pull_all(topic, text), wanted)
            self.assertEqual(self.pull_all(topic, text), wanted)

    def damage(self, record, place, data):
        """Writes over a part of a stored record, which a broker that runs then reads."""
        position = record[5]
        path = max(
            (path for path in self.cluster.store.glob("*/*.log") if path.stem.isdigit()
             and int(path.stem) <= position),
            key=lambda path: int(path.stem),
        )
        with open(path, "r+b") as file:
            file.seek(position - int(path.stem) + place)
            file.write(data)

    def test_a_damaged_record_is_named_and_passed_over(self):
        topic = self.make_topic("damaged")
        elements = [["t", None, {"n": str(i)}, b"x"] for i in range(30)]
        self.client.call("produce", topic=topic, queue=0, messages=elements)
        records = self.client.call("pull", topic=topic, queue=0, offset=0)["messages"]
        self.damage(records[10], 41, b"\x00" * 9)  # its offset, so that its head's crc is wrong
        self.damage(records[20], 69, b"\xc1")  # its message, which is none then
        offsets, next_offset, damaged = [], 0, []
        while next_offset < 30:
            try:
                result = self.client.call(
                    "pull", topic=topic, queue=0, offset=next_offset, filter="n >= 8"
                )
            except wire.CallFailed as failed:
                self.assertEqual(failed.name, "CORRUPT")
                damaged.append(failed.error["next"] - 1)
                next_offset = failed.error["next"]
                continue
            offsets += [record[wire.RECORD_OFFSET] for record in result["messages"]]
            self.assertGreater(result["next"], next_offset)
            next_offset = result["next"]
        self.assertEqual(damaged, [10, 20])
        self.assertEqual(offsets, [i for i in range(8, 30) if i not in damaged])

    def test_what_was_looked_at_and_left_out_is_counted(self):
        topic = self.make_topic("counted")
        before = sum(core["filtered_messages"] for core in self.client.call("stats")["cores"])
        elements = [["odd" if i % 2 else "even", None, None, b""] for i in range(100)]
        self.client.call("produce", topic=topic, queue=0, messages=elements)
        self.assertEqual(len(self.pull_all(topic, "odd")), 50)
        after = sum(core["filtered_messages"] for core in self.client.call("stats")["cores"])
        self.assertEqual(after - before, 50)


class CommandLine(FilterCase):
    def fill(self, topic, queues=3, each=100):
        self.make_topic(topic, queues)
        for queue in range(queues):
            elements = [
                ["paid" if i % 10 == 0 else "sent", None, {"n": str(i)}, f"{queue}/{i}".encode()]
                for i in range(each)
            ]
            self.client.call("produce", topic=topic, queue=queue, messages=elements)
        return topic

    def test_consume_writes_what_is_wanted(self):
        topic = self.fill("consumed")
        lines = self.ternmq("consume", topic, "--filter", "paid").splitlines()
        self.assertEqual(sorted(lines), sorted(f"{q}/{i}" for q in range(3) for i in range(0, 100, 10)))
        lines = self.ternmq("consume", topic, "--filter", "n >= 98 AND TAGS = 'sent'").splitlines()
        self.assertEqual(sorted(lines), sorted(f"{q}/{i}" for q in range(3) for i in (98, 99)))
        self.assertEqual(self.ternmq("consume", topic, "--filter", "nothing"), "")
        lines = self.ternmq("consume", topic, "--filter", "paid", "--from", "95").splitlines()
        self.assertEqual(lines, [])
        lines = self.ternmq("consume", topic, "--filter", "paid", "--count", "4").splitlines()
        self.assertEqual(len(lines), 4)

    def test_consume_goes_on_with_what_comes(self):
        topic = self.fill("followed", queues=1)
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, "consume", topic]
        process = subprocess.Popen(
            [*command, "--filter", "n = 'new'", "--follow", "--count", "1"], stdout=subprocess.PIPE
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        time.sleep(0.3)
        for number in ("old", "new"):
            element = [None, None, {"n": number}, number.encode()]
            self.client.call("produce", topic=topic, queue=0, messages=[element])
        self.assertEqual(process.communicate(timeout=30)[0], b"new\n")

    def test_a_filter_that_cannot_be_read_is_wrong_usage(self):
        topic = self.fill("misread", queues=1)
        self.ternmq("consume", topic, "--filter", "n >", status=2)
        self.assertIn("column 4: expected", self.said)
        self.assertIn("BAD_FILTER", self.said)
        self.ternmq("filter", "test", topic, "n >", status=2)
        self.assertIn("column 4: expected", self.said)

    def test_filter_test_counts_what_passes(self):
        topic = self.fill("tested")
        text = self.ternmq("filter", "test", topic, "paid")
        self.assertTrue(text.startswith("30 of the last 300 messages of tested pass (10.0 %)\n"), text)
        self.assertEqual(len(text.splitlines()), 4)
        self.assertIn("queue 0, offset 0: TAGS=paid n=0", text)
        answer = json.loads(
            self.ternmq("filter", "test", topic, "n >= 90 OR n IS NULL", "--last", "30", "--json")
        )
        self.assertEqual((answer["looked_at"], answer["passed"]), (30, 30))
        self.assertEqual(len(answer["messages"]), 3)
        self.assertEqual(answer["messages"][0]["properties"], {"n": "90"})
        answer = json.loads(self.ternmq("filter", "test", topic, "*", "--last", "7", "--json", "--show", "0"))
        self.assertEqual((answer["looked_at"], answer["messages"]), (7, []))
        self.ternmq("filter", "test", "nowhere", "*", status=1)


if __name__ == "__main__":
    tap.main(__name__)
