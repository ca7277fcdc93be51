# SPDX-License-Identifier: Apache-2.0
"""test_group_model.py - random operations on groups of a simulated broker, each judged by a plain model.

  test_group_model.py                                     what the suite runs
  test_group_model.py --operations 100000                 more of it
  test_group_model.py --operations 1000 --seed 42 --shards 4     one history again

A history is one world from one seed: topics, four groups, and OPERATIONS_EACH operations, with kills, among 1, 2, 4
and 8 shards in turn. The seed of one that goes wrong is printed with its last operations and both states. What
FakeBroker is told to do wrong shows that the model would notice.
"""

import argparse
import os
import sys
import unittest

import tap
from group_fake import WRONGS, FakeBroker
from group_operations import Operations
from group_world import SimulatedBroker

OPERATIONS_EACH = 1000
LATE_MS = 1  # a timer fires at its millisecond's end, and a call may come before it
OPERATIONS_DEFAULT = 24000
SHARDS = (1, 2, 4, 8)
WRONG_SEEDS = 12  # histories in which a wrong has to be noticed


def run_history(seed, operations, shards):
    """One world; the contest that took place there."""
    with SimulatedBroker(seed, shards, cores=min(shards, 1 + seed % 2)) as broker:
        contest = Operations(broker, seed, late_ms=LATE_MS, cuts=seed % 2 == 0)
        contest.run(operations)
        return contest


class Simulated(unittest.TestCase):
    arguments = None
    shards = SHARDS

    def run_share(self, shards):
        arguments = self.arguments
        each = min(OPERATIONS_EACH, arguments.operations)
        share = arguments.operations // each // len(self.shards)
        done = 0
        for number in range(max(1, share)):
            seed = arguments.seed + number
            try:
                done += run_history(seed, each, shards).done
            except AssertionError as wrong:
                self.fail(f"--seed {seed} --shards {shards} --operations {each}\n{wrong}")
        print(f"# {shards} shards: {done} operations from seed {arguments.seed} on", flush=True)


class Model(unittest.TestCase):
    def test_a_broker_that_does_as_it_should_agrees(self):
        for seed in range(4):
            Operations(FakeBroker(seed), seed, cuts=True).run(500)

    def notices(self, wrong):
        for seed in range(WRONG_SEEDS):
            try:
                Operations(FakeBroker(seed, wrong), seed, cuts=True).run(500)
            except AssertionError as noticed:
                self.assertIn("Disagreement", str(noticed))
                return
        self.fail(f"nobody noticed that {WRONGS[wrong]}")


def add_cases(shards):
    """A case for each number of shards, and for each wrong."""
    for count in shards:
        setattr(Simulated, f"test_with_{count}_shards", lambda self, count=count: self.run_share(count))
    for wrong in WRONGS:
        name = f"test_notices_that_{WRONGS[wrong].replace(' ', '_').replace('.', '_')}"
        setattr(Model, name, lambda self, wrong=wrong: self.notices(wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=OPERATIONS_DEFAULT)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--shards", type=int, choices=SHARDS, help="histories with so many only")
    parser.add_argument("cases", nargs="*", help="e.g. Model, Simulated.test_with_4_shards")
    Simulated.arguments = parser.parse_args()
    Simulated.shards = (Simulated.arguments.shards,) if Simulated.arguments.shards else SHARDS
    add_cases(Simulated.shards)
    print(f"# seed {Simulated.arguments.seed}", flush=True)
    sys.argv[1:] = Simulated.arguments.cases
    tap.main(__name__)


if __name__ == "__main__":
    main()
