# SPDX-License-Identifier: Apache-2.0
"""groups_judge.py - keeps what members and producers say (groups_member.py), until each message is judged.

A message of a group is judged (groups_verdict.py) when it is settled and some seconds are over, one after the
other in its queue, and forgotten then: what comes of it later is a finding. So memory is bounded by what is
open, and by what was settled in the last seconds.
"""

import collections

import groups_plan
from groups_verdict import TOLERANCE_MS, Answer, Connection, Delivery, Mark, Settling, Verdict

# Behind the last word about a message: its events come through many pipes.
QUIET_MS = 5000.0
# The same for what may be settled or not, since an answer was lost: it would have been delivered again.
DOUBTFUL_MS = 30000.0
# A member settles what it was given long before so many others.
DELIVERIES_REMEMBERED = 4096
LEASE_LOST = 63
FINDINGS_SHOWN = 40


class Standing:
    """A group in one queue: what is below `done` is settled, and was judged."""

    __slots__ = ("done", "marks")

    def __init__(self):
        self.done = 0
        self.marks = {}

    def mark(self, offset, now):
        mark = self.marks.get(offset)
        if mark is None:
            mark = self.marks[offset] = Mark()
        mark.touched = now
        return mark


class GroupState:
    """A group, or a member of a broadcast group, with its counters."""

    def __init__(self, name, group, judge):
        self.name = name
        self.group = group
        self.is_filtered = any(text is not None for text, _ in group.topics.values())
        self.standings = {
            (topic, queue): Standing()
            for topic in group.topics
            for queue in range(groups_plan.TOPICS[topic]["queues"])
        }
        self.counts = collections.Counter()
        self.present = 0
        self.fair = (
            0.0  # messages that a member has got that was always there and gets as much as others
        )
        self.slots = [[0, 0.0] for _ in range(group.members)]  # messages: got, and were fair
        self.verdict = Verdict(group, judge.kills, self.counts, judge.find)

    def given(self, slot, count):
        self.counts["delivered"] += count
        self.slots[slot][0] += count
        self.fair += count / self.present

    def shares(self):
        """Of its members the most and the least that one got of what was fair, and the least fair."""
        shares = [(got / fair, fair) for got, fair in self.slots if fair > 0]
        if not shares:
            return 0.0, 0.0, 0.0
        return max(shares)[0], min(shares)[0], min(fair for _, fair in shares)


class LifeState:
    """What one process has told so far."""

    def __init__(self, state, life):
        self.state = state
        self.life = life
        self.connections = {}
        self.deliveries = {}  # by their numbers
        self.calls = {}  # not answered yet: [(Settling, deliveries)..]
        self.killed_at = None
        self.fair_before = None  # state.fair when it came; None: it is not there

    def come(self):
        if self.fair_before is None:
            self.fair_before = self.state.fair
            self.state.present += 1

    def go(self):
        if self.fair_before is not None:
            self.state.slots[self.life.slot][1] += self.state.fair - self.fair_before
            self.state.present -= 1
            self.fair_before = None


