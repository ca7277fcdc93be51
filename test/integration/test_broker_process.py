# SPDX-License-Identifier: Apache-2.0
"""Tests of ternmq-broker as a process: whose store it is, its shards, how it ends, what it does with a full
disk, with a namesake, and with many changes of topics at once."""

import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import cluster
import tap
import wire

# An orderly end, with what a sanitizer does at the end of a process.
END_S = 5.0 + 2.0


class BrokerProcess(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ternmq-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.store = self.folder / "store"
        self.count = 0

    def start(self, *arguments, store=None, nameserver=None, wait=True):
        """A broker on a port of its own; without `nameserver` it has one that nobody answers."""
        address = cluster.free_address()
        self.count += 1
        process = cluster.Process(
            "ternmq-broker",
            [
                *("--store", str(store or self.store), "--listen", address),
                *("--nameserver", nameserver or cluster.free_address()),
                *arguments,
            ],
            address,
            self.folder / f"broker-{self.count}.log",
        )
        self.addCleanup(process.kill)
        if wait:
            process.hello = process.wait_until_ready()
        return process

    def start_nameserver(self, address=None):
        address = address or cluster.free_address()
        self.count += 1
        process = cluster.Process(
            "ternmq-nameserver",
            ["--listen", address],
            address,
            self.folder / f"nameserver-{self.count}.log",
        )
        self.addCleanup(process.kill)
        process.wait_until_ready()
        return process

    def client(self, process):
        client = wire.Client(process.address)
        self.addCleanup(client.close)
        return client

    def assert_ends(self, process, status=0):
        began = time.monotonic()
        self.assertEqual(process.stop(), status, process.log_tail())
        self.assertLess(time.monotonic() - began, END_S)

    def assert_refuses(self, process, *words):
        """The process ends with 1 and one line that has these words."""
        self.assertEqual(process.popen.wait(60), 1, process.log_tail())
        errors = [line for line in process.log_tail().splitlines() if line.startswith("<3>")]
        self.assertEqual(len(errors), 1, process.log_tail())
        for word in words:
            self.assertIn(word, errors[0])


class Store(BrokerProcess):
    def test_a_store_belongs_to_the_name_it_began_with(self):
        self.assert_ends(self.start("--name", "first"))
        self.assert_refuses(self.start("--name", "second", wait=False), "first", "second", "--name")
        again = self.start("--name", "first")
        self.assertEqual(again.hello["epoch"], 2)

    def test_a_second_broker_finds_the_store_locked(self):
        self.start()
        self.assert_refuses(self.start(wait=False), str(self.store))

    def test_a_store_gets_more_shards_and_never_fewer(self):
        one = self.start("--shards", "1")
        client = self.client(one)
        client.call("topic.put", name="old", queues=2)
        client.call("produce", topic="old", queue=1, messages=[b"kept"])
        self.assert_ends(one)

        three = self.start("--shards", "3")
        client = self.client(three)
        shown = client.call("topic.show", name="old")
        self.assertEqual([queue["shard"] for queue in shown["queues"]], [0, 0])
        client.call("topic.put", name="new", queues=6)
        shown = client.call("topic.show", name="new")
        self.assertEqual({queue["shard"] for queue in shown["queues"]}, {0, 1, 2})
        for queue in range(6):
            client.call("produce", topic="new", queue=queue, messages=[b"x"])
        self.assertEqual(three.kill(), -signal.SIGKILL)

        two = self.start("--shards", "2")
        self.assertIn("--shards 2", two.log_tail())
        client = self.client(two)
        self.assertEqual([q["end"] for q in client.call("topic.show", name="new")["queues"]], [1] * 6)
        self.assertEqual(client.call("topic.show", name="old")["queues"][1]["end"], 1)

    def test_a_lost_shard_is_noticed(self):
        first = self.start("--shards", "2")
        self.client(first).call("topic.put", name="orders", queues=2)
        self.assert_ends(first)
        shutil.move(self.store / "1", self.folder / "taken")
        # systemd starts it again at once: every start refuses, and none makes anything.
        for shards in ("2", "2", "1", "3"):
            self.assert_refuses(self.start("--shards", shards, wait=False), "shard 1", "orders")
            self.assertFalse((self.store / "1").exists())
        (self.store / "1").mkdir()
        self.assert_refuses(self.start("--shards", "2", wait=False), "shard 1", "orders")
        self.assertEqual(list((self.store / "1").iterdir()), [])
        (self.store / "1").rmdir()
        shutil.move(self.folder / "taken", self.store / "1")
        self.start("--shards", "2")

    def test_a_lost_shard_in_which_no_queue_was_is_noticed_too(self):
        self.assert_ends(self.start("--shards", "2"))
        shutil.rmtree(self.store / "1")
        for _ in range(2):
            self.assert_refuses(self.start("--shards", "2", wait=False), "shard 1", "lost")

    def test_a_lost_first_shard_is_noticed(self):
        self.assert_ends(self.start("--shards", "2"))
        for segment in (self.store / "0").iterdir():
            segment.unlink()
        for _ in range(2):
            self.assert_refuses(self.start("--shards", "2", wait=False), "shard 0", "lost")

    def test_a_growth_that_was_killed_at_any_moment_is_done_by_the_next_start(self):
        one = self.start("--shards", "1")
        client = self.client(one)
        client.call("topic.put", name="old", queues=2)
        client.call("produce", topic="old", queue=1, messages=[b"kept"])
        self.assert_ends(one)
        for left in range(1, 5):
            # What a crash leaves: of the new shards some, of the last its directory, and next.log.
            store = self.folder / f"grown-{left}"
            shutil.copytree(self.store, store)
            for shard in range(1, left):
                self.copy_of_growth(left, shard, store)
            (store / str(left)).mkdir()
            (store / str(left) / "next.log").write_bytes(b"\0" * 65536)
            for _ in range(2):
                broker = self.start("--shards", "5", store=store)
                client = self.client(broker)
                self.assertEqual(client.call("topic.show", name="old")["queues"][1]["end"], 1)
                client.call("topic.put", name="new", queues=5)
                shown = client.call("topic.show", name="new")["queues"]
                self.assertEqual({queue["shard"] for queue in shown}, set(range(5)))
                self.assertEqual(broker.kill(), -signal.SIGKILL)

    def copy_of_growth(self, left, shard, store):
        """Puts a new shard's log into a store that does not know of it yet."""
        grown = self.folder / "grown"
        if not grown.exists():
            shutil.copytree(self.store, grown)
            self.assert_ends(self.start("--shards", "5", store=grown))
        shutil.copytree(grown / str(shard), store / str(shard))

    def test_a_gap_in_the_shards_is_noticed(self):
        self.assert_ends(self.start("--shards", "3"))
        shutil.rmtree(self.store / "1")
        self.assert_refuses(self.start("--shards", "3", wait=False), "shard 1", "missing")

    def test_a_shard_of_another_store_is_noticed(self):
        self.assert_ends(self.start("--shards", "2"))
        other = self.folder / "other"
        self.assert_ends(self.start("--shards", "2", store=other))
        shutil.rmtree(self.store / "1")
        shutil.copytree(other / "1", self.store / "1")
        self.assert_refuses(self.start("--shards", "2", wait=False), "shard 1", "another store")

    def test_a_file_where_the_store_should_be_is_named(self):
        self.store.write_text("no directory")
        self.assert_refuses(self.start(wait=False), str(self.store))


class Catalogue(BrokerProcess):
    def test_topics_settings_versions_and_ids_outlive_a_kill(self):
        broker = self.start("--shards", "2")
        client = self.client(broker)
        client.call("topic.put", name="a", queues=3, settings={"route": "key"})
        client.call("topic.put", name="b", settings={"durability": "memory"})
        client.call("topic.put", name="c")
        client.call("topic.put", name="a", queues=5, rehash=True)
        client.call("topic.delete", name="c")
        before = client.call("topic.list")["rows"]
        broker.kill()
        client = self.client(self.start())
        self.assertEqual(client.call("topic.list")["rows"], before)
        made = client.call("topic.put", name="c", queues=1)
        self.assertEqual(made["id"], 4)
        self.assertGreater(made["version"], max(row["version"] for row in before))

    def test_what_happens_to_a_topic_is_said_once(self):
        broker = self.start("--shards", "2")
        client = self.client(broker)
        versions = [client.call("topic.put", name="t", queues=2)]
        client.call("topic.put", name="t", queues=2)  # changes nothing
        versions.append(client.call("topic.put", name="t", queues=3))
        versions.append(client.call("topic.delete", name="t"))
        with self.assertRaises(wire.CallFailed):
            client.call("topic.delete", name="t")
        lines = [line for line in broker.log_tail().splitlines() if "topic 't'" in line]
        self.assertEqual(len(lines), 3, lines)
        for line, what, queues, answer in zip(
            lines, ("created", "changed", "deleted"), (2, 3, 3), versions, strict=True
        ):
            self.assertTrue(line.startswith("<6>"), line)
            self.assertTrue(
                line.endswith(
                    f"topic 't' was {what}: id {answer['id']}, version {answer['version']}, {queues} queues"
                ),
                line,
            )

    def test_a_topic_made_anew_begins_at_offset_zero(self):
        broker = self.start("--shards", "2")
        client = self.client(broker)
        client.call("topic.put", name="t", queues=2)
        client.call("produce", topic="t", queue=1, messages=[b"old"] * 10)
        client.call("topic.delete", name="t")
        client.call("topic.put", name="t", queues=2)
        self.assertEqual(client.call("produce", topic="t", queue=1, messages=[b"new"])["offset"], 0)
        broker.kill()
        client = self.client(self.start())
        answer = client.call("pull", topic="t", queue=1, first=True)
        self.assertEqual([wire.record_body(record) for record in answer["messages"]], [b"new"])

    def test_a_waiting_pull_of_a_deleted_topic_is_answered(self):
        broker = self.start("--shards", "2")
        client = self.client(broker)
        client.call("topic.put", name="t", queues=2)
        waiting = [
            client.send("pull", topic="t", queue=queue, offset=0, wait_ms=60000) for queue in range(2)
        ]
        self.client(broker).call("topic.delete", name="t")
        for request in waiting:
            error, _ = client.take_for(request)
            self.assertEqual(error["name"], "TOPIC_NOT_FOUND")

    def test_one_name_asked_for_by_many_is_one_topic(self):
        broker = self.start("--shards", "2")
        clients = [self.client(broker) for _ in range(8)]
        requests = [
            (client, client.send("topic.put", name=f"t{number % 5}", queues=2))
            for number in range(20)
            for client in clients
        ]
        answers = [client.take_for(request) for client, request in requests]
        self.assertEqual([error for error, _ in answers if error is not None], [])
        rows = clients[0].call("topic.list")["rows"]
        self.assertEqual([row["name"] for row in rows], [f"t{number}" for number in range(5)])
        self.assertEqual({row["id"] for row in rows}, {result["id"] for _, result in answers})

    def test_many_topics_are_made_listed_in_pages_and_found_again(self):
        broker = self.start("--shards", "2")
        client = self.client(broker)
        names = [f"topic-{number:04}" for number in range(1000)]
        requests = [client.send("topic.put", name=name, queues=1) for name in names[:200]]
        for request in requests:
            self.assertIsNone(client.take_for(request)[0])
        for name in names[200:]:
            client.call("topic.put", name=name, queues=1)
        broker.kill()
        client = self.client(self.start())
        found, after = [], ""
        while after is not None:
            page = client.call("topic.list", prefix="topic-", after=after, limit=300)
            found += [row["name"] for row in page["rows"]]
            after = page.get("next")
        self.assertEqual(found, names)
        page = client.call("topic.list", prefix="topic-09", limit=5)
        self.assertEqual([row["name"] for row in page["rows"]], names[900:905])
        self.assertEqual(client.call("topic.list", prefix="nothing")["rows"], [])

    def test_what_topic_put_refuses_says_why(self):
        client = self.client(self.start())
        made = client.call("topic.put", name="t", queues=3, settings={"route": "key"})
        for arguments, name, details in [
            ({"name": "t", "queues": 2}, "BAD_ARGUMENT", {"key": "queues", "limit": ">= 3"}),
            ({"name": "t", "queues": 4}, "WOULD_REORDER", {}),
            ({"name": "t", "settings": {"route": "any"}}, "WOULD_REORDER", {}),
            ({"name": "t", "version": 9}, "CONFLICT", {"version": made["version"]}),
            ({"name": "t", "queues": 1025}, "BAD_ARGUMENT", {"key": "queues"}),
            ({"name": "t", "settings": {"retain": "consumed"}}, "BAD_ARGUMENT", {}),
            ({"name": "%DLQ%g"}, "BAD_ARGUMENT", {"key": "name"}),
            ({"name": "t", "colour": 1}, "UNKNOWN_ARGUMENT", {"key": "colour"}),
        ]:
            with self.assertRaises(wire.CallFailed) as caught:
                client.call("topic.put", **arguments)
            self.assertEqual(caught.exception.name, name, arguments)
            for key, value in details.items():
                self.assertEqual(caught.exception.error[key], value, arguments)


class End(BrokerProcess):
    def test_a_waiting_pull_is_answered_before_the_end(self):
        broker = self.start("--shards", "2")
        client = self.client(broker)
        client.call("topic.put", name="t", queues=2)
        requests = [
            client.send("pull", topic="t", queue=queue, offset=0, wait_ms=60000) for queue in range(2)
        ]
        # The broker has read them when it has answered what came behind them.
        client.call("hello")
        self.assert_ends(broker)
        for request in requests:
            error, result = client.take_for(request)
            self.assertIsNone(error)
            self.assertEqual(result["messages"], [])

    def flood(self, broker):
        """A client that asks for more than sockets hold, and reads nothing."""
        client = self.client(broker)
        client.call("topic.put", name="t", queues=1)
        for _ in range(8):
            client.call("produce", topic="t", queue=0, messages=[bytes(1 << 20)] * 4)
        for _ in range(20):
            client.send("pull", topic="t", queue=0, first=True, max_bytes=4 << 20)
        time.sleep(0.3)

    def test_a_client_that_reads_nothing_cannot_hold_the_end_up(self):
        broker = self.start()
        self.flood(broker)
        self.assert_ends(broker)

    def test_a_second_signal_ends_at_once(self):
        broker = self.start()
        self.flood(broker)
        broker.popen.terminate()
        time.sleep(0.5)
        self.assertTrue(broker.alive(), broker.log_tail())
        began = time.monotonic()
        broker.popen.terminate()
        self.assertEqual(broker.popen.wait(10), 1)
        self.assertLess(time.monotonic() - began, 1.5)

    def test_ctrl_c_ends_in_order_too(self):
        broker = self.start()
        broker.popen.send_signal(signal.SIGINT)
        self.assertEqual(broker.popen.wait(END_S), 0)

    def test_nobody_is_let_in_after_the_end_began(self):
        broker = self.start()
        self.flood(broker)
        broker.popen.terminate()
        time.sleep(0.3)
        self.assertTrue(broker.alive())
        with self.assertRaises(wire.Lost):
            wire.Client(broker.address).call("hello")
        self.assertEqual(broker.popen.wait(END_S), 0)


class Network(BrokerProcess):
    def test_what_is_advertised_is_what_routes_say(self):
        nameserver = self.start_nameserver()
        broker = self.start(
            *("--listen", f"127.0.0.1:{cluster.free_address().partition(':')[2]};unix:{self.folder}/s"),
            *("--advertise", "broker.example:10911"),
            nameserver=nameserver.address,
            wait=False,
        )
        # `--listen` was given twice.
        self.assertEqual(broker.popen.wait(30), 2, broker.log_tail())
        broker = self.start("--advertise", "broker.example:10911", nameserver=nameserver.address)
        self.client(broker).call("topic.put", name="t", queues=1)
        route = self.client(nameserver).call("route.get", topic="t")
        self.assertEqual(route["brokers"][0]["master"], "broker.example:10911")

    def test_a_unix_socket_serves_as_well(self):
        path = self.folder / "socket"
        self.count += 1
        broker = cluster.Process(
            "ternmq-broker",
            ["--store", str(self.store), "--listen", f"unix:{path}", "-n", cluster.free_address()],
            "",
            self.folder / "broker-unix.log",
        )
        self.addCleanup(broker.kill)
        until = time.monotonic() + 30
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.01)
        self.assertIn(f"at unix:{path}", self.wait_for_line(broker, "ready"))
        self.assert_ends(broker)

    def wait_for_line(self, process, word, timeout_s=30.0):
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for line in process.log_tail().splitlines():
                if word in line:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line with {word!r}\n{process.log_tail()}")

    def test_an_open_listener_is_warned_about_once(self):
        port = cluster.free_address().partition(":")[2]
        broker = cluster.Process(
            "ternmq-broker",
            [
                *("--store", str(self.store), "--listen", f"0.0.0.0:{port}"),
                *("--advertise", f"127.0.0.1:{port}", "-n", cluster.free_address()),
            ],
            f"127.0.0.1:{port}",
            self.folder / "broker-open.log",
        )
        self.addCleanup(broker.kill)
        broker.wait_until_ready()
        warnings = [line for line in broker.log_tail().splitlines() if "security" in line]
        self.assertEqual(len(warnings), 1)
        self.assertTrue(warnings[0].startswith("<4>"))
        self.assert_ends(broker)

    def test_a_lost_nameserver_is_said_once_and_so_is_its_return(self):
        address = cluster.free_address()
        broker = self.start(nameserver=address)
        self.wait_for_line(broker, "working on without it")
        time.sleep(1.0)
        client = self.client(broker)
        began = time.monotonic()
        client.call("topic.put", name="t", queues=1)
        self.assertLess(time.monotonic() - began, 0.4)
        nameserver = self.start_nameserver(address)
        self.wait_for_line(broker, "our lease is held")
        self.client(nameserver).call("route.get", topic="t")
        lines = [line for line in broker.log_tail().splitlines() if address in line]
        self.assertEqual(len(lines), 2, broker.log_tail())

    def test_who_makes_a_topic_finds_its_route_at_every_nameserver(self):
        nameservers = [self.start_nameserver() for _ in range(2)]
        broker = self.start(nameserver=";".join(each.address for each in nameservers))
        self.wait_for_line(broker, "ready")
        clients = [self.client(each) for each in nameservers]
        for each in nameservers:
            self.wait_for_line(broker, f"{each.address}: our lease is held")
        admin = self.client(broker)
        for number in range(50):
            admin.call("topic.put", name=f"t{number}", queues=1)
            for client in clients:
                self.assertEqual(
                    client.call("route.get", topic=f"t{number}")["placement"], [["broker-a", 0, 1]]
                )

    def test_of_two_brokers_of_one_name_the_older_epoch_ends(self):
        nameserver = self.start_nameserver()
        newer = self.folder / "newer"
        for _ in range(2):
            self.assert_ends(self.start(store=newer))
        old = self.start(nameserver=nameserver.address)
        self.wait_for_line(old, "our lease is held")
        new = self.start(store=newer, nameserver=nameserver.address)
        self.assertGreater(new.hello["epoch"], old.hello["epoch"])
        self.wait_for_line(new, "our lease is held")
        self.assert_refuses(old, "broker-a", "higher epoch")
        self.assertTrue(new.alive())


