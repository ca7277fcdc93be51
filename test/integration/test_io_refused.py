# SPDX-License-Identifier: Apache-2.0
"""test_io_refused.py - a system that refuses io_uring: epoll takes over, says so once, and everything works.

Refused by a seccomp filter, as in containers, and by a limit of locked memory; and where nothing refuses
it, the servers wait as they were asked to.
"""

import pathlib
import resource
import shutil
import tempfile
import unittest

import cluster
import tap
import wire

MESSAGES = 300


def without_io_uring():
    return [cluster.program_path("without_io_uring")]


def with_little_locked_memory():
    """Without the right to lock more than the limit, which root has."""
    bytes_max = 4096
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard != resource.RLIM_INFINITY and hard < bytes_max:
        bytes_max = hard
    prlimit = ["/usr/bin/prlimit", f"--memlock={bytes_max}:{bytes_max}"]
    if not pathlib.Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0].strip("0"):
        return prlimit
    return [*prlimit, "/usr/bin/setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]


class IoRefused(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ternmq-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, name, before, *arguments):
        address = cluster.free_address()
        log = self.folder / f"{name}.log"
        process = cluster.Process(name, ["--listen", address, *arguments], address, log, before)
        self.addCleanup(process.kill)
        process.wait_until_ready()
        return process

    def start_both(self, before, *arguments):
        nameserver = self.start("ternmq-nameserver", before, *arguments)
        broker = self.start(
            "ternmq-broker",
            before,
            *("--store", str(self.folder / "store"), "--nameserver", nameserver.address),
            *arguments,
        )
        return nameserver, broker

    def smoke(self, broker):
        """Topics, produces of all sizes, polls that wait, deliveries by sendfile, an orderly end."""
        client = wire.Client(broker.address)
        self.addCleanup(client.close)
        client.call("topic.put", name="t", queues=1)
        bodies = [bytes([i % 251]) * (i * i % 50000) for i in range(MESSAGES)]
        for at in range(0, MESSAGES, 10):
            client.call("produce", topic="t", messages=bodies[at : at + 10])
        offset = 0
        while offset < MESSAGES:
            answer = client.call("pull", topic="t", queue=0, offset=offset, wait_ms=5000)
            for record in answer["messages"]:
                self.assertEqual(record[12], bodies[record[8]])
            offset = answer["next"]
        poll = client.send("pull", topic="t", queue=0, offset=offset, wait_ms=20000)
        client.call("produce", topic="t", messages=[b"last"])
        error, answer = client.take_for(poll)
        self.assertIsNone(error)
        self.assertEqual(answer["messages"][0][12], b"last")
        return client.call("stats")["io"]

    def assert_epoll_took_over(self, before, why):
        nameserver, broker = self.start_both(before, "--io", "uring")
        self.assertEqual(self.smoke(broker), "epoll")
        for process in (nameserver, broker):
            lines = [line for line in process.log_tail().splitlines() if "io_uring" in line]
            self.assertEqual(len(lines), 1, process.log_tail())
            self.assertIn("epoll takes over", lines[0])
            self.assertIn(why, lines[0])
            self.assertEqual(process.stop(), 0)

    def test_a_security_filter(self):
        self.assert_epoll_took_over(without_io_uring(), "security filter")

    def test_a_limit_of_locked_memory(self):
        self.assert_epoll_took_over(with_little_locked_memory(), "locked memory")

    def test_epoll_that_was_asked_for_says_nothing(self):
        _, broker = self.start_both((), "--io", "epoll")
        self.assertEqual(self.smoke(broker), "epoll")
        self.assertNotIn("io_uring", broker.log_tail())

    def test_io_uring_is_used_where_nothing_refuses_it(self):
        _, broker = self.start_both((), "--io", "uring")
        if "epoll takes over" in broker.log_tail():
            self.skipTest(broker.log_tail())
        self.assertEqual(self.smoke(broker), "io_uring")


if __name__ == "__main__":
    tap.main(__name__)
