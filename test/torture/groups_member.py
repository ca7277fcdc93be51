# SPDX-License-Identifier: Apache-2.0
"""groups_member.py - the processes of the soak of groups: a member of a group, and a producer.

Each tells its parent what it does through a pipe, a msgpack array an event, before it does it and when it
was answered; what it has told survives its SIGKILL. Times `t` are ms since 1970, by the clock of the broker.

  ["open", connection, release]                 a connection was made
  ["given", connection, [range..]]              range: [number of its first delivery, topic, queue, until,
                                                lease_ms, attempt, reason, [[offset, key]..]]
  ["settle", call, verb, t, [[numbers]..], argument]   receipts, each of deliveries by their numbers
  ["settled", call, t, {index: code}]           it was answered, so many receipts failed
  ["close", connection, t]                      the connection is about to be closed
  ["lost", connection, t, text]                 it ended
  ["refused", name]                             an error that may be gone later
  ["wrong", text]                               an error that no member may see
  ["stored", topic, queue, offset, first sequence, count]   (producers) acknowledged
  ["sent", count]                               (producers)
"""

import collections
import os
import random
import time

import msgpack

import groups_plan
import wire

WAIT_MS = 1000
AGAIN_S = 0.05
# A broker that leaves a call unanswered for so long is stuck, whatever the machine does.
CALL_S = 30.0

# One message; its receipt is from `first` to `last`, `range` is (topic, queue, lease).
Delivery = collections.namedtuple("Delivery", "number range first last message until attempt")


def now_ms():
    return time.time() * 1000.0


class Journal:
    """The pipe to the parent; a broken one ends the process."""

    def __init__(self, pipe):
        self.pipe = pipe
        self.packer = msgpack.Packer()

    def write(self, *event):
        data = self.packer.pack(event)
        while data:
            data = data[os.write(self.pipe.fileno(), data) :]


class Over(Exception):
    """The life is over."""


