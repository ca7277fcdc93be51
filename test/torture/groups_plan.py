# SPDX-License-Identifier: Apache-2.0
"""groups_plan.py - what the soak of groups does, and when: a pure function of its seed.

Topics, groups with their members, each member's lives and how they end, the kills of the broker, what
becomes of each message. What the machine makes of it - who is given which message - is not planned.
"""

import collections
import dataclasses
import hashlib
import random
import zlib

KEYS = 40
COLORS = ("red", "green", "blue", "white")
WEIGHTS = 100
PRODUCERS = 2
BATCH_MAX = 4

TOPICS = {
    "plain": {"queues": 4, "settings": {"durability": "memory"}},
    "keyed": {"queues": 4, "settings": {"durability": "disk", "route": "key"}},
}

# What a message is, as far as filters and the order can tell.
Message = collections.namedtuple("Message", "producer sequence key color weight")

# The same filters for the broker, and as what they mean.
RED_OR_BLUE = ("red || blue", lambda message: message.color in ("red", "blue"))
HEAVY = ("weight > 49 AND TAGS <> 'green'", lambda m: m.weight > 49 and m.color != "green")
ALL = (None, lambda message: True)


@dataclasses.dataclass(frozen=True)
class Group:
    """A group and its members; `trouble` scales how many messages are not simply acknowledged."""

    name: str
    members: int
    topics: dict
    order: str = "none"
    broadcast: bool = False
    exhausted: str = "dead"
    attempts: int = 4
    backoff: tuple = (150, 400, 900)
    jitter: int = 20
    lease_ms: int = 1500
    take_max: int = 4
    work_ms: float = 10.0
    trouble: float = 1.0
    churns: bool = True  # its members join and leave

    def settings(self):
        """As group.put takes them."""
        settings = {
            "topics": {topic: filter_text for topic, (filter_text, _) in self.topics.items()},
            "order": self.order,
            "broadcast": self.broadcast,
            "exhausted": self.exhausted,
            "attempts": self.attempts,
            "backoff": list(self.backoff),
            "jitter": self.jitter,
            "lease_ms": self.lease_ms,
        }
        return settings if self.broadcast else {**settings, "from": "first"}

    def names(self):
        """Itself; of a broadcast group those of its members, which are groups of their own."""
        if not self.broadcast:
            return [self.name]
        return [f"{self.name}@{member_name(slot)}" for slot in range(self.members)]

    def wants(self, topic, message):
        return topic in self.topics and self.topics[topic][1](message)

    def domain(self, topic, queue, key):
        """Messages of one domain are worked on one after the other; None is in no order."""
        if self.order == "queue":
            return (topic, queue)
        return (topic, key) if self.order == "key" and key is not None else None


BOTH = {"plain": ALL, "keyed": ALL}
GROUPS = {
    group.name: group
    for group in (
        Group("shared", 13, BOTH),
        Group("even", 8, {"plain": ALL}, take_max=1, work_ms=20.0, trouble=0.0, churns=False),
        Group("by-queue", 8, BOTH, order="queue", take_max=8, work_ms=2.0, trouble=0.2),
        Group("by-key", 9, {"keyed": ALL}, order="key", take_max=8, trouble=0.5),
        Group("stays", 4, {"keyed": ALL}, order="key", exhausted="stay", attempts=3, trouble=0.5),
        Group("filtered", 4, {"plain": RED_OR_BLUE, "keyed": HEAVY}),
        # Each of them has to keep up with all alone.
        Group("broadcast", 4, {"keyed": ALL}, broadcast=True, take_max=8, work_ms=2.0, trouble=0.5),
    )
}

# What becomes of a message in a group: a share of all, with `trouble` 1.
FATES = (
    ("poison", 0.004),  # fails at every attempt
    ("dead", 0.001),  # given up at once
    ("fails", 0.03),  # at its first attempt
    ("returned", 0.01),  # given back uncounted, mostly
    ("extended", 0.02),
    ("forgotten", 0.004),  # its lease runs out at its first attempt
    ("late", 0.006),  # acknowledged when its lease is over
)
# How often "stay" is tried beyond its attempts before it goes well after all.
STAYS_FOR = 3

