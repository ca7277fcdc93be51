# SPDX-License-Identifier: Apache-2.0
"""Tests that no bytes on either port crash a server, hold up its other connections, or fill its memory."""

import random
import socket
import time
import unittest

import msgpack

import cluster
import tap
import wire

SEED = 20240607
CONNECTIONS = 150
# What a busy machine under a sanitizer may take for an answer; a stall is far beyond.
ANSWER_S = 5.0
FRAME_BYTES_MAX = 8 << 20


def resident_bytes(process):
    with open(f"/proc/{process.popen.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


class HostileBytes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.cluster.broker_client().call("topic.put", name="t", queues=1)

    def setUp(self):
        self.chance = random.Random(SEED)
        self.servers = [self.cluster.broker, self.cluster.nameserver]

    def tearDown(self):
        for server in self.servers:
            self.assertTrue(server.alive(), server.log_tail())
            began = time.monotonic()
            client = wire.Client(server.address)
            client.call("hello")
            client.close()
            self.assertLess(time.monotonic() - began, ANSWER_S, "other connections were held up")

    def throw(self, server, data):
        """Sends bytes on a connection of their own and reads until the server closes or has answered."""
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=ANSWER_S) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while chunk := connection.recv(65536):
                    answer += chunk
                return answer
            except (ConnectionError, TimeoutError) as error:
                if isinstance(error, TimeoutError):
                    self.fail(f"neither answered nor closed: {data[:40]!r}")
                return b""

    def test_random_bytes_close_the_connection(self):
        for server in self.servers:
            for _ in range(CONNECTIONS):
                self.throw(server, self.chance.randbytes(self.chance.randint(1, 300)))

    def test_random_arrays_close_the_connection_or_are_answered(self):
        for server in self.servers:
            for _ in range(CONNECTIONS):
                head = bytes([0x90 | self.chance.randint(0, 15)])
                self.throw(server, head + self.chance.randbytes(self.chance.randint(0, 100)))

    def test_requests_cut_at_every_byte_do_nothing(self):
        message = ["tag", ["key"], {"name": "value"}, b"body"]
        arguments = {"topic": "t", "messages": [message], "queue": 0}
        whole = msgpack.packb([0, 1, "produce", [arguments]])
        client = self.cluster.broker_client()
        before = client.call("pull", topic="t", queue=0, last=True)["end"]
        for cut in range(len(whole)):
            self.assertEqual(self.throw(self.cluster.broker, whole[:cut]), b"")
        after = client.call("pull", topic="t", queue=0, last=True)["end"]
        client.close()
        self.assertEqual(after, before)

    def test_requests_with_changed_bytes_never_crash(self):
        wholes = [
            msgpack.packb([0, 1, "produce", [{"topic": "t", "messages": [b"x", b"y"]}]]),
            msgpack.packb([0, 2, "pull", [{"topic": "t", "queue": 0, "first": True}]]),
            msgpack.packb([0, 3, "topic.put", [{"name": "t", "queues": 1}]]),
            msgpack.packb([0, 4, "route.get", [{"topic": "t"}]]),
            msgpack.packb([0, 5, "lease.renew", [{"broker": "b", "epoch": 1, "digest": 2}]]),
        ]
        for server in self.servers:
            for _ in range(CONNECTIONS):
                data = bytearray(self.chance.choice(wholes))
                for _ in range(self.chance.randint(1, 4)):
                    data[self.chance.randrange(len(data))] = self.chance.randrange(256)
                self.throw(server, bytes(data))

    def test_lengths_that_nothing_follows_cost_no_memory(self):
        before = [resident_bytes(server) for server in self.servers]
        openings = [
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\x94\x00\x01\xdb\xff\xff\xff\xff",
            b"\x94\x00\x01\xa7produce\x91\x81\xa8messages\xdd\xff\xff\xff\xff",
            b"\x94\x00\x01\xa7produce\x91\xdf\xff\xff\xff\xff",
            b"\x94\x00\x01\xa7produce\x91\x81\xa8messages\x91\xc6\xff\xff\xff\xff",
        ]
        for server in self.servers:
            for opening in openings * 10:
                self.throw(server, opening)
        for server, was in zip(self.servers, before):
            self.assertLess(resident_bytes(server) - was, 64 << 20)

    def test_deep_nesting_closes_the_connection(self):
        for server in self.servers:
            for depth in (33, 1000, 1000000):
                self.throw(server, b"\x91" * depth)
                self.throw(server, b"\x94\x00\x01\xa5hello" + b"\x91" * depth)
                self.throw(server, b"\x94\x00\x01\xa5hello\x91" + b"\x81\xa1a" * depth)

    def test_a_frame_beyond_the_limit_is_not_taken_in(self):
        before = resident_bytes(self.cluster.broker)
        body = b"x" * (FRAME_BYTES_MAX + (1 << 20))
        for _ in range(4):
            self.throw(
                self.cluster.broker,
                msgpack.packb([0, 1, "produce", [{"topic": "t", "messages": [body]}]]),
            )
        self.assertLess(resident_bytes(self.cluster.broker) - before, 64 << 20)

    def test_a_request_a_byte_at_a_time_is_served_and_holds_up_nobody(self):
        client = self.cluster.broker_client()
        other = self.cluster.broker_client()
        for byte in msgpack.packb([0, 77, "hello", [{}]]):
            client.socket.sendall(bytes([byte]))
            other.call("hello")
        self.assertEqual(client.take()[0], 77)
        client.close()
        other.close()

    def test_a_reader_that_does_not_read_holds_up_nobody(self):
        client = self.cluster.broker_client()
        client.call("produce", topic="t", queue=0, messages=[b"x" * 100000] * 20)
        stuck = self.cluster.broker_client(timeout_s=1.0)
        before = resident_bytes(self.cluster.broker)
        try:
            for _ in range(2000):
                stuck.send("pull", topic="t", queue=0, first=True, max_bytes=1 << 20)
        except wire.Lost:
            pass  # The broker has stopped reading, as it should: our own buffer is full.
        began = time.monotonic()
        client.call("hello")
        self.assertLess(time.monotonic() - began, ANSWER_S)
        self.assertLess(resident_bytes(self.cluster.broker) - before, 64 << 20)
        stuck.close()
        client.close()

    def test_an_http_request_is_closed(self):
        for server in self.servers:
            self.assertEqual(self.throw(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), b"")

    def test_a_request_id_that_is_known_gets_its_error(self):
        for server in self.servers:
            client = wire.Client(server.address)
            for arguments in ([{"nonsense": 1}], [17], ["text"], [{}, {}]):
                client.socket.sendall(msgpack.packb([0, 4294967295, "hello", arguments]))
                request, error, _ = client.take()
                self.assertEqual(request, 4294967295)
                self.assertIn(error["name"], {"UNKNOWN_ARGUMENT", "MALFORMED", "BAD_ARGUMENT"})
            client.close()


if __name__ == "__main__":
    tap.main(__name__)
