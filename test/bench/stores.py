# SPDX-License-Identifier: Apache-2.0
"""stores.py - stores that are filled once and measured by several rows: gigabytes take longer to write than to
measure."""

import subprocess

import machine
import measured

BODY_BYTES = 1024
RECORD_BYTES = BODY_BYTES + 71 + 3  # head and message header around a body of this size
# The first segments are 16, 32, .. MiB, those from here on of the full size: a snapshot at each beginning.
SEGMENT_BYTES = 256 << 20
FILL = ("produce", "--queues", "1", "--size", str(BODY_BYTES), "--batch", "100", "--durability", "memory")


def fill(broker, messages, keep=False):
    """Produces so many messages of 1 KiB to the topic `bench`, which is made anew unless it is kept."""
    broker.bench(*FILL, "--unchecked", "--messages", str(messages), *(["--keep-topic"] if keep else []))


def position(broker):
    """How many bytes its one log has."""
    return broker.call("stats")["shards"][0]["position_written"]


def behind_snapshot(broker):
    """How many bytes of the log lie behind the beginning of its newest segment, where its newest snapshot is."""
    return position(broker) - int(broker.segments()[-1].stem)


class Filled:
    """Brokers with so many bytes stored, by size: made when first asked for, stopped by close()."""

    def __init__(self, context, variant):
        self.context = context
        self.variant = variant
        self.brokers = {}
        self.turns = 0

    def turn(self):
        """0 and 1 by turns."""
        self.turns += 1
        return self.turns % 2

    def broker(self, stored_bytes, behind_bytes=None):
        """One with at least so many bytes; with `behind_bytes` its log ends so far behind a snapshot, within a
        message. The same one each time it is asked for."""
        key = (stored_bytes, behind_bytes)
        if key not in self.brokers:
            name = f"filled-{stored_bytes}-{behind_bytes or 0}"
            self.context.say(f"filling {stored_bytes / 1e9:g} GB")
            made = measured.Broker(
                self.context.programs,
                self.context.folder / name,
                self.variant,
                arguments=["--segment-bytes", str(SEGMENT_BYTES)],
            )
            self.brokers[key] = made
            made.__enter__()
            fill(made, stored_bytes // RECORD_BYTES)
            if behind_bytes is not None:
                self._go_to(made, behind_bytes)
            # What the kernel has still to write would be measured with whatever comes first.
            subprocess.run(["sync"], check=True)
        return self.brokers[key]

    @staticmethod
    def _go_to(broker, behind_bytes):
        """Produces until the log ends `behind_bytes` behind the beginning of a segment."""
        if behind_snapshot(broker) > behind_bytes:
            # Into the next segment first: what is left of this one, and a little.
            fill(broker, (SEGMENT_BYTES - behind_snapshot(broker)) // RECORD_BYTES + 1000, keep=True)
            # A segment gets its name off the loop, a little after its first record.
            if not machine.wait_for(lambda: behind_snapshot(broker) <= behind_bytes, 10, 0.05):
                raise measured.Failed("the next segment has not got its name within 10 s")
        missing = (behind_bytes - behind_snapshot(broker)) // RECORD_BYTES
        if missing > 0:
            fill(broker, missing, keep=True)

    def close(self):
        for broker in self.brokers.values():
            broker.__exit__(None, None, None)
        self.brokers = {}
