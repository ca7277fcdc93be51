# SPDX-License-Identifier: Apache-2.0
"""group_member.py - a member of a consumer group, on a connection of its own: receives, settles, leaves, dies.

Needs wire.py. What it was given is checked on the way in: messages lie in their ranges, in order, as many
as the ranges say.
"""

import time

import wire


class Delivery:
    """One message as it was given out."""

    def __init__(self, part, record):
        self.topic, self.queue = part.topic, part.queue
        self.attempt, self.lease, self.until, self.reason = part.attempt, part.lease, part.until, part.reason
        self.offset = record[wire.RECORD_OFFSET]
        self.body = wire.record_body(record)
        message = record[wire.RECORD_MESSAGE]
        self.tag, self.keys, self.properties = message[:3] if isinstance(message, list) else (None,) * 3
        self.extra = record[wire.RECORD_EXTRA]

    @property
    def place(self):
        return self.topic, self.queue, self.offset

    @property
    def receipt(self):
        return [self.topic, self.queue, self.offset, 1, self.lease]

    def __repr__(self):
        return f"<{self.topic}/{self.queue}/{self.offset} attempt {self.attempt}>"


class Part:
    """One range of an answer, and what was wanted of it."""

    def __init__(self, fields):
        (self.topic, self.queue, self.first, self.span, self.count) = fields[:5]
        (self.attempt, self.lease, self.until, self.reason) = fields[5:]

    @property
    def receipt(self):
        return [self.topic, self.queue, self.first, self.span, self.lease]


class Answer(list):
    """The messages of one receive, each a Delivery. `receipts` are of whole ranges, what was not wanted
    within them included; `failed` is of the receipts that were settled with it.
    """

    def __init__(self, result):
        super().__init__()
        self.parts = [Part(fields) for fields in result["ranges"]]
        self.failed = result.get("acked")
        self.order = result.get("order")
        records = iter(result["messages"])
        for part in self.parts:
            before = part.first - 1
            for _ in range(part.count):
                record = next(records)
                if not before < record[wire.RECORD_OFFSET] < part.first + part.span:
                    raise AssertionError(f"{record[wire.RECORD_OFFSET]} is not in its range {part.receipt}")
                if record[wire.RECORD_QUEUE] != part.queue:
                    raise AssertionError(f"a message of queue {record[wire.RECORD_QUEUE]} in {part.receipt}")
                before = record[wire.RECORD_OFFSET]
                self.append(Delivery(part, record))
        if next(records, None) is not None:
            raise AssertionError("more messages than the ranges say")

    @property
    def receipts(self):
        return [part.receipt for part in self.parts]

    @property
    def bodies(self):
        return [delivery.body for delivery in self]


def receipts_of(things):
    """Receipts of an Answer, of deliveries, or receipts themselves."""
    if isinstance(things, Answer):
        return things.receipts
    return [thing.receipt if isinstance(thing, Delivery) else thing for thing in things]


class Member:
    """One connection that receives for a group under a name."""

    def __init__(self, address, group, name=None, release_on_close=False):
        self.client = wire.Client(address)
        self.group = group
        self.name = name
        if release_on_close:
            self.client.call("hello", release_on_close=True)

    def send_receive(self, **more):
        """Asks, and does not wait for the answer: the id for take_receive()."""
        if self.name is not None:
            more["member"] = self.name
        return self.client.send("receive", group=self.group, **more)

    def take_receive(self, request):
        error, result = self.client.take_for(request)
        if error is not None:
            raise wire.CallFailed("receive", error)
        return Answer(result)

    def receive(self, **more):
        return self.take_receive(self.send_receive(**more))

    def receive_within(self, seconds, **more):
        """The first answer that has something, or an empty one after so long."""
        until = time.monotonic() + seconds
        while True:
            left_ms = max(0, int((until - time.monotonic()) * 1000))
            answer = self.receive(wait_ms=left_ms, **more)
            if answer or left_ms == 0:
                return answer

    def drain(self, **more):
        """Receives and settles until there is nothing: all that came."""
        came, receipts = [], []
        while True:
            answer = self.receive(ack=receipts, **more)
            if answer.failed:
                raise AssertionError(f"could not be settled: {answer.failed} of {receipts}")
            if not answer:
                return came
            came += answer
            receipts = answer.receipts

    def settle(self, method, things, **more):
        """ack, nack or extend: what failed of the receipts, [[index, code]..]."""
        return self.client.call(method, group=self.group, receipts=receipts_of(things), **more)["failed"]

    def ack(self, things, **more):
        return self.settle("ack", things, **more)

    def nack(self, things, **more):
        return self.settle("nack", things, **more)

    def extend(self, things, **more):
        return self.settle("extend", things, **more)

    def leave(self):
        self.client.close()

    def die(self):
        """What the broker sees of a process that is killed."""
        self.client.reset()
