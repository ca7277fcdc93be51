# SPDX-License-Identifier: Apache-2.0
"""test_group_show.py - where a group stands, why it does not move, and how it is moved somewhere else."""

import json
import subprocess
import threading
import time
import unittest

import cluster
import tap
import wire

DONE, FAILED, USAGE = 0, 1, 2
LONG_MS = 600000


class ShowCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(["--shards", "3", "--durability", "memory"])
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.serial = 0

    def setUp(self):
        self.client = self.cluster.broker_client()
        self.addCleanup(lambda: self.client.close())
        type(self).serial += 1
        self.topic = f"topic-{self.serial}"
        self.group = f"group-{self.serial}"

    def make(self, queues=1, route="any", **settings):
        self.client.call("topic.put", name=self.topic, queues=queues, settings={"route": route})
        self.put(**{"topics": {self.topic: None}, "from": "first", **settings})

    def put(self, **settings):
        self.client.call("group.put", name=self.group, settings=settings)

    def produce(self, *bodies, queue=0):
        return self.client.call("produce", topic=self.topic, queue=queue, messages=list(bodies))["offset"]

    def produce_keyed(self, *keys):
        for key in keys:
            self.client.call("produce", topic=self.topic, messages=[[None, [key], None, key]])

    def receive(self, max=65535, **args):
        return self.client.call("receive", group=self.group, max=max, **args)

    def receipts(self, answer):
        return [[r[0], r[1], r[2], r[3], r[6]] for r in answer["ranges"]]

    def settle(self, verb, answer, **args):
        return self.client.call(verb, group=self.group, receipts=self.receipts(answer), **args)["failed"]

    def show(self, **args):
        return self.client.call("group.show", name=self.group, **args)

    def row(self, queue=0):
        (row,) = (r for r in self.show()["queues"] if (r["topic"], r["queue"]) == (self.topic, queue))
        return row

    def seek(self, to, **args):
        return self.client.call("group.seek", group=self.group, to=to, **args)["rows"]

    def trace(self, offset=0, queue=0):
        return self.client.call("message.trace", topic=self.topic, queue=queue, offset=offset)

    def bodies(self, answer):
        return [wire.record_body(record).decode() for record in answer["messages"]]

    def refused(self, error, method, **arguments):
        with self.assertRaises(wire.CallFailed) as caught:
            self.client.call(method, **arguments)
        self.assertEqual(caught.exception.name, error, caught.exception.error)
        return caught.exception.error