class Member:
    """One life of a member."""

    def __init__(self, plan_seed, life, address, began, journal):
        self.plan_seed = plan_seed
        self.life = life
        self.group = groups_plan.GROUPS[life.group]
        self.address = address
        self.journal = journal
        self.chance = random.Random(life.chance)
        orderly = life.ends not in ("kill", "stays")
        self.ends_at = began + life.end_s if orderly else float("inf")
        self.client = None
        self.connection = 0
        self.next_number = 0
        self.next_call = 0
        self.pending = []  # receipts for the next receive
        self.late = []  # (when, receipt)
        self.batch = []  # what is held and not begun

    def run(self):
        try:
            while True:
                try:
                    self.connect()
                    while True:
                        self.turn()
                except wire.Lost as lost:
                    self.journal.write("lost", self.connection, now_ms(), str(lost))
                    self.client = None
                    self.check_end()
                    time.sleep(AGAIN_S)
                except wire.CallFailed as failed:
                    self.failed(failed)
        except Over:
            self.leave()

    def failed(self, failed):
        if failed.error["retryable"]:
            self.journal.write("refused", failed.name)
            time.sleep(AGAIN_S)
        else:
            self.journal.write("wrong", f"{self.life.group}/{self.life.member}: {failed}")
            raise Over

    def check_end(self):
        if time.monotonic() >= self.ends_at:
            raise Over

    def connect(self):
        if self.client is None:
            client = wire.Client(self.address, CALL_S)
            self.connection += 1
            client.call("hello", release_on_close=self.life.release)
            self.client = client
            self.journal.write("open", self.connection, self.life.release)

    def leave(self):
        """The end that was planned: a kill comes from outside."""
        if self.client is None:
            return
        orderly = self.life.ends != "close"
        try:
            if self.life.ends == "give back" and self.batch:
                self.settle("nack", [[delivery] for delivery in self.batch], count=False)
        except (wire.Lost, wire.CallFailed):
            orderly = False
        self.journal.write("close", self.connection, now_ms())
        if orderly:
            self.client.close()
        else:
            self.client.reset()  # the broker finds out whatever it is doing

    # ------------------------------------------------------------------ work

    def turn(self):
        """What is held is worked on; then more is asked for."""
        self.check_end()
        self.connect()
        done = []
        while self.batch:
            self.check_end()
            done += self.work_on(self.batch.pop(0))
        if done and self.life.acks == "batch":
            self.settle("ack", self.joined(done))
        elif done:
            self.pending = [[delivery] for delivery in done]
        self.settle_late()
        self.receive()

    def work_on(self, delivery):
        """Works on one message; gives it back if it is to be acknowledged with others."""
        fate = groups_plan.fate_of(self.plan_seed, self.group, delivery.message)
        seconds = min(self.chance.expovariate(1.0), 5.0) * self.group.work_ms / 1000.0
        time.sleep(seconds)
        receipts = [[delivery]]
        first = delivery.attempt == 1
        if fate == "poison" and self.is_still_bad(delivery):
            self.settle("nack", receipts, reason="poison")
        elif fate == "dead" and self.group.exhausted == "dead":
            self.settle("nack", receipts, dead=True, reason="given up")
        elif fate == "fails" and first:
            delay = {"delay_ms": self.chance.randrange(400)} if self.chance.random() < 0.5 else {}
            self.settle("nack", receipts, reason="fails once", **delay)
        elif fate == "returned" and self.chance.random() < 0.7:
            self.settle("nack", receipts, count=False)
        elif fate == "forgotten" and first:
            pass
        elif fate == "late" and first:
            over_ms = delivery.until + self.chance.uniform(0, 300)
            self.late.append((over_ms, delivery))
        else:
            if fate == "extended":
                self.settle("extend", receipts, lease_ms=self.group.lease_ms)
                time.sleep(seconds)
            if self.life.acks != "each":
                return [delivery]
            self.settle("ack", receipts)
            return []
        self.abandon_behind(delivery)
        return []

    def is_still_bad(self, delivery):
        most = self.group.attempts + groups_plan.STAYS_FOR
        return self.group.exhausted == "dead" or delivery.attempt < most

    def abandon_behind(self, delivery):
        """In an ordered group what comes behind a failed one is given back with it."""
        domain = self.domain(delivery)
        if domain is not None:
            self.batch = [other for other in self.batch if self.domain(other) != domain]

    def domain(self, delivery):
        return self.group.domain(*delivery.range[:2], delivery.message.key)

    def settle_late(self):
        now = now_ms()
        due = [delivery for over_ms, delivery in self.late if over_ms <= now]
        if due:
            self.late = [(over_ms, delivery) for over_ms, delivery in self.late if over_ms > now]
            self.settle("ack", [[delivery] for delivery in due])

    @staticmethod
    def joined(deliveries):
        """Receipts for all of them: neighbours in one range become one."""
        receipts = []
        for delivery in sorted(deliveries, key=lambda one: one.number):
            before = receipts[-1][-1] if receipts else None
            if (
                before is not None
                and before.range is delivery.range
                and before.number + 1 == delivery.number
            ):
                receipts[-1].append(delivery)
            else:
                receipts.append([delivery])
        return receipts

    # ----------------------------------------------------------------- calls

    def note_settle(self, verb, receipts, argument=None):
        self.next_call += 1
        numbers = [[delivery.number for delivery in receipt] for receipt in receipts]
        self.journal.write("settle", self.next_call, verb, now_ms(), numbers, argument)
        return self.next_call

    @staticmethod
    def wire_receipts(receipts):
        """[topic, queue, first, span, lease] of each."""
        wire_form = []
        for receipt in receipts:
            topic, queue, lease = receipt[0].range
            first = receipt[0].first
            wire_form.append([topic, queue, first, receipt[-1].last + 1 - first, lease])
        return wire_form

    def settle(self, verb, receipts, **args):
        argument = args.get("lease_ms") if verb == "extend" else None
        if verb == "nack":
            argument = (
                "dead" if args.get("dead") else "count" if args.get("count", True) else "back"
            )
        elif verb == "ack" and self.life.durable:
            args["durable"] = True
        call = self.note_settle(verb, receipts, argument)
        answer = self.client.call(
            verb, group=self.life.group, receipts=self.wire_receipts(receipts), **args
        )
        self.journal.write("settled", call, now_ms(), dict(answer["failed"]))

    def receive(self):
        args = {"wait_ms": WAIT_MS, "max": self.group.take_max, "member": self.life.member}
        if self.late:
            args["wait_ms"] = 100
        call = None
        if self.life.acks == "next" and self.pending:
            args["ack"] = self.wire_receipts(self.pending)
            call = self.note_settle("ack", self.pending)
            self.pending = []
        answer = self.client.call("receive", group=self.life.group, **args)
        if call is not None:
            self.journal.write("settled", call, now_ms(), dict(answer["acked"]))
        records = iter(answer["messages"])
        told = [self.take_range(part, records) for part in answer["ranges"]]
        if told:
            self.journal.write("given", self.connection, told)

    def take_range(self, part, records):
        """Puts the deliveries of one range into the batch; what is told of it."""
        topic, queue, first, span, count, attempt, lease, until, reason = part
        place = (topic, queue, lease)
        number = self.next_number
        offsets = []
        for index in range(count):
            record = next(records)
            offset = record[wire.RECORD_OFFSET]
            message = groups_plan.message_of(topic, *record[wire.RECORD_MESSAGE])
            # What was filtered out before it goes with it, and with the last one what was behind it.
            last = first + span - 1 if index == count - 1 else offset
            own = offsets[-1][0] + 1 if offsets else first
            self.batch.append(Delivery(number + index, place, own, last, message, until, attempt))
            offsets.append([offset, message.key])
        self.next_number += count
        return [number, topic, queue, until, self.group.lease_ms, attempt, reason, offsets]


