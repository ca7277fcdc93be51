# SPDX-License-Identifier: Apache-2.0
"""test_two_brokers.py - a topic that two real brokers share: produced to both, one killed, started again, grown, deleted."""

import json
import time
import unittest

import cluster
import tap
import wire

# More than a few calls of the command line's own batches.
MANY = 80000
# What nobody waits longer for than a test must: of a broker that is away on purpose.
SHORT = ("--timeout", "3s")
WRONG_BROKER = 21
# The exit status of the command line where a server cannot be reached.
AWAY = 3


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def key_of(queue, queues):
    """A key that belongs to `queue`."""
    number = 0
    while crc32c(f"key-{number}".encode()) % queues != queue:
        number += 1
    return f"key-{number}"


class TwoBrokersCase(unittest.TestCase):
    """Brokers broker-a, of the cluster, and broker-b; one pair for all cases, as a nameserver needs ten
    seconds until it says that a topic is not there."""

    cluster = None

    @classmethod
    def setUpClass(cls):
        if TwoBrokersCase.cluster is None:
            TwoBrokersCase.cluster = cluster.Cluster()
            TwoBrokersCase.cluster.__enter__()
            unittest.addModuleCleanup(TwoBrokersCase.cluster.__exit__, None, None, None)
            TwoBrokersCase.cluster.ternmq("topic", "create", "first")  # waits for that

    def setUp(self):
        if "broker-b" not in self.cluster.others or not self.cluster.others["broker-b"].alive():
            self.start_b()

    def start_b(self):
        self.cluster.start_other("broker-b")
        self.wait_for(lambda: "broker-b" in self.brokers())

    def brokers(self):
        client = wire.Client(self.cluster.nameserver_address)
        try:
            return [row["name"] for row in client.call("broker.list")["rows"]]
        finally:
            client.close()

    def ternmq(self, *arguments, stdin=b"", status=0):
        """What the command line wrote; what it said is in self.said."""
        done = self.cluster.ternmq(*arguments, stdin=stdin, check=False)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode()

    def client(self, which):
        address = (
            self.cluster.broker_address
            if which == "broker-a"
            else self.cluster.others["broker-b"].address
        )
        client = wire.Client(address)
        self.addCleanup(client.close)
        return client

    def refused(self, client, method, **arguments):
        with self.assertRaises(wire.CallFailed) as caught:
            client.call(method, **arguments)
        return caught.exception.error

    def route(self, topic):
        client = wire.Client(self.cluster.nameserver_address)
        try:
            return client.call("route.get", topic=topic)
        finally:
            client.close()

    def shown(self, topic):
        return json.loads(self.ternmq("topic", "show", topic, "--json"))

    def stored(self, topic):
        """How many messages each broker has; None of one that does not answer."""
        counts = {}
        for row in self.shown(topic)["queues"]:
            count = counts.setdefault(row["broker"], 0)
            counts[row["broker"]] = count + row["end"] if "end" in row else None
        return counts

    def consumed(self, topic, *more, status=0):
        return sorted(self.ternmq("consume", topic, *more, status=status).splitlines())

    def wait_for(self, what, seconds=30.0):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it did not happen in time")
            time.sleep(0.05)