class Show(ShowCase):
    def expect(self, row, **values):
        self.assertEqual({key: row.get(key) for key in values}, values, row)

    def test_a_new_group_has_the_backlog_as_its_lag(self):
        self.make(queues=3)
        before = time.time() * 1000
        self.produce("a", "b", queue=1)
        self.expect(self.row(0), lag=0, cursor=0, end=0, state="idle", oldest=None)
        row = self.row(1)
        self.expect(row, lag=2, cursor=0, end=2, state="ready", leased=0, retrying=0, dead=0, skipped=0)
        self.assertGreaterEqual(row["oldest"], int(before) - 1)
        self.assertLessEqual(row["oldest"], time.time() * 1000 + 1)
        self.assertEqual(len(self.show(topic=self.topic)["queues"]), 3)

    def test_numbers_follow_what_is_leased_failed_and_settled(self):
        self.make()
        self.produce(*"abcdef")
        first = self.receive(max=2, lease_ms=LONG_MS, member="one")
        second = self.receive(max=1, lease_ms=LONG_MS, member="two")
        row = self.row()
        self.expect(row, cursor=0, lag=6, leased=3, retrying=0, state="ready")
        self.assertAlmostEqual(row["lease_until"] / 1000, time.time() + LONG_MS / 1000, delta=20)
        members = {m["member"]: m for m in self.show()["members"]}
        self.assertEqual({name: m["leased"] for name, m in members.items()}, {"one": 2, "two": 1})
        self.assertAlmostEqual(members["one"]["seen_ms"] / 1000, time.time(), delta=20)
        self.settle("ack", first)
        self.expect(self.row(), cursor=2, lag=4, leased=1)
        self.settle("nack", second, delay_ms=LONG_MS)
        row = self.row()
        self.expect(row, cursor=3, lag=4, leased=0, retrying=1, state="ready")
        self.assertAlmostEqual(row["next_retry"] / 1000, time.time() + LONG_MS / 1000, delta=20)
        self.settle("ack", self.receive())
        row = self.row()
        self.expect(row, cursor=6, lag=1, leased=0, retrying=1, state="waiting")
        self.assertLess(row["oldest"], time.time() * 1000 + 1)
        show = self.show()
        counters = {key: show[key] for key in ("delivered", "acked", "nacked", "expired", "dead")}
        self.assertEqual(counters, {"delivered": 6, "acked": 5, "nacked": 1, "expired": 0, "dead": 0})

    def test_the_oldest_is_when_the_first_undone_message_was_stored(self):
        self.make()
        self.produce("old")
        answer = self.receive()
        time.sleep(0.25)
        middle = time.time() * 1000
        self.produce("new")
        self.assertLess(self.row()["oldest"], middle)
        self.settle("ack", answer)
        self.assertGreaterEqual(self.row()["oldest"], int(middle) - 1)

    def test_what_a_filter_does_not_want_is_lag_until_somebody_looks(self):
        self.make(topics={self.topic: "wanted"})
        tagged = [["other", None, None, f"{i}"] for i in range(50)]
        self.produce(*tagged)
        self.expect(self.row(), lag=50, state="ready")
        self.assertEqual(self.receive()["messages"], [])
        self.expect(self.row(), lag=0, state="idle", cursor=50)
        show = self.show()
        self.assertEqual((show["delivered"], show["filtered"]), (0, 50))

    def test_an_order_of_queues_names_what_holds_it(self):
        self.make(order="queue")
        self.produce("a", "b")
        answer = self.receive(max=1, lease_ms=LONG_MS)
        row = self.row()
        self.expect(row, state="leased")
        self.assertEqual([(b["offset"], b["attempt"], b["state"]) for b in row["blocked_by"]], [(0, 1, "leased")])
        self.settle("nack", answer, delay_ms=LONG_MS)
        row = self.row()
        self.expect(row, state="blocked", lag=2, retrying=1)
        (block,) = row["blocked_by"]
        self.assertEqual((block["offset"], block["attempt"], block["state"]), (0, 2, "waiting"))
        self.assertAlmostEqual(block["until"] / 1000, time.time() + LONG_MS / 1000, delta=20)

    def test_an_order_of_keys_names_the_key_that_is_parked(self):
        self.make(route="key", order="key")
        self.produce_keyed("good", "bad", "bad", "good")
        answer = self.receive(lease_ms=LONG_MS)
        self.assertEqual(len(answer["messages"]), 4)
        bad = [[r[0], r[1], 1, 1, r[6]] for r in answer["ranges"] if r[2] <= 1 < r[2] + r[3]]
        self.assertEqual(self.client.call("nack", group=self.group, receipts=bad, delay_ms=LONG_MS)["failed"], [])
        row = self.row()
        self.expect(row, state="blocked", retrying=1, leased=2)
        (block,) = row["blocked_by"]
        self.assertRegex(block["key"], "^[0-9a-f]{8}$")
        self.assertEqual((block["offset"], block["attempt"], block["state"]), (1, 2, "waiting"))

    def test_no_more_blocks_are_named_than_sixteen(self):
        self.make(route="key", order="key")
        self.produce_keyed(*[f"key-{i}" for i in range(40)])
        self.settle("nack", self.receive(), delay_ms=LONG_MS)
        self.expect(self.row(), state="waiting", retrying=40)
        self.assertEqual(len(self.row()["blocked_by"]), 16)

    def test_dead_letters_are_counted_until_they_are_done(self):
        self.make(attempts=1)
        self.produce("a", "b")
        self.settle("nack", self.receive(max=1), dead=True)
        deadline = time.monotonic() + 20
        while self.show()["dead"] == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.show()["dead"], 1)
        self.expect(self.row(), lag=1, cursor=1, dead=0)

    def test_a_broadcast_group_shows_the_sum_of_its_members(self):
        self.make(**{"broadcast": True, "from": "last"})
        for member in ("one", "two"):
            self.client.call("receive", group=self.group, member=member)
        self.produce(*"abc")
        answer = self.client.call("receive", group=self.group, member="one")
        self.settle("ack", answer)
        row = self.row()
        self.expect(row, cursor=0, end=3, lag=3)
        self.assertEqual(sorted(m["member"] for m in self.show()["members"]), ["one", "two"])
        one = self.client.call("group.show", name=f"{self.group}@one")
        self.assertEqual([r["lag"] for r in one["queues"]], [0])

    def test_topics_that_are_gone_are_named(self):
        self.make()
        self.client.call("topic.put", name="brief", queues=1)
        self.put(topics={self.topic: None, "brief": None})
        self.client.call("topic.delete", name="brief")
        show = self.show()
        self.assertEqual(show["missing"], ["brief"])
        self.assertEqual([r["topic"] for r in show["queues"]], [self.topic])
        self.refused("TOPIC_NOT_FOUND", "group.show", name=self.group, topic="brief")

    def test_what_is_not_there_is_refused(self):
        self.make()
        self.refused("GROUP_NOT_FOUND", "group.show", name="nobody")
        self.refused("TOPIC_NOT_FOUND", "group.show", name=self.group, topic="elsewhere")
        self.refused("UNKNOWN_ARGUMENT", "group.show", name=self.group, colour=1)

    def test_many_open_ranges_are_looked_through_in_parts(self):
        self.make(lease_ms=LONG_MS)
        for _ in range(20):
            self.produce(*["x"] * 1000)
        answer = self.receive(max_bytes=4 << 20)
        offsets = [record[wire.RECORD_OFFSET] for record in answer["messages"]]
        (spread,) = answer["ranges"]
        every_other = [[self.topic, 0, offset, 1, spread[6]] for offset in offsets[::2]]
        for i in range(0, len(every_other), 2000):
            self.client.call("ack", group=self.group, receipts=every_other[i : i + 2000])
        count = len(offsets) - len(every_other)
        row = self.row()
        self.expect(row, leased=count, lag=20000 - len(every_other))


