# SPDX-License-Identifier: Apache-2.0
"""group_world.py - the simulated broker of test/sim/group_world.c, as group_operations.py wants a broker."""

import subprocess

import cluster
import msgpack
from group_contest import Refused


class SimulatedBroker:
    """A process of group_world; use it in a `with`."""

    def __init__(self, seed, shards, cores):
        arguments = {"--seed": seed, "--shards": shards, "--cores": cores}
        self.process = subprocess.Popen(
            [cluster.program_path("group_world"), *(str(word) for pair in arguments.items() for word in pair)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.low = self.high = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.stdin.close()
        self.process.stdout.close()
        status = self.process.wait()
        if kind is None and status != 0:
            raise AssertionError(f"the simulated broker ended with status {status}")

    def command(self, line):
        """One line, its answer's words behind the time."""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which the next line shows
        words = self.process.stdout.readline().split()
        if not words:
            raise AssertionError(f"the simulated broker ended at: {line[:60]}")
        self.low = self.high = int(words[0])
        return words[1:]

    def call(self, connection, method, **args):
        return self.result_of(method, self.command(f"call {connection} {self.frame(method, args)}"))

    def send(self, connection, method, **args):
        self.command(f"send {connection} {self.frame(method, args)}")

    def take(self, connection, within_ms):
        if within_ms > 0:
            self.pass_time(within_ms)
        words = self.command(f"take {connection}")
        return None if words == ["nothing"] else self.result_of("receive", words)

    def close(self, connection):
        self.command(f"close {connection}")

    def pass_time(self, ms):
        self.command(f"advance {ms}")

    def end(self, how):
        self.command(how)

    def frame(self, method, args):
        return msgpack.packb([0, 1, method, [args]]).hex()

    def result_of(self, method, words):
        if len(words) != 2:
            raise AssertionError(f"{method}: {words[0]} instead of an answer")
        value = msgpack.unpackb(bytes.fromhex(words[1]), strict_map_key=False)
        if words[0] == "error":
            raise Refused(method, value)
        return value