class Shared(TwoBrokersCase):
    def test_both_have_their_part_and_name_the_other_for_its_own(self):
        self.ternmq("topic", "create", "parts", "--brokers", "broker-a,broker-b", "--queues", "5")
        placement = [["broker-a", 0, 3], ["broker-b", 3, 2]]
        route = self.route("parts")
        self.assertEqual(route["placement"], placement)
        self.assertEqual([row["name"] for row in route["brokers"]], ["broker-a", "broker-b"])
        self.assertEqual([row["queues"] for row in route["brokers"]], [5, 5])
        for broker, own, other in (("broker-a", [0, 1, 2], 4), ("broker-b", [3, 4], 0)):
            client = self.client(broker)
            shown = client.call("topic.show", name="parts")
            self.assertEqual(shown["placement"], placement)
            self.assertEqual([row["queue"] for row in shown["queues"]], own)
            self.assertEqual(client.call("topic.list", prefix="parts")["rows"][0]["placement"], placement)
            for method, more in (
                ("produce", {"messages": [b"x"]}),
                ("pull", {"offset": 0}),
                ("message.get", {"offset": 0}),
            ):
                error = self.refused(client, method, topic="parts", queue=other, **more)
                self.assertEqual(error["name"], "WRONG_BROKER", method)
                self.assertNotEqual(error["broker"], broker)
                self.assertEqual(error["queue"], other)
                self.assertTrue(error["retryable"])
        shown = self.shown("parts")
        self.assertEqual([row["queue"] for row in shown["queues"]], [0, 1, 2, 3, 4])
        self.assertEqual([row["broker"] for row in shown["brokers"]], ["broker-a", "broker-b"])
        self.assertIn("broker-b", self.ternmq("topic", "show", "parts"))

    def test_produced_over_both_and_consumed_from_both(self):
        self.ternmq("topic", "create", "wide", "--brokers", "broker-a,broker-b")
        lines = [f"message {number}" for number in range(MANY)]
        self.ternmq("produce", "wide", "--file", "-", stdin="\n".join(lines).encode())
        stored = self.stored("wide")
        self.assertEqual(sum(stored.values()), MANY)
        self.assertGreater(min(stored.values()), MANY // 10)
        self.assertEqual(self.consumed("wide"), sorted(lines))

    def test_asked_for_again_it_is_there_and_a_broker_that_missed_it_is_told(self):
        create = ("topic", "create", "again", "--brokers", "broker-a,broker-b", "--queues", "4")
        placement = [["broker-a", 0, 2], ["broker-b", 2, 2]]
        # As if whoever made it had been killed after the first call.
        self.client("broker-a").call("topic.put", name="again", placement=placement)
        error = self.refused(self.client("broker-b"), "topic.show", name="again")
        self.assertEqual(error["name"], "TOPIC_NOT_FOUND")
        self.ternmq("produce", "again", "goes to the one that knows it")
        self.ternmq(*create)
        self.assertIn("already", self.said)
        shown = self.client("broker-b").call("topic.show", name="again")
        self.assertEqual(shown["placement"], placement)
        self.ternmq(*create)
        self.ternmq("topic", "create", "again", "--brokers", "broker-b", status=1)
        self.assertIn("with other settings: --brokers is broker-a,broker-b;", self.said)

    def test_a_broker_that_is_not_there_makes_nothing_anywhere(self):
        create = ("topic", "create", "nowhere", "--brokers", "broker-a,broker-c", *SHORT)
        self.ternmq(*create, status=AWAY)
        self.assertIn("broker-c", self.said)
        error = self.refused(self.client("broker-a"), "topic.show", name="nowhere")
        self.assertEqual(error["name"], "TOPIC_NOT_FOUND")
        self.ternmq("topic", "create", "nowhere", "--brokers", "broker-a,broker-a", status=2)
        self.ternmq("topic", "create", "nowhere", "--brokers", "broker-a,broker-b", "--queues", "1", status=2)


class Killed(TwoBrokersCase):
    def test_one_is_killed_the_other_goes_on_and_all_is_there_when_it_is_back(self):
        self.ternmq("topic", "create", "t", "--brokers", "broker-a,broker-b", "--queues", "4")
        self.ternmq(
            *("topic", "create", "k", "--brokers", "broker-a,broker-b", "--queues", "4"),
            *("--route", "key"),
        )
        of_a, of_b = key_of(1, 4), key_of(3, 4)
        before = [f"before {number}" for number in range(20)]
        for line in before:
            self.ternmq("produce", "t", line)
        for key in (of_a, of_b):
            self.ternmq("produce", "k", f"first of {key}", "--key", key)
        self.assertEqual(self.stored("k"), {"broker-a": 1, "broker-b": 1})
        stored_by_b = self.stored("t")["broker-b"]
        self.assertGreater(stored_by_b, 0)

        self.cluster.others["broker-b"].kill()
        # Its lease is not over yet, and then it is: neither makes a difference but in words.
        after = [f"after {number}" for number in range(20)]
        for line in after:
            self.ternmq("produce", "t", line)
        self.ternmq("produce", "k", f"second of {of_a}", "--key", of_a)
        self.ternmq("produce", "k", "lost", "--key", of_b, *SHORT, status=AWAY)
        self.assertIn("UNREACHABLE", self.said)
        self.wait_for(lambda: len(self.route("t")["brokers"]) == 1)
        self.ternmq("produce", "k", "lost", "--key", of_b, *SHORT, status=AWAY)
        self.assertIn("UNREACHABLE", self.said)
        self.assertIn("broker-b", self.said)
        self.ternmq("produce", "k", f"third of {of_a}", "--key", of_a)
        self.assertEqual(self.stored("k"), {"broker-a": 3, "broker-b": None})

        # What the living one has is consumed, whole, before it is said that the rest is away.
        found = self.consumed("t", *SHORT, status=AWAY)
        self.assertEqual(len(found), 40 - stored_by_b)
        self.assertTrue(set(after) <= set(found))
        self.assertIn("UNREACHABLE", self.said)

        self.start_b()
        self.assertEqual(self.consumed("t"), sorted(before + after))
        self.ternmq("produce", "k", f"second of {of_b}", "--key", of_b)
        expected = [f"{which} of {of_a}" for which in ("first", "second", "third")]
        expected += [f"{which} of {of_b}" for which in ("first", "second")]
        self.assertEqual(self.consumed("k"), sorted(expected))
        for broker in ("broker-a", "broker-b"):
            shown = self.client(broker).call("topic.show", name="t")
            self.assertEqual(shown["placement"], [["broker-a", 0, 2], ["broker-b", 2, 2]])


class Grouped(TwoBrokersCase):
    def test_a_group_shares_the_messages_of_both_and_goes_on_with_one(self):
        self.ternmq("topic", "create", "shared", "--brokers", "broker-a,broker-b", "--queues", "4")
        for queue in range(4):
            self.ternmq("produce", "shared", f"before {queue}", "--queue", str(queue))
        consume = ("consume", "shared", "--group", "g", "--idle", "2s")
        found = sorted(self.ternmq(*consume).splitlines())
        self.assertEqual(found, [f"before {queue}" for queue in range(4)])
        self.cluster.others["broker-b"].kill()
        self.ternmq("produce", "shared", "of a", "--queue", "0")
        self.assertEqual(self.ternmq(*consume).splitlines(), ["of a"])
        self.start_b()
        self.ternmq("produce", "shared", "of b", "--queue", "3")
        self.assertEqual(self.ternmq(*consume).splitlines(), ["of b"])

    def test_a_group_that_one_broker_lacks_is_made_there_when_it_is_asked_for_again(self):
        for broker, topic in (("broker-a", "left"), ("broker-b", "right")):
            self.ternmq("topic", "create", topic, "--brokers", broker, "--queues", "1")
        create = ("group", "create", "halves", "--topic", "left", "--topic", "right")
        self.client("broker-a").call("group.put", name="halves", settings={"topics": {"left": None}})
        self.assertEqual(self.ternmq(*create), "")
        self.assertIn("was there already, as asked", self.said)
        rows = self.ternmq("group", "list", "--prefix", "halves", "--json").splitlines()
        self.assertEqual([json.loads(row)["broker"] for row in rows], ["broker-a", "broker-b"])
        self.ternmq("topic", "create", "wide", "--brokers", "broker-a,broker-b", "--queues", "2")
        self.ternmq(*create, "--topic", "wide", status=1)
        self.assertIn("it does not read topic wide", self.said)

    def test_a_topic_of_one_broker_is_sought_where_it_is_read(self):
        for broker, topic in (("broker-a", "west"), ("broker-b", "east")):
            self.ternmq("topic", "create", topic, "--brokers", broker, "--queues", "1")
        self.ternmq("group", "create", "sides", "--topic", "west", "--topic", "east")
        for broker, topic in (("broker-a", "west"), ("broker-b", "east")):
            (row,) = self.ternmq("group", "seek", "sides", "--topic", topic, "--to", "first", "--json").splitlines()
            self.assertEqual((json.loads(row)["broker"], json.loads(row)["topic"]), (broker, topic))
            self.assertEqual(self.said, "")

    def test_each_broker_leases_and_settles_its_own_queues(self):
        self.ternmq("topic", "create", "settled", "--brokers", "broker-a,broker-b", "--queues", "2")
        clients = [self.client(broker) for broker in ("broker-a", "broker-b")]
        for queue, client in enumerate(clients):
            client.call("group.put", name="h", settings={"topics": {"settled": None}, "from": "first"})
            client.call("produce", topic="settled", queue=queue, messages=[b"x"])
        receipts = []
        for queue, client in enumerate(clients):
            (leased,) = client.call("receive", group="h", wait_ms=5000)["ranges"]
            self.assertEqual(leased[:4], ["settled", queue, 0, 1])
            receipts.append([*leased[:4], leased[6]])
        failed = clients[0].call("ack", group="h", receipts=receipts)["failed"]
        self.assertEqual(failed, [[1, WRONG_BROKER]])
        self.assertEqual(clients[1].call("ack", group="h", receipts=receipts[1:])["failed"], [])


class Changed(TwoBrokersCase):
    def test_queues_are_added_behind_on_the_brokers_that_are_named(self):
        self.ternmq("topic", "create", "grown", "--queues", "2", "--brokers", "broker-a")
        self.ternmq("produce", "grown", "old")
        self.ternmq("topic", "set", "grown", "--queues", "4", "--brokers", "broker-b")
        self.ternmq("topic", "set", "grown", "--queues", "7")  # shared out among those that have it
        placement = [["broker-a", 0, 2], ["broker-b", 2, 2], ["broker-a", 4, 2], ["broker-b", 6, 1]]
        self.assertEqual(self.route("grown")["placement"], placement)
        for queue in range(7):
            self.ternmq("produce", "grown", f"new {queue}", "--queue", str(queue))
        self.assertEqual(self.consumed("grown"), sorted(["old"] + [f"new {n}" for n in range(7)]))
        self.ternmq("topic", "set", "grown", "--queues", "3", status=1)
        self.ternmq("topic", "set", "grown", "--durability", "memory")
        for broker in ("broker-a", "broker-b"):
            shown = self.client(broker).call("topic.show", name="grown")
            self.assertEqual(shown["settings"]["durability"], "memory")
            self.assertEqual(shown["placement"], placement)

    def test_it_is_deleted_on_both_or_on_neither(self):
        self.ternmq("topic", "create", "gone", "--brokers", "broker-a,broker-b")
        self.cluster.others["broker-b"].kill()
        self.ternmq("topic", "delete", "gone", "--yes", *SHORT, status=AWAY)
        self.client("broker-a").call("topic.show", name="gone")
        self.start_b()
        self.ternmq("topic", "delete", "gone", "--yes")
        for broker in ("broker-a", "broker-b"):
            error = self.refused(self.client(broker), "topic.show", name="gone")
            self.assertEqual(error["name"], "TOPIC_NOT_FOUND")

    def test_a_deletion_that_was_cut_in_the_middle_is_done_again(self):
        self.ternmq("topic", "create", "cut", "--brokers", "broker-a,broker-b")
        self.client("broker-a").call("topic.delete", name="cut")
        self.ternmq("topic", "delete", "cut", "--yes")
        error = self.refused(self.client("broker-b"), "topic.show", name="cut")
        self.assertEqual(error["name"], "TOPIC_NOT_FOUND")


if __name__ == "__main__":
    tap.main(__name__)
