# SPDX-License-Identifier: Apache-2.0
"""Tests of servers that have nothing to do: what wakes them, and what memory they hold."""

import json
import pathlib
import time
import unittest

import cluster
import tap

# Several times what a lease is renewed in.
WATCHED_S = 10.0
RENEWALS_MOST = 4
# A renewal wakes its sender for the timer and for the answer, its receiver once; with room for the kernel's
# own pauses under a sanitizer.
SWITCHES_A_RENEWAL_MOST = 8
IDLE_CONNECTIONS = 200


def context_switches(process):
    """How often threads of a process gave up the processor by themselves."""
    total = 0
    for task in pathlib.Path(f"/proc/{process.popen.pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def resident_kib(process):
    status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def is_release_like():
    """Whether the build has the allocator and the memory of a release."""
    options = cluster.build_folder() / "meson-info" / "intro-buildoptions.json"
    found = {o["name"]: o["value"] for o in json.loads(options.read_text())}
    return found["b_sanitize"] == "none" and not found["fuzz"]


class Idle(unittest.TestCase):
    def setUp(self):
        self.made = cluster.Cluster(keep_on_failure=False)
        self.made.__enter__()
        self.addCleanup(self.made.__exit__, None, None, None)
        self.held = [self.made.broker_client() for _ in range(IDLE_CONNECTIONS)]
        for client in self.held:
            client.call("hello")
            self.addCleanup(client.close)

    def test_only_lease_renewals_wake_anybody(self):
        processes = (self.made.broker, self.made.nameserver)
        time.sleep(1.0)  # what the start left to do: a mark in the log, the first renewal
        before = [context_switches(process) for process in processes]
        time.sleep(WATCHED_S)
        for process, switches in zip(processes, before):
            self.assertLessEqual(
                context_switches(process) - switches, RENEWALS_MOST * SWITCHES_A_RENEWAL_MOST
            )

    def test_memory_stays_within_what_the_manuals_say(self):
        if not is_release_like():
            self.skipTest("a sanitizer's memory is not ours")
        self.assertLessEqual(resident_kib(self.made.nameserver), 3584)
        self.assertLessEqual(resident_kib(self.made.broker), 12 * 1024)


if __name__ == "__main__":
    tap.main(__name__)