class Judge:
    """Takes events, keeps the counts, and tells what is broken."""

    def __init__(self, tell, groups=tuple(groups_plan.GROUPS.values())):
        self.tell = tell
        self.now = 0.0  # of the event, ms since 1970
        self.findings = 0
        self.sent = 0
        self.stored = 0
        self.kills = []  # (before, after) of each of the broker
        self.ready_at = []  # again, behind each of them
        self.messages = {  # of a queue: the offset of the first that is kept, and those
            (topic, queue): [0, collections.deque()]
            for topic, settings in groups_plan.TOPICS.items()
            for queue in range(settings["queues"])
        }
        # Acknowledged and not read back yet: (offset, producer, sequence).
        self.promised = {place: collections.deque() for place in self.messages}
        self.last_sequence = {}
        self.groups = {}
        for group in groups:
            for name in group.names():
                self.groups[name] = GroupState(name, group, self)

    def find(self, text):
        self.findings += 1
        if self.findings <= FINDINGS_SHOWN:
            self.tell(f"FOUND: {text}")

    def total(self, what):
        return sum(state.counts[what] for state in self.groups.values())

    # --------------------------------------------------------- what is stored

    def read(self, topic, queue, offset, message):
        """A message was read back, the next of its queue."""
        place = (topic, queue)
        self.messages[place][1].append(message)
        before = self.last_sequence.get((place, message.producer), -1)
        if message.sequence <= before:
            self.find(f"{topic}/{queue}/{offset} holds {message}, number {before} is before it")
        self.last_sequence[place, message.producer] = message.sequence
        promised = self.promised[place]
        while promised and promised[0][0] <= offset:
            self.check_promise(place, *promised.popleft())

    def promise(self, place, offset, producer, sequence):
        """A message was acknowledged to its producer, the next one in its queue."""
        first, known = self.messages[place]
        if offset < first + len(known):
            self.check_promise(place, offset, producer, sequence)
        else:
            self.promised[place].append((offset, producer, sequence))

    def check_promise(self, place, offset, producer, sequence):
        first, known = self.messages[place]
        found = known[offset - first] if 0 <= offset - first < len(known) else None
        # What was judged is forgotten: it was there, and delivered as what it is.
        if offset >= first and (found is None or found[:2] != (producer, sequence)):
            self.find(f"{place}/{offset} holds {found}, acknowledged was {producer}.{sequence}")

    def producer_event(self, producer, event):
        kind = event[0]
        if kind == "sent":
            self.sent += event[1]
        elif kind == "stored":
            _, topic, queue, offset, sequence, count = event
            self.stored += count
            for index in range(count):
                self.promise((topic, queue), offset + index, producer, sequence + index)
        elif kind == "lost":
            self.check_lost(f"producer {producer}", *event[2:])
        elif kind == "wrong":
            self.find(f"producer {producer}: {event[1]}")

    def dead_letter(self, name, dead, stored_at, message):
        """One was read; `name` is whose, which says a member where `dead` has the group alone."""
        _, topic, queue, offset, attempts, reason = dead
        state = self.groups.get(name)
        standing = None if state is None else state.standings.get((topic, queue))
        if standing is None:
            self.find(f"a dead letter of {name}: {dead}")
            return
        state.counts["dead"] += 1
        if offset < standing.done:
            self.find(
                f"{name}: {topic}/{queue}/{offset} was settled, and has a dead letter: {dead}"
            )
            return
        mark = standing.mark(offset, self.now)
        if mark.letter is not None:
            self.find(
                f"{name}: {topic}/{queue}/{offset} has two dead letters: {mark.letter}, {dead}"
            )
        mark.letter = (attempts, reason, stored_at)
        first, known = self.messages[topic, queue]
        if 0 <= offset - first < len(known) and known[offset - first] != message:
            self.find(f"{name}: the dead letter of {topic}/{queue}/{offset} holds {message}")

    # ------------------------------------------------------- what members say

    def join(self, life):
        """A life begins: what its events are told to."""
        state = self.groups[life.state_name]
        state.counts["joined"] += 1
        return LifeState(state, life)

    def member_event(self, life, event):
        getattr(self, "on_" + event[0])(life, *event[1:])

    def on_open(self, life, number, release):
        # Told before it was killed, and heard after it.
        owner = f"{life.life.member}.{number}"
        life.connections[number] = Connection(owner, release, life.killed_at)
        life.come()

    def on_given(self, life, connection, ranges):
        state = life.state
        answer = Answer(life.connections[connection])
        for number, topic, queue, until, lease_ms, attempt, reason, messages in ranges:
            if (topic, queue) not in state.standings:
                self.find(f"{state.name} was given messages of {topic}/{queue}")
                continue
            for index, (offset, key) in enumerate(messages):
                domain = state.group.domain(topic, queue, key)
                delivery = Delivery((topic, queue), offset, domain, answer)
                delivery.until = until
                delivery.given_at = until - lease_ms
                delivery.attempt = attempt
                delivery.reason = reason
                life.deliveries[number + index] = delivery
                self.note_delivery(state, answer, delivery)
        state.given(life.life.slot, len(answer.deliveries))
        while len(life.deliveries) > DELIVERIES_REMEMBERED:
            del life.deliveries[next(iter(life.deliveries))]

    def note_delivery(self, state, answer, delivery):
        for other in answer.deliveries:
            if delivery.domain is not None and other.domain == delivery.domain:
                if other.offset >= delivery.offset:
                    self.find(f"{state.name}: one answer has {other} before {delivery}")
        answer.deliveries.append(delivery)
        standing = state.standings[delivery.place]
        if delivery.offset < standing.done:
            self.find(f"{state.name}: delivered long after it was settled: {delivery}")
        else:
            standing.mark(delivery.offset, self.now).deliveries.append(delivery)

    def on_settle(self, life, call, verb, sent, receipts, argument):
        life.calls[call] = []
        for numbers in receipts:
            settling = Settling(verb, argument, sent)
            deliveries = [life.deliveries[n] for n in numbers if n in life.deliveries]
            for delivery in deliveries:
                delivery.settlings.append(settling)
            life.calls[call].append((settling, deliveries))

    def on_settled(self, life, call, answered, failed):
        state = life.state
        for index, (settling, deliveries) in enumerate(life.calls.pop(call)):
            settling.answered = answered
            code = failed.get(index)
            if code is None:
                settling.state = "ok"
            else:
                # Of several offsets, filtered ones among them, it says only that one did not count.
                several = len(deliveries) > 1 or state.is_filtered
                settling.state = "maybe" if several else "failed"
                state.counts["lost " + settling.verb] += len(deliveries)
                if code != LEASE_LOST:
                    told = ", ".join(map(str, deliveries))
                    self.find(f"{state.name}: {settling.verb} was refused with {code}: {told}")
            self.count_settled(state, settling, deliveries)

    def count_settled(self, state, settling, deliveries):
        if settling.state == "ok":
            state.counts[settling.verb] += len(deliveries)
        for delivery in deliveries:
            standing = state.standings[delivery.place]
            if delivery.offset < standing.done:
                if settling.state == "ok":
                    self.find(
                        f"{state.name}: {settling} counts long after it was settled: {delivery}"
                    )
                continue
            mark = standing.mark(delivery.offset, self.now)
            if settling.verb == "ack" and settling.state == "ok":
                if mark.ack is not None:
                    self.find(f"{state.name}: two acknowledgements count: {delivery}")
                mark.ack = settling
            elif settling.verb == "ack" and settling.state == "maybe":
                mark.maybe_at = min(mark.maybe_at or settling.sent, settling.sent)

    def on_close(self, life, number, at):
        life.connections[number].closed_at = at
        life.state.counts["left"] += 1
        self.end(life)

    def on_lost(self, life, _number, at, text):
        self.check_lost(f"{life.state.name}/{life.life.member}", at, text)
        self.end(life)

    def on_refused(self, life, name):
        life.state.counts["refused with " + name] += 1

    def on_wrong(self, _life, text):
        self.find(text)

    def leave(self, life):
        """Its process has ended."""
        self.end(life)
        life.go()

    def kill(self, life, at):
        """The member is about to be killed."""
        if life.killed_at is None:
            life.killed_at = at
        for connection in life.connections.values():
            if connection.closed_at is None:
                connection.closed_at = at

    def end(self, life):
        """A connection ended, in whatever way: what was not answered may have counted."""
        life.state.counts["ended"] += 1
        for settlings in life.calls.values():
            for settling, deliveries in settlings:
                settling.state = "maybe"
                life.state.counts["unanswered"] += len(deliveries)
                self.count_settled(life.state, settling, deliveries)
        life.calls.clear()

    def check_lost(self, who, at, text):
        """Connections are lost around the kills of the broker alone."""
        around = zip(self.kills, [*self.ready_at, float("inf")])
        if "timed out" in text:
            self.find(f"{who}: a call was not answered: {text}")
        elif not any(b - TOLERANCE_MS <= at <= ready + QUIET_MS for (b, _), ready in around):
            self.find(f"{who}: the connection was lost, and nobody killed the broker: {text}")

    # ---------------------------------------------------------------- verdict

    def look(self, at_end=False):
        """Judges what is over, and forgets it. How many messages are left, of all groups."""
        left = 0
        for state in self.groups.values():
            for place, standing in state.standings.items():
                left += self.look_at(state, place, standing, at_end)
        for place, entry in self.messages.items():
            done = [s.standings[place].done for s in self.groups.values() if place in s.standings]
            needed = min(done, default=entry[0])
            while entry[0] < needed:
                entry[0] += 1
                entry[1].popleft()
        return left

    def look_at(self, state, place, standing, at_end):
        first, known = self.messages[place]
        end = first + len(known)
        while standing.done < end:
            message = known[standing.done - first]
            mark = standing.marks.get(standing.done)
            if not state.group.wants(place[0], message):
                if mark is not None:
                    self.find(f"{state.name}: {place}/{standing.done} is not for it: {message}")
            elif mark is None or not self.is_over(mark, at_end):
                break
            else:
                where = f"{state.name}: {place[0]}/{place[1]}/{standing.done}"
                state.verdict.judge(where, state.group.domain(*place, message.key), mark)
                state.counts["settled"] += 1
            standing.marks.pop(standing.done, None)
            standing.done += 1
        return end - standing.done

    def is_over(self, mark, at_end):
        if mark.settled_at() is None or at_end:
            return mark.settled_at() is not None
        sure = mark.ack is not None or mark.letter is not None
        return self.now - mark.touched > (QUIET_MS if sure else DOUBTFUL_MS)

    # ------------------------------------------------------------- at the end

    def quiet_ms(self):
        """How long ago something came of a message that is not judged yet."""
        touched = [
            mark.touched
            for state in self.groups.values()
            for standing in state.standings.values()
            for mark in standing.marks.values()
        ]
        return self.now - max(touched, default=0.0)

    def open_messages(self):
        """A line for each message that is not settled."""
        for state in self.groups.values():
            for place, standing in state.standings.items():
                first, known = self.messages[place]
                for offset in range(standing.done, first + len(known)):
                    mark = standing.marks.get(offset)
                    wanted = state.group.wants(place[0], known[offset - first])
                    if wanted and (mark is None or mark.settled_at() is None):
                        last = mark.deliveries[-1] if mark and mark.deliveries else "never given"
                        yield f"{state.name}: {place[0]}/{place[1]}/{offset} is not settled: {last}"

    def finish(self):
        """Everything was read back, and nothing more will come."""
        self.look(at_end=True)
        for line in self.open_messages():
            self.find(line)
        for place, promised in self.promised.items():
            for offset, producer, sequence in promised:
                self.find(f"{place}/{offset} is not there, acknowledged was {producer}.{sequence}")
        for state in self.groups.values():
            # Attempts that no member knows of are answers that were lost with their connections.
            if state.counts["unseen"] > state.counts["ended"] * state.group.take_max:
                self.find(
                    f"{state.name}: {state.counts['unseen']} attempts that no member knows of"
                )
