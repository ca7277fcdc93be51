# SPDX-License-Identifier: Apache-2.0
"""test_cli.py - the command line `ternmq` against real servers: what people and scripts see of it."""

import base64
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import time
import unittest

import cluster
import tap

DONE, FAILED, USAGE, NOBODY = 0, 1, 2, 3
COMMANDS = [
    *(["topic", verb] for verb in ("create", "set", "list", "show", "delete")),
    *(["broker", verb] for verb in ("list", "show")),
    *(["group", verb] for verb in ("create", "set", "list", "show", "members", "seek", "delete")),
    ["filter", "test"],
    *([name] for name in ("produce", "consume", "route", "ping", "stats", "inspect")),
]


class CliCase(unittest.TestCase):
    """One cluster a class. Topics are made directly at the broker, which needs no warm nameserver."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ternmq-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def ternmq(self, *arguments, status=DONE, **more):
        """Runs it at the broker alone; standard output as bytes."""
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, **more)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout

    def make_topic(self, name, queues=1, **settings):
        client = self.cluster.broker_client()
        client.call("topic.put", name=name, queues=queues, settings=settings)
        client.close()
        return name

    def start(self, *arguments, **more):
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more
        )
        self.addCleanup(process.wait)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process


class Produce(CliCase):
    def test_arguments_are_messages(self):
        topic = self.make_topic("arguments")
        self.ternmq("produce", topic, "one", "", "three words here")
        self.assertIn("3 messages", self.said)
        self.assertIn("queue 0 offsets 0 to 2", self.said)
        self.assertEqual(self.ternmq("consume", topic), b"one\n\nthree words here\n")

    def test_a_file_comes_back_byte_for_byte(self):
        topic = self.make_topic("file")
        chance = random.Random(1)
        lines = [chance.randbytes(chance.randint(0, 300)).replace(b"\n", b"") for _ in range(30000)]
        path = self.folder / "lines"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        self.ternmq("produce", topic, "--file", str(path))
        self.assertEqual(self.ternmq("consume", topic), path.read_bytes())
        with path.open("rb") as source:
            self.ternmq("produce", topic, "--file", "-", stdin=source)
        self.assertEqual(self.ternmq("consume", topic, "--from", "30000"), path.read_bytes())

    def test_a_last_line_without_a_newline_is_a_message(self):
        topic = self.make_topic("last-line")
        self.ternmq("produce", topic, input=b"a\n\nb")
        self.assertEqual(self.ternmq("consume", topic), b"a\n\nb\n")
        self.ternmq("produce", topic, input=b"")
        self.assertIn("0 messages", self.said)

    def test_lines_are_sent_as_they_come(self):
        topic = self.make_topic("stream")
        process = self.start("produce", topic, stdin=subprocess.PIPE)
        self.addCleanup(process.stdin.close)
        for i in range(3):
            process.stdin.write(b"line %d\n" % i)
            process.stdin.flush()
            end = time.monotonic() + 10
            while self.ternmq("consume", topic).count(b"\n") <= i:
                self.assertLess(time.monotonic(), end)
        process.stdin.close()
        self.assertEqual(process.wait(10), DONE)

    def test_memory_does_not_grow_with_the_input(self):
        topic = self.make_topic("long", durability="memory")
        line = b"x" * 999 + b"\n"
        process = self.start("produce", topic, stdin=subprocess.PIPE)
        for _ in range(100):
            process.stdin.write(line * 1000)
        process.stdin.flush()
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
        process.stdin.close()
        self.assertEqual(process.wait(30), DONE)
        self.assertLess(peak, 400_000 if b"asan" in self.program() else 80_000)

    def program(self):
        return pathlib.Path(cluster.program_path("ternmq")).read_bytes()

    def test_tag_keys_and_properties_arrive(self):
        topic = self.make_topic("parts")
        options = ["--tag", "paid", "--key", "k1", "--key", "k2", "--property", "a=b=c"]
        self.ternmq("produce", topic, "--property", "umlaut=ü", *options, "body")
        message = json.loads(self.ternmq("consume", topic, "--format", "json"))
        self.assertEqual(message["tag"], "paid")
        self.assertEqual(message["keys"], ["k1", "k2"])
        self.assertEqual(message["properties"], {"umlaut": "ü", "a": "b=c"})
        self.assertEqual((message["queue"], message["offset"], message["body"]), (0, 0, "body"))

    def test_the_queue_is_any_the_keys_or_the_one_chosen(self):
        topic = self.make_topic("queues", 4)
        self.ternmq("produce", topic, "--queue", "2", "two")
        self.assertEqual(self.ternmq("consume", topic, "--queue", "2"), b"two\n")
        keyed = self.make_topic("keyed", 4, route="key")
        for key in ("a", "b", "a", "b"):
            self.ternmq("produce", keyed, "--key", key, key)
        rows = [json.loads(line) for line in self.ternmq("consume", keyed, "--json").splitlines()]
        queues = {key: {row["queue"] for row in rows if row["body"] == key} for key in "ab"}
        self.assertEqual([len(queues[key]) for key in "ab"], [1, 1])

    def test_a_line_that_is_too_long_ends_it_with_what_was_stored_before(self):
        topic = self.make_topic("too-long")
        self.ternmq("produce", topic, input=b"a\nb\n" + b"x" * 5_000_000 + b"\nc\n", status=FAILED)
        self.assertIn("2 messages stored", self.said)
        self.assertIn("message 3", self.said)
        self.assertEqual(self.ternmq("consume", topic), b"a\nb\n")

    def test_a_directory_is_no_file_of_messages(self):
        topic = self.make_topic("directory")
        self.ternmq("produce", topic, "--file", str(self.folder), status=FAILED)
        self.assertIn("is a directory", self.said)
        self.assertEqual(self.said.count("\n"), 1)

    def test_json_says_where_messages_went(self):
        topic = self.make_topic("json-produce")
        answer = json.loads(self.ternmq("produce", topic, "--json", "a", "bcd"))
        self.assertEqual((answer["messages"], answer["bytes"]), (2, 4))
        self.assertEqual((answer["queue"], answer["first"], answer["last"]), (0, 0, 1))

    def test_an_interrupt_ends_it_with_the_count(self):
        topic = self.make_topic("interrupt")
        process = self.start("produce", topic, stdin=subprocess.PIPE)
        process.stdin.write(b"a\nb\n")
        process.stdin.flush()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), FAILED)
        self.assertIn(b"2 messages stored", process.stderr.read())
        process.stdin.close()


class Consume(CliCase):
    def test_places_to_begin(self):
        topic = self.make_topic("from")
        self.ternmq("produce", topic, *"abc")
        time.sleep(1.1)
        middle = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.ternmq("produce", topic, *"de")
        for place, expected in (
            ("first", b"a\nb\nc\nd\ne\n"),
            ("last", b""),
            ("3", b"d\ne\n"),
            (middle, b"d\ne\n"),
            ("-1h", b"a\nb\nc\nd\ne\n"),
            ("-0s", b""),
            ("2020-01-01", b"a\nb\nc\nd\ne\n"),
            ("5", b""),
        ):
            self.assertEqual(self.ternmq("consume", topic, "--from", place), expected, place)
            self.assertIn("message", self.said)

    def test_a_count_ends_it(self):
        topic = self.make_topic("count")
        self.ternmq("produce", topic, *"abcdef")
        self.assertEqual(self.ternmq("consume", topic, "--count", "2"), b"a\nb\n")
        self.assertEqual(self.ternmq("consume", topic, "--count", "0"), b"")
        self.assertIn("0 messages", self.said)

    def test_without_follow_it_ends_at_the_end_as_of_its_start(self):
        topic = self.make_topic("ends", 3)
        for queue in range(3):
            self.ternmq("produce", topic, "--queue", str(queue), *"xyz")
        self.assertEqual(self.ternmq("consume", topic).count(b"\n"), 9)

    def test_follow_goes_on_and_an_interrupt_ends_it_cleanly(self):
        topic = self.make_topic("follow")
        self.ternmq("produce", topic, "before")
        process = self.start("consume", topic, "--follow")
        self.assertEqual(process.stdout.readline(), b"before\n")
        self.ternmq("produce", topic, "after")
        self.assertEqual(process.stdout.readline(), b"after\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), DONE)
        self.assertIn(b"2 messages", process.stderr.read())

    def test_a_closed_pipe_ends_it_cleanly_also_while_it_waits(self):
        topic = self.make_topic("pipe")
        self.ternmq("produce", topic, *(str(i) for i in range(1000)))
        for more in ([], ["--follow"]):
            process = self.start("consume", topic, *more)
            self.assertEqual(process.stdout.readline(), b"0\n")
            process.stdout.close()
            self.assertEqual(process.wait(10), DONE)
            self.assertRegex(process.stderr.read(), rb"messages? from pipe")

    def test_json_has_the_body_as_text_or_in_base64(self):
        topic = self.make_topic("json")
        bodies = [b"text \"quoted\" \x01", "ü€".encode(), b"\xff\x00\xfe", b""]
        client = self.cluster.broker_client()
        client.call("produce", topic=topic, queue=0, messages=bodies)
        client.close()
        rows = [json.loads(line) for line in self.ternmq("consume", topic, "--json").splitlines()]
        got = [
            row["body"].encode() if "body" in row else base64.b64decode(row["body_base64"])
            for row in rows
        ]
        self.assertEqual(got, bodies)
        self.assertEqual([("body_base64" in row) for row in rows], [False, False, True, False])
        self.assertEqual([row["offset"] for row in rows], [0, 1, 2, 3])
        self.assertAlmostEqual(rows[0]["stored_at"] / 1000, time.time(), delta=60)

    def test_what_cannot_be_written_is_a_failure(self):
        topic = self.make_topic("full")
        self.ternmq("produce", topic, "x" * 10000)
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, "consume", topic]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
            )
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"No space left", done.stderr)

    def test_wrong_places_to_begin_are_wrong_usage(self):
        for place in ("yesterday", "2026-02-31", "2026-01-01T25:00", "9007199254740992", "-1y", ""):
            self.ternmq("consume", "t", "--from", place, status=USAGE)
            self.assertIn("--from", self.said)


class Administer(CliCase):
    def test_a_topic_is_made_shown_changed_listed_and_deleted(self):
        self.ternmq("topic", "create", "life", "--queues", "2", "--durability", "memory")
        shown = json.loads(self.ternmq("topic", "show", "life", "--json"))
        self.assertEqual(shown["settings"]["durability"], "memory")
        self.assertEqual(len(shown["queues"]), 2)
        self.assertIn(b"settings.durability", self.ternmq("topic", "show", "life"))
        self.ternmq("topic", "set", "life", "--queues", "3")
        rows = [json.loads(line) for line in self.ternmq("topic", "list", "--json").splitlines()]
        self.assertIn("life", [row["name"] for row in rows])
        self.ternmq("topic", "delete", "life", status=USAGE, stdin=subprocess.DEVNULL)
        self.assertIn("--yes", self.said)
        self.ternmq("topic", "delete", "life", "--yes")
        self.ternmq("topic", "show", "life", status=FAILED)
        self.assertIn("TOPIC_NOT_FOUND", self.said)

    def test_creating_again_is_judged_by_what_was_asked(self):
        self.ternmq("topic", "create", "again", "--queues", "2")
        self.ternmq("topic", "create", "again")
        self.ternmq("topic", "create", "again", "--queues", "2", "--route", "any")
        self.assertEqual(self.said, "topic again was there already, as asked\n")
        other = ("--route", "key", "--durability", "memory")
        self.ternmq("topic", "create", "again", "--queues", "3", *other, status=FAILED)
        self.assertIn("settings: --queues is 2, --route is any, --durability is disk;", self.said)
        self.assertIn("topic set again", self.said)

    def test_setting_makes_nothing(self):
        self.ternmq("topic", "set", "nothing", "--queues", "2", status=FAILED)
        self.assertIn("TOPIC_NOT_FOUND", self.said)
        self.ternmq("topic", "set", "nothing", status=USAGE)

    def test_more_queues_for_keys_need_rehash(self):
        self.make_topic("rehash", 2, route="key")
        self.ternmq("topic", "set", "rehash", "--queues", "4", status=FAILED)
        self.assertIn("--rehash", self.said)
        self.ternmq("topic", "set", "rehash", "--queues", "4", "--rehash")

    def test_ping_and_stats_say_who_answers(self):
        answer = json.loads(self.ternmq("ping", "--json"))
        self.assertEqual((answer["kind"], answer["name"]), ("broker", "broker-a"))
        self.assertIn(b"answered in", self.ternmq("ping", self.cluster.broker_address))
        self.assertEqual(json.loads(self.ternmq("stats", "--json"))["name"], "broker-a")

    def test_every_command_has_help_that_shows_how(self):
        for command in COMMANDS:
            text = self.ternmq(*command, "--help").decode()
            self.assertGreaterEqual(text.count("  ternmq " + " ".join(command)), 2, command)
            for line in text.splitlines():
                self.assertLessEqual(line.count("may be repeated"), 1, line)
                self.assertNotIn(f"{2**53 - 1}", line)
            self.assertEqual(self.ternmq(*command, "--version"), self.ternmq("--version"))

    def test_the_overview_is_a_table(self):
        overview = self.ternmq("--help").decode()
        commands = overview.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        self.assertGreaterEqual(len(commands), len(COMMANDS))
        for line in commands:
            self.assertRegex(line, r"\A  [a-z].{14} [A-Z][a-z]+[ ,]")

    def test_help_and_version_are_words_too(self):
        self.assertEqual(self.ternmq("version"), self.ternmq("--version"))
        self.assertEqual(self.ternmq("help"), self.ternmq("--help"))
        self.assertEqual(self.ternmq("help", "topic"), self.ternmq("topic", "--help"))
        self.assertEqual(
            self.ternmq("help", "topic", "create"), self.ternmq("topic", "create", "--help")
        )
        self.assertEqual(self.ternmq("help", "ping"), self.ternmq("ping", "--help"))
        for wrong in (["frobnicate"], ["topic", "frobnicate"]):
            self.ternmq("help", *wrong, status=USAGE)
            self.assertIn(" ".join(wrong), self.said)

    def test_a_number_without_a_unit_is_asked_for_one(self):
        topic = self.make_topic("units")
        group = ["group", "create", "g", "--topic", topic]
        for arguments in (
            ["consume", topic, "--from", "-5"],
            ["consume", topic, "--group", "g", "--from", "-5"],
            ["consume", topic, "--group", "g", "--lease", "30000"],
            ["consume", topic, "--group", "g", "--idle", "5"],
            [*group, "--from", "-5"],
            [*group, "--lease", "30000"],
            [*group, "--idle-expire", "5000"],
            ["group", "seek", "g", "--to", "-1"],
            ["stats", "--timeout", "5"],
        ):
            self.ternmq(*arguments, status=USAGE)
            flag, value = arguments[-2:]
            self.assertIn(f"{flag} {value} needs a unit, as in {value}s", self.said)
            self.assertEqual(self.said.count("\n"), 1)
        self.ternmq(*group, "--backoff", "10s,30", status=USAGE)
        self.assertIn("--backoff '10s,30': has to be", self.said)
        self.assertEqual(self.ternmq("group", "list"), b"")  # nothing was made
        self.ternmq("consume", topic, "--from", "-5s", "--timeout", "5s")
        self.ternmq(*group, "--backoff", "0,10s", "--idle-expire", "0")

    def test_a_topic_has_its_name_in_every_object(self):
        for arguments in (
            ["topic", "create", "named"],
            ["topic", "create", "named"],
            ["topic", "set", "named", "--queues", "5"],
            ["topic", "show", "named"],
            ["topic", "list", "--prefix", "named"],
            ["topic", "delete", "named", "--yes"],
        ):
            answer = json.loads(self.ternmq(*arguments, "--json"))
            self.assertEqual(answer["name"], "named", arguments)

    def test_nothing_to_list_is_said(self):
        self.assertEqual(self.ternmq("topic", "list", "--prefix", "nosuch"), b"")
        self.assertIn("knows no topic that begins with nosuch", self.said)
        self.assertEqual(self.ternmq("topic", "list", "--prefix", "nosuch", "--json"), b"")
        self.assertEqual(self.said, "")

    def test_a_list_with_rows_says_nothing_beside_them(self):
        topic = self.make_topic("listed")
        for more in ([], ["--prefix", "liste"]):
            self.assertIn(topic.encode(), self.ternmq("topic", "list", *more))
            self.assertEqual(self.said, "")

    def test_the_route_of_one_broker_names_it(self):
        topic = self.make_topic("way", 3)
        (span,) = json.loads(self.ternmq("route", topic, "--json"))["spans"]
        self.assertEqual(span["broker"], "broker-a")
        self.assertEqual(span["address"], self.cluster.broker_address)
        self.assertGreater(span["epoch"], 0)
        self.assertIn(b"broker-a", self.ternmq("route", topic))

    def test_a_ping_of_a_dead_port_ends_at_once(self):
        began = time.monotonic()
        self.ternmq("ping", cluster.free_address(), status=NOBODY)
        self.assertIn("refused", self.said)
        self.assertLess(time.monotonic() - began, 1.5)

    def test_wrong_usage_is_said_in_one_line(self):
        for arguments in (
            ["topic", "crate", "x"],
            ["topic", "create"],
            ["topic", "create", "a", "b"],
            ["topic", "create", "no spaces"],
            ["topic", "create", "x", "--queues", "0"],
            ["produce", "x", "--frobnicate"],
            ["produce", "x", "body", "--file", "f"],
            ["produce", "x", "body", "--property", "novalue"],
            ["consume", "x", "--format", "xml"],
            ["inspect", "/tmp", "frobnicate"],
            ["-n", "127.0.0.1:1", "ping"],
        ):
            self.ternmq(*arguments, status=USAGE)
            self.assertEqual(self.said.count("\n"), 1, self.said)


class WithNameserver(CliCase):
    """The nameserver of this class has just started: what is not there is WARMING for its first 10 s."""

    def through(self, *arguments, status=DONE, **more):
        command = [cluster.program_path("ternmq"), *arguments]
        environment = {**os.environ, "TERNMQ_NAMESERVER": self.cluster.nameserver_address}
        done = subprocess.run(
            command, capture_output=True, timeout=60, check=False, env=environment, **more
        )
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout

    def test_it_finds_the_cluster_waits_out_warming_and_says_so(self):
        self.assertIn(b"broker-a", self.through("broker", "list"))
        self.assertNotIn("knows no", self.said)
        self.through("topic", "create", "orders")
        self.assertIn("WARMING", self.said)
        self.assertEqual(self.said.count("WARMING"), 1)
        # Who creates a topic can produce to it at once.
        self.through("produce", "orders", "a", "b")
        self.assertEqual(sorted(self.through("consume", "orders").split()), [b"a", b"b"])
        self.assertIn(b"orders", self.through("topic", "list"))
        route = json.loads(self.through("route", "orders", "--json"))
        self.assertEqual(route["spans"][0]["address"], self.cluster.broker_address)
        self.assertIn(b"broker-a", self.through("route", "orders"))
        self.assertIn(b"broker-a", self.through("broker", "show", "broker-a"))
        self.assertIn(b"appended_messages", self.through("stats"))
        self.through("broker", "show", "nobody", status=FAILED)
        self.through("topic", "show", "nowhere", status=FAILED)
        # The options stand anywhere, and win over the environment.
        nobody = cluster.free_address()
        self.through("-n", nobody, "topic", "list", status=NOBODY)
        self.through("topic", "list", "-n", nobody, status=NOBODY)
        self.assertIn(nobody, self.said)
        # A broker is no nameserver, though it has a list of topics too.
        broker = self.cluster.broker_address
        self.assertEqual(self.through("-n", broker, "topic", "list", status=FAILED), b"")
        self.assertIn(f"{broker} is a broker", self.said)
        self.through("broker", "list", "--prefix", "nosuch")
        self.assertIn("knows no broker that begins with nosuch", self.said)
        # Of several nameservers one is enough.
        both = f"{nobody};{self.cluster.nameserver_address}"
        self.assertIn(b"orders", self.through("topic", "list", "-n", both))


class Restart(unittest.TestCase):
    """A broker that ends, by a signal or a crash, and comes back after its lease is over."""

    AWAY = b"holds no lease now (TOPIC_NOT_FOUND)"

    def start(self, *arguments, **more):
        command = [cluster.program_path("ternmq"), "-n", self.cluster.nameserver_address]
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more
        )
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def setUp(self):
        self.cluster = cluster.Cluster()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        client = self.cluster.broker_client()
        client.call("topic.put", name="roll", queues=1, settings={})
        client.close()

    def test_a_restart_of_the_broker_ends_neither_produce_nor_follow(self):
        # Makes it wait until the nameserver is warm: what that does not know then is not there.
        self.cluster.ternmq("topic", "create", "warm")
        producer = self.start("produce", "roll", "--file", "-", stdin=subprocess.PIPE)
        consumer = self.start("consume", "roll", "--follow")
        unborn = self.start("consume", "roll", "--follow", "--from", "last")

        def pass_line(line):
            producer.stdin.write(line)
            producer.stdin.flush()

        def check_line(line):
            self.assertEqual(consumer.stdout.readline(), line, self.cluster.broker.log_tail())

        pass_line(b"before\n")
        check_line(b"before\n")
        for number, (end, away_s) in enumerate([("stop", 1.2), ("kill", 3.5)]):
            # Nothing is under way then: what is would be LOST, as nobody knows if it was stored.
            time.sleep(0.5)
            getattr(self.cluster.broker, end)()
            time.sleep(away_s)
            pass_line(b"during %d\n" % number)
            time.sleep(0.5)
            self.cluster.start_broker()
            check_line(b"during %d\n" % number)
            pass_line(b"after %d\n" % number)
            check_line(b"after %d\n" % number)
        producer.stdin.close()
        self.assertEqual(producer.wait(30), DONE)
        said = producer.stderr.read()
        self.assertIn(b"5 messages", said)
        self.assertEqual(said.count(self.AWAY), 2, said)
        consumer.send_signal(signal.SIGINT)
        self.assertEqual(consumer.wait(30), DONE)
        said = consumer.stderr.read()
        self.assertEqual(said.count(self.AWAY), 2, said)
        self.assertEqual(said.count(b"going on\n"), 2, said)
        self.assertLess(said.rindex(b"waiting: "), said.rindex(b"going on\n"))
        self.assertIsNone(unborn.poll())

    def lose_a_call(self, *more):
        """A producer whose third message was on its way when the broker died."""
        producer = self.start("produce", "roll", *more, stdin=subprocess.PIPE)
        consumer = self.start("consume", "roll", "--follow")
        producer.stdin.write(b"one\ntwo\n")
        producer.stdin.flush()
        self.assertEqual(consumer.stdout.readline() + consumer.stdout.readline(), b"one\ntwo\n")
        time.sleep(0.5)
        self.cluster.broker.popen.send_signal(signal.SIGSTOP)
        producer.stdin.write(b"three\n")
        producer.stdin.flush()
        time.sleep(1)
        self.cluster.broker.kill()
        self.cluster.start_broker()
        return producer

    def test_a_lost_call_ends_produce_and_it_says_where_to_go_on(self):
        producer = self.lose_a_call()
        self.assertEqual(producer.wait(30), FAILED)
        said = producer.stderr.read()
        self.assertIn(b"2 messages stored, then", said)
        self.assertIn(b"(LOST); message 3 is the first that may be stored or not", said)
        self.assertEqual(said.count(b"\n"), 1, said)

    def test_a_lost_call_is_sent_again_by_who_wants_that(self):
        producer = self.lose_a_call("--on-lost", "resend", "--json")
        producer.stdin.write(b"four\n")
        producer.stdin.close()
        self.assertEqual(producer.wait(30), DONE)
        self.assertIn(b"sending 1 message from message 3 on again", producer.stderr.read())
        answer = json.loads(producer.stdout.read())
        # A broker that is not back yet may cost it another try.
        self.assertEqual(answer["messages"], 4)
        self.assertGreaterEqual(answer["resent"], 1)
        stored = self.cluster.ternmq("consume", "roll").stdout.split()
        self.assertEqual(list(dict.fromkeys(stored)), [b"one", b"two", b"three", b"four"])

    def test_a_deleted_topic_ends_follow_and_produce(self):
        producer = self.start("produce", "roll", "--file", "-", stdin=subprocess.PIPE)
        consumer = self.start("consume", "roll", "--follow")
        producer.stdin.write(b"before\n")
        producer.stdin.flush()
        self.assertEqual(consumer.stdout.readline(), b"before\n")
        self.cluster.ternmq("topic", "delete", "roll", "--yes")
        # A nameserver younger than a lease says WARMING of what is gone: 10 s at most, and it is waited out.
        self.assertEqual(consumer.wait(30), FAILED)
        self.assertIn(b"TOPIC_NOT_FOUND", consumer.stderr.read())
        producer.stdin.write(b"after\n")
        producer.stdin.flush()
        self.assertEqual(producer.wait(30), FAILED)
        self.assertIn(b"TOPIC_NOT_FOUND", producer.stderr.read())


class Inspect(unittest.TestCase):
    def inspect(self, store, *arguments):
        command = [cluster.program_path("ternmq"), "inspect", str(store), *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)

    def test_a_store_is_whole_while_a_broker_runs_on_it_and_after_and_damage_is_found(self):
        small = ["--segment-bytes", "64K", "--shards", "2"]
        with cluster.Cluster(broker_arguments=small) as running:
            client = running.broker_client()
            client.call("topic.put", name="t", queues=4)
            for i in range(400):
                bodies = [b"%d %d " % (i, j) + b"x" * 100 for j in range(20)]
                client.call("produce", topic="t", queue=i % 4, messages=bodies)
            done = self.inspect(running.store, "verify", "--json")
            self.assertEqual(done.returncode, DONE, done.stderr)
            running.broker.stop()
            done = self.inspect(running.store, "verify", "--json")
            self.assertEqual(done.returncode, DONE, done.stderr)
            shards = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(sum(shard["messages"] for shard in shards), 8000)
            self.assertGreater(sum(shard["indexes"] for shard in shards), 2)
            self.assertEqual([shard["faults"] for shard in shards], [0, 0])

            done = self.inspect(running.store, "records", "--json")
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            messages = [row for row in rows if row["kind"] == "message"]
            self.assertEqual(len(messages), 8000)
            self.assertRegex(messages[0]["message"], r"^\d+ \d+ x+$")
            self.assertEqual({row["kind"] for row in rows} - {"snapshot"},
                             {"message", "events", "segment"})
            done = self.inspect(running.store, "records", "--count", "3", "--shard", "0")
            self.assertEqual(done.stdout.count("\n"), 3)

            victim = [row for row in messages if row["shard"] == 0][5]
            self.damage(running.store / "0", victim["position"] + 80)
            done = self.inspect(running.store, "verify")
            self.assertEqual(done.returncode, FAILED, done.stdout)
            self.assertIn(f"from position {victim['position']} to", done.stderr)

            index = sorted((running.store / "1").glob("*.idx"))[0]
            with index.open("r+b") as file:
                file.seek(200)
                byte = file.read(1)
                file.seek(200)
                file.write(bytes([byte[0] ^ 1]))
            done = self.inspect(running.store, "verify", "--shard", "1")
            self.assertEqual(done.returncode, FAILED, done.stdout)
            self.assertIn(index.name, done.stderr)

    def damage(self, shard, position):
        """Changes one byte at a position of a shard's log."""
        bases = sorted(int(path.stem) for path in shard.glob("[0-9]*.log"))
        base = max(base for base in bases if base <= position)
        with (shard / f"{base:020}.log").open("r+b") as file:
            file.seek(position - base)
            byte = file.read(1)
            file.seek(position - base)
            file.write(bytes([byte[0] ^ 1]))


if __name__ == "__main__":
    tap.main(__name__)
