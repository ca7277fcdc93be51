# SPDX-License-Identifier: Apache-2.0
"""group_fake.py - a broker of groups in memory that can be told to be wrong, to see that the model notices.

Speaks to a Contest of group_operations.py. Its state is a Group of group_model.py of its own, so that it shows
nothing of whether the model is right: only that each of the wrongs below, which are those that brokers
have, does not pass.
"""

import random

import group_judge
import group_model
from group_contest import FILTERS, Refused

WRONGS = {
    "older generation": "an ack of before a seek counts",
    "foreign lease": "an ack counts though another holds the message",
    "lost retry": "a kill forgets a retry",
    "lost ack": "a kill forgets an ack",
    "two leases": "order is not kept",
    "counted": "a lease that was given back counts as an attempt",
    "uncounted": "a lease that ran out does not count as an attempt",
    "passed cursor": "an ack of a message is one of all before it",
    "early": "a retry is delivered before it is due",
    "late": "a message that is due is not delivered",
    "unfiltered": "the filter is not asked",
    "skipped": "a span covers a message that is not delivered",
    "immortal": "a message is tried more often than it may be",
    "buried twice": "a dead letter comes twice",
    "asleep": "a receive that waits does not see what is produced",
    "counts": "group.show counts a retry that is leased again as waiting",
}


