# SPDX-License-Identifier: Apache-2.0
"""test_nameserver.py - the daemon ternmq-nameserver over real sockets: leases, long polls, any bytes at all.

A broker is played by a client that sends lease.renew.
"""

import json
import pathlib
import random
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import cluster
import msgpack
import tap
import wire

PROGRAM = "ternmq-nameserver"
UNIT = pathlib.Path(__file__).resolve().parents[2] / "nameserver" / "ternmq-nameserver.service"
SANITIZED = b"__asan_init" in pathlib.Path(cluster.program_path(PROGRAM)).read_bytes()


def topic_row(name, topic_id=1, version=1, broker="a", queues=4):
    return [name, topic_id, version, [[broker, 0, queues]]]


def renew(client, broker="a", address="127.0.0.1:10911", epoch=1, digest=1, **more):
    return client.call(
        "lease.renew", broker=broker, address=address, role="master", epoch=epoch, digest=digest, **more
    )


class NameserverCase(unittest.TestCase):
    """One nameserver a test."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ternmq-test-")
        self.clients = []
        self.server = self.start()

    def start(self, address=None, name="nameserver"):
        address = address or cluster.free_address()
        server = cluster.Process(
            PROGRAM, ["--listen", address], address, pathlib.Path(self.folder.name) / f"{name}.log"
        )
        server.wait_until_ready()
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def tearDown(self):
        for client in self.clients:
            client.close()
        if self.server.alive():
            self.assertEqual(self.server.stop(), 0, self.server.log_tail())
        log = self.server.log.read_text()
        self.assertNotIn("Sanitizer", log)
        self.assertNotIn("contract", log)
        self.folder.cleanup()

    def client(self, server=None):
        client = wire.Client((server or self.server).address)
        self.clients.append(client)
        return client

    def refused(self, client, method, **arguments):
        with self.assertRaises(wire.CallFailed) as caught:
            client.call(method, **arguments)
        return caught.exception.error

    def wait_for(self, what, seconds=10.0):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it did not happen in time")
            time.sleep(0.02)


class Leases(NameserverCase):
    def test_hello_says_what_it_speaks_and_its_limits(self):
        answer = self.client().call("hello", client="test", version="1")
        self.assertEqual(answer["protocol"], 1)
        self.assertEqual(answer["limits"]["topic_name"], 127)
        self.assertEqual(answer["limits"]["parked"], 64)
        self.assertAlmostEqual(answer["now"] / 1000, time.time(), delta=5)

    def test_a_broker_is_asked_for_its_topics_and_routed(self):
        broker, client = self.client(), self.client()
        self.assertEqual(renew(broker), {"lease_ms": 10000, "want_topics": True})
        self.assertFalse(renew(broker, topics=[topic_row("orders", 7)])["want_topics"])
        route = client.call("route.get", topic="orders")
        self.assertEqual(route["placement"], [["a", 0, 4]])
        expected = {"name": "a", "epoch": 1, "topic_id": 7, "master": "127.0.0.1:10911"}
        expected |= {"slaves": [], "writable": True, "queues": 4}
        self.assertEqual(route["brokers"], [expected])
        rows = client.call("broker.list")["rows"]
        self.assertEqual([(row["name"], row["topics"]) for row in rows], [("a", 1)])
        rows = client.call("topic.list")["rows"]
        self.assertEqual(rows, [{"name": "orders", "queues": 4, "brokers": ["a"]}])

    def test_an_absent_topic_is_warming_at_first_and_says_until_when(self):
        error = self.refused(self.client(), "route.get", topic="nowhere")
        self.assertEqual(error["name"], "WARMING")
        self.assertTrue(error["retryable"])
        self.assertTrue(0 < error["retry_after_ms"] <= 10000)

    def test_a_lost_connection_takes_the_routes_after_a_second(self):
        broker, client = self.client(), self.client()
        renew(broker, topics=[topic_row("orders")])
        known = client.call("route.get", topic="orders")["version"]
        lost_at = time.monotonic()
        broker.close()
        with self.assertRaises(wire.CallFailed):
            client.call("route.get", topic="orders", known=known, wait_ms=5000)
        self.assertTrue(0.9 < time.monotonic() - lost_at < 3.0)

    def test_a_broker_that_reconnects_within_the_second_keeps_its_routes(self):
        broker, client = self.client(), self.client()
        renew(broker, topics=[topic_row("orders")])
        known = client.call("route.get", topic="orders")["version"]
        broker.close()
        self.assertFalse(renew(self.client())["want_topics"])
        route = client.call("route.get", topic="orders", known=known, wait_ms=1500)
        self.assertEqual(route["version"], known)

    def test_a_release_takes_the_routes_at_once(self):
        broker, client = self.client(), self.client()
        renew(broker, topics=[topic_row("orders")])
        self.assertIsNone(broker.call("lease.release", broker="a", epoch=1))
        self.assertEqual(client.call("broker.list")["rows"], [])

    def test_the_lower_epoch_is_fenced(self):
        broker = self.client()
        renew(broker, epoch=3)
        error = self.refused(
            broker, "lease.renew", broker="a", address="h:1", role="master", epoch=2, digest=1
        )
        self.assertEqual((error["name"], error["code"], error["stored"]), ("FENCED", 22, "no"))

    def test_two_nameservers_give_one_route_one_version(self):
        other = self.start(name="other")
        versions = []
        for server in (self.server, other):
            renew(self.client(server), topics=[topic_row("orders")])
            versions.append(self.client(server).call("route.get", topic="orders")["version"])
        self.assertEqual(versions[0], versions[1])
        self.assertEqual(other.stop(), 0)


class Polls(NameserverCase):
    def test_a_poll_is_answered_by_the_change_that_it_waits_for(self):
        broker, client = self.client(), self.client()
        renew(broker, topics=[topic_row("orders")])
        known = client.call("route.get", topic="orders")["version"]
        waiting = client.send("route.get", topic="orders", known=known, wait_ms=30000)
        lists = client.send("topic.list", known=client.call("topic.list")["version"], wait_ms=30000)
        renew(broker, digest=2, topics=[topic_row("orders", version=2, queues=8)])
        error, route = client.take_for(waiting)
        self.assertIsNone(error)
        self.assertEqual(route["placement"], [["a", 0, 8]])
        self.assertEqual(client.take_for(lists)[1]["rows"][0]["queues"], 8)

    def test_a_poll_ends_with_its_time_and_with_a_cancel_as_if_nothing_had_happened(self):
        broker, client = self.client(), self.client()
        renew(broker, topics=[topic_row("orders")])
        known = client.call("route.get", topic="orders")["version"]
        began = time.monotonic()
        route = client.call("route.get", topic="orders", known=known, wait_ms=200)
        self.assertEqual(route["version"], known)
        self.assertGreater(time.monotonic() - began, 0.15)
        waiting = client.send("route.get", topic="orders", known=known, wait_ms=60000)
        client.socket.sendall(msgpack.packb([2, "cancel", [{"msgid": waiting}]]))
        error, route = client.take_for(waiting)
        self.assertIsNone(error)
        self.assertEqual(route["version"], known)

    def test_polls_of_a_connection_are_bounded_by_name(self):
        client = self.client()
        known = client.call("broker.list")["version"]
        for _ in range(64):
            client.send("broker.list", known=known, wait_ms=60000)
        error = self.refused(client, "broker.list", known=known, wait_ms=60000)
        self.assertEqual(error["name"], "TOO_MANY_WAITING")
        self.assertEqual((error["limit"], error["usage"]), (64, 64))
        self.assertIn("retry_after_ms", error)

    def test_polls_of_a_peer_that_does_not_read_are_answered_when_it_does(self):
        broker, client = self.client(), self.client()
        rows = [topic_row(f"t{i:05}-{'x' * 100}", i + 1) for i in range(16000)]
        renew(broker, topics=rows)
        known = client.call("topic.list", limit=1)["version"]
        asked = [client.send("topic.list", limit=10000, known=known, wait_ms=60000) for _ in range(60)]
        renew(broker, digest=2, topics=rows[:-1])
        time.sleep(0.5)
        self.assertLess(self.resident_bytes(), 900 << 20 if SANITIZED else 60 << 20)
        for request in asked:
            self.assertIsNone(client.take_for(request)[0])

    def resident_bytes(self):
        fields = pathlib.Path(f"/proc/{self.server.popen.pid}/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize()

    def test_pages_go_on_where_the_last_one_ended(self):
        broker, client = self.client(), self.client()
        names = [f"topic-{i:04}" for i in range(300)] + ["other"]
        renew(broker, topics=[topic_row(name, i + 1) for i, name in enumerate(names)])
        seen, after = [], ""
        while after is not None:
            page = client.call("topic.list", prefix="topic-", after=after, limit=70)
            seen += [row["name"] for row in page["rows"]]
            after = page.get("next")
        self.assertEqual(seen, sorted(names)[1:])


class CommandLine(NameserverCase):
    def ternmq(self, *arguments):
        command = [cluster.program_path("ternmq"), "-n", self.server.address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_the_command_line_reads_all_pages(self):
        broker = self.client()
        names = [f"broker-{i:04}" for i in range(1001)]  # a page has a thousand
        for name in names:
            renew(broker, broker=name, address=self.server.address)
        lines = self.ternmq("broker", "list", "--json").stdout.splitlines()
        self.assertEqual([json.loads(line)["name"] for line in lines], names)
        # Each is asked; a nameserver in its place answers that it has no such method.
        said = self.ternmq("stats").stderr
        self.assertEqual([line.split(": ")[1] for line in said.splitlines() if "UNKNOWN_METHOD" in line], names)

    def test_pages_that_do_not_go_on_are_an_error(self):
        self.assertEqual(self.server.stop(), 0)
        with socket.create_server(("127.0.0.1", int(self.server.address.split(":")[1]))) as server:
            threading.Thread(target=self.answer_the_same_page, args=(server,), daemon=True).start()
            for what in ("broker", "group"):
                done = self.ternmq(what, "list")
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("a page that no other can follow", done.stderr)

    def answer_the_same_page(self, server):
        page = {"version": 1, "rows": [{"name": "a", "address": "127.0.0.1:1"}], "next": "a"}
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # the case has ended
                return
            requests = msgpack.Unpacker(connection.makefile("rb", 0))
            for _, number, method, _ in requests:
                answer = {"protocol": 1, "features": [], "limits": {}, "name": "n"}
                connection.sendall(msgpack.packb([1, number, None, answer if method == "hello" else page]))
            connection.close()


class Hostile(NameserverCase):
    def raw(self):
        host, port = self.server.address.split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def assert_alive(self):
        self.client().call("hello")

    def test_what_is_no_request_is_answered_where_an_id_is_known_and_else_closed(self):
        client = self.client()
        for message, name in (
            ([0, 7, "no.such.method", [{}]], "UNKNOWN_METHOD"),
            ([0, 7, "hello", [{"colour": 1}]], "UNKNOWN_ARGUMENT"),
            ([0, 7, "hello", [{"errors": "loud"}]], "BAD_ARGUMENT"),
            ([0, 7, "route.get", [{}]], "BAD_ARGUMENT"),
            ([0, 7, "route.get", [{"topic": "a b"}]], "BAD_ARGUMENT"),
            ([0, 7, "route.get", [{"topic": "x" * 128}]], "BAD_ARGUMENT"),
            ([0, 7, "hello", 5], "MALFORMED"),
        ):
            client.socket.sendall(msgpack.packb(message))
            request_id, error, result = client.take()
            self.assertEqual((request_id, error["name"], result), (7, name, None))
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\xc1", msgpack.packb([1, 2, 3, 4])):
            with self.raw() as connection:
                connection.sendall(data)
                self.assertEqual(connection.recv(4096), b"", data)
        self.assert_alive()

    def assert_answered_and_closed(self, data, request_id):
        """What is no frame, but has an id, is answered as such before the connection ends."""
        with self.raw() as connection:
            connection.sendall(data)
            unpacker = msgpack.Unpacker(raw=False)
            while answer := connection.recv(4096):
                unpacker.feed(answer)
            kind, answered_id, error, _ = next(unpacker, [None] * 4)
            self.assertEqual((kind, answered_id), (1, request_id), "closed without an answer")
            self.assertEqual(error["name"], "MALFORMED")
        self.assert_alive()

    def test_a_frame_over_the_limit_is_refused_by_its_header(self):
        self.assert_answered_and_closed(b"\x94\x00\x09\xa5hello\x91\xc6\x7f\xff\xff\xff", 9)

    def test_a_fault_within_the_arguments_is_answered_before_the_close(self):
        self.assert_answered_and_closed(b"\x94\x00\x07\xa9route.get\x91\x82\xc1\x00", 7)

    def test_random_bytes_and_cut_requests_hurt_nobody(self):
        chance = random.Random(5)
        whole = msgpack.packb(
            [0, 1, "lease.renew", [{"broker": "a", "address": "h:1", "role": "master", "epoch": 1,
                                    "digest": 1, "topics": [topic_row("x")]}]]
        )
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(chance.randint(0, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            if chance.random() < 0.3:
                data = bytearray(chance.randbytes(chance.randint(1, 200)))
            with self.raw() as connection:
                connection.sendall(bytes(data[: chance.randint(1, len(data))]))
                if chance.random() < 0.5:
                    connection.shutdown(socket.SHUT_WR)
                    try:
                        connection.recv(4096)
                    except OSError:
                        pass
        self.assert_alive()
        self.assertLess(self.server.log.read_text().count("\n"), 60)

    def test_bytes_one_at_a_time_are_a_request_all_the_same(self):
        client = self.client()
        for byte in msgpack.packb([0, 3, "hello", [{}]]):
            client.socket.sendall(bytes([byte]))
            time.sleep(0.001)
        self.assertEqual(client.take()[0], 3)

    def test_errors_come_in_the_form_that_was_chosen(self):
        client = self.client()
        client.call("hello", errors="text")
        error, _ = client.take_for(client.send("nothing"))
        self.assertTrue(error.startswith("UNKNOWN_METHOD: "), error)
        client.call("hello", errors="pair")
        error, _ = client.take_for(client.send("nothing"))
        self.assertEqual(error[0], 2)


class Process(NameserverCase):
    def run_program(self, *arguments):
        return subprocess.run(
            [cluster.program_path(PROGRAM), *arguments], capture_output=True, timeout=30, check=False,
            text=True,
        )

    def test_wrong_usage_is_one_line_and_status_2(self):
        for arguments in (["--listen"], ["--wrong", "x"], ["--log-level", "loud"], ["more"]):
            done = self.run_program(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_an_address_that_cannot_be_listened_on_is_one_line(self):
        for address, status in (
            (self.server.address, 1),
            ("no-such-host.invalid:1", 2),
            ("127.0.0.1:99999", 2),
            (";", 2),
        ):
            done = self.run_program("--listen", address)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(address, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_help_teaches_and_version_names(self):
        self.assertIn("ternmq-nameserver --listen", self.run_program("--help").stdout)
        self.assertRegex(self.run_program("--version").stdout, r"^ternmq-nameserver \d+\.\d+\.\d+\n$")

    def test_it_listens_on_a_unix_socket_too(self):
        path = f"{self.folder.name}/socket"
        address = cluster.free_address()
        log = pathlib.Path(self.folder.name) / "two.log"
        server = cluster.Process(PROGRAM, ["--listen", f"{address};unix:{path}"], address, log)
        server.wait_until_ready()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(msgpack.packb([0, 1, "hello", []]))
            self.assertEqual(msgpack.unpackb(connection.recv(65536), raw=False)[1], 1)
        self.assertEqual(server.stop(), 0, server.log_tail())

    def test_it_warns_once_where_others_can_reach_it(self):
        port = cluster.free_address().rpartition(":")[2]
        log = pathlib.Path(self.folder.name) / "open.log"
        server = cluster.Process(PROGRAM, ["--listen", f"0.0.0.0:{port}"], f"127.0.0.1:{port}", log)
        server.wait_until_ready()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(log.read_text().count("no security"), 1)

    def test_sigterm_ends_it_in_order_with_polls_waiting(self):
        client = self.client()
        client.send("broker.list", known=client.call("broker.list")["version"], wait_ms=60000)
        began = time.monotonic()
        self.server.popen.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.popen.wait(10), 0)
        self.assertLess(time.monotonic() - began, 2.5)

    def test_idle_it_uses_no_processor_time(self):
        self.client().call("hello")

        def ticks():
            fields = pathlib.Path(f"/proc/{self.server.popen.pid}/stat").read_text().split()
            return int(fields[13]) + int(fields[14])

        before = ticks()
        time.sleep(2)
        self.assertLessEqual(ticks() - before, 1)
        if not SANITIZED:
            pages = pathlib.Path(f"/proc/{self.server.popen.pid}/statm").read_text().split()
            private = int(pages[1]) - int(pages[2])
            self.assertLess(private * resource.getpagesize(), 4 << 20)

    def test_systemd_accepts_the_unit(self):
        text = UNIT.read_text().replace("/usr/bin/ternmq-nameserver", cluster.program_path(PROGRAM))
        unit = pathlib.Path(self.folder.name) / UNIT.name
        unit.write_text(text)
        try:
            done = subprocess.run(
                ["systemd-analyze", "verify", unit], capture_output=True, check=False, text=True
            )
        except FileNotFoundError:
            self.skipTest("systemd-analyze is not installed")
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    tap.main(__name__)
