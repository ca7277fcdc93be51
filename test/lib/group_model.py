# SPDX-License-Identifier: Apache-2.0
"""group_model.py - what a consumer group means, once more and as plainly as it can be said.

Knows proto/README.md's sections on groups and nothing of broker/. A Group has, for each queue, the offsets
that are not done and what is known of each. It does not predict what a broker does, since which queue answers
a receive is the broker's choice: group_judge.py looks at what a broker did, and has this follow.

Two things can be open, and are kept open until an answer settles them:

  time    A call was handled at some moment of [low, high], and timers act up to `late_ms` late. In a simulation
          all of that is one moment, beside real processes it is not.
  holes   Offsets that a filter does not want are passed over when somebody looks at them, and who looks when is
          not seen: such an offset is `soft`, it may be done already.
"""

FRESH, LEASED, WAITING, DYING = "fresh", "leased", "waiting", "dying"
EXPIRED = "lease expired"
ANYTHING = object()  # a reason that nobody promised

# How long a message may be on its way to the dead letters; the first waits for their topic to be made.
FIRST_BURY_MS = 3000
BURY_MS = 10

DEFAULTS = {"order": "none", "lease_ms": 30000, "attempts": 17, "backoff": [10000], "exhausted": "dead", "jitter": 0}


class Message:
    """One message of a queue, as it was produced within [stored_low, stored_high]."""

    def __init__(self, stored, tag, key, number, body):
        self.stored_low, self.stored_high = stored
        self.tag, self.key, self.number, self.body = tag, key, number, body


class Offset:
    """One that is not done: delivered and failed `failures` times so far."""

    __slots__ = (
        *("state", "failures", "reason", "due", "lease", "until", "owner", "orphan"),
        *("seen", "returned", "soft", "also"),
    )

    def __init__(self):
        self.state = FRESH
        self.failures = 0
        self.reason = None
        self.due = (0, 0)  # WAITING: for the next attempt, until some moment of these
        self.lease, self.until, self.owner = None, (0, 0), None  # LEASED: the receipt's, and to which connection
        self.orphan = False  # LEASED: before the last restart, to nobody knows whom
        self.seen = False  # was delivered
        self.returned = False  # by a nack that did not count: the cursor may have passed it
        self.soft = False  # may be done
        self.also = None  # (failures, reason) that may be true instead

    def __repr__(self):
        parts = [self.state, f"failures {self.failures}"]
        if self.state == LEASED:
            parts.append(f"until {self.until[0]}")
        if self.state == WAITING:
            parts.append(f"due {self.due[0]}..{self.due[1]} ({self.reason})")
        return " ".join(parts + (["soft"] if self.soft else []) + ([f"or {self.also}"] if self.also else []))


class Queue:
    """One queue as a group sees it: what is not in `open` and below `end` is done."""

    def __init__(self, log, start):
        self.log = log  # of Message; shared by all groups
        self.open = {offset: Offset() for offset in range(start, len(log))}
        self.end = len(log)
        self.generation = 0
        self.generations = {}  # of each lease that was ever given
        self.looked = 0  # what a filter does not want may be passed over below this
        self.durable = set()  # done, and an answer said that this survives a power cut
        self.tried = {}  # offset: the most attempts it ever had; a seek does not change it, which a cut may undo

    def grow(self):
        for offset in range(self.end, len(self.log)):
            self.open[offset] = Offset()
        self.end = len(self.log)


