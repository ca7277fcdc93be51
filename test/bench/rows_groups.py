# SPDX-License-Identifier: Apache-2.0
"""rows_groups.py - the rows of consumer groups: members by ternmq-bench, each with one call at a time, beside a parked
pull, the reference program, or the same without what a row is about."""

import contextlib
import time

import machine
import measured
from rows_alone import QUIET_P99_US, Line, Row
from rows_beside import patiently

MEMBERS = (1, 16, 64, 256)
# So many messages that a run takes a second or two at each number of members.
SINGLE_MESSAGES = {1: 40_000, 16: 150_000, 64: 200_000, 256: 200_000}
BATCHED_MESSAGES = 3_000_000
KEYED_MESSAGES = 150_000
PULL_OF_100 = "33000"  # bytes of the records of 100 messages of 256
LEASED_MESSAGES = 1_000_000  # below the 2^20 open offsets of a group in a queue
RATE = ("--rate", "10000", "--warmup", "500ms")
PARKED_CONNECTIONS, PARKED_EACH, PARKED_S = 200, 50, 10
ONE_AT_A_TIME = "-c 64 -w 1 -s 256"  # of the reference load: a message a call on each of 64 connections


def run(context, variant, *words):
    """ternmq-bench on a broker of its own; the least disturbed of a few."""

    def once():
        with measured.Broker(context.programs, context.folder / "groups", variant) as broker:
            return broker.bench(*words)

    return patiently(context, once)


def members(context, variant, number, messages, *words, queues=1):
    """What `number` members make of so many messages."""
    shape = ("--queues", str(queues), "--durability", "memory", "--size", "256")
    count = ("--members", str(number), "--messages", str(messages))
    return run(context, variant, "groups", *shape, *count, *words)


def single(context, filled):
    """Receive and ack as two calls, and the ack in the next receive; one message at a time."""
    found = {}
    for number in MEMBERS:
        for name, settle in (("ack", "ack"), ("with", "receive")):
            messages = SINGLE_MESSAGES[number]
            figures = members(context, filled.variant, number, messages, "--settle", settle)
            found[f"{name}_{number}"] = figures["consumed_per_s"]
            found[f"{name}_{number}_p99"] = figures["settle_us"]["p99"]
            found[f"{name}_{number}_cpu"] = figures["broker_cpu_us"]
    reference = context.reference
    if reference is not None:
        itself = (context.folder / "r", ONE_AT_A_TIME, "memory", context.seconds)
        most = patiently(context, lambda: reference.measure_itself(*itself))["in"]
        found["reference"] = most / 1000
        found["with_ratio"] = found["with_64"] / most
        found["ack_ratio"] = found["ack_64"] / most
    return found


