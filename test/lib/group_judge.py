# SPDX-License-Identifier: Apache-2.0
"""group_judge.py - says of every answer of a broker whether the model of its group allows it.

Every check_...() takes a request and what came back, raises Disagreement where that cannot be, and else has the
model follow.
"""

import collections

from group_model import ANYTHING, DYING, EXPIRED, FRESH, LEASED, WAITING, Group

LEASE_LOST, TRUNCATED = 63, 61  # codes of errors


class Disagreement(Exception):
    """The broker did what the model does not allow; the text says what."""


def demand(condition, *words):
    if not condition:
        raise Disagreement(" ".join(str(word) for word in words))


class Judge(Group):
    """A model that is asked."""

    # ------------------------------------------------------------------- receive

    def check_receive(self, answer, lease_ms=None, most=65535, topic=None, owner=None):
        """Judges the ranges of an answer, and follows; gives back the receipts."""
        messages = list(answer["messages"])
        demand(sum(r[4] for r in answer["ranges"]) == len(messages), "counts of ranges are not the messages")
        demand(len(messages) <= most, len(messages), "messages where", most, "were asked for")
        demand(bool(messages) == bool(answer["ranges"]), "ranges without messages")
        if not messages:
            found = self.first_deliverable(topic)
            demand(found is None, "an empty answer, but", found, "can be delivered")
        else:
            self.learn_time(answer["ranges"], lease_ms or self.settings["lease_ms"])
        receipts, given = [], []
        for spread in answer["ranges"]:
            demand(topic in (None, spread[0]), "a range of another topic:", spread)
            records, messages = messages[: spread[4]], messages[spread[4] :]
            self.check_range(spread, records, given)
            self.lease_range(spread, records, owner)
            receipts.append([*spread[:4], spread[6]])
        self.note_looks(topic)
        self.delivered += len(answer["messages"])
        return receipts

    def learn_time(self, ranges, lease_ms):
        """When leases were given is told by when they end."""
        moments = {spread[7] - lease_ms for spread in ranges}
        demand(len(moments) == 1, "leases of one answer end at", moments, "and", lease_ms, "ms")
        moment = moments.pop()
        demand(self.low <= moment <= self.high, "leased at", moment, "and not within", self.low, self.high)
        self.at(moment, moment)

    def check_range(self, spread, records, given):
        """`given` is what the ranges before it in the same answer brought."""
        name, number, first, span, _count, attempt, _lease, _until, reason = spread
        place = (name, number)
        demand(place in self.queues, "a range of what the group does not read:", spread)
        queue = self.queues[place]
        demand(isinstance(spread[6], bytes), "a lease that is none:", spread[6])
        demand(first + span <= queue.end and span >= 1, "a range beyond the end", queue.end, ":", spread)
        offsets = [record.offset for record in records]
        demand(offsets == sorted(set(offsets)), "offsets are not in order:", offsets)
        demand(offsets and first <= offsets[0] and offsets[-1] < first + span, "messages outside of", spread)
        for record in records:
            demand(queue.log[record.offset].body == record.body, "another body at", place, record.offset)
            self.check_delivery(place, record.offset, attempt, reason)
        for offset in range(first, first + span):
            if offset not in offsets:
                self.check_hole(place, offset)
        self.check_order(place, offsets, range(first, first + span), given)
        given.extend((place, offset) for offset in range(first, first + span))

    def check_delivery(self, place, offset, attempt, reason):
        queue = self.queues[place]
        where = f"{place[0]}/{place[1]}/{offset}"
        demand(offset in queue.open, where, "is done, but was delivered")
        this = queue.open[offset]
        demand(self.wants(place, offset) or (this.seen and this.state != FRESH), where, "is not wanted by the filter")
        allowed = []
        if this.state == FRESH or (this.state == WAITING and self.may_be_due(this)):
            allowed.append((this.failures + 1, this.reason))
        if this.state == LEASED and self.may_be_over(this):
            allowed.append((this.failures + 2, EXPIRED))
        if this.also is not None:
            allowed.append((this.also[0] + 1, this.also[1]))
        demand(allowed, where, "was delivered, but is", this)
        fits = [a for a in allowed if a[0] == attempt and (a[1] in (ANYTHING, reason) or attempt == 1)]
        demand(fits, where, "was delivered as attempt", attempt, "after", repr(reason), "but is", this)
        demand(attempt > 1 or reason is None, where, "has a reason at its first attempt:", reason)

    def check_hole(self, place, offset):
        queue = self.queues[place]
        where = f"{place[0]}/{place[1]}/{offset}"
        demand(offset in queue.open, where, "is done, but in the span of a range")
        this = queue.open[offset]
        demand(self.is_soft(place, offset, this), where, "is in the span of a range and no message of it:", this)

    def check_order(self, place, offsets, span, given):
        """In an ordered group whatever must come before is in the same range, and nothing is under way."""
        if self.settings["order"] == "none":
            return
        last = {self.key_of(place, offset): offset for offset in offsets}
        for other, this in self.queues[place].open.items():
            offset = last.get(self.key_of(place, other))
            if offset is None or other in offsets or (other < offset and (place, other) in given):
                continue
            busy = this.state == LEASED and not self.may_be_over(this)
            demand(not busy, place, offset, "was delivered, but", other, "is", this)
            before = other < offset and other not in span and not self.is_soft(place, other, this)
            demand(not before, place, offset, "was delivered before", other, "which is", this)

    # -------------------------------------------------------------------- settle

    def check_settle(self, what, receipts, failed, **how):
        """Judges `failed` of ack, nack, extend (or of `acked` of a receive), and follows."""
        codes = dict(failed)
        demand(len(codes) == len(failed) and set(codes) <= set(range(len(receipts))), "failed is", failed)
        settled = []
        for index, (name, number, first, span, lease) in enumerate(receipts):
            place = (name, number)
            queue = self.queues[place]
            if lease is None:
                self.check_commit(place, first + span, codes.get(index))
                continue
            code = codes.get(index)
            demand(code in (None, LEASE_LOST), "a receipt failed with", code)
            offsets = self.check_receipt(what, place, range(first, first + span), lease, code is not None, how)
            settled += [(place, offset, lease) for offset in offsets]
        for one in settled if what == "nack" and self.settings["order"] != "none" else []:
            self.give_back_behind(*one)

    def check_receipt(self, what, place, offsets, lease, has_failed, how):
        """Offset by offset, for what is settled first can be why the next counts; gives those that were settled."""
        queue = self.queues[place]
        states = [repr(queue.open.get(offset, "done")) for offset in offsets]
        counts, settled = [], []
        for offset in offsets:
            good = self.judge_offset(what, place, offset, lease)
            counts.append(good)
            if good or (good is None and not has_failed):
                self.settle_offset(what, place, offset, **how)
                settled.append(offset)
            elif good is None and what == "ack":
                queue.open[offset].soft = True
            elif good is None and queue.open[offset].lease == lease:
                self.fail(place, offset, EXPIRED, queue.open[offset].until)
        where = f"{what} of {place[0]}/{place[1]}/{offsets[0]}+{len(offsets)}"
        demand(not has_failed or False in counts or None in counts, where, "failed:", states)
        demand(has_failed or False not in counts, where, "succeeded:", states)
        return settled

    def check_commit(self, place, cursor, code):
        wanted = TRUNCATED if cursor > self.queues[place].end else None
        demand(code == wanted, "a commit of", cursor, "ended with", code)
        if code is None:
            self.commit(place, cursor)

    def check_seek(self, place, target, row):
        """One row of a seek that was done: everything from `target` on is to be delivered, as if new."""
        queue = self.queues[place]
        low, high = self.cursor_bounds(place)
        demand(low <= row["was"] <= high and row["now"] == target, "a seek to", target, "says", row)
        opens = sum(1 for offset in queue.open if offset >= target)
        again = queue.end - target - opens
        demand(again <= row["again"] <= queue.end - target, "a seek to", target, "says", row, "with", again, "done")
        hard = [o for o in queue.open if o < target and not self.is_soft(place, o, queue.open[o])]
        least = sum(1 for o in hard if queue.open[o].failures == 0)
        most = sum(1 for o in queue.open if o < target)
        demand(least <= row["skipped"] <= most, "a seek to", target, "says", row, "over", most)
        self.put_at(place, target)

    # ---------------------------------------------------------------------- show

    def check_show(self, show):
        """Judges group.show, and learns what was passed over."""
        rows = {(row["topic"], row["queue"]): row for row in show["queues"]}
        demand(set(rows) == set(self.queues), "group.show has the queues", sorted(rows))
        for place, queue in self.queues.items():
            row = rows[place]
            demand(row["end"] == queue.end, place, "end is", row["end"], "and not", queue.end)
            self.check_within(place, row, "cursor", self.cursor_bounds(place))
            self.check_within(place, row, "lag", self.count_bounds(place, lambda this: True))
            self.check_within(place, row, "leased", self.count_bounds(place, self.is_leased))
            self.check_within(place, row, "retrying", self.count_bounds(place, self.is_waiting))
            self.check_oldest(place, row)
            self.check_next_retry(queue, row.get("next_retry"))
            self.learn_cursor(queue, row["cursor"])
        total = [self.count_bounds(place, self.is_leased) for place in self.queues]
        orphans = sum(1 for queue in self.queues.values() for this in queue.open.values() if this.orphan)
        held = sum(member["leased"] for member in show["members"])
        least = sum(t[0] for t in total) - orphans
        demand(least <= held <= sum(t[1] for t in total), "members hold", held, "and not", total)
        demand(
            len(self.dead) <= show["dead"] <= len(self.dead) + len(self.maybe_dead) + len(self.dying()),
            f"{show['dead']} dead letters and not {len(self.dead)}",
        )
        demand(show["delivered"] == self.delivered, show["delivered"], "delivered and not", self.delivered)

    def learn_cursor(self, queue, cursor):
        """What is fresh below it was passed over, or has failed where that was in doubt."""
        for offset in [o for o, this in queue.open.items() if o < cursor and this.state == FRESH]:
            this = queue.open[offset]
            if this.also is None:
                del queue.open[offset]
            else:
                this.state, this.due, this.also, (this.failures, this.reason) = WAITING, (0, self.high), None, this.also

    def count_bounds(self, place, is_counted):
        """How many offsets of a queue are so: at least, and at most."""
        least = most = 0
        for offset, this in self.queues[place].open.items():
            counted = is_counted(this)
            soft = self.is_soft(place, offset, this)
            least += counted is True and not soft
            most += counted is not False
        return least, most

    def is_leased(self, this):
        return this.state == LEASED and (None if self.may_be_over(this) else True)

    def is_waiting(self, this):
        if this.state == LEASED:
            return None if self.may_be_over(this) else False
        if this.state == DYING:
            return None
        if this.also is not None or this.failures == 0:
            return None if this.state == WAITING or this.also is not None else False
        return this.state == WAITING

    def check_within(self, place, row, what, bounds):
        demand(bounds[0] <= row[what] <= bounds[1], place, what, "is", row[what], "and not", bounds)

    def check_oldest(self, place, row):
        queue = self.queues[place]
        hard = [o for o, this in queue.open.items() if not self.is_soft(place, o, this)]
        if not queue.open:
            demand("oldest" not in row, place, "has nothing open, but an oldest")
        elif hard or "oldest" in row:
            demand("oldest" in row, place, "has no oldest, but open", hard[:5])
            low = queue.log[min(queue.open)].stored_low
            high = queue.log[min(hard)].stored_high if hard else queue.log[-1].stored_high
            demand(low <= row["oldest"] <= high, place, "oldest is", row["oldest"], "and not within", low, high)

    def check_next_retry(self, queue, moment):
        """It is that of something that waits, or that waits by now."""
        if moment is not None:
            longest = self.settings["backoff"][-1]  # of what is over and stays
            opens = [this for this in queue.open.values() if this.state != FRESH]
            dues = [(t.until[0], t.until[1] + longest) if t.state == LEASED else t.due for t in opens]
            fits = any(low <= moment <= high + self.late_ms for low, high in dues)
            demand(fits, "next_retry is", moment, "and none of", dues)

    def check_dead_letters(self, letters, certain_count):
        """Judges what was read of the group's dead letters, (topic, queue, offset, attempts, reason) each: the first
        `certain_count` that the model knows must be there. After a seek an offset may die again."""
        found = collections.Counter(letter[:4] for letter in letters)
        certain = collections.Counter(letter[:4] for letter in self.dead[:certain_count])
        mortal = self.dead + self.maybe_dead + self.dying()
        possible = collections.Counter(letter[:4] for letter in mortal)
        demand(not certain - found, "dead letters are missing:", dict(certain - found))
        demand(not found - possible, "dead letters that should not be:", dict(found - possible))
        reasons = {}
        for letter in mortal:
            reasons.setdefault(letter[:4], set()).add(letter[4])
        for letter in letters:
            allowed = reasons[letter[:4]]
            demand(letter[4] in allowed or ANYTHING in allowed, "the reason of", letter, "is none of", allowed)
