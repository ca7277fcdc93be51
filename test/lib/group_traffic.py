# SPDX-License-Identifier: Apache-2.0
"""group_traffic.py - the operations of those who produce, receive and settle."""

import group_model
from group_contest import KEYS, RELEASING, TAGS, PARKED, Contest, Record
from group_judge import demand

HELD = 40  # receipts kept of a group
CALL_MS = 1000  # a call to a real broker takes less
QUIET_MS = 10  # an operation of a few calls takes less, where each call takes one


class Traffic(Contest):
    """A contest with messages."""

    # ------------------------------------------------------------------ messages

    def produce(self, model=None):
        """A few messages for one queue, of one key where keys choose the queue."""
        topic = self.chance.choice(["any", "keyed"])
        key = self.chance.choice(KEYS) if topic == "keyed" else None
        place = {} if key else {"queue": self.chance.choice([q for t, q in self.logs if t == topic])}
        drafts = [self.make_message() for _ in range(self.chance.choice([1, 1, 2, 5, 12]))]
        elements = [
            [tag, [key] if key else None, None if number is None else {"n": str(number)}, body]
            for tag, number, body in drafts
        ]
        answer = self.call("produce", topic=topic, messages=elements, **place)
        log = self.logs[topic, answer["queue"]]
        self.note(f"produce {topic}/{answer['queue']}/{answer['offset']}+{len(drafts)} {key or ''}")
        demand(answer["offset"] == len(log), "a message was produced to", answer, "and not", len(log))
        stored = (self.broker.low, self.broker.high)
        log.extend(group_model.Message(stored, tag, key, number, body) for tag, number, body in drafts)

    def make_message(self):
        self.bodies += 1
        number = self.chance.choice([None, *range(10)])
        return self.chance.choice(TAGS), number, b"%d/" % self.bodies + b"x" * self.chance.choice([0, 10, 300])

    # ------------------------------------------------------------------- receive

    def receive(self, model, connection=None, **more):
        connection = self.chance.randrange(RELEASING + 1) if connection is None else connection
        if connection == RELEASING:
            self.wish_release()
        args = self.receive_arguments(model, more)
        answer = self.broker.call(connection, "receive", **args)
        self.judge_receive(model, args, answer, connection)

    def receive_arguments(self, model, more):
        args = {"group": model.name, "max": self.chance.choice([1, 2, 5, 20])}
        if self.chance.random() < 0.4:
            args["lease_ms"] = self.chance.choice([100, 150, 300])
        if self.chance.random() < 0.1:
            args["topic"] = self.chance.choice(list(model.filters))
        if self.chance.random() < 0.2:
            args["max_bytes"] = self.chance.choice([1, 400, 2000])
        if self.chance.random() < 0.2:
            args["ack"] = self.choose_receipts(model, keep=0.1)
        return {**args, **more}

    def judge_receive(self, model, args, answer, connection):
        self.follow(model)
        spreads = [[*r[:6], r[6].hex(), *r[7:]] for r in answer["ranges"]]
        rest = {name: args[name] for name in args if name not in ("group", "ack")}
        self.note(f"receive {model.name} by {connection} {rest} {self.told(args.get('ack', []))} -> {spreads}")
        demand(("acked" in answer) == ("ack" in args), "acked is", answer.get("acked"))
        model.check_settle("ack", args.get("ack", []), answer.get("acked", []))
        answer = {**answer, "messages": [Record(record) for record in answer["messages"]]}
        owner = RELEASING if connection == RELEASING else None
        receipts = model.check_receive(answer, args.get("lease_ms"), args["max"], args.get("topic"), owner)
        self.hold(model, receipts)

    def wish_release(self):
        if not self.members_wish:
            self.broker.call(RELEASING, "hello", release_on_close=True)
            self.members_wish = True

    def wait_for_messages(self, model):
        """A receive that waits is answered when something can be delivered, and not before its time otherwise."""
        wait_ms = self.chance.choice([20, 100, 400])
        args = self.receive_arguments(model, {"wait_ms": wait_ms})
        args.pop("ack", None)
        self.broker.send(PARKED, "receive", **args)
        self.note(f"{model.name} waits {wait_ms} ms")
        began = self.broker.low
        if self.answered(model, args, began):
            return
        self.disturb(model)
        if self.answered(model, args, began):
            return
        has_answer = self.answered(model, args, began, wait_ms)
        demand(has_answer, "a receive that waited", wait_ms, "ms has no answer")

    def disturb(self, model):
        """Something happens while a receive waits. Where something else could happen in the same moment nobody
        knows which was first, so time passes then, or there are messages more, which is the same in any order."""
        is_quiet = self.late_ms <= 1 and model.is_quiet(QUIET_MS)
        model.is_waited_for = True
        self.chance.choice(self.disturbances if is_quiet else [self.produce, self.reach_moment])(model)
        model.is_waited_for = False

    def reach_moment(self, model):
        """Until the next lease ends or the next retry is due, if that is soon."""
        moment = model.next_moment()
        if moment is not None:
            self.broker.pass_time(max(0, min(moment - self.broker.high, 50)))

    def answered(self, model, args, began, within_ms=0):
        """Takes the answer if it has come; where it has not, nothing may be there to be delivered."""
        answer = self.broker.take(PARKED, within_ms)
        self.follow(model)
        found = None if answer else model.first_deliverable(args.get("topic"))
        if found is not None and self.late_ms > 1:
            answer = self.broker.take(PARKED, self.late_ms)
        if answer is None:
            demand(found is None, "a receive waits, but", found, "can be delivered")
            return False
        self.broker.low = began
        if answer["messages"] or self.late_ms <= 1:  # else its time may have been over before
            self.judge_receive(model, args, answer, PARKED)
        return True

    # -------------------------------------------------------------------- settle

    def hold(self, model, receipts):
        held = self.held[model.name]
        held += receipts
        del held[: max(0, len(held) - HELD)]

    def choose_receipts(self, model, keep):
        """Some that are held, or parts of them; most of what is used whole is not held any longer."""
        held = self.held[model.name]
        chosen = []
        for receipt in self.chance.sample(held, min(len(held), self.chance.choice([1, 1, 2, 4]))):
            topic, queue, first, span, lease = receipt
            if span > 1 and self.chance.random() < 0.3:
                from_here = self.chance.randrange(span)
                span = self.chance.randint(1, span - from_here)
                first += from_here
            elif self.chance.random() >= keep:
                held.remove(receipt)
            chosen.append([topic, queue, first, span, lease])
        return chosen

    def choose_certain(self, model, keep):
        """The same of which it is known before whether they are held: where a part of a receipt may be over and a
        part is not, nobody could tell from the answer what has happened to which."""
        self.follow(model)
        receipts = self.choose_receipts(model, keep)
        return [receipt for receipt in receipts if model.is_certain(receipt, self.margin_ms())]

    def margin_ms(self):
        """What is to happen by itself not before that does not happen within the next operation."""
        return QUIET_MS if self.late_ms <= 1 else CALL_MS

    def told(self, receipts):
        return ", ".join(f"{t}/{q}/{f}+{s} {lease.hex() if lease else 'commit'}" for t, q, f, s, lease in receipts)

    def settle(self, model, what, receipts, **how):
        if receipts:
            answer = self.call(what, group=model.name, receipts=receipts, **how)
            self.follow(model)
            self.note(f"{what} {model.name} {how} {self.told(receipts)} -> {answer['failed']}")
            durable = how.pop("durable", False)
            model.check_settle(what, receipts, answer["failed"], **how)
            failed = {index for index, _code in answer["failed"]}
            for index, (topic, queue, first, span, lease) in enumerate(receipts):
                if durable and index not in failed and lease is not None:
                    model.queues[topic, queue].durable.update(range(first, first + span))

    def ack(self, model):
        how = {"durable": True} if self.chance.random() < 0.2 else {}
        self.settle(model, "ack", self.choose_receipts(model, keep=0.1), **how)

    def nack(self, model):
        how = {}
        kind = self.chance.random()
        if kind < 0.1:
            how["dead"] = True
        elif kind < 0.3:
            how["count"] = False
        if kind > 0.1 and self.chance.random() < 0.4:
            how["delay_ms"] = self.chance.choice([0, 1, 30, 200])
        if self.chance.random() < 0.5:
            how["reason"] = self.chance.choice(["no", "not now", "über"])
        self.settle(model, "nack", self.choose_certain(model, keep=0.3), **how)

    def extend(self, model):
        how = {"lease_ms": self.chance.choice([100, 200, 1000])} if self.chance.random() < 0.7 else {}
        self.settle(model, "extend", self.choose_certain(model, keep=1), **how)

    def commit(self, model):
        """A receipt without a lease: beyond the cursor, behind it, or beyond the end."""
        place = self.chance.choice(list(model.queues))
        queue = model.queues[place]
        low, high = model.cursor_bounds(place)
        target = self.chance.choice([low, min(high + self.chance.randint(1, 3), queue.end), queue.end + 1])
        if target > high or 0 < target <= low:
            first = max(0, target - self.chance.randint(1, 3))
            self.settle(model, "ack", [[*place, first, target - first, None]])