class FakeBroker:
    """Every call takes a millisecond; nothing else lets time pass but pass_time()."""

    def __init__(self, seed, wrong=None):
        self.chance = random.Random(seed)
        self.wrong = wrong
        self.low = self.high = 1700000000000
        self.logs, self.groups, self.waiting, self.answers = {}, {}, {}, {}
        self.releasing = set()
        self.leases = 0
        self.methods = {
            "hello": self.hello,
            "topic.put": self.put_topic,
            "topic.show": self.show_topic,
            "produce": self.produce,
            "pull": self.pull,
            "group.put": self.put_group,
            "group.show": self.show_group,
            "group.seek": self.seek,
            "receive": self.receive,
            "ack": self.settle,
            "nack": self.settle,
            "extend": self.settle,
        }

    def is_wrong(self, what, one_in=1):
        return self.wrong == what and self.chance.randrange(one_in) == 0

    # -------------------------------------------------------------- the wire

    def call(self, connection, method, **args):
        self.pass_time(1)
        result = self.handle(connection, method, args)
        self.serve_waiting()
        return result

    def handle(self, connection, method, args):
        self.method, self.connection = method, connection
        return self.methods[method](**args)

    def send(self, connection, method, **args):
        self.pass_time(1)
        self.waiting[connection] = (self.high + args.pop("wait_ms"), args)
        self.serve_waiting()

    def take(self, connection, within_ms):
        self.pass_time(1 + within_ms)
        return self.answers.pop(connection, None)

    def serve_waiting(self):
        for connection, (until, args) in list(self.waiting.items()):
            answer = self.handle(connection, "receive", args)
            if until <= self.high or (answer["messages"] and self.wrong != "asleep"):
                self.answers[connection] = answer
                del self.waiting[connection]

    def close(self, connection):
        self.pass_time(1)
        if connection in self.releasing:
            self.releasing.remove(connection)
            for twin in self.groups.values():
                leased = [t for q in twin.queues.values() for t in q.open.values() if t.owner == connection]
                twin.close(connection)
                for this in leased:
                    this.failures += self.wrong == "counted"

    def pass_time(self, ms):
        for _ in range(ms):
            self.low = self.high = self.high + 1
            for twin in self.groups.values():
                self.let_expire(twin)
            if self.waiting:
                self.serve_waiting()

    def let_expire(self, twin):
        if self.wrong == "uncounted":
            for place, queue in twin.queues.items():
                for offset, this in queue.open.items():
                    if this.state == group_model.LEASED and this.until[1] <= self.high:
                        twin.give_back(place, offset)
        before = len(twin.dead)
        twin.at(self.low, self.high)
        self.bury(twin, before)

    def bury(self, twin, before):
        """Dead letters since there were `before`, as messages."""
        topic = f"%DLQ%{twin.name}"
        for letter in twin.dead[before:]:
            log = self.logs.setdefault((topic, 0), [])
            name, number, offset, attempts, reason = letter
            body = self.logs[name, number][offset].body
            reason = None if reason is group_model.ANYTHING else reason
            for _ in range(2 if self.wrong == "buried twice" else 1):
                log.append((body, [twin.name, name, number, offset, attempts, reason]))

    def end(self, how):
        self.waiting.clear()
        for twin in self.groups.values():
            twin.restart()
            for place, queue in twin.queues.items():
                retries = [o for o, this in queue.open.items() if this.state == group_model.WAITING]
                if retries and self.wrong == "lost retry":
                    del queue.open[retries[0]]
                done = [o for o in range(queue.end) if o not in queue.open]
                if done and self.wrong == "lost ack":
                    queue.open[done[-1]] = group_model.Offset()
        self.releasing.clear()

    # ---------------------------------------------------------------- methods

    def hello(self, release_on_close):
        if release_on_close:
            self.releasing.add(self.connection)
        return {}

    def put_topic(self, name, queues, settings=None):
        for queue in range(queues):
            if (name, queue) not in self.logs:
                self.logs[name, queue] = []
                for twin in self.groups.values():
                    if name in twin.filters:
                        twin.begin_queue(name, queue, True)

    def show_topic(self, name):
        rows = [{"queue": q, "first": 0, "end": len(log)} for (t, q), log in self.logs.items() if t == name]
        if not rows:
            raise Refused("topic.show", {"name": "TOPIC_NOT_FOUND"})
        return {"queues": rows}

    def produce(self, topic, messages, queue=None):
        if queue is None:
            queue = group_key_queue(messages[0][1][0], sum(1 for place in self.logs if place[0] == topic))
        log = self.logs[topic, queue]
        offset = len(log)
        now = (self.low, self.high)
        for tag, keys, properties, body in messages:
            number = int(properties["n"]) if properties else None
            log.append(group_model.Message(now, tag, keys[0] if keys else None, number, body))
        for twin in self.groups.values():
            twin.at(self.low, self.high)
        return {"queue": queue, "offset": offset}

    def pull(self, topic, queue, offset):
        log = self.logs[topic, queue]
        return {"messages": [record_of(offset, *log[offset])], "next": offset + 1}

    def put_group(self, name, settings, version=None):
        topics = settings.pop("topics", {})
        if name in self.groups:
            twin = self.groups[name]
            twin.settings.update(settings)
            for topic, text in topics.items():
                if text != twin.filters[topic][0]:
                    twin.filters[topic] = (text, dict(FILTERS)[text])
        else:
            twin = self.groups[name] = group_model.Group(name, settings, self.logs)
            twin.bury_ms = 0
            twin.at(self.low, self.high)
            for topic, text in topics.items():
                queues = sum(1 for place in self.logs if place[0] == topic)
                twin.begin(topic, queues, settings["from"] == "first", text, dict(FILTERS)[text])
        return {"version": 1}

    def show_group(self, name):
        twin = self.groups[name]
        rows = []
        for place, queue in twin.queues.items():
            states = list(queue.open.values())
            leased = sum(1 for this in states if this.state == group_model.LEASED)
            waiting = sum(1 for this in states if this.state == group_model.WAITING)
            if self.wrong == "counts":
                waiting += sum(1 for this in states if this.state == group_model.LEASED and this.failures > 0)
            row = {"topic": place[0], "queue": place[1], "cursor": twin.cursor_bounds(place)[0], "end": queue.end}
            row.update({"lag": len(states), "leased": leased, "retrying": waiting})
            if states:
                row["oldest"] = queue.log[min(queue.open)].stored_low
            rows.append(row)
        held = sum(row["leased"] for row in rows)
        members = [{"member": "everybody", "leased": held}]
        return {"queues": rows, "members": members, "dead": len(twin.dead), "delivered": twin.delivered}

    def seek(self, group, to, topic=None, queue=None, dry_run=False):
        twin = self.groups[group]
        rows = []
        for place, mine in twin.queues.items():
            if topic in (None, place[0]) and queue in (None, place[1]):
                target = self.target_of(to, mine)
                opens = sum(1 for offset in mine.open if offset >= target)
                row = {"topic": place[0], "queue": place[1], "was": twin.cursor_bounds(place)[0], "now": target}
                row["again"] = mine.end - target - opens
                row["skipped"] = sum(1 for offset in mine.open if offset < target)
                rows.append(row)
                if not dry_run:
                    twin.put_at(place, target)
        return {"rows": rows}

    def target_of(self, to, mine):
        if isinstance(to, str):
            return 0 if to == "first" else mine.end
        if "offset" in to:
            return to["offset"]
        return sum(1 for message in mine.log if message.stored_low < to["at_time"])

    # --------------------------------------------------------------- receive

    def receive(self, group, max=100, topic=None, lease_ms=None, ack=None, max_bytes=1 << 18, wait_ms=0):
        twin = self.groups[group]
        twin.at(self.low, self.high)
        answer = {"ranges": [], "messages": []}
        if ack is not None:
            self.method = "ack"
            answer["acked"] = self.settle(group, ack)["failed"]
        places = list(twin.queues)
        self.chance.shuffle(places)
        for place in places:
            if topic in (None, place[0]) and len(answer["messages"]) < max and not self.is_wrong("late", 20):
                room = 1 if max_bytes < 1000 else max - len(answer["messages"])
                if max_bytes >= 1000 or not answer["messages"]:
                    self.add_range(twin, place, min(room, 3), lease_ms, answer)
        twin.delivered += len(answer["messages"])
        return answer

    def add_range(self, twin, place, room, lease_ms, answer):
        queue = twin.queues[place]
        self.drop_unwanted(twin, place)
        free = twin.unblocked(place) if self.wrong != "two leases" else sorted(queue.open)
        first = next((o for o in free if self.can_give(twin, queue, o)), None)
        if first is None:
            return
        this = queue.open[first]
        attempt = this.failures + 1
        offsets, span = self.extend_range(twin, place, first, room, free)
        if len(offsets) > 1 and self.is_wrong("skipped", 20):
            del offsets[1]
        self.leases += 1
        lease = self.leases.to_bytes(12, "big")
        until = self.high + (lease_ms or twin.settings["lease_ms"])
        reason = None if attempt == 1 or this.reason is group_model.ANYTHING else this.reason
        spread = [*place, first, span, len(offsets), attempt, lease, until, reason]
        records = [record_of(offset, queue.log[offset].body) for offset in offsets]
        owner = self.connection if self.connection in self.releasing else None
        twin.lease_range(spread, [Given(offset) for offset in offsets], owner)
        answer["ranges"].append(spread)
        answer["messages"] += records

    def extend_range(self, twin, place, first, room, free):
        """(offsets, span) of what is given from `first` on; what the filter does not want may be in the span."""
        queue = twin.queues[place]
        this = queue.open[first]
        offsets, span = [first], 1
        while len(offsets) < room and first + span in queue.open:
            beside = queue.open[first + span]
            alike = beside.failures == this.failures and beside.state == this.state and beside.reason == this.reason
            if alike and (first + span) in free and self.can_give(twin, queue, first + span):
                offsets.append(first + span)
            elif not alike or not twin.is_soft(place, first + span, beside) or self.chance.random() < 0.2:
                break
            span += 1
        return offsets, span

    def drop_unwanted(self, twin, place):
        """A look at a queue: what its filter does not want is done, up to the first that it wants."""
        queue = twin.queues[place]
        for offset in [o for o, t in queue.open.items() if t.state == group_model.WAITING and t.soft]:
            if queue.open[offset].due[0] <= self.high and not twin.wants(place, offset):
                del queue.open[offset]
        for offset in sorted(queue.open):
            this = queue.open[offset]
            if this.state == group_model.FRESH and not self.is_wrong("unfiltered", 5):
                if twin.wants(place, offset):
                    break
                del queue.open[offset]

    def can_give(self, twin, queue, offset):
        this = queue.open[offset]
        place = next(place for place, mine in twin.queues.items() if mine is queue)
        if this.state == group_model.WAITING and (not this.soft or twin.wants(place, offset)):
            return this.due[0] <= self.high or self.is_wrong("early", 20)
        if this.state != group_model.FRESH:
            return False
        return twin.wants(place, offset) or self.is_wrong("unfiltered", 5)

    # ---------------------------------------------------------------- settle

    def settle(self, group, receipts, durable=False, **how):
        what = self.method
        twin = self.groups[group]
        twin.at(self.low, self.high)
        failed, nacked = [], []
        for index, (name, number, first, span, lease) in enumerate(receipts):
            place = (name, number)
            queue = twin.queues[place]
            if lease is None:
                beyond = first + span > queue.end
                failed += [[index, group_judge.TRUNCATED]] if beyond else []
                if not beyond:
                    twin.commit(place, first + span)
                continue
            good = True
            for offset in range(first, first + span):
                self.be_wrong_about(twin, queue, offset, lease)
                counts = twin.judge_offset(what, place, offset, lease)
                if not counts and (what != "ack" or counts is False):
                    good = False
                else:
                    nacked += [(place, offset, lease)] if what == "nack" else []
                    self.settle_one(twin, what, place, offset, how)
            failed += [] if good else [[index, group_judge.LEASE_LOST]]
        for one in nacked if twin.settings["order"] != "none" else []:
            twin.give_back_behind(*one)
        return {"failed": failed}

    def be_wrong_about(self, twin, queue, offset, lease):
        if self.wrong == "older generation":
            queue.generations[lease] = queue.generation
        if self.wrong == "foreign lease" and offset in queue.open:
            queue.open[offset].lease = lease

    def settle_one(self, twin, what, place, offset, how):
        if self.wrong == "immortal":
            twin.settings["attempts"] = 100
        twin.settle_offset(what, place, offset, **how)
        if what == "ack" and self.wrong == "passed cursor":
            for other in [o for o in twin.queues[place].open if o < offset]:
                del twin.queues[place].open[other]


class Given:
    """What lease_range() asks of a record."""

    def __init__(self, offset):
        self.offset = offset


def record_of(offset, body, dead=None):
    """A delivered record, as far as anybody looks at it."""
    extra = None if dead is None else {"dead": dead}
    return [None] * 8 + [offset, None, None, extra, [None, None, None, body]]


def group_key_queue(key, queues):
    """The queue of a key: any function of it will do."""
    return sum(key.encode()) % queues
