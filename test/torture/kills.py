#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kills.py - SIGKILL at random moments under load, and what an acknowledgement promised.

  TERNMQ_BUILD=build test/torture/kills.py --kills 100 [--seed 42] [--shards 2] [--segment-bytes 1M]

A real nameserver and a real broker with small segments. Producers pipeline batches into topics of
both durabilities, consumers follow them, topics are created. The broker is killed, sometimes again while
it starts, and after every kill the queues are read back:

  lost        every acknowledged message is at its queue, offset and epoch, byte for byte
  invented    nothing is there that was not sent, nothing that was refused, nothing twice
  offsets     they are consecutive from 0; what stood at one once stands there for ever
  epoch       every start takes a higher one
  order       the messages of one producer in one queue are in the order in which it sent them
  seen        what a consumer was given is still there: a kill takes nothing out of the page cache

What is done, and when, is a pure function of the seed, printed first; when a signal really arrives between
two instructions of the broker is not. Needs Python's msgpack package.
"""

import argparse
import collections
import hashlib
import pathlib
import random
import sys
import threading
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import cluster  # noqa: E402 - found through the line above
import wire  # noqa: E402

PULL_BYTES = 4 << 20
# A kill in the middle of a start comes at most this late: most of a start is behind by then.
START_KILL_S_MAX = 0.15
# Queues are read back from this far before where the last reading ended, and every FULL_EVERY-th time
# from their beginning.
REREAD = 2000
FULL_EVERY = 10
REPORT_EVERY = 10


class Broken(Exception):
    """A promise was broken; the text says which."""


def body_of(producer, sequence, size):
    """The body of one message: it names its sender and number, so that a reader can judge it alone."""
    head = f"{producer}/{sequence}/{size}/".encode()
    return head + zlib.crc32(head).to_bytes(4, "big") * ((max(size - len(head), 0) + 3) // 4)


def read_body(body):
    """(producer, sequence) of a body; raises Broken if not every byte is as it was sent."""
    parts = bytes(body).split(b"/", 3)
    if len(parts) == 4 and all(part.isdigit() for part in parts[:3]):
        producer, sequence, size = (int(part) for part in parts[:3])
        if body_of(producer, sequence, size) == body:
            return producer, sequence
    raise Broken(f"invented: a body that nobody sent: {bytes(body[:60])!r}")


class Plan:
    """Everything that is decided by the seed."""

    def __init__(self, seed, kills):
        chance = random.Random(seed)
        self.topics = {
            "memory-one": {"queues": 1, "durability": "memory"},
            "memory-many": {"queues": 3, "durability": "memory"},
            "disk-one": {"queues": 1, "durability": "disk"},
            "disk-many": {"queues": 3, "durability": "disk"},
        }
        self.producers = []
        for topic, settings in self.topics.items():
            for queue in [*range(settings["queues"]), None][-2:]:
                self.producers.append(
                    {
                        "topic": topic,
                        "queue": queue,
                        "window": chance.choice([1, 4, 16]),
                        "batch_max": chance.choice([1, 8, 32]),
                        "size_max": chance.choice([40, 400, 4000]),
                        "pause_s": chance.choice([0.001, 0.003, 0.006]),
                        "seed": chance.getrandbits(32),
                    }
                )
        self.kills = []
        for _ in range(kills):
            delay_s = round(chance.choice([0.05, 0.3, 0.6]) + chance.random() * 0.6, 3)
            starts = []
            while chance.random() < 0.2:
                starts.append(round(chance.random() * START_KILL_S_MAX, 3))
            self.kills.append({"after_s": delay_s, "in_starts_after_s": starts})

    def digest(self):
        return hashlib.sha256(repr(vars(self)).encode()).hexdigest()[:16]


class Producer:
    """Sends batches, a window of them at a time, and remembers each answer."""

    def __init__(self, number, plan):
        self.number = number
        self.plan = plan
        self.chance = random.Random(plan["seed"])
        self.next_sequence = 0
        # (queue, offset, epoch, first sequence, count), as acknowledged.
        self.acknowledged = []
        self.checked = 0
        self.refused = set()
        self.waiting = collections.OrderedDict()

    def send_batch(self, client):
        count = self.chance.randint(1, self.plan["batch_max"])
        first = self.next_sequence
        messages = []
        for sequence in range(first, first + count):
            body = body_of(self.number, sequence, self.chance.randint(10, self.plan["size_max"]))
            plain = self.chance.random() < 0.7
            messages.append(body if plain else ["tag", ["key"], {"name": "value"}, body])
        # Counted before it is sent: a message that left in part may be stored.
        self.next_sequence += count
        args = {"topic": self.plan["topic"], "messages": messages}
        if self.plan["queue"] is not None:
            args["queue"] = self.plan["queue"]
        if self.chance.random() < 0.1:
            args["durability"] = "disk"
        self.waiting[client.send("produce", **args)] = (first, count, args.get("durability"))

    def take_answer(self, client):
        request, error, result = client.take()
        first, count, asked = self.waiting.pop(request)
        if error is not None:
            if error.get("stored") == "no":
                self.refused.update(range(first, first + count))
            if not error.get("retryable") and error.get("stored") == "no":
                raise Broken(f"refused for good: {error}")
            return
        durability = asked or self.plan["durability"]
        if result["count"] != count or (durability == "disk" and result["reached"] != "disk"):
            raise Broken(f"{count} messages at {durability} were answered by {result}")
        self.acknowledged.append(
            (result["queue"], result["offset"], result["epoch"], first, count)
        )

    def work(self, address):
        self.waiting.clear()
        client = wire.Client(address)
        try:
            while True:
                while len(self.waiting) < self.plan["window"]:
                    self.send_batch(client)
                self.take_answer(client)
                time.sleep(self.plan["pause_s"])
        finally:
            client.close()


class Consumer:
    """Follows one queue from its beginning and remembers what it was given."""

    def __init__(self, topic, queue):
        self.topic = topic
        self.queue = queue
        self.seen = []
        self.checked = 0

    def work(self, address):
        client = wire.Client(address)
        try:
            while True:
                answer = client.call(
                    "pull",
                    topic=self.topic,
                    queue=self.queue,
                    offset=len(self.seen),
                    wait_ms=200,
                    max_bytes=1 << 16,
                )
                for record in answer["messages"]:
                    if record[wire.RECORD_OFFSET] != len(self.seen):
                        raise Broken(
                            f"offsets: a consumer of {self.topic}/{self.queue} at {len(self.seen)}"
                            f" was given {record[wire.RECORD_OFFSET]}"
                        )
                    self.seen.append(
                        (record[wire.RECORD_EPOCH], *read_body(wire.record_body(record)))
                    )
        finally:
            client.close()


class Judge:
    """Reads the queues back and compares them with what was promised."""

    def __init__(self, plan, producers, consumers):
        self.producers = producers
        self.consumers = consumers
        # What stands in a queue, by offset: (epoch, producer, sequence).
        self.queues = {
            (topic, queue): []
            for topic, settings in plan.topics.items()
            for queue in range(settings["queues"])
        }
        self.last_sequence = {}
        self.read_count = 0

    def read_queue(self, client, topic, queue, start):
        """Reads a queue from `start` to its end; known places must be as they were."""
        known = self.queues[topic, queue]
        where = f"{topic}/{queue}"
        offset = start
        while True:
            answer = client.call(
                "pull", topic=topic, queue=queue, offset=offset, max_bytes=PULL_BYTES
            )
            if answer["first"] != offset:
                raise Broken(f"offsets: {where} asked for {offset}, first is {answer['first']}")
            if not answer["messages"]:
                break
            for record in answer["messages"]:
                if record[wire.RECORD_OFFSET] != offset or record[wire.RECORD_KIND] & 15 != 1:
                    raise Broken(f"offsets: {where} has {record[:10]} at {offset}")
                found = (record[wire.RECORD_EPOCH], *read_body(wire.record_body(record)))
                if offset < len(known):
                    if known[offset] != found:
                        raise Broken(f"offsets: {where}/{offset} was {known[offset]}, is {found}")
                else:
                    self.add(where, (topic, queue), found)
                offset += 1
                self.read_count += 1
        if answer["end"] != offset:
            raise Broken(f"offsets: {where} ends at {offset}, but says {answer['end']}")
        if offset < len(known):
            raise Broken(f"lost: {where} ends at {offset}, it had {len(known)} messages")

    def add(self, where, key, found):
        """A message that was not read before stands at the end of what is known."""
        epoch, number, sequence = found
        known = self.queues[key]
        if known and known[-1][0] > epoch:
            raise Broken(f"offsets: {where}/{len(known)} is of epoch {epoch}, behind {known[-1]}")
        if number >= len(self.producers) or sequence >= self.producers[number].next_sequence:
            raise Broken(f"invented: {where}/{len(known)} holds {found}, which was not sent")
        if sequence in self.producers[number].refused:
            raise Broken(f"invented: {where}/{len(known)} holds {found}, which was refused")
        if sequence <= self.last_sequence.get((key, number), -1):
            raise Broken(f"order: {where}/{len(known)} holds {found}, a later one came before")
        self.last_sequence[key, number] = sequence
        known.append(found)

    def check_acknowledged(self):
        for producer in self.producers:
            topic = producer.plan["topic"]
            for queue, offset, epoch, first, count in producer.acknowledged[producer.checked :]:
                promised = [(epoch, producer.number, first + i) for i in range(count)]
                found = self.queues[topic, queue][offset : offset + count]
                if found != promised:
                    raise Broken(
                        f"lost: {topic}/{queue}/{offset} acknowledged {count} messages from "
                        f"{promised[0]}, there is {found[:3]}"
                    )
            producer.checked = len(producer.acknowledged)

    def check_seen(self):
        for consumer in self.consumers:
            known = self.queues[consumer.topic, consumer.queue]
            for offset in range(consumer.checked, len(consumer.seen)):
                if offset >= len(known) or known[offset] != consumer.seen[offset]:
                    raise Broken(
                        f"seen: {consumer.topic}/{consumer.queue}/{offset} was given as "
                        f"{consumer.seen[offset]} and is not there"
                    )
            consumer.checked = len(consumer.seen)

    def judge(self, client, full):
        for (topic, queue), known in self.queues.items():
            start = 0 if full else max(0, len(known) - REREAD)
            self.read_queue(client, topic, queue, start)
        self.check_acknowledged()
        self.check_seen()


class Torture:
    """The whole run: load, kill, start, judge, again."""

    def __init__(self, plan, shards, segment_bytes):
        self.plan = plan
        arguments = ["--segment-bytes", segment_bytes, "--shards", str(shards)]
        self.cluster = cluster.Cluster(arguments, keep_on_failure=True)
        self.producers = []
        for number, settings in enumerate(plan.producers):
            durability = plan.topics[settings["topic"]]["durability"]
            self.producers.append(Producer(number, {**settings, "durability": durability}))
        self.consumers = [
            Consumer(topic, queue)
            for topic, settings in plan.topics.items()
            for queue in range(settings["queues"])[:2]
        ]
        self.judge = Judge(plan, self.producers, self.consumers)
        self.created = []
        self.failures = []
        self.epoch = 0

    def put_topic(self, client, name, queues, durability):
        client.call("topic.put", name=name, queues=queues, settings={"durability": durability})
        self.created.append(name)

    def run_worker(self, worker):
        try:
            worker.work(self.cluster.broker_address)
        except wire.Lost:
            pass
        except Exception as failure:  # every other end of a worker is a finding
            self.failures.append(failure)

    def load_until_kill(self, after_s, cycle):
        threads = [
            threading.Thread(target=self.run_worker, args=(worker,), daemon=True)
            for worker in [*self.producers, *self.consumers]
        ]
        for thread in threads:
            thread.start()
        if cycle % FULL_EVERY == 0:
            self.put_topic(self.cluster.broker_client(), f"cycle-{cycle}", 1, "disk")
        time.sleep(after_s)
        if not self.cluster.broker.alive():
            raise Broken(f"the broker ended by itself\n{self.cluster.broker.log_tail()}")
        self.cluster.broker.kill()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                raise Broken("a client did not notice that the broker was killed")
        if self.failures:
            raise self.failures[0]

    def start_again(self, in_starts_after_s):
        for after_s in in_starts_after_s:
            self.cluster.start_broker(wait=False)
            time.sleep(after_s)
            self.cluster.broker.kill()
        self.start_broker()

    def start_broker(self):
        """Starts the broker; each start takes an epoch that no start before it had."""
        self.cluster.start_broker(wait=False)
        epoch = self.cluster.broker.wait_until_ready()["epoch"]
        if epoch <= self.epoch:
            raise Broken(f"epoch: a start took {epoch}, {self.epoch} was taken before")
        self.epoch = epoch

    def check(self, full):
        client = self.cluster.broker_client(timeout_s=120.0)
        try:
            for name in self.created:
                client.call("topic.show", name=name)
            self.judge.judge(client, full)
        finally:
            client.close()

    def report(self, cycle):
        acknowledged = sum(a[4] for producer in self.producers for a in producer.acknowledged)
        sent = sum(producer.next_sequence for producer in self.producers)
        seen = sum(len(consumer.seen) for consumer in self.consumers)
        print(
            f"kill {cycle}/{len(self.plan.kills)}: {sent} sent, {acknowledged} acknowledged, "
            f"{seen} seen by consumers, {self.judge.read_count} read back",
            flush=True,
        )
        return acknowledged

    def run(self):
        with self.cluster:
            self.epoch = self.cluster.broker.wait_until_ready()["epoch"]
            client = self.cluster.broker_client()
            for name, settings in self.plan.topics.items():
                self.put_topic(client, name, settings["queues"], settings["durability"])
            client.close()
            for cycle, kill in enumerate(self.plan.kills, 1):
                self.load_until_kill(kill["after_s"], cycle)
                self.start_again(kill["in_starts_after_s"])
                last = cycle == len(self.plan.kills)
                self.check(full=last or cycle % FULL_EVERY == 0)
                if last or cycle % REPORT_EVERY == 0:
                    acknowledged = self.report(cycle)
            if acknowledged == 0:
                raise Broken("nothing was ever acknowledged: this run shows nothing")
            status = self.cluster.broker.stop()
            if status != 0:
                raise Broken(f"SIGTERM ended in status {status}\n{self.cluster.broker.log_tail()}")
            self.cluster.ternmq("inspect", str(self.cluster.store), "verify")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--segment-bytes", default="1M")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    arguments = parser.parse_args()
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)

    plan = Plan(seed, arguments.kills)
    print(f"seed {seed}, plan {plan.digest()}", flush=True)
    if arguments.plan:
        for line in [*plan.topics.items(), *plan.producers, *plan.kills]:
            print(line)
        return 0
    try:
        Torture(plan, arguments.shards, arguments.segment_bytes).run()
    except (Broken, wire.CallFailed, AssertionError) as failure:
        print(f"kills: FAILED with seed {seed}: {failure}", flush=True)
        return 1
    print(f"kills: {arguments.kills} kills, nothing lost, invented or out of order; seed {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