class Seek(ShowCase):
    def test_back_to_the_first_and_on_to_the_last(self):
        self.make(queues=2)
        self.produce("a", "b", "c", queue=0)
        self.produce("d", queue=1)
        for _ in range(2):
            self.settle("ack", self.receive())
        rows = self.seek("first")
        self.assertEqual(
            rows,
            [
                {"topic": self.topic, "queue": 0, "was": 3, "now": 0, "again": 3, "skipped": 0},
                {"topic": self.topic, "queue": 1, "was": 1, "now": 0, "again": 1, "skipped": 0},
            ],
        )
        self.assertEqual([r["lag"] for r in self.show()["queues"]], [3, 1])
        rows = self.seek("last", topic=self.topic, queue=0)
        self.assertEqual([(r["queue"], r["now"], r["again"], r["skipped"]) for r in rows], [(0, 3, 0, 3)])
        self.assertEqual(self.bodies(self.receive()), ["d"])

    def test_a_dry_run_says_the_same_and_changes_nothing(self):
        self.make()
        self.produce(*"abcd")
        self.settle("ack", self.receive(max=3))
        before = self.row()
        dry = self.seek({"offset": 1}, topic=self.topic, queue=0, dry_run=True)
        self.assertEqual(self.row(), before)
        self.assertEqual(self.seek({"offset": 1}, topic=self.topic, queue=0), dry)
        self.assertEqual(dry, [{"topic": self.topic, "queue": 0, "was": 3, "now": 1, "again": 2, "skipped": 0}])
        self.assertEqual(self.bodies(self.receive()), ["b", "c", "d"])

    def test_what_is_open_is_not_again_but_skipped(self):
        self.make()
        self.produce(*"abcdef")
        first = self.receive(max=2)
        self.receive(max=2)
        self.settle("ack", first)
        (row,) = self.seek({"offset": 5}, topic=self.topic, queue=0, dry_run=True)
        self.assertEqual((row["was"], row["again"], row["skipped"]), (2, 0, 3))
        (row,) = self.seek({"offset": 1}, topic=self.topic, queue=0, dry_run=True)
        self.assertEqual((row["again"], row["skipped"]), (1, 0))

    def test_leases_and_retries_are_void_afterwards(self):
        self.make()
        self.produce("a", "b", "c")
        failed = self.receive(max=1)
        self.settle("nack", failed, delay_ms=LONG_MS)
        held = self.receive(lease_ms=LONG_MS)
        self.seek("first")
        code = 63
        for verb in ("ack", "nack", "extend"):
            self.assertEqual(self.settle(verb, held), [[0, code]], verb)
        answer = self.receive()
        self.assertEqual(self.bodies(answer), ["a", "b", "c"])
        self.assertEqual([r[5] for r in answer["ranges"]], [1])
        (member,) = self.show()["members"]
        self.assertEqual(member["leased"], 3)

    def test_a_time_is_the_first_message_stored_at_or_after_it(self):
        self.make()
        self.produce("a")
        time.sleep(0.05)
        moment = int(time.time() * 1000)
        time.sleep(0.05)
        self.produce("b")
        (row,) = self.seek({"at_time": moment})
        self.assertEqual(row["now"], 1)
        (row,) = self.seek({"at_time": 0})
        self.assertEqual(row["now"], 0)
        (row,) = self.seek({"at_time": moment + LONG_MS})
        self.assertEqual(row["now"], 2)

    def test_another_groups_position_is_taken_queue_by_queue(self):
        self.make(queues=2)
        self.produce(*"abc", queue=0)
        self.produce(*"de", queue=1)
        other = self.group + "-other"
        self.client.call("group.put", name=other, settings={"topics": {self.topic: None}, "from": "first"})
        answer = self.client.call("receive", group=other)
        receipts = [[r[0], r[1], r[2], 1, r[6]] for r in answer["ranges"]]
        self.client.call("ack", group=other, receipts=receipts)
        for _ in range(2):
            self.settle("ack", self.receive())
        rows = self.seek({"group": other})
        taken = {r[1] for r in answer["ranges"]}
        self.assertEqual([r["now"] for r in rows], [1 if q in taken else 0 for q in (0, 1)])
        self.client.call("topic.put", name="elsewhere", queues=1)
        self.client.call("group.put", name="stranger", settings={"topics": {"elsewhere": None}})
        error = self.refused("BAD_ARGUMENT", "group.seek", group=self.group, to={"group": "stranger"})
        self.assertEqual(error["key"], "to")
        self.refused("GROUP_NOT_FOUND", "group.seek", group=self.group, to={"group": "nobody"})

    def test_what_makes_no_sense_is_refused_and_changes_nothing(self):
        self.make()
        self.produce("a", "b")
        self.settle("ack", self.receive(max=1))
        for to in ("middle", 7, None, {}, {"offset": -1}, {"offset": 1, "at_time": 1}, ["first"], {"when": 1}):
            error = self.refused("BAD_ARGUMENT", "group.seek", group=self.group, to=to)
            self.assertEqual(error["key"], "to")
        one = {"topic": self.topic, "queue": 0}
        error = self.refused("TRUNCATED", "group.seek", group=self.group, to={"offset": 3}, **one)
        self.assertEqual(error["resume"], 2)
        self.refused("BAD_ARGUMENT", "group.seek", group=self.group, to={"offset": 1})
        self.refused("BAD_ARGUMENT", "group.seek", group=self.group, to="first", queue=0)
        self.refused("GROUP_NOT_FOUND", "group.seek", group="nobody", to="first")
        self.refused("TOPIC_NOT_FOUND", "group.seek", group=self.group, to="first", topic="nowhere")
        self.refused("TOPIC_NOT_FOUND", "group.seek", group=self.group, to="first", topic=self.topic, queue=1)
        self.assertEqual((self.row()["cursor"], self.row()["lag"]), (1, 1))

    def test_who_waits_gets_what_a_seek_brings_back(self):
        self.make()
        self.produce("a")
        self.settle("ack", self.receive())
        waiting = self.client.send("receive", group=self.group, wait_ms=20000)
        other = self.cluster.broker_client()
        other.call("group.seek", group=self.group, to="first")
        other.close()
        error, answer = self.client.take_for(waiting)
        self.assertIsNone(error)
        self.assertEqual(self.bodies(answer), ["a"])

    def test_a_position_outlives_a_kill(self):
        self.make()
        self.produce(*"abc")
        self.settle("ack", self.receive())
        self.seek({"offset": 1}, topic=self.topic, queue=0)
        self.client.close()
        self.cluster.broker.kill()
        self.cluster.start_broker()
        self.client = self.cluster.broker_client()
        self.assertEqual((self.row()["cursor"], self.row()["lag"]), (1, 2))
        self.assertEqual(self.bodies(self.receive()), ["b", "c"])

    def run_members(self, order, route):
        """Three members work while the group is moved to and fro; what each got, in order."""
        self.make(queues=2, route=route, order=order, lease_ms=2000)
        count = 400
        if order == "key":
            self.produce_keyed(*[f"k{i % 7}" for i in range(count)])
        else:
            for i in range(count):
                self.produce(f"{i:05}", queue=i % 2)
        stop = threading.Event()
        got = []
        failures = []

        def work(name):
            client = self.cluster.broker_client()
            try:
                while not stop.is_set():
                    answer = client.call("receive", group=self.group, member=name, max=7, wait_ms=50)
                    got.extend((r[0], r[1], o) for r in answer["ranges"] for o in range(r[2], r[2] + r[3]))
                    if answer["ranges"]:
                        client.call("ack", group=self.group, receipts=self.receipts(answer))
            except Exception as error:  # shown by the test
                failures.append(error)
            finally:
                client.close()

        threads = [threading.Thread(target=work, args=(f"m{i}",)) for i in range(3)]
        for thread in threads:
            thread.start()
        for to in ("first", "last", "first", {"at_time": 0}, "last", "first"):
            time.sleep(0.1)
            self.seek(to)
        deadline = time.monotonic() + 60
        while any(r["lag"] for r in self.show()["queues"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual([(r["lag"], r["leased"], r["retrying"]) for r in self.show()["queues"]], [(0, 0, 0)] * 2)
        ends = {r["queue"]: r["end"] for r in self.show()["queues"]}
        self.assertEqual({(q, o) for _t, q, o in got}, {(q, o) for q, end in ends.items() for o in range(end)})

    def test_members_go_on_through_seeks_without_order(self):
        self.run_members("none", "any")

    def test_members_go_on_through_seeks_in_the_order_of_queues(self):
        self.run_members("queue", "any")

    def test_members_go_on_through_seeks_in_the_order_of_keys(self):
        self.run_members("key", "key")


class Trace(ShowCase):
    def test_a_message_that_nobody_had_yet(self):
        self.make()
        before = time.time() * 1000
        self.produce("a")
        trace = self.trace()
        self.assertGreaterEqual(trace["stored_at"], int(before) - 1)
        self.assertEqual(trace["deliveries"], [])
        self.assertEqual(trace["groups"], [{"group": self.group, "state": "ahead"}])
        self.assertEqual(trace["epoch"], self.client.call("hello")["epoch"])

    def test_durable_is_what_the_disk_has(self):
        self.make()
        self.client.call("produce", topic=self.topic, queue=0, messages=["a"], durability="disk")
        self.assertTrue(self.trace()["durable"])

    def test_every_delivery_is_told_with_its_end(self):
        self.make(attempts=3, backoff=[0])
        self.produce("a", "b", "c")
        self.settle("nack", self.receive(max=1, member="one"), reason="no stock")
        held = self.receive(max=1, member="two", lease_ms=LONG_MS)
        told = [(g, m, n, outcome) for g, m, n, _at, outcome in self.trace()["deliveries"]]
        self.assertEqual(
            told,
            [
                (self.group, "one", 1, "leased"),
                (self.group, "one", 1, "nacked"),
                (self.group, "two", 2, "leased"),
            ],
        )
        (group,) = self.trace()["groups"]
        self.assertEqual((group["state"], group["failed"], group["member"]), ("leased", 1, "two"))
        self.assertEqual(group["reason"], "no stock")
        self.settle("ack", held)
        self.assertEqual(self.trace()["deliveries"][-1][4], "acked")
        self.assertEqual(self.trace()["groups"], [{"group": self.group, "state": "settled"}])
        self.assertEqual(self.trace(1)["deliveries"], [])

    def test_a_lease_that_expires_and_a_dead_letter_are_told(self):
        self.make(attempts=1)
        self.produce("a")
        self.receive(member="slow", lease_ms=100)
        deadline = time.monotonic() + 20
        outcomes = []
        while "dead" not in outcomes and time.monotonic() < deadline:
            time.sleep(0.05)
            outcomes = [d[4] for d in self.trace()["deliveries"]]
        self.assertEqual(outcomes, ["leased", "expired", "dead"])

    def test_what_is_given_back_is_told(self):
        self.make()
        self.produce("a")
        other = self.cluster.broker_client()
        other.call("hello", release_on_close=True)
        other.call("receive", group=self.group, member="brief")
        other.close()
        deadline = time.monotonic() + 20
        while len(self.trace()["deliveries"]) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual([d[4] for d in self.trace()["deliveries"]], ["leased", "given back"])
        self.assertEqual(self.trace()["groups"][0]["state"], "ready")

    def test_what_is_not_there_is_refused(self):
        self.make()
        self.produce("a")
        self.refused("MESSAGE_NOT_FOUND", "message.trace", topic=self.topic, queue=0, offset=1)
        self.refused("BAD_ARGUMENT", "message.trace", topic=self.topic, queue=1, offset=0)
        self.refused("TOPIC_NOT_FOUND", "message.trace", topic="nowhere", queue=0, offset=0)


class Explain(ShowCase):
    def ternmq(self, *arguments, status=DONE):
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode()

    def explain(self, well):
        told = json.loads(self.ternmq("explain", "group", self.group, "--json"))
        text = self.ternmq("explain", "group", self.group)
        self.assertEqual(told["well"], well, text)
        self.assertEqual(len(told["sentences"]), len(text.splitlines()))
        self.assertEqual(told["answer"]["name"], self.group)
        return text

    def message(self, place, status=DONE):
        return self.ternmq("explain", "message", f"{self.topic}/{place}", status=status)

    def test_all_is_well_where_nothing_is_undone(self):
        self.make(queues=2)
        self.assertIn("Nothing is undone in its 2 queues; no member asks now.", self.explain(True))
        self.produce("a")
        self.settle("ack", self.receive())
        self.assertEqual(self.explain(True), "Nothing is undone in its 2 queues.\n")

    def test_no_member_asks(self):
        self.make()
        self.produce("a", "b")
        self.assertIn("2 messages may be given out, and no member asks", self.explain(False))
        self.settle("ack", self.receive(max=1, member="brief"))
        text = self.explain(False)
        self.assertIn("1 message may be given out, and no member asks", text)
        self.assertRegex(text, r"Member brief was the last that was heard of, \d+\.\d s ago")
        self.assertRegex(text, r"The oldest that is not done was stored \d+\.\d s ago")

    def test_members_are_at_work(self):
        self.make()
        self.produce("a", "b", "c")
        self.receive(max=1, lease_ms=LONG_MS)
        text = self.explain(True)
        self.assertIn("1 message is leased to 1 member.\n2 messages besides may be given out to who asks next.", text)
        self.assertRegex(text, r"Member .* was the last that was heard of, \d+\.\d s ago")

    def test_members_ask_for_one_of_two_topics(self):
        self.make()
        other = self.topic + "-other"
        self.client.call("topic.put", name=other, queues=1)
        self.put(**{"topics": {self.topic: None, other: None}, "from": "first"})
        self.produce("a")
        self.client.call("produce", topic=other, queue=0, messages=["b", "c"])
        self.receive(topic=self.topic, lease_ms=LONG_MS)
        text = self.explain(False)
        self.assertIn(f"Topic {other}: 2 messages may be given out, and no member has anything of it", text)
        self.assertNotIn("besides", text)

    def test_a_poll_for_another_topic_is_not_one_that_asks(self):
        self.make()
        other = self.topic + "-other"
        self.client.call("topic.put", name=other, queues=1)
        self.put(**{"topics": {self.topic: None, other: None}, "from": "first"})
        self.client.call("produce", topic=other, queue=0, messages=["b"])
        poll = self.cluster.broker_client()
        self.addCleanup(poll.close)
        waits = threading.Thread(target=lambda: poll.call("receive", group=self.group, topic=self.topic, wait_ms=20000))
        waits.start()
        self.addCleanup(waits.join)
        deadline = time.monotonic() + 20
        while not any(m["waiting"] for m in self.show()["members"]) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertIn(f"Topic {other}: 1 message may be given out", self.explain(False))
        self.produce("a")

    def test_what_an_order_keeps_back_is_not_called_free(self):
        self.make(order="queue")
        self.produce("a", "b", "c")
        self.assertIn("At least 1 message may be given out", self.explain(False))

    def test_a_filter_decides_when_a_member_asks(self):
        self.make(topics={self.topic: "wanted"})
        self.produce("a")
        self.assertIn("What of them its filter wants is seen when a member asks.", self.explain(False))

    def test_all_leases_are_out(self):
        self.make()
        self.produce("a", "b")
        self.receive(lease_ms=LONG_MS)
        text = self.explain(True)
        self.assertRegex(text, r"All that may be given out is: 2 messages with 1 member; the first lease ends in [56]\d\d")

    def test_what_failed_waits_for_its_next_attempt(self):
        self.make()
        self.produce("a")
        self.settle("nack", self.receive(), delay_ms=LONG_MS)
        text = self.explain(False)
        self.assertRegex(text, r"1 message failed and will be tried again; the next attempt is due in [56]\d\d")

    def test_a_key_is_parked(self):
        self.make(route="key", order="key")
        self.produce_keyed("bad", "bad")
        self.settle("nack", self.receive(max=1), delay_ms=LONG_MS)
        self.assertEqual(self.receive()["messages"], [])
        text = self.explain(False)
        self.assertNotIn("no member asks", text)
        self.assertRegex(text, r"key [0-9a-f]{8} is parked until attempt 2 of message 0, due in [56]\d\d")

    def test_a_message_holds_an_ordered_queue(self):
        self.make(order="queue")
        self.produce("a", "b")
        self.settle("nack", self.receive(max=1), delay_ms=LONG_MS)
        text = self.explain(False)
        self.assertRegex(text, r"is held by message 0, which failed, until its attempt 2, due in [56]\d\d")

    def test_a_filter_passes_nothing(self):
        self.make(topics={self.topic: "wanted"})
        self.produce("a", "b", "c")
        self.receive()
        self.assertIn("The filter has passed nothing since the broker's start: 3 messages looked at", self.explain(False))

    def test_a_topic_is_gone(self):
        self.make()
        self.client.call("topic.delete", name=self.topic)
        self.assertIn(f"Topic {self.topic} is not there", self.explain(False))

    def test_dead_letters_are_there(self):
        self.make(attempts=1)
        self.produce("a")
        self.settle("nack", self.receive(), dead=True)
        deadline = time.monotonic() + 20
        while self.show()["dead"] == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertIn(f"1 message in its topic of dead letters, %DLQ%{self.group}.", self.explain(False))

    def test_a_message_from_its_store_to_its_end(self):
        self.make()
        self.client.call("produce", topic=self.topic, queue=0, messages=["a"], durability="disk")
        text = self.message("0/0")
        self.assertRegex(text, r"It was stored \d+\.\d s ago, in epoch \d+; it is on disk.")
        self.assertIn(f"Group {self.group}: it is not given out yet.", text)
        held = self.receive(member="worker", lease_ms=LONG_MS)
        self.assertRegex(self.message("0/0"), r"it is with member worker, attempt 1, whose lease ends in [56]\d\d")
        self.settle("nack", held, reason="no stock", delay_ms=LONG_MS)
        self.assertRegex(self.message("0/0"), r"tried again in [56]\d\d\.\d s, attempt 2; the one before failed: no stock")
        self.client.call("ack", group=self.group, receipts=[[self.topic, 0, 0, 1, None]])
        self.assertRegex(self.message("0/0"), f"Group {self.group} is done with it: acked .* ago")
        told = json.loads(self.ternmq("explain", "message", f"{self.topic}/0/0", "--json"))
        self.assertEqual([d[4] for d in told["answer"]["deliveries"]], ["leased", "nacked", "acked"])
        epoch = told["answer"]["epoch"]
        self.assertNotIn("is gone", self.message(f"0/0/{epoch}"))
        self.assertIn(f"of epoch {epoch + 1} at this place is gone", self.message(f"0/0/{epoch + 1}"))

    def test_a_lease_that_expired_is_told(self):
        self.make()
        self.produce("a")
        self.receive(member="slow", lease_ms=100)
        deadline = time.monotonic() + 20
        while "expired" not in [d[4] for d in self.trace()["deliveries"]] and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertRegex(
            self.message("0/0"),
            r"it can be given out again now, attempt 2; "
            r"the lease of attempt 1, with member slow, expired \d+\.\d s ago\.",
        )
        self.client.call("ack", group=self.group, receipts=[[self.topic, 0, 0, 1, None]])
        self.assertRegex(self.message("0/0"), r"is done with it: acked .*; the lease of attempt 1, with member slow, expired")

    def test_only_what_can_be_is_said_of_a_message_that_no_event_tells_of(self):
        self.make(topics={self.topic: "wanted"})
        other = self.group + "-last"
        self.produce("a")
        self.client.call("group.put", name=other, settings={"topics": {self.topic: None}, "from": "last"})
        self.client.call("receive", group=other)
        self.receive()
        text = self.message("0/0")
        self.assertIn(f"Group {self.group} goes on behind it, and no event says why: its filter did not want it, or", text)
        self.assertIn(f"Group {other} goes on behind it, and no event says why: it began or was set behind it.\n", text)

    def test_a_message_that_an_order_of_queues_keeps_back_is_not_called_free(self):
        self.make(order="queue")
        self.produce("a", "b")
        held = self.receive(lease_ms=LONG_MS)
        (one,) = self.receipts(held)
        first = [*one[:3], 1, one[4]]
        failed = self.client.call("nack", group=self.group, receipts=[first], delay_ms=LONG_MS)["failed"]
        self.assertEqual(failed, [])
        self.client.call("nack", group=self.group, receipts=[[*one[:2], 1, 1, one[4]]], delay_ms=0)
        self.assertIn("it waits for an earlier message to be done", self.message("0/1"))

    def test_what_is_not_there_and_wrong_usage(self):
        self.make()
        self.ternmq("explain", "group", "nobody", status=FAILED)
        self.assertIn("GROUP_NOT_FOUND", self.said)
        self.ternmq("explain", "group", "a b", status=USAGE)
        self.message("0/0", status=FAILED)
        self.assertIn("MESSAGE_NOT_FOUND", self.said)
        for place in ("0", "0/", "x/0", "0/0/0/0", "0/-1", "5000/0", "0/99999999999999999999"):
            self.message(place, status=USAGE)
            self.assertIn("TOPIC/QUEUE/OFFSET", self.said)

    def test_a_nameserver_finds_the_broker(self):
        self.make()
        done = self.cluster.ternmq("explain", "group", self.group, "--json")
        self.assertEqual(json.loads(done.stdout)["broker"], "broker-a")
        self.produce("a")
        done = self.cluster.ternmq("explain", "message", f"{self.topic}/0/0")
        self.assertIn(b"It was stored", done.stdout)


class Counters(ShowCase):
    def test_stats_count_what_was_received(self):
        self.make()

        def totals():
            stats = self.client.call("stats")
            names = ("received_calls", "received_messages", "received_bytes", "receives_held")
            return {name: sum(core[name] for core in stats["cores"]) for name in names}

        before = totals()
        self.produce("a", "b")
        self.settle("ack", self.receive())
        self.assertEqual(self.receive()["messages"], [])
        after = totals()
        self.assertEqual(after["received_calls"] - before["received_calls"], 2)
        self.assertEqual(after["received_messages"] - before["received_messages"], 2)
        self.assertGreater(after["received_bytes"], before["received_bytes"])
        shards = self.client.call("stats")["shards"]
        self.assertGreater(sum(shard["groups"] for shard in shards), 0)


if __name__ == "__main__":
    tap.main(__name__)
