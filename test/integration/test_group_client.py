# SPDX-License-Identifier: Apache-2.0
"""Members of consumer groups, of libternmq (group_program.c has the scenarios) and of `ternmq consume --group`,
against real servers."""

import json
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import cluster
import tap


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made = cluster.Cluster()
        cls.made.__enter__()
        cls.addClassCleanup(cls.made.__exit__, None, None, None)

    def start(self, scenario):
        return subprocess.Popen(
            [cluster.program_path("group_program"), scenario, self.made.nameserver_address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, program):
        _, complaint = program.communicate(timeout=150)
        self.assertEqual(program.returncode, 0, complaint.decode(errors="replace"))

    def test_blocking_receive_ack_nack_extend_and_close(self):
        self.end(self.start("blocking"))

    def test_a_missing_group_is_an_error(self):
        self.end(self.start("missing"))

    def test_30_34_a_push_consumer_keeps_the_order_of_queues_and_of_keys(self):
        """Nothing of one is worked on by two threads at once, and nothing behind what has failed."""
        self.end(self.start("order"))

    def test_a_receive_waits_its_time_where_what_came_was_over_already(self):
        program = self.start("late")
        self.assertEqual(program.stdout.readline(), b"waiting\n")
        time.sleep(0.3)
        program.send_signal(signal.SIGSTOP)
        client = self.made.broker_client()
        client.call("produce", topic="late", messages=["0"])
        client.close()
        time.sleep(0.5)
        program.send_signal(signal.SIGCONT)
        self.end(program)

    def test_kills_of_the_broker_lose_no_message_of_a_push_consumer(self):
        program = self.start("push")
        for line in program.stdout:
            if int(line) in (500, 1500):
                self.made.broker.kill()
                self.made.start_broker()
        self.end(program)


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ternmq-group-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.topic = self.id().rsplit(".", 1)[-1][:100]
        self.ternmq("topic", "create", self.topic, "--queues", "2")

    def command(self, *arguments):
        return [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]

    def ternmq(self, *arguments, status=0, **more):
        """Standard output, as lines."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, timeout=60, check=False, **more
        )
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode().splitlines()

    def consume(self, *arguments, **more):
        return self.ternmq("consume", self.topic, "--group", "g-" + self.topic, *arguments, **more)

    def produce(self, *bodies, **more):
        self.ternmq("produce", self.topic, *bodies, **more)

    def test_a_missing_group_is_made_and_what_was_written_is_acked(self):
        self.produce("a", "b", "c")
        self.assertEqual(sorted(self.consume("--idle", "1s")), ["a", "b", "c"])
        self.assertIn("was not there", self.said)
        self.assertIn("3 messages", self.said)
        self.produce("d")
        self.assertEqual(self.consume("--count", "1"), ["d"])
        self.assertNotIn("was not there", self.said)
        self.assertEqual(self.consume("--idle", "300ms"), [])

    def test_objects_say_the_attempt_and_why_the_one_before_failed(self):
        self.produce("a")
        self.consume("--idle", "500ms", "--ack", "exec", "exit 7")
        self.assertIn("1 attempt failed", self.said)
        [line] = self.consume("--count", "1", "--json")  # after ten seconds, the group's first step
        message = json.loads(line)
        self.assertEqual(message["attempt"], 2)
        self.assertEqual(message["reason"], "exit status 7")
        self.assertEqual(message["body"], "a")
        self.assertEqual(message["group"], "g-" + self.topic)

    def test_a_command_gets_the_message(self):
        body = b"0123456789" * 20000
        source = self.folder / "body"
        source.write_bytes(body)
        self.produce(
            *("--file", str(source), "--tag", "blue", "--key", "k1", "--key", "k2"),
            *("--property", "weight=7 kg"),
        )
        out = self.folder / "out"
        self.consume(
            *("--count", "1", "--ack", "exec"),
            f"cat > {out}; env | grep ^TERNMQ_ | sort > {out}.env",
        )
        environment = dict(
            line.split("=", 1) for line in pathlib.Path(f"{out}.env").read_text().splitlines()
        )
        self.assertEqual(environment["TERNMQ_TOPIC"], self.topic)
        self.assertEqual(environment["TERNMQ_OFFSET"], "0")
        self.assertEqual(environment["TERNMQ_ATTEMPT"], "1")
        self.assertEqual(environment["TERNMQ_TAG"], "blue")
        self.assertEqual(environment["TERNMQ_KEY"], "k1")
        self.assertEqual(environment["TERNMQ_PROPERTY_weight"], "7 kg")
        self.assertEqual(out.read_bytes(), body)
        self.assertEqual(self.consume("--idle", "300ms"), [])

    def test_a_command_of_several_words_is_a_program_and_its_arguments(self):
        self.produce("a b", "a b")
        lines = self.consume("--count", "2", "--ack", "exec", "--", "sed", "s/^/got: /")
        self.assertEqual(lines, ["got: a bgot: a b"])

    def test_a_command_that_is_not_there_is_a_reason(self):
        self.produce("a")
        self.consume("--idle", "500ms", "--ack", "exec", "--", "no-such-program", "x")
        self.assertIn("no-such-program", self.said)
        self.assertIn("0 messages", self.said)
        self.assertIn("1 attempt failed", self.said)

    def test_the_end_counts_the_attempts_that_failed_and_the_messages_that_were_done(self):
        self.produce("a", "b")
        self.ternmq(
            *("group", "create", "g-" + self.topic, "--topic", self.topic, "--from", "first"),
            *("--backoff", "50ms"),
        )
        self.consume("--count", "2", "--ack", "exec", "test $TERNMQ_ATTEMPT -eq 3")
        self.assertIn(f"2 messages from {self.topic} for group g-{self.topic}, 4 attempts failed\n", self.said)

    def test_a_group_that_is_deleted_ends_its_members_and_is_not_made_again(self):
        group = "g-" + self.topic
        self.ternmq("group", "create", group, "--topic", self.topic, "--from", "first", "--attempts", "3")
        self.produce("a")
        process = subprocess.Popen(
            self.command("consume", self.topic, "--group", group),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"a\n")
        self.ternmq("group", "delete", group, "--yes")
        shown, said = process.communicate(timeout=30)
        self.assertEqual((process.returncode, shown), (1, b""), said)
        self.assertIn(f"group {group} was deleted", said.decode())
        self.assertEqual(self.ternmq("group", "list", "--prefix", group, "--json"), [])

    def test_34_a_command_that_fails_keeps_back_what_lies_behind_it(self):
        group = "g-" + self.topic
        self.ternmq(
            *("group", "create", group, "--topic", self.topic, "--order", "queue"),
            *("--from", "first", "--backoff", "500ms"),
        )
        self.produce("m0", "m1", "m2", "m3", "m4", "--queue", "0")
        said, once = self.folder / "said", self.folder / "once"
        script = f"read m; echo $m >> {said}; [ $m != m1 ] || [ -e {once} ] || {{ touch {once}; exit 1; }}"
        self.consume("--credit", "5", "--idle", "1500ms", "--ack", "exec", script)
        self.assertEqual(said.read_text().split(), ["m0", "m1", "m1", "m2", "m3", "m4"])

    def test_a_lease_is_kept_while_a_command_runs(self):
        self.produce("a")
        marks = self.folder / "marks"
        self.consume(
            *("--idle", "2s", "--lease", "600ms", "--ack", "exec"),
            f"echo $TERNMQ_ATTEMPT >> {marks}; sleep 2",
        )
        self.assertEqual(marks.read_text(), "1\n")
        self.assertIn("1 message ", self.said)

    def test_a_signal_gives_back_what_is_not_done_and_ends_with_zero(self):
        self.produce(*"abcde")
        for which in (signal.SIGINT, signal.SIGTERM):
            mark = self.folder / f"mark-{which}"
            process = subprocess.Popen(
                self.command(
                    *("consume", self.topic, "--group", "g-" + self.topic, "--credit", "3"),
                    *("--ack", "exec", f"touch {mark}; exec sleep 30"),
                ),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            deadline = time.monotonic() + 20
            while not mark.exists():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            process.send_signal(which)
            _, said = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0, said)
            self.assertIn(b"until interrupted", said)
        began = time.monotonic()
        attempts = [json.loads(line)["attempt"] for line in self.consume("--count", "5", "--json")]
        self.assertEqual(attempts, [1] * 5)
        self.assertLess(time.monotonic() - began, 10)  # and not when leases of 30 s are over

    def test_members_share_the_work(self):
        self.produce(*(str(i) for i in range(400)))
        self.consume("--count", "1")
        processes = [
            subprocess.Popen(
                self.command(
                    *("consume", self.topic, "--group", "g-" + self.topic, "--credit", "5"),
                    *("--idle", "2s"),
                ),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(3)
        ]
        got = []
        for process in processes:
            out, said = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, said)
            got += out.split()
        self.assertEqual(len(got), 399)
        self.assertEqual(len(set(got)), 399)

    def test_a_reader_that_goes_leaves_the_rest_to_others(self):
        self.produce(*(str(i) for i in range(2000)))
        process = subprocess.Popen(
            self.command("consume", self.topic, "--group", "g-" + self.topic),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=20), 0, said)
        rest = self.consume("--idle", "1s")
        self.assertGreater(len(rest), 0)

    def test_a_filter_belongs_to_the_group(self):
        self.produce("a", "--tag", "red")
        self.produce("b", "--tag", "blue")
        self.assertEqual(self.consume("--filter", "blue", "--idle", "1s"), ["b"])
        self.consume("--filter", "red", status=1)
        self.assertIn("another filter", self.said)
        self.consume("--filter", "blue", "--from", "last", status=1)
        self.assertIn("seek", self.said)

    def test_a_seek_says_where_a_filter_makes_its_counts_bounds(self):
        for body, tag in (("a", "red"), ("b", "blue"), ("c", "blue")):
            self.produce(body, "--tag", tag, "--queue", "0")
        seek = ("group", "seek", "g-" + self.topic, "--to", "first")
        self.consume("--idle", "300ms")
        self.assertEqual(
            self.ternmq(*seek, "--dry-run")[-1],
            "2 queues: 3 messages would come again, 0 messages would be skipped",
        )
        self.ternmq("group", "set", "g-" + self.topic, "--topic", self.topic + "=red")
        wide = "what the filter does not want is counted, too"
        self.assertEqual(
            self.ternmq(*seek, "--dry-run")[-1],
            f"2 queues: at most 3 messages would come again, at most 0 messages would be skipped; {wide}",
        )
        self.assertEqual(
            self.ternmq(*seek)[-1],
            f"2 queues: at most 3 messages come again, at most 0 messages are skipped; {wide}",
        )
        self.assertEqual(self.consume("--idle", "300ms"), ["a"])

    def test_a_member_of_a_broadcast_needs_a_name(self):
        group = "g-" + self.topic
        self.ternmq("group", "create", group, "--topic", self.topic, "--broadcast")
        self.consume("--count", "1", status=2)
        self.assertIn(f"group {group} is a broadcast", self.said)
        self.assertIn("--member NAME", self.said)
        for bad in (b"\xff", b"a" * 121, b""):
            self.consume("--count", "1", "--member", bad, status=2)
            self.assertIn("--member", self.said)
            self.assertEqual(self.said.count("\n"), 1)
        self.assertEqual(len(self.ternmq("group", "list", "--prefix", group)), 2)  # no member was made
        self.assertEqual(self.consume("--idle", "200ms", "--member", "caf\u00e9"), [])
        self.produce("a")
        self.assertEqual(self.consume("--count", "1", "--member", "caf\u00e9"), ["a"])

    def test_what_does_not_go_together_is_refused(self):
        self.consume("--queue", "0", status=2)
        self.consume("--ack", "exec", status=2)
        self.consume("words", status=2)
        self.consume("--from", "17", status=2)
        self.ternmq("consume", self.topic, "--lease", "5s", status=2)
        self.assertIn("--group", self.said)
        self.ternmq("consume", "no-such-topic", "--group", "g", status=1)
        self.assertIn("TOPIC_NOT_FOUND", self.said)
        self.ternmq("consume", self.topic, "--group", "a/b", status=1)


if __name__ == "__main__":
    tap.main(__name__)
