# SPDX-License-Identifier: Apache-2.0
"""test_cold_read.py - readers of what has left the page cache: all of it comes, and its place is given back.

What is cold is made so from outside, as a machine that is short of memory would. On a file system that
has nothing but memory there is no such thing, and the tests are skipped.
"""

import ctypes
import os
import time
import unittest

import cluster
import tap
import wire

MIB = 1 << 20
CACHESTAT = 451  # the same on every architecture; Linux 6.5
BODY_BYTES = 20000
BATCH = 100
QUEUES = 2
MESSAGES = 1500  # a queue: 60 MB in all, so that two segments are sealed
# What was written so lately is taken to be in memory without asking.
RECENT_S = 2.5


def body_of(queue, offset):
    word = f"{queue}/{offset}/".encode()
    return word * (BODY_BYTES // len(word))


class ColdRead(unittest.TestCase):
    def setUp(self):
        self.cluster = cluster.Cluster(["--shards", "1", "--durability", "disk"])
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.client = self.connect()
        self.client.call("topic.put", name="old", queues=QUEUES)
        for first in range(0, MESSAGES, BATCH):
            for queue in range(QUEUES):
                messages = [body_of(queue, first + i) for i in range(BATCH)]
                self.client.call("produce", topic="old", queue=queue, messages=messages)
        time.sleep(RECENT_S)
        self.drop_cache()
        if self.resident_bytes(self.segments()[0]) > 0:
            self.skipTest(f"{self.cluster.store} keeps everything in memory")

    def connect(self):
        client = self.cluster.broker_client()
        self.addCleanup(client.close)
        return client

    def segments(self):
        return sorted(self.cluster.store.glob("*/*.log"))

    def drop_cache(self):
        os.sync()
        for path in [*self.segments(), *self.cluster.store.glob("*/*.idx")]:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    @staticmethod
    def resident_bytes(path):
        """How much of a file is in the page cache. A read that must not wait would tell, too, but would
        also have the kernel bring what it asks for."""
        cached = (ctypes.c_uint64 * 5)()
        whole = (ctypes.c_uint64 * 2)(0, 0)
        with open(path, "rb") as file:
            result = ctypes.CDLL(None, use_errno=True).syscall(
                CACHESTAT, file.fileno(), ctypes.byref(whole), ctypes.byref(cached), 0
            )
        if result != 0:
            raise unittest.SkipTest(f"cachestat: {os.strerror(ctypes.get_errno())}")
        return cached[0] * os.sysconf("SC_PAGESIZE")

    def counter(self, name):
        return sum(shard[name] for shard in self.client.call("stats")["shards"])

    def read_all(self, client, queue):
        offset = 0
        while offset < MESSAGES:
            result = client.call("pull", topic="old", queue=queue, offset=offset)
            self.assertEqual(result["first"], offset)
            for record in result["messages"]:
                self.assertEqual(record[wire.RECORD_OFFSET], offset)
                self.assertEqual(wire.record_body(record), body_of(queue, offset))
                offset += 1

    def test_everything_comes_from_the_disk_and_leaves_the_cache_again(self):
        for queue in range(QUEUES):
            self.read_all(self.connect(), queue)
        self.assertGreater(self.counter("cold_reads"), 0)
        self.assertGreater(self.counter("warmed_bytes"), 10 * MIB)
        self.assertGreater(self.counter("warm_us_max"), 0)
        time.sleep(0.5)  # what is given back is given back by a helper
        sealed = self.segments()[:-1]
        self.assertGreaterEqual(len(sealed), 2)
        for path in sealed:
            self.assertLessEqual(self.resident_bytes(path), 8 * MIB, path)

    def test_a_second_pass_over_what_is_in_memory_asks_the_disk_for_nothing(self):
        for path in [*self.segments(), *self.cluster.store.glob("*/*.idx")]:
            path.read_bytes()
        for queue in range(QUEUES):
            self.read_all(self.client, queue)
        # Pages may be taken away by the system at any time; each read from the disk would be hundreds.
        self.assertLessEqual(self.counter("cold_reads"), 20)
        self.assertLessEqual(self.counter("dropped_bytes"), 16 * MIB)
        self.assertGreater(self.resident_bytes(self.segments()[0]), 10 * MIB)

    def test_searches_by_time_find_what_is_cold(self):
        first = self.client.call("pull", topic="old", queue=0, first=True, max=1)["messages"][0]
        self.drop_cache()
        stored_at = first[9]
        result = self.client.call("pull", topic="old", queue=0, at_time=stored_at, max=1)
        self.assertEqual(result["first"], 0)
        self.drop_cache()
        found = self.client.call("pull", topic="old", queue=0, at_time=stored_at + 1, max=1)
        self.assertGreater(found["first"], 0)
        self.assertGreater(found["messages"][0][9], stored_at)

    def pull_filtered(self, text):
        """The offsets of what a filter wants of queue 0."""
        offsets, offset = [], 0
        while offset < MESSAGES:
            result = self.client.call("pull", topic="old", queue=0, offset=offset, filter=text)
            self.assertGreater(result["next"], offset)
            offsets += [record[wire.RECORD_OFFSET] for record in result["messages"]]
            offset = result["next"]
        return offsets

    def test_a_filter_on_properties_looks_at_what_is_cold(self):
        self.assertEqual(self.pull_filtered("TAGS IS NULL AND a IS NULL"), list(range(MESSAGES)))
        self.assertGreater(self.counter("cold_reads"), 0)
        self.drop_cache()
        cold_reads = self.counter("cold_reads")
        self.assertEqual(self.pull_filtered("a = 1"), [])
        self.assertGreater(self.counter("cold_reads"), cold_reads)

    def test_a_filter_on_tags_brings_no_message_that_its_hash_rules_out(self):
        self.assertEqual(self.pull_filtered("paid || sent"), [])
        self.assertLess(self.counter("warmed_bytes"), MIB)
        self.assertLess(self.resident_bytes(self.segments()[0]), MIB)

    def test_the_end_is_served_while_others_wait_for_the_disk(self):
        cold = self.connect()
        ids = [
            cold.send("pull", topic="old", queue=0, offset=offset, max=1)
            for offset in range(0, MESSAGES, 50)
        ]
        self.client.call("produce", topic="old", queue=1, messages=[b"new"])
        last = self.client.call("pull", topic="old", queue=1, offset=MESSAGES)
        self.assertEqual(wire.record_body(last["messages"][0]), b"new")
        for request_id in ids:
            error, result = cold.take_for(request_id)
            self.assertIsNone(error)
            self.assertEqual(len(result["messages"]), 1)

    def test_whoever_waits_for_the_disk_survives_that_his_topic_is_deleted(self):
        cold = self.connect()
        ids = [
            cold.send("pull", topic="old", queue=0, offset=offset, max=1)
            for offset in range(0, MESSAGES, 50)
        ]
        self.client.call("topic.delete", name="old")
        for request_id in ids:
            error, result = cold.take_for(request_id)
            if error is not None:
                self.assertEqual(error["name"], "TOPIC_NOT_FOUND")
            else:
                self.assertEqual(len(result["messages"]), 1)
        self.client.call("stats")

    def test_connections_may_close_and_the_broker_may_end_while_they_wait(self):
        leaver = self.connect()
        for offset in range(0, MESSAGES, 20):
            leaver.send("pull", topic="old", queue=1, offset=offset)
        leaver.close()
        cold = self.connect()
        for offset in range(0, MESSAGES, 50):
            cold.send("pull", topic="old", queue=0, offset=offset)
        self.assertEqual(self.cluster.broker.stop(), 0)


if __name__ == "__main__":
    tap.main(__name__)
