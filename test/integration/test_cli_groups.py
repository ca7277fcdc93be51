# SPDX-License-Identifier: Apache-2.0
"""test_cli_groups.py - what the command line says of groups where something is not as it should be."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import cluster
import group_case
import tap
import wire

DONE, FAILED, USAGE, AWAY = 0, 1, 2, 3


class GroupCommandCase(group_case.GroupCase):
    def ternmq(self, *arguments, status=DONE):
        done = self.cluster.ternmq(*arguments, check=False)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode()


class Away(unittest.TestCase):
    """A nameserver that knows brokers which do not answer, or none."""

    COMMANDS = (("group", "list"), *(("group", verb, "g") for verb in ("show", "members")), ("explain", "group", "g"))

    @classmethod
    def setUpClass(cls):
        # One for each test, all at once: a nameserver says WARMING for its first ten seconds.
        cls.clusters = []
        for _ in unittest.defaultTestLoader.getTestCaseNames(cls):
            made = cluster.Cluster()
            made.__enter__()
            cls.addClassCleanup(made.__exit__, None, None, None)
            cls.clusters.append(made)

    def setUp(self):
        self.cluster = self.clusters.pop()

    def ternmq(self, *arguments, status=DONE):
        return GroupCommandCase.ternmq(self, *arguments, status=status)

    def ternmq_while_stopped(self, process, *commands):
        """What commands say at once while a server holds its lease and answers nothing."""

        def run(words):
            done = self.cluster.ternmq(*words, check=False)
            return words, done.returncode, done.stdout.decode(), done.stderr.decode()

        process.popen.send_signal(signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
                return list(pool.map(run, commands))
        finally:
            process.popen.send_signal(signal.SIGCONT)

    def wait_for_brokers(self, count):
        until = time.monotonic() + 20
        while len(self.ternmq("broker", "list", "--json").splitlines()) != count:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.1)

    def test_a_broker_that_is_down_is_not_a_group_that_is_not_there(self):
        self.ternmq("topic", "create", "t")
        self.ternmq("group", "create", "g", "--topic", "t")
        for words, status, shown, said in self.ternmq_while_stopped(self.cluster.broker, *self.COMMANDS):
            self.assertEqual((status, shown), (AWAY, ""), words)
            self.assertIn("broker broker-a is passed over", said)
            self.assertIn("UNREACHABLE", said.splitlines()[-1])
            self.assertIn("is it running there?", said.splitlines()[-1])
            self.assertNotIn("GROUP_NOT_FOUND", said)

    def test_a_nameserver_without_brokers_is_said_to_be_that(self):
        self.cluster.broker.stop()
        for command in self.COMMANDS:
            self.assertEqual(self.ternmq(*command, status=AWAY), "", command)
            self.assertIn("knows no broker", self.said)

    def make_on_two(self):
        self.cluster.start_other("broker-b")
        self.wait_for_brokers(2)
        self.ternmq("topic", "create", "t", "--brokers", "broker-a,broker-b", "--queues", "2")
        self.ternmq("group", "create", "g", "--topic", "t")

    def test_what_answers_is_shown_and_the_rest_is_named(self):
        self.make_on_two()
        commands = [(*command, "--json") for command in self.COMMANDS]
        others = [("group", "dead", "g", "list", "--timeout", "3s"), ("group", "show", "nobody")]
        results = self.ternmq_while_stopped(self.cluster.others["broker-b"], *commands, *others)
        for words, status, shown, said in results:
            self.assertEqual(status, FAILED, (words, said))
            self.assertIn("broker broker-b is passed over", said)
            found = {json.loads(line)["broker"] for line in shown.splitlines()}
            self.assertEqual(found, {"broker-a"} if words in commands and "members" not in words else set(), words)
        self.assertIn("no broker that answers has a group nobody", results[-1][3])
        self.assertNotIn("GROUP_NOT_FOUND", results[-1][3])

    def test_a_broker_that_has_lost_its_lease_is_named_where_it_has_queues(self):
        self.make_on_two()
        self.ternmq("group", "show", "g")
        self.cluster.others["broker-b"].kill()
        self.wait_for_brokers(1)
        for words in (("group", "show"), ("explain", "group")):
            shown = self.ternmq(*words, "g", "--json", status=FAILED)
            self.assertEqual([json.loads(line)["broker"] for line in shown.splitlines()], ["broker-a"])
            self.assertIn("broker broker-b is away: what group g has there is not known", self.said)
        self.assertFalse(json.loads(shown)["well"])

    def explained(self, group, status=DONE):
        return [json.loads(line) for line in self.ternmq("explain", "group", group, "--json", status=status).splitlines()]

    def test_half_a_group_is_not_well(self):
        self.make_on_two()
        self.assertTrue(all(one["well"] for one in self.explained("g")))
        with contextlib.closing(wire.Client(self.cluster.others["broker-b"].address)) as client:
            client.call("group.delete", name="g")
        (half,) = self.explained("g")
        self.assertEqual((half["broker"], half["well"]), ("broker-a", False))
        self.assertIn("Broker broker-b has queues of its topics, and no group g", half["sentences"][0])
        self.assertEqual(self.ternmq("explain", "group", "g").splitlines()[0], half["sentences"][0])
        (silent,) = self.ternmq_while_stopped(self.cluster.others["broker-b"], ("explain", "group", "g", "--json"))
        half = json.loads(silent[2])
        self.assertEqual((silent[1], half["well"]), (FAILED, False))
        self.assertIn("Broker broker-b has queues of its topics: it does not answer", half["sentences"][0])

    def test_all_topics_of_a_group_are_looked_at_for_who_lacks_it(self):
        for broker in ("broker-b", "broker-c"):
            self.cluster.start_other(broker)
        self.wait_for_brokers(3)
        self.ternmq("topic", "create", "left", "--brokers", "broker-a")
        self.ternmq("topic", "create", "right", "--brokers", "broker-b,broker-c", "--queues", "2")
        self.ternmq("group", "create", "g", "--topic", "left", "--topic", "right")
        with contextlib.closing(wire.Client(self.cluster.others["broker-c"].address)) as client:
            client.call("group.delete", name="g")
        explained = self.explained("g")
        self.assertEqual([(one["broker"], one["well"]) for one in explained], [("broker-a", False), ("broker-b", False)])
        for one in explained:
            self.assertIn("Broker broker-c has queues", one["sentences"][0])

    def test_verdicts_that_are_not_taken_are_told_once_a_broker_and_counted(self):
        self.make_on_two()
        for queue in ("0", "1"):
            self.ternmq("produce", "t", "one", "two", "--queue", queue)
        self.ternmq("group", "seek", "g", "--to", "first")
        program = cluster.program_path("ternmq")
        seek = f"{program} -n {self.cluster.nameserver_address} group seek g --to first > /dev/null"  # no lease is left
        self.ternmq("consume", "t", "--group", "g", "--ack", "exec", "--credit", "4", "--count", "8", seek)
        told = [line for line in self.said.splitlines() if "LEASE_LOST" in line]
        self.assertEqual(sorted(line.split(":")[0] for line in told), ["broker broker-a", "broker broker-b"], self.said)
        self.assertIn("may come again, and more of the kind are counted", told[0])
        self.assertRegex(self.said.splitlines()[-1], "8 messages from t for group g, [0-9]+ that may come again")

    def test_a_queue_that_there_is_not_is_said_so(self):
        self.ternmq("topic", "create", "t", "--queues", "2")
        self.ternmq("group", "create", "g", "--topic", "t")
        seek = ("group", "seek", "g", "--topic", "t", "--to", "0", "--queue")
        self.ternmq(*seek, "1")
        self.ternmq(*seek, "2", status=USAGE)
        self.assertIn("topic t has queues 0 to 1, not 2", self.said)

    def test_a_place_beyond_the_end_is_said_with_the_end(self):
        self.ternmq("topic", "create", "t", "--queues", "1")
        self.ternmq("group", "create", "g", "--topic", "t")
        self.ternmq("produce", "t", "one", "two")
        self.ternmq("group", "seek", "g", "--topic", "t", "--queue", "0", "--to", "3", status=FAILED)
        self.assertIn("the queue ends at 2 (TRUNCATED)", self.said)

    def test_a_broker_that_lacks_the_group_is_named_until_it_has_it(self):
        self.make_on_two()
        client = wire.Client(self.cluster.others["broker-b"].address)
        self.addCleanup(client.close)
        client.call("group.delete", name="g")
        self.ternmq("group", "show", "g")
        self.assertIn("broker broker-b has queues of the topics, and no group g", self.said)
        self.ternmq("group", "create", "g", "--topic", "t")
        self.ternmq("group", "show", "g")
        self.assertEqual(self.said, "")

    def test_a_group_that_was_made_on_some_brokers_is_said_to_be_so_and_completed(self):
        self.make_on_two()
        self.cluster.others["broker-b"].kill()
        self.wait_for_brokers(1)
        create = ("group", "create", "half", "--topic", "t")
        self.assertEqual(self.ternmq(*create, status=AWAY), "")
        self.assertIn("group half: broker broker-b: ", self.said)
        self.assertIn("; done at broker-a, and asking again completes it (UNREACHABLE)", self.said)
        self.cluster.start_other("broker-b")
        self.wait_for_brokers(2)
        self.ternmq(*create)
        rows = [json.loads(line) for line in self.ternmq("group", "list", "--prefix", "half", "--json").splitlines()]
        self.assertEqual([row["broker"] for row in rows], ["broker-a", "broker-b"])

    def test_what_is_changed_without_a_broker_that_is_away_is_not_called_done(self):
        self.make_on_two()
        self.cluster.others["broker-b"].kill()
        self.wait_for_brokers(1)
        for words, shown in ((("set", "g", "--attempts", "3"), "group g set\n"),
                             (("delete", "g", "--yes"), "group g deleted\n")):
            self.assertEqual(self.ternmq("group", *words, status=FAILED), shown)
            self.assertIn("broker broker-b is away: group g stays there as it was", self.said)
        self.cluster.start_other("broker-b")
        self.wait_for_brokers(2)
        rows = [json.loads(line) for line in self.ternmq("group", "list", "--json").splitlines()]
        self.assertEqual([(row["broker"], row["settings"]["attempts"]) for row in rows], [("broker-b", 17)])
        self.ternmq("group", "delete", "g", "--yes")
        self.assertEqual(self.ternmq("group", "list", "--json"), "")


class DeadLetterTopics(GroupCommandCase):
    """Topics of dead letters are read and shown like others, and not produced to."""

    def setUp(self):
        super().setUp()
        self.make_topic()
        self.put_group(attempts=1)
        self.letters = f"%DLQ%{self.name}"

    def die(self, client, queue=0):
        client.call("produce", topic=self.name, queue=queue, messages=[["red", None, None, b"lost"]])
        (one,) = client.call("receive", group=self.name, wait_ms=10000)["ranges"]
        client.call("nack", group=self.name, receipts=[[*one[:4], one[6]]], dead=True)
        self.wait_for(lambda: client.call("group.show", name=self.name)["dead"] == 1)
        shown = client.call("topic.show", name=self.letters)
        return next(q["queue"] for q in shown["queues"] if q["end"] > 0)

    def test_what_became_of_one_is_explained(self):
        for offset, (verb, became) in enumerate((("redrive", "redriven"), ("discard", "discarded"))):
            queue = self.die(self.client)
            self.ternmq("group", "dead", self.name, verb)
            self.client.call("group.seek", group=self.name, to="last")
            explained = self.ternmq("explain", "message", f"{self.letters}/{queue}/{offset}")
            self.assertIn(f"Group {self.letters} is done with it: {became} ", explained)
            self.assertIn("ago by ternmq group dead.", explained)
        self.ternmq("group", "seek", self.letters, "--topic", self.letters, "--to", "first")

    def test_they_are_read_and_shown_by_a_nameserver_or_without(self):
        place = f"{self.letters}/{self.die(self.client)}/0"
        direct = ("-b", self.cluster.broker_address)
        for words in ((), direct):
            ternmq = self.ternmq if not words else self.direct
            self.assertEqual(ternmq("consume", self.letters), "lost\n")
            self.assertEqual(json.loads(ternmq("topic", "show", self.letters, "--json"))["name"], self.letters)
            self.assertIn("It was stored", ternmq("explain", "message", place))
            self.assertIn("1 of the last 1 message", ternmq("filter", "test", self.letters, "red"))
        self.ternmq("topic", "delete", self.letters, "--yes")
        self.ternmq("topic", "show", self.letters, status=FAILED)
        self.assertIn("TOPIC_NOT_FOUND", self.said)

    def test_dead_letters_of_no_group_are_not_none(self):
        self.make_topic("-quiet")
        quiet = self.put_group("-quiet")
        for words in (("list",), ("show", "0/0"), ("redrive",), ("discard",)):
            for options in ((), ("--json",)):
                self.assertEqual(self.ternmq("group", "dead", "nosuch", *words, *options, status=FAILED), "")
                self.assertIn("there is no group nosuch (GROUP_NOT_FOUND)", self.said)
            self.ternmq("group", "dead", quiet, *words, status=FAILED if "show" in words else DONE)
        self.die(self.client)
        self.client.call("group.delete", name=self.name)
        self.assertEqual(len(self.ternmq("group", "dead", self.name, "list", "--json").splitlines()), 1)
        self.assertEqual(json.loads(self.ternmq("group", "dead", self.name, "discard", "--json"))["discarded"], 1)
        self.assertEqual(self.ternmq("group", "dead", self.name, "list"), "")

    def direct(self, *arguments):
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done.stdout.decode()

    def test_nobody_produces_to_one_or_makes_one(self):
        self.die(self.client)
        self.ternmq("produce", self.letters, "x", status=USAGE)
        self.ternmq("topic", "set", self.letters, "--queues", "9", status=USAGE)
        self.ternmq("topic", "create", "%DLQ%other", status=USAGE)
        self.ternmq("consume", "%DLQ%a%b", status=USAGE)
        self.assertIn("%DLQ%GROUP", self.said)

    def test_of_two_brokers_that_have_it_one_is_to_be_named(self):
        other = self.cluster.start_other("broker-b")
        self.addCleanup(other.kill)
        with contextlib.closing(wire.Client(other.address)) as client:
            client.call("topic.put", name=self.name, queues=1)
            client.call("group.put", name=self.name, settings={"topics": {self.name: None}, "attempts": 1, "from": "first"})
            self.wait_for(lambda: len(self.ternmq("broker", "list", "--json").splitlines()) == 2)
            self.ternmq("consume", self.letters, status=FAILED)
            self.assertIn("TOPIC_NOT_FOUND", self.said)
            self.die(client)
        self.assertEqual(self.ternmq("consume", self.letters), "lost\n")
        self.die(self.client)
        self.ternmq("consume", self.letters, status=USAGE)
        self.assertIn("2 brokers have a topic", self.said)


class Worded(GroupCommandCase):
    """What is said of groups that do not fit what was asked."""

    def test_what_is_chosen_when_a_group_is_made_is_not_set(self):
        self.make_topic()
        self.put_group()
        for option in (("--order", "queue"), ("--broadcast",)):
            for more in ((), ("--attempts", "3")):
                self.assertEqual(self.ternmq("group", "set", self.name, *option, *more, status=USAGE), "")
                self.assertIn(f"{option[0]} is chosen when a group is made", self.said)
        self.assertEqual(self.client.call("group.show", name=self.name)["settings"]["attempts"], 17)


    def test_a_seek_in_a_topic_that_the_group_does_not_read_says_what_it_reads(self):
        self.make_topic()
        self.make_topic("-more")
        self.make_topic("-other")
        self.put_group(topics=[self.name, self.name + "-more"])
        for topic in (self.name + "-other", "nosuch"):
            for more in (("--to", "first"), ("--to", "1", "--queue", "0")):
                self.ternmq("group", "seek", self.name, "--topic", topic, *more, status=FAILED)
                self.assertIn(f"group {self.name} does not read topic {topic}: it reads ", self.said)
                self.assertIn(self.name + "-more", self.said)
                self.assertNotIn("topic create", self.said)
        self.ternmq("group", "seek", self.name, "--topic", self.name, "--to", "first")


    def test_what_is_no_name_of_a_group_is_wrong_usage(self):
        self.make_topic()
        self.put_group()
        for bad in ("", "a b", "a/b", "x" * 242, "@m", "%DLQ%"):
            for words in (("group", "show"), ("group", "members"), ("explain", "group"), ("group", "seek"), ("group", "dead")):
                more = {"seek": ("--to", "first"), "dead": ("list",)}.get(words[1], ())
                self.assertEqual(self.ternmq(*words, bad, *more, status=USAGE), "")
                self.assertIn(f"'{bad}' is no name of a group: 1 to 120 of", self.said)
            self.ternmq("group", "seek", self.name, "--to", f"group:{bad}", status=USAGE)


class Signalled(GroupCommandCase):
    """`consume --ack exec` that is told to end while its command runs."""

    def setUp(self):
        super().setUp()
        self.make_topic()
        self.put_group()
        self.produce(["a"])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ternmq-test-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def begin(self, script):
        """Runs the script on the message; `begun` is a file that the script makes when it is under way."""
        process = subprocess.Popen(
            [
                *(cluster.program_path("ternmq"), "-b", self.cluster.broker_address, "consume", self.name),
                *("--group", self.name, "--ack", "exec", script),
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # its process group is what a terminal would signal
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
        )
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for(lambda: (self.folder / "begun").exists())
        return process

    def end(self, process, which):
        os.killpg(process.pid, which)
        said = process.communicate(timeout=30)[1].decode()
        self.assertEqual(process.returncode, DONE, said)
        self.assertIn("until interrupted", said)

    def is_alive(self, name):
        pid = int((self.folder / name).read_text())
        try:
            return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return False

    def attempts(self):
        """Those of the messages that can be received now."""
        answer = self.client.call("receive", group=self.name)
        return [one[5] for one in answer["ranges"]]

    def test_what_the_command_began_ends_with_it_and_the_message_is_given_back(self):
        for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.begin("sleep 300 & echo $! > child; mv child begun; wait")
            self.end(process, which)
            self.assertFalse(self.is_alive("begun"), which)
            (self.folder / "begun").unlink()
        self.assertEqual(self.attempts(), [1])

    def test_what_does_not_go_is_killed_after_the_grace(self):
        stubborn = "trap '' TERM; while :; do sleep 1; done"
        process = self.begin(f'sh -c "{stubborn}" & echo $! > child; mv child begun; wait')
        began = time.monotonic()
        self.end(process, signal.SIGINT)
        self.assertGreater(time.monotonic() - began, 4.5)
        self.wait_for(lambda: not self.is_alive("begun"))
        self.assertEqual(self.attempts(), [1])

    def test_a_stopped_command_is_ended_too(self):
        process = self.begin("echo $$ > child; mv child begun; kill -STOP $$")
        began = time.monotonic()
        self.end(process, signal.SIGINT)
        self.assertLess(time.monotonic() - began, 4.5)  # and not by the kill after the grace
        self.assertEqual(self.attempts(), [1])

    def test_a_terminal_reaches_the_command_by_ternmq_alone_which_may_finish(self):
        process = self.begin(
            "trap 'echo INT >> told' INT; trap 'echo TERM >> told; exit 0' TERM; touch begun; while :; do sleep 0.1; done"
        )
        self.end(process, signal.SIGINT)
        self.assertEqual((self.folder / "told").read_text(), "TERM\n")
        self.assertEqual(self.attempts(), [])

    def test_what_a_command_leaves_running_by_itself_goes_on(self):
        process = self.begin("sleep 300 >/dev/null 2>&1 & echo $! > child; mv child begun")
        pid = int((self.folder / "begun").read_text())
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.wait_for(lambda: self.client.call("group.show", name=self.name)["acked"] == 1)
        self.end(process, signal.SIGINT)
        self.assertTrue(self.is_alive("begun"))


if __name__ == "__main__":
    tap.main(__name__)