def nacked(context, filled):
    """A tenth of the messages is refused once and comes again at once."""
    found = {}
    for number in MEMBERS:
        figures = members(context, filled.variant, number, SINGLE_MESSAGES[number] // 2, "--nack", "10")
        found[f"nack_{number}"] = figures["consumed_per_s"]
        found[f"nack_{number}_p99"] = figures["settle_us"]["p99"]
    return found


def batched(context, filled):
    """The same messages pulled, ahead and by 100, and received by 100 and settled as ranges."""
    messages = ("--messages", str(BATCHED_MESSAGES))
    shape = ("--queues", "1", "--durability", "memory", "--size", "256")
    duration = ("--duration", f"{max(1, int(context.seconds))}s")
    consume = ("consume", *shape, *messages, *duration)
    ahead = run(context, filled.variant, *consume)["consumed_per_s"]
    by_100 = run(context, filled.variant, *consume, "--pull-bytes", PULL_OF_100)["consumed_per_s"]
    found = {"pull": ahead / 1e6, "pull_100": by_100 / 1e6}
    for number in (1, 8):
        for name, settle in (("ack", "ack"), ("with", "receive")):
            words = ("--max", "100", "--settle", settle)
            figures = members(context, filled.variant, number, BATCHED_MESSAGES, *words)
            found[f"{name}_{number}"] = figures["consumed_per_s"] / 1e6
            found[f"{name}_{number}_ratio"] = figures["consumed_per_s"] / ahead
            found[f"{name}_{number}_ratio_100"] = figures["consumed_per_s"] / by_100
    return found


def latency(context, filled):
    """From the moment at which a message was meant to be sent to a consumer's hands, and to a member's."""
    duration = ("--duration", f"{max(2, int(context.seconds))}s")
    shape = ("--queues", "1", "--durability", "memory", "--size", "256", *RATE, *duration)
    pulled = run(context, filled.variant, "latency", *shape)["end_to_end_us"]
    found = {"pull_p50": pulled["p50"], "pull_p99": pulled["p99"]}
    for number in (1, 16):
        words = ("--members", str(number), "--max", "100")
        received = run(context, filled.variant, "groups", *shape, *words)["end_to_end_us"]
        found[f"receive_{number}_p50"] = received["p50"]
        found[f"receive_{number}_p99"] = received["p99"]
        found[f"ratio_{number}"] = received["p50"] / pulled["p50"]
    return found


def costs(context, filled):
    """What the log and the rings between cores carry for a message, one message at a time."""
    messages = SINGLE_MESSAGES[64]
    found = {}
    for name, settle in (("ack", "ack"), ("with", "receive")):
        figures = members(context, filled.variant, 64, messages, "--settle", settle)
        found[f"{name}_log_bytes"] = figures["log_bytes"] / figures["consumed"]
    two = measured.Variant(filled.variant.io, 2)
    for name, settle in (("receive", "none"), ("ack", "ack")):
        figures = members(context, two, 64, messages, "--settle", settle, queues=2)
        found[f"{name}_core_messages"] = figures["core_messages"] / figures["receives"]
    return found


def leased(context, filled):
    """A million messages given out and not settled: the broker's own memory for each."""
    found = {}
    for name, most in (("range", "100"), ("single", "1")):
        words = ("--max", most, "--settle", "none")
        figures = members(context, filled.variant, 64, LEASED_MESSAGES, *words)
        found[f"{name}_bytes"] = figures["broker_own_growth_bytes"] / LEASED_MESSAGES
    return found


def parked(context, filled):
    """Members that wait for messages that do not come, many on a connection."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(
            measured.Broker(context.programs, context.folder / "groups", filled.variant)
        )
        broker.make_topic("memory")
        broker.call("group.put", name="bench", settings={"topics": {measured.TOPIC: None}})
        before = machine.rss_kib(broker.pid)
        waiting = PARKED_CONNECTIONS * PARKED_EACH
        for connection in range(PARKED_CONNECTIONS):
            client = stack.enter_context(contextlib.closing(broker.client()))
            for number in range(PARKED_EACH):
                client.send("receive", group="bench", member=f"{connection}-{number}", wait_ms=60_000)

        def all_wait():
            return sum(core["parked"] for core in broker.call("stats")["cores"]) == waiting

        if not machine.wait_for(all_wait, 20, 0.1):
            raise measured.Failed(f"{waiting} members do not wait after 20 s")
        grown = machine.rss_kib(broker.pid) - before
        cpu = machine.cpu_s(broker.pid)
        time.sleep(PARKED_S)
        cpu = (machine.cpu_s(broker.pid) - cpu) / PARKED_S * 100
        return {"mib": grown / 1024, "bytes": grown * 1024 / waiting, "cpu": cpu}


def poisoned(context, filled):
    """Messages of a hundredth of the keys are refused each time; the group keeps the order of keys."""
    rates = {}
    for name, share in (("none", "0"), ("some", "1")):
        words = ("--order", "key", "--keys", "1000", "--poisoned", share)
        rates[name] = members(context, filled.variant, 64, KEYED_MESSAGES, *words)["consumed_per_s"]
    return {**rates, "ratio": rates["some"] / rates["none"]}


def single_lines():
    lines = []
    for number in MEMBERS:
        of = f"{number} member{'s' if number > 1 else ''}"
        for name, how in (("with", "receive {ack}"), ("ack", "receive, then ack")):
            key = f"{name}_{number}"
            lines.append(Line(f"{of}, {how}", key, "{:.0f}/s", beside=(f"{key}_cpu", "broker {:.1f} us each")))
            lines.append(Line(f"{of}, {how}: asked to settled, p99", f"{key}_p99", "{:.0f} us"))
    return lines


def nacked_lines():
    lines = []
    for number in MEMBERS:
        of = f"{number} member{'s' if number > 1 else ''}"
        lines.append(Line(f"{of}", f"nack_{number}", "{:.0f}/s"))
        lines.append(Line(f"{of}: asked to settled, p99", f"nack_{number}_p99", "{:.0f} us"))
    return lines


OF_REFERENCE = ("reference", "from {:.1f} k/s of the reference program")
OF_PULL = ("pull", "from {:.2f} M/s")
OF_PULL_100 = ("pull_100", "from {:.2f} M/s")
ROWS = [
    Row(
        "GROUP1",
        "received and acknowledged, one message at a time",
        single,
        (
            *single_lines(),
            Line("64 members, receive {ack}, over row E", "with_ratio", "{:.2f}", 0.5, True, OF_REFERENCE),
            Line("64 members, receive, then ack, over row E", "ack_ratio", "{:.2f}", beside=OF_REFERENCE),
        ),
    ),
    Row("GROUPNACK", "the same, then ack or nack, and 10 % refused once", nacked, tuple(nacked_lines())),
    Row(
        "GROUP100",
        "received by 100 and acknowledged as ranges, over pull of the same messages",
        batched,
        (
            Line("1 member, receive {ack}, over pull by 100", "with_1_ratio_100", "{:.2f}", 0.6, True, OF_PULL_100),
            Line("1 member, receive, then ack, over pull by 100", "ack_1_ratio_100", "{:.2f}", beside=OF_PULL_100),
            Line("8 members, receive {ack}, over pull ahead", "with_8_ratio", "{:.2f}", 0.6, True, OF_PULL),
            Line("8 members, receive, then ack, over pull ahead", "ack_8_ratio", "{:.2f}", 0.6, True, OF_PULL),
            Line("1 member, receive {ack}, over pull ahead", "with_1_ratio", "{:.2f}", beside=OF_PULL),
        ),
    ),
    Row(
        "GROUPG10000",
        "produce to receive at 10,000/s, p50 over that of a parked pull",
        latency,
        (
            Line(
                *("1 member", "ratio_1", "{:.2f} x", 1.5, False),
                beside=("pull_p50", "from p50 {:.0f} us by pull"),
                quiet=QUIET_P99_US,
            ),
            Line(
                *("16 members", "ratio_16", "{:.2f} x", 1.5, False),
                beside=("pull_p50", "from p50 {:.0f} us by pull"),
                quiet=QUIET_P99_US,
            ),
            Line("1 member, p99", "receive_1_p99", "{:.0f} us", beside=("pull_p99", "p99 {:.0f} us by pull")),
        ),
    ),
    Row(
        "GROUPCOST",
        "64 members, one message at a time",
        costs,
        (
            Line("log bytes an ack", "ack_log_bytes", "{:.1f} B", 32),
            Line("log bytes an ack in a receive", "with_log_bytes", "{:.1f} B", 32),
            Line("messages between cores a receive, 2 shards", "receive_core_messages", "{:.2f}", 3),
            Line("the same, a receive and its ack", "ack_core_messages", "{:.2f}"),
        ),
    ),
    Row(
        "GROUPMEM",
        "a million messages leased: the broker's own memory",
        leased,
        (
            Line("a message, by 100", "range_bytes", "{:.1f} B"),
            Line("a message, one at a time", "single_bytes", "{:.0f} B"),
        ),
    ),
    Row(
        "GROUPIDLE",
        "10,000 members wait at an idle topic for 10 s",
        parked,
        (
            Line("memory for them", "mib", "{:.1f} MiB", beside=("bytes", "{:.0f} B each")),
            Line("CPU", "cpu", "{:.2f} %", 0.05),
        ),
    ),
    Row(
        "GROUPKEYS",
        "order of 1,000 keys, 64 members: healthy messages with 1 % of keys poisoned, over none",
        poisoned,
        (Line("healthy messages a second", "ratio", "{:.2f}", 0.9, True, ("none", "from {:.0f}/s")),),
    ),
]
BY_NAME = {row.name: row for row in ROWS}