def run_member(plan_seed, life, address, began, pipe):
    """The whole process of one life; `began` by the monotonic clock, which all have."""
    try:
        Member(plan_seed, life, address, began, Journal(pipe)).run()
    except BrokenPipeError:
        pass  # whom it would be told to has ended


class Producer:
    """Sends at a steady rate; what was not answered may be stored."""

    def __init__(self, seed, number, rate, address, journal):
        self.number = number
        self.topic = groups_plan.producer_topic(number)
        self.keyed = groups_plan.TOPICS[self.topic]["settings"].get("route") == "key"
        self.chance = random.Random(f"{seed}/producer/{number}")
        self.rate = rate
        self.address = address
        self.journal = journal
        self.sequence = 0

    def batch(self):
        # A few keys have most of the messages, as everywhere.
        key = min(int(self.chance.expovariate(1.0) * groups_plan.KEYS / 4), groups_plan.KEYS - 1)
        keys = [f"k{key}"] if self.keyed and self.chance.random() < 0.9 else None
        messages = []
        for index in range(self.chance.randint(1, groups_plan.BATCH_MAX)):
            color = self.chance.choice(groups_plan.COLORS)
            weight = str(self.chance.randrange(groups_plan.WEIGHTS))
            body = groups_plan.body_of(self.number, self.sequence + index)
            messages.append([color, keys, {"weight": weight}, body])
        return messages

    def run(self, ends_at):
        client = None
        due = time.monotonic()
        while time.monotonic() < ends_at:
            messages = self.batch()
            first = self.sequence
            self.sequence += len(messages)
            self.journal.write("sent", len(messages))
            try:
                if client is None:
                    client = wire.Client(self.address, CALL_S)
                answer = client.call("produce", topic=self.topic, messages=messages)
                place = (self.topic, answer["queue"], answer["offset"])
                self.journal.write("stored", *place, first, len(messages))
            except wire.Lost as lost:
                self.journal.write("lost", 0, now_ms(), str(lost))
                client = None
                time.sleep(AGAIN_S)
            except wire.CallFailed as failed:
                kind = "refused" if failed.error["retryable"] else "wrong"
                self.journal.write(kind, str(failed))
            # Not faster than the rate, also behind a pause: what was missed is not made up for.
            due = max(due + len(messages) / self.rate, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))


def run_producer(seed, number, rate, address, ends_at, pipe):
    try:
        Producer(seed, number, rate, address, Journal(pipe)).run(ends_at)
    except BrokenPipeError:
        pass