class Group:
    """A group and its queues. `logs` is {(topic, queue): [Message..]}, filled by whoever produces."""

    def __init__(self, name, settings, logs, late_ms=0):
        self.name = name
        self.settings = {**DEFAULTS, **settings}
        self.least_attempts = self.settings["attempts"]  # of all settings it ever had
        self.filters = {}  # topic: (text, wanted(message))
        self.logs = logs
        self.late_ms = late_ms
        self.queues = {}
        self.low = self.high = 0
        self.dead = []  # (topic, queue, offset, attempts, reason)
        self.maybe_dead = []
        self.bury_ms = FIRST_BURY_MS
        self.delivered = 0
        self.is_waited_for = False  # somebody looks all the time

    # ---------------------------------------------------------------------- time

    def at(self, low, high):
        """What follows happens within [low, high]; leases that are certainly over by then have failed."""
        self.low, self.high = low, high
        for place, queue in self.queues.items():
            queue.grow()
            for offset in [o for o, this in queue.open.items() if this.state == LEASED and self.is_over(this)]:
                self.fail(place, offset, EXPIRED, queue.open[offset].until)
            for offset in [o for o, this in queue.open.items() if this.state == DYING and low >= this.due[1]]:
                self.end_dying(place, offset)
                self.bury_ms = BURY_MS + self.late_ms

    def is_over(self, this):
        return self.low >= this.until[1] + self.late_ms

    def may_be_over(self, this):
        return self.high >= this.until[0]

    def is_due(self, this):
        return self.low >= this.due[1] + self.late_ms

    def may_be_due(self, this):
        return self.high >= this.due[0]

    def next_moment(self):
        """The next at which a lease ends or a retry is due, or None."""
        moments = [
            this.until[0] if this.state == LEASED else this.due[0]
            for queue in self.queues.values()
            for this in queue.open.values()
            if this.state in (LEASED, WAITING)
        ]
        return min((moment for moment in moments if moment > self.high), default=None)

    def is_quiet(self, quiet_ms):
        """Whether nothing happens by itself in so many ms."""
        moment = self.next_moment()
        opens = [this for queue in self.queues.values() for this in queue.open.values()]
        in_doubt = self.dying() or any(
            self.may_be_over(this) if this.state == LEASED else this.due[0] <= self.high < this.due[1]
            for this in opens
            if this.state in (LEASED, WAITING)
        )
        return not in_doubt and (moment is None or moment > self.high + quiet_ms)

    # ------------------------------------------------------------------ settings

    def begin(self, topic, queues, first, filter_text=None, wanted=None):
        """The group reads a topic: from each queue's first message, or only what comes."""
        self.filters[topic] = (filter_text, wanted)
        for queue in range(queues):
            self.begin_queue(topic, queue, first)

    def begin_queue(self, topic, queue, first):
        log = self.logs[topic, queue]
        self.queues[topic, queue] = Queue(log, 0 if first else len(log))

    def wants(self, place, offset):
        wanted = self.filters[place[0]][1]
        return wanted is None or wanted(self.logs[place][offset])

    def change_filter(self, topic, filter_text, wanted):
        """New looks use it; what the old one did not want may have been passed over where somebody looked."""
        if self.is_waited_for:
            self.note_looks(None)
        for place, queue in self.queues.items():
            if place[0] == topic:
                for offset, this in queue.open.items():
                    is_held = this.state == LEASED and not self.may_be_over(this)
                    looked = offset < queue.looked if this.state == FRESH else not is_held
                    this.soft = this.soft or (looked and not self.wants(place, offset))
        self.filters[topic] = (filter_text, wanted)

    def is_soft(self, place, offset, this):
        is_held = this.state == LEASED and not self.may_be_over(this)
        may_be_dead = this.state == DYING or (this.state == LEASED and not is_held and self.is_last(this))
        return this.soft or may_be_dead or (not is_held and not self.wants(place, offset))

    def change_limits(self, settings):
        self.settings = {**self.settings, **settings}
        self.least_attempts = min(self.least_attempts, self.settings["attempts"])

    # --------------------------------------------------------- what can be given

    def is_deliverable(self, place, offset):
        """Whether it certainly can be given to whoever asks, order aside."""
        this = self.queues[place].open[offset]
        if self.is_soft(place, offset, this):
            return False
        return this.state == FRESH or (this.state == WAITING and self.is_due(this))

    def first_deliverable(self, topic=None):
        """(topic, queue, offset) of something that a receive has to give, or None."""
        for place in self.queues:
            if topic in (None, place[0]):
                for offset in self.unblocked(place):
                    if self.is_deliverable(place, offset):
                        return (*place, offset)
        return None

    def unblocked(self, place):
        """The offsets of a queue that order lets go: the first of a key, while none of it is under way."""
        queue = self.queues[place]
        if self.settings["order"] == "none":
            return sorted(queue.open)
        firsts, busy = {}, set()
        for offset in sorted(queue.open):
            this, key = queue.open[offset], self.key_of(place, offset)
            if this.state in (LEASED, DYING):
                busy.add(key)
            elif this.state == WAITING or self.wants(place, offset):
                firsts.setdefault(key, offset)
        return [offset for key, offset in firsts.items() if key not in busy]

    def key_of(self, place, offset):
        """What order holds together: messages of one key, or of the queue."""
        return self.logs[place][offset].key if self.settings["order"] == "key" else place

    def note_looks(self, topic):
        for place, queue in self.queues.items():
            if topic in (None, place[0]):
                fresh = (o for o, t in queue.open.items() if t.state == FRESH and not self.is_soft(place, o, t))
                by_key = self.settings["order"] == "key"
                queue.looked = max(queue.looked, queue.end if by_key else min(fresh, default=queue.end))

    # -------------------------------------------------------------- steps of one

    def lease_range(self, spread, records, owner):
        name, number, first, span, _count, attempt, lease, until, reason = spread
        queue = self.queues[name, number]
        queue.generations[lease] = queue.generation
        offsets = {record.offset for record in records}
        for offset in range(first, first + span):
            this = queue.open[offset]
            queue.tried[offset] = max(attempt, queue.tried.get(offset, 0))
            this.soft = offset not in offsets
            this.seen = this.seen or not this.soft
            this.state, this.failures, this.also = LEASED, attempt - 1, None
            this.lease, this.until, this.owner, this.orphan = lease, (until, until), owner, False
            this.reason = reason

    def judge_offset(self, what, place, offset, lease):
        """Whether a receipt counts for one offset: True, False, or None where it may."""
        queue = self.queues[place]
        if queue.generations.get(lease) != queue.generation or offset not in queue.open:
            return False
        this = queue.open[offset]
        if this.state == DYING:
            return False
        is_leased = this.state == LEASED
        may_be_over = is_leased and self.may_be_over(this)
        if is_leased and this.lease != lease:
            return None if what == "ack" and may_be_over else False
        if is_leased and not may_be_over:
            return True
        if what != "ack":
            return None if is_leased or this.soft else False
        if self.is_soft(place, offset, this):
            return None
        if not is_leased and self.is_behind_another(place, offset):
            return False  # what comes late counts only where order wants nothing else done first
        # Where that is in doubt, or something is under way, a late ack may be refused.
        is_free = offset == min(queue.open) and all(t is this or t.state != LEASED for t in queue.open.values())
        return True if self.settings["order"] == "none" or is_free else None

    def is_behind_another(self, place, offset):
        """Whether something that order wants done before this one is certainly not done."""
        if self.settings["order"] == "none":
            return False
        key = self.key_of(place, offset)
        return any(
            other < offset
            and self.key_of(place, other) == key
            and not self.is_soft(place, other, this)
            and (this.state in (FRESH, WAITING) or (this.state == LEASED and not self.may_be_over(this)))
            for other, this in self.queues[place].open.items()
        )

    def is_certain(self, receipt, margin_ms):
        """Whether all of a receipt is held until the same moment, or nothing of it ends soon."""
        topic, queue, first, span, lease = receipt
        found = [self.queues[topic, queue].open.get(offset) for offset in range(first, first + span)]
        held = {this.until for this in found if this is not None and this.lease == lease}
        is_whole = all(this is not None and this.lease == lease for this in found)
        return (is_whole and len(held) == 1) or all(until[0] > self.high + margin_ms for until in held)

    def give_back_behind(self, place, offset, lease):
        """In an ordered group what was given out behind a message that failed must come behind it again."""
        queue = self.queues[place]
        for other, this in queue.open.items():
            if other > offset and this.lease == lease and self.key_of(place, other) == self.key_of(place, offset):
                self.lose_lease(place, other, this)

    def settle_offset(self, what, place, offset, delay_ms=None, count=True, dead=False, reason=None, lease_ms=None):
        queue = self.queues[place]
        this = queue.open[offset]
        reason = ANYTHING if reason is None else reason
        if what == "ack":
            del queue.open[offset]
        elif what == "extend":
            lease_ms = lease_ms or self.settings["lease_ms"]
            this.until = (self.low + lease_ms, self.high + lease_ms)
        elif dead:
            this.failures += 1
            this.reason = reason
            self.bury(place, offset)
        elif count:
            due = self.back_off(this.failures + 1, delay_ms)
            self.fail(place, offset, reason, None, due)
        else:
            this.state, this.lease, this.owner = WAITING, None, None
            this.due = (self.low + (delay_ms or 0), self.high + (delay_ms or 0))
            this.returned = True

    def fail(self, place, offset, reason, since, due=None):
        """A delivery failed: waits for the next, or was the last. `due` None: at once."""
        queue = self.queues[place]
        this = queue.open[offset]
        this.failures += 1
        this.reason = reason
        this.state, this.lease, this.owner = WAITING, None, None
        this.due = since if due is None else due
        if self.is_last(this, 0):
            self.bury(place, offset)
        elif this.failures >= self.settings["attempts"]:  # and stays
            low, high = (self.low, self.high) if since is None else (since[0], since[1] + self.late_ms)
            this.due = (low + self.settings["backoff"][-1], high + self.settings["backoff"][-1])

    def is_last(self, this, more=1):
        """Whether so many failures more make it a dead letter."""
        return this.failures + more >= self.settings["attempts"] and self.settings["exhausted"] == "dead"

    def bury(self, place, offset):
        """On its way to the dead letters; until it is there it counts as open, or does not."""
        this = self.queues[place].open[offset]
        this.soft = this.soft or not self.wants(place, offset)
        this.state, this.lease, this.owner = DYING, None, None
        this.due = (self.low, self.high + self.bury_ms)

    def end_dying(self, place, offset):
        """Of a hole, or what the filter does not want any more, there may be no message to bury."""
        letter = self.letter_of(place, offset)
        is_doubtful = self.queues[place].open.pop(offset).soft or not self.wants(place, offset)
        (self.maybe_dead if is_doubtful else self.dead).append(letter)

    def letter_of(self, place, offset):
        this = self.queues[place].open[offset]
        return (*place, offset, this.failures, this.reason)

    def dying(self):
        """The letters that may be there or not yet."""
        letters = []
        for place, queue in self.queues.items():
            for offset, this in queue.open.items():
                if this.state == DYING:
                    letters.append(self.letter_of(place, offset))
                elif this.state == LEASED and self.may_be_over(this) and self.is_last(this):
                    letters.append((*place, offset, this.failures + 1, EXPIRED))
        return letters

    def void_dying(self, place, below):
        """A seek or a commit overtakes what is on its way below an offset: it may have arrived."""
        queue = self.queues[place]
        for offset in [o for o, this in queue.open.items() if o < below and this.state == DYING]:
            queue.open[offset].soft = True
            self.end_dying(place, offset)
        for offset, this in queue.open.items():
            if offset < below and this.state == LEASED and self.may_be_over(this) and self.is_last(this):
                self.maybe_dead.append((*place, offset, this.failures + 1, EXPIRED))

    def back_off(self, failures, delay_ms):
        """When the next attempt is due, as [low, high]."""
        backoff = self.settings["backoff"]
        low = high = backoff[min(failures, len(backoff)) - 1] if delay_ms is None else delay_ms
        if delay_ms is None:
            spread = low * self.settings["jitter"] // 100
            low, high = low - spread, high + spread
        return self.low + low, self.high + high

    def give_back(self, place, offset):
        """A lease ends without having counted."""
        this = self.queues[place].open[offset]
        this.state = WAITING if this.failures > 0 or this.returned else FRESH
        this.due = (0, self.high)
        this.lease, this.owner = None, None

    # ------------------------------------------------------------- steps of many

    def commit(self, place, cursor):
        """A receipt without a lease: everything before it is done."""
        queue = self.queues[place]
        self.void_dying(place, cursor)
        for offset in [o for o in queue.open if o < cursor]:
            del queue.open[offset]

    def cursor_bounds(self, place):
        """The first offset that is neither done nor has failed; holes may be passed over or not."""
        queue = self.queues[place]
        soft = hard = queue.end
        for offset, this in queue.open.items():
            if this.failures == 0:
                doubt = self.is_soft(place, offset, this) or this.returned or this.also or this.state == WAITING
                doubt = doubt or (this.state == LEASED and self.may_be_over(this))
                soft = min(soft, offset)
                hard = hard if doubt else min(hard, offset)
        return soft, hard

    def put_at(self, place, target):
        queue = self.queues[place]
        self.void_dying(place, queue.end)
        queue.generation += 1
        queue.open = {offset: Offset() for offset in range(target, queue.end)}
        queue.looked = 0
        queue.durable = {offset for offset in queue.durable if offset < target}

    def close(self, owner):
        """A connection ended that wished for its leases to be given back."""
        for place, queue in self.queues.items():
            for offset, this in queue.open.items():
                if this.state == LEASED and this.owner == owner:
                    self.lose_lease(place, offset, this)

    def restart(self):
        """The broker ended somehow and started: leases that are not in the log are lost, uncounted."""
        self.delivered = 0
        for place, queue in self.queues.items():
            for offset, this in list(queue.open.items()):
                if this.state == LEASED:
                    this.owner, this.orphan = None, True
                    if self.settings["order"] == "none":
                        self.lose_lease(place, offset, this)

    def lose_lease(self, place, offset, this):
        may_be_over, until = self.may_be_over(this), this.until
        if may_be_over:  # and may have been counted before the end
            this.also = (this.failures + 1, EXPIRED)
            if self.is_last(this):
                self.maybe_dead.append((*place, offset, this.failures + 1, EXPIRED))
                this.soft = True
        self.give_back(place, offset)
        if may_be_over and self.settings["exhausted"] == "stay":  # then the next attempt may be a while off
            latest = until[1] + self.late_ms + self.settings["backoff"][-1]
            this.due = (0, max(self.high, latest))

    def mortal(self):
        """Whatever is a dead letter, or can be one after a power cut: that may take an ack, a nack or a seek, so that
        any last attempt there ever was is under way again, and over."""
        lasts = set()
        for place, queue in self.queues.items() if self.settings["exhausted"] == "dead" else ():
            tried = (offset for offset, attempts in queue.tried.items() if attempts >= self.least_attempts)
            lasts.update((*place, offset) for offset in tried if offset not in queue.durable)
        return lasts | {letter[:3] for letter in self.dead + self.maybe_dead + self.dying()}

    def forget(self, place, target):
        """After a power cut nobody knows what was known of a queue; a seek made it what it is now."""
        queue = self.queues[place]
        queue.end = len(queue.log)
        queue.generations = {}
        queue.tried = {offset: attempts for offset, attempts in queue.tried.items() if offset < queue.end}
        self.put_at(place, target)

    def describe(self):
        """The state as lines, for whoever has to find out what went wrong."""
        lines = [f"{self.name}: {self.settings} at {self.low}..{self.high}, {len(self.dead)} dead"]
        for place, queue in sorted(self.queues.items()):
            lines.append(
                f"  {place[0]}/{place[1]}: cursor {self.cursor_bounds(place)}, end {queue.end},"
                f" generation {queue.generation}, filter {self.filters[place[0]][0]}"
            )
            untouched = [o for o, this in queue.open.items() if this.state == FRESH and not this.soft]
            lines.append(f"    fresh: {untouched}")
            lines += [f"    {o}: {this}" for o, this in sorted(queue.open.items()) if o not in untouched]
        return "\n".join(lines)
