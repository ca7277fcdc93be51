# SPDX-License-Identifier: Apache-2.0
"""test_group_model.py - random operations on groups of a real broker, each judged by a plain model.

  TERNMQ_BUILD=build-sanitize PYTHONPATH=test/lib test/integration/test_group_model.py [--seed 42] [--operations 2000]

The same as test/sim/test_group_model.py, with a process that is really killed and time that really passes: what
the model takes for certain allows for what a busy machine does to time. The seed, printed first, makes the same
operations again as long as the broker answers them alike.
"""

import argparse
import os
import select
import sys
import time
import unittest

import cluster
import tap
import wire
from group_contest import Refused
from group_operations import Operations

LATE_MS = 400  # that much later than it should may a timer of the broker act
CLOCK_MS = 50  # the broker's time of a turn may be that much older than a call that the turn handles
CLOSE_S = 0.1  # until the broker has seen that a connection closed
PATIENCE_S = 20.0
OPERATIONS_DEFAULT = 2000


class RealBroker:
    """A process on loopback, as group_operations.py wants a broker."""

    def __init__(self, running):
        self.cluster = running
        self.clients = {}
        self.waiting = {}
        self.low = self.high = 0

    def note_time(self, began_s):
        self.low = max(self.low, int(began_s * 1000) - CLOCK_MS)
        self.high = int(time.time() * 1000) + 1

    def client(self, connection):
        if connection not in self.clients:
            self.clients[connection] = self.cluster.broker_client()
        return self.clients[connection]

    def call(self, connection, method, **args):
        client = self.client(connection)
        began_s = time.time()
        try:
            return client.call(method, **args)
        except wire.CallFailed as failed:
            raise Refused(method, failed.error) from failed
        finally:
            self.note_time(began_s)

    def send(self, connection, method, **args):
        began_s = time.time()
        self.waiting[connection] = self.client(connection).send(method, **args)
        self.note_time(began_s)

    def take(self, connection, within_ms):
        began_s = time.time()
        client = self.clients[connection]
        patience_s = PATIENCE_S if within_ms > 0 else 0.02
        ready = select.select([client.socket], [], [], patience_s)[0]
        error, result = client.take_for(self.waiting[connection]) if ready else (None, None)
        self.note_time(began_s)
        if error is not None:
            raise Refused("receive", error)
        return result

    def close(self, connection):
        began_s = time.time()
        if connection in self.clients:
            self.clients.pop(connection).close()
            time.sleep(CLOSE_S)
        self.note_time(began_s)

    def pass_time(self, ms):
        time.sleep(ms / 1000)
        self.note_time(time.time())

    def end(self, how):
        began_s = time.time()
        if how == "kill":
            self.cluster.broker.kill()
        else:
            self.cluster.broker.stop()
        for client in self.clients.values():
            client.close()
        self.clients.clear()
        self.cluster.start_broker()
        self.note_time(began_s)


class Real(unittest.TestCase):
    arguments = None

    def test_a_real_broker_does_as_the_model_says(self):
        seed = self.arguments.seed
        with cluster.Cluster(["--segment-bytes", "64K"]) as running:
            contest = Operations(RealBroker(running), seed, late_ms=LATE_MS)
            try:
                contest.run(self.arguments.operations)
            except AssertionError as wrong:
                self.fail(f"--seed {seed}\n{wrong}\n{running.broker.log_tail()}")
            print(f"# seed {seed}: {contest.done} operations, {dict(contest.counts)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=OPERATIONS_DEFAULT)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    Real.arguments = parser.parse_args()
    print(f"# seed {Real.arguments.seed}", flush=True)
    sys.argv[1:] = []
    tap.main(__name__)


if __name__ == "__main__":
    main()
