# SPDX-License-Identifier: Apache-2.0
"""test_allocations.py - a broker that is warm serves messages without asking the allocator for memory.

The broker is linked with a counter before malloc and its kin (allocation_count.c). What may still be
asked for belongs to no message: the next segment, a chunk of a snapshot, a table that doubles, a buffer
for a frame that two receives have cut.
"""

import os
import pathlib
import shutil
import struct
import tempfile
import unittest

import cluster
import tap
import wire

MESSAGES = 100_000
WARM_UP = 20_000
WINDOW = 64
BODY = bytes(256)
# Of 100,000 messages. Epoll needs 20 to 30; io_uring, whose buffers cut more frames, 180. One a pull would
# be 1,560, one a call 1,000 or more.
ALLOCATIONS_MAX = 500


class Allocations(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ternmq-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.count = self.folder / "count"
        os.environ["TERNMQ_ALLOCATION_COUNT"] = str(self.count)
        self.addCleanup(os.environ.pop, "TERNMQ_ALLOCATION_COUNT")
        address = cluster.free_address()
        self.broker = cluster.Process(
            "ternmq_broker_counted",
            [
                *("--store", str(self.folder / "store"), "--listen", address),
                *("--nameserver", "127.0.0.1:1", "--shards", "2"),
            ],
            address,
            self.folder / "broker.log",
        )
        self.addCleanup(self.broker.kill)
        self.broker.wait_until_ready()
        # The core that has the queue, and the other one: sessions go round the cores.
        self.producers = [wire.Client(address) for _ in range(2)]
        self.consumers = [wire.Client(address) for _ in range(2)]
        for client in (*self.producers, *self.consumers):
            self.addCleanup(client.close)

    def allocations(self):
        return struct.unpack("=Q", self.count.read_bytes())[0]

    def pass_on(self, messages, batch):
        """Produces on both connections with full windows, and polls on both until all has come."""
        calls = WINDOW if batch == 1 else 8
        for _ in range(0, messages, calls * batch * len(self.producers)):
            polls = [
                client.send("pull", topic="t", queue=0, offset=self.offset, wait_ms=10_000)
                for client in self.consumers
            ]
            for client in self.producers:
                for _ in range(calls):
                    client.send("produce", topic="t", queue=0, messages=[BODY] * batch)
            self.sent += calls * batch * len(self.producers)
            for client in self.producers:
                for _ in range(calls):
                    self.assertIsNone(client.take()[1])
            answers = [c.take_for(p) for c, p in zip(self.consumers, polls)]
            offset = answers[0][1]["next"]
            while offset < self.sent:
                offset = self.consumers[0].call("pull", topic="t", queue=0, offset=offset)["next"]
            self.offset = offset

    def judge(self, durability, batch):
        settings = {"durability": durability}
        self.producers[0].call("topic.put", name="t", queues=1, settings=settings)
        self.offset = self.sent = 0
        self.pass_on(WARM_UP, batch)
        before = self.allocations()
        self.assertGreater(before, 0, "the counter counts nothing")
        self.pass_on(MESSAGES, batch)
        self.assertLessEqual(self.allocations() - before, ALLOCATIONS_MAX)

    def test_single_messages(self):
        self.judge("memory", 1)

    def test_batches(self):
        self.judge("memory", 100)

    def test_what_waits_for_the_disk(self):
        self.judge("disk", 100)


if __name__ == "__main__":
    tap.main(__name__)
