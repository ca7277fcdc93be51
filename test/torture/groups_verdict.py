# SPDX-License-Identifier: Apache-2.0
"""groups_verdict.py - what became of one message in one group, and whether that is what was promised.

Judged when it is over: it is settled, and its last event is some seconds ago. Deliveries are put in order by
when the broker gave them, which is the end of the lease less its length. What a member sent and has no answer
to may have counted, or not: what would be right in either case is no finding.
"""

import collections

# The broker reads its clock once a turn, in whose middle a busy machine may leave it for a while.
TOLERANCE_MS = 50.0
# Of a domain, so many messages before another may have come with it in one answer, which has fewer.
REMEMBERED = 32
CAUSES = ("nack", "given back", "expiry", "behind", "broker killed")


class Connection:
    """One connection of a member; what it holds is given back at its end if `release`."""

    __slots__ = ("owner", "release", "closed_at")

    def __init__(self, owner, release, closed_at):
        self.owner = owner
        self.release = release
        self.closed_at = closed_at


class Answer:
    """What one receive has brought."""

    __slots__ = ("connection", "deliveries")

    def __init__(self, connection):
        self.connection = connection
        self.deliveries = []


class Delivery:
    """One message given to one member; `domain` is what the group keeps in order, or None."""

    __slots__ = (
        *("place", "offset", "domain", "until", "given_at", "attempt", "reason", "answer"),
        "settlings",
    )

    def __init__(self, place, offset, domain, answer):
        self.place = place
        self.offset = offset
        self.domain = domain
        self.answer = answer
        self.settlings = []

    def lease_end(self):
        """The first moment at which its lease may be over, whatever came of its extensions."""
        end = self.until
        for one in self.settlings:
            if one.verb == "extend" and one.state == "ok":
                end = one.sent + one.argument
            elif one.verb == "extend" and one.may_count():
                end = min(end, one.sent + one.argument)
        return end

    def is_acknowledged(self):
        return any(one.verb == "ack" and one.state == "ok" for one in self.settlings)

    def nacks(self, *arguments):
        """Its nacks of these kinds that may have counted."""
        return [
            one
            for one in self.settlings
            if one.verb == "nack" and one.argument in arguments and one.may_count()
        ]

    def __str__(self):
        told = ", ".join(map(str, self.settlings)) or "nothing"
        connection = self.answer.connection
        end = f", closed {connection.closed_at:.0f}" if connection.closed_at else ""
        return (
            f"[{self.place[0]}/{self.place[1]}/{self.offset} attempt {self.attempt} ({self.reason}) "
            f"given {self.given_at} to {connection.owner} until {self.until}: {told}{end}]"
        )


class Settling:
    """A receipt that was sent; `state` is None, "ok", "failed", or "maybe" where it cannot be known."""

    __slots__ = ("verb", "argument", "sent", "answered", "state")

    def __init__(self, verb, argument, sent):
        self.verb = verb
        self.argument = argument
        self.sent = sent
        self.answered = None
        self.state = None

    def may_count(self):
        return self.state != "failed"

    def __str__(self):
        argument = "" if self.argument is None else f" {self.argument}"
        return f"{self.verb}{argument} sent {self.sent:.0f} {self.state}"


class Mark:
    """A message in a group, from its first delivery until it was judged."""

    __slots__ = ("deliveries", "ack", "maybe_at", "letter", "touched")

    def __init__(self):
        self.deliveries = []
        self.ack = None  # the Settling that counted
        self.maybe_at = None  # when one was sent that may have counted
        self.letter = None  # its dead letter: (attempts, reason, stored at)
        self.touched = 0.0

    def settled_at(self):
        """The first moment at which it may have been settled; None: it was not."""
        if self.ack is not None:
            return self.ack.sent
        return self.maybe_at if self.letter is None else self.letter[2]


class Line:
    """The last messages of a domain: when each may have been settled, its answers, and which it is."""

    def __init__(self):
        self.entries = collections.deque()

    def add(self, mark, where):
        answers = [delivery.answer for delivery in mark.deliveries]
        self.entries.append((mark.settled_at(), answers, where))
        if len(self.entries) > REMEMBERED:
            # Of those that are too far away to come in one answer with the next, one stands for all.
            oldest = self.entries.popleft()
            if oldest[0] > self.entries[0][0]:
                self.entries[0] = (oldest[0], [], oldest[2])


