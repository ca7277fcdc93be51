# SPDX-License-Identifier: Apache-2.0
"""group_contest.py - a broker and the model of its groups get the same operations and are compared after each.

A Contest makes topics and groups of every order and then does operations, which group_traffic.py and
group_operations.py have, as chance wants it. What it operates on is given to it:

    broker.call(connection, method, **args)   the result; raises Refused
    broker.send(connection, method, **args)   sends, and does not wait
    broker.take(connection, within_ms)        the result of what was sent, None if none comes within that time
    broker.close(connection)
    broker.pass_time(ms)
    broker.end(how)                           "kill", "restart", "power NUMBER": and it is started again
    broker.low, broker.high                   within these the last of all that was handled
"""

import collections
import random

from group_judge import Disagreement, Judge

SHOWN = 30  # operations that are shown when something is wrong
BACKLOG = 160  # offsets open in a group before its messages are worked off
RELEASING = 3  # the connection whose leases are given back when it closes
PARKED = 4  # the one of receives that wait
KEYS = ["k1", "k2", "k3", "k4", "k5"]
TAGS = ["a", "b", "c", None]
FILTERS = [
    (None, None),
    ("*", None),
    ("a", lambda message: message.tag == "a"),
    ("a || c", lambda message: message.tag in ("a", "c")),
    ("TAGS <> 'b'", lambda message: message.tag not in ("b", None)),
    ("n >= 5", lambda message: message.number is not None and message.number >= 5),
    ("NOT n < 3 OR TAGS = 'b'", lambda m: (m.number is not None and m.number >= 3) or m.tag == "b"),
]


class Refused(Exception):
    """The broker answered with an error; `name` is its name."""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error}")
        self.name = error["name"]


class Record:
    """What of a delivered record matters."""

    def __init__(self, record):
        self.offset = record[8]
        self.extra = record[11]
        message = record[12]
        self.body = message[3] if isinstance(message, list) else message


class Contest:
    """One broker, its groups, and the judge of each."""

    def __init__(self, broker, seed, late_ms=0):
        self.broker = broker
        self.chance = random.Random(seed)
        self.late_ms = late_ms
        self.done = 0
        self.history = collections.deque(maxlen=SHOWN)
        self.counts = collections.Counter()
        self.logs, self.groups, self.held, self.shows, self.versions = {}, {}, {}, {}, {}
        self.durabilities = {}
        self.judged = None
        self.members_wish = False  # the releasing connection has said so
        self.bodies = 0

    # -------------------------------------------------------------------- set up

    def set_up(self):
        self.make_topic("any", self.chance.choice([1, 3, 8]), "any")
        self.make_topic("keyed", self.chance.choice([1, 2, 4]), "key")
        for _ in range(self.chance.randrange(20)):
            self.produce()
        self.make_group("plain", "none", ["any", "keyed"])
        self.make_group("filtered", "none", ["any"], filters=FILTERS[2:])
        self.make_group("by-queue", "queue", ["any"], filters=[FILTERS[0], *FILTERS[:4]])
        self.make_group("by-key", "key", ["keyed"], filters=[FILTERS[0], FILTERS[0], FILTERS[3]])

    def make_topic(self, name, queues, route):
        settings = {"route": route, "durability": self.chance.choice(["memory", "disk"])}
        self.durabilities[name] = settings["durability"]
        self.call("topic.put", name=name, queues=queues, settings=settings)
        for queue in range(queues):
            self.logs[name, queue] = []

    def make_group(self, name, order, topics, filters=FILTERS[:1]):
        settings = {
            "order": order,
            "from": self.chance.choice(["first", "last"]),
            "lease_ms": self.chance.choice([100, 200, 300]),
            "attempts": self.chance.choice([1, 2, 3, 5]),
            "backoff": self.chance.choice([[50, 100], [0], [10, 50, 200]]),
            "jitter": self.chance.choice([0, 0, 20]),
            "exhausted": "stay" if order != "none" and self.chance.random() < 0.3 else "dead",
        }
        chosen = {topic: self.chance.choice(filters) for topic in topics}
        wire_topics = {topic: text for topic, (text, _wanted) in chosen.items()}
        self.versions[name] = self.call("group.put", name=name, settings={**settings, "topics": wire_topics})["version"]
        model = Judge(name, settings, self.logs, self.late_ms)
        for topic, (text, wanted) in chosen.items():
            queues = sum(1 for place in self.logs if place[0] == topic)
            model.begin(topic, queues, settings["from"] == "first", text, wanted)
        self.groups[name] = model
        self.held[name] = []
        self.compare(model)

    # --------------------------------------------------------------- the contest

    def run(self, operations):
        """Sets up, and does so many operations; raises AssertionError with everything that is known."""
        try:
            self.set_up()
            for _ in range(operations):
                model = self.chance.choice(list(self.groups.values()))
                self.step(model)
            for model in self.groups.values():
                self.read_dead_letters(model)
        except (Disagreement, Refused) as wrong:
            raise AssertionError(self.report(wrong)) from wrong

    def step(self, model):
        crowded = max(self.groups.values(), key=self.backlog_of)
        if self.backlog_of(crowded) > BACKLOG:
            model, operation = crowded, self.work_off
        else:
            operation = self.chance.choices(list(self.operations), list(self.operations.values()))[0]
        self.counts[operation.__name__] += 1
        operation(model)
        self.done += 1
        self.compare(model)

    def backlog_of(self, model):
        return sum(len(queue.open) for queue in model.queues.values())

    def compare(self, model):
        show = self.call("group.show", name=model.name)
        self.shows[model.name] = show
        self.follow(model)
        model.check_show(show)

    def call(self, method, **args):
        return self.broker.call(self.chance.randrange(RELEASING), method, **args)

    def note(self, text):
        self.history.append(f"{self.done}: {self.broker.low}..{self.broker.high} {text}")

    def follow(self, model):
        """The model's time is that of the last call, and it is the one of which is told what goes wrong."""
        self.judged = model
        model.at(self.broker.low, self.broker.high)

    def report(self, wrong):
        model = self.judged
        parts = [f"{type(wrong).__name__}: {wrong}", f"after {self.done} operations, of which the last:", *self.history]
        if model is not None:
            parts += ["the model:", model.describe(), "the last group.show:", str(self.shows.get(model.name))]
        return "\n".join(parts)
