# SPDX-License-Identifier: Apache-2.0
"""group_operations.py - the operations of those who steer and break, and how often each of all is done."""

from group_contest import FILTERS, RELEASING, Record, Refused
from group_judge import demand
from group_traffic import Traffic


QUEUES_MAX = 12


class Operations(Traffic):
    """A contest with everything that can happen; `cuts`: also power cuts, which only a simulated disk knows."""

    def __init__(self, broker, seed, late_ms=0, cuts=False):
        super().__init__(broker, seed, late_ms)
        self.operations = {
            self.produce: 20,
            self.receive: 32,
            self.ack: 18,
            self.nack: 9,
            self.extend: 4,
            self.pass_time: 9,
            self.wait_for_messages: 3,
            self.commit: 1,
            self.seek: 1,
            self.change_filter: 1,
            self.change_limits: 0.5,
            self.grow: 0.1,
            self.close: 0.7,
            self.kill: 0.5,
            self.restart: 0.2,
            self.cut_power: 0.2 if cuts else 0,
            self.read_dead_letters: 0.2,
        }
        # What happens while a receive waits: most of it can give it something.
        self.disturbances = [
            *(self.produce, self.produce, self.reach_moment, self.reach_moment, self.ack, self.ack, self.nack),
            *(self.nack, self.extend, self.close, self.seek, self.change_filter, self.change_limits, self.commit),
        ]

    # ----------------------------------------------------------- time and places

    def pass_time(self, model):
        moment = model.next_moment()
        kinds = [1, self.chance.randrange(50), self.chance.randrange(400)]
        if moment is not None:
            kinds += [max(0, moment - self.broker.high + step) for step in (-3, -2, -1, 0, 1)]
        spent = self.chance.choice(kinds)
        self.broker.pass_time(spent)
        self.note(f"{spent} ms pass")

    def work_off(self, model):
        """Whatever can be had is done; what cannot, for its order or its time, is jumped over now and then."""
        args = {"group": model.name, "max": 100}
        answer = self.call("receive", **args)
        self.judge_receive(model, args, answer, None)
        receipts = [[*spread[:4], spread[6]] for spread in answer["ranges"]]
        self.settle(model, "ack", receipts)
        if not receipts or self.chance.random() < 0.2:
            self.seek_to(model, {"to": "last"})

    def seek(self, model):
        topic, queue = self.chance.choice(list(model.queues))
        log = self.logs[topic, queue]
        to = self.chance.choice(["first", "last", {"offset": self.chance.randint(0, len(log))}])
        if log and self.chance.random() < 0.3:
            to = {"at_time": self.chance.choice(log).stored_high + self.chance.choice([0, 0, 1])}
        if self.chance.random() < 0.8 or isinstance(to, dict) and "offset" in to:
            self.seek_to(model, {"topic": topic, "queue": queue, "to": to})
        else:
            self.seek_to(model, {"to": to})

    def seek_to(self, model, args):
        if self.chance.random() < 0.3:  # changes nothing, which the next comparison sees
            self.call("group.seek", group=model.name, dry_run=True, **args)
            self.compare(model)
        answer = self.call("group.seek", group=model.name, **args)
        self.follow(model)
        self.note(f"seek {model.name} {args} -> {answer['rows']}")
        rows = {(row["topic"], row["queue"]): row for row in answer["rows"]}
        wanted = {p for p in model.queues if args.get("topic") in (None, p[0]) and args.get("queue") in (None, p[1])}
        demand(set(rows) == wanted, "a seek has rows of", sorted(rows))
        for place, row in rows.items():
            least, most = self.targets_of(model, place, args["to"])
            demand(least <= row["now"] <= most, place, args, "came to", row, "and not", least, most)
            model.check_seek(place, row["now"], row)

    def targets_of(self, model, place, to):
        log = self.logs[place]
        if to == "first":
            return 0, 0
        if to == "last":
            return len(log), len(log)
        if "offset" in to:
            return to["offset"], to["offset"]
        least = sum(1 for message in log if message.stored_high < to["at_time"])
        return least, sum(1 for message in log if message.stored_low < to["at_time"])

    # ------------------------------------------------------------------ settings

    def change_filter(self, model):
        topic = self.chance.choice(list(model.filters))
        text, wanted = self.chance.choice(FILTERS)
        topics = {name: old for name, (old, _wanted) in model.filters.items()}
        self.put(model, {"topics": {**topics, topic: text}})
        self.note(f"filter {model.name} {topic} {text}")
        model.change_filter(topic, text, wanted)

    def change_limits(self, model):
        self.follow(model)
        if not model.is_quiet(self.margin_ms()):
            return  # nobody would know by which settings what fails just now has failed
        settings = {"attempts": self.chance.choice([1, 2, 4]), "backoff": self.chance.choice([[20], [50, 100]])}
        self.put(model, settings)
        self.note(f"settings {model.name} {settings}")
        model.change_limits(settings)

    def grow(self, model):
        """A queue more for a topic: whoever reads the topic reads it from its first message on."""
        queue = sum(1 for topic, _queue in self.logs if topic == "any")
        if queue < QUEUES_MAX:
            self.call("topic.put", name="any", queues=queue + 1)
            self.note(f"queue {queue} of any")
            self.logs["any", queue] = []
            for each in self.groups.values():
                if "any" in each.filters:
                    each.begin_queue("any", queue, True)

    def put(self, model, settings):
        version = {"version": self.versions[model.name]} if self.chance.random() < 0.5 else {}
        answer = self.call("group.put", name=model.name, settings=settings, **version)
        self.versions[model.name] = answer["version"]
        self.follow(model)

    # ---------------------------------------------------------------------- ends

    def close(self, model):
        """Both kinds of connection: one that gives back, and one that does not."""
        connection = self.chance.choice([0, RELEASING])
        self.broker.close(connection)
        self.note(f"connection {connection} closes")
        if connection == RELEASING:
            self.members_wish = False
            for each in self.groups.values():
                self.follow(each)
                each.close(RELEASING)

    def kill(self, model):
        self.end("kill")

    def restart(self, model):
        self.broker.close(RELEASING)  # whether it closes before the broker's end is not to be a question
        for each in self.groups.values():
            self.follow(each)
            each.close(RELEASING)
        self.end("restart")

    def end(self, how):
        self.broker.end(how)
        self.members_wish = False
        self.note(how)
        for each in self.groups.values():
            self.follow(each)
            each.restart()
        for each in self.groups.values():
            self.compare(each)

    def cut_power(self, model):
        """What was promised to survive is there. Of the rest any part may be, so every group is put to where
        all is known again."""
        self.broker.end(f"power {self.chance.randrange(1 << 20)}")
        self.members_wish = False
        self.note("power cut")
        for each in self.groups.values():
            self.follow(each)
        for topic, durability in self.durabilities.items():
            for row in self.call("topic.show", name=topic)["queues"]:
                log = self.logs[topic, row["queue"]]
                least = len(log) if durability == "disk" else 0
                demand(least <= row["end"] <= len(log), topic, "ends at", row, "after a power cut")
                del log[row["end"] :]
        for each in self.groups.values():
            self.look_after_cut(each)

    def look_after_cut(self, model):
        self.judged = model
        mortal = model.mortal()
        delivered = 0
        while True:
            # So long that none of them runs out, and dies of it, before all were seen.
            answer = self.call("receive", group=model.name, lease_ms=3600000)
            for spread in answer["ranges"]:
                place, offsets = tuple(spread[:2]), range(spread[2], spread[2] + spread[3])
                again = model.queues[place].durable.intersection(offsets)
                demand(not again, place, again, "was durably done, but is delivered", spread)
            if not answer["messages"]:
                break
            delivered += len(answer["messages"])
        to = self.chance.choice(["first", "last"])
        rows = self.call("group.seek", group=model.name, to=to)["rows"]
        model.delivered = delivered
        self.held[model.name] = []
        for row in rows:
            model.forget((row["topic"], row["queue"]), row["now"])
        letters = self.read_letters(model)
        invented = {letter[:3] for letter in letters} - mortal
        demand(not invented, "dead letters of the living:", invented)
        model.dead, model.maybe_dead = letters, []
        self.compare(model)

    # -------------------------------------------------------------- dead letters

    def read_dead_letters(self, model):
        """Each is there once, with its origin and its body."""
        self.compare(model)
        certain_count = len(model.dead)
        letters = self.read_letters(model)
        self.compare(model)
        model.check_dead_letters(letters, certain_count)

    def read_letters(self, model):
        topic = f"%DLQ%{model.name}"
        try:
            queues = self.call("topic.show", name=topic)["queues"]
        except Refused as refused:
            demand(refused.name == "TOPIC_NOT_FOUND", topic, "cannot be shown:", refused)
            queues = []
        letters = []
        for row in queues:
            place, end = {"offset": row["first"]}, row["end"]
            while place["offset"] < end:
                answer = self.call("pull", topic=topic, queue=row["queue"], **place)
                letters += [self.read_letter(model, Record(record)) for record in answer["messages"]]
                place = {"offset": answer["next"]}
        return letters

    def read_letter(self, model, record):
        group, topic, queue, offset, attempts, reason = record.extra["dead"]
        demand(group == model.name, "a dead letter of", group, "is in those of", model.name)
        body = self.logs[topic, queue][offset].body
        demand(body == record.body, "the dead letter of", topic, queue, offset, "has another body")
        return topic, queue, offset, attempts, reason