class Verdict:
    """Judges the messages of one group; counts what is to be counted, and tells `find` what may not be."""

    def __init__(self, group, kills, counts, find):
        self.group = group
        self.kills = kills  # (before, after) of each kill of the broker
        self.counts = counts
        self.find = find
        self.lines = collections.defaultdict(Line)

    def judge(self, where, domain, mark):
        # Within a millisecond it can be given, given back, and given again.
        deliveries = sorted(mark.deliveries, key=lambda one: (one.given_at, min(self.ends(one))))
        for before, after in zip(deliveries, deliveries[1:]):
            self.judge_again(where, before, after)
        self.judge_end(where, deliveries, mark)
        self.judge_attempts(where, deliveries, mark)
        if domain is not None:
            self.judge_order(where, domain, deliveries)
            self.lines[domain].add(mark, where)

    def judge_again(self, where, before, after):
        """A second delivery has a cause, and says the right attempt."""
        cause = self.cause(before, after)
        if cause is None:
            self.find(f"{where} was delivered again without a cause: {before}, then {after}")
            return
        self.counts["again"] += 1
        self.counts["again after " + cause] += 1
        counted = any(one.state == "ok" for one in before.nacks("count"))
        if after.attempt < before.attempt + counted:
            self.find(f"{where}: its attempts go back: {before}, then {after}")
        latest = after.given_at + TOLERANCE_MS
        may_count = before.lease_end() <= latest or any(
            one.sent <= latest for one in before.nacks("count")
        )
        unseen = after.attempt - before.attempt - may_count
        if unseen > 0:
            # Of what nobody has seen the leases have run out, one after the other.
            self.counts["unseen"] += unseen
            if min(self.ends(before))[0] + unseen * self.group.lease_ms > latest:
                self.find(f"{where}: an attempt too many: {before}, then {after}")

    def ends(self, delivery):
        """From when on, and why, a message may be given to another than who had it there."""
        yield from self.own_ends(delivery)
        if delivery.domain is not None:
            for other in delivery.answer.deliveries:
                before_it = other.domain == delivery.domain and other.offset < delivery.offset
                if before_it and not other.is_acknowledged():
                    yield min(self.own_ends(other))[0], "behind"

    def own_ends(self, delivery):
        for one in delivery.nacks("count", "back", "dead"):
            yield one.sent, "given back" if one.argument == "back" else "nack"
        connection = delivery.answer.connection
        if connection.release and connection.closed_at is not None:
            yield connection.closed_at, "given back"
        yield delivery.lease_end(), "expiry"
        if self.group.order == "none":
            # Leases of ordered groups are recorded, and outlive the broker.
            for before, after in self.kills:
                if delivery.given_at <= after:
                    yield before, "broker killed"

    def cause(self, before, after):
        """Why there was another delivery; None: there was no reason."""
        end, cause = min(self.ends(before))
        return cause if end <= after.given_at + TOLERANCE_MS else None

    def judge_end(self, where, deliveries, mark):
        """It is settled once, and nobody is given it afterwards."""
        over = None
        if mark.letter is not None:
            over = mark.letter[2]
            if mark.ack is not None:
                self.find(f"{where} was acknowledged, and is a dead letter: {mark.letter}")
        elif mark.ack is not None:
            over = mark.ack.answered
        for delivery in deliveries:
            if over is not None and delivery.given_at > over + TOLERANCE_MS:
                self.find(f"{where} was settled at {over:.0f}, and is delivered: {delivery}")

    def judge_attempts(self, where, deliveries, mark):
        """Dead letters are those that have used up their attempts, and those that a member gave up."""
        most = self.group.attempts
        last = max((delivery.attempt for delivery in deliveries), default=0)
        if mark.letter is not None:
            attempts, reason, _ = mark.letter
            given_up = any(one.attempt == attempts and one.nacks("dead") for one in deliveries)
            if not given_up and (attempts != most or self.group.exhausted != "dead"):
                self.find(f"{where} is a dead letter after {attempts} attempts: {reason}")
            self.counts["unseen"] += max(0, attempts - last)
        elif self.group.exhausted == "dead":
            for delivery in deliveries:
                kinds = ("dead", "count") if delivery.attempt >= most else ("dead",)
                failed = any(one.state == "ok" for one in delivery.nacks(*kinds))
                if failed or delivery.attempt > most:
                    self.find(
                        f"{where} has used up its attempts, and is no dead letter: {delivery}"
                    )

    def judge_order(self, where, domain, deliveries):
        """Whatever is before it in its domain was settled, or came in the same answer."""
        for delivery in deliveries:
            for settled_at, answers, other in self.lines[domain].entries:
                late = settled_at > delivery.given_at + TOLERANCE_MS
                if late and delivery.answer not in answers:
                    self.find(
                        f"{where} came before {other} was settled at {settled_at:.0f}: {delivery}"
                    )
