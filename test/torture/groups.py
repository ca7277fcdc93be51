#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""groups.py - 50 members of consumer groups that come, go and are killed, and what groups are promised.

  TERNMQ_BUILD=build test/torture/groups.py --minutes 10 [--seed 42] [--rate 200] [--shards 2]

A real nameserver, a real broker with small segments, producers at a steady rate, and members in processes of
their own, which acknowledge, fail, extend, forget and come late, leave in order or are killed, as the broker
is every minute. Then they go on until nothing is left, and the broker is killed once more.

  settled     every acknowledged message is settled once in every group: acknowledged, or a dead letter
  again       is delivered twice only after a nack, the end of a lease, or of what had it; each is counted
  over        nothing is delivered after it was settled
  order       in ordered groups nothing comes before what is before it is settled
  attempts    never go back; dead letters are those that used them up
  share       of equal members the busiest gets at most twice as much as the one that gets least
  quiet       at the end no group has anything left, nor leases, also after a kill

The same seed is the same plan; who is given which message is not planned. Needs Python's msgpack package.
"""

import argparse
import collections
import functools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import msgpack  # noqa: E402 - those of the tree are found through the line above
import cluster  # noqa: E402
import groups_judge  # noqa: E402
import groups_member  # noqa: E402
import groups_plan  # noqa: E402
import groups_verdict  # noqa: E402
import wire  # noqa: E402

# Small: the logs are cut, and begin with a snapshot, every few seconds.
SEGMENT_BYTES = "128K"
COLUMN = 13
REPORT_S = 10.0
READ_S = 0.25
PULL_BYTES = 1 << 20
PIPE_BYTES = 1 << 18
# When nobody was given anything for so long, nothing comes any more where all is settled; else it is stuck.
# Leases, delays and the start of a broker are all shorter.
QUIET_MS = 10000.0
STUCK_MS = 30000.0
SHARE_MOST = 2.0
# Below so many full answers a member chance alone makes such a difference, or a second in which others had the
# processors: who does not run does not ask.
SHARE_ANSWERS_LEAST = 200


class Child:
    """A process and its pipe; what it says goes to `hear`, one event after the other."""

    def __init__(self, context, target, arguments, hear):
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.hear = hear
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self.life = None

    def read(self):
        """False: it has ended. An event that it was killed in the middle of is none."""
        data = os.read(self.pipe.fileno(), PIPE_BYTES)
        self.unpacker.feed(data)
        for event in self.unpacker:
            self.hear(event)
        return bool(data)

    def end(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Soak:
    """The whole run."""

    def __init__(self, plan, shards):
        self.plan = plan
        arguments = ["--segment-bytes", SEGMENT_BYTES, "--shards", str(shards)]
        self.cluster = cluster.Cluster(arguments, keep_on_failure=True)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["groups_member"])
        self.judge = groups_judge.Judge(self.tell)
        self.members = {}  # pipe -> Child
        self.producers = {}
        self.began = 0.0
        self.reader = None
        self.read_at = 0.0
        self.report_at = REPORT_S
        self.dead_read = collections.Counter()
        self.names = {}  # of groups, by their ids: a dead letter's place says whose member's it is
        self.left = 0
        self.left_most = 0

    @staticmethod
    def tell(text):
        print(text, flush=True)

    def since_s(self):
        return time.monotonic() - self.began

    # ------------------------------------------------------------- the broker

    def put_up(self):
        client = self.cluster.broker_client()
        for name, settings in groups_plan.TOPICS.items():
            client.call("topic.put", name=name, **settings)
        for group in groups_plan.GROUPS.values():
            client.call("group.put", name=group.name, settings=group.settings())
            if group.broadcast:
                # A member begins where queues end when it comes first: before anything is there.
                for slot in range(group.members):
                    member = groups_plan.member_name(slot)
                    client.call("receive", group=group.name, member=member)
        for name in self.judge.groups:
            rows = client.call("group.list", prefix=name)["rows"]
            self.names.update((row["id"], row["name"]) for row in rows)
        client.close()

    def kill_broker(self):
        before = groups_member.now_ms()
        self.cluster.broker.kill()
        self.judge.kills.append((before, groups_member.now_ms()))
        self.cluster.start_broker()
        self.judge.ready_at.append(groups_member.now_ms())
        self.reader = None

    def read_back(self):
        """Reads what was stored since the last time: topics, and dead letters."""
        try:
            if self.reader is None:
                self.reader = self.cluster.broker_client()
            for (topic, queue), (first, known) in self.judge.messages.items():
                self.read_queue(topic, queue, first + len(known))
            for group in groups_plan.GROUPS.values():
                self.read_dead(f"%DLQ%{group.name}")
        except wire.Lost as lost:
            self.reader = None
            self.judge.check_lost("reader", groups_member.now_ms(), str(lost))

    def pull(self, topic, queue, offset):
        """All records from there on."""
        while True:
            answer = self.reader.call(
                "pull", topic=topic, queue=queue, offset=offset, max_bytes=PULL_BYTES
            )
            for record in answer["messages"]:
                if record[wire.RECORD_OFFSET] != offset:
                    self.judge.find(f"{topic}/{queue}/{offset} is {record[:10]}")
                yield record
                offset = record[wire.RECORD_OFFSET] + 1
            if not answer["messages"]:
                return

    def read_queue(self, topic, queue, offset):
        for record in self.pull(topic, queue, offset):
            message = groups_plan.message_of(topic, *record[wire.RECORD_MESSAGE])
            self.judge.read(topic, queue, record[wire.RECORD_OFFSET], message)

    def read_dead(self, topic):
        try:
            queues = len(self.reader.call("topic.show", name=topic)["queues"])
        except wire.CallFailed as failed:
            if failed.name != "TOPIC_NOT_FOUND":
                raise
            return  # there is none yet
        for queue in range(queues):
            for record in self.pull(topic, queue, self.dead_read[topic, queue]):
                extra = record[wire.RECORD_EXTRA]
                dead = extra["dead"]
                message = groups_plan.message_of(dead[1], *record[wire.RECORD_MESSAGE])
                name = self.names.get(extra["place"][0])
                self.judge.dead_letter(name, dead, record[wire.RECORD_STORED_AT], message)
                self.dead_read[topic, queue] = record[wire.RECORD_OFFSET] + 1

    # ----------------------------------------------------------- the processes

    def start_producers(self):
        ends_at = self.began + self.plan.duration_s
        for number in range(groups_plan.PRODUCERS):
            rate = self.plan.rate / groups_plan.PRODUCERS
            arguments = (self.plan.seed, number, rate, self.cluster.broker_address, ends_at)
            child = Child(
                self.context,
                groups_member.run_producer,
                arguments,
                functools.partial(self.judge.producer_event, number),
            )
            self.producers[child.pipe] = child

    def start_member(self, life):
        state = self.judge.join(life)
        child = Child(
            self.context,
            groups_member.run_member,
            (self.plan.seed, life, self.cluster.broker_address, self.began),
            functools.partial(self.judge.member_event, state),
        )
        child.life = state
        self.members[child.pipe] = child

    def kill_if_planned(self, child):
        life = child.life.life
        if life.ends == "kill" and life.end_s <= self.since_s() and child.life.killed_at is None:
            child.life.state.counts["killed"] += 1
            self.kill_member(child)

    def kill_member(self, child):
        self.judge.kill(child.life, groups_member.now_ms())
        child.process.kill()

    def listen(self, timeout_s):
        """Takes what the processes say, for so long at the most when they say nothing."""
        for pipe in multiprocessing.connection.wait([*self.members, *self.producers], timeout_s):
            self.judge.now = groups_member.now_ms()
            child = self.members.get(pipe) or self.producers.get(pipe)
            if child.read():
                continue
            child.process.join()
            if child.life is not None:
                self.judge.leave(child.life)
                self.check_exit(child)
                del self.members[pipe]
            else:
                del self.producers[pipe]
            pipe.close()

    def check_exit(self, child):
        life = child.life.life
        if child.process.exitcode not in ((-9,) if life.ends in ("kill", "stays") else (0,)):
            name = f"{life.group}/{life.member}"
            self.judge.find(f"the process of {name} ended with {child.process.exitcode}")

    # ------------------------------------------------------------------ phases

    def churn(self):
        """Everything that is planned, at its time."""
        lives = list(reversed(self.plan.lives))
        kills = list(reversed(self.plan.broker_kills))
        self.began = time.monotonic()
        self.start_producers()
        while self.since_s() < self.plan.duration_s:
            while lives and lives[-1].start_s <= self.since_s():
                self.start_member(lives.pop())
            for child in [*self.members.values()]:
                self.kill_if_planned(child)
            if kills and kills[-1] <= self.since_s():
                kills.pop()
                self.kill_broker()
            self.step()
        for life in reversed(lives):
            if life.end_s == float("inf"):
                self.start_member(life)

    def step(self):
        self.listen(0.05)
        if time.monotonic() - self.read_at >= READ_S:
            self.read_at = time.monotonic()
            self.judge.now = groups_member.now_ms()
            self.read_back()
            self.left = self.judge.look()
            self.left_most = max(self.left_most, self.left)
        if not self.cluster.broker.alive():
            raise AssertionError(f"the broker ended by itself\n{self.cluster.broker.log_tail()}")
        if self.since_s() >= self.report_at:
            self.report_at += REPORT_S
            self.report()

    def drain(self):
        """The members go on until everything is settled, for as long as something comes of it."""
        while self.producers or self.left > 0:
            self.step()
            settled = next(self.judge.open_messages(), None) is None
            if not self.producers and self.judge.quiet_ms() > (QUIET_MS if settled else STUCK_MS):
                break
        for child in self.members.values():
            self.kill_member(child)
        while self.members:
            self.listen(1.0)

    def check_end(self):
        """Nobody is there any more; and the broker is killed once more."""
        self.read_back()
        self.judge.finish()
        self.kill_broker()
        client = self.cluster.broker_client()
        for name, state in self.judge.groups.items():
            self.check_quiet(client, name, state)
        client.close()

    def check_quiet(self, client, name, state):
        """Nothing is left, in what the broker says and in what it does."""
        group, _, member = name.partition("@")
        who = {"member": member or "last"}
        answer = client.call("receive", group=group, wait_ms=state.group.lease_ms, **who)
        for part in answer["ranges"]:
            self.judge.find(f"{name}: delivered after everything was settled: {part}")
        for row in client.call("group.show", name=name)["queues"]:
            if row["lag"] or row["leased"] or row["retrying"] or row["dead"]:
                self.judge.find(f"{name}: something is left: {row}")

    def run(self):
        with self.cluster:
            try:
                self.put_up()
                self.churn()
                self.drain()
                self.check_end()
            finally:
                for child in [*self.members.values(), *self.producers.values()]:
                    child.end()
            self.check_share()
            self.table()
            if self.judge.stored == 0:
                self.judge.find("nothing was ever acknowledged: this run shows nothing")
            status = self.cluster.broker.stop()
            if status != 0:
                self.judge.find(f"SIGTERM ended in status {status}")
            self.cluster.ternmq("inspect", str(self.cluster.store), "verify")
            if self.judge.findings:
                raise AssertionError(f"{self.judge.findings} findings")

    # ------------------------------------------------------------------- words

    def check_share(self):
        """Of what was given out while it was there a member has got as much as another one."""
        for name, state in self.judge.groups.items():
            most, least, fair = state.shares()
            if fair >= SHARE_ANSWERS_LEAST * state.group.take_max and most > SHARE_MOST * least:
                self.judge.find(
                    f"{name}: a member got {most:.2f} of its share, another {least:.2f}"
                )

    def resident_mb(self):
        process = pathlib.Path("/proc", str(self.cluster.broker.popen.pid))
        status = (process / "status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) >> 10

    def report(self):
        total = self.judge.total
        self.tell(
            f"{self.since_s():5.0f} s: {self.judge.stored} stored, {total('delivered')} delivered, "
            f"{total('again')} again, {total('settled')} settled, {self.left} left to judge, "
            f"{total('dead')} dead letters; {len(self.members)} members, {total('killed')} killed, "
            f"broker {len(self.judge.kills)} times; it has {self.resident_mb()} MB"
        )

    def table(self):
        heads = ("joined", "left", "killed", "delivered", "ack", "nack", "extend", "lost ack")
        heads += ("dead", "unanswered", "unseen")
        self.row("group", *heads, "most", "least")
        for name, state in self.judge.groups.items():
            most, least, _ = state.shares()
            self.row(name, *(state.counts[head] for head in heads), f"{most:.2f}", f"{least:.2f}")
        self.row("again after", *groups_verdict.CAUSES, "total")
        for name, state in self.judge.groups.items():
            again = [state.counts["again after " + cause] for cause in groups_verdict.CAUSES]
            self.row(name, *again, sum(again))
        self.tell(
            f"{self.judge.stored} stored of {self.judge.sent} sent, {self.left_most} left at most"
        )

    def row(self, first, *columns):
        self.tell(f"{first:12}" + "".join(f" {column:>{COLUMN}}" for column in columns))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second, all topics")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    arguments = parser.parse_args()
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)

    plan = groups_plan.Plan(seed, arguments.minutes * 60.0, arguments.rate)
    print(f"seed {seed}, plan {plan.digest()}", flush=True)
    if arguments.plan:
        for line in [*plan.lives, plan.broker_kills]:
            print(line)
        return 0
    try:
        Soak(plan, arguments.shards).run()
    except (wire.CallFailed, wire.Lost, AssertionError, ValueError) as failure:
        print(f"groups: FAILED with seed {seed}: {failure}", flush=True)
        return 1
    print(f"groups: everything delivered, settled once and in order; seed {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