class FullDisk(BrokerProcess):
    def mount(self, megabytes):
        """A file system so small that it fills up; only root can make one."""
        place = self.folder / "small"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            self.skipTest("a file system cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], check=False)
        return place

    def test_a_start_without_room_for_a_log_says_so(self):
        place = self.mount(1)
        self.assert_refuses(self.start(store=place / "store", wait=False), "shard 0")

    def test_a_limit_of_file_size_at_the_start_is_an_error_line(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

        done = subprocess.run(
            [
                cluster.program_path("ternmq-broker"),
                *("--store", str(self.store), "--listen", cluster.free_address()),
            ],
            capture_output=True,
            preexec_fn=limit,
            restore_signals=False,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"<3>shard ", done.stderr)

    def test_a_disk_that_fills_refuses_produces_and_serves_what_is_there(self):
        place = self.mount(24)
        broker = self.start("--shards", "1", "--segment-bytes", "4M", store=place / "store")
        client = self.client(broker)
        client.call("topic.put", name="t", queues=1)
        stored = 0
        with self.assertRaises(wire.CallFailed) as caught:
            for _ in range(200):
                client.call("produce", topic="t", queue=0, messages=[bytes(256 * 1024)])
                stored += 1
        self.assertEqual(caught.exception.name, "DISK_FULL")
        self.assertEqual(caught.exception.error["stored"], "no")
        self.assertGreater(stored, 20)
        shown = client.call("topic.show", name="t")["queues"][0]
        self.assertEqual(shown["end"], stored)
        offset = 0
        while offset < stored:
            answer = client.call("pull", topic="t", queue=0, offset=offset)
            self.assertEqual(answer["first"], offset)
            offset = answer["next"]
        self.assertTrue(broker.alive())
        self.assert_ends(broker)

        # With room again it goes on by itself.
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        broker = self.start("--shards", "1", "--segment-bytes", "4M", store=place / "store")
        client = self.client(broker)
        for _ in range(20):
            client.call("produce", topic="t", queue=0, messages=[bytes(256 * 1024)])
        self.assertEqual(client.call("topic.show", name="t")["queues"][0]["end"], stored + 20)


class Damage(BrokerProcess):
    def damaged(self, shard):
        """A store of two shards, of which one is damaged in the middle; a broker on it, and its client."""
        broker = self.start("--shards", "2")
        client = self.client(broker)
        client.call("topic.put", name="t", queues=2)
        shown = client.call("topic.show", name="t")["queues"]
        self.queues = {queue["shard"]: queue["queue"] for queue in shown}
        for queue in (0, 1):
            for number in range(20):
                client.call("produce", topic="t", queue=queue, messages=[b"body %d" % number] * 5)
                time.sleep(0.011)  # a mark of what is durable is written every 10 ms at most
        self.assert_ends(broker)
        log = self.store / str(shard) / f"{0:020}.log"
        data = bytearray(log.read_bytes())
        place = data.index(b"body 10")
        data[place] ^= 1
        log.write_bytes(data)
        broker = self.start("--shards", "2")
        return broker, self.client(broker)

    def test_a_damaged_shard_serves_what_is_whole_and_takes_no_writes(self):
        broker, client = self.damaged(1)
        lines = [line for line in broker.log_tail().splitlines() if line.startswith("<3>")]
        self.assertEqual(len(lines), 1, broker.log_tail())
        self.assertIn("shard 1", lines[0])
        answer = client.call("pull", topic="t", queue=self.queues[1], offset=0)
        bodies = [wire.record_body(record) for record in answer["messages"]]
        self.assertEqual(bodies[:50], [b"body %d" % (number // 5) for number in range(50)])
        with self.assertRaises(wire.CallFailed) as caught:
            client.call("produce", topic="t", queue=self.queues[1], messages=[b"x"])
        self.assertEqual(caught.exception.name, "READ_ONLY")
        # The other shard works on, and new topics have their queues there.
        self.assertEqual(
            client.call("produce", topic="t", queue=self.queues[0], messages=[b"x"])["offset"], 100
        )
        client.call("topic.put", name="new", queues=3)
        shown = client.call("topic.show", name="new")["queues"]
        self.assertEqual({queue["shard"] for queue in shown}, {0})
        for method, arguments in [
            ("topic.put", {"name": "t", "settings": {"durability": "memory"}}),
            ("topic.delete", {"name": "t"}),
        ]:
            with self.assertRaises(wire.CallFailed) as caught:
                client.call(method, **arguments)
            self.assertEqual(caught.exception.name, "READ_ONLY")
        self.assert_ends(broker)

    def test_a_byte_flipped_in_one_call_of_many_messages_is_noticed_after_an_orderly_end_or_a_kill(self):
        for end in ("stop", "kill"):
            store = self.folder / end
            broker = self.start("--shards", "1", store=store)
            client = self.client(broker)
            client.call("topic.put", name="t", queues=1)
            bodies = [b"%d" % number for number in range(1000)]
            client.call("produce", topic="t", queue=0, messages=bodies)
            if end == "stop":
                self.assert_ends(broker)
            else:
                time.sleep(0.5)  # an idle log is marked after a tenth of a second
                broker.kill()
            log = store / "0" / f"{0:020}.log"
            data = bytearray(log.read_bytes())
            data[20000] ^= 1
            log.write_bytes(data)
            broker = self.start("--shards", "1", store=store)
            errors = [line for line in broker.log_tail().splitlines() if line.startswith("<3>")]
            self.assertEqual(len(errors), 1, broker.log_tail())
            first, last = map(int, re.search(r"from position (\d+) to (\d+)", errors[0]).groups())
            self.assertTrue(first <= 20000 < last <= first + 200, errors[0])
            client = self.client(broker)
            answer = client.call("pull", topic="t", queue=0, offset=0)
            read = [wire.record_body(record) for record in answer["messages"]]
            self.assertGreater(len(read), 100)
            self.assertEqual(read, bodies[: len(read)])
            with self.assertRaises(wire.CallFailed) as caught:
                client.call("pull", topic="t", queue=0, offset=len(read))
            self.assertEqual(caught.exception.name, "CORRUPT")
            answer = client.call("pull", topic="t", queue=0, offset=len(read) + 1)
            read += [b"?"] + [wire.record_body(record) for record in answer["messages"]]
            self.assertEqual(read[-1], bodies[len(read) - 1])
            self.assertEqual(client.call("topic.show", name="t")["queues"][0]["end"], 1000)
            with self.assertRaises(wire.CallFailed) as caught:
                client.call("produce", topic="t", queue=0, messages=[b"x"])
            self.assertEqual(caught.exception.name, "READ_ONLY")
            self.assert_ends(broker)

    def test_without_shard_0_topics_cannot_change(self):
        broker, client = self.damaged(0)
        for method, arguments in [
            ("topic.put", {"name": "new"}),
            ("topic.delete", {"name": "t"}),
        ]:
            with self.assertRaises(wire.CallFailed) as caught:
                client.call(method, **arguments)
            self.assertEqual(caught.exception.name, "READ_ONLY")
        client.call("produce", topic="t", queue=self.queues[1], messages=[b"x"])
        self.assert_ends(broker)


class Unit(BrokerProcess):
    def test_systemd_accepts_the_units(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        root = pathlib.Path(__file__).resolve().parent.parent.parent
        for daemon in ("broker", "nameserver"):
            name = f"ternmq-{daemon}"
            text = (root / daemon / f"{name}.service").read_text()
            built = text.replace(f"/usr/bin/{name}", cluster.program_path(name))
            self.assertNotEqual(built, text)
            unit = self.folder / f"{name}.service"
            unit.write_text(built)
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, check=False
            )
            self.assertEqual((done.returncode, done.stderr), (0, b""))


class Kill(BrokerProcess):
    def test_topics_that_were_answered_outlive_kills_in_the_middle_of_changes(self):
        answered, deleted = set(), set()
        for round_number in range(6):
            broker = self.start("--shards", "3")
            client = self.client(broker)
            rows = client.call("topic.list", limit=10000)["rows"]
            there = {row["name"] for row in rows}
            self.assertEqual(answered - there, set())
            self.assertEqual(deleted & there, set())
            self.assertEqual(len({row["id"] for row in rows}), len(rows))
            for name in sorted(answered)[:20]:
                client.call("topic.show", name=name)
            killer = threading.Timer(0.1 + 0.05 * round_number, broker.popen.kill)
            killer.start()
            try:
                for number in range(100000):
                    name = f"t{round_number}-{number}"
                    client.call("topic.put", name=name, queues=4)
                    answered.add(name)
                    if number % 3 == 0:
                        answered.discard(name)
                        client.call("topic.delete", name=name)
                        deleted.add(name)
            except wire.Lost:
                pass
            killer.join()
            broker.popen.wait()
        self.assertGreater(len(answered), 20)


if __name__ == "__main__":
    os.environ.setdefault("TERNMQ_BUILD", str(pathlib.Path.cwd()))
    tap.main(__name__)
