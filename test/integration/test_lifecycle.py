# SPDX-License-Identifier: Apache-2.0
"""Tests of the life of real processes: orderly ends, kills and restarts of the broker and of the nameserver,
two nameservers at once, and what is still there afterwards."""

import os
import time
import unittest

import cluster
import tap
import wire

# What SIGTERM may take, and the lease with what a nameserver adds to it.
TERM_S = 5.0
LEASE_S = 10.0


class Lifecycle(unittest.TestCase):
    def make_cluster(self, *arguments):
        made = cluster.Cluster(arguments)
        made.__enter__()
        self.addCleanup(made.__exit__, None, None, None)
        return made

    def bodies(self, made, topic, queue=0):
        client = made.broker_client()
        answer = client.call("pull", topic=topic, queue=queue, offset=0)
        client.close()
        return [wire.record_body(record) for record in answer["messages"]]

    def assert_ends(self, process):
        began = time.monotonic()
        self.assertEqual(process.stop(), 0, process.log_tail())
        # A sanitizer's own work at the end of a process is not ours.
        self.assertLess(time.monotonic() - began, TERM_S + 2.0)

    def test_sigterm_ends_both_in_time_with_open_connections(self):
        made = self.make_cluster()
        client = made.broker_client()
        client.call("topic.put", name="t", queues=1)
        client.send("pull", topic="t", queue=0, offset=0, wait_ms=60000)
        idle = wire.Client(made.nameserver_address)
        self.assert_ends(made.broker)
        self.assert_ends(made.nameserver)
        client.close()
        idle.close()

    def test_what_was_accepted_before_sigterm_is_answered_or_not_stored(self):
        made = self.make_cluster("--durability", "disk")
        client = made.broker_client()
        client.call("topic.put", name="t", queues=1)
        sent = [
            client.send("produce", topic="t", queue=0, messages=[b"%d" % number])
            for number in range(100)
        ]
        made.broker.popen.terminate()
        answered = 0
        try:
            for _ in sent:
                _, error, _ = client.take()
                answered += error is None
        except wire.Lost:
            pass
        made.broker.stop()
        made.start_broker()
        found = self.bodies(made, "t")
        self.assertGreaterEqual(len(found), answered)
        self.assertEqual(found, [b"%d" % number for number in range(len(found))])

    def test_topics_and_messages_outlive_a_kill(self):
        made = self.make_cluster()
        client = made.broker_client()
        for durability in ("memory", "disk"):
            client.call("topic.put", name=durability, queues=2, settings={"durability": durability})
            client.call("produce", topic=durability, queue=1, messages=[b"a", b"b"])
        client.close()
        made.broker.kill()
        made.start_broker()
        for durability in ("memory", "disk"):
            self.assertEqual(self.bodies(made, durability, 1), [b"a", b"b"])

    def test_each_start_takes_a_higher_epoch(self):
        made = self.make_cluster()
        epochs = []
        for _ in range(3):
            client = made.broker_client()
            epochs.append(client.call("hello")["epoch"])
            client.close()
            made.broker.kill()
            made.start_broker()
        self.assertEqual(epochs, sorted(set(epochs)))

    def test_a_killed_broker_leaves_the_routes(self):
        made = self.make_cluster()
        made.ternmq("topic", "create", "t", "--queues", "1")
        nameserver = wire.Client(made.nameserver_address)
        route = nameserver.call("route.get", topic="t")
        self.assertEqual([broker["name"] for broker in route["brokers"]], ["broker-a"])
        made.broker.kill()
        give_up_at = time.monotonic() + LEASE_S + 5
        while time.monotonic() < give_up_at:
            if not nameserver.call("broker.list")["rows"]:
                break
            time.sleep(0.2)
        self.assertEqual(nameserver.call("broker.list")["rows"], [])
        nameserver.close()

    def test_a_broker_that_ends_in_order_leaves_at_once(self):
        made = self.make_cluster()
        nameserver = wire.Client(made.nameserver_address)
        self.assertEqual(len(nameserver.call("broker.list")["rows"]), 1)
        made.broker.stop()
        self.assertEqual(nameserver.call("broker.list")["rows"], [])
        nameserver.close()

    def test_a_restarted_nameserver_is_told_everything_soon(self):
        made = self.make_cluster()
        made.ternmq("topic", "create", "t", "--queues", "1")
        made.nameserver.kill()
        made.start_nameserver()
        nameserver = wire.Client(made.nameserver_address)
        give_up_at = time.monotonic() + LEASE_S / 3 + 2
        brokers = []
        while not brokers and time.monotonic() < give_up_at:
            try:
                brokers = nameserver.call("route.get", topic="t")["brokers"]
            except wire.CallFailed as refused:
                self.assertEqual(refused.name, "WARMING")
            time.sleep(0.1)
        self.assertEqual([broker["name"] for broker in brokers], ["broker-a"])
        nameserver.close()

    def test_two_nameservers_know_the_same(self):
        made = self.make_cluster()
        other = cluster.Process(
            "ternmq-nameserver",
            ["--listen", (address := cluster.free_address())],
            address,
            made.folder / "other.log",
        )
        self.addCleanup(other.kill)
        other.wait_until_ready()
        made.broker.stop()
        made.nameserver_address, first = f"{made.nameserver_address};{address}", made.nameserver
        made.start_broker()
        made.ternmq("topic", "create", "t", "--queues", "1")
        for server in (first.address, address):
            client = wire.Client(server)
            self.assertEqual(len(client.call("route.get", topic="t")["brokers"]), 1)
            client.close()
        first.kill()
        made.ternmq("produce", "t", "still there")
        self.assertEqual(made.ternmq("consume", "t").stdout, b"still there\n")

    def test_known_routes_work_without_a_nameserver(self):
        made = self.make_cluster()
        client = made.broker_client()
        client.call("topic.put", name="t", queues=1)
        made.nameserver.kill()
        client.call("produce", topic="t", queue=0, messages=[b"on my own"])
        client.call("topic.put", name="u", queues=1)
        client.close()
        self.assertEqual(self.bodies(made, "t"), [b"on my own"])

    def test_what_the_disk_cannot_give_ends_the_connection_and_not_the_broker(self):
        made = self.make_cluster("--segment-bytes", "64K", "--shards", "1")
        client = made.broker_client()
        client.call("topic.put", name="t", queues=1)
        for _ in range(300):
            client.call("produce", topic="t", queue=0, messages=[b"x" * 500])
        # To a process that has mapped it, what is cut off a file is as a sector that cannot be read.
        os.truncate(os.path.join(made.store, "0", "0" * 20 + ".log"), 4096)
        for max_bytes in (900, 9000, 90000):
            reader = made.broker_client()
            with self.assertRaises(wire.Lost):
                reader.call("pull", topic="t", queue=0, offset=50, max_bytes=max_bytes)
            reader.close()
        # Looked for by content, what cannot be read says nothing.
        reader = made.broker_client()
        for place in ({"at_time": 1}, {"offset": 50, "epoch": 1}):
            try:
                reader.call("pull", topic="t", queue=0, max_bytes=900, **place)
            except wire.Lost:
                reader.close()
                reader = made.broker_client()
        reader.close()
        self.assertEqual(client.call("pull", topic="t", queue=0, offset=299)["next"], 300)
        self.assertTrue(made.broker.alive(), made.broker.log_tail())
        client.close()

    def test_a_second_start_on_the_same_segments_finds_the_same(self):
        made = self.make_cluster("--segment-bytes", "1M")
        client = made.broker_client()
        client.call("topic.put", name="t", queues=1)
        bodies = [b"%06d" % number + b"x" * 1000 for number in range(5000)]
        for first in range(0, len(bodies), 500):
            client.call("produce", topic="t", queue=0, messages=bodies[first : first + 500])
        client.close()
        made.broker.kill()
        made.start_broker()
        made.broker.stop()
        made.start_broker()
        found = []
        client = made.broker_client()
        while len(found) < len(bodies):
            answer = client.call("pull", topic="t", queue=0, offset=len(found), max_bytes=4 << 20)
            found += [wire.record_body(record) for record in answer["messages"]]
        client.close()
        self.assertEqual(found, bodies)


if __name__ == "__main__":
    tap.main(__name__)