ENDS = ("release", "give back", "close", "kill")
LIFE_S = (3.0, 25.0)
PAUSE_S = (0.0, 2.0)
BROKER_KILL_S = 60.0


def fate_of(seed, group, message):
    """What becomes of a message in a group, whoever is given it."""
    place = zlib.crc32(f"{seed}/{group.name}/{message.producer}/{message.sequence}".encode())
    left = place / (1 << 32)
    for fate, share in FATES:
        left -= share * group.trouble
        if left < 0:
            return fate
    return "well"


def body_of(producer, sequence):
    return b"%d/%d" % (producer, sequence)


def message_of(topic, tag, keys, properties, body):
    """What a stored message says that it is; ValueError if no producer has made it."""
    producer, sequence = (int(part) for part in bytes(body).split(b"/"))
    found = Message(producer, sequence, keys[0] if keys else None, tag, int(properties["weight"]))
    if body_of(producer, sequence) != bytes(body) or producer_topic(producer) != topic:
        raise ValueError(f"{bytes(body)!r} in {topic}")
    return found


def producer_topic(number):
    return list(TOPICS)[number % len(TOPICS)]


def member_name(slot):
    """Of a member that is remembered by its name."""
    return f"m{slot}"


@dataclasses.dataclass(frozen=True)
class Life:
    """One life of a member: from its start, in s since the run's beginning, to its end."""

    group: str
    slot: int
    number: int
    start_s: float
    end_s: float
    ends: str
    release: bool  # release_on_close
    acks: str  # "each", "batch" or "next" (with the next receive)
    durable: bool
    chance: int

    @property
    def member(self):
        """Its name: a new one in each life, but in a broadcast group."""
        name = member_name(self.slot)
        return name if GROUPS[self.group].broadcast else f"{name}-{self.number}"

    @property
    def state_name(self):
        """Of the group whose messages it is given."""
        broadcast = GROUPS[self.group].broadcast
        return f"{self.group}@{self.member}" if broadcast else self.group


class Plan:
    """Everything that the seed decides."""

    def __init__(self, seed, duration_s, rate):
        self.seed = seed
        self.duration_s = duration_s
        self.rate = rate
        self.lives = []
        for group in GROUPS.values():
            for slot in range(group.members):
                self.lives.extend(self._lives_of(group, slot))
        self.lives.sort(key=lambda life: life.start_s)
        chance = random.Random(f"{seed}/broker")
        between = min(BROKER_KILL_S, duration_s / 2.5)
        self.broker_kills = []
        at_s = between * chance.uniform(0.7, 1.3)
        while at_s < duration_s - 3:
            self.broker_kills.append(round(at_s, 3))
            at_s += between * chance.uniform(0.7, 1.3)

    def _lives_of(self, group, slot):
        chance = random.Random(f"{self.seed}/{group.name}/{slot}")
        start_s = chance.uniform(0.0, 1.0)
        for number in range(1 << 30):
            length_s = chance.uniform(*LIFE_S)
            ends = chance.choice(ENDS)
            last = not group.churns or start_s + length_s > self.duration_s
            yield Life(
                group=group.name,
                slot=slot,
                number=number,
                start_s=round(start_s, 3),
                end_s=float("inf") if last else round(start_s + length_s, 3),
                ends="stays" if last else ends,
                release=ends == "release" or ends == "kill" and chance.random() < 0.5,
                acks="each" if not group.churns else chance.choice(("each", "batch", "next")),
                durable=group.churns and chance.random() < 0.1,
                chance=chance.getrandbits(32),
            )
            if last:
                return
            start_s += length_s + chance.uniform(*PAUSE_S)

    def digest(self):
        text = repr((self.seed, self.duration_s, self.rate, self.lives, self.broker_kills))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
